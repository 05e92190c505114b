"""Separations in stretches, by several workers: the blocks, and so the stems, are those of one in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import PipelineConfig
from pipeline.errors import Cancelled, MemoryExhausted
from pipeline.manifest import Manifest
from pipeline.progress import CancelToken
from pipeline.run import run
from pipeline.stretches import Helped, Helping, Joined, State
from tests.audio_files import music, write_wav
from tests.networks import hdemucs, htdemucs, loaded


class Desk:
    """Who makes what, in memory: as the database and the storage say it.

    Args:
        folder: for stretches that were handed in.

    Attributes:
        offered_to: is called whenever stretches were offered.
        dies: how many times it is looked for a stretch that somebody makes before he is found dead.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offered_to: Callable[[str], object] = lambda _: None
        self.dies = 3
        self.free: set[tuple[str, int]] = set()
        self.claimed: set[tuple[str, int]] = set()
        self.made: set[tuple[str, int]] = set()
        self.fetched: list[int] = []
        self.ahead: list[int] = []

    def offer(self, identity: str, begins: list[int]) -> None:
        self.free |= {(identity, begin) for begin in begins} - self.claimed - self.made
        self.offered_to(identity)

    def take(self, identity: str, begin: int) -> State:
        if (identity, begin) in self.made:
            return State.MADE
        if (identity, begin) in self.claimed:
            self.dies -= 1
            if self.dies > 0:
                return State.THEIRS
            self.claimed.remove((identity, begin))
        self.free.discard((identity, begin))
        return State.OURS

    def take_after(self, identity: str, begin: int) -> int | None:
        later = sorted(at for name, at in self.free if name == identity and at > begin)
        if not later:
            return None
        self.free.remove((identity, later[0]))
        self.ahead.append(later[0])
        return later[0]

    def fetch(self, identity: str, begin: int, target: Path) -> bool:
        kept = self.folder / f"{identity}.{begin}"
        if kept.exists():
            kept.rename(target)
            self.fetched.append(begin)
        return target.exists()

    def offered(self, identity: str) -> bool:
        return identity in {name for name, _ in self.free | self.claimed | self.made}

    def claim(self, identity: str) -> int | None:
        mine = sorted(at for name, at in self.free if name == identity)
        if not mine:
            return None
        self.free.remove((identity, mine[-1]))
        self.claimed.add((identity, mine[-1]))
        return mine[-1]

    def keep(self, identity: str, begin: int, path: Path) -> None:
        (self.folder / f"{identity}.{begin}").write_bytes(path.read_bytes())
        self.claimed.remove((identity, begin))
        self.made.add((identity, begin))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "desk").mkdir()
    return Desk(tmp_path / "desk")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    networks = getattr(request, "param", None) or [htdemucs()]
    shares = None if len(networks) == 1 else [(1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.0)]
    monkeypatch.setattr("pipeline.weights.load.load", lambda *_, **__: loaded(networks, shares))


def config(**options: object) -> PipelineConfig:
    return PipelineConfig(estimators=(), threads=1).model_copy(update=options)


def joined(desk: Desk, source: Path, folder: Path, settings: PipelineConfig) -> Manifest:
    return run(
        source,
        folder / "joined",
        settings,
        checkpoint=folder / "joined.checkpoint",
        others=Joined(desk, 2.0, folder, CancelToken()),
    )


def help_with(desk: Desk, source: Path, folder: Path, settings: PipelineConfig) -> Helping:
    folder.mkdir(exist_ok=True)
    helping = Helping(desk, 2.0, folder)
    with pytest.raises(Helped):
        run(source, folder / "helped", settings, checkpoint=folder / "none.checkpoint", others=helping)
    return helping


def hashes(manifest: Manifest) -> dict[str, str]:
    return {artifact.name: artifact.sha256 for artifact in manifest.artifacts}


