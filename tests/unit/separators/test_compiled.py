"""Compiled networks against Demucs' own, on small ones with random weights."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pipeline.audio import FloatArray
from pipeline.separators.compiled.engine import CompiledEngine, best_precision
from pipeline.separators.compiled.graph import is_supported
from pipeline.separators.compiled.transforms import to_spectrum, to_wave
from pipeline.separators.compiled.verify import agreement_db, music
from pipeline.separators.torch_engine import TorchEngine
from tests.networks import hdemucs, htdemucs, loaded, plain_htdemucs

SAMPLES = 4000


def segment(samples: int = SAMPLES, pairs: int = 1, seed: int = 0) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    return torch.from_numpy((draw.standard_normal((pairs, 2, samples)) + 0.1).astype(np.float32))


def difference_db(made: torch.Tensor, expected: torch.Tensor) -> float:
    """Energy of the difference relative to what was expected."""
    return float(10 * torch.log10(((made - expected) ** 2).sum() / (expected**2).sum()))


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """Weights at which every part of the network is heard: new ones leave norms and scales near nothing."""
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return randomised(plain_htdemucs())


@pytest.fixture(scope="module")
def engine(network: torch.nn.Module) -> CompiledEngine:
    return CompiledEngine([network], "float32", 2, 2)


@pytest.mark.parametrize("n_fft", [512, 4096])
def test_transforms_are_those_of_the_network(n_fft: int) -> None:
    network = htdemucs()
    network.nfft, network.hop_length = n_fft, n_fft // 4  # type: ignore[assignment]
    wave = segment(SAMPLES * 3 + 17)
    with torch.inference_mode():
        complex_ = network._spec(wave)  # type: ignore[operator]
        expected = network._magnitude(complex_)[0].permute(1, 2, 0).numpy()  # type: ignore[operator]
        back = network._ispec(complex_, wave.shape[-1])[0].numpy()  # type: ignore[operator]
    spectrum = to_spectrum(wave[0].numpy(), n_fft)
    assert np.allclose(spectrum, expected, atol=1e-5)
    assert np.allclose(to_wave(spectrum, wave.shape[-1]), back, atol=1e-5)


def test_a_compiled_network_gives_what_the_network_gives(
    network: torch.nn.Module, engine: CompiledEngine
) -> None:
    expected = TorchEngine([network], "cpu").run(0, segment())
    assert difference_db(engine.run(0, segment()), expected) < -90


@pytest.mark.parametrize(("samples", "pairs"), [(97, 1), (1777, 1), (SAMPLES - 1, 2), (SAMPLES, 3)])
def test_short_segments_and_several_pairs_do_so_too(
    network: torch.nn.Module, engine: CompiledEngine, samples: int, pairs: int
) -> None:
    window = segment(samples, pairs)
    expected = TorchEngine([network], "cpu").run(0, window)
    made = engine.run(0, window)
    assert made.shape == expected.shape
    assert difference_db(made, expected) < -80


def test_silence_stays_silence(engine: CompiledEngine) -> None:
    assert engine.run(0, torch.zeros(1, 2, SAMPLES)).abs().max() < 1e-4


def test_segments_at_the_same_time_give_the_same_bits_as_one_after_the_other(engine: CompiledEngine) -> None:
    windows = [segment(seed=seed) for seed in range(12)]
    one_by_one = [engine.run(0, window) for window in windows]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda window: engine.run(0, window), windows))
    assert all(torch.equal(a, b) for a, b in zip(one_by_one, together, strict=True))


def test_after_a_rest_the_same_segment_gives_the_same_bits(engine: CompiledEngine) -> None:
    before = engine.run(0, segment())
    engine.rest()
    assert torch.equal(engine.run(0, segment()), before)


def test_bfloat16_differs_by_its_rounding_alone(network: torch.nn.Module) -> None:
    expected = TorchEngine([network], "cpu").run(0, segment())
    engine = CompiledEngine([network], "bfloat16", 1, 1)
    made_db = difference_db(engine.run(0, segment()), expected)
    if engine.precision == "bfloat16":
        assert -70 < made_db < -20
    else:  # This processor does not compute in it, and the engine does not say that it had.
        assert (engine.precision, best_precision()) == ("float32", "float32")
        assert made_db < -90


def test_networks_with_other_parts_are_left_to_the_reference() -> None:
    assert is_supported(plain_htdemucs())
    assert not is_supported(htdemucs())  # has norms in its layers
    assert not is_supported(hdemucs())  # has no transformer


def test_agreement_is_high_for_the_same_network_and_none_for_another(
    network: torch.nn.Module, engine: CompiledEngine
) -> None:
    model = loaded([network])
    assert agreement_db(engine, TorchEngine([network], "cpu"), model) > 80
    assert agreement_db(engine, TorchEngine([plain_htdemucs(2)], "cpu"), model) < 20


def test_a_number_that_is_none_agrees_with_nothing(network: torch.nn.Module, engine: CompiledEngine) -> None:
    class Broken(TorchEngine):
        def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
            return super().run(member, window) * float("nan")

    assert agreement_db(Broken([network], "cpu"), engine, loaded([network])) == -np.inf


def test_the_test_segment_is_always_the_same_music() -> None:
    first: FloatArray = music(44100, 44100)
    assert np.array_equal(first, music(44100, 44100))
    assert float(first.std()) == pytest.approx(1.0, abs=1e-3)


def test_compiling_speaks_to_nobody() -> None:
    code = """
import sys
contacted = []
sys.addaudithook(lambda event, args: contacted.append((event, args)) if event in
    {"socket.connect", "socket.getaddrinfo", "socket.sendto"} else None)
from pipeline.separators.compiled.graph import build_graph
from tests.networks import plain_htdemucs
build_graph(plain_htdemucs())
sys.exit(str(contacted) if contacted else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
