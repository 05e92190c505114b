"""What may come in: predictions against what jobs really take, and refusals."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import pytest

from api.errors import Draining, StorageFull
from api.jobs.admission import Admission
from api.jobs.capacity import (
    available_memory,
    memory_allows,
    own_memory,
    predict_memory,
    predict_room,
    threads_a_worker,
    workers_that_fit,
)
from api.jobs.folders import Folders
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import attempt, work
from pipeline.codec.probe import Probe
from pipeline.config import Limits, PipelineConfig, WeightsConfig
from pipeline.parallel import usable_cores
from pipeline.progress import Progress
from pipeline.weights import speech
from pipeline.weights.registry import get_model_spec
from pipeline.weights.speech import SPEECH
from tests.audio_files import music, write_wav
from tests.worker_support import FAST, submit, worker_config

GIB = 1 << 30


@dataclass
class Workers:
    alive: int = 1
    count: int = 1
    draining: bool = False


@pytest.fixture
def free(folders: Folders) -> int:
    return disk_usage(folders.data).free


def admission(
    store: SqlJobStore, folders: Folders, workers: Workers | None = None, *, disk: int = 0, memory: int = 0
) -> Admission:
    return Admission(
        store, folders, workers or Workers(), PipelineConfig(), disk_reserve=disk, memory_reserve=memory
    )


def header(
    seconds: float | None = 240.0, sample_rate: int = 44100, channels: int = 2, codec: str = "mp3"
) -> Probe:
    return Probe("mp3", codec, sample_rate, channels, (), seconds)


@pytest.mark.parametrize("formats", [("flac",), ("wav", "mp3"), ("wav32f",), ("ogg", "m4a")])
@pytest.mark.parametrize(("sample_rate", "channels"), [(44100, 2), (48000, 1), (22050, 2)])
def test_a_job_takes_no_more_room_than_predicted_and_not_far_less(
    formats: tuple[str, ...],
    sample_rate: int,
    channels: int,
    store: SqlJobStore,
    folders: Folders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = 3.0
    recording = write_wav(tmp_path / "song.wav", music(seconds, sample_rate, channels), sample_rate)
    config = FAST.model_copy(update={"formats": formats})
    job = submit(store, folders, recording, options={"formats": list(formats)})
    room = predict_room(recording.stat().st_size, header(seconds, sample_rate, channels), config)
    work, checkpoint = [0], [0]

    enter = Progress.enter

    def measured(self: Progress, stage: str) -> None:
        enter(self, stage)
        work[0] = max(work[0], sum(p.stat().st_size for p in folders.attempts.rglob("*.f32")))
        checkpoint[0] = max(checkpoint[0], sum(p.stat().st_size for p in folders.checkpoints.iterdir()))

    monkeypatch.setattr(Progress, "enter", measured)
    claim = store.claim("worker-1", 30.0)
    assert claim is not None
    attempt(store, folders, worker_config(), threading.Event(), claim)
    result = sum(p.stat().st_size for p in folders.result(job.id).rglob("*") if p.is_file())
    assert 0.9 * room.work <= work[0] <= room.work
    assert 0.9 * room.checkpoint <= checkpoint[0] <= 1.01 * room.checkpoint + 4096
    assert result <= room.result


def test_exports_with_audio_need_room_of_their_own() -> None:
    plain = predict_room(5_000_000, header(), PipelineConfig())
    more = predict_room(5_000_000, header(), PipelineConfig(exports=("stem.mp4", "click", "midi")))
    assert more.work > plain.work + 0.1e9
    assert 0.05e9 < more.result - plain.result < 0.1e9


def test_a_song_of_four_minutes_needs_about_a_gigabyte_while_it_runs() -> None:
    room = predict_room(5_000_000, header(), PipelineConfig())
    assert 0.62e9 < room.work < 0.64e9
    assert 0.3e9 < room.checkpoint < 0.4e9
    assert 0.15e9 < room.result < 0.25e9


def test_a_header_that_lies_about_the_length_is_not_believed() -> None:
    honest = predict_room(5_000_000, header(240.0), PipelineConfig())
    lying = predict_room(100_000, header(397 * 3600.0), PipelineConfig())
    assert lying.work < honest.work


def test_no_more_is_asked_for_than_the_longest_recording_allowed_takes() -> None:
    limited = PipelineConfig(limits=Limits(max_duration_s=60.0))
    assert predict_room(10**9, header(10**6), limited) == predict_room(10**9, header(60.0), limited)


def test_a_header_without_a_length_is_judged_by_its_bytes() -> None:
    assert predict_room(16_000 * 240, header(None), PipelineConfig()).work == pytest.approx(
        predict_room(16_000 * 240, header(240.0), PipelineConfig()).work
    )


def test_an_upload_that_does_not_fit_is_refused_before_it_is_read(
    store: SqlJobStore, folders: Folders, free: int
) -> None:
    admission(store, folders).admit(1 << 20)
    with pytest.raises(StorageFull) as refused:
        admission(store, folders).admit(2 * free)
    assert refused.value.retry_after_s
    with pytest.raises(StorageFull):
        admission(store, folders, disk=2 * free).admit(0)


def test_an_upload_whose_stems_do_not_fit_is_refused(store: SqlJobStore, folders: Folders, free: int) -> None:
    room = predict_room(5_000_000, header(), PipelineConfig())
    needed = room.work + room.checkpoint + room.result
    slack = 64 << 20  # Others write to this disk too.
    admission(store, folders, disk=free - needed - slack).admit_upload(5_000_000, header(), PipelineConfig())
    with pytest.raises(StorageFull):
        admission(store, folders, disk=free - needed + slack).admit_upload(
            5_000_000, header(), PipelineConfig()
        )


def test_room_is_kept_for_jobs_that_wait(
    store: SqlJobStore, folders: Folders, free: int, tmp_path: Path
) -> None:
    recording = write_wav(tmp_path / "song.wav", music(0.1))
    room = predict_room(5_000_000, header(), PipelineConfig())
    slack = 64 << 20
    reserve = free - room.work - room.checkpoint - 2 * room.result - slack
    for _ in range(2):
        admission(store, folders, disk=reserve).admit_upload(5_000_000, header(), PipelineConfig())
        submit(store, folders, recording, duration_s=240.0, input_bytes=5_000_000)
    with pytest.raises(StorageFull):
        admission(store, folders, disk=reserve).admit_upload(5_000_000, header(), PipelineConfig())


def test_nothing_comes_in_while_the_service_stops(store: SqlJobStore, folders: Folders) -> None:
    with pytest.raises(Draining):
        admission(store, folders, Workers(draining=True)).admit()


def test_the_state_says_every_reason_not_to_send_work(
    store: SqlJobStore, folders: Folders, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert admission(store, folders).state().reasons == ()
    assert admission(store, folders, Workers(0, 0)).state().reasons == ()

    def broken(_: SqlJobStore) -> None:
        raise OSError

    monkeypatch.setattr(SqlJobStore, "check", broken)
    state = admission(store, folders, Workers(0, 2, True), disk=2 * free, memory=1 << 60).state()
    assert state.reasons == ("draining", "no_worker", "disk_reserve", "memory_reserve", "database")
    assert not state.database


def test_the_state_is_looked_at_once_a_second(store: SqlJobStore, folders: Folders) -> None:
    now, workers = [0.0], Workers()
    subject = Admission(
        store, folders, workers, PipelineConfig(), disk_reserve=0, memory_reserve=0, clock=lambda: now[0]
    )
    assert subject.state().reasons == ()
    workers.alive = 0
    now[0] = 0.9
    assert subject.state().reasons == ()
    now[0] = 1.1
    assert subject.state().reasons == ("no_worker",)


@pytest.mark.parametrize(
    ("cores", "memory", "workers"),
    [(1, 4 * GIB, 1), (2, 8 * GIB, 1), (4, 8 * GIB, 1), (8, 8 * GIB, 2), (16, 64 * GIB, 4), (16, 4 * GIB, 1)],
)
def test_workers_fit_the_cores_and_the_memory(cores: int, memory: int, workers: int) -> None:
    assert workers_that_fit(get_model_spec("htdemucs"), cores, memory, GIB // 2) == workers


def test_there_is_always_one_worker() -> None:
    assert workers_that_fit(get_model_spec("htdemucs_ft"), 1, GIB, GIB) == 1


@pytest.mark.parametrize(
    ("cores", "workers", "threads"), [(2, 1, 2), (2, 2, 1), (16, 4, 4), (2, 8, 1), (4, 0, 4)]
)
def test_workers_share_the_cores(cores: int, workers: int, threads: int) -> None:
    assert threads_a_worker(cores, workers) == threads


def test_the_machine_is_known() -> None:
    assert usable_cores() >= 1
    assert available_memory() > 1 << 20
    spec = get_model_spec("hpss")
    assert memory_allows(spec, 0) == (predict_memory(spec) < available_memory())
    assert not memory_allows(spec, 1 << 60)


def test_what_hears_lyrics_counts_where_it_takes_more_than_the_separation_did() -> None:
    tiny, small = SPEECH["whisper-tiny.en"], SPEECH["whisper-small"]
    htdemucs, hpss = get_model_spec("htdemucs"), get_model_spec("hpss")
    # Loading whisper-tiny.en and hearing 240 s with it took 373 MB at the peak.
    assert predict_memory(hpss, tiny) >= predict_memory(hpss) + 373_000_000
    assert predict_memory(htdemucs, tiny) == predict_memory(htdemucs)
    assert predict_memory(htdemucs, small) > predict_memory(htdemucs)
    free = available_memory() + own_memory() - predict_memory(hpss, small)
    assert memory_allows(hpss, free // 2, small) and not memory_allows(hpss, free + GIB, small)


def test_what_hears_lyrics_is_told_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_in_package", lambda _: [])
    weights = WeightsConfig(cache_dir=tmp_path)
    assert speech.present(weights) is None
    model = SPEECH["whisper-small"]
    for file in model.files:
        (tmp_path / model.name).mkdir(exist_ok=True)
        (tmp_path / model.name / file.name).touch()
        os.truncate(tmp_path / model.name / file.name, file.bytes)
    assert speech.present(weights) is model
    (tmp_path / model.name / "model.bin").unlink()
    assert speech.present(weights) is None


def test_a_worker_begins_nothing_for_which_there_is_no_memory(
    store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    job = submit(store, folders, write_wav(tmp_path / "song.wav", music(0.1)))
    stop = threading.Event()
    answers: Iterator[bool] = iter([False, False, False])

    def may_begin() -> bool:
        answer = next(answers, None)
        if answer is None:
            stop.set()
        return bool(answer)

    work(store, folders, worker_config(), stop, may_begin)
    found = store.get(job.id)
    assert found is not None and found.attempt == 0
