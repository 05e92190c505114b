from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ui.components.player import player as player_module
from ui.components.player.texts import TEXTS

_FOLDER = Path(player_module.__file__).parent
_SCRIPTS = "\n".join(path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.js")))


def _page() -> None:
    from ui.components.player.player import player

    player(
        "a-job",
        api_url="http://127.0.0.1:1/",
        ticket="t",
        title="a song",
        on_ticket=lambda: None,
        key="player",
    )


def test_the_player_can_be_mounted() -> None:
    page = AppTest.from_function(_page, default_timeout=60).run()
    assert not page.exception


def test_every_text_that_the_scripts_ask_for_is_there_and_none_is_left_over() -> None:
    asked = set(re.findall(r"texts\.(\w+)", _SCRIPTS))
    troubles = {f"trouble_{kind}" for kind in re.findall(r'SourceError\("(\w+)"', _SCRIPTS)}
    assert asked | troubles == set(TEXTS)


def test_no_script_interprets_text() -> None:
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", _SCRIPTS) == []


def test_no_ticket_stands_in_an_address() -> None:
    assert re.findall(r"[?&]ticket|\$\{[^}]*ticket[^}]*\}", _SCRIPTS) == []


def test_of_the_stretcher_only_the_program_is_taken() -> None:
    program = player_module._stretch_program()
    assert program.endswith("export default SignalsmithStretch;\n")
    assert "AudioWorkletProcessor" not in program


def test_another_version_of_the_stretcher_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "SignalsmithStretch.mjs"
    other.write_text("export default 1;")
    monkeypatch.setattr(player_module, "_STRETCH", other)
    with pytest.raises(RuntimeError, match="of a version that the player does not know"):
        player_module._stretch_program()
