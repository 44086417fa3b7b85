"""Cases that other tools wrote: each row becomes a case or is named, the meaning is theirs, and no file can hurt."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainstay.core.case import NOT, Case
from mainstay.core.errors import ConfigError
from mainstay.learn.formats import Imported, read_any
from mainstay.learn.formats.reading import places
from mainstay.parts.scorers import contains, cost, data, exact, latency, number, refused, regex, schema, similarity
from mainstay.spec.cases import read_cases, write_cases

SCORERS: Mapping[str, Any] = {
    "contains": contains.Contains(),
    "cost": cost.Cost(),
    "data": data.Data(),
    "exact": exact.Exact(),
    "latency": latency.Latency(),
    "number": number.Number(),
    "refused": refused.Refused(),
    "regex": regex.Regex(),
    "schema": schema.Schema(),
    "similarity": similarity.Similarity(),
}
QUESTION = {"question": "text"}
Read = Callable[..., Imported]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """`read("a.csv", text, fields, **{"beside.txt": text})` writes the files and imports the first of them."""

    def make(name: str, text: str, fields: Mapping[str, str] = QUESTION, **beside: str) -> Imported:
        for file, content in {name: text, **beside}.items():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(dedent(content), encoding="utf-8")
        found = read_any(tmp_path / name, fields=fields, shown=name)
        for case in found.cases:
            for scorer, expected in case.expect.items():
                SCORERS[scorer.removeprefix(NOT)].check_expected(expected)  # what is imported can be scored
        return found

    return make


def only(found: Imported) -> Case:
    assert len(found.cases) == 1
    return found.cases[0]


def asserted(read: Read, *asserts: dict[str, Any], **test: Any) -> Imported:
    """The import of one promptfoo test with these assertions."""
    whole = {"vars": {"question": "How long?"}, "assert": list(asserts), **test}
    return read("tests.json", json.dumps({"tests": [whole]}))


# promptfoo: what is asserted

MEANT = {
    "equals": ({"type": "equals", "value": "30 days"}, {"exact": "30 days"}),
    "equals a number": ({"type": "equals", "value": 4}, {"exact": "4"}),
    "equals data": ({"type": "equals", "value": {"a": [1]}}, {"exact": {"a": [1]}}),
    "contains minds case": ({"type": "contains", "value": "Paris"}, {"contains": {"all": ["Paris"], "case": True}}),
    "icontains does not": ({"type": "icontains", "value": "Paris"}, {"contains": {"all": ["Paris"]}}),
    "contains-all": ({"type": "contains-all", "value": ["a", 2]}, {"contains": {"all": ["a", "2"], "case": True}}),
    "contains-any": ({"type": "icontains-any", "value": ["a", "b"]}, {"contains": {"any": ["a", "b"]}}),
    "contains-any in a text": (
        {"type": "contains-any", "value": 'a, "b, c"'},
        {"contains": {"any": ["a", "b, c"], "case": True}},
    ),
    "none of any": ({"type": "not-icontains-any", "value": ["a", "b"]}, {"not-contains": {"any": ["a", "b"]}}),
    "not-contains": ({"type": "not-contains", "value": "a"}, {"not-contains": {"all": ["a"], "case": True}}),
    "regex": ({"type": "regex", "value": r"\d+ days"}, {"regex": r"\d+ days"}),
    "not-regex": ({"type": "not-regex", "value": "x"}, {"not-regex": "x"}),
    "starts-with": ({"type": "starts-with", "value": "a.b"}, {"regex": r"\Aa\.b"}),
    "is-json": ({"type": "is-json"}, {"schema": True}),
    "is-json with a schema": ({"type": "is-json", "value": {"type": "object"}}, {"schema": {"type": "object"}}),
    "is-json with a schema as text": ({"type": "is-json", "value": "type: object"}, {"schema": {"type": "object"}}),
    "similar": ({"type": "similar", "value": "x", "threshold": 0.9}, {"similarity": {"text": "x", "at_least": 0.9}}),
    "similar has a default": ({"type": "similar", "value": "x"}, {"similarity": {"text": "x", "at_least": 0.75}}),
    "latency counts milliseconds": ({"type": "latency", "threshold": 2000}, {"latency": "2s"}),
    "an odd latency is exact": ({"type": "latency", "threshold": 1234.5}, {"latency": "1.2345s"}),
    "cost counts dollars": ({"type": "cost", "threshold": 0.00002}, {"cost": "0.00002 USD"}),
    "is-refusal": ({"type": "is-refusal"}, {"refused": True}),
    "not-is-refusal": ({"type": "not-is-refusal"}, {"refused": False}),
}


@pytest.mark.parametrize(("written", "expect"), MEANT.values(), ids=MEANT)
def test_an_assertion_keeps_its_meaning(read: Read, written: dict[str, Any], expect: dict[str, Any]):
    """What promptfoo would accept is what the case expects: its units, its defaults, its regard to case."""
    found = asserted(read, written)
    assert only(found).expect == expect
    assert all("similar" in line for line in found.unread)


UNMEANT = {
    "a judge": ({"type": "llm-rubric", "value": "Is polite"}, "a judge decides this"),
    "a factual judge": ({"type": "factuality", "value": "It is 30 days"}, "a judge decides this"),
    "red teaming": ({"type": "promptfoo:redteam:bola"}, "a judge decides this"),
    "javascript": ({"type": "javascript", "value": "output.length < 9"}, "this is code"),
    "python": ({"type": "not-python", "value": "file://check.py"}, "this is code"),
    "a distance": ({"type": "levenshtein", "value": "x", "threshold": 3}, "no scorer of Mainstay's means the same"),
    "JSON somewhere": ({"type": "contains-json"}, "no scorer of Mainstay's means the same"),
    "a type of nobody's": ({"type": "contian", "value": "x"}, 'unknown type; did you mean "contains"?'),
    "a pattern with look-ahead": ({"type": "regex", "value": "(?=x)y"}, "not a pattern of RE2"),
    "not all of several": ({"type": "not-contains-all", "value": ["a", "b"]}, "not all of these"),
    "an empty text": ({"type": "contains", "value": " "}, "`value` has to be a text"),
    "no value": ({"type": "equals"}, "`value` is missing"),
    "a latency without a limit": ({"type": "latency"}, "`threshold` has to be a number"),
    "a limit in words": ({"type": "latency", "threshold": "fast"}, "expected a number"),
    "a limit of nothing": ({"type": "latency", "threshold": 0}, "`threshold` has to be a number"),
    "a schema that is none": ({"type": "is-json", "value": "a: [b"}, "`value` is no JSON Schema"),
    "a measure beyond 1": ({"type": "similar", "value": "x", "threshold": 75}, "between 0 and 1"),
    "a transformed output": ({"type": "equals", "value": "x", "transform": "output.trim()"}, "something else than the answer"),
    "no weight": ({"type": "equals", "value": "x", "weight": 0}, "it weighs nothing"),
    "no type": ({"value": "x"}, "an assertion has a `type`"),
    "some of a set": ({"type": "assert-set", "threshold": 0.5, "assert": [{"type": "is-json"}]}, "not all have to hold"),
    "a template that computes": ({"type": "equals", "value": "{{ question | upper }}"}, "more than name a variable"),
    "a template of nothing": ({"type": "equals", "value": "{{ nobody }}"}, "{{ nobody }} names no variable"),
    "a file that is not there": ({"type": "equals", "value": "file://gone.txt"}, "gone.txt cannot be read"),
    "a file above": ({"type": "equals", "value": "file://../../../etc/passwd"}, "cannot be read"),
    "a program": ({"type": "equals", "value": "file://value.js"}, "this is code"),
}


@pytest.mark.parametrize(("written", "why"), UNMEANT.values(), ids=UNMEANT)
def test_an_assertion_without_an_equal_is_named(read: Read, written: dict[str, Any], why: str):
    """The case is there without it, and the place, the key and the reason are told."""
    found = asserted(read, written)
    assert only(found).expect == {}
    assert any(line.startswith("tests.json test 1 assert[0]") and why in line for line in found.unread)


def test_a_rubric_is_kept_in_the_notes(read: Read):
    """What a judge would be told is the one thing that cannot be made anew."""
    found = asserted(read, {"type": "llm-rubric", "value": "Is polite"}, description="Refunds")
    assert only(found).notes == "Refunds\nllm-rubric: Is polite"


def test_several_assertions_of_a_kind_are_all_expected(read: Read):
    """A case names each scorer once; two of promptfoo's become one that means both, never only the last."""
    found = asserted(
        read,
        {"type": "icontains", "value": "a"},
        {"type": "icontains-any", "value": ["b", "c"]},
        {"type": "icontains-any", "value": ["d", "e.f"]},
        {"type": "contains", "value": "G"},
        {"type": "not-icontains", "value": "h"},
        {"type": "not-icontains", "value": "i"},
        {"type": "regex", "value": "j"},
        {"type": "latency", "threshold": 900},
        {"type": "latency", "threshold": 5000},
        {"type": "cost", "threshold": 0.5},
        {"type": "cost", "threshold": 0.09},
    )
    assert found.unread == []
    assert only(found).expect == {
        "contains": {"all": ["a"], "any": ["b", "c"]},
        "regex": ["(?i)(?:d|e\\.f)", "G", "j"],
        "not-contains": {"all": ["h", "i"]},
        "latency": "900ms",
        "cost": "0.09 USD",
    }


