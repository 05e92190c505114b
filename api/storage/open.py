"""The storage that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from api.settings import Settings
from api.storage.base import Storage
from api.storage.disk import DiskStorage


def open_storage(settings: Settings) -> Storage | None:
    """What STORAGE names; None: recordings and results stay in the folders of this machine.

    Raises:
        StorageUnavailable: the folder cannot be made.
    """
    if settings.storage is None:
        return None
    scheme, _, rest = settings.storage.partition("://")
    if scheme != "s3":
        disk = DiskStorage(Path(settings.storage))
        disk.create()
        return disk
    from api.storage.s3 import S3Storage  # boto3 takes a while: whoever has no S3 need not wait for it.

    bucket, _, prefix = rest.partition("/")
    return S3Storage(
        bucket,
        prefix.strip("/"),
        endpoint=settings.storage_endpoint,
        encryption=settings.storage_encryption,
    )
