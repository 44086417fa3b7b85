"""promptfoo: the tests of a configuration, and tests in files of their own, as YAML, JSON, JSON Lines or CSV.

A test's variables that are inputs of the feature become the case's input, its assertions what the case expects, its metadata
slices. Variables that are lists make a case for each combination, as they do there. Templates are filled in where they only name
a variable; nothing is run.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.errors import ConfigError
from mainstay.learn.formats.promptfoo_asserts import BY_CODE, SIMILAR, SPELLING, Wish, expectation, from_short, join
from mainstay.learn.formats.reading import Imported, Origin, Reading, listed, load, noted, slices, typed
from mainstay.learn.formats.tables import Row, Table, read_table
from mainstay.learn.formats.yaml_text import Loaded
from mainstay.spec.cases import Line

MOST_COMBINATIONS = 10_000  # cases that one test's lists may make
MARK = "__"  # the columns with a meaning of their own begin with it
FILE = "file://"

_TEMPLATE = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*-?\}\}")
_ANY_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_ABOUT_TESTS = frozenset({"tests", "defaultTest", "scenarios", "assertionTemplates"})
_TEST = frozenset({"vars", "assert", "description", "metadata"})
_OPTIONS = frozenset({"disableDefaultAsserts", "disableVarExpansion"})  # the options of a test that are done here
_TEST_KEYS = {
    "threshold": "a case passes when all that it expects is met",
    "provider": "the models are the feature's",
    "providers": "the models are the feature's",
    "prompts": "the prompts are the feature's",
    "providerOutput": "the answer is the feature's",
    "options": "what a test changes of prompt, model or answer has no place in a case",
    "assertScoringFunction": BY_CODE,
}
_LABELS = {"metric": "a label of promptfoo's reports", "weight": "a case passes when all that it expects is met"}


class _Short(Struct, frozen=True):
    """An assertion as a cell of a table holds it, with what other columns say of it."""

    cell: str
    limit: str | None
    metric: str | None


class Test(Struct, frozen=True, kw_only=True):
    """A test as it is written, with the place where it stands."""

    where: str
    data: Mapping[str, Any]


def looks_like(data: Any) -> bool:
    """Whether this is a configuration of promptfoo's, a list of its tests, or one of them."""
    if isinstance(data, list):
        return bool(data) and looks_like_test(data[0])
    return isinstance(data, dict) and (bool(_ABOUT_TESTS & data.keys()) or looks_like_test(data))


def looks_like_test(data: Any) -> bool:
    """Whether this is a test, or the name of a file with tests."""
    if isinstance(data, str):
        return data.startswith(FILE)
    return isinstance(data, dict) and bool({"vars", "assert"} & data.keys() or any(key.startswith(MARK) for key in data))


def read_document(origin: Origin, loaded: Loaded) -> Imported:
    """The cases of a configuration, or of a list of tests."""
    reading = Reading(origin, "promptfoo")
    _Suite(origin, reading).document(loaded)
    return reading.done()


def read_csv(origin: Origin, table: Table) -> Imported:
    """The cases of a table, one a row."""
    reading = Reading(origin, "promptfoo")
    suite = _Suite(origin, reading)
    for test in suite.rows(table):
        suite.test(test, {})
    return reading.done()


