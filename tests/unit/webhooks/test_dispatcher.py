"""Messages on their way to real receivers."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from api.errors import UrlAddressRefused, UrlRefused
from api.outbound import Outbound
from api.webhooks.dispatcher import Dispatcher
from api.webhooks.model import DeliveryStatus
from api.webhooks.sender import Sender, check_webhook_url
from api.webhooks.store import LEASE_S
from tests.service import free_port
from tests.webhook_receiver import Got, Receiver, Reply
from tests.webhook_stores import HERE, Stores


def test_a_receiver_can_verify_what_it_gets(stores: Stores) -> None:
    with Receiver() as receiver:
        job = stores.ended(webhook_url=receiver.url + "?token=1")
        assert stores.dispatcher().round() == 1
    (got,) = receiver.got
    message = got.verified(stores.secrets().of("anna").text)
    assert (message["type"], message["data"]["id"]) == ("job.succeeded", job.id)
    delivery = stores.delivery(job)
    assert (delivery.status, delivery.id) == (DeliveryStatus.DELIVERED, got.webhook_id)
    assert got.path == "/hook?token=1"
    assert got.headers["content-type"] == "application/json"
    assert not {"cookie", "authorization", "x-api-key", "referer"} & set(got.headers)


def test_a_receiver_that_fails_once_gets_it_again_with_a_new_signature(stores: Stores) -> None:
    with Receiver([500, 204]) as receiver:
        job = stores.ended(webhook_url=receiver.url)
        assert [stores.dispatcher(seconds).round() for seconds in (0, 1, 6)] == [1, 0, 1]
    first, second = receiver.got
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 6
    for got in receiver.got:
        got.verified(stores.secrets().of("anna").text)
    assert [one.status_code for one in stores.delivery(job).attempts] == [500, 204]


def test_after_a_rotation_both_secrets_verify(stores: Stores) -> None:
    old, new = stores.secrets().of("anna").text, stores.secrets().rotate("anna").text
    with Receiver() as receiver:
        stores.ended(webhook_url=receiver.url)
        stores.dispatcher().round()
    assert receiver.got[0].verified(old) == receiver.got[0].verified(new)


@pytest.mark.parametrize("status", [300, 400, 401, 404, 408, 429, 500, 502, 503, 504])
def test_whatever_is_not_2xx_is_tried_again(stores: Stores, status: int) -> None:
    with Receiver([status]) as receiver:
        job = stores.ended(webhook_url=receiver.url)
        stores.dispatcher().round()
    assert stores.delivery(job).status is DeliveryStatus.PENDING


@pytest.mark.parametrize(
    ("reply", "due"),
    [
        ((429, {"retry-after": "900"}), 900),
        ((503, {"retry-after": "900"}), 900),
        ((500, {"retry-after": "900"}), 5),
        ((503, {"retry-after": "999999999999"}), 86400),
    ],
)
def test_a_receiver_may_ask_to_be_left_alone(stores: Stores, reply: Reply, due: float) -> None:
    with Receiver([reply]) as receiver:
        stores.ended(webhook_url=receiver.url)
        stores.dispatcher().round()
    assert [len(stores.at(due + more).claim(8)) for more in (-1, 1)] == [0, 1]


def test_a_receiver_that_is_gone_gets_nothing_more(stores: Stores) -> None:
    with Receiver([410]) as receiver:
        jobs = [stores.ended(webhook_url=receiver.url), stores.ended(webhook_url=receiver.url)]
        assert [stores.dispatcher().round(1), stores.dispatcher().round(1)] == [1, 0]
    assert {stores.delivery(job).status for job in jobs} == {DeliveryStatus.DISABLED}
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(stores: Stores, status: int) -> None:
    with Receiver() as elsewhere, Receiver([(status, {"location": elsewhere.url})]) as receiver:
        job = stores.ended(webhook_url=receiver.url)
        stores.dispatcher().round()
    assert (stores.delivery(job).status, elsewhere.got) == (DeliveryStatus.PENDING, [])
    assert stores.delivery(job).attempts[0].status_code == status


def test_a_receiver_that_is_down_is_tried_again(stores: Stores) -> None:
    job = stores.ended(webhook_url=f"http://127.0.0.1:{free_port()}/")
    stores.dispatcher().round()
    assert (stores.delivery(job).status, stores.delivery(job).attempts[0].error) == (
        DeliveryStatus.PENDING,
        "url_unreachable",
    )


def test_a_receiver_that_says_nothing_is_not_waited_for(stores: Stores) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        job = stores.ended(webhook_url=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        stores.dispatcher(timeout_s=0.2).round()
    assert stores.delivery(job).attempts[0].error == "url_timed_out"


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"])
def test_a_receiver_that_speaks_no_http_is_tried_again(stores: Stores, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        job = stores.ended(webhook_url=f"http://127.0.0.1:{server.getsockname()[1]}/")
        stores.dispatcher().round()
        thread.join()
    assert stores.delivery(job).status is DeliveryStatus.PENDING
    assert stores.delivery(job).attempts[0].error in {"url_broken", "url_timed_out"}


def test_an_answer_without_an_end_is_not_read(stores: Stores) -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                asked.wait(60)

        thread = threading.Thread(target=answer)
        thread.start()
        job = stores.ended(webhook_url=f"http://127.0.0.1:{server.getsockname()[1]}/")
        stores.dispatcher().round()
        asked.set()
        thread.join()
    assert stores.delivery(job).status is DeliveryStatus.DELIVERED


def test_an_address_that_is_not_public_is_never_reached(stores: Stores) -> None:
    """Also one that was let through when the job was submitted, or is found behind a name only now."""
    with Receiver() as receiver:
        port = receiver.url.rpartition(":")[2]
        jobs = [
            stores.ended(webhook_url=receiver.url),
            stores.ended(webhook_url=f"https://name.example:{port}", owner="bert"),
        ]
        guarded = Outbound(ports=[int(port.partition("/")[0])], resolve=lambda *_: ["127.0.0.1"])
        Dispatcher(stores.at(0.0), Sender(guarded, stores.secrets(), 15.0)).round()
    assert receiver.got == []
    assert {stores.delivery(job).attempts[0].error for job in jobs} == {"url_address_refused"}


def test_a_url_that_should_not_have_been_accepted_is_judged_anew(stores: Stores) -> None:
    with Receiver() as receiver:
        job = stores.ended(webhook_url=receiver.url.replace("//", "//user:password@"))
        stores.dispatcher().round()
    assert (receiver.got, stores.delivery(job).attempts[0].error) == ([], "url_refused")


def test_a_receiver_that_can_never_be_reached_is_refused_at_once() -> None:
    public = Outbound()
    assert check_webhook_url(public, "https://a.example/h?k=1#part") == "https://a.example/h?k=1"
    assert check_webhook_url(HERE, "http://127.0.0.1:9/h") == "http://127.0.0.1:9/h"
    for url in (
        "http://a.example/",
        "https://u:p@a.example/",
        "https://a.example/\r\nx: y",
        "ftp://a.example",
    ):
        with pytest.raises(UrlRefused):
            check_webhook_url(public, url)
    for url in ("https://127.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "https://a.example:22/"):
        with pytest.raises(UrlAddressRefused):
            check_webhook_url(public, url)


def test_a_claim_that_has_become_old_in_a_frozen_process_is_not_used(stores: Stores) -> None:
    with Receiver() as receiver:
        job = stores.ended(webhook_url=receiver.url)
        clock = iter([0.0, LEASE_S])
        Dispatcher(stores.at(0.0), Sender(HERE, stores.secrets(), 15.0), clock=lambda: next(clock)).round()
        assert (receiver.got, stores.delivery(job).status) == ([], DeliveryStatus.SENDING)
        assert stores.dispatcher(LEASE_S + 1).round() == 1
    assert len(receiver.got) == 1


def test_no_log_line_holds_a_query_or_a_secret(
    stores: Stores, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "api")
    with Receiver() as receiver:
        stores.ended(webhook_url=receiver.url + "?token=geheim")
        stores.ended(webhook_url=f"http://127.0.0.1:{free_port()}/?token=geheim", owner="bert")
        stores.ended(webhook_url="https://name..example/?token=geheim", owner="carl")
        stores.dispatcher().round()
    said = capsys.readouterr().out + caplog.text
    assert said.count("webhook attempted") == 3
    assert not [one for one in ("geheim", stores.secrets().of("anna").text[6:]) if one in said]


def test_a_slow_receiver_holds_up_no_other(stores: Stores) -> None:
    release = threading.Event()

    def hold(_: Got) -> None:
        assert release.wait(60)

    with Receiver(before=hold) as slow, Receiver() as quick:
        for _ in range(6):
            stores.ended(webhook_url=slow.url)
        job = stores.ended(webhook_url=quick.url)
        dispatcher = stores.dispatcher()
        dispatcher.start()
        quick.wait_for(1)
        assert len(slow.got) <= 2
        release.set()
        slow.wait_for(6)
        dispatcher.stop()
        assert stores.delivery(job).status is DeliveryStatus.DELIVERED
    assert len({got.webhook_id for got in slow.got}) == 6


def test_a_stop_waits_for_the_answer_to_what_was_sent(stores: Stores) -> None:
    arrived, release = threading.Event(), threading.Event()

    def hold(_: Got) -> None:
        arrived.set()
        assert release.wait(60)

    with Receiver(before=hold) as receiver:
        job = stores.ended(webhook_url=receiver.url)
        dispatcher = stores.dispatcher()
        dispatcher.start()
        assert arrived.wait(60)
        stopping = threading.Thread(target=dispatcher.stop)
        stopping.start()
        release.set()
        stopping.join()
    assert stores.delivery(job).status is DeliveryStatus.DELIVERED


def test_two_dispatchers_send_nothing_twice(stores: Stores) -> None:
    with Receiver() as receiver:
        for n in range(20):
            stores.ended(webhook_url=f"{receiver.url}?{n}", owner=f"owner{n % 5}")
        dispatchers = [stores.dispatcher(), stores.dispatcher()]
        for dispatcher in dispatchers:
            dispatcher.start()
        receiver.wait_for(20)
        for dispatcher in dispatchers:
            dispatcher.stop()
    assert len({got.webhook_id for got in receiver.got}) == len(receiver.got) == 20
