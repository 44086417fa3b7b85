"""Where the sentences of a text begin and end: one splitter for all who judge, quote or cite by sentences.

A list item, a table row, a heading and a fenced block of code are sentences of their own; a paragraph's lines are read on from
one to the next. A dot ends no sentence in a number, an address, an abbreviation or an initial, nor before a small letter. Marks
such as `[2]` behind a sentence belong to it. Full stops of scripts that put no space behind them end a sentence where they stand.

Limits: it knows spellings, not grammar. Two sentences without a space between them, or of which the second begins with a small
letter, are one; so are two around an abbreviation that it knows (`the U.S. Then`). Thai writes no full stops and is cut at line
ends only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from mainstay.core.later import pattern

Kind = Literal["text", "heading", "row", "code"]

WRAPPED = 50  # characters of a line without a full stop, from which the next line is taken for its continuation
ENOUGH = 24  # characters of the next sentence that settle where the last one ended, if its first word is longer

LOOKED_AT = 60  # characters behind a full stop

_STOPS = "。！？｡"  # no space has to follow
_DOTS = ".!?…؟۔।॥։።။"  # one has
_CLOSERS = "\"'”’»«)\\]}」』）】*_`"
_MAY_END = pattern(rf"[{_DOTS}{_STOPS}\n]")
_MARKED = r"((?:[ \t]*\[\d{1,3}\])*)"
_END = pattern(rf"(?:([{_DOTS}]+)([{_CLOSERS}“]*)|([{_STOPS}]+)[{_CLOSERS}]*){_MARKED}")
_MARKS = pattern(r"(?:\s*\[\d{1,3}\])+\s*$")
_LEAD = pattern(r"[ \t]*(?:>[ \t]*)*(?:(?:[-*+•–‣◦·]|\(?\d{1,3}[.)]|\(?[a-zA-Z]\))[ \t]+(?:\[[ xX]\][ \t]+)?)?")
_HEADING = pattern(r"[ \t]*#{1,6}[ \t]+")
_RULE = pattern(r"[ \t]*(?:[-=*_][ \t]*){3,}$|[ \t]*\|?[ \t]*:?-{2,}[-:| \t]*$")
_FENCE = pattern(r"[ \t]*(`{3,}|~{3,})")
_LETTER = pattern(r"[^\W_]")
_SPACE = pattern(r"\s")
_WORD_BEFORE = pattern(r"[\w.’'-]*$")
_WORD_AFTER = pattern(r"\w+")
_UNSPACED = pattern("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

_NO_END = frozenset(  # by language; without the dots inside and at the end
    {
        word
        for words in (
            # en
            "mr mrs ms dr prof rev gen col sgt capt lt hon st mt ft vs approx dept est fig figs eq sec vol pp ed eds al cf ie eg "
            "inc ltd co corp jr sr esp resp incl excl min max tel ext jan feb mar apr jun jul aug sep sept oct nov dec",
            # de
            "bzw ca evtl ggf inkl exkl zzgl usf zb dh ua uu vgl str nr hr fr frl abs art aufl bd hrsg sog mio mrd geb gest zt",
            # fr
            "mme mlle env ex cad av chap éd réf boul",
            # es, pt, it
            "sra srta ud uds pág págs núm aprox av avda dpto sig sigg dott ing pag num dna exmo",
            # nl
            "dhr mevr bijv nl blz enz tav mbt",
            # sv, da, no
            "bl dvs tex fx osv kl",
        )
        for word in words.split()
    }
)
_BEFORE_NUMBER = frozenset(
    "no nos nr nrs art p pp s n núm fig sec § абз стр".split()
)  # `No. 5` goes on, `No. It is not` does not
_MONTHS = frozenset(  # after `3.`, in languages that write ordinals with a dot
    """januar jänner februar märz april mai juni juli august september oktober november dezember marts maj oktober december
    jahrhundert jahrhunderts quartal""".split()
)
_HOURS = frozenset({"am", "pm"})


class Sentence(NamedTuple):
    """A sentence and its place: `text` is what stands from `start` to `end`, without the list's bullet or the heading's hashes.

    `kind` is `text`, `heading`, `row` (of a table) or `code` (a fenced block, whole).
    """

    start: int
    end: int
    text: str
    kind: Kind = "text"

    @property
    def unmarked(self) -> int:
        """Where it ends without the marks behind it: `It is open [2]` without ` [2]`, but `It is open [2].` as a whole."""
        marks = _MARKS.search(self.text)
        return self.end if marks is None else self.start + marks.start()


def sentences(text: str, start: int = 0) -> list[Sentence]:
    """The sentences of a text in its order, or those from `start` on, which has to be a place where a sentence ended.

    >>> [s.text for s in sentences("It costs 3.50, e.g. at Dr. Lee's [1]. Ask him!")]
    ["It costs 3.50, e.g. at Dr. Lee's [1].", 'Ask him!']
    """
    found: list[Sentence] = []
    for begin, end, kind in _blocks(text, start):
        if kind == "text":
            found.extend(_split(text, begin, end))
        elif text[begin:end].strip():
            found.append(_trimmed(text, begin, end, kind))
    return found


def may_end(text: str, start: int) -> bool:
    """Whether anything behind `start` looks like the end of a sentence: a quick look, before a text is split."""
    return _MAY_END.search(text, start) is not None


def settled(text: str, start: int = 0) -> int:
    """How much of a growing text is in sentences that no more text can change; `start` is a place that this gave before.

    The last sentence is never settled, and the one before it only once the first word behind it is complete.
    """
    if not may_end(text, start):
        return start
    found = sentences(text, start)
    for last, sentence in zip(reversed(found[:-1]), reversed(found[1:]), strict=True):
        if _begun(text, sentence):
            return last.end
    return start


def _begun(text: str, sentence: Sentence) -> bool:
    """Whether so much of a sentence is there that it settles where the one before it ended."""
    if sentence.kind == "code":
        return True
    if _LETTER.search(sentence.text) is None:  # which may become a rule, or the line below the head of a table
        return False
    long = len(text) - sentence.start > ENOUGH
    return long or _SPACE.search(text, sentence.start) is not None or _UNSPACED.match(sentence.text) is not None


def _blocks(text: str, at: int) -> Iterator[tuple[int, int, Kind]]:
    """Stretches in which sentences follow each other: a paragraph, a list's item, a table's row, a heading, a block of code."""
    size = len(text)
    begun: int | None = None  # where the paragraph began that may go on
    while at < size:
        end = text.find("\n", at)
        end = size if end < 0 else end
        line = text[at:end]
        whole = at == 0 or text[at - 1] == "\n"
        if begun is not None and not (whole and _goes_on(text, at, line)):
            yield begun, at, "text"
            begun = None
        fence = _FENCE.match(line) if whole else None
        if begun is not None:
            pass
        elif fence is not None:
            end = _fenced(text, end, fence[1])
            yield at, end, "code"
        elif whole and (heading := _HEADING.match(line)):
            yield at + heading.end(), end, "heading"
        elif not line.strip() or (whole and _RULE.match(line)):
            pass
        elif whole and line.lstrip().startswith("|"):
            yield at, end, "row"
        else:
            lead = _LEAD.match(line) if whole else None
            begun = at + (lead.end() if lead is not None else 0)
        at = end + 1
    if begun is not None:
        yield begun, size, "text"


def _fenced(text: str, at: int, fence: str) -> int:
    """Where the block of code ends whose first line ends there."""
    close = re.compile(rf"\n[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*(?=\n|$)").search(text, at)
    return len(text) if close is None else close.end()


def _goes_on(text: str, at: int, line: str) -> bool:
    """Whether the line that begins there continues the one above it."""
    inner = line.lstrip()
    if not inner or _HEADING.match(line) or _RULE.match(line) or _FENCE.match(line) or inner[0] == "|":
        return False
    lead = _LEAD.match(line)
    if lead is not None and lead[0].strip():
        return False
    above = text[text.rfind("\n", 0, at - 1) + 1 : at - 1].rstrip()
    if inner[0].islower():
        return not above.endswith(":")
    return len(above) >= WRAPPED and above[-1] not in f'.!?…:;{_STOPS}؟۔।॥։።။"”»*_]' and not _UNSPACED.match(above[-1])


def _split(text: str, begin: int, end: int) -> Iterator[Sentence]:
    """The sentences of one paragraph."""
    start = begin
    for match in _END.finditer(text, begin, end):
        if match.end() < end and _ends(text, start, match, end):
            if text[start : match.end()].strip():
                yield _trimmed(text, start, match.end(), "text")
            start = match.end()
    if text[start:end].strip():
        yield _trimmed(text, start, end, "text")


def _trimmed(text: str, start: int, end: int, kind: Kind) -> Sentence:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    piece = piece.strip()
    return Sentence(start, start + len(piece), piece, kind)


def _ends(text: str, start: int, match: re.Match[str], end: int) -> bool:
    """Whether a sentence ends at that full stop; more of the paragraph follows it."""
    stop, at = match[1], match.end()
    if stop is None:
        return True
    following = text[at : min(at + LOOKED_AT, end)].lstrip()
    if not text[at].isspace() or not following or following[0].islower() or text.count("`", start, match.start()) % 2:
        return False
    if stop != "." or match[2]:
        return True
    before = _WORD_BEFORE.search(text, max(start, match.start() - 40), match.start())
    return before is None or not _abbreviates(before[0], text[max(start, before.start() - 40) : before.start()], following)


def _abbreviates(word: str, before: str, following: str) -> bool:
    """Whether the dot behind this word belongs to it."""
    short = word.replace(".", "").lower()
    if short in _BEFORE_NUMBER and following[0].isdigit():
        return True
    if word.isdigit() and len(word) <= 2:
        after = _WORD_AFTER.match(following)
        return after is not None and after[0].lower() in _MONTHS
    if short in _HOURS and "." in word:
        return False
    if len(short) == 1 and short.isalpha():  # an initial, or one of several letters; but not what ends no name: `plan B. Then`
        words = before.split()
        return word.islower() or not words or words[-1][0].isupper() or (len(words[-1]) == 2 and words[-1][1] == ".")
    return short in _NO_END or ("." in word and len(short) <= 4 and short.isalpha())
