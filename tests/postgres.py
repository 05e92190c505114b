"""A real PostgreSQL for tests: one server a run, a database of its own for each test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import trustme

from api.database import open_database
from api.migrate import upgrade
from tests.service import free_port

_START_S = 60
_USER = "pipeline"


class Postgres:
    """A PostgreSQL server of its own. A context manager.

    It runs as another user where this one is root, whom it refuses to serve.

    Args:
        durable: whether what it has committed survives its death, as in production. Tests that kill nothing
            are faster without.
        authority: of its certificate, where it speaks TLS.
    """

    def __init__(self, *, durable: bool = False, authority: trustme.CA | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pipeline-postgres-"))
        self.port = free_port()
        self._durable, self._authority = durable, authority
        self._bin = _programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._made = False
        self._shape = ""

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        """The URL of one of its databases, for DATABASE_URL."""
        return f"postgresql://{_USER}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, again if need be, and wait until it answers."""
        if not self._made:
            self._initialise()
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
                   "max_connections": 200, "log_min_messages": "fatal"}  # fmt: skip
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        if self._authority is not None:
            options |= {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "said.log").open("ab") as said:
            self._process = subprocess.Popen(
                [*_as_server(), self._bin / "postgres", "-D", self.folder / "data", *arguments],
                cwd=self.folder,
                stdout=said,
                stderr=said,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "said.log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once and uncleanly, as a power cut does: what was not durable is lost."""
        assert self._process is not None
        # SIGKILL would leave its children behind for a while, and the next start would refuse.
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def stop(self) -> None:
        """End it and remove all that it kept."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, name: str, template: str = "template1") -> str:
        """Make a database.

        Returns:
            Its URL.
        """
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as the superuser, outside any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def empty(self, name: str) -> bool:
        """Empty all tables of a database. False where a test has changed the tables themselves."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            (said,) = connection.execute(_SHAPE).fetchone() or ("",)
            if self._shape in ("", said):
                self._shape = said
                connection.execute(_EMPTY)
            return self._shape == said

    def _initialise(self) -> None:
        if _as_server():
            shutil.chown(self.folder, *_server_user())
        options = ["--username", _USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]
        command = [*_as_server(), self._bin / "initdb", "-D", self.folder / "data", *options]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        if self._authority is not None:
            self._certify(self._authority)
        self._made = True

    def _certify(self, authority: trustme.CA) -> None:
        own = authority.issue_cert("127.0.0.1")
        for name, pem in (("server.crt", own.cert_chain_pems[0]), ("server.key", own.private_key_pem)):
            path = self.folder / "data" / name
            path.write_bytes(pem.bytes())
            path.chmod(0o600)
            if _as_server():
                shutil.chown(path, *_server_user())

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _programs() -> Path:
    """Where Debian keeps the server's programs: not on PATH, and by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    assert on_path, "there is no PostgreSQL here: scripts/setup.sh tests"
    return Path(on_path).parent


def _server_user() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise AssertionError("there is no user for PostgreSQL")


def _as_server() -> list[str]:
    """What runs a program as the server's user, and ends it with these tests."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "INT"]
    uid, gid = _server_user()
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--pdeathsig", "INT"]


_running: list[Postgres] = []
_clean: list[str] = []
"""Databases of the running server that have their tables and nothing in them."""


def shared() -> Postgres:
    """The server of this run; it starts when it is first asked for."""
    if not _running:
        server = Postgres()
        server.start()
        _running.append(server)
    return _running[0]


def stop_shared() -> None:
    """End the server of this run, if there is one."""
    _clean.clear()
    while _running:
        _running.pop().stop()


@contextmanager
def database(*, migrated: bool = True) -> Iterator[str]:
    """A database that nobody else uses.

    Args:
        migrated: whether it has its tables.

    Yields:
        Its URL.
    """
    server = shared()
    if migrated and _clean:
        name = _clean.pop()
    else:
        name = f"test_{uuid.uuid4().hex}"
        server.create(name)
        if migrated:
            engine = open_database(server.url(name))
            upgrade(engine)
            engine.dispose()
            server.empty(name)  # Notes what its tables look like.
    try:
        yield server.url(name)
    finally:
        # To empty one takes a tenth of what it takes to make one.
        if migrated and server.empty(name):
            _clean.append(name)
        else:
            server.drop(name)


_SHAPE = """
SELECT md5(string_agg(table_name || ' ' || column_name, ',' ORDER BY table_name, column_name))
FROM information_schema.columns WHERE table_schema = 'public'
"""
_EMPTY = """
DO $$ DECLARE said text; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    SET LOCAL session_replication_role = replica;
    SELECT string_agg(format('DELETE FROM %I', tablename), '; ') INTO said FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version';
    EXECUTE said;
    DROP FUNCTION IF EXISTS audit_log_refuse CASCADE;
    PERFORM setval(format('%I', sequencename)::regclass, 1, false) FROM pg_sequences
        WHERE schemaname = 'public' AND last_value IS NOT NULL;
END $$
"""