class _Suite:
    """The tests of one file, and of the files that it names."""

    def __init__(self, origin: Origin, reading: Reading) -> None:
        self._origin, self._reading = origin, reading
        self._root: Any = {}

    def document(self, loaded: Loaded) -> None:
        data = loaded.data
        if isinstance(data, dict) and not _ABOUT_TESTS & data.keys():
            data = [data]
        if isinstance(data, list):
            for test in self._listed(data, loaded):
                self.test(test, {})
            return
        self._root = data
        if others := [key for key in data if key not in _ABOUT_TESTS]:
            self._reading.unread(loaded.shown, listed(others), "no tests, and so no cases")
        default = self._default(data.get("defaultTest"), loaded)
        for test in self._listed(data.get("tests"), loaded):
            self.test(test, default)
        for test in self._scenarios(data.get("scenarios"), loaded):
            self.test(test, default)

    def _default(self, found: Any, loaded: Loaded) -> Mapping[str, Any]:
        if isinstance(found, str):
            inner = self._named(found, loaded.shown, "defaultTest")
            found = None if inner is None else inner.data
        if found is None:
            return {}
        if not isinstance(found, dict):
            self._reading.unread(loaded.shown, "defaultTest", "expected a mapping, or a file beside this one")
            return {}
        return found

    def _listed(self, found: Any, loaded: Loaded) -> Iterator[Test]:
        """The tests of a list; texts in it are files."""
        if found is None:
            return
        for i, item in enumerate(found if isinstance(found, list) else [found], 1):
            where = loaded.where(item, f"{loaded.shown} test {i}")
            if isinstance(item, str):
                yield from self._of_file(item, where)
            elif isinstance(item, dict) and "path" in item and isinstance(item["path"], str):
                yield from self._of_file(item["path"], where)
            elif isinstance(item, dict) and "vars" not in item and any(key.startswith(MARK) for key in item):
                yield self._of_cells(Row(where, {key: _cell(value) for key, value in item.items()}))
            elif isinstance(item, dict):
                yield Test(where=where, data=item)
            else:
                self._reading.unread(where, "", "expected a test")

    def _scenarios(self, found: Any, loaded: Loaded) -> Iterator[Test]:
        """Every test of a scenario with every one of its configurations."""
        for i, scenario in enumerate(found if isinstance(found, list) else [], 1):
            where = loaded.where(scenario, f"{loaded.shown} scenario {i}")
            parts = scenario if isinstance(scenario, dict) else {}
            configs, tests = parts.get("config"), parts.get("tests")
            if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs) or tests is None:
                self._reading.unread(where, "", "expected a scenario with lists `config` and `tests`")
                continue
            for test in list(self._listed(tests, loaded)):
                for config in configs:
                    yield Test(where=test.where, data=_over(config, test.data))

    # Files that are named

    def _named(self, name: str, where: str, key: str) -> Loaded | None:
        """A YAML or JSON file beside this one; None, and told, where there is none."""
        path = name.removeprefix(FILE)
        text = self._origin.beside(path) if path.endswith((".yaml", ".yml", ".json")) else None
        if text is None:
            self._reading.unread(where, key, _not_beside(name))
            return None
        try:
            return load(text, path)
        except ConfigError as error:
            self._reading.unread(where, key, str(error))
            return None

    def _of_file(self, name: str, where: str) -> Iterator[Test]:
        path = name.removeprefix(FILE)
        text = self._origin.beside(path)
        if text is None or not path.endswith((".csv", ".jsonl", ".yaml", ".yml", ".json")):
            self._reading.unread(where, "tests", _not_beside(name))
            return
        try:
            if path.endswith(".csv"):
                yield from self.rows(read_table(text, path))
            elif path.endswith(".jsonl"):
                for number, line in enumerate(text.split("\n"), 1):
                    if line.strip():
                        yield from self._of_line(Line(f"{path}:{number}"), line)
            else:
                loaded = load(text, path)
                yield from self._listed([test for test in _as_list(loaded.data) if not self._again(test, path)], loaded)
        except ConfigError as error:
            self._reading.unread(where, "tests", str(error))

    def _again(self, test: Any, where: str) -> bool:
        """A file of tests that names another one: it could name itself."""
        if not isinstance(test, str):
            return False
        self._reading.unread(where, "", f"a file of tests that names another one: {test}; import that one, too")
        return True

    def _of_line(self, line: Line, text: str) -> Iterator[Test]:
        try:
            data = line.data(text)
        except ConfigError as error:
            self._reading.unread(line.at, "", error.what)
            return
        yield from self._listed([data], Loaded(data, line.at, {}))

    # Rows of a table

    def rows(self, table: Table) -> Iterator[Test]:
        """The tests of a table."""
        for row in table.rows:
            if row.slip:
                self._reading.unread(row.where, "", row.slip)
            else:
                yield self._of_cells(row)

    def _of_cells(self, row: Row) -> Test:
        """A row, or a flat test, as the same test written out."""
        data: dict[str, Any] = {"vars": {}, "assert": [], "metadata": {}}
        limits = {}
        for name, cell in row.cells.items():
            key = name.removeprefix(MARK)
            if not name.startswith(MARK):
                data["vars"][name] = cell
                if cell and re.match(r"_(expected|metadata|description|threshold|metric|config)", name):
                    self._reading.unread(row.where, name, f"one underscore; promptfoo's column is `_{name}`")
            elif not cell.strip():
                continue
            elif key.startswith("expected"):
                data["assert"].append(cell)
            elif key.startswith("metadata:"):
                _set_metadata(data["metadata"], key.partition(":")[2], cell)
            elif limit := re.fullmatch(r"config:__expected(\d*):threshold", key):
                limits[int(limit[1] or 1) - 1] = cell
            elif key in ("description", "threshold", "metric"):
                data[key] = cell
            else:
                self._reading.unread(row.where, name, _TEST_KEYS["options"] if key in ("prefix", "suffix") else "unknown column")
        metric = data.pop("metric", None)
        data["assert"] = [_Short(cell, limits.pop(i, None), metric) for i, cell in enumerate(data["assert"])]
        for i, of_none in limits.items():
            self._reading.unread(row.where, "__config", f"a threshold of {of_none} for expectation {i + 1}, which is not there")
        return Test(where=row.where, data=data)

    # One test

    def test(self, test: Test, default: Mapping[str, Any]) -> None:
        """The cases of a test; it has several where a variable is a list."""
        data = _over(default, test.data)
        found = data.get("options")
        options = found if isinstance(found, dict) else {}
        if options.get("disableDefaultAsserts") is True:
            data = _over({**default, "assert": []}, test.data)
        for key, value in data.items():
            if key not in _TEST and value not in (None, {}, []) and not (key == "options" and options.keys() <= _OPTIONS):
                self._reading.unread(test.where, key, _TEST_KEYS.get(key, "unknown key of a test"))
        expanding = options.get("disableVarExpansion") is not True
        for variables in self._combinations(test.where, data.get("vars"), expanding=expanding):
            self._case(test.where, data, variables)

    def _combinations(self, where: str, found: Any, *, expanding: bool) -> Iterator[dict[str, Any]]:
        variables: dict[str, Any] = {}
        if isinstance(found, str) or (isinstance(found, list) and all(isinstance(name, str) for name in found)):
            for name in _as_list(found):
                inner = self._named(name, where, "vars")
                variables |= inner.data if inner is not None and isinstance(inner.data, dict) else {}
        elif isinstance(found, dict):
            variables = found
        elif found is not None:
            self._reading.unread(where, "vars", "expected names and values")
        choices = [value if expanding and _is_choice(value) else [value] for value in variables.values()]
        if math.prod(len(choice) for choice in choices) > MOST_COMBINATIONS:
            self._reading.unread(where, "vars", f"the lists make more than {MOST_COMBINATIONS} cases")
            return
        for values in itertools.product(*choices):
            yield dict(zip(variables, values, strict=True))

    def _case(self, where: str, data: Mapping[str, Any], written: Mapping[str, Any]) -> None:
        variables = _Variables(self._origin, written)
        expect, remarks = self._expectations(where, data.get("assert"), variables)
        asked = self._input(where, variables)
        if asked is None:
            return
        metadata = data.get("metadata")
        found, left = slices(metadata if isinstance(metadata, dict) else {})
        for name in left:
            self._reading.unread(where, f"metadata.{name}", "a tag is a name with one text")
        description = data.get("description")
        notes = noted(description if isinstance(description, str) else "", *remarks)
        self._reading.case(where, {"input": asked, "expect": expect, "notes": notes, **found})

    def _input(self, where: str, variables: _Variables) -> dict[str, Any] | None:
        """The variables that are inputs of the feature. A single one that is not needed elsewhere fills a single input."""
        fields = self._origin.fields
        names = [name for name in variables.written if name in fields or not fields]
        free = [name for name in variables.written if name not in variables.used]
        if not names and len(free) == 1 and len(fields) == 1:
            renamed = {free[0]: next(iter(fields))}
        else:
            renamed = {name: name for name in names}
        if not renamed:
            why = f"none of its variables is an input of the feature ({self._origin.inputs})"
            self._reading.unread(where, "vars", why if variables.written else "the test has no variables")
            return None
        found = {}
        for name, field in renamed.items():
            value, why = variables.value(name)
            if why:
                self._reading.unread(where, f"vars.{name}", why)
                return None
            found[field] = typed(value, fields.get(field, ""))
        for name in free:
            if name not in renamed:
                self._reading.unread(where, f"vars.{name}", f"no input of the feature ({self._origin.inputs})")
        return found

    # Assertions

    def _expectations(self, where: str, found: Any, variables: _Variables) -> tuple[dict[str, Any], list[str]]:
        """What the case expects, and what it should note of the rest."""
        expect: dict[str, Any] = {}
        remarks: list[str] = []
        if not isinstance(found, list | None):
            self._reading.unread(where, "assert", "expected a list")
        for path, item in self._flat(where, found if isinstance(found, list) else [], "assert"):
            wish = self._wish(where, path, item, variables)
            if wish is None:
                continue
            if wish.kind in ("llm-rubric", "g-eval", "model-graded-closedqa", "factuality") and wish.value is not None:
                remarks.append(f"{wish.kind}: {wish.value if isinstance(wish.value, str) else json.dumps(wish.value)}")
            if wish.kind in SIMILAR:
                self._reading.unread(where, f"{path} {wish.kind}", SPELLING)
            means = expectation(wish)
            why = means if isinstance(means, str) else join(expect, means)
            if why:
                self._reading.unread(where, f"{path} {'not-' if wish.negated else ''}{wish.kind}", why)
        return expect, remarks

    def _flat(self, where: str, items: Sequence[Any], path: str) -> Iterator[tuple[str, _Short | Mapping[str, Any]]]:
        """Every assertion with its path; those of a set one by one, where all of them have to hold."""
        for i, item in enumerate(items):
            at = f"{path}[{i}]"
            found = item
            if isinstance(item, dict) and isinstance(item.get("$ref"), str):
                found = _pointed(self._root, item["$ref"])
            if isinstance(found, _Short):
                yield at, found
            elif not isinstance(found, dict):
                self._reading.unread(where, at, "expected an assertion with a `type`")
            elif found.get("type") == "assert-set" and isinstance(found.get("assert"), list):
                if found.get("threshold") is not None or ".assert" in path:
                    why = "of a set with a `threshold`, or in another one, not all have to hold; a case expects all"
                    self._reading.unread(where, at, why)
                else:
                    yield from self._flat(where, found["assert"], f"{at}.assert")
            else:
                yield at, found

    def _wish(self, where: str, path: str, item: _Short | Mapping[str, Any], variables: _Variables) -> Wish | None:
        """One assertion, its templates filled in; None, and told, where it is none that could be understood."""
        wish = self._shorthand(where, path, item) if isinstance(item, _Short) else self._written(where, path, item)
        if wish is None:
            return None
        value, why = variables.filled(wish.value)
        if why:
            self._reading.unread(where, f"{path}.value", why)
            return None
        return msgspec.structs.replace(wish, value=value)

    def _shorthand(self, where: str, path: str, item: _Short) -> Wish | None:
        wish = from_short(item.cell)
        if isinstance(wish, str):
            self._reading.unread(where, f"{path} {json.dumps(item.cell, ensure_ascii=False)}", wish)
            return None
        if item.metric is not None:
            self._reading.unread(where, "__metric", _LABELS["metric"])
        if item.limit is None:
            return wish
        limit = _number(item.limit)
        if limit is None:
            self._reading.unread(where, f"{path}.threshold", "expected a number")
            return None
        return msgspec.structs.replace(wish, threshold=limit)

    def _written(self, where: str, path: str, item: Mapping[str, Any]) -> Wish | None:
        kind = item.get("type")
        if not isinstance(kind, str):
            self._reading.unread(where, path, "an assertion has a `type`")
            return None
        if item.get("weight") == 0:
            self._reading.unread(where, f"{path}.weight", "it weighs nothing, so it is not expected")
            return None
        limit = _number(item.get("threshold"))
        known = {"type", "value", "threshold", "provider", "rubricPrompt", *_LABELS}
        bare = kind.removeprefix("not-")
        for key in item:
            if key not in known:
                self._reading.unread(where, f"{path}.{key}", f"{kind} would be looked for in something else than the answer")
                return None
        if limit is None and item.get("threshold") is not None:
            self._reading.unread(where, f"{path}.threshold", "expected a number")
            return None
        for label, why in _LABELS.items():
            if item.get(label) is not None:
                self._reading.unread(where, f"{path}.{label}", why)
        return Wish(kind=bare, negated=bare != kind, value=item.get("value"), threshold=limit)


