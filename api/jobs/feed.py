"""Tells requests that wait for a job when something has happened to it: one query for all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from anyio.abc import TaskStatus
from anyio.to_thread import run_sync

from api.jobs.store import JobStore
from pipeline.errors import PipelineError

log = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_IDLE_S: Final = 5.0
_PAUSE_S: Final = 2.0
_PAGE: Final = 1000


class Listener:
    """Waits for news of one job."""

    def __init__(self) -> None:
        self._news = anyio.Event()

    def reset(self) -> None:
        """Wait for what comes from now on. Call it before looking at the job: then nothing is missed."""
        self._news = anyio.Event()

    async def wait(self, most_s: float) -> None:
        """Return when there was news since `reset`, or when the time is over."""
        with anyio.move_on_after(most_s):
            await self._news.wait()

    def wake(self) -> None:
        """Say that there is news."""
        self._news.set()


class Feed:
    """Watches the store's events as long as somebody listens. Belongs to one event loop.

    Args:
        store: of the jobs.
        poll_s: how often it is asked.
    """

    def __init__(self, store: JobStore, *, poll_s: float = _POLL_S) -> None:
        self._store = store
        self._poll_s = poll_s
        self._listeners: dict[str, set[Listener]] = {}
        self._begun = anyio.Event()

    @contextmanager
    def listen(self, job_id: str) -> Iterator[Listener]:
        """Listen to what happens to a job."""
        listener = Listener()
        self._listeners.setdefault(job_id, set()).add(listener)
        self._begun.set()
        try:
            yield listener
        finally:
            self._listeners[job_id].discard(listener)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled. Started with `TaskGroup.start`, it has begun to watch when that returns."""
        after = await run_sync(self._store.last_event)
        task_status.started()
        while True:
            try:
                after = await self._look(after)
            except PipelineError:
                # Whoever listens asks again by himself after a while.
                log.warning("no news of jobs", exc_info=True, extra={"action": "feed_failed"})
                await anyio.sleep(_PAUSE_S)
            if self._listeners:
                await anyio.sleep(self._poll_s)
            else:
                self._begun = anyio.Event()
                with anyio.move_on_after(_IDLE_S):
                    await self._begun.wait()

    async def _look(self, after: int) -> int:
        while events := await run_sync(self._store.events, None, after, _PAGE):
            for event in events:
                after = event.id
                for listener in self._listeners.get(event.job_id, ()):
                    listener.wake()
        return after
