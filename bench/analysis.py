"""What the estimators are worth: scored against tracks whose truth is known.

    python -m bench.analysis [--tracks DIR] [--kept DIR] [--only mix|stems]

The estimators hear every track alone, and then with the stems that a job makes of it; what they find goes
to the scorer that lies with the tracks. Columns: the baseline (librosa 0.11), the bar, the mix, the stems.
Last, what each estimator costs, on one core, and the loudness of EBU's own signals.

Tracks: a folder with ``audio/``, ``truth/``, ``ebu/`` and ``score.py``. ``--kept`` names a folder where the
separated stems stay for the next time: estimators are then tried in a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import process_time

import numpy as np
import numpy.typing as npt
import soundfile

from bench.separation import ROOT
from pipeline.annotations import Analysis, Annotation, Failed, LoudnessValues
from pipeline.audio import Audio, FloatArray
from pipeline.config import PipelineConfig
from pipeline.estimation import result_of
from pipeline.estimators.base import Recording
from pipeline.estimators.registry import ESTIMATORS
from pipeline.loudness import measure
from pipeline.run import run
from pipeline.scratch import ScratchWriter
from pipeline.separators.registry import WarmModel

TRACKS = ROOT.parent / "shared" / "eval" / "analysis"
BARS = {
    "tempo_acc1": (0.464, 0.80),
    "tempo_acc2": (0.857, 0.96),
    "beat_F": (0.611, 0.85),
    "beat_CMLt": (0.336, 0.72),
    "beat_AMLt": (0.645, None),
    "downbeat_F": (None, 0.70),
    "meter_acc": (None, 0.82),
    "key_weighted": (0.800, 0.97),
    "chord_majmin": (0.778, 0.92),
    "chord_sevenths": (0.722, 0.88),
    "section_F_0.5s": (0.265, 0.48),
    "section_F_3s": (0.480, 0.68),
}
"""Of the scorer's measures: what librosa 0.11 reaches on the mix, and what is asked for."""
EBU_LUFS = {"seq-3341-1": -23.0, "seq-3341-2": -33.0, **{f"seq-3341-{n}": -23.0 for n in (3, 4, 5, 7)}}
EBU_LU = {"seq-3342-1": 10.0, "seq-3342-2": 5.0, "seq-3342-3": 20.0, "seq-3342-4": 15.0}
"""EBU Tech 3341 and 3342, minimum requirements test signals."""


def opened(path: Path, scratch: Path) -> Audio:
    """Read a file as the estimators take it."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    with ScratchWriter(scratch / f"{path.stem}.f32", samples.shape[1]) as writer:
        writer.write(samples.T)
        return writer.audio(rate)


def analysed(mix: Path, stems: Mapping[str, Path], cost_s: dict[str, float]) -> Analysis:
    """Let every estimator hear a recording, and add up what each takes."""
    found: dict[str, Annotation] = {}
    results: dict[str, Annotation | Failed] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        heard = {stem: opened(path, scratch) for stem, path in stems.items()}
        recording = Recording(opened(mix, scratch), heard, scratch)
        for estimator in ESTIMATORS.values():
            began = process_time()
            result = results[estimator.name] = result_of(estimator, recording, found)
            cost_s[estimator.name] += process_time() - began
            if isinstance(result, Annotation):
                found[estimator.name] = result
            else:
                print(f"{mix.stem}: {estimator.name} failed: {result.error.message}", file=sys.stderr)
    return Analysis.model_validate(results)


def scored(tracks: Path, manifests: Path) -> dict[str, float]:
    """Means over tracks, by the tracks' own scorer."""
    argv = [sys.executable, tracks / "score.py", manifests, "--json"]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=True)
    return {name: found["mean"] for name, found in json.loads(done.stdout)["means"].items()}


def show_loudness(folder: Path) -> None:
    """Print how far the loudness estimator is from what EBU's signals are."""
    print("\nEBU signal              is      found")
    with tempfile.TemporaryDirectory() as name:
        for path in sorted(folder.glob("seq-*.flac")):
            mix = opened(path, Path(name))
            found = ESTIMATORS["loudness"].estimate(Recording(mix, {}, Path(name)), {})
            assert isinstance(found, LoudnessValues)
            signal = "-".join(path.stem.split("_")[0].split("-")[:3])
            if signal in EBU_LUFS:
                print(f"  {signal:14} {EBU_LUFS[signal]:8.1f} LUFS {found.integrated_lufs:8.2f}")
            elif signal in EBU_LU:
                print(f"  {signal:14} {EBU_LU[signal]:8.1f} LU   {found.range_lu:8.2f}")


