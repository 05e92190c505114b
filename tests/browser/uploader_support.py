"""A person at the uploader's page, for tests: chooses files, reads rows."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import httpx2 as httpx
import numpy as np
from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from tests.audio_files import write_wav

MB = 1 << 20
PAGE = Path(__file__).parent / "uploader_app.py"
expect.set_options(timeout=60_000)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The real browser."""
    path = which("chromium")
    assert path is not None, "there is no chromium: scripts/setup.sh tests installs it"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


def zone(page: Page) -> Locator:
    """The drop zone."""
    return page.get_by_text("Drop recordings here, or choose files")


def choose(page: Page, *paths: Path) -> None:
    """Choose files in the browser's dialogue."""
    page.get_by_label("Drop recordings here").set_input_files(list(paths))


def row(page: Page, name: str) -> Locator:
    """The row of a file."""
    return page.get_by_role("listitem").filter(has_text=name)


def told(page: Page) -> dict[str, Any]:
    """What Python knows."""
    text = page.get_by_text(re.compile(r'^\{"files"')).inner_text()
    found: dict[str, Any] = json.loads(text)
    return found


def requests(page: Page) -> list[Request]:
    """What the browser asks from now on, in this page and those that follow it."""
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)  # the list's own method is nothing that playwright can take

    page.context.on("request", note)
    return asked


def offsets(asked: list[Request]) -> list[int]:
    """Where the pieces began that were sent."""
    return [int(request.headers["upload-offset"]) for request in asked if request.method == "PATCH"]


def until(page: Page, come: Callable[[], bool]) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + 60
    while not come():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)  # lets the browser's own events through


def noise(path: Path, size: int, seed: int = 1) -> Path:
    """A WAV file of about so many bytes, which nothing can compress."""
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, size // 4)).astype(np.float32)
    return write_wav(path, samples, subtype="PCM_16")


def digest(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def jobs(http: httpx.Client, *paths: Path) -> list[dict[str, Any]]:
    """The job of each file."""
    found = {job["input_sha256"]: job for job in http.get("/jobs").json()["jobs"]}
    return [found[digest(path)] for path in paths]


def picture(page: Page, name: str, tmp_path: Path) -> None:
    """Keep a picture of the page."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"uploader-{name}.png", full_page=True)
