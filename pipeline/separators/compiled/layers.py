"""Encoder and decoder layers of HTDemucs as a graph: `demucs.hdemucs.HEncLayer` and ``HDecLayer``.

Spectra keep their rows in place through the residual branches, where demucs moves frequencies into the batch
and back. A convolution along time alone is the same one on (rows, time).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.audio import FloatArray
from pipeline.separators.compiled.ops import (
    Node,
    constant,
    convolution,
    gated,
    gated_convolution,
    gelu,
    integers,
    per_channel,
    planar,
    scaled,
    shape,
    values,
)
from pipeline.separators.compiled.runtime import opset


def encoded(x: Node, layer: Any) -> Node:
    """One encoder layer.

    Args:
        x: float32 (1, channels, rows, time).
        layer: `demucs.hdemucs.HEncLayer`, along the rows of a spectrum or the time of a waveform.
    """
    kernel, bias = planar(layer.conv.weight), values(layer.conv.bias)
    stride, pad = layer.stride, layer.pad
    if layer.freq:
        y = convolution(x, kernel, bias, stride=(stride, 1), pad=(pad, 0))
    else:
        to_whole_strides = -shape(x)[3] % stride
        y = convolution(
            x, kernel, bias, stride=(1, stride), pad=(0, pad), pad_end=(0, pad + to_whole_strides)
        )
    return gated_convolution(_with_residuals(gelu(y), layer.dconv), layer.rewrite)


def decoded(x: Node, skip: Node, layer: Any, length: int) -> Node:
    """One decoder layer.

    Args:
        x: float32 (1, channels, rows, time).
        skip: of the same shape, from the encoder.
        layer: `demucs.hdemucs.HDecLayer`.
        length: rows of the spectrum, or samples of the waveform, that come out.
    """
    pad = layer.rewrite.padding
    y = gated_convolution(opset().add(x, skip), layer.rewrite, pad if layer.freq else (0, *pad))
    y = _with_residuals(y, layer.dconv)
    axis = 2 if layer.freq else 3
    kernel = values(layer.conv_tr.weight)
    full = (shape(y)[axis] - 1) * layer.stride + layer.kernel_size
    cut, cut_end = layer.pad, full - layer.pad - length
    z = opset().convolution_backprop_data(
        y,
        constant(kernel if layer.freq else kernel[:, :, None, :]),
        [layer.stride, 1] if layer.freq else [1, layer.stride],
        pads_begin=[cut, 0] if layer.freq else [0, cut],
        pads_end=[cut_end, 0] if layer.freq else [0, cut_end],
        dilations=[1, 1],
    )
    z = opset().add(z, per_channel(values(layer.conv_tr.bias)))
    return z if layer.last else gelu(z)


def _with_residuals(x: Node, dconv: Any) -> Node:
    """`demucs.demucs.DConv`: dilated convolutions along time through few channels, added to what came in."""
    for squeeze, norm_in, _, expand, norm_out, _, scale in dconv.layers:
        dilation = squeeze.dilation[0]
        hidden = convolution(
            x,
            planar(squeeze.weight),
            values(squeeze.bias),
            pad=(0, squeeze.padding[0]),
            dilation=(1, dilation),
        )
        mean, rate = _row_statistics([hidden], norm_in.eps)
        hidden = gelu(_normed(hidden, mean, rate, values(norm_in.weight), values(norm_in.bias)))
        kernel, bias = planar(expand.weight), values(expand.bias)
        half = len(kernel) // 2
        value = convolution(hidden, kernel[:half], bias[:half])
        gate = convolution(hidden, kernel[half:], bias[half:])
        mean, rate = _row_statistics([value, gate], norm_out.eps)
        weight, offset, layer_scale = values(norm_out.weight), values(norm_out.bias), values(scale.scale)
        value = _normed(value, mean, rate, weight[:half] * layer_scale, offset[:half] * layer_scale)
        gate = _normed(gate, mean, rate, weight[half:], offset[half:])
        x = opset().add(x, gated(value, gate))
    return x


def _row_statistics(parts: list[Node], eps: float) -> tuple[Node, Node]:
    """Mean, and one over the standard deviation, of each row over channels and time: (1, 1, rows, 1).

    Args:
        parts: of the channels, (1, channels, rows, time) each.
        eps: added to the variance, as torch's group norm does.
    """
    axes = integers([1, 3])
    share = constant(1.0 / sum(shape(part)[1] * shape(part)[3] for part in parts))
    sums = [opset().reduce_sum(part, axes, True) for part in parts]
    norms = [opset().reduce_l2(part, axes, True) for part in parts]  # squares summed in one walk
    mean = opset().multiply(_total(sums), share)
    power = opset().multiply(_total([opset().multiply(norm, norm) for norm in norms]), share)
    variance = opset().relu(opset().subtract(power, opset().multiply(mean, mean)))
    return mean, opset().divide(constant(1.0), opset().sqrt(opset().add(variance, constant(eps))))


def _normed(x: Node, mean: Node, rate: Node, weight: FloatArray, offset: FloatArray) -> Node:
    """``(x - mean) * rate * weight + offset``, with one multiplication a sample."""
    scale = opset().multiply(rate, per_channel(weight))
    return scaled(x, scale, opset().subtract(per_channel(offset), opset().multiply(mean, scale)))


def _total(parts: list[Node]) -> Node:
    total, *others = parts
    for part in others:
        total = opset().add(total, part)
    return total


def with_frequency_embedding(x: Node, embedding: FloatArray) -> Node:
    """Add what the network knows of each frequency: (channels, rows)."""
    return opset().add(x, constant(np.asarray(embedding)[None, :, :, None]))
