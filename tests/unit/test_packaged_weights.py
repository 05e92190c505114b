from dataclasses import replace

from pipeline.weights.packaged import CHORDS, find, read


def test_the_weights_of_the_chord_network_are_in_their_package() -> None:
    path = find(CHORDS)
    assert path is not None
    assert path.name == CHORDS.file.name
    assert read(path)["final_fc1.weight"].shape == (100, 192)


def test_a_package_or_a_file_that_is_not_there_has_no_weights() -> None:
    assert find(replace(CHORDS, package="no-such-package")) is None
    assert find(replace(CHORDS, file=replace(CHORDS.file, name="no-such-file"))) is None


def test_another_file_of_that_name_is_refused() -> None:
    assert find(replace(CHORDS, file=replace(CHORDS.file, digest="sha256:" + 64 * "0"))) is None
