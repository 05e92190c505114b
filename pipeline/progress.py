"""How far a job is, how long it will take, and how to stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, slots=True)
class StageSpeed:
    """How long a stage took, without what says nothing about its speed.

    Attributes:
        set_up_s: seconds of preparation, such as loading a model.
        seconds: of its work.
        share: 0..1, how much of its work that was: the rest was done by an attempt before, or by another job.
    """

    set_up_s: float
    seconds: float
    share: float


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

    def wait(self, most_s: float) -> None:
        """Rest for so many seconds, or until `cancel` is called."""
        self._event.wait(most_s)

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
        expected_s: seconds that each stage should take, by those of earlier jobs; None: as usual, and nothing
            is said of the time left before there is something to go by.
    """

    def __init__(
        self,
        listener: Callable[[ProgressEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        expected_s: Mapping[str, float] | None = None,
    ) -> None:
        self._shares = _shares(expected_s) if expected_s else STAGE_SHARE
        self._expected_s = sum(expected_s.values()) if expected_s else None
        self._listener = listener
        self._clock = clock
        self._start = clock()
        self._stage = STAGES[0]
        self._stage_start = self._start
        self._fraction = 0.0
        self._given = 0.0
        self._set_up_s = 0.0
        self._all_set_up_s = 0.0
        self._ended: dict[str, StageSpeed] = {}
        self.duration_s: float | None = None
        """Length of the recording in seconds, once it is known."""

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self._ended = self.speeds()
        self._all_set_up_s += self._set_up_s
        self._set_up_s = 0.0
        self._stage = stage
        self._stage_start = self._clock()
        self._given = 0.0
        self.step(0.0)

    def ready(self) -> None:
        """Report that the current stage is prepared: what this took says nothing about its speed."""
        now = self._clock()
        self._set_up_s += now - self._stage_start
        self._stage_start = now

    def speeds(self) -> dict[str, StageSpeed]:
        """How long each stage took, by name; the current one until now."""
        seconds = self._clock() - self._stage_start
        return {**self._ended, self._stage: StageSpeed(self._set_up_s, seconds, 1.0 - self._given)}

    def resume(self, stage_fraction: float) -> None:
        """Report what an attempt before has done of the current stage: it says nothing about the speed."""
        self._stage_start = self._clock()
        self._given = stage_fraction
        self.step(stage_fraction)

    def step(self, stage_fraction: float) -> None:
        """Report that ``stage_fraction`` (0..1) of the current stage is done."""
        within = min(max(stage_fraction, 0.0), 1.0)
        before = sum(self._shares[s] for s in STAGES[: STAGES.index(self._stage)])
        share = self._shares[self._stage]
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
        if self._stage == "separate" and within > self._given:
            per_share = (now - self._stage_start) / ((within - self._given) * share)
        elif self._expected_s is not None:
            per_share = self._expected_s
        elif self._stage != "separate" and before + share * within > 0.5:
            per_share = (now - self._start - self._all_set_up_s) / (before + share * within)
        else:
            return None
        return max(per_share * (1.0 - before - share * within), 0.0)


def _shares(expected_s: Mapping[str, float]) -> dict[str, float]:
    """Shares of a job's time; none is 0, so that every stage moves it on."""
    total = sum(expected_s.values())
    shares = {stage: max(expected_s.get(stage, 0.0) / total, 1e-3) for stage in STAGES}
    return {stage: share / sum(shares.values()) for stage, share in shares.items()}
