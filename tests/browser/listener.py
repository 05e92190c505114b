"""The player as somebody uses it who also hears it: a browser's page, and what goes to its loudspeakers."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from tests.browser.audio_server import RATE, AudioServer

_TAP = Path(__file__).parent / "tap.js"
_PATIENCE_S = 60.0
PHONE = {"width": 360, "height": 760}
DESKTOP = {"width": 1280, "height": 860}
expect.set_options(timeout=_PATIENCE_S * 1000)

Sound = NDArray[np.float32]
"""float32 (samples, 2), as it left the page."""


Open = Callable[..., tuple["Listener", AudioServer]]
"""The fixture ``show``."""


class Listener:
    """A page with the player of one job.

    Args:
        page: of a browser.
        address: where Streamlit serves the player.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self._address = address
        self.complaints: list[str] = []
        page.add_init_script(path=_TAP)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def open(self, job: str, *, ready: bool = True, **query: str) -> Listener:
        """Show a job, and wait until it can be played, or until there is a player."""
        self.page.goto(f"{self._address}/?{urlencode({'job': job, **query})}")
        if not ready:
            expect(self.player).to_be_visible(timeout=_PATIENCE_S * 1000)
            return self
        expect(self.play_button).to_be_enabled(timeout=_PATIENCE_S * 1000)
        return self

    @property
    def player(self) -> Locator:
        """All of it."""
        return self.page.locator("section.player")

    @property
    def play_button(self) -> Locator:
        """Play or pause."""
        return self.player.locator("button.play")

    @property
    def position_bar(self) -> Locator:
        """The waveforms, which are the slider of the position."""
        return self.player.get_by_role("slider", name="Position")

    @property
    def news(self) -> Locator:
        """The line that says what is going on."""
        return self.player.locator(".news")

    def button(self, name: str) -> Locator:
        """A button by its whole name."""
        return self.player.get_by_role("button", name=name, exact=True)

    def slide(self, name: str, value: float) -> None:
        """Move a slider."""
        self.player.get_by_label(name, exact=True).fill(str(value))

    def key(self, *keys: str) -> None:
        """Press keys with the focus on the waveforms."""
        self.position_bar.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def play(self) -> None:
        """Play, and wait for sound."""
        expect(self.play_button).to_have_attribute("aria-label", "Play")
        self.play_button.click()
        expect(self.play_button).to_have_attribute("data-state", "playing", timeout=_PATIENCE_S * 1000)

    def pause(self) -> None:
        """Stop playing."""
        self.play_button.click()
        expect(self.play_button).to_have_attribute("aria-label", "Play")

    def time_s(self) -> float:
        """What the clock shows."""
        parts = (self.player.locator(".now-time").text_content() or "0:0").split(":")
        return sum(float(part) * 60**i for i, part in enumerate(reversed(parts)))

    def until(self, come: Callable[[], bool], what: str, within_s: float = _PATIENCE_S) -> None:
        """Wait for something."""
        deadline = time.monotonic() + within_s
        while not come():
            assert time.monotonic() < deadline, f"in vain: {what}"
            self.page.wait_for_timeout(30)

    def hear(self, seconds: float) -> Sound:
        """Listen from now on for so long."""
        self.page.evaluate("window.__listen()")
        self.until(lambda: self._heard_s() >= seconds, f"{seconds} s of sound", seconds + _PATIENCE_S)
        return self.heard()[: int(seconds * RATE)]

    def heard(self) -> Sound:
        """What was heard since it was last asked to listen."""
        found: dict[str, Any] = self.page.evaluate("window.__heard()")
        assert found["sampleRate"] == RATE
        return np.frombuffer(base64.b64decode(found["sound"]), dtype=np.float32).reshape(-1, 2)

    def listen(self) -> None:
        """Forget what was heard before."""
        self.page.evaluate("window.__listen()")

    def settled(self, seconds: float = 0.5) -> Sound:
        """Listen once a fader has come to rest."""
        return self.hear(seconds + 0.3)[int(0.3 * RATE) :]

    def painted(self) -> int:
        """How many waveforms have something on them."""
        count: int = self.position_bar.evaluate(
            """(bar) => {
              const root = [...bar.querySelectorAll("div")].find((part) => part.shadowRoot)?.shadowRoot;
              const canvases = root ? [...root.querySelectorAll(".canvases canvas")] : [];
              const isPainted = (canvas) => {
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return data.some((value) => value > 0);
              };
              return canvases.filter(isPainted).length;
            }"""
        )
        return count

    def _heard_s(self) -> float:
        return float(self.page.evaluate("window.__heardS()"))


def level_db(sound: NDArray[Any], hz: float | None = None) -> float:
    """RMS level in dB of full scale, of all channels; or that of the tone of a frequency. Nothing is -180."""
    if len(sound) == 0:
        return -180.0
    if hz is None:
        return float(20 * np.log10(np.sqrt(np.mean(np.square(sound.astype(float)))) + 1e-9))
    t = np.arange(len(sound)) / RATE
    window = np.hanning(len(sound))[:, None]
    wave = np.exp(-2j * np.pi * hz * t)[:, None]
    amplitude = 2 * np.abs(np.sum(sound * window * wave, axis=0)) / np.sum(window)
    return float(20 * np.log10(np.sqrt(np.mean(amplitude**2) / 2) + 1e-9))


def pitch_hz(sound: Sound) -> float:
    """Frequency of the loudest tone."""
    mono = sound.mean(axis=1) * np.hanning(len(sound))
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(mono, size))
    return float(np.argmax(spectrum) * RATE / size)


def onsets(channel: NDArray[Any], threshold: float = 0.1, apart_s: float = 0.1) -> NDArray[np.int64]:
    """Samples at which something begins after silence of `apart_s`."""
    loud = np.flatnonzero(np.abs(channel) > threshold)
    if not len(loud):
        return loud
    first = np.concatenate([[True], np.diff(loud) > apart_s * RATE])
    return loud[first]
