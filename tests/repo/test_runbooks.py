"""docs/RUNBOOKS.md and docs/MONITORING.md: a section for each alert, and commands that exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from api.cli import app
from api.settings_load import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS, MONITORING = ((ROOT / "docs" / name).read_text() for name in ("RUNBOOKS.md", "MONITORING.md"))
PAGES = {"RUNBOOKS.md": RUNBOOKS, "MONITORING.md": MONITORING}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text())
PATHS = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]


def alerts() -> dict[str, dict[str, Any]]:
    rules = (ROOT / "deploy" / "monitoring" / "prometheus" / "rules" / "alerts.yml").read_text()
    return {rule["alert"]: rule for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]}


def commands(page: str) -> Iterator[str]:
    """The lines of all blocks of shell in a page."""
    for block in re.findall(r"```sh\n(.*?)```", PAGES[page], re.DOTALL):
        yield from block.strip().splitlines()


EVERY_COMMAND = [(page, line) for page in PAGES for line in commands(page)]


def test_every_alert_has_its_section_with_all_four_parts_and_no_section_is_left_over() -> None:
    sections = dict(re.findall(r"^## (Audio\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(alerts()) != set()
    for name, text in sections.items():
        parts = {part.lower() for part in re.findall(r"\*\*(\w+)\.?\*\*", text)}
        assert parts == {"means", "users", "look", "mend"}, name


def test_every_alert_that_a_section_names_exists() -> None:
    assert set(re.findall(r"\bAudio[A-Z]\w+", RUNBOOKS)) <= set(alerts())


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(RUNBOOKS\.md#(\w+)\) \| (\w+) \| ([\w ]+) \|", MONITORING, re.MULTILINE
    )
    assert rows == [
        (name, name.lower(), rule["labels"]["severity"], rule.get("for", "at once"))
        for name, rule in alerts().items()
    ]


def test_every_setting_that_is_named_exists() -> None:
    for page in PAGES.values():
        named = set(re.findall(r"\bPIPELINE_[A-Z_]+[A-Z]|\bJOB_RETENTION_DAYS", page))
        assert {name.removesuffix("_FILE") for name in named} <= set(VARIABLES)


@pytest.mark.parametrize(("page", "line"), EVERY_COMMAND)
def test_a_command_of_ours_has_the_form_that_it_takes(page: str, line: str) -> None:
    words = shlex.split(line)
    if "python" in words:
        start = words.index("python")
        assert words[start + 1 : start + 3] == ["-m", "api"]
        assert is_taken([word for word in words[start + 3 :] if not word.startswith(">")])
    if words[:2] == ["docker", "compose"] and {"exec", "logs", "restart", "run"} & set(words):
        assert set(words) & set(COMPOSE["services"]), line
    for path in re.findall(r"\$API(/[^\s\"?]*)", line):
        pattern = re.sub(r"\$\w+", "{job_id}", path)
        method = match[1].lower() if (match := re.search(r"-X (\w+)", line)) else "get"
        assert method in PATHS[pattern], f"{page}: {line}"


def is_taken(words: list[str]) -> bool:
    """Whether there is such a command and it knows such options; nothing is run."""
    # With --help a command says what it takes: the words before it are read as always.
    done = CliRunner().invoke(app, [*words, "--help"])
    options = {word for word in words if word.startswith("--")}
    names = list(takewhile(lambda word: not word.startswith("-"), words))[:2]
    usage = done.output.split("Usage:")[-1].splitlines()[0]
    return (
        done.exit_code == 0 and " ".join(names) in usage and all(option in done.output for option in options)
    )


def test_a_command_that_does_not_exist_is_found_out() -> None:
    assert is_taken(["keys", "create", "x", "--scopes", "metrics"])
    for words in (["keys", "forge"], ["keys", "create", "x", "--nosuch", "1"], ["restore-all"]):
        assert not is_taken(words), words
