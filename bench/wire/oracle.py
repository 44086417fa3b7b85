"""What a recorded answer holds, read from its JSON by other code than the adapters': no import of `mainstay` here.

The rules, where a wire leaves room:
- input counts cached tokens and what the provider's own tools read; output counts reasoning. Where a chat completion's total is
  more than its two parts, the rest is reasoning (xAI, Gemini's compatible door).
- The finish reason is the recorded one in our five words. Gemini has none for tool calls: STOP with calls is that. Where a server
  names none, calls decide.
- A stream of several messages is read to the first end; a message that begins again before its end replaces what was there, but
  for the reasoning, which was shown as it came.
- A stream without an end, be it a mark or a finish reason, is one that was cut off.
- Of several choices or candidates, the first counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

Json = dict[str, Any]

_CHAT_FINISH = {
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "error": "error",
    "network_error": "error",
    "insufficient_system_resource": "error",
    "abort": "error",
}
_MESSAGE_FINISH = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_GEMINI_FILTERS = {
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
}


@dataclass
class Failure:
    """The answer is an error: which of our kinds, and what the provider said of it."""

    kind: str
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None


@dataclass
class Said:
    """The answer is one. `calls` are (id, name, arguments); usage is (input, output, cached, written, reasoning) or None."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    finish: str = ""
    usage: tuple[int, int, int, int, int] | None = None
    model: str | None = None


def read(wire: str, status: int, headers: dict[str, str], body: bytes) -> Said | Failure:
    """What the adapter has to make of this answer."""
    if status >= 300:
        return _failed(status, headers, body)
    whole, events = _events(body)
    if not all(isinstance(event, dict) for event in events) or not events:
        streams = headers.get("content-type", "").startswith("text/event-stream")
        return Failure("cut_off" if streams and not events else "garbled")
    for event in events:
        error = event.get("error")
        if error:
            return _failed_inside(error)
        if wire == "messages" and event.get("type") == "message_stop":
            break
    if wire == "chat completions":
        return _chat(events, ended=whole or b"[DONE]" in body, whole=whole)
    return _messages(events) if wire == "messages" else _gemini(events, whole=whole)


def _events(body: bytes) -> tuple[bool, list[Any]]:
    """Whether the body is one JSON value, and what it holds: that value, or one a line."""
    try:
        return True, [json.loads(body)]
    except ValueError:
        lines = body.decode().replace("\r\n", "\n").split("\n")
        data = [line[5:].strip() for line in lines if line.startswith("data:")]
        events = []
        for line in data:
            try:
                events.append(json.loads(line))
            except ValueError:
                if line != "[DONE]" and line is not data[-1]:  # the last may have been cut off
                    events.append(line)
        return False, events


# Errors


def _failed(status: int, headers: dict[str, str], body: bytes) -> Failure:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    error = parsed.get("error") or parsed if isinstance(parsed, dict) else parsed
    details = [d for d in (error.get("details") or []) if isinstance(d, dict)] if isinstance(error, dict) else []
    kind = _kind(status)
    if any(d.get("reason") == "API_KEY_INVALID" for d in details):
        kind = "unauthorized"
    wait = _wait(headers)
    if wait is None:
        hints = [d["retryDelay"] for d in details if isinstance(d.get("retryDelay"), str)]
        wait = float(hints[0].rstrip("s")) if hints else None
    return Failure(kind, status, _code(error), wait)


def _failed_inside(error: Any) -> Failure:
    number = error.get("code") if isinstance(error, dict) else None
    if isinstance(number, int | str) and str(number).isdigit() and 400 <= int(number) < 600:
        return Failure(_kind(int(number)), int(number), _code(error))
    words = {
        **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded", "insufficient_quota", "RESOURCE_EXHAUSTED"), "rate_limited"),
        **dict.fromkeys(
            ("request_too_large", "model_not_found", "FAILED_PRECONDITION", "NOT_FOUND", "tool_use_failed"), "rejected"
        ),
        **dict.fromkeys(("invalid_api_key", "PERMISSION_DENIED", "UNAUTHENTICATED"), "unauthorized"),
        **dict.fromkeys(
            ("invalid_request_error", "not_found_error", "context_length_exceeded", "content_filter", "INVALID_ARGUMENT"),
            "rejected",
        ),
        **dict.fromkeys(("authentication_error", "permission_error", "billing_error"), "unauthorized"),
    }
    return Failure(words.get(_code(error) or "", "overloaded"), None, _code(error))


