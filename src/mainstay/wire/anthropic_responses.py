"""The answers of Anthropic's Messages API, whole and streamed.

Source: Anthropic's API reference (message object, streaming events). Anthropic counts input that was read from or written to its
cache apart; here it is part of the input. Blocks of tools that run on the provider's side (searches, code) are read past: they
are no calls of ours. A stream that begins its message again before any text (an upstream retry) starts anew.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.errors import CutOff, Garbled
from mainstay.core.model import Chunk, Thought, ToolCall, Usage
from mainstay.core.reasons import Finish
from mainstay.wire import failures
from mainstay.wire.anthropic_requests import FORMAT
from mainstay.wire.sse import Events

# Any other word means: it stopped. A paused turn and a full context are texts that are not complete.
_FINISH = {
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "pause_turn": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.CONTENT_FILTER,
}


_TIERS = {"standard": "default", "priority": "priority", "batch": "flex"}  # in OpenAI's words
_NOTHING = msgspec.Raw()


class _Block(Struct):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NOTHING
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class _Details(Struct):
    thinking_tokens: int | None = None


class _Kept(Struct):
    ephemeral_1h_input_tokens: int | None = None


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Kept | None = None
    output_tokens_details: _Details | None = None
    service_tier: Any = None


class _Stop(Struct):
    explanation: str | None = None


class _Message(Struct):
    type: str = ""
    content: list[_Block] | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_details: _Stop | None = None
    usage: _Usage | None = None
    error: Any = None


class _Delta(Struct):
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_details: _Stop | None = None


class _Event(Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_message = msgspec.json.Decoder(_Message, strict=False).decode
_event = msgspec.json.Decoder(_Event, strict=False).decode


def read_response(body: bytes, *, where: str) -> Chunk:
    """A whole message. Raises `Garbled`, or what an error object in it means."""
    try:
        message = _message(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"not a message: {error}", where=where) from None
    if message.error:
        raise failures.in_stream(message.error, where=where)
    if message.content is None:
        raise Garbled("not a message: it has no content", where=where)
    whole = _Whole(where)
    whole.begin(message)
    return whole.end(whole.text())


class StreamReader:
    """Reads a streamed message: feed it what the socket gave, get one chunk a read."""

    def __init__(self, *, where: str) -> None:
        self._where, self._events, self._whole = where, Events(), _Whole(where)
        self._ended = self._said = False

    def feed(self, data: bytes) -> Chunk | None:
        """What these bytes bring, or None if they complete nothing. Raises what an error event in them means."""
        payloads = self._events.feed(data)
        return self._read(payloads) if payloads else None

    def close(self) -> Chunk:
        """The last chunk. Raises `CutOff` where neither an end mark nor a stop reason came."""
        try:
            last = self._read(self._events.close())
        except Garbled:  # half an event
            last = Chunk()
        if not self._ended and self._whole.finish is None:
            raise CutOff("the stream ended without its end mark", where=self._where)
        return self._whole.end(last, said=self._said)

    def _read(self, payloads: list[bytes]) -> Chunk:
        text = reasoning = ""
        model = None
        for payload in payloads:
            if self._ended:
                break
            event = self._decoded(payload)
            if (delta := event.delta) is not None:
                if delta.text:
                    text += delta.text
                elif delta.thinking:
                    reasoning += delta.thinking
                self._whole.grow(event.index, delta)
            elif (block := event.content_block) is not None:
                text += block.text or "" if block.type == "text" else ""
                self._whole.open(event.index, block)
            elif event.type == "message_start" and event.message is not None:
                if self._said or text:
                    raise Garbled("a second message began in mid-stream", where=self._where)
                model = self._whole.begin(event.message)
                text = self._whole.text().text
            self._ended = event.type == "message_stop"
            if event.usage is not None:
                self._whole.count(event.usage)
        self._said = self._said or bool(text)
        return Chunk(text=text, reasoning=reasoning, model=model)

    def _decoded(self, payload: bytes) -> _Event:
        try:
            event = _event(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Garbled(f"not an event of a message: {error}", where=self._where) from None
        if event.error or event.type == "error":
            raise failures.in_stream(event.error, where=self._where)
        return event


class _Open:
    """A block on its way to being whole; `pieces` are of a tool call's input, or of a thought."""

    __slots__ = ("block", "pieces")

    def __init__(self, block: _Block) -> None:
        self.block = block
        self.pieces: list[str] = [block.thinking] if block.thinking else []


