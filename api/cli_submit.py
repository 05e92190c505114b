"""The command ``submit``: one recording, or many as a batch."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipeline.errors import PipelineError

EXIT_FAILED = 1
_FULL_S: Final = 5.0
"""Seconds until another look whether there is room for one more upload."""
_PLAYLISTS: Final = {
    ".m3u": "audio/mpegurl",
    ".m3u8": "audio/mpegurl",
    ".pls": "audio/x-scpls",
    ".xspf": "application/xspf+xml",
}


def submit(
    recordings: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, patterns, playlists (M3U, PLS, XSPF), tables (CSV) or https URLs."
        ),
    ],
    url: Annotated[
        str, typer.Option(envvar="PIPELINE_URL", help="Of the service.")
    ] = "http://localhost:8000",
    key: Annotated[str, typer.Option(envvar="API_KEY", help="API key.")] = "",
    model: Annotated[str | None, typer.Option(help="Default: the service's.")] = None,
    stems: Annotated[str | None, typer.Option(help="Comma-separated.")] = None,
    formats: Annotated[str | None, typer.Option("--format", help="Comma-separated.")] = None,
    estimators: Annotated[str | None, typer.Option(help="all, none, or a comma-separated list.")] = None,
    exports: Annotated[str | None, typer.Option(help="Comma-separated: csv,midi …")] = None,
    resumable: Annotated[
        bool | None,
        typer.Option(help="Go on after a broken connection. Default: for 32 MB and more, and for several."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the job, or all of them, have ended.")] = False,
    download: Annotated[Path | None, typer.Option(help="Fetch the results into this folder.")] = None,
) -> None:
    """Submit a recording to a service, or many as one batch."""
    from api.client import Client

    options = {
        "model": model,
        "stems": stems,
        "formats": formats,
        "estimators": None if estimators == "all" else estimators,
        "exports": exports,
    }
    with _told(url), Client(url, key) as client:
        items = _items(recordings)
        only = items[0].get("file") if len(items) == 1 else None
        if isinstance(only, Path):
            ended = _one(client, only, resumable, options, wait=wait, download=download)
        else:
            ended = _many(client, items, options, wait=wait, download=download)
    if not ended:
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _told(url: str) -> Iterator[None]:
    import httpx2 as httpx

    from api.client_answers import ServiceProblem

    try:
        yield
        return
    except OSError as exc:  # A recording, or the folder of the result.
        said = f"{exc.filename or 'file'}: {exc.strerror}"
    except PipelineError as exc:
        said = f"{exc.message} {exc.hint}".strip()
    except ServiceProblem as exc:
        said = str(exc)
    except httpx.TransportError:
        said = f"{url} does not answer. Is the service running?"
    typer.echo(f"error: {said}", err=True)
    raise typer.Exit(EXIT_FAILED)


def _items(given: list[str]) -> list[dict[str, Any]]:
    """What was named, one item for each recording: its fields, or ``file`` where it lies on this machine.

    Raises:
        PipelineError: there is nothing to be found, or a list is none.
        OSError: a list cannot be read.
    """
    from api.batches.playlists import PLAYLISTS, read_csv
    from api.schemas_batches import BatchItem
    from pipeline.recordings import expanded

    found: list[dict[str, Any]] = []
    for name in given:
        path = Path(name)
        if _is_url(name):
            found.append({"url": name})
        elif path.suffix.lower() in _PLAYLISTS and path.is_file():
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            for entry in PLAYLISTS[_PLAYLISTS[path.suffix.lower()]](text):
                found.append({"url": entry} if _is_url(entry) else {"file": path.parent / entry})
        elif path.suffix.lower() == ".csv" and path.is_file():
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            for row in read_csv(text, [*BatchItem.model_fields, "file"]):
                found.append({**row, "file": path.parent / row["file"]} if "file" in row else row)
        else:
            found += [{"file": one} for one in expanded([path])]
    return found


def _is_url(text: str) -> bool:
    return text.lower().startswith(("https://", "http://"))


def _one(
    client: Any, recording: Path, resumable: bool | None, options: dict[str, Any], *, wait: bool,
    download: Path | None,
) -> bool:  # fmt: skip
    job = client.submit(recording, resumable=resumable, **options)
    typer.echo(job.id)
    if wait or download is not None:
        job = client.wait(job.id)
        typer.echo(job.status, err=True)
    if job.status == "failed" and job.error is not None:
        typer.echo(f"error: {job.error.message} {job.error.hint} ({job.error.code})", err=True)
        return False
    if download is not None:
        typer.echo(client.download(job.id, download))
    return True


def _many(
    client: Any, items: list[dict[str, Any]], options: dict[str, Any], *, wait: bool, download: Path | None
) -> bool:
    """A batch that grows as the files arrive: the first job runs while the second file is on its way."""
    batch = None
    elsewhere = [item for item in items if "file" not in item]
    here = [item for item in items if "file" in item]
    if elsewhere:
        batch = client.batches.submit(elsewhere, idempotency_key=str(uuid.uuid4()), **options)
        typer.echo(batch.id)
    for item in here:
        upload_id = _sent(client, item["file"])
        fields = {name: value for name, value in item.items() if name != "file"} | {"upload_id": upload_id}
        if batch is None:
            batch = client.batches.submit([fields], idempotency_key=upload_id, **options)
            typer.echo(batch.id)
        else:
            client.batches.add(batch.id, [fields], idempotency_key=upload_id, **options)
    assert batch is not None, "there is an item at least"
    batch = client.batches.wait(batch.id) if wait or download is not None else client.batches.get(batch.id)
    for item in batch.items:
        why = f"  {item.error.message} ({item.error.code})" if item.error is not None else ""
        typer.echo(f"{item.status:10} {item.job_id or '-':36} {item.source}{why}", err=True)
    if download is not None and batch.counts.get("succeeded"):
        download.mkdir(parents=True, exist_ok=True)
        typer.echo(client.batches.archive(batch.id, download / f"batch-{batch.id}.zip"))
    return not any(batch.counts.get(status) for status in ("refused", "failed"))


def _sent(client: Any, recording: Path) -> str:
    """Send a file; where as many wait as may, when there is room."""
    from api.client_answers import ServiceProblem

    while True:
        try:
            upload_id: str = client.send(recording)
        except ServiceProblem as problem:
            if problem.code not in {"quota_exceeded", "rate_limited"}:
                raise
            time.sleep(_FULL_S)
        else:
            return upload_id
