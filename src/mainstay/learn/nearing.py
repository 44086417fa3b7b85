"""From which probability on may a near question be given an answer? Measured on a feature's own questions.

A cache is filled with the questions of cases and of live calls, and asked. Three kinds of questions are asked of it. A case is
asked while the others are there: a hit is right where both cases expect the same, as far as they say what. A question in other
words (case, punctuation, a slip, a polite beginning) is to find itself. A question that was made another one (a number, a name, a
word exchanged, a "not") is to find nothing. Near hits of live calls that users or the comparison beside judged count as well.

The threshold is the lowest of a few at which the wrong-hit rate is below the target with 95 % confidence, for all of them at once
(Bonferroni), so that choosing among them is no luck.

What it does not know: how often users ask nearly the same. The share of hits that is answered anew (`learn/doubting.py`) tells.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mainstay.core.case import Case
from mainstay.core.feature import Feature
from mainstay.core.languages import guess
from mainstay.core.near import NearFile, Question
from mainstay.core.reasons import Status
from mainstay.core.record import Record, Score
from mainstay.core.seams import Embedder, Nearness
from mainstay.core.texts import texts_in
from mainstay.learn.doubting import was_wrong
from mainstay.learn.statistics import at_most
from mainstay.serve.nearing import Nearby

GRID = (0.4, 0.6, 0.7, 0.8)  # thresholds that are tried
CONFIDENCE = 0.95
MOST = 3_000  # questions
_WORD = re.compile(r"[^\W\d_]{4,}")
_DIGITS = re.compile(r"\d+")
_NOT = {"en": "not", "de": "nicht", "fr": "pas", "es": "no", "it": "non", "nl": "niet", "pt": "não"}
_PLEASE = {"en": "Please: ", "de": "Bitte: ", "fr": "S'il vous plaît : ", "es": "Por favor: ", "it": "Per favore: "}


class Asked(NamedTuple):
    """A question, who may be given its answer (`group`), and what is expected of that; empty where nobody has said."""

    text: str
    group: str
    expected: str = ""


class Trial(NamedTuple):
    """A question that was asked of the cache: the probability of the likeliest hit, whether that is wrong, and what was asked."""

    probability: float
    wrong: bool
    kind: str


# What there is to ask


def of_case(case: Case, feature: Feature) -> Asked | None:
    """The question of a case; None where a call like it is never given a near one's answer."""
    text = question(case.input, feature)
    if text is None or case.history:
        return None
    group = (case.tenant, case.roles, case.locale, case.slots, case.passages, _rest(case.input, text[0]))
    said = case.expect if any(texts_in(case.expect)) else {}
    return Asked(text[1], _digest(group), _digest(said) if said else "")


def of_record(record: Record, feature: Feature) -> Asked | None:
    """The question of a live call that was answered."""
    call = record.begun.call
    text = question(call.input, feature)
    if text is None or call.history or record.outcome.answer.status not in (Status.ANSWERED, Status.CACHED):
        return None
    return Asked(text[1], _digest((call.tenant, call.roles, call.locale, _rest(call.input, text[0]))))


def question(input: Mapping[str, Any], feature: Feature) -> tuple[str, str] | None:
    """The one text of an input, with its field; None where there is none or several."""
    texts = [(name, value) for name, value in input.items() if isinstance(value, str) and value and name not in feature.images]
    if len(texts) != 1 or len([text for text in texts_in(input) if text]) != 1:
        return None
    return texts[0]


def _rest(input: Mapping[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in input.items() if name != field}


def _digest(value: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(value, order="deterministic", enc_hook=str), digest_size=12).hexdigest()


def judged(record: Record, scores: Iterable[Score]) -> Trial | None:
    """A live near hit, right or wrong as the comparison beside and users say; None where nobody has said anything."""
    recalled, wrong = record.outcome.recalled, was_wrong(record, scores)
    return None if recalled is None or recalled.near is None or wrong is None else Trial(recalled.near, wrong, "live")


# Other words, and other questions


def reworded(text: str) -> str:
    """The same question in other words, as users write it."""
    kind = _dice(text, "reworded") % 4
    words = _WORD.findall(text)
    if kind == 0 or (kind == 3 and not words):
        return text.lower() if text != text.lower() else text.capitalize()
    if kind == 1:
        bare = text.strip().rstrip("?!.。？！").rstrip()
        return bare if bare != text.strip() else f"{bare}?"
    if kind == 2:
        return _PLEASE.get(guess(text), "") + text if guess(text) in _PLEASE else f"  {text} !"
    word = max(words, key=len)
    at = len(word) // 2
    return text.replace(word, word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :], 1)


def another(text: str, others: Sequence[str]) -> str | None:
    """A question that is another one, and nearly the same in its words; None where nothing can be exchanged."""
    made = list(_others(text, others))
    return made[_dice(text, "another") % len(made)] if made else None


