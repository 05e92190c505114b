"""Servers that fail, lie, stall and send the wrong thing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Cancelled, DiskFull
from pipeline.progress import CancelToken
from pipeline.weights.download import Patience, download
from pipeline.weights.part import PartFile
from pipeline.weights.spec import PinnedFile
from pipeline.weights.transfer import Absent, FetchProgress, SourceFailed, Transfer, WrongBytes
from tests.weights_support import Fault, Handler, WeightsServer, body, drop_after, noise, pin, status

CONTENT = noise(300_000)
NAME = "weights.safetensors"


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    with WeightsServer({NAME: CONTENT}) as running:
        yield running


class Client:
    """Downloads without waiting between attempts, and remembers the pauses it would have made."""

    def __init__(self, server: WeightsServer, folder: Path) -> None:
        self.server, self.target, self.pauses = server, folder / NAME, list[float]()
        self.steps: list[FetchProgress] = []
        self.cancel = CancelToken()

    def get(self, *pins: PinnedFile, name: str = NAME, ticks: Iterator[float] | None = None) -> Path:
        clock = ticks.__next__ if ticks else lambda: 0.0
        patience = Patience(clock=clock, pause=self.pauses.append)
        transfer = Transfer("tiny", self.cancel, self.steps.append).of("the test server")
        with PartFile(self.target, pins or [pin(NAME, CONTENT)]) as part:
            return download(f"{self.server.url}/{name}", part, transfer, patience)

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.target.parent.iterdir())


@pytest.fixture
def client(server: WeightsServer, tmp_path: Path) -> Client:
    return Client(server, tmp_path)


def test_a_file_arrives_under_its_name_and_progress_counts_its_bytes(client: Client) -> None:
    assert client.get().read_bytes() == CONTENT
    assert client.left == [NAME]
    received = [step.received_bytes for step in client.steps]
    assert received == sorted(received)
    assert received[-1] == client.steps[-1].total_bytes == len(CONTENT)
    assert client.steps[-1].source == "the test server"


def test_a_broken_download_goes_on_where_it_stopped(client: Client, server: WeightsServer) -> None:
    server.faults[NAME] = [drop_after(100_000), drop_after(50_000)]
    assert client.get().read_bytes() == CONTENT
    assert server.requests == [(NAME, 0), (NAME, 100_000), (NAME, 150_000)]
    assert len(client.pauses) == 2


def test_what_an_earlier_process_left_is_taken_up(client: Client, server: WeightsServer) -> None:
    client.target.with_name(f"{NAME}.part").write_bytes(CONTENT[:123_456])
    assert client.get().read_bytes() == CONTENT
    assert server.requests == [(NAME, 123_456)]


def test_a_process_that_died_just_before_the_rename_left_nothing_to_fetch(
    client: Client, server: WeightsServer
) -> None:
    client.target.with_name(f"{NAME}.part").write_bytes(CONTENT)
    assert client.get().read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("size", [100_000, len(CONTENT), len(CONTENT) + 5])
def test_a_leftover_of_another_file_is_thrown_away(client: Client, server: WeightsServer, size: int) -> None:
    client.target.with_name(f"{NAME}.part").write_bytes(noise(size, seed=1))
    assert client.get().read_bytes() == CONTENT
    assert server.requests[-1] == (NAME, 0)


def test_a_file_that_is_replaced_on_the_server_in_between_is_fetched_as_a_whole(
    client: Client, server: WeightsServer
) -> None:
    def older(handler: Handler) -> None:
        handler.answer(200, noise(len(CONTENT), seed=4), sent=100_000)

    server.faults[NAME] = [older]
    assert client.get().read_bytes() == CONTENT
    assert server.requests == [(NAME, 0), (NAME, 100_000), (NAME, 0)]


def test_a_server_without_ranges_sends_everything_again(client: Client, server: WeightsServer) -> None:
    server.faults[NAME] = [drop_after(100_000), body(CONTENT)]
    assert client.get().read_bytes() == CONTENT
    assert server.requests == [(NAME, 0), (NAME, 100_000)]


def test_a_server_that_sends_another_range_than_asked_is_asked_again_from_the_start(
    client: Client, server: WeightsServer
) -> None:
    def from_elsewhere(handler: Handler) -> None:
        span = f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"
        handler.answer(206, CONTENT[handler.start :], {"Content-Range": span})

    server.faults[NAME] = [drop_after(100_000), from_elsewhere]
    assert client.get().read_bytes() == CONTENT
    assert server.requests == [(NAME, 0), (NAME, 100_000), (NAME, 0)]


def test_a_server_that_refuses_the_range_is_asked_again_from_the_start(
    client: Client, server: WeightsServer
) -> None:
    server.faults[NAME] = [drop_after(100_000), status(416)]
    assert client.get().read_bytes() == CONTENT
    assert server.requests[-1] == (NAME, 0)


@pytest.mark.parametrize("code", [500, 502, 503, 429])
def test_a_busy_server_is_asked_again_with_growing_pauses(
    client: Client, server: WeightsServer, code: int
) -> None:
    server.faults[NAME] = [status(code), status(code), status(code)]
    assert client.get().read_bytes() == CONTENT
    assert client.pauses == [0.5, 1.0, 2.0]


def test_a_server_that_stays_broken_is_given_up(client: Client, server: WeightsServer) -> None:
    server.faults[NAME] = [status(500)] * 100
    with pytest.raises(SourceFailed, match=r"answered 500 \(6 attempts\)"):
        client.get()
    assert len(server.requests) == 6
    assert client.left == []


def test_a_file_that_is_not_there_is_not_asked_for_twice(client: Client, server: WeightsServer) -> None:
    with pytest.raises(Absent, match="answered 404"):
        client.get(name="other")
    assert server.requests == [("other", 0)]
    assert client.left == []


def test_a_server_that_is_not_there_is_given_up_at_once(tmp_path: Path) -> None:
    with WeightsServer() as server:
        pass
    client = Client(server, tmp_path)
    with pytest.raises(SourceFailed, match="cannot be reached"):
        client.get()
    assert client.pauses == []
    assert client.left == []


def test_a_redirect_is_followed_and_may_be_resumed(client: Client, server: WeightsServer) -> None:
    def moved(handler: Handler) -> None:
        handler.answer(302, b"", {"Location": f"{server.url}/elsewhere/{NAME}"})

    server.faults[NAME] = [moved, drop_after(100_000), moved]
    assert client.get().read_bytes() == CONTENT
    assert [start for _, start in server.requests] == [0, 0, 100_000, 100_000]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (body(b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8"), "web page"),
        (body(b"<html>" * 50_000, Content_Type="text/html"), "web page"),
        (body(CONTENT[:-1]), "offers 299999 bytes instead of 300000"),
        (body(noise(len(CONTENT), seed=2)), "another hash than registered"),
        (body(CONTENT + b"x", Content_Length="", Connection="close"), "more than the expected 300000 bytes"),
        (status(418), "answered 418"),
    ],
    ids=["log-in page", "page of the right size", "short file", "wrong bytes", "one byte too many", "teapot"],
)
def test_anything_else_than_the_file_is_refused_and_leaves_nothing(
    client: Client, server: WeightsServer, fault: Fault, message: str
) -> None:
    server.faults[NAME] = [fault]
    with pytest.raises(SourceFailed, match=message):
        client.get()
    assert client.left == []
    assert server.requests == [(NAME, 0)]


def test_a_server_that_never_stops_sending_is_cut_off_at_the_registered_size(
    client: Client, server: WeightsServer
) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(CONTENT)

    server.faults[NAME] = [endless]
    with pytest.raises(WrongBytes, match="more than the expected"):
        client.get()
    assert client.left == []
    assert client.steps[-1].received_bytes <= len(CONTENT)


def test_a_trickle_is_cut_off_and_taken_up_again(client: Client, server: WeightsServer) -> None:
    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        for at in range(0, len(CONTENT), 10):
            handler.wfile.write(CONTENT[at : at + 10])

    server.faults[NAME] = [trickle] * 2
    # Every look at the clock is half an hour later: no server is fast enough for that.
    half_hours = itertools.count(0.0, 1800.0)
    with pytest.raises(SourceFailed, match="sends less than 16 KiB/s"):
        client.get(ticks=half_hours)
    assert client.left == [f"{NAME}.part"]
    assert client.get().read_bytes() == CONTENT


def test_a_file_of_which_two_versions_are_accepted_may_be_either(
    client: Client, server: WeightsServer
) -> None:
    shorter = noise(200_000, seed=3)
    server.files[NAME] = shorter
    assert client.get(pin(NAME, CONTENT), pin(NAME, shorter)).read_bytes() == shorter


def test_a_cancel_takes_effect_in_mid_download_and_the_rest_can_be_fetched_later(
    client: Client, server: WeightsServer
) -> None:
    client.steps = Stopping(client.cancel)
    with pytest.raises(Cancelled):
        client.get()
    assert client.left == [f"{NAME}.part"]
    client.cancel, client.steps = CancelToken(), []
    assert client.get().read_bytes() == CONTENT
    assert server.requests[-1][1] > 0


class Stopping(list[FetchProgress]):
    """Cancels once something has arrived."""

    def __init__(self, cancel: CancelToken) -> None:
        super().__init__()
        self.cancel = cancel

    def append(self, step: FetchProgress) -> None:
        self.cancel.cancel()


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(client: Client, server: WeightsServer) -> None:
    with pytest.raises(DiskFull, match="needs 1152921504607 MB"):
        client.get(PinnedFile(NAME, 1 << 60, "sha256:00"))
    assert client.left == []
    assert server.requests == []
