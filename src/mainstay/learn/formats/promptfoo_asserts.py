"""What promptfoo asserts, as expectations of a case; or in one sentence why there is none that means the same.

The meaning is promptfoo's: `contains` minds upper and lower case there, `latency` counts milliseconds and `cost` dollars.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import re2
from msgspec import Struct

from mainstay.core.case import NOT
from mainstay.core.errors import ConfigError, nearest
from mainstay.core.units import Seconds
from mainstay.learn.formats.yaml_text import load_yaml

GRADED = frozenset(
    """agent-rubric answer-relevance classifier context-faithfulness context-recall context-relevance conversation-relevance
    factuality g-eval llm-rubric max-score model-graded-closedqa model-graded-factuality moderation pi search-rubric select-best
    trajectory:goal-success human""".split()
)
CODE = frozenset({"javascript", "python", "ruby", "webhook"})
OTHERS = frozenset(
    """assert-set bleu contains-html contains-json contains-sql contains-xml finish-reason gleu guardrails is-html is-sql
    is-valid-function-call is-valid-openai-function-call is-valid-openai-tools-call is-xml levenshtein meteor perplexity
    perplexity-score rouge-n similar:dot similar:euclidean skill-used tool-call-f1 trace-error-spans trace-span-count
    trace-span-duration trajectory:step-count trajectory:tool-args-match trajectory:tool-sequence trajectory:tool-used
    word-count""".split()
)
BY_A_JUDGE = "a judge decides this; make a feature of the rubric, and expect `judged:NAME` of the case"
BY_CODE = "this is code; write it as a scorer in Python, and expect it by its path"
BY_NOBODY = "no scorer of Mainstay's means the same; write one in Python, and expect it by its path"
SIMILAR = frozenset({"similar", "similar:cosine"})
SPELLING = "`similarity` compares spellings, and this compared meanings: look at the threshold"
ONE_LIMIT = "`threshold` has to be a number"


class Wish(Struct, frozen=True, kw_only=True):
    """One assertion: what it is called without `not-`, what it compares with, and from which score on it passes."""

    kind: str
    negated: bool = False
    value: Any = None
    threshold: float | None = None


class Expectation(Struct, frozen=True):
    """What a scorer is to compare with, under the name that a case uses."""

    name: str
    expected: Any


def expectation(wish: Wish) -> Expectation | str:
    """What a case would expect, or why there is nothing that means the same."""
    if wish.kind in _MEANS:
        return _MEANS[wish.kind](wish)
    if wish.kind in GRADED or wish.kind.startswith("promptfoo:redteam:"):
        return BY_A_JUDGE
    if wish.kind in CODE:
        return BY_CODE
    if wish.kind in OTHERS:
        return BY_NOBODY
    return f"unknown type; {nearest(wish.kind, TYPES)}"


def _named(wish: Wish, name: str, expected: Any) -> Expectation:
    return Expectation(NOT + name if wish.negated else name, expected)


def _text(value: Any) -> str | None:
    """A value as promptfoo compares it with an answer's text; None where it is no single text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _equals(wish: Wish) -> Expectation | str:
    text = _text(wish.value)
    if text is None and not isinstance(wish.value, dict | list):
        return "`value` is missing"
    return _named(wish, "exact", wish.value if text is None else text)


def _contains(wish: Wish) -> Expectation | str:
    """All six of them: with and without regard to case; one text, all of several, any of several."""
    values = wish.value if isinstance(wish.value, list) else [wish.value]
    several = wish.kind.endswith(("-all", "-any"))
    if several and isinstance(wish.value, str):
        values = [text.strip() for text in next(csv.reader([wish.value], skipinitialspace=True), [])]
    texts = [text for value in values if (text := _text(value)) and text.strip()]
    if len(texts) < len(values) or not texts or (not several and len(texts) > 1):
        return "`value` has to be " + ("texts" if several else "a text")
    if wish.negated and wish.kind.endswith("-all") and len(texts) > 1:
        return "that not all of these stand in an answer cannot be expected; `not-contains` means that none of them does"
    expected: dict[str, Any] = {"any" if wish.kind.endswith("-any") else "all": texts}
    if not wish.kind.startswith("i"):
        expected["case"] = True
    return _named(wish, "contains", expected)


def _regex(wish: Wish) -> Expectation | str:
    if not isinstance(wish.value, str) or not wish.value:
        return "`value` has to be a pattern"
    return _pattern(wish, wish.value)


def _starts_with(wish: Wish) -> Expectation | str:
    text = _text(wish.value)
    return _pattern(wish, r"\A" + re.escape(text)) if text else "`value` has to be a text"


def _pattern(wish: Wish, pattern: str) -> Expectation | str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        what = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        return f"not a pattern of RE2, which has no look-around and no back-references: {what}"
    return _named(wish, "regex", pattern)


def _is_json(wish: Wish) -> Expectation | str:
    schema = wish.value
    if isinstance(schema, str) and schema.strip():
        try:
            schema = load_yaml(schema, "value").data
        except ConfigError as error:
            return f"`value` is no JSON Schema: {error.what}"
    if schema in (None, ""):
        return _named(wish, "schema", True)
    return _named(wish, "schema", schema) if isinstance(schema, dict) else "`value` is no JSON Schema"


