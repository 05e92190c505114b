"""Pieces of one resumable upload come to different replicas, which have UPLOADS_DIR in common alone."""

from __future__ import annotations

import hashlib
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.audio_files import music, write_wav
from tests.cluster import cluster
from tests.service import ended
from tests.tus import begun, half_a_piece, offset, patch

PIECE = 50_000
MB = 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pieces_that_come_to_different_replicas_make_one_recording(tmp_path: Path) -> None:
    content = write_wav(tmp_path / "song.wav", music(2.0)).read_bytes()
    shared = {"STORAGE": str(tmp_path / "volume"), "UPLOADS_DIR": str(tmp_path / "uploads")}
    with cluster(tmp_path, **shared) as machines:
        services = [machines.service(name) for name in ("a", "b")]
        machines.worker("worker", UPLOADS_DIR=str(tmp_path / "worker" / "uploads"))
        with closing(services[0].client()) as first, closing(services[1].client()) as second:
            place = begun(first, len(content))
            for at in range(0, len(content), PIECE):
                http, other = (first, second) if at // PIECE % 2 else (second, first)
                assert offset(other, place) == at
                assert patch(http, place, at, content[at : at + PIECE]).status_code == 204
            assert second.get("/uploads").json()[0]["offset"] == len(content)

            busy = begun(second, 3 * MB)
            with half_a_piece(services[0], busy, 0, bytes(2 * MB), promised=3 * MB):
                while not offset(second, busy):
                    time.sleep(0.05)
                refused = patch(second, busy, offset(second, busy), b"more")
                assert (refused.status_code, refused.json()["code"]) == (423, "upload_busy")
                assert refused.headers["Retry-After"] == "1"

            taken = second.post(
                "/process", json={"upload_id": place.rpartition("/")[2], "estimators": "none"}
            )
            assert taken.status_code == 202, taken.text
            job = ended(first, taken.json()["id"])
            assert job["status"] == "succeeded", job
            assert job["input_sha256"] == hashlib.sha256(content).hexdigest()
            assert [one["id"] for one in first.get("/uploads").json()] == [busy.rpartition("/")[2]]
