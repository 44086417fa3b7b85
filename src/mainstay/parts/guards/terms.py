"""`terms`: words that must not appear, such as competitors' names or forbidden claims.

Options: `terms`, the words; `action`: `refuse` (default), `retry` (the model is asked again without them) or `redact` (they are
blacked out). Matching ignores case (`STRASSE` is `Straße`, `İ` is `i`), compatibility forms (full-width letters, ligatures), the
width of spaces, and up to `HIDDEN` characters between two letters that nobody sees (zero-width spaces, soft hyphens, strokes
through a letter). It respects word ends where a script has them: `AcmeCorp` is not `AcmeCo`, but 用AcmeCo购买 holds it. In
data and in a tool's arguments every text and key is looked at.

`fold` says what else is passed over: `accents` (`Ácme`), `confusables` (letters of other scripts that look like Latin ones, such
as the Cyrillic а) and `leet` (`4cm3`: digits and signs that stand for letters).

Limits: it knows spellings, not meanings; a term that hidden characters stretch to more than about twice its length is not seen.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import re2
from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace, retry
from mainstay.core.reasons import Reason

FEW = 30  # terms up to which looking for each is quicker than the pattern
HIDDEN = 3
BLACK = "█"

# Characters that nobody sees, marks that a font lays over a letter, and the second halves of letters that are written in two.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U000e0000-\U000e0fff"
)
_LAID_OVER = "\u0300-\u034e\u0350-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_HALVES = (
    "\u0653-\u0655\u093c\u09be\u09d7\u0b3e\u0b56\u0b57\u0bbe\u0bd7\u0c56\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dca\u0dcf\u0ddf\u102e\u1161-\u11ff"
    "\u1b35\u3099\u309a\uff9e\uff9f"
)
_ADDED = f"[{_UNSEEN}{_LAID_OVER}{_HALVES}]"
_PIECE = re.compile(rf"(?s:([\x00-\x7f]+)(?!{_ADDED})|((?!{_ADDED}).)({_ADDED}{{0,{HIDDEN}}})|{_ADDED}+)")
_IS_ADDED = re.compile(_ADDED)
_ODD = re.compile(f"[{_UNSEEN}{_LAID_OVER}\u0131\ud800-\udfff]")  # and the dotless i, and halves of a character

# Between a term and what is around it: anything but a letter, a digit or a mark, or a letter of a script without spaces (or, as
# Korean, with endings that stick to a name).
_EDGE = r"[^\pL\pN\pM]|[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_BLANKS = r"[\s\v\x1c-\x1f\x{85}\x{1680}\x{2028}\x{2029}]{1,4}"
_EDGED = re.compile("[^\\W_]")


# Letters in lower case whose small or capital form looks like a Latin one: Cyrillic, Greek, Armenian, Latin of other sounds.
_CONFUSABLE = "авекмнорстухіјѕԁԛԝһӏ" + "αβεικνορτυχγ" + "օսհո" + "ɑɡıøłđ"
_LATIN = "abekmhopctyxijsdqwhl" + "abeikvoptuxy" + "ouhn" + "agiold"
_LEET = {ord(a): ord(b) for a, b in zip("0134578@$€", "oieastbase", strict=True)}


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    terms: Annotated[tuple[str, ...], Meta(min_length=1, description="The words that must not appear.")]
    action: Annotated[Literal["refuse", "retry", "redact"], Meta(description="What to do where one appears.")] = "refuse"
    fold: Annotated[
        tuple[Literal["accents", "confusables", "leet"], ...],
        Meta(
            description="What else is passed over: accents, look-alike letters of other scripts, digits in the place of letters."
        ),
    ] = ()


class Found(NamedTuple):
    """A term in a text: its place there, and how it is written."""

    start: int
    end: int
    written: str


class Terms:
    """The guard. `hold` is as long as the longest term can be written, so none slips out in halves."""

    options = Options

    def __init__(
        self, *, terms: tuple[str, ...] | list[str], action: str = "refuse", fold: tuple[str, ...] | list[str] = ()
    ) -> None:
        self._alike = _Alike(accents="accents" in fold, confusables="confusables" in fold) if set(fold) - {"leet"} else None
        self._leet = _LEET if "leet" in fold else None
        words = [" ".join(self._plain(_fold(term)).text.replace("\0", "").split()) for term in terms]
        if not all(words):
            raise ValueError("a term is empty")
        if any("\0" in term for term in terms):
            raise ValueError("a term holds the character NUL")
        words = _shortest(words)
        self._pattern = _pattern(words)
        self._action = action
        # Most texts hold no term at all, which plain containment sees sooner than a pattern does.
        self._hints = tuple({max(word.split(), key=len) for word in words}) if len(words) <= FEW else ()
        self._longest = max(2 * len(word) + 3 * word.count(" ") + 4 for word in words)
        self.hold = self._longest + HIDDEN + 1

    async def check(self, draft: Draft) -> Verdict:
        """Look for the terms in whatever of the draft could not be looked at before."""
        if draft.stage == "input":
            return self._judge_input(draft)
        for call in draft.tool_calls:
            if written := self._in_data([call.name, _read(call.arguments)]):
                return self._stop(written)
        if draft.data is not None:
            return self._judge_data(draft.data)
        if self._plainly_clean(draft.text, draft.shown):
            return ALLOW
        found = list(self._in_text(draft.text, shown=draft.shown, complete=draft.complete, once=self._action != "redact"))
        if not found:
            return ALLOW
        if self._action != "redact":
            return self._stop(found[0].written)
        if found[0].start < draft.shown:
            return refuse(Reason.UNSAFE_OUTPUT, "a term that must not appear could not be blacked out")
        return replace(text=_blacked_out(draft.text, found), detail=f"{len(found)} term(s) blacked out")

    def _plainly_clean(self, text: str, shown: int) -> bool:
        """Whether what was not shown yet is ASCII without any of the hints, which is seen much sooner than a match."""
        if not self._hints:
            return False
        rest = text[max(0, shown - self._longest - 1) :]
        if not rest.isascii():
            return False
        folded = rest.lower()
        if self._leet is not None:
            folded += "\n" + folded.translate(self._leet)
        return all(hint not in folded for hint in self._hints)

    def _plain(self, folded: _Folded) -> _Folded:
        """The text without the accents and look-alikes that are passed over; every character stays in its place."""
        return (
            folded if self._alike is None or folded.text.isascii() else folded._replace(text=folded.text.translate(self._alike))
        )

    def _stop(self, written: str) -> Verdict:
        detail = f"the term {written!r} must not appear"
        return retry(Reason.UNSAFE_OUTPUT, detail) if self._action == "retry" else refuse(Reason.UNSAFE_OUTPUT, detail)

    def _judge_input(self, draft: Draft) -> Verdict:
        for path, text in draft.call.texts():
            for found in self._in_text(text, once=True):
                return refuse(Reason.UNSAFE_INPUT, f"{path} holds the term {found.written!r}")
        return ALLOW

    def _judge_data(self, data: Any) -> Verdict:
        found = self._in_data(data)
        if not found:
            return ALLOW
        if self._action != "redact":
            return self._stop(found)
        data = self._redacted(data)
        if self._in_data(data):
            return refuse(Reason.UNSAFE_OUTPUT, "a term that must not appear could not be blacked out")
        return replace(data=data, detail="term(s) blacked out")

    def _in_data(self, data: Any) -> str:
        """The first term in any text or key of the data, as it is written there; empty where there is none."""
        return next((found.written for text in _texts(data) for found in self._in_text(text, once=True)), "")

    def _redacted(self, data: Any) -> Any:
        if isinstance(data, str):
            return _blacked_out(data, list(self._in_text(data)))
        if isinstance(data, dict):
            return {key: self._redacted(inner) for key, inner in data.items()}
        if isinstance(data, list | tuple):
            return [self._redacted(inner) for inner in data]
        return data

    def _in_text(self, text: str, *, shown: int = 0, complete: bool = True, once: bool = False) -> Iterator[Found]:
        """The terms in the part of a text that was not shown yet, as far as more text could not make them something else."""
        start = _piece_before(text, shown - self._longest - 1)
        folded = self._plain(_fold(text[start:] if start else text))
        yielded: list[Found] = []
        for written in (folded, *([] if self._leet is None else [folded._replace(text=folded.text.translate(self._leet))])):
            found = [f for f in self._matches(written, text, start, shown, complete, once) if _apart(f, yielded)]
            yielded += found
            if found and once:
                break
        yield from sorted(yielded)

    def _matches(self, folded: _Folded, text: str, start: int, shown: int, complete: bool, once: bool) -> Iterator[Found]:
        view, settled = (folded.text, len(folded.text)) if complete else (folded.view(), folded.settled)
        if self._hints and not any(hint in view for hint in self._hints):
            return
        # A blank stands for the text's own ends; in the middle of a text the first piece is there to be seen before a term.
        padded = (" " if start == 0 else "") + view + (" " if complete else "")
        shift = start == 0
        at = behind = 0
        match: Any
        while match := self._pattern.search(padded, at):
            group = next(i for i in range(1, 5) if match.start(i) >= 0)
            first, last = match.start(group) - shift, match.end(group) - shift
            found = Found(start + folded.place(first), start + folded.end(last), "")
            at = match.start(group) + 1
            if first < behind or last > settled or found.end <= shown or found.end - found.start > self._longest:
                continue
            yield found._replace(written=text[found.start : found.end])
            if once:
                return
            behind, at = last, match.end(group) - 1  # whose last character may be the edge of the next


class _Folded(NamedTuple):
    """A text as it is compared. `places` says where each of its characters comes from, and is None where nothing moved."""

    text: str
    places: list[int] | None
    length: int
    open: int  # characters at the end that more text could still change

    @property
    def settled(self) -> int:
        """How many of its characters more text cannot change: the last one may still get an accent."""
        return len(self.text) - self.open

    def view(self) -> str:
        """What can be looked at while more text is coming: an edge stays an edge, whatever is laid over it."""
        return self.text if self.open and _is_edge(self.text[-1]) else self.text[: self.settled]

    def place(self, i: int) -> int:
        return i if self.places is None else self.places[i]

    def end(self, i: int) -> int:
        """Where in the text the character before `i` ends, with all that belongs to it."""
        return i if self.places is None else self.places[i] if i < len(self.places) else self.length


class _Alike(dict[int, int]):
    """For `str.translate`: a letter without its accent, and the Latin letter that one of another script looks like."""

    def __init__(self, *, accents: bool, confusables: bool) -> None:
        super().__init__({ord(a): ord(b) for a, b in zip(_CONFUSABLE, _LATIN, strict=True)} if confusables else {})
        self._accents = accents

    def __missing__(self, code: int) -> int:
        base = unicodedata.normalize("NFD", chr(code))[0] if self._accents and code > 127 else chr(code)
        self[code] = self.get(ord(base), ord(base)) if base != chr(code) else code
        return self[code]


def _apart(found: Found, others: list[Found]) -> bool:
    return all(found.end <= other.start or found.start >= other.end for other in others)


def _fold(text: str) -> _Folded:
    """The text without regard to case, compatibility forms, hidden characters and kinds of blanks."""
    if text.isascii():
        return _Folded(text.lower(), None, len(text), min(1, len(text)))
    if not _ODD.search(text) and unicodedata.is_normalized("NFKC", text):
        plain = text.casefold()
        if len(plain) == len(text):
            return _Folded(plain, None, len(text), 1)
    pieces: list[str] = []
    places: list[int] = []
    open = 0
    for piece in _PIECE.finditer(text):
        run, base, added = piece.groups()
        if run is not None:
            folded, start = run.lower(), piece.start()
            places.extend(range(start, start + len(run)))
            open = 1
        else:
            folded = "\0" if base is None else _folded_piece(base, added)
            places.extend([piece.start()] * len(folded))
            open = 0 if base is None or len(added) == HIDDEN else len(folded)
        pieces.append(folded)
    return _Folded("".join(pieces), places, len(text), open)


@functools.lru_cache(4096)
def _folded_piece(base: str, added: str) -> str:
    whole = unicodedata.normalize("NFKC", base + re.sub(f"[{_UNSEEN}]", "", added))
    whole = unicodedata.normalize("NFKC", whole.casefold()).replace("ı", "i")
    seen = re.sub(f"[{_LAID_OVER}{_UNSEEN}]", "", whole)
    return " " if seen.isspace() else "\ufffd" if "\ud800" <= base <= "\udfff" else seen


def _is_edge(char: str) -> bool:
    return not char.isalnum() and unicodedata.category(char)[0] != "M"


def _piece_before(text: str, at: int) -> int:
    """The start of the piece that holds the character at that place; 0 for whatever is before the text."""
    if at <= 0:
        return 0
    while at and _IS_ADDED.match(text[at]):
        at -= 1
    return at


def _shortest(words: list[str]) -> list[str]:
    """The words without those that hold another as a word of its own: where they are, it is."""
    kept: list[str] = []
    for word in sorted(set(words), key=lambda word: (len(word), word)):
        within = [other for other in kept if other in word]
        if not within or not _pattern(within).search(f" {word} "):
            kept.append(word)
    return kept


def _pattern(words: list[str]) -> Any:
    """One pattern for all terms; its four groups are those that need an edge before, behind, both, or neither."""
    kinds: dict[tuple[bool, bool], list[str]] = {(a, b): [] for a in (True, False) for b in (True, False)}
    for word in words:
        escaped = re2.escape(word).replace("\\ ", " ").replace(" ", _BLANKS)
        kinds[bool(_EDGED.match(word[0])), bool(_EDGED.match(word[-1]))].append(escaped)
    parts = []
    for (before, behind), escaped_words in kinds.items():
        body = f"({'|'.join(escaped_words)})" if escaped_words else r"([^\x00-\x{10FFFF}])"
        parts.append((f"(?:{_EDGE})" if before else "") + body + (f"(?:{_EDGE})" if behind else ""))
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    return re2.compile("|".join(parts), options)


def _blacked_out(text: str, found: list[Found]) -> str:
    for start, end, _ in reversed(found):
        text = text[:start] + BLACK * (end - start) + text[end:]
    return text


def _texts(value: Any) -> Iterator[str]:
    """Every text and key in data, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _read(arguments: str) -> Any:
    """A tool call's arguments as data, so that no escape hides a term; as a text where they are not JSON."""
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return arguments
