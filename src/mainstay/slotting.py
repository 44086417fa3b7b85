"""Makes the slots of a feature ready: binds each to the database or the address that it is fetched from.

Everything that can be wrong in the file is found here, at load: an unknown database, a field that the input does not declare, two
ways to fetch one fact, a statement that writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from mainstay.core.errors import ConfigError, ModelError, SourceError, nearest
from mainstay.core.feature import Feature, SlotSpec
from mainstay.core.later import pattern
from mainstay.core.seams import Database
from mainstay.serve.slots import Fetch, LiveSlot, LiveSlots
from mainstay.spec.documents import Document
from mainstay.spec.places import Place
from mainstay.spec.settings_file import check_address

OWN = ("user", "tenant")  # what a slot may ask with beside the input: the call's own, not a field that a caller fills in
NAME = pattern(r"[a-z][a-z0-9_]*")
LONGEST_REPLY = 1_000_000  # bytes of JSON
NO_PARAMETER = ("texts", "image")  # types of input fields that no statement and no address can hold

_TOKEN = pattern(
    r"""(?s)--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|::"""
    r"""|:(?P<field>[A-Za-z_]\w*)|(?P<odd>[?@$][A-Za-z0-9_]*)|(?P<word>[A-Za-z_]\w*)|(?P<end>;)|(?P<other>\S)"""
)
_FIELD = pattern(r"\{([^{}]*)\}")
_WRITES = frozenset(
    {"insert", "update", "delete", "merge", "into"}
)  # what may stand inside a statement that begins with SELECT or WITH
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def made(
    feature: Feature,
    document: Document,
    *,
    inputs: Sequence[str],
    databases: Mapping[str, Database],
    http: Any,
) -> LiveSlots | None:
    """The feature's slots, ready to be fetched; None where it has none. `inputs` are the names of its input's fields."""
    slots = [_Making(feature, document, name, inputs).slot(databases, http) for name in feature.grounding.slots]
    return LiveSlots(slots) if slots else None


class _Making:
    """One slot on its way to being ready."""

    def __init__(self, feature: Feature, document: Document, name: str, inputs: Sequence[str]) -> None:
        self._feature, self._document, self._name, self._inputs = feature, document, name, inputs
        self._spec: SlotSpec = feature.grounding.slots[name]
        self._place: Place = ("grounding", "slots", name)

    def _error(self, key: str, what: str, *, next: str = "") -> ConfigError:
        return self._document.error((*self._place, key) if key else self._place, what, next=next)

    def slot(self, databases: Mapping[str, Database], http: Any) -> LiveSlot:
        spec = self._spec
        if not NAME.fullmatch(self._name):
            raise self._error("", "a slot's name has lower-case letters, digits and `_`, and begins with a letter")
        if (spec.sql is None) == (spec.http is None):
            what = "a slot is fetched from one place: either `sql` or `http`"
            raise self._error("http" if spec.sql is not None else "", what, next='sql = "select … where sku = :sku"')
        if spec.unit and spec.type not in ("money", "number"):
            raise self._error("unit", f"a {spec.type} has no unit; only money and numbers have")
        fields, fetch = self._from_database(databases) if spec.sql is not None else self._from_address(http)
        return LiveSlot(self._name, spec, fields, fetch)

    def _fields(self, names: Sequence[str], key: str, written: str) -> tuple[str, ...]:
        """The fields that a statement or address asks with, each once. Raises `ConfigError` for one that nothing gives."""
        for name in names:
            kind = self._feature.input.fields.get(name, "text").rstrip("?")
            if name in OWN and name in self._inputs:
                what = f"the input declares `{name}`, and {written.format(name)} would be the call's own; rename the field"
                raise self._error(key, what)
            if name not in OWN and name not in self._inputs:
                raise self._error(key, f"nothing gives {written.format(name)}; {nearest(name, [*self._inputs, *OWN])}")
            if kind in NO_PARAMETER:
                raise self._error(key, f"the field `{name}` is a {kind}, which is no single value to ask with")
        return tuple(dict.fromkeys(names))

    # From a database

    def _from_database(self, databases: Mapping[str, Database]) -> tuple[tuple[str, ...], Fetch]:
        spec, sql = self._spec, self._spec.sql or ""
        if spec.value is not None:
            raise self._error("value", "`value` is a path in JSON; a statement gives one value by itself")
        fault = unreadable(sql)
        if fault:
            raise self._error("sql", fault, next="write one SELECT that gives one value")
        fields = self._fields([token["field"] for token in tokens(sql) if token["field"]], "sql", "`:{}`")
        database = databases[self._database(databases)]

        async def fetch(parameters: Mapping[str, Any]) -> Any:
            rows = await database.query(sql, parameters, limit=1, timeout=spec.timeout)
            if rows.more:
                raise SourceError("the statement gives more than one row", next="add a condition, or `limit 1` and an order")
            if rows.rows and len(rows.rows[0]) != 1:
                raise SourceError(f"the statement gives {len(rows.rows[0])} columns; a slot is one value")
            return rows.rows[0][0] if rows.rows else None

        return fields, fetch

    def _database(self, databases: Mapping[str, Database]) -> str:
        """The name of the database, if the file says which."""
        name = self._spec.database
        if name is None and len(databases) == 1:
            return next(iter(databases))
        if name is None and databases:
            raise self._error("", f"say which `database`: {', '.join(sorted(databases))}", next=f'database = "{min(databases)}"')
        if name is None or name not in databases:
            what = (
                "mainstay.toml declares no database"
                if name is None
                else f'there is no database "{name}"; {nearest(name, databases)}'
            )
            raise self._error("database" if name else "sql", what, next=f"add [databases.{name or 'NAME'}] to mainstay.toml")
        return name

    # From an address

    def _from_address(self, http: Any) -> tuple[tuple[str, ...], Fetch]:
        spec, address = self._spec, self._spec.http or ""
        if spec.database is not None:
            raise self._error("database", "a slot that is fetched by `http` has no database")
        fields = self._fields(_FIELD.findall(address), "http", "`{{{}}}`")
        self._check_address(address)
        path = tuple(spec.value.split(".")) if spec.value else ()
        if not all(path):
            raise self._error("value", "a path has names or numbers with dots between them", next='value = "product.price"')

        async def fetch(parameters: Mapping[str, Any]) -> Any:
            endpoint = http.endpoint(filled(address, parameters), {"accept": "application/json"})
            try:
                status, body = await endpoint.get()
            except ModelError as error:
                raise SourceError(error.what, next=error.next) from None
            if status in (404, 410):
                return None
            if status != 200:
                raise SourceError(f"the address answers {status}", next="see whether it may be asked without signing in")
            return _found(_json(body), path)

        return fields, fetch

    def _check_address(self, address: str) -> None:
        """An http or https address whose host stands in the file, without a secret."""
        plain = _FIELD.sub("x", address)
        if "{" in plain or "}" in plain:
            raise self._error("http", "a field stands in braces, as in {sku}")
        try:
            host = urlsplit(address).netloc
        except ValueError as error:
            raise self._error("http", f"not an address: {error}") from None
        if "{" in address.partition("://")[0] or "{" in host or not address.startswith(("http://", "https://")):
            raise self._error("http", "the host stands in the file, and no field is part of it", next="https://host/path/{sku}")
        check_address(self._document, (*self._place, "http"), plain)


def tokens(sql: str) -> Iterator[re.Match[str]]:
    """What a statement is made of, without its texts, quoted names and comments."""
    return (token for token in _TOKEN.finditer(sql) if token.lastgroup)


def unreadable(sql: str) -> str:
    """Why a statement is not one that reads; empty where nothing speaks against it. The database itself has the last word."""
    found = list(tokens(sql))
    first = found[0][0].lower() if found else ""
    if first not in ("select", "with", "values"):
        return "a statement that reads begins with SELECT" if found else "there is no statement"
    for i, token in enumerate(found):
        word = (token["word"] or "").lower()
        after = found[i + 1][0] if i + 1 < len(found) else ""
        if word in _WRITES and found[i - 1][0] != "." and after not in ("(", "."):
            return f"the statement does more than read: {word.upper()}"
        if token["odd"]:
            return f"a parameter is written `:name`, not `{token['odd']}`"
        if token["end"] and after:
            return "there is more than one statement"
    return ""


def filled(address: str, parameters: Mapping[str, Any]) -> str:
    """The address with its fields, encoded. Raises `SourceError` where a value would lead to another place on that host."""
    written = {name: _in_address(value) for name, value in parameters.items()}
    for name, value in written.items():
        steps = re.split(r"[/\\]", unquote(value))
        if "." in steps or ".." in steps or not value:
            raise SourceError(f"the field `{name}` holds nothing that can stand in an address")
    whole = _FIELD.sub(lambda field: written[field[1]], address)
    if any(unquote(step) in (".", "..") for step in urlsplit(whole).path.split("/")):
        raise SourceError("the fields hold nothing that can stand in an address")
    return whole


def _in_address(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        return ""


def _json(body: bytes) -> Any:
    if len(body) > LONGEST_REPLY:
        raise SourceError(f"the answer has {len(body)} bytes; at most {LONGEST_REPLY}")
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ArithmeticError):
        raise SourceError("the answer is not JSON") from None


def _found(value: Any, path: Sequence[str]) -> Any:
    """What stands at that path; None where that is null. Raises `SourceError` where there is no such place."""
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, list) and not value:
            return None
        else:
            raise SourceError(f"the answer has no `{'.'.join(path)}`", next="correct `value`")
    return value
