"""What the machine has left, as Prometheus metrics: disks, memory, processors; and the last backup."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.jobs.capacity import available_memory, memory_size
from api.jobs.folders import Folders
from pipeline.control_group import OWN, ControlGroup

BACKUP_STATUS: Final = "backup-status.json"
"""File in the data folder that the backup command writes when it has succeeded:
``{"finished_at": seconds since 1970, "kind": "full" or "manifests", "bytes": size}``."""

_FOLDERS: Final = ("data", "uploads", "outputs", "downloads", "logs")
_WORKING: Final = (0, 1, 2, 5, 6, 7)
"""Fields of a line of /proc/stat that are work: user, nice, system, irq, softirq, steal; proc(5).
Guests are counted as user already, and waiting for a disk is no work."""


class MachineMetrics(Collector):
    """Figures that are read when they are asked for.

    In a container they are those of its control group, as far as that has limits.

    Args:
        folders: whose disks are watched.
        group: of this process.
    """

    def __init__(self, folders: Folders, group: ControlGroup = OWN) -> None:
        self._folders, self._group = folders, group

    def collect(self) -> Iterator[Metric]:
        """The figures of now. A disk that cannot be asked has none."""
        yield from self._disks()
        size = memory_size(self._group)
        yield GaugeMetricFamily("audio_memory_size_bytes", "Memory that the service may use.", size)
        free = min(available_memory(self._group), size)
        yield GaugeMetricFamily("audio_memory_available_bytes", "Memory of it that is not in use.", free)
        cores, used_s = _processors(self._group)
        yield GaugeMetricFamily("audio_cpu_cores", "Processors that the service may use.", cores)
        yield CounterMetricFamily("audio_cpu_seconds", "Seconds that these processors have worked.", used_s)
        yield from _backup(last_backup(self._folders.data))

    def _disks(self) -> Iterator[Metric]:
        free = GaugeMetricFamily(
            "audio_disk_free_bytes", "Free bytes on the disk of a folder.", labels=["folder"]
        )
        size = GaugeMetricFamily(
            "audio_disk_size_bytes", "Size of the disk of a folder in bytes.", labels=["folder"]
        )
        for name in _FOLDERS:
            with suppress(OSError):
                usage = shutil.disk_usage(getattr(self._folders, name))
                # What root keeps for itself is neither free nor ours: as df counts.
                free.add_metric([name], usage.free)
                size.add_metric([name], usage.used + usage.free)
        yield free
        yield size


def _processors(group: ControlGroup) -> tuple[float, float]:
    """How many processors there are, and for how many seconds they have worked."""
    cores, used_s = group.cores() or float(os.cpu_count() or 1), group.cpu_used_s()
    if used_s is None:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        used_s = sum(int(fields[n]) for n in _WORKING) / os.sysconf("SC_CLK_TCK")
    return cores, used_s


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that succeeded.

    Attributes:
        kind: ``full`` or ``manifests``.
        finished_at: in seconds since 1970.
        bytes: its size.
    """

    kind: str
    finished_at: float
    bytes: float


def last_backup(data: Path) -> Backup | None:
    """What the backup command has said last.

    Args:
        data: the data folder.

    Returns:
        None where there was none, or what it has said makes no sense: the alert says so in a day.
    """
    try:
        said = json.loads((data / BACKUP_STATUS).read_text(encoding="utf-8"))
        found = Backup(str(said["kind"]), float(said["finished_at"]), float(said["bytes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.kind in ("full", "manifests") else None


def fullest_disk(folders: Folders) -> float:
    """Share of the fullest of the folders' disks that is free; 0 where none can be asked."""
    shares = []
    for name in _FOLDERS:
        with suppress(OSError):
            usage = shutil.disk_usage(getattr(folders, name))
            shares.append(usage.free / (usage.used + usage.free))
    return min(shares, default=0.0)


def _backup(backup: Backup | None) -> Iterator[Metric]:
    if backup is None:
        return
    when = GaugeMetricFamily(
        "audio_pipeline_backup_last_success_timestamp_seconds",
        "When the last backup succeeded, in seconds since 1970.",
        labels=["kind"],
    )
    when.add_metric([backup.kind], backup.finished_at)
    yield when
    size = GaugeMetricFamily(
        "audio_pipeline_backup_last_size_bytes", "Size of the last backup.", labels=["kind"]
    )
    size.add_metric([backup.kind], backup.bytes)
    yield size
