"""Who is told: URLs of apprise, with commas inside and between them, and nothing of them in any message."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.notifications.model import Kind
from api.notifications.receivers import receivers_of, secret_parts

ALL = frozenset(Kind)
MAIL = "mailtos://ops:pass-word-1@mail.example.org?from=a@example.org&to=b@example.org,c@example.org"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops"


@pytest.mark.parametrize("between", [",", ", ", " ", "\n", "\n\n  "])
def test_urls_stand_apart_by_commas_or_blanks_and_may_hold_commas(between: str) -> None:
    found = receivers_of(f" {MAIL}{between}{SLACK}\n")
    assert [(one.url, one.kinds) for one in found] == [(MAIL, ALL), (SLACK, ALL)]


def test_a_receiver_hears_what_he_asks_for() -> None:
    first, second = receivers_of(f"failures|admission={SLACK},summary={MAIL}")
    assert first.kinds == {Kind.FAILURES, Kind.ADMISSION}
    assert second.kinds == {Kind.SUMMARY}
    assert (first.url, second.url) == (SLACK, MAIL)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "number 1 should read like"),
        ("ops@example.org", "number 1 should read like"),
        (f"{SLACK} canary-canary", "number 1 should read like"),
        (f"{SLACK} failure={MAIL}", "number 2 asks for failure; there are failures, summary, admission"),
    ],
)
def test_what_is_no_receiver_is_refused_without_being_shown(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        receivers_of(text)
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in str(caught.value)
    assert "canary" not in str(caught.value)


def test_tokens_and_passwords_are_known_as_secrets_and_what_is_shown_is_none() -> None:
    receivers = receivers_of(f"{MAIL} {SLACK} json://user:pass%2Dword-2@h/x")
    secrets = set(secret_parts(receivers))
    assert {"pass-word-1", "TIiajkdnlazkcOXrIdevi7FQ", "pass%2Dword-2", "pass-word-2", MAIL} <= secrets
    for receiver in receivers:
        assert not [secret for secret in secrets if secret in receiver.shown]
    assert receivers[1].shown.startswith("slack://… (")


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        ("", "PIPELINE_NOTIFY_URLS is not set"),
        ("canary-canary@example.org", "PIPELINE_NOTIFY_URLS: number 1 should read"),
    ],
)
def test_the_command_says_what_is_wrong_with_the_setting(urls: str, says: str) -> None:
    done = CliRunner().invoke(app, ["notify", "test"], env={"PIPELINE_NOTIFY_URLS": urls})
    assert done.exit_code == 2
    assert says in done.output
    assert "canary" not in done.output
