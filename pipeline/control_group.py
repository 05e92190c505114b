"""What this process may use at most, by its control group: processors and memory. Both versions of Linux's.

A group's limit holds for all groups below it, so the tightest on the way up counts. Files and their units:
kernel.org, Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NO_LIMIT: Final = 1 << 62
"""Version 1 has no word for it, but the greatest multiple of a page: 0x7FFFFFFFFFFFF000."""

_USES: Final = (("memory.current", "inactive_file"), ("memory.usage_in_bytes", "total_inactive_file"))
"""What is in use, by version, and which line of memory.stat says how much of it is easily given back."""


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The group of this process.

    Nothing is read before it is asked for, and what cannot be read limits nothing.

    Attributes:
        mount: where the kernel shows the groups.
        membership: file that names the groups of this process, cgroups(7).
    """

    mount: Path = Path("/sys/fs/cgroup")
    membership: Path = Path("/proc/self/cgroup")

    def cores(self) -> float | None:
        """Processors that may be used at the same time; None: as many as there are."""
        return min(filter(None, map(_quota, self._way_up("cpu"))), default=None)

    def cpu_used_s(self) -> float | None:
        """Seconds that processors have worked for the group; None: ask the machine."""
        for folder in self._way_up("cpuacct"):
            with suppress(OSError, ValueError, KeyError):
                if (folder / "cpu.max").exists():  # The root of version 2 counts, too, but has no limits.
                    return int(_fields(folder / "cpu.stat")["usage_usec"]) / 1e6
                return int((folder / "cpuacct.usage").read_text()) / 1e9
        return None

    def memory_limit(self) -> int | None:
        """Bytes that may be used; None: as many as there are."""
        return min(filter(None, map(_memory_limit, self._way_up("memory"))), default=None)

    def memory_left(self) -> int | None:
        """Bytes that may still be used; None: as many as the machine has left."""
        left = [
            limit - used
            for folder in self._way_up("memory")
            if (limit := _memory_limit(folder)) is not None and (used := _memory_used(folder)) is not None
        ]
        return min(left, default=None)

    def _way_up(self, controller: str) -> Iterator[Path]:
        """The folders of the group and of those above it, as far as they are shown.

        Args:
            controller: ``cpu``, ``cpuacct`` or ``memory``, by version 1's names.
        """
        root, path = self._place(controller)
        group = root.joinpath(*path.strip("/").split("/")) if path.strip("/") else root
        # A container sees its own group as the root, and perhaps the path that it has outside.
        if ".." in group.parts or not group.is_dir():
            group = root
        while True:
            yield group
            if group == root:
                return
            group = group.parent

    def _place(self, controller: str) -> tuple[Path, str]:
        """Where the groups of a controller are shown, and which of them is ours."""
        unified = "/"
        with suppress(OSError):
            for line in self.membership.read_text().splitlines():
                _, controllers, path = line.split(":", 2)
                if controller in controllers.split(","):
                    alone = self.mount / controller
                    return (alone if alone.is_dir() else self.mount / controllers), path
                if not controllers:
                    unified = path
        return self.mount, unified


OWN: Final = ControlGroup()
"""The group of this process, where Linux shows it."""


def _quota(folder: Path) -> float | None:
    with suppress(OSError, ValueError):
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
            return None if quota == "max" else int(quota) / int(period)
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return quota_us / int((folder / "cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    return None


def _memory_limit(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" is no number, and no limit.
            limit = int((folder / name).read_text())
            return limit if limit < _NO_LIMIT else None
    return None


def _memory_used(folder: Path) -> int | None:
    """Bytes in use, without the page cache that is given back when it is needed."""
    for name, cache in (
        ("memory.current", "inactive_file"),
        ("memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):
            used = int((folder / name).read_text())
            return used - int(_fields(folder / "memory.stat").get(cache, 0))
    return None


def _fields(path: Path) -> dict[str, str]:
    return dict(line.split() for line in path.read_text().splitlines())
