"""The one place where inputs and drafts are checked: streamed or whole, cached or fresh, any door, any rung.

Text on its way out goes through a `Screening`. It holds back as much as the guards in force need to see (a few words for
`terms`, everything for a schema), releases the rest, and stops at the first verdict that is not "allow" or "replace".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer
from mainstay.core.draft import ALLOW, Action, Draft, Verdict, refuse
from mainstay.core.evidence import NOTHING, Evidence
from mainstay.core.model import ToolCall
from mainstay.core.reasons import Reason
from mainstay.core.sentences import settled
from mainstay.serve.admission import refusal
from mainstay.serve.inputs import spoken
from mainstay.serve.ready import SENTENCE, WHOLE, ReadyGuard
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.guards")
ACTIONS = frozenset(get_args(Action))


async def screen(trace: Trace) -> Answer | None:
    """Show the input to the input guards; None lets it pass."""
    if not trace.ready.input_guards:
        return None
    draft = Draft(call=spoken(trace.call, trace.ready.feature), stage="input", ask=trace.ask)
    for guard in trace.ready.input_guards:
        try:
            verdict = await guard.guard.check(draft)
        except Exception as error:
            verdict = _broken(guard, draft, trace, error)
        if verdict is ALLOW or (verdict := _sound(verdict, guard, draft)).action == "allow":
            continue
        trace.guard(guard.name, "input", verdict)
        return refusal(trace, verdict.reason or Reason.UNSAFE_INPUT, verdict.detail or None)
    return None


class Checked(Struct, frozen=True):
    """What the output guards made of a draft: the text and data that may go out, or the verdict that stops it."""

    text: str
    data: Any
    stop: Verdict | None = None


async def check(draft: Draft, guards: Sequence[ReadyGuard], trace: Trace, rung: str | None) -> Checked:
    """Show a draft to the guards in order; each sees what the ones before it made of it."""
    for guard in guards:
        try:
            verdict = await guard.guard.check(draft)
        except Exception as error:
            verdict = _broken(guard, draft, trace, error)
        if verdict is ALLOW or (verdict := _sound(verdict, guard, draft)).action == "allow":
            continue
        trace.guard(guard.name, draft.stage, verdict, rung)
        if verdict.action != "replace":
            return Checked(draft.text, draft.data, verdict)
        draft = replaced(draft, verdict)
    return Checked(draft.text, draft.data)


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
    if verdict.text is not None and not verdict.text.startswith(draft.text[: draft.shown]):
        return _fault(guard, draft, "changed what was shown already")
    return verdict


def _broken(guard: ReadyGuard, draft: Draft, trace: Trace, error: Exception) -> Verdict:
    trace.failed(log, f"the guard {guard.name} failed", error)
    return _fault(guard, draft, f"failed: {type(error).__name__}: {error}")


def _fault(guard: ReadyGuard, draft: Draft, what: str) -> Verdict:
    """Nothing leaves unchecked."""
    reason = Reason.UNSAFE_INPUT if draft.stage == "input" else Reason.UNSAFE_OUTPUT
    return refuse(reason, f"the guard {guard.name} {what}")


class Screening:
    """One draft on its way out. `add` what is written as it comes, then `complete`; `release` is called with what may leave.

    `evidence` is what it rests on; `own` says that no model wrote it.
    """

    __slots__ = (
        *("_early", "_guards", "_hold", "_own", "_release", "_rung", "_sentences", "_settled", "_trace"),
        *("data", "evidence", "shown", "text"),
    )

    def __init__(
        self,
        trace: Trace,
        *,
        rung: str,
        guards: tuple[ReadyGuard, ...],
        evidence: Evidence = NOTHING,
        own: bool = False,
        early: bool,
        release: Callable[[str], None],
    ) -> None:
        self._trace, self._rung, self._guards, self._release = trace, rung, guards, release
        self.evidence, self._own = evidence, own
        holds = [g.hold for g in guards]
        self._hold = max([hold for hold in holds if hold < SENTENCE], default=0)
        self._sentences = SENTENCE in holds
        self._early = early and WHOLE not in holds
        self.text = ""
        self.data: Any = None
        self.shown = self._settled = 0

    async def add(self, text: str) -> Verdict | None:
        """More was written. Gives the verdict that stops the draft, if there is one."""
        self.text += text
        if not self._early:
            return None
        checked = await check(self._draft(complete=False), self._guards, self._trace, self._rung)
        if checked.text != self.text:  # a guard changed it, and with it where sentences end
            self.text, self._settled = checked.text, 0
        if checked.stop is None:
            self._let_go(self._safe())
        return checked.stop

    async def complete(self, tool_calls: tuple[ToolCall, ...] = ()) -> Verdict | None:
        """Nothing more will be written: every guard sees the whole, and what was held back leaves."""
        checked = await check(self._draft(complete=True, tool_calls=tool_calls), self._guards, self._trace, self._rung)
        self.text, self.data = checked.text, checked.data
        if checked.stop is None and self.data is None:
            self._let_go(len(self.text))
        return checked.stop

    def _draft(self, *, complete: bool, tool_calls: tuple[ToolCall, ...] = ()) -> Draft:
        return Draft(
            call=self._trace.call,
            text=self.text,
            shown=self.shown,
            complete=complete,
            tool_calls=tool_calls,
            evidence=self.evidence,
            own=self._own,
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
