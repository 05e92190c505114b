"""The headers of tus, well-meant and hostile."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import InvalidRequest, LengthRequired, TusVersionUnsupported
from api.uploads.headers import (
    check_version,
    upload_checksum,
    upload_filename,
    upload_length,
    upload_offset,
)


def coded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def test_another_version_or_none_is_refused() -> None:
    check_version({"tus-resumable": "1.0.0"})
    for headers in ({}, {"tus-resumable": "0.2.2"}):
        with pytest.raises(TusVersionUnsupported):
            check_version(headers)


def test_a_length_is_a_number_of_bytes() -> None:
    assert upload_length({"upload-length": "0"}) == 0
    assert upload_length({"upload-length": "524288000"}) == 500 << 20


@pytest.mark.parametrize("said", ["", "-1", "+1", "1.0", "1e3", "0x10", "²", "٣", " 1", "9" * 19, "1\n"])
def test_a_number_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(InvalidRequest):
        upload_length({"upload-length": said})
    with pytest.raises(InvalidRequest):
        upload_offset({"upload-offset": said})


def test_an_upload_of_unknown_length_is_refused() -> None:
    with pytest.raises(LengthRequired):
        upload_length({"upload-defer-length": "1"})


def test_an_upload_made_of_others_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        upload_length({"upload-length": "1", "upload-concat": "partial"})


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ("", ""),
        ("is_confidential", ""),
        (f"filename {coded('söng.wav'.encode())},filetype {coded(b'audio/wav')}", "söng.wav"),
        (f"name {coded(b'a.wav')}", "a.wav"),
        (f"filename {coded(b'a.wav')}, empty", "a.wav"),
        (f"filename {coded(b'../../etc/passwd')}", "../../etc/passwd"),
        (f"filename {coded(bytes([0xFF, 0x61]))}", "\N{REPLACEMENT CHARACTER}a"),
    ],
)
def test_a_file_name_comes_in_base64(metadata: str, name: str) -> None:
    assert upload_filename(metadata) == name


@pytest.mark.parametrize(
    "metadata",
    ["filename a.wav", "filename !!!!", "filename YQ", "a  YQ==", "naïve YQ==", ",", f"filename {'A' * 4096}",
     "filename YQ==,filename Yg=="],
)  # fmt: skip
def test_metadata_that_is_none_is_refused(metadata: str) -> None:
    with pytest.raises(InvalidRequest):
        upload_filename(metadata)


@given(st.text(max_size=60))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for read in (upload_filename, lambda said: upload_checksum({"upload-checksum": said})):
        try:
            read(text)
        except InvalidRequest:
            continue


def test_a_checksum_names_its_algorithm() -> None:
    assert upload_checksum({}) is None
    read = upload_checksum({"upload-checksum": f"sha1 {coded(b'x' * 20)}"})
    assert read is not None
    assert (read.algorithm, read.digest) == ("sha1", b"x" * 20)


@pytest.mark.parametrize("said", ["sha1", "sha1 ", "sha1 !", "md5 YQ==", "shake_128 YQ==", "SHA1 YQ=="])
def test_a_checksum_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(InvalidRequest):
        upload_checksum({"upload-checksum": said})
