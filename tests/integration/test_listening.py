"""Jobs are listened to part by part, as a player does, while they run and after."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import soundfile

from pipeline.audio import FloatArray
from tests.audio_files import convert, decoded, music, write_wav
from tests.service import Service, ended, submit

PART_S = 5


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s as an MP3."""
    folder = tmp_path_factory.mktemp("song")
    return convert(write_wav(folder / "song.wav", music(12.0)), folder / "song.mp3", "-b:a", "192k")


@pytest.fixture(scope="module")
def finished(service: Service, song: Path) -> str:
    with service.client() as http:
        job = submit(http, song, estimators="none", residual="file", stems="vocals,no_vocals").json()
        assert ended(http, job["id"])["status"] == "succeeded"
        return str(job["id"])


def complete(http: httpx.Client, job_id: str) -> dict[str, Any]:
    """What can be listened to, once all of it is there."""
    deadline = time.monotonic() + 60
    while not (audio := http.get(f"/jobs/{job_id}/audio").json())["complete"]:
        assert time.monotonic() < deadline, audio
        time.sleep(0.05)
    return dict(audio)


def unpacked(answer: httpx.Response) -> FloatArray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "audio/flac"
    samples, _ = soundfile.read(io.BytesIO(answer.content), dtype="float32", always_2d=True)
    return np.ascontiguousarray(samples.T)


def heard(http: httpx.Client, job_id: str, name: str, count: int) -> FloatArray:
    return np.concatenate([unpacked(http.get(f"/jobs/{job_id}/audio/{name}/{n}")) for n in range(count)], 1)


def test_the_first_part_of_the_original_comes_at_once(http: httpx.Client, finished: str) -> None:
    first = unpacked(http.get(f"/jobs/{finished}/audio/mix/0"))
    assert first.shape == (2, PART_S * 44100)


def test_all_tracks_of_a_finished_job_are_heard_to_the_sample(
    http: httpx.Client, finished: str, song: Path
) -> None:
    audio = complete(http, finished)
    manifest = http.get(f"/jobs/{finished}/manifest").json()
    samples = manifest["input"]["samples"]
    assert (audio["sample_rate"], audio["channels"], audio["samples"]) == (44100, 2, samples)
    assert audio["part_s"] == PART_S
    kinds = {track["name"]: track["kind"] for track in audio["tracks"]}
    assert kinds == {"vocals": "stem", "no_vocals": "stem", "residual": "residual", "mix": "mix"}
    assert {track["available_s"] for track in audio["tracks"]} == {samples / 44100}
    mix, vocals, rest = (heard(http, finished, name, 3) for name in ("mix", "vocals", "no_vocals"))
    assert np.abs(mix - decoded(song, 2)[:, :samples]).max() <= 2.0**-15
    # Three roundings to 16 bits.
    assert mix.shape == vocals.shape and np.abs(mix - vocals - rest).max() <= 2.0**-14


