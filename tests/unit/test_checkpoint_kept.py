"""A separation that is kept is used by others, and nobody can tell from the result, nor damage it."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint, seal
from pipeline.checkpoint_format import complete_identity
from pipeline.config import PipelineConfig
from pipeline.progress import CancelToken
from pipeline.separators.base import Separator
from pipeline.separators.hpss import HpssSeparator
from tests.audio_files import music
from tests.networks import SOURCES, hdemucs, htdemucs, loaded, separator_of

BINDING = {"input_sha256": "a" * 64}
AUDIO = Audio(music(4.0, 8000), 8000)


def network() -> Separator:
    return separator_of(loaded([htdemucs()]))


def one_for_each(*stems: str, shifts: int = 0) -> Separator:
    """A bag like htdemucs_ft: a network of its own for every stem."""
    shares = [tuple(float(i == stem) for i in range(4)) for stem in range(4)]
    networks = [htdemucs(seed) for seed in range(4)]
    return separator_of(loaded(networks, shares), PipelineConfig(shifts=shifts), stems or SOURCES)


def two_parts() -> Separator:
    """Stems of two groups of networks, mixed in their order."""
    shares = [(1.0, 0.0, 1.0, 0.0), (0.5, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 1.0)]
    networks = [htdemucs(1), hdemucs(2), htdemucs(3)]
    return separator_of(loaded(networks, shares), PipelineConfig(shifts=1))


BACKENDS: dict[str, Callable[[], Separator]] = {
    "hpss": HpssSeparator,
    "a network": network,
    "a network for each stem": one_for_each,
    "two parts": two_parts,
}


class Attempt:
    """What one separation gave, and how much of it was computed."""

    def __init__(self, separator: Separator, folder: Path, job: str, kept: Path | None = None) -> None:
        self.path = folder / f"{job}.checkpoint"
        self.checkpoint = Checkpoint(self.path, BINDING, kept=kept)
        self.steps: list[float] = []
        self.blocks = separator.separate(
            AUDIO, scratch=folder, step=self.steps.append, cancel=CancelToken(), checkpoint=self.checkpoint
        )

    def run(self) -> list[bytes]:
        return [block.tobytes() for block in self.blocks]


def fresh(separator: Separator, folder: Path) -> list[bytes]:
    blocks = separator.separate(AUDIO, scratch=folder, step=lambda _: None, cancel=CancelToken())
    return [block.tobytes() for block in blocks]


def keep(folder: Path, job: str, kept: Path) -> list[Path]:
    """Keep a job's checkpoints, as the service does."""
    kept.mkdir(exist_ok=True)
    found = []
    for path in sorted(folder.glob(f"{job}.*checkpoint")):
        seal(path)
        found.append(path.rename(kept / f"{complete_identity(path)}.{job}"))
    return found


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.mark.parametrize("name", BACKENDS)
def test_what_is_kept_is_not_computed_again(name: str, tmp_path: Path, kept: Path) -> None:
    first = Attempt(BACKENDS[name](), tmp_path, "first", kept)
    whole = first.run()
    assert first.checkpoint.reused == 0.0
    files = keep(tmp_path, "first", kept)
    again = Attempt(BACKENDS[name](), tmp_path, "again", kept)
    assert again.run() == whole == fresh(BACKENDS[name](), tmp_path)
    assert again.steps == []
    assert again.checkpoint.reused == 1.0
    # And it can be kept for the second job too, at no cost.
    assert [path.stat().st_ino for path in keep(tmp_path, "again", kept)] == [p.stat().st_ino for p in files]


@pytest.mark.parametrize("shifts", [0, 2])
def test_a_further_stem_of_a_bag_costs_its_network_alone(shifts: int, tmp_path: Path, kept: Path) -> None:
    Attempt(one_for_each("vocals", shifts=shifts), tmp_path, "first", kept).run()
    keep(tmp_path, "first", kept)
    drums = Attempt(one_for_each("drums", shifts=shifts), tmp_path, "drums")
    drums.run()
    both = Attempt(one_for_each("drums", "vocals", shifts=shifts), tmp_path, "both", kept)
    assert both.run() == fresh(one_for_each("drums", "vocals", shifts=shifts), tmp_path)
    assert len(both.steps) == len(drums.steps)
    assert both.steps == sorted(both.steps)
    assert both.steps[-1] == 1.0
    assert both.checkpoint.reused == 0.5
    # Fewer stems than before need no network at all.
    keep(tmp_path, "both", kept)
    fewer = Attempt(one_for_each("drums", shifts=shifts), tmp_path, "fewer", kept)
    assert fewer.run() == fresh(one_for_each("drums", shifts=shifts), tmp_path)
    assert fewer.steps == []


@pytest.mark.parametrize("shifts", [0, 2])
def test_a_stem_is_the_same_whichever_others_are_made(shifts: int, tmp_path: Path) -> None:
    def stem(separator: Separator, name: str) -> bytes:
        blocks = separator.separate(AUDIO, scratch=tmp_path, step=lambda _: None, cancel=CancelToken())
        index = separator.stems.index(name)
        made: list[FloatArray] = [block[index].T for block in blocks]
        return b"".join(block.tobytes() for block in made)

    for name in SOURCES:
        alone = stem(one_for_each(name, shifts=shifts), name)
        assert alone == stem(one_for_each(shifts=shifts), name)


