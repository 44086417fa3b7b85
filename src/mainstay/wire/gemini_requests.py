"""The request body of Gemini's generateContent, as we send it; Google Vertex takes the same.

Source: Google's API reference, `models.generateContent`. System messages, wherever they stand, go to `systemInstruction`: there
is no other place. A tool's result that is no JSON object becomes `{"output": …}`, as the reference asks. Gemini 3 refuses a tool
call of its own that comes back without its signature; a call that never had one (another model made it) carries the mark that
Google documents for that. What the wire cannot carry is refused by name: `parallel_tool_calls = false`, a participant's `name`,
fields of another wire.
"""

from __future__ import annotations

import mimetypes
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mainstay.core.errors import Unsupported
from mainstay.core.model import ImagePart, Message, ModelRequest, TextPart, Thought, Tool
from mainstay.wire.bodies import encoded
from mainstay.wire.images import inline
from mainstay.wire.turns import Block, arguments, own_fields, turns, without_tier

FORMAT = "google-gemini-v1"
"""What marks a `Thought` as Gemini's."""

FOREIGN = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""Base64 of `skip_thought_signature_validator`: the signature of a tool call that Gemini did not make."""

# Fields of this very wire that a caller may send along and that change nothing about how the answer is read.
_OWN = {"safetySettings", "cachedContent", "labels"}
# What OpenAI's clients may ask for where nothing is asked of the provider: Vertex takes no tier in the body.
_TIERS = (None, "auto", "default", "flex")
_GENERATION = {
    "topK": "topK",
    "thinkingConfig": "thinkingConfig",
    "mediaResolution": "mediaResolution",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
# What Google's own OpenAI-compatible door makes of an effort: a budget in tokens up to Gemini 2, a level since.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def write_request(request: ModelRequest, *, model: str, max_output: int, where: str) -> bytes:
    """The body to send; `model` decides dialects only. `max_output` holds where the request names none. Raises `Unsupported`."""
    if request.parallel_tool_calls is False:
        raise Unsupported("`parallel_tool_calls` = false", where=where)
    generation = {k: v for k, v in request.extra.items() if k in _GENERATION}
    extra, tier = without_tier(request.extra)
    if tier not in _TIERS:
        raise Unsupported(f"`service_tier` = {tier!r}", where=where)
    own = own_fields({k: v for k, v in extra.items() if k not in generation}, _OWN, where)
    body: dict[str, Any] = {"contents": _contents(request.messages, model, where)}
    system = [part for m in request.messages if m.role == "system" for part in _parts(m, where)]
    if any("text" not in part for part in system):
        raise Unsupported("an image in a system message", where=where)
    if system:
        body["systemInstruction"] = {"parts": system}
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_tool(t) for t in request.tools]}]
    choice = _choice(request)
    if choice is not None:
        body["toolConfig"] = {"functionCallingConfig": choice}
    config = _generation(request, model, max_output)
    body["generationConfig"] = config | {_GENERATION[name]: value for name, value in generation.items()}
    return encoded(body | own)


def _contents(messages: tuple[Message, ...], model: str, where: str) -> list[Block]:
    names = {call.id: call.name for m in messages for call in m.tool_calls}
    signed = not model.startswith(("gemini-1", "gemini-2"))

    def blocks(m: Message) -> list[Block]:
        if m.role == "tool":
            return [_result(m, names, where)]
        return _said(m, where, signed=signed) if m.role == "assistant" else _parts(m, where)

    made = turns(messages, blocks, {"user": "user", "tool": "user", "assistant": "model"})
    return [{"role": side, "parts": parts} for side, parts in made]


def _said(m: Message, where: str, *, signed: bool) -> list[Block]:
    """The model's own turn: its thoughts, its text, its calls, each with the signature that came with it."""
    own = [t for t in m.thoughts if t.format == FORMAT]
    signatures = {t.id: t.text for t in own if t.kind == "sealed"}
    thoughts = [_thought(t) for t in own if t.kind == "text"]
    texts = _parts(m, where)
    if None in signatures:
        texts = texts or [{"text": ""}]
        texts[-1]["thoughtSignature"] = signatures[None]
    calls = []
    for i, call in enumerate(m.tool_calls):
        part: Block = {"functionCall": {"name": call.name, "args": arguments(call, where)}}
        if call.id:
            part["functionCall"]["id"] = call.id
        if call.id in signatures:
            part["thoughtSignature"] = signatures[call.id]
        elif signed and i == 0:  # of calls that were made at once, the first has the signature
            part["thoughtSignature"] = FOREIGN
        calls.append(part)
    return [*thoughts, *texts, *calls]


