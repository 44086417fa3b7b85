"""The answers of OpenAI's chat completions, both ways: what providers send us, and what our callers expect.

Source: OpenAI's API reference (chat completion object, chunk object). Compatible servers differ in small things, and reading
is lenient about them: reasoning under `reasoning_content`, `reasoning` or `reasoning_details`, content as a list of parts
(Mistral), cached tokens under four names, `function_call` of old, and empty ones (Snowflake), chunks without choices, usage in
any chunk, tool calls without an index, or all of one index (Gemini), output that leaves reasoning out of the count (xAI).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer
from mainstay.core.errors import CutOff, Empty, Garbled
from mainstay.core.model import Chunk, Thought, ToolCall, Usage
from mainstay.core.reasons import Finish, Status
from mainstay.wire import failures
from mainstay.wire.sse import Events

# OpenAI's words and, after them, those of servers that have their own. Any other word means: it stopped.
_FINISH = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
    "error": Finish.ERROR,
    "model_length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "sensitive": Finish.CONTENT_FILTER,
    "network_error": Finish.ERROR,
    "insufficient_system_resource": Finish.ERROR,
    "abort": Finish.ERROR,
}


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _ToolCall(Struct):
    function: _Function | None = None
    id: str | None = None
    index: int | None = None


class _Thought(Struct):
    type: str = ""
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class _Text(Struct):
    type: str = "text"
    text: str | None = None
    thinking: list[_Text] | str | None = None


class _Message(Struct):
    content: str | list[_Text] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[_Thought] | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None
    index: int | None = None


class _InputDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    prompt_token_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    completion_token_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None
    num_cached_tokens: int | None = None


class _Groq(Struct):
    usage: _Usage | None = None


class _Completion(Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None
    x_groq: _Groq | None = None
    service_tier: Any = None


_decode = msgspec.json.Decoder(_Completion, strict=False).decode


def _completion(body: bytes, where: str) -> _Completion:
    try:
        completion = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"not a chat completion: {error}", where=where) from None
    if completion.error:
        raise failures.in_stream(completion.error, where=where)
    return completion


def read_response(body: bytes, *, where: str) -> Chunk:
    """A whole completion. Raises `Garbled`, `Empty`, or what an error object in it means."""
    completion = _completion(body, where)
    choice = completion.choices[0] if completion.choices else None
    if choice is None or choice.message is None:
        raise Empty("the completion holds no message", where=where)
    message = choice.message
    text, thinking = _content(message)
    calls = [_whole_call(c.id, c.function, where) for c in message.tool_calls or ()]
    if message.function_call is not None and message.function_call.name:
        calls.append(_whole_call(None, message.function_call, where))
    finish = _finish(choice.finish_reason) or (Finish.TOOL_CALLS if calls else Finish.STOP)
    return Chunk(
        text=text,
        reasoning=message.reasoning_content or message.reasoning or thinking,
        thoughts=_thoughts(message.reasoning_details) if message.reasoning_details else (),
        refusal=message.refusal or ("" if text or calls else _filtered(finish)),
        tool_calls=tuple(calls),
        finish=finish,
        usage=_usage(completion.usage, completion.service_tier),
        model=completion.model,
    )


def _filtered(finish: Finish | None) -> str:
    """What stands for a refusal where a filter stopped everything and said nothing."""
    return failures.FILTERED if finish is Finish.CONTENT_FILTER else ""


class StreamReader:
    """Reads a streamed completion: feed it what the socket gave, get one chunk a read."""

    def __init__(self, *, where: str) -> None:
        self._where, self._events, self._calls, self._thoughts = where, Events(), _Fragments(), _Thoughts()
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._tier: Any = None
        self._ended = self._said = False

    def feed(self, data: bytes) -> Chunk | None:
        """What these bytes bring, or None if they complete nothing. Raises what an error event in them means."""
        payloads = self._events.feed(data)
        return self._read(payloads) if payloads else None

    def close(self) -> Chunk:
        """The last chunk. Raises `CutOff` where neither an end mark nor a finish reason came."""
        try:
            last = self._read(self._events.close())
        except Garbled:  # half an event
            last = Chunk()
        if not self._ended and self._finish is None:
            raise CutOff("the stream ended without its end mark", where=self._where)
        calls = self._calls.take(self._where)
        finish = self._finish or (Finish.TOOL_CALLS if calls else Finish.STOP)
        refusal = last.refusal or ("" if self._said or calls else _filtered(finish))
        return msgspec.structs.replace(
            last, tool_calls=calls, thoughts=self._thoughts.take(), finish=finish, refusal=refusal, usage=self._usage
        )

    def _read(self, payloads: list[bytes]) -> Chunk:
        text = reasoning = refusal = ""
        model: str | None = None
        for payload in payloads:
            if payload == b"[DONE]":
                self._ended = True
            if self._ended:
                break
            completion = _completion(payload, self._where)
            model = completion.model or model
            self._tier = completion.service_tier or self._tier
            reported = completion.usage or (completion.x_groq.usage if completion.x_groq else None)
            if reported is not None:
                self._usage = _usage(reported, self._tier)
            for choice in completion.choices or ():
                if choice.index:
                    continue
                if choice.finish_reason:
                    self._finish = _finish(choice.finish_reason)
                if (delta := choice.delta or choice.message) is None:
                    continue
                piece, thinking = _content(delta)
                text += piece
                reasoning += delta.reasoning_content or delta.reasoning or thinking
                refusal += delta.refusal or ""
                if delta.tool_calls or delta.function_call:
                    self._calls.add(delta)
                if delta.reasoning_details:
                    self._thoughts.add(delta.reasoning_details)
        if text or refusal:
            self._said = True
        return Chunk(text=text, reasoning=reasoning, refusal=refusal, model=model)


class _Call:
    """A tool call on its way to being whole."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self, id: str) -> None:
        self.id, self.name = id, ""
        self.arguments: list[str] = []