def test_two_that_cannot_both_be_expected_are_told(read: Read):
    """Of two exact texts one would silently win."""
    found = asserted(read, {"type": "equals", "value": "a"}, {"type": "equals", "value": "b"}, {"type": "equals", "value": "a"})
    assert only(found).expect == {"exact": "a"}
    assert found.unread == [
        "tests.json test 1 assert[1] equals: the case expects `exact` already, and has room for one; make a second case of it"
    ]


# promptfoo: tests

SUITE = """
    description: Support
    prompts: [file://prompt.txt]
    providers: [openai:gpt-5]
    assertionTemplates:
      polite: {type: not-icontains, value: stupid}
    defaultTest:
      vars: {tone: kind}
      metadata: {language: en}
      assert:
        - {type: equals, value: '{{ expected }}'}
    tests:
      - description: Refund window
        vars: {question: How long?, expected: 30 days}
        metadata: {category: refunds, tier: 2, since: 2024-01-01, tags: [a, b]}
        assert:
          - $ref: '#/assertionTemplates/polite'
      - vars:
          question: [Who?, When?]
          expected: [no, 12:30]
        options: {disableDefaultAsserts: true}
      - file://more.csv
      - vars: {nothing: of ours, expected: x}
      - 5
    """


def test_a_whole_suite(read: Read):
    """Defaults, templates, references, combinations and other files come together; the rest is named with its line."""
    more = 'question,expected,__expected,__metadata:category\nWhere?,here,"contains: he",places\n'
    found = read("suite.yaml", SUITE, **{"more.csv": more})
    assert [(case.input["question"], case.expect) for case in found.cases] == [
        ("How long?", {"exact": "30 days", "not-contains": {"all": ["stupid"]}}),
        *[(question, {}) for question in ("Who?", "Who?", "When?", "When?")],
        ("Where?", {"exact": "here", "contains": {"all": ["he"], "case": True}}),
    ]
    first, last = found.cases[0], found.cases[-1]
    assert (first.category, first.language, first.tags) == ("refunds", "en", {"tier": "2", "since": "2024-01-01"})
    assert (first.notes, first.source, last.category) == ("Refund window", "promptfoo:suite.yaml", "places")
    assert found.unread == [
        "suite.yaml `description`, `prompts`, `providers`: no tests, and so no cases",
        "suite.yaml:13,18, more.csv:2 vars.tone: no input of the feature (question)",
        "suite.yaml:13 metadata.tags: a tag is a name with one text",
        "suite.yaml:18 vars.expected: no input of the feature (question)",
        "suite.yaml:23 vars: none of its variables is an input of the feature (question)",
        "suite.yaml test 5: expected a test",
    ]


