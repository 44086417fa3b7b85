"""A folder of documents, or one file: every file of a kind that is read.

Linked folders are read like others, each once; files and folders whose name starts with a dot are not read. The front matter
of a Markdown file may say who may see it (`tenants`, `roles`) and who answers for it (`approver`, `review`).

Limits: files are read on the event loop that asks for them, which is an indexing run's own.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from mainstay.core.errors import SourceError
from mainstay.core.seams import Raw
from mainstay.parts import media
from mainstay.parts.readers.described import Audience, audience
from mainstay.parts.text import declared, decoded

READABLE = "make it readable, or take it away"


class Folder:
    """The reader. `path` is a folder or one file; `link` is put before `document#anchor` to link to a passage."""

    at_load = True  # files are at hand, so the index is brought up to date whenever the project is loaded

    def __init__(self, *, name: str, path: str, link: str | None = None) -> None:
        self._root, self._shown, self._link = Path(path), path, link

    async def documents(self) -> AsyncIterator[Raw]:
        """Every document that there is now. Raises `SourceError` where the folder, or one in it, cannot be looked into."""
        if not self._root.exists():
            raise SourceError(f'there is no file or folder "{self._shown}"', next="check its `path`")
        alone = not self._root.is_dir()
        files = [self._root] if alone else _files(self._root)
        if not files:
            raise SourceError(f'there are no documents in "{self._shown}"', next="check its `path`")
        for file in files:
            document = file.relative_to(self._root.parent if alone else self._root)
            yield self._document(file, os.fsencode(document.as_posix()).decode("utf-8", "replace"))

    def _document(self, file: Path, id: str) -> Raw:
        link = None if self._link is None else self._link + quote(id)
        kind = media.media_of(file.name) or media.TEXT
        try:
            data = _read(file)
            seen = _front_matter(data) if kind == media.MARKDOWN else Audience()
        except FileNotFoundError:
            if not self._root.exists():
                raise SourceError(f'"{self._shown}" disappeared while it was read', next="put it back, and index again") from None
            gone = "its link leads nowhere" if file.is_symlink() else "it disappeared while the folder was read"
            return Raw(id=id, link=link, fault=f"it cannot be read: {gone}; next: {READABLE}")
        except OSError as error:
            return Raw(id=id, link=link, fault=f"it cannot be read: {error.strerror}; next: {READABLE}")
        except SourceError as error:
            return Raw(id=id, link=link, fault=f"{error.what}; next: {error.next}")
        return Raw(id=id, data=data, media=kind, link=link, tenants=seen.tenants, roles=seen.roles, curated=seen.curated)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        data = b"" if size > media.LARGEST else opened.read(media.LARGEST + 1)
    if what := media.too_large(max(size, len(data))):
        raise SourceError(what, next="split it, or put it into a database")
    return data


def _front_matter(data: bytes) -> Audience:
    """What the front matter says. Raises `SourceError` where it says it wrongly."""
    try:
        text = decoded(data)
    except SourceError:  # which the parser will say, and then nothing of it is shown
        return Audience()
    return audience(declared(text))


def _files(root: Path) -> list[Path]:
    """The files of a folder. A folder that is linked from several places, or from within, is read once."""
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
        raise SourceError(f'"{error.filename}" cannot be read: {error.strerror}', next=READABLE) from None
    return sorted(found)


def _raised(error: OSError) -> None:
    raise error


def _is_document(path: Path) -> bool:
    """By its name. A link to nowhere is one that cannot be read; a pipe or a device is none."""
    named = media.media_of(path.name) is not None and not path.name.startswith(".")
    return named and (path.is_file() or not path.exists())
