"""Legal holds: what must not be deleted, by nobody, until the hold is released."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Engine, Row, insert, or_, select, update

from api.errors import InvalidRequest, LegalHold, NotFound
from api.jobs.model import Job
from api.keeping.tables import legal_holds
from api.transactions import reading, writing

HoldKind = Literal["job", "owner"]
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold.

    Attributes:
        id: ours.
        kind: whether it is on a job or on all jobs of an owner, later ones too.
        target: id of the job, or name of the owner.
        reason: such as the number of a case.
        placed_by: who placed it.
        placed_at: when.
        released_at: when it ended; None: it holds.
    """

    id: str
    kind: HoldKind
    target: str
    reason: str
    placed_by: str
    placed_at: datetime
    released_at: datetime | None


class Holds:
    """The holds in the database. Every method may raise DatabaseUnavailable or DiskFull, too.

    Args:
        engine: of the database.
        now: seconds since 1970.
    """

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine, self._now = engine, now

    def place(self, kind: HoldKind, target: str, reason: str, placed_by: str) -> Hold:
        """Hold something from now on.

        Raises:
            InvalidRequest: there is no reason, or it is too long.
        """
        if not reason.strip() or len(reason) > _LONGEST:
            raise InvalidRequest("A hold needs a reason.", f"Give one of at most {_LONGEST} characters.")
        row = {
            "id": secrets.token_hex(8),
            "kind": kind,
            "target": target,
            "reason": reason.strip(),
            "placed_by": placed_by[:128],
            "placed_at": self._now(),
        }
        with writing(self._engine) as connection:
            made = connection.execute(insert(legal_holds).values(row).returning(*legal_holds.c)).one()
        return _hold_of(made)

    def release(self, hold_id: str) -> Hold:
        """End a hold; one that has ended stays as it is.

        Raises:
            NotFound: there is none.
        """
        this = legal_holds.c.id == hold_id
        with writing(self._engine) as connection:
            active = (this, legal_holds.c.released_at.is_(None))
            connection.execute(update(legal_holds).where(*active).values(released_at=self._now()))
            row = connection.execute(select(legal_holds).where(this)).one_or_none()
        if row is None:
            raise NotFound(f"There is no hold {hold_id!r}.", "See: python -m api holds list.")
        return _hold_of(row)

    def find(self, *, released: bool = False) -> list[Hold]:
        """The holds, oldest first; released ones too where they are asked for."""
        query = select(legal_holds).order_by(legal_holds.c.placed_at, legal_holds.c.id)
        if not released:
            query = query.where(legal_holds.c.released_at.is_(None))
        with reading(self._engine) as connection:
            return [_hold_of(row) for row in connection.execute(query)]

    def held(self) -> Callable[[Job], bool]:
        """Whether a job is held, as things stand now."""
        on = {(hold.kind, hold.target) for hold in self.find()}
        return lambda job: ("job", job.id) in on or ("owner", job.owner) in on

    def check(self, job: Job) -> None:
        """Refuse to delete anything of a job that is held.

        Raises:
            LegalHold: it is.
        """
        on_job = (legal_holds.c.kind == "job") & (legal_holds.c.target == job.id)
        on_owner = (legal_holds.c.kind == "owner") & (legal_holds.c.target == job.owner)
        query = select(legal_holds).where(legal_holds.c.released_at.is_(None), or_(on_job, on_owner))
        with reading(self._engine) as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        if row is not None:
            raise LegalHold(
                f"The job {job.id} is under a legal hold: nothing of it may be deleted.",
                f"Whoever looks after the service can release the hold {row.id}.",
            )


def _hold_of(row: Row[tuple[object, ...]]) -> Hold:
    values = row._mapping
    released = values["released_at"]
    return Hold(
        values["id"],
        values["kind"],
        values["target"],
        values["reason"],
        values["placed_by"],
        datetime.fromtimestamp(values["placed_at"], UTC),
        None if released is None else datetime.fromtimestamp(released, UTC),
    )
