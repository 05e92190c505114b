"""The service's command line: serve, work, submit; keys, audit, backups and erasure."""

from __future__ import annotations

import os
import signal
import socket
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from api import cli_audit, cli_backup, cli_erasure, cli_keys, cli_report
from api.cli_services import told
from api.settings import Settings
from api.settings_load import SECRETS, load_settings
from pipeline.scratch import disk_errors

app = typer.Typer(
    help="Serve the pipeline over HTTP, and look after the service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_report.app, name="report")
cli_backup.register(app)
cli_erasure.register(app)

EXIT_FAILED = 1


def _settings(log_file: str | None) -> Settings:
    """Read the settings, and log as they say: to standard error, and to a file of this name."""
    from api.telemetry import configure_logging

    settings = load_settings(os.environ, Path(".env"))
    for folder in (settings.data_dir, settings.logs_dir):
        with disk_errors(f"the folder {str(folder)!r}"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = (getattr(settings, name) for name in SECRETS)
    configure_logging(
        settings.logging_level,
        style=settings.log_format,
        secrets=[secret.get_secret_value() for secret in hidden if secret is not None],
        folder=settings.logs_dir if log_file else None,
        name=log_file or "worker",
    )
    return settings


def _stop_at_hangup() -> None:
    """Let a terminal that closes stop the service in good order; one under nohup stays."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


@app.command()
def serve() -> None:
    """Serve the API, with workers beside it. Settings come from the environment and .env."""
    with told():
        import uvicorn

        from api.app import create_app
        from api.connections import Connection, listen, raise_file_limit

        settings = _settings("api")
        raise_file_limit()
        # Before anything else: with a port that is taken no key is made, and none is shown in vain.
        door = listen(settings.api_host, settings.api_port)
        application = create_app(settings)
        typer.echo(f"API      {_shown(settings.api_host, door.getsockname()[1])}      (docs: /docs)")
        if application.state.first_key:
            typer.echo(f"API key  {application.state.first_key}      (shown this once: keep it)")
        _stop_at_hangup()
        config = uvicorn.Config(
            application,
            http=Connection,
            root_path=settings.root_path,
            log_config=None,
            access_log=False,
            # Whom to believe about addresses is decided by our own middleware.
            proxy_headers=False,
            server_header=False,
            # Open event streams must not hold up a stop for longer than the workers may take.
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(config)
        with suppress(KeyboardInterrupt):  # It has stopped by then.
            server.run(sockets=[door])
        if not server.started:
            raise typer.Exit(EXIT_FAILED)


def _shown(host: str, port: int) -> str:
    """The address that a person on this machine uses."""
    if host in ("0.0.0.0", "::", "127.0.0.1"):  # noqa: S104
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@app.command()
def worker(
    parent: Annotated[int | None, typer.Option(help="Process id to die with.", hidden=True)] = None,
    pulse: Annotated[int | None, typer.Option(help="Open file to beat on.", hidden=True)] = None,
) -> None:
    """Run jobs, one after another."""
    from api.jobs.supervisor import WORKER_NICENESS, die_with_parent

    if parent is not None:
        die_with_parent(parent)
        # What the API answers in milliseconds goes before what takes minutes.
        os.nice(WORKER_NICENESS)
    with told():
        from api.app import prepare
        from api.audit import Audit
        from api.database import open_database
        from api.jobs.capacity import memory_allows, threads_a_worker
        from api.jobs.heartbeat import WorkerConfig
        from api.jobs.model import Job
        from api.jobs.pulse import beating
        from api.jobs.results import manifest_sum
        from api.jobs.separations import make_room
        from api.jobs.speed_store import SpeedStore
        from api.jobs.sql_store import SqlJobStore
        from api.jobs.worker import warm_up, work
        from api.jobs.workers import Presence, WorkerRegister
        from api.security.secret import load_secret
        from api.settings import MIB, pipeline_defaults
        from pipeline.parallel import usable_cores
        from pipeline.separators.registry import WarmModel
        from pipeline.weights.registry import get_model_spec

        settings = _settings(None)  # Standard error is the supervisor's.
        # A supervisor has made the database: were it gone by now, a new one would hide that.
        engine, folders = prepare(settings, create=parent is None)
        stop = threading.Event()

        def end(_signal: int, _frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        # Workers with more threads than cores wait for one another at every layer.
        threads = settings.threads or threads_a_worker(usable_cores(), settings.workers)
        config = WorkerConfig(
            name=f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            pipeline=pipeline_defaults(settings).model_copy(update={"threads": threads}),
            lease_s=settings.lease_s,
            grace_s=settings.grace_s,
            model_ttl_s=settings.model_ttl_s,
            stage_warn_s=settings.stage_warn_s,
            job_timeout_s=settings.job_timeout_s,
            job_timeout_factor=settings.job_timeout_factor,
            separation_cache_bytes=settings.separation_cache_mb * MIB,
        )
        spec, reserve = get_model_spec(settings.model), settings.memory_reserve_mb * MIB
        audit = Audit(engine, load_secret(settings))

        def record(job: Job) -> None:
            said = job.error.code if job.error else manifest_sum(folders, job.id)
            audit.record(
                "job.end",
                user=job.owner,
                output=said,
                status=job.status.value,
                job_id=job.id,
            )

        def may_begin() -> bool:
            # On a full disk jobs wait rather than fail.
            roomy = make_room(folders, folders.outputs, settings.disk_reserve_mb * MIB)
            return roomy and memory_allows(spec, reserve)

        # A database of its own: the worker's writes wait for nothing that the register does.
        register = WorkerRegister(open_database(settings.database_url.get_secret_value(), create=False))
        warm = WarmModel()
        with Presence(register, config.name, settings.device, lambda: warm.name) as presence:
            if memory_allows(spec, reserve):
                warm_up(warm, config.pipeline)
            store, beat = SqlJobStore(engine), beating(pulse)
            work(
                store,
                folders,
                config,
                stop,
                may_begin,
                record,
                presence.note,
                warm,
                beat,
                speeds=SpeedStore(engine),
            )


@app.command()
def submit(
    recording: Annotated[Path, typer.Argument(help="Audio or video file.")],
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
        bool | None, typer.Option(help="Go on after a broken connection. Default: for 32 MB and more.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the job has ended.")] = False,
    download: Annotated[Path | None, typer.Option(help="Fetch the result into this folder.")] = None,
) -> None:
    """Submit a recording to a service."""
    import httpx2 as httpx

    from api.client import Client
    from api.client_answers import ServiceProblem

    try:
        with Client(url, key) as client:
            job = client.submit(
                recording,
                resumable=resumable,
                model=model,
                stems=stems,
                formats=formats,
                estimators=estimators,
                exports=exports,
            )
            typer.echo(job.id)
            if wait or download is not None:
                job = client.wait(job.id)
                typer.echo(job.status, err=True)
            if job.status == "failed" and job.error is not None:
                typer.echo(f"error: {job.error.message} {job.error.hint} ({job.error.code})", err=True)
                raise typer.Exit(EXIT_FAILED)
            if download is not None:
                typer.echo(client.download(job.id, download))
    except OSError as exc:  # The recording, or the folder of the result.
        typer.echo(f"error: {exc.filename or 'file'}: {exc.strerror}", err=True)
        raise typer.Exit(EXIT_FAILED) from exc
    except (ServiceProblem, httpx.TransportError) as exc:
        said = exc if isinstance(exc, ServiceProblem) else f"{url} does not answer. Is the service running?"
        typer.echo(f"error: {said}", err=True)
        raise typer.Exit(EXIT_FAILED) from exc