def _similar(wish: Wish) -> Expectation | str:
    values = wish.value if isinstance(wish.value, list) else [wish.value]
    if len(values) != 1 or not isinstance(values[0], str) or not values[0].strip():
        return "`value` has to be one text"
    at_least = 0.75 if wish.threshold is None else wish.threshold
    if not 0 <= at_least <= 1:
        return "`threshold` has to be between 0 and 1"
    return _named(wish, "similarity", {"text": values[0], "at_least": at_least})


def _latency(wish: Wish) -> Expectation | str:
    if wish.threshold is None or not 0 < wish.threshold < 1e9:
        return ONE_LIMIT
    seconds = Seconds(wish.threshold / 1000)
    written = str(seconds)
    return _named(wish, "latency", written if Seconds.parse(written) == seconds else f"{Decimal(str(wish.threshold)):f}ms")


def _cost(wish: Wish) -> Expectation | str:
    if wish.threshold is None or not 0 <= wish.threshold < 1e9:
        return ONE_LIMIT
    return _named(wish, "cost", f"{Decimal(str(wish.threshold)):f} USD")


def _refusal(wish: Wish) -> Expectation | str:
    return Expectation("refused", not wish.negated)


_MEANS: Mapping[str, Callable[[Wish], Expectation | str]] = {
    "equals": _equals,
    **{f"{i}contains{which}": _contains for i in ("", "i") for which in ("", "-all", "-any")},
    "regex": _regex,
    "starts-with": _starts_with,
    "is-json": _is_json,
    **dict.fromkeys(SIMILAR, _similar),
    "latency": _latency,
    "cost": _cost,
    "is-refusal": _refusal,
}
TYPES = frozenset(_MEANS) | GRADED | CODE | OTHERS


# Several assertions in one case


def join(expect: dict[str, Any], new: Expectation) -> str:
    """Add an expectation to those of a case, which names each scorer once. Says why it cannot be, or nothing."""
    if new.name not in expect or expect[new.name] == new.expected:
        expect[new.name] = new.expected
        return ""
    joined = _joined(new.name, expect[new.name], new.expected)
    if joined is None and new.name.endswith("contains"):
        return join(expect, _as_patterns(new))
    if joined is None:
        return f"the case expects `{new.name}` already, and has room for one; make a second case of it"
    expect[new.name] = joined
    return ""


def _joined(name: str, old: Any, new: Any) -> Any:
    """Two expectations of one scorer as one that means both; None where there is none."""
    if name in ("latency", "cost"):
        return min(old, new, key=_amount)
    if name.endswith("regex"):
        return list(dict.fromkeys([*_listed(old), *_listed(new)]))
    if not name.endswith("contains") or old.get("case") != new.get("case"):
        return None
    if "any" in old and "any" in new and not name.startswith(NOT):
        return None  # one of each list is not one of both
    both = {key: list(dict.fromkeys([*old.get(key, []), *new.get(key, [])])) for key in ("all", "any")}
    return {**old, **{key: texts for key, texts in both.items() if texts}}


def _as_patterns(new: Expectation) -> Expectation:
    """Texts to look for as patterns: of these a case can expect any number, with and without regard to case."""
    before = "" if new.expected.get("case") else "(?i)"
    alone = [before + re.escape(text) for text in new.expected.get("all", [])]
    any_of = [re.escape(text) for text in new.expected.get("any", [])]
    together = [f"{before}(?:{'|'.join(any_of)})"] if any_of else []
    return Expectation(new.name.replace("contains", "regex"), alone + together)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _amount(limit: str) -> float:
    return float(limit.removesuffix(" USD")) if limit.endswith("USD") else Seconds.parse(limit)


# The short way to write an assertion, in cells of a table

_SHORT = re.compile(r"(not-)?([a-z][a-z0-9:-]*?)(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?", re.DOTALL)
_LIMITED = frozenset({"cost", "latency", "similar"})  # those whose number in brackets is their threshold, of the ones we know
_NEVER_SHORT = frozenset({"assert-set", "human", "max-score", "select-best"})
_WITHOUT_VALUE = frozenset({"is-json", "is-refusal", "latency", "cost"})


def from_short(cell: str) -> Wish | str:
    """The assertion that a cell holds: `contains:Paris`, `similar(0.8):Hello`, or a plain text that an answer has to equal."""
    cell = cell.strip()
    for before, kind in _CODE_PREFIXES.items():
        if cell.startswith(before):
            return Wish(kind=kind, value=cell[len(before) :].strip())
    if cell.startswith("file://"):
        return Wish(kind="python" if ".py" in cell else "javascript", value=cell)
    match = _SHORT.fullmatch(cell)
    if match is None or (match[4] is None and match[2] not in _WITHOUT_VALUE | OTHERS):
        return Wish(kind="equals", value=cell)
    kind = match[2]
    if kind not in TYPES - _NEVER_SHORT:
        hint = nearest(kind, TYPES - _NEVER_SHORT)
        if match[4] is not None and hint.startswith("did"):
            return f"promptfoo would look for an answer that equals this; {hint}"
        return Wish(kind="equals", value=cell)
    threshold = float(match[3]) if match[3] else 0.8 if kind == "similar" else None
    return Wish(
        kind=kind,
        negated=match[1] is not None,
        value=match[4] if match[4] is None else match[4].strip(),
        threshold=threshold if kind in _LIMITED else None,
    )


_CODE_PREFIXES = {
    "javascript:": "javascript",
    "fn:": "javascript",
    "eval:": "javascript",
    "python:": "python",
    "grade:": "llm-rubric",
}
