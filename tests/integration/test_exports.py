"""Exports as the service's users meet them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from tests.audio_files import music, write_wav
from tests.service import Service, ended, submit


def test_exports_are_served_with_their_types_and_come_in_the_archive(tmp_path: Path) -> None:
    with Service(tmp_path) as service, service.client() as http:
        song = write_wav(tmp_path / "song.wav", music(8.0, seed=3))
        job = submit(http, song, estimators="tempo,beats", exports="csv,midi,audacity").json()
        assert ended(http, job["id"])["status"] == "succeeded"
        table = http.get(f"/jobs/{job['id']}/artifacts/beats.csv")
        assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert table.text.startswith("time_s,beat")
        midi = http.get(f"/jobs/{job['id']}/artifacts/notes.mid")
        assert (midi.headers["Content-Type"], midi.content[:4]) == ("audio/midi", b"MThd")
        with zipfile.ZipFile(io.BytesIO(http.get(f"/jobs/{job['id']}/archive").content)) as archive:
            assert "analysis/beats.txt" in archive.namelist()
        assert {one["name"] for one in http.get(f"/jobs/{job['id']}/peaks").json()} == {
            "drums", "bass", "other", "vocals",
        }  # fmt: skip
        more = submit(http, song, estimators="tempo,beats", exports="csv").json()
        assert more["id"] != job["id"]