def test_scenarios_are_every_test_with_every_configuration(read: Read):
    """As promptfoo runs them."""
    text = """
        scenarios:
          - config:
              - vars: {language: de}
              - vars: {language: fr}
            tests:
              - vars: {question: a}
              - vars: {question: b}
                assert: [{type: is-refusal}]
          - config: 3
        """
    found = read("suite.yaml", text, {"question": "text", "language": "text"})
    pairs = [(case.input["question"], case.input["language"], bool(case.expect)) for case in found.cases]
    assert pairs == [("a", "de", False), ("a", "fr", False), ("b", "de", True), ("b", "fr", True)]
    assert found.unread == ["suite.yaml:10: expected a scenario with lists `config` and `tests`"]


def test_variables_that_are_files_are_read_where_they_lie_beside(read: Read):
    """A pasted document is often a file of its own; what is not beside, or would have to be run, is named."""
    tests = [{"vars": {"question": f"file://{name}"}} for name in ("docs/a.txt", "b.yaml", "gone.txt", "c.py", "/etc/hostname")]
    found = read("tests.json", json.dumps(tests), **{"docs/a.txt": "\nLong text\n", "b.yaml": "n: 1", "c.py": "x"})
    assert [case.input["question"] for case in found.cases] == ["Long text", '{"n": 1}']
    assert [line.partition(": ")[0] for line in found.unread] == [f"tests.json test {i} vars.question" for i in (3, 4, 5)]


