"""Limits of control groups of both versions: on made-up trees of files, and on those of this machine."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pipeline.control_group import OWN, ControlGroup

MIB = 1 << 20
NONE_V1 = 0x7FFF_FFFF_FFFF_F000


def tree(mount: Path, membership: str, files: dict[str, str]) -> ControlGroup:
    for name, text in files.items():
        path = mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    own = mount.with_name("own")
    own.write_text(membership)
    return ControlGroup(mount, own)


def version_2(
    group: str, quota: str = "max", limit: str = "max", used: int = 0, cache: int = 0
) -> dict[str, str]:
    return {
        f"{group}cpu.max": f"{quota} 100000",
        f"{group}cpu.stat": "usage_usec 7500000\nuser_usec 5000000",
        f"{group}memory.max": limit,
        f"{group}memory.current": str(used),
        f"{group}memory.stat": f"anon 1\ninactive_file {cache}",
    }


def version_1(
    group: str, quota: int = -1, limit: int = NONE_V1, used: int = 0, cache: int = 0
) -> dict[str, str]:
    return {
        f"cpu/{group}cpu.cfs_quota_us": str(quota),
        f"cpu/{group}cpu.cfs_period_us": "100000",
        f"cpuacct/{group}cpuacct.usage": "7500000000",
        f"memory/{group}memory.limit_in_bytes": str(limit),
        f"memory/{group}memory.usage_in_bytes": str(used),
        f"memory/{group}memory.stat": f"inactive_file 1\ntotal_inactive_file {cache}",
    }


V1 = "4:memory:{0}\n3:cpuset:/\n2:cpuacct:{0}\n1:cpu:{0}\n0::{0}\n"
CONTAINERS = {
    "version 2": ("0::/\n", version_2("", "250000", str(512 * MIB), 448 * MIB, 64 * MIB)),
    "version 2, seen from outside": (
        "0::/system.slice/x.scope\n",
        version_2("system.slice/x.scope/", "250000", str(512 * MIB), 448 * MIB, 64 * MIB),
    ),
    "version 2, by the path that it has outside": (
        "0::/../docker/abc\n",
        version_2("", "250000", str(512 * MIB), 448 * MIB, 64 * MIB),
    ),
    "version 1": (V1.format("/"), version_1("", 250000, 512 * MIB, 448 * MIB, 64 * MIB)),
    "version 1, seen from outside": (
        V1.format("/docker/abc"),
        version_1("docker/abc/", 250000, 512 * MIB, 448 * MIB, 64 * MIB) | version_1(""),
    ),
    "version 1, by the path that it has outside": (
        V1.format("/docker/abc"),
        version_1("", 250000, 512 * MIB, 448 * MIB, 64 * MIB),
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_limits_of_a_container_are_found(tmp_path: Path, container: str) -> None:
    group = tree(tmp_path / "cgroup", *CONTAINERS[container])
    assert group.cores() == 2.5
    assert group.cpu_used_s() == 7.5
    assert group.memory_limit() == 512 * MIB
    assert group.memory_left() == 128 * MIB


@pytest.mark.parametrize("container", ["version 1", "version 2"])
def test_a_container_without_limits_has_none(tmp_path: Path, container: str) -> None:
    files = {"version 1": version_1, "version 2": version_2}[container]("", used=448 * MIB)
    group = tree(tmp_path / "cgroup", CONTAINERS[container][0], files)
    assert (group.cores(), group.memory_limit(), group.memory_left()) == (None, None, None)
    assert group.cpu_used_s() == 7.5


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {
        **version_2("a/", "400000", str(200 * MIB), 150 * MIB),
        **version_2("a/b/", "100000", str(900 * MIB), 10 * MIB),
        **version_2("a/b/c/"),
    }
    group = tree(tmp_path / "cgroup", "0::/a/b/c\n", files)
    assert (group.cores(), group.memory_limit(), group.memory_left()) == (1.0, 200 * MIB, 50 * MIB)


def test_controllers_that_share_a_folder_are_found(tmp_path: Path) -> None:
    files = {
        f"cpu,cpuacct/{name.partition('/')[2]}": text
        for name, text in version_1("g/", 150000).items()
        if name.startswith("cpu")
    }
    group = tree(tmp_path / "cgroup", "5:cpu,cpuacct:/g\n", files)
    assert (group.cores(), group.cpu_used_s()) == (1.5, 7.5)


@pytest.mark.parametrize("files", [{}, {"cpu.max": "much", "memory.max": "", "memory.current": "x"}])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    for group in (
        tree(tmp_path / "cgroup", "0::/\n", files),
        ControlGroup(tmp_path / "none", tmp_path / "none"),
    ):
        found = (group.cores(), group.cpu_used_s(), group.memory_limit(), group.memory_left())
        assert found == (None, None, None, None)


SHOW = "from pipeline.control_group import OWN; print(OWN.cores(), OWN.memory_limit(), OWN.memory_left())"
ENTER = 'for group in $GROUPS_TO_ENTER; do echo $$ >"$group/cgroup.procs" || exit 7; done; exec "$@"'


@contextmanager
def limited_groups() -> Iterator[list[Path]]:
    """Groups of this machine below our own, limited to half a processor and 300 MiB.

    Yields:
        Their folders; none where none may be made.
    """
    made: list[Path] = []
    limits = {
        "cpu": {"cpu.max": "50000 100000", "cpu.cfs_quota_us": "50000"},
        "memory": {"memory.max": str(300 * MIB), "memory.limit_in_bytes": str(300 * MIB)},
    }
    with ExitStack() as stack:
        try:
            for controller, files in limits.items():
                folder = next(OWN._way_up(controller)) / f"audio-pipeline-test-{os.getpid()}"
                if folder not in made:
                    folder.mkdir()
                    stack.callback(folder.rmdir)
                    made.append(folder)
                for name, text in files.items():
                    if (folder / name).exists():
                        (folder / name).write_text(text)
        except OSError as exc:
            assert exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT), exc
            made.clear()
        yield made


def test_the_limits_of_a_group_of_this_machine_are_found_from_inside() -> None:
    with limited_groups() as groups:
        done = subprocess.run(
            ["sh", "-c", ENTER, "sh", sys.executable, "-c", SHOW],
            env={**os.environ, "GROUPS_TO_ENTER": " ".join(map(str, groups))},
            capture_output=True,
            text=True,
            check=True,
        )
    cores, limit, left = done.stdout.split()
    if groups:
        assert (cores, limit) == ("0.5", str(300 * MIB))
        assert 100 * MIB < int(left) < 300 * MIB
    else:  # A container that may make none: its own limits are those that the child inherits.
        assert (cores, limit) == (str(OWN.cores()), str(OWN.memory_limit()))
