from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import Audio, FloatArray
from pipeline.errors import StemUnknown
from pipeline.stems import EXACT_DB, Separated, choose_stems, collect_stems

NAMES = ("drums", "bass", "vocals")


def parts(n: int = 20_000, seed: int = 3) -> FloatArray:
    """float32 (stems, channels, n): bursts of noise that take turns."""
    rng = np.random.default_rng(seed)
    turns = (np.arange(n) // 3000 % 3)[None] == np.arange(3)[:, None]
    return (rng.standard_normal((3, 2, n)) * (0.02 + 0.2 * turns[:, None])).astype(np.float32)


def collect(
    stems: FloatArray,
    mix: Audio,
    tmp_path: Path,
    wanted: tuple[str, ...] = NAMES,
    residual: str = "report",
    cut: int = 777,
) -> Separated:
    blocks = [stems[..., i : i + cut] for i in range(0, stems.shape[-1], cut)]
    return collect_stems(
        mix, blocks, NAMES, wanted, tmp_path, complete=True, residual=residual, keep_all=False
    )


def test_without_a_choice_all_stems_are_chosen() -> None:
    assert choose_stems(None, "m", NAMES) == NAMES


def test_a_stem_asked_for_twice_is_made_once() -> None:
    assert choose_stems(("bass", "no_bass", "bass"), "m", NAMES) == ("bass", "no_bass")


@pytest.mark.parametrize("name", ["piano", "no_piano", "no_", "Bass", ""])
def test_an_unknown_stem_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(StemUnknown, match="drums, bass, vocals"):
        choose_stems((name,), "m", NAMES)


def test_the_mix_without_a_stem_sums_with_it_to_the_mix(tmp_path: Path) -> None:
    stems = parts()
    mix = Audio(stems.sum(axis=0) + np.float32(0.01), 44100)
    made = collect(stems, mix, tmp_path, ("vocals", "no_vocals"))
    assert list(made.published) == ["vocals", "no_vocals"]
    both = made.published["vocals"].samples + made.published["no_vocals"].samples
    assert np.allclose(both, mix.samples, atol=1e-7)


def test_the_null_test_measures_what_the_stems_leave(tmp_path: Path) -> None:
    stems = parts()
    whole = stems.sum(axis=0)
    mix = Audio(whole + 0.01 * whole[:, ::-1], 44100)
    assert collect(stems, mix, tmp_path).residual_db == pytest.approx(-40, abs=0.2)


def test_stems_that_sum_exactly_have_the_residual_of_nothing(tmp_path: Path) -> None:
    stems = np.round(parts() * 2**20) / np.float32(2**20)
    assert collect(stems, Audio(stems.sum(axis=0), 44100), tmp_path).residual_db == EXACT_DB


def test_the_residual_can_be_published_as_a_file(tmp_path: Path) -> None:
    stems = parts()
    mix = Audio(stems.sum(axis=0) + np.float32(0.25), 44100)
    made = collect(stems, mix, tmp_path, ("bass",), "file")
    assert list(made.published) == ["bass", "residual"]
    assert np.allclose(made.published["residual"].samples, 0.25, atol=1e-6)


@pytest.mark.parametrize("cut", [1, 100, 4096, 10_000, 99_999])
def test_a_distributed_residual_nulls_below_minus_90_db_however_the_blocks_fall(
    tmp_path: Path, cut: int
) -> None:
    stems = parts(9000)
    noise = 0.05 * np.random.default_rng(0).standard_normal((2, 9000)).astype(np.float32)
    mix = Audio(stems.sum(axis=0) + noise, 44100)
    made = collect(stems, mix, tmp_path, residual="distribute", cut=cut)
    assert made.residual_db is not None
    assert made.residual_db < -120
    again = collect(stems, mix, tmp_path, residual="distribute", cut=123)
    for name in NAMES:
        assert np.array_equal(made.published[name].samples, again.published[name].samples)


def test_the_loudest_stem_takes_most_of_the_distributed_residual(tmp_path: Path) -> None:
    stems = np.zeros((3, 2, 8192), dtype=np.float32)
    stems[0] = 0.5
    stems[1] = 0.05
    mix = Audio(stems.sum(axis=0) + np.float32(0.1), 44100)
    made = collect(stems, mix, tmp_path, residual="distribute")
    gained = [float((made.published[name].samples - stems[i]).mean()) for i, name in enumerate(NAMES)]
    assert gained[0] > 0.09
    assert gained[2] < 1e-6


def test_the_peak_is_that_of_what_is_published(tmp_path: Path) -> None:
    stems = parts()
    stems[0, 0, 5] = 1.7
    mix = Audio(stems.sum(axis=0), 44100)
    assert collect(stems, mix, tmp_path).peak == pytest.approx(1.7)
    assert collect(stems, mix, tmp_path, ("bass",)).peak < 1.7
