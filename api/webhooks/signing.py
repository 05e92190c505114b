"""Signatures after Standard Webhooks 1.0.0, and the secrets that make them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.sql.elements import ColumnElement
from standardwebhooks import Webhook

from api.security.secret import ServerSecret
from api.transactions import DatabaseTime, reading, writing
from api.webhooks.tables import webhook_secrets

OVERLAP: Final = timedelta(hours=24)
"""How long a secret still signs after it was replaced."""


@dataclass(frozen=True, slots=True)
class OwnerSecret:
    """What an owner's webhooks are signed with.

    Attributes:
        text: as receivers take it: ``whsec_…``.
        previous: the one before, as long as it signs too; None afterwards.
        previous_until: when it ceases to; None where there is none.
    """

    text: str
    previous: str | None = None
    previous_until: datetime | None = None

    def __repr__(self) -> str:
        return "OwnerSecret(**********)"

    @property
    def signing(self) -> tuple[str, ...]:
        """Those that sign now, the newest first."""
        return (self.text,) if self.previous is None else (self.text, self.previous)


class OwnerSecrets:
    """The secret of each owner.

    It is derived from the server's, the owner's name and a generation, which alone is in the database: who
    reads the database or a backup of it can sign nothing. A new server's secret gives everybody new ones.

    Besides what stands there, every method raises DatabaseUnavailable, DiskFull or OutputUnwritable like
    `api.jobs.sql_store.SqlJobStore`.

    Args:
        engine: from `api.database.open_database`, its tables made by `api.migrate.upgrade`.
        secret: the server's.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(self, engine: Engine, secret: ServerSecret, now: ColumnElement[float] | None = None) -> None:
        self._engine = engine
        self._secret = secret
        self._now = select(DatabaseTime() if now is None else now)

    def of(self, owner: str) -> OwnerSecret:
        """An owner's secret."""
        with reading(self._engine) as connection:
            return self._read(connection, owner)

    def rotate(self, owner: str) -> OwnerSecret:
        """Give an owner a new secret; the one before signs too for `OVERLAP`.

        Of two rotations within that time, the second ends what the first has replaced at once.
        """
        this = webhook_secrets.c.owner == owner
        with writing(self._engine) as connection:
            at = connection.scalars(self._now).one()
            again = {"generation": webhook_secrets.c.generation + 1, "rotated_at": at}
            if not connection.execute(update(webhook_secrets).where(this).values(again)).rowcount:
                first = {"owner": owner, "generation": 2, "rotated_at": at}
                connection.execute(insert(webhook_secrets).values(first))
            return self._read(connection, owner)

    def _read(self, connection: Connection, owner: str) -> OwnerSecret:
        row = connection.execute(
            select(webhook_secrets).where(webhook_secrets.c.owner == owner)
        ).one_or_none()
        if row is None:
            return OwnerSecret(self._derive(owner, 1))
        until = datetime.fromtimestamp(row.rotated_at, UTC) + OVERLAP
        newest = self._derive(owner, row.generation)
        if connection.scalars(self._now).one() >= until.timestamp():
            return OwnerSecret(newest)
        return OwnerSecret(newest, self._derive(owner, row.generation - 1), until)

    def _derive(self, owner: str, generation: int) -> str:
        # The number first: no owner's name can then make two purposes one.
        key = self._secret.key(f"webhooks:{generation}:{owner}")
        return "whsec_" + base64.b64encode(key).decode()


def signed_headers(secrets: Iterable[str], webhook_id: str, at: float, payload: str) -> dict[str, str]:
    """The headers that prove a message.

    Args:
        secrets: ``whsec_…``, the newest first: each gives one signature.
        webhook_id: of the message, the same at every attempt; without a full stop.
        at: of this attempt, in seconds since 1970.
        payload: the body, as it is sent.
    """
    when = datetime.fromtimestamp(int(at), UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(Webhook(one).sign(webhook_id, when, payload) for one in secrets),
    }
