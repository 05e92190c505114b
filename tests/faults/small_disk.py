"""File systems of a test's own: small, read-only at will, and gone with the test. Nobody needs to be root."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_CLONE_NEWNS: Final = 0x0002_0000
_CLONE_NEWUSER: Final = 0x1000_0000
_HOLD: Final = 'mount -t tmpfs -o size="$0",mode=700 tmpfs "$1" && echo mounted && exec sleep infinity'
_WAYS: Final = (["unshare", "-m"], ["unshare", "-rm"])
"""Root may mount in a namespace of its own; whoever else first becomes root in one."""


@dataclass(frozen=True)
class Disk:
    """A tmpfs that only its holder, and whoever enters the holder's namespace, sees.

    Attributes:
        path: where it is mounted, for processes with `prefix`.
        root: leads this process to what those see. SQLite follows it to the wrong folder.
        prefix: puts a command into the namespace.
    """

    path: Path
    root: Path
    prefix: Sequence[str]

    def seen(self, path: Path) -> Path:
        """What processes with `prefix` see at a path."""
        return self.root / path.relative_to("/")

    def run(self, *command: str) -> None:
        """Run a command that sees the disk."""
        subprocess.run([*self.prefix, *command], check=True, capture_output=True)

    def remount(self, *options: str) -> None:
        """Change the disk: ``ro``, ``rw``, ``size=20m``."""
        self.run("mount", "-o", ",".join(["remount", *options]), str(self.path))

    def fill(self) -> Path:
        """Take all that is free with a file, to be removed by the caller."""
        ballast = self.seen(self.path) / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue
        return ballast


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Disk]:
    """Mount a small disk for processes that are started with its prefix.

    Args:
        path: folder to mount it on; made if missing.
        size: as tmpfs takes it: ``20m``.
    """
    path.mkdir(exist_ok=True)
    for way in _WAYS:
        argv = [*way, "sh", "-c", _HOLD, size, str(path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as holder:
            assert holder.stdout is not None
            if holder.stdout.readline() != "mounted\n":
                continue
            inside = [] if way == _WAYS[0] else ["-U", "--preserve-credentials"]
            prefix = ["nsenter", "-t", str(holder.pid), "-m", *inside]
            try:
                yield Disk(path, Path(f"/proc/{holder.pid}/root"), prefix)
            finally:
                holder.kill()
            return
    pytest.skip("this machine lets nobody mount a small file system")


def on_a_small_disk(path: Path, size: str, work: Callable[[Path], None]) -> None:
    """Do something in a child of this process that has a small disk.

    Args:
        path: folder to mount it on; made if missing.
        size: as tmpfs takes it: ``20m``.
        work: is given the disk's path; fails by raising.
    """
    path.mkdir(exist_ok=True)
    report = path.with_name("report")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _unshare()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(path)]
            if subprocess.run(mount, capture_output=True, check=False).returncode:
                status = 2
            else:
                work(path)
                status = 0
        except BaseException:  # Also pytest's own, which are no Exceptions.
            report.write_text(traceback.format_exc())
        finally:
            sys.stdout.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 2:
        pytest.skip("this machine lets nobody mount a small file system")
    assert status == 0, report.read_text() if report.exists() else f"it ended with {status}"


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNS) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    elif libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