class _Fragments:
    """Puts streamed tool calls together.

    A fragment belongs to the call of its `index`. It opens a new one where there is none, and where it names itself and has
    another id than the call that is there. Without an index it belongs to the call of its id, or else to the last one.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}

    def add(self, delta: _Message) -> None:
        for fragment in delta.tool_calls or ():
            self._append(fragment.index, fragment.id or "", fragment.function or _Function())
        if delta.function_call is not None and (delta.function_call.name or delta.function_call.arguments):
            self._append(0, "", delta.function_call)

    def _append(self, index: int | None, id: str, function: _Function) -> None:
        call: _Call | None
        if index is not None:
            call = self._at.get(index)
            if call is not None and id and call.id and id != call.id and function.name:
                call = None
        elif id:
            call = next((c for c in self._calls if c.id == id), None)
        else:
            call = self._calls[-1] if self._calls else None
        if call is None:
            call = _Call(id)
            self._calls.append(call)
            if index is not None:
                self._at[index] = call
        call.id = call.id or id
        call.name = call.name or function.name or ""
        if function.arguments:
            call.arguments.append(_arguments(function.arguments))

    def take(self, where: str) -> tuple[ToolCall, ...]:
        if any(not call.name for call in self._calls):
            raise Garbled("a tool call without the name of its function", where=where)
        return tuple([ToolCall(call.id, call.name, "".join(call.arguments)) for call in self._calls])


_THOUGHT_KINDS: dict[str, Any] = {"reasoning.text": "text", "reasoning.summary": "summary", "reasoning.encrypted": "sealed"}


class _Thoughts:
    """Puts `reasoning_details` together: pieces of one index are one thought, its signature in the last of them."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], tuple[_Thought, list[str]]] = {}

    def add(self, details: Iterable[_Thought]) -> None:
        for d in details:
            if d.type not in _THOUGHT_KINDS:
                continue
            key = (len(self._open) if d.index is None else d.index, d.type)
            known, texts = self._open.setdefault(key, (d, []))
            texts.append(d.text or d.summary or d.data or "")
            known.signature = d.signature or known.signature
            known.id, known.format = known.id or d.id, known.format or d.format

    def take(self) -> tuple[Thought, ...]:
        return tuple(
            [
                Thought(_THOUGHT_KINDS[t.type], "".join(texts), t.signature or "", t.id, t.format)
                for t, texts in self._open.values()
            ]
        )


def _thoughts(details: list[_Thought]) -> tuple[Thought, ...]:
    thoughts = _Thoughts()
    thoughts.add(details)
    return thoughts.take()


def _arguments(arguments: str | dict[str, Any] | None) -> str:
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return arguments or ""


def _whole_call(id: str | None, function: _Function | None, where: str) -> ToolCall:
    if function is None or not function.name:
        raise Garbled("a tool call without the name of its function", where=where)
    return ToolCall(id or "", function.name, _arguments(function.arguments))


def _content(message: _Message) -> tuple[str, str]:
    """The text and the thinking of a message whose content may be a list of parts."""
    content = message.content
    if isinstance(content, str) or content is None:
        return content or "", ""
    text = "".join([part.text for part in content if part.type == "text" and part.text])
    thinking = [part.thinking for part in content if part.thinking]
    return text, "".join([t if isinstance(t, str) else "".join([p.text or "" for p in t]) for t in thinking])


def _finish(reason: str | None) -> Finish | None:
    return _FINISH.get(reason, Finish.STOP) if reason else None


def _usage(u: _Usage | None, tier: Any) -> Usage | None:
    if u is None:
        return None
    inputs = u.prompt_tokens_details or u.prompt_token_details or _InputDetails()
    outputs = u.completion_tokens_details or u.completion_token_details or _OutputDetails()
    cached = inputs.cached_tokens or u.prompt_cache_hit_tokens or u.cached_tokens or u.num_cached_tokens
    output = u.completion_tokens or 0
    if u.total_tokens and u.prompt_tokens is not None:
        # Where the total is more than its two parts, the rest is reasoning that is charged but not counted as output.
        output = max(output, u.total_tokens - u.prompt_tokens)
    return Usage(
        input=u.prompt_tokens or 0,
        output=output,
        cached_input=cached or 0,
        cache_write=inputs.cache_write_tokens or 0,
        reasoning=outputs.reasoning_tokens or 0,
        tier=tier if isinstance(tier, str) else "",
    )


