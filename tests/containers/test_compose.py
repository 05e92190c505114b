"""An installation as docs/DEPLOYMENT.md says, from init.sh to a song through nginx."""

from __future__ import annotations

import json
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.containers.compose import Compose, build_stand_ins, commands
from tests.containers.conftest import BASE
from tests.containers.engine import Engine

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

HOST = "audio.example.org"
NOT_HERE = {
    "docker compose build": "conftest.py has built it, with packages from where this machine gets them",
    "docker compose run --rm certbot": "there is no authority that would answer",
    # docker-compose 1 links what it runs, and podman's socket knows no links. test_image.py runs it.
    "docker compose run --rm --no-deps audio-pipeline models fetch htdemucs": "it cannot be run here",
}


@pytest.fixture(scope="module")
def installed(
    engine: Engine, image: str, weights_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Compose]:
    """What the lines of the first section make."""
    build_stand_ins(engine, BASE)
    engine.podman("tag", image, "localhost/audio-pipeline:0.1.0")
    with Compose(engine, image, tmp_path_factory.mktemp("installation"), weights_dir) as compose:
        first, *others = commands("From zero to TLS in ten minutes")
        compose.shell(first.replace(HOST, "localhost"))
        compose.configure()
        for line in others:
            if line not in NOT_HERE:
                compose.shell(line)
        yield compose


@pytest.fixture
def outside(installed: Compose) -> Iterator[httpx.Client]:
    """A client at nginx's door. Nobody vouches for a self-signed certificate but itself."""
    proxy = installed.container("nginx")
    trust = ssl.create_default_context(
        cadata=installed.engine.podman("exec", proxy, "cat", "/etc/nginx/tls/fullchain.pem")
    )
    with httpx.Client(
        base_url=f"https://localhost:{installed.https}",
        headers={"X-API-Key": installed.key},
        verify=trust,
        timeout=60,
    ) as client:
        wait_until_ready(client)
        yield client


def wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + 600
    while not _ready(client):
        assert time.monotonic() < deadline, "the service is not ready"
        time.sleep(0.2)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/api/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def inspected(installed: Compose, service: str) -> dict[str, Any]:
    (found,) = json.loads(installed.engine.podman("inspect", installed.container(service)))
    return dict(found)


def test_compose_accepts_the_file_with_every_profile(installed: Compose) -> None:
    installed.shell(
        "docker compose --profile scale --profile monitoring --profile gpu --profile certbot config -q"
    )


def test_secrets_are_for_the_owner_alone_and_stay_when_init_runs_again(installed: Compose) -> None:
    secrets = installed.folder / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = {path.name: path.read_bytes() for path in secrets.iterdir() if path.is_file()}
    assert len(set(before.values())) == len(before) == 7
    installed.shell("sh deploy/container/init.sh another.example.org")
    assert {path.name: path.read_bytes() for path in secrets.iterdir() if path.is_file()} == before
    assert "another" not in (installed.folder / ".env").read_text()


def test_a_song_goes_through_nginx_with_tls(outside: httpx.Client, song: Path) -> None:
    with song.open("rb") as file:
        sent = outside.post("/api/process", files={"file": (song.name, file)})
    assert sent.status_code == 202, sent.text
    assert sent.headers["location"].startswith("/api/jobs/")
    deadline = time.monotonic() + 600
    while (job := outside.get(sent.headers["location"]).json())["status"] in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert job["status"] == "succeeded"
    assert outside.get(f"/api/jobs/{job['id']}/stems/vocals").content[:4] == b"fLaC"
    assert "streamlit" in outside.get("/").text.lower()


def test_plain_http_leads_to_https_and_metrics_stay_inside(installed: Compose, outside: httpx.Client) -> None:
    answer = httpx.get(
        f"http://localhost:{installed.http}/x", headers={"Host": "localhost"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (308, "https://localhost/x")
    assert outside.get("/api/metrics").status_code == 404


def test_the_api_believes_nginx_about_addresses_and_nobody_else(
    installed: Compose, outside: httpx.Client
) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9", "X-API-Key": "wrong"}
    assert outside.get("/api/jobs", headers=forged).status_code == 403
    assert httpx.get(f"http://127.0.0.1:{installed.api}/jobs", headers=forged).status_code == 403
    said = installed.engine.podman("logs", "audio-pipeline-api")
    assert "203.0.113.9" not in said
    assert '"10.213.77.250"' not in said  # nginx said whose request it was


def test_only_nginx_is_published_to_the_world(installed: Compose) -> None:
    ours = inspected(installed, "audio-pipeline")["HostConfig"]["PortBindings"]
    assert {place["HostIp"] for places in ours.values() for place in places} == {"127.0.0.1"}
    proxy = inspected(installed, "nginx")["HostConfig"]["PortBindings"]
    assert {place["HostIp"] for places in proxy.values() for place in places} <= {"", "0.0.0.0"}  # noqa: S104


def test_limits_restarts_and_the_rotation_of_logs_are_in_force(installed: Compose) -> None:
    host = inspected(installed, "audio-pipeline")["HostConfig"]
    assert (host["Memory"], host["NanoCpus"] or host["CpuQuota"] * 10_000) == (8 << 30, 1_500_000_000)
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Type"] in ("json-file", "k8s-file")  # podman writes the latter for the former
    assert host["ReadonlyRootfs"]


def test_what_was_made_outlives_the_containers(installed: Compose, outside: httpx.Client) -> None:
    before = [job["id"] for job in outside.get("/api/jobs").json()["jobs"]]
    assert before
    installed.shell("docker compose down --timeout=60")
    installed.shell("docker compose up -d")
    wait_until_ready(outside)
    assert [job["id"] for job in outside.get("/api/jobs").json()["jobs"]] == before


@pytest.mark.parametrize("section", ["Every day", "The image"])
def test_the_commands_of_the_documentation_work(installed: Compose, section: str) -> None:
    for line in commands(section):
        installed.shell(line)


def test_redis_and_postgres_start_and_ask_for_passwords(installed: Compose) -> None:
    installed.shell("docker compose --profile scale up -d redis postgres")
    for service in ("redis", "postgres"):
        deadline = time.monotonic() + 600
        while inspected(installed, service)["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() < deadline, installed.shell(f"docker compose logs {service}")
            time.sleep(0.5)
    refused = installed.engine.podman("exec", installed.container("redis"), "redis-cli", "ping")
    assert "NOAUTH" in refused
