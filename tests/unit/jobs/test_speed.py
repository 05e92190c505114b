"""What a job will take is told from those that have ended."""

from __future__ import annotations

from typing import Any

import pytest

from api.jobs.speed import Machine, Prediction, Speed, predict, speed_of, work_of
from pipeline.annotations import Analysis
from pipeline.config import PipelineConfig
from pipeline.manifest import Input, Manifest, Separation
from pipeline.progress import STAGES, StageSpeed

DEFAULTS = PipelineConfig(estimators=())

RECORDED = [
    (60.0, 13.45), (72.6, 15.62), (75.1, 15.87), (65.2, 14.17), (65.6, 13.94), (85.1, 18.00), (73.1, 16.19),
    (60.2, 13.95), (71.1, 15.90), (69.5, 13.74), (63.7, 13.94), (67.5, 13.87), (54.2, 11.39), (84.8, 18.46),
    (37.9, 9.06), (54.0, 11.28), (33.1, 6.96), (61.8, 13.55),
]  # fmt: skip
"""Seconds of recordings, and of their separation: htdemucs compiled, two cores of the machine of
docs/measurements.md, 25 November 2026."""


def manifest(duration_s: float, channels: int = 2, device: str = "cpu") -> Manifest:
    heard = Input(
        filename="song", sha256="0" * 64, bytes=1, container="wav", codec="pcm", duration_s=duration_s,
        samples=int(duration_s * 44100), sample_rate=44100, channels=channels,
    )  # fmt: skip
    separation = Separation(
        model="htdemucs", weights_sha256=None, licence="MIT", commercial_use=True, quality="", device=device,
        precision="bfloat16", parameters={}, gain_db=0.0, residual_db=None,
    )  # fmt: skip
    at = "2026-11-25T00:00:00Z"
    return Manifest.model_validate(
        {"job_id": "x", "created_at": at, "started_at": at, "finished_at": at, "input": heard,
         "separation": separation, "analysis": Analysis(), "artifacts": [], "stages": [], "software": {},
         "warnings": []}
    )  # fmt: skip


def done(
    duration_s: float,
    separate_s: float,
    *,
    share: float = 1.0,
    set_up_s: float = 0.0,
    channels: int = 2,
    threads: int = 2,
    device: str = "cpu",
    others: dict[str, float] | None = None,
    **options: Any,
) -> Speed:
    """What a job has shown that took so long; the other stages took as long as is usual on that machine."""
    usual = {"probe": 0.07, "decode": 0.0022 * duration_s, "encode": 0.0115 * duration_s, "estimate": 0.0}
    seconds = {**usual, "export": 0.0, "publish": 0.0, "separate": separate_s, **(others or {})}
    speeds = {name: StageSpeed(0.0, seconds[name], 1.0) for name in STAGES}
    speeds["separate"] = StageSpeed(set_up_s, separate_s, share)
    config = DEFAULTS.model_copy(update=options)
    speed = speed_of(manifest(duration_s, channels, device), speeds, config, threads)
    assert speed is not None
    return speed


def predicted(duration_s: float, *speeds: Speed, **options: Any) -> Prediction:
    return predict(duration_s, options, speeds, DEFAULTS)


@pytest.mark.parametrize("first", RECORDED, ids=str)
def test_after_any_first_job_every_other_is_predicted_within_a_fifth(first: tuple[float, float]) -> None:
    shown = done(*first, set_up_s=4.0)
    for duration_s, separate_s in RECORDED:
        total_s = separate_s + 0.07 + (0.0022 + 0.0115) * duration_s
        assert predicted(duration_s, shown).seconds == pytest.approx(total_s, rel=0.07)


def test_neither_loading_nor_fetching_counts() -> None:
    cold = done(60.0, 13.5, set_up_s=95.0)
    assert predicted(60.0, cold) == predicted(60.0, done(60.0, 13.5, set_up_s=95.0))
    assert predicted(60.0, cold).seconds == pytest.approx(predicted(60.0, done(60.0, 13.5)).seconds)


def test_what_loading_takes_is_told_by_the_job_that_did_not_fetch() -> None:
    speeds = [done(60.0, 13.5, set_up_s=s) for s in (0.01, 3.8, 0.01, 95.0)]
    assert predicted(60.0, *speeds).load_s == 3.8
    assert predicted(60.0).load_s > 0.0
    assert predicted(60.0, model="hpss").load_s == 0.0


def test_short_jobs_cost_whole_rounds_of_segments_side_by_side() -> None:
    shown = done(60.0, 13.2)  # 11 segments, 6 rounds of two
    for duration_s, rounds in ((0.5, 1), (5.8, 1), (11.0, 1), (12.0, 2), (23.0, 2)):
        assert predicted(duration_s, shown).stages["separate"] == pytest.approx(2.2 * rounds)
    alone = done(60.0, 26.4, threads=1)
    assert predicted(0.5, alone).stages["separate"] == pytest.approx(2.4)


