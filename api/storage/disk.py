"""A folder as storage: a volume that all machines mount."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from api.storage.base import SignedUrl, unavailable
from pipeline.scratch import sync_folder

_TEMPORARY = ".tmp-"


class DiskStorage:
    """Implements `api.storage.base.Storage`; see there.

    It asks of the volume what NFS has: rename and link are atomic, and a file that was fsynced is there.

    Args:
        root: the folder. It is made once, by `create`: where it is missing later, its disk is not mounted.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self) -> None:
        """Make the folder, for this user alone."""
        with _told():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, key: str, path: Path, *, if_absent: bool = False) -> bool:
        """Keep a copy of a file, durably."""
        target = self._root / key
        with _told():
            self._there()
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = target.parent / f"{_TEMPORARY}{uuid.uuid4()}"
            try:
                _copy(path, temporary)
                if if_absent:
                    try:
                        os.link(temporary, target)
                    except FileExistsError:
                        return False
                else:
                    temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(target.parent)
        return True

    def fetch(self, key: str, target: Path) -> bool:
        """Copy a file to disk. False when there is none."""
        temporary = target.parent / f"{_TEMPORARY}{uuid.uuid4()}"
        with _told():
            self._there()
            if not (self._root / key).is_file():
                return False
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _copy(self._root / key, temporary)
                temporary.replace(target)
            except FileNotFoundError:
                return False  # Removed meanwhile.
            finally:
                temporary.unlink(missing_ok=True)
        return True

    def size(self, key: str) -> int | None:
        """Bytes of a file; None when there is none."""
        with _told():
            self._there()
            try:
                return (self._root / key).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def below(self, prefix: str) -> Iterator[str]:
        """The names directly below a prefix."""
        with _told():
            self._there()
            folder = self._root / prefix
            names = os.listdir(folder) if folder.is_dir() else []
        yield from (name for name in names if not name.startswith(_TEMPORARY))

    def remove(self, prefix: str) -> int:
        """Remove every file whose key begins so, and folders that are empty then."""
        with _told():
            self._there()
            folder, _, beginning = prefix.rpartition("/")
            count = 0
            home = self._root / folder
            for path in list(home.iterdir()) if home.is_dir() else []:
                if not path.name.startswith(beginning):
                    continue
                if path.is_dir():
                    count += sum(one.is_file() for one in path.rglob("*"))
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                    count += 1
            if home != self._root:
                with suppress(OSError):
                    home.rmdir()  # Unless it still holds others.
        return count

    def download_url(self, key: str, valid_s: int, filename: str, media_type: str) -> SignedUrl | None:
        """None: a folder has no addresses."""
        return None

    def upload_url(self, key: str, valid_s: int, size: int) -> SignedUrl | None:
        """None: a folder has no addresses."""
        return None

    def _there(self) -> None:
        if not self._root.is_dir():
            raise FileNotFoundError(self._root)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise unavailable(exc) from exc
