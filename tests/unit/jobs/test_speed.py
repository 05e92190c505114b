"""What a job will take is told from those that have ended."""

from __future__ import annotations

from typing import Any

import pytest

from api.jobs.model import Job, StageTime
from api.jobs.speed import predict_s
from pipeline.config import PipelineConfig
from tests.job_stores import new

DEFAULTS = PipelineConfig()


def done(duration_s: float, spent_s: float, **options: Any) -> Job:
    stages = (StageTime("decode", "succeeded", 0.1), StageTime("separate", "succeeded", spent_s - 0.1))
    return new(duration_s=duration_s, options=options, stages=stages)


def predicted(duration_s: float, *jobs: Job, **options: Any) -> float:
    seconds, measured = predict_s(duration_s, options, jobs, DEFAULTS)
    assert measured == bool(jobs)
    return seconds


def test_a_job_takes_what_one_like_it_took() -> None:
    assert predicted(240.0, done(240.0, 60.0)) == pytest.approx(60.0)


def test_it_takes_longer_by_its_segments_not_by_its_seconds() -> None:
    short = done(6.0, 2.5)  # two segments
    assert predicted(11.0, short) == pytest.approx(2.5)
    assert predicted(12.0, short) == pytest.approx(3.5)
    assert predicted(585.0, short) == pytest.approx(100.5)


def test_shifts_and_less_overlap_are_reckoned_with() -> None:
    usual = done(585.0, 100.5)
    assert predicted(585.0, usual, shifts=3) == pytest.approx(300.5)
    assert predicted(585.0, usual, overlap=0.0) == pytest.approx(75.5)


def test_other_models_and_precisions_say_nothing() -> None:
    others = [done(60.0, 900.0, model="htdemucs_ft"), done(60.0, 400.0, precision="exact")]
    seconds, measured = predict_s(60.0, {}, others, DEFAULTS)
    assert not measured
    assert 0 < seconds < 60
    assert predict_s(60.0, {"precision": "exact"}, others, DEFAULTS)[1]


def test_a_separation_that_was_taken_over_does_not_count() -> None:
    jobs = [done(240.0, 60.0), done(240.0, 0.9), done(240.0, 1.1)]
    assert predicted(240.0, *jobs) == pytest.approx(60.0)
