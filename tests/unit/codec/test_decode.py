"""Good recordings of every kind: containers, codecs, sample rates, depths, channels."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import Audio
from pipeline.codec.decode import decode
from pipeline.codec.probe import Probe, probe
from pipeline.codec.source import open_source
from pipeline.config import Limits
from pipeline.errors import Cancelled
from pipeline.progress import CancelToken
from tests.audio_files import convert, decoded, music, write_wav

LIMITS = Limits()


def read(path: Path) -> tuple[Probe, Audio]:
    with open_source(path, LIMITS) as source:
        probed = probe(source, LIMITS)
        return probed, decode(source, probed, path.with_suffix(".f32"), LIMITS).audio


CONTAINERS = {
    "flac": ((".flac",), 0),
    "alac": ((".m4a", "-c:a", "alac"), 0),
    "aiff": ((".aiff", "-c:a", "pcm_s24be"), 0),
    "caf": ((".caf", "-c:a", "pcm_s24be"), 0),
    "w64": ((".w64", "-c:a", "pcm_s24le"), 0),
    "mp3": ((".mp3", "-b:a", "320k"), -20),
    "vorbis": ((".ogg", "-c:a", "libvorbis", "-q:a", "8"), -20),
    "opus": ((".opus", "-c:a", "libopus", "-b:a", "256k"), None),
    "aac in m4a": ((".m4a", "-c:a", "aac", "-b:a", "256k"), -20),
    "aac in adts": ((".aac", "-c:a", "aac", "-b:a", "256k"), None),
    "aac in mp4": ((".mp4", "-c:a", "aac", "-b:a", "256k"), -20),
    "aac in mov": ((".mov", "-c:a", "aac", "-b:a", "256k"), -20),
    "flac in mkv": ((".mkv", "-c:a", "flac"), 0),
    "opus in webm": ((".webm", "-c:a", "libopus", "-b:a", "256k"), None),
    "ac3 in mkv": ((".mkv", "-c:a", "ac3", "-b:a", "448k"), None),
    "mp2": ((".mp2", "-c:a", "mp2", "-b:a", "256k"), None),
}
"""Arguments of ffmpeg, and the error in dB that the codec may leave; 0: none; None: delayed or resampled."""


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_supported_container_is_decoded(kind: str, tmp_path: Path) -> None:
    (suffix, *arguments), error_db = CONTAINERS[kind]
    mix = music(2.0)
    path = convert(write_wav(tmp_path / "mix.wav", mix), tmp_path / f"song{suffix}", *arguments)
    probed, audio = read(path)
    assert audio.channels == 2
    assert audio.sample_rate == probed.sample_rate
    assert np.array_equal(audio.samples, decoded(path, 2))
    if error_db is not None:
        # AAC in MP4 comes out with the padding of its last frame; no sample is missing or late.
        assert 0 <= audio.length - mix.shape[1] < (1024 if "aac" in kind else 1)
        error = np.sum((audio.samples[:, : mix.shape[1]] - mix) ** 2) / np.sum(mix**2)
        assert 10 * np.log10(error + 1e-20) < (error_db or -120)


@pytest.mark.parametrize(
    "sample_rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000]
)
def test_every_sample_rate_is_kept(sample_rate: int, tmp_path: Path) -> None:
    mix = music(0.5, sample_rate)
    _, audio = read(write_wav(tmp_path / "mix.wav", mix, sample_rate))
    assert (audio.sample_rate, audio.length) == (sample_rate, mix.shape[1])


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"]
)
def test_every_depth_is_decoded(subtype: str, tmp_path: Path) -> None:
    mix = music(1.0)
    _, audio = read(write_wav(tmp_path / "mix.wav", mix, subtype=subtype))
    noisy = subtype in {"PCM_U8", "ULAW", "ALAW", "IMA_ADPCM"}
    assert np.sqrt(np.mean((audio.samples[:, : mix.shape[1]] - mix) ** 2)) < (0.02 if noisy else 2e-5)


@pytest.mark.parametrize("channels", range(1, 9))
def test_one_to_eight_channels_keep_their_order(channels: int, tmp_path: Path) -> None:
    mix = np.tile(np.arange(1, channels + 1, dtype=np.float32)[:, None] / 10, (1, 9000))
    for suffix in (".wav", ".flac"):
        path = write_wav(tmp_path / "mix.wav", mix)
        if suffix == ".flac":
            path = convert(path, tmp_path / "mix.flac")
        probed, audio = read(path)
        assert np.allclose(audio.samples[:, 5], mix[:, 0], atol=1e-6)
        assert len(probed.speakers) == channels


def test_float_samples_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    mix = music(0.5) * 4
    _, audio = read(write_wav(tmp_path / "loud.wav", mix, subtype="FLOAT"))
    assert np.array_equal(audio.samples, mix)


def test_the_first_audio_track_is_used_and_said(tmp_path: Path) -> None:
    one = write_wav(tmp_path / "one.wav", music(1.0))
    two = write_wav(tmp_path / "two.wav", 0.1 * music(1.0))
    path = convert(one, tmp_path / "both.mkv", "-i", str(two), "-map", "0", "-map", "1", "-c:a", "flac")
    probed, audio = read(path)
    assert np.allclose(audio.samples, music(1.0), atol=1e-6)
    assert "several_tracks" in {notice.code for notice in probed.notices}


def test_a_film_and_a_song_with_a_cover_are_decoded_without_complaint(tmp_path: Path) -> None:
    mix = write_wav(tmp_path / "mix.wav", music(1.0))
    picture = convert_picture(tmp_path)
    film = convert(mix, tmp_path / "film.mp4", "-f", "lavfi", "-i", "testsrc=d=1", "-c:a", "aac")
    cover = convert(
        mix, tmp_path / "cover.mp3", "-i", str(picture), "-map", "0", "-map", "1", "-c:v", "copy",
        "-disposition:v", "attached_pic",
    )  # fmt: skip
    for path in (film, cover):
        with open_source(path, LIMITS) as source:
            probed = probe(source, LIMITS)
            result = decode(source, probed, tmp_path / "a.f32", LIMITS)
        assert 0 <= result.audio.length - 44100 < 1024
        assert result.notices == ()


def convert_picture(folder: Path) -> Path:
    path = folder / "cover.png"
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", "testsrc", "-frames:v", "1", path]
    subprocess.run(argv, check=True)
    return path


def test_a_cancelled_decoding_stops(tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with open_source(write_wav(tmp_path / "mix.wav", music(1.0)), LIMITS) as source:
        probed = probe(source, LIMITS)
        with pytest.raises(Cancelled):
            decode(source, probed, tmp_path / "a.f32", LIMITS, cancel=cancel)
