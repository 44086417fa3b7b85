"""The words of a question that carry meaning, for those who search and for those who quote. English; others have no such list."""

from __future__ import annotations

from mainstay.core.later import pattern

_WORD = pattern(r"\w+")
_HOW = pattern(r"\bhow (?:far|fast|few|long|many|much|often|soon)\b")  # they ask for a figure, and say not of what
_STOP = frozenset(
    """a able about actually again ago all already also always am an and any anyone anything are aren as at be been being but by
    can could couldn d describe did didn difference do does doesn doing don done during every exactly explain for from get gets
    getting give given go goes going got had happen happened happening happens has hasn have haven having he hello helpful
    hi how i if in into is isn it its just kind know later let like likely ll look m mainly make makes making may me mean
    means might mine much must my need needs no not now of off often on one ones onto or ought our ours out own per please
    possible put rather re really s same shall she should shouldn since so some someone something sometimes soon sort
    still such t take takes tell than thanks that the their them then there these they thing things this those through to
    today tomorrow tonight too until up upon us use used user uses using ve very via want wanted wants was wasn way ways
    we well were what whatever when where whether which while who whom whose why will with within without work works would
    wouldn yesterday yet you your yours""".split()
)


def telling(text: str) -> list[str]:
    """The words without those that say nothing about the subject, in lower case.

    >>> telling("How long is the deadline?")
    ['deadline']
    """
    return [word for word in _WORD.findall(_HOW.sub("", text.casefold())) if word not in _STOP]
