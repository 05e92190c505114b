"""Makes one script of a component's ES modules, which is how Streamlit takes JavaScript."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_LOADER = Path(__file__).parent / "loader.js"


def script(entry: Path, libraries: Mapping[str, str] | None = None) -> str:
    """The loader, and in front of it the modules that it loads: those in the folder of the first one.

    Args:
        entry: the module whose default export Streamlit calls.
        libraries: modules from elsewhere, by the file name under which they are imported.

    Raises:
        OSError: a module cannot be read.
    """
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(entry.parent.glob("*.js"))}
    said = {"NAME": entry.parent.name, "ENTRY": entry.name, "SOURCES": {**sources, **(libraries or {})}}
    lines = [f"const {name} = {json.dumps(value)};\n" for name, value in said.items()]
    return "".join(lines) + _LOADER.read_text(encoding="utf-8")


def from_commonjs(text: str) -> str:
    """A library that was built for CommonJS or UMD as an ES module, whose default export is all of it."""
    before = "const module = { exports: {} };\nconst exports = module.exports;"
    return f"{before}\n{text}\nexport default module.exports;\n"
