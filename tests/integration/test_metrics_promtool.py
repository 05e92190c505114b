"""What Prometheus' own programs say of /metrics."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.service import KEY, Service, ended, free_port, submit

JOBS = 2


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has done jobs, failed one, and refused some requests."""
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, PIPELINE_JOB_TIMEOUT_S="60") as running, running.client() as http:
        for seed in range(JOBS):
            song = write_wav(folder / f"{seed}.wav", music(1.0, seed=seed))
            assert ended(http, submit(http, song).json()["id"])["status"] == "succeeded"
        stopped = submit(http, write_wav(folder / "long.wav", music(90.0))).json()["id"]
        http.post(f"/jobs/{stopped}/cancel")
        assert ended(http, stopped)["status"] == "cancelled"
        http.get("/nowhere")
        http.get("/jobs/%22%7d%0a%23%20HELP%20x%20y")
        yield running


def test_promtool_finds_nothing_wrong_with_the_metrics(service: Service) -> None:
    with service.client() as http:
        text = http.get("/metrics").content
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, b"")
    assert b"/jobs/{job_id}" in text
    assert b"HELP x y" not in text  # no path becomes a label


def test_prometheus_itself_scrapes_and_answers(service: Service, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(
        json.dumps(
            {
                "scrape_configs": [
                    {
                        "job_name": "audio",
                        "scrape_interval": "1s",
                        "authorization": {"type": "Bearer", "credentials": KEY},
                        "static_configs": [{"targets": [f"127.0.0.1:{service.port}"]}],
                    }
                ]
            }
        )
    )
    url = f"http://127.0.0.1:{free_port()}"
    with (tmp_path / "said.log").open("wb") as said:
        prometheus = subprocess.Popen(
            [
                "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            cwd=tmp_path, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        assert asked(url, "up") == 1
        assert asked(url, 'audio_processing_total{status="succeeded"}') == JOBS
        assert asked(url, "sum(audio_processing_seconds_count)") >= JOBS
        # A quantile of jobs of a second: it lies within the buckets, not at their end.
        assert 0 < asked(url, "histogram_quantile(0.5, sum(audio_processing_seconds_bucket) by (le))") < 60
    finally:
        prometheus.terminate()
        prometheus.wait()


def asked(url: str, query: str) -> float:
    """The value of a query, as soon as there is one."""
    deadline = time.monotonic() + 60
    while True:
        try:
            found = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=5).json()
        except (httpx.HTTPError, json.JSONDecodeError):
            found = {"data": {"result": []}}
        if results := found["data"]["result"]:
            return float(results[0]["value"][1])
        assert time.monotonic() < deadline, query
        time.sleep(0.2)