class _Variables:
    """The variables of one combination, and which of them a template needed."""

    def __init__(self, origin: Origin, written: Mapping[str, Any]) -> None:
        self._origin, self.written = origin, written
        self.used: set[str] = set()

    def value(self, name: str) -> tuple[Any, str]:
        """A variable with its templates filled in, or why that cannot be."""
        return self.filled(self.written[name])

    def filled(self, value: Any, *, again: bool = True) -> tuple[Any, str]:
        """A value with its templates filled in and its file read, or why that cannot be."""
        if isinstance(value, list | dict):
            return self._inside(value, again=again)
        if not isinstance(value, str):
            return value, ""
        for name in set(_TEMPLATE.findall(value)):
            if not again:
                return None, "templates in templates are not filled in"
            if name not in self.written:
                return None, f"{{{{ {name} }}}} names no variable of the test"
            inner, why = self.filled(self.written[name], again=False)
            if why or isinstance(inner, list | dict):
                return None, why or f"{{{{ {name} }}}} is no single text"
            self.used.add(name)
            text = inner if isinstance(inner, str) else json.dumps(inner)
            value = text.join(re.split(r"\{\{-?\s*" + name + r"\s*-?\}\}", value))
        if _ANY_TEMPLATE.search(value):
            return None, "a template that does more than name a variable is not filled in"
        return self._read(value) if value.startswith(FILE) else (value, "")

    def _inside(self, value: Any, *, again: bool) -> tuple[Any, str]:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        found = [self.filled(value[key], again=again) for key in keys]
        why = next((why for _, why in found if why), "")
        inner = [item for item, _ in found]
        return (dict(zip(keys, inner, strict=True)) if isinstance(value, dict) else inner), why

    def _read(self, name: str) -> tuple[Any, str]:
        path = name.removeprefix(FILE)
        if path.endswith((".js", ".mjs", ".cjs", ".ts", ".py", ".rb")) or re.search(r"\.(js|ts|py|rb):", path):
            return None, BY_CODE
        text = self._origin.beside(path)
        if text is None:
            return None, _not_beside(name)
        if path.endswith((".yaml", ".yml", ".json")):
            try:
                return load(text, path).data, ""
            except ConfigError as error:
                return None, str(error)
        return text.strip(), ""


