"""A folder of Markdown files as a source, built at load and searched by its words (`parts/fulltext.py`).

Each heading opens a section; a long section is cut at blank lines, a long paragraph at its lines or sentences. A passage keeps
the path of its headings, its place in the file, and the version of the file that it was cut from. Front matter and comments are
nobody's evidence. Places are offsets into the file's text as Python reads it: UTF-8 without a byte order mark, lines ended by
`\\n`.

Linked folders are read like others; files and folders whose name starts with a dot are not read.

Limits: headings are those of CommonMark (`#` and underlined by `===` or `---`), outside of quotes and lists.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from mainstay.core.errors import ConfigError
from mainstay.core.evidence import Passage, Viewer
from mainstay.parts.fulltext import FullText

LONGEST = 1500  # characters of one passage
SUFFIXES = (".md", ".markdown")

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(?=\S)(.*)$")
_UNDERLINE = re.compile(r"^ {0,3}(={2,}|-{3,})[ \t]*$")
_NO_PARAGRAPH = re.compile(r"^(\s*$| {4}|\t| {0,3}([#>|]|[-*+]\s|\d+[.)]\s))")
_NAMED = re.compile(r"[ \t]*\{[ \t]*#([^\s}]+)[^}]*\}[ \t]*$")  # `## Returns {#returns}`, as many generators take it
_FENCE = re.compile(r"^\s*(?:(`{3,})[^`]*|(~{3,}).*)$")
_CODE_OR_COMMENT = re.compile(
    r"^[ \t]*(`{3,}+)[^`\n]*\n(?:.*?^[ \t]*\1`*[ \t]*$|.*)"
    r"|^[ \t]*(~{3,}+)[^\n]*\n(?:.*?^[ \t]*\2~*[ \t]*$|.*)"
    r"|(`++)[^\n]*?(?<!`)\3(?!`)"
    r"|<!--.*?-->",
    re.DOTALL | re.MULTILINE,
)
_YAML = re.compile(r"""\s*$|\s*#|\s+\S|-(\s|$)|[\w"'][^:]*:(\s|$)""")
_EMPHASIS = re.compile(r"(?<!\w)(_+)(?=\S)([^_]+|[^_].*?[^_])\1(?!\w)|(\*+)(?=\S)(.*?\S)\3")
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_SENTENCE_END = re.compile(r"[.!?。！？]+(?:\s|(?<=[。！？]))")


class Section(Struct, frozen=True):
    """A passage as it is cut from its file: `text` is what stands from `start` to `end`, less comments and blanks."""

    heading: tuple[str, ...]
    anchor: str
    text: str
    start: int
    end: int


class Markdown:
    """The source. `path` is a folder or one file; `link` is put before `document#anchor` to link to a passage."""

    def __init__(self, *, name: str, path: str, link: str | None = None) -> None:
        self._name, self._root, self._link = name, Path(path), link
        if not self._root.exists():
            raise ConfigError(f'there is no file or folder "{path}"', next="check its `path`")
        files = _files(self._root)
        if not files:
            raise ConfigError(f'there are no Markdown files in "{path}"', next="check its `path`")
        self._index = FullText()
        self._documents: dict[str, list[Passage]] = {}
        digest = hashlib.sha256(f"{name}\0{link}\0".encode())
        for file in files:
            document = file.relative_to(self._root if self._root.is_dir() else self._root.parent).as_posix()
            text = _read(file, document)
            digest.update(f"{document}\0{text}\0".encode())
            self._documents[document] = list(self._passages(document, text))
            self._index.add(self._documents[document])
        self._version = digest.hexdigest()[:16]

    @property
    def version(self) -> str:
        """Changes whenever a file does."""
        return self._version

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        """The passages that answer the question, best first."""
        return await self._index.search(query, limit=limit)

    async def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        """The passage with that id, as the files held it when they were read."""
        return self._index.passage(id)

    async def document(self, id: str, *, viewer: Viewer | None) -> list[Passage]:
        """The passages of a file in their order, as it was when it was read."""
        return self._documents.get(id, [])

    def _passages(self, document: str, text: str) -> Iterator[Passage]:
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        numbers: Counter[str] = Counter()
        for section in sections(text):
            place = f"{document}#{section.anchor}" if section.anchor else document
            numbers[place] += 1
            yield Passage(
                id=place if numbers[place] == 1 else f"{place}~{numbers[place]}",
                source=self._name,
                document=document,
                text=section.text,
                heading=section.heading,
                link=self._linked(document, section.anchor),
                version=version,
                start=section.start,
                end=section.end,
            )

    def _linked(self, document: str, anchor: str) -> str | None:
        if self._link is None:
            return None
        return self._link + quote(document) + (f"#{quote(anchor)}" if anchor else "")


