from __future__ import annotations

import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| ([a-z ]+) \| [^|]+ \|([^|]*)\|$",
    (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
UNUSED = {word: row for row, others in ROWS for word in re.findall(r"\*\*(\w+)\*\*", others)}


def words(name: str) -> set[str]:
    """The words that a name in snake_case or CamelCase is made of, in the singular."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return {part.lower().removesuffix("s") for part in parts}


def test_the_code_uses_the_words_of_the_glossary() -> None:
    assert UNUSED["mixture"] == "mix"
    found = []
    for path in sorted(path for folder in ("pipeline", "api") for path in (ROOT / folder).rglob("*.py")):
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                for word in words(token.string) & UNUSED.keys() if token.type == tokenize.NAME else ():
                    found.append(f"{path.relative_to(ROOT)}:{token.start[0]}: {word}, say {UNUSED[word]}")
    assert not found
