"""The texts of a call and of data, for guards that read all of them or change some; and where a growing text can be cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from mainstay.core.call import Call
from mainstay.core.draft import Verdict
from mainstay.core.model import Message, TextPart

Change = Callable[[str], str]
_LONE = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_replace = msgspec.structs.replace


def readable(text: str) -> str:
    """Without lone surrogates, which RE2 cannot read; every other character stays where it is."""
    return text if text.isascii() else text.translate(_LONE)


def calm(text: str, at: int) -> int:
    """A place no later than that at which nothing is in progress: behind a word of letters and a blank, or 0."""
    while at > 1 and not (text[at - 1].isspace() and text[at - 2].isalpha()):
        at -= 1
    return at if at > 1 else 0


def texts_in(value: Any) -> Iterator[str]:
    """Every text in data, however deep; not the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)


def through(value: Any, change: Change) -> Any:
    """The same data with every text in it changed; not the names of its fields."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: through(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([through(inner, change) for inner in value])
    return value


def texts_of(call: Call) -> Iterator[str]:
    """All texts of a call, the oldest first, with what tools were asked and said; no image and no thought."""
    for turn in call.history:
        yield turn.text
    yield from (text for text in texts_in(call.input) if not text.startswith("data:"))
    for message in call.request.messages if call.request is not None else ():
        if isinstance(message.content, str):
            yield message.content
        else:
            yield from (part.text for part in message.content if isinstance(part, TextPart))
        for asked in message.tool_calls:
            yield from texts_in(read_arguments(asked.arguments))
        yield message.reasoning or ""


def changed(call: Call, change: Change, detail: str, placeholders: dict[str, str] | None = None) -> Verdict:
    """The verdict that a call goes on with each of its texts changed."""

    def changed_text(text: str) -> str:
        return text if text.startswith("data:") else change(text)

    return Verdict(
        action="replace",
        detail=detail,
        input=through(call.input, changed_text),
        history=tuple([_replace(turn, text=change(turn.text)) for turn in call.history]),
        request=None
        if call.request is None
        else _replace(call.request, messages=tuple([_message(message, change) for message in call.request.messages])),
        placeholders=placeholders or {},
    )


def _message(message: Message, change: Change) -> Message:
    content = message.content
    return _replace(
        message,
        content=change(content)
        if isinstance(content, str)
        else tuple([_replace(part, text=change(part.text)) if isinstance(part, TextPart) else part for part in content]),
        tool_calls=tuple([_replace(call, arguments=_arguments(call.arguments, change)) for call in message.tool_calls]),
        reasoning=None if message.reasoning is None else change(message.reasoning),
    )


def _arguments(arguments: str, change: Change) -> str:
    data = read_arguments(arguments)
    new = through(data, change)
    if new == data:
        return arguments
    return str(new) if data is arguments else msgspec.json.encode(new).decode()


def read_arguments(arguments: str) -> Any:
    """A tool call's arguments as data, so that no escape hides anything; as a text where they are not JSON."""
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return arguments
