"""Downloads over HTTP that resume, and that give up on a server which misbehaves."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.weights.part import PartFile
from pipeline.weights.transfer import Absent, SourceFailed, Transfer, WrongBytes

if TYPE_CHECKING:
    import httpx2

_BUSY: Final = {408, 425, 429}
_ABSENT: Final = {401, 403, 404, 410}


@dataclass(frozen=True, slots=True)
class Patience:
    """How much a server is put up with.

    Attributes:
        connect_s: seconds until a connection stands. A machine without a way out must not wait long.
        read_s: seconds without a single byte.
        window_s: seconds over which the rate is taken.
        bytes_per_s: least rate; a slower server has stalled.
        attempts: connections per file, in all.
        pauses_s: seconds before each further attempt; the last value repeats.
        clock: monotonic seconds; injected by tests.
        pause: waits that many seconds; injected by tests.
    """

    connect_s: float = 5.0
    read_s: float = 20.0
    window_s: float = 30.0
    bytes_per_s: float = 16 << 10
    attempts: int = 6
    pauses_s: tuple[float, ...] = (0.5, 1.0, 2.0)
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


class _Interrupted(Exception):
    """Worth another attempt."""


def download(url: str, part: PartFile, transfer: Transfer, patience: Patience) -> Path:
    """Fetch a file, from where an earlier transfer stopped if the server can.

    Args:
        url: http or https.
        part: where it goes.
        transfer: who wants it.
        patience: when to give up.

    Returns:
        Path of the finished file.

    Raises:
        Absent: the server does not have it.
        WrongBytes: the server sends something else.
        SourceFailed: the server cannot be reached, or keeps failing.
        DiskFull: no space left.
        OutputUnwritable: the target cannot be written.
        Cancelled: the transfer was stopped.
    """
    import httpx2

    # Bytes are hashed as they are on the server: no content coding, please.
    headers = {"User-Agent": "audio-pipeline", "Accept-Encoding": "identity"}
    timeout = httpx2.Timeout(patience.read_s, connect=patience.connect_s)
    try:
        with httpx2.Client(headers=headers, timeout=timeout, follow_redirects=True) as client:
            return _persist(client, url, part, transfer, patience)
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as exc:
        raise SourceFailed(f"cannot be reached: {str(exc) or 'no answer'}") from exc
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise SourceFailed(f"{type(exc).__name__}: {exc}") from exc


def _persist(client: httpx2.Client, url: str, part: PartFile, transfer: Transfer, patience: Patience) -> Path:
    for attempt in range(patience.attempts):
        try:
            if not part.complete:
                _attempt(client, url, part, transfer, patience)
            return part.finish()
        except WrongBytes:
            # The beginning may have come from another version of the file, or from another source.
            if not part.resumed:
                raise
            part.restart()
        except _Interrupted as exc:
            if attempt == patience.attempts - 1:
                raise SourceFailed(f"{exc} ({patience.attempts} attempts)") from exc
            patience.pause(patience.pauses_s[min(attempt, len(patience.pauses_s) - 1)])
            part.resumed = part.size > 0
    raise SourceFailed(f"failed {patience.attempts} times")


def _attempt(client: httpx2.Client, url: str, part: PartFile, transfer: Transfer, patience: Patience) -> None:
    import httpx2

    try:
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        with client.stream("GET", url, headers=headers) as response:
            _check_answer(response, part)
            since, mark = patience.clock(), part.size
            for chunk in response.iter_raw():
                part.write(chunk)
                transfer.step(part.target.name, part.size, part.limit)
                now = patience.clock()
                if now - since >= patience.window_s:
                    if part.size - mark < patience.bytes_per_s * (now - since):
                        raise _Interrupted(f"sends less than {patience.bytes_per_s / 1024:.0f} KiB/s")
                    since, mark = now, part.size
    except (httpx2.ReadTimeout, httpx2.ReadError, httpx2.RemoteProtocolError) as exc:
        raise _Interrupted(f"broke off: {str(exc) or type(exc).__name__}") from exc
    if not part.complete:
        raise _Interrupted(f"ended after {part.size} bytes")


def _check_answer(response: httpx2.Response, part: PartFile) -> None:
    status = response.status_code
    if status == 416:  # what is here is no beginning of what is there
        part.restart()
        raise _Interrupted("refused to resume")
    if status in _ABSENT:
        raise Absent(f"answered {status}")
    if status in _BUSY or status >= 500:
        raise _Interrupted(f"answered {status}")
    if status not in {200, 206}:
        raise SourceFailed(f"answered {status}")
    if response.headers.get("content-type", "").startswith("text/html"):
        raise SourceFailed("answered with a web page")
    here = part.size if status == 206 else 0
    length = response.headers.get("content-length", "")
    if length.isdigit() and not part.can_become(here + int(length)):
        raise WrongBytes(f"offers {here + int(length)} bytes instead of {part.limit}")
    if status == 206:
        start = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
        if start is None or int(start[1]) != part.size:
            part.restart()
            raise _Interrupted("sent another part than asked for")
    elif part.size:
        part.restart()  # the server cannot resume and sends everything
