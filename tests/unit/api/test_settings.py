from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from api.errors import SettingsInvalid
from api.settings import Settings, pipeline_defaults, variable
from api.settings_load import SECRETS, VARIABLES, load_settings
from scripts.settings_docs import env_example, settings_page

ROOT = Path(__file__).resolve().parents[3]
LONG = "correct-horse-battery-staple-0123456789"


def refusal(environ: dict[str, str], env_file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(environ, env_file)
    return caught.value.message.split("\n")


def test_nothing_has_to_be_set() -> None:
    settings = load_settings({})
    assert (settings.api_host, settings.api_port, settings.max_file_bytes) == ("127.0.0.1", 8000, 500 << 20)
    assert settings.uploads_dir == Path("data/uploads")
    assert settings.database_url.get_secret_value() == "sqlite:///data/pipeline.db"


def test_folders_lie_below_the_data_folder_unless_they_are_set() -> None:
    settings = load_settings({"DATA_DIR": "/srv/audio", "LOGS_DIR": "/var/log/audio"})
    assert settings.outputs_dir == Path("/srv/audio/outputs")
    assert settings.logs_dir == Path("/var/log/audio")
    assert settings.database_url.get_secret_value() == "sqlite:////srv/audio/pipeline.db"


def test_every_bad_setting_is_one_line() -> None:
    lines = refusal(
        {
            "API_PORT": "eighty",
            "LOGGING_LEVEL": "loud",
            "PIPELINE_WORKRES": "2",
            "PIPELINE_RATE_PROCESS": "ten",
            "PIPELINE_RATE_ROUTES": "/estimate 10",
            "PIPELINE_TRUSTED_PROXIES": "10.0.0.0/8, nginx",
            "DEVICE": "tpu",
            "PIPELINE_MAX_DURATION_S": "inf",
            "PIPELINE_MODEL": "nope",
            "PIPELINE_FORMATS": "flac, wax",
            "PIPELINE_CORS_ORIGINS": "https://ui.example.org/app",
        }
    )
    assert sorted(line.split(":")[0].split("=")[0] for line in lines) == [
        "API_PORT",
        "DEVICE",
        "LOGGING_LEVEL",
        "PIPELINE_CORS_ORIGINS",
        "PIPELINE_FORMATS",
        "PIPELINE_MAX_DURATION_S",
        "PIPELINE_MODEL",
        "PIPELINE_RATE_PROCESS",
        "PIPELINE_RATE_ROUTES",
        "PIPELINE_TRUSTED_PROXIES",
        "PIPELINE_WORKRES",
    ]
    assert "PIPELINE_WORKRES: there is no such setting; did you mean PIPELINE_WORKERS?" in lines
    assert "API_PORT='eighty': should be a valid integer" in "\n".join(lines)
    assert "PIPELINE_MODEL='nope': there is no model called 'nope'. Choose one of: htde" in "\n".join(lines)


def test_what_is_set_for_another_part_of_the_product_is_no_mistake() -> None:
    load_settings({"PIPELINE_URL": "http://localhost:8000", "PIPELINE_UI_TITLE": "Ours"})


def test_what_follows_from_a_bad_folder_is_not_told() -> None:
    with pytest.raises(ValidationError):
        Settings(data_dir=7)
    assert refusal({"API_PORT": "-1"}) == ["API_PORT='-1': should be greater than or equal to 0."]


def test_a_refusal_shows_no_secret() -> None:
    lines = refusal(
        {"API_KEY": "short-1", "SECRET_KEY": "canary value", "PIPELINE_RATE_STORAGE": "x"} | {"API_PORT": "x"}
    )
    assert "API_KEY: should have at least 8 characters." in lines
    assert "SECRET_KEY: should be visible ASCII characters without blanks." in lines
    assert not [line for line in lines if "canary" in line or "short-1" in line]


def test_settings_show_no_secret_when_printed() -> None:
    settings = load_settings(
        {"API_KEY": LONG, "SECRET_KEY": LONG, "DATABASE_URL": f"postgresql://u:{LONG}@h/d"}
    )
    assert LONG not in repr(settings) + str(settings) + settings.model_dump_json()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(
        "# a remark\nAPI_PORT=9000\nexport DEVICE='cpu'\nAPI_HOST=0.0.0.0\nREDIS_PASSWORD=ours\nAPI_KEY=\n"
    )
    settings = load_settings({"API_PORT": "9001", "HOME": "/nowhere"}, env)
    assert (settings.api_port, settings.device, settings.api_host) == (9001, "cpu", "0.0.0.0")  # noqa: S104
    assert settings.api_key is None


def test_a_dollar_in_the_file_is_a_dollar(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("API_KEY='pa$HOME${X}word'\n")
    key = load_settings({}, env).api_key
    assert key is not None and key.get_secret_value() == "pa$HOME${X}word"


def test_a_misspelt_setting_in_the_file_is_refused_too(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("PIPELINE_MAXQUEUED=3\n")
    assert "did you mean PIPELINE_MAX_QUEUED?" in refusal({}, env)[0]


@pytest.mark.parametrize("content", [b"API_PORT=8000\n= what\n", b"API_HOST=\xff\xfe\n"])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, content: bytes) -> None:
    env = tmp_path / ".env"
    env.write_bytes(content)
    (line,) = refusal({}, env)
    assert str(env) in line


def test_a_file_that_is_not_there_is_no_mistake(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path / ".env") == load_settings({})


@pytest.mark.parametrize(
    "name", sorted(SECRETS - {"broker_url", "database_url", "encryption_keys", "rate_storage", "notify_urls"})
)
def test_a_secret_can_be_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mounted"
    file.write_text(f"{LONG}\n")
    secret = getattr(load_settings({f"{variable(name)}_FILE": str(file)}), name)
    assert secret.get_secret_value() == LONG


def test_a_secret_is_set_once(tmp_path: Path) -> None:
    file = tmp_path / "mounted"
    file.write_text(LONG)
    assert refusal({"API_KEY": LONG, "API_KEY_FILE": str(file)}) == [
        "API_KEY_FILE: API_KEY is set too; set one of the two."
    ]


def test_a_secret_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    lines = refusal({"API_KEY_FILE": str(tmp_path / "empty"), "SECRET_KEY_FILE": str(tmp_path / "missing")})
    assert len(lines) == 2
    assert "is empty" in "".join(lines) and "No such file" in "".join(lines)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings({}).api_port = 1  # type: ignore[misc]  # that it is refused is the point


def test_only_entry_points_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "1234")
    assert Settings().api_port == load_settings({}).api_port == 8000


def test_a_rate_can_be_switched_off() -> None:
    assert load_settings({"PIPELINE_RATE_PROCESS": "off"}).rate_process is None
    assert load_settings({"PIPELINE_RATE_PROCESS": "5/minute;100/day"}).rate_process == "5/minute;100/day"
    assert "at least one" in refusal({"PIPELINE_RATE_PROCESS": "0/hour"})[0]


def test_a_job_gets_its_defaults_and_limits_from_the_settings() -> None:
    config = pipeline_defaults(
        load_settings(
            {
                "DEVICE": "cpu",
                "MAX_FILE_SIZE_MB": "7",
                "PIPELINE_MAX_DURATION_S": "60",
                "PIPELINE_FORMATS": "wav, mp3",
                "WEIGHTS_DIR": "/srv/weights",
                "WEIGHTS_OFFLINE": "true",
            }
        )
    )
    assert (config.device, config.formats) == ("cpu", ("wav", "mp3"))
    assert (config.limits.max_bytes, config.limits.max_duration_s) == (7 << 20, 60.0)
    assert (config.weights.cache_dir, config.weights.offline) == (Path("/srv/weights"), True)


def test_every_setting_is_described() -> None:
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_the_documents_agree_with_the_settings() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page()


def test_the_example_as_it_is_and_with_every_line_in_use_is_valid(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / "as-is").write_text(example)
    assert load_settings({}, tmp_path / "as-is") == load_settings({})
    used = "\n".join(line.removeprefix("#") for line in example.splitlines() if line[:2] != "# ")
    (tmp_path / "used").write_text(used)
    assert load_settings({}, tmp_path / "used") == load_settings({})
    assert {line.partition("=")[0] for line in used.splitlines() if line} == set(VARIABLES)
