"""What the scorers read: an answer as text or as data, what a case expects of it, and how both are said in a reason."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.reasons import Status
from mainstay.core.seams import Subject

LONGEST = 80  # characters of a value in a reason


class NoData(ValueError):
    """The answer holds no data."""


def folded(text: str, *, case: bool = False) -> str:
    """The text with each stretch of white space as one space, letters in one composition, and without regard to case unless it
    counts."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text if case else unicodedata.normalize("NFC", text.casefold())


def data_of(answer: Answer) -> Any:
    """The answer's data; of a free text what it holds as JSON, read strictly. Raises `NoData` where it is none."""
    if answer.data is not None:
        return answer.data
    try:
        return msgspec.json.decode(answer.text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise NoData("the answer holds no data, and its text is not JSON") from None


def refused(answer: Answer) -> bool:
    """Whether the feature said that it will not answer."""
    return answer.status is Status.REFUSED


def language_of(subject: Subject) -> str:
    """The language that the case or the call declares, such as `de-CH`; empty where neither does."""
    case = subject.case
    return (case and (case.language or case.locale)) or subject.record.begun.call.locale or ""


def texts(expected: Any, example: str) -> tuple[str, ...]:
    """A text, or several of them. Raises `ValueError` with the example of what to write."""
    several = (expected,) if isinstance(expected, str) else expected
    if isinstance(several, list | tuple) and several and all(isinstance(text, str) and text.strip() for text in several):
        return tuple(several)
    raise ValueError(f"expected a text or a list of texts, such as {example}, got {quoted(expected)}")


def only_true(expected: Any) -> None:
    """Raises `ValueError` unless the expectation is `true`: there is nothing to compare with."""
    if expected is not True:
        raise ValueError(
            f'expected `true`, because there is nothing to compare with (before the name, "not-" inverts), got {quoted(expected)}'
        )


def quoted(value: Any) -> str:
    """A value as a reason shows it: as JSON, on one line, cut where it is long, and always possible to write."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
