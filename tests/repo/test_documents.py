from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import errors
from scripts.generate_docs import DOCUMENTS, leaves

ROOT = Path(__file__).resolve().parents[2]
MARKDOWN = sorted(p.relative_to(ROOT) for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_that_follows_from_the_code_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == DOCUMENTS[path](), "run: make docs"


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in leaves(errors.PipelineError)]
    assert len(codes) == len(set(codes)) > 0
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code) for code in codes)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawing = errors.__doc__ or ""
    drawn = re.findall(r"── (\w+) +([a-z0-9_]+)\b(?=:| *$| +\()( +\(retryable\))?", drawing, re.MULTILINE)
    real = [(k.__name__, k.code, k.retryable) for k in leaves(errors.PipelineError)]
    assert [(name, code, bool(again)) for name, code, again in drawn] == real


def test_every_link_leads_to_a_file() -> None:
    dead = []
    for path in MARKDOWN:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / path).read_text(encoding="utf-8")):
            if "://" not in target and not (ROOT / path.parent / target).exists():
                dead.append(f"{path}: {target}")
    assert not dead


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not [target for target in TARGETS if not re.search(rf"`make {target}[` ]", text)]


def test_every_make_target_that_a_document_names_exists() -> None:
    for path in MARKDOWN:
        for target in re.findall(r"`make ([a-z-]+)", (ROOT / path).read_text(encoding="utf-8")):
            assert target in TARGETS, f"{path}: make {target}"
