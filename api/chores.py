"""What the service does now and then by itself: it forgets what is due, and sweeps up what is left over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from api.clocks import SteadyClock
from api.dependencies import Services
from api.jobs import result_cache
from api.jobs.housekeeping import keep_house, sweep
from api.keeping.places import policy_of, record_expiry
from api.leadership import Leadership
from api.log_files import remove_old_logs
from api.settings import MIB

_BATCHES_KEPT: Final = timedelta(days=30)
"""For how long it is known which jobs came in one batch."""


def do_chores(services: Services, leadership: Leadership, stop: threading.Event) -> None:
    """Do them again and again until told to stop.

    Args:
        services: what is kept in order.
        leadership: whether it is this replica that does what must be done once.
        stop: ends it.
    """
    with leadership:
        keep_house(_chores(services, leadership), stop)


def _chores(services: Services, leadership: Leadership) -> list[Callable[[], None]]:
    settings = services.settings
    clock = SteadyClock(services.folders.data / "clock")

    def sweep_jobs() -> None:
        sweep(
            services.store,
            services.folders,
            policy_of(settings, services.holds.held()),
            clock.now,
            separation_cache_bytes=settings.separation_cache_mb * MIB,
            listening_cache_bytes=settings.listening_cache_mb * MIB,
            gone=partial(record_expiry, services.audit, "system"),
        )

    def sweep_uploads() -> None:
        services.uploads.sweep(clock.now())

    def forget_deliveries() -> None:
        services.webhooks.forget(clock.now() - timedelta(days=settings.webhook_log_days))

    def forget_batches() -> None:
        services.batches.forget(clock.now() - _BATCHES_KEPT)

    def sweep_copies() -> None:
        result_cache.prune(services.folders, settings.storage_cache_mb * MIB)

    def sweep_storage() -> None:
        # What lies on this machine is this machine's to sweep; what all share, one does.
        if leadership.leads():
            result_cache.sweep_shared(services.store, services.folders, clock.now())
            services.direct.sweep()

    def finish_erasures() -> None:
        if leadership.leads():
            services.eraser.finish()

    def sweep_logs() -> None:
        remove_old_logs(services.folders.logs, clock.now() - timedelta(days=settings.log_days))

    return [
        finish_erasures, sweep_jobs, sweep_uploads, forget_deliveries, forget_batches, sweep_copies,
        sweep_storage, sweep_logs,
    ]  # fmt: skip
