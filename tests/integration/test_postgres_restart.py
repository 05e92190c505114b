"""A PostgreSQL that is killed and comes back: nothing that was accepted is lost."""

from __future__ import annotations

import pytest

from api.database import open_database
from api.errors import DatabaseUnavailable
from api.jobs.sql_store import SqlJobStore
from api.migrate import upgrade
from tests.job_stores import new
from tests.postgres import Postgres


def test_what_was_accepted_survives_and_the_next_transaction_works() -> None:
    with Postgres(durable=True) as server:
        engine = open_database(server.create("pipeline"))
        upgrade(engine)
        store = SqlJobStore(engine)
        accepted = [store.add(new()).id for _ in range(3)]
        server.kill()
        with pytest.raises(DatabaseUnavailable):
            store.add(new())
        server.start()
        assert {job.id for job in store.line(10)} == set(accepted)
        server.kill()
        server.start()
        # The pool's connections are of the server that died: the first transaction is a new one's.
        accepted.append(store.add(new()).id)
        assert {job.id for job in store.line(10)} == set(accepted)
        engine.dispose()
