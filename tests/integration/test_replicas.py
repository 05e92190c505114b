"""Replicas of the service with a disk each, workers elsewhere, and what they share: all real."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from api.audit import Audit
from api.database import open_database
from api.security.secret import ServerSecret
from tests.audio_files import music, write_wav
from tests.cluster import SECRET, Cluster, WorkerMachine, cluster
from tests.s3_server import BUCKET, CREDENTIALS, s3_server
from tests.service import Service, ended, submit

# Five processes start: on a machine that is busy that takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Replicas:
    """Two replicas behind no proxy, so that a test says which one it asks."""

    machines: Cluster
    services: tuple[Service, Service]
    worker: WorkerMachine
    first: httpx.Client
    second: httpx.Client


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    rates = "GET /usage=4/hour"
    with ExitStack() as stack:
        endpoint = stack.enter_context(s3_server())
        shared = {
            "STORAGE": f"s3://{BUCKET}/pipeline",
            "PIPELINE_STORAGE_ENDPOINT": endpoint,
            "PIPELINE_STORAGE_ENCRYPTION": "AES256",
            "PIPELINE_RATE_ROUTES": rates,
            **CREDENTIALS,
        }
        machines = stack.enter_context(cluster(folder, **shared))
        with ThreadPoolExecutor(2) as pool:  # Both find a database without tables: one makes them.
            services = tuple(pool.map(machines.service, ("a", "b")))
        worker = machines.worker("worker")
        clients = [stack.enter_context(service.client()) for service in services]
        yield Replicas(machines, (services[0], services[1]), worker, clients[0], clients[1])


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("song") / "song.wav", music(1.0))


@pytest.fixture(scope="module")
def job(replicas: Replicas, song: Path) -> dict[str, Any]:
    """A job that was submitted to one replica, run elsewhere, and seen to its end by the other."""
    taken = submit(replicas.first, song, estimators="none", formats="flac")
    assert taken.status_code == 202, taken.text
    seen = ended(replicas.second, taken.json()["id"])
    assert seen["status"] == "succeeded", seen
    return seen


def test_what_one_replica_took_another_gives_out(replicas: Replicas, job: dict[str, Any]) -> None:
    manifest = replicas.second.get(f"/jobs/{job['id']}/manifest").json()
    assert manifest["artifacts"]
    for artifact in manifest["artifacts"]:
        whole = replicas.second.get(f"/jobs/{job['id']}/artifacts/{Path(artifact['path']).name}")
        assert hashlib.sha256(whole.content).hexdigest() == artifact["sha256"]
    name = Path(manifest["artifacts"][0]["path"]).name
    part = replicas.first.get(f"/jobs/{job['id']}/artifacts/{name}", headers={"Range": "bytes=4-11"})
    assert (part.status_code, len(part.content)) == (206, 8)
    archive = zipfile.ZipFile(io.BytesIO(replicas.first.get(f"/jobs/{job['id']}/archive").content))
    assert len(archive.namelist()) == len(manifest["artifacts"]) + 1
    assert replicas.second.get(f"/jobs/{job['id']}/peaks").status_code == 200


def test_the_machines_have_no_disk_in_common(replicas: Replicas, job: dict[str, Any]) -> None:
    places = [replicas.machines.folder / name for name in ("a", "b", "worker")]
    assert len({path.resolve() for path in places}) == 3
    assert not list((replicas.machines.folder / "b").glob(f"uploads/{job['id']}/input"))
    assert not (replicas.machines.folder / "worker" / "uploads" / job["id"]).exists(), "a copy has no use now"


def test_a_repeated_recording_is_known_to_the_other_replica(
    replicas: Replicas, job: dict[str, Any], song: Path
) -> None:
    again = submit(replicas.second, song, estimators="none", formats="flac")
    assert (again.json()["id"], again.headers["X-Repeated"]) == (job["id"], "true")


def test_an_idempotency_key_counts_at_every_replica(replicas: Replicas, song: Path) -> None:
    headers = {"Idempotency-Key": "one-key"}
    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(
                lambda http: submit(http, song, headers, estimators="tempo"),
                (replicas.first, replicas.second),
            )
        )
    accepted = [answer.json()["id"] for answer in both if answer.status_code == 202]
    assert len(set(accepted)) == 1, [answer.text for answer in both]
    assert {answer.status_code for answer in both} <= {202, 409}
    replay = submit(replicas.second, song, headers, estimators="tempo")
    assert (replay.status_code, replay.json()["id"]) == (202, accepted[0])
    other = submit(replicas.first, song, headers, estimators="key")
    assert other.status_code == 422


def test_a_limit_is_one_for_all_replicas(replicas: Replicas) -> None:
    asked = [(replicas.first, replicas.second)[n % 2].get("/usage").status_code for n in range(6)]
    assert asked == [200] * 4 + [429] * 2


def events_after(http: httpx.Client, job_id: str, last: str | None) -> list[tuple[str, str]]:
    headers = {} if last is None else {"Last-Event-ID": last}
    found, event_id = [], ""
    with http.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("id:"):
                event_id = line.partition(":")[2].strip()
            elif line.startswith("event:"):
                found.append((event_id, line.partition(":")[2].strip()))
    return found


def test_an_event_stream_goes_on_at_another_replica(replicas: Replicas, job: dict[str, Any]) -> None:
    whole = events_after(replicas.first, job["id"], None)
    assert whole[-1][1] == "succeeded"
    cut = whole[0][0]
    assert events_after(replicas.second, job["id"], cut) == whole[1:]


def test_a_signed_address_opens_at_every_replica(replicas: Replicas, job: dict[str, Any]) -> None:
    name = replicas.first.get(f"/jobs/{job['id']}/manifest").json()["artifacts"][0]["name"]
    path = f"/jobs/{job['id']}/artifacts/{name}"
    made = replicas.first.post("/tickets", json={"path": path})
    opened = httpx.get(f"{replicas.services[1].url}{made.json()['url']}")
    assert opened.status_code == 200, opened.text


def test_the_audit_log_is_one_chain_over_all_machines(replicas: Replicas, job: dict[str, Any]) -> None:
    def ask(n: int) -> None:
        with (replicas.services[n % 2]).client() as http:
            http.delete(f"/jobs/00000000-0000-4000-8000-{n:012}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(24)))
    engine = open_database(replicas.machines.database)
    audit = Audit(engine, ServerSecret(SECRET.encode()))
    actions = [entry.action for entry in audit.entries()]
    verdict = audit.verify()
    engine.dispose()
    assert "job.end" in actions and len(actions) >= 24
    assert (verdict.broken_at, verdict.reason) == (None, "")


def test_what_is_deleted_at_one_replica_is_gone_everywhere(replicas: Replicas, song: Path) -> None:
    job_id = submit(replicas.first, song, estimators="none", formats="wav").json()["id"]
    ended(replicas.first, job_id)
    assert replicas.first.get(f"/jobs/{job_id}/manifest").status_code == 200
    assert replicas.second.delete(f"/jobs/{job_id}").status_code == 204
    assert replicas.first.get(f"/jobs/{job_id}/manifest").status_code == 410
    import boto3

    client = boto3.client("s3", endpoint_url=replicas.machines.settings["PIPELINE_STORAGE_ENDPOINT"])
    left = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    assert left and not [one["Key"] for one in left if job_id in one["Key"]]


def same(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without what differs between two runs of one job: its id, and times."""
    kept = {name: value for name, value in manifest.items() if name != "job_id" and not name.endswith("_at")}
    kept["stages"] = [{**stage, "seconds": 0.0} for stage in kept["stages"]]
    return kept


def test_a_song_gives_the_same_manifest_by_celery_as_by_one_process(
    replicas: Replicas, tmp_path: Path
) -> None:
    # One that nobody has sent: what is kept of another job would be used.
    song = write_wav(tmp_path / "another.wav", music(1.5))
    wanted = {"estimators": "tempo,key", "formats": "flac,wav"}
    there = submit(replicas.first, song, **wanted).json()["id"]
    with Service(tmp_path) as embedded, embedded.client() as http:
        here = submit(http, song, **wanted).json()["id"]
        assert ended(http, here)["status"] == "succeeded"
        alone = http.get(f"/jobs/{here}/manifest").json()
    assert ended(replicas.second, there)["status"] == "succeeded"
    assert same(replicas.second.get(f"/jobs/{there}/manifest").json()) == same(alone)