def test_a_lone_variable_fills_a_lone_input(read: Read):
    """promptfoo's `query` is our `question`, where there is no doubt; one that only an assertion uses is no doubt."""
    found = read("t.csv", "query,answer,__expected\nWho?,Ann,contains:{{answer}}\n")
    assert (only(found).input, only(found).expect) == ({"question": "Who?"}, {"contains": {"all": ["Ann"], "case": True}})
    two = read("t.csv", "query,answer,__expected\nWho?,Ann,contains:x\n")
    assert two.cases == [] and "none of its variables is an input" in two.unread[0]


def test_too_many_combinations_are_refused(read: Read):
    """Five lists of twenty are 3,200,000 cases, which nobody meant."""
    variables = {name: [str(i) for i in range(20)] for name in "abcde"}
    started = time.perf_counter()
    found = read("t.json", json.dumps([{"vars": {"question": "x", **variables}}]))
    assert found.cases == [] and "more than 10000 cases" in found.unread[0]
    assert time.perf_counter() - started < 5


def test_variables_that_name_each_other_end(read: Read):
    """A variable in a list in a variable that names the first one is told, and deep data is no traceback."""
    tests = [
        {"vars": {"question": "{{ other }}", "other": {"x": ["{{ question }}"]}}},
        {"vars": {"question": {"x": {"y": "{{ question }}"}}}},
        {"vars": {"question": json.loads("[" * 90 + "1" + "]" * 90)}, "options": {"disableVarExpansion": True}},
    ]
    found = read("t.json", json.dumps(tests))
    assert len(found.cases) == 1 and sum("templates in templates" in line for line in found.unread) == 1
    with pytest.raises(ConfigError, match="nested more than 100 levels deep"):
        read("t.json", json.dumps([{"vars": {"question": json.loads("[" * 300 + "]" * 300)}}]))


def test_references_in_a_circle_end(read: Read):
    """A template of assertions that names itself is named once, and nothing hangs."""
    text = """
        assertionTemplates:
          a: {$ref: '#/assertionTemplates/a'}
          b: {type: assert-set, assert: [{$ref: '#/assertionTemplates/b'}]}
        tests:
          - vars: {question: '{{ question }}'}
            assert: [{$ref: '#/assertionTemplates/a'}, {$ref: '#/assertionTemplates/b'}, {$ref: '#/nowhere'}]
          - file://again.yaml
        """
    found = read("suite.yaml", text, **{"again.yaml": "- file://again.yaml\n"})
    assert found.cases == [] and any("templates in templates" in line for line in found.unread)
    assert any(line.startswith("again.yaml: a file of tests that names another one") for line in found.unread)


# promptfoo: the short way

SHORT = {
    "30 days": {"exact": "30 days"},
    "equals: 30 days": {"exact": "30 days"},
    "contains: 30": {"contains": {"all": ["30"], "case": True}},
    "not-icontains:60": {"not-contains": {"all": ["60"]}},
    'contains-all: 1, "2, 3"': {"contains": {"all": ["1", "2, 3"], "case": True}},
    "regex:^\\d+: \\w": {"regex": "^\\d+: \\w"},
    "similar(0.9): Hello": {"similarity": {"text": "Hello", "at_least": 0.9}},
    "similar: Hello": {"similarity": {"text": "Hello", "at_least": 0.8}},
    "latency(1500)": {"latency": "1.5s"},
    "cost(0.01)": {"cost": "0.01 USD"},
    "is-json": {"schema": True},
    "not-is-refusal": {"refused": False},
    "Note: bring your receipt": {"exact": "Note: bring your receipt"},
    "https://example.com/a": {"exact": "https://example.com/a"},
    "contains": {"exact": "contains"},
    "human: yes": {"exact": "human: yes"},
    "one\ntwo": {"exact": "one\ntwo"},
}


