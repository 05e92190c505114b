"""What of a job can be listened to: the mix, its stems and the residual, wherever each of them lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from api.encryption.stored import Stored
from api.jobs.folders import Folders
from api.jobs.intake import job_config
from api.jobs.model import Job, JobStatus
from api.jobs.parts import PART_S, Coded, count, folder_name, part_file, read_index, read_part
from api.jobs.results import artifact_file, read_result
from pipeline.audio import FloatArray
from pipeline.codec.formats import FORMATS
from pipeline.codec.stretch import pack_stretch, read_stretch
from pipeline.config import PipelineConfig
from pipeline.manifest import Artifact, Manifest
from pipeline.preview import Preview, fold, open_preview
from pipeline.stems import MINUS, RESIDUAL, choose_stems
from pipeline.weights.registry import get_model_spec

MIX: Final = "mix"
Kind = Literal["stem", "residual", "mix"]


class Track(Protocol):
    """One thing to listen to."""

    @property
    def name(self) -> str:
        """Such as ``vocals``."""
        ...

    @property
    def kind(self) -> Kind:
        """What it is."""
        ...

    @property
    def sha256(self) -> str | None:
        """Of the file that it is made of; None of a preview: the stem may differ a little."""
        ...

    def available(self, length: int | None) -> int:
        """Samples from the start that can be heard now, of the ``length`` that the mix has."""
        ...

    def part(self, number: int, sample_rate: int, length: int | None) -> bytes | None:
        """A part as a FLAC file; None while it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class FileTrack:
    """A lossless artifact: any stretch of it can be read at once."""

    name: str
    kind: Kind
    sha256: str
    folders: Folders
    job_id: str
    artifact: Artifact

    @property
    def stored(self) -> Stored:
        """Its file.

        Raises:
            ResultDamaged: it is missing, or not as it was.
        """
        return artifact_file(self.folders, self.job_id, self.artifact)

    def available(self, length: int | None) -> int:
        """See `Track.available`."""
        return length or 0

    def part(self, number: int, sample_rate: int, length: int | None) -> bytes | None:
        """See `Track.part`."""
        start, stop = bounds(number, sample_rate, length)
        with self.stored.sounding() as readable:
            return pack_stretch(fold(read_stretch(readable, start, stop), ()), sample_rate)


@dataclass(frozen=True, slots=True)
class CodedTrack:
    """A recording, or a lossy artifact: it is decoded into parts first."""

    name: str
    kind: Kind
    sha256: str
    coded: Coded

    def available(self, length: int | None) -> int:
        """See `Track.available`."""
        index = read_index(self.coded.folder.path)
        if index is None:
            return 0
        if index.samples is not None:
            return index.samples
        return count(self.coded.folder.path) * PART_S * index.sample_rate

    def part(self, number: int, sample_rate: int, length: int | None) -> bytes | None:
        """See `Track.part`."""
        return read_part(self.coded.folder, number)


@dataclass(frozen=True, slots=True)
class PreviewTrack:
    """What a job that runs has made of a stem."""

    name: str
    kind: Kind
    preview: Preview | None
    sha256: None = None

    def available(self, length: int | None) -> int:
        """See `Track.available`."""
        return self.preview.available if self.preview else 0

    def part(self, number: int, sample_rate: int, length: int | None) -> bytes | None:
        """See `Track.part`."""
        found = _window(self.preview, self.name, number)
        return None if found is None else pack_stretch(found, sample_rate)


@dataclass(frozen=True, slots=True)
class DifferenceTrack:
    """What some stems of a job that runs leave of its mix."""

    name: str
    kind: Kind
    mix: CodedTrack
    minus: tuple[tuple[str, Preview | None], ...]
    sha256: None = None

    def available(self, length: int | None) -> int:
        """See `Track.available`."""
        made = (preview.available if preview else 0 for _, preview in self.minus)
        return min(self.mix.available(length), *made)

    def part(self, number: int, sample_rate: int, length: int | None) -> bytes | None:
        """See `Track.part`."""
        found = [_window(preview, stem, number) for stem, preview in self.minus]
        stored = part_file(self.mix.coded.folder, number)
        if any(stem is None for stem in found) or not stored.path.exists():
            return None
        with stored.sounding() as readable:
            left = read_stretch(readable, 0, PART_S * sample_rate)
        for stem in found:
            if stem is None or stem.shape != left.shape:
                return None
            left = left - stem
        return pack_stretch(left, sample_rate)


