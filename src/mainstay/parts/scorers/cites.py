"""`cites`: the answer cites this document.

`"returns.md"`, or with a section `"returns.md#how-long"`; of several, any one will do, because what answers a question may well
stand in two places. Under `not-`, none of them may be among the citations. A section is cited by any piece of it.

Limits: that it is cited says nothing of whether it is right: that is `citations`.
"""

from __future__ import annotations

from typing import Any

from mainstay.core.answer import Citation
from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import quoted, texts

EXAMPLE = '"returns.md#how-long"'


class Cites:
    """The scorer; it has no options."""

    def check_expected(self, expected: Any) -> None:
        """Documents, with or without a section."""
        texts(expected, EXAMPLE)

    async def score(self, subject: Subject) -> Opinion | None:
        """Look for each of them among the citations."""
        if subject.expected is None:
            return None
        wanted, citations = texts(subject.expected, EXAMPLE), subject.answer.citations
        for place in wanted:
            if any(_is(place, citation) for citation in citations):
                return accepts(f"it cites {quoted(place)}")
        there = ", ".join(dict.fromkeys(quoted(citation.passage) for citation in citations)) or "nothing"
        return rejects(f"it does not cite {' or '.join(map(quoted, wanted))}; it cites {there}")


def _is(place: str, citation: Citation) -> bool:
    piece, _, number = citation.passage.rpartition("~")
    return place in (citation.document, citation.passage) or (number.isdigit() and place == piece)
