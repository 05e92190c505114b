"""Clocks that are set forward and back, while the service runs and while it is away."""

from pathlib import Path

import pytest

from api.clocks import ClockWatch, SteadyClock

DAY_S = 86400.0
YEAR_S = 365 * DAY_S


class Machine:
    """A machine's two clocks."""

    def __init__(self) -> None:
        self.time, self.steady = 1e9, 50.0

    def passes(self, seconds: float) -> None:
        self.time += seconds
        self.steady += seconds

    def clock(self, folder: Path) -> SteadyClock:
        return SteadyClock(folder / "clock", lambda: self.time, lambda: self.steady)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_watch_tells_by_how_much_a_clock_was_set(machine: Machine) -> None:
    watch = ClockWatch(lambda: machine.steady)
    assert watch.moved_s(machine.time) == 0
    machine.passes(1000)
    assert watch.moved_s(machine.time) == 0
    machine.time += 3600
    assert watch.moved_s(machine.time) == 3600
    machine.time -= 7200
    assert watch.moved_s(machine.time) == -7200


def test_a_clock_that_just_goes_is_believed(machine: Machine, tmp_path: Path) -> None:
    clock = machine.clock(tmp_path)
    for _ in range(100):
        machine.passes(3600)
        assert clock.now().timestamp() == machine.time


def test_a_clock_that_is_a_year_ahead_for_hours_ages_nothing(machine: Machine, tmp_path: Path) -> None:
    clock = machine.clock(tmp_path)
    right = clock.now().timestamp()
    machine.time += YEAR_S
    for hour in range(1, 23):
        machine.passes(3600)
        assert clock.now().timestamp() == right + hour * 3600
    machine.time -= YEAR_S
    assert clock.now().timestamp() == machine.time
    machine.passes(40 * DAY_S)
    assert clock.now().timestamp() == machine.time


def test_a_clock_that_stays_ahead_is_believed_after_a_day(machine: Machine, tmp_path: Path) -> None:
    clock = machine.clock(tmp_path)
    clock.now()
    machine.time += YEAR_S
    clock.now()
    machine.passes(DAY_S)
    assert clock.now().timestamp() == machine.time
    assert machine.clock(tmp_path).now().timestamp() == machine.time


def test_a_restart_does_not_make_a_clock_right(machine: Machine, tmp_path: Path) -> None:
    clock = machine.clock(tmp_path)
    right = clock.now().timestamp()
    machine.time += YEAR_S
    clock.now()
    machine.steady = 3.0
    again = machine.clock(tmp_path)
    assert again.now().timestamp() == right
    machine.passes(3600)
    assert machine.clock(tmp_path).now().timestamp() == right
    assert again.now().timestamp() == right + 3600


def test_a_clock_that_is_set_back_is_followed(machine: Machine, tmp_path: Path) -> None:
    clock = machine.clock(tmp_path)
    clock.now()
    machine.time -= YEAR_S
    assert clock.now().timestamp() == machine.time


def test_a_night_without_the_service_makes_no_doubt(machine: Machine, tmp_path: Path) -> None:
    machine.clock(tmp_path).now()
    machine.passes(3 * DAY_S)
    assert machine.clock(tmp_path).now().timestamp() == machine.time


@pytest.mark.parametrize("content", ["", "yesterday", None])
def test_without_a_memory_the_clock_is_believed(
    machine: Machine, tmp_path: Path, content: str | None
) -> None:
    if content is None:
        (tmp_path / "clock").mkdir()  # Neither to be read nor to be written.
    else:
        (tmp_path / "clock").write_text(content)
    assert machine.clock(tmp_path).now().timestamp() == machine.time
