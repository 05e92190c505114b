import pytest

from pipeline.errors import Cancelled
from pipeline.progress import STAGE_SHARE, STAGES, CancelToken, Progress, ProgressEvent


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_shares_of_the_stages_make_a_whole_job() -> None:
    assert set(STAGE_SHARE) == set(STAGES)
    assert sum(STAGE_SHARE.values()) == pytest.approx(1.0)


def test_the_fraction_runs_from_zero_to_one_and_never_back() -> None:
    events: list[ProgressEvent] = []
    progress = Progress(events.append, Clock())
    for stage in STAGES:
        progress.enter(stage)
        for done in (0.5, 0.2, 1.0):
            progress.step(done)
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == pytest.approx(1.0)


def test_the_time_left_follows_the_measured_speed_of_the_separation() -> None:
    events: list[ProgressEvent] = []
    clock = Clock()
    progress = Progress(events.append, clock)
    progress.enter("probe")
    clock.now += 50  # A slow start, such as a download, says nothing about the rest.
    progress.enter("separate")
    assert events[-1].eta_s is None
    clock.now += 10
    progress.step(0.25)
    # A quarter took 10 s: 30 s more for the rest of the stage, and the later stages by their shares.
    later = sum(STAGE_SHARE[stage] for stage in ("estimate", "encode", "export", "publish"))
    assert events[-1].eta_s == pytest.approx(30 + later * 40 / STAGE_SHARE["separate"])


def test_a_token_stops_whoever_checks_it() -> None:
    token = CancelToken()
    token.check()
    token.cancel()
    with pytest.raises(Cancelled):
        token.check()
