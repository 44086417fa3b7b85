"""What of a sentence stands in evidence, and how: the word-by-word comparison under `parts/alignment.py`.

Evidence is read once, into sentences of stems with their places; a claim is then compared with it word by word. A number is the
same however it is written, a word whatever its ending; scripts without spaces are compared by pairs of characters.

Limits: it compares spellings, not meanings. Word lists (negations, opposites, degrees, number words) are English, German, French
and Spanish; the stemming of endings is light, and made for English.
"""

from __future__ import annotations

import copy
import functools
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from mainstay.core.later import pattern
from mainstay.core.words import telling
from mainstay.parts.numerals import numerals

NEAR, NEARLY = 4, 0.6  # letters that two words have to begin with alike, and the share of the longer one that is alike
WINDOW = 3  # sentences in a row that may bear a claim together
FAINT = 0.1  # the weight of a word that says nothing about a subject
TOGETHER, ADDS = 2, 0.4  # passages that may bear a claim together, and the least weight that the second has to add
FAR = 1000  # places

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORDS = rf"[{_UNSPACED}]+|\d+(?:[.,'’]\d+)*|(?:(?![{_UNSPACED}])[^\W\d_])+(?:['’](?:(?![{_UNSPACED}])[^\W\d_])+)*"
_ENDS = r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？।]|\n"
_WRITTEN, _END = pattern(_WORDS), pattern(_ENDS)
_SPACED = pattern(r"\d+(?:[.,'’]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")  # the same where no such script is, and much faster
_TOKEN = pattern(rf"{_WORDS}|({_ENDS})|([,;:–—()“”\"])")
_SCRIPT = pattern(f"[{_UNSPACED}]")
_MARK = pattern(r"\[\d{1,3}\]")

_COUNTED = {
    word: str(number)
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve",  # en
        "null _ zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",  # de
        "_ _ deux trois quatre cinq six sept huit neuf dix onze douze",  # fr
        "cero _ dos tres cuatro cinco seis siete ocho nueve diez once doce",  # es
    )
    for number, word in enumerate(words.split())
    if word not in ("_", "one")
} | {
    word: str(10 * number)
    for words in (
        "_ _ twenty thirty forty fifty sixty seventy eighty ninety hundred",
        "_ _ zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert",
        "_ _ vingt trente quarante cinquante soixante _ _ _ cent",
        "_ _ veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa cien",
    )
    for number, word in enumerate(words.split())
    if word != "_"
}
_SMALL = frozenset(  # words that say nothing about a subject; the English ones are core's
    """der die das den dem des ein eine einer einem einen und oder ist sind war waren wird werden im in am an auf aus bei mit nach
    von vom zu zum zur für über als auch es sie er wir ihr sich dass man wie so durch um bis
    le la les un une des du de et ou est sont était au aux en dans par pour sur avec ce cette ces il elle ils elles on nous
    vous se sa son ses leur qui que
    el los las una unos unas del y o es son era al por para con su sus se que lo como""".split()
)
NEGATIONS = frozenset(
    """not no never none nobody nothing neither nor without cannot nicht kein keine keinen keinem keiner nie niemals niemand
    nichts ohne ne pas jamais aucun aucune sans rien nunca ningún ningun ninguno ninguna sin nada jamás jamas tampoco""".split()
)
DEGREES = frozenset(
    """only first last all every always most best largest smallest highest lowest biggest greatest least entire whole exactly both
    nur erste ersten letzte letzten alle alles immer meisten beste besten größte größten höchste
    seul seule seulement premier première dernier dernière tous toutes toujours meilleur meilleure
    solo sólo primero primera último última todos todas siempre mejor mayor""".split()
)
_PAIRS = """more/less before/after first/last open/close opened/closed allow/forbid allowed/forbidden free/paid win/lose won/lost
    north/south east/west northern/southern eastern/western he/she his/her male/female man/woman increase/decrease
    increased/decreased above/below minimum/maximum least/most up/down accept/reject accepted/rejected include/exclude
    included/excluded start/end begin/end always/never required/optional day/night weekday/weekend rise/fall rose/fell
    earlier/later former/latter high/low higher/lower inside/outside old/new buy/sell enable/disable enabled/disabled
    with/without born/died father/mother son/daughter brother/sister king/queen
    vor/nach mehr/weniger erste/letzte offen/geschlossen kostenlos/kostenpflichtig immer/nie mit/ohne
    avant/après plus/moins premier/dernier ouvert/fermé toujours/jamais avec/sans
    antes/después más/menos primero/último abierto/cerrado siempre/nunca con/sin"""
