"""Hashes: of files, and of what a network holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.progress import CancelToken
from pipeline.weights.spec import PinnedFile

HalfArray: TypeAlias = npt.NDArray[np.float16]

_CHUNK = 1 << 20


def file_is(path: Path, pins: Iterable[PinnedFile], cancel: CancelToken) -> PinnedFile | None:
    """Find out which of the pinned files this is.

    Args:
        path: an existing file.
        pins: candidates.
        cancel: looked at while reading.

    Returns:
        The one with this size and hash; None when it is none of them.

    Raises:
        Cancelled: `cancel` was raised.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    candidates = [pin for pin in pins if pin.bytes == size]
    if not candidates:
        return None
    hashes = {pin.algorithm: hashlib.new(pin.algorithm) for pin in candidates}
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            cancel.check()
            for digest in hashes.values():
                digest.update(chunk)
    return next((pin for pin in candidates if hashes[pin.algorithm].hexdigest() == pin.hex), None)


def content_sha256(tensors: Iterable[tuple[str, HalfArray]]) -> str:
    """Hash what a network holds, whatever file it came in.

    Args:
        tensors: name and float16 value of every tensor, sorted by name. Published weights are float16,
            so nothing is lost.

    Returns:
        SHA-256 over name (UTF-8) and bytes (little-endian) of each tensor in turn, in hex.
    """
    digest = hashlib.sha256()
    for name, value in tensors:
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value, dtype="<f2").data)
    return digest.hexdigest()
