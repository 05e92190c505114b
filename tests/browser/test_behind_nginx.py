"""The whole UI in a real browser as visitors meet it: by HTTPS, behind the nginx that is shipped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Response, WebSocket, expect

from tests.audio_files import music, write_wav
from tests.browser.streamlit_page import StreamlitPage
from tests.browser.test_pages import sign_in
from tests.nginx import Nginx
from tests.service import KEY, ROOT, Service, free_port
from ui import texts


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder, port = tmp_path_factory.mktemp("behind"), free_port()
    (folder / ".streamlit").symlink_to(ROOT / ".streamlit")
    for name in ("data", "nginx"):
        (folder / name).mkdir()
    settings = {
        "PIPELINE_TRUSTED_PROXIES": "127.0.0.1",
        "PIPELINE_ROOT_PATH": "/api",
        "PIPELINE_CORS_ORIGINS": "",
    }
    with Service(folder / "data", **settings) as service:
        nginx = Nginx(folder / "nginx", api=f"127.0.0.1:{service.port}", ui=f"127.0.0.1:{port}")
        ui = StreamlitPage(
            ROOT / "ui" / "app.py",
            folder / "ui.log",
            port,
            API_URL=service.url,
            PIPELINE_UI_API_PUBLIC_URL=f"{nginx.https_url}/api",
        )
        with ui, nginx:
            yield nginx
        assert "Traceback" not in (folder / "ui.log").read_text()


@pytest.mark.slow
def test_a_song_is_uploaded_watched_and_heard_by_https(
    proxy: Nginx, browser: Browser, tmp_path: Path, screenshots: Path
) -> None:
    context = browser.new_context(ignore_https_errors=True)  # its authority lives as long as this test
    page = context.new_page()
    page.set_default_timeout(60_000)
    sockets: list[WebSocket] = []
    failed: list[str] = []

    def judge(answer: Response) -> None:
        # On a page below the root, Streamlit looks for its server there first.
        if answer.status >= 400 and not re.search(r"/\w+/_stcore/(health|host-config)$", answer.url):
            failed.append(f"{answer.status} {answer.url}")

    def listen(line: ConsoleMessage) -> None:  # also to what the content security policy refuses
        if line.type == "error" and "status of 404" not in line.text:
            failed.append(line.text)

    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 - playwright takes no list's method
    page.on("response", judge)
    page.on("console", listen)
    page.goto(proxy.https_url)
    sign_in(page, KEY)
    expect(page.locator(".ap-title h1")).not_to_have_text(texts.PRODUCT)
    (socket,) = sockets
    assert socket.url.startswith(proxy.https_url.replace("https", "wss"))

    song = write_wav(tmp_path / "a song.wav", music(12.0))
    named = {"name": song.name, "mimeType": "audio/wav", "buffer": song.read_bytes()}
    page.get_by_label("Drop recordings here").set_input_files([named])
    page.get_by_role("button", name=re.compile("^Open")).click()
    expect(page.locator(".ap-title .ap-pill")).to_have_text(texts.STATUS["succeeded"], timeout=120_000)
    play = page.locator("button.play")
    play.click()
    expect(play).to_have_attribute("data-state", "playing")
    page.get_by_role("button", name=re.compile("^Mute"), exact=False).first.click()
    page.screenshot(path=screenshots / "behind-nginx.png")
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("^Save: Everything")).click()
    assert Path(download.value.path()).read_bytes()[:2] == b"PK"
    for path in ("/jobs", "/account", "/admin"):
        page.goto(proxy.https_url + path)
        expect(page.locator(".ap-title h1")).to_be_visible()

    assert failed == []
    context.close()
    # No limit stood in the way of one visitor, and nothing went past the proxy.
    said = proxy.said.read_text()
    assert "limiting" not in said, said
    seen = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {line["protocol"] for line in seen if line["path"].startswith("/api/")} == {"HTTP/2.0"}
    assert any(line["path"].startswith("/api/uploads") for line in seen)
