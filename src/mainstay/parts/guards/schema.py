"""`schema`: reads the data out of what a model wrote and holds it to the feature's schema.

The text is parsed as JSON; where it is not, it is repaired by json-repair (fences, prose around it, quotes, commas);
values of the wrong type that can only mean one thing are put right ("42" is a number, a date-time is a date). What still does
not fit is asked for again, with the path of each fault. A pydantic model does its own reading. `$ref` to anything outside the
schema is refused: a validator must not fetch addresses.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from typing import Any

import jsonschema_rs
import msgspec

from mainstay.core.draft import ALLOW, Draft, Verdict, replace, retry
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold

FAULTS_TOLD = 5
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_decode = msgspec.json.Decoder().decode


class Unreadable(ValueError):
    """The text holds no JSON at all, or data that does not fit; the message is the remark for the model."""


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"a schema may not refer to {uri}; put the definition under $defs")


class Schema:
    """The guard; made with a JSON Schema or a pydantic model class."""

    hold = Hold.WHOLE

    def __init__(self, *, schema: dict[str, Any] | None = None, model: Any = None) -> None:
        self._model = model
        self._validator = None
        if model is None:
            try:
                self._validator = jsonschema_rs.validator_for(schema or {}, retriever=_refuse_to_fetch, validate_formats=True)
            except jsonschema_rs.ValidationError as error:
                raise ValueError(f"the JSON Schema is not valid: {error.message}") from None

    async def check(self, draft: Draft) -> Verdict:
        if draft.stage == "input" or draft.tool_calls:
            return ALLOW
        try:
            data = self.read(draft.text) if draft.data is None else self.fit(draft.data)
        except Unreadable as error:
            return retry(Reason.SCHEMA_INVALID, str(error))
        return ALLOW if data is draft.data else replace(data=data)

    def read(self, text: str) -> Any:
        """The data in a text. Raises `Unreadable` with what to tell the model."""
        return self.fit(parse(text))

    def fit(self, data: Any) -> Any:
        """The data, put right where that is plain, if it fits. Raises `Unreadable`."""
        if self._model is not None:
            return self._fit_model(data)
        assert self._validator is not None  # noqa: S101
        faults = list(self._validator.iter_errors(data))
        if not faults:
            return data
        mended = msgspec.json.decode(msgspec.json.encode(data))
        for fault in faults:
            mended = _mend(mended, list(fault.instance_path), fault.kind)
        faults = list(self._validator.iter_errors(mended))
        if faults:
            raise Unreadable("; ".join(f"at {_path(f.instance_path)}: {f.message[:200]}" for f in faults[:FAULTS_TOLD]))
        return mended

    def _fit_model(self, data: Any) -> Any:
        try:
            return self._model.model_validate(data).model_dump(mode="json")
        except ValueError as error:
            faults = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
            raise Unreadable("; ".join(f"at {_path(f['loc'])}: {f['msg'][:200]}" for f in faults[:FAULTS_TOLD])) from None


def parse(text: str) -> Any:
    """The JSON value in a text, repaired where that is needed. Raises `Unreadable`."""
    with contextlib.suppress(msgspec.DecodeError):
        return _decode(text)
    import json_repair

    try:
        value = json_repair.loads(text)
    except (ValueError, RecursionError):
        value = ""
    if value == "" or (isinstance(value, list) and "[" not in text):
        raise Unreadable("the answer is not JSON; write the JSON value alone")
    return value


def _path(parts: Any) -> str:
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)


def _mend(data: Any, path: list[Any], kind: Any) -> Any:
    """The data with the value at the path put right, where there is one plain reading of it."""
    if path:
        holder = data
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = _mend(holder[path[-1]], [], kind)
        return data
    if kind.name == "type":
        return _as_type(data, set(kind.types))
    if kind.name == "format" and isinstance(data, str):
        return _as_format(data, kind.format)
    return data


def _as_type(value: Any, types: set[str]) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if types & {"number", "integer"} and _NUMBER.fullmatch(text):
            number = float(text.replace(",", ""))
            return int(number) if number.is_integer() else number
        if "boolean" in types and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if "null" in types and text.lower() in ("", "null", "none"):
            return None
    if isinstance(value, float) and types == {"integer"} and value.is_integer():
        return int(value)
    if "string" in types and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if types == {"array"} and not isinstance(value, list | dict):
        return [value]
    return value


def _as_format(text: str, name: str) -> str:
    with contextlib.suppress(ValueError):
        moment = datetime.datetime.fromisoformat(text.strip())
        if name == "date":
            return moment.date().isoformat()
        if name == "date-time":
            return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).isoformat()
    return text
