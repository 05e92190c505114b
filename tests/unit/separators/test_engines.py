"""The fastest engine is taken, once it has shown that it gives what the reference gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import PipelineConfig, WeightsConfig
from pipeline.separators import engines
from pipeline.separators.compiled import engine as compiled
from pipeline.separators.engines import choose_engine, verified_torch
from pipeline.weights.load import LoadedModel
from tests.networks import hdemucs, htdemucs, loaded, plain_htdemucs


def config(folder: Path, precision: str = "balanced") -> PipelineConfig:
    weights = WeightsConfig(cache_dir=folder)
    return PipelineConfig.model_validate({"precision": precision, "weights": weights})


@pytest.fixture
def model() -> LoadedModel:
    return loaded([plain_htdemucs()])


def test_exact_is_the_reference(model: LoadedModel, tmp_path: Path) -> None:
    engine = choose_engine(model, config(tmp_path, "exact"), "cpu")
    assert (engine.name, engine.precision) == ("torch", "float32")


@pytest.mark.parametrize("precision", ["balanced", "fast"])
def test_others_are_compiled_in_what_the_processor_does_best(
    precision: str, model: LoadedModel, tmp_path: Path
) -> None:
    engine = choose_engine(model, config(tmp_path, precision), "cpu")
    assert (engine.name, engine.precision) == ("openvino", compiled.best_precision())


@pytest.mark.parametrize(
    ("hint", "asked"), [("bf16", ["bfloat16", "float32"]), ("f32", ["float32"]), ("f16", ["float32"])]
)
def test_a_processor_is_asked_for_bfloat16_where_it_is_said_to_have_it(
    hint: str, asked: list[str], model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[str] = []

    def refuse(_networks: object, precision: str, *_: object) -> object:
        wanted.append(precision)
        raise RuntimeError("unsupported instruction")

    said = SimpleNamespace(get_property=lambda *_: SimpleNamespace(to_string=lambda: hint))
    monkeypatch.setattr(compiled, "openvino", lambda: SimpleNamespace(Core=lambda: said))
    monkeypatch.setattr(compiled, "CompiledEngine", refuse)
    assert choose_engine(model, config(tmp_path), "cpu").name == "torch"
    assert wanted == asked


def test_bfloat16_is_taken_where_this_processor_computes_in_it() -> None:
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    if {"amx_bf16", "avx512_bf16"} & {*flags}:
        assert compiled.best_precision() == "bfloat16"
    elif not {"avx512f", "avx_ne_convert"} & {*flags}:
        assert compiled.best_precision() == "float32"


@pytest.mark.parametrize("network", [hdemucs, htdemucs])
def test_what_cannot_be_compiled_is_computed_by_the_reference(
    network: type[torch.nn.Module], tmp_path: Path
) -> None:
    assert choose_engine(loaded([network(1)]), config(tmp_path), "cpu").name == "torch"


def test_what_gives_other_stems_than_the_reference_is_not_used(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build = compiled.build_graph
    monkeypatch.setattr(compiled, "build_graph", lambda _: build(plain_htdemucs(seed=2)))
    assert choose_engine(model, config(tmp_path), "cpu").name == "torch"
    assert "is not used" in caplog.text
    assert not list(tmp_path.iterdir())


def test_float32_is_taken_where_bfloat16_disagrees(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "AGREEMENT_DB", {"float32": 60.0, "bfloat16": 100.0})
    monkeypatch.setattr(compiled, "best_precision", lambda: "bfloat16")
    engine = choose_engine(model, config(tmp_path), "cpu")
    assert (engine.name, engine.precision) == ("openvino", "float32")


def test_what_cannot_be_built_on_this_machine_is_left_to_the_reference(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> object:
        raise RuntimeError("unsupported instruction")

    monkeypatch.setattr(compiled, "build_graph", fail)
    assert choose_engine(model, config(tmp_path), "cpu").name == "torch"


def test_a_model_is_compared_once_on_a_machine(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_engine(model, config(tmp_path), "cpu")

    def again(*_: object) -> float:
        raise AssertionError("compared again")

    monkeypatch.setattr("pipeline.separators.compiled.verify.agreement_db", again)
    assert choose_engine(model, config(tmp_path), "cpu").name == "openvino"


def test_a_folder_that_cannot_be_written_is_no_obstacle(model: LoadedModel, tmp_path: Path) -> None:
    gone = tmp_path / "missing"
    assert choose_engine(model, config(gone), "cpu").name == "openvino"
    assert not gone.exists()


def test_another_precision_of_torch_is_compared_once_too(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = verified_torch(model, "cpu", ("bfloat16", "float32"), tmp_path)
    assert engine is not None and engine.precision == "bfloat16"
    (seal,) = tmp_path.iterdir()

    def again(*_: object) -> float:
        raise AssertionError("compared again")

    monkeypatch.setattr("pipeline.separators.compiled.verify.agreement_db", again)
    verified_torch(model, "cpu", ("bfloat16", "float32"), tmp_path)
    with pytest.raises(AssertionError):  # It says nothing about another one.
        verified_torch(model, "cpu", ("float16",), tmp_path)
    assert list(tmp_path.iterdir()) == [seal]


def test_a_precision_of_torch_that_disagrees_is_not_used(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "AGREEMENT_DB", {"float32": 60.0, "bfloat16": 200.0})
    engine = verified_torch(model, "cpu", ("bfloat16", "float32"), tmp_path)
    assert engine is not None and engine.precision == "float32"
    monkeypatch.setattr(engines, "AGREEMENT_DB", {"float32": 1e9, "bfloat16": 200.0})
    assert verified_torch(model, "cpu", ("bfloat16",), tmp_path) is None


@pytest.mark.parametrize(
    ("precision", "capability", "wanted"),
    [("exact", (9, 0), ("float32",)), ("fast", (9, 0), ("bfloat16", "float32")),
     ("balanced", (7, 5), ("float16", "float32"))],
)  # fmt: skip
def test_a_gpu_that_cannot_be_trusted_is_not_used(
    precision: str,
    capability: tuple[int, int],
    wanted: tuple[str, ...],
    model: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, ...]] = []

    def none_agrees(_model: LoadedModel, device: str, precisions: tuple[str, ...], _folder: Path) -> None:
        assert device == "cuda"
        asked.append(precisions)

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(engines, "verified_torch", none_agrees)
    engine = choose_engine(model, config(tmp_path, precision), "cuda")
    assert asked == [wanted]
    assert engine.device == "cpu"
