"""The formats that artifacts are written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pipeline.errors import FormatUnsupported, OptionInvalid


@dataclass(frozen=True, slots=True)
class Format:
    """An output format.

    Attributes:
        name: as the user asks for it and the manifest names it.
        extension: of the file, without the dot.
        media_type: for HTTP.
        bits: of an integer sample; 32 for float; 0 where the codec is lossy.
        writer: what writes it.
        arguments: of ffmpeg's encoder.
        max_channels: that it holds.
        rates: sample rates in Hz that it holds; empty: any.
    """

    name: str
    extension: str
    media_type: str
    bits: Literal[0, 16, 24, 32]
    writer: Literal["soundfile", "ffmpeg"]
    arguments: tuple[str, ...] = ()
    max_channels: int = 8
    rates: tuple[int, ...] = ()

    @property
    def clips(self) -> bool:
        """Whether samples beyond full scale are lost, in the file or in the usual players."""
        return self.bits != 32

    def sample_rate(self, asked: int) -> int:
        """The sample rate in Hz that a recording of ``asked`` Hz is written at: its own where possible."""
        if not self.rates or asked in self.rates:
            return asked
        return min((rate for rate in self.rates if rate >= asked), default=max(self.rates))


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)

FORMATS: Final[dict[str, Format]] = {
    f.name: f
    for f in (
        Format("flac", "flac", "audio/flac", 24, "soundfile"),
        Format("wav", "wav", "audio/wav", 24, "soundfile"),
        Format("wav16", "wav", "audio/wav", 16, "soundfile"),
        Format("wav24", "wav", "audio/wav", 24, "soundfile"),
        # libsndfile would write the time of day into every float file.
        Format(
            "wav32f",
            "wav",
            "audio/wav",
            32,
            "ffmpeg",
            ("-c:a", "pcm_f32le", "-rf64", "auto", "-f", "wav"),
        ),
        Format(
            "mp3",
            "mp3",
            "audio/mpeg",
            0,
            "ffmpeg",
            ("-c:a", "libmp3lame", "-q:a", "0", "-f", "mp3"),
            max_channels=2,
            rates=_MP3_RATES,
        ),
        Format("ogg", "ogg", "audio/ogg", 0, "ffmpeg", ("-c:a", "libvorbis", "-q:a", "8", "-f", "ogg")),
        Format(
            "opus",
            "opus",
            "audio/ogg",
            0,
            "ffmpeg",
            ("-c:a", "libopus", "-b:a", "256k", "-f", "ogg"),
            rates=(48000,),
        ),
        Format(
            "m4a",
            "m4a",
            "audio/mp4",
            0,
            "ffmpeg",
            ("-c:a", "aac", "-b:a", "320k", "-f", "ipod"),
            rates=_AAC_RATES,
        ),
    )
}
"""Lossy ones at settings that listening tests call transparent."""  # fmt: skip


def choose_formats(names: tuple[str, ...]) -> tuple[Format, ...]:
    """Look up formats by name.

    Raises:
        FormatUnsupported: a name is unknown.
        OptionInvalid: two of them would write the same file.
    """
    chosen = []
    for name in dict.fromkeys(names):
        if name not in FORMATS:
            raise FormatUnsupported(f"There is no format {name!r}.", f"Choose from: {', '.join(FORMATS)}.")
        chosen.append(FORMATS[name])
    extensions = [f.extension for f in chosen]
    if len(set(extensions)) < len(extensions):
        raise OptionInvalid(
            "Two of the formats have the same file extension.", "Choose one of the wav formats."
        )
    return tuple(chosen)


def check_channels(formats: tuple[Format, ...], channels: int) -> None:
    """Refuse early what a format cannot hold.

    Raises:
        FormatUnsupported: too many channels.
    """
    for f in formats:
        if channels > f.max_channels:
            raise FormatUnsupported(
                f"The format {f.name} holds {f.max_channels} channels; this recording has {channels}.",
                "Choose flac or wav, or fold the recording down to stereo.",
            )
