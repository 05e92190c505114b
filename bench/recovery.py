"""Times backup, verification and drill on many jobs: ``python -m bench.recovery --jobs 1000 --mb 2``.

The jobs are copies of one real manifest with stems of random bytes: nothing in them can be packed or
deduplicated. With ``--random-mb`` only so much of each job is random, and the rest are holes of its files:
every byte is still read, hashed, sent and restored, but in a repository of restic they need little room.
Four times their size is needed on the disk of ``--folder``; with holes and ``--vault restic``, once.
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
_NOTHING = bytes(1 << 20)


def template(folder: Path) -> Manifest:
    """The manifest of a real job."""
    from tests.audio_files import music, write_wav

    source = write_wav(folder / "song.wav", music(0.5))
    run(source, folder / "out", PipelineConfig(model="hpss", estimators=()), job_id=str(uuid.uuid4()))
    return read_manifest(next((folder / "out").glob("*/manifest.json")))


def write_file(path: Path, content: bytes, size: int) -> str:
    """Write a file that ends with a hole; its SHA-256."""
    digest = sha256(content)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(size)
    for start in range(len(content), size, len(_NOTHING)):
        digest.update(_NOTHING[: size - start])
    return digest.hexdigest()


def fill(holdings: Holdings, count: int, job_bytes: int, random_bytes: int, of: Manifest) -> None:
    """Make finished jobs of one recording and four stems each."""
    rng = random.Random(1)
    files = len(_STEMS) + 1
    size, written = job_bytes // files, random_bytes // files
    now = datetime.now(UTC)
    for number in range(count):
        job_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        stems = holdings.folders.result(job_id) / "stems"
        stems.mkdir(parents=True)
        artifacts = []
        for name in _STEMS:
            digest = write_file(stems / f"{name}.flac", rng.randbytes(written), size)
            artifacts.append(
                Artifact(
                    name=name, kind="stem", path=f"stems/{name}.flac", format="flac", bytes=size,
                    sha256=digest,
                )
            )  # fmt: skip
        holdings.folders.upload(job_id).mkdir()
        digest = write_file(holdings.folders.upload(job_id) / "input", rng.randbytes(written), size)
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
    parser.add_argument("--random-mb", type=float, help="of them not a hole; default: all")
    parser.add_argument("--vault", choices=("plain", "restic"), action="append", help="default: both")
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
        random_mb = given.mb if given.random_mb is None else given.random_mb
        fill(holdings, given.jobs, int(given.mb * 1e6), int(random_mb * 1e6), template(root))
        found = verify(holdings)
        assert found.faults == [], found.faults[:3]
        told = {
            "jobs": found.jobs,
            "bytes": found.bytes,
            "verify_mb_per_s": _rate(found.bytes, found.seconds),
        }
        print(json.dumps(told), flush=True)

        def secret_of(place: Folders) -> ServerSecret:
            return load_secret(Settings(data_dir=place.data))

        vaults: dict[str, Vault] = {"plain": FolderVault(root / "plain")}
        vaults["restic"] = ResticVault(str(root / "restic"), "bench")
        for name in given.vault or vaults:
            vault = vaults[name]
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
                ),
                flush=True,
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
