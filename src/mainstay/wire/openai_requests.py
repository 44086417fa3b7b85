"""The request body of OpenAI's chat completions, both ways: what our callers send us, and what we send a provider.

Source: OpenAI's API reference, `POST /v1/chat/completions`, and what compatible servers accept: `reasoning_details` and
`cache_control` are OpenRouter's. `read_request` refuses by name what has no word here and would be lost; top-level fields
that are unknown travel in `ModelRequest.extra`, for the same wire on the other side.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

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
from mainstay.wire.bodies import encoded


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


class WireCache(_Strict):
    type: Literal["ephemeral"]
    ttl: CacheMark | None = None


class WireTextPart(_Strict, tag_field="type", tag="text"):
    text: str
    cache_control: WireCache | None = None
    image_url: None = None


class WireImagePart(_Strict, tag_field="type", tag="image_url"):
    image_url: WireImage | str
    cache_control: WireCache | None = None
    text: None = None


class WireRefusalPart(_Strict, tag_field="type", tag="refusal"):
    refusal: str


class WireThought(_Strict):
    """One of OpenRouter's `reasoning_details`."""

    type: Literal["reasoning.text", "reasoning.summary", "reasoning.encrypted"]
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class WireMessage(_Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[WireTextPart | WireImagePart | WireRefusalPart] | None = None
    name: str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[WireThought] | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    prefix: bool | None = None


class WireFunctionSpec(_Strict):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class WireTool(_Strict):
    function: WireFunctionSpec
    type: Literal["function"] = "function"
    cache_control: WireCache | None = None


class WireNamed(Struct):
    name: str


class WireToolChoice(Struct):
    function: WireNamed
    type: Literal["function"] = "function"


class WireSchema(_Strict):
    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class WireFormat(_Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: WireSchema | None = None


class WireStreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool | None = None  # random padding of OpenAI's own streams; ours has none


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
    "tool_choice": msgspec.json.Decoder(Literal["auto", "none", "required", "any"] | WireToolChoice | None),
    "response_format": msgspec.json.Decoder(WireFormat | None),
}
# Fields whose part of the answer has no word here, and the values with which they ask for nothing.
_LOST = ("logprobs", "top_logprobs", "functions", "function_call", "audio", "modalities", "web_search_options")
_OFF = (b"null", b"false", b"0", b"[]", b'["text"]', b'"none"')


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
    _refuse_lost(fields)
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
        known = "; known: text, image_url" if path.endswith("].type") and ".content[" in path else ""
        raise BadRequest(f"`{path}`: {what}{known}", param=path) from None


def _refuse_lost(extra: dict[str, msgspec.Raw]) -> None:
    if "n" in extra and bytes(extra.pop("n")) not in (b"1", b"null"):
        raise BadRequest("`n` above 1 is not supported: a call has one answer", param="n")
    for name in _LOST:
        if name in extra and bytes(extra[name]).replace(b" ", b"") not in _OFF:
            raise BadRequest(f"`{name}` is not supported: its part of the answer could not be given back", param=name)


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
    if m.prefix:  # Mistral's: the model would go on writing this very message
        raise BadRequest("`prefix` is not supported", param=f"messages[{i}].prefix")
    content = m.content if m.content is not None else m.refusal or ""
    return Message(
        role="system" if m.role == "developer" else m.role,
        content=content if isinstance(content, str) else tuple([_part(p) for p in content]),
        tool_calls=tuple([ToolCall(c.id, c.function.name, c.function.arguments) for c in m.tool_calls]) if m.tool_calls else (),
        tool_call_id=m.tool_call_id,
        name=m.name,
        reasoning=m.reasoning_content or m.reasoning,
        thoughts=tuple([_thought(t) for t in m.reasoning_details]) if m.reasoning_details else (),
    )


def _part(part: WireTextPart | WireImagePart | WireRefusalPart) -> Part:
    if isinstance(part, WireTextPart):
        return TextPart(part.text, _cache(part.cache_control))
    if isinstance(part, WireRefusalPart):
        return TextPart(part.refusal)
    image = part.image_url if isinstance(part.image_url, WireImage) else WireImage(part.image_url)
    return ImagePart(image.url, image.detail, _cache(part.cache_control))


def _cache(control: WireCache | None) -> CacheMark | None:
    return None if control is None else control.ttl or "5m"


def _thought(t: WireThought) -> Thought:
    if t.type == "reasoning.encrypted":
        return Thought("sealed", t.data or "", "", t.id, t.format)
    if t.type == "reasoning.summary":
        return Thought("summary", t.summary or "", t.signature or "", t.id, t.format)
    return Thought("text", t.text or "", t.signature or "", t.id, t.format)


def _tool(tool: WireTool) -> Tool:
    f = tool.function
    return Tool(f.name, f.description or "", f.parameters, f.strict, _cache(tool.cache_control))


def _choice(choice: str | WireToolChoice | None) -> str | None:
    if choice == "any":  # Mistral's word
        return "required"
    return choice.function.name if isinstance(choice, WireToolChoice) else choice


def _output(wanted: WireFormat | None) -> OutputSchema | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return OutputSchema()
    if wanted.json_schema is None or wanted.json_schema.schema is None:
        raise BadRequest("`response_format.json_schema.schema` is missing", param="response_format.json_schema")
    asked = wanted.json_schema
    return OutputSchema(asked.name, asked.schema, asked.strict, asked.description or "")


def write_request(
    request: ModelRequest,
    *,
    model: str,
    stream: bool,
    max_tokens_field: str = "max_tokens",
    reasoning_field: str = "reasoning_content",
    stream_usage: bool = True,
) -> bytes:
    """The body to send to an OpenAI-compatible server.

    `reasoning_field` says in which field of a message the server takes reasoning back; with `reasoning_details`, thoughts
    are sent too.
    """
    body: dict[str, Any] = {"model": model, "messages": [_wire_message(m, reasoning_field) for m in request.messages]}
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
    return encoded(body)


def _wire_message(m: Message, reasoning_field: str) -> dict[str, Any]:
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
    details = reasoning_field == "reasoning_details"
    if m.reasoning is not None:
        wire["reasoning" if details else reasoning_field] = m.reasoning
    if m.thoughts and details:
        wire["reasoning_details"] = [_wire_thought(t, i) for i, t in enumerate(m.thoughts)]
    return wire


def _wire_part(part: Part) -> WireTextPart | WireImagePart:
    if isinstance(part, TextPart):
        return WireTextPart(part.text, _wire_cache(part.cache))
    return WireImagePart(WireImage(part.url, part.detail), _wire_cache(part.cache))


def _wire_cache(cache: CacheMark | None) -> WireCache | None:
    return None if cache is None else WireCache("ephemeral", None if cache == "5m" else cache)


def _wire_thought(t: Thought, index: int) -> WireThought:
    if t.kind == "sealed":
        return WireThought("reasoning.encrypted", data=t.text, id=t.id, format=t.format, index=index)
    if t.kind == "summary":
        return WireThought(
            "reasoning.summary", summary=t.text, signature=t.signature or None, id=t.id, format=t.format, index=index
        )
    return WireThought("reasoning.text", text=t.text, signature=t.signature or None, id=t.id, format=t.format, index=index)


def _wire_tool(tool: Tool) -> dict[str, Any]:
    spec = WireFunctionSpec(tool.name, tool.description or None, tool.parameters, tool.strict)
    wire: dict[str, Any] = {"type": "function", "function": spec}
    if tool.cache is not None:
        wire["cache_control"] = _wire_cache(tool.cache)
    return wire


def _wire_choice(choice: str) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _wire_format(output: OutputSchema) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    schema = WireSchema(output.name, output.schema, output.strict, output.description or None)
    return {"type": "json_schema", "json_schema": schema}
