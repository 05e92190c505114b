"""A small HTTP server that gives the audio of made-up jobs as the service does, for tests of the player.

It keeps to the contract of `/jobs/{id}/audio`, `/jobs/{id}/audio/{name}/{n}` and `/jobs/{id}/peaks`. A test
decides what is finished, which tickets are good, and when the service is down.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 44100
PART_S = 2.0
TICKET = "ticket-1"


@dataclass
class Recording:
    """A made-up job.

    Attributes:
        tracks: int16 (samples, 2) by name.
        residual: which of them is the residual.
        complete: whether it is finished.
        available_s: how far the stems of a running job are.
        mix_name: of the mix, which is the sum of the tracks; None leaves it out.
    """

    tracks: dict[str, NDArray[np.int16]]
    residual: str | None = None
    complete: bool = True
    available_s: float | None = None
    mix_name: str | None = "mix"

    @cached_property
    def mix(self) -> NDArray[np.int16]:
        total = np.sum([track.astype(np.int32) for track in self.tracks.values()], axis=0)
        return np.clip(total, -32768, 32767).astype(np.int16)

    @property
    def samples(self) -> int:
        return len(next(iter(self.tracks.values())))

    def audio(self) -> dict[str, Any]:
        whole = self.samples / RATE
        there = whole if self.complete or self.available_s is None else self.available_s
        tracks = [
            {"name": n, "kind": "residual" if n == self.residual else "stem", "available_s": there}
            for n in self.tracks
        ]
        if self.mix_name:
            tracks.append({"name": self.mix_name, "kind": "mix", "available_s": whole})
        return {
            "sample_rate": RATE,
            "channels": 2,
            "samples": self.samples,
            "part_s": PART_S,
            "complete": self.complete,
            "tracks": tracks,
        }

    def part(self, name: str, number: int) -> bytes | None:
        """FLAC, or None where it is not ready."""
        size = int(PART_S * RATE)
        end = min((number + 1) * size, self.samples)
        is_mix = name == self.mix_name
        if not is_mix and name not in self.tracks:
            return None
        if not is_mix and self.available_s is not None and end > self.available_s * RATE:
            return None
        source = self.mix if is_mix else self.tracks[name]
        data = io.BytesIO()
        soundfile.write(data, source[number * size : end], RATE, format="FLAC", subtype="PCM_16")
        return data.getvalue()

    def peaks(self, buckets: int) -> list[dict[str, Any]]:
        per = max(-(-self.samples // buckets), 1)
        edges = np.arange(0, self.samples, per)
        found = []
        for name, track in self.tracks.items():
            mono = track.mean(axis=1)
            both = np.stack([np.minimum.reduceat(mono, edges), np.maximum.reduceat(mono, edges)], axis=1)
            data = np.rint(both / 32768 * 127).astype(int).ravel().tolist()
            found.append(
                {
                    "name": name,
                    "sample_rate": RATE,
                    "samples": self.samples,
                    "samples_per_bucket": per,
                    "bits": 8,
                    "data": data,
                }
            )
        return found


@dataclass
class AudioServer:
    """The server. A context manager."""

    jobs: dict[str, Recording]
    tickets: set[str] = field(default_factory=lambda: {TICKET})
    cut: bool = False
    """Every answer is 503."""
    waiting: set[str] = field(default_factory=set)
    """Jobs that have no audio yet."""
    asked: list[str] = field(default_factory=list)
    """Paths of the requests that were let in, with what follows the job."""

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"owner": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> AudioServer:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            raise  # noqa: PLE0704 - it is called while the error is handled


class _Handler(BaseHTTPRequestHandler):
    owner: AudioServer
    protocol_version = "HTTP/1.1"

    def do_OPTIONS(self) -> None:
        self._answer(204, b"", "text/plain")

    def do_GET(self) -> None:
        owner = self.owner
        parts = [unquote(p) for p in urlsplit(self.path).path.strip("/").split("/")]
        if owner.cut:
            self._problem(503, "unavailable")
        elif self.headers["X-Ticket"] not in owner.tickets:
            self._problem(401, "unauthenticated")
        elif len(parts) > 1 and parts[1] in owner.waiting:
            self._problem(404, "part_not_ready")
        elif len(parts) < 3 or parts[0] != "jobs" or parts[1] not in owner.jobs:
            self._problem(404, "not_found")
        else:
            owner.asked.append("/".join(parts[2:]))
            self._job(owner.jobs[parts[1]], parts[2:])

    def _job(self, job: Recording, what: list[str]) -> None:
        if what == ["audio"]:
            self._json(job.audio())
        elif what == ["peaks"] and job.complete:
            self._json(job.peaks(int(self.path.rpartition("=")[2])))
        elif len(what) == 3 and what[0] == "audio":
            part = job.part(what[1], int(what[2]))
            if part is None:
                self._problem(404, "part_not_ready")
            else:
                self._answer(200, part, "audio/flac")
        else:
            self._problem(404, "not_found")

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), "application/json")

    def _problem(self, status: int, code: str) -> None:
        self._answer(status, json.dumps({"code": code}).encode(), "application/problem+json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "X-Ticket")
        self.send_header("Access-Control-Max-Age", "600")
        self.end_headers()
        with suppress(ConnectionError):  # The player no longer wants it: the user jumped.
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
