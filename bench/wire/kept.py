"""Does the request that the adapter sent mean the same as the one that was recorded?

Both are brought to one form, in which only meaning is left: a text alone or as a list of one part, `developer` or `system`,
fields that say nothing (null, false, empty), neighbours of one side apart or in one turn, and Gemini's two spellings and two
dialects of schemas come to the same. Two things are ours and left out: `user` of a chat completion, which Mainstay keeps for the
call, and a maximum output where none was recorded, because Mainstay always sends one.
"""

from __future__ import annotations

import json
from typing import Any

from bench.wire.asked import camel, json_schema

Json = dict[str, Any]


def difference(wire: str, recorded: bytes, sent: bytes) -> str | None:
    """The first place where the two differ in meaning, or None."""
    form = {"chat completions": _chat, "messages": _messages, "generateContent": _gemini}[wire]
    first, second = form(json.loads(recorded)), form(json.loads(sent))
    for name in ("max_tokens", "maxOutputTokens"):
        if name not in first:
            second.pop(name, None)
    return _first_difference(first, second, "$")


def _first_difference(a: Any, b: Any, path: str) -> str | None:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            if (key in a) != (key in b):
                return f"{path}.{key} {'was not sent' if key in a else 'was added'}: {_short(a.get(key, b.get(key)))}"
            if found := _first_difference(a[key], b[key], f"{path}.{key}"):
                return found
        return None
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return next((found for i, (x, y) in pairs if (found := _first_difference(x, y, f"{path}[{i}]"))), None)
    return None if a == b else f"{path}: {_short(a)} became {_short(b)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _said(value: Json) -> Json:
    """Without the fields that say nothing."""
    return {k: v for k, v in value.items() if v not in (None, False, [], {}, "")}


def _cache(control: Json | None) -> Any:
    return control and (control.get("ttl") or "5m")


# Chat completions


def _chat(body: Json) -> Json:
    made = _said({k: v for k, v in body.items() if k not in ("messages", "tools", "user", "stream_options")})
    made["messages"] = [_chat_message(m) for m in body["messages"]]
    made["tools"] = [_chat_tool(t) for t in body.get("tools") or []]
    if made.get("n") == 1:
        del made["n"]
    choice = body.get("tool_choice")
    if choice:
        made["tool_choice"] = choice["function"]["name"] if isinstance(choice, dict) else {"any": "required"}.get(choice, choice)
    if isinstance(made.get("stop"), str):
        made["stop"] = [made["stop"]]
    if made.get("response_format") == {"type": "text"}:
        del made["response_format"]
    if (body.get("stream_options") or {}).get("include_usage"):
        made["usage in stream"] = True
    return made


def _chat_message(m: Json) -> Json:
    content = m.get("content") if m.get("content") is not None else m.get("refusal")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    calls = [
        {"id": c["id"], "name": c["function"]["name"], "arguments": c["function"]["arguments"]} for c in m.get("tool_calls") or []
    ]
    details = [_said({k: v for k, v in d.items() if k != "index"}) for d in m.get("reasoning_details") or []]
    kept = {k: m.get(k) for k in ("name", "tool_call_id", "reasoning", "reasoning_content")}
    role = "system" if m["role"] == "developer" else m["role"]
    return _said({**kept, "role": role, "content": [_chat_part(p) for p in parts if p.get("text") != ""], "calls": calls}) | (
        {"thoughts": details} if details else {}
    )


def _chat_part(part: Json) -> Json:
    image = part.get("image_url")
    url = {"url": image} if isinstance(image, str) else image
    return _said({"text": part.get("text"), "image": url and _said(url), "cache": _cache(part.get("cache_control"))})


def _chat_tool(tool: Json) -> Json:
    f = tool["function"]
    cache = _cache(tool.get("cache_control"))
    kept = _said({k: f.get(k) for k in ("name", "description", "strict")} | {"cache": cache})
    return kept | ({"parameters": f["parameters"]} if f.get("parameters") is not None else {})


# Messages


def _messages(body: Json) -> Json:
    made = _said({k: v for k, v in body.items() if k not in ("messages", "tools", "system", "output_format", "tool_choice")})
    made["system"] = _blocks(body.get("system") or [])
    turns: list[Json] = []
    for m in body["messages"]:
        blocks = _blocks(m["content"])
        if turns and turns[-1]["role"] == m["role"]:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": m["role"], "content": blocks})
    made["messages"] = turns
    made["tools"] = [_anthropic_tool(t) for t in body.get("tools") or []]
    if body.get("tool_choice"):
        made["tool_choice"] = _said(body["tool_choice"])
    if body.get("output_format"):
        made["output_config"] = {"format": body["output_format"]}
    if "cache_control" in made:
        made["cache_control"] = _cache(made["cache_control"])
    return made


def _blocks(content: str | list[Json]) -> list[Json]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [_block(b) for b in blocks if b.get("text") != ""]


def _block(block: Json) -> Json:
    made = _said({k: v for k, v in block.items() if k not in ("cache_control", "content", "input", "thinking", "caller")})
    made |= _said({"cache": _cache(block.get("cache_control"))})
    for name in ("input", "thinking"):
        if name in block:
            made[name] = block[name]
    if block["type"] == "tool_result":
        made["content"] = _blocks(block.get("content") or [])
    return made


def _anthropic_tool(tool: Json) -> Json:
    kept = _said({k: v for k, v in tool.items() if k not in ("cache_control", "input_schema", "type")})
    return kept | {"input_schema": tool.get("input_schema")} | _said({"cache": _cache(tool.get("cache_control"))})


# Gemini


def _gemini(recorded: Json) -> Json:
    body = camel(recorded)
    config = dict(body.get("generationConfig") or {})
    if config.get("responseModalities") == ["TEXT"]:
        del config["responseModalities"]
    schema = config.pop("responseSchema", None)
    if schema is not None:
        config["responseJsonSchema"] = json_schema(schema)
    made = _said(
        {k: v for k, v in body.items() if k not in ("contents", "tools", "toolConfig", "generationConfig", "systemInstruction")}
    )
    made |= _said({k: v for k, v in config.items() if k != "temperature"})
    made["temperature"] = config.get("temperature")
    made["system"] = [p["text"] for p in (body.get("systemInstruction") or {}).get("parts") or []]
    turns: list[Json] = []
    for turn in body["contents"]:
        parts = [part for p in turn["parts"] if (part := _gemini_part(p))]
        role = turn.get("role") or "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    made["contents"] = turns
    tools = body.get("tools") or []
    functions = [f for tool in (tools if isinstance(tools, list) else [tools]) for f in tool.get("functionDeclarations") or []]
    made["tools"] = [_gemini_function(f) for f in functions]
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    names = calling.get("allowedFunctionNames") or []
    every = set(names) == {f["name"] for f in functions}
    made["calling"] = [calling.get("mode"), [] if every else sorted(names)]
    return made


def _gemini_part(part: Json) -> Json:
    made = dict(part)
    for name, key in (("functionCall", "args"), ("functionResponse", "response")):
        if name in made:
            made[name] = {key: {}} | made[name]
    return {k: v for k, v in made.items() if v not in (None, False, "")}


def _gemini_function(f: Json) -> Json:
    schema = f.get("parametersJsonSchema") if f.get("parameters") is None else json_schema(f["parameters"])
    return {"name": f["name"], "description": f.get("description") or "", "schema": schema}
