"""A provider on the loopback that speaks each wire: what a scene says, or one of its faults.

Written from the providers' references and by other code than the adapters', so that the two can disagree.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Fault = Literal["reset", "cut", "stalled", "garbled", "garbled_late", "empty", "error_late"]


@dataclass(frozen=True)
class Scene:
    """What the provider does: says this, or answers with a status other than 200, or fails in a way of its own.

    `error` is the body that goes with such a status, where it is not the usual one.
    """

    pieces: tuple[str, ...] = ("Hel", "lo ", "wörld")
    reasoning: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    finish: str = "stop"
    usage: tuple[int, int, int] = (12, 5, 4)  # input with cached, output, cached
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    fault: Fault | None = None
    error: Any = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass
class Seen:
    """One request that arrived."""

    target: str
    headers: dict[str, str]
    body: Any


@dataclass
class Backend:
    """`async with Backend("openai") as backend`: then `backend.url`. `busy` counts the requests that are being answered."""

    wire: str
    scene: Scene = field(default_factory=Scene)
    seen: list[Seen] = field(default_factory=list)
    busy: int = 0

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until no request is being answered any more."""
        async with asyncio.timeout(5):
            while self.busy:
                await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while True:
                seen = await _request(reader)
                self.seen.append(seen)
                self.busy += 1
                try:
                    await self._answer(seen, reader, writer)
                finally:
                    self.busy -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scene, fault = self.scene, self.scene.fault
        if fault == "reset":
            writer.transport.abort()
            raise ConnectionResetError
        if scene.status != 200:
            body = _error_body(self.wire, scene.status) if scene.error is None else json.dumps(scene.error).encode()
            return _whole(writer, scene, body)
        if fault == "garbled":
            return _whole(writer, scene, b"<html>It works!</html>")
        if seen.target.endswith("/models"):
            return _whole(writer, scene, json.dumps({"data": [] if fault == "empty" else [{"id": "listed"}]}).encode())
        streamed = ":streamGenerateContent" in seen.target or (isinstance(seen.body, dict) and seen.body.get("stream"))
        if not streamed:
            body = _WHOLE[self.wire](scene)
            if fault not in ("cut", "stalled"):
                return _whole(writer, scene, body)
            writer.write(_head(scene, f"content-length: {len(body)}") + body[: len(body) // 2])
        else:
            writer.write(_head(scene, "content-type: text/event-stream", "transfer-encoding: chunked"))
            await self._stream(writer, scene)
        if fault == "stalled":
            await reader.read()  # until the other side is gone
            raise ConnectionResetError
        if fault == "cut":
            await writer.drain()
            writer.close()
            raise ConnectionResetError
        return None

    async def _stream(self, writer: asyncio.StreamWriter, scene: Scene) -> None:
        opening, closing = _STREAM[self.wire](scene)
        late = {
            "garbled_late": [b"data: <html>\n\n"],
            "error_late": [_error_event(self.wire)],
            "stalled": [],
            "cut": [],
        }
        for event in [*opening, *late.get(scene.fault or "", closing)]:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(0.001)  # a read of its own for each event, mostly
        if scene.fault not in ("stalled", "cut"):
            writer.write(b"0\r\n\r\n")
            await writer.drain()


async def _request(reader: asyncio.StreamReader) -> Seen:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(lines[0].split(" ")[1], headers, json.loads(body) if body else None)


def _head(scene: Scene, *lines: str) -> bytes:
    given = [f"{name}: {value}" for name, value in scene.headers]
    return "\r\n".join([f"HTTP/1.1 {scene.status} As told", *given, *lines, "", ""]).encode()


def _whole(writer: asyncio.StreamWriter, scene: Scene, body: bytes) -> None:
    writer.write(_head(scene, "content-type: application/json", f"content-length: {len(body)}") + body)


def _error(wire: str, status: int) -> Any:
    if wire == "anthropic":
        return {"type": "error", "error": {"type": "overloaded_error", "message": "No."}, "request_id": "r"}
    if wire == "gemini":
        return {"error": {"code": status, "message": "No.", "status": "UNAVAILABLE"}}
    return {"error": {"message": "No.", "type": "server_error", "param": None, "code": None}}


def _error_body(wire: str, status: int) -> bytes:
    return json.dumps(_error(wire, status)).encode()


def _error_event(wire: str) -> bytes:
    name = b"event: error\n" if wire == "anthropic" else b""
    return name + b"data: " + _error_body(wire, 503) + b"\n\n"


def _data(value: Any) -> bytes:
    name = f"event: {value['type']}\n".encode() if "type" in value else b""
    return name + b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


# OpenAI


def _openai_usage(scene: Scene) -> dict[str, Any]:
    put_in, out, cached = scene.usage
    details = {"cached_tokens": cached}
    return {"prompt_tokens": put_in, "completion_tokens": out, "total_tokens": put_in + out, "prompt_tokens_details": details}


def _openai_calls(scene: Scene) -> list[dict[str, Any]]:
    return [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in scene.calls]


def _openai_whole(scene: Scene) -> bytes:
    if scene.fault == "empty":
        return json.dumps({"model": "m-1", "choices": [], "usage": _openai_usage(scene)}).encode()
    message = {"role": "assistant", "content": scene.text or None, "reasoning_content": scene.reasoning or None}
    if scene.calls:
        message["tool_calls"] = _openai_calls(scene)  # type: ignore[assignment]
    choice = {"index": 0, "message": message, "finish_reason": scene.finish}
    return json.dumps({"model": "m-1", "choices": [choice], "usage": _openai_usage(scene)}).encode()


def _openai_stream(scene: Scene) -> tuple[list[bytes], list[bytes]]:
    def delta(value: dict[str, Any], finish: str | None = None) -> bytes:
        return _data({"model": "m-1", "choices": [{"index": 0, "delta": value, "finish_reason": finish}]})

    if scene.fault == "empty":
        return [delta({"role": "assistant", "content": ""})], [delta({}, "stop"), b"data: [DONE]\n\n"]
    opening = [delta({"role": "assistant", "content": ""})]
    opening += [delta({"reasoning_content": scene.reasoning})] if scene.reasoning else []
    opening += [delta({"content": piece}) for piece in scene.pieces]
    for index, call in enumerate(_openai_calls(scene)):
        arguments = call["function"].pop("arguments")
        opening.append(delta({"tool_calls": [{"index": index, **call}]}))
        halves = (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :])
        opening += [delta({"tool_calls": [{"index": index, "function": {"arguments": half}}]}) for half in halves]
    usage = _data({"model": "m-1", "choices": [], "usage": _openai_usage(scene)})
    return opening, [delta({}, scene.finish), usage, b"data: [DONE]\n\n"]


# Anthropic

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def _anthropic_usage(scene: Scene, output: int) -> dict[str, int]:
    put_in, _, cached = scene.usage
    return {"input_tokens": put_in - cached, "cache_read_input_tokens": cached, "output_tokens": output}


def _anthropic_whole(scene: Scene) -> bytes:
    content: list[dict[str, Any]] = []
    if scene.fault != "empty":
        content += [{"type": "thinking", "thinking": scene.reasoning, "signature": "s"}] if scene.reasoning else []
        content += [{"type": "text", "text": scene.text}] if scene.text else []
        content += [{"type": "tool_use", "id": i, "name": n, "input": json.loads(a)} for i, n, a in scene.calls]
    usage = _anthropic_usage(scene, scene.usage[1])
    message = {"type": "message", "model": "m-1", "content": content, "stop_reason": _STOPS[scene.finish], "usage": usage}
    return json.dumps(message).encode()


def _anthropic_stream(scene: Scene) -> tuple[list[bytes], list[bytes]]:
    head = {"type": "message", "model": "m-1", "content": [], "stop_reason": None, "usage": _anthropic_usage(scene, 1)}
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if scene.fault != "empty":
        if scene.reasoning:
            thoughts = [{"type": "thinking_delta", "thinking": scene.reasoning}, {"type": "signature_delta", "signature": "s"}]
            blocks.append(({"type": "thinking", "thinking": ""}, thoughts))
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in scene.pieces]))
        for id, name, arguments in scene.calls:
            pieces = ["", arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]]
            fragments = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            blocks.append(({"type": "tool_use", "id": id, "name": name, "input": {}}, fragments))
    opening = [_data({"type": "message_start", "message": head}), _data({"type": "ping"})]
    for index, (block, deltas) in enumerate(blocks):
        opening.append(_data({"type": "content_block_start", "index": index, "content_block": block}))
        opening += [_data({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
        opening.append(_data({"type": "content_block_stop", "index": index}))
    delta = {"stop_reason": _STOPS[scene.finish], "stop_sequence": None}
    end = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": scene.usage[1]}}
    return opening, [_data(end), _data({"type": "message_stop"})]


# Gemini

_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


def _gemini_usage(scene: Scene) -> dict[str, int]:
    put_in, out, cached = scene.usage
    return {
        "promptTokenCount": put_in,
        "candidatesTokenCount": out - 1,
        "thoughtsTokenCount": 1,
        "cachedContentTokenCount": cached,
    }


def _gemini_answer(scene: Scene, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": parts}, **({"finishReason": finish} if finish else {})}
    return {"candidates": [candidate], "modelVersion": "m-1", "responseId": "r", "usageMetadata": _gemini_usage(scene)}


def _gemini_parts(scene: Scene) -> list[dict[str, Any]]:
    if scene.fault == "empty":
        return []
    thoughts = [{"text": scene.reasoning, "thought": True}] if scene.reasoning else []
    calls = [{"functionCall": {"id": i, "name": n, "args": json.loads(a)}} for i, n, a in scene.calls]
    return [*thoughts, *({"text": piece} for piece in scene.pieces), *calls]


def _gemini_whole(scene: Scene) -> bytes:
    return json.dumps(_gemini_answer(scene, _gemini_parts(scene), _FINISHES[scene.finish])).encode()


def _gemini_stream(scene: Scene) -> tuple[list[bytes], list[bytes]]:
    opening = [_data(_gemini_answer(scene, [part], None)) for part in _gemini_parts(scene)]
    return opening, [_data(_gemini_answer(scene, [{"text": ""}], _FINISHES[scene.finish]))]


_WHOLE = {"openai": _openai_whole, "anthropic": _anthropic_whole, "gemini": _gemini_whole}
_STREAM = {"openai": _openai_stream, "anthropic": _anthropic_stream, "gemini": _gemini_stream}
