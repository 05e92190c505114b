"""The programs that are compared, each warm in its own process: `python -m bench.programs NAME SONG OUT`.

The model is loaded and has separated a short piece before the clock starts. What is timed is a file in, four
stems out as 32-bit float WAV, which no program scales or clips; ours write their manifest too. demucs runs at
its own defaults, which are those of ``exact`` and ``balanced`` too; ``onnxruntime`` is this product's stream
around the published ONNX graph. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pipeline.separators.registry import WarmModel

OURS = ("exact", "balanced", "fast")
PROGRAMS = ("demucs", "onnxruntime", *OURS)

Program = Callable[[Path, Path], Path]
"""Separates a file into a folder, and says where the stems are."""


def demucs(weights: Path, repo: Path, device: str) -> Program:
    """The demucs command line at its defaults, but for its random shift: `demucs.separate.main`."""
    from demucs.api import Separator
    from demucs.audio import save_audio

    demucs_repo(weights, repo)
    separator = Separator(model="htdemucs", repo=repo, device=device, shifts=0, overlap=0.25, progress=False)

    def separate(song: Path, out: Path) -> Path:
        _, stems = separator.separate_audio_file(song)
        for name, stem in stems.items():
            save_audio(stem, str(out / f"{name}.wav"), separator.samplerate, clip="none", as_float=True)
        return out

    return separate


def ours(precision: str, weights: Path, device: str, warm: WarmModel) -> Program:
    """This product, as its workers run it."""
    from pipeline.config import PipelineConfig, WeightsConfig
    from pipeline.run import run

    where = WeightsConfig(cache_dir=weights.parent, offline=True)
    config = PipelineConfig.model_validate(
        {
            "precision": precision,
            "device": device,
            "formats": ("wav32f",),
            "estimators": (),
            "weights": where,
        }
    )

    def separate(song: Path, out: Path) -> Path:
        manifest = run(song, out, config, warm=warm)
        return out / manifest.job_id / "stems"

    return separate


def demucs_repo(weights: Path, folder: Path) -> None:
    """Give demucs the verified weights, as a model folder of its own kind."""
    import torch
    from demucs.states import get_state

    from pipeline.weights.load import read_network

    network = read_network(weights)
    args, kwargs = network._init_args_kwargs
    package = {"klass": type(network), "args": args, "kwargs": kwargs, "state": get_state(network, None)}
    torch.save(package, folder / f"{weights.stem}.th")
    (folder / "htdemucs.yaml").write_text(f"models: ['{weights.stem}']\n")


def program(name: str, weights: Path, device: str, folder: Path) -> Program:
    """Build one of `PROGRAMS`.

    Args:
        name: which.
        weights: of htdemucs, verified.
        device: ``cpu`` or ``cuda``; onnxruntime knows only the first.
        folder: scratch.
    """
    from pipeline.separators.registry import WarmModel

    if name == "demucs":
        return demucs(weights, folder, device)
    if name == "onnxruntime":
        from bench.onnx_engine import OnnxModel

        # Beside the weights: it is fetched once, not for every run.
        return ours("exact", weights, "cpu", OnnxModel(weights.parent))
    return ours(name, weights, device, WarmModel())


def processor_s() -> float:
    """Seconds of processor time, of this process and those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def gpu_peak_mb(device: str) -> float:
    """Most memory of the GPU that torch has held so far; 0 on a CPU."""
    if device == "cpu":
        return 0.0
    import torch

    return torch.cuda.max_memory_reserved() / 1e6


def main() -> None:
    """Time one program on one song."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("song", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
        folder = Path(scratch)
        build = program(args.program, args.weights, args.device, folder)
        noise = np.random.default_rng(0).standard_normal((44100, 2)) * 0.1
        soundfile.write(folder / "short.wav", noise, 44100)
        build(folder / "short.wav", folder)
        began, used = monotonic(), processor_s()
        stems = build(args.song, args.out)
        wall_s, cpu_s = monotonic() - began, processor_s() - used
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    found = {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_mb, "stems": str(stems)}
    found["gpu_mb"] = gpu_peak_mb(args.device)
    os.write(1, json.dumps(found).encode())


if __name__ == "__main__":
    main()
