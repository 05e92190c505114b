"""What a storage promises: files by key, shared by all machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from api.errors import StorageUnavailable


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address that works for a while, for whoever has it.

    Attributes:
        url: of it.
        headers: that a request must carry exactly so.
    """

    url: str
    headers: dict[str, str]


class Storage(Protocol):
    """Keeps files under keys such as ``outputs/<job_id>/manifest.json``: whole, or not at all.

    Every method raises StorageUnavailable when the storage is out of reach, refuses, or is full.
    """

    def put(self, key: str, path: Path, *, if_absent: bool = False) -> bool:
        """Keep a copy of a file; durable when it returns.

        Args:
            key: under which.
            path: of the file.
            if_absent: whether a file that is there already stays. Of several at once, one succeeds.

        Returns:
            Whether it is this copy that is kept.
        """
        ...

    def fetch(self, key: str, target: Path) -> bool:
        """Copy a file to disk: complete under its name, or not there. False when there is no such file."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes of a file; None when there is none."""
        ...

    def below(self, prefix: str) -> Iterator[str]:
        """The names directly below a prefix that ends in ``/``, in any order."""
        ...

    def remove(self, prefix: str) -> int:
        """Remove every file whose key begins so.

        Returns:
            How many.
        """
        ...

    def download_url(self, key: str, valid_s: int, filename: str, media_type: str) -> SignedUrl | None:
        """An address from which a browser may fetch a file; None where there is no such thing."""
        ...

    def upload_url(self, key: str, valid_s: int, size: int) -> SignedUrl | None:
        """An address to which a file of this size may be PUT; None where there is no such thing."""
        ...


def unavailable(exc: BaseException) -> StorageUnavailable:
    """What is said of a storage that does not do what it should."""
    return StorageUnavailable(
        f"The storage of recordings and results does not answer as it should ({type(exc).__name__}).",
        "Check STORAGE, its rights and its network; the service's log says more.",
        retry_after_s=30,
    )