def _files(root: Path) -> list[Path]:
    """The files of a folder, or the one there is. A folder that is linked from several places, or from within, is read once."""
    if root.is_file():
        return [root]
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    tops = [root]
    try:
        for top in tops:  # links come after what is there itself, so that it keeps its own name
            for folder, inner, files in os.walk(top, onerror=_raised):
                stat = Path(folder).stat()
                if (stat.st_dev, stat.st_ino) in seen:
                    inner.clear()
                    continue
                seen.add((stat.st_dev, stat.st_ino))
                inner[:] = sorted(name for name in inner if not name.startswith("."))
                tops += [path for name in inner if (path := Path(folder, name)).is_symlink()]
                found += [path for name in files if _is_document(path := Path(folder, name))]
    except OSError as error:
        raise _unreadable(error, str(error.filename)) from None
    return sorted(found)


def _raised(error: OSError) -> None:
    raise error


def _is_document(path: Path) -> bool:
    """By its name. A link to nowhere is one that cannot be read; a pipe or a device is none."""
    named = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return named and (path.is_file() or not path.exists())


def _unreadable(error: OSError, what: str) -> ConfigError:
    """What was left out in silence would be questions that are refused in silence."""
    return ConfigError(f'"{what}" cannot be read: {error.strerror}', next="make it readable, or take it away")


def _read(file: Path, document: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f'"{document}" is not UTF-8: {error.reason} at byte {error.start}', next="save it as UTF-8") from None
    except OSError as error:
        raise _unreadable(error, document) from None


def anchor_of(heading: str) -> str:
    """The anchor that GitHub and most renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


class _Anchors:
    """The anchors of one document: the second of a name gets `-1`, as renderers do it."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def of(self, heading: str, given: str | None) -> str:
        anchor = plain = given or anchor_of(heading)
        while anchor in self._taken:
            self._taken[plain] += 1
            anchor = f"{plain}-{self._taken[plain]}"
        self._taken[anchor] = 0
        return anchor


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text, long ones in pieces, with offsets into the text."""
    text = _CODE_OR_COMMENT.sub(_blank_comment, text)
    found: list[Section] = []
    path: list[tuple[int, str]] = []
    anchors, anchor = _Anchors(), ""
    start = _front_matter(text)
    for begin, end, level, written in _headings(text, start):
        found += _cut(text, start, begin, path, anchor)
        named = _NAMED.search(written)
        name = _plain(written[: named.start()] if named else written)
        path = [(depth, above) for depth, above in path if depth < level] + [(level, name)]
        anchor, start = anchors.of(name, named[1] if named else None), end
    return found + _cut(text, start, len(text), path, anchor)


def _headings(text: str, start: int) -> Iterator[tuple[int, int, int, str]]:
    """Where each heading begins and ends, its level, and how it is written."""
    before, lone, fence = "", False, ""  # the line above, whether it is all of its paragraph, and the fence that is open
    for found in _LINE.finditer(text, start):
        line = found[0].rstrip("\n")
        if fence:
            fence = "" if _closes(line, fence) else fence
            before, lone = "", False
        elif opened := _FENCE.match(line):
            fence, before, lone = opened[1] or opened[2], "", False
        elif heading := _HEADING.match(line):
            yield found.start(), found.end(), len(heading[1]), _opened(heading[2])
            before, lone = "", True
        elif lone and before and (underline := _UNDERLINE.match(line)):
            yield found.start() - len(before) - 1, found.end(), 1 if underline[1][0] == "=" else 2, before.strip()
            before, lone = "", True
        else:
            lone = not before.strip() and not _NO_PARAGRAPH.match(line)
            before = line


def _opened(heading: str) -> str:
    """The text of a heading without the `#` that may close it; C# keeps its own."""
    heading = heading.rstrip()
    shorter = heading.rstrip("#")
    return shorter.rstrip() if shorter[-1:].isspace() else heading


