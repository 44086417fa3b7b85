"""The OpenAPI document, made from the types that the door really reads and writes."""

from __future__ import annotations

from typing import Any

import msgspec

from mainstay.app import Mainstay
from mainstay.assembling import VERSION
from mainstay.core.answer import Answer, Cited, Data, Retract, Started, Step, Text
from mainstay.doors.http.features import FeatureRequest, ScoreRequest
from mainstay.spec.schemas import components

_TEMPLATE = "#/components/schemas/{name}"
_EVENTS = [Started, Step, Text, Data, Cited, Retract, Answer]
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_CHAT = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string", "description": "A feature, or a configured model."},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role"],
                "additionalProperties": False,
                "properties": {
                    "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
                    "content": {"type": ["string", "array", "null"], "items": {"type": "object", "required": ["type"]}},
                    "name": {"type": "string"},
                    "tool_calls": {"type": "array", "items": {"type": "object"}},
                    "tool_call_id": {"type": "string"},
                },
            },
        },
        "stream": {"type": "boolean"},
        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
        "max_tokens": {"type": "integer", "minimum": 1},
        "max_completion_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number"},
        "tools": {"type": "array", "items": {"type": "object"}},
        "response_format": {"type": "object"},
    },
}


def document(app: Mainstay) -> bytes:
    """The document, with the features and models of this project as the known names."""
    (asked, scored, *_), shared = components([FeatureRequest, ScoreRequest, *_EVENTS], template=_TEMPLATE)
    features, models = sorted(app.features.ready), sorted(app.features.plain)
    shared |= {"Error": _ERROR, "ChatRequest": _CHAT}
    feature = _path("feature", {"type": "string", "enum": features} if features else {"type": "string"})
    paths = {
        "/v1/features": {"get": _operation("List the features", _json({"type": "object"}))},
        "/v1/features/{feature}": {
            "post": _operation(
                "Ask a feature",
                {"description": "The answer, or with `stream` its events", "content": _answer_or_events()},
                parameters=[feature],
                body=asked,
                more={
                    "422": _json(_ref("Answer"), "The input is not what the feature declares"),
                    "503": _json(_ref("Answer"), "No rung could answer"),
                },
            )
        },
        "/v1/answers/{id}": {
            "get": _operation("Read an answer", _json(_ref("Answer")), parameters=[_path("id", {"type": "string"})])
        },
        "/v1/answers/{id}/scores": {
            "post": _operation(
                "Score an answer",
                _json({"type": "object"}),
                parameters=[_path("id", {"type": "string"})],
                body=scored,
                success="201",
            )
        },
        "/v1/chat/completions": {
            "post": _operation(
                f"Chat completions, OpenAI's shape; known names: {', '.join(features + models)}",
                {
                    "description": "A completion",
                    "content": {
                        "application/json": {"schema": {"type": "object"}},
                        "text/event-stream": {"schema": {"type": "string"}},
                    },
                },
                body=_ref("ChatRequest"),
                more={code: _json(_ref("Error")) for code in ("429", "503", "504")},
            )
        },
        "/v1/models": {"get": _operation("List features and models", _json({"type": "object"}))},
        "/v1/models/{id}": {
            "get": _operation("One feature or model", _json({"type": "object"}), parameters=[_path("id", {"type": "string"})])
        },
        "/healthz": {"get": _operation("Is the process alive?", _json({"type": "object"}))},
        "/readyz": {
            "get": _operation("Can it take calls?", _json({"type": "object"}), more={"503": _json({"type": "object"}, "Not now")})
        },
        "/metrics": {
            "get": _operation(
                "Prometheus metrics", {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
            )
        },
    }
    info = {"title": "Mainstay", "version": VERSION}
    security = {"key": {"type": "http", "scheme": "bearer"}}
    whole = {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": shared, "securitySchemes": security}}
    return msgspec.json.encode(whole)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _TEMPLATE.format(name=name)}


def _json(schema: dict[str, Any], description: str = "As asked") -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _answer_or_events() -> dict[str, Any]:
    return {"application/json": {"schema": _ref("Answer")}, "text/event-stream": {"schema": {"type": "string"}}}


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(
    summary: str,
    answer: dict[str, Any],
    *,
    parameters: list[Any] | None = None,
    body: Any = None,
    success: str = "200",
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One operation: what it answers, and the door's own refusals, which are the same everywhere."""
    refusals = [
        "401",
        "403",
        "405",
        *(["400", "413", "415"] if body is not None else []),
        *(["404"] if parameters or body is not None else []),
    ]
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {success: answer, **{code: _json(_ref("Error"), "Refused") for code in refusals}, **(more or {})},
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation
