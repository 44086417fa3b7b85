"""What the caller gave, put back in the place of its placeholders: the last thing that happens to an event on its way out.

An input guard may put placeholders such as `[person_1]` for what is private; models, guards, the cache and the record see only
those. What they stand for is known to the one call that brought it, and forgotten with it: calls that share a production each put
back their own. Models do not copy placeholders exactly, so case, blanks, hyphens, Markdown's backslashes and look-alike brackets
are passed over, and nothing else is: a name without its number, or in another language, stays as it is written.
"""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from mainstay.core.answer import Answer, Citation, Cited, Data, Event, Retract, Step, Text
from mainstay.core.later import pattern
from mainstay.core.model import ToolCall

LONGEST = 48  # characters of a placeholder, however it is written
_OPEN, _CLOSE = r"\[［【〔「", r"\]］】〕」"
_WRITTEN = pattern(rf"\\?[{_OPEN}]([\w\s\\＿-]{{1,{LONGEST}}})[{_CLOSE}]")
_BEGUN = pattern(rf"\\?(?:[{_OPEN}][\w\s\\＿-]{{0,{LONGEST}}})?\Z")
_SIGN = pattern(rf"[{_OPEN}]")
_BETWEEN = pattern(r"[\s_\\-]+")
_replace = msgspec.structs.replace


def restored(value: Any, placeholders: Mapping[str, str]) -> Any:
    """A text, or data with texts in it, with what the caller gave in the place of each placeholder."""
    return _through(value, _Names(placeholders).restored) if placeholders else value


class _Put(NamedTuple):
    """What was put back: where the placeholder stood, and by how much everything behind it moved."""

    start: int
    end: int
    moved: int


class _Names:
    """What each placeholder stands for, however it is written."""

    def __init__(self, placeholders: Mapping[str, str]) -> None:
        self._known = {_plain(name.strip("[]")): value for name, value in placeholders.items()}

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where placeholders stand, and what for."""
        if _SIGN.search(text):
            for match in _WRITTEN.finditer(text):
                value = self._known.get(_plain(match[1]))
                if value is not None:
                    yield match.start(), match.end(), value

    def restored(self, text: str) -> str:
        return self._put(text, str)

    def in_json(self, text: str) -> str:
        """The same within JSON text, whose strings escape quotes and line ends."""
        return self._put(text, lambda value: json.dumps(value, ensure_ascii=False)[1:-1])

    def _put(self, text: str, written: Callable[[str], str]) -> str:
        pieces, at = [], 0
        for start, end, value in self.find(text):
            pieces += [text[at:start], written(value)]
            at = end
        return "".join(pieces) + text[at:] if pieces else text

    def begun(self, text: str) -> int:
        """Where a placeholder begins that more text could complete; the text's end where none does."""
        match = _BEGUN.search(text, max(0, len(text) - LONGEST - 2))
        if match is None or match.end() == match.start():
            return len(text)
        inner = _plain(match[0].lstrip("\\")[1:])
        return match.start() if any(name.startswith(inner) for name in self._known) else len(text)


class Restoring:
    """The events of one call, each with what the caller gave. Without placeholders they pass as they are."""

    def __init__(self, placeholders: Mapping[str, str]) -> None:
        self._names = _Names(placeholders) if placeholders else None
        self._held = ""  # the end of what was written, which may be the first half of a placeholder
        self._before = 0  # characters written before that
        self._put: list[_Put] = []

    def events(self, events: Iterable[Event], *, over: bool = False) -> Iterable[Event]:
        """These, as the reader gets them. `over` says that no more will come but the answer: nothing is held back any more."""
        return events if self._names is None else list(self._restored(self._names, events, over))

    def answer(self, answer: Answer) -> Answer:
        """The last event."""
        names = self._names
        if names is None:
            return answer
        put = _moves(names.find(answer.text), 0, 0)
        return _replace(
            answer,
            text=names.restored(answer.text),
            data=_through(answer.data, names.restored),
            detail=None if answer.detail is None else names.restored(answer.detail),
            citations=tuple([_cited(citation, put, names) for citation in answer.citations]),
            tool_calls=_calls(answer.tool_calls, names),
        )

    def _restored(self, names: _Names, events: Iterable[Event], over: bool) -> Iterator[Event]:
        for event in events:
            if isinstance(event, Text):
                yield from self._text(names, event.text, last=False)
                continue
            if isinstance(event, Retract):
                self._held = ""
            elif not isinstance(event, Step):
                yield from self._text(names, "", last=True)
            yield self._event(names, event)
        if over:
            yield from self._text(names, "", last=True)

    def _text(self, names: _Names, new: str, *, last: bool) -> Iterator[Text]:
        text = self._held + new
        end = len(text) if last else names.begun(text)
        self._put += _moves(names.find(text[:end]), self._before, self._put[-1].moved if self._put else 0)
        self._held, self._before = text[end:], self._before + end
        if end:
            yield Text(names.restored(text[:end]))

    def _event(self, names: _Names, event: Event) -> Event:
        if isinstance(event, Data):
            return Data(_through(event.data, names.restored), _calls(event.tool_calls, names))
        return Cited(_cited(event.citation, self._put, names)) if isinstance(event, Cited) else event


def _plain(name: str) -> str:
    """A placeholder's name as it is compared."""
    return _BETWEEN.sub("", unicodedata.normalize("NFKC", name)).casefold()


def _moves(found: Iterable[tuple[int, int, str]], before: int, moved: int) -> list[_Put]:
    put = []
    for start, end, value in found:
        moved += len(value) - (end - start)
        put.append(_Put(before + start, before + end, moved))
    return put


def _cited(citation: Citation, put: list[_Put], names: _Names) -> Citation:
    """The citation, for the text as the reader sees it."""
    start, end = _moved(citation.start, put, at_end=False), _moved(citation.end, put, at_end=True)
    return _replace(citation, start=start, end=end, quote=names.restored(citation.quote))


def _moved(place: int, put: list[_Put], *, at_end: bool) -> int:
    """Where a place of the text is now. One within a placeholder goes to the nearer end of what the stretch covers."""
    i = bisect_right(put, place, key=lambda p: p.start)
    if not i:
        return place
    inside = put[i - 1]
    before = put[i - 2].moved if i > 1 else 0
    if place >= inside.end:
        return place + inside.moved
    return inside.end + inside.moved if at_end and place > inside.start else inside.start + before


def _calls(calls: tuple[ToolCall, ...], names: _Names) -> tuple[ToolCall, ...]:
    return tuple([_replace(call, arguments=names.in_json(call.arguments)) for call in calls])


def _through(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_through(key, change): _through(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_through(inner, change) for inner in value)
    return value
