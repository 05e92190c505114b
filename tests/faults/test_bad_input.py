"""Every kind of bad input has its own error, and leaves nothing behind."""

import os
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import errors
from pipeline.config import Limits, PipelineConfig
from pipeline.errors import PipelineError
from pipeline.manifest import Manifest
from pipeline.run import run
from tests.audio_files import convert, music, write_wav

DRAFT = PipelineConfig(model="hpss", estimators=())


def wav(folder: Path) -> Path:
    return write_wav(folder / "good.wav", music(4.0), subtype="PCM_16")


def refused(source: Path, config: PipelineConfig = DRAFT) -> PipelineError:
    """Run a job that must fail, and check that it left nothing."""
    out = source.parent / "out"
    with pytest.raises(PipelineError) as caught:
        run(source, out, config)
    assert not out.exists()
    error = caught.value
    assert error.message.endswith(".")
    assert error.hint
    return error


def accepted(source: Path, config: PipelineConfig = DRAFT) -> Manifest:
    return run(source, source.parent / "out", config)


def bytes_file(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "song.wav"
        path.write_bytes(content)
        return path

    return make


def cut_to_a_third(*arguments: str, suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        whole = convert(wav(folder), folder / f"whole{suffix}", *arguments).read_bytes()
        path = folder / f"cut{suffix}"
        path.write_bytes(whole[: len(whole) // 3])
        return path

    return make


def lying_flac(folder: Path) -> Path:
    data = bytearray(convert(wav(folder), folder / "honest.flac").read_bytes())
    # STREAMINFO: the last 36 bits before the MD5 count the samples (RFC 9639, section 8.2).
    field = int.from_bytes(data[18:26], "big") | ((1 << 36) - 1)
    data[18:26] = field.to_bytes(8, "big")
    path = folder / "lying.flac"
    path.write_bytes(data)
    return path


def lying_wav(folder: Path) -> Path:
    data = bytearray(wav(folder).read_bytes())
    at = data.find(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 4_000_000_000)
    path = folder / "lying.wav"
    path.write_bytes(data)
    return path


def header_of_a_wav(folder: Path) -> Path:
    data = wav(folder).read_bytes()
    path = folder / "header.wav"
    path.write_bytes(data[: data.find(b"data") + 8])
    return path


def empty_wav_with_tags(folder: Path) -> Path:
    data = header_of_a_wav(folder).read_bytes()
    body = data[8:-4] + b"\0\0\0\0" + b"LIST\4\0\0\0INFO"
    path = folder / "tagged.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def with_sample(value: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        samples = music()
        samples[1, 4321] = value
        return write_wav(folder / "odd.wav", samples, subtype="FLOAT")

    return make


def silence(folder: Path) -> Path:
    return write_wav(folder / "silence.wav", np.zeros((2, 44100), dtype=np.float32))


def one_sample(folder: Path) -> Path:
    return write_wav(folder / "one.wav", np.full((2, 1), 0.5, dtype=np.float32))


def encrypted(folder: Path) -> Path:
    scheme = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"]
    return convert(
        wav(folder), folder / "locked.mp4", *scheme, "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8"
    )


def film_without_sound(folder: Path) -> Path:
    path = folder / "film.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", "testsrc=d=1", path], check=True
    )
    return path


def ten_channels(folder: Path) -> Path:
    return write_wav(folder / "ten.wav", music(channels=10))


def four_kilohertz(folder: Path) -> Path:
    return write_wav(folder / "slow.wav", music(sample_rate=4000), 4000)


def unsupported_codec(folder: Path) -> Path:
    return convert(wav(folder), folder / "speech.mkv", "-c:a", "wmav2")


CASES: dict[str, tuple[Callable[[Path], Path], type[PipelineError]]] = {
    "zero bytes": (bytes_file(b""), errors.InputEmpty),
    "a web page": (bytes_file(b"\n<!DOCTYPE html><html><body>404</body></html>"), errors.InputIsWebPage),
    "an XML error": (bytes_file(b'<?xml version="1.0"?><Error>expired</Error>'), errors.InputIsWebPage),
    "a bare RIFF": (bytes_file(b"RIFF"), errors.AudioHeaderOnly),
    "a RIFF without chunks": (bytes_file(b"RIFF\x24\0\0\0WAVE"), errors.AudioHeaderOnly),
    "a WAV header alone": (header_of_a_wav, errors.AudioHeaderOnly),
    "a WAV of tags alone": (empty_wav_with_tags, errors.AudioHeaderOnly),
    "a FLAC marker alone": (bytes_file(b"fLaC\0\0\0\x22" + bytes(34)), errors.AudioHeaderOnly),
    "random bytes": (bytes_file(random.Random(1).randbytes(100_000)), errors.InputNotAudio),
    "a text": (bytes_file(b"la la la\n" * 1000), errors.InputNotAudio),
    "a zip": (bytes_file(b"PK\x03\x04" + bytes(1000)), errors.InputNotAudio),
    "a cut wav": (cut_to_a_third(suffix=".wav"), errors.AudioTruncated),
    "a cut flac": (cut_to_a_third(suffix=".flac"), errors.AudioTruncated),
    "a cut mp3": (cut_to_a_third(suffix=".mp3"), errors.AudioTruncated),
    "a cut ogg": (cut_to_a_third("-c:a", "libvorbis", suffix=".ogg"), errors.AudioTruncated),
    "a cut opus": (cut_to_a_third("-c:a", "libopus", suffix=".opus"), errors.AudioTruncated),
    "a cut m4a": (cut_to_a_third(suffix=".m4a"), errors.AudioTruncated),
    "a cut m4a with its index first": (
        cut_to_a_third("-movflags", "+faststart", suffix=".m4a"), errors.AudioTruncated,
    ),
    "a cut aiff": (cut_to_a_third(suffix=".aiff"), errors.AudioTruncated),
    "a cut mkv": (cut_to_a_third("-c:a", "flac", suffix=".mkv"), errors.AudioTruncated),
    "a lying flac header": (lying_flac, errors.AudioHeaderMismatch),
    "a lying wav header": (lying_wav, errors.AudioHeaderMismatch),
    "a NaN": (with_sample(float("nan")), errors.AudioNotFinite),
    "an infinity": (with_sample(float("-inf")), errors.AudioNotFinite),
    "an absurd level": (with_sample(30_000.0), errors.AudioLevelInvalid),
    "silence": (silence, errors.AudioSilent),
    "one sample": (one_sample, errors.AudioTooShort),
    "an encrypted file": (encrypted, errors.AudioEncrypted),
    "a film without sound": (film_without_sound, errors.AudioMissing),
    "ten channels": (ten_channels, errors.ChannelsUnsupported),
    "4 kHz": (four_kilohertz, errors.SampleRateUnsupported),
    "an unsupported codec": (unsupported_codec, errors.AudioCodecUnsupported),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_has_an_error_of_its_own_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    make, expected = CASES[case]
    assert type(refused(make(tmp_path))) is expected


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.wav").code == "input_not_found"


def test_a_folder_a_device_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(errors.InputNotAFile):
            run(path, tmp_path / "out", DRAFT)
    assert not (tmp_path / "out").exists()


def playlists(target: Path) -> dict[str, bytes]:
    url = f"file://{target}".encode()
    return {
        "an HLS playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n" + url + b"\n#EXT-X-ENDLIST\n",
        "a disguised HLS playlist": b"\n\n#EXTM3U\n#EXTINF:9,\n" + url + b"\n#EXT-X-ENDLIST\n",
        "an ffconcat script": b"ffconcat version 1.0\nfile " + str(target).encode() + b"\n",
        "a commented ffconcat script": b"# a\nffconcat version 1.0\nfile " + str(target).encode() + b"\n",
        "a DASH manifest": b'<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>'
        + url + b"</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "an m3u list": str(target).encode() + b"\n",
        "an SDP session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
        "a Matroska-like text": b"\x1aE\xdf\xa3" + url,
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".m3u8", ".mp4"])
def test_a_file_that_points_at_another_never_opens_it(tmp_path: Path, suffix: str) -> None:
    target = wav(tmp_path)
    for name, content in playlists(target).items():
        path = tmp_path / f"trick{suffix}"
        path.write_bytes(content)
        error = refused(path)
        assert isinstance(error, errors.InputError), name
        assert error.code in {"input_is_playlist", "input_not_audio", "input_is_web_page"}, name


def test_a_small_file_that_grows_without_end_is_stopped_at_the_cap(tmp_path: Path) -> None:
    quiet = np.zeros((1, 8000 * 600), dtype=np.float32)
    quiet[:, 0] = 0.5
    soundfile.write(tmp_path / "bomb.flac", quiet.T, 8000)
    assert (tmp_path / "bomb.flac").stat().st_size < 100_000
    by_time = DRAFT.model_copy(update={"limits": Limits(max_duration_s=60)})
    by_size = DRAFT.model_copy(update={"limits": Limits(max_decoded_bytes=1 << 20)})
    for config in (by_time, by_size):
        assert refused(tmp_path / "bomb.flac", config).code == "audio_too_long"


def test_a_file_beyond_the_allowed_size_is_refused_unread(tmp_path: Path) -> None:
    config = DRAFT.model_copy(update={"limits": Limits(max_bytes=1000)})
    assert refused(wav(tmp_path), config).code == "input_too_large"


def test_a_decoder_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    config = DRAFT.model_copy(update={"limits": Limits(decode_timeout_s=0.001)})
    assert refused(wav(tmp_path), config).code in {"decode_timeout", "audio_header_only"}


@pytest.mark.parametrize(
    "case", ["a cut wav", "a cut flac", "a cut mp3", "a cut opus", "a cut aiff", "a cut mkv"]
)
def test_damaged_files_can_be_accepted_for_what_is_left(case: str, tmp_path: Path) -> None:
    manifest = accepted(CASES[case][0](tmp_path), DRAFT.model_copy(update={"accept_damaged": True}))
    assert 0.5 < manifest.input.duration_s < 2
    assert manifest.warnings


def test_non_finite_samples_can_be_accepted_as_silence(tmp_path: Path) -> None:
    config = DRAFT.model_copy(update={"accept_damaged": True})
    manifest = accepted(with_sample(float("nan"))(tmp_path), config)
    assert [w.code for w in manifest.warnings] == ["samples_repaired"]


def test_a_wav_from_a_streaming_writer_is_read_to_its_end(tmp_path: Path) -> None:
    data = bytearray(wav(tmp_path).read_bytes())
    at = data.find(b"data")
    data[4:8] = data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    path = tmp_path / "streamed.wav"
    path.write_bytes(data)
    manifest = accepted(path)
    assert manifest.input.samples == 176400
    assert [w.code for w in manifest.warnings] == ["length_unstated"]


@pytest.mark.parametrize(
    "name",
    [
        "-i.wav",
        "a b'\"$(touch x);.wav",
        "%d.wav",
        "concat:a.wav",
        "..wav",
        "ünï—코드.wav",
        "new\nline.wav",
        "x" * 251 + ".wav",
    ],
)
def test_odd_file_names_are_only_names(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    wav(tmp_path).rename(source)
    manifest = accepted(source)
    assert manifest.input.filename == name
    assert {path.name for path in tmp_path.iterdir()} == {name, "out"}


def test_a_file_name_that_is_no_utf8_becomes_valid_json(tmp_path: Path) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    wav(tmp_path).rename(source)
    assert accepted(source).input.filename == "caf\N{REPLACEMENT CHARACTER}.wav"


def test_tags_are_kept_but_capped(tmp_path: Path) -> None:
    tags = [part for i in range(100) for part in ("-metadata", f"key{i}={'x' * 3000}")]
    source = convert(wav(tmp_path), tmp_path / "tagged.flac", "-metadata", "title=<b>A</b>", *tags)
    kept = accepted(source).input.tags
    assert kept["title"] == "<b>A</b>"
    assert len(kept) <= 64
    assert max(map(len, kept.values())) <= 1024
