"""docker-compose.prod.yml brought up for real, by the commands of docs/DEPLOYMENT.md.

docker-compose speaks to podman's socket. Images of others are not to be had where the tests run, so nginx,
Redis and PostgreSQL are Debian's here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from tests.containers.engine import Engine
from tests.service import ROOT, free_port

_START_S = 60
_PROJECT = "audio-pipeline"
STAND_INS = ("nginx", "redis", "postgres")
DOCKER = """#!/bin/sh
# Docker, as far as docs/DEPLOYMENT.md uses it.
if [ "$1" = compose ]; then shift; exec docker-compose --compatibility "$@"; fi
exec podman "$@"
"""
MIRROR = """
services:
  audio-pipeline:
    volumes: ["{weights}:/mirror:ro"]
"""


class Compose:
    """An installation in a folder of its own. A context manager.

    Args:
        engine: runs it.
        image: of the product.
        folder: where it is installed.
        weights: folder of weights on this machine.
    """

    def __init__(self, engine: Engine, image: str, folder: Path, weights: Path) -> None:
        self.engine, self.folder = engine, folder
        self.http, self.https, self.api, self.ui = (free_port() for _ in range(4))
        shutil.copy(ROOT / "docker-compose.prod.yml", folder)
        for name in ("nginx", "deploy"):
            shutil.copytree(ROOT / name, folder / name)
        (folder / "mirror.yml").write_text(MIRROR.format(weights=weights))
        (folder / "bin").mkdir()
        (folder / "bin" / "docker").write_text(DOCKER)
        (folder / "bin" / "docker").chmod(0o755)
        socket = folder / "podman.sock"
        self._environment = {
            **engine.environment,
            "DOCKER_HOST": f"unix://{socket}",
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "COMPOSE_HTTP_TIMEOUT": "600",
        }
        for name in ("COMPOSE_PROFILES", "API_KEY", "SECRET_KEY"):
            self._environment.pop(name, None)
        self._lines = {
            "COMPOSE_FILE": "docker-compose.prod.yml:mirror.yml",
            "IMAGE": image,
            **{f"{name.upper()}_IMAGE": f"localhost/{name}:test" for name in STAND_INS},
            "HTTP_PUBLISHED_PORT": str(self.http),
            "HTTPS_PUBLISHED_PORT": str(self.https),
            "API_PUBLISHED_PORT": str(self.api),
            "UI_PUBLISHED_PORT": str(self.ui),
            "NETWORK_PREFIX": "10.213.77",
            "CPU_LIMIT": "1.5",  # more than there are is refused
            "WEIGHTS_MIRROR": "/mirror",
            "PIPELINE_MODEL": "hpss",  # the draft model is quick
            "PIPELINE_RATE_PROCESS": "off",
        }
        self._server = subprocess.Popen(
            ["podman", "system", "service", "--time=0", f"unix://{socket}"], env=self._environment
        )
        self._stopping = threading.Event()
        self._timer = threading.Thread(target=self._check_health)
        self._timer.start()
        deadline = time.monotonic() + _START_S
        while not socket.exists():
            assert time.monotonic() < deadline, "podman's socket is not there"
            time.sleep(0.05)

    def shell(self, line: str) -> str:
        """Run a line as a person would, and fail with what it said.

        Returns:
            Its standard output.
        """
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout[-4000:]} {done.stderr[-4000:]}"
        return done.stdout

    def configure(self) -> None:
        """Set in .env what is the tests' own."""
        with (self.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in self._lines.items())

    @property
    def key(self) -> str:
        """The key of its API."""
        return (self.folder / "secrets" / "api_key").read_text()

    def container(self, service: str) -> str:
        """Name of a service's first container."""
        return "audio-pipeline-api" if service == "audio-pipeline" else f"{_PROJECT}_{service}_1"

    def _check_health(self) -> None:
        """What systemd's timers do for podman, and no systemd runs here."""
        while not self._stopping.wait(1):
            for name in self.engine.podman("ps", "--format={{.Names}}").split():
                subprocess.run(
                    ["podman", "healthcheck", "run", name],
                    env=self._environment,
                    capture_output=True,
                    check=False,
                )

    def __enter__(self) -> Compose:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                sys.stderr.write(self.shell("docker compose ps; docker compose logs --tail=40"))
            self.shell("docker compose --profile scale down --volumes --timeout=10")
        finally:
            self._stopping.set()
            self._timer.join()
            self._server.terminate()
            self._server.wait()


def build_stand_ins(engine: Engine, base: str) -> None:
    """Make the images of others, where they are not there yet."""
    for name in STAND_INS:
        if not engine.exists(f"localhost/{name}:test"):
            home = Path(__file__).parent / "stand_ins" / name
            engine.build(f"localhost/{name}:test", home, f"--build-arg=BASE={base}")


def commands(section: str) -> list[str]:
    """The lines that a section of docs/DEPLOYMENT.md has for a shell."""
    text = (ROOT / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [line for block in re.findall(r"```sh\n(.*?)```", found, re.DOTALL) for line in block.splitlines()]
