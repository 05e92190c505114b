"""Podman and buildah with a storage of their own: no daemon, nothing of other containers here."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
_STORAGE_CONF = """
[storage]
driver = "overlay"
runroot = "{folder}/run"
graphroot = "{folder}/storage"
"""


class Engine:
    """Builds images and runs containers.

    Args:
        folder: where it keeps everything; removed by `clear`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("containers.conf", _CONTAINERS_CONF), ("storage.conf", _STORAGE_CONF)):
            (folder / name).write_text(text.format(folder=folder))
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def podman(self, *arguments: str) -> str:
        """Run podman, and fail with what it said.

        Returns:
            Its standard output.
        """
        return self._run(["podman", *arguments])

    def exists(self, image: str) -> bool:
        """Whether there is such an image."""
        asked = ["podman", "image", "exists", image]
        return subprocess.run(asked, env=self.environment, check=False).returncode == 0

    def bootstrap(self, image: str, *packages: str) -> None:
        """Make an image of Debian with these packages from the machine's own package sources."""
        archive = self.folder / "base.tar"
        self._run(
            ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", _codename(), str(archive)]
        )
        self.podman("import", str(archive), image)
        archive.unlink()

    def build(self, image: str, folder: Path, *options: str) -> None:
        """Build the Dockerfile of a folder, with packages from where this machine's pip takes them."""
        secret = self.folder / "pip.conf"
        secret.write_text(_pip_configuration())
        self._run(
            [
                "buildah", "build", "--format=docker", "--network=host", f"--tag={image}",
                f"--secret=id=pip.conf,src={secret}", *_volumes(secret.read_text()), *options, str(folder),
            ]
        )  # fmt: skip

    def clear(self, *, everything: bool) -> None:
        """Remove what runs and its volumes; everything: images and files, too."""
        self.podman("rm", "--all", "--force", "--volumes", "--time=5")
        self.podman("volume", "prune", "--force")
        if everything:
            self.podman("system", "reset", "--force")

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, "\n".join([" ".join(command), done.stdout[-4000:], done.stderr[-4000:]])
        return done.stdout


def _codename() -> str:
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    (codename,) = re.findall(r"^VERSION_CODENAME=(\w+)$", text, re.MULTILINE)
    return str(codename)


def _pip_configuration() -> str:
    """What pip goes by here, from all of its files and variables, as one file."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    # Variables win over files, as they do for pip.
    found = sorted(
        re.findall(r"^(\S+?)\.([\w-]+)='(.*)'$", said, re.MULTILINE), key=lambda found: found[0] == ":env:"
    )
    values = {name: ast.literal_eval(f"'{value}'") for _, name, value in found}
    return "\n".join(
        ["[global]", *(f"{name} = {value}".replace("\n", "\n    ") for name, value in values.items())]
    )


def _volumes(configuration: str) -> list[str]:
    """The files and folders of this machine that pip's configuration names."""
    # An index in a folder has its files beside it: it links to ../../files.
    indexes = re.findall(r"file://(/[\w./-]+)/[\w.-]+", configuration)
    others = re.findall(r"(?<![\w:/.-])(/[\w./-]+)", configuration)
    return [f"--volume={place}:{place}:ro" for place in sorted({*indexes, *others}) if Path(place).exists()]
