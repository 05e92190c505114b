"""The server's secret: signs tickets, hashes API keys, seals the audit log. One file, or ``SECRET_KEY``."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from api.errors import SettingsInvalid
from api.settings import Settings

logger = logging.getLogger(__name__)

_BYTES = 32


class ServerSecret:
    """Keys for each purpose, derived from one secret.

    Args:
        value: the secret, at least 32 bytes.
    """

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "ServerSecret(**********)"

    def key(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose: what is made with it is worth nothing for another.

        One step of HKDF-Expand (RFC 5869, 2.3) with the purpose as its info.
        """
        return hmac.digest(self._value, purpose.encode() + b"\x01", hashlib.sha256)

    @property
    def fingerprint(self) -> str:
        """Tells two secrets apart without giving either away: 16 hexadecimal digits."""
        return self.key("fingerprint").hex()[:16]


def load_secret(settings: Settings) -> ServerSecret:
    """Take ``SECRET_KEY``, or the secret in ``DATA_DIR/secret``; made there by the first process that asks.

    Raises:
        SettingsInvalid: the file cannot be read or written, or is no secret.
    """
    if settings.secret_key is not None:
        return ServerSecret(settings.secret_key.get_secret_value().encode())
    path = settings.data_dir / "secret"
    try:
        if not path.exists():
            _make(path)
        _close_to_others(path)
        text = path.read_text(encoding="ascii").strip()
        value = bytes.fromhex(text)
    except OSError as exc:
        raise SettingsInvalid(
            f"The server's secret in {str(path)!r} cannot be used: {exc.strerror}.",
            "Make DATA_DIR a folder that the service may write, or set SECRET_KEY.",
        ) from exc
    except ValueError as exc:
        raise _damaged(path) from exc
    if len(value) < _BYTES:
        raise _damaged(path)
    return ServerSecret(value)


def _damaged(path: Path) -> SettingsInvalid:
    return SettingsInvalid(
        f"The server's secret in {str(path)!r} is damaged.",
        "Restore it from a backup. Without it, delete it: then every API key has to be made anew.",
    )


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".secret-{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Of several processes that start at once, one makes the secret and all take that one.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _close_to_others(path: Path) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077 == 0:
        return
    with suppress(PermissionError):
        path.chmod(0o600)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        # Some mounted volumes have no rights to set.
        logger.warning("the server's secret can be read by other users of this machine")
