import pytest

from pipeline.annotations import Analysis
from pipeline.errors import EstimatorUnknown
from pipeline.estimators.registry import BY_NAME_ONLY, ESTIMATORS, select


def test_there_is_an_estimator_for_every_field_of_the_analysis() -> None:
    assert set(ESTIMATORS) == set(Analysis.model_fields)
    assert all(name == estimator.name for name, estimator in ESTIMATORS.items())


def test_tempo_runs_before_beats_whatever_was_asked_for_first() -> None:
    assert [estimator.name for estimator in select(("beats", "tempo", "beats"))] == ["tempo", "beats"]


def test_none_means_all_and_an_empty_choice_means_none() -> None:
    assert select(None) == [one for name, one in ESTIMATORS.items() if name not in BY_NAME_ONLY]
    assert select(()) == []


def test_an_extra_is_added_to_all_by_its_name() -> None:
    assert select(("all", "lyrics")) == list(ESTIMATORS.values())
    assert [one.name for one in select(("lyrics",))] == ["lyrics"]


def test_an_unknown_name_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(EstimatorUnknown) as refused:
        select(("tempo", "genre"))
    assert "'genre'" in refused.value.message
    assert all(name in refused.value.hint for name in ESTIMATORS)