_JOINS = frozenset(  # where a new clause begins
    """and but which who whom whose while where when after before because although though whereas including
    und aber der die das während wobei weil obwohl sowie et mais qui que dont où y pero que donde mientras""".split()
)


def denies(key: str) -> bool:
    """Whether the word of that stem denies something: `not`, `couldn't`, `kein`."""
    return key in NEGATIONS or key.endswith("n't")


class Word(NamedTuple):
    """A word of a claim: how it is compared, and its place in the claim's text."""

    key: str
    start: int
    end: int
    kind: str  # "word", "number", "name", "small"
    clause: int


class Ground:
    """Evidence as it is compared with claims. Made of passages, each a text with its headings.

    `places` are the places of each stem, counted through all passages; `sentence` gives the sentence of a place, `passage` the
    passage of a sentence, `starts` where a sentence begins in its passage's text. `negated` are the sentences that deny
    something.
    """

    def __init__(self, passages: Iterable[tuple[str, str]]) -> None:
        self.places: defaultdict[str, list[int]] = defaultdict(list)
        self.sentence: list[int] = []
        self.passage: list[int] = []
        self.starts: list[int] = []
        self.negated: set[int] = set()
        self.titles: list[frozenset[str]] = []
        for number, (heading, text) in enumerate(passages):
            self.titles.append(
                frozenset([key for match in _TOKEN.finditer(heading) if match.lastindex is None for key in keys(match[0])])
            )
            self._read(number, text)
        self._near: dict[str, list[str]] = {}
        for key, places in self.places.items():
            if denies(key):
                self.negated.update([self.sentence[place] for place in places])
            if len(key) >= NEAR:
                self._near.setdefault(key[:NEAR], []).append(key)

    def _read(self, number: int, text: str) -> None:
        written = _WRITTEN if _SCRIPT.search(text) else _SPACED
        begin, flat = 0, list[str]()
        first = len(self.sentence)
        for end in (*(match.end() for match in _END.finditer(text)), len(text)):
            found = written.findall(text, begin, end)
            if found:
                before = len(flat)
                flat.extend(chain.from_iterable(map(keys, found)))
                self.sentence.extend([len(self.passage)] * (len(flat) - before))
                self.passage.append(number)
                self.starts.append(text.index(found[0], begin))
            begin = end
        places = self.places
        for place, key in enumerate(flat, first):
            places[key].append(place)

    def also(self, text: str) -> Ground:
        """This evidence with a passage more, for a fraction of what reading it anew would cost."""
        other, whole = Ground([("", text)]), copy.copy(self)
        places, rows = len(self.sentence), len(self.passage)
        whole.places, whole._near = self.places.copy(), self._near.copy()
        for key, own in other.places.items():
            if key not in self.places and len(key) >= NEAR:
                whole._near[key[:NEAR]] = [*whole._near.get(key[:NEAR], ()), key]
            whole.places[key] = [*self.places.get(key, ()), *(place + places for place in own)]
        whole.sentence = [*self.sentence, *(row + rows for row in other.sentence)]
        whole.passage = [*self.passage, *([len(self.titles)] * len(other.passage))]
        whole.starts = [*self.starts, *other.starts]
        whole.negated = self.negated | {row + rows for row in other.negated}
        whole.titles = [*self.titles, *other.titles]
        return whole

    def near(self, key: str) -> list[str]:
        """The stems of the evidence that are nearly this one: another form of it, or a slip."""
        return [
            other
            for other in self._near.get(key[:NEAR], ())
            if other != key and _alike(key, other) >= NEARLY * max(len(key), len(other))
        ]


def _alike(one: str, other: str) -> int:
    """How many letters two words begin with alike."""
    n = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        n += 1
    return n


@functools.lru_cache(1 << 16)
def keys(word: str) -> tuple[str, ...]:
    """How a token is compared: a word by its stem, a number by its value, a stretch of an unspaced script by its pairs."""
    if word[0].isdigit():
        return (_number(word),)
    if _SCRIPT.match(word):
        return tuple([word[i : i + 2] for i in range(max(1, len(word) - 1))])
    return (stem(word),)


