"""Turns the pretrained HTDemucs in ONNX form back into the weights it was exported from, bit by bit.

The exporter kept most tensors under their own names. The others are constants that it folded into the graph:
there the scope of the node that uses the constant says which module, and the operator says which tensor.
Nothing of the graph is executed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from pipeline.weights.digests import HalfArray

HTDEMUCS_ARGUMENTS: Final[Mapping[str, Any]] = {
    "sources": ["drums", "bass", "other", "vocals"],
    "audio_channels": 2,
    "samplerate": 44100,
    "segment": {"_type": "fraction", "numerator": 39, "denominator": 5},
    "channels": 48,
    "growth": 2,
    "nfft": 4096,
    "cac": True,
    "depth": 4,
    "rewrite": True,
    "freq_emb": 0.2,
    "emb_scale": 10,
    "emb_smooth": True,
    "kernel_size": 8,
    "stride": 4,
    "time_stride": 2,
    "context": 1,
    "norm_starts": 4,
    "norm_groups": 4,
    "dconv_mode": 3,
    "dconv_depth": 2,
    "dconv_comp": 8,
    "bottom_channels": 512,
    "t_layers": 5,
}
"""Arguments of ``demucs.htdemucs.HTDemucs`` for 955717e8, in the JSON form of ``demucs.hf``."""

_FOLDED: Final = "onnx::"
_EMBEDDING_SCALE: Final = 10.0  # ScaledEmbedding multiplies by it; the exporter folded that in


def htdemucs_tensors(model: bytes) -> dict[str, HalfArray]:
    """Read the tensors of HTDemucs.

    Args:
        model: content of the ONNX file, already verified.

    Returns:
        float16 tensors by the name that the network gives them. The published weights are float16, so
        the cast loses nothing.

    Raises:
        ValueError: this is no HTDemucs as that exporter writes it.
    """
    import onnx

    graph = onnx.load_model_from_string(model).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    state = {
        name: onnx.numpy_helper.to_array(tensor).astype(np.float16)
        for name, tensor in constants.items()
        if not name.startswith(_FOLDED)
    }
    folded: dict[str, dict[str, Any]] = {}
    for node in graph.node:
        scope, _, operator = node.name.strip("/").rpartition("/")
        for name in node.input:
            if name.startswith(_FOLDED) and name in constants:
                value = onnx.numpy_helper.to_array(constants[name])
                folded.setdefault(_module(scope), {})[operator] = value
    for module, values in folded.items():
        state.update({name: value.astype(np.float16) for name, value in _unfold(module, values)})
    return state


def _module(scope: str) -> str:
    # Containers repeat their own name: layers.0/layers.0.1 is the module layers.0.1.
    parts: list[str] = []
    for part in filter(None, scope.split("/")):
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)


def _unfold(module: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    operators = set(values)
    if operators == {"Expand"} and not module:  # (1, channels, frequencies, 1)
        yield "freq_emb.embedding.weight", values["Expand"][0, :, :, 0].T / np.float32(_EMBEDDING_SCALE)
    elif operators == {"MatMul"}:  # x @ W.T + b: the bias kept its name
        suffix = "in_proj_weight" if module.endswith("_attn") else "weight"
        yield f"{module}.{suffix}", values["MatMul"].T
    elif operators == {"MatMul", "MatMul_1", "Add", "Add_1"}:  # cross attention: query; key and value
        yield f"{module}.in_proj_weight", np.concatenate([values["MatMul"].T, values["MatMul_1"].T])
        yield f"{module}.in_proj_bias", np.concatenate([values["Add"], values["Add_1"]])
    elif operators == {"Mul", "Add"}:  # group norm
        yield f"{module}.weight", values["Mul"].reshape(-1)
        yield f"{module}.bias", values["Add"].reshape(-1)
    elif operators == {"Mul"}:  # LayerScale
        yield f"{module}.scale", values["Mul"].reshape(-1)
    else:
        raise ValueError(f"unexpected operators {sorted(operators)} in module {module!r}")


def safetensors_file(tensors: Mapping[str, HalfArray], arguments: Mapping[str, Any]) -> Iterator[bytes]:
    """Write a network the way ``demucs.hf.load_safetensors_model`` reads it.

    The library's own writer does not fix the order of the metadata, so its files differ from run to run.
    This one gives equal bytes for equal input, on any machine: the result can be pinned by its hash.

    Args:
        tensors: float16 by name.
        arguments: of ``demucs.htdemucs.HTDemucs``.

    Yields:
        The file, in pieces (https://github.com/huggingface/safetensors: "Format").
    """
    header: dict[str, Any] = {
        "__metadata__": {
            "args": "[]",
            "klass": "demucs.htdemucs.HTDemucs",
            "kwargs": json.dumps(arguments, sort_keys=True),
        }
    }
    offset = 0
    for name in sorted(tensors):
        shape = tensors[name].shape
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    yield len(encoded).to_bytes(8, "little") + encoded
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        yield (value if sys.byteorder == "little" else value.byteswap()).tobytes()
