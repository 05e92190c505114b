"""The whole UI in a real browser, against the real service."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.audio_files import music, write_wav
from tests.browser.streamlit_page import StreamlitPage
from tests.service import KEY, ROOT, Service, ended, free_port
from ui import labels, texts
from ui.sessions import COOKIE

HOSTILE = "![x](http://127.0.0.1:1/p.png) <b>é\"'.wav"
_AXE = Path(__file__).parent / "axe" / "axe.min.js"
_DESKTOP, _PHONE = (1280, 900), (360, 760)
_NETWORK_MS = 300_000  # for two segments: seconds, unless the machine is busy
expect.set_options(timeout=60_000)  # the machine may be busy


@dataclass(frozen=True)
class Stage:
    """The service and the UI."""

    service: Service
    ui: StreamlitPage

    def submitted(self, song: Path, **options: object) -> str:
        """The id of a job that has a name which is no name."""
        with self.service.client() as http:
            digest = {"Tus-Resumable": "1.0.0", "Upload-Length": str(song.stat().st_size)}
            name = base64.b64encode(HOSTILE.encode()).decode()
            place = http.post("/uploads", headers={**digest, "Upload-Metadata": f"filename {name}"})
            piece = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            at = place.headers["Location"]
            http.patch(at, content=song.read_bytes(), headers={"Tus-Resumable": "1.0.0", **piece})
            answer = http.post("/process", json={"upload_id": at.rpartition("/")[2], **options})
            job: str = answer.json()["id"]
            return job


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, port = tmp_path_factory.mktemp("pages"), free_port()
    (folder / ".streamlit").symlink_to(ROOT / ".streamlit")
    data = folder / "data"
    data.mkdir()
    with Service(data, PIPELINE_CORS_ORIGINS=f"http://localhost:{port}") as service:
        said = folder / "ui.log"
        with StreamlitPage(ROOT / "ui" / "app.py", said, port, API_URL=service.url) as ui:
            yield Stage(service, ui)
        assert "Traceback" not in said.read_text(), said.read_text()


@pytest.fixture(scope="module")
def finished(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that has succeeded, of a file with a hostile name."""
    song = write_wav(tmp_path_factory.mktemp("song") / "song.wav", music(6.0))
    job_id = stage.submitted(song)
    with stage.service.client() as http:
        assert ended(http, job_id)["status"] == "succeeded"
    return job_id


Visit = Callable[..., Page]


