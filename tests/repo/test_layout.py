from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("pipeline", "api", "ui", "bench", "scripts", "tests")
MOST_LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "core", "misc", "tools"}


def modules(*folders: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_every_module_is_short() -> None:
    lines = {path: (ROOT / path).read_text(encoding="utf-8").count("\n") for path in modules(*CODE)}
    assert not {str(path): n for path, n in lines.items() if n > MOST_LINES}, "two modules in one"


def test_every_module_is_named_after_what_it_holds() -> None:
    assert not [str(path) for path in modules(*CODE) if VAGUE & {path.stem, *path.parts[:-1]}]


def test_importing_a_package_imports_nothing() -> None:
    assert not [str(p) for p in modules(*CODE) if p.name == "__init__.py" and (ROOT / p).read_bytes()]
