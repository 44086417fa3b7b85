"""`pytest --mainstay`: each case is a test, in real runs of pytest as people start them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parent / "learn"))  # where `releasing` is

from releasing import FEATURE, case, write_project

ROOT = Path(__file__).parents[1]
PLUGIN = ["-p", "mainstay.pytest_plugin"]


def run(root: Path, *arguments: str, plugins: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """What a shell in that folder would show. Only the plugins that are named here are in it."""
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "COLUMNS": "200"}
    command = [sys.executable, "-m", "pytest", *(PLUGIN if plugins is None else plugins), *arguments]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=120, check=False)


def small(root: Path, *cases: str, feature: str = FEATURE, files: dict[str, str] | None = None) -> Path:
    """A project with two cases that pass, one that fails, and these."""
    write_project(root, skills=("a",), categories={"a": 2, "b": 1}, cases=cases, feature=feature)
    for name, text in (files or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def asked(root: Path) -> int:
    """How many calls of evaluations left a record."""
    done = subprocess.run(
        [sys.executable, "-m", "mainstay", "records", "--json", "--limit", "1000", "-C", str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return len(json.loads(done.stdout))


def test_each_case_is_a_test_that_says_why_it_failed(tmp_path: Path):
    """Whoever reads the failure sees input, expectation, answer and reasons, and no traceback of ours."""
    done = run(small(tmp_path), "--mainstay", "-v")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "features/desk/cases/golden.jsonl::a-0 PASSED" in done.stdout
    assert "features/desk/cases/golden.jsonl::b-0 FAILED" in done.stdout
    for told in ("contains: ", '{"question": "b 0"}', '{"contains": ["b answer 0."]}', "I do not know.", "by small", "record a"):
        assert told in done.stdout, told
    assert "Traceback" not in done.stdout and "1 failed, 2 passed" in done.stdout


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ({}, "nothing scores this case"),
        ({"own_scorers:Broken": True}, "ZeroDivisionError"),
        ({"contain": ["a"]}, 'did you mean "contains"'),
        ({"contains": 7}, "case odd, expect.contains"),
    ],
)
def test_what_nobody_can_score_is_an_error_and_no_failure(tmp_path: Path, expect: dict[str, object], told: str):
    """A scorer that is broken says nothing of the answer: that is not the answer's fault."""
    odd = json.dumps({"id": "odd", "input": {"question": "a 1"}, "expect": expect})
    broken = "class Broken:\n    async def score(self, subject):\n        return 1 / 0\n"
    done = run(small(tmp_path, odd, files={"own_scorers.py": broken}), "--mainstay", "-k", "odd")
    assert "1 error" in done.stdout and "ERROR features/desk/cases/golden.jsonl::odd" in done.stdout and told in done.stdout


def test_a_second_run_asks_nobody(tmp_path: Path):
    """Answers of the last day are kept, in this door as in `mainstay eval`, and one goes on where the other stopped."""
    root = small(tmp_path)
    assert run(root, "--mainstay", "-k", "a-0").returncode == 0 and asked(root) == 1
    for _ in range(2):
        run(root, "--mainstay")
        assert asked(root) == 3
    said = run(root, "--mainstay").stdout
    assert "given before" in said


@pytest.mark.parametrize(
    ("arguments", "passed", "failed"),
    [
        (["-k", "b"], 0, 1),  # the category, too
        (["-k", "not b"], 2, 0),
        (["-x"], 0, 1),
        (["features/desk/cases/golden.jsonl::a-1"], 1, 0),
        (["desk"], 2, 1),
        (["features/desk"], 2, 1),
        (["-n", "2", "-p", "xdist.plugin"], 2, 1),
    ],
)
def test_the_usual_options_of_pytest_apply(tmp_path: Path, arguments: list[str], passed: int, failed: int):
    """Choosing by name, category or path, stopping early, and running in several processes."""
    root = small(tmp_path)
    if "-x" in arguments:
        cases = root / "features" / "desk" / "cases" / "golden.jsonl"
        cases.write_text("".join(reversed(cases.read_text().splitlines(keepends=True))))
    done = run(root, "--mainstay", *arguments)
    counted = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    assert counted == {k: v for k, v in (("passed", passed), ("failed", failed)) if v}, done.stdout + done.stderr


