"""PDF as text and marks: a section a page, its anchor `page=N`, its heading the entry of the outline that begins on it.

A word that is hyphenated at the end of a line is joined where the document writes it whole elsewhere. Needs the extra `docs`
(pypdf).

Limits: no OCR, so a scanned page has no text; the order of columns and the cells of tables are as the file draws them.
"""

from __future__ import annotations

import io
import logging
import re
from typing import Any

from mainstay.core.errors import SourceError
from mainstay.parts.parsing.cutting import Mark
from mainstay.parts.parsing.html import EXTRA

DEEPEST = 6  # levels of the outline that are read

_HYPHENATED = re.compile(r"(\w+)-\n(\w+)")
_WORD = re.compile(r"\w+")


def read(data: bytes) -> tuple[str, list[Mark]]:
    """The text, and where its pages begin. Raises `SourceError`."""
    try:
        import pypdf
        from pypdf.errors import PyPdfError
    except ImportError:
        raise SourceError("PDF is read with pypdf, which is not installed", next=EXTRA) from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise SourceError("it is encrypted", next="save it without a password")
        pages = [page.extract_text() for page in reader.pages]
    except pypdf.errors.DependencyError:
        raise SourceError("it is encrypted", next="save it without encryption") from None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, OverflowError) as error:
        what = f"it is no PDF that can be read: {' '.join(str(error).split())[:100] or type(error).__name__}"
        raise SourceError(what, next="save it anew, or convert it to text") from None
    if not any(page.strip() for page in pages):
        raise SourceError("there is no text in it, only images", next="run text recognition (OCR) over it")
    return _joined(_clean(pages), _headings(reader))


def _clean(pages: list[str]) -> list[str]:
    """Without halves of characters and zeros, and with the words whole that the document also writes whole."""
    pages = [page.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "") for page in pages]
    known = {word.lower() for page in pages for word in _WORD.findall(page)}

    def whole(found: re.Match[str]) -> str:
        word = found[1] + found[2]
        return f"{word}\n" if word.lower() in known else found[0]

    return [_HYPHENATED.sub(whole, page) for page in pages]


def _joined(pages: list[str], headings: dict[int, tuple[str, ...]]) -> tuple[str, list[Mark]]:
    marks: list[Mark] = []
    parts: list[str] = []
    at, heading = 0, tuple[str, ...]()
    for number, page in enumerate(pages):
        heading = headings.get(number, heading)
        marks.append(Mark(at, at, heading, f"page={number + 1}"))
        parts += [page, "\n\n"]
        at += len(page) + 2
    return "".join(parts), marks


def _headings(reader: Any) -> dict[int, tuple[str, ...]]:
    """The path of the first entry of the outline that begins on a page, by page; none where the outline is broken."""
    found: dict[int, tuple[str, ...]] = {}

    def read(entries: Any, path: tuple[str, ...]) -> None:
        last = path
        for entry in entries:
            if isinstance(entry, list):
                if len(path) < DEEPEST:
                    read(entry, last)
                continue
            last = (*path, " ".join(str(entry.title).split())[:300])
            number = reader.get_destination_page_number(entry)
            if number is not None:
                found.setdefault(number, last)

    try:
        read(reader.outline, ())
    except Exception:  # an outline that leads nowhere is no reason to leave out the pages
        return {}
    return found
