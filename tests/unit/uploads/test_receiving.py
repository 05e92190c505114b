"""Pieces that come in: broken off, overtaken, stalled."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from api.errors import (
    ChecksumMismatch,
    OffsetMismatch,
    PayloadTooLarge,
    UploadBusy,
    UploadStalled,
    UploadUnknown,
)
from api.uploads.receiving import Receiver
from api.uploads.writer import Checksum


async def parts(*content: bytes) -> AsyncIterator[bytes]:
    for part in content:
        yield part


async def broken(*content: bytes) -> AsyncIterator[bytes]:
    for part in content:
        yield part
    raise ConnectionResetError


async def silent(first: bytes, begun: anyio.Event | None = None) -> AsyncIterator[bytes]:
    """Some bytes, and then nothing for ever."""
    yield first
    if begun is not None:
        begun.set()
    await anyio.sleep_forever()


def content(shelf: Any, upload_id: str) -> bytes:
    read: bytes = (shelf.place(upload_id) / "data").read_bytes()
    return read


def test_what_came_before_the_connection_broke_is_kept(shelf: Any) -> None:
    upload_id = shelf.begun()
    receiver = Receiver(shelf.uploads)

    async def go() -> None:
        with pytest.raises(ConnectionResetError):
            await receiver.receive("alice", upload_id, 0, broken(b"012", b"34"))
        assert shelf.uploads.get("alice", upload_id).offset == 5
        upload = await receiver.receive("alice", upload_id, 5, parts(b"56789"))
        assert upload.finished

    anyio.run(go)
    assert content(shelf, upload_id) == b"0123456789"


def test_a_piece_that_begins_elsewhere_is_refused(shelf: Any) -> None:
    upload_id = shelf.sent(b"0123", length=10)
    for offset in (0, 3, 5, 10**17):
        with pytest.raises(OffsetMismatch):
            anyio.run(Receiver(shelf.uploads).receive, "alice", upload_id, offset, parts(b"x"))
    assert content(shelf, upload_id) == b"0123"


def test_a_piece_that_is_too_long_is_refused_and_the_upload_goes_on(shelf: Any) -> None:
    upload_id = shelf.sent(b"0123", length=10)
    with pytest.raises(PayloadTooLarge):
        anyio.run(Receiver(shelf.uploads).receive, "alice", upload_id, 4, parts(b"4567890"))
    assert content(shelf, upload_id) == b"0123"
    anyio.run(Receiver(shelf.uploads).receive, "alice", upload_id, 4, parts(b"456789"))
    assert content(shelf, upload_id) == b"0123456789"


def test_a_piece_that_does_not_match_its_checksum_is_refused(shelf: Any) -> None:
    upload_id, receiver = shelf.begun(), Receiver(shelf.uploads)
    right = Checksum("sha256", hashlib.sha256(b"0123456789").digest())
    with pytest.raises(ChecksumMismatch):
        anyio.run(receiver.receive, "alice", upload_id, 0, parts(b"0123456780"), right)
    assert content(shelf, upload_id) == b""
    assert anyio.run(receiver.receive, "alice", upload_id, 0, parts(b"0123456789"), right).finished


def test_who_comes_last_has_the_upload(shelf: Any) -> None:
    upload_id, receiver = shelf.begun(), Receiver(shelf.uploads)
    refused: list[UploadBusy] = []

    async def first(begun: anyio.Event) -> None:
        try:
            await receiver.receive("alice", upload_id, 0, silent(b"01234", begun))
        except UploadBusy as exc:
            refused.append(exc)

    async def go() -> None:
        async with anyio.create_task_group() as both:
            begun = anyio.Event()
            both.start_soon(first, begun)
            await begun.wait()
            # What the first one had is not written yet: the second believes in 0, and is told better.
            with pytest.raises(OffsetMismatch):
                await receiver.receive("alice", upload_id, 0, parts(b"xxxxxxxxxx"))
        await receiver.receive("alice", upload_id, 5, parts(b"56789"))

    anyio.run(go)
    assert len(refused) == 1
    assert content(shelf, upload_id) == b"0123456789"


def test_an_upload_is_removed_from_under_who_sends_it(shelf: Any) -> None:
    upload_id, receiver = shelf.begun(), Receiver(shelf.uploads)

    async def go() -> None:
        async with anyio.create_task_group() as both:
            begun = anyio.Event()
            both.start_soon(_refused, receiver.receive("alice", upload_id, 0, silent(b"0", begun)))
            await begun.wait()
            await receiver.remove("alice", upload_id)
        with pytest.raises(UploadUnknown):
            await receiver.receive("alice", upload_id, 1, parts(b"1"))

    anyio.run(go)
    shelf.uploads.sweep()
    assert shelf.left() == []


async def _refused(call: Any) -> None:
    with pytest.raises(UploadBusy):
        await call


def test_another_owner_stops_nobody(shelf: Any) -> None:
    upload_id, receiver = shelf.begun(), Receiver(shelf.uploads)

    async def go() -> None:
        async with anyio.create_task_group() as both:
            begun = anyio.Event()
            both.start_soon(receiver.receive, "alice", upload_id, 0, silent(b"0", begun))
            await begun.wait()
            for call in (
                receiver.remove("bob", upload_id),
                receiver.receive("bob", upload_id, 0, parts(b"x")),
            ):
                with pytest.raises(UploadUnknown):
                    await call
            assert [*receiver._holders] == [upload_id]
            both.cancel_scope.cancel()

    anyio.run(go)
    assert content(shelf, upload_id) == b"0"


def test_a_request_that_is_cancelled_keeps_what_it_has(shelf: Any) -> None:
    upload_id, receiver = shelf.begun(length=3 << 20 >> 2), Receiver(shelf.uploads)

    async def go() -> None:
        async with anyio.create_task_group() as group:
            begun = anyio.Event()
            group.start_soon(receiver.receive, "alice", upload_id, 0, silent(b"x" * (1 << 19), begun))
            await begun.wait()
            group.cancel_scope.cancel()

    anyio.run(go)
    assert shelf.uploads.get("alice", upload_id).offset == 1 << 19
    shelf.uploads.open("alice", upload_id).close()


def test_what_came_before_a_body_stalled_is_kept(shelf: Any) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"01"
        raise UploadStalled("Nothing came.")

    upload_id = shelf.begun()
    with pytest.raises(UploadStalled):
        anyio.run(Receiver(shelf.uploads).receive, "alice", upload_id, 0, stalling())
    assert shelf.uploads.get("alice", upload_id).offset == 2
    shelf.uploads.open("alice", upload_id).close()


def test_many_who_send_one_upload_at_once_make_no_byte_that_nobody_sent(shelf: Any) -> None:
    whole = bytes(range(256)) * 1024
    upload_id, receiver = shelf.begun(length=len(whole)), Receiver(shelf.uploads)

    async def send() -> None:
        while not (upload := shelf.uploads.get("alice", upload_id)).finished:
            rest = whole[upload.offset :]
            try:
                pieces = (rest[i : i + 1000] for i in range(0, len(rest), 1000))
                await receiver.receive("alice", upload_id, upload.offset, _slowly(pieces))
            except (UploadBusy, OffsetMismatch):
                await anyio.sleep(0)

    async def go() -> None:
        async with anyio.create_task_group() as all_of_them:
            for _ in range(4):
                all_of_them.start_soon(send)

    anyio.run(go)
    assert content(shelf, upload_id) == whole


async def _slowly(pieces: Any) -> AsyncIterator[bytes]:
    for piece in pieces:
        await anyio.sleep(0)
        yield piece
