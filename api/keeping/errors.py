"""What can go wrong with backups, restores and erasures, beside `api.errors`."""

from __future__ import annotations

from api.errors import ServiceError


class BackupDamaged(ServiceError):
    """A backup is cut short, or not as it was written."""

    code = "backup_damaged"


class BackupUnknown(ServiceError):
    """There is no backup, or none from before that time."""

    code = "backup_unknown"


class BackupRunning(ServiceError):
    """Another process is at work on the same backups."""

    code = "backup_running"
    retryable = True


class RepositoryFailed(ServiceError):
    """The program that keeps the encrypted repository is missing, or refused."""

    code = "repository_failed"
    retryable = True


class PlaceOccupied(ServiceError):
    """Something lies where a backup was to be restored."""

    code = "place_occupied"


class RestoreUnfinished(ServiceError):
    """A restore was begun here and did not end."""

    code = "restore_unfinished"


class AdvisoriesUnavailable(ServiceError):
    """Whoever knows of vulnerabilities could not be asked."""

    code = "advisories_unavailable"
    retryable = True


class ReceiptInvalid(ServiceError):
    """A receipt or a checkpoint was changed, or was not signed here."""

    code = "receipt_invalid"