# The other way: an answer of ours in the shapes that OpenAI's clients read.

_encode = msgspec.json.Encoder().encode


class _OutFunction(Struct):
    name: str
    arguments: str


class _OutCall(Struct):
    id: str
    function: _OutFunction
    type: str = "function"


class _OutCallDelta(Struct):
    index: int
    id: str
    function: _OutFunction
    type: str = "function"


class _OutMessage(Struct, omit_defaults=True):
    content: str | None
    role: str | msgspec.UnsetType = msgspec.UNSET
    refusal: str | msgspec.UnsetType | None = msgspec.UNSET
    tool_calls: list[_OutCall] | list[_OutCallDelta] | msgspec.UnsetType = msgspec.UNSET


class _OutChoice(Struct):
    message: _OutMessage
    finish_reason: str
    index: int = 0
    logprobs: None = None


class _OutCompletion(Struct):
    id: str
    created: int
    model: str
    choices: list[_OutChoice]
    usage: dict[str, Any]
    object: str = "chat.completion"
    service_tier: str | msgspec.UnsetType = msgspec.UNSET


def write_response(answer: Answer, *, model: str, created: int, tier: str = "") -> bytes:
    """A whole completion. What the model refused to say is in `message.refusal`; `tier` is the `service_tier` that was used."""
    refused = answer.status is Status.REFUSED
    message = _OutMessage(
        role="assistant",
        content=None if refused or (answer.tool_calls and not answer.text) else answer.text,
        refusal=answer.text if refused else None,
        tool_calls=_out_calls(answer.tool_calls) if answer.tool_calls else msgspec.UNSET,
    )
    choice = _OutChoice(message, finish_of(answer))
    written = _OutCompletion("chatcmpl-" + answer.id, created, model, [choice], write_usage(answer.usage))
    written.service_tier = tier or msgspec.UNSET
    return _encode(written)


def finish_of(answer: Answer) -> str:
    """The finish reason that tells an OpenAI client how this answer ended."""
    if answer.status is Status.REFUSED:
        return "content_filter"
    if answer.status is Status.INTERRUPTED:
        return "length" if answer.text and answer.finish is not Finish.CONTENT_FILTER else "content_filter"
    if answer.finish is None or answer.finish is Finish.ERROR:
        return "stop"
    return answer.finish.value


def write_usage(usage: Usage | None) -> dict[str, Any]:
    """`usage` as OpenAI writes it; zeros where no model was asked."""
    u = usage or Usage()
    return {
        "prompt_tokens": u.input,
        "completion_tokens": u.output,
        "total_tokens": u.input + u.output,
        "prompt_tokens_details": {"cached_tokens": u.cached_input},
        "completion_tokens_details": {"reasoning_tokens": u.reasoning},
    }


def _out_calls(calls: tuple[ToolCall, ...]) -> list[_OutCall]:
    return [_OutCall(c.id, _OutFunction(c.name, c.arguments)) for c in calls]


class StreamWriter:
    """Writes one answer as completion chunks; every method gives bytes ready to send."""

    def __init__(self, id: str, *, model: str, created: int) -> None:
        head = {"id": "chatcmpl-" + id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":['
        self._first = True

    def text(self, text: str) -> bytes:
        """More text; the first piece also names the role."""
        return self._chunk(_OutMessage(content=text))

    def tool_calls(self, calls: tuple[ToolCall, ...]) -> bytes:
        """The tool calls, each whole."""
        deltas = [_OutCallDelta(i, c.id, _OutFunction(c.name, c.arguments)) for i, c in enumerate(calls)]
        return self._chunk(_OutMessage(content=None, tool_calls=deltas))

    def refusal(self, text: str) -> bytes:
        """Why nothing more comes, where the client shows refusals."""
        return self._chunk(_OutMessage(content=None, refusal=text))

    def end(self, answer: Answer, *, include_usage: bool, tier: str = "") -> bytes:
        """The finish reason with the `service_tier` that was used, the usage if it was asked for, and the end mark."""
        used = b',"service_tier":' + _encode(tier) if tier else b""
        last = self._head + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"' + finish_of(answer).encode() + b'"}]'
        last += used + b"}\n\n"
        usage = self._head + b"]" + used + b',"usage":' + _encode(write_usage(answer.usage)) + b"}\n\n" if include_usage else b""
        return last + usage + b"data: [DONE]\n\n"

    def _chunk(self, delta: _OutMessage) -> bytes:
        if self._first:
            delta.role, self._first = "assistant", False
        return self._head + b'{"index":0,"delta":' + _encode(delta) + b',"logprobs":null,"finish_reason":null}]}\n\n'
