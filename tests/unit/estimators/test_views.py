"""What estimators look at: mono views of the mix and its stems, however long they are."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from pipeline.estimators.base import energy
from tests.unit.estimators.signals import RATE, noise, recording, tone


def test_a_view_of_several_stems_is_the_mean_over_channels_of_their_sum() -> None:
    bass, voice = np.stack([tone(110, 3), np.zeros(3 * RATE)]), np.stack([noise(3), noise(3, 1)])
    views = recording(bass + voice, {"bass": bass, "vocals": voice})
    expected = (bass + voice).mean(axis=0)
    assert np.allclose(views.mono("bass+vocals").samples[0], expected, atol=1e-6)
    assert np.allclose(views.mono("mix").samples[0], expected, atol=1e-6)


def test_a_view_lies_on_disk_and_is_made_once() -> None:
    views = recording(tone(440, 2))
    assert isinstance(views.mono("mix").samples.base.base, np.memmap | mmap.mmap)
    assert views.mono("mix") is views.mono("mix")


def test_a_view_has_the_rate_that_was_asked_for() -> None:
    views = recording(tone(440, 2, 48000), rate=48000)
    assert views.mono("mix", 16000).length == 32000


def test_energy_is_the_sum_of_squares() -> None:
    assert energy(recording(tone(440, 20)).mix) == pytest.approx(0.125 * 20 * RATE, rel=1e-3)
