"""The uploader in a real browser, against the real service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, FileChooser, Page, expect

from tests.browser.streamlit_page import StreamlitPage
from tests.browser.uploader_support import (
    MB,
    PAGE,
    choose,
    chromium,
    jobs,
    noise,
    offsets,
    picture,
    requests,
    row,
    told,
    until,
    zone,
)
from tests.service import KEY, Service, free_port
from tests.tcp_proxy import TcpProxy
from tests.tus import TUS

HOSTILE = "![x](http://127.0.0.1:1/p.png) <b>é\"'.wav"


@dataclass(frozen=True)
class Stage:
    """A service, a line to it that can be cut, and a page whose browser speaks through that line."""

    service: Service
    line: TcpProxy
    page: StreamlitPage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, port = tmp_path_factory.mktemp("uploader"), free_port()
    settings = {"PIPELINE_CORS_ORIGINS": f"http://localhost:{port}", "MAX_FILE_SIZE_MB": "8"}
    with Service(folder, **settings) as service, TcpProxy(service.port) as line:
        reached = {"API_URL": service.url, "API_KEY": KEY, "BROWSER_API_URL": line.url}
        with StreamlitPage(PAGE, folder / "page.log", port, **reached) as page:
            yield Stage(service, line, page)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def http(stage: Stage) -> Iterator[httpx.Client]:
    with stage.service.client() as client:
        yield client
        stage.line.release()
        for job in client.get("/jobs").json()["jobs"]:
            client.post(f"/jobs/{job['id']}/cancel")
        for upload in client.get("/uploads").json():
            client.delete(f"/uploads/{upload['id']}", headers=TUS)


@pytest.fixture
def page(stage: Stage, http: httpx.Client, browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    shown = context.new_page()
    shown.set_default_timeout(60_000)
    shown.on("dialog", lambda dialog: dialog.accept())  # the question whether to leave while files are sent
    shown.goto(stage.page.url)
    expect(zone(shown)).to_be_visible()
    yield shown
    context.close()


def test_a_file_becomes_a_job_with_the_options_of_the_page(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    path = noise(tmp_path / "söng.wav", MB)
    choose(page, path)
    expect(row(page, "söng.wav")).to_contain_text("The job has begun")
    (job,) = jobs(http, path)
    assert (job["filename"], job["options"]) == ("söng.wav", {"model": "hpss", "estimators": []})
    until(page, lambda: told(page)["files"] != [] and told(page)["files"][0]["state"] == "done")
    (file,) = told(page)["files"]
    assert (file["name"], file["size"], file["job_id"]) == ("söng.wav", path.stat().st_size, job["id"])
    assert http.get("/uploads").json() == []
    row(page, "söng.wav").get_by_role("button", name="Open").click()
    until(page, lambda: told(page)["opened"] == job["id"])


@pytest.mark.slow
def test_of_three_files_two_are_sent_at_a_time(
    stage: Stage, page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    paths = [noise(tmp_path / f"{seed}.wav", MB, seed) for seed in (11, 12, 13)]
    stage.line.hold_after(MB // 2)
    choose(page, *paths)
    until(page, stage.line.held.is_set)
    expect(row(page, "13.wav")).to_contain_text("Waiting for its turn")
    assert len(http.get("/uploads").json()) <= 2
    picture(page, "three", tmp_path)
    stage.line.release()
    for path in paths:
        expect(row(page, path.name)).to_contain_text("The job has begun")
    assert len({job["id"] for job in jobs(http, *paths)}) == 3


def test_a_broken_connection_goes_on_where_it_was(
    stage: Stage, page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    path = noise(tmp_path / "long.wav", 6 * MB, seed=21)
    asked = requests(page)
    stage.line.hold_after(4 * MB)
    choose(page, path)
    until(page, stage.line.held.is_set)
    stage.line.cut()
    expect(row(page, "long.wav")).to_contain_text("The job has begun")
    jobs(http, path)
    assert offsets(asked)[-1] > MB


@pytest.mark.slow
def test_after_a_reload_the_same_file_goes_on(
    stage: Stage, page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    path = noise(tmp_path / "reload.wav", 6 * MB, seed=31)
    asked = requests(page)
    stage.line.hold_after(4 * MB)
    choose(page, path)
    until(page, stage.line.held.is_set)
    page.close(run_before_unload=False)
    stage.line.cut()
    page = page.context.new_page()
    page.goto(stage.page.url)
    expect(row(page, "reload.wav")).to_contain_text(re.compile(r"Interrupted at [1-6]\d %"))
    picture(page, "interrupted", tmp_path)
    choose(page, path)
    expect(row(page, "reload.wav")).to_have_count(1)
    expect(row(page, "reload.wav")).to_contain_text("The job has begun")
    jobs(http, path)
    assert offsets(asked)[-1] > MB


@pytest.mark.slow
def test_the_service_may_be_killed_on_the_way(
    stage: Stage, page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    path = noise(tmp_path / "killed.wav", 6 * MB, seed=41)
    asked = requests(page)
    stage.line.hold_after(4 * MB)
    choose(page, path)
    until(page, stage.line.held.is_set)
    stage.service.kill()
    stage.line.cut()
    expect(row(page, "killed.wav")).to_contain_text("Connection lost. Trying again")
    picture(page, "retrying", tmp_path)
    stage.service.start()
    expect(row(page, "killed.wav")).to_contain_text("The job has begun")
    jobs(http, path)
    assert offsets(asked)[-1] > MB


@pytest.mark.slow
def test_uploads_go_on_while_another_page_is_shown(
    stage: Stage, page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    path = noise(tmp_path / "away.wav", 2 * MB, seed=51)
    stage.line.hold_after(MB)
    choose(page, path)
    until(page, stage.line.held.is_set)
    page.get_by_text("Another page").click()
    expect(zone(page)).to_have_count(0)
    stage.line.release()
    until(page, lambda: "away.wav" in [job["filename"] for job in http.get("/jobs").json()["jobs"]])
    page.get_by_text("Another page").click()
    expect(row(page, "away.wav")).to_contain_text("The job has begun")
    until(page, lambda: [file["state"] for file in told(page)["files"]] == ["done"])


@pytest.mark.slow
def test_another_owner_sees_nothing_of_it_and_stops_it(
    stage: Stage, page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    path = noise(tmp_path / "mine.wav", 2 * MB, seed=61)
    stage.line.hold_after(MB)
    choose(page, path)
    until(page, stage.line.held.is_set)
    page.get_by_label("Owner").fill("somebody else")
    page.get_by_label("Owner").press("Enter")
    expect(row(page, "mine.wav")).to_have_count(0)
    stage.line.cut()
    until(page, lambda: told(page)["files"] == [])
    page.get_by_label("Owner").fill("somebody")
    page.get_by_label("Owner").press("Enter")
    expect(row(page, "mine.wav")).to_contain_text("Interrupted at")


@pytest.mark.slow
def test_what_is_too_large_is_said_before_it_is_sent(
    stage: Stage, page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    expect(page.get_by_text("Up to 8 MB each.")).to_be_visible()
    large, empty = tmp_path / "large.wav", tmp_path / "empty.wav"
    large.write_bytes(bytes(8 * MB + 1))
    empty.write_bytes(b"")
    choose(page, large, empty)
    expect(row(page, "large.wav")).to_contain_text("too large. A recording may have up to 8 MB")
    expect(row(page, "empty.wav")).to_contain_text("This file is empty.")
    assert http.get("/uploads").json() == []
    until(page, lambda: len(told(page)["files"]) == 2)
    assert [file["error"] for file in told(page)["files"]] == ["file_too_large", "file_empty"]


@pytest.mark.slow
def test_what_the_service_says_of_a_file_stands_next_to_it(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "letter.wav").write_bytes(b"Dear Sir or Madam, this is no music. " * 50)
    choose(page, tmp_path / "letter.wav")
    shown = row(page, "letter.wav")
    expect(shown).to_contain_text("is not a supported audio or video file. Supported: WAV, FLAC")
    # Sent again it would be refused again: nothing of it is kept.
    expect(shown.get_by_role("button", name="Try again")).to_be_hidden()
    until(page, lambda: http.get("/uploads").json() == [])
    picture(page, "refused", tmp_path)
    shown.get_by_role("button", name="Remove").click()
    expect(shown).to_have_count(0)
    until(page, lambda: http.get("/uploads").json() == [])


@pytest.mark.slow
def test_a_cancelled_upload_is_deleted(stage: Stage, page: Page, http: httpx.Client, tmp_path: Path) -> None:
    path = noise(tmp_path / "wrong one.wav", 2 * MB, seed=71)
    stage.line.hold_after(MB)
    choose(page, path)
    until(page, stage.line.held.is_set)
    row(page, "wrong one.wav").get_by_role("button", name="Cancel").click()
    stage.line.release()
    expect(row(page, "wrong one.wav")).to_have_count(0)
    until(page, lambda: http.get("/uploads").json() == [])
    page.reload()
    expect(zone(page)).to_be_visible()
    expect(row(page, "wrong one.wav")).to_have_count(0)


@pytest.mark.slow
def test_the_keyboard_alone_does(page: Page, http: httpx.Client, tmp_path: Path) -> None:
    path = noise(tmp_path / "keys.wav", MB, seed=81)
    choosers: list[FileChooser] = []

    def note(chooser: FileChooser) -> None:
        choosers.append(chooser)

    page.on("filechooser", note)
    page.get_by_label("Owner").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Drop recordings here")).to_be_focused()
    page.keyboard.press("Enter")
    until(page, lambda: choosers != [])
    assert choosers[0].is_multiple()
    choosers[0].set_files(path)
    expect(row(page, "keys.wav")).to_contain_text("The job has begun")
    expect(page.get_by_role("status").filter(has_text="keys.wav: Sent. The job has begun.")).to_have_count(1)
    page.keyboard.press("Tab")  # Open
    page.keyboard.press("Tab")  # Remove
    page.keyboard.press("Enter")
    expect(row(page, "keys.wav")).to_have_count(0)
    jobs(http, path)  # The job stays.


def test_files_are_dropped_and_their_names_are_only_text(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    asked = requests(page)
    content = list(noise(tmp_path / "x.wav", 20_000, seed=91).read_bytes())
    page.get_by_label("Drop recordings here").evaluate(
        """(input, [name, bytes]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
            for (const type of ["dragenter", "dragover", "drop"]) {
                input.parentElement.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true }));
            }
        }""",
        [HOSTILE, content],
    )
    expect(row(page, HOSTILE)).to_contain_text("The job has begun")
    assert jobs(http, tmp_path / "x.wav")[0]["filename"]
    assert not [request for request in asked if "127.0.0.1:1/" in request.url]
    assert page.locator("li b").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("look", ["phone", "dark"])
def test_it_fits_a_phone_and_the_night(
    stage: Stage, browser: Browser, http: httpx.Client, tmp_path: Path, look: str
) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740} if look == "phone" else {"width": 1280, "height": 800},
        color_scheme="dark" if look == "dark" else "light",
    )
    page = context.new_page()
    page.goto(stage.page.url)
    expect(page.get_by_text("Up to 8 MB each.")).to_be_visible()
    (tmp_path / f"{'a very long name ' * 12}.wav").write_bytes(b"no music")
    choose(page, next(tmp_path.glob("a very*")))
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    wide = "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert page.evaluate(wide) == 0
    for button in page.get_by_role("listitem").get_by_role("button").all():
        box = button.bounding_box()
        assert (
            box is not None and box["height"] >= 40 and box["x"] + box["width"] <= page.viewport_size["width"]
        )
    picture(page, look, tmp_path)
    context.close()
