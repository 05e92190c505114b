from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.host_names import is_host_name, is_host_pattern, is_listed, literal_address

numbers = st.integers(0, (1 << 32) - 1).flatmap(
    lambda number: st.sampled_from([f"{number}", f"{number:#x}", f"0{number:o}"])
)


@pytest.mark.parametrize(
    "host",
    ["example.org", "localhost", "a.b-c.example", "my_bucket.example", "xn--mnchen-3ya.de", "1e100.net"],
)
def test_names_are_names(host: str) -> None:
    assert is_host_name(host)


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "example.org.", ".example.org", "a..b", "-a.org", "a-.org", "A.org", "a b", "a%00b", "a\n",
        "ü.de", "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1", "1.2.3.0x",
        "[::1]", "::1", "a/b", "a\\b", "a@b", "a:80", "x" * 64 + ".org", "a." * 127 + "org",
    ],
)  # fmt: skip
def test_what_is_no_name_or_a_number_in_disguise_is_refused(host: str) -> None:
    assert not is_host_name(host)


@given(st.lists(numbers, min_size=1, max_size=4).map(".".join))
def test_no_number_however_it_is_written_is_a_name(host: str) -> None:
    assert not is_host_name(host)
    assert not is_host_name(f"example.{host}")


def test_addresses_are_taken_in_the_usual_notation_only() -> None:
    assert str(literal_address("127.0.0.1")) == "127.0.0.1"
    assert str(literal_address("::1")) == "::1"
    assert literal_address("0177.0.0.1") is literal_address("127.1") is literal_address("2130706433") is None


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("example.org", True),
        ("media.example.net", True),
        ("a.b.example.net", True),
        ("example.net", False),
        (".example.net", False),
        ("evilexample.net", False),
        ("www.example.org", False),
        ("example.org.evil.test", False),
        ("127.0.0.1", False),
    ],
)
def test_the_list_names_hosts_and_what_lies_below(host: str, listed: bool) -> None:
    assert is_listed(host, ["example.org", "*.example.net"]) is listed
    assert not is_listed(host, [])


@pytest.mark.parametrize("pattern", ["example.org", "*.example.org", "192.0.2.1", "::1"])
def test_patterns_are_names_addresses_and_all_below_a_name(pattern: str) -> None:
    assert is_host_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["*", "*.", "a.*.org", "**.org", "https://a.org", "a.org/x", "a.org:443", "ü.de"]
)
def test_other_patterns_are_refused(pattern: str) -> None:
    assert not is_host_pattern(pattern)
