"""What is told, when, and that it is told once: whoever looks, and whenever he is killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from api.database import open_database
from api.jobs.model import JobError
from api.jobs.sql_store import SqlJobStore
from api.jobs.tables import job_events, jobs
from api.migrate import upgrade
from api.notifications.notifier import Notifier
from api.notifications.receivers import receivers_of
from api.notifications.store import LEASE_S, MOST_TRIES, PAUSES_S, NoticeStore
from api.notifications.tables import notices
from api.notifications.watch import SETTLED_S, Watch, WatchConfig
from api.transactions import DatabaseTime, reading, writing
from tests.job_stores import ERROR, new, taken

HOUR = 3600.0
RECEIVERS = receivers_of(
    "json://everything.example failures=json://failures.example admission=json://door.example"
)
SECRET = JobError("audio_undecodable", "This is no audio.")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


class Scene:
    """A service whose clock and door the test moves."""

    def __init__(self, engine: Engine, **config: Any) -> None:
        self.engine = engine
        self.reasons: Sequence[str] = ()
        self.steady = 0.0
        self.config = WatchConfig(
            **{
                "receivers": RECEIVERS,
                "interval_s": 900.0,
                "every_failure": False,
                "summary_minute": None,
                "max_queued": 3,
                "host": "here",
                **config,
            }
        )
        self.at = 0.0
        self.watch = self.watcher()

    def watcher(self) -> Watch:
        """One more process."""
        return Watch(
            self.engine,
            self.store(),
            lambda: self.reasons,
            lambda: (0.25, None),
            self.config,
            lambda: self.steady,
        )

    def store(self) -> NoticeStore:
        return NoticeStore(self.engine, DatabaseTime() + self.at)

    def later(self, seconds: float) -> None:
        """Let time pass; the processes go on."""
        self.at += seconds
        self.steady += seconds
        seen = self.watch._seen_event, self.watch._since
        self.watch = self.watcher()
        self.watch._seen_event, self.watch._since = seen

    def fail(self, number: int = 1, error: JobError = ERROR) -> list[str]:
        store, ids = SqlJobStore(self.engine, DatabaseTime() + self.at), []
        for _ in range(number):
            ids.append(store.add(new()).id)
            store.fail(taken(store), error)
        return ids

    def told(self) -> list[tuple[str, str]]:
        """Receiver's host and title of all that is to be sent."""
        hosts = {
            receiver.id: receiver.url.removeprefix("json://").partition(".")[0] for receiver in RECEIVERS
        }
        with reading(self.engine) as connection:
            rows = connection.execute(select(notices).order_by(notices.c.seq)).all()
        return [(hosts[row.receiver], row.title) for row in rows]

    def body(self) -> str:
        with reading(self.engine) as connection:
            return str(connection.scalars(select(notices.c.body).order_by(notices.c.seq.desc())).first())


def test_what_failed_before_anybody_asked_is_history(engine: Engine) -> None:
    scene = Scene(engine)
    scene.fail(3)
    scene.watch.look()
    scene.watch.look()
    assert scene.told() == []


