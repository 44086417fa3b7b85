"""What was recorded: HTTP exchanges, and fixtures that hold answers without their requests."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

Wire = Literal["chat completions", "messages", "generateContent"]

_CARRIED = {"transfer-encoding", "content-length", "connection"}  # what the transport of the moment decides


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer. `wire` is None where no adapter speaks it; `request` is None for a fixture.

    `missing` names what an adapter would be needed for.
    """

    id: str
    provider: str
    features: tuple[str, ...]
    wire: Wire | None
    missing: str = ""
    path: str = ""
    query: dict[str, str] = {}
    streamed: bool = False
    request: bytes | None = None
    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""


def load(data: Path) -> list[Exchange]:
    """Every exchange and fixture under this folder, in the order of the files. Raises `FileNotFoundError` where there is none."""
    for folder in (data / "wire" / "normalized", data / "normalized", data):
        files = sorted(folder.glob("*.jsonl.gz")) if folder.name != "wire" else []
        if files:
            return [exchange for file in files for exchange in _read(file)]
    raise FileNotFoundError(f"no wire/normalized/*.jsonl.gz under {data}")


def _read(file: Path) -> Iterator[Exchange]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield _exchange(row) if "request" in row else _fixture(row)


def _exchange(row: dict[str, Any]) -> Exchange:
    request, response = row["request"], row["response"]
    parts = urlsplit(request["uri"])
    method = request["method"].upper()
    wire = _wire_of(method, parts.path)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    named = f"{method} {_general(parts.path)}"
    if parts.path.endswith(":streamGenerateContent") and query.get("alt") != "sse":
        wire, named = None, f"{named} without alt=sse"
    asked = (request["body"] or "").encode("utf-8", "surrogatepass")
    return Exchange(
        id=row["id"],
        provider=row["provider"],
        features=tuple(row["features"]),
        wire=wire,
        missing="" if wire else named,
        path=parts.path,
        query=query,
        streamed=":streamGenerateContent" in parts.path or _asks_for_stream(asked),
        request=asked,
        status=response["status"],
        headers={k.lower(): str(v) for k, v in (response["headers"] or {}).items() if k.lower() not in _CARRIED},
        body=(response["body"] or "").encode("utf-8", "surrogatepass"),
    )


def _wire_of(method: str, path: str) -> Wire | None:
    if method != "POST":
        return None
    if path.endswith("/chat/completions"):
        return "chat completions"
    if path.endswith("/v1/messages"):
        return "messages"
    return "generateContent" if path.endswith((":generateContent", ":streamGenerateContent")) else None


def _asks_for_stream(body: bytes) -> bool:
    try:
        return json.loads(body).get("stream") is True
    except (ValueError, AttributeError):
        return False


def _general(path: str) -> str:
    """The path without what names one thing: identifiers, and the names of models and deployments."""
    kinds = "models|model|deployments|projects|locations|instances|endpoints|files"
    named = re.sub(rf"(?<=/)({kinds})/[^/]+?(?=(?::[A-Za-z]+)?(?:/|$))", r"\1/*", path)
    return re.sub(r"(?<=/)(?=[^/]*\d)(?!v\d+(?:(?:alpha|beta|-beta)\d*)?(?:/|$))[^/:]{5,}|(?<=Stores/)[^/:]+", "*", named)


def _fixture(row: dict[str, Any]) -> Exchange:
    """An answer without its request: its wire is told by its shape, and its framing is put back."""
    package = row["provider"]
    streamed = row["kind"] == "stream"
    events = [json.loads(event) for event in row["events"]] if streamed else [json.loads(row["body"])]
    wire = _wire_by_shape(events, package, row["api"])
    status = 200 if streamed else _status_of(events[0])
    return Exchange(
        id=row["id"],
        provider=f"vercel {package}",
        features=("stream" if streamed else "whole", *(("error",) if status != 200 else ())),
        wire=wire,
        missing="" if wire else f"fixtures of {package}" + (f" {row['api']}" if row["api"] != "-" else ""),
        path={"chat completions": "/v1/chat/completions", "messages": "/v1/messages"}.get(wire or "", ""),
        streamed=streamed,
        status=status,
        headers={"content-type": "text/event-stream" if streamed else "application/json"},
        body=_framed(row["events"], wire) if streamed else row["body"].encode(),
    )


# Packages whose fixtures without an api of their own are chat completions; told only where an error hides the shape.
_CHATS = {"alibaba", "deepseek", "groq", "mistral", "moonshotai", "openai-compatible", "perplexity", "togetherai", "xai"}


def _wire_by_shape(events: list[dict[str, Any]], package: str, api: str) -> Wire | None:
    first = events[0]
    choices = first.get("choices")
    if isinstance(choices, list) and all("text" not in choice for choice in choices):
        return "chat completions"
    if any(event.get("type") == "message_start" and "message" in event for event in events[:3]):
        return "messages"
    if first.get("type") == "message" and "stop_reason" in first:
        return "messages"
    if "candidates" in first or "promptFeedback" in first:
        return "generateContent"
    if isinstance(first.get("error"), dict) and "object" not in first:
        if api == "chat" or (api == "-" and package in _CHATS):
            return "chat completions"
        if api == "-" and package in ("anthropic", "google"):
            return "messages" if package == "anthropic" else "generateContent"
    return None


def _status_of(body: dict[str, Any]) -> int:
    """The status that an error was sent with; fixtures do not keep it."""
    error = body.get("error")
    if not isinstance(error, dict) or "object" in body:
        return 200
    if isinstance(error.get("code"), int):
        return int(error["code"])
    return 429 if {error.get("type"), error.get("code")} & {"insufficient_quota", "rate_limit_error"} else 400


def _framed(events: list[str], wire: Wire | None) -> bytes:
    if wire == "messages":
        lines = [f"event: {json.loads(event)['type']}\ndata: {event}\n\n" for event in events]
    else:
        lines = [f"data: {event}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n" if wire == "chat completions" else ""]).encode()
