from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Forbidden, InvalidRequest
from api.security.principal import ALL_SCOPES, Principal
from api.security.secret import ServerSecret
from api.security.tickets import Tickets

START = datetime(2026, 11, 23, tzinfo=UTC)
WHO = Principal("key-1", "alice", ALL_SCOPES)
SECRET = ServerSecret(b"s" * 32)


def office(seconds: float = 0.0, secret: ServerSecret = SECRET) -> Tickets:
    return Tickets(secret, lambda: START.timestamp() + seconds)


def made(method: str | list[str] = "GET", path: str = "/jobs/1", valid_s: int = 60) -> str:
    return office().issue(WHO, method, path, START + timedelta(seconds=valid_s))


def test_a_ticket_opens_its_path_and_those_below_it() -> None:
    ticket = office().read(made())
    assert ticket.key_id == "key-1"
    assert ticket.opens("GET", "/jobs/1") and ticket.opens("HEAD", "/jobs/1/stems/vocals.flac")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs/10"),
        ("GET", "/jobs"),
        ("DELETE", "/jobs/1"),
        ("GET", "/"),
        ("GET", "/x/jobs/1"),
        ("get", "/jobs/1"),
    ],
)
def test_a_ticket_opens_nothing_else(method: str, path: str) -> None:
    assert not office().read(made()).opens(method, path)


def test_a_ticket_can_be_for_several_methods() -> None:
    ticket = office().read(made(["POST", "PATCH"], "/uploads"))
    assert ticket.opens("POST", "/uploads") and ticket.opens("PATCH", "/uploads/7")
    assert not ticket.opens("HEAD", "/uploads/7")


def test_a_ticket_ends_at_its_second() -> None:
    ticket = made(valid_s=60)
    office(59.9).read(ticket)
    with pytest.raises(Forbidden, match="no longer"):
        office(60).read(ticket)


def test_another_server_s_ticket_is_refused() -> None:
    with pytest.raises(Forbidden):
        office(secret=ServerSecret(b"t" * 32)).read(made())


def test_a_ticket_cannot_be_rewritten() -> None:
    said, seal = made().split(".")
    values = json.loads(base64.urlsafe_b64decode(said + "=="))
    values[3] = "/jobs/2"
    forged = base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")
    for text in (f"{forged}.{seal}", f"{said}.", f"{said}.{seal[:-2]}", f".{seal}", f"{said}.{seal}.{seal}"):
        with pytest.raises(Forbidden):
            office().read(text)


@given(position=st.integers(0, 200), bit=st.integers(0, 6))
def test_no_single_character_of_a_ticket_can_be_changed(position: int, bit: int) -> None:
    text = made()
    index = position % len(text)
    changed = text[:index] + chr(ord(text[index]) ^ (1 << bit)) + text[index + 1 :]
    try:
        read = office().read(changed)
    except Forbidden:
        return
    # The last character of base64 has bits that mean nothing: what is said is the same.
    assert read == office().read(text)


@given(st.text(max_size=100))
def test_whatever_is_no_ticket_is_refused(text: str) -> None:
    with pytest.raises(Forbidden):
        office().read(text)


@pytest.mark.parametrize("path", ["", "/", "jobs/1", "/jobs/../keys", "/jobs//1", "/jobs/./1"])
def test_a_ticket_for_everything_or_for_nowhere_is_not_made(path: str) -> None:
    with pytest.raises(InvalidRequest):
        made(path=path)


def test_a_ticket_fits_into_a_url_as_it_is() -> None:
    assert set(made()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
