"""How far a job is, how long it will take, and how to stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.errors import Cancelled

STAGES: Final = ("probe", "decode", "separate", "estimate", "encode", "export", "publish")
"""The stages of a job, in order; export is left out where nothing is to be exported."""

STAGE_SHARE: Final = {
    "probe": 0.01,
    "decode": 0.02,
    "separate": 0.85,
    "estimate": 0.07,
    "encode": 0.03,
    "export": 0.01,
    "publish": 0.01,
}
"""Share of a job's time that each stage usually takes: turns a stage's fraction into the job's."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One step forward.

    Attributes:
        stage: a name of `STAGES`.
        stage_fraction: 0..1, how much of the stage is done.
        fraction: 0..1, how much of the job is done; never goes back.
        elapsed_s: seconds since the job started.
        eta_s: estimated seconds until the job ends; None until there is something to go by.
    """

    stage: str
    stage_fraction: float
    fraction: float
    elapsed_s: float
    eta_s: float | None


class CancelToken:
    """A flag that any thread may raise and the pipeline looks at between steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the job to stop; takes effect within one segment of separation."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def check(self) -> None:
        """Stop here if asked to.

        Raises:
            Cancelled: `cancel` was called.
        """
        if self.cancelled:
            raise Cancelled("The job was cancelled.")


class Progress:
    """Turns stage fractions into job fractions and an estimate of the time left.

    Args:
        listener: called with every event, on the thread that runs the pipeline.
        clock: monotonic seconds; injected by tests.
    """

    def __init__(
        self,
        listener: Callable[[ProgressEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._clock = clock
        self._start = clock()
        self._stage = STAGES[0]
        self._stage_start = self._start
        self._fraction = 0.0
        self._given = 0.0
        self.duration_s: float | None = None
        """Length of the recording in seconds, once it is known."""

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self._stage = stage
        self._stage_start = self._clock()
        self._given = 0.0
        self.step(0.0)

    def resume(self, stage_fraction: float) -> None:
        """Report what an attempt before has done of the current stage: it says nothing about the speed."""
        self._stage_start = self._clock()
        self._given = stage_fraction
        self.step(stage_fraction)

    def step(self, stage_fraction: float) -> None:
        """Report that ``stage_fraction`` (0..1) of the current stage is done."""
        within = min(max(stage_fraction, 0.0), 1.0)
        before = sum(STAGE_SHARE[s] for s in STAGES[: STAGES.index(self._stage)])
        share = STAGE_SHARE[self._stage]
        self._fraction = max(self._fraction, min(before + share * within, 1.0))
        if self._listener is not None:
            now = self._clock()
            self._listener(
                ProgressEvent(
                    stage=self._stage,
                    stage_fraction=within,
                    fraction=self._fraction,
                    elapsed_s=now - self._start,
                    eta_s=self._eta_s(now, within, before, share),
                )
            )

    def _eta_s(self, now: float, within: float, before: float, share: float) -> float | None:
        # Separation dominates, so its own measured speed predicts the rest best: set-up time
        # (loading the model) must not be extrapolated.
        if self._stage == "separate":
            if within <= self._given:
                return None
            per_share = (now - self._stage_start) / ((within - self._given) * share)
        elif before + share * within > 0.5:
            per_share = (now - self._start) / (before + share * within)
        else:
            return None
        return max(per_share * (1.0 - before - share * within), 0.0)
