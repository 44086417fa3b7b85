"""The kinds of documents that are read as knowledge: the endings of their files and their media types."""

from __future__ import annotations

from pathlib import PurePosixPath

MARKDOWN, TEXT, HTML = "text/markdown", "text/plain", "text/html"
PDF, CSV, TSV = "application/pdf", "text/csv", "text/tab-separated-values"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

LARGEST = 50_000_000  # bytes of one document; what is larger is a database or an archive, and nobody's page

_BY_ENDING = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".txt": TEXT,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".pdf": PDF,
    ".docx": DOCX,
    ".csv": CSV,
    ".tsv": TSV,
}


def media_of(name: str) -> str | None:
    """The media type of a file with that name; None for a kind that is not read."""
    return _BY_ENDING.get(PurePosixPath(name).suffix.lower())


def too_large(size: int) -> str:
    """The sentence for a document of that many bytes; empty where it may be read."""
    return "" if size <= LARGEST else f"it has {size // 1_000_000} MB, and a document has at most {LARGEST // 1_000_000}"