@pytest.mark.parametrize(("cell", "expect"), SHORT.items())
def test_a_cell_means_what_it_means_to_promptfoo(read: Read, cell: str, expect: dict[str, Any]):
    """A type, its threshold in brackets, its value; anything else is a text that the answer has to equal."""
    assert only(read("t.csv", table([["question", "__expected"], ["Q", cell]]))).expect == expect


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("contain:30", 'did you mean "contains"?'),
        ("fn:output.length", "this is code"),
        ("javascript: true", "this is code"),
        ("eval: true", "this is code"),
        ("python: True", "this is code"),
        ("file://check.py:get", "this is code"),
        ("grade: is polite", "a judge decides this"),
        ("llm-rubric:is polite", "a judge decides this"),
        ("levenshtein(3):x", "no scorer of Mainstay's"),
    ],
)
def test_a_cell_without_an_equal_is_named(read: Read, cell: str, why: str):
    """A typo that promptfoo compares with literally is named, too."""
    found = read("t.csv", table([["question", "__expected"], ["Q", cell]]))
    assert only(found).expect == {}
    assert [line for line in found.unread if line.startswith("t.csv:2 assert[0]") and why in line]


def test_the_columns_of_a_table(read: Read):
    """Each column with a meaning of its own is used or named, and a blank cell says nothing."""
    head = ["question", "__expected1", "__expected2", "__description", "__metadata:category", "__metadata:tags[]"]
    head += ["__metric", "__threshold", "__config:__expected2:threshold", "__prefix", "__nonsense", "_expected"]
    rows = [
        ["Q1", "contains:a", "similar:b", "Why", "refunds", "x", "m", "0.5", "0.3", "Be brief", "?", "contains:z"],
        ["Q2", "", "similar:b", "", "", "", "", "", "", "", "", ""],
        ["Q3", "a", "", "", "", "x,y\\,z", "", "", "0.3", "", "", ""],
    ]
    found = read("t.csv", table([head, *rows]))
    one, two, _ = found.cases
    assert one.expect == {"contains": {"all": ["a"], "case": True}, "similarity": {"text": "b", "at_least": 0.3}}
    assert (one.category, one.tags, one.notes) == ("refunds", {"tags": "x"}, "Why")
    assert two.expect == {"similarity": {"text": "b", "at_least": 0.8}} and two.tags == {}
    told = "\n".join(found.unread)
    for said in (
        "t.csv:2 __prefix: what a test changes",
        "t.csv:2 __nonsense: unknown column",
        "t.csv:2 _expected: one underscore; promptfoo's column is `__expected`",
        "t.csv:2 threshold: a case passes when all that it expects is met",
        "t.csv:2 __metric: a label of promptfoo's reports",
        "t.csv:4 metadata.tags: a tag is a name with one text",
        "t.csv:4 __config: a threshold of 0.3 for expectation 2, which is not there",
    ):
        assert said in told


def table(rows: list[list[str]], separator: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


CELL = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(
        [*SHORT, "llm-rubric:x", "contain:x", "{{ question }}", "{{ x }}", "{% x %}", "file://x", "0.5", "not-x:", '"']
    ),
)
NAMES = st.sampled_from(
    [
        *("question", "other", "x y", "_expected", "__expected", "__expected1", "__expected2", "__description", "__metric"),
        *("__metadata", "__metadata:category", "__metadata:x[]", "__threshold", "__config:__expected:threshold", "__config:x"),
        *("__prefix", "__x"),
    ]
)


