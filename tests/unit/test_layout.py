import numpy as np
import pytest

from pipeline.layout import SPEAKERS, fold_matrix, speakers_of, stereo_pairs


@pytest.mark.parametrize("channels", range(1, 9))
def test_every_channel_count_has_speakers(channels: int) -> None:
    assert len(speakers_of(None, channels)) == channels


def test_a_layout_name_that_does_not_fit_the_channels_is_ignored() -> None:
    assert speakers_of("5.1", 2) == ("FL", "FR")
    assert speakers_of("5.1(side)", 6) == ("FL", "FR", "FC", "LFE", "SL", "SR")


@pytest.mark.parametrize("layout", SPEAKERS)
def test_pairs_cover_every_channel_of_every_layout_once(layout: str) -> None:
    pairs = stereo_pairs(SPEAKERS[layout])
    covered = [i for a, b in pairs for i in {a, b}]
    assert sorted(covered) == list(range(len(SPEAKERS[layout])))


def test_left_and_right_of_one_place_are_heard_together() -> None:
    assert stereo_pairs(SPEAKERS["5.1"]) == ((0, 1), (2, 2), (3, 3), (4, 5))
    assert stereo_pairs(("FC",)) == ((0, 0),)


@pytest.mark.parametrize("layout", SPEAKERS)
def test_the_fold_down_treats_left_and_right_alike(layout: str) -> None:
    left, right = fold_matrix(SPEAKERS[layout])
    assert np.isclose(left.sum(), right.sum())


def test_the_fold_down_of_5_1_is_that_of_bs_775() -> None:
    left = fold_matrix(SPEAKERS["5.1"])[0]
    assert np.allclose(left, [1, 0, 0.7071, 0, 0.7071, 0])
