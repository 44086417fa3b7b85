"""The loopback fault server: it stands where a provider stood, speaks its wire, and does what providers do on bad days.

The first segment of an address's path names the fault: `server.url("429")` is a base address where every request is answered
with 429. Three wires are spoken, whole and streamed, as well as the adapters need: OpenAI's chat completions, Anthropic's
messages, Gemini's generateContent; which one is seen from the rest of the path. It listens on 127.0.0.1 only, reads no key and
keeps nothing of what it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.project import Model
from mainstay.wire.sse import event

_encode = msgspec.json.encode
PIECE, GAP = 12, 0.002  # characters and seconds between the events of a stream, so that they arrive one by one
FOR_EVER = 3600.0
USAGE = 7  # tokens in and out of every complete answer


class Fault(Struct, frozen=True, kw_only=True):
    """One way in which a provider fails. `becomes` are the outcomes of an attempt that name it truly."""

    name: str
    help: str
    becomes: frozenset[str]


def _fault(name: str, help: str, *becomes: str) -> Fault:
    return Fault(name=name, help=help, becomes=frozenset(becomes))


HEALTHY = _fault("healthy", "no fault: the control", "ok", "guarded")
FORBIDDEN = _fault("forbidden", "writes a word that a guard forbids, in two halves", "ok", "guarded")
FAULTS = (
    _fault("latency", "answers in full, after a sixth of the deadline", "ok", "guarded", "too_slow"),
    _fault("refused", "nothing listens at the address", "unreachable"),
    _fault("reset", "the connection is reset before the answer", "unreachable"),
    _fault("429", "too many requests", "rate_limited"),
    _fault("429_later", "too many requests, come back in a minute", "rate_limited"),
    _fault("500", "internal error", "overloaded"),
    _fault("503", "unavailable", "overloaded"),
    _fault("529", "overloaded", "overloaded"),
    _fault("slow", "says nothing until long after the deadline", "too_slow"),
    _fault("stalled", "writes half an answer, then nothing more", "too_slow"),
    _fault("cut", "writes half an answer, then closes the connection", "cut_off"),
    _fault("error", "writes half an answer, then an error instead of the rest", "overloaded"),
    _fault("garbage", "200, and a body that is not what the wire promises", "garbled"),
    _fault("empty_body", "200, and no body at all", "garbled", "empty"),
    _fault("empty_stream", "200, and an answer or a stream without anything in it", "empty", "cut_off"),
    _fault("useless", "data that does not fit the schema; where there is none, spaces", "ok", "empty"),
    _fault("cut_short", "runs out of tokens in mid-sentence", "ok", "guarded"),
    FORBIDDEN,
)


class Script(Struct, frozen=True, kw_only=True):
    """What the server says: a good answer, a useless one, and one with a forbidden word. Times are in seconds."""

    healthy: str
    useless: str = "  \n"
    forbidden: str = ""
    latency: float = 0.0
    slow: float = FOR_EVER


class Wire(Struct, frozen=True):
    """How one provider says things: `whole` an answer in one body; `opening`, `piece` and `ending` the events of a stream;
    `error` an error object, which `failed` makes an event of."""

    whole: Callable[[str, bool], dict[str, Any]]
    opening: bytes
    piece: Callable[[str], bytes]
    ending: Callable[[bool], bytes]
    error: Callable[[int], dict[str, Any]]
    failed: Callable[[dict[str, Any]], bytes]


def _data(value: Any) -> bytes:
    return event(_encode(value))


def _named(value: dict[str, Any]) -> bytes:
    return event(_encode(value), value["type"])


# OpenAI's chat completions

_HEAD = {"id": "drill", "created": 0, "model": "drill"}
_TOKENS = {"prompt_tokens": USAGE, "completion_tokens": USAGE, "total_tokens": 2 * USAGE}


def _completion(text: str, cut: bool) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length" if cut else "stop"}
    return {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _TOKENS}


def _delta(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _data({**_HEAD, "object": "chat.completion.chunk", "choices": [choice]})


OPENAI = Wire(
    whole=_completion,
    opening=_delta({"role": "assistant", "content": ""}),
    piece=lambda text: _delta({"content": text}),
    ending=lambda cut: (
        _delta({}, "length" if cut else "stop") + _data({**_HEAD, "choices": [], "usage": _TOKENS}) + b"data: [DONE]\n\n"
    ),
    error=lambda status: {"error": {"message": f"drill {status}", "type": "server_error", "code": None, "param": None}},
    failed=_data,
)

# Anthropic's messages

_COUNTED = {"input_tokens": USAGE, "output_tokens": USAGE}


def _message(content: list[dict[str, Any]], stop: str | None) -> dict[str, Any]:
    head = {"id": "drill", "type": "message", "role": "assistant", "model": "drill", "content": content}
    return {**head, "stop_reason": stop, "stop_sequence": None, "usage": _COUNTED}


def _text_message(text: str, cut: bool) -> dict[str, Any]:
    return _message([{"type": "text", "text": text}] if text else [], "max_tokens" if cut else "end_turn")


def _message_end(cut: bool) -> bytes:
    delta = {"stop_reason": "max_tokens" if cut else "end_turn", "stop_sequence": None}
    return (
        _named({"type": "content_block_stop", "index": 0})
        + _named({"type": "message_delta", "delta": delta, "usage": _COUNTED})
        + _named({"type": "message_stop"})
    )


_ANTHROPIC_ERRORS = {429: "rate_limit_error", 529: "overloaded_error"}
ANTHROPIC = Wire(
    whole=_text_message,
    opening=_named({"type": "message_start", "message": _message([], None)})
    + _named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    piece=lambda text: _named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
    ending=_message_end,
    error=lambda status: {
        "type": "error",
        "error": {"type": _ANTHROPIC_ERRORS.get(status, "api_error"), "message": f"drill {status}"},
    },
    failed=_named,
)

# Gemini's generateContent


def _candidate(text: str, finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [{"text": text}] if text else []}}
    if finish is None:
        return {"candidates": [candidate], "modelVersion": "drill"}
    counted = {"promptTokenCount": USAGE, "candidatesTokenCount": USAGE, "totalTokenCount": 2 * USAGE}
    return {"candidates": [{**candidate, "finishReason": finish}], "usageMetadata": counted, "modelVersion": "drill"}


_GEMINI_ERRORS = {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}
GEMINI = Wire(
    whole=lambda text, cut: _candidate(text, "MAX_TOKENS" if cut else "STOP"),
    opening=b"",
    piece=lambda text: _data(_candidate(text, None)),
    ending=lambda cut: _data(_candidate("", "MAX_TOKENS" if cut else "STOP")),
    error=lambda status: {
        "error": {"code": status, "message": f"drill {status}", "status": _GEMINI_ERRORS.get(status, "UNAVAILABLE")}
    },
    failed=_data,
)

WIRES = {"openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GEMINI}


def stand_in(model: Model, url: str) -> Model:
    """The model as a drill asks it: through its own adapter if that speaks one of the wires here, else through OpenAI's."""
    known = model.provider in WIRES
    return msgspec.structs.replace(
        model,
        provider=model.provider if known else "openai",
        model=model.model or "drill",
        url=url,
        key=None,
        options=model.options if known else {},
    )


