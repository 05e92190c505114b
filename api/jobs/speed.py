"""How long jobs take on this machine: learned from those that have ended.

Every stage has a unit of its own: networks are run on segments, so a recording of 6 s costs two and one of
11 s also two; decoding, estimating and encoding, for exports too, go by the second. What a unit took in
earlier jobs, and what of a job goes by no unit, tells what the next one will take. Loading a model, and
separations that an earlier attempt or another job has made, are no part of that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from pipeline.config import PipelineConfig
from pipeline.estimators.registry import select
from pipeline.exports.registry import AUDIO_TRACKS
from pipeline.manifest import Manifest
from pipeline.progress import StageSpeed
from pipeline.separators.engines import MOST_PARALLEL
from pipeline.stems import MINUS
from pipeline.weights.registry import HPSS, ModelSpec, get_model_spec

_SEGMENT_S: Final = 7.8
"""Of the networks with a transformer; where it is another, the figures still compare like with like."""
_SEPARATE_GUESS: Final = {"exact": 2.7, "balanced": 1.3}
"""Seconds for a network and a segment on two cores, until a job has shown it: see docs/measurements.md."""
_HPSS_GUESS: Final = 1.0
_DECODE_GUESS, _ESTIMATE_GUESS, _ENCODE_GUESS, _REST_GUESS = 0.003, 0.003, 0.003, 0.3
"""Seconds a second of audio, of audio for each estimator, of audio for each file; and whatever the job."""
_LOAD_GUESS_S: Final = 3.0
_LOADED_S: Final = 0.5
"""Preparing takes longer than this only where a model had to be loaded."""
_LEAST_SHARE: Final = 0.2
"""A separation of which a job made less says nothing about its speed."""
_RECENT: Final = 9
"""Jobs that are looked at: their median forgets four that met a busy machine."""

_COUNTED: Final = (
    "model", "precision", "shifts", "overlap", "segment_s", "stems", "residual", "formats", "estimators",
    "exports",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """What a speed is true for.

    Attributes:
        model: its name.
        arithmetic: ``exact``, or ``balanced``, which ``fast`` computes in too.
        device: ``cpu`` or ``cuda``.
        threads: of one separation. Workers share the cores, so they tell how many work beside one another.
    """

    model: str
    arithmetic: str
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a job has to do.

    Attributes:
        segments: that each network is run on, one after the other.
        runs: networks, shifts and stereo pairs for each of them.
        audio_s: seconds of the recording.
        estimators: how many.
        files: how many are encoded.
        exported: tracks of audio that are encoded for exports.
    """

    segments: int
    runs: int
    audio_s: float
    estimators: int
    files: int
    exported: int

    def passes(self, machine: Machine) -> int:
        """Segments through networks; of several that run side by side the last ones may be fewer."""
        one_network = len(get_model_spec(machine.model).members) == 1
        compiled = machine.arithmetic == "balanced" and machine.device == "cpu" and one_network
        side = min(machine.threads, MOST_PARALLEL) if compiled else 1
        return math.ceil(self.segments / side) * side * self.runs


