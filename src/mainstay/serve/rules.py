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
default at all of them together. `unless` lists patterns that keep a rule silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import re2

from mainstay.core.errors import ConfigError, nearest
from mainstay.core.feature import RESERVED, Rule, RuleFile
from mainstay.serve.inputs import text_of
from mainstay.serve.prompts import Template

MEMORY = 64 << 20  # bytes that RE2 may use for one set of patterns
ODD = '"\n\\'  # what templates are tried on at load: where it is not escaped, it breaks what is around it


class _Compiled(msgspec.Struct, frozen=True):
    """A rule made ready; its patterns are numbers in the set of all patterns that look at the same text."""

    rule: Rule
    matches: dict[int, Any]
    unless: frozenset[int]
    equals: frozenset[str]
    groups: frozenset[str]
    template: Template


class Said(msgspec.Struct, frozen=True):
    """What a rule answers, and its name."""

    rule: str
    text: str


def folded(text: str) -> str:
    """The text without regard to case and white space."""
    return " ".join(text.casefold().split())


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    return options


def _compile(pattern: str, where: str) -> Any:
    if not pattern:
        raise ConfigError("a pattern is empty, and would match everything", where=where)
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise ConfigError(f"the pattern {pattern!r} is not RE2: {reason}", where=where) from None


class _Patterns:
    """All patterns that look at one text, matched at once: three hundred cost little more than one."""

    def __init__(self) -> None:
        self._set, self._count = re2.Set.SearchSet(_options()), 0

    def add(self, pattern: str) -> int:
        self._count += 1
        return int(self._set.Add(pattern))

    def compile(self, where: str) -> None:
        if self._count:
            try:
                self._set.Compile()
            except re2.error:
                raise ConfigError(
                    "all patterns together are too large for RE2; write fewer or simpler ones", where=where
                ) from None

    def found(self, text: str) -> frozenset[int]:
        """The numbers of the patterns that match somewhere in the text."""
        return frozenset(self._set.Match(text) or ()) if self._count else frozenset()


