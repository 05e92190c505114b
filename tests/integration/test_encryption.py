"""The real service with a master key: nothing that was recorded can be read on its disk or in its backups."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audio_files import music, write_wav
from tests.encryption_support import places
from tests.faults.service_faults import until
from tests.service import Service, ended, submit

NAME, SAID, SUBJECT = "Xq7 private name", "zyxwv a line that nobody else sings", "patient 4711 of ward nine"


def command(service: Service, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", *argv],
        cwd=service.folder.parent, env=service.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_a_search_over_disk_database_and_backup_finds_nothing_and_keys_change_while_it_serves(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    old, new = ("old:" + "AQ" * 21 + "A=", "new:" + "Ag" * 21 + "A=")
    source = write_wav(tmp_path / f"{NAME}.wav", music(2.0))
    heard = source.read_bytes()
    settings = {"PIPELINE_ENCRYPTION_KEYS": old, "PIPELINE_BACKUP_DIR": str(tmp_path / "backups")}
    with Service(tmp_path / "data", **settings) as service:
        with service.client() as http:
            fields = {"estimators": "none", "subject": SUBJECT, "metadata": json.dumps({"line": SAID})}
            job = submit(http, source, headers={"Idempotency-Key": "k"}, **fields).json()["id"]
            assert ended(http, job)["status"] == "succeeded"
            until(lambda: http.get(f"/jobs/{job}/audio").json()["complete"], "it can be listened to")
            assert http.get(f"/jobs/{job}/audio/mix/0").content[:4] == b"fLaC"
            assert http.get(f"/jobs/{job}/peaks").status_code == 200
            stem = http.get(f"/jobs/{job}/stems/vocals").content
            part = http.get(f"/jobs/{job}/stems/vocals", headers={"Range": "bytes=65530-65545"})
            assert part.status_code == 206 and part.content == stem[65530:65546]
            assert http.get("/jobs", params={"q": "PRIVATE"}).json()["jobs"][0]["filename"] == f"{NAME}.wav"
            manifest = http.get(f"/jobs/{job}/manifest").content
            assert command(service, "backup", "--kind", "full").returncode == 0
            source.unlink()
            needles = (NAME.encode(), NAME.lower().encode(), SAID.encode(), SUBJECT.encode(),
                       heard[9000:9040], stem[5000:5040], b"fLaC")  # fmt: skip
            assert places(tmp_path, *needles) == []
        service.stop()

        service.environment["PIPELINE_ENCRYPTION_KEYS"] = new
        refused = command(service, "encryption", "status")
        assert refused.returncode == 1 and "the master key 'old', which is not set" in refused.stderr
        service.environment["PIPELINE_ENCRYPTION_KEYS"] = f"{new},{old}"
        service.start()
        rotated = command(service, "encryption", "rotate")
        assert rotated.returncode == 0 and "2 keys wrapped anew with new" in rotated.stdout
        with service.client() as http:
            assert http.get(f"/jobs/{job}/stems/vocals").content == stem
        service.stop()
        service.environment["PIPELINE_ENCRYPTION_KEYS"] = new
        service.start()
        with service.client() as http:
            assert http.get(f"/jobs/{job}/manifest").content == manifest
            assert http.delete(f"/jobs/{job}").status_code in (200, 204)
            assert http.get(f"/jobs/{job}").status_code == 410
        status = json.loads(command(service, "encryption", "status").stdout)
        assert status == {"current": "new", "master_keys": {"new": {"keys": 1, "set": True}}, "plain_jobs": 0}
        assert json.loads(command(service, "verify", "--json").stdout)["faults"] == []
