"""A follow-up question made whole, from what was said before it, by a rule and without a model.

"And for businesses?" says little by itself. A question is taken for a follow-up where it refers back (a pronoun, or an opening
such as "and" or "what about") and says little that is new, or says nothing at all ("How much?"). Then the telling words of the
question before it, itself made whole, and the names in the last answer, are added behind it; what it says itself stays first.

Limits: a question that refers back only in its meaning is searched for as it stands; and a new subject that is asked for in
two words and with a pronoun is taken for the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

from mainstay.core.call import Turn
from mainstay.core.languages import folded, guess, refers_back, telling_words
from mainstay.core.later import pattern

FEW = 4  # telling words that a question has at most which refers back
TOGETHER, FEW_TOGETHER = ("zh", "ja", "ko", "th"), 12  # where words are not set apart: characters
MOST = 12  # words that are added
NAMES = 4  # of the last answer
_NAME = pattern(r"(?<![.!?:\n]\s)(?<!^)\b[A-Z][\w-]*(?:\s+[A-Z0-9][\w-]*)*")


def whole(question: str, history: Sequence[Turn]) -> str:
    """The question as it is searched for."""
    if not history:
        return question
    turns = [turn for turn in history if turn.text.strip()]
    earlier = [turn.text for turn in turns if turn.role == "user"]
    before = ""
    for text in earlier:
        before = _completed(text, before, "")
    answer = turns[-1].text if turns and turns[-1].role == "assistant" else ""
    return _completed(question, before, answer)


def _completed(question: str, before: str, answer: str) -> str:
    if not before:
        return question
    language = guess(question) or guess(before)
    own = telling_words(question, language)
    if not _leans(question, own, language):
        return question
    said = {folded(word) for word in own}
    found = [word for word in telling_words(before, language) if folded(word) not in said][:MOST]
    named = [] if language == "de" else _NAME.findall(answer.partition("\n")[0])  # German writes every noun so
    names = [name for name in named if folded(name) not in folded(before)][:NAMES]
    return " ".join([question, *dict.fromkeys([*found, *names])])


def _leans(question: str, own: Sequence[str], language: str) -> bool:
    """Whether the question does not stand by itself."""
    length, few = (sum(map(len, own)), FEW_TOGETHER) if language in TOGETHER else (len(own), FEW)
    return length == 0 or (length <= few and refers_back(question, language))
