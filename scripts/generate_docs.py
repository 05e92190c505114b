"""Writes the documents that follow from the code: ``make docs``. A test fails when they are out of date."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from api.app import bare_app
from pipeline import errors
from pipeline.manifest import Manifest
from scripts.dashboard_panels import DASHBOARDS
from scripts.dashboards import render
from scripts.settings_docs import env_example, settings_page

ROOT = Path(__file__).resolve().parent.parent

_ERRORS_HEAD = """\
# Errors

Every error has a stable `code` for programs, a `message` that says what is wrong, and a `hint` that says what
to do. *Again* marks those that can succeed later without a change to the request.

A failing estimator is recorded in the manifest and the job goes on; every other error fails the job.

<!-- Made by `make docs` from pipeline/errors.py: edit that, never this. -->
"""


def children(kind: type[errors.PipelineError]) -> list[type[errors.PipelineError]]:
    """The direct subclasses that pipeline/errors.py defines, in its order."""
    return [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]


def leaves(kind: type[errors.PipelineError]) -> Iterator[type[errors.PipelineError]]:
    """The errors below ``kind`` that are raised, in the order of pipeline/errors.py."""
    below = children(kind)
    if not below:
        yield kind
    for child in below:
        yield from leaves(child)


def errors_page() -> str:
    """docs/errors.md."""
    groups = [kind for kind in children(errors.PipelineError) if children(kind)]
    alone = [kind for kind in children(errors.PipelineError) if not children(kind)]
    parts = [_ERRORS_HEAD]
    for group in groups:
        parts.append(f"\n## {_meaning(group)}\n\n{_table(list(leaves(group)))}")
    parts.append(f"\n## Others\n\n{_table(alone)}")
    return "".join(parts)


def manifest_schema() -> str:
    """docs/manifest.schema.json: JSON Schema 2020-12 of manifest.json as the pipeline writes it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def openapi_document() -> str:
    """docs/openapi.json: what /openapi.json answers."""
    return json.dumps(bare_app().openapi(), indent=1, ensure_ascii=False) + "\n"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/errors.md": errors_page,
    "docs/manifest.schema.json": manifest_schema,
    "docs/openapi.json": openapi_document,
    "docs/settings.md": settings_page,
    ".env.example": env_example,
    **{
        f"deploy/monitoring/grafana/dashboards/{name}.json": partial(render, dashboard)
        for name, dashboard in DASHBOARDS.items()
    },
}
"""Path below the repository's root -> what makes its text."""


def main() -> None:
    """Write every document."""
    for path, text in DOCUMENTS.items():
        (ROOT / path).write_text(text(), encoding="utf-8")
        print(path)


def _meaning(kind: type[errors.PipelineError]) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0].rstrip(".").replace("``", "`")


def _table(kinds: list[type[errors.PipelineError]]) -> str:
    rows = [f"| `{kind.code}` | {_meaning(kind)} | {'yes' if kind.retryable else ''} |\n" for kind in kinds]
    return "".join(["| code | meaning | again |\n| --- | --- | --- |\n", *rows])


if __name__ == "__main__":
    main()
