"""A browser, and the player in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.audio_server import AudioServer, Recording
from tests.browser.listener import DESKTOP, Listener, Open
from tests.browser.streamlit_page import StreamlitPage
from tests.service import free_port

_PAGE = Path(__file__).parent / "player_app.py"


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts Chromium, with more arguments."""
    path = which("chromium")
    assert path is not None, "there is no chromium: scripts/setup.sh tests installs it"
    with sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *more])


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    running = launch()
    yield running
    running.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamlitPage]:
    folder = tmp_path_factory.mktemp("player")
    with StreamlitPage(_PAGE, folder / "said.log", free_port()) as page:
        yield page


@pytest.fixture
def show(browser: Browser, served: StreamlitPage) -> Iterator[Open]:
    """Opens the player of a recording: `show(recording, viewport=…, query…)`."""
    opened: list[tuple[Any, AudioServer, Listener]] = []

    def _show(
        recording: Recording, *, ready: bool = True, tickets: set[str] | None = None, **options: Any
    ) -> tuple[Listener, AudioServer]:
        context = browser.new_context(
            viewport=options.pop("viewport", DESKTOP), color_scheme=options.pop("scheme", "light")
        )
        server = AudioServer({"job": recording})
        server.__enter__()
        if tickets is not None:
            server.tickets = tickets
        listener = Listener(context.new_page(), served.url)
        opened.append((context, server, listener))
        listener.open("job", ready=ready, api=server.url, **options)
        return listener, server

    yield _show
    for context, server, listener in opened:
        context.close()
        server.__exit__(None, None, None)
        assert listener.complaints == []


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
