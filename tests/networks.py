"""Small networks of Demucs' own classes with random weights: they separate nothing, in milliseconds."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

import torch
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from pipeline.config import PipelineConfig
from pipeline.separators.demucs import DemucsSeparator
from pipeline.separators.torch_engine import TorchEngine
from pipeline.weights.load import LoadedModel
from pipeline.weights.registry import get_model_spec

torch.set_num_threads(1)  # They are so small that threads only wait for one another.

SOURCES = ["drums", "bass", "other", "vocals"]
SAMPLE_RATE = 8000


def htdemucs(seed: int = 1) -> torch.nn.Module:
    """A transformer network that takes segments of 0.5 s."""
    torch.manual_seed(seed)
    model = HTDemucs(
        SOURCES, channels=8, nfft=512, depth=3, t_layers=1, t_heads=2, bottom_channels=16, dconv_depth=1,
        dconv_comp=2, norm_starts=2, segment=Fraction(1, 2), samplerate=SAMPLE_RATE,
    )  # fmt: skip
    return model.eval()


def plain_htdemucs(seed: int = 1) -> torch.nn.Module:
    """The same, of the parts that the published models have, so that it can be compiled."""
    torch.manual_seed(seed)
    model = HTDemucs(
        SOURCES, channels=8, nfft=512, depth=3, t_layers=3, t_heads=2, bottom_channels=16, dconv_depth=2,
        dconv_comp=2, dconv_mode=3, norm_starts=4, segment=Fraction(1, 2), samplerate=SAMPLE_RATE,
    )  # fmt: skip
    return model.eval()


def hdemucs(seed: int = 1) -> torch.nn.Module:
    """A network without a transformer, which takes segments of any length; 1 s here."""
    torch.manual_seed(seed)
    model = HDemucs(
        SOURCES,
        channels=8,
        nfft=1024,
        depth=5,
        dconv_comp=2,
        segment=1,
        samplerate=SAMPLE_RATE,
        norm_starts=2,
    )
    return model.eval()


def loaded(networks: list[torch.nn.Module], shares: list[tuple[float, ...]] | None = None) -> LoadedModel:
    """Wrap networks as a loaded model."""
    segment_s = float(networks[0].segment)  # type: ignore[arg-type]
    return LoadedModel(
        spec=get_model_spec("htdemucs"),
        networks=tuple(networks),
        shares=tuple(shares or [(1.0,) * len(SOURCES)] * len(networks)),
        content_sha256="0" * 64,
        sample_rate=SAMPLE_RATE,
        segment_s=segment_s,
        longest_segment_s=segment_s,
    )


def separator_of(
    model: LoadedModel, config: PipelineConfig | None = None, wanted: Collection[str] = SOURCES
) -> DemucsSeparator:
    """The separator of a loaded model, computed by the reference."""
    engine = TorchEngine(model.networks, "cpu")
    return DemucsSeparator(model, config or PipelineConfig(), wanted, engine)
