"""`schema`: reads the data out of what a model wrote and holds it to the feature's schema.

The text is parsed as JSON; where it is not, it is repaired by json-repair (fences, prose around it, quotes, commas), and of
several values in one text the one that fits is taken. Values that can only mean one thing are put right: "42" is a number, "Yes"
one of `yes` and `no`, 21.11.2026 a date, a lone value an array of one; a time without a zone is UTC, and null for a property that
need not be there is its absence. What still does not fit is asked for again, with the path of each fault. A pydantic model does
its own reading. `$ref` to anything outside the schema is refused: a validator must not fetch addresses.

Limits: what is nested more than `DEEPEST` times, or longer than `LONGEST` characters, is not repaired.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec

from mainstay.core.draft import ALLOW, Draft, Verdict, replace, retry
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold

FAULTS_TOLD = 5
ROUNDS = 4  # how often what was put right may show something else to put right
LONGEST, DEEPEST = 200_000, 100
LONG = 2_000  # characters whose repair takes long enough to leave the event loop
NOT_JSON = "the answer is not JSON; write the JSON value alone"

_WHOLE = re.compile(r"[+-]?\d{1,100}")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3}){2,}(?:\.\d+)?|,\d{3}\.\d+)")  # "1,234" alone may be a fraction elsewhere
_DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%b %d %Y"),
)
_decode = msgspec.json.Decoder().decode


class Unreadable(ValueError):
    """The text holds no JSON at all, or data that does not fit; the message is the remark for the model."""


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"a schema may not refer to {uri}; put the definition under $defs")


class Schema:
    """The guard; made with a JSON Schema or a pydantic model class."""

    hold = Hold.WHOLE

    def __init__(self, *, schema: dict[str, Any] | None = None, model: Any = None) -> None:
        if (schema is None) == (model is None):
            raise ValueError("it needs the schema or the model that [answer] names")
        self._model = model
        self._validator = None
        if schema is not None:
            try:
                self._validator = jsonschema_rs.validator_for(schema, retriever=_refuse_to_fetch, validate_formats=True)
            except jsonschema_rs.ValidationError as error:
                raise ValueError(f"the JSON Schema is not valid: {error.message}") from None

    async def check(self, draft: Draft) -> Verdict:
        """Replace the text by its data, or ask for it again."""
        if draft.stage == "input" or draft.tool_calls:
            return ALLOW
        try:
            data = await self._read(draft.text) if draft.data is None else self.fit(draft.data)
        except Unreadable as error:
            return retry(Reason.SCHEMA_INVALID, str(error))
        return ALLOW if data is draft.data else replace(data=data)

    async def _read(self, text: str) -> Any:
        """The data in a text. Raises `Unreadable` with what to tell the model."""
        try:
            data = _strictly(text)
        except Unreadable:
            _check_repairable(text)
            return self._repaired(text) if len(text) <= LONG else await asyncio.to_thread(self._repaired, text)
        return self.fit(data)

    def _repaired(self, text: str) -> Any:
        data = parse(text)
        try:
            return self.fit(data)
        except Unreadable:
            if not isinstance(data, list) or text.lstrip().startswith("["):
                raise
            fitting = list(self._fitting(data))  # the text held several values
            if len(fitting) != 1:
                raise
            return fitting[0]

    def _fitting(self, values: list[Any]) -> Iterator[Any]:
        for value in values:
            with contextlib.suppress(Unreadable):
                yield self.fit(value)

    def fit(self, data: Any) -> Any:
        """The data, put right where that is plain, if it fits. Raises `Unreadable`."""
        if self._model is not None:
            return self._fit_model(data)
        faults = self._faults(data)
        if not faults:
            return data
        root = [copy.deepcopy(data)]
        for _ in range(ROUNDS):
            before = msgspec.json.encode(root)
            for fault in _leaves(faults):
                _mend(root, [0, *fault.instance_path], fault.kind)
            if not (faults := self._faults(root[0])):
                return root[0]
            if msgspec.json.encode(root) == before:
                break
        without = _without_nulls(root, faults)
        if not self._faults(without):
            return without
        raise Unreadable("; ".join(f"at {_path(f.instance_path)}: {f.message[:200]}" for f in faults[:FAULTS_TOLD]))

    def _faults(self, data: Any) -> list[Any]:
        assert self._validator is not None  # noqa: S101
        try:
            return list(self._validator.iter_errors(data))
        except ValueError as error:  # nested beyond what the validator takes
            raise Unreadable(f"the answer cannot be checked: {error}") from None

    def _fit_model(self, data: Any) -> Any:
        try:
            # By alias, because that is what the model's schema says, and what is read again when the answer comes from the cache.
            return _sendable(self._model.model_validate(data).model_dump(mode="json", by_alias=True))
        except ValueError as error:
            if isinstance(error, Unreadable):
                raise
            faults = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
            raise Unreadable("; ".join(f"at {_path(f['loc'])}: {f['msg'][:200]}" for f in faults[:FAULTS_TOLD])) from None


def parse(text: str) -> Any:
    """The JSON value in a text, repaired where that is needed. Raises `Unreadable`."""
    with contextlib.suppress(Unreadable):
        return _strictly(text)
    _check_repairable(text)
    import json_repair

    try:
        value = json_repair.loads(text)
    except (ValueError, RecursionError):
        value = ""
    if value == "" or (isinstance(value, list) and not re.search(r"[\[{(]", text)):
        raise Unreadable(NOT_JSON)
    return _sendable(value)


def _check_repairable(text: str) -> None:
    if len(text) > LONGEST or _depth(text) > DEEPEST:
        raise Unreadable("the answer is no JSON that can be repaired: it is too long, or nested too deeply")


def _strictly(text: str) -> Any:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise Unreadable(NOT_JSON) from None


def _depth(text: str) -> int:
    """How deep the brackets are nested, those in strings too: an upper bound."""
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _sendable(value: Any) -> Any:
    """The value, if JSON can carry it: no NaN, no half of a surrogate pair. Raises `Unreadable`."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        raise Unreadable("the answer holds a number or a character that JSON does not know") from None
    return value


