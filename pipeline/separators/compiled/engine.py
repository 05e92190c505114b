"""HTDemucs compiled by OpenVINO for the processor that it runs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.audio import FloatArray
from pipeline.errors import MemoryExhausted
from pipeline.manifest import Notice
from pipeline.separators.compiled.graph import build_graph, segment_samples
from pipeline.separators.compiled.runtime import openvino
from pipeline.separators.compiled.transforms import spectrum_frames, to_spectrum, to_wave

if TYPE_CHECKING:
    import torch


_PRECISIONS: Final = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
"""Our names of OpenVINO's types."""


def best_precision() -> str:
    """The fastest arithmetic that networks bear: bfloat16 where this processor has it, by AMX or AVX-512."""
    hint = openvino().Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    return "bfloat16" if hint.to_string() == "bf16" else "float32"


class CompiledEngine:
    """Runs segments through compiled networks; one call at a time for each of `parallel` threads.

    Args:
        networks: that `pipeline.separators.compiled.graph.is_supported`.
        precision: ``float32`` or ``bfloat16``; what a processor lacks becomes float32.
        threads: cores to use, of all segments together.
        parallel: segments at the same time.

    Raises:
        MemoryExhausted: the machine has no room for them.
    """

    name = "openvino"
    device = "cpu"
    recycles = True
    batch = 1
    notices: tuple[Notice, ...] = ()

    def __init__(self, networks: Sequence[Any], precision: str, threads: int, parallel: int) -> None:
        self.parallel = parallel
        self._networks = [_Compiled(network, precision, threads, parallel) for network in networks]
        self.precision = self._networks[0].precision if self._networks else precision

    @staticmethod
    def environment() -> tuple[str, ...]:
        """What of this machine decides which kernels compute."""
        core = openvino().Core()
        abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return (openvino().__version__, core.get_property("CPU", "FULL_DEVICE_NAME"), *sorted(abilities))

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        """See `pipeline.separators.base.Engine.run`."""
        import torch

        network = self._networks[member]
        return torch.from_numpy(np.stack([network.separate(pair) for pair in window.numpy()]))

    def rest(self) -> None:
        """See `pipeline.separators.base.Engine.rest`: 300 MB of htdemucs with two segments side by side."""
        for network in self._networks:
            network.rest()


class _Compiled:
    """One network."""

    def __init__(self, network: Any, precision: str, threads: int, parallel: int) -> None:
        self._samples = segment_samples(network)
        self._n_fft = network.nfft
        self._sources = len(network.sources)
        core = openvino().Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": parallel,
            # Workers share cores; who is pinned to one waits for it while another is idle.
            "ENABLE_CPU_PINNING": False,
        }
        with _memory_errors():
            self._compiled = compiled = core.compile_model(build_graph(network), "CPU", settings)
            self._requests: SimpleQueue[Any] = SimpleQueue()
            for _ in range(parallel):
                self._requests.put(compiled.create_infer_request())
        # A constant spectrum is not a constant wave; by this the mean of a spectrum comes back.
        ones = np.ones((self._n_fft // 2, spectrum_frames(self._samples, self._n_fft), 2), dtype=np.float32)
        self._one = to_wave(ones, self._samples)

    @property
    def precision(self) -> str:
        return _PRECISIONS[self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()]

    def rest(self) -> None:
        self._compiled.release_memory()

    def separate(self, wave: FloatArray) -> FloatArray:
        """Separate float32 (channels, n) of at most a segment into (sources, channels, n)."""
        n = wave.shape[-1]
        # The network was trained on whole segments, and demucs gives it nothing else.
        whole = np.pad(wave, ((0, 0), (0, self._samples - n)))
        spectrum, mean, std = _standardised(to_spectrum(whole, self._n_fft))
        level, mean_t, std_t = _standardised(whole)
        request = self._requests.get()
        try:
            with _memory_errors():
                outputs = request.infer(
                    [spectrum[None], level[None, :, None]], share_inputs=True, share_outputs=True
                )
            # Copies: the request's memory is the next segment's.
            rows = to_wave(outputs[0][0], self._samples) * std
            rows += outputs[1][0, :, 0] * std_t
        finally:
            self._requests.put(request)
        rows += self._one * mean + mean_t
        separated: FloatArray = rows.reshape(self._sources, len(wave), -1)[..., :n]
        return separated


def _standardised(x: FloatArray) -> tuple[FloatArray, np.float32, np.float32]:
    """An array with mean 0 and deviation 1, as the network makes it first; and what is to be undone."""
    mean = np.float32(x.mean(dtype=np.float64))
    std = np.float32(1e-5) + np.float32(x.std(dtype=np.float64, ddof=1))
    return (x - mean) / std, mean, std


@contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        if "bad_alloc" not in str(exc) and "llocate" not in str(exc):
            raise
        raise MemoryExhausted(
            "Memory ran out while separating.", "Close other programs, or let fewer jobs run at once."
        ) from exc
