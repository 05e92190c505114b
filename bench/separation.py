"""Separation against the ``demucs`` command line: quality, time and memory, side by side in one run.

    python -m bench.separation [--songs DIR] [--json]

For every song both programs run as processes of their own, one after the other, with the same weights, the
same settings (shifts 0, overlap 0.25) and the same output format (WAV, 32-bit float, which neither of them
scales or clips); times are wall clock from start to end, set-up included. SDR = 10 log10(|s|^2 / |s - e|^2)
over the whole clip, in dB. Songs: a folder of folders with ``mixture.flac`` and one file a true stem; a name
such as ``bass+drums`` stands for a sum.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

import numpy as np
import soundfile

from pipeline.config import WeightsConfig
from pipeline.weights.fetch import ensure
from pipeline.weights.registry import get_model_spec

ROOT = Path(__file__).parent.parent
SONGS = ROOT.parent / "shared" / "eval" / "separation"
STEMS = ("drums", "bass", "other", "vocals")


@dataclass(frozen=True)
class Measured:
    """One program on one song.

    Attributes:
        wall_s: seconds from start to end.
        cpu_s: seconds of processor time.
        peak_mb: largest resident memory, MB.
        sdr_db: by stem group.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    sdr_db: dict[str, float]


def timed(argv: list[str | Path], environment: dict[str, str]) -> tuple[float, float, float]:
    """Run a program: wall seconds, processor seconds, peak MB."""
    start = monotonic()
    process = subprocess.Popen(
        [str(a) for a in argv], cwd=ROOT, env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv} failed:\n{said.decode(errors='replace')[-2000:]}")
    return monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def ours(mixture: Path, folder: Path, weights: Path) -> Measured:
    """Run this product's command line."""
    argv: list[str | Path] = [sys.executable, "-m", "pipeline", mixture, "--out", folder]
    argv += ["--format", "wav32f", "--estimators", "none"]
    cost = timed(argv, {"WEIGHTS_DIR": str(weights), "WEIGHTS_OFFLINE": "1"})
    (stems,) = folder.glob("*/stems")
    return Measured(*cost, score(mixture.parent, stems))


def theirs(mixture: Path, folder: Path, repo: Path) -> Measured:
    """Run the demucs command line."""
    argv: list[str | Path] = [sys.executable, "-m", "demucs", "--repo", repo, "-n", "htdemucs"]
    argv += ["--shifts", "0", "--float32", "--clip-mode", "none", "-o", folder, mixture]
    cost = timed(argv, {})
    (stems,) = folder.glob("htdemucs/*")
    return Measured(*cost, score(mixture.parent, stems))


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


def demucs_repo(weights: Path, folder: Path) -> Path:
    """Give the demucs command line the verified weights, as a model folder of its own kind."""
    import torch
    from demucs.states import get_state

    from pipeline.weights.load import read_network

    network = read_network(weights)
    args, kwargs = network._init_args_kwargs
    package = {"klass": type(network), "args": args, "kwargs": kwargs, "state": get_state(network, None)}
    torch.save(package, folder / f"{weights.stem}.th")
    (folder / "htdemucs.yaml").write_text(f"models: ['{weights.stem}']\n")
    return folder


def main() -> None:
    """Run both on every song and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", type=Path, default=SONGS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    songs = sorted(path.parent for path in args.songs.glob("*/mixture.flac"))
    if not songs:
        sys.exit(f"There are no songs in {args.songs}: give a folder with --songs.")
    folder = Path(os.environ["WEIGHTS_DIR"]) if "WEIGHTS_DIR" in os.environ else None
    (weights,) = ensure(get_model_spec("htdemucs"), WeightsConfig(cache_dir=folder))
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        repo = Path(scratch, "repo")
        repo.mkdir()
        demucs_repo(weights, repo)
        for song in songs:
            mixture = song / "mixture.flac"
            pair = {
                "ours": ours(mixture, Path(scratch, song.name, "ours"), weights.parent),
                "demucs": theirs(mixture, Path(scratch, song.name, "theirs"), repo),
            }
            rows[song.name] = {name: asdict(measured) for name, measured in pair.items()}
            if not args.json:
                show(song.name, **pair)
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        summarise(rows)


def show(song: str, ours: Measured, demucs: Measured) -> None:
    """Print one song."""
    print(f"{song}")
    for label, field, unit in (
        ("wall", "wall_s", "s"),
        ("processor", "cpu_s", "s"),
        ("peak memory", "peak_mb", "MB"),
    ):
        a, b = getattr(ours, field), getattr(demucs, field)
        print(f"  {label:<16} ours {a:9.2f} {unit:<2}  demucs {b:9.2f} {unit:<2}  ratio {a / b:6.3f}")
    for stem, db in ours.sdr_db.items():
        other = demucs.sdr_db[stem]
        print(f"  SDR {stem:<12} ours {db:9.3f} dB  demucs {other:9.3f} dB  difference {db - other:+.3f} dB")


def summarise(rows: dict[str, dict[str, dict]]) -> None:
    """Print the totals."""
    wall = {who: sum(r[who]["wall_s"] for r in rows.values()) for who in ("ours", "demucs")}
    peak = {who: max(r[who]["peak_mb"] for r in rows.values()) for who in ("ours", "demucs")}
    worst = max(
        abs(db - r["demucs"]["sdr_db"][stem])
        for r in rows.values()
        for stem, db in r["ours"]["sdr_db"].items()
    )
    ratio = wall["ours"] / wall["demucs"]
    print(
        f"all songs: wall {wall['ours']:.1f} s against {wall['demucs']:.1f} s, ratio {ratio:.3f}; "
        f"peak {peak['ours']:.0f} MB against {peak['demucs']:.0f} MB; largest SDR difference {worst:.3f} dB"
    )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
