import numpy as np
import pytest

from pipeline.annotations import Beats, Sections
from pipeline.estimators.sections import SectionsEstimator
from tests.unit.estimators.signals import RATE, Signal, chord, drum_kit, noise, recording, steady

BEAT_S = 0.5


def beats(seconds: float, bars: bool = False) -> Beats:
    times = list(np.arange(0, seconds, BEAT_S))
    found = Beats(method="", version="", source="", times_s=times, confidence=1)
    if bars:
        object.__setattr__(found, "downbeats_s", times[::4])
    return found


def phrase(roots: tuple[int, ...], third: int, octave: int = 0) -> Signal:
    """Two bars of each chord."""
    return np.concatenate(
        [np.tile(chord([r + 12 * octave + t for t in (0, third, 7)], 1.0), 4) for r in roots]
    )


VERSE, CHORUS = phrase((0, 5, 0, 7), 4), phrase((9, 2, 4, 9), 3, 1)
PART_S = len(VERSE) / RATE


def sections(signal: Signal, stems: dict[str, Signal] | None = None, bars: bool = False) -> Sections:
    return SectionsEstimator().estimate(recording(signal, stems), {"beats": beats(len(signal) / RATE, bars)})


@pytest.mark.parametrize("bars", [False, True])
def test_parts_begin_where_they_do_and_what_is_repeated_has_one_letter(bars: bool) -> None:
    found = sections(np.concatenate([VERSE, CHORUS, VERSE, CHORUS]), bars=bars)
    four = found.segments[:4]
    assert [one.label for one in four] == ["A", "B", "A", "B"]
    assert [one.start_s for one in four] == pytest.approx(np.arange(4) * PART_S, abs=BEAT_S)
    assert len(found.segments) <= 5  # the last chord of all may pass for an ending
    assert found.confidence > 0.3
    assert all(one.name is None for one in found.segments)


def test_who_sings_and_how_loud_tells_verse_and_chorus() -> None:
    nothing = np.zeros(len(VERSE))
    other = np.concatenate([VERSE, VERSE, 2 * CHORUS, VERSE, 2 * CHORUS, CHORUS])
    melody = np.tile(chord([12], 0.5), round(2 * PART_S))
    sung = [nothing, melody, 2 * melody, melody, 2 * melody, nothing]
    voice = np.concatenate(sung)
    stems = {"drums": 0 * voice, "bass": 0 * voice, "other": other, "vocals": voice}
    names = [one.name for one in sections(other + voice, stems).segments]
    assert names == ["intro", "verse", "chorus", "verse", "chorus", "outro"]


def test_drums_that_enter_begin_a_part() -> None:
    seconds = 4 * PART_S
    music = np.tile(VERSE, 4)
    drums = drum_kit(steady(120, seconds, 0.0), seconds)
    drums[: len(drums) // 2] = 0
    found = sections(music + drums, {"drums": drums, "bass": 0 * music, "other": music})
    assert seconds / 2 == pytest.approx(
        min((one.start_s for one in found.segments), key=lambda s: abs(s - seconds / 2)), abs=BEAT_S
    )


def test_parts_follow_one_another_from_the_first_sound_to_the_last() -> None:
    pause = np.zeros(4 * RATE)
    found = sections(np.concatenate([pause, VERSE, CHORUS, VERSE, pause]))
    assert found.segments[0].start_s == pytest.approx(4.0, abs=0.1)
    assert found.segments[-1].end_s == pytest.approx(4 + 3 * PART_S, abs=1)
    assert [one.end_s for one in found.segments[:-1]] == [one.start_s for one in found.segments[1:]]


@pytest.mark.parametrize("signal", [np.zeros(5 * RATE), np.zeros(0)], ids=["silence", "nothing"])
def test_silence_has_no_parts(signal: Signal) -> None:
    assert sections(signal).segments == []


def test_what_never_changes_is_one_part() -> None:
    loop = drum_kit(steady(120, 60), 60)
    assert [one.label for one in sections(loop).segments] == ["A"]


def test_nobody_is_sure_of_parts_in_noise_and_three_seconds_are_one_part() -> None:
    assert sections(noise(60)).confidence < 0.2
    assert [one.label for one in sections(VERSE[: 3 * RATE]).segments] == ["A"]
