"""A service without workers, one with a worker, and visits of the UI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from tests.integration.ui.pages import Open, Place, placed
from tests.service import KEY, ROOT, Service


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service without workers: the test does their part."""
    yield from placed(tmp_path_factory.mktemp("idle"), PIPELINE_WORKERS="0")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service with a worker."""
    yield from placed(tmp_path_factory.mktemp("busy"))


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    """Opens a page of the UI as its only user."""

    def opened(service: Service | None, path: str = "", key: str = KEY, **query: str) -> AppTest:
        st.cache_resource.clear()
        st.cache_data.clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("API_URL", service.url if service else "http://127.0.0.1:1")
        monkeypatch.setenv("PIPELINE_UI_KEY", key)
        page = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=60)
        # Its switch_page knows only pages that are files of their own.
        page._page_hash = calc_hash(path)
        for name, value in query.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception, page.exception
        return page

    return opened