def _kind(status: int) -> str:
    if status == 429:
        return "rate_limited"
    if status in (401, 402, 403):
        return "unauthorized"
    return "overloaded" if status >= 500 or status in (408, 409, 425, 498) else "rejected"


def _code(error: Any) -> str | None:
    if not isinstance(error, dict):
        return None
    words = [error[k] for k in ("code", "status", "type") if isinstance(error.get(k), str) and error[k]]
    numbers = [str(error["code"])] if isinstance(error.get("code"), int) else []
    return next(iter([*words, *numbers]), None)


def _wait(headers: dict[str, str]) -> float | None:
    if "retry-after-ms" in headers:
        return float(headers["retry-after-ms"]) / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.replace(".", "", 1).isdigit():
        return float(value)
    if "date" not in headers:
        return None
    return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())


# Chat completions


def _chat(events: list[Json], *, ended: bool, whole: bool) -> Said | Failure:
    said = Said()
    calls: list[list[str]] = []
    by_index: dict[int, list[str]] = {}
    finish: str | None = None
    answered = False
    for event in events:
        said.model = event.get("model") or said.model
        usage = event.get("usage") or (event.get("x_groq") or {}).get("usage")
        if usage:
            said.usage = _chat_usage(usage)
        for choice in event.get("choices") or []:
            if choice.get("index"):
                continue
            finish = choice.get("finish_reason") or finish
            message = choice.get("delta") if choice.get("delta") is not None else choice.get("message")
            if message is None:
                continue
            answered = True
            text, thinking = _chat_text(message.get("content"))
            said.text += text
            said.reasoning += message.get("reasoning_content") or message.get("reasoning") or thinking
            said.refusal += message.get("refusal") or ""
            for fragment in message.get("tool_calls") or []:
                _chat_fragment(fragment, calls, by_index)
            old = message.get("function_call") or {}
            if old.get("name") or old.get("arguments"):
                _chat_fragment({"index": 0, "function": old}, calls, by_index)
    if whole and not answered:
        return Failure("empty")
    if not ended and finish is None:
        return Failure("cut_off")
    said.calls = [(id, name, arguments) for id, name, arguments in calls]
    said.finish = _CHAT_FINISH.get(finish, "stop") if finish else ("tool_calls" if calls else "stop")
    return said


def _chat_text(content: Any) -> tuple[str, str]:
    if not isinstance(content, list):
        return content or "", ""
    text = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    thinking = [part["thinking"] for part in content if part.get("thinking")]
    return text, "".join(t if isinstance(t, str) else "".join(p.get("text") or "" for p in t) for t in thinking)


def _chat_fragment(fragment: Json, calls: list[list[str]], by_index: dict[int, list[str]]) -> None:
    function = fragment.get("function") or {}
    arguments = function.get("arguments") or ""
    arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
    id, name, index = fragment.get("id") or "", function.get("name") or "", fragment.get("index")
    call = by_index.get(index) if index is not None else None
    if index is None and not id and calls:
        call = calls[-1]
    if index is None and id:
        call = next((c for c in calls if c[0] == id), None)
    if call is not None and id and name and call[0] not in ("", id):
        call = None
    if call is None:
        calls.append([id, name, arguments])
        if index is not None:
            by_index[index] = calls[-1]
        return
    call[0], call[1], call[2] = call[0] or id, call[1] or name, call[2] + arguments


