"""Tells operators, as long as the service runs. Beside the work: no job and no request waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from api.notifications.model import Notice, NoticeClaim
from api.notifications.receivers import Receiver
from api.notifications.sender import send
from api.notifications.store import NoticeStore
from api.notifications.watch import Watch
from pipeline.errors import PipelineError

logger = structlog.get_logger(__name__)

_POLL_S: Final = 5.0
_AT_ONCE: Final = 4
"""Notices that are claimed together, and sent one after another: fewer than fit into a lease."""


class Notifier:
    """A thread that looks and sends. Any number of processes may have one each.

    Args:
        watch: looks.
        store: of the notices.
        receivers: who is told; without any nothing is done.
        poll_s: from one look to the next.
        sending: sends; see `api.notifications.sender.send`.
    """

    def __init__(
        self,
        watch: Watch,
        store: NoticeStore,
        receivers: Sequence[Receiver],
        poll_s: float = _POLL_S,
        sending: Callable[[Receiver, Notice], str | None] = send,
    ) -> None:
        self._watch, self._store, self._poll_s, self._sending = watch, store, poll_s, sending
        self._receivers = {receiver.id: receiver for receiver in receivers}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._receivers:
            self._thread.start()

    def stop(self) -> None:
        """Look no more; what is being sent is not waited for: it is sent again by whoever comes next."""
        self._stop.set()

    def round(self) -> int:
        """Look, and send what is due.

        Returns:
            How many messages were tried.

        Raises:
            PipelineError: the database failed.
        """
        self._watch.look()
        tried = 0
        while not self._stop.is_set() and (claims := self._store.claim(_AT_ONCE)):
            for claim in claims:
                self._send(claim)
            tried += len(claims)
        return tried

    def _run(self) -> None:
        forgotten = False
        while not self._stop.is_set():
            try:
                if not forgotten and (gone := self._store.forget_all_but(self._receivers)):
                    said = {"action": "notices_forgotten", "number": gone}
                    logger.warning("notices for receivers that are no more were given up", **said)
                forgotten = True
                self.round()
            except PipelineError as exc:
                logger.warning("no notices: %s", exc.message, action="notices_failed", code=exc.code)
            except Exception:
                logger.exception("no notices", action="notices_failed")
            self._stop.wait(self._poll_s)

    def _send(self, claim: NoticeClaim) -> None:
        receiver = self._receivers.get(claim.receiver)
        if receiver is None:  # Another process's settings name him: it is its turn.
            return
        said = {"kind": claim.notice.kind.value, "receiver": receiver.shown, "attempt": claim.tries}
        reason = self._sending(receiver, claim.notice)
        if reason is None:
            self._store.sent(claim)
            logger.info("notice sent", action="notice_sent", **said)
        elif self._store.failed(claim):
            logger.warning("notice not sent: %s", reason, action="notice_retried", **said)
        else:
            logger.error(
                "notice given up: %s", reason, action="notice_dropped", title=claim.notice.title, **said
            )
