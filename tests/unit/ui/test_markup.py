from __future__ import annotations

import pytest

from ui import markup

HOSTILE = "![x](http://127.0.0.1:1/p.png) <b>é\"'.mp3"


def test_what_others_wrote_is_text() -> None:
    shown = markup.text(HOSTILE + "<img src=x onerror=alert(1)>")
    assert "<b>" not in shown.removeprefix("<bdi>") and "<img" not in shown
    assert '"' not in shown.replace("&quot;", "") and "&lt;b&gt;" in shown


@pytest.mark.parametrize("turn", ["\u202e", "\u2066", "\u200f", "\u061c"])
def test_text_cannot_turn_what_stands_beside_it(turn: str) -> None:
    assert turn not in markup.printable(f"evil{turn}3pm.exe")


def test_controls_are_shown_as_such_and_letters_of_any_script_stay() -> None:
    assert markup.printable("a\x00b\nc\x1b[31m") == "a\ufffdb\ufffdc\ufffd[31m"
    kept = "日本語, Ünï \U0001f469\u200d\U0001f3a4"
    assert markup.printable(kept) == kept


def test_a_name_of_blanks_can_still_be_seen() -> None:
    assert markup.printable("   ") == "—"
    assert markup.printable("") == ""


def test_a_figure_holds_no_markup_of_others() -> None:
    shown = markup.figure("<i>", "<i>", "<i>", ["<i>"])
    assert "<i>" not in shown and shown.count("&lt;i&gt;") == 4
