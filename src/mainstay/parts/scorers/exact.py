"""`exact`: the answer is this text, or this data.

Data is compared as JSON: `1` is `1.0` and is not `true`, the order of keys does not count, that of lists does. Texts are
compared as they are, but for white space at both ends and for the composition of accents. A free text of which data is
expected is read as JSON first.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import NoData, data_of, quoted


class Exact:
    """The scorer; it has no options."""

    def check_expected(self, expected: Any) -> None:
        """Anything may be expected but nothing."""
        if expected is None:
            raise ValueError('expected the text or the data that the answer has to be, such as "Paris"')

    async def score(self, subject: Subject) -> Opinion | None:
        """Compare the answer with what is expected."""
        expected, answer = subject.expected, subject.answer
        if expected is None:
            return None
        if isinstance(expected, str) and not isinstance(answer.data, str):
            same = answer.data is None and _plain(answer.text) == _plain(expected)
            shown: Any = answer.text if answer.data is None else answer.data
        else:
            try:
                shown = data_of(answer)
            except NoData as error:
                return rejects(str(error))
            same = same_json(shown, expected)
        return accepts() if same else rejects(f"it is {quoted(shown)}, not {quoted(expected)}")


def same_json(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same_json(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
