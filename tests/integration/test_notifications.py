"""The real service tells real receivers: a mail server, a chat like Slack, and a program that reads JSON."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.audio_files import music, write_wav
from tests.service import ROOT, Service, ended, free_port, submit
from tests.sinks import HttpSink, MailSink, awaited, text_of

CANARY = "canary-canary-0123456789"


def mail_url(sink: MailSink) -> str:
    address = f"127.0.0.1:{sink.port}"
    return f"mailto://{address}?from=audio@example.org&to=ops@example.org,boss@example.org&smtp=127.0.0.1&mode=insecure"


def test_a_failed_job_is_told_by_mail_chat_and_json_and_no_token_is_logged(tmp_path: Path) -> None:
    with HttpSink() as http, MailSink() as mail:
        dead = f"json://127.0.0.1:{free_port()}/{CANARY}"
        urls = [
            mail_url(mail),
            f"mmost://127.0.0.1:{http.port}/{CANARY}-chat",
            f"failures=json://127.0.0.1:{http.port}/{CANARY}-json",
            f"summary=json://127.0.0.1:{http.port}/{CANARY}-summary",
            f"failures={dead}",
        ]
        settings = {"PIPELINE_NOTIFY_URLS": ", ".join(urls), "PIPELINE_NOTIFY_FAILURES": "all"}
        with Service(tmp_path, **settings) as service, service.client() as client:
            song = write_wav(tmp_path / "private name.wav", 0 * music(2.0))
            # The first look is taken once it serves: a job that fails before is history.
            awaited(lambda: client.get("/health").json()["workers"])
            awaited(lambda: _marked(service), "the first look")
            job = ended(client, submit(client, song).json()["id"])
            assert job["status"] == "failed"
            sent = awaited(lambda: mail.mails, "the mail")[0]
            awaited(lambda: len(http.posted) == 2, "chat and JSON")
            awaited(lambda: '"notice_retried"' in service.said.read_text(), "the dead receiver's line")
            metrics = client.get("/metrics").text
    assert sent["Subject"] == f"Audio Pipeline: A job failed ({job['error']['code']})"
    assert {part.strip(" <>") for part in sent["To"].split(",")} <= {"ops@example.org", "boss@example.org"}
    assert job["id"] in text_of(sent)
    by_path = {posted.path.rpartition("-")[2]: posted.text for posted in http.posted}
    assert set(by_path) == {"chat", "json"}
    for text in by_path.values():
        assert job["id"] in text
        assert "private name" not in text
        assert "apprise" not in text.lower()
    assert 'audio_notifications_total{outcome="retried"}' in metrics
    said = service.said.read_text()
    assert '"notice_sent"' in said
    assert CANARY not in said


def _marked(service: Service) -> bool:
    with closing(sqlite3.connect(service.folder / "pipeline.db")) as database:
        return bool(database.execute("SELECT * FROM notice_marks WHERE name = 'failures'").fetchall())


def notify_test(folder: Path, urls: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PIPELINE_NOTIFY_URLS": urls}
    return subprocess.run(
        [sys.executable, "-m", "api", "notify", "test"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_who_was_reached_and_who_was_not(tmp_path: Path) -> None:
    with HttpSink() as http, MailSink() as mail:
        refusing = HttpSink(status=403)
        with refusing:
            done = notify_test(
                tmp_path,
                f"{mail_url(mail)} admission=json://127.0.0.1:{http.port}/{CANARY}-a"
                f" json://127.0.0.1:{refusing.port}/{CANARY}-b nosuch://{CANARY}-c",
            )
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert len(lines) == 4
    assert lines[0].startswith("mailto://… (")
    assert lines[0].endswith(": sent")
    assert "[admission]: sent" in lines[1]
    assert "failed: " in lines[2]
    assert "403" in lines[2]
    assert "failed: apprise cannot use this URL" in lines[3]
    assert {mail["Subject"] for mail in mail.mails} == {"Audio Pipeline: a test"}
    assert len(http.posted) == 1
    assert CANARY not in done.stdout + done.stderr
