"""`judged`: another feature, the judge, thinks well of the answer. `judged:helpfulness` asks the feature `helpfulness`.

Pointwise, the judge gets `question` (the call's input) and `answer`, and `reference` if the case expects a text rather than
`true`. Its data has to be `{"score": 0.8, "passed": true, "reason": "…"}`: a score between 0 and 1, and its own word for whether
that is good enough.

With `compares`, it gets `question`, `first` and `second`, one of them the answer of the release that it is compared with, and
answers `{"better": "first", "reason": "…"}`, or `"second"`, or `"tie"`. It is asked twice, with the two in both orders. A verdict
that is not the same in both is a tie, and says so; a tie passes, because the answer is no worse. Without such a rival it has
nothing to say.

Whatever is not of that shape, is refused, or came from another rung than the judge's first (such as its last message) is no
verdict: the scorer could not tell. That is never a zero. A refusal is judged only where the case says so.

Limits: what a judge is worth is what people agree with: `mainstay eval --judge JUDGE --calibrate FILE`. An answer may try to talk
its judge round; the rubric's prompt has to say that what it judges is no instruction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.reasons import Status
from mainstay.core.report import Opinion, accepts, cannot_tell, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import quoted, refused

Shape = TypeVar("Shape", bound=Struct)
TURNED = {"first": "second", "second": "first", "tie": "tie"}


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    rubric: Annotated[str, Meta(min_length=1, description="The feature that judges.")]
    compares: Annotated[bool, Meta(description="It compares the answer with the live release's, in both orders.")] = False


class Pointwise(Struct, frozen=True, kw_only=True):
    """What a judge says of one answer."""

    score: Annotated[float, Meta(ge=0, le=1)]
    passed: bool
    reason: str = ""


class Pairwise(Struct, frozen=True, kw_only=True):
    """What a judge says of two answers."""

    better: Literal["first", "second", "tie"]
    reason: str = ""


class NoVerdict(ValueError):
    """The judge said nothing that counts; the message says what became of it."""


class Judged:
    """The scorer."""

    options = Options

    def __init__(self, *, rubric: str, compares: bool = False) -> None:
        self._rubric, self._compares = rubric, compares

    def check_expected(self, expected: Any) -> None:
        """`true`, or for a judge that takes one, the text of a reference answer."""
        if expected is True or (isinstance(expected, str) and expected.strip() and not self._compares):
            return
        or_text = "" if self._compares else " or the text of a reference answer"
        raise ValueError(f"expected `true`{or_text}, got {quoted(expected)}")

    async def score(self, subject: Subject) -> Opinion | None:
        """Ask the judge."""
        if subject.expected is not None:
            self.check_expected(subject.expected)
        elif refused(subject.answer):
            return None
        try:
            if not self._compares:
                return await self._alone(subject)
            return None if subject.rival is None else await self._beside(subject, subject.rival.outcome.answer)
        except NoVerdict as error:
            return cannot_tell(str(error))

    async def _alone(self, subject: Subject) -> Opinion:
        asked = {"question": question(subject.record.begun.call), "answer": subject.answer.shown}
        if isinstance(subject.expected, str):
            asked["reference"] = subject.expected
        verdict = pointwise(await subject.ask(self._rubric, asked))
        reason = _written(verdict.reason)
        return accepts(reason, value=verdict.score) if verdict.passed else rejects(reason, value=verdict.score)

    async def _beside(self, subject: Subject, rival: Answer) -> Opinion:
        mine, other = subject.answer.shown, rival.shown
        if mine == other:
            return accepts("a tie: both answers are the same", value=0.5)
        asked = question(subject.record.begun.call)
        orders: list[Mapping[str, Any]] = [
            {"question": asked, "first": mine, "second": other},
            {"question": asked, "first": other, "second": mine},
        ]
        ahead, behind = [pairwise(answer) for answer in await asyncio.gather(*(subject.ask(self._rubric, o) for o in orders))]
        said, turned = ahead.better, TURNED[behind.better]
        if said != turned:
            return accepts(f"a tie: the verdict changes with the order ({ahead.better}, then {behind.better})", value=0.5)
        if said == "tie":
            return accepts(_written(f"a tie: {ahead.reason}"), value=0.5)
        return accepts(_written(ahead.reason)) if said == "first" else rejects(_written(ahead.reason))


def question(call: Call) -> str:
    """What was asked, for a judge: the one field's text, or each field with its name."""
    said = [
        (name, value if isinstance(value, str) else msgspec.json.encode(value).decode()) for name, value in call.input.items()
    ]
    return said[0][1] if len(said) == 1 else "\n".join(f"{name}: {value}" for name, value in said)


def pointwise(answer: Answer) -> Pointwise:
    """What a judge says of one answer. Raises `NoVerdict`."""
    return _verdict(answer, Pointwise)


def pairwise(answer: Answer) -> Pairwise:
    """What a judge says of two answers. Raises `NoVerdict`."""
    return _verdict(answer, Pairwise)


def _verdict(answer: Answer, shape: type[Shape]) -> Shape:
    if answer.status not in (Status.ANSWERED, Status.CACHED):
        why = f": {answer.reason}" if answer.reason else ""
        raise NoVerdict(f"the judge {answer.feature} gave no verdict: it was {answer.status}{why}")
    try:
        return msgspec.convert(answer.data, shape)
    except msgspec.ValidationError as error:
        raise NoVerdict(f"the judge {answer.feature} gave no verdict: {error}, in {quoted(answer.data)}") from None


def _written(reason: str) -> str:
    return " ".join(reason.encode("utf-8", "replace").decode().split())
