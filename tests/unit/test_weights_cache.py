from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from pipeline.config import WeightsConfig
from pipeline.errors import Cancelled
from pipeline.progress import CancelToken
from pipeline.weights.cache import MemberState, cache_folder, verify
from pipeline.weights.fetch import ensure
from pipeline.weights.registry import HPSS, get_model_spec
from pipeline.weights.spec import HubFile, Member
from tests.weights_support import SIGNATURE, legacy_pin, model, noise, pin

GOOD = [noise(2000, seed=seed) for seed in range(3)]
BAG = model(
    *(Member(f"{i}" * 8, (1.0,) * 4, legacy_pin(content, f"{i}" * 8)) for i, content in enumerate(GOOD))
)


def test_weights_lie_in_the_users_cache_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert cache_folder(WeightsConfig()) == Path(platformdirs.user_cache_dir("audio-pipeline")) / "weights"
    assert cache_folder(WeightsConfig(cache_dir=tmp_path)) == tmp_path


def test_verify_tells_good_missing_and_damaged_networks_apart_and_changes_nothing(tmp_path: Path) -> None:
    names = [member.legacy.name for member in BAG.members]
    (tmp_path / names[0]).write_bytes(GOOD[0])
    (tmp_path / names[2]).write_bytes(GOOD[0])
    assert verify(BAG, WeightsConfig(cache_dir=tmp_path)) == (
        MemberState("00000000", "ok", tmp_path / names[0]),
        MemberState("11111111", "missing", None),
        MemberState("22222222", "corrupt", tmp_path / names[2]),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[0], names[2]]


def test_verify_of_a_folder_that_is_not_there_finds_everything_missing(tmp_path: Path) -> None:
    states = verify(BAG, WeightsConfig(cache_dir=tmp_path / "nowhere"))
    assert [state.state for state in states] == ["missing"] * 3
    assert not (tmp_path / "nowhere").exists()


def test_one_good_file_is_enough_beside_a_damaged_one(tmp_path: Path) -> None:
    hub = HubFile("nobody/Nothing-0f0f0f0f", "0" * 40, pin(f"{SIGNATURE}.safetensors", GOOD[1]))
    either = model(Member(SIGNATURE, (1.0,) * 4, legacy_pin(GOOD[0]), hub))
    good = tmp_path / legacy_pin(GOOD[0]).name
    good.write_bytes(GOOD[0])
    (tmp_path / hub.file.name).write_bytes(GOOD[2])
    config = WeightsConfig(cache_dir=tmp_path, offline=True)
    assert verify(either, config) == (MemberState(SIGNATURE, "ok", good),)
    assert ensure(either, config) == (good,)


def test_verify_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / BAG.members[0].legacy.name).write_bytes(GOOD[0])
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        verify(BAG, WeightsConfig(cache_dir=tmp_path), cancel)


def test_a_model_without_weights_is_always_there(tmp_path: Path) -> None:
    config = WeightsConfig(cache_dir=tmp_path / "nowhere", offline=True)
    assert verify(get_model_spec(HPSS), config) == ()
    assert ensure(get_model_spec(HPSS), config) == ()
    assert not (tmp_path / "nowhere").exists()
