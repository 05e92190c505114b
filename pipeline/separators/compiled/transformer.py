"""The transformer between encoder and decoder as a graph: `demucs.transformer.CrossTransformerEncoder`.

Weights that only scale or shift what a linear layer reads or writes are folded into it: those of layer norms
into what reads them, layer scales into what they scale. Tokens of a spectrum are in the order of memory
(frequency by frequency), where demucs has them by time: attention does not see their order, only the position
that is added to each.
"""

from __future__ import annotations

from typing import Any

from pipeline.audio import FloatArray
from pipeline.separators.compiled.ops import (
    Node,
    affine,
    gelu,
    linear,
    reshaped,
    shape,
    standardised,
    transposed,
    values,
)
from pipeline.separators.compiled.runtime import opset


def to_tokens(x: Node) -> Node:
    """From (1, channels, rows, time) to (1, rows * time, channels)."""
    _, channels, rows, time = shape(x)
    return reshaped(transposed(x, (0, 2, 3, 1)), (1, rows * time, channels))


def from_tokens(x: Node, rows: int, time: int) -> Node:
    """From (1, rows * time, channels) to (1, channels, rows, time)."""
    return transposed(reshaped(x, (1, rows, time, shape(x)[2])), (0, 3, 1, 2))


def pointwise(x: Node, conv: Any) -> Node:
    """A convolution of one sample, on tokens."""
    return linear(x, values(conv.weight)[:, :, 0], values(conv.bias))


def transformed(
    x: Node, xt: Node, transformer: Any, place: FloatArray, place_t: FloatArray
) -> tuple[Node, Node]:
    """Run the layers over the tokens of spectrum and waveform.

    Args:
        x: of the spectrum.
        xt: of the waveform.
        transformer: `demucs.transformer.CrossTransformerEncoder`.
        place: float32 (tokens, channels) added to the spectrum's.
        place_t: the same of the waveform's.
    """
    weight = float(transformer.weight_pos_embed)
    norm, norm_t = transformer.norm_in, transformer.norm_in_t
    x = affine(standardised(x, norm.eps), norm, weight * place)
    xt = affine(standardised(xt, norm_t.eps), norm_t, weight * place_t)
    for index, (layer, layer_t) in enumerate(zip(transformer.layers, transformer.layers_t, strict=True)):
        if index % 2 == transformer.classic_parity:
            x, xt = _layer(x, None, layer), _layer(xt, None, layer_t)
        else:
            x, xt = _layer(x, xt, layer), _layer(xt, x, layer_t)
    return x, xt


def _layer(x: Node, other: Node | None, layer: Any) -> Node:
    """A layer that attends to its own tokens, or to those of the other branch."""
    own = standardised(x, layer.norm1.eps)
    if other is None:
        norm_feed = layer.norm2
        heard = _attention(own, own, layer.self_attn, layer.norm1, layer.norm1, layer.gamma_1)
    else:
        norm_feed = layer.norm3
        theirs = standardised(other, layer.norm2.eps)
        heard = _attention(own, theirs, layer.cross_attn, layer.norm1, layer.norm2, layer.gamma_1)
    x = opset().add(x, heard)
    widened = gelu(
        _folded(standardised(x, norm_feed.eps), layer.linear1.weight, layer.linear1.bias, norm_feed)
    )
    scale = values(layer.gamma_2.scale)
    narrowed = linear(
        widened, values(layer.linear2.weight) * scale[:, None], values(layer.linear2.bias) * scale
    )
    x = opset().add(x, narrowed)
    # A group norm of one group: over all tokens and channels.
    return affine(standardised(x, layer.norm_out.eps, axes=(1, 2)), layer.norm_out)


def _attention(own: Node, heard: Node, attention: Any, norm: Any, norm_heard: Any, gamma: Any) -> Node:
    """`torch.nn.MultiheadAttention` of standardised tokens, with the norms before and the scale after it."""
    width, heads = attention.embed_dim, attention.num_heads
    weights = attention.in_proj_weight.split(width)
    biases = attention.in_proj_bias.split(width)
    query, key, value = (
        _by_head(_folded(tokens, weight, bias, its_norm), heads)
        for tokens, weight, bias, its_norm in zip(
            (own, heard, heard), weights, biases, (norm, norm_heard, norm_heard), strict=True
        )
    )
    mixed = opset().scaled_dot_product_attention(query, key, value)
    joined = reshaped(transposed(mixed, (0, 2, 1, 3)), (1, shape(own)[1], width))
    scale = values(gamma.scale)
    out = attention.out_proj
    return linear(joined, values(out.weight) * scale[:, None], values(out.bias) * scale)


def _folded(x: Node, weight: Any, bias: Any, norm: Any) -> Node:
    """A linear layer that reads what a norm, of which only the standardising is done, would give."""
    matrix = values(weight)
    return linear(x, matrix * values(norm.weight)[None], values(bias) + matrix @ values(norm.bias))


def _by_head(x: Node, heads: int) -> Node:
    """From (1, tokens, channels) to (1, heads, tokens, channels / heads)."""
    _, tokens, channels = shape(x)
    return transposed(reshaped(x, (1, tokens, heads, channels // heads)), (0, 2, 1, 3))
