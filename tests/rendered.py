"""The manifests of deploy/kubernetes as a cluster would get them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.service import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = tuple(sorted(path.name for path in (KUBERNETES / "overlays").iterdir()))

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod as something makes it.

    Attributes:
        name: kind and name of what makes it.
        labels: of the pod.
        spec: of the pod.
    """

    name: str
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """All of them, those that only begin too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """What ``kubectl kustomize`` makes of an overlay."""
    return kustomized(KUBERNETES / "overlays" / overlay)


def kustomized(folder: Path) -> tuple[Object, ...]:
    """What ``kubectl kustomize`` makes of a folder."""
    own = ROOT / ".venv" / "bin" / "kubectl"
    kubectl = str(own) if own.exists() else shutil.which("kubectl")
    assert kubectl is not None, "there is no kubectl: scripts/setup.sh tests installs it"
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return tuple(found for found in yaml.safe_load_all(done.stdout) if found)


def named(overlay: str, kind: str, name: str | None = None) -> Object:
    """The one object of a kind, or of a kind and a name; a hash at its end does not count."""
    found = [
        one
        for one in rendered(overlay)
        if one["kind"] == kind and (name is None or one["metadata"]["name"].startswith(name))
    ]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def pods(overlay: str) -> Iterator[Pod]:
    """Every kind of pod of an overlay."""
    for one in rendered(overlay):
        spec = one.get("spec", {})
        template = (
            spec.get("jobTemplate", {}).get("spec", spec).get("template") if one["kind"] in _MAKERS else None
        )
        if template is not None:
            yield Pod(
                f"{one['kind']} {one['metadata']['name']}", template["metadata"]["labels"], template["spec"]
            )


_MAKERS = {"Deployment", "StatefulSet", "CronJob", "Job", "DaemonSet"}


def settings(overlay: str) -> dict[str, str]:
    """The settings that API and workers of an overlay share."""
    data: dict[str, str] = named(overlay, "ConfigMap", "pipeline-config")["data"]
    return data