@dataclass(frozen=True, slots=True)
class Speed:
    """What a job has shown.

    Attributes:
        machine: what it is true for.
        set_up_s: seconds until the model was ready.
        pass_s: for a segment and a network.
        decode_s: for a second of audio.
        estimate_s: for a second of audio and an estimator; None where there was none.
        encode_s: for a second of audio and a file or exported track; None where there was none.
        rest_s: of the stages that take the same whatever the recording.
    """

    machine: Machine
    set_up_s: float
    pass_s: float
    decode_s: float
    estimate_s: float | None
    encode_s: float | None
    rest_s: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a job will take.

    Attributes:
        stages: seconds of each stage of `pipeline.progress.STAGES`, without loading the model.
        load_s: seconds to load the model, where it is not.
        measured: whether the speed was seen here; else it is a guess.
    """

    stages: Mapping[str, float]
    load_s: float
    measured: bool

    @property
    def seconds(self) -> float:
        """Of all stages, in a worker whose model is loaded."""
        return sum(self.stages.values())


def work_of(
    duration_s: float, options: Mapping[str, Any], defaults: PipelineConfig, channels: int = 2
) -> Work:
    """What a job has to do.

    Args:
        duration_s: of the recording.
        options: of `pipeline.config.PipelineConfig`, those that were chosen.
        defaults: of jobs that do not say otherwise.
        channels: of the recording, as it is separated.
    """
    config = _asked(options, defaults)
    spec = get_model_spec(config.model)
    length_s = config.segment_s or spec.segment_s or _SEGMENT_S
    files = len(config.stems or spec.stems) + (config.residual == "file")
    return Work(
        segments=max(math.ceil(duration_s / (length_s * (1.0 - config.segment_overlap))), 1),
        runs=_networks(spec, config) * max(config.shifts, 1) * -(-channels // 2),
        audio_s=duration_s,
        estimators=len(select(config.estimators)),
        files=files * len(config.formats),
        exported=sum(AUDIO_TRACKS.get(name, 0) for name in set(config.exports)),
    )


def speed_of(
    manifest: Manifest, stages: Mapping[str, StageSpeed], config: PipelineConfig, threads: int
) -> Speed | None:
    """What a job that has ended shows; None: nothing, as most of it was taken over, or a GPU did not last.

    Args:
        manifest: of the job.
        stages: how long each took.
        config: what was done.
        threads: of its separation.
    """
    device, share = manifest.separation.device, stages["separate"].share
    if share < _LEAST_SHARE or "+" in device or manifest.input.duration_s <= 0.0:
        return None
    channels = manifest.input.channels if config.channels == "keep" else min(manifest.input.channels, 2)
    work = work_of(manifest.input.duration_s, {}, config, channels)
    machine = Machine(config.model, _arithmetic(config), device, threads)
    estimator_s, file_s = work.estimators * work.audio_s, (work.files + work.exported) * work.audio_s
    encoding_s = stages["encode"].seconds + (stages["export"].seconds if "export" in stages else 0.0)
    return Speed(
        machine=machine,
        set_up_s=stages["separate"].set_up_s,
        pass_s=stages["separate"].seconds / (share * work.passes(machine)),
        decode_s=stages["decode"].seconds / work.audio_s,
        estimate_s=stages["estimate"].seconds / estimator_s if estimator_s else None,
        encode_s=encoding_s / file_s if file_s else None,
        rest_s=stages["probe"].seconds + stages["publish"].seconds,
    )


def predict(
    duration_s: float, options: Mapping[str, Any], speeds: Sequence[Speed], defaults: PipelineConfig
) -> Prediction:
    """Predict the time of a job, without waiting.

    Args:
        duration_s: of the recording.
        options: of `pipeline.config.PipelineConfig`, those that were chosen.
        speeds: of jobs that have ended, the newest first. The newest of the same model and arithmetic says
            which device and how many threads there are now.
        defaults: of jobs that do not say otherwise.
    """
    config = _asked(options, defaults)
    work = work_of(duration_s, options, defaults)
    arithmetic = _arithmetic(config)
    alike = [s for s in speeds if (s.machine.model, s.machine.arithmetic) == (config.model, arithmetic)]
    machine = Machine(config.model, arithmetic, "cpu", defaults.threads or MOST_PARALLEL)
    if alike:
        machine = alike[0].machine
        alike = [s for s in alike if s.machine == machine][:_RECENT]
        pass_s = median(s.pass_s for s in alike)
    else:
        # How much faster than the guess this machine is at other models.
        faster = [s.pass_s / _guess_s(s.machine) for s in speeds[:_RECENT] if s.machine.model != HPSS]
        pass_s = _guess_s(machine) * (median(faster) if faster else 1.0)
    here = alike or speeds[:_RECENT]
    encode_s = work.audio_s * _usual((s.encode_s for s in here), _ENCODE_GUESS)
    loads = [s.set_up_s for s in alike if s.set_up_s > _LOADED_S]
    return Prediction(
        stages={
            "probe": _usual((s.rest_s for s in here), _REST_GUESS),
            "decode": work.audio_s * _usual((s.decode_s for s in here), _DECODE_GUESS),
            "separate": work.passes(machine) * pass_s,
            "estimate": work.audio_s
            * work.estimators
            * _usual((s.estimate_s for s in here), _ESTIMATE_GUESS),
            "encode": work.files * encode_s,
            "export": work.exported * encode_s,
        },
        # The first of them may have fetched the weights, too.
        load_s=(min(loads) if loads else _LOAD_GUESS_S) if get_model_spec(config.model).members else 0.0,
        measured=bool(alike),
    )


def _usual(values: Iterable[float | None], guess: float) -> float:
    known = [value for value in values if value is not None]
    return median(known) if known else guess


def _guess_s(machine: Machine) -> float:
    return _HPSS_GUESS if machine.model == HPSS else _SEPARATE_GUESS[machine.arithmetic]


def _arithmetic(config: PipelineConfig) -> str:
    return "exact" if config.precision == "exact" else "balanced"


def _asked(options: Mapping[str, Any], defaults: PipelineConfig) -> PipelineConfig:
    """What decides how much is computed; all else may be what this version no longer knows."""
    return defaults.model_copy(update={name: options[name] for name in _COUNTED if name in options})


def _networks(spec: ModelSpec, config: PipelineConfig) -> int:
    """How many networks are run: those that have a share in what is wanted, as in `pipeline.run`."""
    wanted = set(spec.stems)
    if config.stems is not None and config.residual == "report":
        wanted = {name.removeprefix(MINUS) for name in config.stems}
    run = [
        any(share for name, share in zip(spec.stems, member.shares, strict=True) if name in wanted)
        for member in spec.members
    ]
    return max(sum(run), 1)
