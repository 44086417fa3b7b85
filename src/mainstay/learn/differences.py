"""What changed between two texts, word by word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from msgspec import Struct

from mainstay.core.later import pattern

MOST = 4_000  # words of a text that is compared word by word; of longer ones the whole is gone, and the whole is new
AROUND = 12  # words that are shown around a change
_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"  # scripts that put no spaces between words
_WORD = pattern(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|\s+|[^\w\s]")

Did = Literal["same", "gone", "new"]


class Piece(Struct, frozen=True, array_like=True):
    """A stretch of text, and what became of it."""

    did: Did
    text: str


Diff = tuple[Piece, ...]


def diff(then: str, now: str) -> Diff:
    """The pieces that make `then` (the same and the gone ones) and `now` (the same and the new ones). Spaces alone are no change.

    >>> [(p.did, p.text) for p in diff("within 30 days", "within 14  days")]
    [('same', 'within '), ('gone', '30'), ('new', '14'), ('same', ' days')]
    """
    old, new = _WORD.findall(then), _WORD.findall(now)
    if len(old) > MOST or len(new) > MOST:
        return tuple(_joined([("same", now)] if _words(then) == _words(now) else [("gone", then), ("new", now)]))
    matcher = SequenceMatcher(None, [_folded(word) for word in old], [_folded(word) for word in new], autojunk=False)
    found: list[tuple[Did, str]] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            found.append(("same", "".join(old[a:b])))
            continue
        found.append(("gone", "".join(old[a:b])))
        found.append(("new", "".join(new[c:d])))
    return tuple(_joined(found))


def changed(pieces: Sequence[Piece]) -> bool:
    """Whether anything but spaces differs."""
    return any(piece.did != "same" and piece.text.strip() for piece in pieces)


def shortened(pieces: Sequence[Piece]) -> Diff:
    """The changes with a few words around them; what is the same elsewhere is an ellipsis."""
    found = []
    for i, piece in enumerate(pieces):
        words = _WORD.findall(piece.text)
        if piece.did == "same" and len(words) > 2 * AROUND + 2:
            head = "".join(words[:AROUND]) if i else ""
            tail = "".join(words[-AROUND:]) if i < len(pieces) - 1 else ""
            piece = Piece("same", f"{head}…{tail}")  # noqa: PLW2901
        found.append(piece)
    return tuple(found)


def as_text(pieces: Sequence[Piece]) -> str:
    """`within [-30-]{+14+} days`, on one line."""
    marks = {"same": ("", ""), "gone": ("[-", "-]"), "new": ("{+", "+}")}
    return " ".join("".join(f"{marks[p.did][0]}{p.text}{marks[p.did][1]}" for p in pieces).split())


def holds(text: str, quote: str) -> bool:
    """Whether the quote stands in the text word for word, white space apart."""
    return _words(quote) in _words(text)


def _words(text: str) -> str:
    return " ".join(text.split())


def _folded(word: str) -> str:
    return " " if word.isspace() else word


def _joined(found: Sequence[tuple[Did, str]]) -> Iterator[Piece]:
    """Neighbours of one kind in one piece, empty ones left out."""
    did: Did | None = None
    text = ""
    for kind, piece in found:
        if not piece:
            continue
        if kind != did:
            if did is not None:
                yield Piece(did, text)
            did, text = kind, ""
        text += piece
    if did is not None:
        yield Piece(did, text)
