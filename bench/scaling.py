"""How time and memory grow with a recording's length, and with jobs at the same time.

    python -m bench.scaling [--minutes 1,5,30,180] [--jobs 1,2,4] [--precision balanced] [--device cpu|cuda]

Whole jobs, warm: file in; four stems as FLAC, every estimator, a checkpoint and the manifest out. Memory is
the most that the process ever held; a checkpoint is told by its share of the separation's time. Jobs at the
same time are processes that share the cores, or one GPU, as the service's workers do (`WORKERS`), each with a
recording of the first length.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from unittest import mock

from api.jobs.supervisor import ENVIRONMENT
from bench.programs import gpu_peak_mb
from bench.separation import ROOT, SONGS, song_of
from pipeline.checkpoint import Checkpoint
from pipeline.parallel import usable_cores

FLAT_AFTER_MIN = 5
"""From this length on, memory should not grow any more."""


@contextmanager
def checkpoints_timed() -> Iterator[list[float]]:
    """Seconds that each block took to be written to a checkpoint, fsync included."""
    seconds: list[float] = []
    write = Checkpoint._append

    def timed(*given: Any) -> None:
        began = monotonic()
        write(*given)
        seconds.append(monotonic() - began)

    with mock.patch.object(Checkpoint, "_append", timed):
        yield seconds


def one(song: Path, precision: str, device: str, threads: int) -> None:
    """Run one job, warm, and print what it cost as JSON."""
    from pipeline.config import PipelineConfig
    from pipeline.run import run
    from pipeline.separators.registry import WarmModel

    asked = {"precision": precision, "device": device, "formats": ("flac",), "threads": threads}
    config = PipelineConfig.model_validate(asked)
    warm = WarmModel()
    with tempfile.TemporaryDirectory(dir=song.parent) as name:
        out = Path(name)
        mixture = SONGS / "falcon69" / "mixture.flac"
        run(song_of(0.1, [mixture], out / "short.wav"), out, config, warm=warm)
        print("ready", flush=True)
        sys.stdin.readline()
        with checkpoints_timed() as written_s:
            began = monotonic()
            manifest = run(song, out, config, warm=warm, checkpoint=out / "checkpoint")
            wall_s = monotonic() - began
    stages = {stage.name: round(stage.seconds, 1) for stage in manifest.stages}
    cost = {
        "wall_s": wall_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "gpu_mb": gpu_peak_mb(device),
        "stages": stages,
        "checkpoint": sum(written_s) / stages["separate"],
        "told": [manifest.separation.device, *(notice.code for notice in manifest.warnings)],
    }
    print(json.dumps(cost), flush=True)


def together(song: Path, precision: str, device: str, jobs: int) -> tuple[float, list[dict[str, Any]]]:
    """Run the same job several times at once: seconds until all are done, and what each cost."""
    threads = max(usable_cores() // jobs, 1)
    argv = [
        sys.executable,
        "-m",
        "bench.scaling",
        "--one",
        song,
        "--precision",
        precision,
        "--device",
        device,
        "--threads",
        threads,
    ]
    running = [
        subprocess.Popen(
            [str(a) for a in argv],
            cwd=ROOT,
            env={**ENVIRONMENT, **os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(jobs)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()  # All are warm before any begins.
    began = monotonic()
    costs = []
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        out, _ = process.communicate()
        if process.returncode:
            sys.exit(f"a job of {song} failed with {process.returncode}")
        costs.append(json.loads(out))
    return monotonic() - began, costs


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", default="1,5,30,180")
    parser.add_argument("--jobs", default="1,2,4")
    parser.add_argument("--precision", default="balanced")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.precision, args.device, args.threads)
        return
    mixtures = sorted(SONGS.glob("*/mixture.flac"))
    if not mixtures:
        sys.exit(f"There are no songs in {SONGS}.")
    lengths = [float(each) for each in args.minutes.split(",")]
    with tempfile.TemporaryDirectory() as name:
        songs = {minutes: song_of(minutes, mixtures, Path(name) / f"{minutes:g}.wav") for minutes in lengths}
        print("minutes       wall   x real time   peak memory         of the GPU   checkpoint   stages, s")
        flat_mb = None
        for minutes, song in songs.items():
            wall_s, (cost,) = together(song, args.precision, args.device, 1)
            if minutes >= FLAT_AFTER_MIN:
                flat_mb = flat_mb or cost["peak_mb"]
            grown = f" ({cost['peak_mb'] / flat_mb - 1:+.0%})" if flat_mb else ""
            print(
                f"{minutes:7g} {wall_s:8.1f} s {minutes * 60 / wall_s:11.2f} {cost['peak_mb']:10.0f} MB"
                f"{grown:8} {cost['gpu_mb']:8.0f} MB {cost['checkpoint']:11.2%}   {cost['stages']}",
                flush=True,
            )
        print("\njobs at once   minutes a minute   peak memory of all   of the GPU   where")
        for jobs in map(int, args.jobs.split(",")):
            wall_s, costs = together(songs[lengths[0]], args.precision, args.device, jobs)
            rate = jobs * lengths[0] * 60 / wall_s
            memory, of_gpu = (sum(cost[name] for cost in costs) for name in ("peak_mb", "gpu_mb"))
            told = sorted({said for cost in costs for said in cost["told"]})
            print(
                f"{jobs:12} {rate:18.2f} {memory:17.0f} MB {of_gpu:9.0f} MB   {', '.join(told)}", flush=True
            )


if __name__ == "__main__":
    main()
