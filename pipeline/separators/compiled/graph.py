"""HTDemucs as a graph: everything between the transforms, for segments of one length."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.separators.compiled.layers import decoded, encoded, with_frequency_embedding
from pipeline.separators.compiled.ops import shape, transposed, values
from pipeline.separators.compiled.runtime import openvino, opset
from pipeline.separators.compiled.transformer import from_tokens, pointwise, to_tokens, transformed
from pipeline.separators.compiled.transforms import spectrum_frames


def segment_samples(network: Any) -> int:
    """Samples of the segments that a network was trained on, and takes."""
    return int(network.segment * network.samplerate)


def is_supported(network: Any) -> bool:
    """Whether `build_graph` knows everything that a network is made of."""
    from demucs.hdemucs import HDecLayer, HEncLayer
    from demucs.htdemucs import HTDemucs
    from torch import nn

    if not isinstance(network, HTDemucs) or network.crosstransformer is None:
        return False
    layers = [*network.encoder, *network.tencoder, *network.decoder, *network.tdecoder]
    transformer = network.crosstransformer
    attending = [*transformer.layers, *transformer.layers_t]
    return (
        network.use_train_segment
        and network.cac
        and len(network.encoder) == len(network.tencoder)
        and all(type(layer) in {HEncLayer, HDecLayer} and not layer.empty for layer in layers)
        and all(layer.rewrite is not None and layer.dconv is not None for layer in layers)
        and all(not layer.norm for layer in layers)
        and all(len(residual) == 7 for layer in layers for residual in layer.dconv.layers)
        and transformer.emb == "sin"
        and not transformer.sin_random_shift
        and isinstance(transformer.norm_in, nn.LayerNorm)
        and all(
            layer.norm_first and layer.norm_out and isinstance(layer.norm1, nn.LayerNorm) and not layer.sparse
            for layer in attending
        )
        and all(not isinstance(layer.gamma_1, nn.Identity) for layer in attending)
    )


def build_graph(network: Any) -> Any:
    """Write a network down as a graph.

    Args:
        network: `demucs.htdemucs.HTDemucs` that `is_supported`.

    Returns:
        `openvino.Model` with inputs and outputs float32: spectrum (1, frequencies, frames, rows) with
        interleaved real and imaginary parts as rows, and waveform (1, rows, 1, samples), standardised as the
        network does it first; what comes out is still to be brought back to the level of what went in.
        Rows are channels; of the outputs, sources times channels.
    """
    samples = segment_samples(network)
    frames = spectrum_frames(samples, network.nfft)
    channels = network.audio_channels
    spectrum = opset().parameter([1, network.nfft // 2, frames, 2 * channels], np.float32, name="spectrum")
    wave = opset().parameter([1, channels, 1, samples], np.float32, name="wave")
    x, xt = transposed(spectrum, (0, 3, 1, 2)), wave
    saved, saved_t = [], []
    lengths, lengths_t = [], []
    for depth, (layer, layer_t) in enumerate(zip(network.encoder, network.tencoder, strict=True)):
        lengths.append(shape(x)[2])
        lengths_t.append(shape(xt)[3])
        x, xt = encoded(x, layer), encoded(xt, layer_t)
        if depth == 0 and network.freq_emb is not None:
            embedding = values(network.freq_emb.weight).T[:, : shape(x)[2]]
            x = with_frequency_embedding(x, network.freq_emb_scale * embedding)
        saved.append(x)
        saved_t.append(xt)
    x, xt = _between(x, xt, network)
    for layer, layer_t in zip(network.decoder, network.tdecoder, strict=True):
        x = decoded(x, saved.pop(), layer, lengths.pop())
        xt = decoded(xt, saved_t.pop(), layer_t, lengths_t.pop())
    return openvino().Model([transposed(x, (0, 2, 3, 1)), xt], [spectrum, wave], "htdemucs")


def _between(x: Any, xt: Any, network: Any) -> tuple[Any, Any]:
    """The transformer, with the layers that widen for it."""
    from demucs.transformer import create_2d_sin_embedding, create_sin_embedding

    _, _, rows, time = shape(x)
    time_t = shape(xt)[3]
    x, xt = to_tokens(x), to_tokens(xt)
    if network.bottom_channels:
        x, xt = pointwise(x, network.channel_upsampler), pointwise(xt, network.channel_upsampler_t)
    transformer, width = network.crosstransformer, shape(x)[2]
    period = transformer.max_period
    plane = create_2d_sin_embedding(width, rows, time, max_period=period)  # type: ignore[no-untyped-call]
    place = values(plane)[0].reshape(width, -1).T
    place_t = values(create_sin_embedding(time_t, width, max_period=period))[:, 0]
    x, xt = transformed(x, xt, transformer, place, place_t)
    if network.bottom_channels:
        x, xt = pointwise(x, network.channel_downsampler), pointwise(xt, network.channel_downsampler_t)
    return from_tokens(x, rows, time), from_tokens(xt, 1, time_t)