def test_collecting_opens_nothing_and_needs_no_key(tmp_path: Path):
    """`--co` lists the cases of a project whose keys are elsewhere."""
    root = small(tmp_path)
    (root / "mainstay.toml").write_text('[models.small]\nprovider = "openai"\nmodel = "m"\nkey = "env:NOT_SET_ANYWHERE"\n')
    done = run(root, "--mainstay", "--co", "-q")
    assert done.returncode == 0 and "golden.jsonl::a-1" in done.stdout and not (root / ".mainstay").exists()
    done = run(root, "--mainstay", "-q")
    assert "NOT_SET_ANYWHERE" in done.stdout and "3 errors" in done.stdout and "Traceback" not in done.stdout


def test_junit_has_category_and_record(tmp_path: Path):
    """A CI system can group by category and lead to the record."""
    run(small(tmp_path), "--mainstay", f"--junitxml={tmp_path / 'junit.xml'}")
    cases = ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    found = {case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")} for case in cases}
    assert found["b-0"]["category"] == "b" and found["b-0"]["feature"] == "desk" and found["b-0"]["record"]


def test_training_cases_are_no_tests(tmp_path: Path):
    """What a classifier learns from tells nothing about it."""
    root = small(tmp_path, files={"features/desk/cases/train.jsonl": case("c", 1) + "\n"})
    assert "c-1" not in run(root, "--mainstay", "--co", "-q").stdout


def test_the_budget_of_the_gate_holds(tmp_path: Path):
    """The money that an evaluation may spend is the money that its tests may spend."""
    feature = FEATURE.replace("pass_rate = 0.5", 'pass_rate = 0.5\nbudget = "0.0002 USD"')  # an answer costs 0.00012 USD
    root = small(tmp_path, feature=feature)
    done = run(root, "--mainstay")
    assert "is spent" in done.stdout and "1 error" in done.stdout and asked(root) == 2


@pytest.mark.parametrize(
    ("files", "arguments", "told"),
    [
        ({}, ["dsk"], 'no feature and no path "dsk"; did you mean "desk"?'),
        ({"mainstay.toml": "models = 3\n"}, [], "mainstay.toml"),
        ({"features/desk/cases/golden.jsonl": "{\n"}, [], "features/desk/cases/golden.jsonl:1: not JSON"),
        ({"features/desk/feature.toml": 'summry = "x"\n'}, [], "the key `ladder` is missing"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(tmp_path: Path, files: dict[str, str], arguments: list[str], told: str):
    """A wrong name, settings, a file of cases or a feature that cannot be read: what, where and the nearest right word."""
    done = run(small(tmp_path, files=files), "--mainstay", *arguments)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 5) and told in said and "INTERNALERROR" not in said
    assert "Traceback" not in said and "During handling" not in said


def test_a_folder_that_is_no_project_is_told(tmp_path: Path):
    """Whoever starts it in the wrong folder is told so."""
    done = run(tmp_path, "--mainstay")
    assert done.returncode == 4 and "mainstay init" in done.stderr


def test_other_tests_run_as_ever_beside_it(tmp_path: Path):
    """A path on the command line is collected as always; without one there are only cases."""
    root = small(tmp_path, files={"tests/test_one.py": "def test_one():\n    pass\n"})
    assert "1 failed, 2 passed" in run(root, "--mainstay").stdout
    assert "1 failed, 3 passed" in run(root, "tests", "features", "--mainstay").stdout
    assert "1 failed, 3 passed" in run(root, "--mainstay", "desk", "--", "tests", "features").stdout


def test_without_the_option_nothing_happens_and_nothing_is_imported(tmp_path: Path):
    """Everybody's pytest asks for this plugin: it must not collect, and must not slow anybody down."""
    root = small(tmp_path, files={"test_one.py": "import sys\n\ndef test_one():\n    print(sorted(sys.modules))\n"})
    done = run(root, "-s")
    assert "1 passed" in done.stdout and "golden" not in done.stdout
    ours = set(re.findall(r"'(mainstay[\w.]*)'", done.stdout))
    assert ours == {"mainstay", "mainstay.pytest_plugin"}
    assert not {"msgspec", "asyncio", "apsw", "click"} & set(re.findall(r"'(\w+)'", done.stdout))


def test_pytest_finds_it_and_is_no_dependency():
    """The entry point is what pytest looks for, and an install without pytest works."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"mainstay": "mainstay.pytest_plugin"}
    assert not [name for name in project["dependencies"] if "pytest" in name]
    check = "import sys; sys.modules['pytest'] = None; import mainstay.app, mainstay.doors.cli.main as cli; cli.main(['--help'])"
    assert subprocess.run([sys.executable, "-c", check], timeout=60, check=False).returncode == 0
