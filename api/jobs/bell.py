"""The bell of a worker: a pipe by which its supervisor tells it to look for work now.

A worker without one looks four times a second. With one it rests until it rings, and looks by itself only now
and then, for whatever nobody was told of.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from typing import Final

_STOP_S: Final = 0.25
"""How late a worker that rests notices that it has to stop."""


class Bell:
    """The supervisor's end.

    Attributes:
        fd: the worker's end, to be handed to it and then closed here by `handed_over`.

    Raises:
        OSError: this process has too many files open.
    """

    def __init__(self) -> None:
        self.fd, self._rope = os.pipe()
        for end in (self._rope, self.fd):
            os.set_blocking(end, False)

    def ring(self) -> None:
        """Tell the worker to look."""
        with suppress(OSError):  # It has rung often enough, or there is nobody.
            os.write(self._rope, b".")

    def handed_over(self) -> None:
        """Close the worker's end in this process."""
        os.close(self.fd)

    def close(self) -> None:
        """Ring no more."""
        os.close(self._rope)


def rest(fd: int, stop: threading.Event, most_s: float) -> None:
    """Wait until the bell rings, in a worker.

    Args:
        fd: its end of the pipe.
        stop: set when the worker has to stop; then this returns soon.
        most_s: return after so long in any case.
    """
    until = time.monotonic() + most_s
    while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
        if select.select([fd], [], [], min(left_s, _STOP_S))[0]:
            with suppress(BlockingIOError):
                os.read(fd, 4096)
            return
