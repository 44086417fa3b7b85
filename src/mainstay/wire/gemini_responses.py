"""The answers of Gemini's generateContent and streamGenerateContent; Google Vertex gives the same.

Source: Google's API reference (GenerateContentResponse). Gemini counts thoughts apart from what it writes, and what its own tools
read apart from the prompt; here they are part of the output and of the input. It has no word for "finished with tool calls", and
gives no ids to most of them: both are made up here. Code that runs on the provider's side is read past.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.errors import CutOff, Garbled
from mainstay.core.model import Chunk, Thought, ToolCall, Usage
from mainstay.core.reasons import Finish
from mainstay.wire import failures
from mainstay.wire.gemini_requests import FORMAT
from mainstay.wire.sse import Events

# Any other word, such as MALFORMED_FUNCTION_CALL, is a failure of the model.
_FINISH = {
    "STOP": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        Finish.CONTENT_FILTER,
    ),
}


_NOTHING = msgspec.Raw()


class _Call(Struct):
    name: str
    args: msgspec.Raw = _NOTHING
    id: str | None = None


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Call | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int | None = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Usage(Struct, rename="camel"):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class _Answer(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Answer, strict=False).decode


def read_response(body: bytes, *, where: str) -> Chunk:
    """A whole answer. Raises `Garbled`, or what an error object in it means."""
    whole = _Whole(where)
    chunk = whole.add([body])
    if whole.finish is None and not whole.answered:
        raise Garbled("an answer without a candidate", where=where)
    return whole.end(chunk)


class StreamReader:
    """Reads a streamed answer: feed it what the socket gave, get one chunk a read."""

    def __init__(self, *, where: str) -> None:
        self._where, self._events, self._whole = where, Events(), _Whole(where)

    def feed(self, data: bytes) -> Chunk | None:
        """What these bytes bring, or None if they complete nothing. Raises what an error event in them means."""
        payloads = self._events.feed(data)
        return self._whole.add(payloads) if payloads else None

    def close(self) -> Chunk:
        """The last chunk. Raises `CutOff` where no finish reason came, which is this wire's end mark."""
        try:
            last = self._whole.add(self._events.close())
        except Garbled:  # half an event
            last = Chunk()
        if self._whole.finish is None:
            raise CutOff("the stream ended without a finish reason", where=self._where)
        return self._whole.end(last)


class _Whole:
    """What an answer amounts to beside its text."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.finish: Finish | None = None
        self.answered = False
        self._said = False
        self._calls: list[ToolCall] = []
        self._thinking: list[str] = []
        self._sealed: list[Thought] = []
        self._usage: Usage | None = None
        self._blocked = ""

    def add(self, payloads: list[bytes]) -> Chunk:
        """What these answers, or pieces of one, bring."""
        text = reasoning = ""
        model = None
        for payload in payloads:
            answer = self._decoded(payload)
            model = answer.model_version or model
            if answer.usage_metadata is not None:
                self._usage = _usage(answer.usage_metadata)
            if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
                self._blocked = f"the provider blocked the prompt: {answer.prompt_feedback.block_reason}"
                self.finish = Finish.CONTENT_FILTER
            for candidate in answer.candidates or ():
                if candidate.index:
                    continue
                self.answered = True
                if candidate.finish_reason:
                    self.finish = _FINISH.get(candidate.finish_reason, Finish.ERROR)
                for part in (candidate.content.parts if candidate.content is not None else None) or ():
                    if part.thought:
                        reasoning += part.text or ""
                    else:
                        text += part.text or ""
                        self._take(part, answer.response_id)
        self._thinking.append(reasoning)
        self._said = self._said or bool(text)
        return Chunk(text=text, reasoning=reasoning, model=model)

    def _take(self, part: _Part, response_id: str | None) -> None:
        """What of a part is no text: a call, and the signature of either. Code that the provider runs is read past."""
        id: str | None = None
        if (call := part.function_call) is not None:
            id = call.id or f"{response_id or 'call'}-{len(self._calls)}"
            arguments = bytes(call.args).decode(errors="replace")
            self._calls.append(ToolCall(id, call.name, "{}" if arguments in ("", "null") else arguments))
        elif part.text is None:
            return
        if part.thought_signature:
            self._sealed.append(Thought("sealed", part.thought_signature, id=id, format=FORMAT))

    def end(self, last: Chunk) -> Chunk:
        """The last chunk, with all that had to wait for the end."""
        calls = tuple(self._calls)
        finish = self.finish or Finish.STOP
        if finish is Finish.STOP and calls:
            finish = Finish.TOOL_CALLS
        quiet = finish is Finish.CONTENT_FILTER and not (self._said or calls)
        thinking = "".join(self._thinking)
        return msgspec.structs.replace(
            last,
            tool_calls=calls,
            thoughts=(*([Thought("text", thinking, format=FORMAT)] if thinking else ()), *self._sealed),
            finish=finish,
            refusal=self._blocked or (failures.FILTERED if quiet else ""),
            usage=self._usage,
        )

    def _decoded(self, payload: bytes) -> _Answer:
        try:
            answer = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Garbled(f"not an answer of generateContent: {error}", where=self._where) from None
        if answer.error:
            raise failures.in_stream(answer.error, where=self._where)
        return answer


def _usage(u: _Usage) -> Usage:
    thoughts = u.thoughts_token_count or 0
    return Usage(
        input=(u.prompt_token_count or 0) + (u.tool_use_prompt_token_count or 0),
        output=(u.candidates_token_count or 0) + thoughts,
        cached_input=u.cached_content_token_count or 0,
        reasoning=thoughts,
    )
