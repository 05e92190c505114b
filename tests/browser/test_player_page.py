"""How the player looks and is used: by mouse, by keys, on a phone, with a screen reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.audio_server import AudioServer, Recording
from tests.browser.listener import DESKTOP, PHONE, Listener, Open, level_db
from tests.browser.signals import (
    ladder,
    noise,
    song,
    stereo,
    tone,
)
from tests.browser.streamlit_page import StreamlitPage

_AXE = Path(__file__).parent / "axe" / "axe.min.js"
_HOSTILE = ['<img src=x onerror="alert(1)">', "__proto__", "![x](http://127.0.0.1:1/p.png)"]


@pytest.mark.slow
def test_every_stem_has_its_faders_and_its_waveform(show: Open, screenshots: Path) -> None:
    listener, _ = show(song())
    names = listener.player.locator(".head .name").all_text_contents()
    assert names == ["Vocals", "Bass", "Residual"]
    for label in ("Volume of Vocals", "Pan of Bass", "Mute Residual", "Solo Vocals"):
        expect(listener.player.get_by_label(label, exact=True)).to_be_visible()
    drawn = "[...document.querySelectorAll('*')].length"
    assert listener.page.evaluate(drawn) > 0
    listener.until(lambda: listener.painted() == 3, "three waveforms")
    listener.page.screenshot(path=screenshots / "player.png")


def test_names_are_shown_as_the_text_they_are(show: Open, tmp_path: Path) -> None:
    tracks = {name: stereo(noise(i, 6)) for i, name in enumerate(_HOSTILE)}
    listener, _ = show(Recording(tracks), title="../../<b>a</b>\u202e.wav")
    assert listener.player.locator(".head .name").all_text_contents() == _HOSTILE
    assert listener.player.locator("img, b").count() == 0
    listener.button(f"Mute {_HOSTILE[1]}").click()
    expect(listener.button(f"Mute {_HOSTILE[1]}")).to_have_attribute("aria-pressed", "true")
    listener.play()
    assert level_db(listener.hear(0.3)) > -40
    with listener.page.expect_download() as coming:
        listener.button("Export mix").click()
    assert coming.value.suggested_filename == "_..__b_a__b__.wav - mix.wav"


@pytest.mark.slow
def test_a_rerun_of_the_page_interrupts_nothing(show: Open) -> None:
    listener, server = show(Recording({"vocals": stereo(tone(440, 60))}))
    listener.play()
    listener.listen()
    for _ in range(3):
        listener.page.get_by_role("button", name="Run again").click()
        listener.page.wait_for_timeout(300)
    heard = listener.heard()
    assert np.abs(np.diff(heard[:, 0])).max() < 0.02
    assert level_db(heard, 440) == pytest.approx(-17, abs=0.3)
    assert server.asked.count("audio") == 1


@pytest.mark.slow
def test_faders_are_where_they_were_after_a_reload(show: Open) -> None:
    listener, server = show(song())
    listener.button("Mute Bass").click()
    listener.slide("Volume of Vocals", 30)
    listener.slide("Speed", 1.25)
    listener.open("job", api=server.url)
    expect(listener.button("Mute Bass")).to_have_attribute("aria-pressed", "true")
    expect(listener.player.get_by_label("Volume of Vocals")).to_have_value("30")
    expect(listener.player.get_by_label("Speed", exact=True)).to_have_value("1.25")


def test_keys_do_what_the_list_of_keys_says(show: Open, screenshots: Path) -> None:
    listener, _ = show(song())
    listener.key("2")
    expect(listener.button("Mute Bass")).to_have_attribute("aria-pressed", "true")
    listener.key("Shift+Digit1")
    expect(listener.button("Solo Vocals")).to_have_attribute("aria-pressed", "true")
    listener.key("k")
    expect(listener.button("Metronome")).to_have_attribute("aria-pressed", "true")
    listener.key(" ")
    expect(listener.play_button).to_have_attribute("aria-label", "Pause")
    listener.key(" ")
    expect(listener.play_button).to_have_attribute("aria-label", "Play")
    listener.key("?")
    expect(listener.player.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    listener.page.screenshot(path=screenshots / "player-keys.png")
    listener.page.keyboard.press("Escape")
    listener.page.get_by_role("button", name="Run again").focus()
    listener.page.keyboard.press("2")
    expect(listener.button("Mute Bass")).to_have_attribute("aria-pressed", "true")


@pytest.mark.slow
def test_the_position_is_said_in_words(show: Open) -> None:
    listener, _ = show(Recording({"vocals": stereo(ladder(90))}))
    listener.key("ArrowRight")
    expect(listener.position_bar).to_have_attribute("aria-valuetext", "5 seconds of 1 minute 30 seconds")
    listener.key("End")
    expect(listener.position_bar).to_have_attribute("aria-valuenow", "90.0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [("desktop", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")],
)
def test_axe_finds_nothing_to_complain_about(
    show: Open, screenshots: Path, name: str, viewport: dict[str, int], scheme: str
) -> None:
    listener, _ = show(song(), viewport=viewport, scheme=scheme)
    listener.button("Metronome").click()
    listener.button("Mute Bass").click()
    listener.button("Loop").click()
    listener.until(lambda: listener.painted() >= 3, "waveforms")
    listener.page.screenshot(path=screenshots / f"player-{name}.png", full_page=True)
    listener.page.add_script_tag(path=_AXE)
    found = listener.page.evaluate(
        "axe.run({ include: [['.stBidiComponent']] }).then((result) => result.violations)"
    )
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []


@pytest.mark.slow
def test_on_a_phone_all_fits_and_every_control_can_be_hit(show: Open) -> None:
    listener, _ = show(song(), viewport=PHONE)
    listener.until(lambda: listener.painted() >= 3, "waveforms")
    assert listener.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for control in listener.player.locator("button:visible, input:visible").all():
        box = control.bounding_box()
        assert box is not None
        assert box["height"] >= 40, control.get_attribute("aria-label")
        assert 0 <= box["x"] <= box["x"] + box["width"] <= PHONE["width"]
    listener.play()
    assert level_db(listener.hear(0.3), 440) > -18


@pytest.mark.slow
def test_without_https_it_plays_too(launch: Callable[..., Browser], served: StreamlitPage) -> None:
    """Browsers hide the audio thread from pages of another machine without HTTPS."""
    with AudioServer({"job": song()}) as server:
        browser = launch("--host-resolver-rules=MAP player.test 127.0.0.1")
        page = browser.new_page()
        listener = Listener(page, served.url.replace("localhost", "player.test"))
        listener.open("job", api=server.url.replace("127.0.0.1", "player.test"))
        assert page.evaluate("isSecureContext") is False
        listener.play()
        listener.until(lambda: listener.time_s() > 1, "it plays")
        browser.close()
