"""How soon something is heard, and whether stems stay together: the real UI in Chromium, the real service.

    python -m bench.browser [--song FILE] [--model htdemucs]

Uploads a song of four minutes through the page, opens its job and plays: the recording first, then the stems
while they are being separated. Prints the seconds from the end of the upload to the first sound of each. Then
plays two stems of a finished job, one on each side, and prints how far their clocks are apart after 60 s and
after 20 jumps, found by correlating what left the page with the stems' files.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import tempfile
import time
from pathlib import Path
from shutil import which
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from tests.browser.listener import Listener
from tests.browser.streamlit_page import StreamlitPage
from tests.service import KEY, ROOT, Service, free_port
from ui import texts

SONGS: Final = ROOT.parent / "shared" / "eval" / "separation"
LENGTH_S: Final = 240
PATIENCE_S: Final = 900.0
"""On a machine that is busy with other things."""
JUMPS: Final = 20
PLAYED_S: Final = 60.0
HEARD_S: Final = 2.0
DRAFT: Final = {"model": "hpss", "estimators": "none"}
"""Of the job whose stems are compared: clocks are the same with every model, and this one is soon done."""
REACH_S: Final = 0.4
"""How far what is heard may be from what the player's clock says, which shows tenths of seconds."""
LEFT, RIGHT = "Drums", "Vocals"