class _Whole:
    """What a message amounts to beside its text."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.finish: Finish | None = None
        self._blocks: dict[int, _Open] = {}
        self._counted: _Usage | None = None
        self._refusal = ""
        self._model: str | None = None

    def begin(self, message: _Message) -> str | None:
        """A message, or its head, from scratch; gives the model's name."""
        self._blocks, self._counted, self._model = {}, None, message.model
        for index, block in enumerate(message.content or ()):
            self.open(index, block)
        if message.usage is not None:
            self.count(message.usage)
        self._stop(message.stop_reason, message.stop_details)
        return message.model

    def open(self, index: int, block: _Block) -> None:
        """A block begins, or is there at once."""
        self._blocks[index] = _Open(block)

    def grow(self, index: int, delta: _Delta) -> None:
        """A fragment of a block, or what the message's end says."""
        if delta.stop_reason is not None:
            self._stop(delta.stop_reason, delta.stop_details)
        known = self._blocks.get(index)
        if known is None:
            return
        if delta.partial_json:
            known.pieces.append(delta.partial_json)
        elif delta.thinking:
            known.pieces.append(delta.thinking)
        elif delta.signature:
            known.block.signature = delta.signature

    def count(self, u: _Usage) -> None:
        """Usage comes in parts, each with the numbers so far; what it leaves out stays."""
        if self._counted is None:
            self._counted = u
            return
        for field in u.__struct_fields__:
            value = getattr(u, field)
            if value is not None:
                setattr(self._counted, field, value)

    def text(self) -> Chunk:
        """The text and the reasoning of the blocks that are there at once."""
        blocks = [known.block for known in self._blocks.values()]
        return Chunk(
            text="".join([b.text or "" for b in blocks if b.type == "text"]),
            reasoning="".join([b.thinking or "" for b in blocks if b.type == "thinking"]),
        )

    def end(self, last: Chunk, *, said: bool = False) -> Chunk:
        """The last chunk, with all that had to wait for the end."""
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        calls = tuple([self._call(known) for known in blocks if known.block.type == "tool_use"])
        finish = self.finish or (Finish.TOOL_CALLS if calls else Finish.STOP)
        quiet = finish is Finish.CONTENT_FILTER and not (said or last.text or calls)
        return msgspec.structs.replace(
            last,
            tool_calls=calls,
            thoughts=tuple([_thought(known) for known in blocks if known.block.type in ("thinking", "redacted_thinking")]),
            finish=finish,
            refusal=self._refusal or (failures.FILTERED if quiet else ""),
            usage=_usage(self._counted),
            model=self._model,
        )

    def _stop(self, reason: str | None, details: _Stop | None) -> None:
        self.finish = _FINISH.get(reason, Finish.STOP) if reason else None
        self._refusal = (details.explanation or "") if details is not None and reason == "refusal" else ""

    def _call(self, known: _Open) -> ToolCall:
        block = known.block
        if not block.name:
            raise Garbled("a tool call without the name of its tool", where=self._where)
        given = bytes(block.input).decode(errors="replace")
        return ToolCall(block.id or "", block.name, "".join(known.pieces) or ("{}" if given in ("", "null") else given))


def _usage(u: _Usage | None) -> Usage | None:
    if u is None:
        return None
    read, written = u.cache_read_input_tokens or 0, u.cache_creation_input_tokens or 0
    return Usage(
        input=(u.input_tokens or 0) + read + written,
        output=u.output_tokens or 0,
        cached_input=read,
        cache_write=written,
        reasoning=(u.output_tokens_details or _Details()).thinking_tokens or 0,
        cache_write_1h=(u.cache_creation or _Kept()).ephemeral_1h_input_tokens or 0,
        tier=_TIERS.get(str(u.service_tier), ""),
    )


def _thought(known: _Open) -> Thought:
    block = known.block
    if block.type == "redacted_thinking":
        return Thought("sealed", block.data or "", format=FORMAT)
    return Thought("text", "".join(known.pieces), block.signature or "", format=FORMAT)
