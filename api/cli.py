"""The service's command line: serve, work, submit; keys, audit, notices, backups and erasure."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import typer

from api import (
    cli_audit,
    cli_backup,
    cli_erasure,
    cli_keys,
    cli_migrate,
    cli_notify,
    cli_report,
    cli_submit,
    cli_upgrade,
    cli_worker,
)
from api.cli_services import service_settings, told

app = typer.Typer(
    help="Serve the pipeline over HTTP, and look after the service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_notify.app, name="notify")
app.add_typer(cli_report.app, name="report")
cli_backup.register(app)
cli_erasure.register(app)

EXIT_FAILED = 1


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

        settings = service_settings("api")
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


app.command("worker")(cli_worker.worker)
app.command()(cli_upgrade.upgrade)
app.command("migrate-store")(cli_migrate.migrate_store)
app.command()(cli_submit.submit)
