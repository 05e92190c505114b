from __future__ import annotations

import pytest

from api.batches.playlists import read_csv, read_m3u, read_pls, read_xspf
from api.errors import InvalidRequest

URLS = ["https://a.example.org/1.mp3", "https://a.example.org/two%20words.flac?x=1&y=2"]


def test_an_m3u_playlist_is_its_lines_without_comments() -> None:
    text = f"#EXTM3U\r\n#EXTINF:123,Anna - One\r\n{URLS[0]}\r\n\r\n  {URLS[1]}\n"
    assert read_m3u(text) == URLS


def test_the_segments_of_a_stream_are_no_recordings() -> None:
    with pytest.raises(InvalidRequest):
        read_m3u("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nhttps://a.example.org/1.ts\n")


def test_a_pls_playlist_is_read_in_the_order_of_its_numbers() -> None:
    text = f"[playlist]\nNumberOfEntries=2\nFile10={URLS[1]}\nTitle10=Two = %s\nFile2={URLS[0]}\nVersion=2\n"
    assert read_pls(text) == URLS
    for wrong in ("File1=x", "[other]\nFile1=x\n", "[playlist\n"):
        with pytest.raises(InvalidRequest):
            read_pls(wrong)


def test_an_xspf_playlist_is_the_first_location_of_each_track() -> None:
    escaped = URLS[1].replace("&", "&amp;")
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
        <playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>
        <track><location> {URLS[0]} </location><location>https://mirror.example.org/1.mp3</location></track>
        <track><title>Two</title><location>{escaped}</location></track>
        </trackList></playlist>"""
    assert read_xspf(text) == URLS


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><playlist xmlns="http://xspf.org/ns/0/"/>',
        "<playlist><trackList/></playlist>",
        "<playlist",
        "",
    ],
)
def test_what_is_no_plain_xspf_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_xspf(text)


def test_a_table_names_its_fields_in_the_first_line() -> None:
    text = 'url,stems,priority\r\nhttps://a/1,"vocals,drums",\r\n,,\r\nhttps://a/2,,3\r\n'
    assert read_csv(text, ["url", "stems", "priority"]) == [
        {"url": "https://a/1", "stems": "vocals,drums"},
        {"url": "https://a/2", "priority": "3"},
    ]


@pytest.mark.parametrize("text", ["", "uri\nhttps://a/1\n", "url,url\na,b\n", 'url\n"broken\n'])
def test_a_table_of_which_nothing_can_be_made_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_csv(text, ["url", "stems"])