def _number(word: str) -> str:
    found = next(iter(numerals(word)), None)
    return f"#{found.values[0].normalize():f}" if found is not None and found.values else f"#{word}"


@functools.lru_cache(1 << 16)
def stem(word: str) -> str:
    """A word without case, accents and its commonest endings; a number word as its number. A negation is left as it is, and no
    other word becomes one: `note` is not `not`.
    """
    word = word.casefold().replace("’", "'")
    if word in _COUNTED:
        return "#" + _COUNTED[word]
    if word.removesuffix("'s") in NEGATIONS:
        return word.removesuffix("'s")
    found = _stem(word)
    if found not in NEGATIONS:
        return found
    singular = word.removesuffix("s")
    return word if singular in NEGATIONS else singular


def _stem(word: str) -> str:
    if not word.isascii():
        word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c)).casefold()
    word = word.removesuffix("'s").removesuffix("'")
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)] + instead
            break
    return word[:-1] if len(word) > 3 and word[-1] in "ey" else word


_ENDINGS = (
    ("ations", "at"), ("ation", "at"), ("ingly", ""), ("edly", ""), ("ness", ""), ("ments", ""), ("ment", ""),
    ("ings", ""), ("ing", ""), ("ies", "y"), ("ied", "y"), ("ers", ""), ("ed", ""), ("es", ""), ("er", ""), ("ly", ""), ("s", ""),
)  # fmt: skip


def _words(text: str) -> list[str]:
    return [m[0] for m in _TOKEN.finditer(text) if m.lastindex is None]


@functools.lru_cache(1 << 14)
def small(word: str) -> bool:
    """Whether a word says nothing about a subject."""
    lower = word.lower()
    return (lower in _SMALL or not telling(lower)) and lower not in NEGATIONS and lower not in DEGREES


def _opposites() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pair in _PAIRS.split():
        one, other = map(stem, pair.split("/"))
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return found


OPPOSITES = _opposites()


def words_of(text: str) -> list[Word]:
    """The words of a claim, without marks such as `[2]`."""
    text = _MARK.sub(lambda mark: " " * len(mark[0]), text)
    found: list[Word] = []
    clause, begins = 0, True
    for match in _TOKEN.finditer(text):
        if match.lastindex is not None:
            clause += 1
            begins = begins or match.lastindex == 1 or match[0] in '“":'
            continue
        written = match[0]
        if written.lower() in _JOINS:
            clause += 1
        for key in keys(written):
            if key[0] == "#":
                kind = "number"
            elif small(written):
                kind = "small"
            elif written[0].isupper() and (not begins or any(c.isupper() for c in written[1:])):
                kind = "name"
            else:
                kind = "word"
            found.append(Word(key, match.start(), match.end(), kind, clause))
        begins = False
    return found


