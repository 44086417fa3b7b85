"""`personal_data`: what is private in a call is kept from models, records and the cache, and nobody else's gets out.

Options: `input`, what becomes of personal data that a call brings: `replace` (default: placeholders such as `[email_1]`, put
back in what the caller gets), `redact` (`[email]`, for good), `refuse`, or `allow`; `output`, of personal data that a draft holds
and the caller did not bring: `redact` (default) or `refuse`; `kinds`, what is looked for; `keep`, what is nobody's: a whole value,
or `@example.com` for all its addresses; `regions`, whose telephone numbers are known without a word before them (extra `guards`).

The same value has the same placeholder in the whole call and its history, and everywhere that it stands, also where it would not
be recognised. A placeholder that the caller typed stays as it is: its number is not given out again. Limits: texts are looked at,
images and numbers are not; names of fields stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace
from mainstay.core.errors import ConfigError, nearest
from mainstay.core.model import Message, TextPart
from mainstay.core.personal_data import BEFORE, KINDS, Found, find
from mainstay.core.reasons import Reason

AHEAD = 32  # characters behind something that may say that it is something else
_LONG = {"url": 120, "address": 100, "email": 64}
_LENGTH = 44  # characters of what is of any other kind
_PLACEHOLDER = re.compile(r"\[\s*(\w+?)[\s_-]*(\d{1,4})\s*\]")
_BARE = re.compile(r"[\W_]+")
_replace = msgspec.structs.replace
Change = Callable[[str], str]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    input: Annotated[
        Literal["replace", "redact", "refuse", "allow"],
        Meta(description="What becomes of personal data that a call brings; `replace` puts it back in the answer."),
    ] = "replace"
    output: Annotated[
        Literal["redact", "refuse"], Meta(description="What becomes of personal data in a draft that the caller did not bring.")
    ] = "redact"
    kinds: Annotated[tuple[str, ...], Meta(min_length=1, description="What is looked for.")] = KINDS
    keep: Annotated[
        tuple[str, ...], Meta(description="What is nobody's: whole values, or `@example.com` for all addresses there.")
    ] = ()
    regions: Annotated[
        tuple[Annotated[str, Meta(pattern="^[A-Z]{2}$")], ...],
        Meta(description="Countries, such as `DE`, whose telephone numbers are known without a word before them."),
    ] = ()


class PersonalData:
    """The guard. `hold` is as long as the longest thing that it looks for, and what has to be seen behind it."""

    options = Options

    def __init__(
        self,
        *,
        input: str = "replace",
        output: str = "redact",
        kinds: Iterable[str] = KINDS,
        keep: Iterable[str] = (),
        regions: Iterable[str] = (),
    ) -> None:
        self._kinds = frozenset(kinds)
        for kind in self._kinds.difference(KINDS):
            raise ValueError(f"there is no kind of personal data {kind!r}; {nearest(kind, KINDS)}")
        self._input, self._output = input, output
        self._keep = frozenset([text.casefold() for text in keep])
        self._phones = _phones(tuple(regions)) if "phone" in self._kinds else None
        self._longest = max([_LONG.get(kind, _LENGTH) for kind in self._kinds])
        self.hold = self._longest + AHEAD
        self.hides = input != "allow"

    async def check(self, draft: Draft) -> Verdict:
        """Look for personal data in an input, or in what of a draft could not be looked at before."""
        if draft.stage == "input":
            return ALLOW if self._input == "allow" else self._judge_input(draft.call)
        for call in draft.tool_calls:
            for text in _texts(_read(call.arguments)):
                if found := self._strange(text, draft):
                    return refuse(Reason.UNSAFE_OUTPUT, f"{_counted(found)} in the arguments of {call.name}")
        if draft.data is not None:
            return self._judge_data(draft)
        found = self._settled(draft)
        if not found:
            return ALLOW
        if self._output == "refuse" or found[0].start < draft.shown:
            return refuse(Reason.UNSAFE_OUTPUT, _counted(found))
        return replace(text=_with(draft.text, found, lambda f: f"[{f.kind}]"), detail=_counted(found))

    def _find(self, text: str) -> list[Found]:
        """What is looked for, and is not nobody's."""
        found = [f for f in find(text) if f.kind in self._kinds]
        if self._phones is not None:
            found = _besides(found, self._phones(text))
        return [f for f in found if not self._kept(text[f.start : f.end].casefold())] if found and self._keep else found

    def _kept(self, value: str) -> bool:
        return value in self._keep or value[value.rfind("@") :] in self._keep

    # Output

    def _settled(self, draft: Draft) -> list[Found]:
        """What the part of the text that was not shown yet holds, as far as more text cannot make it something else."""
        start = _calm(draft.text, draft.shown - self._longest - BEFORE)
        end = len(draft.text) - (0 if draft.complete else AHEAD)
        moved = [Found(f.kind, start + f.start, start + f.end) for f in self._find(draft.text[start:] if start else draft.text)]
        return [f for f in self._not_brought(moved, draft.text, draft) if draft.shown < f.end <= end]

    def _strange(self, text: str, draft: Draft) -> list[Found]:
        return self._not_brought(self._find(text), text, draft)

    def _not_brought(self, found: list[Found], text: str, draft: Draft) -> list[Found]:
        """Without what the caller gave, or a slot of the call holds."""
        if not found:
            return found
        slots = [str(slot.value) for slot in draft.evidence.slots if slot.value is not None]
        brought = "\n".join([_bare(given) for given in (*[t for _, t in draft.call.texts()], *slots)])
        return [f for f in found if _bare(text[f.start : f.end]) not in brought]

    def _judge_data(self, draft: Draft) -> Verdict:
        found: list[Found] = []

        def redacted(text: str) -> str:
            strange = self._strange(text, draft)
            found.extend(strange)
            return _with(text, strange, lambda f: f"[{f.kind}]")

        data = _through(draft.data, redacted)
        if not found:
            return ALLOW
        return (
            refuse(Reason.UNSAFE_OUTPUT, _counted(found))
            if self._output == "refuse"
            else replace(data=data, detail=_counted(found))
        )

    # Input

    def _judge_input(self, call: Call) -> Verdict:
        texts = [text for text in _all_texts(call) if not text.startswith("data:")]
        by_text = {text: self._find(text) for text in texts}
        found = [f for own in by_text.values() for f in own]
        if not found:
            return ALLOW
        if self._input == "refuse":
            return refuse(Reason.UNSAFE_INPUT, f"{_counted(found)} in the input; send it without")
        names = _Names(texts)
        for text, own in by_text.items():
            for f in own:
                names.name(f.kind, text[f.start : f.end])
        put = self._input == "replace"

        def hidden(text: str) -> str:
            own = by_text.get(text)
            if own is None:
                return text
            whole = _besides(own, names.again(text))
            return _with(text, whole, lambda f: names.name(f.kind, text[f.start : f.end]) if put else f"[{f.kind}]")

        return Verdict(
            action="replace",
            detail=f"{_counted(found)} in the input",
            input=_through(call.input, hidden) if call.input else None,
            history=tuple([_replace(turn, text=hidden(turn.text)) for turn in call.history]) if call.history else None,
            request=_replace(call.request, messages=tuple([_message(m, hidden) for m in call.request.messages]))
            if call.request is not None
            else None,
            placeholders=names.values() if put else {},
        )


