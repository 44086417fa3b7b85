"""A recorded request as one of ours: what a team would have asked through Mainstay. Refuses by name what has no word there.

Chat completions are read by Mainstay's own reader, because its doors read them so. Anthropic's and Gemini's are read here: fields
of the request's top level that have no word go along as `extra`, for the adapter to carry or to refuse by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mainstay.core.errors import BadRequest
from mainstay.core.model import (
    CacheMark,
    ImagePart,
    Message,
    ModelRequest,
    OutputSchema,
    Part,
    TextPart,
    Thought,
    Tool,
    ToolCall,
)
from mainstay.wire import anthropic_requests, gemini_requests
from mainstay.wire.openai_requests import read_request

Json = dict[str, Any]

_RANKS = {"thinking": 0, "redacted_thinking": 0, "text": 1, "image": 1, "tool_use": 2}


def read(wire: str, body: bytes) -> ModelRequest:
    """The request as ours. Raises `BadRequest`."""
    if wire == "chat completions":
        return read_request(body).request
    try:
        recorded = json.loads(body)
        return _anthropic(recorded) if wire == "messages" else _gemini(camel(recorded))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadRequest(f"the request is not of this wire's shape: {type(error).__name__}: {error}") from None


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def only(place: str, given: Mapping[str, Any], *known: str) -> None:
    """Refuse what is beyond these keys, unless it says nothing."""
    for key, value in given.items():
        if key not in known and value not in (None, False, [], {}):
            raise BadRequest(f"`{place}.{key}`" if place else f"`{key}`", param=key)


# Anthropic


def _anthropic(body: Json) -> ModelRequest:
    fields = dict(body)
    messages = _system(fields.pop("system", None))
    for turn in fields.pop("messages"):
        if turn["role"] == "system":
            raise BadRequest("a system message in mid-conversation")
        messages += _assistant(turn["content"]) if turn["role"] == "assistant" else _user(turn["content"])
    tools = tuple(_anthropic_tool(t) for t in fields.pop("tools", None) or ())
    choice = fields.pop("tool_choice", None) or {}
    only("tool_choice", choice, "type", "name", "disable_parallel_tool_use")
    config = dict(fields.pop("output_config", None) or {})
    form = config.pop("format", None) or fields.pop("output_format", None)
    effort = config.pop("effort", None)
    if config:
        raise BadRequest(f"`output_config.{next(iter(config))}`")
    for ours in ("model", "stream"):
        fields.pop(ours, None)
    return ModelRequest(
        messages=tuple(messages),
        tools=tools,
        tool_choice={"any": "required", "tool": choice.get("name")}.get(choice.get("type", ""), choice.get("type")),
        parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        output=None if form is None else OutputSchema(schema=form["schema"]),
        max_output=fields.pop("max_tokens"),
        temperature=fields.pop("temperature", None),
        top_p=fields.pop("top_p", None),
        stop=tuple(fields.pop("stop_sequences", None) or ()),
        reasoning_effort=effort,
        extra={name: raw(value) for name, value in fields.items() if value is not None},
    )


def _system(system: str | list[Json] | None) -> list[Message]:
    if not system:
        return []
    content = system if isinstance(system, str) else tuple(_anthropic_part(b, "system") for b in system)
    return [Message("system", content)]


def _cache(block: Json) -> CacheMark | None:
    control = block.get("cache_control")
    return None if control is None else control.get("ttl") or "5m"


def _anthropic_part(block: Json, place: str) -> Part:
    if block["type"] == "text":
        only(f"{place}[]", block, "type", "text", "cache_control")
        return TextPart(block["text"], _cache(block))
    if block["type"] != "image":
        raise BadRequest(f"`{place}[]` of type `{block['type']}`")
    only(f"{place}[]", block, "type", "source", "cache_control")
    source = block["source"]
    if source["type"] not in ("base64", "url"):
        raise BadRequest(f"an image from a `{source['type']}`")
    url = source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
    return ImagePart(url, None, _cache(block))


def _user(content: str | list[Json]) -> list[Message]:
    if isinstance(content, str):
        return [Message("user", content)]
    messages: list[Message] = []
    parts: list[Part] = []
    for block in content:
        if block["type"] != "tool_result":
            parts.append(_anthropic_part(block, "messages[].content"))
            continue
        if parts:
            messages.append(Message("user", tuple(parts)))
            parts = []
        only("messages[].content[]", block, "type", "tool_use_id", "content", "cache_control")
        inner = block.get("content") or ""
        said = [TextPart(inner)] if isinstance(inner, str) else [_anthropic_part(b, "tool_result.content") for b in inner]
        if said and (mark := _cache(block)):
            said[-1] = msgspec.structs.replace(said[-1], cache=mark)
        messages.append(Message("tool", tuple(said), tool_call_id=block["tool_use_id"]))
    return [*messages, Message("user", tuple(parts))] if parts else messages


def _assistant(content: str | list[Json]) -> list[Message]:
    """A turn of the model; blocks out of our order (thoughts, text, calls) begin a further message of the same turn."""
    if isinstance(content, str):
        return [Message("assistant", content)]
    groups: list[list[Json]] = [[]]
    rank = 0
    for block in content:
        now = _RANKS.get(block["type"])
        if now is None:
            raise BadRequest(f"`messages[].content[]` of type `{block['type']}`")
        if now < rank:
            groups.append([])
        rank = now
        groups[-1].append(block)
    return [_assistant_message(group) for group in groups]


def _assistant_message(blocks: list[Json]) -> Message:
    thoughts, parts, calls = [], [], []
    for block in blocks:
        if block["type"] == "thinking":
            thoughts.append(Thought("text", block["thinking"], block["signature"], format=anthropic_requests.FORMAT))
        elif block["type"] == "redacted_thinking":
            thoughts.append(Thought("sealed", block["data"], format=anthropic_requests.FORMAT))
        elif block["type"] == "tool_use":
            only("messages[].content[]", block, "type", "id", "name", "input", "caller")
            calls.append(ToolCall(block["id"], block["name"], json.dumps(block["input"])))
        else:
            parts.append(_anthropic_part(block, "messages[].content"))
    return Message("assistant", tuple(parts), tool_calls=tuple(calls), thoughts=tuple(thoughts))


def _anthropic_tool(tool: Json) -> Tool:
    if tool.get("type") not in (None, "custom"):
        raise BadRequest(f"a tool of the provider's own: `{re.sub(r'_[0-9]{8}$', '', tool['type'])}`")
    only("tools[]", tool, "type", "name", "description", "input_schema", "strict", "cache_control")
    return Tool(tool["name"], tool.get("description") or "", tool["input_schema"], tool.get("strict"), _cache(tool))


# Gemini


_OPEN = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "labels"}  # below these, keys are somebody's own


def camel(value: Any) -> Any:
    """A request of Gemini's with its keys as the reference writes them; the API takes snake case as well."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda m: m[1].upper(), key): inner for key, inner in value.items()}
    return {
        key: inner if key in _OPEN or key in ("parameters", "responseSchema") else camel(inner) for key, inner in named.items()
    }


