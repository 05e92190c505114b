"""The pulse of a worker: a pipe by which its supervisor hears that it goes on.

A process can live and do nothing for ever. A thread that is started while memory is short may never come up,
and who started it waits for it (CPython's ``Thread.start``); a call to a driver or a disk may never return.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_BEAT: Final = b"."
_RESTS: Final = b"z"
_WORKS: Final = b"w"
_LOOK_S: Final = 1.0
"""Nobody listened for longer than this: the listener was stopped, and its worker perhaps with it."""


class Pulse:
    """The end of the pipe at which the supervisor listens.

    Args:
        now: when the worker starts, by the clock of `silence_s`.

    Attributes:
        fd: the worker's end, to be handed to it and then closed here by `handed_over`.
        heard: whether the worker has come so far as to beat.
        rests: how often it has said that it found nothing to do.
        resting: whether it has nothing to do now.

    Raises:
        OSError: this process has too many files open.
    """

    def __init__(self, now: float) -> None:
        self._ear, self.fd = os.pipe()
        for end in (self._ear, self.fd):
            os.set_blocking(end, False)
        self.heard = False
        self.rests = 0
        self.resting = False
        self._lock = threading.Lock()
        self._news = False
        self._looked_at, self._silence_s = now, 0.0

    def handed_over(self) -> None:
        """Close the worker's end in this process."""
        os.close(self.fd)

    def silence_s(self, now: float) -> float:
        """For how many seconds nothing was heard; those in which nobody listened do not count.

        Args:
            now: monotonic seconds.
        """
        self.hear()
        self._silence_s = 0.0 if self._news else self._silence_s + min(now - self._looked_at, _LOOK_S)
        self._looked_at, self._news = now, False
        return self._silence_s

    def hear(self) -> None:
        """Take in what the worker has said. Any thread may call this."""
        with self._lock, suppress(OSError):  # Nothing more, or closed meanwhile.
            while said := os.read(self._ear, 4096):
                self.heard = self._news = True
                self.rests += said.count(_RESTS)
                if (last := max(said.rfind(_RESTS), said.rfind(_WORKS))) >= 0:
                    self.resting = said[last : last + 1] == _RESTS

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            os.close(self._ear)


def beating(fd: int | None) -> Callable[[], None]:
    """What a worker calls now and then to be heard.

    Args:
        fd: its end of the pipe; None: nobody listens.
    """
    return _saying(fd, _BEAT)


def resting(fd: int | None) -> Callable[[], None]:
    """What a worker calls when it has found nothing to do.

    Args:
        fd: its end of the pipe; None: nobody listens.
    """
    return _saying(fd, _RESTS)


def working(fd: int | None) -> Callable[[], None]:
    """What a worker calls when it begins a job.

    Args:
        fd: its end of the pipe; None: nobody listens.
    """
    return _saying(fd, _WORKS)


def _saying(fd: int | None, what: bytes) -> Callable[[], None]:
    if fd is None:
        return lambda: None
    os.set_inheritable(fd, False)

    def say() -> None:
        with suppress(OSError):  # The pipe is full, or its other end has gone: there is nobody to tell.
            os.write(fd, what)

    return say
