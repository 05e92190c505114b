"""A separation that was killed resumes where it was, and the stems are those of one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import FloatArray
from pipeline.checkpoint_format import complete_identity
from pipeline.config import PipelineConfig, WeightsConfig
from pipeline.manifest import Manifest
from pipeline.progress import Progress
from pipeline.run import run
from tests.audio_files import music, write_wav

ROOT = Path(__file__).parents[2]
JOB = """
import os, pathlib, signal, sys
from pipeline.config import PipelineConfig
from pipeline.progress import Progress
from pipeline.run import run

source, out, checkpoint, config, segments, network = sys.argv[1:]
if network:
    import pipeline.weights.load
    from tests.networks import htdemucs, loaded
    pipeline.weights.load.load = lambda *_, **__: loaded([htdemucs()])

step, count = Progress.step, 0
def counted(self, fraction):
    global count
    count += self._stage == "separate" and 0 < fraction
    step(self, fraction)
    if count > int(segments):
        os.kill(os.getpid(), signal.SIGKILL)
Progress.step = counted
config = PipelineConfig.model_validate_json(config)
run(pathlib.Path(source), pathlib.Path(out), config, job_id="job", checkpoint=pathlib.Path(checkpoint))
"""


def run_until(
    segments: int, source: Path, folder: Path, config: PipelineConfig, *, tiny: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a job in a process that kills itself in the middle of the work on a segment's output."""
    arguments = [source, folder / "out", folder / "job.checkpoint", config.model_dump_json(), segments]
    return subprocess.run(
        [sys.executable, "-c", JOB, *map(str, arguments), "tiny" if tiny else ""],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def hashes(manifest: Manifest) -> dict[str, str]:
    return {artifact.name: artifact.sha256 for artifact in manifest.artifacts}


def counting(seen: list[float]) -> Progress:
    """Notes the fraction of every segment that is computed in this attempt."""
    progress = Progress()
    step, resume = progress.step, progress.resume

    def counted(fraction: float) -> None:
        if progress._stage == "separate" and fraction > 0:
            seen.append(fraction)
        step(fraction)

    def resumed(fraction: float) -> None:
        resume(fraction)
        seen.clear()

    progress.step, progress.resume = counted, resumed  # type: ignore[method-assign]
    return progress


@pytest.mark.long
@pytest.mark.parametrize(
    ("sample_rate", "channels", "options"),
    [
        (8000, 2, {}),
        (11025, 1, {"shifts": 2}),
        pytest.param(8000, 2, {"shifts": 2}, marks=pytest.mark.slow),
        pytest.param(11025, 1, {}, marks=pytest.mark.slow),
        *(
            pytest.param(sample_rate, channels, options, marks=pytest.mark.slow)
            for sample_rate, channels in ((8000, 2), (11025, 1))
            for options in ({"residual": "distribute"}, {"overlap": 0.6})
        ),
    ],
)
def test_a_tiny_network_that_is_killed_twice_gives_the_same_bytes(
    options: dict[str, object],
    sample_rate: int,
    channels: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pipeline.weights.load
    from tests.networks import htdemucs, loaded

    monkeypatch.setattr(pipeline.weights.load, "load", lambda *_, **__: loaded([htdemucs()]))
    config = PipelineConfig(estimators=(), threads=1).model_copy(update=options)
    source = write_wav(tmp_path / "song.wav", music(12.0, sample_rate, channels), sample_rate)
    segments: list[float] = []
    whole = run(source, tmp_path / "whole", config, progress=counting(segments))
    count = len(segments) - 1  # The stage itself reports its end, too.
    for kill in (count // 3, count // 2):
        said = run_until(kill, source, tmp_path, config)
        assert said.returncode == -signal.SIGKILL, said.stderr
    checkpoint = tmp_path / "job.checkpoint"
    stored = checkpoint.stat().st_size
    assert stored > 0
    resumed = run(
        source,
        tmp_path / "out",
        config,
        job_id="job",
        checkpoint=checkpoint,
        progress=counting(segments),
    )
    assert hashes(resumed) == hashes(whole)
    # A third and nearly a half were done; a few segments reach across each border.
    assert len(segments) - 1 <= count - count // 3 - count // 2 + 12
    assert complete_identity(checkpoint)  # It is the caller's, who may keep it for other jobs.
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["job"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_real_network_that_is_killed_gives_the_same_bytes(
    weights_dir: Path, song_mix: FloatArray, tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "song.wav", np.tile(song_mix, 4)[:, : 22 * 44100])
    config = PipelineConfig(
        estimators=(), threads=2, weights=WeightsConfig(cache_dir=weights_dir, offline=True)
    )
    segments: list[float] = []
    whole = run(source, tmp_path / "whole", config, progress=counting(segments))
    assert len(segments) - 1 == 4
    said = run_until(2, source, tmp_path, config, tiny=False)
    assert said.returncode == -signal.SIGKILL, said.stderr
    resumed = run(
        source,
        tmp_path / "out",
        config,
        job_id="job",
        checkpoint=tmp_path / "job.checkpoint",
        progress=counting(segments),
    )
    assert hashes(resumed) == hashes(whole)
    # Killed after its third segment, with two stored: the second reaches into the third block, so it is
    # computed again.
    assert len(segments) - 1 == 3


def test_an_attempt_with_other_options_begins_anew(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", music(60.0, 8000), 8000)
    config = PipelineConfig(model="hpss", estimators=())
    assert run_until(1, source, tmp_path, config, tiny=False).returncode == -signal.SIGKILL
    surround = config.model_copy(update={"channels": "stereo"})
    segments: list[float] = []
    plain = run(source, tmp_path / "plain", surround, progress=counting(segments))
    everything = len(segments)
    again = run(
        source,
        tmp_path / "out",
        surround,
        checkpoint=tmp_path / "job.checkpoint",
        progress=counting(segments),
    )
    assert hashes(again) == hashes(plain)
    assert len(segments) == 2 * everything
