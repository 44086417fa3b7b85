"""The one place where inputs and drafts are checked: streamed or whole, cached or fresh, any door, any rung.

Text on its way out goes through a `Screening`. It holds back as much as the guards in force need to see (a few words for
`terms`, everything for a schema), releases the rest, and stops at the first verdict that is not "allow" or "replace".
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Action, Author, Draft, Verdict, refuse
from mainstay.core.errors import BadRequest
from mainstay.core.evidence import NOTHING, Evidence, Passage
from mainstay.core.model import ToolCall
from mainstay.core.reasons import Reason
from mainstay.core.sentences import settled
from mainstay.serve.inputs import spoken
from mainstay.serve.ready import SENTENCE, WHOLE, ReadyGuard
from mainstay.serve.refusing import refusal
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.guards")
ACTIONS = frozenset(get_args(Action))


async def screen(trace: Trace) -> Answer | None:
    """Show the input to the input guards; None lets it pass, as they leave it."""
    if not trace.ready.input_guards:
        return None
    draft = Draft(call=spoken(trace.call, trace.ready.feature), stage="input", ask=trace.ask)
    hiding = [guard for guard in trace.ready.input_guards if guard.hides]
    for guard in trace.ready.input_guards:
        try:
            verdict = await guard.guard.check(draft)
        except Exception as error:
            verdict = _broken(guard, draft, trace, error)
        if verdict is not ALLOW and not _passes(verdict := _sound(verdict, guard, draft), guard, draft, trace):
            trace.guard(guard.name, "input", verdict)
            trace.next = verdict.next or trace.next
            fault = _taken_up(verdict, trace) if verdict.action == "replace" else None
            if verdict.action != "replace" or fault is not None:
                return fault or refusal(trace, verdict.reason or Reason.UNSAFE_INPUT, verdict.detail or None)
            draft = msgspec.structs.replace(draft, call=spoken(trace.call, trace.ready.feature))
        if hiding and guard is hiding[-1]:
            trace.bare = False
    return None


def _taken_up(verdict: Verdict, trace: Trace) -> Answer | None:
    """Let the call go on with what a guard made of its input; the refusal of a call whose input no longer is one."""
    call, images = trace.call, trace.ready.feature.images
    input = call.input if verdict.input is None else {n: call.input[n] if n in images else v for n, v in verdict.input.items()}
    try:
        if call.request is None:
            trace.ready.read_input(input)
    except BadRequest as error:
        return refusal(trace, Reason.INPUT_INVALID, f"{error.what}, once what is private in it was taken out")
    trace.call = msgspec.structs.replace(
        call,
        input=input,
        history=call.history if verdict.history is None else verdict.history,
        request=call.request if verdict.request is None else verdict.request,
    )
    trace.placeholders |= verdict.placeholders
    return None


async def screen_passages(passages: Sequence[Passage], call: Call, trace: Trace) -> list[Passage]:
    """The passages that may be read by a model: those that every guard which looks at passages lets through."""
    for guard in trace.ready.passage_guards:
        passages = [passage for passage in passages if await _may_be_read(passage, guard, call, trace)]
    return list(passages)


async def _may_be_read(passage: Passage, guard: ReadyGuard, call: Call, trace: Trace) -> bool:
    draft = Draft(call=call, stage="passage", text=passage.text, author="source", ask=trace.ask)
    try:
        verdict = await guard.guard.check(draft)
    except Exception as error:
        verdict = _broken(guard, draft, trace, error)
    if verdict is ALLOW:
        return True
    verdict = _sound(verdict, guard, draft)
    if verdict.action != "allow" or verdict.detail:
        trace.guard(guard.name, "passage", msgspec.structs.replace(verdict, detail=f"{passage.id}: {verdict.detail}"))
    return verdict.action == "allow"


class Checked(Struct, frozen=True):
    """What the output guards made of a draft: the text and data that may go out, or the verdict that stops it.

    `support` is the least that any of them says of how far the evidence bears it; None where none of them knows.
    """

    text: str
    data: Any
    stop: Verdict | None = None
    support: float | None = None


async def check(draft: Draft, guards: Sequence[ReadyGuard], trace: Trace, rung: str | None) -> Checked:
    """Show a draft to the guards in order; each sees what the ones before it made of it.

    Where the stakes are high, a whole draft has to match curated content too, last of all.
    """
    curated, least = trace.ready.curated, None
    for guard in itertools.chain(guards, () if curated is None else (curated,)):
        if guard is curated and not (trace.high and draft.complete):
            continue
        try:
            verdict = await guard.guard.check(draft)
        except Exception as error:
            verdict = _broken(guard, draft, trace, error)
        if verdict is ALLOW:
            continue
        verdict = _sound(verdict, guard, draft)
        if verdict.support is not None:
            least = verdict.support if least is None else min(least, verdict.support)
        if _passes(verdict, guard, draft, trace, rung):
            continue
        trace.guard(guard.name, draft.stage, verdict, rung)
        if verdict.action != "replace":
            return Checked(draft.text, draft.data, verdict, least)
        draft = replaced(draft, verdict)
    return Checked(draft.text, draft.data, None, least)


def _passes(verdict: Verdict, guard: ReadyGuard, draft: Draft, trace: Trace, rung: str | None = None) -> bool:
    """Whether the verdict allows; then what it notes is in the record, and the stakes are what it says they are."""
    if verdict.action != "allow":
        return False
    if verdict.detail and draft.complete:
        trace.guard(guard.name, draft.stage, verdict, rung)
    trace.high, trace.next = trace.high or verdict.stakes == "high", verdict.next or trace.next
    return True


def replaced(draft: Draft, verdict: Verdict) -> Draft:
    """The draft as a guard's verdict leaves it."""
    if verdict.action != "replace":
        return draft
    return msgspec.structs.replace(
        draft,
        text=draft.text if verdict.text is None else verdict.text,
        data=draft.data if verdict.data is None else verdict.data,
    )


