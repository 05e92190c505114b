"""The one way out for requests to addresses that users name: public ones only, judged and then pinned."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2 as httpx
import structlog

from api.errors import (
    SettingsInvalid,
    UrlAddressRefused,
    UrlBroken,
    UrlFailed,
    UrlRefused,
    UrlTimedOut,
    UrlTlsFailed,
    UrlUnreachable,
)
from api.host_names import Address, is_host_name, literal_address
from api.outbound_transport import Destination, GuardedTransport
from api.public_addresses import is_public, is_within
from api.settings_types import Network

logger = structlog.get_logger(__name__)

_LONGEST: Final = 8192
_HEADERS: Final = {"User-Agent": "audio-pipeline", "Accept-Encoding": "identity"}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Sequence[str]]
"""Host name and port -> its addresses as text, best first; raises `OSError` where it has none."""


def system_addresses(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the machine's resolver gives them.

    Raises:
        OSError: there are none, or no name server answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Outbound:
    """Guards requests to addresses that users name. One for the whole service; safe in threads.

    A name is resolved once for each connection, all its addresses are judged, and the connection goes to
    those: a name server that answers differently the second time is never asked a second time. One address
    that may not be reached refuses the name, whatever the others are: choosing among them would let chance
    decide. Proxies of the environment, netrc files and cookies are not used; ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` are.

    Args:
        allowed: networks that may be reached although they are not public; there also by plain http, and
            at any port.
        ports: of public addresses that may be reached.
        resolve: asked for the addresses of a name.
        tls: what certificates are checked against; the machine's authorities unless given.
        clock: monotonic seconds.

    Raises:
        SettingsInvalid: the machine's authorities cannot be read.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        ports: Collection[int] = (443,),
        *,
        resolve: Resolve = system_addresses,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = tuple(allowed)
        self._ports = frozenset(ports)
        self._resolve = resolve
        self._tls = tls or _authorities()
        self._clock = clock

    def client(self, *, total_s: float, silence_s: float = 10.0) -> httpx.Client:
        """A client for one errand: its time begins now. Making one is cheap; close it.

        It raises `UrlRefused` or `UrlAddressRefused` besides httpx's own errors, which `url_failure`
        turns into ours. Redirects are not followed: whoever follows one calls `check_url` first.

        Args:
            total_s: seconds until everything is broken off, from resolving the name to the last byte.
            silence_s: seconds without a byte after which the server counts as gone.
        """
        return httpx.Client(
            transport=GuardedTransport(self._decide, self._tls, total_s, self._clock),
            headers=_HEADERS,
            timeout=silence_s,
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def check_url(self, url: str, *, https_only: bool) -> httpx.URL:
        """Refuse what can never be reached, before anything is sent. Names are not resolved yet.

        Args:
            url: as the user gave it.
            https_only: refuse plain http even within the networks where it is let through.

        Returns:
            The URL, without its fragment: use this one, not the text.

        Raises:
            UrlRefused: it is malformed, too long, holds a user name, or is not https.
            UrlAddressRefused: its address or port may not be reached.
        """
        parsed = _parsed(url)
        host = parsed.raw_host.decode("ascii")
        if parsed.scheme not in (("https",) if https_only else ("https", "http")):
            raise UrlRefused("The URL is not https.", "Use a URL that begins with https://.")
        if parsed.userinfo:
            raise UrlRefused("The URL holds a user name or password.", "Leave out what stands before the @.")
        port = _port(parsed)
        address = literal_address(host)
        if address is None and not is_host_name(host):
            raise UrlRefused("The URL's host is no name or address.", "Write it like media.example.org.")
        if address is not None:
            self._judge(host, address, port)
        elif not self._allowed and port not in self._ports:
            raise _port_refused(host, port)
        if parsed.scheme == "http" and not self._may_be_plain(address):
            raise UrlRefused(f"{host} is reached by https only.", "Use an https URL.")
        return parsed.copy_with(fragment=None)

    def _decide(self, host: str, port: int) -> Iterator[Destination]:
        literal = literal_address(host)
        texts = [host] if literal is not None else self._resolve(host, port)
        for text in texts:
            yield self._judge(host, literal or _address(text), port)

    def _judge(self, host: str, address: Address, port: int) -> Destination:
        if is_within(address, self._allowed):
            return Destination(str(address), plain=True)
        if not is_public(address):
            # The user is not told which: it would be a map of the operator's network.
            logger.warning("address refused", host=host, address=str(address))
            raise UrlAddressRefused(
                f"{host} leads to an address that is not public.", "Only public addresses are reached."
            )
        if port not in self._ports:
            raise _port_refused(host, port)
        return Destination(str(address), plain=False)

    def _may_be_plain(self, address: Address | None) -> bool:
        return bool(self._allowed) if address is None else is_within(address, self._allowed)


def url_failure(error: httpx.HTTPError, host: str) -> UrlFailed:
    """What an error of the client means, in our words.

    Args:
        error: as a client of `Outbound.client` raised it.
        host: of the URL; the rest of the URL may hold secrets.
    """
    if isinstance(error, httpx.TimeoutException):
        return UrlTimedOut(f"{host} took too long to answer or to send.", "Try again later.")
    if isinstance(error, httpx.ConnectError):
        if any(isinstance(cause, ssl.SSLError) for cause in _behind(error)):
            return UrlTlsFailed(
                f"{host} cannot prove who it is: its certificate or its TLS is not accepted.",
                "Have its certificate renewed, or let the service trust its authority by SSL_CERT_FILE.",
            )
        return UrlUnreachable(f"{host} cannot be reached.", "Check the name, and try again later.")
    return UrlBroken(f"{host} broke off before everything was sent, or speaks no HTTP.", "Try again.")


def _authorities() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as exc:
        raise SettingsInvalid(
            f"SSL_CERT_FILE or SSL_CERT_DIR: no certificates can be read there ({exc.strerror or exc}).",
            "Name a file or folder of PEM certificates, or unset it.",
        ) from exc


def _parsed(url: str) -> httpx.URL:
    # Other programs read a backslash as a slash, and leave out tabs and line ends: so nobody shall use them.
    if len(url) > _LONGEST or any(c in "\\ " or not c.isprintable() for c in url):
        raise UrlRefused(
            f"The URL has more than {_LONGEST} characters, or blanks, backslashes or control characters.",
            "Write such characters like %20.",
        )
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        # Its own words would repeat parts of the URL.
        raise UrlRefused(
            "The URL makes no sense.", "Write it like https://media.example.org/song.flac."
        ) from None


def _port(url: httpx.URL) -> int:
    port = url.port if url.port is not None else _DEFAULT_PORTS[url.scheme]
    if not 0 < port < 1 << 16:
        raise UrlRefused(f"There is no port {port}.", "Leave it out to use 443.")
    return port


def _port_refused(host: str, port: int) -> UrlAddressRefused:
    return UrlAddressRefused(f"Port {port} of {host} may not be reached.", "Use port 443.")


def _address(text: str) -> Address:
    address = literal_address(text)
    if address is None:
        raise OSError("the resolver gave no address")
    return address


def _behind(error: BaseException) -> Iterator[BaseException]:
    # The connection pool raises its errors `from None`: only the context leads on to the cause.
    behind: BaseException | None = error
    while behind is not None:
        yield behind
        behind = behind.__context__
