"""A document's bytes as sections, by its media type. Called by `safely.py`, for most kinds in a process of its own."""

from __future__ import annotations

import hashlib
from email.message import Message

from msgspec import Struct

from mainstay.core.errors import SourceError
from mainstay.parts import media
from mainstay.parts.parsing import docx, html, markdown, pdf, table
from mainstay.parts.parsing.cutting import Mark, Section, cut
from mainstay.parts.text import decoded

VERSION = 1  # of how documents are read and cut; with another, all are read anew
LONGEST_TEXT = 20_000_000  # characters of one document
PACKAGES = {media.HTML: "selectolax", media.PDF: "pypdf"}


class Parsed(Struct, frozen=True, kw_only=True):
    """A document in sections. `version` is a hash of its text; `title` is one that no heading of it says."""

    sections: tuple[Section, ...]
    version: str
    title: str = ""


def kind_of(written: str) -> tuple[str, str]:
    """The media type in small letters, and the charset that it declares."""
    message = Message()
    message["content-type"] = " ".join(written.split())
    return message.get_content_type(), (message.get_content_charset() or "")


def parse(written: str, data: bytes) -> Parsed:
    """The sections of a document. Raises `SourceError`, which says what is wrong with it."""
    kind, charset = kind_of(written)
    title = ""
    marks: list[Mark] = []
    if kind in (media.MARKDOWN, media.TEXT):
        text = decoded(data, charset)
    elif kind in (media.HTML, "application/xhtml+xml"):
        text, marks, title = html.read(data, charset)
    elif kind == media.PDF:
        text, marks = pdf.read(data)
    elif kind == media.DOCX:
        text, marks = docx.read(data)
    elif kind in (media.CSV, media.TSV):
        text, marks = table.read(data, charset, "\t" if kind == media.TSV else table.SEPARATORS)
    else:
        raise SourceError(f"documents of the kind {kind} are not read", next="convert it to HTML, PDF, DOCX, Markdown or text")
    if len(text) > LONGEST_TEXT:
        raise SourceError(f"there are {len(text)} characters in it, and at most {LONGEST_TEXT} are read", next="split it")
    sections = markdown.sections(text) if kind == media.MARKDOWN else cut(text, marks)
    version = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Parsed(sections=tuple(sections), version=version, title=title)