def true_peak_signals() -> Iterator[tuple[str, float, Audio]]:
    """EBU Tech 3341, table 1, signals 15 to 23, by their description: name, dBTP and sound.

    20 to 23 are one waveform, made at four times the rate, of which every fourth sample is kept: a soft tone
    with a burst whose peak, 0 dBTP, lies between samples.
    """
    rate, time = 48_000, np.arange(48_000)
    tones = ((0.5, 4, 0.0), (0.5, 4, 45.0), (0.5, 6, 60.0), (0.5, 8, 67.5), (1.41, 4, 45.0))
    for number, (amplitude, part, degrees) in enumerate(tones, 15):
        # Without a fade the filter that finds peaks overshoots at both ends, and rightly so.
        fade = np.minimum(np.minimum(time, time[::-1]) / 4800, 1.0)
        tone = fade * amplitude * np.sin(2 * np.pi * time / part + np.radians(degrees))
        yield f"3341-{number}", 20 * np.log10(amplitude), Audio(_stereo(tone), rate)
    fine = np.arange(4 * 48_000)
    burst = np.exp(-0.5 * np.square((fine - 96_000) / 1200))
    wave = (0.5 + 0.5 * burst) * np.cos(2 * np.pi * (fine - 96_000) / 24)
    for offset in range(4):
        yield f"3341-{20 + offset}", 0.0, Audio(_stereo(wave[offset::4]), rate)


def _stereo(wave: npt.NDArray[np.float64]) -> FloatArray:
    return np.stack([wave, wave]).astype(np.float32)


def show_true_peaks() -> None:
    """Print how far true peaks are from what they are."""
    print("\ntrue peak               is      found")
    for name, truth_dbtp, signal in true_peak_signals():
        found = measure(signal).true_peak_dbtp
        assert found is not None
        print(f"  {name:14} {truth_dbtp:8.2f} dBTP {found:8.2f}")


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=Path, default=TRACKS)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--only", choices=("mix", "stems"))
    args = parser.parse_args()
    audio = sorted((args.tracks / "audio").iterdir())
    if not audio:
        sys.exit(f"There are no tracks in {args.tracks}: give a folder with --tracks.")
    heard = [args.only] if args.only else ["mix", "stems"]
    scores: dict[str, dict[str, float]] = {}
    cost_s: dict[str, dict[str, float]] = {each: defaultdict(float) for each in heard}
    with tempfile.TemporaryDirectory() as name:
        jobs = args.kept or Path(name) / "jobs"
        jobs.mkdir(exist_ok=True)
        for each in heard:
            warm = WarmModel()
            for track in audio:
                stems: dict[str, Path] = {}
                if each == "stems":
                    if not (jobs / track.stem).exists():
                        config = PipelineConfig(formats=("flac",), estimators=())
                        run(track, jobs, config, job_id=track.stem, warm=warm)
                    stems = {path.stem: path for path in (jobs / track.stem / "stems").glob("*.flac")}
                analysis = analysed(track, stems, cost_s[each])
                path = Path(name) / each / f"{track.stem}.json"
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps({"analysis": analysis.model_dump(mode="json")}))
            scores[each] = scored(args.tracks, Path(name) / each)
    print("measure            librosa     bar" + "".join(f"{each:>9}" for each in heard))
    for score, (baseline, bar) in BARS.items():
        figures = [baseline, bar, *(scores[each].get(score) for each in heard)]
        cells = ["-" if figure is None else f"{figure:.3f}" for figure in figures]
        print(f"{score:17}" + "".join(f"{cell:>9}" for cell in cells))
    length_s = sum(soundfile.info(track).duration for track in audio)
    print("\nestimator, seconds of one core for a second of recording")
    for estimator in ESTIMATORS:
        print(f"  {estimator:15}" + "".join(f"{cost_s[each][estimator] / length_s:9.4f}" for each in heard))
    print("  all            " + "".join(f"{sum(cost_s[each].values()) / length_s:9.4f}" for each in heard))
    show_loudness(args.tracks / "ebu")
    show_true_peaks()


if __name__ == "__main__":
    main()
