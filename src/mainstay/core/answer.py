"""What the user gets: one `Answer`, and the events that lead to it.

The stream is the truth: `fold` of a call's events is its answer, whatever door it left by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from mainstay.core.evidence import Passage
from mainstay.core.model import ToolCall, Usage
from mainstay.core.reasons import Finish, Reason, Status


class Citation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which passage a stretch of the answer rests on. `start` and `end` are character offsets in `Answer.text`."""

    passage: str
    source: str
    document: str
    heading: tuple[str, ...] = ()
    link: str | None = None
    quote: str = ""
    start: int = 0
    end: int = 0

    @classmethod
    def of(cls, passage: Passage, *, start: int, end: int, quote: str = "") -> Citation:
        """A citation of that passage for that stretch of the text."""
        return cls(
            passage=passage.id,
            source=passage.source,
            document=passage.document,
            heading=passage.heading,
            link=passage.link,
            quote=quote,
            start=start,
            end=end,
        )


class Answer(Struct, frozen=True, kw_only=True, tag="answer", tag_field="event"):
    """The one result of a call.

    `text` or `data` holds the answer; for a refusal `text` is a sentence for the user and `detail` one for the
    developer. `rung` names the rung that answered. `confidence` is between 0 and 1, or None where nothing measures it.
    `tool_calls`, `finish` and `usage` concern plain models. `retry_after` is in how many seconds the limit of ours that stood in
    the way no longer does, where that is known.
    """

    id: str
    feature: str
    release: str
    status: Status
    text: str = ""
    data: Any = None
    citations: tuple[Citation, ...] = ()
    confidence: float | None = None
    reason: Reason | None = None
    detail: str | None = None
    rung: str | None = None
    model: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    retry_after: float | None = None

    @property
    def shown(self) -> str:
        """The answer as one text: a structured one as JSON."""
        return self.text if self.data is None else json.dumps(self.data, ensure_ascii=False, default=str)


class Started(Struct, frozen=True, tag="started", tag_field="event"):
    """The call was accepted under this id, to be answered by this release."""

    id: str
    feature: str
    release: str


class Step(Struct, frozen=True, tag="step", tag_field="event"):
    """Progress, for those who ask for it: a rung was entered, left, or asked again."""

    name: str
    detail: str = ""


class Text(Struct, frozen=True, tag="text", tag_field="event"):
    """More of the answer's text, past the guards."""

    text: str


class Data(Struct, frozen=True, tag="data", tag_field="event"):
    """The whole of a structured answer, or the tool calls of a plain model; never a part of either."""

    data: Any = None
    tool_calls: tuple[ToolCall, ...] = ()


class Retract(Struct, frozen=True, tag="retract", tag_field="event"):
    """What was shown so far must not stand: a guard stopped the answer in its middle."""

    reason: Reason


class Cited(Struct, frozen=True, tag="citation", tag_field="event"):
    """The text shown so far rests on this passage."""

    citation: Citation


Event = Started | Step | Text | Data | Cited | Retract | Answer
EVENT_NAMES = ("started", "step", "text", "data", "citation", "retract", "answer")


def name_of(event: Event) -> str:
    """The event's name on the wire: `started`, `text`, ... `answer`."""
    return str(event.__struct_config__.tag)


def fold(events: Iterable[Event]) -> Answer:
    """The answer that a finished stream amounts to. Raises `ValueError` if the stream does not end in one."""
    last: Event | None = None
    for last in events:  # noqa: B007  the last one is what is wanted
        pass
    if not isinstance(last, Answer):
        raise ValueError("the stream did not end in an answer")
    return last
