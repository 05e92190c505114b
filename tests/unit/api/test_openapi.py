"""The OpenAPI document: truthful about keys, limits and problems."""

from __future__ import annotations

from typing import Any

import pytest

from api.app import bare_app
from api.problems import Problem
from api.security.access import ROUTE_SCOPES

DOCUMENT = bare_app().openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


@pytest.mark.parametrize("route", OPERATIONS)
def test_what_a_route_needs_is_what_the_table_of_scopes_says(route: str) -> None:
    rule = ROUTE_SCOPES.get(route) or ROUTE_SCOPES[route.replace("HEAD ", "GET ")]
    told = {name: scopes for entry in OPERATIONS[route]["security"] for name, scopes in entry.items()}
    assert set(told) == ({"ApiKey", "Bearer", *(["Ticket"] if rule.ticket else [])} if rule.scope else set())
    assert all(scopes == [rule.scope] for scopes in told.values())
    assert {"401", "403", "429"} <= OPERATIONS[route]["responses"].keys() or rule.scope is None


@pytest.mark.parametrize("route", OPERATIONS)
def test_every_refusal_is_a_problem_and_every_answer_has_an_id(route: str) -> None:
    for status, answer in OPERATIONS[route]["responses"].items():
        told = followed(answer)
        assert "X-Request-ID" in told["headers"]
        if int(status) >= 400 and (route, status) != ("GET /readyz", "503"):
            assert told["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }


def test_every_reference_leads_somewhere() -> None:
    references = list(found(DOCUMENT))
    assert references
    for reference in references:
        followed({"$ref": reference})


def test_a_problem_is_described_as_it_is() -> None:
    described = DOCUMENT["components"]["schemas"]["Problem"]
    assert set(described["properties"]) == set(Problem.model_fields)
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]


def test_names_of_operations_are_short_and_its_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 30


def followed(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    here: Any = DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        here = here[name]
    assert isinstance(here, dict)
    return here


def found(part: Any) -> Any:
    if isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            yield reference
        for value in part.values():
            yield from found(value)
    elif isinstance(part, list):
        for value in part:
            yield from found(value)
