"""`mainstay learn import`: what it writes is read by everything else, twice is once, and what is not read is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainstay.doors.cli.main import main
from mainstay.spec.cases import read_cases

TESTS = """
question,__expected,__metadata:category,other
How long?,contains:30 days,refunds,x
Who?,llm-rubric:is polite,,y
"""
Import = Callable[..., Result]


@pytest.fixture
def imported(project: Callable[..., Path], tmp_path: Path) -> Import:
    """`imported(text, *options)` is what a shell would show after `mainstay learn import answers tests.csv`."""
    root = project()

    def run(text: str = TESTS, *options: str, feature: str = "answers", name: str = "tests.csv") -> Result:
        (tmp_path / name).write_text(text.lstrip(), encoding="utf-8")
        result = CliRunner().invoke(main, ["learn", "import", feature, str(tmp_path / name), "-C", str(root), *options])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def folder(tmp_path: Path) -> Path:
    return tmp_path / "project" / "features" / "answers"


def test_cases_are_added_and_the_rest_is_said(imported: Import, tmp_path: Path):
    """The file is in the feature's folder, readable, and what it lacks stands on the screen with its place."""
    shown = imported()
    assert shown.exit_code == 0
    assert "2 cases added to features/answers/cases/imported.jsonl.\n" in shown.output
    assert "tests.csv:2-3 vars.other: no input of the feature (question)" in shown.output
    assert "tests.csv:3 assert[0] llm-rubric: a judge decides this" in shown.output
    found = read_cases(folder(tmp_path), shown="answers")
    assert [(case.input["question"], case.category) for case in found] == [("How long?", "refunds"), ("Who?", "")]
    assert found[1].notes == "llm-rubric: is polite"


def test_an_import_that_is_run_again_adds_only_what_is_new(imported: Import, tmp_path: Path):
    """Cases are taken over once, whatever was edited in our file in between."""
    imported()
    path = folder(tmp_path) / "cases" / "imported.jsonl"
    path.rename(path.with_name("mine.jsonl"))
    shown = imported(TESTS + "When?,30 days,,\n")
    assert "1 cases added" in shown.output and "2 were there already" in shown.output
    assert [case.input["question"] for case in read_cases(folder(tmp_path), shown="answers")] == ["When?", "How long?", "Who?"]


def test_a_dry_run_writes_nothing_and_json_is_for_scripts(imported: Import, tmp_path: Path):
    """One can look before one leaps."""
    found = json.loads(imported(TESTS, "--dry-run", "--json").output)
    assert (found["feature"], found["added"], found["known"], len(found["unread"])) == ("answers", 2, 0, 2)
    assert not (folder(tmp_path) / "cases").exists()


def test_a_file_without_a_case_exits_with_1(imported: Import, tmp_path: Path):
    """A script learns that nothing came of it; no empty file is left."""
    shown = imported("answer\n30 days\n")
    assert shown.exit_code == 1 and "0 cases added" in shown.output and "tests.csv:2" in shown.output
    assert not (folder(tmp_path) / "cases").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"feature": "anwsers"}, 'there is no feature "anwsers"; did you mean "answers"?'),
        ({"name": "tests.xlsx"}, "files ending in .xlsx are not read"),
        ({"text": "question,question\n", "name": "t.csv"}, "t.csv:1: two columns are called"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(imported: Import, how: dict[str, str], said: str):
    """A message with the place and the next thing to type, and no traceback."""
    shown = imported(**how)
    assert shown.exit_code == 2 and said in shown.output


def test_broken_cases_of_ours_are_said_before_anything_is_added(imported: Import, tmp_path: Path):
    """Whether a case is there already cannot be known then."""
    imported()
    path = folder(tmp_path) / "cases" / "imported.jsonl"
    path.write_text(path.read_text() + "{\n")
    before = path.read_bytes()
    shown = imported(TESTS + "When?,30 days,,\n")
    assert shown.exit_code == 2 and "features/answers/cases/imported.jsonl:3: not JSON" in shown.output
    assert path.read_bytes() == before
