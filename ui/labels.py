"""What stems, models, estimators, exports and formats are called on the pages.

To be translated with `ui.texts`.
"""

from __future__ import annotations

from typing import Final

STEM_NAMES: Final = {
    "vocals": "Vocals",
    "drums": "Drums",
    "bass": "Bass",
    "other": "Other",
    "guitar": "Guitar",
    "piano": "Piano",
    "residual": "Left over",
    "mix": "Recording",
}
MODEL_NAMES: Final = {
    "htdemucs": "Demucs 4",
    "htdemucs_ft": "Demucs 4, fine-tuned",
    "htdemucs_6s": "Demucs 4, six stems",
    "hdemucs_mmi": "Hybrid Demucs 3",
    "mdx": "MDX",
    "mdx_extra": "MDX Extra",
    "hpss": "Sketch",
}
MODEL_LEADS: Final = {
    "htdemucs": "Good with everything: the usual choice",
    "htdemucs_ft": "The best four stems, slowly",
    "htdemucs_6s": "Guitar and piano as stems of their own",
    "hdemucs_mmi": "The version before Demucs 4",
    "mdx": "Trained on a public data set alone",
    "mdx_extra": "Trained on more songs than MDX",
    "hpss": "Rough, at once, without a network",
}
ESTIMATOR_NAMES: Final = {
    "tempo": "Tempo",
    "beats": "Beats",
    "key": "Key",
    "chords": "Chords",
    "sections": "Sections",
    "loudness": "Loudness",
    "spectrum": "Spectrum",
    "activity": "Activity",
    "notes": "Notes",
    "signal": "Signal",
    "sound": "Likeness",
    "lyrics": "Lyrics",
}
ESTIMATORS_BY_DEFAULT: Final = tuple(name for name in ESTIMATOR_NAMES if name != "lyrics")
EXPORT_NAMES: Final = {
    "midi": "MIDI",
    "csv": "CSV",
    "jams": "JAMS",
    "audacity": "Audacity labels",
    "svl": "Sonic Visualiser",
    "reaper": "REAPER project",
    "dawproject": "DAWproject",
    "stem.mp4": "Stem file for DJs",
    "click": "Click track",
    "chord-sheet": "Chord sheet",
    "lrc": "Lyrics for players (LRC)",
    "srt": "Subtitles (SRT)",
}
EXPORT_FILES: Final = {
    "beats": "Beats",
    "chords": "Chords",
    "sections": "Sections",
    "notes": "Notes",
    "pitch": "Pitch",
    "song": "All of the analysis",
    "project": "Project",
    "click": "Click track",
    "stems": "Stems in one file",
    "lyrics": "Lyrics",
}
SECTION_NAMES: Final = {
    "intro": "Intro",
    "verse": "Verse",
    "chorus": "Chorus",
    "instrumental": "Instrumental",
    "outro": "Outro",
}
FORMAT_NAMES: Final = {
    "flac": "FLAC",
    "wav": "WAV",
    "wav16": "WAV 16 bit",
    "wav24": "WAV 24 bit",
    "wav32f": "WAV 32 bit float",
    "mp3": "MP3",
    "ogg": "Ogg Vorbis",
    "opus": "Opus",
    "m4a": "AAC",
}
