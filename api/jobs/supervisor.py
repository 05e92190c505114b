"""Keeps a number of worker processes alive."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.jobs.bell import Bell
from api.jobs.heartbeat import EXIT_RECYCLED
from api.jobs.pulse import Pulse

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_HEALTHY_S: Final = 60.0
"""A worker that lived this long did not die of its start: the next one starts at once."""
_SILENT_S: Final = 120.0
_TURN_LOOK_S: Final = 0.02
ENVIRONMENT: Final = {"GOMP_SPINCOUNT": "1000"}
"""Of workers, unless the operator says otherwise.

A thread that waits for the others of a computation spins for some 50 us, not for GNU OpenMP's several ms.
Where cores are shared, those are lost to other programs and to the computation itself: htdemucs by torch on
two busy cores took 10.5 s of processor time a segment, and 5.6 s so.
"""

WORKER_NICENESS: Final = 5
"""Of workers beside an API, nice(2)."""


def die_with_parent(parent: int) -> None:
    """End this process when its parent does, however that happens. To be called first thing in a worker.

    Args:
        parent: process id of the supervisor, as it gave it on the command line. It may have died before this
            call, and nobody would say so afterwards: then the process ends here.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        log.warning("cannot be told when the parent dies", extra={"action": "pdeathsig_failed"})
    if os.getppid() != parent:
        sys.exit(0)


@dataclass(slots=True)
class _Place:
    """One worker, and the one that follows when it dies."""

    process: subprocess.Popen[bytes] | None = None
    pulse: Pulse | None = None
    bell: Bell | None = None
    taken: bool = False
    started: float = 0.0
    start_at: float = 0.0
    deaths: int = 0
    stopped_at: float | None = None
    killed: bool = False


