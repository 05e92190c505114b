"""A job that asks for more of a recording than an earlier one uses what that one has separated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2 as httpx

from pipeline.checkpoint import seal
from pipeline.checkpoint_format import complete_identity
from pipeline.config import PipelineConfig, WeightsConfig
from pipeline.run import run
from pipeline.verify import verify_job
from tests.audio_files import music, write_wav
from tests.service import Service, ended, submit


def manifest_of(http: httpx.Client, source: Path, **fields: str) -> dict[str, Any]:
    """Run a job to its good end."""
    job = submit(http, source, **fields).json()
    assert ended(http, job["id"])["status"] == "succeeded"
    manifest: dict[str, Any] = http.get(f"/jobs/{job['id']}/manifest").json()
    return manifest


def hashes(manifest: dict[str, Any]) -> dict[str, str]:
    return {artifact["path"]: artifact["sha256"] for artifact in manifest["artifacts"]}


def kept(folder: Path) -> list[Path]:
    return list((folder / "separations").glob("*/*"))


def test_a_separation_serves_later_jobs_and_goes_with_the_last(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(2.0))
    with Service(tmp_path) as service, service.client() as http:
        first = manifest_of(http, source, stems="vocals", estimators="none")
        second = manifest_of(http, source, stems="vocals,drums", formats="flac,mp3", estimators="all")
        assert first["separation"]["reused"] == 0.0
        assert second["separation"]["reused"] == 1.0
        assert hashes(first).items() <= hashes(second).items()
        assert verify_job(tmp_path / "outputs" / second["job_id"]) == []
        assert http.delete(f"/jobs/{first['job_id']}").is_success
        # Also when the job that computed it has gone.
        third = manifest_of(http, source, formats="wav", estimators="none")
        assert third["separation"]["reused"] == 1.0
        assert len({path.stat().st_ino for path in kept(tmp_path)}) == 1
        for job in (second, third):
            assert http.delete(f"/jobs/{job['job_id']}").is_success
        assert kept(tmp_path) == []
        assert not list((tmp_path / "checkpoints").iterdir())


def test_the_cache_can_be_switched_off(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(1.0))
    with Service(tmp_path, PIPELINE_SEPARATION_CACHE_MB="0") as service, service.client() as http:
        manifest_of(http, source, estimators="none")
        second = manifest_of(http, source, formats="mp3", estimators="none")
    assert second["separation"]["reused"] == 0.0
    assert kept(tmp_path) == []


def test_a_real_network_is_not_run_again(weights_dir: Path, song: Path, tmp_path: Path) -> None:
    config = PipelineConfig(
        stems=("vocals",), estimators=(), weights=WeightsConfig(cache_dir=weights_dir, offline=True)
    )
    checkpoint, folder = tmp_path / "first.checkpoint", tmp_path / "kept"
    first = run(song, tmp_path, config, checkpoint=checkpoint)
    seal(checkpoint)
    folder.mkdir()
    checkpoint.rename(folder / f"{complete_identity(checkpoint)}.first")
    more = config.model_copy(update={"stems": None, "formats": ("flac", "wav"), "residual": "file"})
    second = run(song, tmp_path, more, checkpoint=tmp_path / "second.checkpoint", kept=folder)
    assert (first.separation.reused, second.separation.reused) == (0.0, 1.0)
    assert first.artifacts[0] in second.artifacts
    assert first.separation.residual_db == second.separation.residual_db
