from __future__ import annotations

import numpy as np
import pytest

from pipeline.exports.grid import Bar, Grid


def test_even_beats_need_one_tempo_after_the_lead_in() -> None:
    times = np.arange(0.7, 300, 0.5).tolist()
    grid = Grid(times, times[2::4])
    assert len(grid.tempi) == 2
    assert grid.tempi[1][2] == pytest.approx(120, abs=0.01)
    assert grid.bars == [Bar(0, 4)]


def test_beats_lie_on_whole_beats_and_downbeats_on_the_first_of_a_bar() -> None:
    rng = np.random.default_rng(0)
    tempo = 110 + 10 * np.sin(np.arange(200) / 20)
    times = (1.3 + np.cumsum(60 / tempo) + rng.normal(0, 0.002, 200)).tolist()
    grid = Grid(times, times[1::3])
    at = [grid.beat_at(time) for time in times]
    assert np.abs(np.array(at) - np.round(at)).max() < 0.02
    assert all(round(beat) % 3 == 0 for beat in at[1::3])
    assert grid.bars == [Bar(0, 3)]


@pytest.mark.parametrize("first_s", [0.0, 0.001, 0.04, 0.25, 0.49, 3.3, 30.0])
@pytest.mark.parametrize("start", [0, 1, 3])
def test_before_the_first_beat_there_is_a_tempo_that_sequencers_take(first_s: float, start: int) -> None:
    times = (first_s + np.arange(40) * 0.5).tolist()
    grid = Grid(times, times[start::4])
    assert all(20 <= bpm <= 960 for _, _, bpm in grid.tempi)
    assert round(grid.beat_at(times[start + 8])) % 4 == 0


def test_a_change_of_metre_becomes_a_change_of_bars() -> None:
    times = np.arange(0.5, 20, 0.5).tolist()
    grid = Grid(times, [*times[0:12:4], *times[12::3]])
    assert [bar.beats for bar in grid.bars] == [4, 3] or [bar.beats for bar in grid.bars] == [3, 4, 3]
    firsts = {round(grid.beat_at(time)) for time in times[12::3]}
    assert grid.bars[-1].beat in firsts


@pytest.mark.parametrize("times", [[], [1.0]])
def test_without_beats_the_grid_is_that_of_the_tempo(times: list[float]) -> None:
    grid = Grid(times, bpm=90.0)
    assert not grid.known
    assert grid.beat_at(60.0) == pytest.approx(90.0)
    assert Grid(times).beat_at(60.0) == pytest.approx(120.0)
