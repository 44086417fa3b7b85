"""Names in a sentence: runs of words that begin with a capital letter.

Limits: scripts without capitals have none that are found. A word at the beginning of a sentence has its capital from there, and
counts with a name behind it only; in German every noun has one, so there only what stands beside another unknown word, or behind
a title, counts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mainstay.parts.facts import Fact
from mainstay.parts.known import Known, Pool, Told
from mainstay.parts.matching import small
from mainstay.parts.units import DAYS, MONTHS, readings
from mainstay.parts.vocabulary import SMALL, SPEAKING, folded, words

FAR = 45  # characters between a name and the word that says whose it is
ACRONYM = 5  # letters of a word in capitals that is taken for an abbreviation, not for a name
_WORD = re.compile(r"[^\W\d_](?:[\w’'-]*\w)?")
_OPENS = re.compile(r"(?:\A|[.!?:;|>•“”\"«„(\[*_`¿¡–—-])\s*\Z")
_ADJECTIVE = re.compile(r"(?:e|er|es|en|em)\Z")  # German
_IS = r"(?:is|ist|heißt|lautet|est|es|è|é|named|called|namens)"
_IS_BEFORE = re.compile(rf"(?:\b{_IS}|[:=])\s*\**\Z")
_IS_AFTER = re.compile(rf"\s+{_IS}\s")
_POSSESSIVE = re.compile(r"[’']s?$")
_FIRST = re.compile(r"(?<!\w)([^\W\d_][\w’'-]*) \Z")
_PARTICLES = frozenset(
    "de del della di da dos das do du la le van von der den ten ter zu zur y e of und and & el al bin ibn".split()
)
_TITLES = frozenset(
    "mr mrs ms miss dr prof herr frau herrn mme mlle monsieur madame señor señora sr sra signor signora sig dott dhr "
    "mevrouw senhor senhora".split()
)
_NO_NAMES = frozenset(
    """i im ive ill id ok okay internet web email pdf faq hi hello dear thanks please english german french spanish italian dutch
    portuguese european american british englisch deutsch französisch spanisch italienisch sie ihr ihre ihnen ihrem ihren ihrer du
    dein u uw note step customer support service team help center centre account monsieur madame""".split()
)

_ORDINARY = _NO_NAMES | _TITLES | DAYS | MONTHS.keys()
_CALLED = frozenset().union(*SPEAKING.values())


class Token(NamedTuple):
    """A word of a run; `opens` says that a sentence, a cell or a quotation begins with it."""

    written: str
    word: str
    opens: bool
    start: int


def runs(text: str, found: Iterable[Fact]) -> Iterator[list[Token]]:
    """The runs of capitalised words of a sentence, without those that are part of a fact."""
    taken = [(fact.start, fact.end) for fact in found]
    run: list[Token] = []
    last = -1
    between = 0
    for match in _WORD.finditer(text):
        written = match[0]
        capital = written[0].isupper()
        if not capital and not run:
            continue
        start, end = match.span()
        gap = text[last:start]
        joined = bool(run) and gap.strip() in ("", "&") and "\n" not in gap
        if any(start < until and begin < end for begin, until in taken):
            joined = capital = False
        if capital:
            if run and not joined:
                yield run
                run = []
            opens = _OPENS.search(text, max(0, start - 4), start) is not None
            run.append(Token(written, folded(_POSSESSIVE.sub("", written)), opens, start))
            last, between = end, 0
        elif joined and written.casefold() in _PARTICLES and between < 2:
            last, between = end, between + 1
        elif run:
            yield run
            run, between = [], 0
    if run:
        yield run


def unborne(run: Sequence[Token], pools: Sequence[Pool], known: Known, *, speaks: Callable[[], str]) -> str:
    """The name in a run that nothing bears; empty where there is none. `speaks` gives the language of the sentence."""
    people = known.people
    run = run[1:] if run[0].opens and run[0].word in SMALL else run
    ordinary = [_is_ordinary(token.word, speaks) for token in run]
    unknown = [not (listed or _known(token, pools, bool(people))) for token, listed in zip(run, ordinary, strict=True)]
    written = " ".join(token.written for token in run)
    if not any(unknown):
        return written if people and _mixed(run, ordinary, pools, people) else ""
    titled = any(token.word in _TITLES for token in run)
    inside = [is_unknown and not token.opens for token, is_unknown in zip(run, unknown, strict=True)]
    if titled or any(one and other for one, other in itertools.pairwise(inside)):
        return written
    language = speaks()
    german = language == "de"
    if not german and (any(inside) or (language in SPEAKING and _opens_a_name(run, pools, known.labels))):
        return written
    return written if people and _like_a_name(run, unknown, ordinary, people, german=german) else ""


def renamed(text: str, run: Sequence[Token], told: Told, *, speaks: Callable[[], str]) -> bool:
    """Whether a sentence says of a slot that holds a name that it is this one: `your contact is …`, `… is your contact`."""
    if not (set(words(text)) & told.labels) or set(words(text)) & set(words(told.slot.value or "")):
        return False
    run = run[1:] if run[0].opens and run[0].word in SMALL | told.labels else run
    if not run or all(_is_ordinary(token.word, speaks) for token in run):
        return False
    before, end = text[max(0, run[0].start - FAR) : run[0].start], run[-1].start + len(run[-1].written)
    after = text[end : end + FAR]
    said = _IS_BEFORE.search(before) is not None and not told.labels.isdisjoint(words(before))
    return said or (_IS_AFTER.match(after) is not None and not told.labels.isdisjoint(words(after)))


def _opens_a_name(run: Sequence[Token], pools: Sequence[Pool], labels: frozenset[str]) -> bool:
    """Whether a word that begins a sentence, and stands nowhere, is the first of a name: the word behind it is what slots may be
    called, and nothing here is called so; or it is known, but as the end of another name alone.
    """
    if len(run) < 2 or not run[0].opens or small(run[0].written):
        return False
    first, second = run[:2]
    if second.start > first.start + len(first.written) + 1:
        return False
    if second.word in _CALLED:
        return second.word not in labels and not _stands(second.word, pools)
    return len(run) == 2 and _ends_a_name(second.written, pools)


def _ends_a_name(written: str, pools: Sequence[Pool]) -> bool:
    """Whether a word, wherever it stands here, stands behind another one with a capital letter, as a family's name does."""
    word = re.compile(rf"\b{re.escape(_POSSESSIVE.sub('', written))}\b")
    before = [_FIRST.search(pool.text[max(0, m.start() - FAR) : m.start()]) for pool in pools for m in word.finditer(pool.text)]
    return bool(before) and all(first and first[1][0].isupper() and folded(first[1]) not in SMALL for first in before)


