"""The reference computes in other precisions and in batches too, where it is asked to."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.errors import MemoryExhausted
from pipeline.separators.compiled.verify import agreement_db
from pipeline.separators.engines import AGREEMENT_DB
from pipeline.separators.registry import give_memory_back
from pipeline.separators.torch_engine import TorchEngine, _arithmetic
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
        ("GET was unable to find an engine to execute this computation", torch.OutOfMemoryError),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`", torch.OutOfMemoryError),
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


def test_float32_on_a_gpu_is_all_of_it_whatever_the_environment_says() -> None:
    products = torch.backends.cuda.matmul
    products.allow_tf32 = True  # As TORCH_ALLOW_TF32_CUBLAS_OVERRIDE does, which NVIDIA's images set.
    try:
        with _arithmetic("cuda", "float32"):
            assert not products.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
            assert torch.backends.cudnn.deterministic
        assert products.allow_tf32
    finally:
        products.allow_tf32 = False


@pytest.mark.parametrize(("device", "given"), [("cuda", ["pages", "pinned"]), ("cpu", [])])
def test_between_two_jobs_a_gpu_is_free_for_others(
    device: str, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("pages"))
    monkeypatch.setattr(torch.accelerator, "empty_host_cache", lambda: freed.append("pinned"))
    engine = TorchEngine([], "cpu")
    engine.device = device
    engine.rest()
    assert freed == given


def test_a_gpu_that_failed_hinders_nobody_from_giving_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    give_memory_back()


def test_the_networks_of_the_model_stay_where_they_are() -> None:
    network = htdemucs()
    TorchEngine([network], "meta")
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
