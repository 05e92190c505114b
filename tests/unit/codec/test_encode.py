from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio import Audio
from pipeline.codec.encode import encode, hash_file, to_integer
from pipeline.codec.formats import FORMATS, check_channels, choose_formats
from pipeline.errors import Cancelled, FormatUnsupported, OptionInvalid
from pipeline.progress import CancelToken
from tests.audio_files import decoded, music


def written(audio: Audio, folder: Path, name: str, gain: float = 1.0) -> Path:
    path = folder / f"{name}.{FORMATS[name].extension}"
    encode(audio, path, FORMATS[name], gain=gain, cancel=CancelToken())
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("sample_rate", "channels"), [(44100, 2), (48000, 1), (8000, 1), (96000, 2), (44100, 6)]
)
def test_every_format_is_read_by_another_program_at_the_right_place_in_time(
    name: str, sample_rate: int, channels: int, tmp_path: Path
) -> None:
    fmt = FORMATS[name]
    if channels > fmt.max_channels:
        with pytest.raises(FormatUnsupported):
            check_channels((fmt,), channels)
        return
    audio = Audio(music(2.0, sample_rate, channels), sample_rate)
    path = tmp_path / f"a.{fmt.extension}"
    result = encode(audio, path, fmt, cancel=CancelToken())
    heard = decoded(path, channels)
    # AAC and MP3 decoders may hand out the rest of the last frame; nothing is ever missing or late.
    slack = 2048 if name in ("m4a", "mp3") else 0
    assert 0 <= heard.shape[1] - result.samples <= slack
    if result.sample_rate == sample_rate:
        heard = heard[:, : audio.length]
        lag = np.argmax(np.correlate(heard[0, 1000:4000], audio.samples[0, 1050:3950], "valid")) - 50
        assert lag == 0
        error = np.sum((heard - audio.samples) ** 2) / np.sum(audio.samples**2)
        assert 10 * np.log10(error + 1e-30) < {0: -8, 16: -80, 24: -120, 32: -200}[fmt.bits]


@pytest.mark.parametrize(("name", "bits"), [("flac", 24), ("wav16", 16), ("wav24", 24)])
def test_integer_samples_come_back_unchanged(name: str, bits: int, tmp_path: Path) -> None:
    full = 2 ** (bits - 1)
    values = np.array([[-full, 1 - full, -1, 0, 1, full // 3, full - 2, full - 1]], dtype=np.float64)
    audio = Audio((values / full).astype(np.float32), 44100)
    back, _ = soundfile.read(written(audio, tmp_path, name), dtype="int32")
    assert np.array_equal(back >> (32 - bits), values[0])


def test_float_samples_beyond_full_scale_survive_in_a_float_file(tmp_path: Path) -> None:
    audio = Audio(np.array([[3.5, -2.25]], dtype=np.float32), 44100)
    back, _ = soundfile.read(written(audio, tmp_path, "wav32f"), dtype="float32")
    assert back.tolist() == [3.5, -2.25]


def test_rounding_is_to_the_nearest_step_and_clips_at_full_scale() -> None:
    steps = to_integer(np.array([0.4 / 2**15, 0.6 / 2**15, 1.0, -1.5], dtype=np.float32), 16) >> 16
    assert steps.tolist() == [0, 1, 2**15 - 1, -(2**15)]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_audio_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    audio = Audio(music(1.0), 44100)
    (tmp_path / "again").mkdir()
    assert hash_file(written(audio, tmp_path, name)) == hash_file(written(audio, tmp_path / "again", name))


def test_the_gain_is_applied_to_every_sample(tmp_path: Path) -> None:
    audio = Audio(music(0.5), 44100)
    back, _ = soundfile.read(written(audio, tmp_path, "wav32f", gain=0.5), dtype="float32")
    assert np.array_equal(back.T, audio.samples * np.float32(0.5))


def test_a_cancelled_encoding_stops(tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    for name in ("flac", "mp3"):
        with pytest.raises(Cancelled):
            encode(Audio(music(0.5), 44100), tmp_path / name, FORMATS[name], cancel=cancel)


def test_unknown_formats_are_refused_with_the_known_ones() -> None:
    with pytest.raises(FormatUnsupported, match="flac, wav"):
        choose_formats(("flac", "wma"))


def test_two_formats_that_would_write_the_same_file_are_refused() -> None:
    with pytest.raises(OptionInvalid):
        choose_formats(("wav16", "wav24"))
    assert [f.name for f in choose_formats(("wav", "mp3", "wav"))] == ["wav", "mp3"]
