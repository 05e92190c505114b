"""The stage that estimates: every estimator once, side by side as far as one does not need another.

An estimator that uses up its time is stopped where it next reads the recording, which each does every few
seconds of it; recorded as failed, it keeps neither the others nor the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from time import monotonic
from typing import Final

from pipeline.annotations import Analysis, Annotation, Failed, Problem
from pipeline.errors import Cancelled, EstimatorTimeout, PipelineError
from pipeline.estimators.base import Estimator, Recording
from pipeline.progress import CancelToken

Result = Annotation | Failed

PATIENCE_S: Final = 60.0
"""Seconds that every estimator has beyond its budget: networks are loaded, and the machine has other work."""


def estimate(
    recording: Recording,
    estimators: Sequence[Estimator],
    threads: int,
    step: Callable[[float], None],
    cancel: CancelToken,
) -> Analysis:
    """Let estimators hear a recording.

    Args:
        recording: the mix and its stems.
        estimators: in running order: each after those that it needs.
        threads: estimators that work at the same time.
        step: told the fraction done, 0..1.
        cancel: looked at before each, and while it reads.

    Returns:
        What was found. An estimator that failed is recorded so, and the others go on.

    Raises:
        Cancelled: `cancel` was raised.
    """
    begun: dict[str, Future[Result]] = {}

    def work(estimator: Estimator) -> Result:
        # Those that it needs began before it, so they end: nobody waits for somebody who waits.
        found = {name: begun[name].result() for name in estimator.needs if name in begun}
        cancel.check()
        answered = {name: one for name, one in found.items() if isinstance(one, Annotation)}
        return result_of(estimator, recording, answered, cancel)

    with ThreadPoolExecutor(threads, thread_name_prefix="estimator") as pool:
        for estimator in estimators:
            begun[estimator.name] = pool.submit(work, estimator)
        for done, future in enumerate(as_completed(begun.values()), 1):
            future.result()
            step(done / len(begun))
    return Analysis.model_validate({name: future.result() for name, future in begun.items()})


def result_of(
    estimator: Estimator,
    recording: Recording,
    found: Mapping[str, Annotation],
    cancel: CancelToken | None = None,
    clock: Callable[[], float] = monotonic,
) -> Result:
    """What one estimator answers; an exception becomes a record of its failure.

    Args:
        estimator: which.
        recording: the mix and its stems.
        found: results of the estimators that it needs.
        cancel: looked at while it reads.
        clock: seconds; injected by tests.

    Raises:
        Cancelled: `cancel` was raised.
    """
    limit_s = PATIENCE_S + estimator.budget * recording.mix.duration_s
    end = clock() + limit_s

    def check() -> None:
        if cancel is not None:
            cancel.check()
        if clock() > end:
            raise EstimatorTimeout(
                f"It was stopped after {limit_s:.0f} s.", "Try again when the machine is less busy."
            )

    try:
        return estimator.estimate(recording.watched(check), found)
    except Cancelled:
        raise
    except Exception as exc:
        ours = isinstance(exc, PipelineError)
        problem = Problem(
            code=exc.code if isinstance(exc, PipelineError) else "estimator_failed",
            message=str(exc) if ours else f"{type(exc).__name__}: {exc}"[:500],
        )
        return Failed(method=estimator.method, version=estimator.version, error=problem)
