"""Weights of speech models: from a cache, a mirror, a package; never the wrong ones, nor unasked online."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import WeightsConfig
from pipeline.errors import WeightsUnavailable
from pipeline.weights.speech import SPEECH, SpeechModel, fetch, find, state
from tests.weights_support import FREE, noise, pin

CONTENT = {"config.json": b"{}", "model.bin": noise(10_000)}
MODEL = SpeechModel(
    name="tiny-speech",
    summary="",
    languages="english",
    licence=FREE,
    repo="nobody/nothing",
    revision="0" * 40,
    files=tuple(pin(name, content) for name, content in CONTENT.items()),
)


def filled(folder: Path) -> Path:
    (folder / MODEL.name).mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / MODEL.name / name).write_bytes(content)
    return folder


def test_a_mirror_folder_is_used_where_it_lies_and_without_network(tmp_path: Path) -> None:
    mirror = filled(tmp_path / "mirror")
    config = WeightsConfig(cache_dir=tmp_path / "cache", mirror=str(mirror), offline=True)
    assert fetch(MODEL, config) == find(MODEL, config) == mirror / MODEL.name
    assert not (tmp_path / "cache").exists()


def test_a_damaged_file_is_fetched_again_and_the_others_are_kept(tmp_path: Path) -> None:
    cache, mirror = filled(tmp_path / "cache"), filled(tmp_path / "mirror")
    (cache / MODEL.name / "model.bin").write_bytes(noise(10_000, seed=1))
    (mirror / MODEL.name / "config.json").unlink()
    config = WeightsConfig(cache_dir=cache, mirror=str(mirror), offline=True)
    assert state(MODEL, config) == "corrupt"
    assert fetch(MODEL, config) == cache / MODEL.name
    assert (cache / MODEL.name / "model.bin").read_bytes() == CONTENT["model.bin"]
    assert state(MODEL, config) == "ok"


def test_a_mirror_with_other_files_is_refused_and_the_reasons_are_told(tmp_path: Path) -> None:
    mirror = filled(tmp_path / "mirror")
    (mirror / MODEL.name / "model.bin").write_bytes(noise(10_000, seed=1))
    config = WeightsConfig(cache_dir=tmp_path / "cache", mirror=str(mirror), offline=True)
    with pytest.raises(WeightsUnavailable, match="another hash") as refused:
        fetch(MODEL, config)
    assert "offline mode" in refused.value.message
    assert "tiny-speech/model.bin" in refused.value.hint
    assert state(MODEL, config) != "ok"


def test_the_smallest_model_is_in_its_package(tmp_path: Path) -> None:
    config = WeightsConfig(cache_dir=tmp_path, offline=True)
    folder = find(SPEECH["whisper-tiny.en"], config)
    assert folder is not None and {path.name for path in folder.iterdir()} >= {"model.bin", "config.json"}
    assert find(replace(SPEECH["whisper-tiny.en"], package="no-such-package"), config) is None
    assert state(SPEECH["whisper-small"], config) == "missing"
