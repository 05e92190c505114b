"""Fetches a recording from a URL: from hosts on a list, at public addresses, in bounded bytes and time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

import httpx2 as httpx

from api.errors import UrlAnswerRefused, UrlBusy, UrlHostRefused, UrlIngestOff, UrlRefused
from api.host_names import is_listed
from api.outbound import Outbound, url_failure
from api.settings import Settings
from pipeline.errors import InputIsWebPage, InputTooLarge
from pipeline.progress import CancelToken
from pipeline.scratch import disk_errors

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 5
_BUSY: Final = frozenset({408, 425, 429})
_WEB_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
_LONGEST_NAME: Final = 255
_LONGEST_HEADER: Final = 4096
# RFC 6266: filename* wins, in one of the two character sets that RFC 8187 knows.
_NAME_CODED: Final = re.compile(r"(?i)filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)")
_NAME_PLAIN: Final = re.compile(r'(?i)filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))')


@dataclass(frozen=True, slots=True)
class IngestRules:
    """What may be fetched.

    Attributes:
        enabled: whether anything may.
        hosts: allow-list, as `api.host_names.is_listed` reads it.
        max_bytes: of a recording.
        timeout_s: seconds from the first look-up to the last byte, redirects included.
        silence_s: seconds without a byte after which a server counts as gone.
    """

    enabled: bool
    hosts: tuple[str, ...]
    max_bytes: int
    timeout_s: float
    silence_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A recording that was fetched.

    Attributes:
        path: where it lies.
        filename: as its server calls it; printable, and metadata only.
        bytes: its size.
        sha256: hash of its bytes, lower-case hex.
    """

    path: Path
    filename: str
    bytes: int
    sha256: str


def ingest_rules(settings: Settings) -> IngestRules:
    """The operator's rules."""
    return IngestRules(
        settings.url_ingest, settings.url_hosts, settings.max_file_bytes, settings.url_timeout_s
    )


def check_source(url: str, rules: IngestRules, outbound: Outbound) -> httpx.URL:
    """Refuse a URL that may not be fetched, without sending anything.

    Args:
        url: as the user or a redirect gave it.
        rules: what may be fetched.
        outbound: the way out.

    Returns:
        The URL to ask.

    Raises:
        UrlIngestOff: nothing is fetched here.
        UrlRefused: the URL is malformed or not https.
        UrlHostRefused: its host is not on the list.
        UrlAddressRefused: it leads to an address or port that may not be reached.
    """
    if not rules.enabled:
        raise UrlIngestOff(
            "Recordings are not fetched from URLs here.", "Upload the file; or ask the operator to allow it."
        )
    checked = outbound.check_url(url, https_only=True)
    host = _host(checked)
    if not is_listed(host, rules.hosts):
        raise UrlHostRefused(
            f"Recordings are not fetched from {host}.",
            "Upload the file; or ask the operator to list the host.",
        )
    return checked


def fetch(url: str, folder: Path, rules: IngestRules, outbound: Outbound, cancel: CancelToken) -> Fetched:
    """Fetch a recording to ``input`` in a folder. Where it fails, nothing is left there.

    Args:
        url: as the user gave it.
        folder: exists, and is this request's own.
        rules: what may be fetched.
        outbound: the way out.
        cancel: looked at between reads.

    Raises:
        UrlRefused: one of its leaves, for the URL or for what a redirect leads to; see `check_source`.
        UrlFailed: one of its leaves: not reached, too slow, broken off, no TLS, or another answer.
        InputTooLarge: it has more bytes than allowed.
        InputIsWebPage: it is HTML.
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
        Cancelled: the transfer was stopped.
    """
    target = check_source(url, rules, outbound)
    with outbound.client(total_s=rules.timeout_s, silence_s=rules.silence_s) as client:
        for _ in range(_MAX_REDIRECTS + 1):
            cancel.check()
            with _explained(_host(target)), client.stream("GET", target) as answer:
                if answer.status_code not in _REDIRECTS:
                    _check_answer(answer, _host(target), rules)
                    path = folder / "input"
                    size, sha256 = _save(answer, path, rules, cancel)
                    return Fetched(path, file_name(answer), size, sha256)
                target = _redirected(answer, target, rules, outbound)
    raise UrlAnswerRefused(
        f"The URL redirects more than {_MAX_REDIRECTS} times.", "Use the address that it ends at."
    )


def file_name(answer: httpx.Response) -> str:
    """What the server calls the file, else the end of the URL's path."""
    said = answer.headers.get("content-disposition", "")[:_LONGEST_HEADER]
    name = ""
    if found := _NAME_CODED.search(said):
        name = unquote(found[2], encoding=found[1])
    elif found := _NAME_PLAIN.search(said):
        name = re.sub(r"\\(.)", r"\1", found[1] or found[2] or "")
    name = _last(name) or _last(answer.url.path) or "recording"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name[-_LONGEST_NAME:])


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


@contextmanager
def _explained(host: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as exc:
        raise url_failure(exc, host) from exc


def _redirected(
    answer: httpx.Response, target: httpx.URL, rules: IngestRules, outbound: Outbound
) -> httpx.URL:
    location = answer.headers.get("location", "")
    try:
        return check_source(str(target.join(location)) if location else "", rules, outbound)
    except UrlRefused as exc:
        raise type(exc)(f"The URL redirects. {exc.message}", exc.hint) from exc
    except (httpx.InvalidURL, ValueError):
        raise UrlAnswerRefused("The URL redirects to what is no URL.", "Use another server.") from None


def _check_answer(answer: httpx.Response, host: str, rules: IngestRules) -> None:
    """Refuse what the header already rules out."""
    status = answer.status_code
    if status in _BUSY or status >= 500:
        raise UrlBusy(f"{host} answered {status}.", "Try again later.")
    if status != 200:
        raise UrlAnswerRefused(
            f"{host} answered {status}.", "Open the URL in a browser: it may have expired."
        )
    headers = answer.headers
    if headers.get("content-type", "").split(";")[0].strip().lower() in _WEB_PAGES:
        raise InputIsWebPage(
            f"{host} answered with a web page.",
            "Use the file's own address; links of web shops and drives expire.",
        )
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise UrlAnswerRefused(
            f"{host} sends the file compressed, though it was asked not to.", "Use another server."
        )
    if "content-length" not in headers and "transfer-encoding" not in headers:
        # Such a body ends where the connection does: a broken transfer would pass for a whole file.
        raise UrlAnswerRefused(f"{host} does not say where the file ends.", "Use another server.")
    said = headers.get("content-length", "")
    if said.isdecimal() and int(said) > rules.max_bytes:
        raise _too_large(rules)


def _save(answer: httpx.Response, path: Path, rules: IngestRules, cancel: CancelToken) -> tuple[int, str]:
    """Write the body, counting and hashing it; remove what was written of one that fails."""
    size, digest = 0, hashlib.sha256()
    with disk_errors("the recording"):
        file: BinaryIO = path.open("xb")
    try:
        with disk_errors("the recording"), file:
            for piece in answer.iter_raw():
                cancel.check()
                size += len(piece)
                if size > rules.max_bytes:
                    raise _too_large(rules)
                digest.update(piece)
                file.write(piece)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return size, digest.hexdigest()


def _too_large(rules: IngestRules) -> InputTooLarge:
    return InputTooLarge(
        f"The recording has more than {rules.max_bytes / 1e6:.0f} MB, which is the limit.",
        "Convert it to FLAC, or split it.",
    )


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].strip()
