import numpy as np
import pytest

from pipeline.annotations import Annotation, Beats, Chords
from pipeline.estimators import chord_network
from pipeline.estimators.chord_templates import QUALITIES, ROOTS
from pipeline.estimators.chords import ChordsEstimator
from pipeline.estimators.key import KeyEstimator
from tests.unit.estimators.signals import RATE, Signal, chord, drum_kit, noise, recording, steady, syllables

BAR_S = 2.0


def beats(seconds: float, bars: bool = False) -> Beats:
    """Half a second apart."""
    found = Beats(method="", version="", source="", times_s=list(np.arange(0, seconds, 0.5)), confidence=1)
    if bars:
        object.__setattr__(found, "downbeats_s", list(np.arange(0, seconds, BAR_S)))
    return found


def played(root: int, quality: str, seconds: float = BAR_S) -> Signal:
    """A chord in the middle with its root in the bass, struck on every half second."""
    tones = [(root + step) % 12 for step in QUALITIES[quality][0]]
    return np.tile(chord([root - 24, *(tone - 12 for tone in tones), *tones], 0.5), round(2 * seconds))


def chords(signal: Signal, stems: dict[str, Signal] | None = None, bars: bool = False) -> Chords:
    seen = recording(signal, stems)
    found: dict[str, Annotation] = {"beats": beats(len(signal) / RATE, bars)}
    found["key"] = KeyEstimator().estimate(seen, found)
    return ChordsEstimator().estimate(seen, found)


def spoken(found: Chords) -> list[str]:
    return [segment.label for segment in found.segments]


@pytest.mark.parametrize("quality", ["maj", "min", "7", "maj7", "min7"])
@pytest.mark.parametrize("root", range(0, 12, 3))
def test_the_patterns_alone_find_a_chord_on_every_root(
    monkeypatch: pytest.MonkeyPatch, root: int, quality: str
) -> None:
    monkeypatch.setattr(chord_network, "_network", lambda: None)
    found = ChordsEstimator().estimate(recording(played(root, quality, 4)), {"beats": beats(4)})
    assert spoken(found) == [f"{ROOTS[root]}:{quality}"]
    assert found.confidence > 0.5


def test_without_the_network_the_patterns_alone_find_chords(monkeypatch: pytest.MonkeyPatch) -> None:
    song = np.concatenate([played(0, "maj"), played(9, "min"), played(5, "maj"), played(7, "maj")] * 2)
    with_network = chords(song)
    monkeypatch.setattr(chord_network, "_network", lambda: None)
    found = chords(song)
    assert spoken(found) == ["C:maj", "A:min", "F:maj", "G:maj"] * 2
    assert "network" in with_network.method and "network" not in found.method


def test_the_network_hears_the_same_in_segments_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    song = np.concatenate([played(root, "maj") for root in (0, 5, 7, 9, 2, 4)] * 3)
    view, edges_s = recording(song).mono("mix"), np.arange(0, 36.5, 0.5)
    whole = chord_network.evidence(view, edges_s, 0.0)
    monkeypatch.setattr(chord_network, "SEGMENT_FRAMES", 500)
    pieces = chord_network.evidence(view, edges_s, 0.0)
    assert (whole.argmax(axis=1) == pieces.argmax(axis=1)).mean() > 0.95


def test_chords_change_where_they_do_and_leave_no_gap() -> None:
    song = [(0, "maj"), (9, "min"), (5, "maj"), (7, "7")]
    found = chords(np.concatenate([played(*one) for one in song] * 2))
    assert spoken(found) == ["C:maj", "A:min", "F:maj", "G:7"] * 2
    assert [segment.start_s for segment in found.segments] == pytest.approx(np.arange(8) * BAR_S, abs=0.01)
    assert [segment.end_s for segment in found.segments[:-1]] == [s.start_s for s in found.segments[1:]]


