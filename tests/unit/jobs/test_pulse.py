"""A worker is heard as long as it goes on, and silence is counted only while somebody listens."""

import os

import pytest

from api.jobs.pulse import Pulse, beating


def test_silence_lasts_until_a_beat() -> None:
    pulse = Pulse(0.0)
    beat = beating(os.dup(pulse.fd))
    pulse.handed_over()
    assert [pulse.silence_s(now) for now in (0.5, 1.0, 1.5)] == [0.5, 1.0, 1.5]
    assert not pulse.heard
    beat()
    beat()
    assert [pulse.silence_s(now) for now in (2.0, 2.5)] == [0.0, 0.5]
    assert pulse.heard
    pulse.close()


def test_time_in_which_nobody_listened_is_no_silence() -> None:
    """Who stops the service for an hour stops its workers too: none of them is to be killed for that."""
    pulse = Pulse(0.0)
    assert pulse.silence_s(0.5) == 0.5
    assert pulse.silence_s(3600.5) == 1.5
    pulse.handed_over()
    pulse.close()


def test_a_dead_worker_is_silent() -> None:
    pulse = Pulse(0.0)
    pulse.handed_over()
    assert pulse.silence_s(1.0) == 1.0
    pulse.close()


@pytest.mark.parametrize("closed", [False, True])
def test_a_beat_that_nobody_hears_stops_nobody(closed: bool) -> None:
    pulse = Pulse(0.0)
    beat = beating(pulse.fd)
    if closed:
        pulse.close()
    for _ in range(100_000):  # More than the pipe holds.
        beat()
    if not closed:
        assert pulse.silence_s(1.0) == 0.0
        pulse.close()
    pulse.handed_over()


def test_no_child_of_a_worker_beats_for_it() -> None:
    pulse = Pulse(0.0)
    os.set_inheritable(pulse.fd, True)
    beating(pulse.fd)
    assert not os.get_inheritable(pulse.fd)
    pulse.handed_over()
    pulse.close()


def test_a_worker_without_a_supervisor_beats_for_nobody() -> None:
    beating(None)()
