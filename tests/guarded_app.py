"""A small application behind all of the service's guards, for tests of the guards alone."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx2 as httpx
from fastapi import Body, FastAPI, Request
from sqlalchemy import Engine
from starlette.responses import StreamingResponse

from api.audit import Audit
from api.database import metadata, open_database
from api.guards import install_guards
from api.migrate import declare
from api.problems import Problem
from api.security.keys import KeyStore
from api.security.principal import ALL_SCOPES, Scope
from api.security.secret import load_secret
from api.security.tickets import Tickets
from api.settings import Settings

JOB = "/jobs/5f0c2a52-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Guarded:
    """The application and what guards it.

    Attributes:
        app: echoes.
        keys: its API keys.
        tickets: its tickets.
        audit: its audit log.
        key: an API key with every scope.
        key_id: its id.
        engine: of its database.
        reached: names of the routes that requests got as far as.
    """

    app: FastAPI
    keys: KeyStore
    tickets: Tickets
    audit: Audit
    key: str
    key_id: str
    engine: Engine
    reached: list[str]

    def new_key(self, *scopes: Scope) -> str:
        """Another key."""
        return self.keys.create("tester", scopes=scopes)[1]


def open_tables(folder: Path) -> Engine:
    """A database with every table, in a folder."""
    declare()
    engine = open_database(f"sqlite:///{folder / 'pipeline.db'}")
    metadata.create_all(engine)
    return engine


def guarded_app(folder: Path, **settings: Any) -> Guarded:
    """Make an application.

    Args:
        folder: of its data.
        settings: that differ from the defaults.
    """
    chosen = Settings(**{"data_dir": folder, "rate_refused": None, **settings})
    engine = open_tables(folder)
    secret = load_secret(chosen)
    keys, tickets, audit = KeyStore(engine, secret), Tickets(secret), Audit(engine, secret)
    made, key = keys.create("tester", scopes=ALL_SCOPES)
    app, reached = FastAPI(), list[str]()
    _add_routes(app, reached)
    install_guards(app, chosen, keys=keys, tickets=tickets, audit=audit)
    return Guarded(app, keys, tickets, audit, key, made.id, engine, reached)


def ask(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    """Send one request to an application."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return anyio.run(go)


def checked(response: httpx.Response) -> dict[str, Any]:
    """The problem that a response holds, checked against the schema and its own headers."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    Problem.model_validate(body, strict=True)
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["x-request-id"] != ""
    assert body["type"] == f"urn:audio-pipeline:problem:{body['code']}"
    assert body["title"] and body["detail"]
    return body


def issue(guarded: Guarded, path: str, method: str = "GET", seconds: int = 60) -> str:
    """A ticket of an application's first key."""
    principal = guarded.keys.principal(guarded.key_id)
    return guarded.tickets.issue(principal, method, path, datetime.now(UTC) + timedelta(seconds=seconds))


def run_together(what: Callable[[], None], times: int) -> None:
    """Run something in several threads that begin at once."""
    together = threading.Barrier(times)

    def run() -> None:
        together.wait()
        what()

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _add_routes(app: FastAPI, reached: list[str]) -> None:
    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/process", status_code=202)
    async def process(request: Request) -> dict[str, int]:
        reached.append("process")
        return {"bytes": sum([len(part) async for part in request.stream()])}

    @app.post("/estimate")
    def estimate(size: Annotated[int, Body(embed=True, ge=0)]) -> dict[str, int]:
        reached.append("estimate")
        return {"size": size}

    @app.get("/jobs")
    def jobs(request: Request) -> dict[str, str]:
        reached.append("jobs")
        principal = request.scope["state"]["principal"]
        return {"key_id": principal.key_id, "owner": principal.owner}

    @app.get("/jobs/{job_id}/stems/{name}")
    def stem(job_id: str, name: str) -> dict[str, str]:
        reached.append("stem")
        return {"job_id": job_id, "name": name}

    @app.delete("/jobs/{job_id}")
    def delete(job_id: str) -> dict[str, str]:
        reached.append("delete")
        return {"job_id": job_id}

    @app.get("/models")
    def models() -> None:
        raise ZeroDivisionError("the canary is in the cage")

    @app.get("/usage")
    async def usage() -> StreamingResponse:
        async def half() -> AsyncIterator[bytes]:
            yield b"half"
            raise ZeroDivisionError("the canary is in the cage")

        return StreamingResponse(half())

    @app.get("/unlisted")
    def unlisted() -> str:
        reached.append("unlisted")
        return "nobody should see this"
