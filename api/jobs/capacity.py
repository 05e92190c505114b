"""What a job takes of a machine: room on the disks, memory, cores. Pure but for looking at the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pipeline.codec.formats import FORMATS, Format
from pipeline.codec.probe import Probe
from pipeline.config import PipelineConfig, WeightsConfig
from pipeline.control_group import OWN, ControlGroup
from pipeline.estimators.base import ANALYSIS_RATE
from pipeline.exports.registry import AUDIO_TRACKS
from pipeline.stems import MINUS
from pipeline.weights.registry import HPSS, ModelSpec, get_model_spec
from pipeline.weights.speech import SpeechModel, present

_GIB: Final = 1 << 30
USUAL_RATE: Final = 44100
"""Hz of most recordings, and at which the networks work, so that a checkpoint holds it."""
_FLAC_SHARE: Final = 0.8
"""Of its PCM size, at most, for music at 24 bits. Stems take less: much of them is quiet."""
_LOSSY_BYTES_S: Final = 45_000
"""A second of a stereo stem in the largest of our lossy formats (360 kbit/s)."""
_LEAST_BYTES_S: Final = 1000
"""Bytes that a second of real recordings takes at least (8 kbit/s): bounds what a header may claim."""
_USUAL_BYTES_S: Final = 16_000
"""A second at 128 kbit/s: the guess where a header states no length."""
_CORES_A_WORKER: Final = 4
_VIEWS: Final = 2
"""Mono views of a recording that the estimators listen to, besides one of each stem: mix, all but drums."""
_ESTIMATING: Final = 256 << 20
"""What other estimators hold while lyrics are heard."""
_HEARING: Final = 192 << 20
"""What Whisper computes of the longest piece, besides its parameters."""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes on disk that a job needs.

    Attributes:
        work: in the outputs folder while it runs.
        checkpoint: in the data folder while it runs.
        result: in the outputs folder from then on.
    """

    work: int
    checkpoint: int
    result: int


def predict_room(size: int, probe: Probe, config: PipelineConfig) -> Room:
    """How much room a job will need: rather too much than too little.

    Args:
        size: bytes of the recording.
        probe: what its header claims.
        config: what is to be done.
    """
    spec = get_model_spec(config.model)
    claimed_s = size / _USUAL_BYTES_S if probe.claimed_s is None else probe.claimed_s
    # A longer one is refused when it is decoded.
    duration_s = min(claimed_s, size / _LEAST_BYTES_S, config.limits.max_duration_s)
    channels = min(probe.channels, 2) if config.channels == "stereo" else probe.channels
    samples = int(duration_s * probe.sample_rate) * channels
    published = [*(config.stems or spec.stems), *(["residual"] if config.residual == "file" else [])]
    kept = [*spec.stems, *(name for name in published if name.startswith(MINUS) or name == "residual")]
    network = spec.name != HPSS
    heard = int(duration_s * USUAL_RATE) * channels if network else 0
    views = _VIEWS + len(spec.stems) if config.estimators != () else 0
    viewed = views * int(duration_s * ANALYSIS_RATE)
    lossy = 0
    if "stem.mp4" in config.exports:
        lossy = int(AUDIO_TRACKS["stem.mp4"] * _LOSSY_BYTES_S * duration_s)
    # A click track, or the sum of the stems that a stem file holds in one.
    clicks = samples if {"click", "stem.mp4"} & set(config.exports) else 0
    # Mono is a pair of equal channels to a network, and pairs are what it makes.
    stored = heard // channels * 2 * -(-channels // 2) if network else samples
    a_stem = sum(_bytes_s(FORMATS[name], probe.sample_rate, channels) for name in config.formats)
    return Room(
        work=4 * (samples * (1 + len(kept)) + heard + viewed + clicks) + lossy,
        checkpoint=4 * stored * len(spec.stems),
        result=int(a_stem * duration_s) * len(published) + lossy + clicks // 2 + (64 << 10),
    )


