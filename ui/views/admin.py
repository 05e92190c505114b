"""The service, for who looks after it: how it is, its keys, its audit log."""

from __future__ import annotations

from typing import Final

import streamlit as st

from api.schemas import HealthBody, WorkerBody
from api.schemas_admin import DiskBody, QueuedBody
from ui import markup, texts, wording
from ui.connection import Connection, Failure, current, words
from ui.views import keys

_LOOK_EVERY_S: Final = 5.0
_A_PAGE: Final = 50


def show() -> None:
    """The page."""
    connection = current()
    assert connection is not None, "pages are shown to who is signed in"
    markup.title(texts.ADMIN_TITLE)
    if not connection.may("admin"):
        markup.notice(texts.ADMIN_FORBIDDEN)
        return
    overview, keys_tab, audit = st.tabs([texts.OVERVIEW, texts.KEYS, texts.AUDIT])
    with overview:
        _overview(connection)
    with keys_tab:
        keys.show(connection)
    with audit:
        _audit(connection)


@st.fragment(run_every=_LOOK_EVERY_S)
def _overview(connection: Connection) -> None:
    """How the service is; what it cannot tell at the moment must not hide the rest."""
    try:
        health = connection.client.health()
    except Failure as exc:
        markup.notice(texts.FAILED, [words(exc)], "bad")
        return
    reasons = [texts.REASONS.get(reason, reason) for reason in health.reasons]
    tone: markup.Tone = "good" if health.ready else "bad"
    markup.notice(texts.READY if health.ready else texts.NOT_READY, reasons, tone)
    try:
        queue, workers = connection.client.admin.queue(), connection.client.admin.workers()
        _work(health, queue, workers)
        _disks(connection.client.admin.disks())
    except Failure as exc:
        markup.notice(texts.FAILED, [words(exc)], "bad")


def _work(health: HealthBody, queue: list[QueuedBody], workers: list[WorkerBody]) -> None:
    markup.row(
        [
            markup.figure(texts.WAITING, str(health.queued)),
            markup.figure(texts.RUNNING, str(health.running)),
            markup.figure(texts.WORKERS, str(len(workers))),
        ]
    )
    columns = texts.COLUMNS
    markup.heading(texts.QUEUE)
    if queue:
        names = ("file", "owner", "state", "progress")
        markup.table([columns[name] for name in names], map(_queued, queue), texts.QUEUE)
    else:
        st.caption(texts.QUEUE_EMPTY)
    markup.heading(texts.WORKERS)
    if workers:
        doing = {entry.job.id: entry.job.filename for entry in queue}
        rows = [
            (
                f"{worker.host}, {worker.pid}",
                doing.get(worker.job_id, worker.job_id) if worker.job_id else texts.WORKER_IDLE,
                worker.model or texts.UNKNOWN,
                wording.size(worker.memory_bytes),
            )
            for worker in workers
        ]
        names = ("worker", "doing", "model", "memory")
        markup.table([columns[name] for name in names], rows, texts.WORKERS)
    else:
        st.caption(texts.WORKERS_NONE)


def _disks(disks: list[DiskBody]) -> None:
    markup.heading(texts.DISKS)
    for disk in disks:
        said = texts.DISK_FREE.format(
            free=wording.size(disk.free_bytes),
            total=wording.size(disk.bytes),
            reserve=wording.size(disk.reserve_bytes),
        )
        markup.meter(", ".join(disk.holds), said, 1 - disk.free_bytes / max(disk.bytes, 1))


def _queued(entry: QueuedBody) -> tuple[str, ...]:
    job = entry.job
    return job.filename, entry.owner, texts.STATUS[job.status], f"{int(100 * job.progress)} %"


def _audit(connection: Connection) -> None:
    with st.container(horizontal=True):
        if st.button(texts.AUDIT_VERIFY, icon=":material/verified:"):
            st.session_state.verdict = connection.client.admin.verify_audit()
    verdict = st.session_state.pop("verdict", None)
    if verdict is not None and verdict.broken_at is None:
        markup.notice(
            texts.AUDIT_WHOLE.format(count=verdict.entries), [texts.AUDIT_HEAD, verdict.head], "good"
        )
    elif verdict is not None:
        markup.notice(texts.AUDIT_BROKEN.format(entry=verdict.broken_at), [verdict.reason], "bad", alert=True)
    before: int | None = st.session_state.get("audit_before")
    entries = connection.client.admin.audit(before=before, limit=_A_PAGE)
    names = ("seq", "at", "user", "action", "status", "input", "output", "address")
    rows = [
        (
            str(entry.seq),
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            entry.user,
            entry.action,
            entry.status,
            entry.input,
            entry.output,
            entry.address,
        )
        for entry in entries
    ]
    markup.table([texts.COLUMNS[name] for name in names], rows, texts.AUDIT)
    with st.container(horizontal=True):
        st.button(texts.AUDIT_NEWEST, disabled=before is None, on_click=_from, args=(None,))
        oldest = entries[-1].seq if entries else 1
        st.button(texts.AUDIT_OLDER, disabled=oldest <= 1, on_click=_from, args=(oldest,))


def _from(before: int | None) -> None:
    st.session_state.audit_before = before
