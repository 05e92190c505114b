"""A program of ours as a process of its own, which tests start, stop and kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Program:
    """``python -m api`` with a command. A context manager, which kills what still runs at its end.

    Args:
        command: of ``python -m api``.
        folder: where it runs, and what it says is kept in ``said.log``.
        environment: all of it.
        prefix: of its command, such as one that puts it on a disk of its own.
    """

    def __init__(
        self, command: str, folder: Path, environment: dict[str, str], prefix: Sequence[str] = ()
    ) -> None:
        self.folder, self.prefix = folder, prefix
        self.said = folder / "said.log"
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command

    def start(self) -> Self:
        """Start it."""
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "api", self._command],
                cwd=self.folder,
                env=self.environment,
                stdout=said,
                stderr=said,
            )
        return self

    def kill(self) -> None:
        """Kill it as kill -9 does, and as a power cut does: its children die with it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop.

        Returns:
            Its exit status.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def children(self) -> list[int]:
        """Process ids of its children."""
        assert self.process is not None
        return children_of(self.process.pid)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def children_of(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())
