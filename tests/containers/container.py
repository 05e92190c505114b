"""A container of the image as docs/DEPLOYMENT.md runs it: nothing that it can do without."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2 as httpx

from tests.containers.engine import Engine
from tests.service import KEY, free_port

_START_S = 180
HARDENED = (
    "--read-only",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp:size=512m,mode=1777",
)


class Container:
    """A running container. A context manager.

    Args:
        engine: runs it.
        image: what it is of.
        name: of the container, and the first word of its volumes' names.
        mirror: folder of weights on this machine, from where it fetches them.
        options: further ones of ``podman run``.
        arguments: of the image.
        **settings: environment variables.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        name: str,
        mirror: Path,
        *options: str,
        arguments: tuple[str, ...] = (),
        **settings: str,
    ) -> None:
        self.engine, self.name = engine, name
        self.api, self.ui = free_port(), free_port()
        self._run = [
            "run", "--detach", f"--name={name}", *HARDENED,
            f"--publish=127.0.0.1:{self.api}:8000", f"--publish=127.0.0.1:{self.ui}:8501",
            f"--volume={mirror}:/mirror:ro", *options,
        ]  # fmt: skip
        variables = {"API_KEY": KEY, "WEIGHTS_MIRROR": "/mirror", "PIPELINE_RATE_PROCESS": "off", **settings}
        for variable, value in variables.items():
            self._run += ["--env", f"{variable}={value}"]
        self._run += [image, *arguments]

    def __enter__(self) -> Container:
        self.engine.podman(*self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.stderr.write(self.said())
        self.engine.podman("rm", "--force", "--volumes", "--time=5", self.name)

    def client(self) -> httpx.Client:
        """A client of its API."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.api}", headers={"X-API-Key": KEY}, timeout=60)

    def wait_until(self, *paths: str) -> None:
        """Wait until these answer: ``api`` or ``ui``."""
        places = {
            "api": f"http://127.0.0.1:{self.api}/readyz",
            "ui": f"http://127.0.0.1:{self.ui}/_stcore/health",
        }
        deadline = time.monotonic() + _START_S
        for path in paths:
            while not _answers(places[path]):
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.2)

    def wait_until_restarted(self, times: int) -> None:
        """Wait until it was restarted for the nth time."""
        deadline = time.monotonic() + _START_S
        while (seen := self.inspect())["RestartCount"] < times or seen["State"]["Status"] != "running":
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def inspect(self) -> dict[str, Any]:
        """What podman knows of it."""
        (found,) = json.loads(self.engine.podman("inspect", self.name))
        return dict(found)

    def inside(self, *command: str) -> str:
        """Run a command in it.

        Returns:
            What it wrote.
        """
        return self.engine.podman("exec", self.name, *command)

    def said(self) -> str:
        """Its log."""
        return self.engine.podman("logs", self.name)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
