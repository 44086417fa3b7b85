"""`schema`: the answer's data fits a JSON Schema, or is JSON at all.

`true` asks for data of any shape, a JSON Schema for data that fits it. Of a free text, the whole has to be JSON: nothing is
repaired. Without an expectation the option `schema` is taken, and a refusal is none of its business. A `$ref` to anything outside
the schema is an error.
"""

from __future__ import annotations

import functools
import json
from typing import Annotated, Any

import jsonschema_rs
from msgspec import Meta, Struct

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import NoData, data_of, quoted, refused

FAULTS_TOLD = 3


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    schema: Annotated[dict[str, Any] | None, Meta(description="The JSON Schema of an answer whose case names none.")] = None


class Schema:
    """The scorer."""

    options = Options

    def __init__(self, *, schema: dict[str, Any] | None = None) -> None:
        self._schema: Any = True if schema is None else schema
        _validator(self._schema)

    def check_expected(self, expected: Any) -> None:
        """`true`, or a JSON Schema."""
        _validator(expected)

    async def score(self, subject: Subject) -> Opinion | None:
        """Hold the answer's data to the schema."""
        if subject.expected is None and refused(subject.answer):
            return None
        validator = _validator(self._schema if subject.expected in (None, True) else subject.expected)
        try:
            faults = [
                f"at {_path(fault.instance_path)}: {fault.message}" for fault in validator.iter_errors(data_of(subject.answer))
            ]
        except NoData as error:
            return rejects(str(error))
        except ValueError as error:  # nested beyond what the validator takes
            return rejects(f"it cannot be checked: {error}")
        if not faults:
            return accepts()
        told = "; ".join(fault[:200] for fault in faults[:FAULTS_TOLD])
        return rejects(told.encode("utf-8", "replace").decode())


def _validator(schema: Any) -> Any:
    if schema is not True and not isinstance(schema, dict):
        raise ValueError(f"expected `true` or a JSON Schema, got {quoted(schema)}")
    return _compiled(json.dumps(schema))


@functools.lru_cache(maxsize=1000)
def _compiled(schema: str) -> Any:
    try:
        return jsonschema_rs.validator_for(json.loads(schema), retriever=_refuse_to_fetch, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(f"the JSON Schema is not valid: {error.message}") from None


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"a schema may not refer to {uri}; put the definition under $defs")


def _path(parts: Any) -> str:
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)
