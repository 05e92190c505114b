"""Drop recordings here: a Streamlit component that sends files from the browser straight to the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import httpx2 as httpx
import streamlit as st

from api.client_answers import ServiceProblem
from ui.components.modules import from_commonjs, script
from ui.components.uploader.texts import TEXTS

_HERE = Path(__file__).parent
_TUS = _HERE.parents[1] / "vendor" / "tus-js-client" / "tus.min.js"
_ACCEPT: Final = (
    "audio/*,video/*,.wav,.w64,.rf64,.flac,.mp3,.m4a,.aac,.ogg,.oga,.opus,.aif,.aiff,.caf,.mkv,.mka"
)
"""What a browser's dialogue offers first. The service judges files by what they hold."""
_PATHS: Final = ("/uploads", "/process", "/batches")


class TicketSource(Protocol):
    """Where tickets come from: `ui.connection.Connection.ticket`."""

    def __call__(self, path: str, *, fresh: bool = False) -> tuple[str, float]:
        """A ticket for a path, and the seconds that it still lasts."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that was dropped, and what has become of it; as the browser says.

    Attributes:
        name: the file's own. Anybody's text: show it with ``st.text``, never as Markdown.
        size: bytes.
        state: ``waiting``, ``uploading``, ``done`` or ``failed``.
        job_id: of its job, once there is one.
        batch_id: of the batch that it came in, with others; None: it came alone.
        upload_id: of its upload, as long as it is no job.
        error: stable code of why it failed; the component shows the words.
    """

    name: str
    size: int
    state: str
    job_id: str | None
    batch_id: str | None
    upload_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Uploads:
    """What the uploader shows.

    Attributes:
        files: in the order in which they were dropped; those that were removed are left out.
        opened: the job whose *Open* was pressed just now.
    """

    files: tuple[SentFile, ...]
    opened: str | None


def uploader(
    api_url: str, *, owner: str, ticket: TicketSource, options: Mapping[str, Any], key: str
) -> Uploads:
    """Show the drop zone and its files.

    A file goes from the browser to the service by tus, and becomes a job there as soon as it is whole:
    neither its bytes nor its job need this process. Files that are dropped together are one batch. Uploads
    go on while another page of the app is shown, and after a reload when the same file is chosen again.

    Args:
        api_url: address of the service as the browser sees it.
        owner: whose uploads these are. Where it is another than before, what was on its way is stopped.
        ticket: tells tickets for ``/uploads``, ``/process`` and ``/batches``.
        options: of the jobs: fields of `api.schemas.JobOptions`. A file keeps those that it was dropped with.
        key: of the component.

    Raises:
        ServiceProblem: the service refuses tickets to this key.
    """
    stale = f"{key}.stale"
    data = {
        "key": key,
        "api_url": api_url,
        "owner": owner,
        "options": {name: value for name, value in options.items() if value is not None},
        "tickets": _tickets(ticket, stale),
        "accept": _ACCEPT,
        "texts": TEXTS,
    }
    result = _component()(
        key=key,
        data=data,
        on_files_change=lambda: None,
        on_open_change=lambda: None,
        on_renew_change=lambda: st.session_state.update({stale: True}),
    )
    return Uploads(_files(result.get("files")), _text(result.get("open")))


def _tickets(ticket: TicketSource, stale: str) -> dict[str, dict[str, Any]]:
    fresh = bool(st.session_state.get(stale))
    try:
        told = {path: ticket(path, fresh=fresh) for path in _PATHS}
    except httpx.TransportError:
        return {}  # The browser asks again.
    except ServiceProblem as problem:
        if problem.status != 429 and problem.status < 500:
            raise
        return {}
    st.session_state[stale] = False
    return {path: {"text": text, "lasts_s": lasts_s} for path, (text, lasts_s) in told.items()}


def _files(said: Any) -> tuple[SentFile, ...]:
    return tuple(_file(one) for one in said if isinstance(one, dict)) if isinstance(said, list) else ()


def _file(said: dict[str, Any]) -> SentFile:
    error = said.get("error")
    return SentFile(
        name=_text(said.get("name")) or "",
        size=size if isinstance(size := said.get("size"), int) else 0,
        state=_text(said.get("state")) or "failed",
        job_id=_text(said.get("job_id")),
        batch_id=_text(said.get("batch_id")),
        upload_id=_text(said.get("upload_id")),
        error=(_text(error.get("code")) or "unknown") if isinstance(error, dict) else None,
    )


def _text(said: Any) -> str | None:
    return said if isinstance(said, str) and said else None


@cache
def _component() -> Callable[..., Any]:
    return st.components.v2.component(
        "audio_pipeline_uploader",
        html=(_HERE / "uploader.html").read_text(encoding="utf-8"),
        css=(_HERE / "uploader.css").read_text(encoding="utf-8"),
        js=script(_HERE / "uploader.js", {"tus.js": from_commonjs(_TUS.read_text(encoding="utf-8"))}),
    )
