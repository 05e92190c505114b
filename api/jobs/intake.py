"""From an upload on disk to an accepted job."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api.errors import DatabaseUnavailable, InvalidRequest, StorageUnavailable
from api.jobs.folders import Folders
from api.jobs.model import Job, JobStatus
from api.jobs.store import JobStore
from pipeline.codec.formats import check_channels, choose_formats
from pipeline.codec.probe import Probe, probe
from pipeline.codec.source import open_source
from pipeline.config import PipelineConfig
from pipeline.errors import PipelineError
from pipeline.estimators.registry import select
from pipeline.exports.registry import choose_exports
from pipeline.scratch import disk_errors, sync_folder
from pipeline.software import VERSION
from pipeline.stems import choose_stems
from pipeline.weights.registry import check_licence, get_model_spec


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known of a recording before it is decoded.

    Attributes:
        sha256: hash of its bytes.
        bytes: its size.
        probe: what its header claims.
    """

    sha256: str
    bytes: int
    probe: Probe


def job_config(defaults: PipelineConfig, options: Mapping[str, Any]) -> PipelineConfig:
    """Combine the service's defaults with what a user chose, and refuse what cannot be done.

    Args:
        defaults: model, device, limits and weights of the service.
        options: fields of `api.schemas.JobOptions` that the user gave.

    Raises:
        InvalidRequest: a value is outside its range.
        ConfigError: one of its leaves: no such model, stem, format …, or a licence is refused.
    """
    chosen = {key: value for key, value in options.items() if value is not None}
    try:
        config = PipelineConfig.model_validate({**dict(defaults), **chosen})
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"The option {where} has a bad value: {first['msg']}.", "See /docs.") from exc
    spec = get_model_spec(config.model)
    check_licence(spec, config.commercial_only or defaults.commercial_only)
    choose_stems(config.stems, spec.name, spec.stems)
    choose_formats(config.formats)
    select(config.estimators)
    choose_exports(config.exports)
    return config


def examine(path: Path, filename: str, config: PipelineConfig, sha256: str | None = None) -> Examined:
    """Look at an upload, so that what is no audio is refused at once.

    Args:
        path: where it lies.
        filename: for messages.
        config: what is to be done with it.
        sha256: hash of its bytes, where it is known already.

    Raises:
        InputError: one of its leaves.
        ConfigError: a format cannot hold the recording's channels.
    """
    with open_source(path, config.limits, filename, sha256) as source:
        probed = probe(source, config.limits, accept_damaged=config.accept_damaged)
        check_channels(choose_formats(config.formats), 2 if config.channels == "stereo" else probed.channels)
        return Examined(source.sha256, source.size, probed)


def content_key(owner: str, sha256: str, options: Mapping[str, Any], subject: str | None = None) -> str:
    """Equal for one owner's requests that give the same result: same audio, options and version.

    Nor do two subjects share a job: what is erased of one stays with the other.
    """
    canonical = json.dumps(dict(options), sort_keys=True, separators=(",", ":"))
    said = [owner, sha256, canonical, VERSION, *([] if subject is None else [subject])]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def new_job(
    job_id: str,
    owner: str,
    filename: str,
    examined: Examined,
    options: Mapping[str, Any],
    *,
    metadata: Mapping[str, Any],
    priority: int,
    webhook_url: str | None,
    max_attempts: int,
    subject: str | None = None,
    retention_days: int | None = None,
    traceparent: str | None = None,
) -> Job:
    """A job for an examined upload, not yet accepted; its input is to lie at `input_path`."""
    given = {key: value for key, value in options.items() if value is not None}
    return Job(
        id=job_id,
        owner=owner,
        status=JobStatus.QUEUED,
        filename=filename,
        input_path=f"{job_id}/input",
        input_sha256=examined.sha256,
        input_bytes=examined.bytes,
        created_at=datetime.now(UTC),
        options=given,
        metadata=dict(metadata),
        priority=priority,
        webhook_url=webhook_url,
        content_key=content_key(owner, examined.sha256, given, subject),
        subject=subject,
        retention_days=retention_days,
        traceparent=traceparent,
        max_attempts=max_attempts,
        duration_s=examined.probe.claimed_s,
    )


def forget_input(store: JobStore, folders: Folders, job_id: str) -> None:
    """Remove the recording of a job that was not accepted after all; what cannot be is swept later.

    Nothing is removed where the job is there, or where nobody can say: a database may have accepted it and
    died before it said so, and a slow request may have been sent again and answered meanwhile.
    """
    try:
        if store.get(job_id) is not None:
            return
    except PipelineError:
        return
    shutil.rmtree(folders.upload(job_id), ignore_errors=True)
    if folders.keys is not None:
        with suppress(DatabaseUnavailable):
            folders.keys.destroy(job_id)
    if folders.shared is not None:
        with suppress(StorageUnavailable):
            folders.shared.forget(job_id)


def keep_input(upload: Path, folders: Folders, job: Job) -> None:
    """Move an upload to its place, durably, before its job is accepted; encrypted, where jobs have keys.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
        DatabaseUnavailable: the key could not be kept.
        KeyCommandFailed: it could not be wrapped.
    """
    target = folders.stored_input(job.id)
    if folders.keys is not None:
        folders.keys.make(job.id)
    with disk_errors("the upload"):
        target.path.parent.mkdir(parents=True, exist_ok=True)
        target.take(upload)
        sync_folder(folders.uploads)
