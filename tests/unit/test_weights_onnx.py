from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.weights.digests import content_sha256
from pipeline.weights.onnx import HTDEMUCS_ARGUMENTS, htdemucs_tensors, safetensors_file
from tests.weights_support import TINY, onnx_model, tiny_network


def values(*shape: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Random numbers that float16 can hold."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16).astype(np.float32)


def test_every_kind_of_folded_constant_gets_its_name_and_shape_back() -> None:
    query, keys_values, attention = values(4, 4), values(4, 8, seed=1), values(4, 12, seed=2)
    norm, scale, embedding = values(6, 1, seed=3), values(8, 1, seed=4), values(1, 3, 5, 1, seed=5)
    model = onnx_model(
        {
            "encoder.0.conv.weight": values(2, 3),
            "onnx::MatMul_1": attention,
            "onnx::MatMul_2": query,
            "onnx::MatMul_3": keys_values,
            "onnx::Add_4": query[0],
            "onnx::Add_5": keys_values[0],
            "onnx::MatMul_6": values(4, 7, seed=6),
            "onnx::Mul_7": norm,
            "onnx::Add_8": norm + 1,
            "onnx::Mul_9": scale,
            "onnx::Expand_10": embedding * np.float32(10.0),
        },
        [
            ("Conv", "/encoder.0/conv/Conv", ["x", "encoder.0.conv.weight"]),
            ("MatMul", "/t/layers.0/self_attn/MatMul", ["x", "onnx::MatMul_1"]),
            ("MatMul", "/t/layers.1/cross_attn/MatMul", ["x", "onnx::MatMul_2"]),
            ("MatMul", "/t/layers.1/cross_attn/MatMul_1", ["x", "onnx::MatMul_3"]),
            ("Add", "/t/layers.1/cross_attn/Add", ["onnx::Add_4", "x"]),
            ("Add", "/t/layers.1/cross_attn/Add_1", ["onnx::Add_5", "x"]),
            ("MatMul", "/t/layers.0/linear1/MatMul", ["x", "onnx::MatMul_6"]),
            ("Mul", "/decoder.1/dconv/layers.0/layers.0.4/Mul", ["x", "onnx::Mul_7"]),
            ("Add", "/decoder.1/dconv/layers.0/layers.0.4/Add", ["x", "onnx::Add_8"]),
            ("Mul", "/decoder.1/dconv/layers.1/layers.1.6/Mul", ["onnx::Mul_9", "x"]),
            ("Expand", "/Expand", ["onnx::Expand_10", "shape"]),
        ],
    )
    tensors = htdemucs_tensors(model)
    expected = {
        "encoder.0.conv.weight": values(2, 3),
        "t.layers.0.self_attn.in_proj_weight": attention.T,
        "t.layers.1.cross_attn.in_proj_weight": np.concatenate([query.T, keys_values.T]),
        "t.layers.1.cross_attn.in_proj_bias": np.concatenate([query[0], keys_values[0]]),
        "t.layers.0.linear1.weight": values(4, 7, seed=6).T,
        "decoder.1.dconv.layers.0.4.weight": norm[:, 0],
        "decoder.1.dconv.layers.0.4.bias": (norm + 1)[:, 0],
        "decoder.1.dconv.layers.1.6.scale": scale[:, 0],
        "freq_emb.embedding.weight": embedding[0, :, :, 0].T,
    }
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert tensors[name].dtype == np.float16
        np.testing.assert_array_equal(tensors[name], value.astype(np.float16), err_msg=name)


def test_a_graph_with_other_operators_is_refused() -> None:
    model = onnx_model({"onnx::Sub_1": values(3)}, [("Sub", "/encoder.0/Sub", ["x", "onnx::Sub_1"])])
    with pytest.raises(ValueError, match=r"unexpected operators \['Sub'\] in module 'encoder.0'"):
        htdemucs_tensors(model)


def test_the_file_is_the_same_on_every_run_and_order() -> None:
    tensors = {"b": values(3, 2).astype(np.float16), "a": values(5).astype(np.float16)}
    backwards = dict(reversed(tensors.items()))
    assert b"".join(safetensors_file(tensors, {"x": 1, "y": 2})) == b"".join(
        safetensors_file(backwards, {"y": 2, "x": 1})
    )


def test_demucs_reads_the_file_and_finds_every_tensor(tmp_path: Path) -> None:
    from demucs.hf import load_safetensors_model

    network = tiny_network()
    tensors = {name: value.half().numpy() for name, value in network.state_dict().items()}
    path = tmp_path / "tiny.safetensors"
    segment = HTDEMUCS_ARGUMENTS["segment"]
    path.write_bytes(b"".join(safetensors_file(tensors, {**TINY, "segment": segment})))
    loaded = load_safetensors_model(path)
    assert loaded.segment == network.segment
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_the_arguments_are_those_of_the_published_network() -> None:
    from demucs.htdemucs import HTDemucs

    from pipeline.weights.registry import get_model_spec

    arguments = json.loads(json.dumps(dict(HTDEMUCS_ARGUMENTS)))
    assert tuple(arguments["sources"]) == get_model_spec("htdemucs").stems
    HTDemucs(
        **{**arguments, "channels": 8, "t_heads": 2, "bottom_channels": 16, "dconv_comp": 2, "segment": 8}
    )


def test_the_content_hash_depends_on_names_and_values_alone() -> None:
    one = values(4, 2).astype(np.float16)
    reference = content_sha256([("a", one), ("b", one)])
    assert content_sha256([("a", np.asfortranarray(one)), ("b", one.astype(">f2"))]) == reference
    changed = one.copy()
    changed[0, 0] += 1
    assert (
        len(
            {
                reference,
                content_sha256([("a", one), ("c", one)]),
                content_sha256([("a", one), ("b", changed)]),
            }
        )
        == 3
    )
