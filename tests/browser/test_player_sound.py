"""What the player plays, recorded where it leaves the page, and measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

from tests.browser.audio_server import RATE, Recording
from tests.browser.listener import Open, level_db, onsets, pitch_hz
from tests.browser.signals import (
    drift_s,
    find,
    ladder,
    noise,
    pulses,
    second_of,
    song,
    stereo,
    tone,
    two_clocks,
)


def test_what_leaves_the_page_is_the_sum_of_the_stems(show: Open) -> None:
    tracks = {"one": stereo(noise(1), noise(2)), "two": stereo(noise(3), noise(4))}
    listener, _ = show(Recording(tracks))
    listener.play()
    heard = listener.hear(3)
    whole = (tracks["one"].astype(float) + tracks["two"]) / 32768
    start = find(heard[RATE : RATE + 4096, 0], whole[:, 0])
    expected = whole[start : start + 2 * RATE]
    # Across the border of two parts, and exact: nothing is resampled, shifted or lost.
    assert level_db(heard[RATE : RATE + len(expected)] - expected) < -120


def test_mute_solo_and_volume_change_what_is_heard(show: Open) -> None:
    listener, _ = show(song())
    listener.play()
    full = listener.hear(0.5)
    assert level_db(full, 440) == pytest.approx(-17, abs=0.3)
    listener.button("Mute Vocals").click()
    muted = listener.settled()
    assert level_db(muted, 440) < -80
    assert level_db(muted, 110) == pytest.approx(-17, abs=0.3)
    listener.button("Mute Vocals").click()
    listener.button("Solo Vocals").click()
    soloed = listener.settled()
    assert level_db(soloed, 440) == pytest.approx(-17, abs=0.3)
    assert level_db(soloed, 110) < -80
    listener.slide("Volume of Vocals", 50)
    assert level_db(listener.settled(), 440) == pytest.approx(-17 - 12, abs=0.3)
    listener.slide("Master volume", 50)
    assert level_db(listener.settled(), 440) == pytest.approx(-17 - 24, abs=0.3)


@pytest.mark.slow
def test_moving_a_fader_makes_no_click(show: Open) -> None:
    listener, _ = show(Recording({"vocals": stereo(tone(200))}))
    listener.play()
    listener.listen()
    listener.button("Mute Vocals").click()
    listener.until(lambda: level_db(listener.heard()[-2000:]) < -90, "silence")
    # The steepest step of a 200 Hz tone of 0.2 is 0.0057; a cut would show as a step of up to 0.2.
    assert np.abs(np.diff(listener.heard()[:, 0])).max() < 0.012


@pytest.mark.slow
def test_pan_moves_a_stem_to_one_side(show: Open) -> None:
    listener, _ = show(Recording({"vocals": stereo(tone(440)), "bass": stereo(tone(110))}))
    listener.slide("Pan of Vocals", -100)
    listener.play()
    heard = listener.hear(0.5)
    assert level_db(heard[:, 1:], 440) < -80
    # Both channels of the stem come together at the side, as in the Web Audio specification.
    assert level_db(heard[:, :1], 440) == pytest.approx(-17 + 6, abs=0.3)
    assert level_db(heard[:, 1:], 110) == pytest.approx(-17, abs=0.3)


@pytest.mark.slow
def test_a_click_and_the_keys_seek(show: Open) -> None:
    listener, _ = show(Recording({"vocals": stereo(ladder())}))
    listener.play()
    box = listener.position_bar.bounding_box()
    assert box is not None
    listener.page.mouse.click(box["x"] + box["width"] * 12.2 / 24, box["y"] + 60)
    assert second_of(listener.settled(0.2)) == pytest.approx(12, abs=0.6)
    listener.key("ArrowRight")
    assert second_of(listener.settled(0.2)) >= 17
    listener.key("Home")
    assert second_of(listener.settled(0.2)) < 2
    listener.key("End")
    expect(listener.play_button).to_have_attribute("aria-label", "Play")
    assert listener.time_s() == 24.0
    listener.play()  # from the start again
    assert second_of(listener.settled(0.2)) < 2


@pytest.mark.slow
def test_a_loop_is_kept_to(show: Open) -> None:
    listener, _ = show(Recording({"vocals": stereo(ladder())}), bare="yes")
    box = listener.position_bar.bounding_box()
    assert box is not None
    per_s = box["width"] / 24
    listener.page.mouse.move(box["x"] + 6 * per_s, box["y"] + 60)
    listener.page.mouse.down()
    listener.page.mouse.move(box["x"] + 7 * per_s, box["y"] + 60, steps=5)
    listener.page.mouse.move(box["x"] + 8 * per_s, box["y"] + 60, steps=5)
    listener.page.mouse.up()
    expect(listener.button("Loop")).to_have_attribute("aria-pressed", "true")
    box_clicked = box["x"] + 6.5 * per_s
    listener.page.mouse.click(box_clicked, box["y"] + 60)
    listener.play()
    heard = listener.hear(5)
    found = {round(second_of(heard[at : at + 4096])) for at in range(0, len(heard) - 4096, 2048)}
    assert {6, 7} <= found <= {5, 6, 7, 8}
    listener.key("l")
    expect(listener.button("Loop")).to_have_attribute("aria-pressed", "false")
    listener.until(lambda: listener.time_s() > 8.5, "the end of the loop is passed")


@pytest.mark.slow
def test_a_loop_jumps_to_the_sample(show: Open) -> None:
    listener, _ = show(Recording({"one": stereo(pulses(0.25, 24))}))
    listener.key("ArrowRight", "[", "ArrowRight", "]", "Home", "ArrowRight")
    listener.play()
    gaps = np.diff(onsets(listener.hear(11)[:, 0]))
    # The loop is 5 s long: a whole number of pulses, so they go on as if there were no jump.
    assert np.abs(gaps - RATE / 4).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("speed", [0.5, 0.75, 1.5])
def test_speed_changes_time_and_keeps_pitch(show: Open, speed: float) -> None:
    listener, _ = show(Recording({"vocals": stereo(tone(440), pulses(0.25, 24))}))
    listener.slide("Speed", speed)
    listener.play()
    heard = listener.hear(4)[int(0.5 * RATE) :]
    assert pitch_hz(heard[:, :1]) == pytest.approx(440, abs=2)
    gaps = np.diff(onsets(heard[:, 1], threshold=0.12)) / RATE
    assert np.median(gaps) == pytest.approx(0.25 / speed, rel=0.02)
    listener.player.locator("button.reading").click()
    assert np.median(np.diff(onsets(listener.settled(2)[:, 1]))) == pytest.approx(RATE / 4, abs=1)


@pytest.mark.slow
@pytest.mark.parametrize(("speed", "within_s"), [(1.0, 0.001), (0.75, 0.015)])
def test_the_metronome_clicks_on_the_beats(show: Open, speed: float, within_s: float) -> None:
    # The page's beats are every half second, and so are the pulses of the left channel.
    listener, _ = show(Recording({"vocals": stereo(pulses(0.5, 24), np.zeros(24 * RATE))}))
    listener.button("Metronome").click()
    listener.slide("Speed", speed)
    listener.play()
    heard = listener.hear(4)
    clicks = onsets(heard[:, 1], threshold=0.03, apart_s=0.2)
    both = heard[:, 0] - heard[:, 1]  # the click is the same on both sides
    beats = onsets(both, threshold=0.1, apart_s=0.2)
    assert len(clicks) >= 4
    for beat in beats[1:-1]:
        assert np.abs(clicks - beat).min() <= within_s * RATE


@pytest.mark.slow
def test_the_original_takes_the_place_of_the_stems(show: Open, screenshots: Path) -> None:
    recording = song()
    recording.mix = stereo(tone(1000))
    listener, _ = show(recording)
    listener.play()
    assert level_db(listener.hear(0.5), 1000) < -80
    listener.button("Original").click()
    heard = listener.settled()
    assert level_db(heard, 1000) == pytest.approx(-17, abs=0.3)
    assert level_db(heard, 440) < -80
    listener.page.screenshot(path=screenshots / "player-original.png")
    listener.key("b")
    assert level_db(listener.settled(), 1000) < -80


@pytest.mark.slow
def test_the_exported_mix_is_what_the_faders_say(show: Open, tmp_path: Path) -> None:
    tracks = {"one": stereo(noise(1), noise(2)), "two": stereo(noise(3), noise(4)), "three": stereo(noise(5))}
    listener, _ = show(Recording(tracks))
    listener.button("Mute three").click()
    listener.slide("Volume of one", 50)
    with listener.page.expect_download() as coming:
        listener.button("Export mix").click()
    assert coming.value.suggested_filename == "A song_ live_2024 - mix.wav"
    coming.value.save_as(tmp_path / "mix.wav")
    made, rate = soundfile.read(tmp_path / "mix.wav")
    expected = (tracks["one"] * 0.25 + tracks["two"]) / 32768
    assert rate == RATE
    assert soundfile.info(tmp_path / "mix.wav").subtype == "PCM_24"
    assert made.shape == expected.shape
    assert level_db(made - expected) < -120
    expect(listener.news).to_have_text("The mix is exported.")


@pytest.mark.slow
def test_an_export_that_is_too_loud_says_so(show: Open) -> None:
    listener, _ = show(Recording({name: stereo(tone(440, 4, 0.9)) for name in ("one", "two")}))
    with listener.page.expect_download():
        listener.button("Export mix").click()
    expect(listener.news).to_contain_text("too loud")


@pytest.mark.long
def test_two_stems_are_together_after_twenty_seeks(show: Open) -> None:
    listener, _ = show(two_clocks(120))
    listener.play()
    for place in np.random.default_rng(7).permutation(20):
        listener.key("Home", *["ArrowRight"] * int(place))
        expect(listener.play_button).to_have_attribute("data-state", "playing")
    assert drift_s(listener.hear(2)) == 0


@pytest.mark.slow
def test_two_stems_are_together_after_a_minute(show: Open) -> None:
    listener, _ = show(two_clocks(80))
    listener.play()
    heard = listener.hear(65)
    assert drift_s(heard[-4 * RATE :]) == 0
    assert drift_s(heard) == 0
    # And their one clock is that of the loudspeakers.
    assert np.abs(np.diff(onsets(heard[:, 0])) - RATE / 4).max() <= 1
