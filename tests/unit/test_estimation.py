"""Estimators run side by side, and each after those that it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import pytest

from pipeline.annotations import Annotation, Failed, Spectrum, Tempo
from pipeline.errors import Cancelled
from pipeline.estimation import PATIENCE_S, estimate, result_of
from pipeline.estimators.base import Estimator, Recording
from pipeline.estimators.registry import ESTIMATORS, select
from pipeline.progress import CancelToken
from tests.unit.estimators.signals import drum_kit, recording, steady

NOTHING = {"method": "none", "version": "1", "source": "mix"}


class Made:
    """An estimator whose answer is made by a function."""

    method, version, budget = "none", "1", 1.0

    def __init__(
        self, name: str, answer: Callable[[Mapping[str, Annotation]], Annotation], *needs: str
    ) -> None:
        self.name, self.needs, self._answer = name, needs, answer

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Annotation:
        return self._answer(found)


def tempo(_: Mapping[str, Annotation]) -> Annotation:
    return Tempo(**NOTHING, bpm=100.0, confidence=1.0, candidates=[])


def spectrum() -> Annotation:
    unknown = dict.fromkeys(("centroid_hz", "bandwidth_hz", "rolloff_hz", "flatness"))
    return Spectrum(**NOTHING, **unknown, band_energy_db={})


def broken(_: Mapping[str, Annotation]) -> Annotation:
    raise ZeroDivisionError("by zero")


def heard() -> Recording:
    return recording(drum_kit(steady(120, 8), 8))


def run(*estimators: Estimator, threads: int = 2, cancel: CancelToken | None = None) -> list[float]:
    steps: list[float] = []
    estimate(heard(), estimators, threads, steps.append, cancel or CancelToken())
    return steps


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_an_estimator_sees_what_it_needs_and_nothing_else(threads: int) -> None:
    seen: list[set[str]] = []

    def looks(found: Mapping[str, Annotation]) -> Annotation:
        seen.append(set(found))
        return spectrum()

    made = Made("tempo", tempo), Made("key", broken), Made("spectrum", looks, "tempo", "key", "beats")
    run(*made, threads=threads)
    assert seen == [{"tempo"}]


def test_two_that_do_not_need_each_other_work_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)

    def meets(_: Mapping[str, Annotation]) -> Annotation:
        both.wait()
        return spectrum()

    def meets_as_tempo(found: Mapping[str, Annotation]) -> Annotation:
        both.wait()
        return tempo(found)

    assert run(Made("tempo", meets_as_tempo), Made("spectrum", meets)) == [0.5, 1.0]


def test_one_that_fails_does_not_keep_the_others() -> None:
    analysis = estimate(
        heard(),
        [Made("key", broken), Made("tempo", tempo, "key")],
        2,
        lambda _: None,
        CancelToken(),
    )
    assert isinstance(analysis.tempo, Tempo)
    assert isinstance(analysis.key, Failed)
    assert analysis.key.error.message == "ZeroDivisionError: by zero"


def test_a_cancel_ends_the_stage() -> None:
    cancel = CancelToken()

    def cancels(found: Mapping[str, Annotation]) -> Annotation:
        cancel.cancel()
        return tempo(found)

    with pytest.raises(Cancelled):
        run(Made("tempo", cancels), Made("key", broken, "tempo"), cancel=cancel)


class Endless(Made):
    """Reads the recording again and again, while the clock goes on by a second each time."""

    def __init__(self, read: Callable[[Recording], object]) -> None:
        super().__init__("tempo", tempo)
        self._read, self.now = read, 0.0

    def clock(self) -> float:
        self.now += 1.0
        return self.now

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Annotation:
        while True:
            self._read(recording)


@pytest.mark.parametrize(
    "read",
    [
        lambda recording: recording.mono("mix"),
        lambda recording: recording.mono("mix").window(0, 10),
        lambda recording: list(recording.mix.blocks()),
        lambda recording: recording.stems["drums"].window(0, 10),
    ],
)
def test_one_that_uses_up_its_time_is_stopped_where_it_next_reads(
    read: Callable[[Recording], object],
) -> None:
    endless, drums = Endless(read), drum_kit(steady(120, 8), 8)
    result = result_of(endless, recording(drums, {"drums": drums}), {}, clock=endless.clock)
    assert isinstance(result, Failed)
    assert result.error.code == "estimator_timeout"
    assert endless.now == pytest.approx(PATIENCE_S + 8 * endless.budget, abs=3)


def test_one_that_is_at_work_stops_with_the_job() -> None:
    cancel = CancelToken()

    def read(recording: Recording) -> None:
        cancel.cancel()
        recording.mono("mix")

    with pytest.raises(Cancelled):
        estimate(heard(), [Endless(read)], 1, lambda _: None, cancel)


def test_every_estimator_has_a_budget_far_above_what_it_takes() -> None:
    assert all(0.1 < estimator.budget < 10 for estimator in ESTIMATORS.values())


def test_every_estimator_comes_after_those_that_it_needs() -> None:
    order = list(ESTIMATORS)
    for name, estimator in ESTIMATORS.items():
        assert all(order.index(needed) < order.index(name) for needed in estimator.needs)


def test_side_by_side_gives_what_one_after_the_other_gives() -> None:
    analyses = [estimate(heard(), select(None), n, lambda _: None, CancelToken()) for n in (1, 3)]
    assert analyses[0] == analyses[1]
