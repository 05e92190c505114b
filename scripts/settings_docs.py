"""What docs/settings.md and .env.example say: both follow from `api.settings.Settings`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from api.settings import Settings, variable
from api.settings_load import SECRETS

_SECTIONS = {
    "device": "Serving",
    "api_key": "Secrets",
    "data_dir": "Folders and the database",
    "weights_dir": "Weights",
    "model": "Jobs that do not say",
    "workers": "Running jobs",
    "rate_process": "Who may do how much",
    "url_ingest": "URLs that users name",
    "log_format": "Logs",
}
"""First setting of a section -> its heading."""

_PAGE_HEAD = """\
# Settings

The service takes them from the environment, and from a file `.env` beside it; the environment wins. A
variable that is set to nothing counts as not set. A bad setting, and a variable that begins with
`PIPELINE_` and is not here, keep the service from starting; each is told in one line.

A secret can also be in a file: `API_KEY_FILE=/run/secrets/api_key` instead of `API_KEY`. Those that can are
marked with *.

<!-- Made by `make docs` from api/settings.py: edit that, never this. -->
"""

_EXAMPLE_HEAD = """\
# Settings of the service: copy this to .env and change what should differ from the defaults, which are shown.
# docs/settings.md says the same as a table. Secrets can be in files: API_KEY_FILE=/run/secrets/api_key.
"""


def settings_page() -> str:
    """docs/settings.md."""
    parts = [_PAGE_HEAD]
    for section, names in _sections():
        parts.append(f"\n## {section}\n\n| variable | default | meaning |\n| --- | --- | --- |\n")
        for name in names:
            star = " \\*" if name in SECRETS else ""
            default = f"`{_default(name)}`" if _default(name) else ""
            parts.append(f"| `{variable(name)}`{star} | {default} | {_meaning(name)} |\n")
    return "".join(parts)


def env_example() -> str:
    """.env.example."""
    parts = [_EXAMPLE_HEAD]
    for section, names in _sections():
        parts.append(f"\n# ---- {section} ----\n")
        for name in names:
            meaning = textwrap.wrap(_meaning(name), 106, initial_indent="# ", subsequent_indent="# ")
            parts.append("\n" + "\n".join(meaning) + f"\n#{variable(name)}={_default(name)}\n")
    return "".join(parts)


def _sections() -> Iterator[tuple[str, list[str]]]:
    names = list(Settings.model_fields)
    starts = [names.index(first) for first in _SECTIONS]
    for heading, begin, end in zip(_SECTIONS.values(), starts, [*starts[1:], len(names)], strict=True):
        yield heading, names[begin:end]


def _meaning(name: str) -> str:
    return " ".join((Settings.model_fields[name].description or "").split())


def _default(name: str) -> str:
    return _text(getattr(Settings(), name))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
