"""The request body of Anthropic's Messages API, as we send it.

Source: Anthropic's API reference, `POST /v1/messages`. Adjacent messages of one side become one turn, because the API wants them
to alternate; tool results are part of the user's turn. System messages, wherever they stand, go to the top-level `system`: older
models take them nowhere else. What the wire cannot carry is refused by name: `seed`, an answer of any JSON, a participant's
`name`, fields of another wire.
"""

from __future__ import annotations

from typing import Any

from mainstay.core.errors import Unsupported
from mainstay.core.model import CacheMark, ImagePart, Message, ModelRequest, OutputSchema, TextPart, Thought, Tool
from mainstay.wire.bodies import encoded
from mainstay.wire.images import inline
from mainstay.wire.turns import Block, arguments, own_fields, turns, without_tier

FORMAT = "anthropic-claude-v1"
"""What marks a `Thought` as Anthropic's."""

# Fields of this very wire that a caller may send along and that change nothing about how the answer is read.
_OWN = {"thinking", "top_k", "metadata", "cache_control", "inference_geo"}
# What OpenAI's clients may ask for, and what comes nearest to it here. A tier that waits has no request of its own.
_TIERS = {"auto": "auto", "default": "standard_only", "flex": "standard_only", "standard_only": "standard_only"}
_EFFORTS = {"minimal": "low"}


def write_request(request: ModelRequest, *, model: str, stream: bool, max_output: int, where: str) -> bytes:
    """The body to send. `max_output` holds where the request names none. Raises `Unsupported`."""
    if request.seed is not None:
        raise Unsupported("seed", where=where)
    body: dict[str, Any] = {"model": model, "max_tokens": request.max_output or max_output}
    system = [block for m in request.messages if m.role == "system" for block in _blocks(m, where)]
    if system:
        body["system"] = system[0]["text"] if len(system) == 1 and len(system[0]) == 2 else system
    body["messages"] = _turns(request.messages, where)
    if request.tools:
        body["tools"] = [_tool(t) for t in request.tools]
    choice = _choice(request)
    if choice is not None:
        body["tool_choice"] = choice
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop_sequences"] = request.stop
    config = _output_config(request, where)
    if config:
        body["output_config"] = config
    if request.reasoning_effort == "none":
        body["thinking"] = {"type": "disabled"}
    if stream:
        body["stream"] = True
    extra, tier = without_tier(request.extra)
    if tier is not None:
        if tier not in _TIERS:
            raise Unsupported(f"`service_tier` = {tier!r}", where=where)
        body["service_tier"] = _TIERS[tier]
    return encoded(body | own_fields(extra, _OWN, where))


def _turns(messages: tuple[Message, ...], where: str) -> list[Block]:
    made = turns(messages, lambda m: _blocks(m, where), {"user": "user", "tool": "user", "assistant": "assistant"})
    return [{"role": side, "content": blocks} for side, blocks in made]


def _blocks(m: Message, where: str) -> list[Block]:
    if m.name is not None and m.role != "tool":
        raise Unsupported("`name` of a message", where=where)
    content = _content(m, where)
    if m.role == "tool":
        result: Block = {"type": "tool_result", "tool_use_id": m.tool_call_id or "", "content": content}
        marks = [block.pop("cache_control") for block in content if "cache_control" in block]
        return [result | {"cache_control": marks[-1]} if marks else result]
    if m.role == "system" and any(block["type"] != "text" for block in content):
        raise Unsupported("an image in a system message", where=where)
    if m.role != "assistant":
        return content
    thoughts = [_thought(t) for t in m.thoughts if t.format == FORMAT and (t.signature or t.kind == "sealed")]
    calls = [{"type": "tool_use", "id": c.id, "name": c.name, "input": arguments(c, where)} for c in m.tool_calls]
    return [*thoughts, *content, *calls]


def _content(m: Message, where: str) -> list[Block]:
    parts = (TextPart(m.content),) if isinstance(m.content, str) else m.content
    blocks: list[Block] = []
    for part in parts:
        if isinstance(part, ImagePart):
            block: Block = {"type": "image", "source": _source(part.url, where)}
        elif part.text:
            block = {"type": "text", "text": part.text}
        else:
            continue  # the API refuses an empty text
        if part.cache is not None:
            block["cache_control"] = _cache(part.cache)
        blocks.append(block)
    return blocks


def _source(url: str, where: str) -> Block:
    image = inline(url, where)
    if image is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _cache(mark: CacheMark) -> Block:
    return {"type": "ephemeral"} if mark == "5m" else {"type": "ephemeral", "ttl": mark}


def _thought(t: Thought) -> Block:
    if t.kind == "sealed":
        return {"type": "redacted_thinking", "data": t.text}
    return {"type": "thinking", "thinking": t.text, "signature": t.signature}


def _tool(tool: Tool) -> Block:
    wire: Block = {"name": tool.name, "input_schema": tool.parameters or {"type": "object", "properties": {}}}
    if tool.description:
        wire["description"] = tool.description
    if tool.strict:
        wire["strict"] = True
    if tool.cache is not None:
        wire["cache_control"] = _cache(tool.cache)
    return wire


def _choice(request: ModelRequest) -> Block | None:
    choice = request.tool_choice
    one_by_one = request.parallel_tool_calls is False and bool(request.tools) and choice != "none"
    if choice is None and not one_by_one:
        return None
    wire: Block = {"type": {"required": "any", None: "auto"}.get(choice, choice)}
    if choice not in (None, "auto", "none", "required"):
        wire = {"type": "tool", "name": choice}
    return wire | {"disable_parallel_tool_use": True} if one_by_one else wire


def _output_config(request: ModelRequest, where: str) -> Block:
    config: Block = {}
    if request.output is not None:
        config["format"] = {"type": "json_schema", "schema": _schema(request.output, where)}
    effort = request.reasoning_effort
    if effort is not None and effort != "none":
        config["effort"] = _EFFORTS.get(effort, effort)
    return config


def _schema(output: OutputSchema, where: str) -> Any:
    if output.schema is None:
        raise Unsupported("an answer of any JSON, without a schema", where=where)
    schema = _supported(output.schema)
    return {"description": output.description} | schema if output.description else schema


# What the API's constrained decoding knows nothing of: it would refuse the whole request.
_UNENFORCED = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
    *("maxItems", "uniqueItems", "minProperties", "maxProperties", "contains", "minContains", "maxContains"),
}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
_NAMED = ("properties", "$defs", "definitions")  # keywords whose keys are names, not keywords


def _supported(schema: Any) -> Any:
    """The schema in the dialect that the API enforces. The rest becomes words; the feature's own guard checks it in full."""
    if isinstance(schema, list):
        return [_supported(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: Block = {}
    said: list[str] = []
    for key, value in schema.items():
        if key in _UNENFORCED or (key == "minItems" and value not in (0, 1)) or (key == "format" and str(value) not in _FORMATS):
            said.append(f"{key}: {value}")
        elif key in _NAMED and isinstance(value, dict):
            kept[key] = {name: _supported(inner) for name, inner in value.items()}
        elif key in ("enum", "const", "default", "required", "examples"):
            kept[key] = value
        else:
            kept["anyOf" if key == "oneOf" else key] = _supported(value)
    if said:
        kept["description"] = " ".join(filter(None, (schema.get("description"), f"{{{', '.join(said)}}}")))
    if kept.get("type") == "object":
        kept.setdefault("additionalProperties", False)
    return kept
