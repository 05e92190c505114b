from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import (
    SettingsInvalid,
    UrlAddressRefused,
    UrlBroken,
    UrlRefused,
    UrlTimedOut,
    UrlTlsFailed,
    UrlUnreachable,
)
from api.outbound import Outbound, system_addresses, url_failure
from tests.https_server import HOST, LOOPBACK, HttpsServer, whole
from tests.service import free_port

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
NOWHERE = Outbound(tls=TLS)
AT_HOME = Outbound([ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1")], tls=TLS)


@pytest.fixture(scope="module")
def server() -> Iterator[HttpsServer]:
    with HttpsServer() as running:
        running.answers["/"] = whole(b"hello", set_cookie="session=1; Path=/")
        yield running


class Names:
    """A name server that gives one answer after the other, and remembers how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0)


def outbound(server: HttpsServer, names: Names) -> Outbound:
    return Outbound([LOOPBACK], resolve=names, tls=server.trust)


def get(out: Outbound, url: str) -> httpx.Response:
    with out.client(total_s=60) as client:
        return client.get(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org/a%20song.flac?sig=a%2Fb&x=[1]",
        "https://EXAMPLE.org:443/ü/♫.mp3#part",
        "https://bücher.example/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/x",
        "https://example.org/@/a:b",
    ],
)
def test_usual_urls_pass(url: str) -> None:
    checked = NOWHERE.check_url(url, https_only=True)
    assert checked.scheme == "https" and not checked.fragment


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "//example.org/x", "/x", "https:", "https:///x", "https://", "https:example.org",
        "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "javascript:1", "gopher://x:70/_",
        "unix:///run/docker.sock", "https+unix://%2Frun%2Fdocker.sock/",
        "https://user@example.org/", "https://user:word@example.org/", "https://allowed.example@evil.example/",
        "https://evil.example\\@allowed.example/", "https://evil.example\\.allowed.example/",
        "https:\\\\evil.example/", "https://a.example/\r\nHost: b", "https://a.example/x y", "https://a\t.example/",
        "https://a.example\r\n/", "https://a.example/\x00", "https://a.example/\ud800", "\u2028https://a.example/",
        "https://a.example./", "https://a..example/", "https://-a.example/", "https://a%2eexample/",
        "https://a.example%00.b.example/", "https://%6c%6fcalhost/", "https://[::1/", "https://[a]/",
        "https://[fe80::1%25eth0]/x y", "https://a:b:c/", "https://a.example:port/", "https://a.example:99999/",
        "https://a.example:0/", "https://a.example:-1/", "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 130 + "example/", "https://a.example/" + "x" * 9000,
    ],
)  # fmt: skip
def test_urls_that_make_no_sense_or_hide_something_are_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        NOWHERE.check_url(url, https_only=True)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "2130706433", "0x7f000001", "0X7F.0.0.1", "0177.0.0.1", "017700000001", "127.1",
        "127.0.1", "127.0.0.1.", "0", "0.0.0.0", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]",  # noqa: S104
        "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]", "[fe80::1%25eth0]", "169.254.169.254", "2852039166", "0xa9fea9fe",
        "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "100.100.100.200", "192.168.1.1", "10.0.0.1",
        "172.16.0.1", "127\u30020\u30020\u30021", "127.0\uff0e0.1",
        "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
        "127.0.0.1%2f", "127.0.0.1%00", "1.1.1.1.0x7f000001",
    ],
)  # fmt: skip
def test_no_notation_of_an_inner_address_passes(host: str) -> None:
    for scheme in ("https", "http"):
        with pytest.raises(UrlRefused):
            NOWHERE.check_url(f"{scheme}://{host}/", https_only=False)


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_text_is_refused_or_becomes_a_url_of_a_public_place(before: str, after: str) -> None:
    try:
        checked = NOWHERE.check_url(f"https://{before}example.org{after}", https_only=True)
    except UrlRefused as exc:
        assert exc.message.isascii() and exc.message.isprintable()
        return
    again = NOWHERE.check_url(str(checked), https_only=True)
    assert (again.raw_host, again.port, again.userinfo) == (checked.raw_host, checked.port, b"")


def test_what_follows_the_host_does_not_change_it() -> None:
    url = NOWHERE.check_url("https://evil.example#@allowed.example", https_only=True)
    assert url.raw_host == b"evil.example" and str(url) == "https://evil.example"
    url = NOWHERE.check_url("https://evil.example?@allowed.example/", https_only=True)
    assert url.raw_host == b"evil.example"


def test_plain_http_is_for_the_operators_own_networks() -> None:
    assert AT_HOME.check_url("http://127.0.0.1:8080/hook", https_only=False).port == 8080
    assert AT_HOME.check_url("http://[::ffff:127.0.0.1]:8080/", https_only=False).port == 8080
    assert AT_HOME.check_url("http://hooks.internal/", https_only=False)  # judged when it is resolved
    for url, https_only in [
        ("http://127.0.0.1/", True), ("http://1.1.1.1/", False), ("http://1.1.1.1:443/", False),
    ]:  # fmt: skip
        with pytest.raises(UrlRefused):
            AT_HOME.check_url(url, https_only=https_only)
    with pytest.raises(UrlRefused):
        NOWHERE.check_url("http://hooks.internal/", https_only=False)


def test_public_addresses_are_reached_at_the_ports_that_were_listed() -> None:
    with pytest.raises(UrlAddressRefused):
        NOWHERE.check_url("https://example.org:8443/", https_only=True)
    with pytest.raises(UrlAddressRefused):
        AT_HOME.check_url("https://1.1.1.1:25/", https_only=True)
    assert Outbound(ports=[443, 8443], tls=TLS).check_url("https://example.org:8443/", https_only=True)


def test_a_name_is_resolved_once_and_the_connection_goes_there(
    server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = list[str]()
    real = socket.getaddrinfo

    def watched(host: str, *args: object, **kwargs: object) -> object:
        looked_up.append(host)
        return real(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    out = outbound(server, names)
    assert get(out, server.url("/")).text == "hello"
    assert names.asked == [HOST] and set(looked_up) <= {"127.0.0.1"}
    with pytest.raises(UrlAddressRefused):
        get(out, server.url("/"))


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["::1"], ["127.0.0.2"]]
)
def test_one_address_that_may_not_be_reached_refuses_the_name(
    server: HttpsServer, addresses: list[str]
) -> None:
    before = len(server.requests)
    with pytest.raises(UrlAddressRefused) as refused:
        get(outbound(server, Names(addresses)), server.url("/"))
    assert len(server.requests) == before
    assert not any(address in str(refused.value) for address in addresses)


def test_a_url_that_nobody_checked_is_judged_all_the_same() -> None:
    for url in ("https://2130706433/", "http://127.1/", "http://[::1]/", "https://0x7f000001/"):
        with pytest.raises(UrlRefused), NOWHERE.client(total_s=60) as client:
            client.get(url)


def test_the_environments_proxies_are_not_used(server: HttpsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{free_port()}")
    assert get(outbound(server, Names(["127.0.0.1"])), server.url("/")).text == "hello"


def test_cookies_are_not_kept(server: HttpsServer) -> None:
    out = outbound(server, Names(["127.0.0.1"], ["127.0.0.1"]))
    with out.client(total_s=60) as client:
        client.get(server.url("/"))
        client.get(server.url("/"))
        assert not client.cookies
    assert b"cookie" not in server.requests[-1].lower()


def test_a_server_says_who_it_is_by_the_name_in_the_url(server: HttpsServer) -> None:
    out = outbound(server, Names(["127.0.0.1"]))
    with pytest.raises(httpx.ConnectError) as failed:
        get(out, server.url("/", host="other.example.org"))
    assert isinstance(url_failure(failed.value, "other.example.org"), UrlTlsFailed)


def test_authorities_of_the_operator_are_believed(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(httpx.ConnectError) as failed:
        get(Outbound([LOOPBACK]), server.url("/", host="127.0.0.1"))
    assert not url_failure(failed.value, "127.0.0.1").retryable
    server.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert get(Outbound([LOOPBACK]), server.url("/", host="127.0.0.1")).text == "hello"


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nonsense.pem").write_text("nonsense")
    for name in ("absent.pem", "nonsense.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        with pytest.raises(SettingsInvalid, match="SSL_CERT_FILE"):
            Outbound()


def test_a_name_without_an_address_is_unreachable() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for out in (Outbound(tls=TLS, resolve=unknown), Outbound(tls=TLS, resolve=Names([]))):
        with pytest.raises(httpx.ConnectError) as failed:
            get(out, "https://example.org/")
        assert isinstance(url_failure(failed.value, "example.org"), UrlUnreachable)


def test_a_name_server_that_is_silent_does_not_hold_up() -> None:
    released = threading.Event()

    def silent(host: str, port: int) -> Sequence[str]:
        released.wait(60)
        return []

    out = Outbound(tls=TLS, resolve=silent)
    with out.client(total_s=0.05) as client, pytest.raises(httpx.ConnectTimeout) as failed:
        client.get("https://example.org/")
    released.set()
    assert isinstance(url_failure(failed.value, "example.org"), UrlTimedOut)


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with pytest.raises(httpx.ConnectError) as failed:
        get(AT_HOME, f"http://127.0.0.1:{free_port()}/")
    assert isinstance(url_failure(failed.value, "127.0.0.1"), UrlUnreachable)


def test_the_next_address_is_tried_where_one_does_not_answer(server: HttpsServer) -> None:
    out = Outbound(
        [LOOPBACK, ipaddress.ip_network("127.0.0.9")],
        resolve=Names(["127.0.0.9", "127.0.0.1"]),
        tls=server.trust,
    )
    assert get(out, server.url("/")).text == "hello"


def test_a_server_that_speaks_no_http_broke_off(server: HttpsServer) -> None:
    server.answers["/ssh"] = lambda: [b"SSH-2.0-OpenSSH_9.2\r\n"]
    with pytest.raises(httpx.RemoteProtocolError) as failed:
        get(outbound(server, Names(["127.0.0.1"])), server.url("/ssh"))
    assert isinstance(url_failure(failed.value, HOST), UrlBroken)


def test_the_machines_own_resolver_gives_addresses() -> None:
    assert "127.0.0.1" in system_addresses("localhost", 443)
