"""Times encryption at rest: ``python -m bench.encryption``; ``--job`` also beside a real job.

MB are 10^6 bytes. Files are read from and written to the page cache of ``--folder``, and synchronised as the
service does it; the plain copy beside them shows what of that is the disk's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from api.encryption.file_format import CHUNK, encrypt_file, open_encrypted
from pipeline.config import PipelineConfig
from pipeline.run import run

_KEY, _NAME = bytes(range(32)), "outputs/bench/stems/vocals.flac"
_BLOCK = 1 << 20


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of wall clock and of CPU."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = perf_counter(), process_time()
        work()
        walls.append(perf_counter() - wall)
        cpus.append(process_time() - cpu)
    return median(walls), median(cpus)


def rates(folder: Path, megabytes: int, repeats: int) -> dict[str, float]:
    """MB/s of encrypting, decrypting, copying, and of a range of 64 KiB somewhere in the file."""
    source, target = folder / "plain", folder / "encrypted"
    source.write_bytes(random.Random(1).randbytes(megabytes * 1_000_000))

    def encrypt() -> None:
        target.unlink(missing_ok=True)
        encrypt_file(source, target, _KEY, _NAME)

    def decrypt() -> None:
        with open_encrypted(target, _KEY, _NAME) as file:
            while file.read(_BLOCK):
                pass

    def copy() -> None:
        shutil.copyfile(source, folder / "copy")
        with (folder / "copy").open("rb") as file:
            os.fsync(file.fileno())

    def a_range() -> None:
        with open_encrypted(target, _KEY, _NAME) as file:
            file.seek(megabytes * 500_000)
            file.read(CHUNK)

    found = {}
    for name, work in (("encrypt", encrypt), ("decrypt", decrypt), ("plain_copy", copy)):
        wall, cpu = timed(work, repeats)
        found[f"{name}_mb_per_s"] = round(megabytes / wall, 1)
        found[f"{name}_cpu_s_per_gb"] = round(cpu / megabytes * 1000, 2)
    wall, _ = timed(a_range, 20 * repeats)
    return {**found, "range_of_64_kib_ms": round(wall * 1000, 3)}


def share_of_a_job(folder: Path, seconds: float, model: str) -> dict[str, float | str]:
    """What of a job's CPU time its encryption takes: recording in, recording decrypted, result encrypted."""
    from tests.audio_files import music, write_wav

    song = write_wav(folder / "song.wav", music(seconds))
    cpu, wall = process_time(), perf_counter()
    run(song, folder / "out", PipelineConfig(model=model), job_id="job")
    job_cpu_s, job_wall_s = process_time() - cpu, perf_counter() - wall
    result = [path for path in (folder / "out" / "job").rglob("*") if path.is_file()]

    def protect() -> None:
        target = folder / "target"
        for path in (song, *result):
            target.unlink(missing_ok=True)
            encrypt_file(path, target, _KEY, _NAME)
            if path == song:
                with open_encrypted(target, _KEY, _NAME) as file:
                    while file.read(_BLOCK):
                        pass

    encryption_wall_s, encryption_cpu_s = timed(protect, 5)
    return {
        "model": model,
        "recording_s": seconds,
        "bytes": sum(path.stat().st_size for path in (song, *result)),
        "job_s": round(job_wall_s, 2),
        "job_cpu_s": round(job_cpu_s, 2),
        "encryption_s": round(encryption_wall_s, 3),
        "encryption_cpu_s": round(encryption_cpu_s, 3),
        "share_of_time": round(encryption_wall_s / job_wall_s, 4),
        "share_of_cpu": round(encryption_cpu_s / job_cpu_s, 4),
    }


def main() -> None:
    """Time it, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=200, help="10^6 bytes of the file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--job", action="append", default=[], metavar="MODEL", help="time a real job, too")
    parser.add_argument("--seconds", type=float, default=60.0, help="of its recording")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-encryption-", dir=given.folder) as place:
        print(json.dumps(rates(Path(place), given.mb, given.repeats)), flush=True)
        for model in given.job:
            folder = Path(place) / model
            folder.mkdir()
            print(json.dumps(share_of_a_job(folder, given.seconds, model)), flush=True)


if __name__ == "__main__":
    main()
