"""Tables of cases: CSV with a column for each input, JSON Lines of flat objects, and Mainstay's own files of cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mainstay.core.case import Case
from mainstay.core.errors import nearest
from mainstay.learn.formats.reading import Imported, Origin, Reading, one_line, typed
from mainstay.learn.formats.tables import Table

TAG = "tag:"
TEXTS = ("id", "category", "language", "notes", "locale")
OWN = frozenset(Case.__struct_fields__)
COLUMNS = ("expected", "expect", "must", "tags", "history", "passages", *TEXTS)
_TRUTH = {**dict.fromkeys(("true", "yes", "1", "x"), True), **dict.fromkeys(("false", "no", "0", ""), False)}


def read_rows(origin: Origin, rows: Iterable[tuple[str, Any]]) -> Imported:
    """The cases of JSON objects, each with the place where it stands: our own, or flat ones."""
    reading = Reading(origin, "json")
    for where, data in rows:
        if not isinstance(data, dict):
            reading.unread(where, "", "expected an object")
        elif isinstance(data.get("input"), dict) and "input" not in origin.fields:
            reading.case(where, data)
        else:
            _row(reading, origin, where, data)
    return reading.done()


def read_table(origin: Origin, table: Table) -> Imported:
    """The cases of a CSV file, one a row."""
    reading = Reading(origin, "csv")
    for row in table.rows:
        if row.slip:
            reading.unread(row.where, "", row.slip)
            continue
        kept = {name: cell for name, cell in row.cells.items() if cell.strip() or _may_be_empty(origin, name)}
        _row(reading, origin, row.where, kept)
    return reading.done()


def _may_be_empty(origin: Origin, name: str) -> bool:
    """Whether an empty cell is a value: the empty text. Elsewhere it is no value."""
    return origin.fields.get(name, "") == "text"


def _row(reading: Reading, origin: Origin, where: str, data: Mapping[str, Any]) -> None:
    asked: dict[str, Any] = {}
    case: dict[str, Any] = {"tags": {}, "expect": {}}
    for name, value in data.items():
        if name in origin.fields or (not origin.fields and not (name in COLUMNS or name.startswith(TAG))):
            asked[name] = typed(value, origin.fields.get(name, ""))
        elif name in COLUMNS or name.startswith(TAG):
            why = _set(case, name, value)
            if why:
                reading.unread(where, name, why)
        else:
            reading.unread(
                where, name, f"no input of the feature, and no key of a case; {nearest(name, [*origin.fields, *COLUMNS])}"
            )
    if asked:
        reading.case(where, {**case, "input": asked})
    else:
        reading.unread(where, "", f"it fills no input of the feature ({origin.inputs})")


def _set(case: dict[str, Any], name: str, value: Any) -> str:
    """Put a cell where it belongs in a case; says why it cannot be."""
    if value is None:
        return ""
    if name.startswith(TAG) or name in TEXTS:
        if not isinstance(value, str | int | float):
            return "expected a text"
        text = value if isinstance(value, str) else json.dumps(value)
        if name.startswith(TAG):
            case["tags"][name.removeprefix(TAG)] = one_line(text)
        else:
            case[name] = text if name == "notes" else one_line(text)
    elif name == "must":
        known = value if isinstance(value, bool) else _TRUTH.get(str(value).strip().lower())
        if known is None:
            return "expected true or false"
        case["must"] = known
    elif name == "expected":
        return _expected(case["expect"], value)
    else:
        return _part(case, name, value)
    return ""


def _expected(expect: dict[str, Any], value: Any) -> str:
    """One expected answer: a text or number that it equals, or data that it holds."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        found = _json(value)
        value = found if isinstance(found, dict) else value
    if isinstance(value, bool | list):
        return 'expected a text, a number or an object; `expect` says more, such as {"contains": ["a", "b"]}'
    name = "data" if isinstance(value, dict) else "exact" if isinstance(value, str) else "number"
    expect[name] = value
    return ""


def _part(case: dict[str, Any], name: str, value: Any) -> str:
    """A key of a case that is no text, as JSON."""
    found = _json(value) if isinstance(value, str) else value
    kind: type = dict if name in ("expect", "tags") else list
    if not isinstance(found, kind):
        example = ' such as {"contains": "30 days"}' if name == "expect" else ""
        return f"expected {'an object' if kind is dict else 'a list'} as JSON{example}"
    case[name] = {**case[name], **found} if isinstance(found, dict) else found
    return ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
