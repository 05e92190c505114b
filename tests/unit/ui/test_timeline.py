from __future__ import annotations

from pipeline.annotations import Analysis, Annotation, Failed, Problem, Record, Section, Sections, Span
from ui.views import timeline

_SAID = {"method": "a method", "version": "1", "source": "mix"}


class _Labelled(Span):
    label: str


class _Segments(Annotation):
    segments: list[_Labelled]


class _Later(Analysis):
    """An analysis as a later version may write it."""

    chords: _Segments | Failed | None = None
    song_parts: _Segments | Failed | None = None


def _chords() -> _Segments:
    spans = [_Labelled(start_s=0.0, end_s=1.5, label="Am"), _Labelled(start_s=1.5, end_s=4.0, label="F")]
    return _Segments(**_SAID, segments=spans)


def test_whatever_names_stretches_of_the_recording_has_a_lane() -> None:
    lanes = list(timeline.segmented(_Later(chords=_chords(), song_parts=_chords())))
    assert [lane["name"] for lane in lanes] == ["Chords", "Song parts"]
    assert lanes[0]["items"] == [
        {"start_s": 0.0, "end_s": 1.5, "label": "Am"},
        {"start_s": 1.5, "end_s": 4.0, "label": "F"},
    ]


def test_what_failed_was_not_asked_for_or_is_empty_has_none() -> None:
    failed = Failed(method="a method", version="1", error=Problem(code="x", message="x"))
    empty = _Segments(**_SAID, segments=[])
    assert list(timeline.segmented(_Later(chords=failed))) == []
    assert list(timeline.segmented(_Later(chords=None, song_parts=empty))) == []
    assert list(timeline.segmented(Analysis())) == []


def test_segments_without_labels_are_no_lane() -> None:
    class Bare(Annotation):
        segments: list[Record]

    class Odd(Analysis):
        bare: Bare | None = None

    spans = [Span(start_s=0.0, end_s=1.0)]
    assert list(timeline.segmented(Odd(bare=Bare(**_SAID, segments=spans)))) == []


def test_a_section_with_a_name_is_called_by_it() -> None:
    spans = [
        Section(start_s=0.0, end_s=8.0, label="A", name="verse", confidence=1.0),
        Section(start_s=8.0, end_s=16.0, label="B", name=None, confidence=0.5),
    ]
    found = Sections(**_SAID, segments=spans, confidence=0.5)
    (lane,) = timeline.segmented(Analysis(sections=found))
    assert [item["label"] for item in lane["items"]] == ["Verse A", "B"]


def test_without_a_manifest_there_is_no_timeline() -> None:
    assert timeline.lanes(None) == []
    assert timeline.beats(None) == ([], [])
