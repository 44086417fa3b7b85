"""`personal_data`: what is private in a call is kept from models, records and the cache, and nobody else's gets out.

Options: `input`, what becomes of personal data that a call brings: `replace` (default: placeholders such as `[email_1]`, put
back in what the caller gets), `redact` (`[email]`, for good), `refuse`, or `allow`; `output`, of personal data that a draft
holds and the caller did not bring: `redact` (default) or `refuse`; `kinds`, what is looked for; `keep`, what is nobody's: a
whole value, or `@example.com` for all its addresses; `regions`, whose telephone numbers are known without a word before them
(extra `guards`).

The same value has the same placeholder in the whole call and its history, and everywhere that it stands, also where it would
not be recognised. A placeholder that the caller typed stays as it is: its number is not given out again.

Names of persons, organisations and places, and ages, are looked for only where `kinds` names them: a small model tells them, in
English, experimentally (docs/cards/personal-data.md), and it needs the whole answer, of which nothing is shown before. Limits:
texts are looked at, images and numbers are not; names of fields stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace
from mainstay.core.errors import ConfigError, nearest
from mainstay.core.personal_data import BEFORE, KINDS, Found, find
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold
from mainstay.parts import persons
from mainstay.parts.texts import calm, changed, read_arguments, texts_in, texts_of, through

AHEAD = 32  # characters behind something that may say that it is something else
_LONG = {"url": 120, "address": 100, "email": 64}
NAMES = ("person", "organisation", "place", "age")  # told by a trained model, for which a word's neighbours count
_LENGTH = 44  # characters of what is of any other kind
_PLACEHOLDER = re.compile(r"\[\s*(\w+?)[\s_-]*(\d{1,4})\s*\]")
_BARE = re.compile(r"[\W_]+")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    input: Annotated[
        Literal["replace", "redact", "refuse", "allow"],
        Meta(description="What becomes of personal data that a call brings; `replace` puts it back in the answer."),
    ] = "replace"
    output: Annotated[
        Literal["redact", "refuse"], Meta(description="What becomes of personal data in a draft that the caller did not bring.")
    ] = "redact"
    kinds: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1, description="What is looked for; `person`, `organisation`, `place` and `age` only where they are named."
        ),
    ] = KINDS
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
        for kind in self._kinds.difference(KINDS, NAMES):
            raise ValueError(f"there is no kind of personal data {kind!r}; {nearest(kind, (*KINDS, *NAMES))}")
        self._names = persons.shipped() if self._kinds.intersection(NAMES) else None
        self._input, self._output = input, output
        self._keep = frozenset([text.casefold() for text in keep])
        self._phones = _phones(tuple(regions)) if "phone" in self._kinds else None
        self._longest = max([_LONG.get(kind, _LENGTH) for kind in self._kinds])
        self.hold: int | Hold = self._longest + AHEAD if self._names is None else Hold.WHOLE
        self.hides = input != "allow"

    async def check(self, draft: Draft) -> Verdict:
        """Look for personal data in an input, or in what of a draft could not be looked at before."""
        if draft.stage == "input":
            return ALLOW if self._input == "allow" else self._judge_input(draft.call)
        for call in draft.tool_calls:
            for text in texts_in(read_arguments(call.arguments)):
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
        found = find(text)
        if self._names is not None:
            found = self._names.beside(text, found)
        found = [f for f in found if f.kind in self._kinds]
        if self._phones is not None:
            found = _besides(found, self._phones(text))
        return [f for f in found if not self._kept(text[f.start : f.end].casefold())] if found and self._keep else found

    def _kept(self, value: str) -> bool:
        return value in self._keep or value[value.rfind("@") :] in self._keep

    # Output

    def _settled(self, draft: Draft) -> list[Found]:
        """What the part of the text that was not shown yet holds, as far as more text cannot make it something else."""
        if self._names is not None and not draft.complete:
            return []
        start = calm(draft.text, draft.shown - self._longest - BEFORE)
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

        data = through(draft.data, redacted)
        if not found:
            return ALLOW
        return (
            refuse(Reason.UNSAFE_OUTPUT, _counted(found))
            if self._output == "refuse"
            else replace(data=data, detail=_counted(found))
        )

    # Input

    def _judge_input(self, call: Call) -> Verdict:
        by_text = {text: self._find(text) for text in texts_of(call)}
        found = [f for own in by_text.values() for f in own]
        if not found:
            return ALLOW
        if self._input == "refuse":
            return refuse(Reason.UNSAFE_INPUT, f"{_counted(found)} in the input; send it without")
        given = _Placeholders(by_text)
        for text, own in by_text.items():
            for f in own:
                given.name(f.kind, text[f.start : f.end])
        put = self._input == "replace"

        def hidden(text: str) -> str:
            own = by_text.get(text)
            if own is None:
                return text
            whole = _besides(own, given.again(text))
            return _with(text, whole, lambda f: given.name(f.kind, text[f.start : f.end]) if put else f"[{f.kind}]")

        return changed(call, hidden, f"{_counted(found)} in the input", given.values() if put else {})


class _Placeholders:
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
