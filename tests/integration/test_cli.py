"""The command line as a user runs it: a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from pipeline.manifest import Manifest, read_manifest
from pipeline.verify import verify_job
from tests.audio_files import music, write_wav

ROOT = Path(__file__).parents[2]
DRAFT = ("--model", "hpss")


def pipeline(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def lines(said: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.fixture
def song_file(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "song.wav", music(3.0))


def test_a_file_becomes_a_folder_with_stems_and_a_manifest(song_file: Path, tmp_path: Path) -> None:
    said = pipeline("song.wav", "--out", "out", *DRAFT, "--json", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    (line,) = lines(said)
    folder = tmp_path / "out" / line["job_id"]
    assert sorted(p.name for p in (folder / "stems").iterdir()) == [
        "bass.flac", "drums.flac", "other.flac", "vocals.flac",
    ]  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    schema = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    jsonschema.validate(manifest, schema)
    assert manifest["separation"]["residual_db"] == -200.0
    assert (tmp_path / line["manifest"]).samefile(folder / "manifest.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "song.wav"]


def test_exports_lie_beside_the_stems_and_are_in_the_manifest(tmp_path: Path) -> None:
    write_wav(tmp_path / "song.wav", music(8.0))
    asked = ("--estimators", "tempo,beats", "--exports", "midi,csv")
    said = pipeline("song.wav", "--out", "out", *DRAFT, *asked, "--json", cwd=tmp_path)
    folder = tmp_path / "out" / lines(said)[0]["job_id"]
    assert sorted(p.name for p in (folder / "analysis").iterdir()) == ["beats.csv", "notes.mid"]
    manifest = read_manifest(folder)
    assert [a.path for a in manifest.artifacts if a.kind == "analysis"] == [
        "analysis/beats.csv", "analysis/notes.mid",
    ]  # fmt: skip
    assert [stage.name for stage in manifest.stages][-2:] == ["export", "publish"]
    assert verify_job(folder) == []
    said = pipeline("song.wav", "--out", "out", *DRAFT, *asked[:1], "none", *asked[2:], cwd=tmp_path)
    assert "nothing to export as csv" in said.stdout


def test_people_are_told_what_came_out(song_file: Path, tmp_path: Path) -> None:
    said = pipeline("song.wav", *DRAFT, cwd=tmp_path)
    assert said.returncode == 0
    for word in ("song.wav", "stems", "drums, bass, other, vocals", "LUFS", "licence"):
        assert word in said.stdout


def test_stems_and_formats_are_as_asked(song_file: Path, tmp_path: Path) -> None:
    said = pipeline(
        "song.wav", *DRAFT, "--stems", "vocals,no_vocals", "--format", "wav16,mp3", "--estimators", "none",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    manifest = Manifest.model_validate_json(Path(tmp_path, lines(said)[0]["manifest"]).read_text())
    assert [a.path for a in manifest.artifacts] == [
        "stems/vocals.wav", "stems/vocals.mp3", "stems/no_vocals.wav", "stems/no_vocals.mp3",
    ]  # fmt: skip
    assert manifest.analysis.tempo is None


def test_a_folder_is_searched_and_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    music_folder = tmp_path / "music" / "deep"
    music_folder.mkdir(parents=True)
    write_wav(music_folder / "a.wav", music(1.0))
    (music_folder / "b.wav").write_bytes(b"")
    write_wav(music_folder / "c.wav", music(1.0))
    (music_folder / "notes.txt").write_text("no audio")
    said = pipeline("music", *DRAFT, "--estimators", "none", "--json", cwd=tmp_path)
    assert [line["status"] for line in lines(said)] == ["succeeded", "failed", "succeeded"]
    assert lines(said)[1]["error"]["code"] == "input_empty"
    assert said.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["missing.wav", *DRAFT], "input_not_found", 3),
        (["song.wav", "--model", "nope"], "model_unknown", 2),
        (["song.wav", *DRAFT, "--stems", "piano"], "stem_unknown", 2),
        (["song.wav", *DRAFT, "--format", "wma"], "format_unsupported", 2),
        (["song.wav", *DRAFT, "--estimators", "mood"], "estimator_unknown", 2),
        (["song.wav", *DRAFT, "--exports", "csv,doc"], "export_unknown", 2),
        (["song.wav", *DRAFT, "--overlap", "1.5"], "option_invalid", 2),
        (["song.wav", *DRAFT, "--device", "abacus"], "option_invalid", 2),
        (["song.wav", "--commercial-only"], "licence_refused", 2),
        (["song.wav", "--offline", "--weights-dir", "empty"], "weights_unavailable", 4),
        (["song.wav", *DRAFT, "--out", "song.wav/below"], "output_unwritable", 5),
    ],
)
def test_every_kind_of_failure_has_its_code_and_exit_status(
    arguments: list[str], code: str, status: int, song_file: Path, tmp_path: Path
) -> None:
    said = pipeline(*arguments, "--json", cwd=tmp_path, HF_HOME=str(tmp_path / "nothing"))
    (line,) = lines(said)
    assert (line["error"]["code"], said.returncode) == (code, status)
    assert line["error"]["message"]
    assert line["error"]["hint"]
    assert "Traceback" not in said.stderr


def test_ffmpeg_that_is_not_installed_is_named_with_the_cure(song_file: Path, tmp_path: Path) -> None:
    said = pipeline("song.wav", *DRAFT, "--json", cwd=tmp_path, PATH=str(tmp_path))
    (line,) = lines(said)
    assert line["error"]["code"] == "tool_missing"
    assert "ffmpeg" in line["error"]["hint"]
    assert said.returncode == 5


def test_verify_finds_what_was_changed_and_what_is_gone(song_file: Path, tmp_path: Path) -> None:
    said = pipeline("song.wav", "--out", "out", *DRAFT, "--estimators", "none", "--json", cwd=tmp_path)
    folder = tmp_path / "out" / lines(said)[0]["job_id"]
    intact = pipeline("verify", "out", "--json", cwd=tmp_path)
    assert (intact.returncode, lines(intact)[0]["status"]) == (0, "intact")
    damaged = bytearray((folder / "stems" / "bass.flac").read_bytes())
    damaged[-1] ^= 1
    (folder / "stems" / "bass.flac").write_bytes(damaged)
    (folder / "stems" / "drums.flac").unlink()
    found = pipeline("verify", folder, "--json", cwd=tmp_path)
    assert found.returncode == 6
    assert {(f["path"], f["problem"]) for f in lines(found)[0]["findings"]} == {
        ("stems/bass.flac", "changed"), ("stems/drums.flac", "missing"),
    }  # fmt: skip


def test_verify_refuses_a_folder_without_a_manifest(tmp_path: Path) -> None:
    said = pipeline("verify", tmp_path, "--json", cwd=tmp_path)
    assert (said.returncode, lines(said)[0]["error"]["code"]) == (6, "manifest_invalid")


def test_models_are_listed_with_their_licences(tmp_path: Path) -> None:
    models = {m["name"]: m for m in json.loads(pipeline("models", "list", "--json", cwd=tmp_path).stdout)}
    assert models["htdemucs"]["default"]
    assert not models["htdemucs"]["commercial_use"]
    assert models["hpss"]["commercial_use"]
    table = pipeline("models", "list", cwd=tmp_path).stdout
    assert "htdemucs_6s" in table


def test_models_verify_reports_missing_weights(tmp_path: Path) -> None:
    said = pipeline(
        "models", "verify", "htdemucs", "--weights-dir", tmp_path / "none", cwd=tmp_path,
        HF_HOME=str(tmp_path / "nothing"),
    )  # fmt: skip
    assert said.returncode == 4
    assert "missing" in said.stdout


def test_an_interrupted_run_stops_cleanly(tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", music(120.0))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "long.wav", "--out", "out", *DRAFT, "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: list(tmp_path.glob("out/.*.partial/scratch/stem-*.f32")))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["error"]["code"] == "cancelled"
    assert not (tmp_path / "out").exists()


def wait_for(condition) -> None:
    """Poll until something outside of this process has happened."""
    import time

    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
