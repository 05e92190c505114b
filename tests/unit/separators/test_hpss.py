from pathlib import Path

import numpy as np

from pipeline.audio import Audio, FloatArray
from pipeline.progress import CancelToken
from pipeline.separators import hpss
from pipeline.separators.hpss import HpssSeparator
from tests.audio_files import music


def stems(samples: FloatArray, tmp_path: Path, sample_rate: int = 44100) -> dict[str, FloatArray]:
    separator = HpssSeparator()
    out = separator.separate(
        Audio(samples, sample_rate), scratch=tmp_path, step=lambda _: None, cancel=CancelToken()
    )
    return dict(zip(separator.stems, np.concatenate(list(out), axis=-1), strict=True))


def on_the_24_bit_grid(samples: FloatArray) -> FloatArray:
    return np.round(samples * 2**23).astype(np.float32) / np.float32(2**23)


def test_the_stems_of_a_24_bit_mix_sum_to_it_exactly(tmp_path: Path) -> None:
    mix = on_the_24_bit_grid(music(3.0))
    assert np.array_equal(sum(stems(mix, tmp_path).values()), mix)


def test_windows_join_as_if_the_whole_had_been_separated_at_once(tmp_path: Path, monkeypatch) -> None:
    mix = music(4.0, 8000)
    whole = stems(mix, tmp_path, 8000)
    monkeypatch.setattr(hpss, "_CORE_FRAMES", 16)
    for name, stem in stems(mix, tmp_path, 8000).items():
        assert np.abs(stem - whole[name]).max() < 1e-5


def test_clicks_go_to_the_drums_and_a_low_tone_to_the_bass(tmp_path: Path) -> None:
    n = 3 * 44100
    t = np.arange(n) / 44100
    tone = np.tile(0.3 * np.sin(2 * np.pi * 60 * t), (2, 1)).astype(np.float32)
    bursts = np.random.default_rng(0).standard_normal(n) * 0.3 * np.exp(-400 * (t % 0.5))
    clicks = np.tile(bursts, (2, 1)).astype(np.float32)
    made = stems(tone + clicks, tmp_path)
    inside = slice(11025, n - 11025)  # Where a tone begins or ends, it is a click itself.
    for name, truth in (("bass", tone), ("drums", clicks)):
        error = np.sum((made[name] - truth)[:, inside] ** 2) / np.sum(truth[:, inside] ** 2)
        assert error < 0.1, name


def test_what_is_in_the_centre_goes_to_the_vocals_and_what_is_at_the_side_does_not(tmp_path: Path) -> None:
    t = np.arange(2 * 44100) / 44100
    centre = np.sin(2 * np.pi * 800 * t)
    side = np.sin(2 * np.pi * 1500 * t)
    mix = 0.3 * np.stack([centre + side, centre - 0.2 * side]).astype(np.float32)
    vocals = stems(mix, tmp_path)["vocals"]
    spectrum = np.abs(np.fft.rfft(vocals[0]))
    assert spectrum[1600] > 30 * spectrum[3000]
