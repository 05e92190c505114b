"""What no file of the repository may say. Patterns are written so that they do not find themselves."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    "the host of a package registry: name the package and let the client's settings say where from": (
        r"pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|[.]debian[.]org|download[.]pytorch[.]org"
    ),
    "a path of one machine": r"(?<![\w.~/$}])/(?:work|root|Users|home)/[\w.-]+",
    "a tool of whoever wrote it": r"(?i)\b(?:[c]laude|[a]nthropic|chat[g]pt|copil[o]t|open[a]i)\b",
    "work left undone": r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b",
    "a merge that was not finished": r"^(?:<{7}|>{7}) ",
    "a secret": r"-{5}BEGIN [A-Z ]*PRIVATE KEY|\b(?:ghp|hf|npm)_[A-Za-z0-9]{30,}",
}
BINARY = {".png", ".ico", ".flac", ".wav", ".onnx"}
AS_PUBLISHED = (
    "ui/vendor/",
    "tests/browser/axe/",
)  # Others' files: their checksums are written down.


def files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


TEXTS = [name for name in files() if Path(name).suffix not in BINARY]


@pytest.mark.parametrize("wrong", FORBIDDEN)
def test_no_file_holds(wrong: str) -> None:
    found = []
    for name in TEXTS:
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
            if re.search(FORBIDDEN[wrong], line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "\n".join([wrong, *found])


def test_every_text_ends_with_one_newline() -> None:
    texts = {name: (ROOT / name).read_bytes() for name in TEXTS if not name.startswith(AS_PUBLISHED)}
    assert not [n for n, raw in texts.items() if raw and (not raw.endswith(b"\n") or raw.endswith(b"\n\n"))]


def test_no_large_file_is_kept() -> None:
    assert not [name for name in files() if (ROOT / name).stat().st_size > 1 << 20]
