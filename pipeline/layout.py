"""Which channel feeds which loudspeaker: surround layouts, stereo pairs, the fold-down to stereo."""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.audio import Audio, FloatArray

SPEAKERS: Final[dict[str, tuple[str, ...]]] = {
    "mono": ("FC",),
    "stereo": ("FL", "FR"),
    "downmix": ("FL", "FR"),
    "2.1": ("FL", "FR", "LFE"),
    "3.0": ("FL", "FR", "FC"),
    "3.0(back)": ("FL", "FR", "BC"),
    "quad": ("FL", "FR", "BL", "BR"),
    "quad(side)": ("FL", "FR", "SL", "SR"),
    "4.0": ("FL", "FR", "FC", "BC"),
    "3.1": ("FL", "FR", "FC", "LFE"),
    "5.0": ("FL", "FR", "FC", "BL", "BR"),
    "5.0(side)": ("FL", "FR", "FC", "SL", "SR"),
    "4.1": ("FL", "FR", "FC", "LFE", "BC"),
    "5.1": ("FL", "FR", "FC", "LFE", "BL", "BR"),
    "5.1(side)": ("FL", "FR", "FC", "LFE", "SL", "SR"),
    "6.0": ("FL", "FR", "FC", "BC", "SL", "SR"),
    "6.1": ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    "7.0": ("FL", "FR", "FC", "BL", "BR", "SL", "SR"),
    "7.1": ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""Layout names as ffmpeg prints them, with the speakers in channel order."""

_BY_COUNT: Final = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""What a bare channel count means: the channel orders of the FLAC format (RFC 9639, section 9.1.3)."""

_PAIRS: Final = (("FL", "FR"), ("BL", "BR"), ("SL", "SR"))

_FOLD: Final = {
    # ITU-R BS.775-4, annex 4, table 2: centre and surrounds at -3 dB. The LFE channel is left out, as it
    # recommends; a lone back centre feeds both sides at -6 dB in all.
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (0.7071, 0.7071),
    "LFE": (0.0, 0.0),
    "BL": (0.7071, 0.0),
    "BR": (0.0, 0.7071),
    "SL": (0.7071, 0.0),
    "SR": (0.0, 0.7071),
    "BC": (0.5, 0.5),
}


def speakers_of(layout: str | None, channels: int) -> tuple[str, ...]:
    """Label the channels of a recording.

    Args:
        layout: name from the file's header, or None.
        channels: 1..8; decides where the name is unknown or does not fit.

    Returns:
        One label a channel.
    """
    named = SPEAKERS.get(layout or "")
    return named if named is not None and len(named) == channels else SPEAKERS[_BY_COUNT[channels]]


def stereo_pairs(speakers: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Group channels for a model that hears in stereo.

    Left and right of one place go together; a channel without a partner is paired with itself.

    Returns:
        Channel index pairs that cover every channel once (or twice the same for a lone one).
    """
    index = {label: i for i, label in enumerate(speakers)}
    together = [(index[a], index[b]) for a, b in _PAIRS if a in index and b in index]
    paired = {i for pair in together for i in pair}
    alone = [(i, i) for i in range(len(speakers)) if i not in paired]
    return tuple(sorted(together + alone))


def fold_matrix(speakers: tuple[str, ...]) -> FloatArray:
    """Matrix of the fold-down to stereo.

    Returns:
        float32 (2, channels). Not scaled to avoid overload: samples are float, and the one shared gain
        of the encoder deals with what exceeds full scale.
    """
    return np.array([_FOLD[label] for label in speakers], dtype=np.float32).T


def labelled(audio: Audio) -> tuple[str, ...]:
    """Speakers of an `Audio`, guessed from the channel count where it does not say."""
    return audio.speakers or speakers_of(None, audio.channels)