def _bytes_s(fmt: Format, sample_rate: int, channels: int) -> float:
    if fmt.bits == 0:
        return _LOSSY_BYTES_S * -(-channels // 2)
    share = _FLAC_SHARE if fmt.name == "flac" else 1.0
    return fmt.sample_rate(sample_rate) * channels * fmt.bits / 8 * share


def predict_memory(spec: ModelSpec, speech: SpeechModel | None = None) -> int:
    """Bytes of memory that a worker takes at its peak, for stereo and whatever length.

    Measured on Linux with the CPU build of torch: htdemucs 1.95 GB (compiled, two segments at a time), hpss
    0.4 GB. A network's part besides its parameters is that of its segments; parameters count twice the file's
    16 bits, and as much again where they are compiled.

    Segments are gone when the estimators run; the network stays. What hears lyrics then takes 0.37 GB as
    whisper-tiny.en, of which most are two copies of its parameters while it is loaded, and its beams.

    Args:
        spec: the model that separates.
        speech: the model that hears lyrics; None where none is asked for.
    """
    network = spec.name != HPSS
    separating = int(1.6 * _GIB) + 4 * spec.bytes if network else int(0.45 * _GIB)
    if speech is None:
        return separating
    resting = int(0.75 * _GIB) + 4 * spec.bytes if network else int(0.2 * _GIB)
    return max(separating, resting + _ESTIMATING + int(2.5 * speech.bytes) + _HEARING)


def speech_here(weights: WeightsConfig) -> SpeechModel | None:
    """What hears lyrics on this machine, so that any job may ask for them; None where nothing does."""
    installed = find_spec("faster_whisper") is not None and find_spec("ctranslate2") is not None
    return present(weights) if installed else None


def workers_that_fit(spec: ModelSpec, cores: int, memory: int, reserve: int) -> int:
    """How many workers this machine should have.

    One worker with all cores beats one a core: on 2 cores two songs of 40 s took 37.5 s one after the other
    (2 threads) and 39.5 s side by side (1 thread each), so the first was ready in half the time, with half
    the memory. A network gains less from each further core, so past 4 cores another worker is worth more.

    Args:
        spec: the model that is used most.
        cores: of `usable_cores`.
        memory: bytes, of `available_memory`.
        reserve: bytes of memory that stay free.
    """
    by_memory = (memory - reserve) // predict_memory(spec)
    return max(min(by_memory, cores // _CORES_A_WORKER), 1)


def threads_a_worker(cores: int, workers: int) -> int:
    """How many threads each worker should compute with.

    Never more than there are cores for all: two workers with two threads each on 2 cores took 84 s for the
    two songs of `workers_that_fit`, because threads wait for one another at every layer.
    """
    return max(cores // max(workers, 1), 1)


def memory_allows(spec: ModelSpec, reserve: int, speech: SpeechModel | None = None) -> bool:
    """Whether this process may begin a job with a model: what it holds already counts as free.

    Args:
        spec: the model.
        reserve: bytes of memory that stay free.
        speech: the model that hears lyrics, where they may be asked for.
    """
    return available_memory() + own_memory() >= predict_memory(spec, speech) + reserve


def own_memory() -> int:
    """Bytes of memory that this process holds: its resident set, proc(5)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def available_memory(group: ControlGroup = OWN) -> int:
    """Bytes of memory that may still be used, by the machine and the control group.

    Args:
        group: of this process.
    """
    available, left = _memory_of_the_machine("MemAvailable"), group.memory_left()
    return available if left is None else min(available, left)


def memory_size(group: ControlGroup = OWN) -> int:
    """Bytes of memory that there are, by the machine and the control group.

    Args:
        group: of this process.
    """
    size, limit = _memory_of_the_machine("MemTotal"), group.memory_limit()
    return size if limit is None else min(size, limit)


def _memory_of_the_machine(name: str) -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields[name].split()[0]) << 10
