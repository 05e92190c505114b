from __future__ import annotations

import hashlib
import math
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs

from pipeline.config import WeightsConfig
from pipeline.errors import WeightsCorrupt
from pipeline.weights.load import LoadedModel, load, network_sha256, read_network
from pipeline.weights.spec import HubFile, Member, ModelSpec
from tests.weights_support import (
    SIGNATURE,
    STEMS,
    checkpoint,
    legacy_pin,
    model,
    noise,
    pin,
    safetensors,
    tiny_network,
)

ALL = (1.0,) * len(STEMS)


def member(content: bytes, signature: str = SIGNATURE, **changes: Any) -> Member:
    return Member(signature, **{"shares": ALL, "legacy": legacy_pin(content, signature), **changes})


def loaded(folder: Path, spec: ModelSpec, *contents: bytes) -> LoadedModel:
    for part, content in zip(spec.members, contents, strict=True):
        (folder / part.legacy.name).write_bytes(content)
    return load(spec, WeightsConfig(cache_dir=folder, offline=True))


def test_a_network_is_the_same_from_either_kind_of_file(tmp_path: Path) -> None:
    network = tiny_network()
    published = {"a.safetensors": safetensors(network), "a.th": checkpoint(network)}
    for name, content in published.items():
        (tmp_path / name).write_bytes(content)
        read = read_network(tmp_path / name)
        assert type(read) is type(network)
        assert read.segment == Fraction(39, 5)
        assert network_sha256(read) == network_sha256(network)


def test_networks_are_float32_in_eval_mode_and_without_gradients(tmp_path: Path) -> None:
    content = checkpoint(tiny_network())
    (network,) = loaded(tmp_path, model(member(content)), content).networks
    assert not network.training
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert not any(value.requires_grad for value in network.parameters())


def test_a_single_network_gives_the_model_its_hash_and_segment(tmp_path: Path) -> None:
    network = tiny_network()
    content = checkpoint(network)
    ready = loaded(tmp_path, model(member(content)), content)
    assert ready.content_sha256 == network_sha256(network)
    assert ready.shares == (ALL,)
    assert (ready.sample_rate, ready.segment_s, ready.longest_segment_s) == (44100, 7.8, 7.8)


def test_a_bag_has_shares_a_hash_of_its_own_and_a_segment_of_its_own(tmp_path: Path) -> None:
    small = {"sources": list(STEMS), "channels": 8, "depth": 2, "dconv_comp": 2}
    networks = [HDemucs(**small, nfft=256), Demucs(**small)]
    contents = [checkpoint(network) for network in networks]
    vocals = (0.0, 0.0, 0.0, 1.0)
    bag = model(
        member(contents[0], "aaaaaaaa"), member(contents[1], "bbbbbbbb", shares=vocals), segment_s=44.0
    )
    ready = loaded(tmp_path, bag, *contents)
    assert [type(network) for network in ready.networks] == [HDemucs, Demucs]
    assert ready.shares == (ALL, vocals)
    hashes = "\n".join(network_sha256(network) for network in networks)
    assert ready.content_sha256 == hashlib.sha256(hashes.encode()).hexdigest()
    assert ready.segment_s == 44.0
    assert math.isinf(ready.longest_segment_s)


def test_a_transformer_in_a_bag_keeps_the_segment_within_its_reach(tmp_path: Path) -> None:
    content = checkpoint(tiny_network())
    assert loaded(tmp_path, model(member(content), segment_s=44.0), content).segment_s == 7.8


def test_the_hub_file_is_preferred_where_both_are_cached(tmp_path: Path) -> None:
    network = tiny_network()
    content, legacy = safetensors(network), checkpoint(network)
    hub = HubFile("nobody/Nothing-0f0f0f0f", "0" * 40, pin(f"{SIGNATURE}.safetensors", content))
    (tmp_path / hub.file.name).write_bytes(content)
    ready = loaded(tmp_path, model(member(legacy, hub=hub)), legacy)
    assert ready.content_sha256 == network_sha256(network)


@pytest.mark.parametrize("change", ["content", "stems"])
def test_another_network_than_registered_is_refused(tmp_path: Path, change: str) -> None:
    network = tiny_network(sources=["a", "b", "c", "d"] if change == "stems" else list(STEMS))
    content = checkpoint(network)
    known = "0" * 64 if change == "content" else None
    with pytest.raises(WeightsCorrupt, match="it holds another network"):
        loaded(tmp_path, model(member(content, content_sha256=known)), content)


class NumpyOnePickler(pickle._Pickler):
    """Writes numbers as numpy 1 did, with which the published checkpoints were saved."""

    def save_global(self, obj: Any, name: Any = None) -> None:
        if obj is np.float64(0).__reduce__()[0]:
            self.write(b"cnumpy.core.multiarray\nscalar\n")
        else:
            super().save_global(obj, name)


@pytest.mark.parametrize("pickler", [pickle.Pickler, NumpyOnePickler], ids=["numpy 2", "numpy 1"])
def test_training_scores_do_not_stand_in_the_way(tmp_path: Path, pickler: type) -> None:
    network = tiny_network()
    scores = {"best": np.float64(9.0), "loss": np.float32(0.1), "epoch": np.int64(360)}
    content = checkpoint(network, pickler=pickler, metrics=scores)
    place = b"numpy.core.multiarray" if pickler is NumpyOnePickler else b"numpy._core.multiarray"
    assert place in content
    (tmp_path / "a.th").write_bytes(content)
    assert network_sha256(read_network(tmp_path / "a.th")) == network_sha256(network)


class Touch:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_that_wants_to_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    (tmp_path / "evil.th").write_bytes(checkpoint(tiny_network(), extra=Touch(tmp_path / "touched")))
    with pytest.raises(WeightsCorrupt, match="more than tensors and Demucs' own classes"):
        read_network(tmp_path / "evil.th")
    assert not (tmp_path / "touched").exists()


def test_a_checkpoint_of_another_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.th").write_bytes(checkpoint(tiny_network(), klass=Fraction))
    with pytest.raises(WeightsCorrupt, match="cannot be read"):
        read_network(tmp_path / "odd.th")


def test_a_safetensors_file_cannot_name_a_class_of_its_choice(tmp_path: Path) -> None:
    content = safetensors(tiny_network()).replace(b"demucs.htdemucs.HTDemucs", b"subprocess.check_output ", 1)
    (tmp_path / "odd.safetensors").write_bytes(content)
    with pytest.raises(WeightsCorrupt, match="cannot be read"):
        read_network(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("name", ["a.safetensors", "a.th"])
@pytest.mark.parametrize(
    "content", [b"", noise(5000), b"PK\3\4" + noise(5000)], ids=["empty", "noise", "zip"]
)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsCorrupt, match=f"{name} is not usable"):
        read_network(tmp_path / name)


def test_tensors_that_do_not_fit_the_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(safetensors(tiny_network(), channels=16))
    with pytest.raises(WeightsCorrupt, match="cannot be read"):
        read_network(tmp_path / "a.safetensors")


def test_constructor_arguments_that_demucs_no_longer_has_are_dropped(tmp_path: Path) -> None:
    network = tiny_network()
    (tmp_path / "a.safetensors").write_bytes(safetensors(network, long_gone=1))
    assert network_sha256(read_network(tmp_path / "a.safetensors")) == network_sha256(network)
