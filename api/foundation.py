"""What the API and every worker stand on: folders, the database, who keeps workers alive. Knows no HTTP."""

from __future__ import annotations

import sys

from sqlalchemy import Engine

from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.supervisor import Supervisor
from api.keeping.places import folders_of, with_keys
from api.keeping.restore import refuse_unfinished
from api.migrate import upgrade_when_there
from api.settings import Settings


def prepare(settings: Settings, *, create: bool = True) -> tuple[Engine, Folders]:
    """Make the folders, and open the database, brought up to date.

    Args:
        settings: where they are.
        create: whether to make a database that is missing.

    Raises:
        PipelineError: the folders or the database cannot be used, or a master key is missing.
    """
    refuse_unfinished(settings.data_dir)
    folders = folders_of(settings)
    folders.make()
    engine = open_database(settings.database_url.get_secret_value(), create=create)
    upgrade_when_there(engine)
    return engine, with_keys(folders, engine, settings)


def supervisor_of(settings: Settings, *, bells: bool = False, count: int | None = None) -> Supervisor:
    """What keeps the workers of a machine alive, not yet started.

    Args:
        settings: how many there are, and how patient it is with them.
        bells: whether they rest until they are told to look.
        count: how many; None: as the settings say.
    """
    return Supervisor(
        [sys.executable, "-m", "api", "worker"],
        settings.workers if count is None else count,
        grace_s=settings.grace_s + 5,
        silent_s=settings.worker_silence_s,
        bells=bells,
    )