def test_shifts_overlap_networks_and_channels_are_reckoned_with() -> None:
    shown = done(585.0, 100.0)
    assert predicted(585.0, shown, shifts=3).stages["separate"] == pytest.approx(300.0)
    assert predicted(585.0, shown, overlap=0.0).stages["separate"] == pytest.approx(76.0)
    assert work_of(60.0, {"model": "htdemucs_ft"}, DEFAULTS).runs == 4
    assert work_of(60.0, {"model": "htdemucs_ft", "stems": ["no_drums"]}, DEFAULTS).runs == 1
    assert work_of(60.0, {"model": "htdemucs_ft", "stems": ["drums"], "residual": "file"}, DEFAULTS).runs == 4
    assert predicted(60.0, done(60.0, 39.6, channels=6)).stages["separate"] == pytest.approx(13.2)


def test_fast_is_balanced_with_less_overlap() -> None:
    fast = predicted(240.0, done(240.0, 50.0), precision="fast")
    assert fast.measured
    assert fast.stages["separate"] == pytest.approx(50.0 * 36 / 42)


def test_other_models_and_precisions_only_tell_how_fast_the_machine_is() -> None:
    guess = predicted(60.0, precision="exact")
    assert not guess.measured
    slow = done(60.0, 132.0)  # Ten times what is usual.
    other = predicted(60.0, slow, precision="exact")
    assert not other.measured
    assert other.stages["separate"] == pytest.approx(guess.stages["separate"] * 10.0 / 1.3 * 1.1, rel=0.2)
    assert predicted(60.0, done(60.0, 5.0, model="hpss")).stages["separate"] == pytest.approx(
        predicted(60.0).stages["separate"]
    )


def test_the_newest_job_says_what_the_machine_is_now() -> None:
    alone, shared = done(60.0, 13.2), done(60.0, 30.0, threads=1)
    assert predicted(60.0, shared, alone).stages["separate"] == pytest.approx(30.0)
    assert predicted(60.0, alone, shared).stages["separate"] == pytest.approx(13.2)
    gpu = done(60.0, 1.0, device="cuda")
    assert predicted(60.0, gpu, alone).stages["separate"] == pytest.approx(1.0)


def test_a_machine_that_was_busy_is_forgotten() -> None:
    speeds = [done(60.0, 13.4), done(60.0, 13.6), done(60.0, 13.5), done(60.0, 28.1), done(60.0, 22.8)]
    assert predicted(60.0, *speeds).stages["separate"] == pytest.approx(13.6)


def test_a_separation_that_was_resumed_counts_by_what_was_left_of_it() -> None:
    assert done(60.0, 3.3, share=0.25).pass_s == pytest.approx(done(60.0, 13.2).pass_s)


@pytest.mark.parametrize(("share", "device"), [(0.0, "cpu"), (0.1, "cpu"), (1.0, "cuda+cpu")])
def test_a_job_that_shows_nothing_is_not_learned_from(share: float, device: str) -> None:
    speeds = {name: StageSpeed(0.0, 1.0, 1.0) for name in STAGES}
    speeds["separate"] = StageSpeed(0.0, 0.5, share)
    assert speed_of(manifest(60.0, device=device), speeds, DEFAULTS, 2) is None


def test_estimators_and_files_cost_by_their_number() -> None:
    both = {"estimate": 12.0, "encode": 2.4}
    shown = done(60.0, 13.2, others=both, estimators=("key", "tempo"), formats=("flac", "mp3"))
    assert predicted(60.0, shown, estimators=("key",)).stages["estimate"] == pytest.approx(6.0)
    assert predicted(60.0, shown).stages["estimate"] == 0.0
    assert predicted(120.0, shown, stems=["drums"]).stages["encode"] == pytest.approx(0.6)


def test_exports_cost_what_their_audio_does() -> None:
    without = done(60.0, 13.2, others={"encode": 2.4})
    assert predicted(60.0, without).stages["export"] == 0.0
    assert predicted(60.0, without, exports=("csv", "midi")).stages["export"] == 0.0
    assert predicted(60.0, without, exports=("stem.mp4", "click")).stages["export"] == pytest.approx(3.6)
    shown = done(60.0, 13.2, others={"encode": 2.4, "export": 9.0}, exports=("stem.mp4",))
    assert predicted(120.0, shown, exports=("stem.mp4",)).seconds == pytest.approx(
        predicted(120.0, shown).seconds + 120.0 * 5 * (2.4 + 9.0) / (60.0 * (4 + 5))
    )


def test_a_machine_is_one_model_arithmetic_device_and_number_of_threads() -> None:
    assert done(60.0, 13.2).machine == Machine("htdemucs", "balanced", "cpu", 2)
    assert done(60.0, 13.2, precision="exact", threads=4).machine == Machine("htdemucs", "exact", "cpu", 4)