def _others(text: str, others: Sequence[str]) -> Iterator[str]:
    digits = list(_DIGITS.finditer(text))
    if digits:
        at = digits[_dice(text) % len(digits)]
        yield f"{text[: at.start()]}{int(at[0][:9]) + 1 + _dice(text) % 7}{text[at.end() :]}"
    if guess(text) in _NOT:
        words = text.split()
        yield " ".join([*words[:2], _NOT[guess(text)], *words[2:]])
    words, strange = _WORD.findall(text), [w for other in others for w in _WORD.findall(other) if w.lower() not in text.lower()]
    if words and strange:
        yield re.sub(rf"\b{re.escape(words[_dice(text) % len(words)])}\b", strange[_dice(text, "strange") % len(strange)], text)


def _dice(*parts: str) -> int:
    return int(hashlib.sha256("|".join(parts).encode("utf-8", "replace")).hexdigest()[:8], 16)


# Asking


class _Cache:
    """The questions of one group, asked as they are served."""

    def __init__(self, some: Sequence[Asked], verifier: Nearness, vectors: Mapping[str, Sequence[float]]) -> None:
        self._asked = {f"{i}".encode(): one for i, one in enumerate(some)}
        self._nearby, self._verifier, self._vectors = Nearby(verifier), verifier, vectors
        for key, one in self._asked.items():
            vector = vectors.get(one.text)
            self._nearby.put(key, Question(partition=b"", text=one.text, vector=None if vector is None else tuple(vector)))

    def likeliest(self, text: str, *, but: str | None = None) -> tuple[float, Asked | None]:
        """The likeliest hit, where the question `but` was not there."""
        for probability, key in self._nearby.likeliest(b"", text, self._vectors.get(text)):
            if self._asked[key].text != but:
                return probability, self._asked[key]
        return 0.0, None


def texts_to_ask(some: Sequence[Asked]) -> list[tuple[str, Asked, str]]:
    """Everything that is asked: the kind, the question that it was made of, and the text."""
    groups = _groups(some)
    found = [("case", one, one.text) for one in some if one.expected]
    for group in groups.values():
        texts = [one.text for one in group]
        for i, one in enumerate(group):
            found.append(("reworded", one, reworded(one.text)))
            strangers = [texts[_dice(one.text, str(n)) % len(texts)] for n in range(3)]
            other = another(one.text, [t for t in strangers if t != texts[i]])
            if other is not None and other not in texts:
                found.append(("another", one, other))
    return found


def tried(some: Sequence[Asked], verifier: Nearness, vectors: Mapping[str, Sequence[float]]) -> list[Trial]:
    """Every question asked of the cache that holds those of its group."""
    caches = {name: _Cache(group, verifier, vectors) for name, group in _groups(some).items()}
    found = []
    for kind, one, text in texts_to_ask(some):
        probability, hit = caches[one.group].likeliest(text, but=one.text if kind == "case" else None)
        if hit is None or (kind == "case" and not hit.expected):
            found.append(Trial(0.0, False, kind))
        elif kind == "reworded":
            same = hit.text == one.text or bool(one.expected and hit.expected == one.expected)
            found.append(Trial(probability, not same, kind))
        else:
            found.append(Trial(probability, kind == "another" or hit.expected != one.expected, kind))
    return found


def _groups(some: Sequence[Asked]) -> dict[str, list[Asked]]:
    groups: defaultdict[str, dict[str, Asked]] = defaultdict(dict)
    for one in some:
        known = groups[one.group].get(one.text)
        if known is None or not known.expected:
            groups[one.group][one.text] = one
    return {name: list(texts.values()) for name, texts in groups.items()}


def fit(trials: Sequence[Trial], *, date: str, verifier: str, embedder: str, target: float) -> NearFile:
    """The lowest threshold that keeps to the target; the one that comes nearest to it where none does."""
    sure = 1 - (1 - CONFIDENCE) / len(GRID)
    counted = Counter(trial.kind for trial in trials)
    best: NearFile | None = None
    for threshold in GRID:
        hits = [trial for trial in trials if trial.probability >= threshold]
        wrong = sum(trial.wrong for trial in hits)
        found = NearFile(
            fitted=date,
            verifier=verifier,
            embedder=embedder,
            target=target,
            threshold=threshold,
            upper=round(at_most(wrong, len(hits), sure), 6),
            asked=len(trials),
            hits=len(hits),
            wrong=wrong,
            sources=dict(sorted(counted.items())),
        )
        if found.upper <= target:
            return found
        best = found if best is None or found.upper < best.upper else best
    assert best is not None  # noqa: S101
    return best


def needed(target: float) -> int:
    """How many hits without a single wrong one show that few enough are."""
    n = 1
    while at_most(0, n, 1 - (1 - CONFIDENCE) / len(GRID)) > target:
        n = max(n + 1, int(n * 1.02))
    return n


async def embedded(texts: Iterable[str], embedder: Embedder, *, at_once: int = 64) -> dict[str, Sequence[float]]:
    """The vector of each text."""
    unique = list(dict.fromkeys(texts))
    found: dict[str, Sequence[float]] = {}
    for start in range(0, len(unique), at_once):
        some = unique[start : start + at_once]
        found.update(zip(some, await embedder.embed(some), strict=True))
    return found
