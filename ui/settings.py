"""What an operator may set of the UI, from the environment and ``.env``. Only `ui.connection` builds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_PREFIX: Final = "PIPELINE_UI_"
_VARIABLES: Final = {
    "API_URL": "api_url",
    f"{_PREFIX}API_PUBLIC_URL": "api_public_url",
    f"{_PREFIX}KEY": "key",
    f"{_PREFIX}SESSION_HOURS": "session_hours",
}
_KEY_FILE: Final = f"{_PREFIX}KEY_FILE"


class UiSettings(BaseModel):
    """Everything that an operator may set of the UI. docs/ui.md has the same as a table."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_url: str = "http://127.0.0.1:8000"
    """Where this process reaches the API."""
    api_public_url: str | None = None
    """Where a browser reaches it; without it the host that the page came from, at the API's port."""
    key: SecretStr | None = None
    """Everybody who reaches the UI uses this key, and nobody is asked for one. For one user's own machine."""
    session_hours: float = Field(default=12.0, gt=0, le=24 * 90)
    """Hours without a visit after which a key is asked for again."""

    @field_validator("api_url", "api_public_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            raise ValueError("should read like https://api.example.org")
        return value.rstrip("/")

    def browser_url(self, page: str | None) -> str:
        """Where a browser reaches the API.

        Args:
            page: address of the page that it shows; None where that is not known.
        """
        if self.api_public_url is not None:
            return self.api_public_url
        seen, api = urlsplit(page or ""), urlsplit(self.api_url)
        if not seen.hostname:
            return self.api_url
        host = f"[{seen.hostname}]" if ":" in seen.hostname else seen.hostname
        return f"{api.scheme}://{host}" + (f":{api.port}" if api.port else "") + api.path


def load_ui_settings(environ: Mapping[str, str] = os.environ, env_file: Path = Path(".env")) -> UiSettings:
    """Read the settings.

    Args:
        environ: wins over the file. A variable that is set to nothing counts as not set.
        env_file: need not exist.

    Raises:
        ValueError: a setting makes no sense, or there is none of that name. No secret is shown.
        OSError: the file that should hold the key cannot be read.
    """
    written = dotenv_values(env_file, interpolate=False) if env_file.is_file() else {}
    raw = {name: value.strip() for name, value in {**written, **environ}.items() if value and value.strip()}
    unknown = [n for n in raw if n.startswith(_PREFIX) and n not in _VARIABLES and n != _KEY_FILE]
    if unknown:
        raise ValueError(
            f"{sorted(unknown)[0]}: there is no such setting; docs/ui.md has those that there are."
        )
    values = {field: raw[name] for name, field in _VARIABLES.items() if name in raw}
    if _KEY_FILE in raw:
        values["key"] = Path(raw[_KEY_FILE]).read_text(encoding="utf-8").strip()
    return UiSettings.model_validate(values)
