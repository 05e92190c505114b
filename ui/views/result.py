"""What came of a job: the player, large figures, pictures, files, and how it was made."""

from __future__ import annotations

import math
from typing import Final

import streamlit as st

from api.client_answers import ServiceProblem
from api.schemas import JobBody
from pipeline.annotations import (
    Annotation,
    Beats,
    Failed,
    Key,
    LoudnessValues,
    Lyrics,
    Notes,
    SignalQuality,
    StemNotes,
    Tempo,
)
from pipeline.manifest import Artifact, Manifest
from ui import labels, markup, texts, wording
from ui.components.downloads.downloads import File, downloads
from ui.connection import Connection, Failure, words
from ui.views import charts, listen, similar

_OTHERS: Final = 2
"""Other readings of a property that are shown beside the first."""
_UNLIKELY: Final = 0.05
_SWUNG: Final = 1.2
"""Ratio of eighths from which anybody calls it swing."""
_COMPOUND: Final = {"2/4": "6/8", "3/4": "9/8", "4/4": "12/8"}
"""How meters are written whose beats have three parts."""
_SPECTROGRAM_HZ: Final = 30.0, 20_000.0
"""From its bottom to its top, as `api.jobs.spectrogram` draws it; never above half the sample rate."""


def show(connection: Connection, job: JobBody) -> None:
    """Show the result of a job that has succeeded; without its audio where that has expired."""
    manifest = _manifest(connection, job.id)
    if job.status == "succeeded":
        listen.show(connection, job, manifest)
    markup.heading(texts.ANALYSIS)
    analysis = manifest.analysis
    markup.row(
        [
            _tempo(analysis.tempo),
            *_meter(analysis.beats),
            _key(analysis.key),
            _loudness(analysis.loudness),
            markup.figure(texts.DURATION, wording.clock(manifest.input.duration_s), "", _format(manifest)),
        ]
    )
    if job.status == "succeeded":
        markup.heading(texts.SPECTROGRAM)
        _spectrogram(connection, manifest, job.id)
    charts.show(manifest)
    _notes(analysis.notes)
    _lyrics(analysis.lyrics)
    if job.status == "succeeded":
        markup.heading(texts.DOWNLOADS)
        _downloads(connection, job, manifest)
    similar.show(connection, job.id)
    if manifest.warnings:
        markup.heading(texts.WARNINGS)
        for warning in manifest.warnings:
            markup.notice(warning.message)
    with st.expander(texts.DETAILS):
        markup.facts(_details(manifest))


def _manifest(connection: Connection, job_id: str) -> Manifest:
    held: dict[str, Manifest] = st.session_state.setdefault("manifests", {})
    if job_id not in held:  # It never changes.
        held.clear()
        held[job_id] = connection.client.manifest(job_id)
    return held[job_id]


def _absent(label: str, found: Annotation | Failed | None) -> str:
    """The figure of a property that is not known, and why."""
    if found is None:
        return markup.figure(label, texts.UNKNOWN, "", [texts.NOT_ASKED])
    said = texts.ESTIMATE_FAILED if isinstance(found, Failed) else texts.NOT_FOUND
    return markup.figure(label, texts.UNKNOWN, "", [said])


def _sure(confidence: float) -> str:
    return texts.CONFIDENCE.format(percent=round(100 * confidence))


def _others(readings: list[tuple[str, float]]) -> str:
    likely = [f"{said} ({round(100 * sure)} %)" for said, sure in readings[1:] if sure >= _UNLIKELY]
    return texts.OR_ELSE.format(others=", ".join(likely[:_OTHERS])) if likely else ""


def _tempo(found: Tempo | Failed | None) -> str:
    if not isinstance(found, Tempo) or found.bpm is None:
        return _absent(texts.TEMPO, found)
    readings = [(f"{candidate.bpm:.0f}", candidate.confidence) for candidate in found.candidates]
    notes = [_sure(found.confidence), _others(readings)]
    return markup.figure(texts.TEMPO, f"{found.bpm:.1f}".removesuffix(".0"), texts.TEMPO_UNIT, notes)


