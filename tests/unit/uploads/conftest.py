"""A folder of uploads for every test."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.uploads.store import Uploads

DAY_S = 86400.0


@dataclass
class Shelf:
    """Uploads, and a clock that goes by hand.

    Attributes:
        uploads: at most three an owner, 1 MB together.
        folder: where they lie.
        incoming: where their files go on their way into a job.
        late_s: how far the clock is ahead.
    """

    folder: Path
    incoming: Path
    late_s: float = 0.0
    uploads: Uploads = field(init=False)

    def __post_init__(self) -> None:
        self.uploads = self.another()

    def another(self) -> Uploads:
        """The same uploads, as another process has them."""
        return Uploads(
            self.folder,
            self.incoming,
            expiry_s=DAY_S,
            most=3,
            most_bytes=1 << 20,
            now=lambda: time.time() + self.late_s,
        )

    def begun(self, owner: str = "alice", length: int = 10, admit: Callable[[int], None] = print) -> str:
        """Begin an upload; its id."""
        return self.uploads.create(owner, length, "song.wav", "", admit).id

    def sent(self, content: bytes, owner: str = "alice", length: int | None = None) -> str:
        """Begin an upload, and send bytes; its id."""
        upload_id = self.begun(owner, len(content) if length is None else length)
        writer = self.uploads.open(owner, upload_id)
        writer.write(content)
        writer.close()
        return upload_id

    def place(self, upload_id: str) -> Path:
        """The folder of an upload."""
        (found,) = self.folder.glob(f"*/{upload_id}")
        return found

    def left(self) -> list[str]:
        """Everything that lies about but the lock."""
        found = [*self.folder.rglob("*"), *self.incoming.glob(".incoming-*")]
        return sorted(path.name for path in found if path.name != ".lock")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / ".resumable").mkdir()
    return Shelf(tmp_path / ".resumable", tmp_path)
