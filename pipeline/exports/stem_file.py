"""Native Instruments' stem file: an MP4 with the mix and four stems, as DJ programs play it.

Five AAC tracks, of which only the mix is switched on, and an atom ``stem`` in ``moov/udta`` that holds names,
colours and the settings of a compressor and limiter as JSON (Stem File Format Specification 1.0, 2015).
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline.audio import Audio
from pipeline.codec.encode import encode
from pipeline.codec.formats import FORMATS
from pipeline.codec.mp4_boxes import add_user_data
from pipeline.codec.mux import mux
from pipeline.exports.base import Material
from pipeline.parallel import in_order, usable_cores
from pipeline.scratch import ScratchWriter

_ORDER: Final = {"drums": "#FF8F00", "bass": "#7E57C2", "other": "#26A69A", "vocals": "#EC407A"}
_FURTHER: Final = ("guitar", "piano")
_MOST_CHANNELS: Final = 2
_MIX: Final = "mix"
_DSP: Final[dict[str, Any]] = {
    "compressor": {
        "enabled": False, "ratio": 3, "output_gain": 0.5, "release": 0.3, "attack": 0.003,
        "input_gain": 0.5, "threshold": 0, "hp_cutoff": 300, "dry_wet": 50,
    },
    "limiter": {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35},
}  # fmt: skip
"""Switched off: the stems sum to the mix as they are."""


class StemFileExport:
    """``stems.stem.mp4``; guitar and piano, where a model makes them, are in its third stem with the rest."""

    name = "stem.mp4"
    needs = "the stems drums, bass, other and vocals of a recording in mono or stereo"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the file."""
        if not _ORDER.keys() <= material.stems.keys() or material.mix.channels > _MOST_CHANNELS:
            return []
        threads = min(usable_cores(), len(_ORDER) + 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="stem-file") as pool:
            encoded = list(in_order(partial(_encoded, material), (_MIX, *_ORDER), pool, threads))
        path = folder / "stems.stem.mp4"
        mux(encoded, path)
        about = {
            "version": 1,
            "mastering_dsp": _DSP,
            "stems": [{"name": name.capitalize(), "color": colour} for name, colour in _ORDER.items()],
        }
        add_user_data(path, b"stem", json.dumps(about, separators=(",", ":")).encode(), enabled_tracks=1)
        for one in encoded:
            one.unlink()
        return [path]


def _encoded(material: Material, name: str) -> Path:
    path = material.scratch / f"{name}.m4a"
    audio = material.mix if name == _MIX else _stem(material, name)
    encode(audio, path, FORMATS["m4a"], gain=material.gain, cancel=material.cancel)
    return path


def _stem(material: Material, name: str) -> Audio:
    """One of the four; the third is the sum of all that the other three are not."""
    parts = [material.stems[name]]
    if name == "other":
        parts += [audio for stem, audio in material.stems.items() if stem in _FURTHER]
    if len(parts) == 1:
        return parts[0]
    with ScratchWriter(material.scratch / "rest.f32", material.mix.channels) as writer:
        for blocks in zip(*(part.blocks() for part in parts), strict=True):
            writer.write(sum(blocks[1:], blocks[0]))
        return writer.audio(material.mix.sample_rate)
