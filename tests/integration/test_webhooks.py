"""Webhooks as their users meet them: a real service, real jobs, a real receiver."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.service import Service, ended, submit
from tests.webhook_receiver import Receiver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, PIPELINE_OUTBOUND_NETWORKS="127.0.0.0/8") as running:
        yield running


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture(scope="module")
def told(http: httpx.Client, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a job that succeeded, and whose receiver was told."""
    song = write_wav(tmp_path_factory.mktemp("song") / "song.wav", music(1.0))
    job_id: str = submit(http, song, estimators="none", webhook_url=receiver.url + "?token=geheim").json()[
        "id"
    ]
    assert ended(http, job_id)["status"] == "succeeded"
    receiver.wait_for(1)
    return job_id


def settled(http: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    """The deliveries of a job, when nothing is being sent."""
    deadline = time.monotonic() + 60
    while True:
        found: list[dict[str, Any]] = http.get(f"/jobs/{job_id}/webhooks").json()
        if not {one["status"] for one in found} & {"pending", "sending"}:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stranger(service: Service) -> httpx.Client:
    """A client with the key of another owner."""
    command = [sys.executable, "-m", "api", "keys", "create", "stranger"]
    made = subprocess.run(
        command, cwd=service.folder, env=service.environment, capture_output=True, text=True, check=True
    )
    return service.client(next(word for word in made.stdout.split() if word.startswith("ap_")))


def test_the_receiver_is_told_what_the_api_says_and_can_prove_it(
    http: httpx.Client, receiver: Receiver, told: str
) -> None:
    message = receiver.got[0].verified(http.get("/webhooks/secret").json()["secret"])
    assert message["type"] == "job.succeeded"
    assert message["data"] == http.get(f"/jobs/{told}").json()


def test_the_log_says_what_became_of_it(http: httpx.Client, receiver: Receiver, told: str) -> None:
    link = http.get(f"/jobs/{told}").json()["links"]["webhooks"]
    assert link == f"/jobs/{told}/webhooks"
    settled(http, told)
    delivery = http.get(link).json()[0]
    assert (delivery["type"], delivery["status"]) == ("job.succeeded", "delivered")
    assert (delivery["id"], delivery["url"]) == (receiver.got[0].webhook_id, receiver.url)
    assert (delivery["attempts"][0]["number"], delivery["attempts"][0]["status_code"]) == (1, 204)


def test_a_replay_sends_the_same_again(http: httpx.Client, receiver: Receiver, told: str) -> None:
    (delivery,) = settled(http, told)
    before = len(receiver.got)
    answer = http.post(f"/jobs/{told}/webhooks/{delivery['id']}/replay")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    again = receiver.wait_for(before + 1)[-1]
    assert (again.webhook_id, again.body) == (delivery["id"], receiver.got[0].body)
    (delivery,) = settled(http, told)
    assert [one["status_code"] for one in delivery["attempts"]] == [204, 204]


def test_what_is_not_there_cannot_be_replayed(http: httpx.Client, told: str) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    assert http.post(f"/jobs/{told}/webhooks/{unknown}/replay").status_code == 404
    assert http.post(f"/jobs/{told}/webhooks/x%00/replay").status_code == 404


def test_nobody_else_sees_or_replays_it(service: Service, http: httpx.Client, told: str) -> None:
    (delivery,) = settled(http, told)
    with stranger(service) as other:
        assert other.get(f"/jobs/{told}/webhooks").status_code == 404
        assert other.post(f"/jobs/{told}/webhooks/{delivery['id']}/replay").status_code == 404
        assert other.get("/webhooks/secret").json() != http.get("/webhooks/secret").json()


def test_a_receiver_can_be_tested(http: httpx.Client, receiver: Receiver) -> None:
    before = len(receiver.got)
    answer = http.post("/webhooks/test", json={"url": receiver.url})
    assert (answer.status_code, answer.json()["delivered"], answer.json()["status_code"]) == (200, True, 204)
    ping = receiver.got[before].verified(http.get("/webhooks/secret").json()["secret"])
    assert (ping["type"], ping["data"]) == ("ping", {})
    refused = http.post("/webhooks/test", json={"url": "https://169.254.169.254/latest"})
    assert (refused.status_code, refused.json()["code"]) == (422, "url_address_refused")


def test_a_rotated_secret_is_new_and_the_old_one_signs_too(
    service: Service, http: httpx.Client, receiver: Receiver
) -> None:
    old = http.get("/webhooks/secret")
    assert (old.headers["cache-control"], old.json()["previous_signs_until"]) == ("no-store", None)
    new = http.post("/webhooks/secret/rotate").json()
    assert new == http.get("/webhooks/secret").json()
    assert new["previous_signs_until"] is not None
    before = len(receiver.got)
    http.post("/webhooks/test", json={"url": receiver.url})
    for secret in (old.json()["secret"], new["secret"]):
        receiver.got[before].verified(secret)


def test_a_job_that_fails_or_is_cancelled_is_told_too(
    http: httpx.Client, receiver: Receiver, tmp_path: Path
) -> None:
    song = write_wav(tmp_path / "long.wav", music(120.0, 22050, 1), 22050)
    job_id = submit(http, song, estimators="none", webhook_url=receiver.url).json()["id"]
    http.post(f"/jobs/{job_id}/cancel")
    assert ended(http, job_id)["status"] == "cancelled"
    (delivery,) = settled(http, job_id)
    assert (delivery["type"], delivery["status"]) == ("job.cancelled", "delivered")


def test_operators_see_what_was_delivered_and_what_waits(http: httpx.Client, told: str) -> None:
    settled(http, told)
    lines = http.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("audio_webhook"))
    assert float(values['audio_webhook_deliveries_total{outcome="delivered"}']) >= 1
    assert values['audio_webhook_deliveries_total{outcome="failed"}'] == "0.0"
    assert values["audio_webhooks_pending"] == values["audio_webhooks_oldest_pending_seconds"] == "0.0"


def test_replays_and_secrets_are_in_the_audit_log_and_no_secret_is(
    service: Service, http: httpx.Client, told: str
) -> None:
    secret = http.post("/webhooks/secret/rotate").json()["secret"]
    command = [sys.executable, "-m", "api", "audit", "export"]
    log = subprocess.run(
        command, cwd=service.folder, env=service.environment, capture_output=True, text=True, check=True
    ).stdout
    assert "webhook.rotate" in log and "webhook.secret" in log
    written = log + "".join(path.read_text() for path in (service.folder / "logs").glob("*.log*"))
    assert "webhook attempted" in written
    assert not [one for one in (secret.removeprefix("whsec_"), "geheim") if one in written]


def test_the_openapi_document_says_what_receivers_get(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    schema = document["webhooks"]["job-ended"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith("/JobEnded")


def test_a_deleted_job_has_no_log(http: httpx.Client, receiver: Receiver, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "gone.wav", music(0.5, seed=9))
    job_id = submit(http, song, estimators="none", webhook_url=receiver.url).json()["id"]
    ended(http, job_id)
    settled(http, job_id)
    assert http.delete(f"/jobs/{job_id}").status_code == 204
    assert http.get(f"/jobs/{job_id}/webhooks").status_code == 410
