"""Who is signed in: a random id in the browser's cookie stands for a key that stays in this process."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

COOKIE: Final = "audio_pipeline_session"
_MOST: Final = 10_000


class Sessions:
    """The keys of those who are signed in, in memory alone: a restart of the UI asks everybody again.

    Args:
        lasts_s: seconds without a visit after which a session ends.
        clock: monotonic seconds.
    """

    def __init__(self, lasts_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts_s, self._clock = lasts_s, clock
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def begin(self, key: str) -> str:
        """Sign somebody in.

        Returns:
            The id that stands for the key: 256 random bits.
        """
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._held[session] = (key, self._clock())
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        return session

    def key(self, session: str) -> str | None:
        """The key that an id stands for; None where the session has ended, or never was."""
        now = self._clock()
        with self._lock:
            while self._held and now - next(iter(self._held.values()))[1] > self._lasts_s:
                self._held.popitem(last=False)
            if session not in self._held:
                return None
            key = self._held[session][0]
            self._held[session] = (key, now)
            self._held.move_to_end(session)
            return key

    def end(self, session: str) -> None:
        """Sign somebody out."""
        with self._lock:
            self._held.pop(session, None)
