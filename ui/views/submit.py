"""Where recordings are submitted: a model, what to make, and the files."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from api.schemas import EstimateBody, JobOptions, ModelBody
from ui import labels, markup, places, texts, wording
from ui.components.uploader.uploader import uploader
from ui.connection import Connection, Failure, current

_TYPICAL_S: Final = 240.0
"""Length of a song, for the time that a model would take."""
_FEW: Final = 3
"""Models that are shown before all are asked for."""


def show() -> None:
    """The page."""
    connection = current()
    assert connection is not None, "pages are shown to who is signed in"
    markup.title(texts.SUBMIT_TITLE, texts.SUBMIT_LEAD)
    if not connection.may("submit"):
        markup.notice(texts.SUBMIT_FORBIDDEN)
        return
    # What a visitor comes for stands first, although the settings below decide what it does.
    files = st.container(key="recordings")
    markup.heading(texts.SETTINGS, texts.SETTINGS_LEAD)
    model = _choose_model(connection)
    options = {"model": model.name, **_choose_stems(model), **_choose_rest()}
    with files:
        upload(connection, options)
        markup.aside(_promise(model, options))


def upload(connection: Connection, options: dict[str, Any]) -> None:
    """Take files; open the job of one where that is asked for."""
    found = uploader(
        connection.browser_url,
        owner=connection.owner,
        ticket=connection.ticket,
        options=options,
        key="uploader",
    )
    together = {file.batch_id: None for file in found.files if file.batch_id}
    for batch_id in together:
        st.page_link(places.batch(), label=texts.BATCH_FOLLOW, query_params={"batch": batch_id})
    if found.opened:
        st.switch_page(places.job(), query_params={"job": found.opened})


def _choose_model(connection: Connection) -> ModelBody:
    found = {model.name: model for model in connection.client.models()}
    default = next((model.name for model in found.values() if model.default), next(iter(found)))
    names = sorted(found, key=lambda name: (name != default, not found[name].ready))
    with st.container(key="models"):
        chosen = st.session_state.get("model", default)
        shown = names if st.session_state.get("all_models") else names[:_FEW]
        if chosen in found and chosen not in shown:
            shown = [*shown, chosen]
        name = st.radio(
            texts.MODEL,
            shown,
            format_func=lambda name: labels.MODEL_NAMES.get(name, _plain(name)),
            captions=[_summary(found[name], _estimated(connection, name)) for name in shown],
            label_visibility="collapsed",
            width="stretch",
            key="model",
        )
    if len(names) > _FEW:
        st.toggle(texts.MODELS_MORE, key="all_models")
    model = found[name]
    about = [f"{model.quality[:1].upper()}{model.quality[1:]}"]
    if not model.ready:
        about.append(texts.MODEL_FETCH.format(size=wording.size(model.bytes)))
    markup.facts([(texts.DETAIL_NAMES["quality"], ". ".join(about)), (texts.MODEL_LICENCE, model.licence)])
    return model


def _summary(model: ModelBody, estimate: EstimateBody | None) -> str:
    rating = model.quality.partition(":")[0]
    work = [texts.MODEL_STEMS.format(count=len(model.stems))]
    if estimate is not None:
        work.append(texts.MODEL_TIME.format(time=wording.span(estimate.seconds)))
    lines = [
        labels.MODEL_LEADS.get(model.name, f"{rating[:1].upper()}{rating[1:]}"),
        ", ".join(work),
        texts.MODEL_COMMERCIAL if model.commercial_use else texts.MODEL_RESEARCH,
    ]
    return "  \n".join(map(_plain, lines))


def _promise(model: ModelBody, options: dict[str, Any]) -> str:
    """What becomes of a recording that is added now, in a sentence."""
    formats = options.get("formats", ["flac"])
    return texts.SUMMARY.format(
        model=labels.MODEL_NAMES.get(model.name, model.name),
        stems=wording.counted(texts.SUMMARY_STEMS, len(options.get("stems", model.stems))),
        formats=", ".join(labels.FORMAT_NAMES[name] for name in formats),
    )


@st.cache_data(ttl=60, show_spinner=False)
def _estimated(_connection: Connection, name: str) -> EstimateBody | None:
    try:
        return _connection.client.estimate(_TYPICAL_S, JobOptions(model=name))
    except Failure:
        return None  # The page is of use without it.


def _choose_stems(model: ModelBody) -> dict[str, Any]:
    offered = [*model.stems, *(f"no_{stem}" for stem in model.stems)]
    stems = st.pills(
        texts.STEMS,
        offered,
        default=list(model.stems),
        selection_mode="multi",
        format_func=wording.stem_name,
        help=texts.STEMS_HELP,
        key=f"stems-{model.name}",
    )
    # None chosen is no way to say none: a job makes all of them then.
    return {"stems": stems} if stems else {}


def _choose_rest() -> dict[str, Any]:
    with st.expander(texts.OPTIONS):
        formats = st.pills(
            texts.FORMATS,
            list(labels.FORMAT_NAMES),
            default=["flac"],
            selection_mode="multi",
            format_func=labels.FORMAT_NAMES.__getitem__,
            key="formats",
        )
        estimators = st.pills(
            texts.ESTIMATORS,
            list(labels.ESTIMATOR_NAMES),
            default=list(labels.ESTIMATORS_BY_DEFAULT),
            selection_mode="multi",
            format_func=labels.ESTIMATOR_NAMES.__getitem__,
            key="estimators",
        )
        exports = st.pills(
            texts.EXPORTS,
            list(labels.EXPORT_NAMES),
            selection_mode="multi",
            format_func=labels.EXPORT_NAMES.__getitem__,
            help=texts.EXPORTS_HELP,
            key="exports",
        )
        residual = st.selectbox(
            texts.RESIDUAL,
            list(texts.RESIDUALS),
            format_func=texts.RESIDUALS.__getitem__,
            help=texts.RESIDUAL_HELP,
            key="residual",
        )
        precision = st.selectbox(
            texts.PRECISION,
            list(texts.PRECISIONS),
            format_func=texts.PRECISIONS.__getitem__,
            help=texts.PRECISION_HELP,
            key="precision",
        )
        shifts = st.slider(texts.SHIFTS, 0, 5, 0, help=texts.SHIFTS_HELP, key="shifts")
        commercial = st.checkbox(texts.COMMERCIAL_ONLY, key="commercial_only")
        damaged = st.checkbox(texts.DAMAGED, key="accept_damaged")
    # Only what differs from the service's own choice, so that equal jobs are recognised.
    chosen: dict[str, Any] = {"residual": residual} if residual != "report" else {}
    if formats and formats != ["flac"]:
        chosen["formats"] = formats
    if set(estimators) != set(labels.ESTIMATORS_BY_DEFAULT):
        chosen["estimators"] = estimators
    if exports:
        chosen["exports"] = exports
    if precision != "balanced":
        chosen["precision"] = precision
    if shifts:
        chosen["shifts"] = shifts
    return chosen | {k: True for k, v in (("commercial_only", commercial), ("accept_damaged", damaged)) if v}


def _plain(text: str) -> str:
    """Text for a label that Streamlit reads as Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-!|~$:" else c for c in text)