class Compared:
    """A claim beside evidence: for each of its words the places where it stands in the passages that bear it best.

    `found` is 2 for a word that is there, or in a heading above, 1 for one that nearly is, 0 for one that is not. `best` are the
    passages looked at, the best first; `row` is the sentence of that one that bears most, `window` the words that some
    sentences in a row bear together, as bits. `weigh` says how much a stem counts.
    """

    def __init__(self, claim: str, ground: Ground, weigh: Callable[[str], float]) -> None:
        self.words = words_of(claim)
        self.ground = ground
        self.weights = [FAINT if word.kind == "small" else weigh(word.key) for word in self.words]
        self.total = sum(self.weights) or 1.0
        self._weighed: dict[int, float] = {}
        self.content = [i for i, word in enumerate(self.words) if word.kind != "small"]
        self.order = list(accumulate((word.kind != "small" for word in self.words), initial=0))
        self.found: list[int] = []
        self.places: list[list[int]] = []
        for word in self.words:
            state, places = _look_up(word, ground)
            self.found.append(state)
            self.places.append(places)
        self.rows = self._keep_best(self._rows())
        self.row = max(
            self.rows, key=lambda row: (ground.passage[row] == self.best[0], self.weight(self.rows[row])), default=None
        )
        self.window = self._window()
        self.covered = sum(weight for weight, state in zip(self.weights, self.found, strict=True) if state) / self.total

    def weight(self, mask: int) -> float:
        """The weight of the words whose bits are set."""
        known = self._weighed.get(mask)
        if known is not None:
            return known
        total, weights, left = 0.0, self.weights, mask
        while left:
            low = left & -left
            total += weights[low.bit_length() - 1]
            left ^= low
        self._weighed[mask] = total
        return total

    def _rows(self) -> dict[int, int]:
        """For each sentence the words that stand in it, as bits."""
        rows: dict[int, int] = {}
        sentence = self.ground.sentence
        for i, places in enumerate(self.places):
            bit = 1 << i
            for place in places:
                row = sentence[place]
                rows[row] = rows.get(row, 0) | bit
        return rows

    def _keep_best(self, rows: dict[int, int]) -> dict[int, int]:
        """Forget what stands in other passages than the best one, and the one that adds most to it. Gives the rows of these."""
        ground = self.ground
        masks = [0] * len(ground.titles)
        for row, mask in rows.items():
            masks[ground.passage[row]] |= mask
        for number, title in enumerate(ground.titles):
            if title:
                masks[number] |= sum(1 << i for i, word in enumerate(self.words) if word.key in title)
        self.best: list[int] = []
        covered = 0
        for _ in range(min(TOGETHER, len(masks))):
            weights = [self.weight(mask | covered) for mask in masks]
            number = max(range(len(masks)), key=lambda n: weights[n])
            if self.best and weights[number] < self.weight(covered) + ADDS:
                break
            self.best.append(number)
            covered |= masks[number]
        kept, passage, sentence = set(self.best), ground.passage, ground.sentence
        for i, places in enumerate(self.places):
            if len(masks) > len(kept) and places:
                self.places[i] = [place for place in places if passage[sentence[place]] in kept]
            if not covered >> i & 1:
                self.found[i] = 0
            elif not self.found[i]:
                self.found[i] = 2  # in a heading
        return {row: mask for row, mask in rows.items() if passage[row] in kept}

    def _window(self) -> int:
        rows, passage = self.rows, self.ground.passage
        most, best = -1.0, 0
        for row in rows:
            mask = 0
            for near in range(row, row + WINDOW):
                if near in rows and passage[near] == passage[row]:
                    mask |= rows[near]
            weight = self.weight(mask)
            if weight > most:
                most, best = weight, mask
        return best

    def near_row(self, keys: Iterable[str]) -> bool:
        """Whether any of these stems stands in the sentence that bears most."""
        sentence = self.ground.sentence
        return any(sentence[place] == self.row for key in keys for place in self.ground.places.get(key, ()))

    def beside(self, gaps: Sequence[int | None]) -> list[list[int | None]]:
        """For each word how near its neighbours stand to it there."""
        near: list[list[int | None]] = [[] for _ in self.words]
        for (a, b), gap in zip(pairwise(self.content), gaps, strict=True):
            near[a].append(gap)
            near[b].append(gap)
        return near

    def gaps(self) -> list[int | None]:
        """How near each two words of weight that follow each other in the claim stand there; None where one is missing."""
        found, places = self.found, self.places
        return [_gap(places[a], places[b]) if found[a] and found[b] else None for a, b in pairwise(self.content)]

    def replaced(self) -> int:
        """How many words of weight stand where the evidence has another one between the same neighbours."""
        around: list[set[int]] = [set(), set(), *map(set, self.places), set(), set()]
        count = 0
        for i in self.content:
            before, first, here, last, behind = around[i : i + 5]
            count += any(
                place + 2 in last and place + 1 not in here and (place - 1 in before or place + 3 in behind) for place in first
            )
        return count

    def runs(self) -> list[int]:
        """For each word, how many of the words up to it stand there one behind the other."""
        lengths, before = [], dict[int, int]()
        for places in self.places:
            before = {place: before.get(place - 1, 0) + 1 for place in places}
            lengths.append(max(before.values(), default=0))
        return lengths


def _gap(one: list[int], other: list[int]) -> int:
    """How far the nearest of two lists of places are apart; 0 where a heading holds one of them."""
    least, i, j = FAR, 0, 0
    while i < len(one) and j < len(other):
        least = min(least, abs(one[i] - other[j]))
        if one[i] < other[j]:
            i += 1
        else:
            j += 1
    return least if one and other else 0


def _look_up(word: Word, ground: Ground) -> tuple[int, list[int]]:
    places = ground.places.get(word.key)
    if places is not None:
        return 2, places
    if word.kind in ("word", "name") and len(word.key) >= NEAR:
        near = ground.near(word.key)
        if near:
            return 1, sorted([place for key in near for place in ground.places[key]])
    return 0, []
