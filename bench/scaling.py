"""How time and memory grow with a recording's length, and with jobs at the same time.

    python -m bench.scaling [--minutes 1,5,30,180] [--jobs 1,2,4] [--precision balanced]

Whole jobs, warm: file in; four stems as FLAC, every estimator and the manifest out. Memory is the most that
the process ever held. Jobs at the same time are processes that share the cores as the service's workers do
(`WORKERS`), each with a recording of the first length.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from bench.separation import ROOT, SONGS, song_of
from pipeline.parallel import usable_cores

FLAT_AFTER_MIN = 5
"""From this length on, memory should not grow any more."""


def one(song: Path, precision: str, threads: int) -> None:
    """Run one job, warm, and print what it cost as JSON."""
    from pipeline.config import PipelineConfig
    from pipeline.run import run
    from pipeline.separators.registry import WarmModel

    config = PipelineConfig.model_validate({"precision": precision, "formats": ("flac",), "threads": threads})
    warm = WarmModel()
    with tempfile.TemporaryDirectory() as out:
        run(
            song_of(0.1, [SONGS / "falcon69" / "mixture.flac"], Path(out) / "short.wav"),
            Path(out),
            config,
            warm=warm,
        )
        print("ready", flush=True)
        sys.stdin.readline()
        began = monotonic()
        manifest = run(song, Path(out), config, warm=warm)
        wall_s = monotonic() - began
    stages = {stage.name: round(stage.seconds, 1) for stage in manifest.stages}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"wall_s": wall_s, "peak_mb": peak_mb, "stages": stages}), flush=True)


def together(song: Path, precision: str, jobs: int) -> tuple[float, list[dict[str, float]]]:
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
        "--threads",
        threads,
    ]
    running = [
        subprocess.Popen(
            [str(a) for a in argv], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.precision, args.threads)
        return
    mixtures = sorted(SONGS.glob("*/mixture.flac"))
    if not mixtures:
        sys.exit(f"There are no songs in {SONGS}.")
    lengths = [float(each) for each in args.minutes.split(",")]
    with tempfile.TemporaryDirectory() as name:
        songs = {minutes: song_of(minutes, mixtures, Path(name) / f"{minutes:g}.wav") for minutes in lengths}
        print("minutes       wall   x real time   peak memory   stages, s")
        flat_mb = None
        for minutes, song in songs.items():
            wall_s, (cost,) = together(song, args.precision, 1)
            if minutes >= FLAT_AFTER_MIN:
                flat_mb = flat_mb or cost["peak_mb"]
            grown = f" ({cost['peak_mb'] / flat_mb - 1:+.0%})" if flat_mb else ""
            print(
                f"{minutes:7g} {wall_s:8.1f} s {minutes * 60 / wall_s:11.2f} {cost['peak_mb']:10.0f} MB"
                f"{grown:8} {cost['stages']}",
                flush=True,
            )
        print("\njobs at once   minutes a minute   peak memory of all")
        for jobs in map(int, args.jobs.split(",")):
            wall_s, costs = together(songs[lengths[0]], args.precision, jobs)
            rate = jobs * lengths[0] * 60 / wall_s
            print(f"{jobs:12} {rate:18.2f} {sum(c['peak_mb'] for c in costs):17.0f} MB", flush=True)


if __name__ == "__main__":
    main()
