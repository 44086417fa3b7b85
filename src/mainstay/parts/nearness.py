"""Do two questions ask the same, so that the answer to the one may be given to the other? The seam `Nearness`.

First, what may never differ is compared: numbers, dates, units and codes, negation, opposites, names and words of one kind (days,
countries, currencies, …), the order of those, what is asked for (`who`, `how many`), and the language. Where one of them differs
the two are not the same, whatever else they share. A logistic regression then says of the rest how probably they ask the same: by
the words that stand in one of them alone and how rare those are, by what they share, by its order, and by the likeness of their
vectors where there are any. The weights, with the card that says what they were fitted on, lie in `weights/near.json`;
`bench/quality/near.py` fits them.

Limits: it compares spellings. A synonym is another word to it, and so is a name in lower case; lists of kinds and of question
words are English, German, French and Spanish. It was fitted on English.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from msgspec import Struct

from mainstay.core import learned
from mainstay.core.languages import folded, guess
from mainstay.core.near import Likely, NearCard
from mainstay.parts import alignment
from mainstay.parts.facts import Fact, facts
from mainstay.parts.matching import FAINT, NEARLY, OPPOSITES, Word, denies, words_of
from mainstay.parts.units import CURRENCIES, DAYS, MONTHS, SHORT_MONTHS

READ = 4096  # questions that are remembered as they were read
ALIKE = 4  # letters that two words have to begin with alike to be forms of one
BESIDE = 2  # telling words before a word of direction, one of which it may lead from
GRAM = 3  # letters of the runs that are compared
_LETTERS, _WORDS = re.compile(r"\w+"), re.compile(r"\w+(?:'\w+)?")
_SPACES = re.compile(r"\s+")
_SIGNS = re.compile(r"[^\w\s.,;:!?¿¡'\"“”‘’„«»()\[\]…–—。、？！，`/&-]")  # `C++` and `C#` are two languages
_PICTURE = "So"  # the category of emoji and the like, which may be left out, but not exchanged
_NO_MONEY = frozenset("try real won rand sterling crowns livre livres libra libras".split())  # which are other words too


def _months() -> str:
    """The months, the names of one joined."""
    names = [[name for name, n in MONTHS.items() if n == number and name not in SHORT_MONTHS] for number in range(1, 13)]
    return " ".join(map("/".join, names))


_KINDS = (  # words of one kind, of which one never stands for another; forms of one thing are joined by `/`
    " ".join(sorted(DAYS)),
    _months(),
    "today heute aujourd'hui hoy tomorrow morgen demain mañana yesterday gestern hier ayer tonight",
    "morning afternoon evening night noon midnight spring summer autumn/fall winter",
    "minute hour day week month quarter year decade daily weekly monthly yearly/annually",
    "red blue green yellow black white orange purple pink brown grey/gray silver gold",
    "english german french spanish italian portuguese dutch polish russian chinese japanese korean arabic hindi turkish swedish",
    """usa/america/american uk/britain/british/england germany france spain italy portugal netherlands poland russia/russian china
    japan korea india/indian turkey sweden/swedish norway denmark finland austria switzerland/swiss belgium ireland/irish greece
    canada/canadian mexico/mexican brazil argentina chile australia/australian pakistan israel egypt iran iraq ukraine africa asia
    europe/european""",
    "london paris berlin madrid rome vienna zurich tokyo beijing delhi mumbai sydney toronto chicago boston dallas seattle",
    "visa mastercard amex/american-express paypal maestro sepa swift debit credit prepaid virtual physical",
    "windows mac/macos linux android ios/iphone ipad chrome firefox safari java python javascript ruby rust php",
    "facebook instagram whatsapp twitter snapchat youtube google amazon microsoft apple samsung netflix",
    "father mother son daughter brother sister husband wife grandfather grandmother uncle aunt boy girl",
    "north south east west",
    "bachelor master phd kindergarten primary secondary undergraduate postgraduate",
    "breakfast lunch dinner",
    "email/e-mail phone/telephone sms letter fax",
)  # fmt: skip
_ASKING = {  # what a question asks for, by the words that it begins with
    "who": "who whom whose wer wen wem wessen qui quién quien",
    "when": "when wann quand cuándo cuando",
    "where": "where wo wohin woher où dónde donde",
    "why": "why warum weshalb wieso pourquoi",
    "how": "how wie comment cómo como",
    "which": "what what's whats which welche welcher welches welchen was quel quelle quels quelles qué cuál cual",
    "whether": "is are was were am do does did can could should would will has have may must isn't aren't don't doesn't can't",
}
_WAY = re.compile(
    r"\b(?:what|which|is there|are there|any)\b(?: \w+){0,4} (?:ways?|steps|methods?|process|procedure) (?:to|of|for)\b"
)
_FIGURE = re.compile(
    r"\bhow (long|many|much|often|far|old|big|fast|soon|tall|high|hot)\b|\bwie (lange|viele?|oft|weit|alt|groß|schnell|hoch)\b"
    r"|\b(combien|cuánt[oa]s?|cuanto)\b"
)
_ASKED_BY = {word: kind for kind, words in _ASKING.items() for word in words.split()}
_APART = frozenset({"who", "when", "where", "why"})  # none of these asks for what another kind of question asks for
_LACKING = frozenset(  # what says "not" or "without" in another way
    """absence lack lacks lacking except excluding avoid avoids avoided avoiding prevent prevents prevented preventing unable
    impossible non mangels außer ausgenommen vermeiden verhindern unmöglich absence éviter sauf hormis impossible
    ausencia evitar excepto salvo imposible""".split()
)
_OPENS = 3  # words among which the one is that asks
_PERSONS = frozenset("my your his her their our its he she they him them mein dein ihr mon votre leur mi tu su".split())
_DIRECTED = {
    "en": frozenset("from to into than over against".split()),
    "": frozenset("from to into than over against von nach zu als gegen de à que a desde hasta contra".split()),
}


def _kinds() -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for number, line in enumerate((*_KINDS, " ".join("/".join(names) for names in _currencies()))):
        for member, forms in enumerate(line.split()):
            for form in forms.split("/"):
                found.setdefault(folded(form), (number, member))
    return found


def _kind_of(written: str) -> tuple[int, int] | None:
    """Of which kind a word is, and which one: by its spelling or its plural, because stems mistake `even` for `evening`. Short
    names of days are other words too where they are not written as names.
    """
    word = folded(written).replace("’", "'").removesuffix("'s")
    kind = _KIND.get(word) or (_KIND.get(word[:-1]) if len(word) > ALIKE and word[-1] == "s" else None)
    return None if kind is not None and len(word) < ALIKE and word in DAYS and written.islower() else kind


def _currencies() -> Iterator[list[str]]:
    for code, names in CURRENCIES.items():
        yield [form for form in (code, *names.split()) if len(form) > 2 and form.isalpha() and form.lower() not in _NO_MONEY]


_KIND = _kinds()


class Turn(NamedTuple):
    """A word of direction, the telling word that it leads to, and those just before it: `EUR to USD`."""

    towards: str
    goal: str
    before: frozenset[str]


class Question(NamedTuple):
    """A question as it was read. `weights` are those of its telling words by their stems, in their order; `names` are those that
    are written as names, `kinds` those that belong to a kind. `turns` are its words of direction,
    `persons` its words such as `my`.
    """

    weights: Mapping[str, float]
    names: frozenset[str]
    kinds: tuple[tuple[int, int], ...]
    persons: frozenset[str]
    turns: tuple[Turn, ...]
    signs: tuple[str, ...]
    pictures: frozenset[str]
    facts: tuple[Fact, ...]
    denied: int
    asks: str
    figure: str
    language: str
    runs: frozenset[str]


class Regression(Struct, frozen=True, kw_only=True):
    """A weight for each feature by its name, and what is there without any."""

    bias: float
    weights: dict[str, float]

    def probability(self, features: Mapping[str, float]) -> float:
        """Of asking the same."""
        total = self.bias
        for name, weight in self.weights.items():
            total += weight * features[name]
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


class Weights(Struct, frozen=True, kw_only=True):
    """What is fitted: for words alone, and for words and vectors."""

    card: NearCard
    words: Regression
    vectors: Regression


class Nearness:
    """The verifier. One copy serves a process; any thread may ask it."""

    def __init__(self, weights: Weights | None = None, *, remembers: int = READ) -> None:
        self.weights = weights or shipped()
        self._weigh = alignment.weigher(alignment.shipped().common)
        self.read = functools.lru_cache(remembers)(self._read)

    @property
    def name(self) -> str:
        """Tells one set of weights from another: a threshold belongs to the weights that it was fitted for."""
        return self.weights.card.name

    def terms(self, text: str) -> Mapping[str, float]:
        """The telling words of a question by their stems, each with how much it counts: by these candidates are found."""
        return self.read(text).weights

    def same(self, asked: str, kept: str, likeness: float | None = None) -> Likely:
        """How probably the two ask the same, and why they certainly do not. `likeness` is the cosine of their vectors."""
        one, other = self.read(asked), self.read(kept)
        why = refusal(one, other)
        if why:
            return Likely(0.0, why)
        features = compared(one, other)
        if likeness is None:
            return Likely(self.weights.words.probability(features))
        return Likely(self.weights.vectors.probability(with_vectors(features, likeness)))

    def _read(self, text: str) -> Question:
        plain = _SPACES.sub(" ", text.strip())
        found = words_of(plain)
        written = [word for word in found if word.kind != "number"]
        titled = sum(plain[word.start].isupper() for word in written) * 2 > len(written) + 1
        language = guess(plain)
        weights: dict[str, float] = {}
        kinds = []
        for word in found:
            kind = _kind_of(plain[word.start : word.end])
            if kind is not None:
                kinds.append(kind)
            if word.kind != "number" and (word.kind != "small" or kind is not None):
                weights[word.key] = max(weights.get(word.key, 0.0), self._weigh(word.key))
        lower = plain.casefold().replace("’", "'")
        figure = _FIGURE.search(lower)
        said = _WORDS.findall(lower)
        opens = next((_ASKED_BY[word] for word in said[:_OPENS] if word in _ASKED_BY), "")
        words, signs = frozenset(said), _SIGNS.findall(plain)
        letters = " ".join(_LETTERS.findall(folded(plain)))
        return Question(
            weights=weights,
            names=frozenset() if titled or language == "de" else frozenset(w.key for w in found if w.kind == "name"),
            kinds=tuple(kinds),
            persons=words & _PERSONS,
            signs=tuple([sign for sign in signs if unicodedata.category(sign) != _PICTURE]),
            pictures=frozenset([sign for sign in signs if unicodedata.category(sign) == _PICTURE]),
            turns=_turns(plain, found, _DIRECTED.get(language, _DIRECTED[""])),
            facts=tuple(facts(plain, language=lambda: "en" if language == "en" else "")),  # `once` is eleven in Spanish
            denied=sum(denies(word.key) or plain[word.start : word.end].casefold() in _LACKING for word in found),
            asks="how" if opens in ("which", "whether", "how") and _WAY.search(lower) else opens,
            figure="" if figure is None else figure[0].split()[-1],
            language=language,
            runs=frozenset([letters[i : i + GRAM] for i in range(max(1, len(letters) - GRAM + 1))]),
        )


def _turns(plain: str, found: Sequence[Word], directed: frozenset[str]) -> tuple[Turn, ...]:
    """Each word of direction with the telling word that it leads to, and those that stand just before it."""
    turns, before, towards = [], list[str](), ""
    for word in found:
        written = plain[word.start : word.end].casefold()
        if written in directed:
            towards = written
        elif word.kind in ("word", "name"):
            if towards:
                turns.append(Turn(towards, word.key, frozenset(before[-BESIDE:])))
            before.append(word.key)
            towards = ""
    return tuple(turns)


def refusal(one: Question, other: Question) -> str:
    """Why these certainly do not ask the same; empty where nothing says so."""
    return next(_differences(one, other), "")


def _differences(one: Question, other: Question) -> Iterator[str]:
    """What differs that may never differ, the cheapest to find first."""
    if one.language != other.language and one.language and other.language:
        yield "language"
    if not _same_facts(one.facts, other.facts):
        yield "number"
    if one.signs != other.signs or (one.pictures - other.pictures and other.pictures - one.pictures):
        yield "sign"
    if bool(one.denied) != bool(other.denied):
        yield "negation"
    if one.figure != other.figure or (one.asks != other.asks and one.asks and other.asks and {one.asks, other.asks} & _APART):
        yield "asked for"
    if sorted(one.kinds) != sorted(other.kinds) or not _same_order(one.kinds, other.kinds):
        yield "kind"
    left, right = _unmatched(one, other), _unmatched(other, one)
    if one.denied != other.denied and not (left and right):  # a second "not"; who says it otherwise may need more or fewer
        yield "negation"
    if any(not right.isdisjoint(OPPOSITES.get(key, ())) for key in left):
        yield "opposite"
    if not left.isdisjoint(one.names) or not right.isdisjoint(other.names):
        yield "name"
    if _turned_round(one, other):
        yield "order"


def _same_order(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> bool:
    """Whether the words of each kind stand in one order."""
    return all([k for k in one if k[0] == n] == [k for k in other if k[0] == n] for n in {kind for kind, _ in one})


def _turned_round(one: Question, other: Question) -> bool:
    """Whether a word of direction leads from one thing to another here, and from that to the first one there."""
    return any(
        here.towards == there.towards and here.goal != there.goal and here.goal in there.before and there.goal in here.before
        for here, there in product(one.turns, other.turns)
    )


def _same_facts(one: Sequence[Fact], other: Sequence[Fact]) -> bool:
    """Whether the same numbers, dates and codes stand in both, in one order."""
    return len(one) == len(other) and all(not a.keys.isdisjoint(b.keys) for a, b in zip(one, other, strict=True))


def _unmatched(one: Question, other: Question) -> set[str]:
    """The telling words that stand in the one alone, in no form."""
    return {key for key in one.weights if key not in other.weights and not any(_forms(key, k) for k in other.weights)}


@functools.lru_cache(1 << 14)
def _forms(one: str, other: str) -> bool:
    """Whether two stems are probably forms of one word, or one is a slip of the other."""
    if len(one) < ALIKE or len(other) < ALIKE or one[0] == "#" or other[0] == "#" or one[0] != other[0]:
        return False
    n = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    longer = max(len(one), len(other))
    if n >= ALIKE and n >= NEARLY * longer and min(len(one), len(other)) - n <= 2:
        return True
    return longer >= 6 and abs(len(one) - len(other)) <= 1 and _one_slip(one, other)


def _one_slip(one: str, other: str) -> bool:
    """Whether one letter was missed, added, changed, or two were exchanged."""
    if len(one) > len(other):
        one, other = other, one
    n = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) == len(other):
        return one[n + 1 :] == other[n + 1 :] or (one[n : n + 2] == other[n : n + 2][::-1] and one[n + 2 :] == other[n + 2 :])
    return one[n:] == other[n + 1 :]


def compared(one: Question, other: Question) -> dict[str, float]:
    """What tells how probably two questions ask the same. The same whichever comes first."""
    left, right = _unmatched(one, other), _unmatched(other, one)
    shared = sum([weight for key, weight in one.weights.items() if key not in left])
    most = max(sum(one.weights.values()), sum(other.weights.values()))
    sizes = len(one.runs) + len(other.runs)
    return {
        "none lost": float(not left and not right),
        "covered": min(1.0, shared / (most + FAINT)),
        "runs": 2 * len(one.runs & other.runs) / sizes if sizes else 0.0,
        "persons": float(bool(one.persons - other.persons) and bool(other.persons - one.persons)),
        "asks": float(one.asks != other.asks and bool(one.asks) and bool(other.asks)),
    }


def with_vectors(features: Mapping[str, float], likeness: float) -> dict[str, float]:
    """The features, and the likeness of the vectors."""
    return {**features, "likeness": likeness}


@functools.cache
def shared() -> Nearness:
    """The one verifier of a process."""
    return Nearness()


@functools.cache
def shipped() -> Weights:
    """The weights that Mainstay ships."""
    return learned.shipped("near", Weights)
