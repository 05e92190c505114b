"""The whole service, killed and stopped in the middle of a job."""

import time
from pathlib import Path

from pipeline.verify import verify_job
from tests.audio_files import music, write_wav
from tests.service import Service, ended, submit


def test_an_accepted_job_survives_a_kill_of_everything_and_ends_once(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(30.0))
    service = Service(tmp_path)
    with service, service.client() as http:
        job_id = submit(http, source, estimators="none").json()["id"]
        deadline = time.monotonic() + 60
        while http.get(f"/jobs/{job_id}").json()["progress"] < 0.1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        service.kill()
        service.start()
        job = ended(http, job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert verify_job(tmp_path / "outputs" / job_id) == []
    assert len(list((tmp_path / "outputs").rglob("manifest.json"))) == 1
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_stop_hands_the_job_back_and_the_next_start_finishes_it(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(60.0))
    service = Service(tmp_path, PIPELINE_GRACE_S="0")
    with service, service.client() as http:
        job_id = submit(http, source, estimators="none").json()["id"]
        deadline = time.monotonic() + 60
        while http.get(f"/jobs/{job_id}").json()["progress"] < 0.1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert service.stop() in (0, -15)
        service.start()
        job = ended(http, job_id)
    # Handed back, so the attempt did not count.
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