def _path(parts: Any) -> str:
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)


def _leaves(faults: list[Any]) -> Iterator[Any]:
    """The faults, and in place of "fits none of these" what is wrong with each of them."""
    for fault in faults:
        if fault.kind.name in ("anyOf", "oneOf") and getattr(fault.kind, "context", None):
            for branch in fault.kind.context:
                yield from _leaves(branch)
        else:
            yield fault


def _mend(root: list[Any], path: list[Any], kind: Any) -> None:
    """Put the value at the path right, where there is one plain reading of it."""
    holder: Any = root
    try:
        for step in path[:-1]:
            holder = holder[step]
        value = holder[path[-1]]
    except (KeyError, IndexError, TypeError):  # what was put right before has moved it
        return
    if kind.name == "type":
        holder[path[-1]] = _as_type(value, set(kind.types))
    elif kind.name == "format" and isinstance(value, str):
        holder[path[-1]] = _as_format(value.strip(), kind.format)
    elif kind.name == "enum":
        holder[path[-1]] = _as_option(value, kind.options)


def _as_type(value: Any, types: set[str]) -> Any:
    if isinstance(value, str):
        return _text_as_type(value, value.strip(), types)
    if isinstance(value, float) and types == {"integer"} and value.is_integer():
        return int(value)
    if "string" in types and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if types == {"array"} and value is not None:
        return [value]
    return value


def _text_as_type(value: str, text: str, types: set[str]) -> Any:
    if types & {"number", "integer"}:
        plain = text.replace(",", "") if _GROUPED.fullmatch(text) else text
        if _WHOLE.fullmatch(plain):
            return int(plain)
        with contextlib.suppress(msgspec.DecodeError):
            number = _decode(plain.removeprefix("+"))
            if isinstance(number, float):
                return int(number) if types == {"integer"} and number.is_integer() else number
    if "boolean" in types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "null" in types and text.lower() in ("", "null", "none"):
        return None
    if types & {"array", "object"} and text[:1] in ("[", "{"):
        with contextlib.suppress(Unreadable):
            return _strictly(text)
    return [value] if types == {"array"} else value


def _as_option(value: Any, options: list[Any]) -> Any:
    """The one option that differs in nothing but case, white space, or quotes around a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    wanted = str(value).strip().casefold()
    same = [option for option in options if not isinstance(option, bool) and str(option).strip().casefold() == wanted]
    return same[0] if len(same) == 1 else value


def _as_format(text: str, name: str) -> str:
    """A date, a time or both as RFC 3339 writes them; the text itself where it has no reading, or more than one."""
    with contextlib.suppress(ValueError):
        if name == "time":
            time = datetime.time.fromisoformat(text.upper())
            return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).isoformat()
        if name in ("date", "date-time"):
            moment = _moment(text)
            if name == "date":
                return moment.date().isoformat()
            return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).isoformat()
    return text


def _moment(text: str) -> datetime.datetime:
    with contextlib.suppress(ValueError):
        return datetime.datetime.fromisoformat(text)
    readings = set()
    for form in _DATES:
        with contextlib.suppress(ValueError):
            readings.add(datetime.datetime.strptime(text, form))
    if len(readings) != 1:
        raise ValueError("no reading, or more than one")
    return readings.pop()


def _without_nulls(root: list[Any], faults: list[Any]) -> Any:
    """The data without the properties that are null and should not be."""
    copied = copy.deepcopy(root)
    for fault in faults:
        holder: Any = copied
        path: list[Any] = [0, *fault.instance_path]
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for step in path[:-1]:
                holder = holder[step]
            if isinstance(holder, dict) and holder[path[-1]] is None:
                del holder[path[-1]]
    return copied[0]
