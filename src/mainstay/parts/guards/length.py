"""`length`: answers that are neither too long nor too short.

Options: `max_words`, `max_characters`, `max_sentences`, `min_words`, `min_characters`, `min_sentences`; `over`, what becomes of
an answer that is too long: `retry` (default: the model is asked again, with the limit), `cut` (at the end of the last sentence
that fits) or `refuse`. What is too short is asked for again. A word is what stands between blanks; in Chinese and Japanese each
character counts as one.

A minimum, and `cut`, need the whole answer, so nothing is shown before its end; a maximum alone holds nothing back, and takes
an answer back that grows past it while it is shown. Limits: data and tool calls are not counted; an abbreviation may end a
sentence.
"""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace, retry
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold
from mainstay.parts.texts import texts_of

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[」』”’）]*|\n+")
_LETTER = re.compile(r"\w")
Limit = Annotated[int, Meta(ge=1)]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    max_words: Annotated[Limit | None, Meta(description="The most words of an answer.")] = None
    max_characters: Annotated[Limit | None, Meta(description="The most characters of an answer.")] = None
    max_sentences: Annotated[Limit | None, Meta(description="The most sentences of an answer.")] = None
    min_words: Annotated[Limit | None, Meta(description="The fewest words of an answer.")] = None
    min_characters: Annotated[Limit | None, Meta(description="The fewest characters of an answer.")] = None
    min_sentences: Annotated[Limit | None, Meta(description="The fewest sentences of an answer.")] = None
    over: Annotated[Literal["retry", "cut", "refuse"], Meta(description="What becomes of an answer that is too long.")] = "retry"


class Length:
    """The guard. It holds nothing, or everything where it has to see the end."""

    options = Options

    def __init__(
        self,
        *,
        max_words: int | None = None,
        max_characters: int | None = None,
        max_sentences: int | None = None,
        min_words: int | None = None,
        min_characters: int | None = None,
        min_sentences: int | None = None,
        over: str = "retry",
    ) -> None:
        limits = (("words", min_words, max_words), ("characters", min_characters, max_characters))
        self._limits = [(unit, low or 0, high) for unit, low, high in (*limits, ("sentences", min_sentences, max_sentences))]
        if not any(low or high for _, low, high in self._limits):
            raise ValueError("set one of max_words, max_characters, max_sentences, min_words, min_characters, min_sentences")
        for unit, low, high in self._limits:
            if high is not None and low > high:
                raise ValueError(f"min_{unit} is {low} and max_{unit} is {high}: no answer fits")
        self._over = over
        self.hold: int | Hold = Hold.WHOLE if over == "cut" or any(low for _, low, _ in self._limits) else 0

    async def check(self, draft: Draft) -> Verdict:
        """Count what was written. An input is too long or too short like an answer."""
        if draft.stage == "input":
            return self._judge_input("\n".join(texts_of(draft.call)))
        if draft.data is not None or (draft.tool_calls and not draft.text):
            return ALLOW
        over = self._over_by(draft.text)
        if over is not None:
            return self._too_long(draft, *over)
        if draft.complete:
            for unit, low, _ in self._limits:
                if low and (n := count(draft.text, unit)) < low:
                    return retry(Reason.UNSAFE_OUTPUT, f"the answer has {n} {unit}; write at least {low}")
        return ALLOW

    def _over_by(self, text: str) -> tuple[str, int, int] | None:
        """The limit that the text passes, if any: of what, how many it has, how many it may have."""
        for unit, _, high in self._limits:
            # There are at most as many words as blanks, and of anything at most as many as characters.
            if high is None or len(text) <= high or (unit == "words" and text.isascii() and _blanks(text) < high):
                continue
            if (n := count(text, unit)) > high:
                return unit, n, high
        return None

    def _too_long(self, draft: Draft, unit: str, n: int, high: int) -> Verdict:
        if self._over == "cut" and draft.complete and (cut := self._cut(draft.text)):
            return replace(text=cut, detail=f"cut from {n} {unit} to what fits {high}")
        what = f"the answer has more than {high} {unit}; write at most {high}"
        return refuse(Reason.UNSAFE_OUTPUT, what) if self._over == "refuse" else retry(Reason.UNSAFE_OUTPUT, what)

    def _cut(self, text: str) -> str:
        """The longest beginning of whole sentences that fits; empty where not even the first does."""
        fits = ""
        for end in _SENTENCE_END.finditer(text):
            if self._over_by(text[: end.end()]) is not None:
                break
            fits = text[: end.end()]
        fits = fits.rstrip()
        return fits if all(count(fits, unit) >= low for unit, low, _ in self._limits) else ""

    def _judge_input(self, text: str) -> Verdict:
        for unit, low, high in self._limits:
            n = count(text, unit)
            if n < low or (high is not None and n > high):
                bound = f"at least {low}" if n < low else f"at most {high}"
                return refuse(Reason.INPUT_INVALID, f"the input has {n} {unit}; send {bound}")
        return ALLOW


def count(text: str, unit: str) -> int:
    """How many words, characters or sentences a text has."""
    if unit == "characters":
        return len(text)
    if unit == "words":
        return len(text.split()) if text.isascii() else len(_UNSPACED.sub(" x ", text).split())
    ends = [0, *[m.end() for m in _SENTENCE_END.finditer(text)], len(text)]
    return sum([_LETTER.search(text, a, b) is not None for a, b in itertools.pairwise(ends)])


def _blanks(text: str) -> int:
    """No fewer than the words, less one."""
    return sum([text.count(blank) for blank in " \n\t\r\x0b\x0c\x1c\x1d\x1e\x1f"])