def _meter(found: Beats | Failed | None) -> list[str]:
    """The figure of the meter; none for manifests and recordings without one."""
    if not isinstance(found, Beats) or found.meter is None:
        return []
    notes = [_sure(found.meter_confidence)]
    others = list(dict.fromkeys(span.meter for span in found.meters if span.meter != found.meter))
    if others:
        notes.append(texts.ALSO.format(others=", ".join(others[:_OTHERS])))
    if found.swing_ratio is not None and found.swing_ratio >= _SWUNG:
        notes.append(texts.SWING.format(ratio=found.swing_ratio))
    written = _COMPOUND.get(found.meter, found.meter) if found.division == 3 else found.meter
    return [markup.figure(texts.METER, written, "", notes)]


def _key(found: Key | Failed | None) -> str:
    if not isinstance(found, Key) or found.tonic is None or found.mode is None:
        return _absent(texts.KEY, found)
    readings = [(f"{c.tonic} {texts.MODES[c.mode]}", c.confidence) for c in found.candidates]
    tuning = found.tuning_cents
    notes = [_sure(found.confidence), _others(readings)]
    if tuning is not None and abs(tuning) >= 1:
        notes.append(texts.TUNING.format(cents=tuning))
    return markup.figure(texts.KEY, found.tonic, texts.MODES[found.mode], notes)


def _loudness(found: LoudnessValues | Failed | None) -> str:
    if not isinstance(found, LoudnessValues):
        return _absent(texts.LOUDNESS, found)
    if found.integrated_lufs is None:
        return markup.figure(texts.LOUDNESS, texts.SILENT)
    wide = texts.UNKNOWN if found.range_lu is None else f"{found.range_lu:.1f} LU"
    peak = texts.UNKNOWN if found.true_peak_dbtp is None else f"{found.true_peak_dbtp:.1f} dBTP"
    note = texts.RANGE_PEAK.format(range=wide, peak=peak)
    return markup.figure(texts.LOUDNESS, f"{found.integrated_lufs:.1f}", texts.LOUDNESS_UNIT, [note])


def _notes(found: Notes | Failed | None) -> None:
    if not isinstance(found, Notes) or not found.stems:
        return
    markup.heading(texts.NOTES)
    markup.facts([(wording.stem_name(name), _played(stem)) for name, stem in found.stems.items()])


def _lyrics(found: Lyrics | Failed | None) -> None:
    if found is None:
        return
    if isinstance(found, Failed):
        markup.heading(texts.LYRICS)
        markup.notice(texts.ESTIMATE_FAILED, [found.error.message])
        return
    markup.heading(texts.LYRICS, texts.LYRICS_HINT.format(model=found.model) if found.model else "")
    if not found.lines:
        markup.aside(texts.LYRICS_NONE)
        return
    markup.facts([(wording.clock(line.start_s), line.text) for line in found.lines])


def _played(stem: StemNotes) -> str:
    """What a stem plays: how many notes from which to which, or hits of which drums."""
    said = wording.counted(texts.NOTES_COUNT if stem.drums is None else texts.HITS_COUNT, stem.count)
    if stem.lowest is not None and stem.highest is not None:
        said += texts.NOTES_RANGE.format(lowest=stem.lowest, highest=stem.highest)
    if stem.drums:
        hits = [f"{texts.DRUM_NAMES.get(name, name)} {count}" for name, count in stem.drums.items() if count]
        said += f": {', '.join(hits)}" if hits else ""
    return said


def _format(manifest: Manifest) -> list[str]:
    given = manifest.input
    channels = texts.CHANNELS.get(given.channels, texts.CHANNELS_MANY.format(count=given.channels))
    notes = [f"{given.codec}, {given.sample_rate / 1000:g} kHz, {channels}"]
    quality = manifest.analysis.signal
    if isinstance(quality, SignalQuality):
        if quality.mix.clipped_samples:
            notes.append(texts.CLIPPED.format(count=quality.mix.clipped_samples))
        if quality.mix.band_limited and quality.mix.bandwidth_hz is not None:
            notes.append(texts.BAND_LIMITED.format(khz=round(quality.mix.bandwidth_hz / 1000, 1)))
    return notes


