"""A folder of Markdown files as a source, searched by SQLite's full text (FTS5, BM25, Porter stemming), built at load.

Each heading opens a section; a long section is cut at paragraphs. A passage is evidence only if it covers enough of what was
asked: the share of the question's words, weighted by how rare they are in the folder, that the passage (with its headings)
holds. Below `MIN_COVERAGE` nothing is returned at all, which is how "no evidence" comes about.

Limits: words are compared, not meanings; Porter stemming is English, and a language without spaces is not cut into words.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from pathlib import Path
from typing import Any, cast

import apsw
import apsw.fts5
import msgspec
from msgspec import Struct

from mainstay.core.errors import ConfigError
from mainstay.core.evidence import Passage

LONGEST = 1500  # characters of one passage
CANDIDATES = 30
MIN_COVERAGE = 0.5
MANY = 3000  # passages above which a search leaves the event loop
HEADING, TITLE, BODY = 6.0, 3.0, 1.0  # weights of BM25's columns

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_STOP = frozenset(
    [
        "a",
        "about",
        "all",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "for",
        "from",
        "get",
        "give",
        "had",
        "has",
        "have",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "know",
        "let",
        "like",
        "may",
        "me",
        "mean",
        "my",
        "need",
        "no",
        "not",
        "of",
        "on",
        "one",
        "or",
        "our",
        "please",
        "shall",
        "should",
        "so",
        "some",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "up",
        "us",
        "use",
        "used",
        "using",
        "want",
        "was",
        "way",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)


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
        self._db = apsw.Connection(":memory:")
        self._db.execute(
            "create virtual table words using fts5(heading, title, body, tokenize='porter unicode61 remove_diacritics 2');"
            "create virtual table vocabulary using fts5vocab(words, 'row')"
        )
        self._tokens = self._db.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])
        self._passages: list[Passage] = []
        digest = hashlib.sha256()
        for file in files:
            document = file.relative_to(self._root if self._root.is_dir() else self._root.parent).as_posix()
            text = file.read_text(encoding="utf-8", errors="replace")
            digest.update(document.encode() + b"\0" + text.encode())
            self._add(document, text)
        self._version = digest.hexdigest()[:16]

    @property
    def version(self) -> str:
        """Changes whenever a file does."""
        return self._version

    def __len__(self) -> int:
        return len(self._passages)

    async def search(self, query: str, *, limit: int) -> list[Passage]:
        """The passages that cover the question, best first. `score` is the share of it that they cover."""
        if len(self._passages) > MANY:
            return await asyncio.to_thread(self._search, query, limit)
        return self._search(query, limit)

    def _add(self, document: str, text: str) -> None:
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        title = ""
        for section in sections(text):
            title = title or (section.heading[0] if section.heading else document)
            number = sum(1 for p in self._passages if p.id.partition("~")[0] == f"{document}#{section.anchor}")
            self._passages.append(
                Passage(
                    id=f"{document}#{section.anchor}" + (f"~{number + 1}" if number else ""),
                    source=self._name,
                    document=document,
                    text=section.text,
                    heading=section.heading,
                    link=None if self._link is None else f"{self._link}{document}#{section.anchor}",
                    version=version,
                    start=section.start,
                    end=section.end,
                )
            )
            self._db.execute(
                "insert into words(rowid, heading, title, body) values(?,?,?,?)",
                (len(self._passages), " ".join(section.heading[1:]), title, section.text),
            )

    def _search(self, query: str, limit: int) -> list[Passage]:
        asked = self._asked(query)
        if not asked:
            return []
        weights = self._weights(asked)
        expression = " OR ".join('"' + word.replace('"', "") + '"' for word in asked.values())
        rows: list[Any] = self._db.execute(
            "select rowid, bm25(words, ?, ?, ?) from words where words match ? order by 2 limit ?",
            (HEADING, TITLE, BODY, expression, CANDIDATES),
        ).fetchall()
        total = sum(weights.values())
        best = -rows[0][1] if rows else 1.0
        ranked = []
        for row, rank in rows:
            passage = self._passages[row - 1]
            covered = sum(weights[stem] for stem in self._stems(passage) & asked.keys()) / total
            if covered >= MIN_COVERAGE:
                ranked.append((covered + (-rank / best if best > 0 else 0.0), covered, passage))
        ranked.sort(key=lambda r: -r[0])
        return [_scored(passage, covered) for _, covered, passage in ranked[:limit]]

    def _asked(self, query: str) -> dict[str, str]:
        """Stem to word, for every word of the query that carries meaning."""
        words = [w for w in re.findall(r"\w+", query.casefold()) if w not in _STOP]
        return {stem: word for word in words for stem in self._stem(word)}

    def _stem(self, text: str) -> list[str]:
        tokens = cast(list[Any], self._tokens(text.encode("utf-8", "ignore"), apsw.FTS5_TOKENIZE_QUERY, None))
        return [token[2] for token in tokens]

    def _stems(self, passage: Passage) -> set[str]:
        return set(self._stem(" ".join((*passage.heading, passage.text))))

    def _weights(self, asked: dict[str, str]) -> dict[str, float]:
        """How much each stem counts: the rarer in the folder the more; one that the folder does not know counts most."""
        marks = ",".join("?" * len(asked))
        query = f"select term, doc from vocabulary where term in ({marks})"  # noqa: S608  only question marks are put in
        known: dict[str, int] = dict(cast(Any, self._db.execute(query, tuple(asked)).fetchall()))
        total = len(self._passages)
        return {stem: math.log(1 + (total + 1) / (known.get(stem, 0) + 0.5)) for stem in asked}


def _scored(passage: Passage, score: float) -> Passage:
    return msgspec.structs.replace(passage, score=round(score, 4))


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
    """The sections of a Markdown text, long ones in pieces, with offsets into the text."""
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


def _plain(heading: str) -> str:
    return re.sub(r"[`*_]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))


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
