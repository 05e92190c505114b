from __future__ import annotations

import pytest

from api.database import open_database
from api.errors import SettingsInvalid


@pytest.mark.parametrize("url", ["canary", "nosuch://user:canary@host/x", "postgresql+canary://host/x"])
def test_a_url_that_no_database_has_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="DATABASE_URL: should be") as refused:
        open_database(url)
    assert "canary" not in refused.value.message


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(SettingsInvalid, match="DATABASE_URL: its driver is not installed: pymssql"):
        open_database("mssql+pymssql://user:word@host/x")
