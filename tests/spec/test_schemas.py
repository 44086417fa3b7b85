"""The JSON Schemas that editors are given: they accept what we ship, and see what they can."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema_rs
import pytest

from mainstay.spec.schemas import published

SHIPPED = Path(str(resources.files("mainstay")))
KINDS = {"feature.toml": "feature", "mainstay.toml": "settings", "rules.toml": "rules"}
FILES = sorted(p for top in ("template", "demo") for p in (SHIPPED / top).rglob("*.toml") if p.name in KINDS)
RULE = {"name": "hours", "answer": "From nine to five."}


@pytest.fixture(scope="module")
def valid() -> dict[str, jsonschema_rs.Draft202012Validator]:
    """A validator for each kind of file."""
    return {name.partition(".")[0]: jsonschema_rs.Draft202012Validator(json.loads(text)) for name, text in published().items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: "-".join(file.relative_to(SHIPPED).parts))
def test_what_we_ship_is_right_in_an_editor(valid: dict[str, jsonschema_rs.Draft202012Validator], file: Path):
    """Whoever opens the example sees no red line in it, and its first line leads to a schema that `init` writes."""
    text = file.read_text(encoding="utf-8")
    assert [error.message for error in valid[KINDS[file.name]].iter_errors(tomllib.loads(text))] == []
    named = re.match(r"#:schema (\S+)\n", text)
    if "template" in file.parts:
        assert named is not None
        assert (file.parent / named[1]).resolve().relative_to(SHIPPED / "template").parts == ("schemas", Path(named[1]).name)
        assert Path(named[1]).name in published()


@pytest.mark.parametrize(
    ("rules", "right"),
    [
        ({"rule": [RULE | {"equals": ["hours"]}]}, True),
        ({"rule": [RULE | {"matches": ["open"]}], "extract": {"day": "[a-z]+day"}}, True),
        ({"rule": [RULE]}, False),
        ({"rule": [RULE | {"matches": []}]}, False),
        ({"rule": [RULE | {"equals": ["hours"], "mathces": ["open"]}]}, False),
        ({"rules": [RULE | {"equals": ["hours"]}]}, False),
        ({"rule": []}, False),
    ],
)
def test_the_schema_of_rules_sees_what_the_loader_refuses(valid: dict[str, jsonschema_rs.Draft202012Validator], rules, right):
    """A slip of the keyboard, or a rule that can match nothing, is red before anything is loaded."""
    assert valid["rules"].is_valid(rules) is right
