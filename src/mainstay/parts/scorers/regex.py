"""`regex`: this RE2 pattern is found in the answer.

A pattern or a list of patterns, all of which have to be found; under `not-`, none of them may be. `(?i)` at the beginning ignores
case, `^` and `$` are the ends of the whole text unless `(?m)` is set. A structured answer is looked at as JSON.

Limits: RE2 runs in linear time, and therefore knows no look-around and no back-references.
"""

from __future__ import annotations

import functools
from typing import Any

import re2

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import quoted, texts

EXAMPLE = '"\\\\b30 days\\\\b"'


class Regex:
    """The scorer; it has no options."""

    def check_expected(self, expected: Any) -> None:
        """Patterns that RE2 can read."""
        for pattern in texts(expected, EXAMPLE):
            _compiled(pattern)

    async def score(self, subject: Subject) -> Opinion | None:
        """Look for each of the patterns."""
        if subject.expected is None:
            return None
        patterns = texts(subject.expected, EXAMPLE)
        shown = subject.answer.shown.encode("utf-8", "replace").decode()
        found = [pattern for pattern in patterns if _compiled(pattern).search(shown)]
        if subject.unwanted:
            return accepts(f"{quoted(found[0])} is found") if found else rejects("none of the patterns is found")
        missing = [pattern for pattern in patterns if pattern not in found]
        if not missing:
            return accepts()
        return rejects(f"{', '.join(map(quoted, missing))} is not found", value=len(found) / len(patterns))


@functools.lru_cache(maxsize=1000)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        what = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{quoted(pattern)} is no RE2 pattern: {what}") from None
