"""How a text is cut into sections and passages, whatever kind of document it was.

A section begins at a mark (a heading, a page, a row). A long one is cut at blank lines, a long paragraph at its lines or
sentences. Places are offsets into the document's text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct

LONGEST = 1500  # characters of one passage

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r"^\s*(?:(`{3,})[^`]*|(~{3,}).*)$")
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_SENTENCE_END = re.compile(r"(?<![.!?。！？])[.!?。！？]+(?:\s|(?<=[。！？]))")


class Section(Struct, frozen=True):
    """A passage as it is cut from its document: `text` is what stands from `start` to `end`, less comments and blanks."""

    heading: tuple[str, ...]
    anchor: str
    text: str
    start: int
    end: int


class Mark(Struct, frozen=True):
    """Where a section begins: its heading stands from `begin` to `end`, and its text follows. `heading` is the whole path."""

    begin: int
    end: int
    heading: tuple[str, ...] = ()
    anchor: str = ""


class Outline:
    """The path of headings at the place that was come to, and anchors that differ: the second of a name gets `-1`."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._taken: Counter[str] = Counter()

    def at(self, level: int, name: str, given: str = "") -> tuple[tuple[str, ...], str]:
        """The path with this heading, and its anchor; `given` is the one that the document gives it."""
        self._path = [(depth, above) for depth, above in self._path if depth < level] + [(level, name)]
        return tuple(above for _, above in self._path), self._anchor(given or anchor_of(name))

    def _anchor(self, plain: str) -> str:
        anchor = plain
        while anchor in self._taken:
            self._taken[plain] += 1
            anchor = f"{plain}-{self._taken[plain]}"
        self._taken[anchor] = 0
        return anchor


def anchor_of(heading: str) -> str:
    """The anchor that GitHub and most renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def cut(text: str, marks: Iterable[Mark], start: int = 0) -> list[Section]:
    """The sections of a text from `start` on, long ones in pieces. What stands before the first mark has no heading."""
    found: list[Section] = []
    last = Mark(start, start)
    for mark in marks:
        found += _pieces(text, last.end, mark.begin, last)
        last = mark
    return found + _pieces(text, last.end, len(text), last)


def closes(line: str, fence: str) -> bool:
    """Whether the line ends the code that `fence` began."""
    line = line.strip()
    return len(line) >= len(fence) and not line.strip(fence[0])


def opens(line: str) -> str:
    """The fence with which the line begins code; empty where it does not."""
    opened = _FENCE.match(line)
    return (opened[1] or opened[2]) if opened else ""


def _pieces(text: str, start: int, end: int, mark: Mark) -> list[Section]:
    """The section between two marks, in pieces of at most `LONGEST` characters."""
    pieces: list[Section] = []
    for a, b in _blocks(text, start, end):
        if not text[a:b].strip():
            continue
        joins = pieces and b - pieces[-1].start <= LONGEST
        first = pieces.pop().start if joins else a
        pieces.append(Section(mark.heading, mark.anchor, _BLANK.sub("\n\n", text[first:b]).strip(), first, b))
    return pieces


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs, lists, tables and whole blocks of code, as offsets; what is too long for a passage in parts."""
    begin, fence = start, ""
    for found in _LINE.finditer(text, start, end):
        line = found[0].rstrip("\n")
        if fence:
            fence = "" if closes(line, fence) else fence
        elif opened := opens(line):
            fence = opened
        elif not line.strip():
            yield from _parts(text, begin, found.end())
            begin = found.end()
    yield from _parts(text, begin, end)


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A block, cut at the last line, sentence or word that leaves a part of at most `LONGEST` characters."""
    solid = start + len(text[start:end].rstrip())
    while end - start > LONGEST and start < solid:
        window = text[start : start + LONGEST]
        ends = [m.end() for m in _SENTENCE_END.finditer(window)]
        cut = max(window.rfind("\n") + 1, ends[-1] if ends else 0)
        if cut < LONGEST // 4:
            cut = window.rfind(" ") + 1 or LONGEST
        yield start, start + cut
        start += cut
    yield start, end
