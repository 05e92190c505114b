"""Host names as they stand in URLs and in the operator's lists."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST: Final = 253  # RFC 1035, section 2.3.4, without the dot of the root
_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


def literal_address(host: str) -> Address | None:
    """The address that a host is, if it is one; only in the usual notation."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_host_name(host: str) -> bool:
    """Whether this is a name in lower-case ASCII, and no number in disguise.

    ``2130706433``, ``0x7f.1`` and ``127.1`` are 127.0.0.1 to the system's resolver: a name whose last part
    is a number is none (WHATWG URL, "ends in a number").
    """
    if len(host) > _LONGEST or _NAME.fullmatch(host) is None:
        return False
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is None


def is_host_pattern(pattern: str) -> bool:
    """Whether this can stand in an allow-list: a name, an address, or ``*.`` and a name."""
    if pattern.startswith("*."):
        return is_host_name(pattern[2:])
    return literal_address(pattern) is not None or is_host_name(pattern)


def is_listed(host: str, patterns: Iterable[str]) -> bool:
    """Whether an allow-list names a host.

    Args:
        host: as it stands in a checked URL: lower-case ASCII.
        patterns: ``media.example.org`` is that host alone; ``*.example.org`` is every host below, at any
            depth, and not ``example.org`` itself.
    """
    return any(
        host.endswith(pattern[1:]) and len(host) >= len(pattern) if pattern[0] == "*" else host == pattern
        for pattern in patterns
    )
