"""Separation beside demucs: quality, time and memory, side by side in one run.

    python -m bench.separation [--songs DIR] [--minutes 4] [--programs demucs,exact,balanced,fast]
                               [--device cpu|cuda] [--json]

First every program separates every song whose true stems are known: SDR = 10 log10(|s|^2 / |s - e|^2) over
the whole clip, in dB. Then each separates one song of a given length, made of the others: that is timed.
A program runs in a process of its own, with its model loaded and used once before (see bench/programs.py);
they take turns on each song, so that what else the machine does meets all of them.

Songs: a folder of folders with ``mixture.flac`` and one file a true stem; a name such as ``bass+drums``
stands for a sum.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from api.jobs.supervisor import ENVIRONMENT
from bench.programs import OURS, PROGRAMS
from pipeline.config import WeightsConfig
from pipeline.weights.fetch import ensure
from pipeline.weights.registry import get_model_spec

ROOT = Path(__file__).parent.parent
SONGS = ROOT.parent / "shared" / "eval" / "separation"
STEMS = ("drums", "bass", "other", "vocals")
RATE = 44100


def measured(program: str, song: Path, out: Path, weights: Path, device: str) -> dict[str, Any]:
    """Run one program on one song: wall_s, cpu_s, peak_mb, gpu_mb, and the folder of the stems."""
    out.mkdir(parents=True)
    argv = [sys.executable, "-m", "bench.programs", program, song, out]
    argv += ["--weights", weights, "--device", device]
    environment = {**ENVIRONMENT, **os.environ} if program in OURS else None
    done = subprocess.run(
        [str(a) for a in argv], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{program} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def score(truth: Path, stems: Path) -> dict[str, float]:
    """SDR in dB of every true stem, or sum of stems, of a song."""
    made = {name: read(stems / f"{name}.wav") for name in STEMS}
    scores = {}
    for path in sorted(truth.glob("*.flac")):
        parts = path.stem.split("+")
        if set(parts) <= set(STEMS):
            true = read(path)
            error = true - sum(made[part] for part in parts)
            scores[path.stem] = float(10 * np.log10(np.sum(true**2) / np.sum(error**2)))
    return scores


def read(path: Path) -> np.ndarray:
    """float64 (samples, channels)."""
    samples, _ = soundfile.read(path, dtype="float64", always_2d=True)
    return samples


def song_of(minutes: float, mixtures: list[Path], path: Path) -> Path:
    """Write a recording of a given length, of others one after the other."""
    left = int(minutes * 60 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, subtype="PCM_16") as file:
        while left:
            for mixture in mixtures:
                samples, rate = soundfile.read(mixture, dtype="float32", always_2d=True)
                assert rate == RATE, mixture
                part = np.repeat(samples, 3 - samples.shape[1], axis=1)[:left, :2]
                file.write(part)
                left -= len(part)
    return path


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", type=Path, default=SONGS)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    programs = args.programs.split(",")
    songs = sorted(path.parent for path in args.songs.glob("*/mixture.flac"))
    if not songs:
        sys.exit(f"There are no songs in {args.songs}: give a folder with --songs.")
    folder = Path(os.environ["WEIGHTS_DIR"]) if "WEIGHTS_DIR" in os.environ else None
    (weights,) = ensure(get_model_spec("htdemucs"), WeightsConfig(cache_dir=folder))
    quality: dict[str, dict[str, dict[str, float]]] = {}
    speed: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for song in songs:
            for program in programs:
                found = measured(
                    program, song / "mixture.flac", scratch / song.name / program, weights, args.device
                )
                quality.setdefault(song.name, {})[program] = score(song, Path(found["stems"]))
        long = song_of(args.minutes, [song / "mixture.flac" for song in songs], scratch / "song.wav")
        for program in programs:
            speed[program] = measured(program, long, scratch / "long" / program, weights, args.device)
    if args.json:
        print(json.dumps({"quality": quality, "speed": speed}, indent=1))
        return
    show_quality(quality, programs)
    show_speed(speed, args.minutes)


def show_quality(quality: dict[str, dict[str, dict[str, float]]], programs: list[str]) -> None:
    """Print SDR, and how far each program is from the first."""
    print("SDR in dB".ljust(44) + "".join(program.rjust(20) for program in programs))
    gaps: dict[str, list[float]] = {program: [] for program in programs}
    for song, by_program in quality.items():
        for stem, first in by_program[programs[0]].items():
            cells = []
            for program in programs:
                gap = by_program[program][stem] - first
                gaps[program].append(gap)
                cells.append(f"{first + gap:11.3f} ({gap:+.3f})")
            print(f"  {song} {stem}".ljust(44) + "".join(cell.rjust(20) for cell in cells))
    for label, of in (("mean difference", np.mean), ("worst", min)):
        print(f"  {label}".ljust(44) + "".join(f"{of(gaps[program]):+.3f}".rjust(20) for program in programs))


def show_speed(speed: dict[str, dict[str, Any]], minutes: float) -> None:
    """Print times and memory, and how many times faster each program is than the first."""
    first = next(iter(speed.values()))
    print(f"\n{minutes:g} minutes, warm      wall     times faster   processor    peak memory   of the GPU")
    for program, cost in speed.items():
        faster = first["wall_s"] / cost["wall_s"]
        print(
            f"  {program:<16}{cost['wall_s']:9.1f} s {faster:11.2f} {cost['cpu_s']:12.1f} s"
            f" {cost['peak_mb']:11.0f} MB {cost['gpu_mb']:9.0f} MB"
        )


if __name__ == "__main__":
    main()
