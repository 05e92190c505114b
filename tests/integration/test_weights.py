"""The real weights of the default model, however this machine got them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import WeightsConfig
from pipeline.weights.cache import verify
from pipeline.weights.fetch import ensure
from pipeline.weights.load import LoadedModel, load
from pipeline.weights.registry import DEFAULT, get_model_spec

SPEC = get_model_spec(DEFAULT)


@pytest.fixture(scope="module")
def loaded(weights_dir: Path) -> LoadedModel:
    return load(SPEC, WeightsConfig(cache_dir=weights_dir, offline=True))


def test_the_fetched_weights_verify(weights_dir: Path) -> None:
    assert [member.state for member in verify(SPEC, WeightsConfig(cache_dir=weights_dir))] == ["ok"]


def test_they_are_the_published_network_whatever_file_they_came_in(loaded: LoadedModel) -> None:
    assert loaded.content_sha256 == "5f21410a98145ea292a18eb74bf1cd5e610040f1414ea03c3e3b54393978a746"
    (network,) = loaded.networks
    assert sum(value.numel() for value in network.state_dict().values()) == 41_984_456
    assert (loaded.sample_rate, loaded.segment_s, loaded.longest_segment_s) == (44100, 7.8, 7.8)


def test_a_damaged_copy_is_replaced_from_a_mirror(weights_dir: Path, tmp_path: Path) -> None:
    (good,) = ensure(SPEC, WeightsConfig(cache_dir=weights_dir, offline=True))
    content = bytearray(good.read_bytes())
    content[50_000_000] ^= 1
    (tmp_path / good.name).write_bytes(content)
    config = WeightsConfig(cache_dir=tmp_path, mirror=str(good.parent), offline=True)
    assert [member.state for member in verify(SPEC, config)] == ["corrupt"]
    assert ensure(SPEC, config) == (tmp_path / good.name,)
    assert (tmp_path / good.name).read_bytes() == good.read_bytes()
