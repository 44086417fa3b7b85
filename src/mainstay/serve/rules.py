"""Rules: the first one that matches answers from its template. No model, no surprises.

The file, beside feature.toml:

    [[rule]]
    name    = "opening-hours"
    matches = ['(?i)\\bopen(ing)? (hours|times)\\b']     # RE2 patterns, any of them; named groups become variables
    answer  = "We are open from 9 to 17."

    [[rule]]
    name    = "greeting"
    equals  = ["hi", "hello"]                            # the whole text, without regard to case and white space
    answer  = "Hello! How can I help?"

    [extract]                                            # every match of each pattern, for all templates
    order   = '\\b\\d{2}-\\d{4}-\\d{2}\\b'

A template sees the input, the named groups of its patterns, and what was extracted: `order`, a list of the matches, and
`extracted`, all of them as `{"type": "order", "value": "…"}`. Where the feature's answer has a schema, the template writes
JSON: `{"category": "billing", "entities": {{ extracted | tojson }}}`. A rule looks at the text field that `field` names, by
default at all of them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
import re2
from msgspec import Meta

from mainstay.core.errors import ConfigError, nearest
from mainstay.core.feature import Spec
from mainstay.serve.prompts import Template


class Rule(Spec, frozen=True, kw_only=True):
    """One rule of the file."""

    name: Annotated[str, Meta(min_length=1, description="What the record calls this rule.")]
    matches: Annotated[tuple[str, ...], Meta(description="RE2 patterns; any of them makes the rule answer.")] = ()
    equals: Annotated[tuple[str, ...], Meta(description="Whole texts, without regard to case and white space.")] = ()
    unless: Annotated[tuple[str, ...], Meta(description="RE2 patterns; any of them keeps the rule silent.")] = ()
    field: Annotated[str | None, Meta(description="The input field to look at; by default all texts together.")] = None
    answer: Annotated[str, Meta(min_length=1, description="A template with the input, the named groups and what was extracted.")]


class RuleFile(Spec, frozen=True, kw_only=True):
    """The whole file."""

    rule: Annotated[tuple[Rule, ...], Meta(min_length=1, description="The rules, in the order in which they are tried.")]
    extract: Annotated[dict[str, str], Meta(description="Patterns whose matches every template sees as lists.")] = {}


class _Compiled(msgspec.Struct, frozen=True):
    rule: Rule
    patterns: tuple[Any, ...]
    unless: tuple[Any, ...]
    equals: frozenset[str]
    template: Template


def folded(text: str) -> str:
    """The text without regard to case and white space."""
    return " ".join(text.casefold().split())


def _compile(pattern: str, where: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ConfigError(f"the pattern {pattern!r} is not RE2: {reason}", where=where) from None


class Rules:
    """The rules of one file, compiled. `inputs` are the names of the feature's input fields."""

    def __init__(self, file: RuleFile, *, inputs: Iterable[str], where: str) -> None:
        self._inputs = tuple(inputs)
        self._extract = {name: _compile(pattern, f"{where} extract.{name}") for name, pattern in file.extract.items()}
        self._rules = [self._ready(rule, f"{where} rule[{i}] ({rule.name})") for i, rule in enumerate(file.rule)]

    def _ready(self, rule: Rule, where: str) -> _Compiled:
        if rule.field is not None and rule.field not in self._inputs:
            raise ConfigError(f'there is no input field "{rule.field}"; {nearest(rule.field, self._inputs)}', where=where)
        if not rule.matches and not rule.equals:
            raise ConfigError("a rule needs `matches` or `equals`", where=where)
        patterns = tuple([_compile(p, f"{where} matches") for p in rule.matches])
        groups = {name for p in patterns for name in p.groupindex}
        known = {*self._inputs, *self._extract, *groups, "extracted"}
        return _Compiled(
            rule,
            patterns,
            tuple([_compile(p, f"{where} unless") for p in rule.unless]),
            frozenset(folded(text) for text in rule.equals),
            Template(rule.answer, where=f"{where} answer", variables=known),
        )

    def answer(self, values: Mapping[str, Any]) -> str | None:
        """What the first rule that matches says; None where none does."""
        for compiled in self._rules:
            text = _text(values, compiled.rule.field)
            groups = _match(compiled, text)
            if groups is None:
                continue
            return compiled.template.render({**values, **self._extracted(values), **groups})
        return None

    def _extracted(self, values: Mapping[str, Any]) -> dict[str, Any]:
        everything = _text(values, None)
        found = {name: _all(pattern, everything) for name, pattern in self._extract.items()}
        return {**found, "extracted": [{"type": name, "value": value} for name, matches in found.items() for value in matches]}


def _text(values: Mapping[str, Any], field: str | None) -> str:
    if field is not None:
        return str(values.get(field) or "")
    return "\n".join(value for value in values.values() if isinstance(value, str))


def _match(compiled: _Compiled, text: str) -> dict[str, str] | None:
    """The named groups of the first pattern that matches; None where the rule is silent."""
    if any(p.search(text) for p in compiled.unless):
        return None
    empty = {name: "" for p in compiled.patterns for name in p.groupindex}
    if compiled.equals and folded(text) in compiled.equals:
        return empty
    for pattern in compiled.patterns:
        if match := pattern.search(text):
            return empty | {name: value or "" for name, value in match.groupdict().items()}
    return None


def _all(pattern: Any, text: str) -> list[str]:
    """Every different match, in order; the first group if the pattern has one."""
    found = [m.group(1) if m.re.groups else m.group() for m in pattern.finditer(text)]
    return list(dict.fromkeys(f for f in found if f))
