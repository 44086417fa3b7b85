"""pydantic-evals: a dataset's cases, as YAML or JSON.

Each evaluator, of the dataset or of one case, becomes an expectation where one means the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mainstay.core.errors import nearest
from mainstay.learn.formats.promptfoo_asserts import (
    BY_A_JUDGE,
    BY_NOBODY,
    Expectation,
    Wish,
    expectation,
    join,
)
from mainstay.learn.formats.reading import Imported, Origin, Reading, listed, noted, one_line, slices, typed
from mainstay.learn.formats.yaml_text import Loaded

CASE = frozenset({"name", "inputs", "expected_output", "metadata", "evaluators"})
DATASET = frozenset({"name", "cases", "evaluators"})
JUDGES = frozenset({"LLMJudge", "GEval"})


def looks_like(data: Any) -> bool:
    """Whether this is a dataset of pydantic-evals."""
    cases = data.get("cases") if isinstance(data, dict) else None
    return isinstance(cases, list) and (not cases or (isinstance(cases[0], dict) and "inputs" in cases[0]))


def read_document(origin: Origin, loaded: Loaded) -> Imported:
    """The cases of a dataset."""
    reading = Reading(origin, "pydantic-evals")
    data = loaded.data
    if others := [key for key in data if key not in DATASET and key != "$schema"]:
        reading.unread(loaded.shown, listed(others), "unknown keys of a dataset")
    for i, case in enumerate(data["cases"], 1):
        where = loaded.where(case, f"{loaded.shown} case {i}")
        if isinstance(case, dict):
            _case(reading, origin, where, case, data.get("evaluators"))
        else:
            reading.unread(where, "", "expected a case with `inputs`")
    return reading.done()


def _case(reading: Reading, origin: Origin, where: str, case: Mapping[str, Any], everywhere: Any) -> None:
    for key in case:
        if key not in CASE:
            reading.unread(where, key, f"unknown key of a case; {nearest(key, CASE)}")
    asked = _input(reading, origin, where, case.get("inputs"))
    if asked is None:
        return
    expect: dict[str, Any] = {}
    notes: list[str] = []
    compared = False
    for path, name, arguments in _evaluators(reading, where, case.get("evaluators"), everywhere):
        compared = compared or name == "EqualsExpected"
        means = _meaning(name, arguments, case.get("expected_output"))
        if name in JUDGES:
            notes.append(f"{name}: {arguments.get('rubric') or arguments.get('criteria') or ''}")
        why = means if isinstance(means, str) else join(expect, means) if means is not None else ""
        if why:
            reading.unread(where, f"{path} {name}", why)
    if not compared and case.get("expected_output") is not None:
        # Without EqualsExpected only evaluators of the team's own look at it.
        text = case["expected_output"]
        notes.append(f"expected_output: {text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)}")
        reading.unread(where, "expected_output", "no EqualsExpected compares with it; it is kept in `notes`")
    metadata = case.get("metadata")
    found, left = slices(metadata if isinstance(metadata, dict) else {} if metadata is None else {"metadata": metadata})
    for name in left:
        reading.unread(where, f"metadata.{name}", "a tag is a name with one text")
    id = one_line(str(case.get("name") or ""))
    reading.case(where, {"id": id, "input": asked, "expect": expect, "notes": noted(*notes), **found})


def _input(reading: Reading, origin: Origin, where: str, inputs: Any) -> dict[str, Any] | None:
    """What is asked: a mapping by the names of the inputs; a lone value, or a mapping with one, fills a single input."""
    fields = origin.fields
    values = inputs if isinstance(inputs, dict) else {"inputs": inputs} if inputs is not None else {}
    names = [name for name in values if name in fields or (not fields and isinstance(inputs, dict))]
    renamed = {name: name for name in names}
    if not names and len(values) == 1 and len(fields) == 1:
        renamed = {next(iter(values)): next(iter(fields))}
    if not renamed:
        reading.unread(where, "inputs", f"none of it is an input of the feature ({origin.inputs})")
        return None
    for name in values:
        if name not in renamed:
            reading.unread(where, f"inputs.{name}", f"no input of the feature ({origin.inputs})")
    return {field: typed(values[name], fields.get(field, "")) for name, field in renamed.items()}


def _evaluators(reading: Reading, where: str, own: Any, everywhere: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The evaluators of the dataset and of the case, each with its path, name and arguments."""
    for before, found in (("dataset evaluators", everywhere), ("evaluators", own)):
        for i, item in enumerate(found if isinstance(found, list) else []):
            path = f"{before}[{i}]"
            if isinstance(item, str):
                yield path, item, {}
            elif isinstance(item, dict) and len(item) == 1 and isinstance(name := next(iter(item)), str):
                yield path, name, _arguments(name, item[name])
            elif isinstance(item, dict) and isinstance(item.get("name"), str) and item.keys() <= {"name", "arguments"}:
                given = item.get("arguments")
                yield path, item["name"], _arguments(item["name"], given[0] if isinstance(given, list) and given else given)
            else:
                reading.unread(where, path, "expected an evaluator's name, alone or with its arguments")


def _arguments(name: str, found: Any) -> dict[str, Any]:
    """Arguments by name; a lone one is the evaluator's first."""
    if found is None:
        return {}
    parameters = _PARAMETERS.get(name, ("value",))
    if isinstance(found, dict) and (name not in _PARAMETERS or found.keys() <= set(parameters)):
        return found
    return {parameters[0]: found}


_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Equals": ("value", "evaluation_name"),
    "EqualsExpected": ("evaluation_name",),
    "Contains": ("value", "case_sensitive", "as_strings", "evaluation_name"),
    "IsInstance": ("type_name", "evaluation_name"),
    "MaxDuration": ("seconds",),
    "HasMatchingSpan": ("query", "evaluation_name"),
    "LLMJudge": (*("rubric", "model", "include_input", "include_expected_output", "model_settings", "score", "assertion"),),
    "GEval": ("criteria", "evaluation_steps", "score_range", "include_input", "model", "model_settings", "evaluation_name"),
}


def _meaning(name: str, arguments: Mapping[str, Any], expected: Any) -> Expectation | str | None:
    """What a case would expect, why there is nothing that means the same, or None where the evaluator has nothing to say."""
    value = arguments.get("value")
    if name == "EqualsExpected":
        return None if expected is None else Expectation("exact", expected)
    if name == "Equals":
        return Expectation("exact", value) if value is not None else "`value` is missing"
    if name == "Contains":
        kind = "icontains" if arguments.get("case_sensitive") is False else "contains"
        return Expectation("data", value) if isinstance(value, dict) else expectation(Wish(kind=kind, value=value))
    if name == "MaxDuration":
        seconds = arguments.get("seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            return expectation(Wish(kind="latency", threshold=seconds * 1000))
    if name in JUDGES:
        return BY_A_JUDGE
    if name in _PARAMETERS:
        return BY_NOBODY
    hint = nearest(name, _PARAMETERS)
    own = "an evaluator of your own; write it as a scorer in Python, and expect it by its path"
    return f"{own}; or {hint}" if hint.startswith("did") else own
