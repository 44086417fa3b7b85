"""Slots: typed facts, fetched at query time from systems of record, beside the search and before the cache is looked at.

Each is kept in memory for as long as it is `fresh`, by what it was asked with; calls that want the same one at the same time
share one fetching, which belongs to none of them. What cannot be fetched is what the feature's file says it is (`stale`): a
reason to pass over the rungs that need a model, a fact that is left out, or an older value that says so.

What it does not know: how a fact is fetched. That is a function a slot, made at load (`mainstay/slotting.py`).
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.errors import MainstayError, SourceError
from mainstay.core.evidence import Slot
from mainstay.core.feature import SlotSpec
from mainstay.core.later import pattern
from mainstay.serve.placeholders import restored
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.slots")
SHARE_OF_TIME = 0.5  # of what is left, at most, may be spent on fetching
MARGIN = 0.25  # seconds beyond its time after which a fetching that has not ended is not waited for any more
KEPT = 10_000  # values of one slot that are kept
LONGEST = 2_000  # characters of a value
DIGITS = 30  # of a number
NOT_FOUND = "the system of record has none"

_NUMBER = pattern(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?")
_YES_NO = {"true": "true", "false": "false", "1": "true", "0": "false"}
# Characters that nobody sees, or that change how others are shown: no fact has them, and a hidden instruction may.
_UNSEEN = pattern(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)
Fetch = Callable[[Mapping[str, Any]], Awaitable[Any]]


class _Kept(Struct, frozen=True):
    """A value as it was fetched: None where the system of record has none. `at` is a time of day, `clock` never goes back."""

    value: str | None
    at: float
    clock: float


class LiveSlot:
    """One slot of a feature. `fetch` gives its raw value for these parameters, None where there is none, or raises."""

    def __init__(self, name: str, spec: SlotSpec, fields: Sequence[str], fetch: Fetch) -> None:
        self.name, self.spec, self.fields, self._fetch = name, spec, tuple(fields), fetch
        self._kept: dict[tuple[Any, ...], _Kept] = {}
        self._running: dict[tuple[Any, ...], tuple[asyncio.Task[_Kept], float]] = {}

    async def read(self, values: Mapping[str, Any], shown: Mapping[str, Any], seconds: float) -> Slot:
        """The fact, or why there is none. `shown` are the parameters as a record may hold them."""
        asked = {name: _text(shown.get(name)) for name in self.fields}
        slot = Slot(name=self.name, type=self.spec.type, unit=self.spec.unit, asked=asked)
        absent = [name for name in self.fields if values.get(name) is None or values[name] == ""]
        if absent:
            return msgspec.structs.replace(slot, missing=f"the call brings no `{absent[0]}`")
        parameters = {name: values[name] for name in self.fields}
        odd = [name for name, value in parameters.items() if not isinstance(value, str | int | float)]
        if odd:
            return msgspec.structs.replace(slot, missing=f"`{odd[0]}` is no single value")
        key = tuple(parameters.values())
        kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept.clock > self.spec.fresh:
            try:
                kept = await self._fetched(key, parameters, seconds)
            except MainstayError as error:
                log.warning("the slot %s could not be fetched: %s", self.name, error.what)
                return self._instead(slot, kept, error.what)
        missing = NOT_FOUND if kept.value is None else ""
        return msgspec.structs.replace(slot, value=kept.value, at=kept.at, missing=missing)

    def _instead(self, slot: Slot, kept: _Kept | None, why: str) -> Slot:
        """What stands for a fact that could not be fetched; `stale` says that it is not what it should be."""
        slot = msgspec.structs.replace(slot, stale=True, missing=why)
        if self.spec.stale != "use" or kept is None or kept.value is None:
            return slot
        return msgspec.structs.replace(slot, value=kept.value, at=kept.at)

    async def _fetched(self, key: tuple[Any, ...], parameters: Mapping[str, Any], seconds: float) -> _Kept:
        """Fetch it, or wait with whoever fetches the same now."""
        now, place = time.monotonic(), (asyncio.get_running_loop(), *key)
        task, since = self._running.get(place, (None, now))
        if task is None or now - since > self.spec.timeout + 2 * MARGIN:
            task = asyncio.create_task(self._fetch_and_keep(key, dict(parameters)))
            self._running[place] = task, now
            task.add_done_callback(lambda done: self._ended(place, done))
        await asyncio.wait([task], timeout=max(0.0, min(seconds, self.spec.timeout + 2 * MARGIN)))
        if not task.done():
            raise SourceError(f"it was not there after {time.monotonic() - now:.1f} s")
        return task.result()

    async def _fetch_and_keep(self, key: tuple[Any, ...], parameters: Mapping[str, Any]) -> _Kept:
        at, clock = time.time(), time.monotonic()
        try:
            async with asyncio.timeout(self.spec.timeout + MARGIN):  # a database stops by itself, and says why
                raw = await self._fetch(parameters)
        except TimeoutError:
            raise SourceError(f"it was not there after {self.spec.timeout:g} s") from None
        except MainstayError:
            raise
        except Exception as error:
            log.error("the slot %s failed", self.name, exc_info=error)
            raise SourceError(f"{type(error).__name__} while it was fetched") from error
        kept = _Kept(None if raw is None or raw == "" else typed(raw, self.spec), at, clock)
        self._kept.pop(key, None)
        self._kept[key] = kept
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return kept

    def _ended(self, place: tuple[Any, ...], task: asyncio.Task[_Kept]) -> None:
        if self._running.get(place, (None,))[0] is task:
            del self._running[place]
        if not task.cancelled():
            task.exception()  # looked at, should nobody wait any more


class LiveSlots:
    """The slots of a feature. `private` says that one of them is asked with the call's user."""

    def __init__(self, slots: Sequence[LiveSlot]) -> None:
        self._slots = tuple(slots)
        self.private = any("user" in slot.fields for slot in slots)

    async def fetch(self, values: Mapping[str, Any], shown: Mapping[str, Any], *, seconds: float) -> tuple[Slot, ...]:
        """Every slot, in the file's order, whatever becomes of it, in so many seconds."""
        return tuple(await asyncio.gather(*[slot.read(values, shown, seconds) for slot in self._slots]))