class Rules:
    """The rules of one file, compiled.

    `texts` are the input fields that may be looked at, `others` those that only templates see. `place` gives an error's `where`
    for a place in the file.
    """

    def __init__(self, file: RuleFile, *, texts: Iterable[str], others: Iterable[str] = (), place: Callable[..., str]) -> None:
        self._texts, self._place = tuple(texts), place
        self._inputs = (*self._texts, *others)
        for name in file.extract:
            if name in self._inputs or name in RESERVED:
                raise ConfigError(
                    f"`{name}` is an input or a word of Mainstay's; choose another name", where=place("extract", name)
                )
        self._extract = {name: _compile(pattern, place("extract", name)) for name, pattern in file.extract.items()}
        self._patterns: dict[str | None, _Patterns] = {}
        self._rules = [self._ready(rule, i) for i, rule in enumerate(file.rule)]
        for patterns in self._patterns.values():
            patterns.compile(place("rule"))

    def _ready(self, rule: Rule, i: int) -> _Compiled:
        where = self._place
        if rule.field is not None and rule.field not in self._texts:
            raise ConfigError(
                f'there is no text field "{rule.field}" in the input; {nearest(rule.field, self._texts)}',
                where=where("rule", i, "field"),
            )
        if not rule.matches and not rule.equals:
            raise ConfigError("a rule needs `matches` or `equals`", where=where("rule", i))
        equals = [folded(text) for text in rule.equals]
        if "" in equals:
            raise ConfigError("this text is empty", where=where("rule", i, "equals", equals.index("")))
        patterns = self._patterns.setdefault(rule.field, _Patterns())
        compiled = [_compile(p, where("rule", i, "matches", n)) for n, p in enumerate(rule.matches)]
        unless = [_compile(p, where("rule", i, "unless", n)) for n, p in enumerate(rule.unless)]
        groups = frozenset(name for p in compiled for name in p.groupindex)
        known = {*self._inputs, *self._extract, "extracted"}
        for name in sorted(groups & known):
            raise ConfigError(f"the group `{name}` would hide what has that name already", where=where("rule", i, "matches"))
        return _Compiled(
            rule=rule,
            matches={patterns.add(p.pattern): p for p in compiled},
            unless=frozenset(patterns.add(p.pattern) for p in unless),
            equals=frozenset(equals),
            groups=groups,
            template=Template(rule.answer, where=where("rule", i, "answer"), variables=known | groups),
        )

    def answer(self, values: Mapping[str, Any]) -> Said | None:
        """What the first rule that matches says; None where none does. Raises `RungFailed` if its template cannot be filled."""
        texts = {field: self._text(values, field) for field in self._patterns}
        found = {field: patterns.found(texts[field]) for field, patterns in self._patterns.items()}
        for compiled in self._rules:
            field = compiled.rule.field
            groups = _match(compiled, texts[field], found[field])
            if groups is not None:
                return Said(compiled.rule.name, compiled.template.render({**values, **self._extracted(values), **groups}))
        return None

    def try_on(self, values: Mapping[str, Any], *, as_json: bool) -> None:
        """Fill every template with made-up values, at load. Raises `ConfigError` where one cannot be filled, or is not JSON."""
        found = {name: _example(_inside(pattern.pattern)) for name, pattern in self._extract.items()}
        extracted = [{"type": name, "value": value} for name, value in found.items()]
        lists = {name: [value] for name, value in found.items()}
        for i, compiled in enumerate(self._rules):
            groups = {name: _example(_inside(p.pattern, name)) for p in compiled.matches.values() for name in p.groupindex}
            text = compiled.template.try_on({**values, **lists, "extracted": extracted, **groups})
            if as_json and not is_json(text):
                raise ConfigError(
                    "the answer has a schema, so what a rule says has to be JSON, whatever stands in the input",
                    where=self._place("rule", i, "answer"),
                    next='write texts as JSON: "note": {{ question | tojson }}',
                )

    def _extracted(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if not self._extract:
            return {"extracted": []}
        everything = self._text(values, None)
        found = {name: _all(pattern, everything) for name, pattern in self._extract.items()}
        return {**found, "extracted": [{"type": name, "value": value} for name, matches in found.items() for value in matches]}

    def _text(self, values: Mapping[str, Any], field: str | None) -> str:
        """What a rule looks at: a field, or all texts together."""
        names = self._texts if field is None else (field,)
        text = text_of(values, names)
        return text.encode("utf-8", "replace").decode()  # RE2 takes no half of a surrogate pair


def _match(compiled: _Compiled, text: str, found: frozenset[int]) -> dict[str, str] | None:
    """The named groups of the first pattern that matches; None where the rule is silent."""
    if compiled.unless & found:
        return None
    empty = dict.fromkeys(compiled.groups, "")
    if compiled.equals and folded(text) in compiled.equals:
        return empty
    for number, pattern in compiled.matches.items():
        if number in found:
            match = pattern.search(text) if pattern.groupindex else None
            return empty | {name: value or "" for name, value in match.groupdict().items()} if match else empty
    return None


def _all(pattern: Any, text: str) -> list[str]:
    """Every different match, in order; the first group if the pattern has one."""
    found = [m.group(1) if m.re.groups else m.group() for m in pattern.finditer(text)]
    return list(dict.fromkeys(f for f in found if f))


def _inside(pattern: str, name: str = "") -> str:
    """The part of a pattern that a named group holds, or its first group; all of it where there is none."""
    found = re.search(rf"\(\?P?<{name}>" if name else r"(?<!\\)\((?!\?)|\(\?P?<\w+>", pattern)
    if found is None:
        return pattern
    at, depth, in_class = found.end(), 1, False
    while depth and at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_class or char == "[":
            in_class = char != "]"
        else:
            depth += (char == "(") - (char == ")")
        at += 1
    return pattern[found.end() : at - 1]


def _example(pattern: str) -> str:
    """What this part of a pattern may find: odd characters if it lets any of them through, else a digit."""
    try:
        return ODD if re2.compile(pattern, _options()).search(ODD * 30) else "7"
    except re2.error:
        return "7"


def is_json(text: str) -> bool:
    """Whether the text is one JSON value, without repair."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
