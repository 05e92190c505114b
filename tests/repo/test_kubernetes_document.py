"""docs/KUBERNETES.md: what it has readers write renders, and what it has them ask for is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml

from tests.rendered import KUBERNETES, kustomized, rendered

TEXT = (KUBERNETES.parents[1] / "docs" / "KUBERNETES.md").read_text()


def test_the_overlay_that_readers_write_renders_and_changes_all_that_it_should(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    ours = tmp_path / "kubernetes" / "overlays" / "ours"
    ours.mkdir()
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (ours / "kustomization.yaml").write_text(example)
    found = kustomized(ours)
    text = yaml.safe_dump_all(found)
    assert len(found) == len(rendered("scaled"))
    for stale in (
        "audio.example.org",
        "storageClassName: nfs",
        "image: audio-pipeline",
        "10.0.0.0/8\n  PIPELINE",
    ):
        assert stale not in text, stale
    (config,) = [one for one in found if one["metadata"]["name"].startswith("pipeline-config")]
    assert config["data"]["JOB_QUEUE"] == "celery"


def test_every_object_that_it_names_is_there() -> None:
    there = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in rendered("scaled")}
    there |= {name.replace("horizontalpodautoscaler/", "hpa/") for name in there} | {
        "secret/pipeline-secrets"
    }
    kinds = "deployment|statefulset|cronjob|scaledobject|hpa|secret|service"
    named = set(re.findall(rf"\b((?:{kinds})/[a-z-]+)", TEXT))
    assert len(named) >= 6
    assert named <= there


def test_every_file_that_it_names_is_there() -> None:
    named = re.findall(r"deploy/kubernetes/[\w./-]*\w", TEXT)
    assert named
    mine = "deploy/kubernetes/overlays/ours"
    assert not [n for n in named if n != mine and not (KUBERNETES.parents[1] / n).exists()]