def json_schema(schema: Any) -> Any:
    """A schema in Gemini's older dialect as JSON Schema: types in small letters, camel case, no order of properties."""
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made: Json = {}
    for key, value in schema.items():
        name = re.sub(r"_([a-z])", lambda m: m[1].upper(), key)
        if name == "type" and isinstance(value, str):
            made[name] = value.lower()
        elif name == "properties":
            made[name] = {k: json_schema(v) for k, v in value.items()}
        elif name != "propertyOrdering":
            made[name] = value if name in ("enum", "required", "default", "example") else json_schema(value)
    if made.pop("nullable", False):
        return {"anyOf": [made, {"type": "null"}]}
    return made


def _gemini(body: Json) -> ModelRequest:
    fields = dict(body)
    messages = []
    system = fields.pop("systemInstruction", None)
    if system:
        messages.append(Message("system", tuple(_gemini_part(p) for p in system["parts"])))
    for turn in fields.pop("contents"):
        messages += _model_turn(turn["parts"]) if turn.get("role") == "model" else _user_turn(turn["parts"])
    config = dict(fields.pop("generationConfig", None) or {})
    tools, choice = _gemini_tools(fields)
    if config.get("responseModalities") == ["TEXT"]:
        del config["responseModalities"]
    output = _gemini_output(config)
    known = {name: config.pop(name, None) for name in ("temperature", "topP", "maxOutputTokens", "stopSequences", "seed")}
    return ModelRequest(
        messages=tuple(messages),
        tools=tools,
        tool_choice=choice,
        output=output,
        max_output=known["maxOutputTokens"],
        temperature=known["temperature"],
        top_p=known["topP"],
        stop=tuple(known["stopSequences"] or ()),
        seed=known["seed"],
        extra={name: raw(value) for name, value in {**fields, **config}.items() if value is not None},
    )


