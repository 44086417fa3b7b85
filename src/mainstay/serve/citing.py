"""Citations out of a model's text: `[2]` after a sentence says that it rests on the second passage it was given."""

from __future__ import annotations

import re

from mainstay.core.answer import Citation
from mainstay.core.evidence import Evidence

_MARK = re.compile(r"\[(\d{1,3})\]")
_START = re.compile(r"(?:[.!?。！？]\s+|\n)(?=\S)")


def cite(text: str, evidence: Evidence) -> tuple[Citation, ...]:
    """One citation a mark, over the sentence before it. A mark that numbers no passage is left alone."""
    if not evidence.passages:
        return ()
    citations = []
    for mark in _MARK.finditer(text):
        number = int(mark[1])
        if not 1 <= number <= len(evidence.passages):
            continue
        start = _sentence_start(text, mark.start())
        citations.append(Citation.of(evidence.passages[number - 1], start=start, end=mark.start()))
    return tuple(citations)


def _sentence_start(text: str, mark: int) -> int:
    """Where the sentence begins that ends at the mark; marks side by side share it."""
    end = mark
    while before := re.search(r"\[\d{1,3}\]\s*$", text[:end]):
        end = before.start()
    body = text[:end].rstrip(" .!?。！？")
    starts = [m.end() for m in _START.finditer(body)]
    return starts[-1] if starts else len(text[:end]) - len(text[:end].lstrip())
