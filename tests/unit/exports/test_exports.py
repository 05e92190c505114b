"""Every export is opened again by a reader that is not ours."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import fromstring, parse

import jams
import numpy as np
import pytest
import rpp
import soundfile
import stempeg

from pipeline.annotations import Note
from pipeline.errors import Cancelled, DiskFull, ExportUnknown
from pipeline.exports.base import Material
from pipeline.exports.registry import EXPORTS, MEDIA_TYPES, choose_exports, write_exports
from tests.unit.exports.material import STEMS, empty, full, notes


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


class MidiEvent(NamedTuple):
    track: int
    tick: int
    kind: str
    values: list[str]


def midi_events(path: Path) -> list[MidiEvent]:
    """All that midicsv reads in a file: a program in C that shares nothing with what wrote it."""
    read = subprocess.run(["midicsv", str(path)], capture_output=True, check=True)
    assert read.stderr == b""
    # midicsv writes what Latin-1 cannot print in octal, as C does.
    text = re.sub(rb"\\([0-7]{3})", lambda byte: bytes([int(byte[1], 8)]), read.stdout).decode()
    rows = csv.reader(text.splitlines(), skipinitialspace=True, doublequote=True)
    return [MidiEvent(int(row[0]), int(row[1]), row[2], row[3:]) for row in rows]


def seconds(events: list[MidiEvent], tick: int, a_beat: int) -> float:
    """When a tick sounds, by the tempo map."""
    time, last, tempo = 0.0, 0, 500_000
    for event in events:
        if event.kind == "Tempo" and event.tick < tick:
            time += (event.tick - last) * tempo / a_beat / 1e6
            last, tempo = event.tick, int(event.values[0])
    return time + (tick - last) * tempo / a_beat / 1e6


def test_midi_opens_with_every_note_on_the_grid_and_at_its_time(written: Path) -> None:
    events = midi_events(written / "notes.mid")
    (header,) = [event.values for event in events if event.kind == "Header"]
    a_beat = int(header[2])
    assert header[:2] == ["1", "4"]
    titles = [event.values[0] for event in events if event.kind == "Title_t"]
    assert titles == ['song <&> "x"', "drums", "bass", "vocals"]
    drums = [e for e in events if e.kind == "Note_on_c" and e.values[0] == "9"]
    times = [seconds(events, hit.tick, a_beat) for hit in drums]
    assert times == pytest.approx([0.5 + 0.5 * i for i in range(15)], abs=0.002)
    assert all(hit.tick % a_beat == 0 for hit in drums)
    assert drums[1].tick % (4 * a_beat) == 0
    assert [hit.values[1] for hit in drums[:2]] == ["36", "38"]
    ends = [event for event in events if event.kind == "Note_off_c" and event.track == 3]
    assert [seconds(events, end.tick, a_beat) for end in ends] == pytest.approx([1.0, 2.0], abs=0.002)
    assert [event.values[0] for event in events if event.kind == "Marker_t"] == ["A", "B"]
    # midicsv writes the exponent of the denominator, as the file has it.
    assert [e.values[:2] for e in events if e.kind == "Time_signature"] == [["4", "2"]]
    assert [e.values for e in events if e.kind == "Program_c"] == [["0", "33"], ["1", "53"]]


def test_a_key_struck_again_ends_before_it_begins(tmp_path: Path) -> None:
    found = full(tmp_path)
    struck = notes(bass=[Note(0.5, 1.2, 40, 90), Note(1.0, 1.5, 40, 80), Note(1.5, 2.0, 40, 70)])
    found = dataclasses.replace(found, analysis=found.analysis.model_copy(update={"notes": struck}))
    (path,) = EXPORTS["midi"].write(found, tmp_path)
    events = [event for event in midi_events(path) if event.kind.startswith("Note_")]
    assert [event.kind for event in events] == ["Note_on_c", "Note_off_c"] * 3


def test_a_title_beyond_ascii_is_read_as_it_was_written(tmp_path: Path) -> None:
    (path,) = EXPORTS["midi"].write(full(tmp_path, filename="Чайка, là.flac"), tmp_path)
    assert "Чайка, là" in [event.values[0] for event in midi_events(path) if event.kind == "Title_t"]


@pytest.mark.parametrize("name", ["lyrics.srt", "lyrics.lrc"])
def test_ffmpeg_reads_the_lyrics_with_their_times(name: str, written: Path) -> None:
    argv = ["ffmpeg", "-v", "error", "-i", str(written / name), "-f", "srt", "-"]
    read = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert read.stderr == ""
    said = re.findall(r"^(.* --> .*)\n(.+)$", read.stdout, re.MULTILINE)
    oh = "\u2039Oh\u203a — là" if name == "lyrics.srt" else "<Oh> — là"
    assert [text for _, text in said] == ["Good evening, friends", oh]
    assert [times.split(" --> ")[0] for times, _ in said] == ["00:00:01,500", "00:00:06,000"]
    if name == "lyrics.srt":
        assert [times.split(" --> ")[1] for times, _ in said] == ["00:00:02,500", "00:00:06,100"]


def test_words_are_in_a_table_with_their_times(written: Path) -> None:
    with (written / "lyrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["line"], row["word"]) for row in rows] == [
        ("1", "Good"),
        ("1", "evening,"),
        ("1", "friends"),
        ("2", "Oh"),
    ]
    assert (rows[1]["start_s"], rows[1]["end_s"]) == ("1.7500", "2.0000")


def test_every_file_has_a_media_type(written: Path) -> None:
    assert {path.name.partition(".")[2] for path in written.iterdir()} <= MEDIA_TYPES.keys() | {"flac"}


def test_equal_findings_give_equal_bytes(written: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    write_exports(choose_exports(tuple(EXPORTS)), full(tmp_path / "scratch"), tmp_path, lambda _: None)
    for path in written.iterdir():
        assert path.read_bytes() == (tmp_path / "analysis" / path.name).read_bytes(), path.name


def test_where_there_is_nothing_a_notice_says_so(tmp_path: Path) -> None:
    artifacts, notices = write_exports(
        choose_exports(tuple(EXPORTS)), empty(tmp_path), tmp_path, lambda _: None
    )
    assert artifacts == []
    assert [notice.code for notice in notices] == ["export_empty"] * len(EXPORTS)
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


def test_jams_is_valid_and_every_finding_is_in_its_namespace(written: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # The package's own, of jsonschema.
        document = jams.load(str(written / "song.jams"), validate=True, strict=True)
    found = {annotation.namespace: annotation for annotation in document.annotations}
    assert list(found) == ["tempo", "beat", "chord", "segment_open", "note_midi", "lyrics"]
    assert found["lyrics"].to_interval_values()[1] == ["Good", "evening,", "friends", "Oh"]
    assert found["beat"].to_interval_values()[1][:3] == [None, 1, 2]
    assert found["chord"].to_interval_values()[1] == ["C:maj", "A:min7"]
    assert document.file_metadata.duration == 8.0
    (bass,) = [one for one in document.annotations if getattr(one.sandbox, "stem", None) == "bass"]
    assert bass.to_interval_values()[1] == [40, 43]


def test_layers_have_a_point_for_each_finding(written: Path) -> None:
    beats = parse(written / "beats.svl").getroot()
    assert [int(point.attrib["frame"]) for point in beats.iter("point")][:2] == [22050, 44100]
    (model,), (dataset,), (layer,) = (list(beats.iter(tag)) for tag in ("model", "dataset", "layer"))
    assert (model.attrib["dataset"], layer.attrib["model"]) == (dataset.attrib["id"], model.attrib["id"])
    assert layer.attrib["type"] == "timeinstants"
    chords = parse(written / "chords.svl").getroot()
    assert [point.attrib["label"] for point in chords.iter("point")] == ["C:maj", "A:min7"]
    assert sum(int(point.attrib["duration"]) for point in chords.iter("point")) == 8 * 44100
    notes = parse(written / "notes-bass.svl").getroot()
    assert [point.attrib["value"] for point in notes.iter("point")] == ["40", "43"]


def test_the_reaper_project_has_stems_a_tempo_map_and_markers(written: Path) -> None:
    project = rpp.loads((written / "project.rpp").read_text())
    tracks = project.findall("TRACK")
    assert [track.find("NAME")[1] for track in tracks] == list(STEMS)
    sources = [track.find(".//SOURCE") for track in tracks]
    assert [source.find("FILE")[1] for source in sources] == [f"../stems/{name}.flac" for name in STEMS]
    points = project.find("TEMPOENVEX").findall("PT")
    assert [(float(point[1]), round(float(point[2]))) for point in points] == [(0.0, 360), (0.5, 120)]
    assert points[0][4] == str(4 << 16 | 4)
    assert [marker[3] for marker in project.findall("MARKER")] == ["A", "", "B", "", "C:maj", "A:min7"]


def test_the_dawproject_refers_to_the_stems_and_keeps_its_references(written: Path) -> None:
    with zipfile.ZipFile(written / "project.dawproject") as archive:
        assert archive.testzip() is None
        project = fromstring(archive.read("project.xml"))
        assert fromstring(archive.read("metadata.xml")).findtext("Title") == 'song <&> "x"'
    ids = [one.attrib["id"] for one in project.iter() if "id" in one.attrib]
    assert len(ids) == len(set(ids))
    for name in ("track", "destination", "parameter"):
        assert {one.attrib[name] for one in project.iter() if name in one.attrib} <= set(ids)
    assert [one.attrib["path"] for one in project.iter("File")] == [f"../stems/{name}.flac" for name in STEMS]
    # The order that the schema asks for.
    (arrangement,) = project.iter("Arrangement")
    assert [one.tag for one in arrangement] == ["Lanes", "Markers", "TempoAutomation"]
    tempi = [(float(p.attrib["time"]), float(p.attrib["value"])) for p in project.iter("RealPoint")]
    assert tempi == [(0.0, 360.0), (3.0, pytest.approx(120.0))]
    assert {float(clip.attrib["duration"]) for clip in project.iter("Clip")} == {18.0}


def test_the_stem_file_has_five_tracks_of_which_the_mix_is_played(written: Path) -> None:
    path = written / "stems.stem.mp4"
    shown = "stream=codec_name,sample_rate,channels,duration:stream_disposition=default"
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", shown, "-of", "json", path],
        capture_output=True, check=True,
    )  # fmt: skip
    streams = json.loads(said.stdout)["streams"]
    assert [stream["disposition"]["default"] for stream in streams] == [1, 0, 0, 0, 0]
    assert {(s["codec_name"], s["sample_rate"], s["channels"]) for s in streams} == {("aac", "44100", 2)}
    stems, rate = stempeg.read_stems(str(path), dtype=np.float32)
    assert (stems.shape[0], rate) == (5, 44100)
    levels = np.sqrt(np.mean(stems**2, axis=(1, 2)))
    assert levels[1:] / levels[0] == pytest.approx([0.1, 0.2, 0.3, 0.4], rel=0.05)
    content = path.read_bytes()
    at = content.index(b"udta")
    assert content[at + 8 : at + 12] == b"stem"
    about = json.loads(content[at + 12 : at + 4 + int.from_bytes(content[at + 4 : at + 8], "big")])
    assert [stem["name"] for stem in about["stems"]] == ["Drums", "Bass", "Other", "Vocals"]
    assert about["version"] == 1


def test_the_click_track_clicks_on_the_beats_and_louder_on_the_first(written: Path) -> None:
    samples, rate = soundfile.read(written / "click.flac")
    assert (samples.shape, rate) == ((8 * 44100,), 44100)
    heard = np.abs(samples)
    times = np.arange(0.5, 8, 0.5)
    peaks = [heard[round(t * rate) : round(t * rate) + 400].max() for t in times]
    assert min(peaks) > 0.2
    assert {i % 4 for i, peak in enumerate(peaks) if peak > 0.5} == {1}
    for time in times:
        heard[round(time * rate) : round(time * rate) + 1400] = 0
    assert heard.max() == 0


def test_the_chord_sheet_shows_chords_as_musicians_write_them(written: Path) -> None:
    sheet = parse(written / "chords.svg").getroot()
    said = [one.text for one in sheet.iter("{http://www.w3.org/2000/svg}text")]
    assert said[0] == 'song <&> "x"'
    assert [text for text in said if text in ("A", "B", "C", "Am7")] == ["A", "C", "B", "Am7"]


def test_a_stem_file_needs_its_four_stems(tmp_path: Path) -> None:
    material = full(tmp_path)
    few = dataclasses.replace(material, stems={"vocals": material.stems["vocals"]})
    _, notices = write_exports(choose_exports(("stem.mp4",)), few, tmp_path, lambda _: None)
    assert [notice.code for notice in notices] == ["export_empty"]


def test_six_stems_become_four_in_a_stem_file(tmp_path: Path) -> None:
    material = full(tmp_path, 2.0)
    six = {**material.stems, "guitar": material.stems["other"], "piano": material.stems["other"]}
    write_exports(
        choose_exports(("stem.mp4",)), dataclasses.replace(material, stems=six), tmp_path, lambda _: None
    )
    stems, _ = stempeg.read_stems(str(tmp_path / "analysis" / "stems.stem.mp4"), dtype=np.float32)
    levels = np.sqrt(np.mean(stems**2, axis=(1, 2)))
    assert levels[3] / levels[0] == pytest.approx(0.9, rel=0.05)
