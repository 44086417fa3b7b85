"""Markdown as sections: each heading opens one. Front matter and comments are nobody's evidence.

Limits: headings are those of CommonMark (`#` and underlined by `===` or `---`), outside of quotes and lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mainstay.parts.parsing.cutting import LONGEST, Mark, Outline, Section, closes, cut, opens
from mainstay.parts.text import front_matter

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(?=\S)(.*)$")
_UNDERLINE = re.compile(r"^ {0,3}(={2,}|-{3,})[ \t]*$")
_NO_PARAGRAPH = re.compile(r"^(\s*$| {4}|\t| {0,3}([#>|]|[-*+]\s|\d+[.)]\s))")
_NAMED = re.compile(r"[ \t]*\{[ \t]*#([^\s}]++)[^}]*+\}[ \t]*$")  # `## Returns {#returns}`, as many generators take it
_CODE_OR_COMMENT = re.compile(
    r"^[ \t]*(`{3,}+)[^`\n]*\n(?:.*?^[ \t]*\1`*[ \t]*$|.*)"
    r"|^[ \t]*(~{3,}+)[^\n]*\n(?:.*?^[ \t]*\2~*[ \t]*$|.*)"
    r"|(`++)[^\n]*?(?<!`)\3(?!`)"
    r"|<!--",
    re.DOTALL | re.MULTILINE,
)
_EMPHASIS = re.compile(r"(?<!\w)(_+)(?=\S)([^_]+|[^_].*?[^_])\1(?!\w)|(\*+)(?=\S)(.*?\S)\3")


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text, long ones in pieces, with offsets into the text."""
    text = _without_comments(text)
    start = front_matter(text)
    return cut(text, _marks(text, start), start)


def _marks(text: str, start: int) -> Iterator[Mark]:
    outline = Outline()
    for begin, end, level, written in _headings(text, start):
        named = _NAMED.search(written[-LONGEST:])
        name = _plain(written.removesuffix(named[0]) if named else written)
        yield Mark(begin, end, *outline.at(level, name, named[1] if named else ""))


def _headings(text: str, start: int) -> Iterator[tuple[int, int, int, str]]:
    """Where each heading begins and ends, its level, and how it is written."""
    before, lone, fence = "", False, ""  # the line above, whether it is all of its paragraph, and the fence that is open
    for found in _LINE.finditer(text, start):
        line = found[0].rstrip("\n")
        if fence:
            fence = "" if closes(line, fence) else fence
            before, lone = "", False
        elif opened := opens(line):
            fence, before, lone = opened, "", False
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


def _without_comments(text: str) -> str:
    """Comments as spaces, so that the offsets of what follows stay right; those that are shown as code stay.

    The end of a comment is looked for here and not by the expression, which would look for it from every `<!--` anew.
    """
    pieces, at = [], 0
    while found := _CODE_OR_COMMENT.search(text, at):
        end = found.end()
        if found[0] == "<!--":
            end = text.find("-->", end) + 3
            if end < 3:
                break
            pieces += [text[at : found.start()], re.sub(r"[^\n]", " ", text[found.start() : end])]
        else:
            pieces.append(text[at:end])
        at = end
    return "".join([*pieces, text[at:]])


def _plain(heading: str) -> str:
    """A heading without its marks; what stands in code, and the `_` inside a name such as `no_evidence`, is none."""
    text = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", heading[:LONGEST])
    parts = re.split(r"(`+)(.+?)\1", text)
    for i in range(0, len(parts), 3):
        part = re.sub(r"</?[A-Za-z][^>]*>", "", parts[i])
        part = _EMPHASIS.sub(lambda m: m[2] or m[4], _EMPHASIS.sub(lambda m: m[2] or m[4], part))
        parts[i] = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", part)
    return "".join(part for i, part in enumerate(parts) if i % 3 != 1).strip()
