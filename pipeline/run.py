"""One job from start to end: probe, decode, separate, estimate, encode, export, publish."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic

from pipeline.annotations import Analysis
from pipeline.audio import Audio
from pipeline.checkpoint import Checkpoint
from pipeline.codec.decode import Decoded, decode
from pipeline.codec.encode import encode
from pipeline.codec.formats import Format, check_channels, choose_formats
from pipeline.codec.probe import Probe, probe
from pipeline.codec.source import Source, open_source
from pipeline.config import PipelineConfig
from pipeline.errors import InputChanged, MemoryExhausted
from pipeline.estimation import estimate
from pipeline.estimators.base import Estimator, Recording
from pipeline.estimators.registry import select
from pipeline.exports.base import Export, Material
from pipeline.exports.registry import choose_exports, write_exports
from pipeline.layout import fold_matrix
from pipeline.loudness import measure
from pipeline.manifest import Artifact, Input, Manifest, Notice, Separation, StageRecord
from pipeline.parallel import in_order, usable_cores
from pipeline.processor import processor_identity
from pipeline.progress import CancelToken, Progress
from pipeline.scratch import ScratchWriter
from pipeline.separators.base import Separator
from pipeline.separators.registry import WarmModel, build_separator
from pipeline.software import software_versions
from pipeline.stems import MINUS, RESIDUAL, Separated, choose_stems, collect_stems
from pipeline.stretches import Others
from pipeline.weights.registry import ModelSpec, check_licence, get_model_spec
from pipeline.workspace import Workspace


@dataclass
class _Job:
    """What the stages of one job share."""

    config: PipelineConfig
    spec: ModelSpec
    stems: tuple[str, ...]
    formats: tuple[Format, ...]
    estimators: list[Estimator]
    exports: list[Export]
    work: Workspace
    progress: Progress
    cancel: CancelToken
    warm: WarmModel | None
    notices: list[Notice] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)


def run(
    source: Path,
    out_dir: Path,
    config: PipelineConfig = PipelineConfig(),  # noqa: B008 - frozen
    *,
    job_id: str | None = None,
    filename: str | None = None,
    sha256: str | None = None,
    created_at: datetime | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    checkpoint: Path | None = None,
    kept: Path | None = None,
    others: Others | None = None,
    warm: WarmModel | None = None,
) -> Manifest:
    """Take a recording apart.

    The result appears as ``out_dir/<job_id>/`` with ``manifest.json``, ``stems/<stem>.<ext>`` and the exports
    in ``analysis/``, complete, or not at all.

    Args:
        source: audio or video file.
        out_dir: where the job's folder is made.
        config: what to do.
        job_id: name of the folder; None: a new UUID.
        filename: of the recording, as the user knows it; None: the path's.
        sha256: of the recording, where it is known: a disk may have damaged it since. None: whatever it is.
        created_at: when the job was asked for; None: now.
        progress: is told every step.
        cancel: stops the job within one segment.
        checkpoint: file in which a separation leaves what it has made, and from which the same job goes on,
            bit for bit; a model of several independent networks makes one for each, named after it. It is
            the caller's to remove. None: a job always begins anew.
        kept: folder of checkpoints of finished jobs, as `pipeline.checkpoint.Checkpoint` takes it: a
            separation that is there is not computed again.
        others: with `checkpoint`: share its work, see `pipeline.stretches`.
        warm: keeps the model loaded from one job to the next.

    Returns:
        The manifest, as it was written.

    Raises:
        PipelineError: one of its leaves; nothing is left behind in ``out_dir``.
        Helped: this was done to help another's job.
    """
    created_at = created_at or datetime.now(UTC)
    spec = get_model_spec(config.model)
    check_licence(spec, config.commercial_only)
    stems = choose_stems(config.stems, spec.name, spec.stems)
    formats = choose_formats(config.formats)
    estimators = select(config.estimators)
    exports = choose_exports(config.exports)
    job_id = job_id or str(uuid.uuid4())
    with (
        _memory(),
        open_source(source, config.limits, filename) as opened,
        Workspace(out_dir, job_id) as work,
    ):
        if sha256 not in (None, opened.sha256):
            raise InputChanged(f"{opened.filename!r} is not what was sent.", "Check the disk; send it again.")
        job = _Job(
            config,
            spec,
            stems,
            formats,
            estimators,
            exports,
            work,
            progress or Progress(),
            cancel or CancelToken(),
            warm,
        )
        started_at = datetime.now(UTC)
        with _stage(job, "probe"):
            probed = _probe(job, opened)
        with _stage(job, "decode"):
            decoded = _decode(job, opened, probed)
            mix = _folded(job, decoded.audio)
            job.progress.duration_s = mix.duration_s
            resumable = _checkpoint(job, checkpoint, kept, others, opened, mix) if checkpoint else None
        with _stage(job, "separate"):
            separator, separated = _separate(job, mix, resumable)
        with _stage(job, "estimate"):
            analysis = _estimate(job, mix, separated)
        with _stage(job, "encode"):
            artifacts, gain = _encode(job, separated)
        if exports:
            with _stage(job, "export"):
                artifacts += _export(job, opened, mix, separated, analysis, artifacts, gain)
        with _stage(job, "publish"):
            facts = software_versions()
        manifest = Manifest(
            job_id=job_id,
            created_at=created_at,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            input=_input(opened, probed, decoded),
            separation=_separation(job, separator, separated, 20.0 * math.log10(gain), resumable),
            analysis=analysis.as_written(),
            artifacts=artifacts,
            stages=job.stages,
            software=facts,
            warnings=job.notices,
        )
        work.publish(manifest)
        job.progress.step(1.0)
        return manifest


def _probe(job: _Job, source: Source) -> Probe:
    probed = probe(source, job.config.limits, accept_damaged=job.config.accept_damaged)
    job.notices.extend(probed.notices)
    check_channels(job.formats, 2 if job.config.channels == "stereo" else probed.channels)
    return probed


def _decode(job: _Job, source: Source, probed: Probe) -> Decoded:
    decoded = decode(
        source,
        probed,
        job.work.scratch / "mix.f32",
        job.config.limits,
        accept_damaged=job.config.accept_damaged,
        step=job.progress.step,
        cancel=job.cancel,
    )
    job.notices.extend(decoded.notices)
    return decoded


def _folded(job: _Job, mix: Audio) -> Audio:
    if job.config.channels == "keep" or mix.channels <= 2:
        return mix
    matrix = fold_matrix(mix.speakers)
    with ScratchWriter(job.work.scratch / "folded.f32", 2) as writer:
        for block in mix.blocks():
            writer.write(matrix @ block)
        return writer.audio(mix.sample_rate, ("FL", "FR"))


def _checkpoint(
    job: _Job, path: Path, kept: Path | None, others: Others | None, source: Source, mix: Audio
) -> Checkpoint:
    binding = {
        "input_sha256": source.sha256,
        "channels": job.config.channels,
        "samples": mix.length,
        "sample_rate": mix.sample_rate,
        "speakers": mix.speakers,
        "model": job.spec.name,
        "software": software_versions(),
        "processor": processor_identity(),
    }
    return Checkpoint(path, binding, job.progress.resume, kept, others)


def _separate(job: _Job, mix: Audio, checkpoint: Checkpoint | None) -> tuple[Separator, Separated]:
    wanted = job.spec.stems if job.config.residual != "report" else job.stems
    bases = tuple(dict.fromkeys(name.removeprefix(MINUS) for name in wanted))
    separator = build_separator(job.spec, job.config, bases, job.cancel, job.warm)
    job.progress.ready()
    blocks = separator.separate(
        mix, scratch=job.work.scratch, step=job.progress.step, cancel=job.cancel, checkpoint=checkpoint
    )
    separated = collect_stems(
        mix,
        blocks,
        separator.stems,
        job.stems,
        job.work.scratch,
        complete=separator.complete,
        residual=job.config.residual,
        keep_all=bool(job.estimators or job.exports),
    )
    job.notices.extend(separator.notices)
    return separator, separated


def _estimate(job: _Job, mix: Audio, separated: Separated) -> Analysis:
    recording = Recording(mix, separated.made, job.work.scratch, job.config.weights)
    threads = job.config.threads or usable_cores()
    return estimate(recording, job.estimators, threads, job.progress.step, job.cancel)


def _encode(job: _Job, separated: Separated) -> tuple[list[Artifact], float]:
    gain = _shared_gain(job, separated.peak)
    artifacts: list[Artifact] = []
    threads = max(min(job.config.threads or usable_cores(), len(separated.published)), 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="encode") as pool:
        stems = separated.published.items()
        for done, files in enumerate(in_order(partial(_encode_stem, job, gain), stems, pool, threads), 1):
            artifacts += files
            job.progress.step(done / len(stems))
    return artifacts, gain


def _export(
    job: _Job,
    source: Source,
    mix: Audio,
    separated: Separated,
    analysis: Analysis,
    artifacts: list[Artifact],
    gain: float,
) -> list[Artifact]:
    material = Material(
        source.filename,
        analysis,
        tuple(artifacts),
        mix,
        {**separated.made, **separated.published},
        gain,
        job.work.scratch,
        job.cancel,
    )
    written, notices = write_exports(job.exports, material, job.work.folder, job.progress.step)
    job.notices.extend(notices)
    return written


def _encode_stem(job: _Job, gain: float, stem: tuple[str, Audio]) -> list[Artifact]:
    name, audio = stem
    gain_db = 20.0 * math.log10(gain)
    loudness = measure(audio)
    artifacts = []
    for fmt in job.formats:
        path = job.work.stems / f"{name}.{fmt.extension}"
        written = encode(audio, path, fmt, gain=gain, cancel=job.cancel)
        artifacts.append(
            Artifact(
                name=name,
                kind="residual" if name == RESIDUAL else "stem",
                path=f"stems/{path.name}",
                format=fmt.name,
                bytes=written.bytes,
                sha256=written.sha256,
                duration_s=written.samples / written.sample_rate,
                samples=written.samples,
                sample_rate=written.sample_rate,
                channels=audio.channels,
                loudness_lufs=_shifted(loudness.integrated_lufs, gain_db),
                true_peak_dbtp=_shifted(loudness.true_peak_dbtp, gain_db),
            )
        )
    return artifacts


def _shared_gain(job: _Job, peak: float) -> float:
    """The one gain for all stems, below 1 only where a format would clip one of them."""
    ceilings = [1.0 - 2.0 ** (1 - (f.bits or 24)) for f in job.formats if f.clips]
    if not ceilings or peak <= 1.0:
        return 1.0
    gain = min(ceilings) / peak
    job.notices.append(
        Notice(
            code="gain_applied",
            message=f"All stems were turned down by {-20 * math.log10(gain):.2f} dB, so that none clips.",
        )
    )
    return gain


def _shifted(value: float | None, gain_db: float) -> float | None:
    return None if value is None else round(value + gain_db, 2)


def _input(source: Source, probed: Probe, decoded: Decoded) -> Input:
    return Input(
        filename=source.filename,
        sha256=source.sha256,
        bytes=source.size,
        container=probed.container,
        codec=probed.codec,
        duration_s=decoded.audio.duration_s,
        samples=decoded.audio.length,
        sample_rate=decoded.audio.sample_rate,
        channels=decoded.audio.channels,
        tags=probed.tags,
    )


def _separation(
    job: _Job, separator: Separator, separated: Separated, gain_db: float, checkpoint: Checkpoint | None
) -> Separation:
    config = job.config
    asked = {"stems": list(job.stems), "residual": config.residual, "channels": config.channels}
    return Separation(
        model=job.spec.name,
        weights_sha256=separator.weights_sha256,
        licence=job.spec.licence.name,
        commercial_use=job.spec.licence.commercial_use,
        quality=str(job.spec.quality),
        device=separator.device,
        precision=separator.precision,
        parameters={**separator.parameters, **asked},
        gain_db=round(gain_db, 4),
        residual_db=None if separated.residual_db is None else round(separated.residual_db, 2),
        reused=round(checkpoint.reused, 4) if checkpoint else 0.0,
        stretches=checkpoint.stretches if checkpoint else 1,
    )


@contextmanager
def _stage(job: _Job, name: str) -> Iterator[None]:
    job.cancel.check()
    job.progress.enter(name)
    start = monotonic()
    yield
    record = {"name": name, "seconds": round(monotonic() - start, 3), "status": "succeeded"}
    job.stages.append(StageRecord.model_validate(record))
    job.progress.step(1.0)


@contextmanager
def _memory() -> Iterator[None]:
    try:
        yield
    except MemoryError as exc:
        raise MemoryExhausted("Memory ran out.", "Close other programs and try again.") from exc
