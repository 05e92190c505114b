"""A typed client of the service.

with Client("http://localhost:8000", key) as client:
    job = client.submit(Path("song.mp3"), stems="vocals,no_vocals")
    job = client.wait(job.id)
    client.download(job.id, Path("out"))
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2 as httpx

from api.client_admin import Admin
from api.client_answers import checked, patiently
from api.client_batches import Batches
from api.client_uploads import RESUMABLE_BYTES, send
from api.schemas import (
    EstimateBody,
    EstimateRequest,
    HealthBody,
    JobBody,
    JobOptions,
    JobPage,
    ModelBody,
    SimilarBody,
    TicketBody,
    TicketRequest,
    UsageBody,
)
from pipeline.manifest import Manifest

FINAL = frozenset({"succeeded", "failed", "cancelled", "expired", "erased"})
_POLL_S = 1.0


class Client:
    """Talks to one service with one key. A context manager.

    Every method raises `ServiceProblem` where the service refuses, and `httpx.TransportError` where it is not
    to be reached.

    Attributes:
        admin: what needs the scope admin.
        batches: many recordings as one.

    Args:
        url: of the service.
        key: an API key.
        timeout_s: seconds without a byte after which a request fails.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0) -> None:
        self._http = httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=timeout_s)
        self.admin = Admin(self._http)
        self.batches = Batches(self._http)

    def submit(
        self,
        recording: Path,
        *,
        idempotency_key: str | None = None,
        resumable: bool | None = None,
        **options: Any,
    ) -> JobBody:
        """Submit a recording.

        Args:
            recording: audio or video file; streamed, never held in memory.
            idempotency_key: makes it safe to send the same request again; a resumable one always is.
            resumable: survive broken connections, at the cost of a few more requests; None: when it is large.
            **options: fields of `api.schemas.JobOptions`, lists as comma-separated text; `metadata`: a dict.

        Raises:
            ServiceProblem: the service refused it.
            httpx.TransportError: it could not be reached.
        """
        if recording.stat().st_size >= RESUMABLE_BYTES if resumable is None else resumable:
            return self._submit_upload(self.send(recording), options)
        fields = {
            k: json.dumps(v) if isinstance(v, dict) else str(v) for k, v in options.items() if v is not None
        }
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        with recording.open("rb") as file:
            answer = self._http.post(
                "/process", data=fields, files={"file": (recording.name, file)}, headers=headers
            )
        return JobBody.model_validate(checked(answer).json())

    def send(self, recording: Path) -> str:
        """Send a recording that is to become a job later; it survives broken connections.

        Returns:
            Its `upload_id`.
        """
        return send(self._http, recording)

    def _submit_upload(self, upload_id: str, options: dict[str, Any]) -> JobBody:
        said = {k: v for k, v in options.items() if v is not None} | {"upload_id": upload_id}
        # An upload becomes one job. Where it is sent once more, its equal bytes find that job.
        headers = {"Idempotency-Key": upload_id}
        answer = patiently(lambda: self._http.post("/process", json=said, headers=headers))
        return JobBody.model_validate(answer.json())

    def job(self, job_id: str) -> JobBody:
        """Look a job up."""
        return JobBody.model_validate(checked(self._http.get(f"/jobs/{job_id}")).json())

    def jobs(self, **filters: Any) -> Iterator[JobBody]:
        """All jobs, newest first; `status`, `q`, `since`, `until` narrow them."""
        cursor: str | None = None
        while True:
            page = self.page(cursor, **filters)
            yield from page.jobs
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def page(self, cursor: str | None = None, **filters: Any) -> JobPage:
        """One page of `jobs`; `limit` says how long.

        Args:
            cursor: `next_cursor` of the page before.
            **filters: as of `jobs`.
        """
        asked = {**filters, **({"cursor": cursor} if cursor else {})}
        return JobPage.model_validate(checked(self._http.get("/jobs", params=asked)).json())

    def wait(self, job_id: str, listener: Callable[[JobBody], None] | None = None) -> JobBody:
        """Wait until a job has ended.

        Args:
            job_id: of the job.
            listener: called with every look at it.
        """
        while True:
            job = self.job(job_id)
            if listener is not None:
                listener(job)
            if job.status in FINAL:
                return job
            time.sleep(_POLL_S)

    def manifest(self, job_id: str) -> Manifest:
        """The manifest of a finished job."""
        return Manifest.model_validate_json(checked(self._http.get(f"/jobs/{job_id}/manifest")).content)

    def download(self, job_id: str, folder: Path) -> Path:
        """Fetch everything that a job published.

        Returns:
            ``folder/<job_id>``, laid out as on the service.
        """
        target = folder / job_id
        target.mkdir(parents=True, exist_ok=True)
        archive = target / ".archive.zip"
        with self._http.stream("GET", f"/jobs/{job_id}/archive") as answer:
            if answer.is_error:
                answer.read()
            checked(answer)
            with archive.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        with zipfile.ZipFile(archive) as files:
            files.extractall(target)  # extractall keeps every member inside of the folder
        archive.unlink()
        return target

    def cancel(self, job_id: str) -> JobBody:
        """Stop a job."""
        return JobBody.model_validate(checked(self._http.post(f"/jobs/{job_id}/cancel")).json())

    def retry(self, job_id: str) -> JobBody:
        """Queue a failed or cancelled job again."""
        return JobBody.model_validate(checked(self._http.post(f"/jobs/{job_id}/retry")).json())

    def delete(self, job_id: str) -> None:
        """Delete a job and all that it published."""
        checked(self._http.delete(f"/jobs/{job_id}"))

    def models(self) -> list[ModelBody]:
        """The models that a job may ask for."""
        return [ModelBody.model_validate(model) for model in checked(self._http.get("/models")).json()]

    def estimate(self, duration_s: float, options: JobOptions) -> EstimateBody:
        """What a job would take, before it is submitted.

        Args:
            duration_s: of the recording.
            options: of the job.
        """
        wanted = EstimateRequest(duration_s=duration_s, options=options)
        answer = self._http.post("/estimate", json=wanted.model_dump(exclude_none=True))
        return EstimateBody.model_validate(checked(answer).json())

    def usage(self) -> UsageBody:
        """Whose key it is, what it may do, and what was used."""
        return UsageBody.model_validate(checked(self._http.get("/usage")).json())

    def ticket(self, path: str, expires_s: int | None = None) -> TicketBody:
        """A short-lived permission for a browser.

        Args:
            path: what it opens, as `api.schemas.TicketRequest` says.
            expires_s: seconds; None: the service's default.
        """
        wanted = TicketRequest(path=path, expires_s=expires_s)
        answer = self._http.post("/tickets", json=wanted.model_dump(exclude_none=True))
        return TicketBody.model_validate(checked(answer).json())

    def spectrogram(self, job_id: str) -> bytes:
        """A picture of the recording's spectrum over time, as PNG."""
        return checked(self._http.get(f"/jobs/{job_id}/spectrogram")).content

    def similar(self, job_id: str, limit: int = 10) -> SimilarBody:
        """The caller's jobs that sound most like one of them."""
        answer = self._http.get(f"/jobs/{job_id}/similar", params={"limit": limit})
        return SimilarBody.model_validate(checked(answer).json())

    def health(self) -> HealthBody:
        """How the service is."""
        return HealthBody.model_validate(checked(self._http.get("/health")).json())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
