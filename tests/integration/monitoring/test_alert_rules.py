"""promtool plays hours of metrics to the rules: each alert fires when it should, and only then."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.monitoring.scenes import HEALTHY, Scene
from tests.integration.monitoring.scenes_loud import LOUD
from tests.integration.monitoring.scenes_quiet import QUIET

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy" / "monitoring" / "prometheus" / "rules"
DOCS = "https://git.example.org/docs"
TARGET = {"job": "audio-pipeline", "instance": "a"}
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0'


@functools.cache
def groups(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((RULES / name).read_text())["groups"]
    return found


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups("alerts.yml") for rule in group["rules"]}


def series(changes: dict[str, str | None], samples: int) -> list[dict[str, str]]:
    found = []
    for name, values in {**HEALTHY, **changes}.items():
        if values is None:
            continue
        metric, labels = re.fullmatch(r"(\w+)\{(.*)\}", name).groups()  # type: ignore[union-attr]
        given = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        text = ",".join(f'{key}="{value}"' for key, value in {**TARGET, **given}.items())
        found.append({"series": f"{metric}{{{text}}}", "values": values.replace("END", str(samples))})
    return found


def played(scene: Scene) -> dict[str, Any]:
    """A scene as promtool's unit test."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(scene.fires)]
    return {
        "name": scene.what,
        "interval": f"{scene.step}m",
        "external_labels": {"docs": DOCS},
        "input_series": series(scene.changes, scene.at // scene.step + 1),
        "promql_expr_test": [{"expr": FIRING, "eval_time": f"{scene.at}m", "exp_samples": samples}],
    }


def promtool(folder: Path, test: dict[str, Any]) -> str:
    """What promtool has to complain of; nothing where all is well."""
    for path in RULES.glob("*.yml"):
        shutil.copy(path, folder)
    file = {
        "rule_files": ["recording.yml", "alerts.yml"],
        "evaluation_interval": test["interval"],
        "group_eval_order": [
            group["name"] for name in ("recording.yml", "alerts.yml") for group in groups(name)
        ],
        "tests": [test],
    }
    (folder / "test.yml").write_text(json.dumps(file))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == ("FAILED" not in said)
    return said if done.returncode else ""


def test_promtool_finds_nothing_wrong_with_what_operators_get(tmp_path: Path) -> None:
    shutil.copytree(RULES.parent, tmp_path / "prometheus")
    (tmp_path / "prometheus" / "secrets").mkdir()
    (tmp_path / "prometheus" / "secrets" / "metrics_key").write_text("a key")
    for arguments in (
        ["config", "prometheus.yml"],
        ["rules", "--lint=all", "rules/alerts.yml", "rules/recording.yml"],
    ):
        done = subprocess.run(
            ["promtool", "check", *arguments],
            cwd=tmp_path / "prometheus",
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.slow  # A second each: an hour with fifty rules.
@pytest.mark.parametrize("scene", QUIET, ids=lambda scene: scene.what)
def test_nothing_fires_for(scene: Scene, tmp_path: Path) -> None:
    assert promtool(tmp_path, played(scene)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("scene", LOUD, ids=lambda scene: scene.what)
def test_what_should_fires_and_nothing_else_when(scene: Scene, tmp_path: Path) -> None:
    assert promtool(tmp_path, played(scene)) == ""


def test_every_alert_is_made_to_fire() -> None:
    assert set(alerts()) == {name for scene in LOUD for name in scene.fires}


def test_every_alert_says_what_is_wrong_what_it_means_and_what_to_do() -> None:
    for name, rule in alerts().items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert rule["labels"]["severity"] in {"critical", "warning", "escalation"}, name
        assert rule["annotations"]["runbook_url"].endswith(f"/RUNBOOKS.md#{name.lower()}")


def test_a_message_reads_well(tmp_path: Path) -> None:
    scene = next(scene for scene in LOUD if scene.fires == {"AudioDiskLow"})
    test = played(scene)
    labels = {"severity": "warning", "area": "disk", "folder": "outputs", **TARGET}
    annotations = {
        "summary": "The disk of outputs is nearly full",
        "description": "5% of it is free on a.",
        "runbook_url": f"{DOCS}/RUNBOOKS.md#audiodisklow",
    }
    del test["promql_expr_test"]
    test["alert_rule_test"] = [
        {
            "eval_time": f"{scene.at}m",
            "alertname": "AudioDiskLow",
            "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
        }
    ]
    assert promtool(tmp_path, test) == ""


def test_promtool_knows_when_a_scene_ends_otherwise(tmp_path: Path) -> None:
    """A test of the tests: a scene with a wrong ending is found out."""
    quiet, loud = QUIET[0], LOUD[0]
    assert "AudioNoWorker" in promtool(tmp_path, played(Scene(quiet.what, quiet.at, {"AudioNoWorker"})))
    assert "AudioServiceDown" in promtool(tmp_path, played(Scene(loud.what, loud.at, set(), loud.changes)))
