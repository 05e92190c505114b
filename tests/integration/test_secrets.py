"""Secrets never appear in logs, manifests, errors, metrics, backups' errors or process lists."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.audio_files import music, write_wav
from tests.service import ROOT, Service, ended, submit

CANARIES = {
    "API_KEY": "canary-api-key-3f9a1c",
    "SECRET_KEY": "canary-secret-key-77b2e0-0123456789abcdef",
    "PIPELINE_BACKUP_PASSWORD": "canary-backup-password-c41d",
    "PIPELINE_BACKUP_REPOSITORY": "rest:http://user:canary-repository-9d2e@127.0.0.1:9/",
}
HIDDEN = (*CANARIES.values(), "canary-repository-9d2e")


def processes() -> str:
    """The command lines of all processes, as every user of the machine sees them."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


def test_a_canary_in_every_secret_is_seen_nowhere(tmp_path: Path) -> None:
    settings = {**CANARIES, "LOGGING_LEVEL": "DEBUG"}
    seen = []
    with Service(tmp_path, **settings) as service, service.client(CANARIES["API_KEY"]) as http:
        job = submit(http, write_wav(tmp_path / "a.wav", music(0.5)), estimators="none").json()["id"]
        assert ended(http, job)["status"] == "succeeded"
        ticket = http.post("/tickets", json={"path": f"/jobs/{job}"}).json()["ticket"]
        assert http.get(f"/jobs/{job}/manifest?ticket={ticket}", headers={"X-API-Key": ""}).status_code
        for path in ("/health", "/metrics", "/openapi.json", "/admin/audit", "/admin/keys", "/nothing"):
            seen.append(http.get(path).text)
        # A key in the wrong place: as another key, in a path, in a body that is no JSON.
        for wrong in (f"/jobs/{CANARIES['API_KEY']}", f"/{CANARIES['API_KEY']}"):
            http.get(wrong)
        seen.append(http.get("/jobs", headers={"X-API-Key": CANARIES["API_KEY"] + "x"}).text)
        seen.append(http.post("/process", content=b"{", headers={"Content-Type": "application/json"}).text)
        backup = subprocess.Popen(
            [sys.executable, "-m", "api", "backup"],
            cwd=tmp_path,
            env=service.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        listed = ""
        while backup.poll() is None:
            listed += processes()
        said, _ = backup.communicate()
        assert backup.returncode == 1 and "restic failed" in said, said
        service.stop()
    log = service.said.read_text() + "".join(p.read_text() for p in (tmp_path / "logs").glob("*.log*"))
    assert "restic" in listed or "api backup" in listed, "process lists were looked at"
    texts = {"answers": "\n".join(seen), "log": log, "backup": said, "processes": listed}
    texts["manifest"] = (tmp_path / "outputs" / job / "manifest.json").read_text()
    texts["database"] = (tmp_path / "pipeline.db").read_bytes().decode("latin-1")
    assert ticket not in log
    for where, text in texts.items():
        for canary in HIDDEN:
            assert canary not in text, f"{canary} in {where}"


def test_a_setting_that_is_wrong_shows_no_secret(tmp_path: Path) -> None:
    bad = {"SECRET_KEY": "canary short", "PIPELINE_BACKUP_PASSWORD": "canary", "API_PORT": "canary-port"}
    done = subprocess.run(
        [sys.executable, "-m", "api", "serve"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": str(tmp_path), **bad},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "SECRET_KEY" in done.stderr
    assert "canary short" not in done.stderr and "canary-port" in done.stderr
