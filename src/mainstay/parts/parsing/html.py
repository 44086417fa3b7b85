"""HTML as text and marks: what a reader of the page would see, without scripts, navigation and what is hidden.

Tables become lines with ` | ` between the cells, lists lines with a dash or a number. A heading's anchor is its own `id`, one
inside it, or that of the section that it opens; else one as renderers of Markdown would give it. Where there is a `<main>`,
only that is read. Needs the extra `docs` (selectolax).

Limits: no style sheet and no script is run, so what only they hide or show is not known.
"""

from __future__ import annotations

import re
from typing import Any

from mainstay.core.errors import SourceError
from mainstay.parts.parsing.cutting import Mark, Outline
from mainstay.parts.text import decoded

EXTRA = 'pip install "mainstay[docs]"'

_DROPPED = frozenset(
    "script style noscript template nav svg math iframe object embed canvas audio video map button select option input"
    " textarea datalist dialog head menu".split()
)
_FRAME = frozenset({"header", "footer", "aside"})  # of the page, not of an article in it
_BLOCKS = frozenset(
    "address article aside blockquote center dd details dl dt div fieldset figcaption figure footer form header hgroup hr"
    " legend main ol p pre section summary table ul caption".split()
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\n\r\f]+")


def read(data: bytes, charset: str) -> tuple[str, list[Mark], str]:
    """The text, where its sections begin, and its title where no heading of the first level says it. Raises `SourceError`."""
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise SourceError("HTML is read with selectolax, which is not installed", next=EXTRA) from None
    named = _CHARSET.search(data[:2048])
    tree = LexborHTMLParser(decoded(data, charset or (named[1].decode() if named else "")))
    title = tree.css_first("title")
    page = _Page()
    body = tree.css_first("main, [role=main]") or tree.body
    if body is not None:
        page.walk(body)
    title_text = "" if page.titled or title is None else " ".join(title.text().split())
    return page.text(), page.marks, title_text


class _Page:
    """The page, written from its first word to its last."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.titled = False
        self._outline = Outline()
        self._parts: list[str] = []
        self._length = 0
        self._break, self._prefix = 0, ""  # line ends, and the bullet, that come before the next word
        self._lists: list[int | None] = []  # the number of the next item; None where there are none
        self._cell = self._pre = 0
        self._heading: tuple[int, int, str] | None = None

    def text(self) -> str:
        return "".join(self._parts)

    def walk(self, root: Any) -> None:
        """Every node below, without recursion: a page may be nested as deep as it likes."""
        node, entered = root, self._enter(root)
        while True:
            child = node.child if entered else None
            if child is not None:
                node = child
                entered = self._enter(node)
                continue
            if entered:
                self._leave(node)
            while node.next is None or node.mem_id == root.mem_id:
                if node.mem_id == root.mem_id:
                    return
                node = node.parent
                self._leave(node)
                if node.mem_id == root.mem_id:
                    return
            node = node.next
            entered = self._enter(node)

    def _enter(self, node: Any) -> bool:
        """Begin a node; whether its children are to be read."""
        tag = node.tag
        if tag == "-text":
            self._write(node.text_content or "")
            return False
        if tag is None or tag.startswith("-") or tag == "!doctype" or tag in _DROPPED or self._is_apart(node, tag):
            return False
        if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._open_heading(node, int(tag[1]))
        elif tag in _BLOCKS or tag == "body":
            self._end_line(2)
            self._pre += tag == "pre"
            if tag in ("ol", "ul"):
                self._end_line(1 if self._lists else 2)
                self._lists.append(1 if tag == "ol" else None)
        elif tag == "br":
            self._end_line(1)
        elif tag == "li":
            self._item()
        elif tag == "tr":
            self._cell, self._prefix = 0, ""
            self._end_line(1)
        elif tag in ("td", "th"):
            self._prefix += " | " if self._cell else ""
            self._cell += 1
        return True

    def _leave(self, node: Any) -> None:
        tag = node.tag
        if self._heading is not None and tag == f"h{self._heading[0]}":
            self._close_heading()
        elif tag in _BLOCKS:
            self._pre -= tag == "pre"
            if tag in ("ol", "ul"):
                self._lists.pop()
            self._end_line(1 if self._lists else 2)
        elif tag == "tr":
            self._cell, self._prefix = 0, ""
            self._end_line(1)
        elif tag == "li":
            self._end_line(1)

    def _is_apart(self, node: Any, tag: str) -> bool:
        """Whether a node is none of the page's text: hidden, or the frame that all pages of the site have."""
        if tag in _FRAME and node.parent is not None and node.parent.tag == "body":
            return True
        attributes = node.attributes
        if not attributes:
            return False
        hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true" or attributes.get("role") == "navigation"
        return hidden or bool(_HIDDEN.search(attributes.get("style") or ""))

    def _item(self) -> None:
        self._end_line(1)
        depth = "  " * max(len(self._lists) - 1, 0)
        number = self._lists[-1] if self._lists else None
        self._prefix = f"{depth}- " if number is None else f"{depth}{number}. "
        if number is not None:
            self._lists[-1] = number + 1

    def _open_heading(self, node: Any, level: int) -> None:
        self._end_line(2)
        self._prefix = ""
        self._flush()
        given = node.attributes.get("id") or ""
        if not given:
            inner = node.css_first("[id], a[name]")
            given = (inner.attributes.get("id") or inner.attributes.get("name") or "") if inner is not None else ""
        around = node.parent
        if not given and around is not None and around.tag in ("section", "article", "div") and _first(node):
            given = around.attributes.get("id") or ""
        self._heading = level, self._length, given

    def _close_heading(self) -> None:
        assert self._heading is not None  # noqa: S101
        level, begin, given = self._heading
        self._heading = None
        name = " ".join("".join(self._since(begin)).split())
        self._end_line(1)
        if name:
            self.titled = self.titled or level == 1
            self.marks.append(Mark(begin, self._length, *self._outline.at(level, name[:300], given[:200])))

    def _since(self, begin: int) -> list[str]:
        found, length = [], self._length
        for part in reversed(self._parts):
            if length <= begin:
                break
            found.append(part)
            length -= len(part)
        return found[::-1]

    def _end_line(self, lines: int) -> None:
        """See to it that what follows stands on another line; within a cell of a table, and a heading, on the same."""
        if self._heading is not None or self._cell:
            self._write(" ")
        else:
            self._break = max(self._break, lines)

    def _flush(self) -> None:
        if self._break and self._parts:
            self._put("\n" * self._break)
        self._break = 0

    def _write(self, text: str) -> None:
        if not self._pre or self._heading is not None:
            text = _SPACES.sub(" ", text)
            last = self._parts[-1][-1:] if self._parts else "\n"
            if self._break or self._prefix or last in (" ", "\n"):
                text = text.lstrip(" ")
        if not text:
            return
        self._flush()
        if self._prefix:
            ends = bool(self._parts) and self._parts[-1].endswith(" ")
            self._put(self._prefix[1:] if ends and self._cell else self._prefix)
            self._prefix = ""
        self._put(text)

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def _first(node: Any) -> bool:
    """Whether nothing but blanks stands before a node among its siblings."""
    before = node.prev
    while before is not None and before.tag == "-text" and not (before.text_content or "").strip():
        before = before.prev
    return before is None
