"""Workers that rest until they are told to look, and those that have grown too large."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from api.jobs.bell import Bell, rest
from api.jobs.heartbeat import EXIT_RECYCLED
from api.jobs.supervisor import Supervisor

LOOKS = """
import sys, threading
sys.path.insert(0, {root!r})
from api.jobs.bell import rest
from api.jobs.pulse import resting, working
pulse, bell = (int(sys.argv[sys.argv.index(name) + 1]) for name in ("--pulse", "--bell"))
say_resting, say_working = resting(pulse), working(pulse)
while True:
    say_resting()
    rest(bell, threading.Event(), 600.0)
    say_working()
    with open({log!r}, "a") as log:
        log.write("looked\\n")
"""
ROOT = str(Path(__file__).parents[3])


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def looks(log: Path) -> int:
    return log.read_text().count("looked") if log.exists() else 0


def supervisor_of(log: Path, count: int) -> Supervisor:
    return Supervisor([sys.executable, "-c", LOOKS.format(root=ROOT, log=str(log))], count, bells=True)


def test_a_turn_is_one_look_and_over_when_the_worker_rests_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = supervisor_of(log, 1)
    supervisor.start()
    try:
        assert supervisor.turn(60.0)
        assert looks(log) == 1
        assert supervisor.turn(60.0)
        assert looks(log) == 2
    finally:
        supervisor.stop()


def test_nobody_waits_for_a_worker_that_has_died(tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = supervisor_of(log, 1)
    supervisor.start()
    try:
        assert supervisor.turn(60.0)
        os.kill(supervisor.pids[0], signal.SIGKILL)
        assert supervisor.turn(60.0), "of the one that follows, if not of the dead one"
    finally:
        supervisor.stop()


def test_a_turn_ends_when_all_are_to_stop(tmp_path: Path) -> None:
    supervisor = Supervisor([sys.executable, "-c", "import signal; signal.pause()"], 1, bells=True)
    supervisor.start()
    said: list[bool] = []
    waiting = threading.Thread(target=lambda: said.append(supervisor.turn(600.0)))
    waiting.start()
    supervisor.begin_stop()
    waiting.join(60)
    supervisor.stop()
    assert said == [False]


def test_a_worker_that_has_grown_too_large_is_replaced_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = f"open({str(log)!r}, 'a').write('looked\\n'); import sys; sys.exit({EXIT_RECYCLED})"
    clock = time.monotonic
    supervisor = Supervisor([sys.executable, "-c", program], 1, clock=clock)
    supervisor.start()
    # Were each of them taken for a death, the sixth would start after half a minute of rests.
    eventually(lambda: looks(log) >= 6)
    supervisor.stop()


def test_a_bell_that_rings_ends_a_rest_and_rings_are_not_lost() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    rest(bell.fd, threading.Event(), 600.0)
    stop = threading.Event()
    stop.set()
    rest(bell.fd, stop, 600.0)
    bell.handed_over()
    bell.ring()
    bell.close()
