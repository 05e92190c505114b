"""Erases words from the audit log. Their salted hashes stay, and with them the chain."""

from __future__ import annotations

from sqlalchemy import Connection, and_, or_, text, update
from sqlalchemy.sql.elements import ColumnElement

from api.audit import ERASE, ERASE_OWNER, GUARDS
from api.security.tables import audit_log

_UNGUARDED = {
    "sqlite": ("DROP TRIGGER IF EXISTS audit_log_no_update",),
    "postgresql": ("DROP TRIGGER IF EXISTS audit_log_only_added_to ON audit_log",),
}

_WHO = {"user": "", "key_id": "", "address": "", "who_salt": ""}
_WHAT = {"input": "", "output": "", "request_id": "", "what_salt": ""}


def forget_words(connection: Connection, which: ColumnElement[bool], *, who: bool = False) -> int:
    """Erase what some entries say. Entries from before there were salts stay: they would break the chain.

    What an erasure told of itself is erased only with who wanted it.

    Args:
        connection: in a transaction that writes; others see the log unguarded at no time.
        which: the entries.
        who: whether user, key and address go too, and not only input, output and request.

    Returns:
        How many entries have lost words.
    """
    kind = connection.dialect.name
    for statement in _UNGUARDED.get(kind, ()):
        connection.execute(text(statement))
    has_words = audit_log.c.what_salt != ""
    if who:
        has_words = or_(has_words, audit_log.c.who_salt != "")
    if not who:
        which = and_(which, audit_log.c.action.not_in((ERASE, ERASE_OWNER)))
    changed = update(audit_log).where(which, has_words).values(_WHAT | (_WHO if who else {}))
    count = connection.execute(changed).rowcount
    for statement in GUARDS.get(kind, ()):
        connection.execute(text(statement))
    return count
