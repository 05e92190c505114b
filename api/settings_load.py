"""Reads settings: the environment over ``.env``, secrets also from files, one line for each that is bad."""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError

from api.errors import SettingsInvalid
from api.settings import Settings, variable

_HINT = "docs/settings.md explains every setting."
_MAX_SECRET_BYTES = 1 << 16
_SHOWN = 60
_OF_SUBMIT = "PIPELINE_URL"  # where `python -m api submit` finds the service
_OF_THE_UI = "PIPELINE_UI_"  # ui/settings.py reads them, and refuses those that it does not know

VARIABLES: Mapping[str, str] = {variable(name): name for name in Settings.model_fields}
"""Environment variable -> setting."""


def _secrets() -> frozenset[str]:
    fields = Settings.model_fields.items()
    return frozenset(name for name, field in fields if "SecretStr" in str(field.annotation))


SECRETS = _secrets()
"""Settings that are never shown, and that ``NAME_FILE`` may name a file for."""

_FILE_VARIABLES = {f"{variable(name)}_FILE": name for name in SECRETS}


def load_settings(environ: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Read settings.

    Args:
        environ: usually ``os.environ``; it wins over the file.
        env_file: usually ``.env``; need not exist. A variable that is set to nothing counts as not set.

    Raises:
        SettingsInvalid: its message has one line for each bad setting, and shows no secret.
    """
    problems: list[str] = []
    raw = {**_read_env_file(env_file, problems), **{k: v for k, v in environ.items() if v.strip()}}
    for name in sorted(raw):
        if name.startswith(_OF_THE_UI) or name == _OF_SUBMIT:
            continue
        if name.startswith("PIPELINE_") and name not in VARIABLES and name not in _FILE_VARIABLES:
            problems.append(f"{name}: there is no such setting{_nearest(name)}")
    values: dict[str, Any] = {
        name: raw[variable_].strip() for variable_, name in VARIABLES.items() if variable_ in raw
    }
    for file_variable, name in _FILE_VARIABLES.items():
        if file_variable not in raw:
            continue
        if name in values:
            problems.append(f"{file_variable}: {variable(name)} is set too; set one of the two.")
            continue
        secret = _read_secret(file_variable, Path(raw[file_variable].strip()), problems)
        if secret is not None:
            values[name] = secret
    settings = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as exc:
        problems += [line for line in (_line(error, values) for error in exc.errors()) if line]
    if problems or settings is None:
        raise SettingsInvalid("\n".join(problems), _HINT)
    return settings


def _read_env_file(path: Path | None, problems: list[str]) -> dict[str, str]:
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"{path}: cannot be read ({_reason(exc)}).")
        return {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            problems.append(f"{path}: line {binding.original.line} is not of the form NAME=value.")
    if problems:
        return {}
    # A dollar in a secret is a dollar.
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value and value.strip()}


def _read_secret(name: str, path: Path, problems: list[str]) -> str | None:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_SECRET_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"{name}: {str(path)!r} cannot be read ({_reason(exc)}).")
        return None
    if not text:
        problems.append(f"{name}: {str(path)!r} is empty.")
    return text or None


def _reason(exc: OSError | UnicodeDecodeError) -> str:
    return "it is no UTF-8 text" if isinstance(exc, UnicodeDecodeError) else exc.strerror or "unknown reason"


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, [*VARIABLES, *_FILE_VARIABLES], n=1)
    return f"; did you mean {near[0]}?" if near else "."


def _line(error: Any, values: Mapping[str, Any]) -> str:
    """One line about one bad setting; nothing for those that only follow from another."""
    if error["type"] == "default_factory_not_called":
        return ""
    where = str(error["loc"][0])
    name = VARIABLES.get(where, where)
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    shown = "" if name in SECRETS or name not in values else f"={values[name][:_SHOWN]!r}"
    return f"{variable(name)}{shown}: {message[:1].lower()}{message[1:]}."
