"""Documents that are made to hurt whoever parses them, written byte by byte."""

from __future__ import annotations

import io
import zipfile
import zlib

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def pdf(*contents: bytes, encoding: bytes = b"", extra: bytes = b"") -> bytes:
    """A PDF with a page for each of these streams of drawing commands."""
    kids = b" ".join(b"%d 0 R" % (10 + 2 * i) for i in range(len(contents)))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R " + extra + b" >>",
        2: b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, len(contents)),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for i, stream in enumerate(contents):
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>"
        objects[10 + 2 * i] = page % (11 + 2 * i)
        objects[11 + 2 * i] = b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(stream), encoding, stream)
    out, places = b"%PDF-1.4\n", {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start, size = len(out), max(objects) + 1
    lines = [b"%010d 00000 n \n" % places[n] if n in places else b"0000000000 65535 f \n" for n in range(size)]
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, start)
    return out + b"xref\n0 %d\n" % size + b"".join(lines) + trailer


def page(text: str) -> bytes:
    """A page's stream that draws this text."""
    return b"BT /F1 12 Tf 20 200 Td (%b) Tj ET" % text.encode("latin-1")


def pdf_bomb(size: int) -> bytes:
    """A PDF of some kilobytes whose one page unpacks to so many bytes."""
    return pdf(zlib.compress(b" " * size, 9), encoding=b"/Filter /FlateDecode")


def pdf_without_end() -> bytes:
    """A PDF whose tree of pages leads back to its root."""
    whole = pdf(page("Round and round."))
    return whole.replace(b"/Kids [10 0 R] /Count 1", b"/Kids [2 0 R]  /Count 1")


def docx(*paragraphs: str, body: str = "", styles: str = "") -> bytes:
    """A Word document with these paragraphs, or this body."""
    body = body or "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    files = {"word/document.xml": f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'}
    if styles:
        files["word/styles.xml"] = f'<w:styles xmlns:w="{W}">{styles}</w:styles>'
    return zipped({name: text.encode() for name, text in files.items()})


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def zip_bomb(megabytes: int) -> bytes:
    """A Word document of some hundred kilobytes that unpacks to so many megabytes."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as file,
    ):
        for _ in range(megabytes):
            file.write(b" " * 1_000_000)
    return out.getvalue()


def entity_bomb() -> bytes:
    """A Word document whose XML has entities that grow a billionfold."""
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    body = f'<w:document xmlns:w="{W}"><w:p><w:r><w:t>&a9;</w:t></w:r></w:p></w:document>'
    xml = f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{entities}]>{body}'
    return zipped({"word/document.xml": xml.encode()})