def _gemini_output(config: Json) -> OutputSchema | None:
    if config.get("responseMimeType") not in (None, "application/json"):
        return None  # the adapter refuses the field
    mime, schema = config.pop("responseMimeType", None), config.pop("responseJsonSchema", None)
    older = config.pop("responseSchema", None)
    if mime is None:
        return None
    return OutputSchema(schema=schema if older is None else json_schema(older))


def _gemini_tools(fields: Json) -> tuple[tuple[Tool, ...], str | None]:
    given = fields.pop("tools", None) or []
    config = dict(fields.pop("toolConfig", None) or {})
    calling = config.pop("functionCallingConfig", None) or {}
    only("toolConfig", config)
    mode, names = calling.get("mode"), calling.get("allowedFunctionNames") or []
    tools = []
    for tool in given if isinstance(given, list) else [given]:
        for key in tool:
            if key != "functionDeclarations":
                raise BadRequest(f"a tool of the provider's own: `{key}`")
        tools += [_gemini_tool(f, strict=mode == "VALIDATED") for f in tool.get("functionDeclarations") or []]
    choice = {"ANY": "required", "VALIDATED": "auto"}.get(mode, mode.lower()) if mode else None
    if names and set(names) != {tool.name for tool in tools}:
        if len(names) > 1:
            raise BadRequest("several allowed functions, but not all of them")
        choice = names[0]
    return tuple(tools), choice


def _gemini_tool(function: Json, *, strict: bool) -> Tool:
    only("functionDeclarations[]", function, "name", "description", "parameters", "parametersJsonSchema")
    older = function.get("parameters")
    schema = function.get("parametersJsonSchema") if older is None else json_schema(older)
    return Tool(function["name"], function.get("description") or "", schema, True if strict else None)


def _gemini_part(part: Json) -> Part:
    if "text" in part:
        only("parts[]", part, "text", "thoughtSignature")
        return TextPart(part["text"])
    inline, file = part.get("inlineData"), part.get("fileData")
    if inline is None and file is None:
        raise BadRequest(f"`parts[]` with `{next((k for k in part if not k.startswith('thought')), 'nothing')}`")
    only("parts[]", part, "inlineData", "fileData")
    media_type = (inline or file or {}).get("mimeType") or ""
    if not media_type.startswith("image/"):
        raise BadRequest(f"`{media_type}` as input")
    return ImagePart(file["fileUri"] if inline is None else f"data:{media_type};base64,{inline['data']}")


def _user_turn(parts: list[Json]) -> list[Message]:
    messages: list[Message] = []
    said: list[Part] = []
    for part in parts:
        answer = part.get("functionResponse")
        if answer is None:
            said.append(_gemini_part(part))
            continue
        if said:
            messages.append(Message("user", tuple(said)))
            said = []
        only("functionResponse", answer, "id", "name", "response", "parts")
        content = [TextPart(json.dumps(answer["response"])), *(_gemini_part(p) for p in answer.get("parts") or [])]
        messages.append(Message("tool", tuple(content), tool_call_id=answer.get("id"), name=answer["name"]))
    return [*messages, Message("user", tuple(said))] if said else messages


def _model_turn(parts: list[Json]) -> list[Message]:
    """A turn of the model, one message a part: the adapter puts neighbours together again."""
    messages: list[Message] = []
    for i, part in enumerate(parts):
        signature, call = part.get("thoughtSignature"), part.get("functionCall")
        if part.get("thought"):
            thought = Thought("text", part["text"], signature or "", format=gemini_requests.FORMAT)
            messages.append(Message("assistant", thoughts=(thought,)))
        elif call is not None:
            only("functionCall", call, "id", "name", "args")
            id = call.get("id") or ""
            made = ToolCall(id, call["name"], json.dumps(call.get("args") or {}))
            previous = messages[-1] if i and messages[-1].tool_calls else Message("assistant")
            sealed = (Thought("sealed", signature, id=id, format=gemini_requests.FORMAT),) if signature else ()
            if previous.tool_calls:
                messages.pop()
            messages.append(
                msgspec.structs.replace(previous, tool_calls=(*previous.tool_calls, made), thoughts=(*previous.thoughts, *sealed))
            )
        else:
            sealed = (Thought("sealed", signature, format=gemini_requests.FORMAT),) if signature else ()
            messages.append(Message("assistant", (_gemini_part(part),), thoughts=sealed))
    return messages
