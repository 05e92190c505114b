"""Logs: one line of JSON for each thing that happened, with the request and the job it happened to."""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.types import Processor

from api.log_files import LogFile

bound = bound_contextvars
"""``with bound(job_id=…, stage=…):`` puts these on every line that is logged inside."""

_HIDDEN = "[hidden]"
_SECRET_NAMES = re.compile(
    r"(?i)(^|[_-])(api[_-]?key|authorization|cookie|password|passwd|secret|ticket|token)([_-]|$)"
)
_SECRET_TEXTS = (
    re.compile(r"\bap_[A-Za-z0-9_-]{20,}"),  # API keys
    re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]{8,}"),
    re.compile(r"(?<=ticket=)[^&\s\"']+"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)"),  # user:password in a URL
)
_LONGEST = 20_000
_QUIET = (
    "uvicorn.access", "httpx2", "httpcore2", "multipart", "python_multipart", "alembic", "numba", "urllib3",
    "apprise", "mail.log",
)  # fmt: skip


def configure_logging(
    level: str,
    *,
    style: str = "json",
    secrets: Iterable[str] = (),
    folder: Path | None = None,
    name: str = "api",
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process, of whatever package, to one place in one form.

    Args:
        level: the least that is logged: ``DEBUG`` … ``CRITICAL``.
        style: ``json``, or ``console`` for people.
        secrets: texts that never appear in a line, wherever they come from.
        folder: also write there, to ``<name>.log``, turned over when full or old; None: to the stream only.
        name: of this process; processes must not share a file.
        stream: standard error unless given.
    """
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]
    # What a line of the standard library is about is in its `extra`; uvicorn repeats itself there in colours.
    of_others: list[Processor] = [*shared, structlog.stdlib.ExtraAdder(), _in_black_and_white]
    hide = Redactor(secrets)
    as_json: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        hide,
        structlog.processors.JSONRenderer(ensure_ascii=True, default=str),
    ]
    for_people: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        hide,
        _one_line_each,
        structlog.dev.ConsoleRenderer(colors=False),
    ]
    handlers: list[tuple[logging.Handler, list[Processor]]] = [
        (logging.StreamHandler(stream or sys.stderr), as_json if style == "json" else for_people)
    ]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append((LogFile(folder / f"{name}.log"), as_json))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler, processors in handlers:
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(foreign_pre_chain=of_others, processors=processors)
        )
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    for quiet in _QUIET:
        # Their lines repeat ours, and some hold whole URLs.
        logging.getLogger(quiet).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    for talker in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(talker).handlers.clear()
        logging.getLogger(talker).propagate = True
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class Redactor:
    """Takes secrets out of what is logged: by the name of the field, by their look, and by themselves.

    Args:
        secrets: texts to look for.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one may be part of another.
        self._secrets = sorted({text for text in secrets if text}, key=len, reverse=True)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """Clean one line."""
        return {
            self.text(str(key)): _HIDDEN if _SECRET_NAMES.search(str(key)) else self.clean(value)
            for key, value in event.items()
        }

    def clean(self, value: Any) -> Any:
        """A value without secrets; what is no text, number or collection is taken as it prints."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {
                self.text(str(k)): _HIDDEN if _SECRET_NAMES.search(str(k)) else self.clean(v)
                for k, v in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean(part) for part in value]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        return self.text(str(value))

    def text(self, text: str) -> str:
        """A text without secrets, cut where it is very long."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for pattern in _SECRET_TEXTS:
            text = pattern.sub(_HIDDEN, text)
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def one_line(text: str) -> str:
    r"""A text that cannot end a line, move a cursor or turn writing around: such characters are spelt out.

    Control and format characters, line separators and lone surrogates become ``\n``, ``\x1b`` or ``\u202e``.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1].replace("\\\\", "\\")
        for c in text
    )


def _in_black_and_white(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event.pop("color_message", None)
    return event


def _one_line_each(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    # A trace is ours and has lines of its own; file names inside it are made harmless line by line.
    def clean(key: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if key == "exception":
            return "\n".join(one_line(line) for line in value.split("\n"))
        return one_line(value)

    return {key: clean(key, value) for key, value in event.items()}