def test_a_failure_is_told_at_once_to_those_who_want_to_hear_of_it(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    [job_id] = scene.fail()
    scene.watch.look()
    title = "Audio Pipeline: A job failed (tool_failed)"
    assert scene.told() == [("everything", title), ("failures", title)]
    assert job_id in scene.body()
    assert "song.mp3" not in scene.body()


def test_many_failures_are_two_messages(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail()
    for _ in range(5):
        scene.watch.look()
        scene.later(20)
        scene.fail(4)
    assert len(scene.told()) == 2
    scene.later(900)
    scene.watch.look()
    scene.watch.look()
    titles = [title for host, title in scene.told() if host == "failures"]
    assert titles == [
        "Audio Pipeline: A job failed (tool_failed)",
        "Audio Pipeline: 20 jobs failed (tool_failed)",
    ]
    assert "and 15 more" in scene.body()
    assert len(scene.body()) < 1000


def test_ten_processes_that_look_at_once_tell_it_once(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail(3)
    together = threading.Barrier(10)

    def look(watch: Watch) -> None:
        together.wait()
        watch.look()

    threads = [threading.Thread(target=look, args=(scene.watcher(),)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scene.told()) == 2


def test_a_process_that_dies_between_looking_and_telling_loses_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail()

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("api.notifications.watch.set_mark", die)
        with pytest.raises(KeyboardInterrupt):
            scene.watch.look()
    assert scene.told() == []
    scene.watcher().look()
    assert len(scene.told()) == 2


def test_what_is_the_recordings_fault_is_told_only_where_that_is_wanted(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail(2, SECRET)
    scene.watch.look()
    assert scene.told() == []
    scene.fail(1)
    scene.watch.look()
    assert {title for _, title in scene.told()} == {"Audio Pipeline: A job failed (tool_failed)"}
    other = Scene(engine, every_failure=True)
    other.later(1000)
    other.fail(1, SECRET)
    other.watch.look()
    assert "audio_undecodable" in other.told()[-1][1]


def test_failures_of_the_day_before_yesterday_are_no_news(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail()
    scene.later(49 * HOUR)
    scene.watcher().look()
    assert scene.told() == []


def test_a_clock_that_is_set_back_keeps_no_failure_quiet(engine: Engine) -> None:
    scene = Scene(engine)
    scene.later(1000 * HOUR)
    scene.watch.look()
    scene.fail()
    scene.watch.look()
    scene.later(-900 * HOUR)
    scene.fail()
    scene.watch.look()
    assert len(scene.told()) == 4


def test_a_day_is_told_once_and_the_first_is_a_whole_one(engine: Engine) -> None:
    scene = Scene(engine, summary_minute=7 * 60)
    scene.watch.look()
    assert scene.told() == []
    scene.fail(2)
    store = SqlJobStore(engine)
    store.add(new(duration_s=3600.0))
    claim = taken(store)
    store.beat(claim, 30.0, duration_s=7200.0)
    store.succeed(claim)
    store.add(new())
    for _ in range(24):
        scene.later(HOUR)
        # A day has one 7 o'clock: jobs that end then are in the window of one summary.
        scene.watch.look_at_the_day()
        scene.watcher().look_at_the_day()
    [(host, title)] = scene.told()
    assert host == "everything"
    assert title.startswith("Audio Pipeline: 1 jobs done, 2 failed")
    assert "2.0 hours of audio" in scene.body()
    assert "2 x tool_failed" in scene.body()
    assert "Jobs that wait now: 1" in scene.body()
    assert "fullest disk: 25%" in scene.body()
    assert "Last backup: none yet" in scene.body()


def test_a_service_that_slept_at_seven_tells_of_the_day_when_it_wakes(engine: Engine) -> None:
    scene = Scene(engine, summary_minute=7 * 60)
    scene.watch.look()
    scene.later(50 * HOUR)
    scene.watch.look()
    scene.watch.look()
    assert len(scene.told()) == 1


def test_a_door_that_stays_closed_is_told_and_so_is_its_opening(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.later(SETTLED_S)
    scene.watch.look()
    assert scene.told() == []
    scene.reasons = ("disk_reserve",)
    scene.watch.look()
    scene.later(SETTLED_S - 1)
    scene.watch.look()
    assert scene.told() == []
    scene.later(2)
    scene.watch.look()
    scene.watch.look()
    closed = "Audio Pipeline takes no work: disk_reserve"
    assert scene.told() == [("everything", closed), ("door", closed)]
    assert "PIPELINE_DISK_RESERVE_MB" in scene.body()
    scene.reasons = ()
    scene.watch.look()
    scene.later(SETTLED_S)
    scene.watch.look()
    assert scene.told()[2:] == [
        ("everything", "Audio Pipeline takes work again"), ("door", "Audio Pipeline takes work again"),
    ]  # fmt: skip


def test_a_service_that_was_killed_with_its_door_closed_tells_when_it_opens(engine: Engine) -> None:
    scene = Scene(engine)
    scene.reasons = ("memory_reserve",)
    scene.watch.look()
    scene.later(SETTLED_S)
    scene.watch.look()
    assert len(scene.told()) == 2
    scene.reasons = ()
    scene.watch = scene.watcher()
    scene.watch.look()
    scene.later(SETTLED_S)
    scene.watch.look()
    assert scene.told()[-1] == ("door", "Audio Pipeline takes work again")


def test_a_door_that_swings_is_told_of_once_an_interval(engine: Engine) -> None:
    scene = Scene(engine)
    for _ in range(6):
        for reasons in (("disk_reserve",), ()):
            scene.reasons = reasons
            scene.watch.look()
            scene.later(SETTLED_S)
            scene.watch.look()
    assert len([host for host, _ in scene.told() if host == "door"]) <= 4


def test_a_stop_closes_no_door_and_a_full_queue_does(engine: Engine) -> None:
    scene = Scene(engine)
    scene.reasons = ("draining",)
    scene.watch.look()
    scene.later(SETTLED_S)
    scene.watch.look()
    assert scene.told() == []
    scene.reasons = ()
    store = SqlJobStore(engine)
    for _ in range(3):
        store.add(new())
    scene.watch.look()
    scene.later(SETTLED_S)
    scene.watch.look()
    assert scene.told()[-1] == ("door", "Audio Pipeline takes no work: queue_full")


def test_a_receiver_that_is_dead_is_tried_again_ever_more_rarely_and_then_no_more(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail()
    tried: list[float] = []

    def refuse(receiver: Any, _notice: Any) -> str | None:
        if receiver is RECEIVERS[0]:
            tried.append(scene.at)
            return "no answer"
        return None

    for pause in (0.0, *PAUSES_S, 1e5):
        scene.later(pause)
        Notifier(scene.watch, scene.store(), RECEIVERS, sending=refuse).round()
    assert len(tried) == MOST_TRIES
    assert scene.told() == []


def test_a_process_that_dies_at_every_try_does_not_try_for_ever(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail()
    scene.watch.look()
    claimed = 0
    for _ in range(3 * MOST_TRIES):
        claimed += len(scene.store().claim(1))
        scene.later(LEASE_S)
    assert claimed == 2 * MOST_TRIES
    assert scene.told() == []


def test_a_try_that_came_too_late_changes_nothing(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail()
    scene.watch.look()
    late = scene.store().claim(1)[0]
    scene.later(LEASE_S + 1)
    again = next(claim for claim in scene.store().claim(9) if claim.seq == late.seq)
    scene.store().sent(late)
    assert len(scene.told()) == 2
    scene.store().sent(again)
    assert len(scene.told()) == 1


def test_what_was_for_a_receiver_who_is_no_more_is_forgotten(engine: Engine) -> None:
    scene = Scene(engine)
    scene.watch.look()
    scene.fail()
    scene.watch.look()
    assert scene.store().forget_all_but([RECEIVERS[0].id]) == 1
    assert [host for host, _ in scene.told()] == ["everything"]


def test_a_job_whose_error_is_lost_is_told_all_the_same(engine: Engine) -> None:
    scene = Scene(engine, every_failure=True)
    scene.watch.look()
    [job_id] = scene.fail()
    with writing(engine) as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
        connection.execute(job_events.delete())
        connection.execute(
            insert(job_events).values(job_id=row.id, kind="failed", data={}, at=row.finished_at)
        )
    scene.watch.look()
    assert "internal_error" in scene.told()[0][1]
