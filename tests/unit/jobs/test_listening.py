"""What can be heard of a job, also when something of it is broken, or not there yet."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from api.errors import Gone, NotFound, PartNotReady
from api.jobs.folders import Folders
from api.jobs.housekeeping import erase, expire, sweep
from api.jobs.listening import Listening
from api.jobs.model import Job, JobStatus
from api.jobs.parts import PART_S
from api.jobs.retention import Policy
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import attempt
from pipeline.audio import Audio, FloatArray
from pipeline.errors import DiskFull, InputNotAudio
from tests.audio_files import music, write_wav
from tests.unit.test_preview import bag, begin
from tests.worker_support import FAST, claimed, now, submit, worker_config

RATE = 8000
SAMPLES = 2 * PART_S * RATE
NEVER = threading.Event()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two parts."""
    return write_wav(tmp_path / "song.wav", music(2 * PART_S, RATE), RATE)


@pytest.fixture
def listening(folders: Folders) -> Iterator[Listening]:
    made = Listening(folders, FAST)
    yield made
    made.close()


@pytest.fixture
def finished(store: SqlJobStore, folders: Folders, recording: Path) -> Job:
    job = submit(store, folders, recording)
    attempt(store, folders, worker_config(), NEVER, claimed(store))
    return now(store, job)


def soon(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def part(listening: Listening, job: Job, name: str, number: int) -> FloatArray:
    tracks = listening.tracks(job)
    packed = listening.part(tracks, listening.track(tracks, name), number)
    return np.asarray(soundfile.read(io.BytesIO(packed), dtype="float32", always_2d=True)[0].T)


def is_there(listening: Listening, job: Job, name: str, number: int) -> bool:
    try:
        return part(listening, job, name, number).size > 0
    except PartNotReady:
        return False


def test_stems_are_heard_when_the_recording_is_broken(
    listening: Listening, folders: Folders, finished: Job
) -> None:
    folders.input(finished).write_bytes(b"no audio" * 100)
    tracks = listening.tracks(finished)
    mix = listening.track(tracks, "mix")
    soon(lambda: listening.failure(mix))
    assert part(listening, finished, "vocals", 1).shape == (2, PART_S * RATE)
    with pytest.raises(InputNotAudio):
        part(listening, finished, "mix", 0)
    with pytest.raises(InputNotAudio):
        listening.whole(finished, "mix")


def test_stems_are_heard_when_the_recording_is_gone(
    listening: Listening, folders: Folders, finished: Job
) -> None:
    folders.input(finished).unlink()
    tracks = listening.tracks(finished)
    assert [track.name for track in tracks.tracks] == ["drums", "bass", "other", "vocals"]
    with pytest.raises(NotFound):
        listening.track(tracks, "mix")


def test_a_full_disk_is_told_for_what_must_be_decoded_alone(folders: Folders, finished: Job) -> None:
    listening = Listening(folders, FAST, reserve=1 << 60)
    mix = listening.track(listening.tracks(finished), "mix")
    soon(lambda: listening.failure(mix))
    assert part(listening, finished, "vocals", 0).any()
    with pytest.raises(DiskFull):
        part(listening, finished, "mix", 0)
    listening.close()


def test_a_stem_that_has_gone_is_told(listening: Listening, folders: Folders, finished: Job) -> None:
    (folders.result(finished.id) / "stems" / "bass.flac").unlink()
    with pytest.raises(Gone):
        part(listening, finished, "bass", 0)
    assert part(listening, finished, "vocals", 0).any()


def test_networks_of_a_bag_are_heard_together(
    listening: Listening, store: SqlJobStore, folders: Folders, recording: Path, tmp_path: Path
) -> None:
    job = submit(store, folders, recording, options={"model": "htdemucs", "residual": "file"})
    job = claimed(store).job
    tracks = listening.tracks(job)
    assert {track.available(None) for track in tracks.tracks if track.kind != "mix"} == {0}
    mix = Audio(music(2 * PART_S, RATE), RATE)
    blocks = begin(bag(), mix, tmp_path)
    while sum(path.stat().st_size for path in tmp_path.glob("job.*.checkpoint")) < 4 * 8 * 6 * RATE:
        next(blocks)
    for path in tmp_path.glob("job.*.checkpoint"):
        path.rename(folders.checkpoints / path.name.replace("job.", f"{job.id}."))
    soon(lambda: is_there(listening, job, "mix", 0))
    stems = sum(part(listening, job, name, 0) for name in ("drums", "bass", "other", "vocals"))
    left = part(listening, job, "residual", 0)
    clear = np.abs(left) < 0.99
    error = np.abs(part(listening, job, "mix", 0) - stems - left)
    assert clear.any() and error[clear].max() <= 6 * 2.0**-16
    with pytest.raises(PartNotReady):
        part(listening, job, "residual", 1)
    with pytest.raises(NotFound):
        part(listening, job, "residual", 2)


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_of_a_job_that_came_to_nothing_nothing_is_heard(
    status: JobStatus, listening: Listening, finished: Job
) -> None:
    with pytest.raises(NotFound):
        listening.tracks(finished.evolve(status=status))


def test_what_was_decoded_goes_with_its_job(
    listening: Listening, store: SqlJobStore, folders: Folders, finished: Job, recording: Path
) -> None:
    other = submit(store, folders, recording)
    attempt(store, folders, worker_config(), NEVER, claimed(store))
    other = now(store, other)
    for job in (finished, other):
        soon(lambda job=job: listening.track(listening.tracks(job), "mix").available(None) == SAMPLES)
    assert erase(store, folders, finished.id) is not None
    assert not folders.listening(finished.id).exists()
    assert other.finished_at is not None
    assert (
        expire(
            store, folders, Policy(timedelta(0)), other.finished_at.replace(year=other.finished_at.year + 1)
        )
        == 1
    )
    assert not folders.listening(other.id).exists()
    with pytest.raises(Gone):
        listening.tracks(now(store, other))


def test_what_a_late_request_wrote_is_swept(store: SqlJobStore, folders: Folders, finished: Job) -> None:
    assert erase(store, folders, finished.id) is not None
    for root in (folders.listening(finished.id), folders.peaks(finished.id), folders.listening("unknown")):
        root.mkdir(parents=True)
        (root / "late").write_bytes(b"late")
    assert sweep(store, folders, Policy(None)).strays == 3
    assert not any(folders.listening_root.iterdir()) and not any(folders.peaks_root.iterdir())


def test_the_next_service_goes_on_with_what_this_one_decoded(folders: Folders, finished: Job) -> None:
    first = Listening(folders, FAST)
    first.tracks(finished)
    first.close()
    second = Listening(folders, FAST)
    soon(lambda: second.track(second.tracks(finished), "mix").available(None) == SAMPLES)
    assert part(second, finished, "mix", 1).shape == (2, PART_S * RATE)
    second.close()
