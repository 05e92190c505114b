from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from api.errors import SettingsInvalid
from api.limits import LimitExceeded, RateLimits
from api.security.address import client_address, neighbourhood
from api.security.principal import ALL_SCOPES, Principal
from api.settings import Settings
from api.settings_load import load_settings
from tests.guarded_app import ask, checked, guarded_app

SUBMIT = "POST /process"


def scope(key_id: str | None = "k", address: str = "192.0.2.1") -> dict[str, Any]:
    who = Principal(key_id, "o", ALL_SCOPES) if key_id else None
    return {
        "method": "POST",
        "path": "/process",
        "headers": [],
        "state": {"principal": who, "address": address},
    }


def taken(limits: RateLimits, who: dict[str, Any], route: str = SUBMIT) -> int:
    """Requests until one is refused, at most 50."""
    for count in range(50):
        try:
            limits.take(who, route)
        except LimitExceeded:
            return count
    return 50


def test_ten_recordings_an_hour_unless_set() -> None:
    limits = RateLimits(Settings())
    assert taken(limits, scope()) == 10
    assert taken(limits, scope("another")) == 10


def test_addresses_of_one_key_are_counted_as_one() -> None:
    limits = RateLimits(Settings(rate_process="4/hour"))
    addresses = itertools.cycle(["192.0.2.1", "192.0.2.2"])
    for _ in range(4):
        limits.take(scope(address=next(addresses)), SUBMIT)
    with pytest.raises(LimitExceeded):
        limits.take(scope(address="192.0.2.3"), SUBMIT)


def test_a_refused_request_does_not_count() -> None:
    limits = RateLimits(Settings(rate_process="2/hour"))
    assert taken(limits, scope()) == 2
    with pytest.raises(LimitExceeded) as caught:
        limits.take(scope(), SUBMIT)
    assert caught.value.allowance.remaining == 0
    assert 0 < caught.value.allowance.reset_s <= 3601


def test_routes_have_limits_of_their_own() -> None:
    settings = load_settings(
        {
            "PIPELINE_RATE_DEFAULT": "3/minute",
            "PIPELINE_RATE_ROUTES": "POST /estimate=2/minute, GET /jobs=off",
        }
    )
    limits = RateLimits(settings)
    routes = ("POST /estimate", "GET /jobs", "GET /models", SUBMIT, "GET /health")
    assert [taken(limits, scope(), route) for route in routes] == [2, 50, 3, 10, 50]


def test_every_window_of_a_limit_counts() -> None:
    limits = RateLimits(Settings(rate_process="5/second;2/hour"))
    assert taken(limits, scope()) == 2
    with pytest.raises(LimitExceeded, match="2 per 1 hour"):
        limits.take(scope(), SUBMIT)


@pytest.mark.parametrize(
    "wrong", [{"rate_routes": "GET /nowhere=1/hour"}, {"rate_storage": "carrier-pigeon://"}]
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsInvalid, match="PIPELINE_RATE_"):
        RateLimits(Settings(**wrong))


def test_the_environment_does_not_reach_past_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATELIMIT_ENABLED", "false")
    assert taken(RateLimits(Settings()), scope()) == 10


def test_answers_tell_what_is_left_and_refusals_when_to_come_back(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path, rate_process="2/hour")
    headers = {"X-API-Key": guarded.key}
    first, second, third = (ask(guarded.app, "POST", "/process", headers=headers) for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (202, 202, 429)
    assert first.headers["ratelimit-policy"] == '"process";q=2;w=3600'
    assert first.headers["ratelimit"].startswith('"process";r=1;t=')
    assert (second.headers["x-ratelimit-limit"], second.headers["x-ratelimit-remaining"]) == ("2", "0")
    assert checked(third)["code"] == "rate_limited"
    assert 0 < int(third.headers["retry-after"]) <= 3601
    assert third.headers["ratelimit"].startswith('"process";r=0;t=')
    assert guarded.reached == ["process", "process"]


def test_who_may_not_come_in_uses_nobody_s_limit_up(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path, rate_process="1/hour")
    for headers in ({}, {"X-API-Key": "ap_wrong"}):
        assert ask(guarded.app, "POST", "/process", headers=headers).status_code in (401, 403)
    assert ask(guarded.app, "POST", "/process", headers={"X-API-Key": guarded.key}).status_code == 202


def test_guessing_keys_is_slowed_down_by_address_and_others_are_not(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path, rate_refused="3/minute")
    statuses = [
        ask(guarded.app, "GET", "/jobs", headers={"X-API-Key": f"guess-{n}"}).status_code for n in range(5)
    ]
    assert statuses == [403, 403, 403, 429, 429]
    assert ask(guarded.app, "GET", "/jobs", headers={"X-API-Key": guarded.key}).status_code == 200
    assert len([*guarded.audit.entries()]) == 3  # the log cannot be flooded either


def test_without_a_trusted_proxy_nobody_can_pose_as_another_address(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path, rate_refused="3/minute")
    statuses = [
        ask(
            guarded.app,
            "GET",
            "/jobs",
            headers={
                "X-Forwarded-For": f"198.51.100.{n}",
                "X-Real-IP": f"198.51.100.{n}",
                "Forwarded": f"for=10.{n}",
            },
        ).status_code
        for n in range(4)
    ]
    assert statuses == [401, 401, 401, 429]


PROXIES = load_settings({"PIPELINE_TRUSTED_PROXIES": "10.0.0.0/8,::1"}).trusted_proxies


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # not from a proxy: not believed
        ("10.0.0.2", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.2", ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),  # the client wrote 1.2.3.4
        ("10.0.0.2", ["1.2.3.4", "198.51.100.7, 10.0.0.3"], "198.51.100.7"),  # two proxies, two header lines
        ("10.0.0.2", ["1.2.3.4, not-an-address"], "10.0.0.2"),
        ("10.0.0.2", ["10.9.9.9"], "10.9.9.9"),
        ("10.0.0.2", [], "10.0.0.2"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.2", ["198.51.100.7"], "198.51.100.7"),
    ],
)
def test_a_forwarded_address_is_believed_as_far_as_proxies_wrote_it(
    peer: str, forwarded: list[str], client: str
) -> None:
    connection = {
        "client": (peer, 1),
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }
    assert client_address(connection, PROXIES) == client


def test_a_socket_of_the_file_system_has_no_address() -> None:
    assert client_address({"client": None, "headers": []}, PROXIES) == "unknown"


def test_all_of_a_customer_s_ipv6_addresses_are_one_neighbourhood() -> None:
    assert (
        neighbourhood("2001:db8:0:1::1")
        == neighbourhood("2001:db8:0:1:ffff::")
        != neighbourhood("2001:db8:0:2::1")
    )
    assert neighbourhood("192.0.2.1") != neighbourhood("192.0.2.2")
