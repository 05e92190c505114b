"""The rules that a quick evening is judged by are ours: they differ in durations and in nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitors import MONITORING
from tests.quickened_rules import LEAST_RANGE_S, quickened

FILES = sorted((MONITORING / "prometheus" / "rules").glob("*.yml"))
FASTER, YOUNGER = 30.0, 10.0
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
RANGE, NUMBER = re.compile(r"\[(\w+)\]"), re.compile(r"(?<![\w.:])\d+(?:\.\d+)?(?![\w.])")
AGES = {
    ("AudioQueueStuck", 300.0),
    ("AudioQueueStuck", 1800.0),
    ("AudioQueueSlow", 7200.0),
    ("AudioJobSlow", 600.0),
    ("AudioStageSlow", 300.0),
    ("AudioCpuSaturated", 1800.0),
}
"""What alerts compare the age of jobs, stages and waits with, in seconds."""


def rules(text: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\w+)", duration).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


PAIRS = [
    pytest.param(ours, quick, id=f"{name(ours)} {number}")
    for path in FILES
    for number, (ours, quick) in enumerate(
        zip(rules(path.read_text()), rules(quickened(path.read_text(), FASTER, YOUNGER)), strict=True)
    )
]


@pytest.mark.parametrize(("ours", "quick"), PAIRS)
def test_a_quick_rule_is_ours_but_for_its_durations(ours: dict[str, Any], quick: dict[str, Any]) -> None:
    assert {key: value for key, value in ours.items() if key not in ("expr", "for")} == {
        key: value for key, value in quick.items() if key not in ("expr", "for")
    }
    if "for" in ours:
        assert seconds(quick["for"]) == pytest.approx(seconds(ours["for"]) / FASTER, abs=0.001)
    assert NUMBER.sub("#", RANGE.sub("[]", ours["expr"])) == NUMBER.sub("#", RANGE.sub("[]", quick["expr"]))
    for before, after in zip(RANGE.findall(ours["expr"]), RANGE.findall(quick["expr"]), strict=True):
        expected = max(seconds(before) / FASTER, LEAST_RANGE_S)
        assert seconds(after) == pytest.approx(expected, abs=0.001)
    numbers = (map(float, NUMBER.findall(RANGE.sub("", rule["expr"]))) for rule in (ours, quick))
    for before_n, after_n in zip(*numbers, strict=True):
        if before_n != after_n:
            assert (name(ours), before_n) in AGES
            assert after_n == pytest.approx(before_n / YOUNGER)


def test_no_age_is_forgotten() -> None:
    changed = {
        (name(ours), number)
        for ours, quick in (pair.values for pair in PAIRS)
        for number, other in zip(
            NUMBER.findall(RANGE.sub("", ours["expr"])),
            NUMBER.findall(RANGE.sub("", quick["expr"])),
            strict=True,
        )
        if number != other
    }
    assert {(alert, float(number)) for alert, number in changed} == AGES


def test_prometheus_takes_the_quick_rules_and_unchanged_ones_are_the_files_themselves(tmp_path: Path) -> None:
    for path in FILES:
        assert quickened(path.read_text(), 1.0) == path.read_text()
        (tmp_path / path.name).write_text(quickened(path.read_text(), FASTER, YOUNGER))
    command = ["promtool", "check", "rules", *(str(tmp_path / path.name) for path in FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
