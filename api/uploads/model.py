"""What an upload is, while it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording on its way in, or one that waits for its job.

    Attributes:
        id: ours; nobody can guess it.
        filename: as its owner calls it; printable, and metadata only.
        metadata: the header Upload-Metadata as the client sent it; may be empty.
        length: bytes that it will have.
        offset: bytes that are here.
        created_at: when it was begun.
        expires_at: when it is given up, unless more of it comes or a job is made of it before.
    """

    id: str
    filename: str
    metadata: str
    length: int
    offset: int
    created_at: datetime
    expires_at: datetime

    @property
    def finished(self) -> bool:
        """Whether all of it is here."""
        return self.offset == self.length


@dataclass(frozen=True, slots=True)
class Taken:
    """A finished upload of which a job is being made.

    Attributes:
        path: where its bytes lie; may be moved away.
        filename: as its owner calls it.
        bytes: its size.
    """

    path: Path
    filename: str
    bytes: int
