import pytest

from pipeline.chord_names import chord_name


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("N", "N.C."),
        ("C:maj", "C"),
        ("G", "G"),
        ("A:min7", "Am7"),
        ("F#:7", "F#7"),
        ("B:hdim7", "Bm7b5"),
        ("G:maj/3", "G/B"),
        ("D:min/b3", "Dm/F"),
        ("Bb:maj7/3", "Bbmaj7/D"),
        ("A:maj/3", "A/C#"),
        ("E:weird", "Eweird"),
    ],
)
def test_chords_have_their_usual_names(label: str, name: str) -> None:
    assert chord_name(label) == name