def _closes(line: str, fence: str) -> bool:
    line = line.strip()
    return len(line) >= len(fence) and not line.strip(fence[0])


def _front_matter(text: str) -> int:
    """Where the text begins behind its front matter; a line of dashes alone does not make one."""
    if not text.startswith("---"):
        return 0
    at = 0
    for number, found in enumerate(_LINE.finditer(text)):
        line, at = found[0].rstrip(), found.end()
        if number and line in ("---", "..."):
            return at
        if (number == 0 and line != "---") or (number and not _YAML.match(line)):
            return 0
    return 0


def _blank_comment(found: re.Match[str]) -> str:
    """Spaces for a comment, so that the offsets of what follows stay right; code as it is."""
    return re.sub(r"[^\n]", " ", found[0]) if found[0].startswith("<!--") else found[0]


def _plain(heading: str) -> str:
    """A heading without its marks; what stands in code, and the `_` inside a name such as `no_evidence`, is none."""
    text = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", heading[:LONGEST])
    parts = re.split(r"(`+)(.+?)\1", text)
    for i in range(0, len(parts), 3):
        part = re.sub(r"</?[A-Za-z][^>]*>", "", parts[i])
        part = _EMPHASIS.sub(lambda m: m[2] or m[4], _EMPHASIS.sub(lambda m: m[2] or m[4], part))
        parts[i] = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", part)
    return "".join(part for i, part in enumerate(parts) if i % 3 != 1).strip()


def _cut(text: str, start: int, end: int, path: list[tuple[int, str]], anchor: str) -> list[Section]:
    """The section between two headings, in pieces of at most `LONGEST` characters."""
    heading = tuple(name for _, name in path)
    pieces: list[Section] = []
    for a, b in _blocks(text, start, end):
        if not text[a:b].strip():
            continue
        joins = pieces and b - pieces[-1].start <= LONGEST
        first = pieces.pop().start if joins else a
        pieces.append(Section(heading, anchor, _BLANK.sub("\n\n", text[first:b]).strip(), first, b))
    return pieces


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs, lists, tables and whole blocks of code, as offsets; what is too long for a passage in parts."""
    begin, fence = start, ""
    for found in _LINE.finditer(text, start, end):
        line = found[0].rstrip("\n")
        if fence:
            fence = "" if _closes(line, fence) else fence
        elif opened := _FENCE.match(line):
            fence = opened[1] or opened[2]
        elif not line.strip():
            yield from _parts(text, begin, found.end())
            begin = found.end()
    yield from _parts(text, begin, end)


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A block, cut at the last line, sentence or word that leaves a part of at most `LONGEST` characters."""
    while end - start > LONGEST and text[start:end].strip():
        window = text[start : start + LONGEST]
        ends = [m.end() for m in _SENTENCE_END.finditer(window)]
        cut = max(window.rfind("\n") + 1, ends[-1] if ends else 0)
        if cut < LONGEST // 4:
            cut = window.rfind(" ") + 1 or LONGEST
        yield start, start + cut
        start += cut
    yield start, end
