import numpy as np
import pytest

from pipeline.annotations import StemActivity
from pipeline.estimators.activity import ActivityEstimator
from tests.unit.estimators.signals import (
    RATE,
    Signal,
    click,
    drum_kit,
    hits,
    noise,
    recording,
    steady,
    tone,
)


def activity(stems: dict[str, Signal]) -> dict[str, StemActivity]:
    mix = np.sum(list(stems.values()), axis=0)
    return ActivityEstimator().estimate(recording(mix, stems), {}).stems


def bursts(seconds: float, spans: list[tuple[float, float]], level: float = 1.0, hz: float = 440) -> Signal:
    """A tone that sounds during the spans only."""
    gate = np.zeros(round(seconds * RATE))
    for start, end in spans:
        gate[round(start * RATE) : round(end * RATE)] = level
    return gate * tone(hz, seconds)


def spans(found: StemActivity) -> list[tuple[float, float]]:
    return [(span.start_s, span.end_s) for span in found.active]


def test_bursts_are_found_where_they_are() -> None:
    truth = [(2.0, 5.0), (8.0, 9.0), (14.0, 20.0)]
    found = activity({"vocals": bursts(20, truth), "other": 0.3 * noise(20)})["vocals"]
    assert len(found.active) == 3
    np.testing.assert_allclose(spans(found), truth, atol=0.1)
    assert found.active_fraction == pytest.approx(0.5, abs=0.02)
    assert not found.silent


def test_a_breath_is_bridged_and_a_rest_is_not() -> None:
    found = activity({"vocals": bursts(20, [(1, 5), (5.6, 9), (11, 15)]), "other": 0.3 * noise(20)})
    np.testing.assert_allclose(spans(found["vocals"]), [(1, 9), (11, 15)], atol=0.1)


def test_drums_go_on_between_their_hits() -> None:
    found = activity({"drums": drum_kit(steady(70, 20), 20), "other": 0.2 * noise(20)})["drums"]
    assert len(found.active) == 1
    assert found.active_fraction > 0.9


@pytest.mark.parametrize("bleed_db", [-35, -45, -60])
def test_what_leaked_out_of_the_others_does_not_count(bleed_db: float) -> None:
    other = noise(20)
    leak = 10 ** (bleed_db / 20) * other
    vocals = bursts(20, [(5, 10)], 0.3) + leak
    found = activity({"vocals": vocals, "drums": leak, "other": other})
    np.testing.assert_allclose(spans(found["vocals"]), [(5, 10)], atol=0.1)
    assert found["drums"].silent
    assert found["drums"].active == []
    assert found["drums"].energy_db == pytest.approx(bleed_db, abs=1.5)


def test_a_quiet_passage_of_a_solo_counts() -> None:
    loud, quiet = bursts(20, [(0, 10)]), bursts(20, [(10, 20)], 0.05)
    found = activity({"vocals": loud + quiet})["vocals"]
    assert found.active_fraction > 0.98


def test_a_single_short_phrase_in_a_long_song_is_found() -> None:
    found = activity({"vocals": bursts(120, [(60, 62)], 0.4), "other": noise(120)})["vocals"]
    np.testing.assert_allclose(spans(found), [(60, 62)], atol=0.1)


def test_digital_silence_is_silent_and_has_no_energy() -> None:
    found = activity({"bass": np.zeros(5 * RATE), "other": noise(5)})
    assert found["bass"] == StemActivity(silent=True, active_fraction=0.0, energy_db=None, active=[])
    assert found["other"].active_fraction == 1.0
    assert found["other"].energy_db == 0.0


def test_a_silent_recording_has_silent_stems() -> None:
    found = activity({"bass": np.zeros(5 * RATE), "other": np.zeros(5 * RATE)})
    assert all(stem.silent and stem.energy_db is None for stem in found.values())


def test_an_offset_is_not_activity() -> None:
    found = activity({"bass": bursts(10, [(4, 6)]) + 0.01, "other": 0.5 * noise(10)})["bass"]
    assert found.active_fraction == pytest.approx(0.2, abs=0.05)


def test_one_click_is_activity_only_while_it_sounds() -> None:
    found = activity({"drums": hits([3.0], 10, click()), "other": 0.01 * noise(10)})["drums"]
    assert len(found.active) <= 1
    assert found.active_fraction < 0.05


def test_without_stems_there_is_nothing_to_say() -> None:
    found = ActivityEstimator().estimate(recording(noise(1)), {})
    assert (found.source, found.stems) == ("mix", {})


def test_bleed_is_what_is_left_where_a_stem_rests() -> None:
    band = np.concatenate([noise(10, 1), noise(10, 1)])
    voice = np.concatenate([0.5 * noise(10, 2), 0.003 * noise(10, 1)])
    found = ActivityEstimator().estimate(recording(band + voice, {"other": band, "vocals": voice}), {})
    assert found.stems["vocals"].bleed_db == pytest.approx(-50.5, abs=1)
    assert found.stems["other"].bleed_db is None


def test_shares_say_which_stem_has_the_energy_and_when() -> None:
    first, second = np.concatenate([noise(5), 0 * noise(5)]), np.concatenate([0 * noise(5), noise(5)])
    found = ActivityEstimator().estimate(recording(first + second, {"bass": first, "drums": second}), {})
    assert found.shares is not None
    shares = found.shares.stems
    early, late = round(2 / found.shares.step_s), round(8 / found.shares.step_s)
    assert (shares["bass"][early], shares["bass"][late]) == (pytest.approx(1), pytest.approx(0))
    assert (shares["drums"][early], shares["drums"][late]) == (pytest.approx(0), pytest.approx(1))


def test_silence_has_no_shares() -> None:
    found = ActivityEstimator().estimate(recording(np.zeros(5 * RATE), {"bass": np.zeros(5 * RATE)}), {})
    assert found.shares is not None and set(found.shares.stems["bass"]) == {None}
