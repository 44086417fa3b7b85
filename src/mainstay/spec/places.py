"""Where each key of a TOML text stands, for errors that name a line.

`tomllib` says nothing of lines once a text was read, so this walks through the text again. It only ever sees texts that
`tomllib` has accepted, and therefore checks nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

from mainstay.core.later import pattern

Place = tuple[str | int, ...]

_BLANK = pattern(r"(?:[ \t\n]|#[^\n]*)*")
_BARE = pattern(r"[A-Za-z0-9_-]+")
_SCALAR = pattern(r"[^,\]}\n#]*")
_STRING = pattern(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)


def places(text: str) -> dict[Place, int]:
    """The line, counted from 1, of every table, key and array item. The text is TOML, its lines ended by `\\n`."""
    return _Walk(text).places


def dotted(place: Place) -> str:
    """`ladder[1].prompt`; a name that TOML would quote is quoted."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE.fullmatch(step) else repr(step))
    return text


class _Walk:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._starts = [0, *[m.end() for m in re.finditer("\n", text)]]
        self._last: dict[Place, int] = {}  # the index of the last table of each array of tables
        self.places: dict[Place, int] = {}
        table: Place = ()
        self._skip()
        while self._at < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _note(self, place: Place, at: int) -> None:
        self.places.setdefault(place, bisect_right(self._starts, at))

    def _header(self) -> Place:
        """`[a.b]` or `[[a.b]]`: below an array of tables it belongs to the array's last table."""
        at, array = self._at, self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        *outer, name = self._key()
        self._at = self._text.index("]", self._at) + (2 if array else 1)
        place: Place = ()
        for step in outer:
            place = (*place, step)
            self._note(place, at)
            if place in self._last:
                place = (*place, self._last[place])
        place = (*place, name)
        self._note(place, at)
        if array:
            self._last[place] = self._last.get(place, -1) + 1
            place = (*place, self._last[place])
            self._note(place, at)
        return place

    def _pair(self, table: Place) -> None:
        at, place = self._at, table
        for step in self._key():
            place = (*place, step)
            self._note(place, at)
        self._at = self._text.index("=", self._at) + 1
        self._value(place)

    def _key(self) -> list[str]:
        names: list[str] = []
        while True:
            self._skip()
            found = _BARE.match(self._text, self._at) or _STRING.match(self._text, self._at)
            assert found is not None, "only what tomllib has accepted is walked through"  # noqa: S101
            name = found.group()
            names.append(tomllib.loads(f"k = {name}")["k"] if name[0] in "\"'" else name)
            self._at = found.end()
            self._skip()
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _value(self, place: Place) -> None:
        self._skip()
        opening = self._text[self._at]
        if opening == "[":
            self._items(place)
        elif opening == "{":
            self._pairs(place)
        else:
            found = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = found.end() if found else self._at

    def _items(self, place: Place) -> None:
        number = 0
        self._at += 1
        while self._ended("]"):
            self._note((*place, number), self._at)
            self._value((*place, number))
            number += 1

    def _pairs(self, place: Place) -> None:
        self._at += 1
        while self._ended("}"):
            self._pair(place)

    def _ended(self, closing: str) -> bool:
        """Go to the next item; False, behind the bracket, where there is none."""
        self._skip()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip()
        if self._text[self._at] == closing:
            self._at += 1
            return False
        return True