def _thought(t: Thought) -> Block:
    part: Block = {"text": t.text, "thought": True}
    return part | {"thoughtSignature": t.signature} if t.signature else part


def _parts(m: Message, where: str) -> list[Block]:
    if m.name is not None and m.role != "tool":
        raise Unsupported("`name` of a message", where=where)
    given = (TextPart(m.content),) if isinstance(m.content, str) else m.content
    parts: list[Block] = []
    for part in given:
        if isinstance(part, ImagePart):
            parts.append(_image(part.url, where))
        elif part.text:
            parts.append({"text": part.text})
    return parts


def _image(url: str, where: str) -> Block:
    image = inline(url, where)
    if image is not None:
        return {"inlineData": {"mimeType": image.media_type, "data": image.data}}
    media_type = mimetypes.guess_type(urlsplit(url).path)[0] or "image/jpeg"  # Vertex insists on one
    return {"fileData": {"fileUri": url, "mimeType": media_type}}


def _result(m: Message, names: dict[str, str], where: str) -> Block:
    name = names.get(m.tool_call_id or "") or m.name
    if not name:
        raise Unsupported("a tool's result whose call is not in the messages", where=where)
    response: Block = {"name": name, "response": _response(m.text)}
    if m.tool_call_id:
        response["id"] = m.tool_call_id
    images = [part for part in _parts(m, where) if "text" not in part]
    if images:
        response["parts"] = images
    return {"functionResponse": response}


def _response(text: str) -> Any:
    try:
        _object.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {"output": text}
    return msgspec.Raw(text.encode())


def _tool(tool: Tool) -> Block:
    wire: Block = {"name": tool.name, "description": tool.description}
    if tool.parameters is not None:
        wire["parametersJsonSchema"] = tool.parameters
    return wire


def _choice(request: ModelRequest) -> Block | None:
    """VALIDATED is AUTO with calls that keep to their schema: what `strict` asks for."""
    choice = request.tool_choice
    if choice in (None, "auto"):
        if any(tool.strict for tool in request.tools):
            return {"mode": "VALIDATED"}
        return None if choice is None else {"mode": "AUTO"}
    if choice in ("none", "required"):
        return {"mode": "NONE" if choice == "none" else "ANY"}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


def _generation(request: ModelRequest, model: str, max_output: int) -> Block:
    config: Block = {"maxOutputTokens": request.max_output or max_output}
    for name, wire in (("temperature", "temperature"), ("top_p", "topP"), ("seed", "seed")):
        value = getattr(request, name)
        if value is not None:
            config[wire] = value
    if request.stop:
        config["stopSequences"] = request.stop
    if request.output is not None:
        config["responseMimeType"] = "application/json"
        if request.output.schema is not None:
            config["responseJsonSchema"] = request.output.schema
    effort = request.reasoning_effort
    if effort is not None and model.startswith("gemini-2"):
        config["thinkingConfig"] = {"thinkingBudget": _BUDGETS.get(effort, _BUDGETS["high"])}
    elif effort is not None:
        config["thinkingConfig"] = {"thinkingLevel": _LEVELS.get(effort, effort)}
    return config