@pytest.fixture
def visit(stage: Stage, browser: Browser) -> Iterator[Visit]:
    """Opens a page as a visitor who has signed in; fails when anything but the two servers was asked."""
    contexts = []
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)  # the list's own method is nothing that playwright can take

    def opened(path: str = "/", size: tuple[int, int] = _DESKTOP, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        contexts.append(context)
        context.on("request", note)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(stage.ui.url + path)
        sign_in(page, KEY)
        expect(page.locator(".ap-title h1")).not_to_have_text(texts.PRODUCT)
        page.wait_for_function("name => document.cookie.includes(name)", arg=COOKIE)
        return page

    yield opened
    for context in contexts:
        context.close()
    ours = {stage.ui.port, stage.service.port}
    strangers = {r.url for r in asked if r.url.startswith("http") and urlsplit(r.url).port not in ours}
    assert not strangers
    assert not [r.url for r in asked if "ticket=" in r.url or KEY in r.url], "a secret in an address"


def sign_in(page: Page, key: str) -> None:
    page.get_by_label(texts.SIGN_IN_KEY, exact=True).fill(key)
    page.get_by_role("button", name=texts.SIGN_IN, exact=True).click()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def settled(page: Page) -> Page:
    expect(page.locator("[data-testid='stApp'][data-test-script-state='running']")).to_have_count(0)
    expect(page.locator("[data-stale='true']")).to_have_count(0)
    return page


def test_a_wrong_key_is_refused_and_a_right_one_lasts_until_signing_out(
    stage: Stage, browser: Browser, screenshots: Path
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{stage.ui.url}/jobs")
    sign_in(page, "wrong-key")
    expect(page.get_by_text(texts.SIGN_IN_REFUSED)).to_be_visible()
    page.screenshot(path=screenshots / "sign-in-refused.png")
    sign_in(page, KEY)
    expect(page.get_by_role("heading", name=texts.HISTORY_TITLE)).to_be_visible()
    page.wait_for_function("name => document.cookie.includes(name)", arg=COOKIE)
    page.reload()
    expect(page.get_by_role("heading", name=texts.HISTORY_TITLE)).to_be_visible()
    (cookie,) = [one for one in context.cookies() if one["name"] == COOKIE]
    assert (cookie["sameSite"], KEY in cookie["value"]) == ("Strict", False)
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert KEY not in kept

    page.goto(f"{stage.ui.url}/account")
    press(page, texts.SIGN_OUT)
    expect(page.get_by_label(texts.SIGN_IN_KEY, exact=True)).to_be_visible()
    page.goto(f"{stage.ui.url}/jobs")
    expect(page.get_by_label(texts.SIGN_IN_KEY, exact=True)).to_be_visible()
    # Nor does the old cookie open anything.
    context.add_cookies([{"name": COOKIE, "value": cookie["value"], "url": stage.ui.url}])
    page.reload()
    expect(page.get_by_label(texts.SIGN_IN_KEY, exact=True)).to_be_visible()
    context.close()


def test_a_song_is_uploaded_watched_heard_and_saved(
    visit: Visit, stage: Stage, song: Path, weights_dir: Path, screenshots: Path
) -> None:
    page = visit()

    def kept(name: str) -> None:
        page.screenshot(path=screenshots / f"journey-{name}.png")

    # The real model; the service's own is the draft.
    page.get_by_role("radio", name=labels.MODEL_NAMES["htdemucs"], exact=True).check(force=True)
    expect(page.get_by_text(f"{labels.MODEL_NAMES['htdemucs']} makes 4 stems")).to_be_visible()
    kept("1-submit")
    named = {"name": HOSTILE, "mimeType": "audio/mpeg", "buffer": song.read_bytes()}
    page.get_by_label("Drop recordings here").set_input_files([named])
    expect(page.get_by_role("button", name=re.compile("^Open"))).to_be_visible()
    kept("2-uploaded")
    page.get_by_role("button", name=re.compile("^Open")).click()
    expect(page).to_have_url(re.compile(r"/job\?job="))
    expect(page.locator(".ap-title h1")).to_have_text(HOSTILE)
    kept("3-opened")
    done = expect(page.locator(".ap-title .ap-pill"))
    done.to_have_text(texts.STATUS["succeeded"], timeout=_NETWORK_MS)
    expect(page.get_by_text(texts.DOWNLOADS)).to_be_visible()
    assert HOSTILE in page.title()
    play = page.locator("button.play")
    play.click()
    expect(play).to_have_attribute("data-state", "playing")
    kept("4-playing")
    page.get_by_role("button", name="Mute Drums", exact=True).click()
    page.get_by_role("button", name="Solo Vocals", exact=True).click()
    page.locator(".waves").press("Home")
    expect(play).to_have_attribute("data-state", "playing")
    kept("5-solo-from-the-start")

    job_id = page.url.rpartition("=")[2]
    with stage.service.client() as http:
        artifacts = http.get(f"/jobs/{job_id}/manifest").json()["artifacts"]
    (bass,) = [artifact for artifact in artifacts if artifact["name"] == "bass"]
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("^Save: Bass")).click()
    saved = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(saved).hexdigest() == bass["sha256"]
    kept("6-saved")
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("^Save: Everything")).click()
    assert Path(download.value.path()).read_bytes()[:2] == b"PK"


@pytest.mark.long
def test_files_that_are_added_together_are_followed_and_saved_together(
    visit: Visit, stage: Stage, tmp_path: Path, screenshots: Path
) -> None:
    page = visit()
    songs = [write_wav(tmp_path / f"{n} <b>.wav", music(3.0, seed=50 + n)) for n in range(3)]
    broken = tmp_path / "broken.wav"
    broken.write_text("This is no music, whatever it is called.")
    page.get_by_label("Drop recordings here").set_input_files([*songs, broken])
    # Followed from its first recording on: the others come while it is looked at.
    page.get_by_role("link", name=texts.BATCH_FOLLOW).click()
    expect(page).to_have_url(re.compile(r"/batch\?batch="))
    expect(page.locator(".ap-title h1")).to_have_text("Batch of 4 recordings")
    rows = page.locator(".ap-batch tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.filter(has_text=texts.STATUS["succeeded"])).to_have_count(3, timeout=_NETWORK_MS)
    expect(rows.filter(has_text="broken.wav")).to_contain_text(texts.STATUS["refused"])
    expect(rows.filter(has_text="broken.wav")).to_contain_text("is not a supported")
    expect(rows.filter(has_text="1 <b>.wav")).to_have_count(1)
    page.screenshot(path=screenshots / "batch.png")
    # A browser that can write a file piece by piece asks where to, and nobody here answers that dialogue.
    page.evaluate("delete window.showSaveFilePicker")
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("^Save: Everything")).click()
    with zipfile.ZipFile(download.value.path()) as archive:
        folders = {name.partition("/")[0] for name in archive.namelist()}
    assert len(folders) == 3
    page.get_by_role("link", name="1 <b>.wav").click()
    expect(page.locator(".ap-title h1")).to_have_text("1 <b>.wav")
    page.goto(f"{stage.ui.url}/batch")
    expect(page.locator(".ap-job strong").first).to_have_text("Batch of 4 recordings")


