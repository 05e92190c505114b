"""Where the player gets its sound: jobs that run, tickets that end, services that are down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.audio_files import write_wav
from tests.browser.audio_server import PART_S, RATE, Recording
from tests.browser.listener import Listener, Open, level_db
from tests.browser.signals import (
    ladder,
    second_of,
    song,
    stereo,
    tone,
)
from tests.browser.streamlit_page import StreamlitPage
from tests.service import Service, ended, submit


def test_a_running_job_plays_what_it_has_and_waits_for_the_rest(show: Open, screenshots: Path) -> None:
    recording = Recording({"vocals": stereo(ladder())}, complete=False, available_s=3)
    listener, server = show(recording)
    expect(listener.button("Export mix")).to_be_disabled()
    listener.play()
    expect(listener.news).to_contain_text("still being separated")
    listener.page.screenshot(path=screenshots / "player-running.png")
    assert PART_S - 0.2 <= listener.time_s() <= PART_S
    listener.listen()
    recording.available_s = 9
    listener.until(lambda: level_db(listener.heard()[-4096:]) > -40, "it goes on")
    heard = listener.heard()
    start = int(np.flatnonzero(np.abs(heard[:, 0]) > 0.01)[0])
    # Where it stopped, within the third second.
    assert second_of(heard[start : start + RATE // 20]) == pytest.approx(PART_S, abs=0.6)
    recording.available_s, recording.complete = 24, True
    expect(listener.button("Export mix")).to_be_enabled()
    listener.until(lambda: listener.time_s() > 5, "it goes on")
    assert "peaks" in " ".join(server.asked)


@pytest.mark.slow
def test_a_stem_that_is_given_up_holds_nothing_up(show: Open) -> None:
    tracks = {"vocals": stereo(tone(440)), "bass": stereo(tone(110))}
    recording = Recording(tracks, complete=False, available_s=3)
    listener, _ = show(recording)
    listener.play()
    expect(listener.news).to_contain_text("still being separated")
    del tracks["bass"]
    recording.available_s, recording.complete = 24, True
    listener.until(lambda: listener.time_s() > 3, "it goes on")
    assert level_db(listener.hear(0.3), 440) > -18
    assert listener.player.locator(".head .name").all_text_contents() == ["Vocals"]


@pytest.mark.slow
def test_the_original_plays_on_where_no_stem_is_yet(show: Open) -> None:
    recording = Recording({"vocals": stereo(tone(440))}, complete=False, available_s=3)
    listener, _ = show(recording)
    listener.button("Original").click()
    listener.play()
    listener.until(lambda: listener.time_s() > 4, "the original goes on")
    listener.button("Stems").click()
    expect(listener.news).to_contain_text("still being separated")
    assert level_db(listener.settled()) < -100


@pytest.mark.slow
def test_a_job_that_waits_for_its_turn_opens_by_itself(show: Open) -> None:
    listener, server = show(song(), ready=False)
    recording = server.jobs.pop("job")  # asks of it are 404 part_not_ready
    server.waiting.add("job")
    listener.open("job", ready=False, api=server.url)
    expect(listener.news).to_contain_text("as soon as the first seconds are separated")
    server.waiting.clear()
    server.jobs["job"] = recording
    expect(listener.play_button).to_be_enabled()


@pytest.mark.slow
def test_a_ticket_that_ends_is_renewed_while_it_plays(show: Open) -> None:
    listener, server = show(Recording({"vocals": stereo(tone(440, 120))}))
    listener.play()
    server.tickets = {"ticket-2"}
    listener.key(*["ArrowRight"] * 14)
    expect(listener.page.get_by_text("Tickets: 2")).to_be_visible()
    listener.until(lambda: listener.time_s() > 70.5, "it plays on")
    assert level_db(listener.hear(0.3), 440) > -18


@pytest.mark.slow
def test_a_ticket_is_asked_for_once_by_requests_that_fail_together(show: Open) -> None:
    listener, _ = show(song(), ready=False, tickets={"ticket-3"})
    expect(listener.play_button).to_be_enabled()
    expect(listener.page.get_by_text("Tickets: 3")).to_be_visible()


@pytest.mark.slow
def test_without_access_it_says_so_and_can_be_tried_again(show: Open) -> None:
    listener, server = show(song(), ready=False, tickets=set())
    expect(listener.news).to_contain_text("Your access has ended")
    expect(listener.play_button).to_be_disabled()
    server.tickets = {"ticket-1", "ticket-2", "ticket-3"}
    listener.button("Try again").click()
    expect(listener.play_button).to_be_enabled()


@pytest.mark.slow
def test_a_running_job_is_followed_again_after_access_came_back(show: Open) -> None:
    recording = Recording({"vocals": stereo(tone(440))}, complete=False, available_s=3)
    listener, server = show(recording)
    listener.play()
    server.tickets = set()
    expect(listener.news).to_contain_text("Your access has ended")
    server.tickets = {f"ticket-{number}" for number in range(10)}
    recording.available_s, recording.complete = 24, True
    listener.button("Try again").click()
    expect(listener.button("Export mix")).to_be_enabled()
    listener.play()
    listener.until(lambda: listener.time_s() > 3, "it goes on")


@pytest.mark.slow
def test_it_goes_on_by_itself_after_the_service_was_down(show: Open) -> None:
    listener, server = show(Recording({"vocals": stereo(ladder(120))}))
    listener.play()
    server.cut = True
    listener.key(*["ArrowRight"] * 12)
    expect(listener.news).to_contain_text("does not answer")
    server.cut = False
    listener.until(lambda: listener.time_s() > 60.5, "it plays on")
    expect(listener.news).to_have_text("")


@pytest.mark.slow
def test_what_lies_far_behind_is_forgotten(show: Open) -> None:
    listener, server = show(Recording({"vocals": stereo(ladder(120))}))
    listener.until(lambda: "audio/vocals/15" in server.asked, "what comes is fetched ahead")
    assert "audio/vocals/20" not in server.asked
    listener.key("End")
    listener.key(*["ArrowLeft"] * 8)
    listener.until(lambda: "audio/vocals/45" in server.asked, "the other end is fetched")
    listener.key("Home")
    listener.play()
    assert second_of(listener.hear(0.3)) < 2
    assert server.asked.count("audio/vocals/0") == 2


@pytest.mark.slow
def test_a_job_of_the_real_service_is_heard(browser: Browser, served: StreamlitPage, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "song.wav", np.stack([tone(440, 12), tone(110, 12)]).astype(np.float32))
    with Service(tmp_path, PIPELINE_CORS_ORIGINS=served.url) as service, service.client() as http:
        job = ended(http, submit(http, path, estimators="none").json()["id"])
        ticket = http.post("/tickets", json={"path": f"/jobs/{job['id']}"}).json()["ticket"]
        listener = Listener(browser.new_page(), served.url)
        listener.open(job["id"], api=service.url, ticket=ticket)
        listener.until(lambda: listener.painted() >= 2, "waveforms")
        listener.play()
        heard = listener.hear(0.5)
        assert level_db(heard[:, :1], 440) == pytest.approx(-17, abs=1)
        assert level_db(heard[:, 1:], 110) == pytest.approx(-17, abs=1)
        listener.key("ArrowRight")
        assert level_db(listener.settled()[:, :1], 440) == pytest.approx(-17, abs=1)
        listener.page.close()
