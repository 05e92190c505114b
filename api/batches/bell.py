"""Tells who takes items in that there may be some."""

from __future__ import annotations

import anyio


class BatchBell:
    """Rings within one process and one event loop; other replicas look by themselves."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        self._rung.set()
        self._rung = anyio.Event()

    async def wait(self, most_s: float) -> None:
        """Return when it rings, or when the time is over."""
        with anyio.move_on_after(most_s):
            await self._rung.wait()