@pytest.mark.parametrize("name", ["a network", "two parts"])
def test_an_interrupted_bag_goes_on_where_its_parts_were(name: str, tmp_path: Path) -> None:
    whole = fresh(BACKENDS[name](), tmp_path)
    for stop_after in (1, 3, len(whole) - 1):
        attempt = Attempt(BACKENDS[name](), tmp_path, f"job{stop_after}")
        for _, _ in zip(range(stop_after), attempt.blocks, strict=False):
            pass
        del attempt
        again = Attempt(BACKENDS[name](), tmp_path, f"job{stop_after}")
        assert again.run() == whole
        assert again.checkpoint.reused == 0.0


@pytest.mark.parametrize("place", [2, 40, 0.01, 0.5, 0.99])
def test_a_damaged_one_is_computed_anew_from_there_and_left_as_it_is(
    place: float, tmp_path: Path, kept: Path
) -> None:
    whole = Attempt(network(), tmp_path, "first", kept).run()
    (file,) = keep(tmp_path, "first", kept)
    file.chmod(0o600)
    with file.open("r+b") as damaged:
        damaged.seek(int(place) or int(place * file.stat().st_size))
        damaged.write(b"\xff" * 9)
    seal(file)
    before = file.read_bytes()
    again = Attempt(network(), tmp_path, "again", kept)
    assert again.run() == whole
    assert again.steps
    assert again.checkpoint.reused < 1.0
    assert file.read_bytes() == before  # Another job may be reading the good part of it.
    assert complete_identity(again.path)
    # What that job has made is sound, and is what the next one takes.
    keep(tmp_path, "again", kept)
    third = Attempt(network(), tmp_path, "third", kept)
    assert third.run() == whole
    assert third.steps == []


def test_a_truncated_one_is_completed(tmp_path: Path, kept: Path) -> None:
    whole = Attempt(network(), tmp_path, "first", kept).run()
    (file,) = keep(tmp_path, "first", kept)
    os.truncate(file, file.stat().st_size // 2)
    size = file.stat().st_size
    again = Attempt(network(), tmp_path, "again", kept)
    assert again.run() == whole
    assert 0 < len(again.steps) < 11
    assert file.stat().st_size == size


def test_a_full_disk_while_a_damaged_one_is_copied_costs_no_job(tmp_path: Path, kept: Path) -> None:
    whole = Attempt(network(), tmp_path, "first", kept).run()
    (file,) = keep(tmp_path, "first", kept)
    os.truncate(file, file.stat().st_size - 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # As on a full disk: a write is refused.
    try:
        assert Attempt(network(), tmp_path, "again", kept).run() == whole
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.glob("again*"))
    assert file.exists()


def test_several_use_one_at_once_and_it_may_go_meanwhile(tmp_path: Path, kept: Path) -> None:
    whole = Attempt(network(), tmp_path, "first", kept).run()
    (file,) = keep(tmp_path, "first", kept)
    attempts = [Attempt(network(), tmp_path, f"job{i}", kept) for i in range(3)]
    begun = [next(attempt.blocks).tobytes() for attempt in attempts]
    file.unlink()
    assert begun == [whole[0]] * 3
    for attempt in attempts:
        assert attempt.run() == whole[1:]
        assert attempt.steps == []
    # The names that they took keep it alive.
    assert complete_identity(attempts[0].path)


def test_what_was_made_of_something_else_is_not_used(tmp_path: Path, kept: Path) -> None:
    Attempt(one_for_each(shifts=1), tmp_path, "first").run()
    keep(tmp_path, "first", kept)
    other = Attempt(one_for_each(), tmp_path, "other", kept)
    assert other.run() == fresh(one_for_each(), tmp_path)
    assert other.checkpoint.reused == 0.0


def test_where_no_link_can_be_made_it_is_computed(tmp_path: Path, kept: Path) -> None:
    whole = Attempt(network(), tmp_path, "first").run()
    (file,) = keep(tmp_path, "first", kept)
    file.unlink()
    file.mkdir()  # Which no system links to.
    again = Attempt(network(), tmp_path, "again", kept)
    assert again.run() == whole
    assert len(again.steps) == 11


@pytest.mark.parametrize("cut", [1, 5000, 100_000])
def test_an_incomplete_one_has_no_identity(cut: int, tmp_path: Path) -> None:
    attempt = Attempt(network(), tmp_path, "job")
    attempt.run()
    assert complete_identity(attempt.path)
    with attempt.path.open("ab") as file:
        file.write(b"more")
    assert complete_identity(attempt.path) is None
    os.truncate(attempt.path, attempt.path.stat().st_size - 4 - cut)
    assert complete_identity(attempt.path) is None


@pytest.mark.parametrize("content", [b"", b"APCP1\n", b"APCP1\n" + b"\xff" * 8, b"nothing of the kind" * 9])
def test_what_is_no_checkpoint_has_no_identity(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "job.checkpoint"
    path.write_bytes(content)
    assert complete_identity(path) is None
