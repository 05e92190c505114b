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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2 as httpx

from api.schemas import HealthBody, JobBody, JobPage, ModelBody
from pipeline.manifest import Manifest

FINAL = frozenset({"succeeded", "failed", "cancelled", "expired", "erased"})
_POLL_S = 1.0


@dataclass
class ServiceProblem(Exception):
    """What the service answered instead.

    Attributes:
        status: HTTP's.
        code: stable identifier.
        detail: what is wrong, and what to do.
        request_id: for the operator.
    """

    status: int
    code: str
    detail: str
    request_id: str | None = None

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})"


class Client:
    """Talks to one service with one key. A context manager.

    Args:
        url: of the service.
        key: an API key.
        timeout_s: seconds without a byte after which a request fails.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0) -> None:
        self._http = httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=timeout_s)

    def submit(self, recording: Path, *, idempotency_key: str | None = None, **options: Any) -> JobBody:
        """Submit a recording.

        Args:
            recording: audio or video file; streamed, never held in memory.
            idempotency_key: makes it safe to send the same request again.
            **options: fields of `api.schemas.JobOptions`, lists as comma-separated text; `metadata`: a dict.

        Raises:
            ServiceProblem: the service refused it.
        """
        fields = {
            k: json.dumps(v) if isinstance(v, dict) else str(v) for k, v in options.items() if v is not None
        }
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        with recording.open("rb") as file:
            answer = self._http.post(
                "/process", data=fields, files={"file": (recording.name, file)}, headers=headers
            )
        return JobBody.model_validate(_checked(answer).json())

    def job(self, job_id: str) -> JobBody:
        """Look a job up."""
        return JobBody.model_validate(_checked(self._http.get(f"/jobs/{job_id}")).json())

    def jobs(self, **filters: Any) -> Iterator[JobBody]:
        """All jobs, newest first; `status`, `q`, `since`, `until` narrow them."""
        cursor: str | None = None
        while True:
            asked = {**filters, **({"cursor": cursor} if cursor else {})}
            page = JobPage.model_validate(_checked(self._http.get("/jobs", params=asked)).json())
            yield from page.jobs
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

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
        return Manifest.model_validate_json(_checked(self._http.get(f"/jobs/{job_id}/manifest")).content)

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
            _checked(answer)
            with archive.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        with zipfile.ZipFile(archive) as files:
            files.extractall(target)  # extractall keeps every member inside of the folder
        archive.unlink()
        return target

    def cancel(self, job_id: str) -> JobBody:
        """Stop a job."""
        return JobBody.model_validate(_checked(self._http.post(f"/jobs/{job_id}/cancel")).json())

    def retry(self, job_id: str) -> JobBody:
        """Queue a failed or cancelled job again."""
        return JobBody.model_validate(_checked(self._http.post(f"/jobs/{job_id}/retry")).json())

    def delete(self, job_id: str) -> None:
        """Delete a job and all that it published."""
        _checked(self._http.delete(f"/jobs/{job_id}"))

    def models(self) -> list[ModelBody]:
        """The models that a job may ask for."""
        return [ModelBody.model_validate(model) for model in _checked(self._http.get("/models")).json()]

    def health(self) -> HealthBody:
        """How the service is."""
        return HealthBody.model_validate(_checked(self._http.get("/health")).json())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_error:
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    hint = problem.get("hint") or ""
    detail = f"{problem.get('detail') or f'HTTP {answer.status_code}'} {hint}".strip()
    raise ServiceProblem(
        answer.status_code, problem.get("code", "unknown"), detail, problem.get("request_id")
    )
