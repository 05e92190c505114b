import pytest

from pipeline.errors import Cancelled
from pipeline.progress import STAGE_SHARE, STAGES, CancelToken, Progress, ProgressEvent, StageSpeed


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


def test_preparing_a_stage_says_nothing_about_its_speed() -> None:
    events: list[ProgressEvent] = []
    clock = Clock()
    progress = Progress(events.append, clock)
    progress.enter("separate")
    clock.now += 300  # The weights are fetched and the model is compiled.
    progress.ready()
    clock.now += 10
    progress.step(0.5)
    assert events[-1].eta_s == pytest.approx(10 + 0.12 / 0.85 * 20)
    clock.now += 10
    progress.enter("estimate")
    # Nor about the stages that follow.
    assert events[-1].eta_s == pytest.approx(20 / 0.88 * 0.12)


def test_how_long_stages_took_is_told_without_what_others_have_done() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    progress.enter("decode")
    clock.now += 2
    progress.enter("separate")
    clock.now += 4
    progress.ready()
    clock.now += 1
    progress.resume(0.75)
    clock.now += 5
    progress.enter("encode")
    clock.now += 3
    assert progress.speeds() == {
        "probe": StageSpeed(0.0, 0.0, 1.0),
        "decode": StageSpeed(0.0, 2.0, 1.0),
        "separate": StageSpeed(4.0, 5.0, 0.25),
        "encode": StageSpeed(0.0, 3.0, 1.0),
    }


def test_where_earlier_jobs_have_shown_it_the_time_left_is_told_from_the_start() -> None:
    events: list[ProgressEvent] = []
    clock = Clock()
    expected_s = {"decode": 2.0, "separate": 8.0, "estimate": 30.0, "encode": 10.0}  # As with a GPU.
    progress = Progress(events.append, clock, expected_s)
    progress.enter("decode")
    assert events[-1].eta_s == pytest.approx(50, rel=0.01)
    progress.enter("separate")
    assert events[-1].eta_s == pytest.approx(48, rel=0.01)
    clock.now += 8  # It goes half as fast as it should: so will the rest.
    progress.step(0.5)
    assert events[-1].eta_s == pytest.approx(88, rel=0.01)
    progress.enter("encode")
    assert events[-1].eta_s == pytest.approx(10, rel=0.02)
    assert events[-1].fraction == pytest.approx(0.8, rel=0.01)


def test_a_token_stops_whoever_checks_it() -> None:
    token = CancelToken()
    token.check()
    token.cancel()
    with pytest.raises(Cancelled):
        token.check()