def named(unread: list[str], file: str) -> set[int]:
    """The lines of a file that are named in what was not read."""
    found: set[int] = set()
    for line in unread:
        for numbers in re.findall(re.escape(file) + r":([\d,-]+)", line):
            for first, _, last in (part.partition("-") for part in numbers.split(",")):
                found |= set(range(int(first), int(last or first) + 1))
    return found


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(names=st.lists(NAMES, min_size=1, max_size=6, unique=True), data=st.data(), promptfoo=st.booleans())
def test_every_row_becomes_a_case_or_is_named(tmp_path: Path, names: list[str], data: st.DataObject, promptfoo: bool):
    """Whatever stands in a table: no row is lost in silence, nothing raises, and what is read can be written and read again."""
    names = names if promptfoo else [name for name in names if not name.startswith("__")] or ["question"]
    rows = data.draw(st.lists(st.lists(CELL, min_size=len(names), max_size=len(names) + 1), max_size=5))
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    path = tmp_path / "t.csv"
    path.write_text(table([names, *rows]), encoding="utf-8", newline="")
    found = read_any(path, fields=QUESTION, shown="t.csv")
    lost = len(rows) - len(found.cases)
    assert 0 <= lost <= len(named(found.unread, "t.csv"))
    write_cases(tmp_path / "cases" / "a.jsonl", found.cases)
    assert read_cases(tmp_path, shown="f") == found.cases


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | CELL,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["question", "type", "value", "threshold", "x", "$ref", "assert"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KINDS = st.sampled_from([*[case[0]["type"] for case in MEANT.values()], "llm-rubric", "javascript", "assert-set", "nonsense"])
ASSERTS = st.fixed_dictionaries(
    {}, optional={"type": KINDS, "value": VALUES, "threshold": VALUES, "weight": VALUES, "$ref": VALUES}
)
TESTS = st.fixed_dictionaries(
    {},
    optional={
        "vars": st.fixed_dictionaries({}, optional={"question": VALUES, "other": VALUES}) | VALUES,
        "assert": st.lists(ASSERTS | VALUES, max_size=3) | VALUES,
        "metadata": VALUES,
        "options": VALUES,
        "description": VALUES,
        "x": VALUES,
    },
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    suite=st.fixed_dictionaries(
        {"tests": st.lists(TESTS | VALUES, max_size=3)}, optional={"defaultTest": TESTS, "scenarios": VALUES}
    )
)
def test_no_suite_is_too_strange(tmp_path: Path, suite: dict[str, Any]):
    """Values of any type at any key are read or named, never a traceback; what became a case can be scored."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps(suite), encoding="utf-8")
    try:
        found = read_any(path, fields=QUESTION, shown="t.json")
    except ConfigError as error:
        assert "cannot be kept" in str(error)  # NaN is no JSON
        return
    assert found.cases or found.unread or suite["tests"] in ([], None)
    for case in found.cases:
        for scorer, expected in case.expect.items():
            SCORERS[scorer.removeprefix(NOT)].check_expected(expected)


# pydantic-evals


def test_a_dataset_of_pydantic_evals(read: Read):
    """Evaluators of the case and of the dataset become expectations; the others are named with their line."""
    text = """
        # yaml-language-server: $schema=./schema.json
        name: support
        cases:
        - name: refund window
          inputs: {question: How long?, unknown: 1}
          metadata: {category: refunds, hard: true}
          expected_output: 30 days
          evaluators:
          - Contains: {value: "30", case_sensitive: false}
          - name: Contains
            arguments: ["days"]
          - IsInstance: str
          - MaxDuration: 2.0
          - LLMJudge: {rubric: Is polite, include_input: true}
          - OwnCheck: {strict: true}
        - name: a lone text
          inputs: hello
          expected_output: {a: 1}
        - inputs: {x: 1, y: 2}
        evaluators:
        - EqualsExpected
        extra: 1
        """
    found = read("cases.yaml", text)
    first, second = found.cases
    assert (first.id, first.category, first.tags) == ("refund window", "refunds", {"hard": "true"})
    assert first.expect == {"exact": "30 days", "contains": {"all": ["30"]}, "regex": ["days"], "latency": "2s"}
    assert first.notes == "LLMJudge: Is polite"
    assert (second.input, second.expect) == ({"question": "hello"}, {"exact": {"a": 1}})
    assert [line.partition(":")[0] + ":" + line.partition(":")[2].partition(":")[0] for line in found.unread] == [
        "cases.yaml `extra`: unknown keys of a dataset",
        "cases.yaml:5 inputs.unknown",
        "cases.yaml:5 evaluators[2] IsInstance",
        "cases.yaml:5 evaluators[4] LLMJudge",
        "cases.yaml:5 evaluators[5] OwnCheck",
        "cases.yaml:20 inputs",
    ]


def test_an_expected_output_that_nothing_compares_with_is_kept_and_told(read: Read):
    """Without EqualsExpected it would be a stricter case than the one that was written."""
    found = read("c.json", json.dumps({"cases": [{"inputs": {"question": "Q"}, "expected_output": "A"}]}))
    assert (only(found).expect, only(found).notes) == ({}, "expected_output: A")
    assert found.unread == ["c.json case 1 expected_output: no EqualsExpected compares with it; it is kept in `notes`"]


# Tables and lines


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_plain_table(read: Read, separator: str):
    """A spreadsheet's export, with whatever separates its cells; a number is a number where the feature wants one."""
    rows = [
        ["id", "question", "count", "sure", "expected", "expect", "must", "category", "tag:tier", "notes", "nonsense"],
        ["1", "How\nlong?", "3", "TRUE", "30 days", "", "x", "refunds", "gold", "Why", "?"],
        ["2", "", "many", "", '{"a": 1}', '{"not-contains": ["b"]}', "no", "", "", "", ""],
        ["", "", "", "", "A", "", "maybe", "", "", "", ""],
    ]
    found = read("t.csv", table(rows, separator), {"question": "text", "count": "integer", "sure": "boolean?"})
    one, two, three = found.cases
    assert one.input == {"question": "How\nlong?", "count": 3, "sure": True}
    assert (one.id, one.expect, one.must, one.tags, one.notes) == ("1", {"exact": "30 days"}, True, {"tier": "gold"}, "Why")
    assert (two.input, two.expect) == ({"question": "", "count": "many"}, {"data": {"a": 1}, "not-contains": ["b"]})
    assert three.input == {"question": ""}
    assert found.unread == [
        't.csv:2 nonsense: no input of the feature, and no key of a case; did you mean "notes"?',
        "t.csv:5 must: expected true or false",
    ]


def test_a_row_with_a_cell_too_many_is_no_case(read: Read):
    """An unquoted comma shifts every cell after it: the row is named, and not read askew."""
    found = read("t.csv", "question,expected\nHow long, please?,30 days\nQ,A\n")
    assert only(found).input == {"question": "Q"}
    assert found.unread == ["t.csv:2: 3 cells for 2 columns; a text with the separator in it stands in quotation marks"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("question,question\na,b\n", 't.csv:1: two columns are called "question"'),
        ("question,,x\na,b,c\n", "t.csv:1: column 2 has no name"),
        ('question,x\n"never closed,b\nc,d\n', "t.csv:3: not a table"),
    ],
)
def test_a_table_that_is_none_is_an_error(read: Read, text: str, said: str):
    """With the line, before anything is read from it."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        read("t.csv", text)


def test_a_long_document_in_a_cell(read: Read):
    """The csv module's own limit is 131,072 characters."""
    limit = csv.field_size_limit()
    assert len(only(read("t.csv", table([["question"], ["x" * 300_000]]))).input["question"]) == 300_000
    assert csv.field_size_limit() == limit


