"""A folder of Markdown files as a source, built at load and searched by its words (`parts/fulltext.py`).

Each heading opens a section; a long section is cut at blank lines. A passage keeps the path of its headings, its place in the
file, and the version of the file that it was cut from.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from mainstay.core.errors import ConfigError
from mainstay.core.evidence import Passage
from mainstay.parts.fulltext import FullText

LONGEST = 1500  # characters of one passage

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_CODE_OR_COMMENT = re.compile(r"^\s*(```|~~~).*?^\s*\1|`[^`\n]+`|<!--.*?-->", re.DOTALL | re.MULTILINE)
_EMPHASIS = re.compile(r"(?<!\w)_(?=\S)([^_]+)_(?!\w)")


class Section(Struct, frozen=True):
    """A passage as it is cut from its file."""

    heading: tuple[str, ...]
    anchor: str
    text: str
    start: int
    end: int


class Markdown:
    """The source. `path` is a folder or one file; `link` is put before `document#anchor` to link to a passage."""

    def __init__(self, *, name: str, path: str, link: str | None = None) -> None:
        self._name, self._root, self._link = name, Path(path), link
        files = _files(self._root)
        if not files:
            raise ConfigError(
                f'there are no Markdown files in "{path}"', where=f"source {name}", next="check its `path` in mainstay.toml"
            )
        self._index = FullText()
        digest = hashlib.sha256()
        for file in files:
            document = file.relative_to(self._root if self._root.is_dir() else self._root.parent).as_posix()
            text = file.read_text(encoding="utf-8", errors="replace")
            digest.update(document.encode() + b"\0" + text.encode())
            self._index.add(self._passages(document, text))
        self._version = digest.hexdigest()[:16]

    @property
    def version(self) -> str:
        """Changes whenever a file does."""
        return self._version

    async def search(self, query: str, *, limit: int) -> list[Passage]:
        """The passages that answer the question, best first."""
        return await self._index.search(query, limit=limit)

    def _passages(self, document: str, text: str) -> Iterator[Passage]:
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        numbers: Counter[str] = Counter()
        for section in sections(text):
            place = f"{document}#{section.anchor}"
            numbers[place] += 1
            yield Passage(
                id=place if numbers[place] == 1 else f"{place}~{numbers[place]}",
                source=self._name,
                document=document,
                text=section.text,
                heading=section.heading,
                link=None if self._link is None else f"{self._link}{place}",
                version=version,
                start=section.start,
                end=section.end,
            )


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(
        p for p in root.rglob("*.md") if p.is_file() and not any(part.startswith(".") for part in p.relative_to(root).parts)
    )


def anchor_of(heading: str) -> str:
    """The anchor that GitHub and most renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text, long ones in pieces, with offsets into the text. Comments are nobody's evidence."""
    text = _CODE_OR_COMMENT.sub(_blank_comment, text)
    front = _FRONT.match(text)
    found: list[Section] = []
    path: list[tuple[int, str]] = []
    start = at = front.end() if front else 0
    fenced = False
    for line in text[at:].splitlines(keepends=True):
        if _FENCE.match(line):
            fenced = not fenced
        heading = None if fenced else _HEADING.match(line.rstrip("\n"))
        if heading:
            found += _cut(text, start, at, path)
            level = len(heading[1])
            path = [(depth, name) for depth, name in path if depth < level] + [(level, _plain(heading[2]))]
            start = at + len(line)
        at += len(line)
    return found + _cut(text, start, at, path)


def _blank_comment(found: re.Match[str]) -> str:
    """Spaces for a comment, so that the offsets of what follows stay right; code as it is."""
    return re.sub(r"[^\n]", " ", found[0]) if found[0].startswith("<!--") else found[0]


def _plain(heading: str) -> str:
    """A heading without its marks; the `_` inside a name such as `no_evidence` is none."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[`*]", "", _EMPHASIS.sub(r"\1", text))


def _cut(text: str, start: int, end: int, path: list[tuple[int, str]]) -> list[Section]:
    """The section between two headings, cut at blank lines outside of code where it is long."""
    heading = tuple(name for _, name in path)
    anchor = anchor_of(heading[-1]) if heading else ""
    pieces: list[Section] = []
    for a, b in _blocks(text, start, end):
        body = text[a:b].strip()
        if not body:
            continue
        if pieces and len(pieces[-1].text) + len(body) < LONGEST:
            first = pieces.pop()
            pieces.append(Section(heading, anchor, text[first.start : b].strip(), first.start, b))
        else:
            pieces.append(Section(heading, anchor, body, a, b))
    return pieces


def _blocks(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Paragraphs, lists, tables and whole blocks of code, as offsets."""
    blocks, begin, at, fenced = [], start, start, False
    for line in text[start:end].splitlines(keepends=True):
        if _FENCE.match(line):
            fenced = not fenced
        at += len(line)
        if not fenced and not line.strip():
            blocks.append((begin, at))
            begin = at
    return [*blocks, (begin, end)]
