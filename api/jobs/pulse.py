"""The pulse of a worker: a pipe by which its supervisor hears that it goes on.

A process can live and do nothing for ever. A thread that is started while memory is short may never come up,
and who started it waits for it (CPython's ``Thread.start``); a call to a driver or a disk may never return.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_LOOK_S: Final = 1.0
"""Nobody listened for longer than this: the listener was stopped, and its worker perhaps with it."""


class Pulse:
    """The end of the pipe at which the supervisor listens.

    Args:
        now: when the worker starts, by the clock of `silence_s`.

    Attributes:
        fd: the worker's end, to be handed to it and then closed here by `handed_over`.
        heard: whether the worker has come so far as to beat.

    Raises:
        OSError: this process has too many files open.
    """

    def __init__(self, now: float) -> None:
        self._ear, self.fd = os.pipe()
        for end in (self._ear, self.fd):
            os.set_blocking(end, False)
        self.heard = False
        self._looked_at, self._silence_s = now, 0.0

    def handed_over(self) -> None:
        """Close the worker's end in this process."""
        os.close(self.fd)

    def silence_s(self, now: float) -> float:
        """For how many seconds nothing was heard; those in which nobody listened do not count.

        Args:
            now: monotonic seconds.
        """
        self._silence_s += min(now - self._looked_at, _LOOK_S)
        self._looked_at = now
        with suppress(BlockingIOError):
            while os.read(self._ear, 4096):
                self.heard, self._silence_s = True, 0.0
        return self._silence_s

    def close(self) -> None:
        """Listen no more."""
        os.close(self._ear)


def beating(fd: int | None) -> Callable[[], None]:
    """What a worker calls now and then to be heard.

    Args:
        fd: its end of the pipe; None: nobody listens.
    """
    if fd is None:
        return lambda: None
    os.set_inheritable(fd, False)

    def beat() -> None:
        with suppress(OSError):  # The pipe is full, or its other end has gone: there is nobody to tell.
            os.write(fd, b".")

    return beat
