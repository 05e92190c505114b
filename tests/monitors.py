"""Starts the real Prometheus, Alertmanager and blackbox exporter with the files of deploy/monitoring.

What a test changes in a file are addresses and durations, by name; all else is what operators get.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2 as httpx
import yaml

from tests.quickened_rules import quickened
from tests.service import ROOT, free_port
from tests.sinks import HttpSink, awaited

MONITORING = ROOT / "deploy" / "monitoring"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Change = Callable[[dict[str, Any]], None]


class Program:
    """A server of others in a folder of its own. A context manager.

    Args:
        folder: where it keeps everything.
        command: with ``{address}`` where its address belongs.
        ready: path that answers 200 when it is ready.
    """

    def __init__(self, folder: Path, command: list[str], ready: str) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        self._command = [part.format(address=self.address) for part in command]
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Program:
        with (self.folder / "said.log").open("ab") as said:
            self._process = subprocess.Popen(self._command, cwd=self.folder, stdout=said, stderr=said)
        awaited(self._is_ready, f"the start of {self._command}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def get(self, path: str, **parameters: str) -> Any:
        """Ask it, and read the JSON of its answer."""
        return httpx.get(f"{self.url}{path}", params=parameters, timeout=30).raise_for_status().json()

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "said.log").read_text()
        try:
            return httpx.get(f"{self.url}{self._ready}", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


class Prometheus(Program):
    """Prometheus with our rules, asking every second.

    Args:
        folder: that is empty.
        target: address of the service.
        key: with which it is asked.
        alertmanager: its address; None: there is none.
        site: URL that is probed from outside, and the address of the blackbox exporter; None: nothing is.
        faster: by how much the durations in the rules are divided: see `quickened`.
        younger: likewise the ages of jobs, stages and waits; None: as `faster`.
        change: what else is to be changed in prometheus.yml.
    """

    def __init__(
        self,
        folder: Path,
        target: str,
        key: str,
        *,
        alertmanager: str | None = None,
        site: tuple[str, str] | None = None,
        faster: float = 1.0,
        younger: float | None = None,
        change: Change | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        jobs = {job["job_name"]: job for job in config["scrape_configs"]}
        jobs["audio-pipeline"]["static_configs"] = [{"targets": [target]}]
        config["scrape_configs"] = [jobs["audio-pipeline"]]
        if site is not None:
            outside = jobs["audio-pipeline-site"]
            outside["scrape_interval"] = "1s"
            outside["scrape_timeout"] = "1s"
            outside["static_configs"] = [{"targets": [site[0]]}]
            outside["relabel_configs"][-1]["replacement"] = site[1]
            config["scrape_configs"].append(outside)
        managers = [] if alertmanager is None else [{"static_configs": [{"targets": [alertmanager]}]}]
        config["alerting"]["alertmanagers"] = managers
        if change is not None:
            change(config)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (folder / "secrets").mkdir()
        (folder / "secrets" / "metrics_key").write_text(key)
        (folder / "rules").mkdir()
        for path in (MONITORING / "prometheus" / "rules").glob("*.yml"):
            (folder / "rules" / path.name).write_text(quickened(path.read_text(), faster, younger))
        command = [
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address={address}",
            # It finds its Alertmanager some seconds after its start: what fires before is told again then.
            "--rules.alert.resend-delay=1s",
        ]
        super().__init__(folder, command, "/-/ready")

    def value(self, query: str) -> float | None:
        """The value of a query that has one or no result."""
        results = self.get("/api/v1/query", query=query)["data"]["result"]
        assert len(results) < 2, results
        return float(results[0]["value"][1]) if results else None

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = self.get("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def fired(self, since: float) -> set[str]:
        """Names of the alerts that fired at any moment, by its own records.

        Args:
            since: seconds since 1970.
        """
        range_s = max(int(time.time() - since), 1)
        query = f'max_over_time(ALERTS{{alertstate="firing"}}[{range_s}s])'
        results = self.get("/api/v1/query", query=query)["data"]["result"]
        return {result["metric"]["alertname"] for result in results}


class Blackbox(Program):
    """The blackbox exporter with our modules.

    Args:
        folder: where it may write.
        authority: file with the certificates that it trusts.
    """

    def __init__(self, folder: Path, authority: Path) -> None:
        folder.mkdir()
        command = [
            "prometheus-blackbox-exporter",
            f"--config.file={MONITORING / 'blackbox' / 'blackbox.yml'}",
            "--web.listen-address={address}",
        ]
        super().__init__(folder, ["env", f"SSL_CERT_FILE={authority}", *command], "/-/healthy")


class Alertmanager(Program):
    """Alertmanager with our routes, and receivers on this machine.

    Args:
        folder: that is empty.
        http: URL of the sink that plays Slack, at /services, and PagerDuty, at /v2/enqueue.
        mail: port of the mail server.
        change: what else is to be changed in alertmanager.yml.
    """

    def __init__(self, folder: Path, http: str, mail: int, change: Change | None = None) -> None:
        shutil.copytree(MONITORING / "alertmanager", folder)
        config = yaml.safe_load((folder / "alertmanager.yml").read_text())
        config["global"] |= {
            "smtp_smarthost": f"127.0.0.1:{mail}",
            "smtp_require_tls": False,
            "pagerduty_url": f"{http}/v2/enqueue",
        }
        # The sink asks for no password, and Alertmanager sends none without TLS.
        del config["global"]["smtp_auth_username"]
        for route in (config["route"], *config["route"]["routes"]):
            route["group_wait"] = "0s"
        if change is not None:
            change(config)
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        secrets = folder / "secrets"
        secrets.mkdir()
        (secrets / "slack_url").write_text(f"{http}/services/T0/B0/secret")
        (secrets / "pagerduty_key").write_text("on-call-key")
        (secrets / "pagerduty_escalation_key").write_text("escalation-key")
        (secrets / "smtp_password").write_text("x")
        command = [
            "prometheus-alertmanager",
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--web.listen-address={address}",
            "--cluster.listen-address=",
        ]
        super().__init__(folder, command, "/-/ready")

    def add(self, *alerts: dict[str, str]) -> None:
        """Make alerts of these labels fire."""
        body = [
            {
                "labels": labels,
                "annotations": {"summary": labels["alertname"], "runbook_url": "https://x.example/"},
            }
            for labels in alerts
        ]
        httpx.post(f"{self.url}/api/v2/alerts", json=body, timeout=30).raise_for_status()


def open_today(config: dict[str, Any], is_open: bool = True) -> None:
    """Office hours are all of today, or all days but those around it: nothing depends on when tests run."""
    today = datetime.now(UTC).weekday()
    days = DAYS if is_open else (DAYS[(today + 3) % 7],)
    config["time_intervals"][0]["time_intervals"] = [{"weekdays": list(days)}]


def closed_today(config: dict[str, Any]) -> None:
    """Office hours are not today."""
    open_today(config, is_open=False)


def pages(sink: HttpSink) -> list[dict[str, Any]]:
    """What a sink was sent that plays PagerDuty."""
    return [posted.json for posted in list(sink.posted) if posted.path == "/v2/enqueue"]
