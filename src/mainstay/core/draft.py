"""Text or data not yet allowed out, and what a guard says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from mainstay.core.answer import Answer
from mainstay.core.call import Call, Turn
from mainstay.core.evidence import NOTHING, Evidence
from mainstay.core.model import ModelRequest, ToolCall
from mainstay.core.reasons import Reason

Author = Literal["model", "source", "team", "message"]
Stage = Literal["input", "passage", "output"]
Action = Literal["allow", "replace", "retry", "refuse"]


class Draft(Struct, frozen=True, kw_only=True):
    """What a guard is shown.

    At stage `input` only `call` counts. At stage `passage`, which only guards see that have `passages = True`, `text` is a
    passage that was found and no model has read yet: `refuse` leaves it out. At stage `output`, `text` is everything written so
    far and its first `shown` characters have left already: a guard may not change those. `complete` says that nothing more will
    be written. `author` says who wrote it: a model, a source that is quoted, the team (a rule, a function, a classifier's
    template), or the ladder's own message. `data` is the structured answer once a guard has read it out of the text. `tool_calls`
    come only from plain models. `ask` runs another feature (a judge) within the call's time and money; None where nobody may be
    asked, as at load.
    """

    call: Call
    stage: Stage = "output"
    text: str = ""
    shown: int = 0
    complete: bool = True
    author: Author = "model"
    data: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    evidence: Evidence = NOTHING
    ask: Callable[[str, Mapping[str, Any]], Awaitable[Answer]] | None = None

    @property
    def by_team(self) -> bool:
        """Whether the team wrote it: then it rests on no evidence."""
        return self.author in ("team", "message")


class Verdict(Struct, frozen=True, kw_only=True):
    """What a guard says: `allow`, `replace` the text or data, `retry` with this remark, or `refuse` for this reason.

    `remark` is written for the model that is asked again; `detail` for the developer who reads the record. A `retry`
    that comes too late (words were shown, or no tries are left) counts as a refusal of the rung, for `reason`.

    At stage `input`, `replace` brings the call's `input` and `history` (a plain model's `request`) to go on with, and in
    `placeholders` what each placeholder in them stands for. `support` is how far the evidence bears the draft, between 0 and 1,
    where the guard knows.

    `next` is what a refusal tells the user to do instead, before what the feature says of that: a sentence, or one for each
    language. `stakes` raises those of the call: from then on only what matches curated content passes. An `allow` with a `detail`
    is noted in the record.
    """

    action: Action
    reason: Reason | None = None
    remark: str = ""
    detail: str = ""
    text: str | None = None
    data: Any = None
    input: dict[str, Any] | None = None
    history: tuple[Turn, ...] | None = None
    request: ModelRequest | None = None
    placeholders: dict[str, str] = {}
    support: float | None = None
    next: str | dict[str, str] = ""
    stakes: Literal["high"] | None = None


ALLOW = Verdict(action="allow")


def refuse(reason: Reason, detail: str = "", *, next: str | dict[str, str] = "") -> Verdict:
    """Stop here: the draft, or the input, is not acceptable."""
    return Verdict(action="refuse", reason=reason, detail=detail, next=next)


def note(detail: str, *, stakes: Literal["high"] | None = None) -> Verdict:
    """Let it pass, and say this in the record."""
    return Verdict(action="allow", detail=detail, stakes=stakes)


def retry(reason: Reason, remark: str) -> Verdict:
    """Ask again, telling the model what was wrong."""
    return Verdict(action="retry", reason=reason, remark=remark, detail=remark)


def replace(*, text: str | None = None, data: Any = None, detail: str = "") -> Verdict:
    """Go on with this text or data instead."""
    return Verdict(action="replace", text=text, data=data, detail=detail)
