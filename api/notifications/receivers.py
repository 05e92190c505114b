"""Receivers of notices: URLs as apprise has them, and what each wants to hear."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from api.notifications.model import Kind

_BEGINS: Final = r"(?:[a-z]+(?:\|[a-z]+)*=)?[a-z][a-z0-9+.-]*://"
_BETWEEN: Final = re.compile(rf"[\s,]+(?={_BEGINS})")
_FORM: Final = re.compile(r"(?:(?P<kinds>[a-z]+(?:\|[a-z]+)*)=)?(?P<url>[a-z][a-z0-9+.-]*://\S+)")
_PARTS: Final = re.compile(r"[/:@?&=,]+")
_SECRET_LENGTH: Final = 6
"""A part of a URL of so many characters is hidden wherever it shows up; shorter ones are ports and such."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told.

    Attributes:
        url: apprise's; secret.
        kinds: what he wants to hear.
    """

    url: str
    kinds: frozenset[Kind]

    @property
    def id(self) -> str:
        """What he is known by where the URL must not be: 64 hexadecimal digits."""
        return hashlib.sha256(self.url.encode()).hexdigest()

    @property
    def shown(self) -> str:
        """What he is called in logs: nothing of it is secret."""
        return f"{self.url.partition('://')[0]}://… ({self.id[:8]})"


def receivers_of(text: str) -> tuple[Receiver, ...]:
    """Read receivers: URLs with blanks or commas between them, each perhaps after ``failures|admission=``.

    A comma inside a URL is no end of it.

    Raises:
        ValueError: one is none. Its message shows no part of any URL.
    """
    found = []
    for number, part in enumerate(_BETWEEN.split(text.strip()), 1):
        form = _FORM.fullmatch(part)
        if form is None:
            raise ValueError(f"number {number} should read like mailto://… or failures|admission=slack://…")
        names = form["kinds"].split("|") if form["kinds"] else list(Kind)
        unknown = sorted(set(names) - set(Kind))
        if unknown:
            raise ValueError(f"number {number} asks for {unknown[0]}; there are {', '.join(Kind)}")
        found.append(Receiver(form["url"], frozenset(Kind(name) for name in names)))
    return tuple(found)


def secret_parts(receivers: Iterable[Receiver]) -> Iterator[str]:
    """What must not appear in any log: the URLs, and the tokens and passwords that they are made of."""
    for receiver in receivers:
        yield receiver.url
        for part in _PARTS.split(receiver.url.partition("://")[2]):
            if len(part) >= _SECRET_LENGTH:
                yield part
                yield unquote(part)