class _Asked(Struct, frozen=True):
    """A request, as far as anything depends on it."""

    fault: str
    wire: Wire
    stream: bool


def _asked(target: str, body: bytes) -> _Asked | None:
    path = target.partition("?")[0]
    fault = path.split("/")[1]
    if path.endswith("/chat/completions"):
        return _Asked(fault, OPENAI, _streams(body))
    if path.endswith("/messages"):
        return _Asked(fault, ANTHROPIC, _streams(body))
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return _Asked(fault, GEMINI, path.endswith(":streamGenerateContent"))
    return None


def _streams(body: bytes) -> bool:
    return bool(msgspec.json.decode(body).get("stream"))


class FaultServer:
    """`async with FaultServer(script) as server:` then ask models at `server.url(fault)`.

    `requests` counts what came in, by fault.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._connections: set[asyncio.Task[None]] = set()
        self.requests: dict[str, int] = {}

    async def __aenter__(self) -> FaultServer:
        self._deaf = socket.socket()
        self._deaf.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and who connects is refused
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._deaf.close()

    def url(self, fault: str) -> str:
        """The base address of a provider with that fault."""
        port = self._deaf.getsockname()[1] if fault == "refused" else self._port
        return f"http://127.0.0.1:{port}/{fault}/v1"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer(reader, _Line(reader, writer)):
                    pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, line: _Line) -> bool:
        """Read one request and do what its fault says; false when the connection is to be closed."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lengths = [line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        asked = _asked(head.split(" ")[1], body)
        if asked is None:
            await line.send(404, b"{}")
            return True
        self.requests[asked.fault] = self.requests.get(asked.fault, 0) + 1
        return await self._misbehave(asked, line)

    async def _misbehave(self, asked: _Asked, line: _Line) -> bool:
        script, fault = self._script, asked.fault
        if fault.removesuffix("_later").isdigit():
            status = int(fault.removesuffix("_later"))
            extra = "retry-after: 60\r\n" if fault.endswith("_later") else ""
            await line.send(status, _encode(asked.wire.error(status)), extra=extra)
            return True
        if fault in ("cut", "stalled", "error"):
            await self._break_off(asked, line)
            return False
        if fault == "reset":
            line.reset()
            return False
        if fault in ("garbage", "empty_body", "empty_stream"):
            await line.send(200, *_nothing_useful(asked))
            return True
        await line.pause({"latency": script.latency, "slow": script.slow}.get(fault, 0.0))
        text = {"useless": script.useless, "forbidden": script.forbidden or script.healthy}.get(fault, script.healthy)
        await self._say(asked, line, text[: len(text) // 2] if fault == "cut_short" else text, cut=fault == "cut_short")
        return True

    async def _say(self, asked: _Asked, line: _Line, text: str, *, cut: bool) -> None:
        """A complete answer."""
        wire = asked.wire
        if not asked.stream:
            await line.send(200, _encode(wire.whole(text, cut)))
            return
        await line.begin()
        await line.chunks([wire.opening, *[wire.piece(p) for p in _pieces(text)], wire.ending(cut), b""])

    async def _break_off(self, asked: _Asked, line: _Line) -> None:
        """Half an answer, and then what the fault says: nothing, the end of the connection, or an error."""
        wire, text = asked.wire, self._script.healthy
        if asked.stream:
            await line.begin()
            await line.chunks([wire.opening, *[wire.piece(p) for p in _pieces(text[: len(text) // 2])]])
            if asked.fault == "error":
                await line.chunks([wire.failed(wire.error(529)), b""])
        elif asked.fault == "error":
            await line.send(200, _encode(wire.error(529)))
        else:
            body = _encode(wire.whole(text, False))
            await line.send(200, body[: len(body) // 2], promised=len(body))
        if asked.fault == "stalled":
            await line.pause(FOR_EVER)


def _nothing_useful(asked: _Asked) -> tuple[bytes, bool]:
    """The body of an answer that is none, and whether it calls itself a stream."""
    if asked.fault == "empty_body":
        return b"", False
    if asked.fault == "garbage":
        return (b'data: {"choices": [oops\n\n', True) if asked.stream else (b"<html>oops", False)
    return (b"", True) if asked.stream else (_encode(asked.wire.whole("", False)), False)


def _pieces(text: str) -> list[str]:
    return [text[i : i + PIECE] for i in range(0, len(text), PIECE)]


class _Line:
    """One connection, on the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, status: int, body: bytes, stream: bool = False, *, extra: str = "", promised: int | None = None) -> None:
        """A whole answer; `promised` is the length that the head tells, if it lies."""
        kind = "text/event-stream" if stream else "application/json"
        size = len(body) if promised is None else promised
        head = f"HTTP/1.1 {status} drill\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n{extra}\r\n"
        self._writer.write(head.encode() + body)
        await self._writer.drain()

    async def begin(self) -> None:
        """The head of a stream."""
        self._writer.write(b"HTTP/1.1 200 drill\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def chunks(self, events: list[bytes]) -> None:
        """Events of a stream, each on its own; an empty one last is the stream's end."""
        for i, data in enumerate(events):
            if data or i == len(events) - 1:
                self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
                await self._writer.drain()
                await asyncio.sleep(GAP)

    async def pause(self, seconds: float) -> None:
        """Do nothing for so long, or until the other side hangs up."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._reader.read()
                raise ConnectionResetError

    def reset(self) -> None:
        """Drop the connection, with a reset instead of an end."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
