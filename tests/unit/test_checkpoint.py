"""An interrupted separation goes on where it was, and nobody can tell from the result."""

import fcntl
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.config import PipelineConfig
from pipeline.progress import CancelToken, Progress, ProgressEvent
from pipeline.separators.base import Separator
from pipeline.separators.hpss import HpssSeparator
from tests.audio_files import music
from tests.networks import hdemucs, htdemucs, loaded, separator_of

BINDING = {"input_sha256": "a" * 64}


def demucs(overlap: float = 0.25, shifts: int = 0) -> Separator:
    config = PipelineConfig(overlap=overlap, shifts=shifts)
    return separator_of(loaded([htdemucs()]), config)


def bag() -> Separator:
    shares = [(1.0, 0.0, 1.0, 0.0), (0.5, 1.0, 0.0, 1.0)]
    return separator_of(loaded([htdemucs(1), hdemucs(2)], shares), PipelineConfig(shifts=2))


BACKENDS: dict[str, Callable[[], Separator]] = {
    "hpss": HpssSeparator,
    "overlap of a quarter": demucs,
    "no overlap": lambda: demucs(overlap=0.0),
    "overlap of two thirds": lambda: demucs(overlap=0.67),
    "shifts": lambda: demucs(shifts=3),
    "a bag with shifts": bag,
}


def mix(seconds: float, sample_rate: int = 8000, channels: int = 2) -> Audio:
    return Audio(music(seconds, sample_rate, channels), sample_rate)


def separate(
    separator: Separator,
    audio: Audio,
    scratch: Path,
    checkpoint: Checkpoint | None = None,
    stop_after: int | None = None,
    step: Callable[[float], None] = lambda _: None,
) -> list[FloatArray]:
    blocks = separator.separate(
        audio, scratch=scratch, step=step, cancel=CancelToken(), checkpoint=checkpoint
    )
    if stop_after is None:
        return list(blocks)
    return [block for _, block in zip(range(stop_after), blocks, strict=False)]


def same(left: list[FloatArray], right: list[FloatArray]) -> bool:
    """Bit for bit, and cut at the same places: what comes after may depend on both."""
    return [block.tobytes() for block in left] == [block.tobytes() for block in right]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("sample_rate", "channels"), [(8000, 2), (11025, 1), (8000, 4)])
def test_a_resumed_separation_gives_the_same_bits(
    name: str, sample_rate: int, channels: int, tmp_path: Path
) -> None:
    audio = mix(30.0 if name == "hpss" else 1.3, sample_rate, channels)
    whole = separate(BACKENDS[name](), audio, tmp_path)
    path = tmp_path / "job.checkpoint"
    for stop_after in sorted({0, 1, len(whole) // 2, len(whole) - 1}):
        path.unlink(missing_ok=True)
        separate(BACKENDS[name](), audio, tmp_path, Checkpoint(path, BINDING), stop_after)
        assert same(separate(BACKENDS[name](), audio, tmp_path, Checkpoint(path, BINDING)), whole)


def test_only_the_segments_that_reach_the_rest_are_computed_again(tmp_path: Path) -> None:
    audio, path = mix(4.0), tmp_path / "job.checkpoint"
    steps: list[float] = []
    separate(demucs(), audio, tmp_path, step=steps.append)
    assert len(steps) == 11
    separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), stop_after=6)
    steps.clear()
    separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), step=steps.append)
    # Six of eleven are stored; the sixth reaches a quarter of a segment into the seventh block.
    assert len(steps) == 6


def test_an_attempt_interrupted_again_and_again_ends(tmp_path: Path) -> None:
    audio, path = mix(4.0), tmp_path / "job.checkpoint"
    whole = separate(demucs(), audio, tmp_path)
    for attempt in range(1, len(whole) + 1):
        blocks = separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), stop_after=attempt)
        assert same(blocks, whole[:attempt])
    steps: list[float] = []
    assert same(separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), step=steps.append), whole)
    assert steps == []


@pytest.mark.parametrize("cut", [1, 5, 11, 16, 20, 1000, 40000, 100000])
def test_a_torn_tail_is_dropped(cut: int, tmp_path: Path) -> None:
    audio, path = mix(4.0), tmp_path / "job.checkpoint"
    whole = separate(demucs(), audio, tmp_path)
    separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), stop_after=6)
    os.truncate(path, path.stat().st_size - cut)
    assert same(separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING)), whole)