def test_without_beats_chords_are_found_all_the_same() -> None:
    signal = np.concatenate([played(2, "min"), played(7, "maj")])
    assert spoken(ChordsEstimator().estimate(recording(signal), {})) == ["D:min", "G:maj"]


def test_the_bass_stem_tells_inversions() -> None:
    tones, bass = np.tile(chord([0, 4, 7, 12], 0.5), 8), np.tile(chord([-20], 0.5), 8)
    found = chords(tones + bass, {"drums": 0 * bass, "bass": bass, "other": tones})
    assert spoken(found) == ["C:maj/3"]
    assert found.source == "bass+other"


def test_a_song_in_another_tuning_has_the_same_chords() -> None:
    sharp = 440 * 2 ** (40 / 1200)
    song = [
        chord([-24 + r, r, r + third, r + 7], 2.0, sharp) for r, third in ((0, 4), (5, 4), (9, 3), (7, 4))
    ]
    assert spoken(chords(np.concatenate(song * 3))) == ["C:maj", "F:maj", "A:min", "G:maj"] * 3


def test_silence_between_chords_has_none() -> None:
    found = chords(np.concatenate([played(4, "min"), np.zeros(4 * RATE), played(4, "min")]))
    assert spoken(found) == ["E:min", "N", "E:min"]


@pytest.mark.parametrize(
    "signal", [noise(20), syllables(20), drum_kit(steady(120, 20), 20)], ids=["noise", "speech", "drums"]
)
def test_nobody_is_sure_of_chords_without_music(signal: Signal) -> None:
    assert chords(signal).confidence < 0.25


@pytest.mark.parametrize("signal", [np.zeros(5 * RATE), np.full(5 * RATE, 0.5)], ids=["silence", "offset"])
def test_in_silence_there_is_no_chord(signal: Signal) -> None:
    found = chords(signal)
    assert (spoken(found), found.confidence, found.chart) == (["N"], 0.0, "")


def test_a_chart_has_four_bars_a_line_and_a_sign_for_the_same_again() -> None:
    song = [(0, "maj"), (0, "maj"), (5, "maj"), (7, "7"), (9, "min"), (9, "min")]
    found = chords(np.concatenate([played(*one) for one in song]), bars=True)
    assert found.chart.splitlines() == ["0:00 | C | % | F | G7 |", "0:08 | Am | % |"]


def test_without_bars_a_chart_tells_times() -> None:
    found = chords(np.concatenate([played(2, "min"), played(7, "maj")]))
    assert found.chart.splitlines() == ["0:00 Dm", "0:02 G"]


def test_a_song_that_begins_on_its_first_beat_has_that_bar_in_its_chart() -> None:
    beats = Beats(
        method="none",
        version="1",
        source="mix",
        times_s=[0.01, 0.5, 1.0, 1.5, 1.995],
        confidence=1.0,
        downbeats_s=[0.01, 1.995],
    )
    found = ChordsEstimator().estimate(recording(played(0, "maj")), {"beats": beats})
    assert found.chart == "0:00 | C |"


def lone_note(seconds: float, vibrato: float = 0.0) -> Signal:
    """One note with seven harmonics; with vibrato, half a semitone to each side, 5.5 times a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * 220 * time + vibrato * np.sin(2 * np.pi * 5.5 * time)
    return np.asarray(0.1 * np.sum([0.6**k * np.sin(k * phase) for k in range(1, 8)], axis=0))


def mains_hum(seconds: float) -> Signal:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(np.sum([np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 6)], axis=0))


@pytest.mark.parametrize(
    "sound",
    [lone_note(12.0), lone_note(12.0, vibrato=1.2), mains_hum(12.0), np.full(12 * RATE, 0.5)],
    ids=["a long note", "a long note with vibrato", "hum of the mains", "an offset"],
)
def test_what_lacks_the_tones_of_a_chord_is_none_or_nobody_is_sure_of_it(sound: Signal) -> None:
    assert chords(sound).confidence < 0.2
