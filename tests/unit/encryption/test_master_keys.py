from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from api.encryption.errors import KeyCommandFailed, MasterKeyMissing, MasterKeyWrong
from api.encryption.master_keys import CommandKey, LocalKey, MasterKeys, master_keys_of, new_key, parse_keys

DATA_KEY = bytes(range(32))
SERVICE = """
import base64, pathlib, sys
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
what, name = sys.argv[1:]
assert name == "alias/recordings"
with pathlib.Path(__file__).with_name("calls").open("a") as calls:
    calls.write(what + " ")
data = base64.b64decode(sys.stdin.read())
work = aes_key_wrap if what == "wrap" else aes_key_unwrap
print(base64.b64encode(work(bytes(32), data)).decode())
"""
"""A key service of the tests."""


def command(folder: Path, text: str) -> CommandKey:
    (folder / "service.py").write_text(text)
    return CommandKey("alias/recordings", [sys.executable, str(folder / "service.py")])


def test_a_key_that_is_wrapped_comes_back_and_does_not_show() -> None:
    (key,) = parse_keys(new_key("2026-11"))
    wrapped = key.wrap(DATA_KEY)
    assert key.name == "2026-11" and key.unwrap(wrapped) == DATA_KEY
    assert DATA_KEY not in wrapped and "2026-11" in repr(key) and len(repr(key)) < 30


def test_the_first_key_wraps_and_every_key_unwraps() -> None:
    old, new = parse_keys(f"{new_key('old')}\n")[0], parse_keys(new_key("new"))[0]
    keys = MasterKeys([new, old])
    assert keys.current is new and keys.unwrap("old", old.wrap(DATA_KEY)) == DATA_KEY
    with pytest.raises(MasterKeyMissing, match="'older'"):
        keys.unwrap("older", b"")


def test_another_key_of_the_same_name_opens_nothing() -> None:
    wrapped = LocalKey("a", bytes(32)).wrap(DATA_KEY)
    for other in (LocalKey("a", b"\1" * 32), LocalKey("a", bytes(32))):
        changed = bytearray(wrapped)
        changed[3] ^= 1
        with pytest.raises(MasterKeyWrong, match="'a'"):
            other.unwrap(bytes(changed) if other.wrap(DATA_KEY) == wrapped else wrapped)


@pytest.mark.parametrize(
    "text",
    ["secretsecret", "a:c2hvcnQ=", "a:%%%", ":" + base64.b64encode(bytes(32)).decode(),
     "a b:" + base64.b64encode(bytes(32)).decode(), 2 * ("a:" + base64.b64encode(bytes(32)).decode() + ",")],
)  # fmt: skip
def test_keys_that_make_no_sense_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="should") as refused:
        parse_keys(text)
    assert "secret" not in str(refused.value) and "AAAA" not in str(refused.value)


def test_a_key_service_is_asked_by_a_program(tmp_path: Path) -> None:
    key = command(tmp_path, SERVICE)
    wrapped = key.wrap(DATA_KEY)
    assert wrapped != DATA_KEY and key.unwrap(wrapped) == DATA_KEY
    assert (tmp_path / "calls").read_text() == "wrap unwrap "


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no such key')", "failed with 1: no such key"),
        ("print('not base64 at all!')", "did not answer with base64"),
        ("print(input())", "gives back the key as it is"),
    ],
)
def test_a_key_service_that_does_not_do_what_it_should_is_told_of(
    tmp_path: Path, program: str, said: str
) -> None:
    with pytest.raises(KeyCommandFailed, match=said) as failed:
        command(tmp_path, program).wrap(DATA_KEY)
    assert base64.b64encode(DATA_KEY).decode() not in str(failed.value)


def test_a_key_service_that_is_not_there_is_told_of() -> None:
    with pytest.raises(KeyCommandFailed, match="cannot be run"):
        CommandKey("a", ["/no/such/program"]).wrap(DATA_KEY)


def test_a_key_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyCommandFailed, match="3 bytes"):
        command(tmp_path, "print('YWJj')").unwrap(b"wrapped")


def test_settings_name_keys_a_program_or_nothing() -> None:
    assert master_keys_of(None, None, "default") is None
    both = master_keys_of(new_key("old"), "ask --key-service", "alias/new")
    assert both is not None and both.current.name == "alias/new" and "old" in both
