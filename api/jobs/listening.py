"""Listening to jobs, part by part: those that have ended, and those that are still under way."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

import anyio

from api.encryption.stored import Stored
from api.errors import Gone, NotFound, PartNotReady, ServiceError
from api.jobs.folders import Folders
from api.jobs.model import Job, JobStatus
from api.jobs.parts import (
    DEFAULT_CACHE_BYTES,
    PART_S,
    Coded,
    count,
    fill,
    part_file,
    prune,
    read_index,
)
from api.jobs.tracks import CodedTrack, FileTrack, Track, Tracks, bounds, tracks_of
from pipeline.audio import BLOCK_SAMPLES, FloatArray
from pipeline.codec.stretch import read_stretch
from pipeline.config import PipelineConfig
from pipeline.errors import PipelineError
from pipeline.preview import fold

log = logging.getLogger(__name__)

_DECODES: Final = 2
"""Files decoded at the same time; others wait."""
_NICENESS: Final = 10
"""Of the threads that decode: where there is not enough for all, they get a tenth of what others get."""
_READERS: Final = 3
"""Parts read and packed at the same time."""
_PAUSE_S: Final = 20.0
"""Seconds after which a file that could not be decoded is tried again."""
_HEARD: Final = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Whole:
    """A track that is there from start to end.

    Attributes:
        name: of the track.
        sha256: of the file that it is made of.
        sample_rate: Hz.
        samples: of it.
        blocks: float32 (1 or 2 channels, n) consecutive, to be read once.
    """

    name: str
    sha256: str
    sample_rate: int
    samples: int
    blocks: Iterator[FloatArray]


class Listening:
    """What of the jobs can be heard. Decodes in threads of its own; `close` ends them.

    Args:
        folders: where things lie.
        defaults: the service's.
        cache_bytes: of decoded parts that are kept at most.
        reserve: bytes that stay free on the disk.

    Attributes:
        threads: in which requests are handled, so that the others of the service go before.
    """

    def __init__(
        self,
        folders: Folders,
        defaults: PipelineConfig,
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        reserve: int = 0,
    ) -> None:
        self._folders = folders
        self._defaults = defaults
        self._cache_bytes = cache_bytes
        self._reserve = reserve
        self._threads = ThreadPoolExecutor(_DECODES, thread_name_prefix="listening", initializer=_step_back)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._fills: set[Stored] = set()
        self._failures: dict[Stored, tuple[float, PipelineError]] = {}
        self.threads = anyio.CapacityLimiter(_READERS)

    def close(self) -> None:
        """Give up what is being decoded; the next service goes on with it."""
        self._stop.set()
        self._threads.shutdown(cancel_futures=True)

    def tracks(self, job: Job) -> Tracks:
        """What of a job can be listened to. What is not decoded yet will be.

        Raises:
            NotFound: nothing, for the job has failed or was cancelled.
            Gone: it has expired, or files of it were lost.
        """
        if job.status is JobStatus.EXPIRED:
            raise Gone(f"The audio of job {job.id} has expired.", "Submit the recording again.")
        if job.status not in _HEARD:
            raise NotFound(f"The job {job.id} has nothing to listen to: it is {job.status.value}.")
        found = tracks_of(self._folders, job, self._defaults)
        for coded in found.coded():
            self._decode(coded)
        return found

    def track(self, tracks: Tracks, name: str) -> Track:
        """One of them by name.

        Raises:
            NotFound: there is none of that name.
        """
        for track in tracks.tracks:
            if track.name == name:
                return track
        raise NotFound("The job has nothing of that name to listen to.", "See its /audio.")

    def failure(self, track: Track) -> PipelineError | None:
        """Why a track could not be decoded a moment ago; None while it can, or is being."""
        if not isinstance(track, CodedTrack):
            return None
        until, error = self._failures.get(track.coded.folder, (0.0, None))
        return error if monotonic() < until else None

    def part(self, tracks: Tracks, track: Track, number: int) -> bytes:
        """A part as a FLAC file.

        Raises:
            NotFound: the recording ends before it.
            PartNotReady: it is not there yet.
            PipelineError: the track cannot be decoded.
        """
        rate, samples = tracks.sample_rate, tracks.samples
        if error := self.failure(track):
            raise error
        if rate is None:
            raise _not_ready()
        if samples is not None and number * PART_S * rate >= samples:
            raise NotFound("The recording ends before that part.", "See samples and part_s of its /audio.")
        found = track.part(number, rate, samples)
        if found is None:
            raise _not_ready()
        return found

    def whole(self, job: Job, name: str) -> Whole:
        """A track from start to end.

        Raises:
            NotFound: there is none of that name.
            PartNotReady: its end is not there yet.
            PipelineError: it cannot be decoded, or see `tracks`.
        """
        tracks = self.tracks(job)
        track = self.track(tracks, name)
        if error := self.failure(track):
            raise error
        if isinstance(track, FileTrack) and tracks.sample_rate and tracks.samples:
            blocks = _file_blocks(track, tracks.samples)
            return Whole(name, track.sha256, tracks.sample_rate, tracks.samples, blocks)
        if isinstance(track, CodedTrack):
            folder = track.coded.folder
            index = read_index(folder.path)
            if index is not None and index.samples is not None:
                blocks = _part_blocks(folder, index.sample_rate)
                return Whole(name, track.sha256, index.sample_rate, index.samples, blocks)
        raise _not_ready()

    def _decode(self, coded: Coded) -> None:
        """See to it that a file is decoded, sooner or later."""
        index = read_index(coded.folder.path)
        if index is not None and index.samples is not None:
            return
        with self._lock:
            failed_until, _ = self._failures.get(coded.folder, (0.0, None))
            if coded.folder not in self._fills and monotonic() >= failed_until:
                self._fills.add(coded.folder)
                self._threads.submit(self._fill, coded)

    def _fill(self, coded: Coded) -> None:
        error: PipelineError | None = None
        try:
            fill(coded, self._defaults.limits, self._reserve, self._stop)
            prune(self._folders.listening_root, self._cache_bytes)
        except PipelineError as exc:
            error = exc
            log.warning("cannot be listened to: %s", exc.message, extra={"action": "listening_failed"})
        except Exception:
            error = ServiceError("Something unexpected went wrong.", "The service's log says more.")
            log.exception("cannot be listened to", extra={"action": "listening_failed"})
        with self._lock:
            now = monotonic()
            self._failures = {path: old for path, old in self._failures.items() if old[0] > now}
            if error is not None:
                self._failures[coded.folder] = now + _PAUSE_S, error
            self._fills.discard(coded.folder)


def _step_back() -> None:
    """Let separations on the same machine go before: decoding is many times faster than listening."""
    with suppress(OSError):  # A machine may forbid it, or have no priorities of threads.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _not_ready() -> PartNotReady:
    return PartNotReady("That is not there yet.", "Ask again in a moment.", retry_after_s=1)


def _file_blocks(track: FileTrack, samples: int) -> Iterator[FloatArray]:
    stored = track.stored
    for start in range(0, samples, BLOCK_SAMPLES):
        with stored.sounding() as readable:
            yield fold(read_stretch(readable, start, min(start + BLOCK_SAMPLES, samples)), ())


def _part_blocks(folder: Stored, sample_rate: int) -> Iterator[FloatArray]:
    _, size = bounds(0, sample_rate, None)
    for number in range(count(folder.path)):
        with part_file(folder, number).sounding() as readable:
            yield read_stretch(readable, 0, size)
