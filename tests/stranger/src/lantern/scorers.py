"""A scorer with an option and an expectation of its own."""

from typing import Any

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject


class Polite:
    """The answer is polite: it holds one of these words, or the one that the case expects."""

    def __init__(self, *, words: tuple[str, ...] = ("please", "thank")) -> None:
        self._words = tuple(words)

    def check_expected(self, expected: Any) -> None:
        if expected is not True and not isinstance(expected, str):
            raise ValueError('expected `true` or a word, such as "gladly"')

    async def score(self, subject: Subject) -> Opinion | None:
        words = (subject.expected,) if isinstance(subject.expected, str) else self._words
        text = subject.answer.shown.casefold()
        return accepts() if any(word in text for word in words) else rejects(f"it holds none of {', '.join(words)}")
