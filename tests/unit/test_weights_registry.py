from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from demucs.pretrained import REMOTE_ROOT

from pipeline.errors import LicenceRefused, ModelUnknown
from pipeline.weights.registry import DEFAULT, HPSS, MODELS, check_licence, get_model_spec
from pipeline.weights.spec import ModelSpec

SPECS = list(MODELS.values())
WITH_WEIGHTS = [spec for spec in SPECS if spec.members]
MODELS_MD = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


@pytest.mark.parametrize("spec", WITH_WEIGHTS, ids=lambda spec: spec.name)
def test_a_model_is_the_bag_that_demucs_defines(spec: ModelSpec) -> None:
    bag: dict[str, Any] = yaml.safe_load((REMOTE_ROOT / f"{spec.name}.yaml").read_text("utf-8"))
    assert [member.signature for member in spec.members] == bag["models"]
    even = [[1.0] * len(spec.stems)] * len(spec.members)
    assert [list(member.shares) for member in spec.members] == bag.get("weights", even)
    assert spec.segment_s == bag.get("segment")


@pytest.mark.parametrize("spec", WITH_WEIGHTS, ids=lambda spec: spec.name)
def test_every_file_is_pinned_by_a_whole_hash_that_agrees_with_demucs_list(spec: ModelSpec) -> None:
    listed = (REMOTE_ROOT / "files.txt").read_text("utf-8").splitlines()
    for member in spec.members:
        assert member.legacy.name in listed
        assert member.legacy.name == f"{member.signature}-{member.legacy.hex[:8]}.th"
        for file in member.files:
            assert file.algorithm == "sha256"
            assert len(bytes.fromhex(file.hex)) == 32
            assert file.bytes > 50_000_000
            assert file.name.startswith(member.signature)


def test_every_model_of_demucs_is_here_except_the_quantised_and_the_unpinned() -> None:
    bags = {path.stem for path in REMOTE_ROOT.glob("*.yaml")}
    left_out = bags - MODELS.keys()
    assert left_out == {
        "mdx_q", "mdx_extra_q", "repro_mdx_a", "repro_mdx_a_hybrid_only", "repro_mdx_a_time_only",
    }  # fmt: skip
    assert MODELS.keys() - bags == {HPSS}
    for name in left_out:
        assert f"`{name}`" in MODELS_MD


def test_only_the_default_can_come_from_npm() -> None:
    assert [spec.name for spec in SPECS for member in spec.members if member.npm] == [DEFAULT]


def test_an_unknown_model_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ModelUnknown, match="no model called 'spleeter'") as caught:
        get_model_spec("spleeter")
    assert all(name in caught.value.hint for name in MODELS)


def test_a_model_without_weights_has_nothing_to_fetch_and_the_stems_of_its_separator() -> None:
    from pipeline.separators.hpss import HpssSeparator

    spec = get_model_spec(HPSS)
    assert spec.bytes == 0
    assert spec.stems == HpssSeparator.stems
    assert spec.quality.grade == "draft"


@pytest.mark.parametrize("spec", WITH_WEIGHTS, ids=lambda spec: spec.name)
def test_weights_for_research_are_refused_to_those_who_need_commercial_ones(spec: ModelSpec) -> None:
    check_licence(spec, commercial_only=False)
    with pytest.raises(LicenceRefused, match=spec.name) as caught:
        check_licence(spec, commercial_only=True)
    assert HPSS in caught.value.hint
    assert spec.licence.url in caught.value.hint


def test_a_model_without_weights_may_be_used_commercially() -> None:
    check_licence(get_model_spec(HPSS), commercial_only=True)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_document_on_models_agrees_with_the_registry(spec: ModelSpec) -> None:
    (row,) = [line for line in MODELS_MD.splitlines() if line.startswith(f"| `{spec.name}` ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    figure = "" if spec.quality.sdr_db is None else f"{spec.quality.sdr_db:.1f}"
    assert cells[1:] == [
        ", ".join(spec.stems),
        str(len(spec.members)),
        f"{spec.bytes / 1e6:.0f}",
        spec.quality.grade,
        figure,
        "yes" if spec.licence.commercial_use else "no",
    ]


def test_quality_reads_as_one_line_with_figure_and_source() -> None:
    assert str(get_model_spec("htdemucs").quality) == (
        "high, 8.8 dB SDR on MUSDB18-HQ: one network, trained on MUSDB18-HQ and 800 more songs "
        "(Rouard, Massa, Défossez 2022, arXiv:2211.08553)"
    )
