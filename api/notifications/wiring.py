"""A notifier as the settings want it."""

from __future__ import annotations

import socket
import time

from sqlalchemy import Engine

from api.jobs.admission import Admission
from api.jobs.folders import Folders
from api.machine_metrics import fullest_disk, last_backup
from api.notifications.notifier import Notifier
from api.notifications.store import NoticeStore
from api.notifications.watch import Watch, WatchConfig
from api.settings import Settings, told_by


def notifier_of(settings: Settings, engine: Engine, admission: Admission, folders: Folders) -> Notifier:
    """Make it; without receivers it does nothing.

    Args:
        settings: who is told of what.
        engine: of the database.
        admission: says whether work is taken.
        folders: whose disks are watched.
    """
    receivers = told_by(settings)
    hours, _, minutes = (settings.notify_summary_at or "").partition(":")
    config = WatchConfig(
        receivers=receivers,
        interval_s=settings.notify_interval_s,
        every_failure=settings.notify_failures == "all",
        summary_minute=60 * int(hours) + int(minutes) if hours else None,
        max_queued=settings.max_queued,
        host=socket.gethostname(),
    )

    def machine() -> tuple[float, float | None]:
        backup = last_backup(folders.data)
        return fullest_disk(folders), None if backup is None else max(time.time() - backup.finished_at, 0.0)

    store = NoticeStore(engine)
    watch = Watch(engine, store, lambda: admission.state().reasons, machine, config)
    return Notifier(watch, store, receivers)
