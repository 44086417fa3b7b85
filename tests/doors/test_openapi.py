"""The OpenAPI document against the server: schemathesis sends what the document allows, and what it does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from serving import TALKING, scripted

from mainstay.doors.http.door import _FIXED

CONFORMANCE = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
)

STRUCTURED = """
    summary = "A name"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = { name = "nobody" }
    [answer]
    schema = "answer.schema.json"
"""
SCHEMA = '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'
FILES = {
    "features/names/feature.toml": STRUCTURED,
    "features/names/prompt.md": "{{ question }}\n",
    "features/names/answer.schema.json": SCHEMA,
}


async def test_the_document_is_one(served):
    """It is valid OpenAPI 3.1, names this project's features, and every reference in it leads somewhere."""
    server = await served(None, TALKING, FILES)
    document = (await server.http().get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    (parameter,) = document["paths"]["/v1/features/{feature}"]["post"]["parameters"]
    assert parameter["schema"]["enum"] == ["answers", "names"]
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.validator_for({**schema, "components": document["components"]})
    assert document["security"] == []


async def test_every_route_is_in_the_document(served):
    """What the document lists is served, and what is served is listed."""
    server = await served()
    document = (await server.http().get("/openapi.json")).json()
    fixed = {path for path in document["paths"] if "{" not in path}
    assert fixed == set(_FIXED) | {"/v1/chat/completions"}
    admin = {path: list(found) for path, found in document["paths"].items() if path.startswith("/admin/")}
    whole = "/admin/features/{feature}"
    switched = {whole: ["get"], f"{whole}/switch": ["put"], f"{whole}/rollback": ["post"]}
    assert admin == {**switched, "/admin/keys": ["get", "post"], "/admin/keys/{id}": ["delete"]}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_the_server_does_what_the_document_says(served, mode):
    """Requests that fit the document, and requests that do not: no 500, no hang, and every response as it is described."""
    replies = """replies = ['{"name": "Ada"}', "{last}", "one two three"], chunk = 4"""
    server = await served(scripted(replies), TALKING, FILES)
    document = schemathesis.openapi.from_dict((await server.http().get("/openapi.json")).json())
    seen: Counter[tuple[str, int]] = Counter()

    def explore(operation: Any) -> None:
        @settings(max_examples=80, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case) -> None:
            response = case.call(base_url=server.url, timeout=10)
            seen[operation.label, response.status_code] += 1
            case.validate_response(response, checks=[CHECKS.get_one(name) for name in CONFORMANCE])

        send()

    def run() -> None:
        for found in document.get_all_operations():
            operation = found.ok()
            if mode is GenerationMode.POSITIVE or operation.body:
                explore(operation)

    await asyncio.to_thread(run)
    if mode is GenerationMode.POSITIVE:
        assert seen["POST /v1/features/{feature}", 422]
        assert seen["POST /v1/chat/completions", 200]
        assert seen["POST /v1/answers/{id}/scores", 201]
        assert seen["PUT /admin/features/{feature}/switch", 200] and seen["POST /admin/features/{feature}/rollback", 409]
    made = {label: status for label, status in seen if status == 401}  # a first key was made, and one is needed from then on
    assert all(label.endswith(("/admin/keys", "/admin/keys/{id}")) for label in made)
    assert {status for _, status in seen} - {401} <= {200, 201, 400, 404, 405, 409, 415, 422}
