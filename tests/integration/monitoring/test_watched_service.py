"""The real service, watched by the real Prometheus: metrics, every panel of the dashboards, log lines."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from scripts.dashboard_panels import DASHBOARDS
from tests.audio_files import music, write_wav
from tests.monitors import MONITORING, Prometheus
from tests.service import KEY, ROOT, Service, ended, submit
from tests.sinks import awaited

JOBS = 2
EXPRESSIONS = sorted(
    {query.expr for board in DASHBOARDS.values() for panel in board.panels for query in panel.queries}
)
EMPTY_WITHOUT_INCIDENTS = {
    'ALERTS{alertname=~"Audio.+", alertstate="firing"}',
    "3600 * max by (namespace, code) (rate(audio_processing_retries_total[$__rate_interval]))",
    "max by (namespace, model) (model_loaded)",  # The model of these tests needs no loading.
}

WITHOUT_SAMPLES = {"audio_processing_retries_total": ["code"], "model_loaded": ["model"]}
"""Labels of metrics that have nothing to tell in these tests."""


@dataclass(frozen=True)
class Watched:
    """A service and who watches it."""

    service: Service
    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A service that has done jobs, failed and cancelled one, and refused some requests."""
    folder = tmp_path_factory.mktemp("service")
    with ExitStack() as stack:
        service = stack.enter_context(Service(folder, PIPELINE_JOB_TIMEOUT_S="60"))
        target = f"127.0.0.1:{service.port}"
        prometheus = stack.enter_context(Prometheus(folder / "prometheus", target, KEY))
        backup = {"finished_at": time.time(), "kind": "full", "bytes": 1}
        (folder / "backup-status.json").write_text(json.dumps(backup))
        awaited(lambda: prometheus.value("up") == 1, "the first look")
        http = stack.enter_context(service.client())
        for seed in range(JOBS):
            song = write_wav(folder / f"{seed}.wav", music(1.0, seed=seed))
            assert ended(http, submit(http, song).json()["id"], 240)["status"] == "succeeded"
        broken = submit(http, write_wav(folder / "silence.wav", 0 * music(2.0))).json()["id"]
        assert ended(http, broken, 240)["status"] == "failed"
        stopped = submit(http, write_wav(folder / "long.wav", music(90.0))).json()["id"]
        http.post(f"/jobs/{stopped}/cancel")
        assert ended(http, stopped, 240)["status"] == "cancelled"
        http.get("/nowhere")
        http.get("/jobs/%22%7d%0a%23%20HELP%20x%20y")
        yield Watched(service, prometheus)


def test_promtool_finds_nothing_wrong_with_the_metrics(watched: Watched) -> None:
    with watched.service.client() as http:
        text = http.get("/metrics").content
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, b"")
    assert b"/jobs/{job_id}" in text
    assert b"HELP x y" not in text  # no path becomes a label


def test_prometheus_itself_scrapes_and_answers(watched: Watched) -> None:
    value = watched.prometheus.value
    awaited(lambda: value('audio_processing_total{status="succeeded"}') == JOBS)
    assert value('audio_processing_faults_total{fault="recording"}') == 1
    assert value('audio_processing_faults_total{fault="service"}') == 0
    # A quantile of jobs of a second: it lies within the buckets, not at their end.
    median = value("histogram_quantile(0.5, sum(audio_processing_seconds_bucket) by (le))")
    assert median is not None
    assert 0 < median < 60


def test_the_table_of_metrics_is_that_of_the_service(watched: Watched) -> None:
    with watched.service.client() as http:
        families = list(text_string_to_metric_families(http.get("/metrics").text))
    rows = []
    for family in families:
        if family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        labels = labels or WITHOUT_SAMPLES.get(name, [])
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    page = (ROOT / "docs" / "MONITORING.md").read_text()
    listed = [
        line for line in page.splitlines() if re.match(r"\| `[a-z_]+` \| (counter|gauge|histogram)", line)
    ]
    assert listed == sorted(rows), "docs/MONITORING.md should list:\n" + "\n".join(sorted(rows))


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_a_panel_shows_something(watched: Watched, expr: str) -> None:
    query = expr.replace("$__rate_interval", "1m")

    def found() -> list[dict[str, Any]]:
        answer = watched.prometheus.get("/api/v1/query", query=query)
        assert answer["status"] == "success"
        assert "warnings" not in answer
        results: list[dict[str, Any]] = answer["data"]["result"]
        return results

    if expr in EMPTY_WITHOUT_INCIDENTS:
        found()
    else:
        results = awaited(found, f"a result of {expr}", within_s=30)
        assert any(result["value"][1] != "NaN" for result in results)


def test_every_dashboard_is_one_that_grafana_can_place() -> None:
    uids = set()
    for path in sorted((MONITORING / "grafana" / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        uids.add(board["uid"])
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 3
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len(uids) == len(DASHBOARDS)


def log_lines(watched: Watched) -> list[dict[str, Any]]:
    """What lies in LOGS_DIR: each line is JSON."""
    files = sorted((watched.service.folder / "logs").glob("*.log"))
    assert [path.name.partition("-")[0] for path in files] == ["api.log", "worker"]
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def test_every_field_that_alloy_sends_to_loki_is_in_our_log_lines(watched: Watched) -> None:
    text = (MONITORING / "alloy" / "config.alloy").read_text()
    blocks = re.findall(r"stage\.(\w+) \{\s+(?:expressions|values) = \{([^}]*)\}", text)
    assert [name for name, _ in blocks] == ["json", "labels", "structured_metadata"]
    fields = {name: set(re.findall(r"(\w+)\s+= \"\"", block)) for name, block in blocks}
    assert fields["labels"] | fields["structured_metadata"] | {"at"} == fields["json"]
    lines = log_lines(watched)
    assert fields["json"] <= {key for line in lines for key in line}
    for line in lines:
        assert {"at", "level", "logger", "event"} <= set(line)
        assert datetime.fromisoformat(line["at"]).utcoffset() is not None
    assert {line["level"] for line in lines} <= {"debug", "info", "warning", "error", "critical"}


def test_every_field_that_filebeat_renames_is_in_our_log_lines(watched: Watched) -> None:
    config = yaml.safe_load((MONITORING / "filebeat" / "filebeat.yml").read_text())
    [renamed] = [step["rename"]["fields"] for step in config["processors"] if "rename" in step]
    target = config["filebeat.inputs"][0]["parsers"][0]["ndjson"]["target"]
    lines = log_lines(watched)
    known = {f"{target}.{key}" for line in lines for key in line}
    # A stack is there only after a mistake of ours.
    assert {field["from"] for field in renamed} - {"audio.exception"} <= known
    [stamp] = [step["timestamp"] for step in config["processors"] if "timestamp" in step]
    shape = re.sub(r"\d", "0", stamp["test"][0])
    assert {re.sub(r"\d", "0", line["at"]) for line in lines} == {shape}


def test_the_lines_of_a_job_are_found_by_its_id(watched: Watched) -> None:
    lines = [line for line in log_lines(watched) if line.get("action") == "attempt_ended"]
    assert len(lines) >= JOBS
    assert all(line["job_id"] and line["outcome"] for line in lines)


def test_grafana_is_given_what_it_needs_to_find_the_dashboards() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "datasources.yml").read_text())
    assert {source["type"] for source in sources["datasources"]} == {"prometheus", "loki", "alertmanager"}
    [provider] = yaml.safe_load((provisioning / "dashboards" / "dashboards.yml").read_text())["providers"]
    assert Path(provider["options"]["path"]).is_absolute()
