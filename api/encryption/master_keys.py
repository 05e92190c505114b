"""Master keys: they wrap the keys of jobs, and lie outside of all that they protect."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import shlex
import subprocess
from collections.abc import Sequence
from typing import Final, Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from api.encryption.errors import KeyCommandFailed, MasterKeyMissing, MasterKeyWrong
from api.encryption.file_format import KEY_BYTES

_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/:-]{0,127}")
_TIMEOUT_S: Final = 30.0
_SHOWN: Final = 200


class MasterKey(Protocol):
    """Wraps and unwraps keys."""

    @property
    def name(self) -> str:
        """Stands beside what it wraps."""
        ...

    def wrap(self, key: bytes) -> bytes:
        """A key, so that it can be kept where others read.

        Raises:
            KeyCommandFailed: a program that has the master key refused.
        """
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """A key that was wrapped.

        Raises:
            MasterKeyWrong: not with this master key, or it was changed since.
            KeyCommandFailed: a program that has the master key refused.
        """
        ...


class LocalKey:
    """A master key in the memory of this process: AES key wrap (RFC 3394).

    Args:
        name: of the key.
        key: 32 bytes.
    """

    def __init__(self, name: str, key: bytes) -> None:
        self.name, self._key = name, key

    def __repr__(self) -> str:
        return f"LocalKey({self.name!r})"

    def wrap(self, key: bytes) -> bytes:
        """See `MasterKey.wrap`."""
        return aes_key_wrap(self._key, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `MasterKey.unwrap`."""
        try:
            return aes_key_unwrap(self._key, wrapped)
        except (InvalidUnwrap, ValueError) as exc:
            raise MasterKeyWrong(
                f"The master key {self.name!r} does not open what was wrapped with it.",
                "Set the key of that name that was in use before: PIPELINE_ENCRYPTION_KEYS.",
            ) from exc


class CommandKey:
    """A master key that never leaves a key service: a program asks it.

    It is called as ``PROGRAM wrap NAME`` or ``PROGRAM unwrap NAME``, is given one line of base64 and answers
    with one.

    Args:
        name: of the key, as the service knows it.
        argv: the program and its first arguments.
    """

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        self.name, self._argv = name, tuple(argv)

    def wrap(self, key: bytes) -> bytes:
        """See `MasterKey.wrap`."""
        wrapped = self._asked("wrap", key)
        if key in wrapped:
            raise KeyCommandFailed("The key command gives back the key as it is.", _HINT)
        return wrapped

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `MasterKey.unwrap`."""
        key = self._asked("unwrap", wrapped)
        if len(key) != KEY_BYTES:
            raise KeyCommandFailed(f"The key command answered with {len(key)} bytes, not {KEY_BYTES}.", _HINT)
        return key

    def _asked(self, what: str, data: bytes) -> bytes:
        try:
            done = subprocess.run(
                [*self._argv, what, self.name],
                input=base64.b64encode(data) + b"\n",
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise KeyCommandFailed(f"The key command cannot be run ({type(exc).__name__}).", _HINT) from exc
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            reason = said[-1][:_SHOWN] if said else "it said nothing"
            raise KeyCommandFailed(f"The key command failed with {done.returncode}: {reason}.", _HINT)
        try:
            return base64.b64decode(done.stdout.strip(), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise KeyCommandFailed("The key command did not answer with base64.", _HINT) from exc


_HINT: Final = "Check PIPELINE_ENCRYPTION_COMMAND and what it needs: see docs/ENCRYPTION.md."


class MasterKeys:
    """All master keys that can be used: the first wraps new keys, all of them unwrap.

    Args:
        keys: at least one, each of another name.
    """

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        self.current = keys[0]
        self._by_name = {key.name: key for key in keys}

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """A key that was wrapped with one of them.

        Raises:
            MasterKeyMissing: with another one.
            MasterKeyWrong: see `MasterKey.unwrap`.
            KeyCommandFailed: likewise.
        """
        if name not in self._by_name:
            raise missing(name)
        return self._by_name[name].unwrap(wrapped)


def missing(name: str) -> MasterKeyMissing:
    """What is said where data need a master key that the settings do not name."""
    return MasterKeyMissing(
        f"Data are encrypted with the master key {name!r}, which is not set.",
        "Add it to PIPELINE_ENCRYPTION_KEYS, after the one that is to be used for what is new.",
    )


def parse_keys(text: str) -> list[LocalKey]:
    """Read master keys: ``name:base64`` each, apart by commas, blanks or lines.

    Raises:
        ValueError: they make no sense; nothing of a key is in the message.
    """
    keys = []
    for number, said in enumerate(text.replace(",", " ").split(), 1):
        name, _, coded = said.rpartition(":")
        try:
            key = base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not _NAME.fullmatch(name) or len(key) != KEY_BYTES:
            raise ValueError(
                f"should be name:key, apart by commas, each key 32 bytes in base64; the {number}. is not"
            )
        keys.append(LocalKey(name, key))
    if len({key.name for key in keys}) != len(keys):
        raise ValueError("should have a name of its own for each key")
    return keys


def new_key(name: str) -> str:
    """A master key as `parse_keys` reads it."""
    return f"{name}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def master_keys_of(keys: str | None, command: str | None, command_key: str) -> MasterKeys | None:
    """The master keys that settings name; None: nothing is encrypted.

    Args:
        keys: see `parse_keys`.
        command: line of the program of a key service; where there is one, what is new is wrapped by it.
        command_key: name of its key.
    """
    found: list[MasterKey] = [] if command is None else [CommandKey(command_key, shlex.split(command))]
    found += parse_keys(keys or "")
    return MasterKeys(found) if found else None