async def fetch(trace: Trace) -> tuple[Slot, ...]:
    """The facts for this call; none where its feature has no slots."""
    slots = trace.ready.slots
    if slots is None:
        return ()
    call = trace.call
    shown = {**trace.ready.read_input(call.input), "user": call.user, "tenant": call.tenant}
    values = restored(shown, trace.placeholders)  # no system of record knows our placeholders
    return await slots.fetch(values, shown, seconds=max(0.0, (trace.deadline - time.monotonic()) * SHARE_OF_TIME))


def wanting(slots: Sequence[Slot], specs: Mapping[str, SlotSpec]) -> Slot | None:
    """A slot without which no model may be asked: it could not be fetched, and the file does not say to do without."""
    return next((s for s in slots if s.stale and s.value is None and s.name in specs and specs[s.name].stale != "drop"), None)


def in_prompt(slots: Sequence[Slot]) -> str:
    """What templates see as `slots`: one block, a line of JSON a fact, in which no value can end a line or the block."""
    lines = [_line(slot) for slot in slots]
    return "\n".join(["<facts>", *lines, "</facts>"])


def _line(slot: Slot) -> str:
    said: dict[str, Any] = {"name": slot.name}
    if slot.value is None:
        said["value"] = None
        said["unknown"] = (
            "it cannot be looked up at the moment" if slot.stale else NOT_FOUND if slot.at else "it was not asked for"
        )
    else:
        said["value"] = slot.value
        if slot.unit:
            said["unit"] = slot.unit
        if slot.at:
            said["as_of"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(slot.at))
        if slot.stale:
            said["note"] = "this is older than it should be; say as of when it is"
    line = json.dumps(_without_unseen(said), ensure_ascii=False)
    return line.replace("<", "\\u003c").replace(">", "\\u003e").replace("{{", "{ {")


def _without_unseen(said: dict[str, Any]) -> dict[str, Any]:
    return {name: _UNSEEN.sub("", value) if isinstance(value, str) else value for name, value in said.items()}


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)


def typed(raw: Any, spec: SlotSpec) -> str:
    """A raw value as the text of its type. Raises `SourceError` for what is none; the value may be private, so it is not
    repeated.
    """
    if isinstance(raw, list | tuple | dict | set | bytes):
        raise SourceError(f"it is no single value but a {type(raw).__name__}")
    read = _READ.get(spec.type, _read_text)
    value = read(raw)
    if value is None:
        raise SourceError(f"it is no {spec.type}")
    if len(value) > LONGEST:
        raise SourceError(f"it has {len(value)} characters; at most {LONGEST}")
    return value


def _read_text(raw: Any) -> str | None:
    return str(raw).strip() or None


def _read_number(raw: Any) -> str | None:
    if isinstance(raw, bool):
        return None
    text = repr(raw) if isinstance(raw, float) else str(raw).strip()
    if not _NUMBER.fullmatch(text):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if len(number.as_tuple().digits) > DIGITS or abs(number.adjusted()) > DIGITS:
        return None
    number = number.normalize()
    return f"{number:f}" if number else "0"


def _read_money(raw: Any) -> str | None:
    text = _read_number(raw)
    if text is None or "." not in text:
        return text
    return text + "0" * (2 - len(text.partition(".")[2]))


def _read_date(raw: Any) -> str | None:
    if isinstance(raw, datetime.date):
        return raw.isoformat()
    text = str(raw).strip()
    for read in (datetime.date.fromisoformat, datetime.datetime.fromisoformat):
        try:
            return read(text).isoformat() if "-" in text else None
        except ValueError:
            continue
    return None


def _read_boolean(raw: Any) -> str | None:
    return _YES_NO.get(str(raw).strip().lower())


_READ: dict[str, Callable[[Any], str | None]] = {
    "money": _read_money,
    "number": _read_number,
    "date": _read_date,
    "boolean": _read_boolean,
}