class Supervisor:
    """Starts workers, replaces those that die, and stops them all.

    A worker that dies again and again is started less and less often: after 0.5 s, 1 s … 30 s.

    Args:
        command: starts one worker; ``--parent`` and this process's id are added, for `die_with_parent`, and
            ``--pulse`` with the number of an open file, for `api.jobs.pulse.beating`.
        count: how many workers.
        grace_s: how long they may take to stop; then they are killed, and their jobs resume elsewhere.
        frozen_s: how long a worker may be frozen (SIGSTOP); then it is killed. It may hold the database's
            lock, so this is less than others wait for that.
        silent_s: how long a worker may show no sign of life; then it is killed. For its start it has two
            minutes at least.
        bells: whether workers rest until they are told to look: see `turn`. ``--bell`` with the number of an
            open file is added, for `api.jobs.bell.rest`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        *,
        grace_s: float = 30.0,
        frozen_s: float = 15.0,
        silent_s: float = _SILENT_S,
        bells: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = [*command, "--parent", str(os.getpid())]
        self._places = [_Place() for _ in range(count)]
        self._grace_s, self._frozen_s, self._silent_s = grace_s, frozen_s, silent_s
        self._bells = bells
        self._clock = clock
        self._turns = threading.Lock()
        self._stopping = threading.Event()
        # The kernel takes the thread that forked for the parent: the workers would die with a shorter one.
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @property
    def count(self) -> int:
        """How many workers there should be."""
        return len(self._places)

    @property
    def alive(self) -> int:
        """How many workers run."""
        return len(self.pids)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        processes = [place.process for place in self._places]
        return [p.pid for p in processes if p is not None and p.returncode is None]

    @property
    def draining(self) -> bool:
        """Whether the workers were told to stop."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Start the workers, and keep them alive from now on."""
        self._thread.start()

    def turn(self, most_s: float) -> bool:
        """Have a worker that rests look for work, and stay until it rests again.

        Args:
            most_s: how long to wait for a worker that rests.

        Returns:
            Whether one looked. What it found, if anything, it has brought to an end, or it has died.
        """
        deadline = self._clock() + most_s
        while (place := self._take()) is None:
            if self._clock() >= deadline or self._stopping.wait(_TURN_LOOK_S):
                return False
        try:
            process, pulse, bell = place.process, place.pulse, place.bell
            if pulse is None or bell is None:
                return False
            before = pulse.rests
            bell.ring()
            while place.process is process and pulse.rests == before:
                if self._stopping.wait(_TURN_LOOK_S):
                    break
                pulse.hear()
            return True
        finally:
            place.taken = False

    def _take(self) -> _Place | None:
        with self._turns:
            for place in self._places:
                if place.taken or place.pulse is None:
                    continue
                place.pulse.hear()
                if place.pulse.resting:
                    place.taken = True
                    return place
        return None

    def begin_stop(self) -> None:
        """Tell the workers to finish or hand back their jobs, without waiting for them."""
        self._stopping.set()

    def stop(self) -> None:
        """Tell the workers to finish or hand back their jobs, and wait until all are gone."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for place in self._places:
                self._look_after(place)
            self._stopping.wait(0.2)
        self._end()

    def _look_after(self, place: _Place) -> None:
        now = self._clock()
        if place.process is not None and place.process.poll() is not None:
            status = place.process.returncode
            healthy = status == EXIT_RECYCLED or now - place.started >= _HEALTHY_S
            place.deaths = 0 if healthy else place.deaths + 1
            pause_s = _pause_s(place.deaths)
            if status == EXIT_RECYCLED:
                said = {"action": "worker_recycled", "pid": place.process.pid}
                log.info("worker had grown too large and is replaced", extra=said)
            else:
                said = {"action": "worker_died", "pid": place.process.pid, "status": status}
                log.warning("worker died with status %d; next in %.1f s", status, pause_s, extra=said)
            place.process, place.start_at = None, now + pause_s
            _forget_pulse(place)
        if place.process is not None and not place.killed:
            self._check_lives(place, place.process, now)
        if place.process is None and now >= place.start_at:
            try:
                self._start(place, now)
            except OSError:
                _forget_pulse(place)
                place.deaths += 1
                place.start_at = now + _pause_s(place.deaths)
                log.exception("a worker could not be started", extra={"action": "worker_not_started"})

    def _start(self, place: _Place, now: float) -> None:
        place.pulse = pulse = Pulse(now)
        command, ends = [*self._command, "--pulse", str(pulse.fd)], [pulse.fd]
        try:
            if self._bells:
                place.bell = Bell()
                command += ["--bell", str(place.bell.fd)]
                ends.append(place.bell.fd)
            # A session of its own: Ctrl-C in a terminal is for the supervisor, who then asks the workers.
            place.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=ends,
                env={**ENVIRONMENT, **os.environ},
            )
        finally:
            pulse.handed_over()
            if place.bell is not None:
                place.bell.handed_over()
        place.started, place.stopped_at, place.killed = now, None, False
        log.info("worker started", extra={"action": "worker_started", "pid": place.process.pid})

    def _check_lives(self, place: _Place, process: subprocess.Popen[bytes], now: float) -> None:
        """Kill a worker that has been frozen, or has shown no sign of life, for too long."""
        if not _is_frozen(process.pid):
            place.stopped_at = None
        elif place.stopped_at is None:
            place.stopped_at = now
        frozen = place.stopped_at is not None and now - place.stopped_at >= self._frozen_s
        if frozen or (place.pulse is not None and self._is_silent(place.pulse, now)):
            why = "frozen" if frozen else "silent"
            said = {"action": f"worker_{why}", "pid": process.pid}
            log.warning("worker is %s and is killed", why, extra=said)
            process.kill()
            place.killed = True  # Who waits for a dead disk is gone only when that answers.

    def _is_silent(self, pulse: Pulse, now: float) -> bool:
        silence_s = pulse.silence_s(now)
        return silence_s >= (self._silent_s if pulse.heard else max(self._silent_s, _SILENT_S))

    def _end(self) -> None:
        processes = [place.process for place in self._places if place.process is not None]
        for process in processes:
            process.terminate()
        deadline = self._clock() + self._grace_s
        for process in processes:
            try:
                process.wait(max(deadline - self._clock(), 0.0))
            except subprocess.TimeoutExpired:
                said = {"action": "worker_killed", "pid": process.pid}
                log.warning("worker did not stop in time and is killed", extra=said)
                process.kill()
                process.wait()
        for place in self._places:
            _forget_pulse(place)


def _forget_pulse(place: _Place) -> None:
    if place.pulse is not None:
        place.pulse.close()
        place.pulse = None
    if place.bell is not None:
        place.bell.close()
        place.bell = None


def _is_frozen(pid: int) -> bool:
    try:
        # proc(5): the state follows the name in parentheses, which may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _pause_s(deaths: int) -> float:
    return 0.0 if deaths == 0 else min(_FIRST_PAUSE_S * 2.0 ** min(deaths - 1, 10), _LONGEST_PAUSE_S)
