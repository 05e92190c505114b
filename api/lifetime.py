"""The life of a service: what starts with it, and in which order it ends."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.to_thread import run_sync

from api.assembly import Assembly
from api.batch_intake import BatchIntake
from api.chores import do_chores
from api.leadership import Leadership


@asynccontextmanager
async def running(assembly: Assembly) -> AsyncIterator[None]:
    """Run workers, housekeeping and messengers for as long as the context lasts."""
    services, stop = assembly.services, threading.Event()
    given = (services, Leadership(assembly.engine, "housekeeping"), stop)
    housekeeper = threading.Thread(target=do_chores, args=given, name="housekeeping")
    assembly.supervisor.start()
    housekeeper.start()
    assembly.dispatcher.start()
    assembly.notifier.start()
    services.queue.start(assembly.engine)
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(services.feed.run)
            tasks.start_soon(BatchIntake(services, assembly.limits).run)
            yield
            tasks.cancel_scope.cancel()
    finally:
        stop.set()
        assembly.notifier.stop()
        await run_sync(assembly.supervisor.stop)
        # After the workers: what they end while they stop is told at once.
        await run_sync(assembly.dispatcher.stop)
        await run_sync(services.queue.close)
        await run_sync(services.listening.close)
        await run_sync(housekeeper.join)
        assembly.engine.dispose()
