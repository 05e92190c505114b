"""Who is at the other end: the socket's address, or what a trusted proxy says."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from api.settings_types import Network

UNKNOWN = "unknown"
"""The address of who cannot be told: a socket of the file system."""

_V6_PREFIX = 64  # What one customer is given at least (RFC 6177, section 2).


def client_address(scope: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """The address of the client.

    ``X-Forwarded-For`` is believed only as far as trusted proxies wrote it: from its right end, up to and
    including the first address that is not one of theirs. What is left of that, the client may have invented.

    Args:
        scope: of an ASGI connection.
        trusted: networks of the proxies.

    Returns:
        An IP address; the IPv4 address of one that is mapped into IPv6; or `UNKNOWN`.
    """
    peer = scope.get("client")
    address = _parsed(peer[0]) if peer else None
    if address is None:
        return UNKNOWN
    if not trusted or not _within(address, trusted):
        return str(address)
    chain = [
        part.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for part in value.decode("latin-1").split(",")
    ]
    for text in reversed(chain):
        behind = _parsed(text)
        if behind is None:
            break
        address = behind
        if not _within(address, trusted):
            break
    return str(address)


def neighbourhood(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 one."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _V6_PREFIX), strict=False))
    return address


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
