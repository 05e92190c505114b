"""What is said of the machine, in and out of a container, and of backups."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from api.jobs.folders import Folders
from api.machine_metrics import MachineMetrics
from pipeline.control_group import ControlGroup

MIB = 1 << 20


def said(folder: Path, group: Path) -> dict[str, float]:
    folders = Folders.below(folder)
    folders.make()
    found = {}
    for family in MachineMetrics(folders, ControlGroup(group, group / "none")).collect():
        for sample in family.samples:
            found[sample.name + "".join(f"[{value}]" for value in sample.labels.values())] = sample.value
    return found


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A control group of two and a half processors and 512 MiB, of which a quarter is free."""
    folder = tmp_path / "group"
    folder.mkdir()
    for name, text in {
        "cpu.max": "250000 100000\n",
        "cpu.stat": "usage_usec 7500000\nuser_usec 5000000\nsystem_usec 2500000\n",
        "memory.max": f"{512 * MIB}\n",
        "memory.current": f"{448 * MIB}\n",
        "memory.stat": f"anon {300 * MIB}\ninactive_file {64 * MIB}\n",
    }.items():
        (folder / name).write_text(text)
    return folder


def test_in_a_container_its_limits_count(tmp_path: Path, group: Path) -> None:
    found = said(tmp_path / "data", group)
    assert found["audio_cpu_cores"] == 2.5
    assert found["audio_cpu_seconds_total"] == 7.5
    assert found["audio_memory_size_bytes"] == 512 * MIB
    assert found["audio_memory_available_bytes"] == 128 * MIB


def test_in_a_container_without_limits_it_is_the_machine_that_bounds(tmp_path: Path, group: Path) -> None:
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    found = said(tmp_path / "data", group)
    assert found["audio_cpu_cores"] == os.cpu_count()
    assert found["audio_cpu_seconds_total"] == 7.5
    assert found["audio_memory_size_bytes"] > 1024 * MIB


def test_out_of_a_container_the_machine_counts(tmp_path: Path) -> None:
    before = said(tmp_path / "data", tmp_path / "none")
    sum(range(3_000_000))
    after = said(tmp_path / "data", tmp_path / "none")
    assert after["audio_cpu_cores"] == os.cpu_count()
    assert after["audio_cpu_seconds_total"] > before["audio_cpu_seconds_total"] > 0
    assert 0 < after["audio_memory_available_bytes"] < after["audio_memory_size_bytes"]


def test_each_folder_has_its_disk(tmp_path: Path) -> None:
    found = said(tmp_path / "data", tmp_path / "none")
    for folder in ("data", "uploads", "outputs", "downloads", "logs"):
        free, size = (found[f"audio_disk_{what}_bytes[{folder}]"] for what in ("free", "size"))
        assert 0 < free < size


def test_a_folder_that_is_gone_has_no_figures_and_hides_no_others(tmp_path: Path) -> None:
    folders = Folders.below(tmp_path)
    found = {
        (family.name, sample.labels.get("folder"))
        for family in MachineMetrics(folders).collect()
        for sample in family.samples
    }
    assert ("audio_disk_free_bytes", "data") in found
    assert ("audio_disk_free_bytes", "uploads") not in found
    assert ("audio_cpu_cores", None) in found


def test_the_last_backup_is_told_as_its_command_has_written(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    status = {"finished_at": 1796000000.5, "kind": "full", "bytes": 12345}
    (data / "backup-status.json").write_text(json.dumps(status))
    found = said(data, tmp_path / "none")
    assert found["audio_pipeline_backup_last_success_timestamp_seconds[full]"] == 1796000000.5
    assert found["audio_pipeline_backup_last_size_bytes[full]"] == 12345


NO_BACKUPS = [
    "",
    "{",
    "[]",
    "null",
    '{"kind": "full"}',
    '{"finished_at": "x", "kind": "full", "bytes": 1}',
    '{"finished_at": 1, "kind": "evil", "bytes": 1}',
]


@pytest.mark.parametrize("text", NO_BACKUPS)
def test_a_status_that_makes_no_sense_is_no_backup(tmp_path: Path, text: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "backup-status.json").write_text(text)
    assert not [name for name in said(data, tmp_path / "none") if "backup" in name]
