"""The image: what is in it, what is not, and that it runs with no more than it needs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.software import VERSION
from tests.containers.container import HARDENED, Container
from tests.containers.engine import Engine
from tests.service import ended, submit

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

IN_APP = (
    ".streamlit LICENSE api data downloads logs outputs pipeline scripts ui uploads weights".split()  # noqa: SIM905
)
WALK = """
import pathlib
for suffix in ("whl", "safetensors", "th", "pack"):
    for path in pathlib.Path("/").glob("[!ps]*/**/*." + suffix):
        print(path)
"""
UNWANTED = "gcc cc g++ c++ clang make ld as cmake git curl wget pip pip3"


@pytest.fixture(scope="module")
def running(engine: Engine, image: str, weights_dir: Path) -> Iterator[Container]:
    """API and UI, with a limit of memory, and restarted when they fail."""
    limits = ("--memory=4g", "--cpus=2", "--restart=on-failure")
    with Container(engine, image, "running", weights_dir, *limits) as container:
        container.wait_until("api", "ui")
        yield container


def run(engine: Engine, image: str, *arguments: str, **settings: str) -> str:
    """What a container that ends by itself writes."""
    variables = [f"--env={name}={value}" for name, value in settings.items()]
    return engine.podman("run", "--rm", *HARDENED, *variables, image, *arguments)


def test_it_says_what_it_is(engine: Engine, image: str) -> None:
    (found,) = json.loads(engine.podman("image", "inspect", image))
    labels, config = found["Labels"], found["Config"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert len(labels["org.opencontainers.image.revision"]) == 40
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert config["User"] == "10001:10001"
    assert set(config["ExposedPorts"]) == {"8000/tcp", "8501/tcp"}
    assert found["Healthcheck"]["Test"] == ["CMD", "python", "scripts/health.py"]
    assert not [line for line in config["Env"] if "KEY" in line or "SECRET" in line]


def test_it_holds_no_compiler_no_cache_no_weights_and_of_the_checkout_the_product_alone(
    engine: Engine, image: str
) -> None:
    programs = f"for p in {UNWANTED}; do command -v $p; done; true"
    assert run(engine, image, "sh", "-c", programs) == ""
    caches = "find /var/lib/apt/lists /var/cache/pip -type f 2>/dev/null; true"
    assert run(engine, image, "sh", "-c", caches) == ""
    found = run(engine, image, "python", "-c", WALK).split()
    assert not [path for path in found if not path.startswith("/usr/share/python-wheels/")]
    assert run(engine, image, "sh", "-c", "ls -A /app").split() == IN_APP


def test_nobody_but_root_may_change_the_product(engine: Engine, image: str) -> None:
    writable = [
        "find",
        "/app",
        "/opt/venv",
        "-xdev",
        "!",
        "-type",
        "l",
        "(",
        "-perm",
        "-o+w",
        "-o",
        "-user",
        "10001",
        ")",
    ]
    said = engine.podman("run", "--rm", "--entrypoint", writable[0], image, *writable[1:])
    kept = {f"/app/{name}" for name in ("data", "uploads", "outputs", "downloads", "logs", "weights")}
    assert set(said.split()) <= kept


def test_its_bill_of_materials_names_python_and_debian_packages(engine: Engine, image: str) -> None:
    bill = json.loads(run(engine, image, "sh", "-c", "cat /usr/share/audio-pipeline/sbom.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX"
    found = {part["purl"].partition("?")[0]: part for part in bill["components"]}
    installed = json.loads(
        run(
            engine, image, "python", "-c",
            "import json, importlib.metadata as m;"
            "print(json.dumps([d.metadata['Name'].lower().replace('_', '-') + '@' + d.version"
            " for d in m.distributions(path=['/opt/venv/lib/python3.11/site-packages'])]))",
        )
    )  # fmt: skip
    named = {
        purl.removeprefix("pkg:pypi/").replace("%2B", "+") for purl in found if purl.startswith("pkg:pypi/")
    }
    assert named == set(installed)
    assert any(purl.startswith("pkg:deb/debian/ffmpeg@") for purl in found)
    assert found[next(purl for purl in found if purl.startswith("pkg:pypi/fastapi@"))]["licenses"]


def test_it_runs_as_nobody_special_on_a_root_that_cannot_be_written_within_its_memory(
    running: Container,
) -> None:
    said = running.inside(
        "sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /app/x 2>&1 || true"
    )
    assert said.split() == ["10001", "CapEff:", "0000000000000000", "NoNewPrivs:", "1", *said.split()[5:]]
    assert "Read-only file system" in said
    limit = running.inside(
        "sh",
        "-c",
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true",
    )
    assert limit.split() == [str(4 << 30)]


def test_its_health_check_asks_both_halves(running: Container) -> None:
    running.engine.podman("healthcheck", "run", running.name)
    assert running.inside("python", "scripts/health.py", "api") == "ok\n"
    asked = ["podman", "exec", "--env=UI_PORT=1", running.name, "python", "scripts/health.py"]
    said = subprocess.run(asked, env=running.engine.environment, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "ui does not answer" in said.stdout


def test_a_song_comes_back_as_stems(running: Container, song: Path) -> None:
    with running.client() as http:
        sent = submit(http, song)
        assert sent.status_code == 202, sent.text
        job = ended(http, sent.json()["id"], within_s=600)
        assert job["status"] == "succeeded", job
        manifest = http.get(f"/jobs/{job['id']}/manifest").json()
        names = {artifact["name"] for artifact in manifest["artifacts"]}
        assert names == {"drums", "bass", "other", "vocals"}
        for name in names:
            assert http.get(f"/jobs/{job['id']}/stems/{name}").content[:4] == b"fLaC"
    # The networks of the estimators come with their packages, the separator's from the mirror.
    assert manifest["analysis"]["chords"] is not None
    assert manifest["analysis"]["notes"] is not None


def test_killed_it_ends_as_a_whole_is_restarted_and_finishes_the_job(running: Container, song: Path) -> None:
    with running.client() as http:
        job = submit(http, song, shifts="3").json()["id"]
        while http.get(f"/jobs/{job}").json()["status"] == "queued":
            time.sleep(0.05)
        assert http.get(f"/jobs/{job}").json()["status"] == "running"
    before = running.inspect()["RestartCount"]
    kill = "for p in /proc/[0-9]*; do grep -qz '^serve$' $p/cmdline && kill -9 ${p#/proc/}; done"
    # What kills it dies with the container, so its own end says nothing.
    asked = ["podman", "exec", running.name, "sh", "-c", kill]
    subprocess.run(asked, env=running.engine.environment, capture_output=True, check=False)
    running.wait_until_restarted(before + 1)
    running.wait_until("api", "ui")
    with running.client() as http:
        done = ended(http, job, within_s=600)
    assert (done["status"], done["attempt"]) == ("succeeded", 2)


def test_asked_to_stop_it_hands_its_jobs_back_and_stops_in_good_order(
    engine: Engine, image: str, weights_dir: Path
) -> None:
    with Container(engine, image, "stopping", weights_dir, PIPELINE_GRACE_S="1") as container:
        container.wait_until("api", "ui")
        engine.podman("stop", "--time=60", container.name)
        state = container.inspect()["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (143, False)


@pytest.mark.parametrize(("half", "other"), [("api", "ui"), ("ui", "api")])
def test_it_also_runs_one_half(engine: Engine, image: str, weights_dir: Path, half: str, other: str) -> None:
    with Container(
        engine, image, f"half-{half}", weights_dir, arguments=(half,), PIPELINE_WORKERS="0"
    ) as container:
        container.wait_until(half)
        assert container.inside("python", "scripts/health.py", half) == "ok\n"
        processes = container.inside("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert {"api": "streamlit run", "ui": "-m api serve"}[half] not in processes
        assert other not in half


def test_it_runs_the_commands_of_the_product(engine: Engine, image: str, weights_dir: Path) -> None:
    assert "htdemucs (default)" in run(engine, image, "models", "list")
    fetched = engine.podman(
        "run", "--rm", *HARDENED, f"--volume={weights_dir}:/mirror:ro", "--env=WEIGHTS_MIRROR=/mirror",
        "--volume=fetched:/app/weights", image, "models", "fetch", "htdemucs",
    )  # fmt: skip
    assert fetched.startswith("/app/weights/")
    assert "worker" in run(engine, image, "--help")
    assert "ap_" in run(engine, image, "keys", "create", "ann")
