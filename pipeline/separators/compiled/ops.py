"""The few operations that networks are written in, on nodes of an OpenVINO graph.

Everything has a batch of one. Waveforms and spectra are float32 (1, channels, rows, time): a waveform has one
row, a spectrum a row for each frequency. Tokens of a transformer are float32 (1, tokens, channels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.audio import FloatArray
from pipeline.separators.compiled.runtime import opset

if TYPE_CHECKING:
    import torch

Node: TypeAlias = Any
"""A node with one output; OpenVINO has no types for them that a checker knows."""
Pair: TypeAlias = tuple[int, int]
"""Of something along rows and along time."""


def values(tensor: torch.Tensor) -> FloatArray:
    """Weights as an array, float32."""
    return np.ascontiguousarray(tensor.detach().float().numpy())


def constant(array: FloatArray | float) -> Node:
    """A constant, float32."""
    return opset().constant(np.ascontiguousarray(array, dtype=np.float32))


def integers(numbers: Sequence[int]) -> Node:
    """Axes or sizes."""
    array: npt.NDArray[np.int64] = np.array(numbers, dtype=np.int64)
    return opset().constant(array)


def shape(node: Node) -> list[int]:
    """Sizes of a node's output."""
    return [int(size) for size in node.get_output_shape(0)]


def reshaped(x: Node, sizes: Sequence[int]) -> Node:
    """The same numbers, in the same order, in another shape."""
    return opset().reshape(x, integers(sizes), False)


def transposed(x: Node, order: Sequence[int]) -> Node:
    """Axes in another order."""
    return opset().transpose(x, integers(order))


def per_channel(array: FloatArray) -> Node:
    """One constant a channel of a waveform or spectrum."""
    return constant(array.reshape(1, -1, 1, 1))


def scaled(x: Node, scale: Node, offset: Node) -> Node:
    """``x * scale + offset``."""
    return opset().add(opset().multiply(x, scale), offset)


def gelu(x: Node) -> Node:
    """Exact GELU, as torch's default."""
    return opset().gelu(x, "erf")


def gated(value: Node, gate: Node) -> Node:
    """The gated linear unit: ``value * sigmoid(gate)``."""
    return opset().multiply(value, opset().sigmoid(gate))


def planar(weight: torch.Tensor) -> FloatArray:
    """A convolution's kernel for waveforms or spectra: (out, in, rows, time)."""
    kernel = values(weight)
    return kernel[:, :, None, :] if kernel.ndim == 3 else kernel


def convolution(
    x: Node,
    kernel: FloatArray,
    bias: FloatArray,
    *,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    pad_end: Pair | None = None,
    dilation: Pair = (1, 1),
) -> Node:
    """A convolution with its bias; ``pad_end`` where the end is padded otherwise than the start."""
    y = opset().convolution(
        x, constant(kernel), list(stride), list(pad), list(pad_end or pad), list(dilation)
    )
    return opset().add(y, per_channel(bias))


def gated_convolution(x: Node, conv: Any, pad: Pair = (0, 0)) -> Node:
    """A convolution to twice the channels, and its gated linear unit.

    As two convolutions: so nothing has to be split, which would copy all of it.
    """
    kernel, bias = planar(conv.weight), values(conv.bias)
    half = len(kernel) // 2
    value = convolution(x, kernel[:half], bias[:half], pad=pad)
    gate = convolution(x, kernel[half:], bias[half:], pad=pad)
    return gated(value, gate)


def linear(x: Node, weight: FloatArray, bias: FloatArray) -> Node:
    """A linear layer on tokens: weight (out, in)."""
    return opset().add(opset().matmul(x, constant(weight), False, True), constant(bias.reshape(1, 1, -1)))


def standardised(x: Node, eps: float, axes: Sequence[int] = (2,)) -> Node:
    """Tokens with mean 0 and variance 1 along axes: a layer norm without its weights."""
    return opset().mvn(x, integers(axes), True, eps, "inside_sqrt")


def affine(x: Node, norm: Any, offset: FloatArray | float = 0.0) -> Node:
    """A norm's weights on standardised tokens; an offset (tokens, channels) is added."""
    return scaled(x, constant(values(norm.weight)[None, None]), constant((values(norm.bias) + offset)[None]))