@pytest.mark.parametrize(
    ("_tiny", "sample_rate", "options"),
    [
        ([htdemucs()], 8000, {}),
        ([htdemucs()], 11025, {"shifts": 2}),
        pytest.param([htdemucs(1), htdemucs(2)], 8000, {"shifts": 1}, marks=pytest.mark.long),
        pytest.param([hdemucs()], 8000, {"residual": "distribute"}, marks=pytest.mark.long),
    ],
    indirect=["_tiny"],
)
def test_stretches_that_others_made_are_joined_to_the_same_bytes(
    sample_rate: int, options: dict[str, object], desk: Desk, tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "song.wav", music(9.0, sample_rate), sample_rate)
    settings = config(**options)
    whole = run(source, tmp_path / "whole", settings)

    def helped(identity: str) -> None:
        first = min(at for name, at in desk.free if name == identity)
        desk.free.remove((identity, first))  # This one is left to the job's own worker.
        assert help_with(desk, source, tmp_path / "helper", settings).fits

    desk.offered_to = helped
    made = joined(desk, source, tmp_path, settings)
    assert hashes(made) == hashes(whole)
    assert (whole.separation.stretches, made.separation.stretches) == (1, 4)
    works = {name for name, _ in desk.made}
    assert len(desk.fetched) == 3 * len(works) > 0
    assert len(desk.made) == 3 * len(works)


def test_while_another_makes_the_next_stretch_later_ones_are_made_and_what_a_dead_one_left_at_last(
    desk: Desk, tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "song.wav", music(9.0, 8000), 8000)
    whole = run(source, tmp_path / "whole", config())

    def claimed_by_one_who_dies(identity: str) -> None:
        second = sorted(desk.free)[1]
        desk.free.remove(second)
        desk.claimed.add(second)

    desk.offered_to = claimed_by_one_who_dies
    made = joined(desk, source, tmp_path, config())
    assert hashes(made) == hashes(whole)
    assert len(desk.ahead) == 2
    assert not desk.fetched
    assert not list(tmp_path.glob("*.stretch"))


@pytest.mark.parametrize("damage", ["gone", "torn", "another"])
def test_a_stretch_that_is_damaged_is_made_here(damage: str, desk: Desk, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(9.0, 8000), 8000)
    whole = run(source, tmp_path / "whole", config())

    def helped(_: str) -> None:
        help_with(desk, source, tmp_path / "helper", config())
        for path in desk.folder.iterdir():
            content = path.read_bytes()
            if damage == "gone":
                path.unlink()
            elif damage == "torn":
                path.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
            else:
                path.write_bytes(content.replace(b"input_sha256", b"output_sha25"))

    desk.offered_to = helped
    made = joined(desk, source, tmp_path, config())
    assert hashes(made) == hashes(whole)


def test_who_would_compute_other_bits_does_not_help(desk: Desk, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(9.0, 8000), 8000)
    helpers = []

    def helped(_: str) -> None:
        helpers.append(help_with(desk, source, tmp_path / "helper", config(overlap=0.5)))

    desk.offered_to = helped
    joined(desk, source, tmp_path, config())
    (helper,) = helpers
    assert (helper.fits, helper.made) == (False, 0)


def test_a_helper_that_fails_takes_nothing_from_the_job(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_wav(tmp_path / "song.wav", music(9.0, 8000), 8000)
    whole = run(source, tmp_path / "whole", config())

    def failing(_: str) -> None:
        (tmp_path / "helper").mkdir()
        desk.dies = 1
        with monkeypatch.context() as patch, pytest.raises(MemoryExhausted):
            patch.setattr("pipeline.separators.demucs.overlap_add", _exhausted)
            run(
                source,
                tmp_path / "helped",
                config(),
                checkpoint=tmp_path / "none.checkpoint",
                others=Helping(desk, 2.0, tmp_path / "helper"),
            )

    desk.offered_to = failing
    assert hashes(joined(desk, source, tmp_path, config())) == hashes(whole)


def test_a_job_that_waits_for_another_worker_can_be_cancelled(desk: Desk, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(9.0, 8000), 8000)
    cancel = CancelToken()

    def all_claimed(_: str) -> None:
        desk.claimed, desk.free = desk.free, set()
        cancel.cancel()

    desk.offered_to = all_claimed
    others = Joined(desk, 2.0, tmp_path, cancel)
    with pytest.raises(Cancelled):
        run(source, tmp_path / "out", config(), checkpoint=tmp_path / "one", cancel=cancel, others=others)


def test_a_short_recording_is_not_divided(desk: Desk, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(2.9, 8000), 8000)
    assert joined(desk, source, tmp_path, config()).separation.stretches == 1
    assert not desk.free


def _exhausted(*_: object) -> object:
    raise MemoryExhausted("No memory.")
