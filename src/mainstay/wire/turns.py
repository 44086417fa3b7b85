"""What the requests of Anthropic and of Gemini have in common, and OpenAI's have not: turns, arguments that are objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mainstay.core.errors import Unsupported
from mainstay.core.model import Message, ToolCall

Block = dict[str, Any]

_NOTHING = (b"null", b"false", b"0", b"0.0", b"[]", b"{}", b'""')
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def own_fields(extra: dict[str, msgspec.Raw], own: set[str], where: str) -> dict[str, msgspec.Raw]:
    """Of the fields that came along, those that this wire has; one of another wire is refused, unless it asks for nothing."""
    for name, value in extra.items():
        if name not in own and bytes(value) not in _NOTHING:
            raise Unsupported(f"`{name}`", where=where)
    return {name: value for name, value in extra.items() if name in own}


def without_tier(extra: dict[str, msgspec.Raw]) -> tuple[dict[str, msgspec.Raw], str | None]:
    """The fields that came along, without OpenAI's `service_tier`, which every provider calls differently; and its value."""
    if "service_tier" not in extra:
        return extra, None
    tier = msgspec.json.decode(extra["service_tier"])
    return {name: value for name, value in extra.items() if name != "service_tier"}, None if tier is None else str(tier)


def turns(
    messages: tuple[Message, ...], blocks: Callable[[Message], list[Block]], sides: dict[str, str]
) -> list[tuple[str, list[Block]]]:
    """The conversation without its system messages: neighbours of one side are one turn, and an empty turn is none."""
    made: list[tuple[str, list[Block]]] = []
    for message in messages:
        if message.role == "system" or not (said := blocks(message)):
            continue
        side = sides[message.role]
        if made and made[-1][0] == side:
            made[-1][1].extend(said)
        else:
            made.append((side, said))
    return made


def arguments(call: ToolCall, where: str) -> msgspec.Raw:
    """A tool call's arguments as the JSON object that other wires than OpenAI's want. Raises `Unsupported`."""
    text = call.arguments.encode("utf-8", "surrogatepass") or b"{}"
    try:
        _object.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unsupported("a tool call whose arguments are not a JSON object", where=where) from None
    return msgspec.Raw(text)
