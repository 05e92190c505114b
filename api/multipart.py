"""Reads a multipart form as it comes in: its file goes straight to the disk, and is hashed on the way."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.errors import InvalidRequest
from pipeline.scratch import disk_errors

FILE_FIELD: Final = "file"
_MOST_FIELDS: Final = 32
_MOST_FIELD_BYTES: Final = 64 << 10
_LONGEST_BOUNDARY: Final = 70
"""RFC 2046, section 5.1.1."""
_HOW: Final = "curl -F file=@song.mp3 does it."


class FormReader:
    """Takes a form with one file, piece by piece. A context manager.

    Args:
        content_type: the request's, with the boundary.
        target: where the file goes.

    Attributes:
        fields: every other field, in order.
        filename: as the client gave it, hostile or empty; None while there was no file.

    Raises:
        InvalidRequest: there is no boundary.
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """

    def __init__(self, content_type: str, target: Path) -> None:
        self.fields: list[tuple[str, str]] = []
        self.filename: str | None = None
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 1 <= len(boundary) <= _LONGEST_BOUNDARY:
            raise InvalidRequest("The multipart body has no usable boundary.", _HOW)
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )
        self._digest = hashlib.sha256()
        self._ended = False
        self._begin_part()
        with disk_errors("the uploads folder"):
            self._file = target.open("wb")

    @property
    def sha256(self) -> str:
        """Hash of the file, lower-case hex."""
        return self._digest.hexdigest()

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            InvalidRequest: it is no multipart form, or one that this service does not take.
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        try:
            with disk_errors("the uploads folder"):
                self._parser.write(piece)
        except MultipartParseError as exc:
            raise InvalidRequest(f"The multipart body is broken: {exc}.", "Send it again.") from exc

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            InvalidRequest: it broke off.
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        if not self._ended:
            raise InvalidRequest("The multipart body breaks off before its end.", "Send it again.")
        with disk_errors("the uploads folder"):
            self._file.flush()

    def _begin_part(self) -> None:
        self._name = ""
        self._is_file = False
        self._headers: dict[str, str] = {}
        self._header = [b"", b""]
        self._value = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _end_header(self) -> None:
        name, value = (part.decode("utf-8", "replace") for part in self._header)
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _end_headers(self) -> None:
        # The parser of options takes the text for Latin-1, as WSGI does: what browsers send is UTF-8.
        said = self._headers.get("content-disposition", "").encode().decode("latin-1")
        kind, options = parse_options_header(said)
        if kind != b"form-data" or b"name" not in options:
            raise InvalidRequest("A part of the multipart body has no name.", _HOW)
        self._name = options[b"name"].decode("utf-8", "replace")
        filename = options.get(b"filename")
        if self._name == FILE_FIELD and filename is not None:
            if self.filename is not None:
                raise InvalidRequest("There are several files.", "Send one request for each recording.")
            # Clients write a quotation mark so: HTML, section 4.10.21.8 (multipart form data).
            self._is_file, self.filename = True, filename.replace(b"%22", b'"').decode("utf-8", "replace")
        elif filename is not None:
            raise InvalidRequest(f"The file must be the field `{FILE_FIELD}`.", _HOW)
        elif len(self.fields) == _MOST_FIELDS:
            raise InvalidRequest(f"There are more than {_MOST_FIELDS} fields.", "See /docs for the fields.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        piece = memoryview(data)[start:end]
        if self._is_file:
            self._digest.update(piece)
            self._file.write(piece)
            return
        self._value += piece
        if len(self._value) > _MOST_FIELD_BYTES:
            raise InvalidRequest(f"A field holds more than {_MOST_FIELD_BYTES >> 10} KB.", "See /docs.")

    def _end_part(self) -> None:
        if not self._is_file:
            self.fields.append((self._name, self._value.decode("utf-8", "replace")))

    def _end(self) -> None:
        self._ended = True

    def __enter__(self) -> FormReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # `finish` has flushed, or the file is not wanted.
            self._file.close()
