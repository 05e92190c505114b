"""Which IP addresses are everybody's, and which are somebody's own: networks, machines, clouds."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from api.host_names import Address
from api.settings_types import Network

# Python's `is_global` is not asked: what it says has changed between patch releases.
# IANA IPv4 Special-Purpose Address Registry: all that is not globally reachable; multicast; reserved.
_V4_REFUSED: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # a public number that is the host itself on machines of Azure
    )
)  # fmt: skip
# IANA IPv6 Address Space: what was given to the public so far (RFC 4291, section 2.4) …
_V6_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
# … less the special-purpose registry's: protocols (with Teredo), documentation, 6to4.
_V6_REFUSED: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, wherever it is asked from.

    6to4 and Teredo are refused whatever they carry: nobody serves by them, and they can lead anywhere.
    """
    address = reached(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _V4_REFUSED)
    return address in _V6_GLOBAL and not any(address in network for network in _V6_REFUSED)


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address, or the one that it stands for, lies in one of some networks."""
    return any(
        either.version == network.version and either in network
        for either in {address, reached(address)}
        for network in networks
    )


def reached(address: Address) -> Address:
    """Where packets to an address go: the IPv4 address behind one that is mapped or translated (NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
