"""The uploader over minutes and hundreds of megabytes, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.streamlit_page import StreamlitPage
from tests.browser.uploader_support import (
    MB,
    PAGE,
    choose,
    chromium,
    jobs,
    noise,
    offsets,
    requests,
    row,
    until,
    zone,
)
from tests.service import KEY, Service, free_port
from tests.tcp_proxy import TcpProxy
from tests.tus import TUS


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.mark.slow
def test_a_ticket_that_has_ended_is_renewed_on_the_way(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    settings = {"PIPELINE_CORS_ORIGINS": f"http://localhost:{port}", "PIPELINE_TICKET_S": "10"}
    with Service(tmp_path, **settings) as service, TcpProxy(service.port) as line:
        # The page believes its tickets to last longer than they do, so that the service is the one to refuse.
        reached = {"API_URL": service.url, "API_KEY": KEY, "BROWSER_API_URL": line.url, "TICKET_S": "900"}
        with StreamlitPage(PAGE, tmp_path / "page.log", port, **reached) as served:
            page = browser.new_page()
            page.goto(served.url)
            path = noise(tmp_path / "late.wav", 6 * MB, seed=101)
            asked = requests(page)
            line.hold_after(4 * MB)
            choose(page, path)
            until(page, line.held.is_set)
            with service.client() as http:
                ticket = http.post("/tickets", json={"path": "/uploads"}).json()["ticket"]
                place = f"/uploads/{http.get('/uploads').json()[0]['id']}"
                headers = {"X-API-Key": "", "X-Ticket": ticket, **TUS}
                until(page, lambda: http.head(place, headers=headers).status_code == 403)
                line.cut()
                expect(row(page, "late.wav")).to_contain_text("The job has begun")
                jobs(http, path)
                expect(page.get_by_text("tickets asked: 4")).to_be_visible()
            assert offsets(asked)[-1] > MB
            page.context.close()


@pytest.mark.slow
def test_500_mb_pass_by_the_page(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    path = noise(tmp_path / "huge.wav", 499 * MB, seed=111)
    with Service(tmp_path, PIPELINE_CORS_ORIGINS=f"http://localhost:{port}") as service:
        reached = {"API_URL": service.url, "API_KEY": KEY, "BROWSER_API_URL": service.url}
        with StreamlitPage(PAGE, tmp_path / "page.log", port, **reached) as served, service.client() as http:
            page = browser.new_page()
            page.goto(served.url)
            expect(zone(page)).to_be_visible()
            assert served.process is not None
            process = psutil.Process(served.process.pid)
            before = most = process.memory_info().rss
            choose(page, path)
            deadline = time.monotonic() + 240
            while not http.get("/jobs").json()["jobs"]:
                assert time.monotonic() < deadline
                most = max(most, process.memory_info().rss)
                page.wait_for_timeout(100)
            expect(row(page, "huge.wav")).to_contain_text("The job has begun")
            assert (most - before) / MB < 100
            (job,) = jobs(http, path)
            http.post(f"/jobs/{job['id']}/cancel")
            page.context.close()
