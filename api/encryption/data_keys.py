"""The keys of jobs: one each, made with the job, wrapped by a master key, and destroyed with the job."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Engine, Select, delete, func, insert, select, update

from api.encryption.fields import FieldCipher, encrypt_fields
from api.encryption.file_format import KEY_BYTES
from api.encryption.master_keys import MasterKeys, missing
from api.encryption.tables import data_keys
from api.jobs.tables import jobs
from api.transactions import DatabaseTime, reading, writing

FIELDS: Final = "fields:"
"""Whose key encrypts words in the database: no job has such an id."""
_REMEMBERED: Final = 4096
"""Keys that are not unwrapped again: a key service takes its time."""
_BATCH: Final = 200


class DataKeys:
    """The keys of jobs.

    Every method raises DatabaseUnavailable when the database is busy, out of reach or damaged, and those that
    give or make keys raise MasterKeyMissing, MasterKeyWrong or KeyCommandFailed as `MasterKeys` does.

    Args:
        engine: of the database.
        masters: that wrap them.
    """

    def __init__(self, engine: Engine, masters: MasterKeys) -> None:
        self._engine, self._masters = engine, masters
        self._known: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def make(self, job_id: str) -> bytes:
        """The key of a new job, durably kept before anything is encrypted with it; one that it has stays."""
        before = self.get(job_id)  # Of a request that was killed, and is now repeated.
        if before is not None:
            return before
        key = secrets.token_bytes(KEY_BYTES)
        master = self._masters.current
        wrapped = master.wrap(key)
        with writing(self._engine) as connection:
            # Nobody else writes now, but another process may have made one since.
            if connection.scalar(_is_of(job_id)) is None:
                at = connection.scalars(select(DatabaseTime())).one()
                connection.execute(
                    insert(data_keys).values(job_id=job_id, master=master.name, wrapped=wrapped, made_at=at)
                )
                return key
        made = self.get(job_id)
        assert made is not None
        return made

    def get(self, job_id: str) -> bytes | None:
        """The key of a job; None: it has none, or has none any more."""
        query = select(data_keys.c.master, data_keys.c.wrapped).where(data_keys.c.job_id == job_id)
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        known = (job_id, bytes(row.wrapped))
        with self._lock:
            if known in self._known:
                self._known.move_to_end(known)
                return self._known[known]
        key = self._masters.unwrap(row.master, known[1])
        with self._lock:
            self._known[known] = key
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return key

    def destroy(self, job_id: str) -> None:
        """Destroy the key of a job: what is encrypted with it is lost."""
        with writing(self._engine) as connection:
            destroy_key(connection, job_id)

    def sweep(self, before: float) -> int:
        """Destroy the keys of recordings that never became jobs.

        Args:
            before: only of those that were made before, in seconds since 1970: others are on their way in.

        Returns:
            How many.
        """
        ours = data_keys.c.job_id != FIELDS
        strays = ours & (data_keys.c.made_at < before) & data_keys.c.job_id.not_in(select(jobs.c.id))
        with writing(self._engine) as connection:
            return connection.execute(delete(data_keys).where(strays)).rowcount

    def check(self) -> None:
        """Look whether every key can be had: one of each master key is unwrapped."""
        one_each = select(func.min(data_keys.c.job_id)).group_by(data_keys.c.master)
        with reading(self._engine) as connection:
            some = connection.execute(select(data_keys).where(data_keys.c.job_id.in_(one_each))).all()
        for row in some:
            self._masters.unwrap(row.master, bytes(row.wrapped))

    def rotate(self, say: Callable[[int], None] = lambda _: None) -> int:
        """Wrap all keys with the current master key; files stay as they are.

        Killed at any point it is simply begun again: each key is wrapped with the one or with the other.

        Args:
            say: told how many are done, now and then.

        Returns:
            How many keys were wrapped anew.
        """
        current, count = self._masters.current, 0
        query = select(data_keys).where(data_keys.c.master != current.name)
        while True:
            with reading(self._engine) as connection:
                rows = connection.execute(query.order_by(data_keys.c.job_id).limit(_BATCH)).all()
            if not rows:
                return count
            for row in rows:
                wrapped = current.wrap(self._masters.unwrap(row.master, bytes(row.wrapped)))
                same = (data_keys.c.job_id == row.job_id) & (data_keys.c.wrapped == row.wrapped)
                with writing(self._engine) as connection:
                    changed = update(data_keys).where(same).values(master=current.name, wrapped=wrapped)
                    count += connection.execute(changed).rowcount
            say(count)


def destroy_key(connection: Connection, job_id: str) -> bool:
    """Destroy the key of a job, in a transaction that writes; whether there was one."""
    return connection.execute(delete(data_keys).where(data_keys.c.job_id == job_id)).rowcount > 0


def has_key(engine: Engine, job_id: str) -> bool:
    """Whether a job has a key."""
    with reading(engine) as connection:
        return connection.scalar(_is_of(job_id)) is not None


def _is_of(job_id: str) -> Select[tuple[str]]:
    return select(data_keys.c.job_id).where(data_keys.c.job_id == job_id)


def counts(engine: Engine) -> dict[str, int]:
    """How many keys each master key wraps."""
    query = select(data_keys.c.master, func.count()).group_by(data_keys.c.master)
    with reading(engine) as connection:
        return {master: count for master, count in connection.execute(query)}


def open_keys(engine: Engine, masters: MasterKeys | None) -> DataKeys | None:
    """The keys of jobs; None: nothing is encrypted. From now on the engine encrypts words, too.

    Raises:
        MasterKeyMissing: something is encrypted, with a master key that is not there.
        MasterKeyWrong: a master key is another one than before.
        KeyCommandFailed: a key service refused.
        DatabaseUnavailable: the database cannot be read.
    """
    if masters is None:
        for master in counts(engine):
            raise missing(master)
        return None
    keys = DataKeys(engine, masters)
    keys.check()
    encrypt_fields(engine, FieldCipher(keys.make(FIELDS)))
    return keys