def test_lines_of_json(read: Read):
    """Our own cases and flat objects, side by side; a line that is neither is named and stops nothing."""
    lines = [
        {"id": "own", "input": {"question": "Q"}, "expect": {"exact": "A"}, "tags": {"tier": "gold"}, "source": "record:r1"},
        {"input": {"question": "Q"}, "expct": {}},
        {"question": "flat", "expected": 3, "language": "en", "history": [{"role": "user", "text": "Hi"}], "zz": 1},
        [1],
        {"expected": "no question"},
    ]
    found = read("t.jsonl", "\n".join(map(json.dumps, lines)) + "\n{bad\n")
    own, flat = found.cases
    assert (own.id, own.expect, own.source) == ("own", {"exact": "A"}, "record:r1")
    assert (flat.input, flat.expect, flat.language, len(flat.history)) == ({"question": "flat"}, {"number": 3}, "en", 1)
    assert [re.split(r": |; ", line)[0] for line in found.unread] == [
        "t.jsonl:6",
        "t.jsonl:2 expct",
        "t.jsonl:3 zz",
        "t.jsonl:4",
        "t.jsonl:5",
    ]


def test_lines_of_promptfoo(read: Read):
    """Its JSON Lines are told from ours by `vars`."""
    found = read("t.jsonl", '\n{"vars": {"question": "Q"}, "assert": [{"type": "is-json"}]}\n{"vars": {}}\n')
    assert only(found).expect == {"schema": True}
    assert found.unread == ["t.jsonl:3 vars: the test has no variables"]


def test_what_we_write_is_imported_as_it_was(tmp_path: Path, read: Read):
    """Our own file is one of the formats."""
    cases = [Case(input={"question": "Q"}, id="1", must=True, tags={"a": "b"}), Case(input={"question": "R"}, id="2", source="x")]
    write_cases(tmp_path / "ours.jsonl", cases)
    found = read_any(tmp_path / "ours.jsonl", fields=QUESTION, shown="ours.jsonl")
    assert [case for case in found.cases if case.id == "2"] == cases[1:] and found.unread == []
    assert found.cases[0].source == "json:ours.jsonl"