@pytest.mark.slow
def test_the_job_page_survives_a_reload_and_the_service_being_killed(
    visit: Visit, stage: Stage, tmp_path: Path, screenshots: Path
) -> None:
    song = write_wav(tmp_path / "long.wav", music(240.0))
    job_id = stage.submitted(song, estimators=[])
    page = visit(f"/job?job={job_id}")
    expect(page.locator(".ap-progress [aria-current='step']")).to_be_visible()
    page.reload()
    expect(page.locator(".ap-progress [aria-current='step']")).to_be_visible()
    page.screenshot(path=screenshots / "running.png")
    stage.service.kill()
    expect(page.get_by_text(texts.UNREACHABLE)).to_be_visible()
    page.screenshot(path=screenshots / "unreachable.png")
    page.goto(f"{stage.ui.url}/jobs")
    expect(page.get_by_text(texts.UNREACHABLE_TITLE)).to_be_visible()
    stage.service.start()
    expect(page.get_by_role("heading", name=texts.HISTORY_TITLE)).to_be_visible()
    page.goto(f"{stage.ui.url}/job?job={job_id}")
    press(page, texts.CANCEL)
    page.screenshot(path=screenshots / "cancel.png")
    press(page, texts.CANCEL_YES)
    expect(page.get_by_text(texts.JOB_CANCELLED)).to_be_visible()


@pytest.mark.slow
def test_a_job_is_deleted_when_that_is_confirmed(
    visit: Visit, stage: Stage, tmp_path: Path, screenshots: Path
) -> None:
    job_id = stage.submitted(write_wav(tmp_path / "short.wav", music(1.0)), estimators=[])
    with stage.service.client() as http:
        ended(http, job_id)
        page = visit(f"/job?job={job_id}")
        press(page, texts.DELETE)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text(HOSTILE)).to_be_visible()
        page.screenshot(path=screenshots / "delete.png")
        dialog.get_by_role("button", name=texts.KEEP).click()
        expect(dialog).to_have_count(0)
        assert http.get(f"/jobs/{job_id}").status_code == 200
        press(page, texts.DELETE)
        dialog.get_by_role("button", name=texts.DELETE_YES).click()
        expect(page.get_by_role("heading", name=texts.HISTORY_TITLE)).to_be_visible()
        assert http.get(f"/jobs/{job_id}").status_code == 410


@pytest.mark.slow
def test_a_key_is_revoked_when_that_is_confirmed(visit: Visit, stage: Stage) -> None:
    with stage.service.client() as http:
        made = http.post("/admin/keys", json={"name": "to be revoked"}).json()
        page = visit("/admin")
        page.get_by_role("tab", name=texts.KEYS).click()
        row = page.locator(f".st-key-key-{made['about']['id']}")
        row.get_by_role("button", name=texts.REVOKE).click()
        page.get_by_role("dialog").get_by_role("button", name=texts.REVOKE_YES).click()
        expect(row).to_have_count(0)
        assert httpx.get(f"{stage.service.url}/usage", headers={"X-API-Key": made["key"]}).status_code == 403


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [_DESKTOP, _PHONE], ids=["desktop", "phone"])
def test_every_page_fits_and_axe_finds_nothing_serious(
    visit: Visit, finished: str, screenshots: Path, size: tuple[int, int], scheme: str
) -> None:
    page = visit("/", size, scheme)
    for name, path, awaited in (
        ("submit", "/", ".st-key-models"),
        ("jobs", "/jobs", ".ap-job"),
        ("job", f"/job?job={finished}", ".ap-figure"),
        ("account", "/account", ".ap-facts"),
        ("admin", "/admin", ".ap-meter"),
    ):
        page.goto(f"{page.url.partition('/')[0]}//{urlsplit(page.url).netloc}{path}")
        expect(page.locator(awaited).first).to_be_visible()
        settled(page)
        wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
        assert wide <= size[0], name
        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": size[0], "height": min(tall + 60, 6000)})
        settled(page)
        page.screenshot(path=screenshots / f"{name}-{size[0]}-{scheme}.png")
        page.add_script_tag(path=_AXE)
        found = page.evaluate("axe.run().then((result) => result.violations)")
        wrong = [
            (v["id"], node["target"], node.get("failureSummary"))
            for v in found
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
        ]
        assert not wrong, (name, wrong)
        page.set_viewport_size({"width": size[0], "height": size[1]})