@pytest.mark.parametrize("place", [0, 7, 11, 30, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("damage", [b"\x00" * 64, b"\xff"])
def test_damaged_bytes_are_never_used(place: float, damage: bytes, tmp_path: Path) -> None:
    audio, path = mix(4.0), tmp_path / "job.checkpoint"
    whole = separate(demucs(), audio, tmp_path)
    separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), stop_after=6)
    with path.open("r+b") as file:
        file.seek(int(place) or int(place * path.stat().st_size))
        file.write(damage)
    assert same(separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING)), whole)
    # And the attempt after that one finds a whole checkpoint.
    steps: list[float] = []
    assert same(separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), step=steps.append), whole)
    assert steps == []


def test_a_checkpoint_of_something_else_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "job.checkpoint"
    audio = mix(4.0)
    others: list[tuple[Separator, Audio, dict[str, str]]] = [
        (demucs(overlap=0.5), audio, BINDING),
        (demucs(shifts=1), audio, BINDING),
        (demucs(), mix(3.9), BINDING),
        (demucs(), audio, {"input_sha256": "b" * 64}),
        (HpssSeparator(), audio, BINDING),
    ]
    whole = separate(demucs(), audio, tmp_path)
    for separator, other, binding in others:
        path.unlink(missing_ok=True)
        separate(separator, other, tmp_path, Checkpoint(path, binding), stop_after=3)
        steps: list[float] = []
        mine = separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), step=steps.append)
        assert same(mine, whole)
        assert len(steps) == 11


def test_a_file_that_another_process_still_holds_is_copied(tmp_path: Path) -> None:
    audio, path = mix(4.0), tmp_path / "job.checkpoint"
    whole = separate(demucs(), audio, tmp_path)
    separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), stop_after=6)
    with path.open("r+b") as stale:
        fcntl.flock(stale, fcntl.LOCK_EX)
        steps: list[float] = []
        mine = separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING), step=steps.append)
        assert same(mine, whole)
        assert len(steps) == 6
        stale.seek(0, os.SEEK_END)
        stale.write(b"what the stale process writes reaches nobody")
        stale.flush()
        assert same(separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING)), whole)
    assert [p.name for p in tmp_path.iterdir()] == ["job.checkpoint"]


def test_whoever_lost_the_file_does_not_remove_it(tmp_path: Path) -> None:
    audio, path = mix(2.0), tmp_path / "job.checkpoint"
    stale = Checkpoint(path, BINDING)
    blocks = demucs().separate(
        audio, scratch=tmp_path, step=lambda _: None, cancel=CancelToken(), checkpoint=stale
    )
    next(blocks)
    mine = Checkpoint(path, BINDING)
    separate(demucs(), audio, tmp_path, mine)
    stale.remove()
    assert path.exists()
    mine.remove()
    assert not path.exists()


def test_a_full_disk_costs_the_checkpoint_and_not_the_job(tmp_path: Path) -> None:
    audio, path = mix(4.0), tmp_path / "job.checkpoint"
    whole = separate(demucs(), audio, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))  # As on a full disk: a write is refused.
    try:
        assert same(separate(demucs(), audio, tmp_path, Checkpoint(path, BINDING)), whole)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()


def test_a_folder_that_cannot_be_made_costs_the_checkpoint_and_not_the_job(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file" / "job.checkpoint"
    assert separate(demucs(), mix(1.0), tmp_path, Checkpoint(path, BINDING))


def test_what_was_done_before_says_nothing_about_the_speed() -> None:
    now = [0.0]
    events: list[ProgressEvent] = []
    progress = Progress(events.append, lambda: now[0])
    progress.enter("separate")
    progress.resume(0.8)
    assert events[-1].eta_s is None
    now[0] = 10.0
    progress.step(0.9)
    # A tenth took 10 s: so will the last tenth, and the later stages take their share.
    assert events[-1].eta_s == pytest.approx(10 + 0.12 / 0.85 * 100)


def test_the_fraction_that_was_there_is_told(tmp_path: Path) -> None:
    path, told = tmp_path / "c", []

    def blocks_from(begin: int) -> Iterator[FloatArray]:
        for at in range(begin, 10, 2):
            yield np.full((3, 2), at, dtype=np.float32)

    first = Checkpoint(path, {}).resume(blocks_from, (3,), 10, {})
    assert [block[0, 0] for _, block in zip(range(3), first, strict=False)] == [0, 2, 4]
    second = list(Checkpoint(path, {}, told.append).resume(blocks_from, (3,), 10, {}))
    assert [block[0, 0] for block in second] == [0, 2, 4, 6, 8]
    assert told == [pytest.approx(0.6)]