# YAML

PLAIN = {"no": "no", "yes": "yes", "on": "on", "12:30": "12:30", "2024-01-01": "2024-01-01", "007": "007", "1_000": "1_000"}
TYPED = {"true": True, "False": False, "3": 3, "-1.5": -1.5, "1e3": 1000.0, "~": None, "null": None, "": None, "'3'": "3"}


@pytest.mark.parametrize(("written", "meant"), [*PLAIN.items(), *TYPED.items()])
def test_a_value_of_yaml_is_what_people_mean(read: Read, written: str, meant: Any):
    """An expected "no" is not False, a time of day is not 750, a date is not an object, a code keeps its zeros."""
    found = read("t.yaml", f"- input: {{question: q, value: {written}}}\n")
    assert only(found).input["value"] == meant


HURTFUL = {
    "a bomb": "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    + "tests: *a11\n",
    "a deep nest": "[" * 200_000,
    "aliases in aliases": "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{'[' * 90}*a{i - 1}{']' * 90}]\n" for i in range(1, 60)),
    "an alias of itself": "tests: &a [*a]\n",
    "a Python object": 'tests: [!!python/object/apply:os.system ["true"]]\n',
    "a tag of somebody's": "tests: [!include other.yaml]\n",
    "a key twice": "tests: []\ntests: []\n",
    "two documents": "tests: []\n---\ntests: []\n",
    "a key that is a list": "? [a]\n: b\n",
    "a tab": "tests:\n\t- a\n",
    "a control character": "tests: [\x01]\n",
    "a wrong merge": "tests: [{<<: 3}]\n",
    "an unknown alias": "tests: *nobody\n",
}


@pytest.mark.parametrize("text", HURTFUL.values(), ids=HURTFUL)
def test_no_yaml_can_hurt(read: Read, text: str):
    """Bombs, depths, tags and circles are errors with the file's name, soon, and without running anything."""
    started = time.perf_counter()
    with pytest.raises(ConfigError, match=r"^t\.yaml"):
        read("t.yaml", text)
    assert time.perf_counter() - started < 30


def test_anchors_and_merges_work(read: Read):
    """People share assertions between tests with them; what is written in the test wins."""
    text = """
        tests:
          - &first
            vars: &vars {question: a}
            assert: &both [{type: is-json}]
          - {<<: *first, vars: {<<: *vars, question: b}}
          - {vars: *vars, assert: *both}
        """
    found = read("t.yaml", text)
    assert [(case.input["question"], case.expect) for case in found.cases] == [(q, {"schema": True}) for q in "aba"]
    assert found.unread == []


# Formats


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.xlsx", "PK", "files ending in .xlsx are not read"),
        ("tests", "{}", "files ending in nothing are not read"),
        ("t.json", '{"foo": 1}', "it holds a mapping with foo"),
        ("t.json", "[]", "it holds a list of something else than mappings"),
        ("t.yaml", "", "it holds nothing"),
        ("t.jsonl", "\n", "the file is empty"),
        ("t.jsonl", "nonsense\n", "t.jsonl:1: not JSON"),
    ],
)
def test_a_file_of_no_format_is_an_error_that_lists_them(read: Read, name: str, text: str, said: str):
    """Whoever gives a spreadsheet learns what to give instead."""
    with pytest.raises(ConfigError) as raised:
        read(name, text)
    assert said in str(raised.value) and "next: give promptfoo's tests" in str(raised.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path):
    """Not a traceback."""
    with pytest.raises(ConfigError, match=r"^t\.csv: the file cannot be read"):
        read_any(tmp_path / "t.csv", fields=QUESTION, shown="t.csv")


def test_a_feature_whose_inputs_are_not_named_takes_all(read: Read):
    """An input that is a JSON Schema without properties could be anything."""
    assert only(read("t.csv", "a,expected\n1,x\n", {})).input == {"a": "1"}
    assert only(read("t.json", '[{"vars": {"a": 1, "b": 2}}]', {})).input == {"a": 1, "b": 2}


def test_many_places_are_told_in_few_words():
    """A thousand rows with the same remark are one line, and each of them is in it."""
    assert places(["t.csv:2", "t.csv:3", "t.csv:4", "t.csv:9", "u.json test 1", "u.json test 2", "v.yaml"]) == (
        "t.csv:2-4,9, u.json test 1-2, v.yaml"
    )
