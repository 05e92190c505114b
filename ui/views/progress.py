"""How a job goes on, as long as it does."""

from __future__ import annotations

from html import escape
from typing import Final

import streamlit as st

from api.client_answers import ServiceProblem
from api.schemas import JobBody
from ui import markup, texts, wording
from ui.connection import Connection, Failure

_LOOK_EVERY_S: Final = 1.0
_ACTIVE: Final = ("queued", "running")


def follow(connection: Connection, job: JobBody) -> None:
    """Show how far a job is, and look again every second until it has ended.

    Args:
        connection: the visitor's.
        job: as it was a moment ago.
    """
    st.session_state.followed = job
    _look(connection, job.id)


@st.fragment(run_every=_LOOK_EVERY_S)
def _look(connection: Connection, job_id: str) -> None:
    known: JobBody | None = st.session_state.get("followed")
    if known is None or known.id != job_id:  # Signed out, or elsewhere, between two looks.
        return
    try:
        job = connection.client.job(job_id)
    except Failure as exc:
        # A service that starts anew or is busy comes back. Anything else the whole page has to say.
        if isinstance(exc, ServiceProblem) and exc.status < 500 and exc.status != 429:
            st.rerun()
        _draw(known)
        markup.notice(texts.UNREACHABLE, tone="bad")
        return
    st.session_state.followed = job
    if job.status not in _ACTIVE:
        st.rerun()
    _draw(job)


def _draw(job: JobBody) -> None:
    percent = int(100 * job.progress)
    done = {stage.name: stage for stage in job.stages}
    stages = []
    for name, words in texts.STAGES.items():
        stage = done.get(name)
        if name == "export" and not job.options.get("exports"):
            continue
        finished = stage is not None and stage.status == "succeeded"
        current = ' aria-current="step"' if job.status == "running" and job.stage == name else ""
        took = f"<small>{wording.span(stage.seconds)}</small>" if stage and stage.seconds >= 1 else ""
        stages.append(f'<li class="{"ap-done" if finished else ""}"{current}>{markup.text(words)}{took}</li>')
    now, left = _now(job)
    said = texts.PERCENT.format(percent=percent)
    st.html(
        f'<section class="ap-progress"><div class="ap-now"><strong>{markup.text(now)}</strong>'
        f"<span>{markup.text(left)}</span></div>"
        f'<div class="ap-bar" role="progressbar" aria-label="{escape(now)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent}" aria-valuetext="{escape(said)}">'
        f'<i style="width:{percent}%"></i></div><ul class="ap-stages">{"".join(stages)}</ul></section>'
    )
    if job.retry_at is not None and job.error is not None:
        when = wording.until(job.retry_at)
        markup.notice(texts.JOB_RETRYING.format(when=when), [job.error.message, job.error.hint])


def _now(job: JobBody) -> tuple[str, str]:
    """What a job does, and how long it still takes."""
    left = texts.TIME_LEFT.format(time=wording.span(job.eta_s)) if job.eta_s else ""
    if job.status == "queued":
        before = job.queue_position or 0
        return (wording.counted(texts.QUEUE_AFTER, before) if before else texts.QUEUE_NEXT), left
    said = texts.STAGES.get(job.stage or "", texts.STARTING)
    return said, " · ".join(filter(None, [f"{int(100 * job.progress)} %", left]))
