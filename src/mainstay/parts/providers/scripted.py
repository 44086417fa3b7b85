"""A model that says what its script says: the shipped test double, for tests, demonstrations and benchmarks.

Options (`[models.NAME.options]`): `replies`, texts or tables, one after the other and then again from the first. A table may
hold `text`, `tool_calls`, `finish`, `usage`, `reasoning`, `delay` (before the first word), `gap` (between chunks), `chunk`
(characters a chunk), and `fault`: `unreachable`, `rate_limited`, `overloaded`, `rejected`, `unauthorized`, `garbled`,
`empty`, `cut_off` (after the text), `stalled` (for ever, after the text). `{last}` in a text becomes the last user message.
The other options are defaults for every reply.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from typing import Any, Literal

import msgspec

from mainstay.core.errors import CutOff, Empty, Garbled, ModelError, Overloaded, RateLimited, Rejected, Unauthorized, Unreachable
from mainstay.core.model import Chunk, ModelRequest, ToolCall, Usage
from mainstay.core.project import Model
from mainstay.core.reasons import Finish
from mainstay.core.units import Seconds

_FAULTS: dict[str, type[ModelError]] = {
    kind.kind: kind for kind in (Unreachable, RateLimited, Overloaded, Rejected, Unauthorized, Garbled, Empty)
}


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One turn of the script."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    delay: Seconds = Seconds(0)
    gap: Seconds = Seconds(0)
    chunk: int = 0
    fault: (
        Literal["unreachable", "rate_limited", "overloaded", "rejected", "unauthorized", "garbled", "empty", "cut_off", "stalled"]
        | None
    ) = None
    retry_after: float | None = None


class Scripted:
    """One scripted model. `requests` holds what it was asked, for tests to look at."""

    def __init__(self, model: Model, *, key: str = "", http: object = None) -> None:
        options = dict(model.options)
        replies = options.pop("replies", ["{last}"])
        turns = [{**options, **(reply if isinstance(reply, dict) else {"text": reply})} for reply in replies]
        self._replies = itertools.cycle([msgspec.convert(turn, Reply, dec_hook=_hook) for turn in turns])
        self._name = model.model or "scripted"
        self.requests: list[ModelRequest] = []

    async def generate(self, request: ModelRequest, *, stream: bool) -> AsyncGenerator[Chunk, None]:
        self.requests.append(request)
        reply = next(self._replies)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.fault in _FAULTS:
            raise _FAULTS[reply.fault](f"scripted {reply.fault}", where=self._name, retry_after=reply.retry_after)
        text = reply.text.replace("{last}", request.messages[-1].text)
        size = reply.chunk if stream and reply.chunk else len(text) or 1
        for start in range(0, len(text), size):
            if start and reply.gap:
                await asyncio.sleep(reply.gap)
            piece = text[start : start + size]
            if start + size < len(text) or reply.fault:
                yield Chunk(text=piece)
                continue
            yield self._last(reply, piece)
        if reply.fault == "stalled":
            await asyncio.Event().wait()
        if reply.fault == "cut_off":
            raise CutOff("scripted cut_off", where=self._name)
        if not text:
            yield self._last(reply, "")

    def _last(self, reply: Reply, text: str) -> Chunk:
        finish = reply.finish or (Finish.TOOL_CALLS if reply.tool_calls else Finish.STOP)
        return Chunk(
            text=text, reasoning=reply.reasoning, tool_calls=reply.tool_calls, finish=finish, usage=reply.usage, model=self._name
        )


def _hook(kind: Any, value: Any) -> Any:
    return Seconds.parse(value) if kind is Seconds else value