def _over(under: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    """A test on top of what holds for all of them: its variables and metadata win, its assertions come after."""
    merged = {**under, **test}
    for key in ("vars", "metadata", "options"):
        old, new = under.get(key), test.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            merged[key] = {**old, **new}
        elif new is None and old is not None:
            merged[key] = old
    old, new = under.get("assert"), test.get("assert")
    if isinstance(old, list) and isinstance(new, list):
        merged["assert"] = [*old, *new]
    elif new is None and old is not None:
        merged["assert"] = old
    return merged


def _pointed(root: Any, pointer: str) -> Any:
    """What `#/assertionTemplates/name` points at; None where there is nothing."""
    for step in pointer.removeprefix("#/").split("/"):
        root = root.get(step) if isinstance(root, dict) else None
    return root


def _set_metadata(metadata: dict[str, Any], name: str, cell: str) -> None:
    if name.endswith("[]"):
        parts = [part.strip().replace("\\,", ",") for part in re.split(r"(?<!\\),", cell)]
        metadata[name[:-2]] = parts[0] if len(parts) == 1 else parts
    else:
        metadata[name] = cell


def _is_choice(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> float | None:
    try:
        found = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found is not None and math.isfinite(found) else None


def _not_beside(name: str) -> str:
    return f"{name} cannot be read: it has to be a text file beside this one, with nothing to run and no pattern in its name"
