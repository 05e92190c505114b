"""Sends what is due, several messages at a time, as long as the service runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import structlog

from api.webhooks.model import DeliveryClaim
from api.webhooks.sender import Sender
from api.webhooks.store import LEASE_S, WebhookStore
from pipeline.errors import PipelineError

logger = structlog.get_logger(__name__)

SLOTS: Final = 8
"""Attempts at a time."""

_POLL_S: Final = 0.5
_PAUSE_S: Final = 5.0
"""After the database failed."""


class Dispatcher:
    """Claims deliveries and makes attempts. Any number of processes may have one each.

    An attempt is made outside of any transaction. Whoever dies between sending and saying so loses the claim,
    and the message is sent again under the same id: receivers get each at least once.

    Args:
        store: of the deliveries.
        sender: makes the attempts.
        clock: monotonic seconds.
    """

    def __init__(
        self, store: WebhookStore, sender: Sender, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait for the answers to what was sent."""
        self._stop.set()
        self._thread.join()

    def round(self, most: int = SLOTS) -> int:
        """Claim what is due and send it, one after another.

        Args:
            most: attempts at most.

        Returns:
            How many were made.

        Raises:
            PipelineError: the database failed.
        """
        claims = self._store.claim(most)
        for claim in claims:
            self._attempt(claim, self._clock())
        return len(claims)

    def _run(self) -> None:
        sending: set[Future[None]] = set()
        with ThreadPoolExecutor(SLOTS, "webhook") as pool:
            while not self._stop.is_set():
                sending = {future for future in sending if not future.done()}
                free = SLOTS - len(sending)
                if not free:
                    wait(sending, _POLL_S, FIRST_COMPLETED)
                    continue
                claims = self._claim(free)
                claimed_at = self._clock()
                sending |= {pool.submit(self._attempt, claim, claimed_at) for claim in claims}
                if not claims:
                    self._stop.wait(_POLL_S)

    def _claim(self, most: int) -> list[DeliveryClaim]:
        try:
            return self._store.claim(most)
        except Exception:
            logger.exception("webhooks cannot be claimed", action="webhook_claim_failed")
            self._stop.wait(_PAUSE_S)
            return []

    def _attempt(self, claim: DeliveryClaim, claimed_at: float) -> None:
        said = {"webhook_id": claim.id, "job_id": claim.job_id, "attempt": claim.fence}
        if self._clock() - claimed_at > LEASE_S / 2:
            # This process was frozen meanwhile: the claim may be another's by the time that an answer comes.
            logger.warning("a webhook's claim is too old to be used", action="webhook_late", **said)
            return
        try:
            answer = self._sender.send(claim.owner, claim.url, claim.id, claim.at, claim.payload)
            status = self._store.record(claim, answer)
        except PipelineError as exc:
            # It is sent again when the lease runs out, under the same id.
            logger.warning("a webhook's attempt is unsaid", action="webhook_unsaid", code=exc.code, **said)
            return
        except Exception:
            logger.exception("a webhook's attempt is unsaid", action="webhook_unsaid", **said)
            return
        logger.info(
            "webhook attempted",
            action="webhook_attempted",
            outcome=status.value if status else "lost",
            status_code=answer.status_code,
            error=answer.error,
            seconds=round(answer.seconds, 3),
            **said,
        )
