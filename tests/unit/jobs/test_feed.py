from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from api.errors import DatabaseUnavailable
from api.jobs.feed import Feed
from api.jobs.sql_store import SqlJobStore
from tests.job_stores import new

pytestmark = pytest.mark.anyio
LONG = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def running(feed: Feed) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        await tasks.start(feed.run)
        yield
        tasks.cancel_scope.cancel()


async def test_a_listener_is_woken_by_its_job_and_no_other(store: SqlJobStore) -> None:
    feed = Feed(store, poll_s=0.01)
    mine, other = store.add(new()), store.add(new())
    async with running(feed):
        with feed.listen(mine.id) as listener, feed.listen(other.id) as stranger:
            await anyio.sleep(0.1)
            stranger.reset()
            listener.reset()
            store.request_cancel(mine.id)
            with anyio.fail_after(LONG):
                await listener.wait(LONG)
            with anyio.move_on_after(0.1) as silence:
                await stranger.wait(LONG)
            assert silence.cancelled_caught


async def test_two_listeners_of_one_job_are_both_woken_and_one_may_leave(store: SqlJobStore) -> None:
    feed = Feed(store, poll_s=0.01)
    job = store.add(new())
    async with running(feed):
        with feed.listen(job.id) as first:
            with feed.listen(job.id):
                pass
            with feed.listen(job.id) as second, anyio.fail_after(LONG):
                store.request_cancel(job.id)
                await first.wait(LONG)
                await second.wait(LONG)


async def test_a_wait_ends_when_its_time_is_over(store: SqlJobStore) -> None:
    with Feed(store).listen("nobody") as listener, anyio.fail_after(LONG):
        await listener.wait(0.01)


async def test_news_that_came_before_the_wait_ends_it_at_once(store: SqlJobStore) -> None:
    with Feed(store).listen("nobody") as listener, anyio.fail_after(LONG):
        listener.wake()
        await listener.wait(LONG)


async def test_a_store_that_is_out_of_reach_for_a_while_is_asked_again(store: SqlJobStore) -> None:
    class Shaky:
        """The real store, which fails once."""

        failed = False

        def __getattr__(self, name: str) -> object:
            if name == "events" and not self.failed:
                self.failed = True
                raise DatabaseUnavailable("The database is busy.")
            return getattr(store, name)

    feed = Feed(Shaky(), poll_s=0.01)  # type: ignore[arg-type]
    job = store.add(new())
    async with running(feed):
        with feed.listen(job.id) as listener, anyio.fail_after(LONG):
            store.request_cancel(job.id)
            await listener.wait(LONG)