@dataclass(frozen=True, slots=True)
class Tracks:
    """All that there is to listen to of a job.

    Attributes:
        tracks: the stems in the order of the manifest, the residual, the mix.
        sample_rate: Hz, of all; None while the recording has not been looked at.
        channels: 1 or 2: surround sound is folded down.
        samples: of the mix; None until it is known.
        final: whether the job has ended, so that tracks do not change any more.
    """

    tracks: tuple[Track, ...]
    sample_rate: int | None
    channels: int
    samples: int | None
    final: bool

    def coded(self) -> list[Coded]:
        """What has to be decoded for them."""
        return [track.coded for track in self.tracks if isinstance(track, CodedTrack)]


def tracks_of(folders: Folders, job: Job, defaults: PipelineConfig) -> Tracks:
    """Find what of a job can be listened to.

    Args:
        folders: where things lie.
        job: queued, running or succeeded.
        defaults: the service's, for jobs that run.

    Raises:
        ResultDamaged: the job succeeded and its result is not what it was.
        StorageUnavailable: the folder of the results is not there.
    """
    if job.status is JobStatus.SUCCEEDED:
        return _finished(folders, job, read_result(folders, job.id))
    return _running(folders, job, job_config(defaults, job.options))


def bounds(number: int, sample_rate: int, length: int | None) -> tuple[int, int]:
    """First sample of a part, and one past its last."""
    start, stop = number * PART_S * sample_rate, (number + 1) * PART_S * sample_rate
    return start, stop if length is None else min(stop, length)


def _finished(folders: Folders, job: Job, manifest: Manifest) -> Tracks:
    heard = manifest.input
    tracks: dict[str, Track] = {}
    for artifact in sorted(manifest.artifacts, key=_is_lossy):
        if artifact.kind != "analysis" and artifact.name not in tracks:
            tracks[artifact.name] = _of_artifact(folders, job.id, artifact, manifest)
    names = dict.fromkeys(a.name for a in manifest.artifacts if a.name in tracks)
    found = [tracks[name] for name in names]
    if folders.has_input(job):
        found.append(_mix(folders, job))
    return Tracks(tuple(found), heard.sample_rate, min(heard.channels, 2), heard.samples, final=True)


def _of_artifact(folders: Folders, job_id: str, artifact: Artifact, manifest: Manifest) -> Track:
    kind: Kind = "residual" if artifact.kind == "residual" else "stem"
    if not _is_lossy(artifact):
        return FileTrack(artifact.name, kind, artifact.sha256, folders, job_id, artifact)
    coded = Coded(
        artifact_file(folders, job_id, artifact),
        folders.stored_listening(job_id) / folder_name(artifact.name, artifact.sha256),
        artifact.sha256,
        artifact.samples,
        manifest.input.sample_rate,
        manifest.input.samples,
    )
    return CodedTrack(artifact.name, kind, artifact.sha256, coded)


def _running(folders: Folders, job: Job, config: PipelineConfig) -> Tracks:
    spec = get_model_spec(config.model)
    mix = _mix(folders, job)
    found = [preview for path in folders.checkpoints_of(job.id) if (preview := open_preview(path))]
    made = {stem: preview for preview in found for stem in preview.stems}
    tracks: list[Track] = []
    for name in choose_stems(config.stems, spec.name, spec.stems):
        base = name.removeprefix(MINUS)
        if name == base:
            tracks.append(PreviewTrack(name, "stem", made.get(name)))
        else:
            tracks.append(DifferenceTrack(name, "stem", mix, ((base, made.get(base)),)))
    if config.residual == "file":
        minus = tuple((stem, made.get(stem)) for stem in spec.stems)
        tracks.append(DifferenceTrack(RESIDUAL, "residual", mix, minus))
    index = read_index(mix.coded.folder.path)
    lengths: Sequence[int | None] = [p.length for p in found] + [index.samples if index else None]
    return Tracks(
        (*tracks, mix),
        index.sample_rate if index else next((preview.sample_rate for preview in found), None),
        index.channels if index else 2,
        next((length for length in lengths if length is not None), None),
        final=False,
    )


def _mix(folders: Folders, job: Job) -> CodedTrack:
    folder = folders.stored_listening(job.id) / folder_name(MIX, job.input_sha256)
    return CodedTrack(
        MIX, "mix", job.input_sha256, Coded(folders.fetched_input(job), folder, job.input_sha256)
    )


def _is_lossy(artifact: Artifact) -> bool:
    fmt = FORMATS.get(artifact.format)
    return fmt is None or fmt.bits == 0


def _window(preview: Preview | None, stem: str, number: int) -> FloatArray | None:
    if preview is None:
        return None
    start, stop = bounds(number, preview.sample_rate, preview.length)
    return preview.window(stem, start, stop) if stop <= preview.available else None
