"""Our streaming arithmetic against demucs' own apply_model, on small networks with random weights."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from demucs.apply import BagOfModels, apply_model

from pipeline.audio import Audio
from pipeline.config import PipelineConfig
from pipeline.progress import CancelToken
from pipeline.separators.segments import NormalisedMix, lockstep, skip
from pipeline.separators.torch_engine import fused_attention
from tests.networks import hdemucs, htdemucs, loaded, separator_of


def mix(seconds: float = 1.3) -> Audio:
    n = int(seconds * 8000)
    rng = np.random.default_rng(5)
    return Audio((0.1 * rng.standard_normal((2, n)) + 0.02).astype(np.float32), 8000)


def ours(
    networks: list[torch.nn.Module], shares: list[tuple[float, ...]], audio: Audio, config: PipelineConfig
) -> torch.Tensor:
    """Normalised estimates, float32 (stems, channels, samples)."""
    heard = NormalisedMix(audio, ((0, 1),))
    with torch.inference_mode():
        blocks = list(
            separator_of(loaded(networks, shares), config)._estimates(heard, lambda _: None, CancelToken())
        )
    return torch.from_numpy(np.concatenate(blocks, axis=-1)[0])


def normalised(audio: Audio) -> torch.Tensor:
    return NormalisedMix(audio, ((0, 1),)).window(0, audio.length)


@pytest.fixture(autouse=True)
def the_same_attention_kernel_for_both() -> Iterator[None]:
    with fused_attention():
        yield


@pytest.mark.parametrize("make", [htdemucs, hdemucs])
@pytest.mark.parametrize(
    ("seconds", "overlap"), [(0.2, 0.25), (0.5, 0.25), (1.7, 0.0), (1.7, 0.25), (1.3, 0.5)]
)
def test_the_stream_equals_apply_model_bit_for_bit(
    make: Callable[[int], torch.nn.Module], seconds: float, overlap: float
) -> None:
    network, audio = make(1), mix(seconds)
    theirs = apply_model(network, normalised(audio), shifts=0, overlap=overlap)[0]
    mine = ours([network], [(1.0,) * 4], audio, PipelineConfig(overlap=overlap))
    assert torch.equal(mine, theirs)


def test_a_segment_of_another_length_equals_apply_model_bit_for_bit() -> None:
    network, audio = htdemucs(1), mix()
    theirs = apply_model(network, normalised(audio), shifts=0, segment=0.4)[0]
    # A segment is asked for in seconds of at least 0.5 by users; the small network takes at most that.
    config = PipelineConfig.model_construct(**{**dict(PipelineConfig()), "segment_s": 0.4})
    assert torch.equal(ours([network], [(1.0,) * 4], audio, config), theirs)


def test_a_bag_of_networks_equals_apply_model_bit_for_bit() -> None:
    networks, audio = [htdemucs(1), htdemucs(2), htdemucs(3)], mix()
    shares = [(1.0, 0.0, 1.0, 1.0), (0.0, 1.0, 1.0, 0.0), (0.0, 0.0, 0.5, 1.0)]
    theirs = apply_model(BagOfModels(networks, [list(s) for s in shares]), normalised(audio), shifts=0)[0]
    assert torch.equal(ours(networks, shares, audio, PipelineConfig()), theirs)


def test_shifts_equal_apply_model_with_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    network, audio = htdemucs(1), mix()
    draw = random.Random(0)
    monkeypatch.setattr("demucs.apply.random.randint", draw.randint)
    theirs = apply_model(network, normalised(audio), shifts=3)[0]
    mine = ours([network], [(1.0,) * 4], audio, PipelineConfig(shifts=3))
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_normalised_pairs_have_mean_zero_and_deviation_one_and_come_back() -> None:
    audio = mix()
    heard = NormalisedMix(audio, ((0, 1),))
    window = heard.window(0, audio.length)
    mono = window.mean(dim=1)
    assert abs(float(mono.mean())) < 1e-5
    assert float(mono.std()) == pytest.approx(1.0, abs=1e-4)
    restored = heard.restore(window[:, None].numpy())
    assert np.allclose(restored[0], audio.samples, atol=1e-6)


def test_lockstep_pairs_streams_whose_blocks_end_at_different_places() -> None:
    def stream(*sizes: int) -> Iterator[torch.Tensor]:
        at = 0
        for size in sizes:
            yield torch.arange(at, at + size)
            at += size

    joined = [
        torch.cat(column)
        for column in zip(*lockstep([stream(3, 3, 4), stream(5, 5), stream(10)]), strict=True)
    ]
    for column in joined:
        assert column.tolist() == list(range(10))


def test_skip_drops_samples_across_blocks() -> None:
    blocks = [torch.arange(3), torch.arange(3, 6), torch.arange(6, 9)]
    assert torch.cat(list(skip(iter(blocks), 4))).tolist() == [4, 5, 6, 7, 8]
