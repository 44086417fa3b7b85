"""`terms`: words that must not appear, such as competitors' names or forbidden claims.

Options: `terms`, the words; `action`: `refuse` (default), `retry` (the model is asked again without them) or `redact` (they are
blacked out). Matching ignores case, compatibility forms (full-width letters, ligatures) and the width of spaces, and respects
word ends. Limits: it knows spellings, not meanings; look-alike letters of other scripts and accents are not folded.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

import re2
from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace, retry
from mainstay.core.reasons import Reason

FEW = 30  # terms up to which looking for each is quicker than the pattern


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    terms: Annotated[tuple[str, ...], Meta(min_length=1, description="The words that must not appear.")]
    action: Annotated[Literal["refuse", "retry", "redact"], Meta(description="What to do where one appears.")] = "refuse"


class Terms:
    """The guard. `hold` is as long as the longest term can be written, so none slips out in halves."""

    options = Options

    def __init__(self, *, terms: tuple[str, ...] | list[str], action: str = "refuse") -> None:
        words = [" ".join(unicodedata.normalize("NFKC", term).split()) for term in terms]
        if not all(words):
            raise ValueError("a term is empty")
        pattern = "|".join(
            sorted((re2.escape(w).replace("\\ ", " ").replace(" ", r"\s{1,4}") for w in words), key=len, reverse=True)
        )
        options = re2.Options()
        options.case_sensitive = False
        self._pattern = re2.compile(f"(?:{pattern})", options)
        self._action = action
        # Most texts hold no term at all, which plain containment sees sooner than a pattern does.
        self._firsts = tuple({w.casefold().split()[0] for w in words}) if len(words) <= FEW else ()
        self.hold = max(len(w) + 3 * w.count(" ") for w in words) + 2

    async def check(self, draft: Draft) -> Verdict:
        if draft.stage == "input":
            return self._judge_input(draft)
        start = max(0, draft.shown - self.hold)
        found = self._find(_folded(draft.text[start:]))
        if found is None:
            found = next((f for call in draft.tool_calls if (f := self._find(_folded(call.arguments)))), None)
        if found is None:
            return ALLOW
        if self._action == "redact":
            return self._redacted(draft)
        detail = f"the term {found!r} must not appear"
        return retry(Reason.UNSAFE_OUTPUT, detail) if self._action == "retry" else refuse(Reason.UNSAFE_OUTPUT, detail)

    def _judge_input(self, draft: Draft) -> Verdict:
        for path, text in draft.call.texts():
            if found := self._find(_folded(text)):
                return refuse(Reason.UNSAFE_INPUT, f"{path} holds the term {found!r}")
        return ALLOW

    def _redacted(self, draft: Draft) -> Verdict:
        shown, rest = draft.text[: draft.shown], _folded(draft.text[draft.shown :])
        spans = [m.span() for m in self._pattern.finditer(rest) if _whole_word(rest, *m.span())]
        for start, end in reversed(spans):
            rest = rest[:start] + "█" * (end - start) + rest[end:]
        if not spans or draft.tool_calls:
            return refuse(Reason.UNSAFE_OUTPUT, "a term that must not appear could not be blacked out")
        return replace(text=shown + rest, detail=f"{len(spans)} term(s) blacked out")

    def _find(self, text: str) -> str | None:
        if self._firsts:
            lowered = text.casefold()
            if not any(first in lowered for first in self._firsts):
                return None
        match: Any
        for match in self._pattern.finditer(text):
            if _whole_word(text, *match.span()):
                return str(match.group())
        return None


def _folded(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _whole_word(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit of the same word stands before or after."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() and text[start].isalnum()) and not (after.isalnum() and text[end - 1].isalnum())
