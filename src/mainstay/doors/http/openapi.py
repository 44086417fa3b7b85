"""The OpenAPI document, made from the types that the door really reads and writes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from mainstay.app import Mainstay
from mainstay.core.answer import EVENT_NAMES, Answer, Cited, Data, Retract, Started, Step, Text
from mainstay.core.keys import Key
from mainstay.doors.http.admin import RollbackRequest, SwitchRequest
from mainstay.doors.http.admin_keys import KeyRequest
from mainstay.doors.http.features import ANSWER_ID, FeatureRequest, ScoreRequest
from mainstay.doors.http.passages import ShownPassage
from mainstay.freezing import VERSION
from mainstay.spec.schemas import components
from mainstay.wire.openai_requests import MESSAGES, READERS

_TEMPLATE = "#/components/schemas/{name}"
_EVENTS = [Started, Step, Text, Data, Cited, Retract, Answer]
_STRING: dict[str, Any] = {"type": "string"}
_OBJECT_OR_NULL: dict[str, Any] = {"type": ["object", "null"]}
_INTEGER: dict[str, Any] = {"type": "integer"}


class _Names(NamedTuple):
    """What whoever asks may use."""

    features: tuple[str, ...]
    models: tuple[str, ...]


def document(app: Mainstay, key: Key | None, *, locked: bool) -> bytes:
    """The document, with the features and models that the key may use as the known names. `locked` says that a key is needed."""
    names = _Names(
        tuple([name for name in app.features.ready if key is None or key.uses(name)]),
        tuple([name for name in app.features.plain if key is None or key.uses(name, model=True)]),
    )
    readers = {"messages": MESSAGES, **READERS}
    types = [
        FeatureRequest,
        ScoreRequest,
        SwitchRequest,
        RollbackRequest,
        KeyRequest,
        ShownPassage,
        *_EVENTS,
        *(reader.type for reader in readers.values()),
    ]
    (asked, scored, switched, rolled, wanted, shown, *others), shared = components(types, template=_TEMPLATE)
    shared |= _schemas()
    shared["WireMessage"]["properties"]["prefix"] = {"enum": [False, None]}
    shared["ChatRequest"] = _chat(names, dict(zip(readers, others[len(_EVENTS) :], strict=True)))
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Mainstay", "version": VERSION, "description": _DESCRIPTION},
        "paths": _own(names, asked, scored)
        | _sources(app, shown)
        | _openai(names)
        | _operators()
        | _admin(app, key, switched, rolled)
        | _keys(wanted),
        "components": {
            "schemas": shared,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}] if locked else [],
    }
    return msgspec.json.encode(whole)


_DESCRIPTION = (
    "Every error is `{error: {message, type, param, code}}`; `x-should-retry: false` says that asking again changes nothing. "
    "Any request may be answered by 408 or 431 where it does not come, or its headers do not end, and by 503 `draining` while "
    "the server stops."
)


def _own(names: _Names, asked: Any, scored: Any) -> dict[str, Any]:
    """Mainstay's own shapes."""
    feature = _path("feature", _one_of(names.features))
    answer_id = _path("id", {"type": "string", "pattern": ANSWER_ID})
    events = _event(list(EVENT_NAMES), {"anyOf": [_ref(event.__name__) for event in _EVENTS]})
    answer = {
        "description": "The answer, or with `stream` its events, one `answer` last",
        "content": {"application/json": {"schema": _ref("Answer")}, "text/event-stream": events},
    }
    return {
        "/v1/features": {"get": _operation("List the features", _json(_ref("FeatureList")))},
        "/v1/features/{feature}": {
            "post": _operation(
                "Ask a feature",
                answer,
                parameters=[feature],
                body=asked,
                more={"422": _json(_ref("Answer"), "The input is not what the feature declares")},
            )
        },
        "/v1/answers/{id}": {"get": _operation("Read an answer", _json(_ref("Answer")), parameters=[answer_id])},
        "/v1/answers/{id}/scores": {
            "post": _operation(
                "Score an answer; what is sent twice under one idempotency-key is kept once",
                _json(_ref("KeptScore")),
                parameters=[
                    answer_id,
                    {"name": "idempotency-key", "in": "header", "schema": _STRING},
                ],
                body=scored,
                success="201",
            )
        },
    }


