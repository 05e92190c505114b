"""Which folders and which vault the settings name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from api.audit import Audit
from api.encryption.data_keys import open_keys
from api.encryption.master_keys import MasterKeys, master_keys_of
from api.errors import SettingsInvalid
from api.jobs.folders import Folders
from api.jobs.model import Job
from api.jobs.retention import Due, Policy
from api.jobs.shared import Shared
from api.keeping.restic import ResticVault
from api.keeping.vault import FolderVault, Vault
from api.settings import Settings
from api.storage.open import open_storage


def folders_of(settings: Settings) -> Folders:
    """The folders that the settings name, and the storage behind them."""
    storage = open_storage(settings)
    return Folders(
        settings.data_dir,
        settings.uploads_dir,
        settings.outputs_dir,
        settings.downloads_dir,
        settings.logs_dir,
        None if storage is None else Shared(storage),
    )


def master_keys(settings: Settings) -> MasterKeys | None:
    """The master keys that the settings name; None: nothing is encrypted."""
    keys = settings.encryption_keys
    return master_keys_of(
        None if keys is None else keys.get_secret_value(),
        settings.encryption_command,
        settings.encryption_command_key,
    )


def with_keys(folders: Folders, engine: Engine, settings: Settings) -> Folders:
    """Folders whose files can be read.

    Raises:
        MasterKeyMissing: something is encrypted with a master key that the settings do not name.
        MasterKeyWrong: a master key is another one than before.
        KeyCommandFailed: a key service refused.
        DatabaseUnavailable: the database cannot be read.
    """
    return replace(folders, keys=open_keys(engine, master_keys(settings)))


def policy_of(settings: Settings, held: Callable[[Job], bool]) -> Policy:
    """How long audio is kept, by the settings and the holds as they are now."""
    days, percent = settings.job_retention_days, settings.disk_cleanup_percent
    kept = timedelta(days=days) if days else None
    return Policy(kept, None if percent is None else percent / 100, held)


def record_expiry(audit: Audit, user: str, one: Due) -> None:
    """Have the audit log tell of audio that was deleted by retention."""
    audit.record(
        "expire", user=user, input=one.reason, output=f"{one.bytes} bytes", status="done", job_id=one.job.id
    )


def vault_of(settings: Settings, folder: Path | None = None) -> Vault:
    """Where backups are kept.

    Args:
        settings: of the service.
        folder: plain files there, whatever the settings say.

    Raises:
        SettingsInvalid: a repository has no password.
    """
    if folder is None and settings.backup_repository is not None:
        if settings.backup_password is None:
            raise SettingsInvalid(
                "PIPELINE_BACKUP_PASSWORD: should be set: the repository is encrypted.",
                "docs/RECOVERY.md says how to choose and keep it.",
            )
        return ResticVault(
            settings.backup_repository.get_secret_value(), settings.backup_password.get_secret_value()
        )
    return FolderVault(folder or settings.backup_dir)
