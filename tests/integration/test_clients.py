"""The service as programs use it: our client, our command line, and the lines of the README."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path

import pytest

from api.client import Client
from api.client_answers import ServiceProblem
from pipeline.verify import verify_job
from tests.audio_files import convert, music, write_wav
from tests.service import KEY, ROOT, Service, free_port


def test_the_typed_client_does_the_whole_round(service: Service, song: Path, tmp_path: Path) -> None:
    with Client(service.url, KEY) as client:
        job = client.wait(client.submit(song, stems="drums", formats="wav16").id)
        assert job.status == "succeeded"
        folder = client.download(job.id, tmp_path)
        assert verify_job(folder) == []
        assert client.manifest(job.id).job_id == job.id
        assert job.id in [j.id for j in client.jobs(q="song")]
        assert {m.name for m in client.models()} >= {"hpss", "htdemucs"}
        with pytest.raises(ServiceProblem, match="no job"):
            client.job(str(uuid.uuid4()))


def test_the_command_line_submits_and_downloads(service: Service, song: Path, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "api", "submit", song, "--stems", "other", "--download", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PIPELINE_URL": service.url, "API_KEY": KEY},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    job_id = said.stdout.split()[0]
    assert verify_job(tmp_path / job_id) == []


def test_the_command_line_submits_folders_playlists_and_tables_as_one_batch(
    service: Service, tmp_path: Path
) -> None:
    songs = [write_wav(tmp_path / f"{n}.wav", music(0.5, seed=60 + n)) for n in range(4)]
    (tmp_path / "album").mkdir()
    songs[0].rename(tmp_path / "album" / "0.wav")
    (tmp_path / "list.m3u").write_text("#EXTM3U\n1.wav\nhttps://example.org/x.wav\n")
    (tmp_path / "table.csv").write_text("file,stems\n2.wav,drums\n")
    given = [tmp_path / "album", tmp_path / "list.m3u", tmp_path / "table.csv", f"{tmp_path}/[3].wav"]
    said = subprocess.run(
        [sys.executable, "-m", "api", "submit", *given, "--stems", "vocals", "--estimators", "none",
         "--download", tmp_path / "out"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PIPELINE_URL": service.url, "API_KEY": KEY},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    batch_id, archive = said.stdout.split()
    lines = [line.split(maxsplit=2) for line in said.stderr.splitlines()]
    assert said.returncode == 1  # one of them is refused: nothing is fetched from URLs here
    assert [(line[0], line[2].split()[0]) for line in lines] == [
        ("refused", "https://example.org/x.wav"),
        ("succeeded", "0.wav"),
        ("succeeded", "1.wav"),
        ("succeeded", "2.wav"),
        ("succeeded", "3.wav"),
    ]
    with zipfile.ZipFile(archive) as files:
        stems = [name for name in files.namelist() if "/stems/" in name]
    assert [name.rpartition("/")[2] for name in stems] == ["vocals.flac"] * 2 + ["drums.flac", "vocals.flac"]
    with Client(service.url, KEY) as client:
        assert client.batches.cancel(batch_id).ended
        assert batch_id in [batch.id for batch in client.batches.all()]


def test_the_lines_of_the_readme_work(service: Service, finished: str, tmp_path: Path) -> None:
    convert(write_wav(tmp_path / "song.wav", music(2.0)), tmp_path / "song.mp3")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in readme.splitlines() if line.startswith("curl ")]
    assert len(lines) >= 4
    for line in lines:
        said = subprocess.run(
            ["bash", "-c", line.replace("http://localhost:8000", service.url)],
            cwd=tmp_path, env={**os.environ, "KEY": KEY, "JOB": finished}, capture_output=True, check=False,
        )  # fmt: skip
        assert said.returncode == 0, (line, said.stderr)
    assert (tmp_path / "vocals.flac").read_bytes()[:4] == b"fLaC"
    assert zipfile.is_zipfile(tmp_path / "song.zip")


def test_a_service_that_is_not_there_is_told_in_words(song: Path) -> None:
    command = [sys.executable, "-m", "api", "submit", str(song), "--url", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recording_that_is_not_there_is_told_in_words(service: Service, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "api", "submit", str(tmp_path / "no.wav"), "--url", service.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path / 'no.wav'}: No such file or directory\n")