def _sources(app: Mainstay, shown: Any) -> dict[str, Any]:
    """What answers rest on."""
    name = {"type": "string", "minLength": 1, "maxLength": 200}
    parameters = [
        _path("source", _one_of(app.features.project.sources)),
        _path("id", {"type": "string", "minLength": 1}),
        {"name": "tenant", "in": "query", "schema": name, "description": "For whom it is looked up, as in a call."},
        {"name": "roles", "in": "query", "schema": {"type": "array", "items": name}, "description": "What they may see."},
    ]
    content = {"application/json": {"schema": shown}, "text/html": {"schema": _STRING}}
    answer = {"description": "The passage between its neighbours; a page where `accept` asks for one", "content": content}
    more = {"400": _json(_ref("Error"), "Another parameter")}
    return {
        "/v1/sources/{source}/passages/{id}": {
            "get": _operation("A passage at its place, as a citation links to it", answer, parameters=parameters, more=more)
        }
    }


def _event(names: list[str], data: dict[str, Any]) -> dict[str, Any]:
    """One server-sent event; the stream is any number of them."""
    json = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    event: dict[str, Any] = {"type": "object", "required": ["data"], "properties": {"data": json}}
    if names:
        event["required"] = ["event", "data"]
        event["properties"]["event"] = {"enum": names}
    return {"schema": event}


def _openai(names: _Names) -> dict[str, Any]:
    """OpenAI's shapes."""
    model = _path("id", _one_of([*names.features, *names.models]))
    completion = {
        "description": "A completion, or with `stream` its chunks",
        "headers": {"x-mainstay-ignored": {"schema": _STRING, "description": "The settings that the feature did not look at."}},
        "content": {"application/json": {"schema": _ref("Completion")}, "text/event-stream": _event([], _ref("Chunk"))},
    }
    failed = {code: _json(_ref("Error"), what) for code, what in (("429", "The model's provider refuses"), ("504", "Too late"))}
    return {
        "/v1/chat/completions": {"post": _operation("Chat completions", completion, body=_ref("ChatRequest"), more=failed)},
        "/v1/models": {"get": _operation("List features and models", _json(_ref("ModelList")))},
        "/v1/models/{id}": {"get": _operation("One feature or model", _json(_ref("Model")), parameters=[model])},
    }


def _operators() -> dict[str, Any]:
    """What operators and their tools ask."""
    metrics = {"description": "Metrics", "content": {"text/plain": {"schema": _STRING}}}
    anything = _json({"type": "object"})
    return {
        "/healthz": {"get": _operation("Is the process alive?", _json(_ref("Health")), open=True)},
        "/readyz": {
            "get": _operation(
                "Can it take calls?", _json(_ref("Readiness")), more={"503": _json(_ref("Readiness"), "Not now")}, open=True
            )
        },
        "/metrics": {"get": _operation("Prometheus metrics", metrics)},
        "/openapi.json": {"get": _operation("This document", anything)},
        "/": {"get": _operation("What this is", anything)},
    }


def _admin(app: Mainstay, key: Key | None, switched: Any, rolled: Any) -> dict[str, Any]:
    """What is served, and taking it back."""
    every = [*app.features.ready, *app.features.missing, *app.features.plain]
    names = [name for name in every if key is None or key.uses(name) or key.uses(name, model=True)]
    feature, standing = _path("feature", _one_of(names)), _json(_ref("Standing"))
    nothing = {"409": _json(_ref("Error"), "There is nothing to go back to")}
    path = "/admin/features/{feature}"
    return {
        path: {"get": _operation("What is served for a feature", standing, parameters=[feature])},
        f"{path}/switch": {
            "put": _operation("Switch a feature off or on, within a second", standing, parameters=[feature], body=switched)
        },
        f"{path}/rollback": {
            "post": _operation("Go back to the release before", standing, parameters=[feature], body=rolled, more=nothing)
        },
    }


def _keys(wanted: Any) -> dict[str, Any]:
    """The keys of callers."""
    made = _json(_ref("MadeKey"), "With the whole key, which is given once")
    revoked = _json(_object(id=_STRING, revoked={"const": True}))
    return {
        "/admin/keys": {
            "get": _operation("List the keys that were not revoked", _json(_object(data=_list_of("ShownKey")))),
            "post": _operation("Make a key", made, body=wanted, success="201"),
        },
        "/admin/keys/{id}": {"delete": _operation("Revoke a key", revoked, parameters=[_path("id", dict(_STRING))])},
    }


