"""Kills the whole service at once: at an instant that a test names, or from outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

from tests.faults.service_faults import until
from tests.program import children_of
from tests.service import ROOT, Service

WORKER_INSTANTS: Final = (
    *(f"enter {stage}" for stage in ("probe", "decode", "separate", "estimate", "encode", "publish")),
    *(f"{side} {step}" for step in ("publish", "succeed", "settle") for side in ("before", "after")),
)
"""Where a worker can be when everything dies."""
API_INSTANTS: Final = tuple(f"{side} {step}" for step in ("keep", "add") for side in ("before", "after"))
"""Where the API can be while it accepts a job."""

# Python imports a module of this name before anything else, in the workers too.
_HOOKS: Final = """
import os, signal, sys, traceback

WHERE = os.environ["KILL_AT"]

def reach(instant):
    try:
        with open(WHERE) as file:
            if file.read() != instant:
                return
        os.unlink(WHERE)
    except FileNotFoundError:
        return
    if IS_WORKER:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name, step):
    function = getattr(owner, name)
    def watched(*given, **named):
        reach(f"before {step}")
        answer = function(*given, **named)
        reach(f"after {step}")
        return answer
    setattr(owner, name, watched)

IS_WORKER = sys.orig_argv[1:4] == ["-m", "api", "worker"]
try:
    if IS_WORKER:
        from api.jobs import worker
        from api.jobs.sql_store import SqlJobStore
        from pipeline.progress import Progress
        enter = Progress.enter
        Progress.enter = lambda self, stage: (reach(f"enter {stage}"), enter(self, stage))[1]
        around(worker.AttemptFolder, "publish", "publish")
        around(SqlJobStore, "succeed", "succeed")
        around(worker, "settle", "settle")
    elif sys.orig_argv[1:4] == ["-m", "api", "serve"]:
        from api import acceptance
        from api.jobs.sql_store import SqlJobStore
        around(acceptance, "keep_input", "keep")
        around(SqlJobStore, "add", "add")
except BaseException:  # Python would say so and go on, and what waits for a death would wait in vain.
    traceback.print_exc()
    os._exit(70)
"""


class MortalService(Service):
    """A service that can be told where to die, with all its processes.

    Args:
        folder: where it keeps everything.
        hooks: a folder for what kills it.
        **settings: further environment variables.
    """

    def __init__(self, folder: Path, hooks: Path, **settings: str) -> None:
        (hooks / "sitecustomize.py").write_text(_HOOKS)
        self._kill_at = hooks / "kill at"
        path = os.pathsep.join([str(hooks), str(ROOT)])
        super().__init__(folder, PYTHONPATH=path, KILL_AT=str(self._kill_at), **settings)

    def die_at(self, instant: str) -> None:
        """Let it die when it comes to one of `WORKER_INSTANTS` or `API_INSTANTS`."""
        temporary = self._kill_at.with_suffix(".new")
        temporary.write_text(instant)
        temporary.rename(self._kill_at)

    def dead(self) -> None:
        """Wait for that."""
        assert self.process is not None
        until(lambda: self.process is None or self.process.poll() is not None, "it dies", seconds=240)

    def kill_all(self) -> None:
        """Kill all of its processes, as the kernel of a machine that loses power does."""
        assert self.process is not None
        processes = [self.process.pid]
        for pid in processes:  # Grows while it is walked.
            try:
                os.kill(pid, signal.SIGSTOP)
                processes += children_of(pid)
            except (ProcessLookupError, FileNotFoundError):
                continue
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