class _Names:
    """The placeholders of one call. The same value always has the same one; numbers that the caller typed are not given out."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._typed = {(_bare(m[1]), int(m[2])) for text in texts for m in _PLACEHOLDER.finditer(text)}
        self._last: dict[str, int] = {}
        self._pattern: re.Pattern[str] | None = None

    def name(self, kind: str, value: str) -> str:
        name = self._names.get(value)
        if name is None:
            number = self._last.get(kind, 0) + 1
            while (_bare(kind), number) in self._typed:
                number += 1
            self._last[kind] = number
            name = self._names[value] = f"[{kind}_{number}]"
            self._kinds[value] = kind
            self._pattern = None
        return name

    def again(self, text: str) -> list[Found]:
        """Where the values stand in a text."""
        if self._pattern is None:
            written = sorted(self._names, key=len, reverse=True)
            self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, written))})(?!\w)")
        return [Found(self._kinds[m[0]], *m.span()) for m in self._pattern.finditer(text)]

    def values(self) -> dict[str, str]:
        return {name: value for value, name in self._names.items()}


def _phones(regions: tuple[str, ...]) -> Callable[[str], list[Found]] | None:
    """A function that finds the telephone numbers of these countries. Raises `ConfigError` without the extra."""
    if not regions:
        return None
    try:
        import phonenumbers
    except ImportError as error:
        raise ConfigError("`regions` needs the package phonenumbers", next='pip install "mainstay[guards]"') from error
    if unknown := [region for region in regions if region not in phonenumbers.SUPPORTED_REGIONS]:
        raise ConfigError(f"there is no region {unknown[0]!r}", next='regions = ["DE", "US"]')

    def numbers(text: str) -> list[Found]:
        if sum([char.isdigit() for char in text]) < 7:
            return []
        found: list[Found] = []
        for region in regions:
            for match in phonenumbers.PhoneNumberMatcher(text, region):
                found = _besides(found, [Found("phone", match.start, match.end)])
        return found

    return numbers


def _besides(found: list[Found], more: Iterable[Found]) -> list[Found]:
    """With those of the others that overlap none of the first."""
    apart = [f for f in more if all(f.end <= other.start or f.start >= other.end for other in found)]
    return sorted([*found, *apart], key=lambda f: f.start) if apart else found


def _calm(text: str, at: int) -> int:
    """A place no later than that at which nothing can be in progress: behind a word of letters and a blank, or 0."""
    while at > 1 and not (text[at - 1].isspace() and text[at - 2].isalpha()):
        at -= 1
    return max(0, at) if at > 1 else 0


def _with(text: str, found: list[Found], by: Callable[[Found], str]) -> str:
    pieces, at = [], 0
    for f in found:
        pieces += [text[at : f.start], by(f)]
        at = f.end
    return "".join(pieces) + text[at:]


def _counted(found: list[Found]) -> str:
    """What was found, without saying it: `2 email, 1 phone`."""
    kinds = [f.kind for f in found]
    return ", ".join([f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)])


def _bare(text: str) -> str:
    """A value as it is compared: `0171 / 123-45` and `0171 12345` are one."""
    return _BARE.sub("", text).casefold()


def _all_texts(call: Call) -> Iterator[str]:
    """The texts of a call, the oldest first: so a conversation that goes on keeps its numbers."""
    for turn in call.history:
        yield turn.text
    yield from _texts(call.input)
    for message in call.request.messages if call.request is not None else ():
        yield from _message_texts(message)


def _message_texts(message: Message) -> Iterator[str]:
    yield message.text if isinstance(message.content, str) else ""
    for part in () if isinstance(message.content, str) else message.content:
        if isinstance(part, TextPart):
            yield part.text
    for call in message.tool_calls:
        yield from _texts(_read(call.arguments))
    yield message.reasoning or ""


def _message(message: Message, change: Change) -> Message:
    """A message with its texts changed: what it says, and what it asks of tools."""
    content = message.content
    return _replace(
        message,
        content=change(content)
        if isinstance(content, str)
        else tuple([_replace(part, text=change(part.text)) if isinstance(part, TextPart) else part for part in content]),
        tool_calls=tuple([_replace(call, arguments=_arguments(call.arguments, change)) for call in message.tool_calls]),
        reasoning=None if message.reasoning is None else change(message.reasoning),
    )


def _arguments(arguments: str, change: Change) -> str:
    data = _read(arguments)
    changed = _through(data, change)
    if changed == data:
        return arguments
    return str(changed) if data is arguments else msgspec.json.encode(changed).decode()


def _read(arguments: str) -> Any:
    """A tool call's arguments as data, so that no escape hides anything; as a text where they are not JSON."""
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return arguments


def _texts(value: Any) -> Iterator[str]:
    """Every text in data, however deep, and the names of fields that the caller chose."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _through(value: Any, change: Change) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _through(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_through(inner, change) for inner in value])
    return value