def _like_a_name(
    run: Sequence[Token], unknown: Sequence[bool], ordinary: Sequence[bool], people: frozenset[str], *, german: bool
) -> bool:
    """Where slots hold names: whether a run is one of them in part, or two words of which one is not known."""
    said = {token.word for token in run}
    if said & people and not people <= said:
        return True
    if german and run[0].opens and _ADJECTIVE.search(run[0].word):
        return False
    if sum(unknown) >= 2:
        return True
    return german and any(one and not other and not listed for one, (other, listed) in _beside(run, unknown, ordinary))


def _mixed(run: Sequence[Token], ordinary: Sequence[bool], pools: Sequence[Pool], people: frozenset[str]) -> bool:
    """Whether a run is made of pieces of several names: part of one that a slot holds, and what never stands beside it."""
    names = [token.word for token, listed in zip(run, ordinary, strict=True) if not listed]
    if len(names) < 2 or people.isdisjoint(names) or people.issuperset(names):
        return False
    together = " ".join(names)
    return not any(together in " ".join(folded(pool.text).split()) for pool in pools)


def _beside(run: Sequence[Token], unknown: Sequence[bool], ordinary: Sequence[bool]) -> Iterator[tuple[bool, tuple[bool, bool]]]:
    """Whether each word but the first is unknown, with the one before it: whether that is, and whether it is a day or a unit."""
    for (before, known, listed), (_, here, _) in itertools.pairwise(zip(run, unknown, ordinary, strict=True)):
        yield here, (known, listed or bool(readings(before.word)))


def _is_ordinary(word: str, speaks: Callable[[], str]) -> bool:
    """Whether a word may have a capital without being a name: a day, a title, what slots are called in that language."""
    return word in _ORDINARY or (word in _CALLED and word in SPEAKING.get(speaks(), _CALLED))


def _known(token: Token, pools: Sequence[Pool], strict: bool) -> bool:
    word = token.word
    if len(word) == 1:
        return True
    if token.written.isupper() and len(word) <= ACRONYM and not strict:
        return True
    return all(_stands(part, pools) for part in re.split(r"[-'’]", word) if part)


def _stands(word: str, pools: Sequence[Pool]) -> bool:
    forms = (word, f"{word}s", word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("n"))
    return any(form in pool.words for pool in pools for form in forms if form)
