import json

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.annotations import Annotation
from pipeline.audio import Audio
from pipeline.estimators.registry import select
from tests.unit.estimators.signals import seen

SIGNALS = ("silence", "noise", "impulse", "offset", "clipped", "faint", "one_sided")


def signal(kind: str, channels: int, samples: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(samples)
    out = np.zeros((channels, samples), dtype=np.float32)
    if kind == "noise":
        out += 0.1 * rng.standard_normal(out.shape)
    elif kind == "impulse":
        out[:, samples // 2 : samples // 2 + 1] = 1.0
    elif kind == "offset":
        out += 0.5 + 0.01 * rng.standard_normal(out.shape)
    elif kind == "clipped":
        out += np.clip(3 * rng.standard_normal(out.shape), -1, 1)
    elif kind == "faint":
        out += 1e-7 * rng.standard_normal(out.shape)
    elif kind == "one_sided":
        out[0] = 0.1 * rng.standard_normal(samples)
    return out


def estimate_all(mix: Audio, stems: dict[str, Audio]) -> dict[str, Annotation]:
    recording, found = seen(mix, stems), dict[str, Annotation]()
    for estimator in select(None):
        found[estimator.name] = estimator.estimate(recording, found)
    return found


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize(
    ("sample_rate", "channels", "seconds"),
    [(8000, 2, 2.0), (11025, 1, 0.1), (44100, 2, 2.0), (44100, 8, 1.0), (192000, 1, 1.0)],
)
def test_every_estimator_answers_and_no_answer_is_overconfident(
    kind: str, sample_rate: int, channels: int, seconds: float
) -> None:
    mix = Audio(signal(kind, channels, round(seconds * sample_rate)), sample_rate)
    silence = Audio(np.zeros_like(mix.samples), sample_rate)
    found = estimate_all(mix, {"drums": mix, "bass": silence, "other": silence, "vocals": mix})
    for name, annotation in found.items():
        answer = json.loads(annotation.model_dump_json())
        assert answer["source"] and answer["method"] and answer["version"], name
        assert answer.get("confidence", 0.0) < 0.2, (name, answer)


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 100, 219, 220, 221, 441, 1024, 8191, 8193])
@pytest.mark.parametrize("sample_rate", [22050, 44100])
def test_a_few_samples_are_enough_for_an_answer(samples: int, sample_rate: int) -> None:
    mix = Audio(signal("noise", 2, samples), sample_rate)
    assert set(estimate_all(mix, {})) == {estimator.name for estimator in select(None)}
    estimate_all(mix, {"drums": mix, "other": mix})
