"""The installation of deploy/kubernetes/overlays/scaled as processes of this machine, with its settings."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx

from tests.nginx import Nginx
from tests.postgres import Postgres
from tests.redis_server import Redis
from tests.rendered import named, settings
from tests.service import KEY, ROOT, free_port

_START_S = 240


class Topology:
    """PostgreSQL, Redis, as many APIs as the overlay has, workers, and nginx before them. A context manager.

    Args:
        folder: where it keeps everything: the shared volume, and what is each process's own.
        workers: how many.
        **overrides: settings that differ from the overlay's.

    Attributes:
        nginx: the way in.
        apis: process of each API.
        workers: process of each worker.
    """

    def __init__(self, folder: Path, workers: int, **overrides: str) -> None:
        self._folder, self._count = folder, workers
        self._overrides = overrides
        self._stack = ExitStack()
        self.postgres = Postgres(durable=True)
        self.ports = [free_port() for _ in range(named("scaled", "Deployment", "api")["spec"]["replicas"])]
        self.apis: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        for name in ("data", "nginx", "redis", "secrets", "said"):
            (folder / name).mkdir()
        self.nginx = Nginx(
            folder / "nginx", api=[f"127.0.0.1:{port}" for port in self.ports], ui="127.0.0.1:9"
        )

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """The overlay's settings, with the places of this machine for those of the cluster."""
        secrets = {
            "api_key": KEY,
            "secret_key": "0123456789abcdef" * 4,
            "database_url": self._database,
            "redis_url": self._redis.url,
        }
        for key, value in secrets.items():
            (self._folder / "secrets" / key).write_text(value)
        shared, own = self._folder / "data", self._folder / name
        own.mkdir(exist_ok=True)
        places = [  # of the cluster, and of this machine
            (r"^/run/secrets/pipeline", self._folder / "secrets"),
            (r"^/data", shared),
            (r"^/tmp/logs", own / "logs"),
            (r"^10\.0\.0\.0/8$|^0\.0\.0\.0$", "127.0.0.1"),
        ]
        found = settings("scaled")
        for there, here in places:
            found = {key: re.sub(there, str(here), value) for key, value in found.items()}
        return {**os.environ, "PYTHONPATH": str(ROOT), **found, **self._overrides, **more}

    def start_api(self, number: int) -> None:
        """Start one of the APIs; does not wait for it."""
        process = self._start(f"api-{number}", ["serve"], API_PORT=str(self.ports[number]))
        if number < len(self.apis):
            self.apis[number] = process
        else:
            self.apis.append(process)

    def start_worker(self) -> None:
        """Start one more worker, as KEDA does; does not wait for it."""
        own = named("scaled", "Deployment", "worker")["spec"]["template"]["spec"]["containers"][0]["env"]
        more = {variable["name"]: variable["value"] for variable in own}
        self.workers.append(self._start(f"worker-{len(self.workers)}", ["worker"], **more))

    def ready(self, number: int) -> bool:
        """Whether one of the APIs takes work."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[number]}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def _start(self, name: str, command: list[str], **more: str) -> subprocess.Popen[bytes]:
        with (self._folder / "said" / f"{name}.log").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "api", *command],
                cwd=self._folder,
                env=self.environment(name, **more),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def __enter__(self) -> Topology:
        try:
            self.postgres.start()
            self._stack.callback(self.postgres.stop)
            self._database = self.postgres.url().replace("postgresql:", "postgresql+psycopg:")
            self._redis = self._stack.enter_context(Redis(self._folder / "redis"))
            self._stack.callback(self._end)
            # All at once, on an empty database: one of them makes the tables.
            for number in range(len(self.ports)):
                self.start_api(number)
            for _ in range(self._count):
                self.start_worker()
            self._stack.enter_context(self.nginx)
            deadline = time.monotonic() + _START_S
            while not all(self.ready(number) for number in range(len(self.ports))):
                assert all(api.poll() is None for api in self.apis), self.said()
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.2)
        except BaseException:
            self._stack.close()
            raise
        return self

    def said(self) -> str:
        """The end of what each process said."""
        logs = sorted((self._folder / "said").iterdir())
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in logs)

    def _end(self) -> None:
        for process in [*self.apis, *self.workers]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def __exit__(self, *_: object) -> None:
        self._stack.close()
