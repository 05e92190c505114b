"""Pages of the UI as Streamlit draws them, and the real service behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter
from tests.audio_files import music, write_wav
from tests.service import KEY, Service

HOSTILE = "![x](http://127.0.0.1:1/p.png) <b>é\"'.wav"


@dataclass(frozen=True)
class Place:
    """A service, and its store as its workers see it."""

    service: Service
    store: SqlJobStore
    folders: Folders
    song: Path

    def submitted(self, key: str = KEY, name: str = "song.wav", **fields: str) -> str:
        with closing(self.service.client(key)) as http, self.song.open("rb") as file:
            # JSON would be needed for a name with quotation marks: a form's are rewritten by HTTP clients.
            answer = http.post("/process", files={"file": (name, file)}, data=fields)
            assert answer.status_code in (200, 202), answer.text
            job: str = answer.json()["id"]
            return job


def placed(folder: Path, **settings: str) -> Iterator[Place]:
    song = write_wav(folder / "song.wav", music(2.0))
    data = folder / "data"
    data.mkdir()
    with Service(data, **settings) as service:
        engine = open_database(f"sqlite:///{data / 'pipeline.db'}")
        yield Place(service, SqlJobStore(engine), Folders.below(data), song)
        engine.dispose()


Open = Callable[..., AppTest]
"""The fixture ``visit``."""


def said(page: AppTest) -> str:
    """All HTML and text of a page."""
    html = [element.proto.body for element in page.get("html")]
    return "\n".join([*html, *(text.value for text in page.text), *(c.value for c in page.caption)])


def button(page: AppTest, label: str) -> Any:
    (found,) = [one for one in page.button if one.label == label]
    return found


def emptied(place: Place) -> Place:
    """Cancel all that waits, so that the next claim is that of the next job."""
    for job in place.store.find(JobFilter(), limit=200):
        place.store.request_cancel(job.id)
    return place
