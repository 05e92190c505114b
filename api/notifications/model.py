"""Notices: what operators are told by the service itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a notice is about; a receiver may ask for some of them."""

    FAILURES = "failures"  # jobs failed
    SUMMARY = "summary"  # what happened within a day
    ADMISSION = "admission"  # the service takes no work any more, or again


class Level(StrEnum):
    """How grave a notice is, in the words of apprise."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to operators.

    Attributes:
        kind: what it is about.
        level: how grave it is.
        title: one line.
        body: plain text.
    """

    kind: Kind
    level: Level
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class NoticeClaim:
    """The right to send a notice to one receiver, as long as its lease lasts.

    Attributes:
        seq: of its row.
        receiver: id of `api.notifications.receivers.Receiver`.
        tries: this one included; what is recorded with an older one changes nothing.
        notice: to be sent.
    """

    seq: int
    receiver: str
    tries: int
    notice: Notice