def test_a_part_of_a_finished_job_never_changes(http: httpx.Client, finished: str) -> None:
    path = f"/jobs/{finished}/audio/vocals/1"
    part = http.get(path)
    assert part.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    again = http.get(path, headers={"If-None-Match": part.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get(f"/jobs/{finished}/audio/vocals/0").headers["ETag"] != part.headers["ETag"]


@pytest.mark.parametrize("name", ["piano/0", "vocals/3", "mix/1000000"])
def test_what_there_is_not_is_not_found(name: str, http: httpx.Client, finished: str) -> None:
    complete(http, finished)
    answer = http.get(f"/jobs/{finished}/audio/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["vocals/-1", "vocals/x", "vocals/99999999999"])
def test_a_part_has_a_number(path: str, http: httpx.Client, finished: str) -> None:
    assert http.get(f"/jobs/{finished}/audio/{path}").status_code == 404


def test_a_ticket_opens_what_a_player_needs(service: Service, http: httpx.Client, finished: str) -> None:
    ticket = http.post("/tickets", json={"path": f"/jobs/{finished}"}).json()["ticket"]
    with service.client(key=None) as page:
        for path in ("audio", "audio/vocals/0", "spectrogram?track=vocals", "peaks"):
            assert page.get(f"/jobs/{finished}/{path}").status_code == 401
            assert page.get(f"/jobs/{finished}/{path}", headers={"X-Ticket": ticket}).is_success


def test_peaks_and_spectrogram_show_the_original_too(http: httpx.Client, finished: str) -> None:
    complete(http, finished)
    found = http.get(f"/jobs/{finished}/peaks?buckets=50&mix=true").json()
    assert [one["name"] for one in found] == ["vocals", "no_vocals", "residual", "mix"]
    assert max(found[-1]["data"]) > 40
    picture = http.get(f"/jobs/{finished}/spectrogram?width=300&height=100")
    assert picture.headers["Content-Type"] == "image/png"
    assert picture.content[16:24] == (300).to_bytes(4, "big") + (100).to_bytes(4, "big")
    same = http.get(
        f"/jobs/{finished}/spectrogram?width=300&height=100",
        headers={"If-None-Match": picture.headers["ETag"]},
    )
    assert same.status_code == 304


@pytest.mark.parametrize("fmt", ["mp3", "opus", "m4a"])
def test_stems_that_are_lossy_only_lie_over_the_mix(
    fmt: str, http: httpx.Client, service: Service, song: Path
) -> None:
    wav = song.with_suffix(".wav")
    job_id = submit(http, wav, formats=fmt, estimators="none", stems="no_drums").json()["id"]
    assert ended(http, job_id)["status"] == "succeeded"
    audio = complete(http, job_id)
    stem, mix = heard(http, job_id, "no_drums", 3), heard(http, job_id, "mix", 3)
    assert stem.shape == mix.shape == (2, audio["samples"])
    middle = slice(1 << 17, 1 << 18)
    lags = range(-3, 4)
    alike = [float((np.roll(stem, -lag, axis=1) * mix)[:, middle].sum()) for lag in lags]
    assert lags[int(np.argmax(alike))] == 0
    assert http.delete(f"/jobs/{job_id}").status_code == 204
    assert not (service.folder / "listening" / job_id).exists()
    assert http.get(f"/jobs/{job_id}/audio").status_code == 410


def test_a_job_is_heard_while_it_runs(http: httpx.Client, tmp_path: Path) -> None:
    recording = write_wav(tmp_path / "long.wav", music(300.0, 22050, 2, seed=3), 22050)
    job_id = submit(http, recording, estimators="none", residual="file", stems="bass,no_bass").json()["id"]
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        audio = http.get(f"/jobs/{job_id}/audio").json()
        there = {track["name"]: track["available_s"] for track in audio["tracks"]}
        if min(there.values()) >= 2 * PART_S:
            break
        time.sleep(0.02)
    assert list(there) == ["bass", "no_bass", "residual", "mix"]
    assert not audio["complete"]
    assert (audio["sample_rate"], audio["samples"]) == (22050, 300 * 22050)
    mix, bass, rest = (unpacked(http.get(f"/jobs/{job_id}/audio/{n}/1")) for n in ("mix", "bass", "no_bass"))
    assert np.abs(mix - bass - rest).max() <= 2.0**-14
    last = http.get(f"/jobs/{job_id}/audio/bass/59")
    assert http.get(f"/jobs/{job_id}").json()["status"] == "running", "too quick to be watched"
    assert (last.status_code, last.json()["code"]) == (404, "part_not_ready")
    assert last.json()["retryable"] and last.headers["Retry-After"] == "1"
    assert http.get(f"/jobs/{job_id}/audio/bass/60").json()["code"] == "not_found"
    assert http.post(f"/jobs/{job_id}/cancel").status_code == 202
    assert ended(http, job_id)["status"] == "cancelled"
    assert http.get(f"/jobs/{job_id}/audio").status_code == 404


def test_a_job_that_waits_is_heard_as_it_came(tmp_path: Path, song: Path) -> None:
    with Service(tmp_path, PIPELINE_WORKERS="0") as service, service.client() as http:
        job_id = submit(http, song).json()["id"]
        audio = http.get(f"/jobs/{job_id}/audio").json()
        assert audio["sample_rate"] == 44100 and not audio["complete"]
        assert unpacked(http.get(f"/jobs/{job_id}/audio/mix/0")).shape == (2, PART_S * 44100)


def test_only_the_first_part_of_a_track_is_in_the_audit_log(tmp_path: Path, song: Path) -> None:
    with Service(tmp_path) as service, service.client() as http:
        job_id = submit(http, song, estimators="none", stems="vocals").json()["id"]
        assert ended(http, job_id)["status"] == "succeeded"
        for number in (0, 1, 2):
            assert http.get(f"/jobs/{job_id}/audio/vocals/{number}").is_success
        entries = http.get("/admin/audit", params={"limit": 500}).json()
    heard = [entry["input"] for entry in entries if entry["action"] == "listen"]
    assert heard == [f"GET /jobs/{job_id}/audio/vocals/0"]
