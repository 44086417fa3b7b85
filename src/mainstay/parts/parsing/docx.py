"""Word documents (`.docx`) as text and marks: headings by their styles, lists with dashes, tables with ` | ` between cells.

What was deleted or moved away under "track changes", and what is formatted as hidden, is not read. The archive is opened here,
without a library: two of its files are needed, each read to a limit, and XML that declares a document type is refused, so
neither a zip bomb nor one of entities has anything to grow in.

Limits: no headers, footers, footnotes and comments; the numbers of lists and headings are not computed.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from xml.parsers import expat

from mainstay.core.errors import SourceError
from mainstay.parts.parsing.cutting import Mark, Outline

LARGEST_XML = 100_000_000  # bytes of one file of the archive
BROKEN = "save it anew as .docx"
ITEM = -1  # in the place of a heading's level: the style of an item of a list

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main "
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main "
_SKIPPED = frozenset({"moveFrom", "del", "Fallback", "instrText"})
_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)

Attributes = Mapping[str, str]


def read(data: bytes) -> tuple[str, list[Mark]]:
    """The text, and where its sections begin. Raises `SourceError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            main = _main_part(archive)
            styles = posixpath.join(posixpath.dirname(main), "styles.xml")
            levels = _levels(archive, styles) if styles in archive.namelist() else {}
            text = _Text(levels)
            _parse(_member(archive, main), text.begin, text.end, text.characters)
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, EOFError, RuntimeError, ValueError, OSError) as error:
        what = (
            "it is encrypted or an old .doc"
            if data.startswith(b"\xd0\xcf\x11\xe0")
            else "it is no Word document that can be read"
        )
        raise SourceError(f"{what}: {str(error).strip()[:100]}", next=BROKEN) from None
    except expat.ExpatError as error:
        raise SourceError(f"the XML in it is broken: {error}", next=BROKEN) from None
    return text.whole(), text.marks


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive. What its directory says of its size is not believed."""
    with archive.open(name) as file:
        data = file.read(LARGEST_XML + 1)
    if len(data) > LARGEST_XML:
        raise SourceError(f"its {name} unpacks to more than {LARGEST_XML // 1_000_000} MB", next=BROKEN)
    return data


def _main_part(archive: zipfile.ZipFile) -> str:
    """The name of the file that holds the text."""
    found: list[str] = []

    def begin(name: str, attributes: Attributes) -> None:
        if name.endswith(" Relationship") and attributes.get("Type", "").endswith("/officeDocument"):
            found.append(attributes.get("Target", "").lstrip("/"))

    if "_rels/.rels" in archive.namelist():
        _parse(_member(archive, "_rels/.rels"), begin)
    return found[0] if found else "word/document.xml"


def _levels(archive: zipfile.ZipFile, name: str) -> dict[str, int]:
    """The level of heading that each style stands for; a title is above all."""
    found: dict[str, int] = {}
    style = ""

    def begin(name: str, attributes: Attributes) -> None:
        nonlocal style
        tag = _local(name)
        if tag == "style":
            style = _value(attributes, "styleId")
        elif tag == "name":
            written = _value(attributes, "val")
            if level := _HEADING.fullmatch(written):
                found[style] = int(level[1])
            elif written.lower() == "title":
                found[style] = 0
            elif written.lower().startswith(("list bullet", "list number")):
                found[style] = ITEM
        elif tag == "outlineLvl" and style not in found and _value(attributes, "val") in tuple("012345678"):
            found[style] = int(_value(attributes, "val")) + 1

    _parse(_member(archive, name), begin)
    return found


def _parse(
    data: bytes,
    begin: Callable[[str, Attributes], None],
    end: Callable[[str], None] | None = None,
    characters: Callable[[str], None] | None = None,
) -> None:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.Parse(data, True)


def _refuse(*_: object) -> None:
    raise SourceError("its XML declares a document type, which no Word document does", next=BROKEN)


def _local(name: str) -> str:
    """The element's name, where it is one of Word's; that of a fallback too, which says again what stands before it."""
    for namespace in (_W, _STRICT):
        if name.startswith(namespace):
            return name[len(namespace) :]
    return "Fallback" if name.endswith(" Fallback") else ""


def _value(attributes: Attributes, name: str) -> str:
    return next((attributes[key] for key in (_W + name, _STRICT + name) if key in attributes), "")


class _Paragraph:
    """A paragraph as it is read: its text and its level as a heading."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.level: int | None = None
        self.item = False


class _Text:
    """The document, written from its first paragraph to its last."""

    def __init__(self, levels: Mapping[str, int]) -> None:
        self.marks: list[Mark] = []
        self._levels, self._outline = levels, Outline()
        self._parts: list[str] = []
        self._length = 0
        self._open: list[_Paragraph] = []  # a text box stands inside of a paragraph
        self._rows: list[list[str]] = []  # of the tables that are open, the cells of the row
        self._skipped = 0
        self._in_text = self._hidden = False

    def whole(self) -> str:
        return "".join(self._parts)

    def begin(self, name: str, attributes: Attributes) -> None:
        tag = _local(name)
        if self._skipped or tag in _SKIPPED:
            self._skipped += 1
        elif tag == "p":
            self._open.append(_Paragraph())
        elif tag == "tr":
            self._rows.append([])
        elif tag == "tc" and self._rows:
            self._rows[-1].append("")
        elif tag == "r":
            self._hidden = False
        elif tag == "vanish":
            self._hidden = _value(attributes, "val") not in ("0", "false", "off")
        elif self._open:
            self._within(tag, attributes)

    def _within(self, tag: str, attributes: Attributes) -> None:
        paragraph = self._open[-1]
        if tag == "t":
            self._in_text = not self._hidden
        elif tag in ("tab", "br", "cr"):
            paragraph.text.append("\t" if tag == "tab" else "\n")
        elif tag == "noBreakHyphen":
            paragraph.text.append("-")
        elif tag == "pStyle":
            paragraph.level = self._levels.get(_value(attributes, "val"), paragraph.level)
        elif tag == "outlineLvl" and _value(attributes, "val") in tuple("012345678"):
            paragraph.level = int(_value(attributes, "val")) + 1
        elif tag == "numPr":
            paragraph.item = True

    def characters(self, data: str) -> None:
        if self._in_text and not self._skipped and self._open:
            self._open[-1].text.append(data)

    def end(self, name: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        tag = _local(name)
        if tag == "t":
            self._in_text = False
        elif tag == "r":
            self._hidden = False
        elif tag == "p" and self._open:
            self._paragraph(self._open.pop())
        elif tag == "tr" and self._rows:
            row = " | ".join([" ".join(cell.split()) for cell in self._rows.pop()])
            self._line(row, "\n") if row.strip(" |") else None
        elif tag == "tbl" and not self._rows:
            self._put("\n")

    def _paragraph(self, paragraph: _Paragraph) -> None:
        text = "".join(paragraph.text).strip()
        if not text:
            return
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += f" {text}"
        elif paragraph.level is not None and paragraph.level != ITEM:
            name = " ".join(text.split())[:300]
            begin = self._length
            self._line(text, "\n\n")
            self.marks.append(Mark(begin, self._length, *self._outline.at(paragraph.level, name)))
        elif paragraph.item or paragraph.level == ITEM:
            self._line(f"- {text}", "\n")
        else:
            self._line(text, "\n\n")

    def _line(self, text: str, end: str) -> None:
        if self._rows:  # a table in a cell is part of it
            if self._rows[-1]:
                self._rows[-1][-1] += f" {text}"
            return
        self._put(text + end)

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
