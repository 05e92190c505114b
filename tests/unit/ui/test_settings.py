from __future__ import annotations

from pathlib import Path

import pytest

from api.settings_load import load_settings
from ui.settings import UiSettings, load_ui_settings


def test_defaults_suit_one_machine() -> None:
    settings = load_ui_settings({}, Path("none"))
    assert (settings.api_url, settings.key) == ("http://127.0.0.1:8000", None)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("API_URL=http://file:1\nPIPELINE_UI_SESSION_HOURS=2\nPIPELINE_UI_KEY=a$b\n")
    settings = load_ui_settings({"API_URL": "http://environment:1/"}, file)
    assert (settings.api_url, settings.session_hours) == ("http://environment:1", 2)
    assert settings.key is not None and settings.key.get_secret_value() == "a$b"


def test_a_key_can_be_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("very-secret\n")
    settings = load_ui_settings({"PIPELINE_UI_KEY_FILE": str(file)}, Path("none"))
    assert settings.key is not None and settings.key.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize(
    "wrong",
    [{"API_URL": "localhost:8000"}, {"API_URL": "ftp://host"}, {"API_URL": "http://user:pass@host"},
     {"PIPELINE_UI_API_PUBLIC_URL": "/api"}, {"PIPELINE_UI_SESSION_HOURS": "0"},
     {"PIPELINE_UI_SESION_HOURS": "1"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        load_ui_settings(wrong, Path("none"))


def test_the_service_leaves_these_settings_to_the_ui() -> None:
    assert load_settings({"PIPELINE_UI_SESSION_HOURS": "2"}).workers == 1


@pytest.mark.parametrize(
    ("page", "address"),
    [
        (None, "http://127.0.0.1:8000"),
        ("http://studio.lan:8501/job", "http://studio.lan:8000"),
        ("http://[::1]:8501/", "http://[::1]:8000"),
    ],
)
def test_a_browser_finds_the_api_where_it_found_the_page(page: str | None, address: str) -> None:
    assert UiSettings().browser_url(page) == address


def test_a_public_address_goes_before_what_is_guessed() -> None:
    settings = UiSettings(api_public_url="https://api.example.org/")
    assert settings.browser_url("http://studio.lan:8501") == "https://api.example.org"
