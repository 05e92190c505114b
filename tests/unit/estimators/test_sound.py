import numpy as np
import pytest

from pipeline.annotations import Sound
from pipeline.estimators.sound import FRAME, LONGEST_S, PRINTS_PER_SECOND, SoundEstimator
from pipeline.likeness import SAME, agreement, similarity
from tests.unit.estimators.signals import RATE, Signal, drum_kit, noise, recording, steady, tone


def sound(signal: Signal) -> Sound:
    return SoundEstimator().estimate(recording(signal), {})


def melody(seed: int, seconds: float = 20.0) -> Signal:
    """Half a second of a note each, of a scale, with partials."""
    steps = np.random.default_rng(seed).integers(0, 15, round(2 * seconds))
    notes = [220 * 2 ** (step / 12) for step in steps]
    return np.concatenate([sum(tone(k * hz, 0.5) / (2 * k) for k in range(1, 8)) for hz in notes])


def test_a_copy_that_is_quieter_noisier_and_cut_is_the_same_recording() -> None:
    whole = melody(1)
    copy = 0.3 * whole[round(0.06 * RATE) :] + 0.02 * noise(20)[: len(whole) - round(0.06 * RATE)]
    assert agreement(sound(whole), sound(copy)) >= SAME


def test_a_leading_pause_does_not_matter() -> None:
    whole = melody(1)
    assert agreement(sound(whole), sound(np.concatenate([np.zeros(7 * RATE), whole]))) >= SAME


def test_a_recording_that_begins_some_seconds_later_is_found() -> None:
    whole = melody(1)
    assert agreement(sound(whole), sound(whole[3 * RATE :])) >= SAME


def test_another_tune_on_the_same_instrument_is_not_the_same_recording() -> None:
    assert agreement(sound(melody(1)), sound(melody(2))) < SAME


def test_what_is_too_short_to_tell_is_not_the_same() -> None:
    short = sound(melody(1, 2.0))
    assert agreement(short, short) == 0.0


def test_the_fingerprint_covers_two_minutes_at_most() -> None:
    words = len(sound(np.tile(melody(1), 7)).fingerprint) * 3 / 4 / 4
    assert words == pytest.approx((LONGEST_S - FRAME / RATE) * PRINTS_PER_SECOND, abs=2)


def test_the_other_half_of_a_song_is_more_like_it_than_another_song() -> None:
    tune, drums = melody(3), drum_kit(steady(120, 20), 20)
    first, second = (sound(half) for half in np.split(tune, 2))
    assert similarity(first, second) > similarity(first, sound(drums))
    assert similarity(first, first) == 1.0


def test_transposition_and_level_do_not_make_another_song() -> None:
    tune = melody(3)
    assert similarity(sound(tune), sound(0.1 * tune)) > 0.95


@pytest.mark.parametrize("samples", [0, 1, 5 * RATE])
def test_silence_sounds_like_nothing(samples: int) -> None:
    found = sound(np.zeros(samples))
    assert (found.fingerprint, found.features) == ("", {})
    assert (agreement(found, found), similarity(found, found)) == (0.0, 0.0)
