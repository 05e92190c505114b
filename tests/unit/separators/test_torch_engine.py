"""The reference computes in other precisions and in batches too, where it is asked to."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.errors import MemoryExhausted
from pipeline.separators.compiled.verify import agreement_db
from pipeline.separators.engines import AGREEMENT_DB
from pipeline.separators.torch_engine import TorchEngine
from tests.networks import hdemucs, htdemucs, loaded, plain_htdemucs


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("network", [htdemucs, plain_htdemucs, hdemucs])
def test_less_precision_differs_by_its_rounding_alone(network: type[torch.nn.Module], precision: str) -> None:
    model = loaded([network()])
    reference = TorchEngine(model.networks, "cpu")
    engine = TorchEngine(model.networks, "cpu", precision)
    assert AGREEMENT_DB[precision] < agreement_db(engine, reference, model) < 80


def test_transforms_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[torch.dtype] = []
    for name in ("stft", "istft"):
        transform = getattr(torch, name)

        def watched(x: torch.Tensor, *args: Any, transform: Any = transform, **kwargs: Any) -> torch.Tensor:
            out: torch.Tensor = transform(x, *args, **kwargs)
            heard.extend([x.dtype, out.dtype])
            return out

        monkeypatch.setattr(torch, name, watched)
    out = TorchEngine([htdemucs()], "cpu", "bfloat16").run(0, torch.randn(1, 2, 4000))
    assert heard == [torch.float32, torch.complex64, torch.complex64, torch.float32]
    assert out.dtype == torch.float32


@pytest.mark.parametrize("network", [htdemucs, hdemucs])
def test_rows_know_nothing_of_one_another(network: type[torch.nn.Module]) -> None:
    engine = TorchEngine([network()], "cpu")
    rows = torch.randn(3, 2, 4000) * torch.tensor([0.1, 1.0, 5.0])[:, None, None]
    one_by_one = torch.cat([engine.run(0, row) for row in torch.split(rows, 1)])
    torch.testing.assert_close(engine.run(0, rows), one_by_one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might be reported later", torch.OutOfMemoryError),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", torch.OutOfMemoryError),
        (
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            torch.OutOfMemoryError,
        ),
        ("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", MemoryExhausted),
        ("CUDA error: an illegal memory access was encountered", RuntimeError),
    ],
)
def test_memory_that_ran_out_is_told_from_what_is_a_fault(said: str, raised: type[Exception]) -> None:
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(said)

    with pytest.raises(RuntimeError if raised is RuntimeError else raised) as caught:
        TorchEngine([fail], "cpu").run(0, torch.zeros(1, 2, 10))
    assert caught.type is raised


def test_the_networks_of_the_model_stay_where_they_are() -> None:
    network = htdemucs()
    TorchEngine([network], "meta")
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
