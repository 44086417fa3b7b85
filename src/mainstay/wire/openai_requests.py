"""The request body of OpenAI's chat completions, both ways: what our callers send us, and what we send a provider.

Source: OpenAI's API reference, `POST /v1/chat/completions`, and what compatible servers accept. `read_request` refuses by
name what has no word here and would be lost; top-level fields that are unknown travel in `ModelRequest.extra`, for the same
wire on the other side.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from mainstay.core.errors import BadRequest
from mainstay.core.model import ImagePart, Message, ModelRequest, OutputSchema, Part, TextPart, Tool, ToolCall


class _Strict(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A place where an unknown key would be lost in silence, so it is refused instead."""


class WireFunction(_Strict):
    name: str
    arguments: str = ""


class WireToolCall(_Strict):
    id: str
    function: WireFunction
    type: Literal["function"] = "function"
    index: int | None = None


class WireImage(_Strict):
    url: str
    detail: str | None = None


class WirePart(Struct, omit_defaults=True):
    type: str
    text: str | None = None
    image_url: WireImage | str | None = None


class WireMessage(_Strict):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[WirePart] | None = None
    name: str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None


class WireFunctionSpec(Struct, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class WireTool(_Strict):
    function: WireFunctionSpec
    type: Literal["function"] = "function"


class WireNamed(Struct):
    name: str


class WireToolChoice(Struct):
    function: WireNamed
    type: Literal["function"] = "function"


class WireSchema(Struct, omit_defaults=True):
    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class WireFormat(Struct, omit_defaults=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: WireSchema | None = None


class WireStreamOptions(Struct):
    include_usage: bool = False


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A chat completion request, read: the request proper, and what concerns its delivery.

    `known` holds the fields that have a word here as they were read, for who has to name one that he cannot serve.
    """

    model: str
    request: ModelRequest
    stream: bool = False
    include_usage: bool = False
    user: str | None = None
    known: dict[str, Any] = {}


_top = msgspec.json.Decoder(dict[str, msgspec.Raw])
MESSAGES = msgspec.json.Decoder(list[WireMessage])
# Each field that has a word here: how its JSON is read.
READERS: dict[str, msgspec.json.Decoder[Any]] = {
    "model": msgspec.json.Decoder(str),
    "stream": msgspec.json.Decoder(bool | None),
    "stream_options": msgspec.json.Decoder(WireStreamOptions | None),
    "user": msgspec.json.Decoder(str | None),
    "max_tokens": msgspec.json.Decoder(int | None),
    "max_completion_tokens": msgspec.json.Decoder(int | None),
    "temperature": msgspec.json.Decoder(float | None),
    "top_p": msgspec.json.Decoder(float | None),
    "seed": msgspec.json.Decoder(int | None),
    "reasoning_effort": msgspec.json.Decoder(str | None),
    "parallel_tool_calls": msgspec.json.Decoder(bool | None),
    "stop": msgspec.json.Decoder(str | list[str] | None),
    "tools": msgspec.json.Decoder(list[WireTool] | None),
    "tool_choice": msgspec.json.Decoder(Literal["auto", "none", "required"] | WireToolChoice | None),
    "response_format": msgspec.json.Decoder(WireFormat | None),
}


def read_request(body: bytes) -> ChatRequest:
    """Read a caller's request. Raises `BadRequest` with the `param` at fault."""
    try:
        fields = _top.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not a JSON object: {error}") from None
    for required in ("model", "messages"):
        if required not in fields:
            raise BadRequest(f"`{required}` is missing", param=required)
    messages = _read_field("messages", fields.pop("messages"), MESSAGES)
    known = {name: _read_field(name, fields.pop(name), reader) for name, reader in READERS.items() if name in fields}
    if not messages:
        raise BadRequest("`messages` is empty", param="messages")
    if b"\n" in body or b"\r" in body:  # what travels as it came is kept in records, which are one line each
        fields = {name: msgspec.Raw(msgspec.json.format(raw, indent=-1)) for name, raw in fields.items()}
    options = known.get("stream_options")
    return ChatRequest(
        model=known["model"],
        stream=bool(known.get("stream")),
        include_usage=options is not None and options.include_usage,
        user=known.get("user"),
        known=known,
        request=_request(messages, known, fields),
    )


def _read_field(name: str, raw: msgspec.Raw, reader: msgspec.json.Decoder[Any]) -> Any:
    try:
        return reader.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what, _, place = str(error).partition(" - at `$")
        path = name + place.rstrip("`")
        raise BadRequest(f"`{path}`: {what}", param=path) from None


def _request(messages: list[WireMessage], known: dict[str, Any], extra: dict[str, msgspec.Raw]) -> ModelRequest:
    limit = known.get("max_completion_tokens")
    if limit is None:
        limit = known.get("max_tokens")
    if limit is not None and limit < 1:
        raise BadRequest("`max_tokens` must be at least 1", param="max_tokens")
    stop = known.get("stop") or ()
    return ModelRequest(
        messages=tuple([_message(i, m) for i, m in enumerate(messages)]),
        tools=tuple([_tool(t) for t in known.get("tools") or ()]),
        tool_choice=_choice(known.get("tool_choice")),
        parallel_tool_calls=known.get("parallel_tool_calls"),
        output=_output(known.get("response_format")),
        max_output=limit,
        temperature=known.get("temperature"),
        top_p=known.get("top_p"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=known.get("seed"),
        reasoning_effort=known.get("reasoning_effort"),
        extra=extra,
    )


def _message(i: int, m: WireMessage) -> Message:
    if m.role == "function":
        raise BadRequest("the role `function` is obsolete; use `tool`", param=f"messages[{i}].role")
    content = m.content if m.content is not None else m.refusal or ""
    return Message(
        role="system" if m.role == "developer" else m.role,
        content=content if isinstance(content, str) else tuple([_part(i, j, p) for j, p in enumerate(content)]),
        tool_calls=tuple([ToolCall(c.id, c.function.name, c.function.arguments) for c in m.tool_calls]) if m.tool_calls else (),
        tool_call_id=m.tool_call_id,
        name=m.name,
        reasoning=m.reasoning_content or m.reasoning,
    )


def _part(i: int, j: int, part: WirePart) -> Part:
    if part.type == "text" and part.text is not None:
        return TextPart(part.text)
    if part.type == "refusal":
        return TextPart(part.text or "")
    if part.type == "image_url" and part.image_url is not None:
        image = part.image_url if isinstance(part.image_url, WireImage) else WireImage(part.image_url)
        return ImagePart(image.url, image.detail)
    where = f"messages[{i}].content[{j}]"
    raise BadRequest(f"`{where}` of type `{part.type}` is not supported; known: text, image_url", param=f"{where}.type")


def _tool(tool: WireTool) -> Tool:
    f = tool.function
    return Tool(f.name, f.description or "", f.parameters, f.strict)


def _choice(choice: str | WireToolChoice | None) -> str | None:
    return choice.function.name if isinstance(choice, WireToolChoice) else choice


def _output(wanted: WireFormat | None) -> OutputSchema | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return OutputSchema()
    if wanted.json_schema is None or wanted.json_schema.schema is None:
        raise BadRequest("`response_format.json_schema.schema` is missing", param="response_format.json_schema")
    return OutputSchema(wanted.json_schema.name, wanted.json_schema.schema, wanted.json_schema.strict)


_encode = msgspec.json.Encoder().encode


def write_request(
    request: ModelRequest, *, model: str, stream: bool, max_tokens_field: str = "max_tokens", stream_usage: bool = True
) -> bytes:
    """The body to send to an OpenAI-compatible server."""
    body: dict[str, Any] = {"model": model, "messages": [_wire_message(m) for m in request.messages]}
    if request.max_output is not None:
        body[max_tokens_field] = request.max_output
    if request.tools:
        body["tools"] = [_wire_tool(t) for t in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = _wire_choice(request.tool_choice)
    if request.output is not None:
        body["response_format"] = _wire_format(request.output)
    for name in ("temperature", "top_p", "seed", "reasoning_effort", "parallel_tool_calls"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop"] = request.stop
    if stream:
        body["stream"] = True
        if stream_usage:
            body["stream_options"] = {"include_usage": True}
    if request.extra:
        body.update(request.extra)
    return _encode(body)


def _wire_message(m: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": m.role}
    if m.content or not m.tool_calls:
        wire["content"] = m.content if isinstance(m.content, str) else [_wire_part(p) for p in m.content]
    if m.tool_calls:
        wire["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in m.tool_calls
        ]
    if m.tool_call_id is not None:
        wire["tool_call_id"] = m.tool_call_id
    if m.name is not None:
        wire["name"] = m.name
    if m.reasoning is not None:
        wire["reasoning_content"] = m.reasoning
    return wire


def _wire_part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
    return {"type": "image_url", "image_url": image}


def _wire_tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": WireFunctionSpec(tool.name, tool.description or None, tool.parameters, tool.strict),
    }


def _wire_choice(choice: str) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _wire_format(output: OutputSchema) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": WireSchema(output.name, output.schema, output.strict)}
