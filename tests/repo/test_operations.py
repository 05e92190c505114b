"""Commands in documents that no other test runs: their scripts, services, operations and options exist."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path

import botocore.session
import pytest
import yaml
from botocore.model import ServiceModel

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/OPERATIONS.md", "docs/UPGRADING.md", "docs/DEPLOYMENT.md", "nginx/README.md")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text())
TAKES_SERVICES = {"exec", "logs", "restart", "run"}


def lines(page: str) -> list[str]:
    """The lines for a shell, in blocks and between backticks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    return blocks + re.findall(r"`((?:sh \w|docker compose )[^`]+)`", text.replace(r"\|", "|"))


@functools.cache
def operations() -> ServiceModel:
    """What EC2 can be asked for."""
    return botocore.session.get_session().get_service_model("ec2")


EVERY_LINE = [(page, line) for page in PAGES for line in lines(page)]


@pytest.mark.parametrize(("page", "line"), EVERY_LINE)
def test_what_a_command_names_exists(page: str, line: str) -> None:
    words = shlex.split(line.partition("|")[0].partition("&&")[0])
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    if words[0] == "sh":
        assert (ROOT / words[1]).is_file(), line
    if words[:2] == ["docker", "compose"] and TAKES_SERVICES & set(words):
        named = {word for word in words if word in COMPOSE["services"]}
        assert named or words[-1].startswith(("--tail", "restart", "logs")), line
    if words[:2] == ["aws", "ec2"]:
        operation = "".join(part.capitalize() for part in words[2].split("-"))
        members = operations().operation_model(operation).input_shape.members
        assert {"GroupName", "GroupId"} & set(members), line
        if "--group-name" in words:
            assert {"GroupName", "Description", "VpcId"} <= set(members), line


def test_no_page_has_lost_its_commands() -> None:
    assert {page for page, _ in EVERY_LINE} == set(PAGES)
