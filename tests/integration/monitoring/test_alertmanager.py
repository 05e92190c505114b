"""The real Alertmanager with our routes: who is told of what, and when; and the real Prometheus before it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.monitors import MONITORING, Alertmanager, Prometheus, closed_today, open_today, pages
from tests.service import free_port
from tests.sinks import HttpSink, MailSink, awaited, text_of

CONFIG = MONITORING / "alertmanager" / "alertmanager.yml"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def http(stack: ExitStack) -> HttpSink:
    return stack.enter_context(HttpSink())


@pytest.fixture
def mail(stack: ExitStack) -> MailSink:
    return stack.enter_context(MailSink())


def slack(sink: HttpSink) -> list[str]:
    return [posted.text for posted in list(sink.posted) if posted.path.startswith("/services")]


def amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_amtool_finds_nothing_wrong() -> None:
    assert "SUCCESS" in amtool("check-config", str(CONFIG))


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [("critical", "on-call"), ("warning", "team"), ("escalation", "escalation"), ("unheard-of", "team")],
)
def test_amtool_finds_the_way_of_an_alert(severity: str, receiver: str) -> None:
    found = amtool(
        "config", "routes", "test", f"--config.file={CONFIG}", f"severity={severity}", "alertname=AudioAny"
    )
    assert found == receiver


def test_a_critical_alert_calls_whoever_is_on_call_at_any_hour(
    tmp_path: Path, stack: ExitStack, http: HttpSink, mail: MailSink
) -> None:
    manager = stack.enter_context(Alertmanager(tmp_path / "am", http.url, mail.port, closed_today))
    warning = {"alertname": "AudioJobSlow", "severity": "warning", "area": "jobs"}
    manager.add(warning, {"alertname": "AudioNoWorker", "severity": "critical", "area": "queue"})
    [page] = awaited(lambda: pages(http), "the page")
    assert (page["routing_key"], page["event_action"]) == ("on-call-key", "trigger")
    assert page["payload"]["summary"] == "[CRITICAL] AudioNoWorker"
    [text] = awaited(lambda: slack(http), "the message")
    assert "AudioNoWorker" in text
    assert "https://x.example/" in text
    # The warning came in with it, and waits for the morning.
    [muted] = awaited(lambda: [a for a in manager.get("/api/v2/alerts") if a["labels"] == warning])
    assert muted["receivers"] == [{"name": "team"}]
    assert not mail.mails


def test_a_warning_is_told_in_office_hours_by_mail_and_message_and_wakes_nobody(
    tmp_path: Path, stack: ExitStack, http: HttpSink, mail: MailSink
) -> None:
    manager = stack.enter_context(Alertmanager(tmp_path / "am", http.url, mail.port, open_today))
    manager.add({"alertname": "AudioJobSlow", "severity": "warning", "area": "jobs"})
    [sent] = awaited(lambda: mail.mails, "the mail")
    assert sent["Subject"] == "[WARNING] AudioJobSlow"
    assert sent["To"] == "ops@example.org"
    assert "What to do: https://x.example/" in text_of(sent)
    awaited(lambda: slack(http), "the message")
    assert not pages(http)


def test_an_alert_that_is_left_alone_goes_to_the_next_in_line(
    tmp_path: Path, stack: ExitStack, http: HttpSink, mail: MailSink
) -> None:
    manager = stack.enter_context(Alertmanager(tmp_path / "am", http.url, mail.port, closed_today))
    manager.add({"alertname": "AudioUnattended", "severity": "escalation", "unattended": "AudioNoWorker"})
    [page] = awaited(lambda: pages(http), "the page")
    assert page["routing_key"] == "escalation-key"
    [sent] = awaited(lambda: mail.mails, "the mail")
    assert sent["To"] == "head-of-operations@example.org"


def test_with_the_service_gone_nothing_that_follows_from_it_is_told(
    tmp_path: Path, stack: ExitStack, http: HttpSink, mail: MailSink
) -> None:
    manager = stack.enter_context(Alertmanager(tmp_path / "am", http.url, mail.port, open_today))
    manager.add({"alertname": "AudioServiceDown", "severity": "critical", "area": "service"})
    awaited(lambda: pages(http), "the page")
    disk = {
        "alertname": "AudioDiskLow",
        "severity": "warning",
        "area": "disk",
        "instance": "a",
        "folder": "data",
    }
    manager.add(disk, {**disk, "alertname": "AudioSiteDown", "severity": "critical", "area": "site"})
    awaited(lambda: [page for page in pages(http) if "AudioSiteDown" in page["payload"]["summary"]])
    states = {
        alert["labels"]["alertname"]: alert["status"]["state"] for alert in manager.get("/api/v2/alerts")
    }
    assert states["AudioDiskLow"] == "suppressed"
    assert not mail.mails


@pytest.mark.slow
def test_prometheus_tells_alertmanager_and_that_the_people_when_the_service_is_gone(
    tmp_path: Path, stack: ExitStack, http: HttpSink, mail: MailSink
) -> None:
    manager = stack.enter_context(Alertmanager(tmp_path / "am", http.url, mail.port, open_today))
    nobody = f"127.0.0.1:{free_port()}"
    prometheus = Prometheus(
        tmp_path / "prometheus", nobody, "no-key-is-needed", alertmanager=manager.address, faster=120
    )
    stack.enter_context(prometheus)
    page = awaited(lambda: next(iter(pages(http)), None), "the page")
    assert page["payload"]["summary"] == "[CRITICAL] Audio Pipeline does not answer"
    assert "RUNBOOKS.md#audioservicedown" in page["payload"]["custom_details"]["what"]
    # Half an hour later, by the clock of this test: nobody has done anything.
    awaited(
        lambda: [mail for mail in mail.mails if mail["To"] == "head-of-operations@example.org"], "the mail"
    )
    assert prometheus.firing() == {"AudioServiceDown", "AudioUnattended"}
