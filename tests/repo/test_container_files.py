"""Dockerfile and docker-compose.prod.yml against the list of what a production set-up must have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import Settings, variable
from ui.settings import load_ui_settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.prod.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "pipeline-data:/app/data" in service.get("volumes", [])]
DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
OTHERS = {"PYTHONUNBUFFERED", "API_URL"}
"""Variables that are no settings of the service: Python's, and one of the UI without its prefix."""


def filled_in(value: object) -> str:
    """A value with the defaults of its variables."""
    return DEFAULT.sub(r"\2", str(value))


def settings() -> set[str]:
    """Every variable that the service knows, those with the name of a file included."""
    names = {variable(name) for name in Settings.model_fields}
    return names | {f"{name}_FILE" for name in names}


@pytest.mark.parametrize(
    "path",
    [
        "Dockerfile",
        *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("tests/containers/stand_ins/*/Dockerfile")),
    ],
)
def test_the_linter_finds_nothing_in_a_dockerfile(path: str) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    ignored = ["--ignore=DL3006", "--ignore=DL3008", "--ignore=DL3009"] if path.startswith("tests/") else []
    said = subprocess.run([linter, *ignored, ROOT / path], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


def test_nothing_but_what_is_named_goes_into_an_image() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    named = [rule[1:] for rule in rules if rule.startswith("!")]
    assert not [name for name in named if not (ROOT / name).exists()]
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(" ".join(copied).split()) == set(named)


def test_the_service_has_what_the_guide_asks_for() -> None:
    service = SERVICES["audio-pipeline"]
    assert service["container_name"] == "audio-pipeline-api"
    assert service["restart"] == "unless-stopped"
    assert [filled_in(port) for port in service["ports"]] == ["127.0.0.1:8000:8000", "127.0.0.1:8501:8501"]
    assert {f"pipeline-{name}:/app/{name}" for name in ("uploads", "outputs", "downloads", "logs")} <= set(
        service["volumes"]
    )
    asked = {
        "PYTHONUNBUFFERED": "1", "DEVICE": "cpu", "API_HOST": "0.0.0.0", "API_PORT": "8000",  # noqa: S104
        "LOGGING_LEVEL": "INFO", "MAX_FILE_SIZE_MB": "500", "JOB_RETENTION_DAYS": "30",
    }  # fmt: skip
    given = {name: filled_in(value) for name, value in service["environment"].items()}
    assert asked.items() <= given.items()
    assert (service["healthcheck"]["interval"], service["healthcheck"]["retries"]) == ("30s", 3)
    limits = service["deploy"]["resources"]
    assert [filled_in(limits["limits"][k]) for k in ("cpus", "memory")] == ["4", "8G"]
    assert [filled_in(limits["reservations"][k]) for k in ("cpus", "memory")] == ["2", "4G"]
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert "pipeline-network" in service["networks"]
    assert COMPOSE["networks"]["pipeline-network"]["driver"] == "bridge"


def test_every_profile_has_its_services() -> None:
    found: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for profile in service.get("profiles", ["always"]):
            found.setdefault(profile, set()).add(name)
    assert found == {
        "always": {"audio-pipeline", "nginx", "certificate"},
        "scale": {"redis", "postgres", "worker"},
        "monitoring": {"prometheus", "alertmanager", "blackbox", "grafana", "loki", "alloy"},
        "gpu": {"gpu-worker"},
        "certbot": {"certbot"},
    }


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_can_do_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    # Only these make files that belong to another user.
    assert ("cap_add" in service) == (name in ("certificate", "certbot"))


def test_only_nginx_is_seen_from_outside() -> None:
    for name, service in SERVICES.items():
        if name != "nginx":
            assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])), name


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    given = SERVICES[name]["environment"]
    of_the_ui = {variable: filled_in(value) for variable, value in given.items() if "_UI_" in variable}
    load_ui_settings(of_the_ui, Path("none"))  # refuses what it does not know
    assert not given.keys() - settings() - OTHERS - of_the_ui.keys()


def test_no_secret_stands_in_it() -> None:
    for service in SERVICES.values():
        secret = [name for name in service.get("environment", {}) if re.search("KEY|PASSWORD|SECRET", name)]
        assert all(name.endswith("FILE") for name in secret)


def test_every_volume_is_declared_and_used() -> None:
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(("./", "/"))
    }
    assert used == set(COMPOSE["volumes"])


def test_every_image_is_pinned_to_a_version() -> None:
    images = [filled_in(service["image"]) for service in SERVICES.values()]
    assert not [
        image
        for image in images
        if not re.search(r":v?\d+(\.\d+)", image + (".0" if "postgres" in image else ""))
    ]