def looped(song: Path, length_s: int, target: Path) -> Path:
    """Write a song again and again, up to a length."""
    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    times = -(-length_s * rate // len(samples))
    soundfile.write(target, np.tile(samples, (times, 1))[: length_s * rate], rate)
    return target


def signed_in(browser: Browser, address: str, size: tuple[int, int] = (1280, 900)) -> Listener:
    """A page that is signed in, and heard."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    listener = Listener(context.new_page(), address)
    listener.page.set_default_timeout(PATIENCE_S * 1000)
    listener.page.goto(address)
    listener.page.get_by_label(texts.SIGN_IN_KEY, exact=True).fill(KEY)
    listener.page.get_by_role("button", name=texts.SIGN_IN, exact=True).click()
    expect(listener.page.get_by_text("Drop recordings here")).to_be_visible(timeout=PATIENCE_S * 1000)
    return listener


def uploaded(page: Page, song: Path) -> float:
    """Upload a song and open its job.

    Returns:
        When the service had all of it: seconds since 1970.
    """
    ends: list[float] = []

    def note(response: Response) -> None:
        if response.request.method == "PATCH":
            response.finished()
            timing = response.request.timing
            ends.append((timing["startTime"] + timing["responseEnd"]) / 1000)

    page.on("response", note)
    page.get_by_label("Drop recordings here").set_input_files(song)
    page.get_by_role("button", name=re.compile("^Open")).click()
    page.wait_for_url(re.compile(r"/job\?job="))
    return max(ends)


def first_sound(listener: Listener) -> float:
    """When something was first heard since it was last asked to listen: seconds since 1970."""
    listener.until(lambda: bool(listener.page.evaluate("window.__heardSince()")), "a sound", PATIENCE_S)
    return float(listener.page.evaluate("window.__heardSince()")) / 1000


def waits(listener: Listener, song: Path) -> tuple[float, float]:
    """Seconds from the end of an upload to the first sound of the recording, and of its stems."""
    end = uploaded(listener.page, song)
    expect(listener.play_button).to_be_enabled(timeout=PATIENCE_S * 1000)
    listener.button("Original").click()
    listener.listen()
    listener.play_button.click()
    mix = first_sound(listener)
    listener.button("Stems").click()
    listener.key("Home")
    listener.page.wait_for_timeout(200)  # until the recording has faded away
    listener.listen()
    stem = first_sound(listener)
    return mix - end, stem - end


def stem(service: Service, job_id: str, name: str) -> NDArray[np.float32]:
    """A stem's file, both channels added: what one side gets of a stem that is panned there."""
    with service.client() as http:
        found = http.get(f"/jobs/{job_id}/stems/{name.lower()}").raise_for_status()
    samples, _ = soundfile.read(io.BytesIO(found.content), dtype="float32", always_2d=True)
    return np.asarray(samples.sum(axis=1), dtype=np.float32)


def place(heard: NDArray[np.float32], whole: NDArray[np.float32], near: int, reach: int) -> tuple[int, float]:
    """Find a stretch of sound in a recording.

    Args:
        heard: float32 (samples,).
        whole: float32 (samples,) the recording.
        near: sample at which it should begin.
        reach: samples by which that may be wrong.

    Returns:
        Where it begins, and how alike both are there: their correlation, up to 1.
    """
    begin = max(near - reach, 0)
    window = whole[begin : near + reach + len(heard)].astype(np.float64)
    size = 1 << int(np.ceil(np.log2(len(window) + len(heard))))
    spectrum = np.fft.rfft(window, size) * np.conj(np.fft.rfft(heard, size))
    products = np.fft.irfft(spectrum, size)[: len(window) - len(heard) + 1]
    energy = np.cumsum(np.concatenate([[0.0], window**2]))
    local = np.sqrt(np.maximum(energy[len(heard) :] - energy[: -len(heard)], 1e-12))
    alike = products / local / max(float(np.linalg.norm(heard)), 1e-9)
    best = int(np.argmax(alike))
    return begin + best, float(alike[best])


def apart(listener: Listener, left: NDArray[np.float32], right: NDArray[np.float32], rate: int) -> str:
    """How far both stems are from each other in what is heard now."""
    listener.listen()
    sound = listener.hear(HEARD_S)
    near = max(int((listener.time_s() - HEARD_S) * rate), 0)
    places = [
        place(sound[:, side], whole, near, int(REACH_S * rate)) for side, whole in enumerate((left, right))
    ]
    difference = (places[0][0] - places[1][0]) * 1000 / rate
    return f"{difference:+.3f} ms (alike {places[0][1]:.3f} and {places[1][1]:.3f})"


def together(listener: Listener, service: Service, job_id: str) -> None:
    """Play two stems, one on each side, and print how far they are apart."""
    left, right = (stem(service, job_id, name) for name in (LEFT, RIGHT))
    rate = 44100
    expect(listener.play_button).to_be_enabled(timeout=PATIENCE_S * 1000)
    for name, side in ((LEFT, -100), (RIGHT, 100)):
        listener.button(f"Solo {name}").click()
        listener.slide(f"Pan of {name}", side)
    listener.play()
    listener.until(lambda: listener.time_s() >= PLAYED_S, f"{PLAYED_S:g} s of playing", PATIENCE_S)
    print(f"two stems after {PLAYED_S:g} s: {apart(listener, left, right, rate)}")
    box = listener.position_bar.bounding_box()
    assert box is not None
    draw = random.Random(1)
    for _ in range(JUMPS):
        listener.page.mouse.click(
            box["x"] + draw.uniform(0.05, 0.9) * box["width"], box["y"] + box["height"] / 2
        )
        listener.page.wait_for_timeout(draw.uniform(50, 400))
    expect(listener.play_button).to_have_attribute("data-state", "playing", timeout=PATIENCE_S * 1000)
    listener.page.wait_for_timeout(300)
    print(f"two stems after {JUMPS} jumps: {apart(listener, left, right, rate)}")


def measured(song: Path, model: str, folder: Path, browser: Browser) -> None:
    """Run everything and print it."""
    data, port = folder / "data", free_port()
    data.mkdir()
    (folder / ".streamlit").symlink_to(ROOT / ".streamlit")
    settings = {"PIPELINE_CORS_ORIGINS": f"http://localhost:{port}", "PIPELINE_MODEL": model}
    with (
        Service(data, **settings) as service,
        StreamlitPage(ROOT / "ui" / "app.py", folder / "ui.log", port, API_URL=service.url) as ui,
        service.client() as http,
    ):
        deadline = time.monotonic() + PATIENCE_S
        while not any(worker["model"] == model for worker in http.get("/workers").json()):
            assert time.monotonic() < deadline, "no worker has loaded the model"
            time.sleep(0.2)
        listener = signed_in(browser, ui.url)
        mix_s, stem_s = waits(listener, song)
        print(f"first sound after the upload: recording {mix_s:.1f} s, stems {stem_s:.1f} s")
        job_id = listener.page.url.rpartition("=")[2]
        http.post(f"/jobs/{job_id}/cancel")
        with song.open("rb") as file:
            job = http.post("/process", files={"file": file}, data=DRAFT).json()
        while http.get(f"/jobs/{job['id']}").json()["status"] in ("queued", "running"):
            assert time.monotonic() < deadline + PATIENCE_S, "the second job does not end"
            time.sleep(0.2)
        listener.page.goto(f"{ui.url}/job?job={job['id']}")
        together(listener, service, job["id"])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--song", type=Path, default=SONGS / "waveform_playlist_demo" / "mixture.flac")
    parser.add_argument("--model", default="htdemucs")
    args = parser.parse_args()
    path = which("chromium")
    assert path is not None, "there is no chromium: scripts/setup.sh tests installs it"
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        measured(looped(args.song, LENGTH_S, folder / "song.flac"), args.model, folder, browser)
        browser.close()


if __name__ == "__main__":
    main()
