"""What is said is heard: espeak-ng speaks, and the smallest network, which a package carries, listens."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.annotations import Activity, Annotation, Lyrics, Span, StemActivity
from pipeline.config import WeightsConfig
from pipeline.errors import LyricsUnavailable
from pipeline.estimators import lyrics
from pipeline.estimators.lyrics import PIECE_S, LyricsEstimator, _pieces
from pipeline.weights.speech import SPEECH
from tests.unit.estimators.signals import RATE, Signal, drum_kit, noise, recording, steady

SAID = "The river runs below the bridge. Tomorrow we will sing again, a song about the falling rain."
QUIET_S = 4.0


def spoken(text: str, folder: Path) -> Signal:
    path = folder / "said.wav"
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "140", "-w", path, text], check=True)
    samples, rate = soundfile.read(path)
    assert rate == RATE
    return np.asarray(samples, dtype=np.float64)


def active(*spans: tuple[float, float]) -> dict[str, Annotation]:
    found = StemActivity(
        silent=not spans,
        active_fraction=0.5,
        energy_db=-3.0,
        active=[Span(start_s=a, end_s=b) for a, b in spans],
    )
    return {"activity": Activity(method="", version="", source="vocals", stems={"vocals": found})}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Lyrics:
    """What is heard of a voice that begins after a pause, beside louder drums."""
    voice = np.concatenate(
        [np.zeros(round(QUIET_S * RATE)), spoken(SAID, tmp_path_factory.mktemp("said")), np.zeros(RATE)]
    )
    length_s = len(voice) / RATE
    mix = voice + drum_kit(steady(120, length_s), length_s)[: len(voice)]
    found = active((QUIET_S, length_s - 1.0))
    return LyricsEstimator().estimate(recording(mix, {"vocals": voice}), found)


def test_nearly_every_word_is_heard(heard: Lyrics) -> None:
    words = [word.text.strip(".,").lower() for line in heard.lines for word in line.words]
    truth = SAID.replace(".", "").replace(",", "").lower().split()
    assert len(set(truth) & set(words)) >= 0.85 * len(set(truth))
    assert abs(len(words) - len(truth)) <= 2
    assert (heard.model, heard.licence, heard.language) == ("whisper-tiny.en", "MIT", "en")
    assert heard.confidence > 0.7


def test_words_are_where_they_are_said(heard: Lyrics, tmp_path: Path) -> None:
    words = [word for line in heard.lines for word in line.words]
    assert all(a.start_s <= a.end_s <= b.end_s for a, b in pairwise(words))
    assert QUIET_S - 0.3 <= words[0].start_s <= QUIET_S + 0.5
    # The second sentence is said as by itself: it ends together with the whole.
    second_s = len(spoken(SAID.partition(". ")[2], tmp_path)) / RATE
    whole_s = QUIET_S + len(spoken(SAID, tmp_path)) / RATE
    (tomorrow,) = [word for word in words if word.text == "Tomorrow"]
    assert tomorrow.start_s == pytest.approx(whole_s - second_s, abs=0.35)
    assert words[-1].end_s == pytest.approx(whole_s, abs=0.5)


@pytest.mark.parametrize("found", [active(), {}])
def test_without_a_voice_there_is_nothing_to_hear(found: Mapping[str, Annotation]) -> None:
    silent = LyricsEstimator().estimate(recording(noise(3), {"vocals": np.zeros(3 * RATE)}), found)
    assert (silent.lines, silent.confidence, silent.model) == ([], 0.0, None)


@pytest.mark.slow
def test_noise_is_not_taken_for_words() -> None:
    hiss = noise(4)
    assert LyricsEstimator().estimate(recording(hiss, {"vocals": hiss}), active((0.0, 4.0))).lines == []


def test_passages_are_heard_with_their_short_pauses_and_in_pieces_that_fit_into_memory() -> None:
    long = recording(np.zeros(1000 * RATE), {"vocals": np.zeros(1000 * RATE)})
    found = active((10.0, 20.0), (21.0, 30.0), (50.0, 50.01), (100.0, 900.0))["activity"]
    pieces = _pieces(long, "vocals", found)
    assert pieces[0] == pytest.approx((9.7, 30.3))
    assert all(piece.stop_s - piece.start_s <= PIECE_S for piece in pieces)
    later = np.array(pieces[2:])
    assert later[1:, 0] == pytest.approx(later[:-1, 1])
    assert (later[0, 0], later[-1, 1]) == pytest.approx((99.7, 900.3))


def test_where_the_package_lacks_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(lyrics, "find_spec", lambda name: None if name == "faster_whisper" else real(name))
    with pytest.raises(LyricsUnavailable, match="make setup LYRICS=yes"):
        lyrics.installed(WeightsConfig())


def test_where_every_model_lacks_the_error_says_how_to_fetch_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lyrics, "find", lambda *_: None)
    with pytest.raises(LyricsUnavailable, match="models fetch whisper-small"):
        lyrics.installed(WeightsConfig(cache_dir=tmp_path))


def test_the_better_model_hears_where_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lyrics, "find", lambda *_: tmp_path)
    assert lyrics.installed(WeightsConfig())[0] is SPEECH["whisper-small"]
