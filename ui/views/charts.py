"""Charts of a result: its chords, how loud each stem is, and when it sounds."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go
import streamlit as st

from pipeline.annotations import Activity, Chords, LoudnessValues
from pipeline.manifest import Manifest
from ui import markup, texts, wording

_COLOURS: Final = {
    "vocals": "#a855f7",
    "drums": "#e0662b",
    "bass": "#2f7fe0",
    "other": "#0f9d8a",
    "guitar": "#c98a04",
    "piano": "#d6409f",
}
"""As the player's: see looks.js there."""
_OTHER_COLOUR: Final = "#7c83f5"
_ROW_PX: Final = 38
_CURVE_ROWS: Final = 4
_QUIETEST: Final = -60.0
"""LUFS where a bar begins."""
_ROOM: Final = 14.0
"""LUFS at which the figure ends: the words beside the longest bar need room."""


def show(manifest: Manifest) -> None:
    """Show the chords, and draw what the manifest has of each stem."""
    _chords(manifest)
    columns = st.columns(2, gap="large")
    with columns[0]:
        _loudness(manifest)
    with columns[1]:
        _activity(manifest)
    _loudness_curve(manifest)


def _loudness_curve(manifest: Manifest) -> None:
    found = manifest.analysis.loudness
    if not isinstance(found, LoudnessValues) or found.curve is None or found.integrated_lufs is None:
        return
    markup.heading(texts.LOUDNESS_CURVE)
    levels = found.curve.short_term_lufs
    times = [n * found.curve.step_s for n in range(len(levels))]
    line = go.Scatter(
        x=times,
        y=levels,
        mode="lines",
        line={"color": _OTHER_COLOUR, "width": 2},
        customdata=[wording.clock(time) for time in times],
        hovertemplate="%{customdata}  %{y:.1f} " + texts.LOUDNESS_UNIT + "<extra></extra>",
    )
    figure = _figure(line, _CURVE_ROWS)
    figure.add_hline(found.integrated_lufs, line={"dash": "dot", "width": 1, "color": _OTHER_COLOUR})
    _time_axis(figure, manifest.input.duration_s)
    figure.update_yaxes(autorange=True)
    _draw(figure, "loudness_curve", f"{found.integrated_lufs:.1f} {texts.LOUDNESS_UNIT}")


def _chords(manifest: Manifest) -> None:
    found = manifest.analysis.chords
    if isinstance(found, Chords) and found.chart:
        with st.expander(texts.CHORD_CHART):
            st.code(found.chart, language=None)


def _loudness(manifest: Manifest) -> None:
    levels: dict[str, float | None] = {}
    for artifact in manifest.artifacts:
        if artifact.kind != "analysis":
            levels.setdefault(artifact.name, artifact.loudness_lufs)
    if not levels:
        return
    markup.heading(texts.STEM_LOUDNESS)
    names = [wording.stem_name(name) for name in levels]
    heard = [_QUIETEST if level is None else max(level, _QUIETEST) for level in levels.values()]
    said = [texts.SILENT if v is None else f"{v:.1f} {texts.LOUDNESS_UNIT}" for v in levels.values()]
    bars = go.Bar(
        y=names,
        x=[level - _QUIETEST for level in heard],
        base=_QUIETEST,
        orientation="h",
        marker={"color": [_colour(name) for name in levels], "cornerradius": 4},
        text=said,
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure = _figure(bars, len(names))
    figure.update_xaxes(range=[_QUIETEST, _ROOM], visible=False)  # the bars say what they are
    _draw(figure, "loudness", "; ".join(f"{name}: {level}" for name, level in zip(names, said, strict=True)))


def _activity(manifest: Manifest) -> None:
    found = manifest.analysis.activity
    if not isinstance(found, Activity) or not found.stems:
        return
    markup.heading(texts.STEM_ACTIVITY)
    spans = [(name, span) for name, stem in found.stems.items() for span in stem.active]
    bars = go.Bar(
        y=[wording.stem_name(name) for name, _ in spans],
        x=[span.end_s - span.start_s for _, span in spans],
        base=[span.start_s for _, span in spans],
        orientation="h",
        marker={"color": [_colour(name) for name, _ in spans], "line": {"width": 0}},
        customdata=[
            texts.FROM_TO.format(start=wording.clock(span.start_s), end=wording.clock(span.end_s))
            for _, span in spans
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    names = [wording.stem_name(name) for name in found.stems]
    figure = _figure(bars, len(names))
    _time_axis(figure, manifest.input.duration_s)
    # Also the stems that never sound have a row.
    figure.update_yaxes(categoryorder="array", categoryarray=names, autorange=False)
    figure.update_yaxes(range=[len(names) - 0.5, -0.5])
    parts = [f"{wording.stem_name(n)}: {round(100 * s.active_fraction)} %" for n, s in found.stems.items()]
    _draw(figure, "activity", "; ".join(parts))


def _colour(name: str) -> str:
    return _COLOURS.get(name.removeprefix("no_"), _OTHER_COLOUR)


def _time_axis(figure: go.Figure, duration_s: float) -> None:
    ticks = wording.marks(duration_s)
    figure.update_xaxes(range=[0, duration_s], tickvals=ticks, ticktext=[wording.clock(t) for t in ticks])


def _figure(bars: go.Bar | go.Scatter, rows: int) -> go.Figure:
    figure = go.Figure(bars)
    figure.update_layout(
        height=_ROW_PX * rows + 40,
        margin={"l": 0, "r": 8, "t": 8, "b": 0},
        bargap=0.35,
        showlegend=False,
        dragmode=False,
        barmode="overlay",
    )
    figure.update_xaxes(showgrid=True, zeroline=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticklabelstandoff=8)
    return figure


def _draw(figure: go.Figure, key: str, said: str) -> None:
    st.plotly_chart(figure, config={"displayModeBar": False, "responsive": True}, key=key, alt=said)
