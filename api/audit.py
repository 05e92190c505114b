"""The audit log: who did what, when, with what result. Entries are chained: none can be changed unseen."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Engine, Row, insert, select, text, update

from api.encryption.fields import cipher_of
from api.errors import InvalidRequest
from api.security.secret import ServerSecret
from api.security.tables import audit_head, audit_log
from api.telemetry import one_line
from api.transactions import reading, writing

_LONGEST = 1000
_SHORT = 64
_START = "0" * 64
_PAGE = 1000
_WORDS = ("input", "output")

ERASE = "erase"
"""The action of an entry that tells of the erasure of its job."""
ERASE_OWNER = "erase.owner"
"""The same of all that concerned an owner."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action.

    Attributes:
        seq: 1, 2, 3 … without a gap.
        at: UTC, ISO 8601 with microseconds.
        user: whose it was: the owner of the key, or ``system``.
        key_id: id of the API key; empty without one.
        action: such as ``process`` or ``delete``.
        input: what it was asked with: a file name, options.
        output: what came of it: a job's id, a file.
        status: how it ended: ``accepted``, ``succeeded``, ``forbidden`` …
        job_id: of the job that it was about; may be empty.
        request_id: of the request that it came with; may be empty.
        address: where it came from; may be empty.
        previous: hash of the entry before; zeros for the first.
        hash: SHA-256 that chains the entry: see `digest`.
        who_salt: random; empty where user, key and address were erased.
        who: SHA-256 of that salt, user, key and address.
        what_salt: random; empty where input, output and request were erased.
        what: SHA-256 of that salt, input, output and request.
    """

    seq: int
    at: str
    user: str
    key_id: str
    action: str
    input: str
    output: str
    status: str
    job_id: str
    request_id: str
    address: str
    previous: str
    hash: str = ""
    who_salt: str = ""
    who: str = ""
    what_salt: str = ""
    what: str = ""

    def digest(self) -> str:
        """What `hash` must be: SHA-256 over the canonical JSON of what can never be erased.

        Words that may be personal are in it by their salted hashes alone. Entries from before there were any
        are hashed over their first twelve fields.
        """
        if not self.who:
            return _sha256(astuple(self)[: FIELDS.index("hash")])
        return _sha256(
            (self.seq, self.at, self.action, self.status, self.job_id, self.who, self.what, self.previous)
        )

    def sealed(self) -> AuditEntry:
        """The entry with salts of its own, and all of its hashes."""
        salted = replace(self, who_salt=secrets.token_hex(16), what_salt=secrets.token_hex(16))
        who, what = salted.words()
        entry = replace(salted, who=who, what=what)
        return replace(entry, hash=entry.digest())

    def words(self) -> tuple[str, str]:
        """What `who` and `what` must be where their words are still there."""
        return (
            _sha256((self.who_salt, self.user, self.key_id, self.address)),
            _sha256((self.what_salt, self.input, self.output, self.request_id)),
        )

    def erased(self) -> tuple[bool, bool]:
        """Whether the words behind `who` and behind `what` were erased."""
        return bool(self.who) and not self.who_salt, bool(self.what) and not self.what_salt


def _sha256(values: Sequence[object]) -> str:
    said = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(said.encode("ascii")).hexdigest()


FIELDS = tuple(field.name for field in fields(AuditEntry))
"""The columns of an entry, in the order in which they are hashed and exported."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    Attributes:
        entries: how many were read, up to the broken link.
        head: where the log ends, as ``seq:hash``: noted elsewhere, it proves later that nothing was cut off.
        broken_at: number of the first entry that is wrong or missing; None: all is well.
        reason: what is wrong with it; empty when all is well.
        erased: entries with words that were erased, each by an erasure that the log tells of.
    """

    entries: int
    head: str
    broken_at: int | None = None
    reason: str = ""
    erased: int = 0


class Audit:
    """The audit log in the database.

    Each entry holds the hash of the one before: a changed, removed, inserted or moved entry breaks the chain.
    Words that were erased (`api.keeping.audit_words`) do not, if a later entry tells
    of the erasure.
    Where the chain ends is sealed with the server's secret: cutting entries off the end, or computing all
    hashes anew, breaks the seal. Only an older copy of the whole database passes; a head that was noted
    elsewhere (`Verdict.head`) betrays it.

    Args:
        engine: of the database.
        secret: the server's.
        now: the time, aware.
    """

    def __init__(
        self, engine: Engine, secret: ServerSecret, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._engine = engine
        self._seal_key = secret.key("audit")
        self._now = now
        self._guarded = False
        self._lock = threading.Lock()

    def record(
        self,
        action: str,
        *,
        user: str,
        status: str,
        input: str = "",
        output: str = "",
        key_id: str = "",
        job_id: str = "",
        request_id: str = "",
        address: str = "",
    ) -> AuditEntry:
        """Append an entry; durable when it returns. Safe from any number of threads and processes.

        Texts are taken as one line: what could end or disguise it is spelt out.

        Raises:
            DatabaseUnavailable: the database is busy, out of reach or damaged.
            DiskFull: no space left.
            OutputUnwritable: the database may not be written.
        """
        self._guard()
        with writing(self._engine) as connection:
            head = connection.execute(select(audit_head)).one_or_none()
            entry = AuditEntry(
                seq=1 if head is None else head.seq + 1,
                at=self._now().astimezone(UTC).isoformat(timespec="microseconds"),
                user=_short(user),
                key_id=_short(key_id)[:32],
                action=_short(action),
                input=_cut(input, _LONGEST),
                output=_cut(output, _LONGEST),
                status=_short(status),
                job_id=_short(job_id),
                request_id=_short(request_id),
                address=_short(address),
                previous=_START if head is None else head.hash,
            ).sealed()
            connection.execute(insert(audit_log), [_row(entry, self._engine.dialect)])
            end = {"seq": entry.seq, "hash": entry.hash, "seal": self._seal(entry.seq, entry.hash)}
            connection.execute(
                insert(audit_head).values(id=1, **end) if head is None else update(audit_head).values(**end)
            )
        return entry

    def entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """Entries in order, read page by page.

        Args:
            after: number of the entry before the first.
        """
        while True:
            query = select(audit_log).where(audit_log.c.seq > after).order_by(audit_log.c.seq).limit(_PAGE)
            with reading(self._engine) as connection:
                page = [_entry(row, self._engine.dialect) for row in connection.execute(query)]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    def latest(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Entries, newest first.

        Args:
            limit: at most so many.
            before: number of the entry after the newest of them; None: the log's end.
        """
        query = select(audit_log).order_by(audit_log.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(audit_log.c.seq < before)
        with reading(self._engine) as connection:
            return [_entry(row, self._engine.dialect) for row in connection.execute(query)]

    def verify(self, noted_head: str | None = None) -> Verdict:
        """Recompute the chain, up to where it ended when the verification began.

        Args:
            noted_head: ``seq:hash`` as an earlier verification gave it.

        Raises:
            InvalidRequest: the noted head is none.
        """
        noted = None if noted_head is None else _noted(noted_head)
        with reading(self._engine) as connection:
            head = connection.execute(select(audit_head)).one_or_none()
            # Should there be no head, every entry is one too many.
            last = _last(connection) if head is None else head.seq
        previous, seq, wordless = _START, 0, _Wordless()
        for entry in self.entries():
            if head is not None and entry.seq > last:
                break
            reason = _wrong(entry, seq + 1, previous)
            if reason:
                return Verdict(seq, f"{seq}:{previous}", seq + 1, reason)
            seq, previous = entry.seq, entry.hash
            wordless.note(entry)
            if noted is not None and noted[0] == seq and noted[1] != entry.hash:
                return Verdict(seq, f"{seq}:{previous}", seq, "it is not the entry that was noted")
        if wordless.unexplained:
            first = min(wordless.unexplained.values())
            return Verdict(seq, f"{seq}:{previous}", first, "its words were removed without an erasure")
        return replace(self._judge_end(seq, previous, head, noted), erased=wordless.count)

    def _judge_end(self, seq: int, last_hash: str, head: Any, noted: tuple[int, str] | None) -> Verdict:
        end = f"{seq}:{last_hash}"
        if head is None and seq:
            return Verdict(seq, end, seq + 1, "the record of where the log ends is missing")
        if head is not None:
            if not hmac.compare_digest(head.seal, self._seal(head.seq, head.hash)):
                reason = "the seal of the log's end was not made with the server's secret"
                return Verdict(seq, end, seq, reason)
            if head.seq != seq:
                return Verdict(seq, end, seq + 1, f"the log ends early: there were {head.seq} entries")
            if head.hash != last_hash:
                return Verdict(seq, end, seq, "it is not the entry that the log was sealed with")
        if noted is not None and noted[0] > seq:
            return Verdict(seq, end, seq + 1, f"the log ends early: {noted[0]} entries were noted")
        return Verdict(seq, end)

    def _seal(self, seq: int, last_hash: str) -> str:
        return hmac.digest(self._seal_key, f"{seq}:{last_hash}".encode(), hashlib.sha256).hex()

    def _guard(self) -> None:
        """Have the database refuse changes: a guard against mistakes; the chain is one against intent."""
        if self._guarded:
            return
        with self._lock, writing(self._engine) as connection:
            for statement in GUARDS.get(connection.dialect.name, ()):
                connection.execute(text(statement))
            self._guarded = True


GUARDS: Final = {
    "sqlite": tuple(
        f"CREATE TRIGGER IF NOT EXISTS audit_log_no_{change} BEFORE {change.upper()} ON audit_log "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END"
        for change in ("update", "delete")
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is only ever added to'; END $$",
        "CREATE OR REPLACE TRIGGER audit_log_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()",
    ),
}
"""Statements that have a database refuse changes of the log; each may be repeated."""


def _wrong(entry: AuditEntry, seq: int, previous: str) -> str:
    if entry.seq != seq:
        return "it is missing"
    if entry.previous != previous:
        return "it does not follow the entry before: one of the two was replaced or moved"
    if not hmac.compare_digest(entry.hash, entry.digest()):
        return "it was changed"
    left = (entry.user, entry.key_id, entry.address), (entry.input, entry.output, entry.request_id)
    for is_erased, words, said, must in zip(
        entry.erased(), left, (entry.who, entry.what), entry.words(), strict=True
    ):
        if entry.who and (any(words) if is_erased else not hmac.compare_digest(said, must)):
            return "it was changed"
    return ""


class _Wordless:
    """Entries whose words are gone, and whether a later entry tells why."""

    def __init__(self) -> None:
        self.count = 0
        self.unexplained: dict[str, int] = {}
        """Id of a job, or nothing -> number of its first entry without words."""

    def note(self, entry: AuditEntry) -> None:
        if any(entry.erased()):
            self.count += 1
            self.unexplained.setdefault(entry.job_id, entry.seq)
        if entry.action == ERASE_OWNER:
            self.unexplained.clear()
        elif entry.action == ERASE:
            self.unexplained.pop(entry.job_id, None)


def _row(entry: AuditEntry, dialect: Dialect) -> dict[str, Any]:
    """An entry as it is stored. What is said about jobs names recordings, and is encrypted as names are."""
    row = asdict(entry)
    cipher = cipher_of(dialect) if entry.job_id else None
    if cipher is not None:
        row |= {word: cipher.encrypt(f"audit_log.{word}", row[word], found=False) for word in _WORDS}
    return row


def _entry(row: Row[Any], dialect: Dialect) -> AuditEntry:
    values = dict(row._mapping)
    cipher = cipher_of(dialect) if values["job_id"] else None
    if cipher is not None:
        values |= {word: cipher.decrypt(f"audit_log.{word}", values[word], found=False) for word in _WORDS}
    return AuditEntry(**values)


def _last(connection: Connection) -> int:
    query = select(audit_log.c.seq).order_by(audit_log.c.seq.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none() or 0


def _noted(head: str) -> tuple[int, str]:
    seq, _, digest = head.strip().partition(":")
    if not (seq.isdecimal() and len(digest) == len(_START)):
        raise InvalidRequest(f"{head!r} is not where a log ended.", "Give it as verify printed it: 12:ab34…")
    return int(seq), digest


def _short(value: str) -> str:
    return _cut(value, _SHORT)


def _cut(value: str, longest: int) -> str:
    line = one_line(value)
    return line if len(line) <= longest else line[: longest - 1] + "…"
