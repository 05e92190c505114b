"""What a submission may say, in a form or in JSON; how it travels is tested with the service."""

import json

import pytest
from pydantic import ValidationError

from api.receiving import storable_name
from api.schemas import JobOptions, Submission


def test_a_form_and_json_say_the_same() -> None:
    form = Submission.model_validate(
        {"stems": "vocals, no_vocals", "formats": "mp3", "estimators": "none", "metadata": '{"a": [1]}',
         "shifts": "2", "overlap": "0.5", "commercial_only": "true", "priority": "3"}
    )  # fmt: skip
    said = {
        "stems": ["vocals", "no_vocals"], "formats": ["mp3"], "estimators": [], "metadata": {"a": [1]},
        "shifts": 2, "overlap": 0.5, "commercial_only": True, "priority": 3,
    }  # fmt: skip
    assert form == Submission.model_validate_json(json.dumps(said))


def test_only_what_was_chosen_becomes_an_option() -> None:
    submission = Submission(model="hpss", metadata={"a": 1}, priority=2, webhook_url="https://x/")
    assert submission.options == {"model": "hpss"}


def test_every_option_of_a_job_can_be_estimated_too() -> None:
    assert set(JobOptions.model_fields) < set(Submission.model_fields)


@pytest.mark.parametrize(
    "said",
    [
        '{"metadata": {"a": NaN}}',
        '{"metadata": {"a": [{"b": -Infinity}]}}',
        '{"metadata": {"a": 1e999}}',
        '{"metadata": {"a": "\\u0000"}}',
        '{"metadata": {"\\u0000": 1}}',
        '{"metadata": {"a": "\\ud800"}}',
        '{"metadata": {"a": ' + "[" * 5000 + "]" * 5000 + "}}",
        '{"metadata": {"a": "' + "x" * 20_000 + '"}}',
        '{"metadata": []}',
        '{"metadata": null}',
        '{"priority": 10}',
        '{"priority": -1}',
        '{"priority": 1.5}',
        '{"shifts": 11}',
        '{"overlap": NaN}',
        '{"stems": ["' + "x" * 65 + '"]}',
        '{"stems": [""]}',
        '{"formats": []}',
        '{"colour": "blue"}',
        '{"options": {"model": "hpss"}}',
        "[]",
        "null",
        "",
        "{",
    ],
)
def test_what_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(ValidationError):
        Submission.model_validate_json(said)


@pytest.mark.parametrize("said", ["{", "[]", "null", '{"a": NaN}', "x" * 20_000])
def test_metadata_in_a_form_is_a_json_object(said: str) -> None:
    with pytest.raises(ValidationError):
        Submission.model_validate({"metadata": said})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("song.mp3", "song.mp3"),
        ("", "recording"),
        ("a\0b.mp3", "a\N{REPLACEMENT CHARACTER}b.mp3"),
        ("\udcff.mp3", "\N{REPLACEMENT CHARACTER}.mp3"),
        ("../../x<img>.wav", "../../x<img>.wav"),
        ("Ünï 🎵.flac", "Ünï 🎵.flac"),
    ],
)
def test_a_file_name_is_kept_as_text(given: str, kept: str) -> None:
    assert storable_name(given) == kept


def test_a_long_file_name_keeps_its_beginning_and_its_end() -> None:
    kept = storable_name("x" * 70_000 + ".flac")
    assert len(kept) == 255
    assert kept.startswith("xxx")
    assert kept.endswith(".flac")
