"""The model of the job before is kept, with no more memory than it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.config import PipelineConfig, WeightsConfig
from pipeline.progress import CancelToken
from pipeline.separators.registry import WarmModel
from pipeline.weights.load import LoadedModel
from pipeline.weights.registry import get_model_spec
from tests.networks import hdemucs, loaded, plain_htdemucs

SPEC = get_model_spec("htdemucs")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[LoadedModel]:
    """Every model that was read from its files."""
    made: list[LoadedModel] = []

    def load(*_: object, **__: object) -> LoadedModel:
        made.append(loaded([plain_htdemucs()]))
        return made[-1]

    monkeypatch.setattr("pipeline.weights.load.load", load)
    return made


def config(folder: Path, precision: str = "balanced") -> PipelineConfig:
    weights = WeightsConfig(cache_dir=folder)
    return PipelineConfig.model_validate({"precision": precision, "weights": weights, "device": "cpu"})


def test_a_compiled_network_is_not_held_twice(loads: list[LoadedModel], tmp_path: Path) -> None:
    warm, window = WarmModel(), torch.randn(1, 2, 4000)
    _, engine = warm.load(SPEC, config(tmp_path), CancelToken())
    made = engine.run(0, window)
    assert engine.name == "openvino"
    assert not loads[0].complete
    model, again = warm.load(SPEC, config(tmp_path, "fast"), CancelToken())
    assert again is engine and model is loads[0] and len(loads) == 1
    assert torch.equal(again.run(0, window), made)
    assert model.networks[0].valid_length(4000) == 4000  # type: ignore[operator]


def test_the_reference_reads_again_what_was_let_go(loads: list[LoadedModel], tmp_path: Path) -> None:
    warm, window = WarmModel(), torch.randn(1, 2, 4000)
    _, compiled = warm.load(SPEC, config(tmp_path), CancelToken())
    made = compiled.run(0, window)
    _, exact = warm.load(SPEC, config(tmp_path, "exact"), CancelToken())
    assert (exact.name, len(loads)) == ("torch", 2)
    torch.testing.assert_close(exact.run(0, window), made, atol=1e-2, rtol=1e-1)
    _, compiled = warm.load(SPEC, config(tmp_path), CancelToken())
    assert len(loads) == 2  # The reference had kept its weights, to compile from.
    assert torch.equal(compiled.run(0, window), made)


def test_what_is_not_compiled_keeps_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.weights.load.load", lambda *_, **__: loaded([hdemucs()]))
    model, engine = WarmModel().load(SPEC, config(tmp_path), CancelToken())
    assert engine.name == "torch"
    assert model.complete
