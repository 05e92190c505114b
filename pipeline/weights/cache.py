"""The folder where weights lie: what is in it, and who may change it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from pipeline.config import WeightsConfig
from pipeline.errors import Cancelled
from pipeline.progress import CancelToken
from pipeline.scratch import disk_errors
from pipeline.weights.digests import file_is
from pipeline.weights.spec import Member, ModelSpec

logger = logging.getLogger(__name__)

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache holds of one network.

    Attributes:
        path: a verified file; None when there is none.
        corrupt: files under the right name that are not what they should be.
    """

    path: Path | None
    corrupt: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class MemberState:
    """Whether one network of a model is ready to use.

    Attributes:
        signature: of the network.
        state: ``ok``, ``missing`` or ``corrupt``.
        path: the file in question; None when it is missing.
    """

    signature: str
    state: Literal["ok", "missing", "corrupt"]
    path: Path | None


def cache_folder(config: WeightsConfig) -> Path:
    """Say where weights lie; the folder need not exist."""
    return config.cache_dir or platformdirs.user_cache_path("audio-pipeline") / "weights"


def find(member: Member, folder: Path, cancel: CancelToken) -> Found:
    """Look for verified weights in a folder, hashing what is there.

    Args:
        member: the network.
        folder: need not exist.
        cancel: looked at while hashing.

    Raises:
        Cancelled: `cancel` was raised.
    """
    corrupt: list[Path] = []
    for name in member.names:
        path = folder / name
        try:
            if file_is(path, member.named(name), cancel):
                return Found(path, tuple(corrupt))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            logger.warning("Weights file %s cannot be read: %s", path, exc.strerror)
        corrupt.append(path)
    return Found(None, tuple(corrupt))


def find_in_hub_cache(member: Member, cancel: CancelToken) -> Path | None:
    """Look for verified weights that another program left in the user's Hugging Face cache, without network.

    Args:
        member: the network.
        cancel: looked at while hashing.

    Returns:
        Their path there; nothing is copied.

    Raises:
        Cancelled: `cancel` was raised.
    """
    if member.hub is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    hub = member.hub
    path = try_to_load_from_cache(hub.repo, hub.file.name, revision=hub.revision)
    if not isinstance(path, str):
        return None
    try:
        return Path(path) if file_is(Path(path), [hub.file], cancel) else None
    except OSError:
        return None


@contextmanager
def exclusive(name: str, folder: Path, cancel: CancelToken) -> Iterator[None]:
    """Be the only process that changes the files of a network.

    The lock is the operating system's: it ends with the process that holds it, however that ends.

    Args:
        name: of the network.
        folder: made if need be.
        cancel: ends the wait.

    Raises:
        Cancelled: `cancel` was raised while another process held the lock.
        OutputUnwritable: the folder cannot be written.
        DiskFull: there is no room for the lock's empty file.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / f".{name}.lock")
    with disk_errors(f"the weights folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(poll_interval=_POLL_S, cancel_check=lambda: cancel.cancelled)
        except Timeout as exc:
            raise Cancelled("The job was cancelled.") from exc
    try:
        yield
    finally:
        lock.release()


def remove(path: Path) -> None:
    """Delete a file or a folder of the cache; nothing happens when it is not there.

    Raises:
        OutputUnwritable: the folder cannot be written.
    """
    with disk_errors(f"the weights folder {path.parent}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # an orphaned npm may still be writing there
        else:
            path.unlink(missing_ok=True)


def sweep(member: Member, folder: Path, *, parts: bool) -> None:
    """Delete what dead processes left behind. Only for the holder of the lock.

    Args:
        member: the network.
        folder: the cache.
        parts: unfinished downloads too, which otherwise are resumed.

    Raises:
        OutputUnwritable: the folder cannot be written.
    """
    for path in folder.glob(f"{member.signature}*"):
        if path.name.endswith(".tmp") or (parts and path.name.endswith(".part")):
            remove(path)


def verify(
    spec: ModelSpec, config: WeightsConfig, cancel: CancelToken | None = None
) -> tuple[MemberState, ...]:
    """Hash a model's weights where they lie; nothing is fetched, nothing deleted.

    Args:
        spec: the model.
        config: where weights lie.
        cancel: stops early.

    Returns:
        One state a network; none for a model without weights.

    Raises:
        Cancelled: `cancel` was raised.
    """
    cancel = cancel or CancelToken()
    return tuple(_state(member, cache_folder(config), cancel) for member in spec.members)


def _state(member: Member, folder: Path, cancel: CancelToken) -> MemberState:
    found = find(member, folder, cancel)
    path = found.path or find_in_hub_cache(member, cancel)
    if path is not None:
        return MemberState(member.signature, "ok", path)
    if found.corrupt:
        return MemberState(member.signature, "corrupt", found.corrupt[0])
    return MemberState(member.signature, "missing", None)


def present(spec: ModelSpec, config: WeightsConfig) -> bool:
    """Whether a model's weights seem to be here: by names and sizes in the cache alone, so at once."""
    folder = cache_folder(config)
    return all(any(_has_size(folder / f.name, f.bytes) for f in member.files) for member in spec.members)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
