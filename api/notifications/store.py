"""Notices that are still to be sent, in the database: each is sent at least once, and not for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, and_, delete, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.jobs.totals import NOTICES, count
from api.notifications.model import Kind, Level, Notice, NoticeClaim
from api.notifications.receivers import Receiver
from api.notifications.tables import notice_marks, notices
from api.transactions import DatabaseTime, reading, writing

PAUSES_S: Final = (30.0, 120.0, 600.0, 1800.0, 7200.0)
"""Seconds from one try to the next."""

MOST_TRIES: Final = len(PAUSES_S) + 1
"""Tries until a notice is given up; they take less than three hours: then it is news no more."""

LEASE_S: Final = 120.0
"""How long a try may take before its process counts as dead."""

_LONGEST_S: Final = max(LEASE_S, *PAUSES_S)


@dataclass(frozen=True, slots=True)
class Mark:
    """What was told last.

    Attributes:
        number: such as the id of an event.
        text: such as reasons.
        at: when, in seconds since 1970 by the database's clock.
    """

    number: float
    text: str
    at: float


class NoticeStore:
    """Keeps notices. Every method is one transaction, safe from any number of threads and processes.

    Besides what stands there, every method raises DatabaseUnavailable, DiskFull or OutputUnwritable like
    `api.jobs.sql_store.SqlJobStore`.

    Args:
        engine: from `api.database.open_database`, its tables made by `api.migrate.upgrade`.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(self, engine: Engine, now: ColumnElement[float] | None = None) -> None:
        self._engine = engine
        self._now = select(DatabaseTime() if now is None else now)

    def claim(self, most: int) -> list[NoticeClaim]:
        """Take what is due, the longest due first. Where nothing is, no lock is taken either.

        Args:
            most: at most so many.
        """
        with reading(self._engine) as connection:
            if (
                connection.execute(select(notices.c.seq).where(_due(self.time(connection))).limit(1)).first()
                is None
            ):
                return []
        with writing(self._engine) as connection:
            at = self.time(connection)
            # Whoever claimed these so often died each time before it could say what came of it.
            spent = and_(_due(at), notices.c.tries >= MOST_TRIES)
            if dropped := connection.execute(delete(notices).where(spent)).rowcount:
                count(connection, NOTICES, "dropped", by=dropped)
            first = (
                select(notices.c.seq).where(_due(at)).order_by(notices.c.due_at, notices.c.seq).limit(most)
            )
            taken = (
                update(notices)
                .where(notices.c.seq.in_(connection.scalars(first).all()))
                .values(tries=notices.c.tries + 1, due_at=at + LEASE_S)
                .returning(*notices.c)
            )
            rows = sorted(connection.execute(taken), key=lambda row: row.seq)
            return [
                NoticeClaim(
                    row.seq,
                    row.receiver,
                    row.tries,
                    Notice(Kind(row.kind), Level(row.level), row.title, row.body),
                )
                for row in rows
            ]

    def sent(self, claim: NoticeClaim) -> None:
        """Say that a notice was sent."""
        with writing(self._engine) as connection:
            if connection.execute(delete(notices).where(_held(claim))).rowcount:
                count(connection, NOTICES, "sent")

    def failed(self, claim: NoticeClaim) -> bool:
        """Say that a notice was not sent.

        Returns:
            Whether it is tried again.
        """
        again = claim.tries < MOST_TRIES
        with writing(self._engine) as connection:
            if again:
                due_at = self.time(connection) + PAUSES_S[claim.tries - 1]
                found = connection.execute(update(notices).where(_held(claim)).values(due_at=due_at)).rowcount
            else:
                found = connection.execute(delete(notices).where(_held(claim))).rowcount
            if found:
                count(connection, NOTICES, "retried" if again else "dropped")
        return again

    def forget_all_but(self, receivers: Collection[str]) -> int:
        """Give up what was to be sent to receivers that the settings name no more.

        Returns:
            How much.
        """
        with writing(self._engine) as connection:
            others = notices.c.receiver.not_in(receivers)
            return connection.execute(delete(notices).where(others)).rowcount

    def time(self, connection: Connection) -> float:
        """Now, in seconds since 1970 by the database's clock."""
        return connection.scalars(self._now).one()


def write_down(connection: Connection, notice: Notice, receivers: Iterable[Receiver], at: float) -> None:
    """Write down that those who want to hear of such things are to be told.

    Args:
        connection: in the transaction that sets the mark of what was told.
        notice: the message.
        receivers: all there are.
        at: seconds since 1970.
    """
    for receiver in receivers:
        if notice.kind in receiver.kinds:
            connection.execute(
                insert(notices).values(
                    receiver=receiver.id,
                    kind=notice.kind.value,
                    level=notice.level.value,
                    title=notice.title,
                    body=notice.body,
                    tries=0,
                    due_at=at,
                    created_at=at,
                )
            )


def read_mark(connection: Connection, name: str) -> Mark | None:
    """What was told last of something; None: nothing ever."""
    row = connection.execute(select(notice_marks).where(notice_marks.c.name == name)).one_or_none()
    return None if row is None else Mark(row.number, row.text, row.at)


def set_mark(connection: Connection, name: str, at: float, number: float = 0.0, text: str = "") -> None:
    """Note what was told of something."""
    connection.execute(delete(notice_marks).where(notice_marks.c.name == name))
    connection.execute(insert(notice_marks).values(name=name, number=number, text=text, at=at))


def _due(at: float) -> ColumnElement[bool]:
    # Later than any pause: the clock was set back since.
    return or_(notices.c.due_at <= at, notices.c.due_at > at + _LONGEST_S)


def _held(claim: NoticeClaim) -> ColumnElement[bool]:
    return and_(notices.c.seq == claim.seq, notices.c.tries == claim.tries)
