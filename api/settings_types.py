"""Types of settings: what a value that comes as text may be, and what is said of one that may not."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from limits import parse_many
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from api.encryption.master_keys import parse_keys
from api.notifications.receivers import receivers_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def listed(value: Any) -> Any:
    """What is separated by commas, as a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def switched_off(value: Any) -> Any:
    """None for ``off`` and ``none``."""
    return None if isinstance(value, str) and value.strip().lower() in {"off", "none"} else value


def as_rate(value: str) -> str:
    """A rate such as ``10/hour``, as it is.

    Raises:
        ValueError: it is none, or allows nothing.
    """
    try:
        items = parse_many(value)
    except ValueError as exc:
        raise ValueError("should be a rate such as 10/hour, or off") from exc
    # The parser takes 0/hour, which would refuse everybody for ever.
    if any(item.amount < 1 for item in items):
        raise ValueError("should allow at least one request; or off")
    return value


def visible(value: SecretStr) -> SecretStr:
    """A secret that an HTTP header can carry.

    Raises:
        ValueError: it holds a blank or something else than ASCII.
    """
    # Anything else does not survive an HTTP header.
    if not all("!" <= c <= "~" for c in value.get_secret_value()):
        raise ValueError("should be visible ASCII characters without blanks")
    return value


def is_broker_url(value: SecretStr) -> SecretStr:
    """A URL of a Redis.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("should be redis://host:port/0, or rediss://… for TLS")
    return value


def _network(value: Any) -> Any:
    try:
        return ipaddress.ip_network(value)
    except ValueError as exc:
        raise ValueError(f"{value} is no address or network such as 10.0.0.0/8") from exc


def receivers(value: SecretStr) -> SecretStr:
    """Receivers of notices, as they are.

    Raises:
        ValueError: they make no sense; nothing of them is in the message.
    """
    receivers_of(value.get_secret_value())
    return value


def are_master_keys(value: SecretStr) -> SecretStr:
    """Master keys, as they are.

    Raises:
        ValueError: they make no sense; nothing of them is in the message.
    """
    parse_keys(value.get_secret_value())
    return value


def as_time_of_day(value: str) -> str:
    """A time such as ``07:00``, as it is.

    Raises:
        ValueError: there is no such time.
    """
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("should be a time of day such as 07:00, or off")
    return value


def at_least(length: int) -> AfterValidator:
    """A check that a secret has so many characters."""

    def check(value: SecretStr) -> SecretStr:
        # pydantic's own message would speak of items.
        if len(value.get_secret_value()) < length:
            raise ValueError(f"should have at least {length} characters")
        return value

    return AfterValidator(check)


Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], BeforeValidator(listed)]
Listed = Annotated[tuple[str, ...], BeforeValidator(listed)]
Ports = Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], BeforeValidator(listed)]
Rate = Annotated[str, AfterValidator(as_rate)]
Cleanup = Annotated[Annotated[int, Field(ge=1, le=99)] | None, BeforeValidator(switched_off)]
OptionalRate = Annotated[Rate | None, BeforeValidator(switched_off)]
TimeOfDay = Annotated[Annotated[str, AfterValidator(as_time_of_day)] | None, BeforeValidator(switched_off)]
Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
