"""API keys: made, found, revoked. What is stored of a key opens nothing."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, func, insert, or_, select, update

from api.errors import Forbidden, InvalidRequest, NotFound, SettingsInvalid
from api.security.principal import ALL_SCOPES, HIGHEST_PRIORITY, ApiKey, Principal, Quota, Scope
from api.security.secret import ServerSecret
from api.security.tables import api_keys
from api.transactions import reading, writing
from pipeline.errors import PipelineError

logger = logging.getLogger(__name__)

PREFIX = "ap_"
_RANDOM_BYTES = 32
_MAX_LENGTH = 512
_USE_NOTED_EVERY_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,63}")
_SETTING_ID = "setting"


class KeyStore:
    """The API keys in the database.

    A key is 256 random bits, so no one can guess it, however fast the hash: the slow hashes made for
    passwords would only slow every request down. The hash is keyed with the server's secret, so that a stolen
    database alone does not even tell whether some ``API_KEY`` that a person chose is among its keys.

    Args:
        engine: of the database.
        secret: the server's.
        now: seconds since 1970.
    """

    def __init__(self, engine: Engine, secret: ServerSecret, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._hash_key = secret.key("api-keys")
        self._fingerprint = secret.fingerprint
        self._now = now
        self._noted: dict[str, float] = {}

    def create(
        self,
        name: str,
        *,
        owner: str | None = None,
        scopes: Iterable[Scope] = (Scope.SUBMIT, Scope.READ),
        quota: Quota | None = None,
        max_priority: int = 0,
        retention_days: int | None = None,
        expires_days: float | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key.

        Args:
            name: to recognise it by.
            owner: whose jobs it sees; the name unless given. A new key of the same owner sees the same jobs.
            scopes: what it may do.
            quota: how much it may use; any amount unless given.
            max_priority: the highest that it may ask for, 0 to `HIGHEST_PRIORITY`.
            retention_days: days for which its jobs' audio is kept, 0 for ever; the service's unless given.
            expires_days: days until it is refused; never unless given.

        Returns:
            What is stored, and the key itself, which cannot be had again.

        Raises:
            InvalidRequest: the name, the owner, the scopes, the priority or the days make no sense.
        """
        allowed = frozenset(scopes)
        for text in (name, owner or name):
            if not _NAME.fullmatch(text):
                raise InvalidRequest(
                    f"{text!r} cannot be the name or the owner of a key.",
                    "Use 1 to 64 letters, digits, blanks and . _ @ + -",
                )
        if not allowed:
            raise InvalidRequest("A key needs a scope.", f"Scopes are {', '.join(Scope)}.")
        if not 0 <= max_priority <= HIGHEST_PRIORITY:
            raise InvalidRequest(f"There is no priority {max_priority}.", f"Give 0 to {HIGHEST_PRIORITY}.")
        if retention_days is not None and not 0 <= retention_days <= 36500:
            raise InvalidRequest("Audio cannot be kept for that many days.", "Give 0 to 36500; 0: for ever.")
        if expires_days is not None and not 0 < expires_days <= 36500:
            raise InvalidRequest("A key cannot expire after that many days.", "Give 1 to 36500.")
        key = _new_key()
        now = self._now()
        row = self._row(secrets.token_hex(8), name, owner or name, "cli", key, allowed, quota or Quota(), now)
        row |= {"max_priority": max_priority, "retention_days": retention_days}
        if expires_days is not None:
            row["expires_at"] = now + timedelta(days=expires_days).total_seconds()
        with writing(self._engine) as connection:
            connection.execute(insert(api_keys), [row])
        return _key_of(row), key

    def find(self) -> Sequence[ApiKey]:
        """Every key, oldest first; revoked and expired ones too."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        with reading(self._engine) as connection:
            return [_key_of(row._mapping) for row in connection.execute(query)]

    def revoke(self, key_id: str) -> ApiKey:
        """Refuse a key from now on, in every process.

        Raises:
            NotFound: there is no such key.
            InvalidRequest: it is the one that ``API_KEY`` sets.
        """
        if key_id == _SETTING_ID:
            raise InvalidRequest(
                "This key is set by API_KEY and would be back at the next start.",
                "Change or remove API_KEY and start the service anew.",
            )
        with writing(self._engine) as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
            if row is None:
                raise NotFound(f"There is no key {key_id!r}.", "See: python -m api keys list.")
            at = row.revoked_at if row.revoked_at is not None else self._now()
            connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=at))
            return _key_of({**row._mapping, "revoked_at": at})

    def authenticate(self, key: str) -> Principal:
        """Say who comes with a key.

        Raises:
            Forbidden: it is unknown, revoked or expired; which of these is not told.
        """
        if len(key) > _MAX_LENGTH:
            raise _refused()
        digest = self._digest(key)
        row = self._one(api_keys.c.hash == digest)
        # The index has compared already; this one takes the same time wherever a digest differs.
        if row is None or not hmac.compare_digest(row.hash, digest):
            raise _refused()
        return self._usable(row)

    def principal(self, key_id: str) -> Principal:
        """Say who comes with a ticket that was made with a key.

        Raises:
            Forbidden: the key is unknown, revoked or expired.
        """
        row = self._one(api_keys.c.id == key_id)
        if row is None:
            raise _refused()
        return self._usable(row)

    def bootstrap(self, api_key: str | None) -> str | None:
        """Bring the keys in line with ``API_KEY``, at the start of the service.

        Args:
            api_key: the setting; it becomes a key with every scope, and what it was before is refused.

        Returns:
            A new key with every scope, to be shown once, when there is no other that is in use; else None.

        Raises:
            SettingsInvalid: the keys in the database were made with another secret.
        """
        self._check_secret()
        now = self._now()
        with writing(self._engine) as connection:
            if api_key is None:
                gone = (api_keys.c.id == _SETTING_ID) & api_keys.c.revoked_at.is_(None)
                connection.execute(update(api_keys).where(gone).values(revoked_at=now))
            else:
                self._adopt(connection, api_key)
            usable = select(func.count()).where(
                api_keys.c.revoked_at.is_(None),
                or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now),
            )
            if connection.execute(usable).scalar_one():
                return None
            key = _new_key()
            row = self._row(secrets.token_hex(8), "first", "default", "first", key, ALL_SCOPES, Quota(), now)
            connection.execute(insert(api_keys), [row])
        return key

    def _adopt(self, connection: Connection, api_key: str) -> None:
        setting = api_keys.c.id == _SETTING_ID
        row = self._row(
            _SETTING_ID, "API_KEY", "default", "setting", api_key, ALL_SCOPES, Quota(), self._now()
        )
        same = (api_keys.c.hash == row["hash"]) & ~setting
        known = connection.execute(select(api_keys.c.id).where(same)).one_or_none()
        if known is not None:
            raise SettingsInvalid(
                f"API_KEY is the key {known.id}, which this service made.",
                "Set another one, or none: that key works without it.",
            )
        stored = connection.execute(select(api_keys).where(setting)).one_or_none()
        if stored is None:
            connection.execute(insert(api_keys), [row])
        elif stored.hash != row["hash"] or stored.revoked_at is not None:
            connection.execute(update(api_keys).where(setting).values(row))

    def _check_secret(self) -> None:
        query = select(func.count()).where(
            api_keys.c.secret != self._fingerprint, api_keys.c.revoked_at.is_(None)
        )
        with reading(self._engine) as connection:
            if connection.execute(query).scalar_one():
                raise SettingsInvalid(
                    "The API keys in the database were made with another secret than the server's.",
                    "Restore DATA_DIR/secret or set SECRET_KEY as before; machines that share a database "
                    "must share SECRET_KEY. To start over: python -m api keys forget.",
                )

    def forget(self) -> int:
        """Delete the keys that another secret made, which nobody can use any more; how many there were."""
        with writing(self._engine) as connection:
            lost = api_keys.c.secret != self._fingerprint
            count: int = connection.execute(select(func.count()).where(lost)).scalar_one()
            connection.execute(api_keys.delete().where(lost))
        return count

    def _one(self, which: ColumnElement[bool]) -> Row[Any] | None:
        with reading(self._engine) as connection:
            return connection.execute(select(api_keys).where(which)).one_or_none()

    def _usable(self, row: Row[Any]) -> Principal:
        now = self._now()
        if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
            raise _refused()
        self._note_use(row.id, now)
        return _key_of(row._mapping).principal

    def _note_use(self, key_id: str, now: float) -> None:
        # abs: also when the clock was set back.
        if abs(now - self._noted.get(key_id, float("-inf"))) < _USE_NOTED_EVERY_S:
            return
        self._noted[key_id] = now
        try:
            with writing(self._engine) as connection:
                used = update(api_keys).where(api_keys.c.id == key_id)
                connection.execute(used.values(last_used_at=now))
        except PipelineError as exc:
            # A disk that is full must not lock out those who would free it.
            logger.warning("the use of a key could not be noted: %s", exc.message)

    def _digest(self, key: str) -> str:
        return hmac.digest(self._hash_key, key.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()

    def _row(
        self,
        key_id: str,
        name: str,
        owner: str,
        source: str,
        key: str,
        scopes: frozenset[Scope],
        quota: Quota,
        now: float,
    ) -> dict[str, Any]:
        return {
            "id": key_id,
            "name": name,
            "owner": owner,
            "source": source,
            # Of a key that somebody chose, nothing is shown: it may be short.
            "shown": "" if source == "setting" else key[: len(PREFIX) + 5],
            "hash": self._digest(key),
            "secret": self._fingerprint,
            "scopes": " ".join(sorted(scopes)),
            "jobs_per_day": quota.jobs_per_day,
            "audio_s_per_month": quota.audio_s_per_month,
            "max_priority": HIGHEST_PRIORITY,
            "retention_days": None,
            "created_at": now,
            "expires_at": None,
            "revoked_at": None,
            "last_used_at": None,
        }


def _new_key() -> str:
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def _refused() -> Forbidden:
    return Forbidden("The API key is not valid.", "Check it, or ask for a new one.")


def _time(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)


def _key_of(values: Any) -> ApiKey:
    return ApiKey(
        id=values["id"],
        name=values["name"],
        owner=values["owner"],
        source=values["source"],
        shown=values["shown"],
        scopes=frozenset(Scope(scope) for scope in values["scopes"].split()),
        quota=Quota(values["jobs_per_day"], values["audio_s_per_month"]),
        max_priority=values["max_priority"],
        retention_days=values["retention_days"],
        created_at=datetime.fromtimestamp(values["created_at"], UTC),
        expires_at=_time(values["expires_at"]),
        revoked_at=_time(values["revoked_at"]),
        last_used_at=_time(values["last_used_at"]),
    )
