from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api import cli_audit, cli_keys
from api.audit import Audit
from api.security.keys import KeyStore
from api.security.principal import Quota, Scope
from api.security.secret import load_secret
from api.settings import Settings
from tests.guarded_app import open_tables

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder where the service has its data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    apps = {"keys": cli_keys.app, "audit": cli_audit.app}
    return lambda name, *args: CliRunner().invoke(apps[name], list(args))


def opened(tmp_path: Path) -> tuple[KeyStore, Audit]:
    engine, secret = open_tables(tmp_path / "data"), load_secret(Settings(data_dir=tmp_path / "data"))
    return KeyStore(engine, secret), Audit(engine, secret)


def test_a_key_that_is_made_is_printed_alone_on_standard_output(run: Run, tmp_path: Path) -> None:
    made = run(
        "keys", "create", "ci", "--scopes", "read,metrics", "--owner", "alice", "--quota", "jobs=5,minutes=2"
    )
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    principal = opened(tmp_path)[0].authenticate(key)
    assert (principal.owner, principal.scopes) == ("alice", frozenset([Scope.READ, Scope.METRICS]))
    assert principal.quota == Quota(5, 120.0)


def test_a_key_is_listed_without_being_shown_and_gone_when_revoked(run: Run, tmp_path: Path) -> None:
    made = json.loads(run("keys", "create", "ci", "--expires-days", "7", "--json").stdout)
    listed = run("keys", "list")
    assert made["id"] in listed.stdout and made["key"] not in listed.stdout
    assert run("keys", "revoke", made["id"]).exit_code == 0
    assert made["id"] not in run("keys", "list").stdout
    (entry,) = json.loads(run("keys", "list", "--all", "--json").stdout)
    assert entry["state"] == "revoked"
    actions = [(e.action, e.status) for e in opened(tmp_path)[1].entries()]
    assert actions == [("key.create", "done"), ("key.revoke", "done")]


def test_a_key_may_ask_for_a_priority_and_the_list_says_so(run: Run, tmp_path: Path) -> None:
    key = run("keys", "create", "urgent", "--priority", "5").stdout.strip()
    assert opened(tmp_path)[0].authenticate(key).max_priority == 5
    plain = run("keys", "create", "plain").stdout.strip()
    assert opened(tmp_path)[0].authenticate(plain).max_priority == 0
    listed = json.loads(run("keys", "list", "--json").stdout)
    assert {entry["name"]: entry["max_priority"] for entry in listed} == {"urgent": 5, "plain": 0}


@pytest.mark.parametrize(
    "args",
    [("create", "ci", "--priority", "10"), ("create", "ci", "--priority", "-1"),
     ("create", "ci", "--scopes", "fly"), ("create", "a/b"), ("create", "ci", "--quota", "jobs=many"),
     ("create", "ci", "--expires-days", "-1"), ("revoke", "0123")],
)  # fmt: skip
def test_what_makes_no_sense_is_told_in_a_line(run: Run, args: tuple[str, ...]) -> None:
    said = run("keys", *args)
    assert said.exit_code == 1
    assert said.stderr.startswith("error: ")
    assert "Traceback" not in said.output


def test_bad_settings_are_told_a_line_each(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "x")
    monkeypatch.setenv("PIPELINE_NONSENSE", "x")
    said = run("keys", "list")
    assert said.exit_code == 2
    assert len([line for line in said.stderr.splitlines() if line.startswith("error: ")]) == 2


def test_an_intact_log_says_where_it_ends_and_can_be_held_to_it(run: Run, tmp_path: Path) -> None:
    run("keys", "create", "ci")
    said = run("audit", "verify")
    assert said.exit_code == 0, said.output
    head = said.stdout.splitlines()[-1]
    run("keys", "create", "another")
    assert run("audit", "verify", "--head", head).exit_code == 0
    changed = head[:-1] + ("0" if head[-1] != "0" else "1")
    assert run("audit", "verify", "--head", changed).exit_code == 6


def test_a_broken_log_fails_and_says_where(run: Run, tmp_path: Path) -> None:
    run("keys", "create", "ci")
    engine = open_tables(tmp_path / "data")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_log_no_update")
        connection.exec_driver_sql("UPDATE audit_log SET user = 'mallory'")
    said = run("audit", "verify")
    assert said.exit_code == 6
    assert "broken at entry 1: it was changed" in said.stderr


def test_the_log_is_exported_in_both_formats(run: Run) -> None:
    run("keys", "create", "ci")
    (as_json,) = (json.loads(line) for line in run("audit", "export").stdout.splitlines())
    (as_csv,) = csv.DictReader(io.StringIO(run("audit", "export", "--format", "csv").stdout))
    assert as_csv == {name: str(value) for name, value in as_json.items()}
