"""Times backup, verification and drill on many jobs: ``python -m bench.recovery --jobs 1000 --mb 2``.

The jobs are copies of one real manifest with stems of random bytes: nothing in them can be packed or
deduplicated.
Four times their size is needed on the disk of ``--folder``.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from sqlalchemy import update

from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.model import Job, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.tables import jobs
from api.keeping.backup import back_up
from api.keeping.drill import drill, figures
from api.keeping.holdings import Holdings
from api.keeping.restic import ResticVault
from api.keeping.vault import FolderVault, Vault
from api.keeping.verify import verify
from api.migrate import upgrade
from api.security.secret import ServerSecret, load_secret
from api.settings import Settings
from pipeline.config import PipelineConfig
from pipeline.manifest import Artifact, Manifest, read_manifest
from pipeline.run import run

_STEMS = ("drums", "bass", "other", "vocals")


def template(folder: Path) -> Manifest:
    """The manifest of a real job."""
    from tests.audio_files import music, write_wav

    source = write_wav(folder / "song.wav", music(0.5))
    run(source, folder / "out", PipelineConfig(model="hpss", estimators=()), job_id=str(uuid.uuid4()))
    return read_manifest(next((folder / "out").glob("*/manifest.json")))


def fill(holdings: Holdings, count: int, job_bytes: int, of: Manifest, seed: int = 1) -> None:
    """Make finished jobs of one recording and four stems each."""
    rng = random.Random(seed)
    size = job_bytes // (len(_STEMS) + 1)
    now = datetime.now(UTC)
    for number in range(count):
        job_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        stems = holdings.folders.result(job_id) / "stems"
        stems.mkdir(parents=True)
        artifacts = []
        for name in _STEMS:
            data = rng.randbytes(size)
            (stems / f"{name}.flac").write_bytes(data)
            artifacts.append(
                Artifact(
                    name=name, kind="stem", path=f"stems/{name}.flac", format="flac", bytes=size,
                    sha256=sha256(data).hexdigest(),
                )
            )  # fmt: skip
        recording = rng.randbytes(size)
        digest = sha256(recording).hexdigest()
        holdings.folders.upload(job_id).mkdir()
        (holdings.folders.upload(job_id) / "input").write_bytes(recording)
        source = of.input.model_copy(update={"sha256": digest})
        said = of.model_copy(update={"job_id": job_id, "input": source, "artifacts": artifacts})
        (stems.parent / "manifest.json").write_text(said.to_json())
        holdings.store.add(
            Job(job_id, "owner", JobStatus.QUEUED, f"{number}.wav", f"{job_id}/input", digest, size, now)
        )
    with holdings.engine.begin() as connection:
        at = (now - timedelta(seconds=1)).timestamp()
        connection.execute(update(jobs).values(status=JobStatus.SUCCEEDED, finished_at=at, started_at=at))


def main() -> None:
    """Time it, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--mb", type=float, default=2.0, help="10^6 bytes of a job")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="bench-recovery-", dir=given.folder))
    try:
        folders = Folders.below(root / "data")
        folders.make()
        engine = open_database(f"sqlite:///{folders.data / 'pipeline.db'}")
        upgrade(engine)
        load_secret(Settings(data_dir=folders.data))
        holdings = Holdings(engine, SqlJobStore(engine), folders)
        fill(holdings, given.jobs, int(given.mb * 1e6), template(root))
        found = verify(holdings)
        assert found.faults == [], found.faults[:3]
        told = {
            "jobs": found.jobs,
            "bytes": found.bytes,
            "verify_mb_per_s": _rate(found.bytes, found.seconds),
        }
        print(json.dumps(told))

        def secret_of(place: Folders) -> ServerSecret:
            return load_secret(Settings(data_dir=place.data))

        vaults: dict[str, Vault] = {"plain": FolderVault(root / "plain")}
        vaults["restic"] = ResticVault(str(root / "restic"), "bench")
        for name, vault in vaults.items():
            done = back_up(holdings, vault, "full")
            manifests = back_up(holdings, vault, "manifests")
            again = back_up(holdings, vault, "full")
            vault.remove([done.stored, manifests.stored])
            drilled = drill(vault, root / "scratch", root / "drill.json", secret_of)
            assert drilled.passed
            print(
                json.dumps(
                    {
                        "vault": name,
                        "full_s": round(done.seconds, 1),
                        "full_mb_per_s": _rate(found.bytes, done.seconds),
                        "again_s": round(again.seconds, 1),
                        "manifests_s": round(manifests.seconds, 1),
                        **figures(drilled, datetime.now(UTC)),
                    }
                )
            )
            shutil.rmtree(root / name)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _rate(size: int, seconds: float) -> float:
    return round(size / seconds / 1e6, 1)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s in all")
