"""Every export is opened again by a reader that is not ours."""

from __future__ import annotations

import csv
from pathlib import Path

import mido
import pytest

from pipeline.errors import Cancelled, DiskFull, ExportUnknown
from pipeline.exports.base import Material
from pipeline.exports.registry import EXPORTS, MEDIA_TYPES, choose_exports, write_exports
from tests.unit.exports.material import empty, full


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    scratch = tmp_path_factory.mktemp("scratch")
    artifacts, notices = write_exports(choose_exports(tuple(EXPORTS)), full(scratch), folder, lambda _: None)
    assert notices == []
    assert {artifact.path for artifact in artifacts} == {f"analysis/{p.name}" for p in folder.glob("*/*")}
    assert {artifact.kind for artifact in artifacts} == {"analysis"}
    return folder / "analysis"


def test_tables_hold_beats_with_their_place_in_the_bar(written: Path) -> None:
    with (written / "beats.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["beat"] for row in rows[:6]] == ["", "1", "2", "3", "4", "1"]
    assert [float(row["time_s"]) for row in rows[:2]] == [0.5, 1.0]
    with (written / "chords.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["C:maj", "A:min7"]
    with (written / "notes.csv").open(newline="") as file:
        heard = list(csv.DictReader(file))
    assert [row["drum"] for row in heard if row["stem"] == "drums"][:2] == ["kick", "snare"]
    assert [row["midi"] for row in heard if row["stem"] == "bass"] == ["40", "43"]


def test_label_tracks_have_three_columns(written: Path) -> None:
    lines = (written / "chords.txt").read_text().splitlines()
    assert [line.split("\t") for line in lines] == [
        ["0.000000", "4.000000", "C:maj"],
        ["4.000000", "8.000000", "A:min7"],
    ]
    assert "1.000000\t1.000000\tbar" in (written / "beats.txt").read_text()


def test_midi_opens_with_every_note_on_the_grid_and_at_its_time(written: Path) -> None:
    file = mido.MidiFile(written / "notes.mid")
    assert [track.name for track in file.tracks] == ['song <&> "x"', "drums", "bass", "vocals"]
    assert file.length == pytest.approx(7.55, abs=0.06)
    now, kicks = 0.0, []
    for message in file:  # mido turns ticks into seconds by the tempo map.
        now += message.time
        if message.type == "note_on" and message.channel == 9:
            kicks.append(now)
    assert kicks == pytest.approx([0.5 + 0.5 * i for i in range(15)], abs=0.002)
    ticks, starts = 0, []
    for message in file.tracks[1]:
        ticks += message.time
        if message.type == "note_on":
            starts.append(ticks)
    assert all(tick % file.ticks_per_beat == 0 for tick in starts)
    assert starts[1] % (4 * file.ticks_per_beat) == 0
    assert [m.text for m in file.tracks[0] if m.type == "marker"] == ["A", "B"]
    (signature,) = [m for m in file.tracks[0] if m.type == "time_signature"]
    assert (signature.numerator, signature.denominator) == (4, 4)


def test_every_file_has_a_media_type(written: Path) -> None:
    assert {path.name.partition(".")[2] for path in written.iterdir()} <= MEDIA_TYPES.keys() | {"flac"}


def test_equal_findings_give_equal_bytes(written: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    write_exports(choose_exports(tuple(EXPORTS)), full(tmp_path / "scratch"), tmp_path, lambda _: None)
    for path in written.iterdir():
        assert path.read_bytes() == (tmp_path / "analysis" / path.name).read_bytes(), path.name


def test_where_there_is_nothing_a_notice_says_so(tmp_path: Path) -> None:
    artifacts, notices = write_exports(
        choose_exports(("csv", "audacity", "midi")), empty(tmp_path), tmp_path, lambda _: None
    )
    assert artifacts == []
    assert [notice.code for notice in notices] == ["export_empty"] * 3
    assert "csv" in notices[0].message


class Broken:
    name = "broken"
    needs = "nothing"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, material: Material, folder: Path) -> list[Path]:
        raise self._error


def test_an_export_that_breaks_is_told_of_and_the_others_are_written(tmp_path: Path) -> None:
    broken = Broken(ValueError("odd"))
    artifacts, notices = write_exports([broken, EXPORTS["csv"]], full(tmp_path), tmp_path, lambda _: None)
    assert [notice.code for notice in notices] == ["export_failed"]
    assert "ValueError: odd" in notices[0].message
    assert artifacts


@pytest.mark.parametrize("error", [DiskFull("full", "Free some."), Cancelled("stopped")])
def test_a_machine_at_fault_fails_the_job(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        write_exports([Broken(error)], full(tmp_path), tmp_path, lambda _: None)


def test_unknown_exports_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ExportUnknown, match="wav") as refused:
        choose_exports(("csv", "wav"))
    assert "midi" in refused.value.hint
    assert [export.name for export in choose_exports(("midi", "csv", "midi"))] == ["csv", "midi"]
