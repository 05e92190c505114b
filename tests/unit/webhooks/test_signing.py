"""Signatures and the secrets that make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from api.security.secret import ServerSecret
from api.webhooks.signing import OwnerSecrets, signed_headers
from tests.webhook_stores import Stores

DAY = 86400.0


def test_a_signature_is_what_the_standard_says_it_is() -> None:
    # The example that the standard's own libraries test themselves with.
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330.9,
        '{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_signature_can_be_made_by_hand(stores: Stores) -> None:
    secret = stores.secrets().of("anna").text
    headers = signed_headers([secret], "id", 1000.0, "body")
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    by_hand = base64.b64encode(hmac.digest(key, b"id.1000.body", hashlib.sha256)).decode()
    assert len(key) == 32  # The standard asks for 24 to 64 bytes.
    assert headers["webhook-signature"] == f"v1,{by_hand}"


def test_each_owner_has_a_secret_of_his_own_that_stays(stores: Stores) -> None:
    anna = stores.secrets().of("anna")
    assert anna == stores.secrets(400 * DAY).of("anna")
    assert anna.previous is None
    others = [stores.secrets().of(name).text for name in ("bert", "anna:", ":anna", "1:anna")]
    assert len({anna.text, *others}) == 5


def test_another_server_has_other_secrets(stores: Stores) -> None:
    other = OwnerSecrets(stores.engine, ServerSecret(b"t" * 32))
    assert other.of("anna").text != stores.secrets().of("anna").text


def test_a_message_convinces_with_the_old_and_the_new_secret_for_a_day(stores: Stores) -> None:
    old = stores.secrets().of("anna").text
    rotated = stores.secrets().rotate("anna")
    assert (rotated.previous, rotated.text != old) == (old, True)
    headers = signed_headers(stores.secrets(DAY - 60).of("anna").signing, "id", time.time(), "{}")
    for secret in (old, rotated.text):
        Webhook(secret).verify(b"{}", headers)
    headers = signed_headers(stores.secrets(DAY + 60).of("anna").signing, "id", time.time(), "{}")
    Webhook(rotated.text).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(b"{}", headers)


def test_rotating_twice_ends_a_stolen_secret_at_once(stores: Stores) -> None:
    stolen = stores.secrets().of("anna").text
    stores.secrets().rotate("anna")
    assert stolen not in stores.secrets().rotate("anna").signing


def test_rotating_changes_nobody_elses(stores: Stores) -> None:
    before = stores.secrets().of("bert")
    stores.secrets().rotate("anna")
    assert stores.secrets().of("bert") == before


def test_no_secret_is_in_the_database_or_in_what_is_printed(stores: Stores) -> None:
    secret = stores.secrets().rotate("anna")
    with stores.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM webhook_secrets")).all()
    assert rows[0][:2] == ("anna", 2)
    shown = f"{rows} {secret!r} {secret}"
    assert not [one for one in secret.signing if one.removeprefix("whsec_") in shown]
