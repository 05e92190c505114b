"""How much memory a job holds from its start to its end: a trace, at each of several lengths.

    python -m bench.memory [--minutes 5,180] [--model htdemucs] [--precision fast] [--every 10] [--trace FILE]

A whole job: file in; four stems as FLAC, every estimator, a checkpoint and the manifest out, by a process
whose model has separated a short piece before. Every few seconds the kernel is asked for the most that the
process held since it was asked last, so no peak falls between two looks: resident memory; and of it what is
private, without the pages of files that happen to be in memory. A second of stereo takes 3.4 MB of disk.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from api.jobs.supervisor import ENVIRONMENT
from bench.separation import ROOT, SONGS, song_of

PARTS = 10
"""A trace is told by the most in each tenth of the time."""


class Sample(NamedTuple):
    """What was seen of a process at a moment.

    Attributes:
        elapsed_s: since the job began.
        stage: of the job.
        done: 0..1, how much of the stage.
        peak_mb: most resident memory since the sample before.
        rss_mb: resident memory now.
        private_mb: of that, what no file backs.
    """

    elapsed_s: float
    stage: str
    done: float
    peak_mb: float
    rss_mb: float
    private_mb: float


def one(song: Path, model: str, precision: str) -> None:
    """Run one job, warm; print a line of JSON for every hundredth of a stage."""
    from pipeline.config import PipelineConfig
    from pipeline.progress import Progress, ProgressEvent
    from pipeline.run import run
    from pipeline.separators.registry import WarmModel

    told = ("", -1)

    def tell(event: ProgressEvent) -> None:
        nonlocal told
        now = (event.stage, int(100 * event.stage_fraction))
        if now != told:
            told = now
            print(json.dumps({"stage": event.stage, "done": event.stage_fraction}), flush=True)

    asked = {"model": model, "precision": precision, "formats": ("flac",)}
    config = PipelineConfig.model_validate(asked)
    warm = WarmModel()
    with tempfile.TemporaryDirectory(dir=song.parent) as name:
        out = Path(name)
        mixture = SONGS / "falcon69" / "mixture.flac"
        run(song_of(0.1, [mixture], out / "short.wav"), out, config, warm=warm)
        progress = Progress(tell)
        run(song, out, config, warm=warm, progress=progress, checkpoint=out / "checkpoint")


def held(pid: int) -> tuple[float, float, float]:
    """Resident memory of a process in MB: the most since this was asked last, now, and now without files."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    peak, rss, private = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmHWM", "VmRSS", "RssAnon"))
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak begins anew.
    return peak, rss, private


def traced(song: Path, model: str, precision: str, every_s: float) -> Iterator[Sample]:
    """Run a job and look at it until it ends."""
    argv = [sys.executable, "-m", "bench.memory", "--one", str(song)]
    argv += ["--model", model, "--precision", precision]
    environment = {**ENVIRONMENT, **os.environ}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        now = {"stage": "", "done": 0.0}
        moved = threading.Event()

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                said = json.loads(line)
                if said["stage"] != now["stage"]:
                    moved.set()
                now.update(said)
            moved.set()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        moved.wait()  # Until the job begins.
        began = monotonic()
        while listener.is_alive():
            stage, done = now["stage"], now["done"]
            moved.clear()
            moved.wait(every_s)
            try:
                peak, rss, private = held(process.pid)
            except (OSError, KeyError):  # It has just ended.
                break
            yield Sample(monotonic() - began, str(stage), float(done), peak, rss, private)
        if process.wait():
            sys.exit(f"the job failed with {process.returncode}")


def show(minutes: float, samples: list[Sample], flat_mb: float | None) -> float:
    """Print a trace: by tenths of the time, and by stages. Gives its maximum."""
    end = samples[-1].elapsed_s
    tenths = [0.0] * PARTS
    stages: dict[str, tuple[float, float, float]] = {}
    for sample in samples:
        part = min(int(PARTS * sample.elapsed_s / end), PARTS - 1)
        tenths[part] = max(tenths[part], sample.peak_mb)
        peak, private, _ = stages.get(sample.stage, (0.0, 0.0, 0.0))
        stages[sample.stage] = (
            max(peak, sample.peak_mb),
            max(private, sample.private_mb),
            sample.elapsed_s,
        )
    most = max(tenths)
    grown = f" ({most / flat_mb - 1:+.0%})" if flat_mb else ""
    print(f"\n{minutes:g} minutes: {most:.0f} MB at most{grown}, {end:.0f} s")
    print("  most by tenths of the time, MB: " + " ".join(f"{each:.0f}" for each in tenths))
    for stage, (peak, private, until) in stages.items():
        print(f"  {stage:10} until {until:8.0f} s {peak:7.0f} MB, private {private:7.0f} MB")
    return most


def main() -> None:
    """Trace a job of each length."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", default="5,180")
    parser.add_argument("--model", default="htdemucs")
    parser.add_argument("--precision", default="fast")
    parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--trace", type=Path, help="a CSV file for every sample, kept up to date")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.model, args.precision)
        return
    mixtures = sorted(SONGS.glob("*/mixture.flac"))
    if not mixtures:
        sys.exit(f"There are no songs in {SONGS}.")
    flat_mb = None
    with tempfile.TemporaryDirectory() as name, (args.trace or Path(os.devnull)).open("w") as file:
        table = csv.writer(file)
        table.writerow(("minutes", *Sample._fields))
        for minutes in map(float, args.minutes.split(",")):
            song = song_of(minutes, mixtures, Path(name) / f"{minutes:g}.wav")
            samples = []
            for sample in traced(song, args.model, args.precision, args.every):
                samples.append(sample)
                table.writerow((minutes, *(round(v, 3) if isinstance(v, float) else v for v in sample)))
                file.flush()
            song.unlink()
            most = show(minutes, samples, flat_mb)
            flat_mb = flat_mb or most


if __name__ == "__main__":
    main()
