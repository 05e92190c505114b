"""What sources of weights and those who ask them say to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.progress import CancelToken


class SourceFailed(Exception):
    """A source did not deliver; the next one is tried. The message says why, in plain words."""


class Absent(SourceFailed):
    """The source works but does not have this file."""


class WrongBytes(SourceFailed):
    """The source delivered something else."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a transfer is.

    Attributes:
        model: name of the model.
        file: name of the file on its way.
        source: where it comes from, in words.
        received_bytes: so far.
        total_bytes: of the whole file.
    """

    model: str
    file: str
    source: str
    received_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Who wants a file: may stop it and hears how far it is.

    Attributes:
        model: name of the model.
        cancel: looked at between pieces.
        listener: called with every piece.
        source: where the file comes from, in words.
    """

    model: str
    cancel: CancelToken
    listener: Callable[[FetchProgress], None] | None = None
    source: str = ""

    def of(self, source: str) -> Transfer:
        """The same, from this source."""
        return replace(self, source=source)

    def step(self, file: str, received_bytes: int, total_bytes: int) -> None:
        """Stop here if asked to, else report.

        Raises:
            Cancelled: `cancel` was raised.
        """
        self.cancel.check()
        if self.listener is not None:
            self.listener(FetchProgress(self.model, file, self.source, received_bytes, total_bytes))