def _operation(
    summary: str,
    answer: dict[str, Any],
    *,
    parameters: list[Any] | None = None,
    body: Any = None,
    success: str = "200",
    more: dict[str, Any] | None = None,
    open: bool = False,
) -> dict[str, Any]:
    """One operation: what it answers, and the door's own refusals, which are the same everywhere. `open` needs no key."""
    refusals = {"405": "Another method"}
    if not open:
        refusals |= {
            "401": "The key is missing or wrong",
            "403": "Not from loopback, and there is no key; or the key does not open this",
            "503": "Not now",
        }
    if body is not None:
        refusals |= {"400": "Malformed", "413": "Too large", "415": "Not JSON"}
    if parameters or body is not None:
        refusals["404"] = "There is nothing by that name"
    errors = {code: _json(_ref("Error"), what) for code, what in refusals.items()}
    operation: dict[str, Any] = {"summary": summary, "responses": {success: answer, **errors, **(more or {})}}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if open:
        operation["security"] = []
    return operation


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _TEMPLATE.format(name=name)}


def _json(schema: dict[str, Any], description: str = "As asked") -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _chat(names: _Names, fields: dict[str, Any]) -> dict[str, Any]:
    """The chat request: the fields that have a word here; others go to a model as they are, and are refused by a feature."""
    fields["model"] = _one_of([*names.features, *names.models]) | {"description": "A feature, or a configured model."}
    fields["messages"] |= {"minItems": 1}
    for name in ("max_tokens", "max_completion_tokens"):
        fields[name] = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}
    return {"type": "object", "required": ["model", "messages"], "properties": fields}


def _one_of(names: Collection[str]) -> dict[str, Any]:
    """A name that this project has; any other is 404."""
    return {"type": "string", "enum": sorted(names)} if names else dict(_STRING)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _key(**more: Any) -> dict[str, Any]:
    """A key without its digest."""
    texts = {"type": "array", "items": _STRING}
    expires = {"type": ["number", "null"], "description": "Seconds since 1970."}
    limits = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": ["string", "integer"]}}}
    return _object(
        id=_STRING,
        tenant=_STRING,
        roles=texts,
        features=texts,
        models=texts,
        expires=expires,
        limits=limits,
        name=_STRING,
        **more,
    )


def _schemas() -> dict[str, Any]:
    """What the door writes beside answers."""
    text_or_null = {"type": ["string", "null"]}
    usage = _object(prompt_tokens=_INTEGER, completion_tokens=_INTEGER, total_tokens=_INTEGER)
    message = _object(role={"const": "assistant"}, content=text_or_null, refusal=text_or_null)
    choice = _object(
        index={"const": 0}, message=message, finish_reason={"enum": ["stop", "length", "tool_calls", "content_filter"]}
    )
    return {
        "Error": _object(error=_object(message=_STRING, type=_STRING, param=text_or_null, code=text_or_null)),
        "Completion": _object(
            id=_STRING,
            object={"const": "chat.completion"},
            created=_INTEGER,
            model=_STRING,
            choices={"type": "array", "minItems": 1, "maxItems": 1, "items": choice},
            usage=usage,
        ),
        "Chunk": _object(
            id=_STRING,
            object={"const": "chat.completion.chunk"},
            created=_INTEGER,
            model=_STRING,
            choices={"type": "array", "maxItems": 1, "items": {"type": "object"}},
        ),
        "Model": _object(id=_STRING, object={"const": "model"}, created=_INTEGER, owned_by=_STRING),
        "ModelList": _object(object={"const": "list"}, data=_list_of("Model")),
        "ListedFeature": _object(
            name=_STRING,
            summary=_STRING,
            release=_STRING,
            input={
                "description": "Names and types of the fields, or the name of a JSON Schema file.",
                "type": ["object", "string"],
            },
            history=_INTEGER,
            structured={"type": "boolean"},
            rungs={"type": "array", "items": _STRING},
        ),
        "FeatureList": _object(data=_list_of("ListedFeature")),
        "KeptScore": _object(id=_STRING, record=_STRING),
        "Standing": _object(
            feature=_STRING,
            live=_OBJECT_OR_NULL,
            canary=_OBJECT_OR_NULL,
            shadow=_OBJECT_OR_NULL,
            off={"type": "array", "items": {"type": "object"}},
            head=_STRING,
        ),
        "ShownKey": _key(),
        "MadeKey": _key(key=_STRING),
        "Health": _object(status={"const": "ok"}),
        "Readiness": _object(status={"enum": ["ready", "not ready"]}, trouble=text_or_null),
    }