def _spectrogram(connection: Connection, manifest: Manifest, job_id: str) -> None:
    held: dict[str, bytes] = st.session_state.setdefault("spectrograms", {})
    try:
        if job_id not in held:
            picture = connection.client.spectrogram(job_id)
            held.clear()
            held[job_id] = picture
    except ServiceProblem as exc:
        markup.notice(texts.SPECTROGRAM_NONE, [exc.detail])
        return
    except Failure as exc:
        markup.notice(texts.SPECTROGRAM_NONE, [words(exc)])
        return
    with st.container(key="spectrogram"):
        st.image(held[job_id], width="stretch", alt=texts.SPECTROGRAM_ALT)
        markup.scale(_pitches(manifest), _times(manifest))


def _pitches(manifest: Manifest) -> list[tuple[str, float]]:
    """Marks on the upright side of the spectrogram, with their place from its bottom, 0 to 1."""
    lowest, highest = _SPECTROGRAM_HZ
    highest = min(highest, manifest.input.sample_rate / 2)
    return [
        (
            texts.SPECTROGRAM_HZ.format(hz=hz) if hz < 1000 else texts.SPECTROGRAM_KHZ.format(khz=hz // 1000),
            math.log(hz / lowest) / math.log(highest / lowest),
        )
        for hz in (100, 1000, 10_000)
        if hz < highest
    ]


def _times(manifest: Manifest) -> list[tuple[str, float]]:
    """Marks along the time of the recording, with their place, 0 to 1."""
    return [
        (wording.clock(at), at / manifest.input.duration_s) for at in wording.marks(manifest.input.duration_s)
    ]


def _downloads(connection: Connection, job: JobBody, manifest: Manifest) -> None:
    stale = f"downloads-{job.id}"
    base = f"/jobs/{job.id}"
    ticket, _ = connection.ticket(base, fresh=bool(st.session_state.pop(stale, False)))
    name = job.filename.rpartition(".")[0] or job.filename
    whole = sum(artifact.bytes for artifact in manifest.artifacts)
    files: list[File] = [
        {
            "label": texts.EVERYTHING,
            "detail": f"ZIP, {wording.size(whole)}",
            "name": f"{name}.zip",
            "path": f"{base}/archive",
            "bytes": whole,
        }
    ]
    files += [
        {
            "label": _label(artifact),
            "detail": _format_and_size(artifact),
            "name": f"{name} - {artifact.path.rpartition('/')[2]}",
            "path": f"{base}/artifacts/{artifact.path.rpartition('/')[2]}",
            "bytes": artifact.bytes,
        }
        for artifact in manifest.artifacts
    ]
    files += [
        {
            "label": texts.MANIFEST,
            "detail": "JSON",
            "name": f"{name} - manifest.json",
            "path": f"{base}/manifest",
            "bytes": None,
        },
    ]
    downloads(
        files,
        api_url=connection.browser_url,
        ticket=ticket,
        on_ticket=lambda: st.session_state.update({stale: True}),
        key=f"downloads-of-{job.id}",
    )


def _label(artifact: Artifact) -> str:
    if artifact.kind != "analysis":
        return wording.stem_name(artifact.name)
    return labels.EXPORT_FILES.get(artifact.name, artifact.name)


def _format_and_size(artifact: Artifact) -> str:
    return (
        f"{labels.FORMAT_NAMES.get(artifact.format, artifact.format.upper())}, {wording.size(artifact.bytes)}"
    )


def _details(manifest: Manifest) -> list[tuple[str, str]]:
    made = manifest.separation
    names = texts.DETAIL_NAMES
    left = texts.UNKNOWN if made.residual_db is None else f"{made.residual_db:.1f} dB"
    return [
        (names["model"], made.model),
        (names["quality"], made.quality),
        (names["licence"], made.licence),
        (names["device"], f"{made.device}, {made.precision}"),
        (names["gain"], f"{made.gain_db:.1f} dB"),
        (names["residual"], left),
        (names["reused"], f"{round(100 * made.reused)} %"),
        (names["input"], f"{manifest.input.container}, SHA-256 {manifest.input.sha256}"),
        (names["software"], ", ".join(f"{name} {version}" for name, version in manifest.software.items())),
    ]
