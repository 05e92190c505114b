"""From a model's name to the separator that runs it."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.config import PipelineConfig
from pipeline.errors import DeviceUnavailable
from pipeline.progress import CancelToken
from pipeline.separators.base import Separator
from pipeline.separators.hpss import HpssSeparator
from pipeline.weights.registry import HPSS, ModelSpec


def build_separator(
    spec: ModelSpec, config: PipelineConfig, wanted: Collection[str], cancel: CancelToken
) -> Separator:
    """Make the separator that a job asked for; its weights are fetched if need be.

    Args:
        spec: the model.
        config: options of the job.
        wanted: names of the model's stems that will be used.
        cancel: stops a download.

    Raises:
        WeightsError: the weights cannot be had or trusted.
        DeviceUnavailable: ``cuda`` was asked for and is not there.
        OptionInvalid: the segment does not fit the model.
    """
    if spec.name == HPSS:
        return HpssSeparator()
    import torch

    from pipeline.separators.demucs import DemucsSeparator
    from pipeline.weights.load import load

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    loaded = load(spec, config.weights, cancel=cancel)
    return DemucsSeparator(loaded, config, wanted, choose_device(config.device))


def choose_device(asked: str) -> str:
    """Decide where to compute.

    Args:
        asked: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DeviceUnavailable: ``cuda`` was asked for and is not there.
    """
    import torch

    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise DeviceUnavailable(
            "No CUDA device is available on this machine.",
            "Use device cpu or auto, or install a driver and the CUDA build of torch: make setup TORCH=cuda.",
        )
    return "cuda" if there and asked != "cpu" else "cpu"
