from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.public_addresses import is_public, is_within, reached

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
    "192.167.255.255", "223.255.255.255", "168.63.129.17", "2606:4700::1111", "2001:4860:4860::8888",
    "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip
OWN = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",  # noqa: S104
    "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::",
    "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "4000::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ffff::1",
]  # fmt: skip

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_of_the_public_internet_are_reached(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OWN)
def test_addresses_of_machines_networks_clouds_and_tunnels_are_not(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@given(addresses)
def test_nothing_is_public_that_python_calls_special(address: ipaddress.IPv4Address) -> None:
    target = reached(address)
    if target.is_private or target.is_loopback or target.is_link_local or target.is_multicast:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_within_ipv6_is_judged_like_the_ipv4_address_it_stands_for(
    address: ipaddress.IPv4Address,
) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        disguised = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + int(address))
        assert is_public(disguised) == is_public(address)
        assert is_within(disguised, [ipaddress.ip_network(f"{address}/32")])


@given(st.ip_addresses(v=4))
def test_tunnels_are_refused_whatever_they_lead_to(address: ipaddress.IPv4Address) -> None:
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80)))  # 6to4
    assert not is_public(ipaddress.IPv6Address((0x20010000 << 96) | (~int(address) & 0xFFFF_FFFF)))  # Teredo


def test_a_network_of_one_version_holds_no_address_of_the_other() -> None:
    everything = [ipaddress.ip_network("0.0.0.0/0")]
    assert is_within(ipaddress.ip_address("10.1.1.1"), everything)
    assert not is_within(ipaddress.ip_address("::1"), everything)
