"""`refused`: the feature refused to answer, as it should.

`true` for any refusal, a reason such as `"no_evidence"` for one of that kind, `false` for an answer that is no refusal. Without
an expectation it has nothing to say. Only the status `refused` is a refusal; an answer that says no in its own words is none.
"""

from __future__ import annotations

from typing import Any

from mainstay.core.errors import nearest
from mainstay.core.reasons import Reason
from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import quoted, refused


class Refused:
    """The scorer; it has no options."""

    def check_expected(self, expected: Any) -> None:
        """`true`, `false`, or a reason."""
        if isinstance(expected, bool):
            return
        if not isinstance(expected, str):
            raise ValueError(f'expected `true`, `false` or a reason such as "no_evidence", got {quoted(expected)}')
        if expected not in set(Reason):
            raise ValueError(f"there is no reason {quoted(expected)}; {nearest(expected, Reason)}")

    async def score(self, subject: Subject) -> Opinion | None:
        """Compare the answer's status and reason."""
        expected, answer = subject.expected, subject.answer
        if expected is None:
            return None
        self.check_expected(expected)
        if refused(answer) is not bool(expected):
            became = f"{answer.status}, {answer.reason}" if answer.reason else str(answer.status)
            return rejects(f"it should {'' if expected else 'not '}have been refused; it is {became}")
        if isinstance(expected, str) and answer.reason != expected:
            return rejects(f"it was refused for {answer.reason}, not {expected}")
        return accepts()
