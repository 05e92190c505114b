from __future__ import annotations

import ssl
from pathlib import Path

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import SettingsInvalid, UrlAddressRefused, UrlHostRefused, UrlIngestOff, UrlRefused
from api.ingest import IngestRules, check_source, fetch, file_name, ingest_rules
from api.outbound import Outbound
from api.settings import Settings
from api.settings_load import load_settings
from pipeline.progress import CancelToken

NOWHERE = Outbound(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
RULES = IngestRules(
    enabled=True, hosts=("media.example.org", "*.example.net", "10.0.0.1"), max_bytes=1000, timeout_s=60
)


def answer(disposition: str | bytes | None, url: str = "https://a.example/") -> httpx.Response:
    headers = {} if disposition is None else {"Content-Disposition": disposition}
    return httpx.Response(200, headers=headers, request=httpx.Request("GET", url))


def test_nothing_is_fetched_unless_it_is_switched_on(tmp_path: Path) -> None:
    rules = ingest_rules(Settings())
    assert not rules.enabled
    for url in ("https://media.example.org/x", "nonsense"):
        with pytest.raises(UrlIngestOff):
            fetch(url, tmp_path, rules, NOWHERE, CancelToken())
    assert list(tmp_path.iterdir()) == []


def test_the_rules_are_the_operators() -> None:
    settings = Settings(url_ingest=True, url_hosts="A.example", url_timeout_s=5, max_file_size_mb=1)
    assert ingest_rules(settings) == IngestRules(True, ("a.example",), 1 << 20, 5)


@pytest.mark.parametrize(
    "url", ["https://media.example.org/x?y=z", "https://MEDIA.example.ORG/", "https://cdn.eu.example.net/x"]
)
def test_hosts_on_the_list_are_asked(url: str) -> None:
    assert check_source(url, RULES, NOWHERE).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/", "https://example.net/", "https://media.example.org.evil.test/",
        "https://evil.test/media.example.org", "https://evil.test#@media.example.org",
        "https://evil.test?@media.example.org/", "https://evilexample.net/", "https://1.1.1.1/",
    ],
)  # fmt: skip
def test_other_hosts_are_not(url: str) -> None:
    with pytest.raises(UrlHostRefused):
        check_source(url, RULES, NOWHERE)


@pytest.mark.parametrize(
    "url",
    [
        "http://media.example.org/", "https://media.example.org@evil.test/", "https://media.example.org./",
        "https://evil.test\\@media.example.org/", "https://media.example.org\r\n.evil.test/",
        "https://evil.test\u3002example.net@x/", "",
    ],
)  # fmt: skip
def test_a_listed_host_in_a_bad_url_does_not_help(url: str) -> None:
    with pytest.raises(UrlRefused):
        check_source(url, RULES, NOWHERE)


def test_a_listed_address_must_be_reachable_all_the_same() -> None:
    with pytest.raises(UrlAddressRefused):
        check_source("https://10.0.0.1/", RULES, NOWHERE)


def test_no_refusal_repeats_more_of_the_url_than_its_host() -> None:
    for url in (
        "https://evil.test/canary?canary#canary", "https://canary:canary@media.example.org/", "http://x/canary",
        "https://media.example.org:canary/", "https://[canary]/", "https://media.example.org/ canary",
        "https://10.0.0.1/canary?canary",
    ):  # fmt: skip
        with pytest.raises(UrlRefused) as refused:
            check_source(url, RULES, NOWHERE)
        assert "canary" not in str(refused.value) + str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="song.flac"', "song.flac"),
        ("attachment; filename=song.flac; size=3", "song.flac"),
        ("attachment; filename=\"plain.flac\"; filename*=UTF-8''%E2%99%AB%20song.flac", "♫ song.flac"),
        ("attachment; filename*=utf-8'en'%E2%99%AB.flac; filename=plain.flac", "♫.flac"),
        ("attachment; filename*=iso-8859-1''%A3.mp3", "£.mp3"),
        ('attachment; FileName = "a\\"b\\\\c.mp3"', "c.mp3"),
        ('attachment; filename="♫.mp3"'.encode(), "♫.mp3"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\music\\\\song.mp3"', "song.mp3"),
        ("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("attachment; filename*=UTF-8''a%0Ab%00c%E2%80%AEd%1Be.mp3", "a�b�c�d�e.mp3"),
        ("attachment; filename*=UTF-8''%FF%FE.mp3", "��.mp3"),
        ("attachment; filename*=utf-7''+2AA-.mp3", "take 1.wav"),
        ('attachment; filename=""', "take 1.wav"),
        ('attachment; filename="/"', "take 1.wav"),
        ("inline", "take 1.wav"),
        (None, "take 1.wav"),
    ],
)
def test_the_name_is_what_the_server_calls_the_file(disposition: str | bytes | None, name: str) -> None:
    assert file_name(answer(disposition, "https://a.example/b/take%201.wav?filename=c.mp3")) == name


def test_a_nameless_file_has_a_name_too() -> None:
    assert file_name(answer(None)) == "recording"


def test_the_end_of_a_long_name_is_kept() -> None:
    assert file_name(answer(f'attachment; filename="{"x" * 3000}.flac"')) == "x" * 250 + ".flac"


@given(st.text(max_size=60), st.sampled_from(["filename=", 'filename="', "filename*=UTF-8''", ""]))
def test_whatever_a_server_says_the_name_is_harmless(text: str, before: str) -> None:
    said = (before + text).replace("\r", "").replace("\n", "").encode("utf-8", "replace")
    name = file_name(answer(said))
    assert 0 < len(name) <= 255 and name.isprintable() and "/" not in name and "\\" not in name
    assert name.encode()


def test_ingest_without_a_list_of_hosts_does_not_start() -> None:
    with pytest.raises(SettingsInvalid, match=r"^PIPELINE_URL_HOSTS: should name the hosts"):
        load_settings({"PIPELINE_URL_INGEST": "on"})
    with pytest.raises(SettingsInvalid, match=r"^PIPELINE_URL_HOSTS='.*': should read like"):
        load_settings({"PIPELINE_URL_INGEST": "on", "PIPELINE_URL_HOSTS": "media.example.org, *"})
    settings = load_settings(
        {"PIPELINE_URL_INGEST": "on", "PIPELINE_URL_HOSTS": "Media.example.org,*.a.test"}
    )
    assert ingest_rules(settings).hosts == ("media.example.org", "*.a.test")


def test_ports_that_do_not_exist_do_not_start() -> None:
    assert load_settings({"PIPELINE_OUTBOUND_PORTS": "443, 8443"}).outbound_ports == (443, 8443)
    for ports in ("0", "65536", "https"):
        with pytest.raises(SettingsInvalid, match=r"^PIPELINE_OUTBOUND_PORTS="):
            load_settings({"PIPELINE_OUTBOUND_PORTS": ports})