def _sound(verdict: Verdict, guard: ReadyGuard, draft: Draft) -> Verdict:
    """The verdict, if it is one that this draft can have; what is none, or changes what was shown, stops the draft."""
    if not isinstance(verdict, Verdict) or verdict.action not in ACTIONS:
        return _fault(guard, draft, f"gave no verdict but {verdict!r:.100}")
    if draft.stage == "input" and verdict.action == "replace" and not _brings_input(verdict):
        return _fault(guard, draft, "replaced an input with nothing")
    if verdict.text is not None and not verdict.text.startswith(draft.text[: draft.shown]):
        return _fault(guard, draft, "changed what was shown already")
    return verdict


def _brings_input(verdict: Verdict) -> bool:
    return verdict.input is not None or verdict.history is not None or verdict.request is not None


def _broken(guard: ReadyGuard, draft: Draft, trace: Trace, error: Exception) -> Verdict:
    trace.failed(log, f"the guard {guard.name} failed", error)
    return _fault(guard, draft, f"failed: {type(error).__name__}: {error}")


def _fault(guard: ReadyGuard, draft: Draft, what: str) -> Verdict:
    """Nothing leaves unchecked."""
    reason = Reason.UNSAFE_INPUT if draft.stage == "input" else Reason.UNSAFE_OUTPUT
    return refuse(reason, f"the guard {guard.name} {what}")


class Screening:
    """One draft on its way out. `add` what is written as it comes, then `complete`; `release` is called with what may leave.

    `evidence` is what it rests on; `author` is who writes it. `support` is how far the evidence bears the draft, as far as guards
    know.
    """

    __slots__ = (
        *("_author", "_early", "_guards", "_hold", "_release", "_rung", "_sentences", "_settled", "_trace"),
        *("data", "evidence", "shown", "support", "text"),
    )

    def __init__(
        self,
        trace: Trace,
        *,
        rung: str,
        guards: tuple[ReadyGuard, ...],
        evidence: Evidence = NOTHING,
        author: Author = "model",
        early: bool,
        release: Callable[[str], None],
    ) -> None:
        self._trace, self._rung, self._guards, self._release = trace, rung, guards, release
        self.evidence, self._author = evidence, author
        holds = [g.hold for g in guards]
        self._hold = max([hold for hold in holds if hold < SENTENCE], default=0)
        self._sentences = SENTENCE in holds
        self._early = early and WHOLE not in holds
        self.text = ""
        self.data: Any = None
        self.shown = self._settled = 0
        self.support: float | None = None

    async def add(self, text: str) -> Verdict | None:
        """More was written. Gives the verdict that stops the draft, if there is one."""
        self.text += text
        if not self._early:
            return None
        checked = await self._check(complete=False)
        if checked.text != self.text:  # a guard changed it, and with it where sentences end
            self.text, self._settled = checked.text, 0
        if checked.stop is None and not self._held:
            self._let_go(self._safe())
        return checked.stop

    async def complete(
        self, tool_calls: tuple[ToolCall, ...] = (), *, weigh: Callable[[], Verdict | None] = lambda: None
    ) -> Verdict | None:
        """Nothing more will be written: every guard sees the whole, and what was held back leaves.

        `weigh` is asked of a draft that passed them all, and may stop it still.
        """
        checked = await self._check(complete=True, tool_calls=tool_calls)
        self.text, self.data = checked.text, checked.data
        stop = checked.stop or weigh()
        if stop is None and self.data is None:
            self._let_go(len(self.text))
        return stop

    @property
    def _held(self) -> bool:
        """Whether nothing more leaves before the whole is there: it has to match curated content."""
        return self._trace.high and self._trace.ready.curated is not None

    async def _check(self, *, complete: bool, tool_calls: tuple[ToolCall, ...] = ()) -> Checked:
        draft = self._draft(complete=complete, tool_calls=tool_calls)
        checked = await check(draft, self._guards, self._trace, self._rung)
        if checked.support is not None:
            self.support = checked.support if self.support is None else min(self.support, checked.support)
        return checked

    def _draft(self, *, complete: bool, tool_calls: tuple[ToolCall, ...] = ()) -> Draft:
        return Draft(
            call=self._trace.call,
            text=self.text,
            shown=self.shown,
            complete=complete,
            tool_calls=tool_calls,
            evidence=self.evidence,
            author=self._author,
            ask=self._trace.ask,
        )

    def _safe(self) -> int:
        """How many characters may leave while more is coming."""
        end = len(self.text) - self._hold
        if self._sentences:
            self._settled = settled(self.text, self._settled)
            end = min(end, self._settled)
        return end

    def _let_go(self, end: int) -> None:
        if end > self.shown and (self.shown or not self.text[:end].isspace()):  # spaces alone are no first word
            self._release(self.text[self.shown : end])
            self.shown = end
