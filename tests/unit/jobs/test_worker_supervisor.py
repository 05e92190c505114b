"""Workers are kept alive, are stopped, and never outlive their supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from api.jobs.supervisor import Supervisor, _pause_s

ROOT = Path(__file__).parents[3]
WAITS = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); signal.pause()"
DEAF = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\nwhile True: signal.pause()"


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline


def test_workers_that_die_are_replaced() -> None:
    supervisor = Supervisor([sys.executable, "-c", WAITS], 2)
    supervisor.start()
    try:
        eventually(lambda: supervisor.alive == 2)
        victim, other = supervisor.pids
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: supervisor.alive == 2 and victim not in supervisor.pids)
        assert other in supervisor.pids
    finally:
        supervisor.stop()
    assert supervisor.alive == 0
    assert not psutil.pid_exists(other)


@pytest.mark.parametrize("operators", [None, "7"])
def test_the_threads_of_a_worker_do_not_spin_for_long_unless_the_operator_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operators: str | None
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if operators is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", operators)
    tell = f"import os; open({str(tmp_path / 'part')!r}, 'w').write(os.environ['GOMP_SPINCOUNT']); "
    there = f"os.rename({str(tmp_path / 'part')!r}, {str(tmp_path / 'told')!r}); {WAITS}"
    supervisor = Supervisor([sys.executable, "-c", tell + there], 1)
    supervisor.start()
    try:
        eventually((tmp_path / "told").exists)
        assert (tmp_path / "told").read_text() == (operators or "1000")
    finally:
        supervisor.stop()


def test_a_worker_that_does_not_stop_is_killed() -> None:
    supervisor = Supervisor([sys.executable, "-c", DEAF], 1, grace_s=0.1)
    supervisor.start()
    eventually(lambda: supervisor.alive == 1)
    (pid,) = supervisor.pids
    supervisor.stop()
    assert supervisor.draining
    assert not psutil.pid_exists(pid)


def test_a_worker_that_is_frozen_for_too_long_is_replaced() -> None:
    supervisor = Supervisor([sys.executable, "-c", WAITS], 1, frozen_s=0.3)
    supervisor.start()
    try:
        eventually(lambda: supervisor.alive == 1)
        (frozen,) = supervisor.pids
        os.kill(frozen, signal.SIGSTOP)
        eventually(lambda: supervisor.alive == 1 and supervisor.pids != [frozen])
    finally:
        supervisor.stop()


SILENT = """
import sys, time
from api.jobs.pulse import beating
beat = beating(int(sys.argv[sys.argv.index("--pulse") + 1]))
for _ in range(int(sys.argv[1])):
    beat()
    time.sleep(0.05)
print("silent", flush=True)
time.sleep(1000)
"""


def test_a_worker_that_falls_silent_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor([sys.executable, "-c", SILENT, "3"], 1, silent_s=1.0)
    supervisor.start()
    try:
        eventually(lambda: supervisor.alive == 1)
        (silent,) = supervisor.pids
        eventually(lambda: supervisor.alive == 1 and supervisor.pids != [silent])
    finally:
        supervisor.stop()
    assert [r.pid for r in caplog.records if getattr(r, "action", "") == "worker_silent"][:1] == [silent]


def test_a_worker_that_has_not_begun_to_beat_has_two_minutes() -> None:
    supervisor = Supervisor([sys.executable, "-c", SILENT, "0"], 1, silent_s=0.2)
    supervisor.start()
    try:
        eventually(lambda: supervisor.alive == 1)
        (slow,) = supervisor.pids
        time.sleep(1.0)  # Several times what it may be silent for.
        assert supervisor.pids == [slow]
    finally:
        supervisor.stop()


def test_workers_that_are_replaced_leave_no_file_open() -> None:
    files = len(os.listdir("/proc/self/fd"))
    supervisor = Supervisor([sys.executable, "-c", WAITS], 2)
    supervisor.start()
    for _ in range(3):
        eventually(lambda: supervisor.alive == 2)
        victim = supervisor.pids[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: supervisor.alive == 2 and victim not in supervisor.pids)  # noqa: B023
    supervisor.stop()
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_command_that_does_not_exist_leaves_no_worker_alive() -> None:
    supervisor = Supervisor(["/nonexistent/worker"], 1)
    supervisor.start()
    supervisor.stop()
    assert supervisor.alive == 0


def test_pauses_grow_and_end_at_half_a_minute() -> None:
    pauses = [_pause_s(deaths) for deaths in range(9)]
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert _pause_s(10_000) == 30.0


CHILD = """
import signal, sys
from api.jobs.supervisor import die_with_parent
die_with_parent(int(sys.argv[sys.argv.index("--parent") + 1]))
signal.signal(15, signal.SIG_IGN)
while True: signal.pause()
"""
PARENT = """
import sys, time
from api.jobs.supervisor import Supervisor
supervisor = Supervisor([sys.executable, "-c", sys.argv[1]], 2)
supervisor.start()
while supervisor.alive < 2: pass
print(*supervisor.pids, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("settled", [True, False])
def test_no_worker_survives_a_kill_of_its_supervisor(settled: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    if settled:  # Else the children have hardly begun to import.
        eventually(lambda: all(b"15" in _ignored(child) for child in children))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not any(_runs(child) for child in children))


def _ignored(process: psutil.Process) -> bytes:
    """b"15" when the process ignores SIGTERM: then it is past its start."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return b"15" if int(mask.split()[1], 16) >> 14 & 1 else b""


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