def _chat_usage(usage: Json) -> tuple[int, int, int, int, int]:
    inputs = usage.get("prompt_tokens_details") or usage.get("prompt_token_details") or {}
    outputs = usage.get("completion_tokens_details") or usage.get("completion_token_details") or {}
    prompt, written, total = (usage.get(k) or 0 for k in ("prompt_tokens", "completion_tokens", "total_tokens"))
    caches = (usage.get(k) for k in ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"))
    cached = inputs.get("cached_tokens") or next((c for c in caches if c), 0)
    output = max(written, total - prompt) if usage.get("prompt_tokens") is not None else written
    return prompt, output, cached, inputs.get("cache_write_tokens") or 0, outputs.get("reasoning_tokens") or 0


# Messages


def _messages(events: list[Json]) -> Said | Failure:
    if events and events[0].get("type") == "message":
        return _message(events[0])
    message: Json = {"content": [], "usage": {}}
    blocks: dict[int, Json] = {}
    earlier, ended = "", False
    for event in events:
        kind, delta = event.get("type"), event.get("delta") or {}
        if kind == "message_start":
            earlier += "".join(b.get("thinking") or "" for b in blocks.values())
            message = {"content": [], "usage": {}, **event["message"]}
            blocks = dict(enumerate(message["content"]))
        elif kind == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            _grow(blocks[event["index"]], delta)
        elif kind == "message_delta":
            message |= {k: v for k, v in delta.items() if v is not None}
            message["usage"] |= {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
        elif kind == "message_stop":
            ended = True
            break
    if not ended and not message.get("stop_reason"):
        return Failure("cut_off")
    message["content"] = [blocks[i] for i in sorted(blocks)]
    said = _message(message)
    said.reasoning = earlier + said.reasoning
    return said


def _grow(block: Json, delta: Json) -> None:
    for name in ("text", "thinking"):
        if delta.get("type") == f"{name}_delta":
            block[name] = (block.get(name) or "") + delta[name]
    if delta.get("type") == "input_json_delta":
        block["pieces"] = block.get("pieces", "") + delta["partial_json"]


def _message(message: Json) -> Said:
    blocks = message["content"]
    calls = [
        (b.get("id", ""), b["name"], b.get("pieces") or json.dumps(b.get("input") or {}))
        for b in blocks
        if b["type"] == "tool_use"
    ]
    reason = message.get("stop_reason")
    usage = message.get("usage")
    return Said(
        text="".join(b.get("text") or "" for b in blocks if b["type"] == "text"),
        reasoning="".join(b.get("thinking") or "" for b in blocks if b["type"] == "thinking"),
        refusal=(message.get("stop_details") or {}).get("explanation") or "",
        calls=calls,
        finish=_MESSAGE_FINISH.get(reason, "stop") if reason else ("tool_calls" if calls else "stop"),
        usage=_message_usage(usage) if usage else None,
        model=message.get("model"),
    )


def _message_usage(usage: Json) -> tuple[int, int, int, int, int]:
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return (usage.get("input_tokens") or 0) + read + written, usage.get("output_tokens") or 0, read, written, thinking


# Gemini


def _gemini(events: list[Json], *, whole: bool) -> Said | Failure:
    said = Said()
    answered = False
    finish: str | None = None
    for event in events:
        said.model = event.get("modelVersion") or said.model
        if event.get("usageMetadata"):
            said.usage = _gemini_usage(event["usageMetadata"])
        blocked = (event.get("promptFeedback") or {}).get("blockReason")
        if blocked:
            finish, said.refusal = "SAFETY", blocked
        for candidate in event.get("candidates") or []:
            if candidate.get("index"):
                continue
            answered = True
            finish = candidate.get("finishReason") or finish
            for part in (candidate.get("content") or {}).get("parts") or []:
                if part.get("thought"):
                    said.reasoning += part.get("text") or ""
                elif "functionCall" in part:
                    call = part["functionCall"]
                    said.calls.append((call.get("id", ""), call["name"], json.dumps(call.get("args") or {})))
                else:
                    said.text += part.get("text") or ""
    if finish is None and not (whole and answered):
        return Failure("garbled" if whole else "cut_off")
    words = {"STOP": "tool_calls" if said.calls else "stop", "MAX_TOKENS": "length"}
    said.finish = "content_filter" if finish in _GEMINI_FILTERS else words.get(finish or "STOP", "error")
    return said


def _gemini_usage(usage: Json) -> tuple[int, int, int, int, int]:
    names = (
        *("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount"),
        *("thoughtsTokenCount", "cachedContentTokenCount"),
    )
    prompt, tools, written, thoughts, cached = (usage.get(name) or 0 for name in names)
    return prompt + tools, written + thoughts, cached, 0, thoughts
