"""Signing in with an organisation's account: a real browser, a real OpenID provider, the real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.audio_files import music, write_wav
from tests.browser.streamlit_page import StreamlitPage
from tests.openid_provider import Account, OpenIdProvider
from tests.service import ROOT, Service, free_port, submit
from ui import texts

ANN, BOB, EVE, MAX = "Ann@Example.org", "bob@example.org", "eve@example.org", "max@example.org"
expect.set_options(timeout=60_000)  # the machine may be busy


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    accounts = Account(ANN), Account(BOB), Account(EVE, verified=False), Account(MAX, verified="false")
    with OpenIdProvider(*accounts) as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider) -> Iterator[str]:
    """Of the UI. Ann, Eve and Max have keys; Ann's has a job."""
    folder, port = tmp_path_factory.mktemp("organisation"), free_port()
    data, streamlit = folder / "data", folder / ".streamlit"
    data.mkdir()
    streamlit.mkdir()
    (streamlit / "config.toml").write_bytes((ROOT / ".streamlit" / "config.toml").read_bytes())
    with Service(data, PIPELINE_WORKERS="0", PIPELINE_CORS_ORIGINS=f"http://localhost:{port}") as service:
        with service.client() as http:
            made = {
                email: http.post("/admin/keys", json={"name": email.lower()}).json()["key"]
                for email in (ANN, EVE, MAX)
            }
        with service.client(made[ANN]) as http:
            song = write_wav(folder / "of ann.wav", music(0.5))
            assert submit(http, song).status_code == 202
        keys = {email.lower(): key for email, key in made.items()}
        said = folder / "ui.log"
        (streamlit / "secrets.toml").write_text(
            provider.secrets(f"http://localhost:{port}/oauth2callback", keys)
        )
        with StreamlitPage(ROOT / "ui" / "app.py", said, port, API_URL=service.url) as ui:
            yield ui.url
        assert "Traceback" not in said.read_text(), said.read_text()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def sign_in(page: Page, address: str, email: str) -> None:
    page.goto(f"{address}/jobs")
    page.get_by_role("button", name=texts.SIGN_IN_ORGANISATION).click()
    page.get_by_role("link", name=email).click()
    page.wait_for_url(f"{address}/**")


def sign_out(page: Page, address: str) -> None:
    page.get_by_role("button", name=texts.SIGN_OUT).click()
    page.wait_for_url(f"{address}/")  # by way of the provider
    expect(page.get_by_role("button", name=texts.SIGN_IN_ORGANISATION)).to_be_visible()


def test_an_account_with_a_key_sees_its_jobs_until_it_signs_out(
    page: Page, address: str, provider: OpenIdProvider, screenshots: Path
) -> None:
    page.goto(address)
    expect(page.get_by_role("button", name=texts.SIGN_IN_ORGANISATION)).to_be_visible()
    expect(page.get_by_label(texts.SIGN_IN_KEY)).to_have_count(0)
    page.screenshot(path=screenshots / "sign-in-organisation.png")
    sign_in(page, address, ANN)
    page.goto(f"{address}/jobs")
    expect(page.get_by_text("of ann.wav")).to_be_visible()
    page.reload()
    expect(page.get_by_text("of ann.wav")).to_be_visible()
    page.goto(f"{address}/account")
    expect(page.get_by_text(ANN.lower())).to_be_visible()
    sign_out(page, address)
    assert provider.ended == 1  # at the provider too: the next one at this screen is asked
    page.goto(f"{address}/jobs")
    expect(page.get_by_role("button", name=texts.SIGN_IN_ORGANISATION)).to_be_visible()


def test_an_account_without_a_key_is_told_so(page: Page, address: str, screenshots: Path) -> None:
    sign_in(page, address, BOB)
    expect(page.get_by_text(texts.SIGN_IN_NO_KEY)).to_be_visible()
    expect(page.get_by_text(BOB)).to_be_visible()
    page.screenshot(path=screenshots / "sign-in-no-key.png")
    sign_out(page, address)


@pytest.mark.parametrize("email", [EVE, MAX])
def test_an_address_that_is_not_verified_opens_nothing(page: Page, address: str, email: str) -> None:
    sign_in(page, address, email)
    expect(page.get_by_text(texts.SIGN_IN_UNVERIFIED)).to_be_visible()
    expect(page.get_by_text(texts.HISTORY_TITLE)).to_have_count(0)
    sign_out(page, address)
