from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from api.telemetry import bound, configure_logging, one_line
from tests.guarded_app import JOB, ask, guarded_app, issue

CANARY = "canary-0123456789abcdef"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx2", "uvicorn.access", "alembic")}
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def configured(**options: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(**{"level": "INFO", "stream": stream, **options})
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_is_json_and_says_what_it_is_about() -> None:
    stream = configured()
    with bound(job_id="j-1", stage="separate"):
        structlog.get_logger("api.worker").info("stage began", seconds=1.5)
        logging.getLogger("pipeline.run").warning("slow: %s", "very", extra={"action": "stage_slow"})
    logging.getLogger("any").error("outside")
    ours, theirs, outside = lines(stream)
    assert (ours["event"], ours["job_id"], ours["stage"], ours["seconds"]) == (
        "stage began",
        "j-1",
        "separate",
        1.5,
    )
    assert (theirs["event"], theirs["job_id"], theirs["logger"], theirs["level"], theirs["action"]) == (
        "slow: very", "j-1", "pipeline.run", "warning", "stage_slow",
    )  # fmt: skip
    assert "job_id" not in outside
    assert ours["at"].endswith("Z")


def test_the_level_is_kept_to() -> None:
    stream = configured(level="WARNING")
    structlog.get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    logging.getLogger("b").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_a_trace_is_one_line() -> None:
    stream = configured()
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("a").exception("failed")
    (line,) = lines(stream)
    assert "Traceback" in line["exception"] and "ValueError: first\nsecond" in line["exception"]


@pytest.mark.parametrize("style", ["json", "console"])
def test_nothing_that_is_logged_can_begin_a_line_or_move_a_cursor(style: str) -> None:
    stream = configured(style=style)
    nasty = 'x\n{"event": "forged"}\r\x1b[2J\x9b31m\u2028\u202e\x00'
    structlog.get_logger("a").info("upload", filename=nasty, **{"k": [nasty, {nasty: nasty}]})
    logging.getLogger("b").info("upload %s", nasty)
    assert stream.getvalue().count("\n") == 2
    assert not [c for c in stream.getvalue() if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_secret_is_logged_however_it_gets_there(style: str) -> None:
    stream = configured(style=style, secrets=[CANARY])
    log = structlog.get_logger("a")
    log.info(f"in the text {CANARY}", header=f"X: {CANARY}", nested={"deep": [CANARY, CANARY.encode()]})
    log.info("by name", api_key="k1-secret", Authorization="Bearer k2-secret", password="k3-secret")  # noqa: S106
    log.info("by look", url="/x?ticket=k4-secret.abc&y=1", database="postgresql://user:k5-secret@host/db")
    log.info("by look", text="Bearer k6-secret-secret", key="ap_" + "k7" * 20, hook="whsec_k8secretsecret")
    logging.getLogger("b").warning("%s", {"X-API-Key": "ap_" + "k9" * 20})
    try:
        raise ValueError(CANARY)
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    assert CANARY not in text and "-secret" not in text
    assert not [n for n in range(1, 10) if f"k{n}k{n}" in text or f"k{n}secret" in text]
    assert "y=1" in text and "host/db" in text


def test_a_file_holds_the_same_lines(tmp_path: Path) -> None:
    stream = configured(folder=tmp_path / "logs", name="worker-1", style="console")
    logging.getLogger("a").warning("kept")
    assert "kept" in stream.getvalue()
    assert json.loads((tmp_path / "logs" / "worker-1.log").read_text())["event"] == "kept"


def test_each_request_is_one_line_and_holds_no_secret(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path)
    ticket = issue(guarded, JOB)
    stream = configured(level="DEBUG")
    ask(guarded.app, "GET", f"{JOB}/stems/a%0Ab", params={"ticket": ticket}, headers={"X-Request-ID": "r-1"})
    ask(guarded.app, "GET", "/jobs", headers={"X-API-Key": guarded.key})
    ask(guarded.app, "GET", "/jobs", headers={"X-API-Key": "ap_guessed-guessed-guessed-guessed"})
    requests = [line for line in lines(stream) if line["event"] == "request"]
    assert [(r["method"], r["status"]) for r in requests] == [("GET", 200), ("GET", 200), ("GET", 403)]
    assert (requests[0]["request_id"], requests[0]["path"]) == ("r-1", f"{JOB}/stems/a\nb")
    assert requests[1]["key_id"] == guarded.key_id
    assert ticket not in stream.getvalue() and guarded.key not in stream.getvalue()
    assert "guessed-guessed" not in stream.getvalue()


def test_a_mistake_of_ours_is_logged_with_its_trace_and_its_request(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path)
    stream = configured()
    response = ask(guarded.app, "GET", "/models", headers={"X-API-Key": guarded.key})
    (line,) = (line for line in lines(stream) if line["level"] == "error")
    assert line["request_id"] == response.json()["request_id"]
    assert "ZeroDivisionError: the canary is in the cage" in line["exception"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("song.wav", "song.wav"), ("a\nb", r"a\nb"), ("\x1b[0m", r"\x1b[0m"), ("é 曲", "é 曲"),
     ("\u202e", r"\u202e"), ("a\u00a0b", "a\u00a0b"), ("\ud800", r"\ud800"), ("C:\\new\n", "C:\\new\\n")],
)  # fmt: skip
def test_a_text_is_made_one_line(text: str, line: str) -> None:
    assert one_line(text) == line
