"""eval, release, rollback, off, on, report, audit and check as people and scripts type them."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import apsw
import pytest
from click.testing import CliRunner, Result
from releasing import FEATURE, MODEL, case, learn, write_project

from mainstay.core.release import WentLive
from mainstay.doors.cli.main import main
from mainstay.parts.stores.sqlite_releases import SqliteReleases

Cli = Callable[..., Result]
CASES = "features/desk/cases/golden.jsonl"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that passes its gate, as the current folder."""
    write_project(tmp_path, skills=("a", "b"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(root: Path) -> Cli:
    """`cli("eval", "desk")` is what a shell would show. Never a traceback."""

    def run(*arguments: str, code: int | None = None) -> Result:
        result = CliRunner().invoke(main, arguments, env={"MAINSTAY_WHO": "ada"}, prog_name="mainstay")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"a traceback at the user: {result.output}") from result.exception
        assert "Traceback" not in result.output
        assert code is None or result.exit_code == code, result.output
        return result

    return run


def second(root: Path, name: str = "other") -> None:
    """A second feature like the first."""
    shutil.copytree(root / "features" / "desk", root / "features" / name)


# eval and release


def test_from_the_first_evaluation_to_going_back(cli: Cli, root: Path):
    """The whole way, with the exit codes that a script goes by."""
    assert "nothing is live" in cli("report", "desk", code=0).output
    cli("eval", "desk", code=0)
    assert "is live." in cli("release", "desk", code=0).output
    assert "live already" in cli("release", "desk", code=0).output
    learn(root, "a")
    assert "b-0" in cli("eval", "desk", code=1).output
    assert "is not live: the gate said blocked" in cli("release", "desk", code=1).output
    learn(root, "a", "b", "c")
    cli("release", "desk", code=0)
    assert "is live again" in cli("rollback", "desk", "--why", "a test", code=0).output
    assert "no earlier release" in cli("rollback", "desk", code=2).output
    assert "On again: mainstay on desk" in cli("off", "desk", code=0).output
    assert "OFF: rungs that need a model" in cli("report", "desk", code=0).output
    cli("on", "desk", code=0)
    assert "was not off" in cli("on", "desk", code=0).output
    changes = json.loads(cli("audit", "list", "--json", code=0).output)
    assert [link["change"]["type"] for link in changes] == ["live", "live", "rolled_back", "switched", "switched"]
    assert {link["who"] for link in changes} == {"ada"}


def test_too_few_cases_are_exit_code_three(cli: Cli, root: Path):
    """A script can tell `no` from `nobody knows`."""
    golden = root / CASES
    golden.write_text("".join(golden.read_text().splitlines(keepends=True)[:30]))
    cli("eval", "desk", code=3)
    assert "the gate said inconclusive" in cli("release", "desk", code=3).output


def test_json_is_one_value_also_of_several_features(cli: Cli, root: Path):
    """What a script reads is one JSON value, whatever was asked."""
    assert json.loads(cli("eval", "desk", "--json", code=0).stdout)["feature"] == "desk"
    second(root)
    reports = json.loads(cli("eval", "desk", "other", "--json", code=0).stdout)
    assert [report["feature"] for report in reports] == ["desk", "other"]
    assert len(json.loads(cli("eval", "--changed", "--json", code=0).stdout)) == 2
    for name in ("desk", "other"):
        cli("release", name, code=0)
    assert json.loads(cli("eval", "--changed", "--json", code=0).stdout) == []
    toml = root / "features" / "other" / "feature.toml"
    toml.write_text(toml.read_text().replace("Answers", "Answers all"))
    assert [r["feature"] for r in json.loads(cli("eval", "--changed", "--json", code=0).stdout)] == ["other"]
    assert json.loads(cli("eval", "desk", "--changed", "--json", code=0).stdout) == []


def test_the_worst_of_several_features_decides_the_exit_code(cli: Cli, root: Path):
    """A block is not hidden behind an inconclusive one, which many scripts let pass."""
    second(root)
    few = root / "features" / "other" / "cases" / "golden.jsonl"
    few.write_text("".join(few.read_text().splitlines(keepends=True)[:30]))
    cli("release", "desk", code=0)
    learn(root, "a")
    cli("eval", "other", code=3)
    cli("eval", "desk", "other", code=1)


def test_reports_are_written_to_files_each_to_its_own(cli: Cli, root: Path):
    """A page, JUnit for CI systems, Markdown for a summary; of two features none is written over the other."""
    second(root)
    cli("eval", "desk", "--html", "r.html", "--junit", "r.xml", "--markdown", "r.md", code=0)
    assert (root / "r.html").read_text().lstrip().lower().startswith("<!doctype html") and "desk" in (root / "r.md").read_text()
    assert len(list(ElementTree.parse(root / "r.xml").getroot().iter("testcase"))) == 61  # and the gate
    cli("eval", "desk", "other", "--html", "s.html", "--junit", "s.xml", "--markdown", "s.md", code=0)
    assert {path.name for path in root.glob("s.*")} == {"s.desk.html", "s.other.html", "s.desk.xml", "s.other.xml", "s.md"}
    both = (root / "s.md").read_text()
    assert "desk" in both and "other" in both
    cli("eval", "desk", "--junit", "nowhere/r.xml", code=2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cases.jsonl", case("a", 1) + "\n"),
        ("cases.csv", "question,__expected\na 1,contains:a answer 1.\n"),
        ("promptfoo.yaml", "tests:\n  - vars: {question: a 1}\n    assert: [{type: contains, value: a answer 1.}]\n"),
        (
            "pydantic.yaml",
            "cases:\n  - inputs: {question: a 1}\n    expected_output: a answer 1.\nevaluators: [EqualsExpected]\n",
        ),
    ],
)
def test_cases_of_other_tools_are_evaluated(cli: Cli, root: Path, name: str, text: str):
    """Nobody has to convert a file first."""
    (root / name).write_text(text)
    report = json.loads(cli("eval", "desk", "--cases", name, "--json", code=3).stdout)
    assert len(report["cases"]) == 1 and report["candidate"]["results"][0]["opinions"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["eval"], "mainstay eval desk"),
        (["eval", "dsk"], 'did you mean "desk"'),
        (["eval", "desk", "dsk"], 'did you mean "desk"'),
        (["eval", "desk", "--against", "ffff"], "no one release"),
        (["eval", "desk", "--budget", "2"], "2 USD"),
        (["eval", "desk", "--budget", "-1 USD"], "2 USD"),
        (["eval", "desk", "--repeat", "0"], "0"),
        (["eval", "desk", "--cases", "nothing.csv"], "nothing.csv"),
        (["eval", "desk", "--judge", "desk"], "--calibrate"),
        (["release", "dsk"], 'did you mean "desk"'),
        (["release", "desk", "--against", "none"], "--against"),
        (["release", "desk", "--canary", "0.1"], "10%"),
        (["release", "desk", "--canary", "51%"], "at most 50%"),
        (["release", "desk", "--canary", "nan%"], "10%"),
        (["release", "desk", "--shadow", "0%"], "10%"),
        (["release", "desk", "--canary", "10%"], "nothing is live"),
        (["release", "desk", "--canary", "10%", "--shadow", "10%"], "one of them"),
        (["release", "desk", "--override", " "], "says why"),
        (["release", "desk", "--for", "2h"], "--for"),
        (["release", "desk", "--override", "x", "--for", "7"], "--for 24h"),
        (["release", "desk", "--override", "x", "--for", "0s"], "--for"),
        (["release", "desk", "--override", "x", "--for", "999999999999d"], "--for"),
        (["rollback", "dsk"], 'did you mean "desk"'),
        (["rollback", "desk"], "no earlier release"),
        (["rollback", "desk", "--to", "ffff"], "ffff"),
        (["off", "dsk"], 'did you mean "desk"'),
        (["off", "desk", "--share", "half"], "percentage"),
        (["off", "desk", "--share", "0%"], "percentage"),
        (["on", "dsk"], 'did you mean "desk"'),
        (["report", "dsk"], 'did you mean "desk"'),
        (["check", "dsk"], 'did you mean "desk"'),
        (["off", "desk", "--why", "\udcff"], "characters"),
    ],
)
def test_what_is_typed_wrong_is_said_with_the_right_word(cli: Cli, root: Path, arguments: list[str], told: str):
    """Exit code 2, the nearest right thing, and nothing was changed or spent."""
    result = cli(*arguments, code=2)
    assert told in result.output, result.output
    assert json.loads(cli("audit", "list", "--json", code=0).stdout) == []


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        (CASES, "", "has no cases"),
        (CASES, "{}\n", f"{CASES}:1"),
        (CASES, case("a", 1) + "\n" + case("b", 1, id="a-1") + "\n", 'the id "a-1" is taken'),
        ("features/desk/feature.toml", FEATURE.replace('"5s"', "5"), "features/desk/feature.toml:3"),
        ("features/desk/prompt.md", "{{ nothing }}", "nothing"),
        ("mainstay.toml", "[models", "mainstay.toml"),
    ],
)
@pytest.mark.parametrize("command", ["eval", "release"])
def test_a_broken_file_is_told_with_its_place(cli: Cli, root: Path, file: str, text: str, told: str, command: str):
    """What a release would be made of has to load, and says where it does not."""
    (root / file).write_text(text)
    assert told in cli(command, "desk", code=2).output


@pytest.mark.parametrize("command", ["eval", "release", "rollback", "off", "on", "report", "check"])
def test_outside_of_a_project_it_says_so(cli: Cli, root: Path, command: str):
    """The wrong folder is the commonest mistake, and leaves nothing behind."""
    (root / "empty").mkdir()
    assert "mainstay init" in cli(command, "desk", "-C", "empty", code=2).output
    assert not list((root / "empty").iterdir())


def test_switches_work_beside_a_project_that_cannot_be_loaded(cli: Cli, root: Path):
    """The evening on which everything is broken is the one on which it has to be off."""
    cli("release", "desk", code=0)
    (root / "features" / "desk" / "feature.toml").write_text("= broken")
    for arguments in (["off", "desk"], ["off", "*"], ["on", "*"], ["on", "desk"], ["report", "desk"], ["audit", "verify"]):
        cli(*arguments, code=0)
    shutil.rmtree(root / "features" / "desk")
    cli("off", "desk", code=0)


# An evaluation that is watched, or interrupted

SLOW = MODEL.replace('"""Answers', 'import asyncio\n"""Answers').replace(
    "self.asked += 1\n", "self.asked += 1\n        await asyncio.sleep(0.1)\n"
)


def test_ctrl_c_ends_an_evaluation_and_the_next_goes_on(root: Path, cli: Cli):
    """What was paid for is kept: no word, exit code 130, and the next run asks only the rest."""
    (root / "skilled_model.py").write_text(SLOW)
    command = [sys.executable, "-m", "mainstay", "eval", "desk", "--concurrency", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def kept() -> int:
        path = root / ".mainstay" / "evals.db"
        if not path.exists():
            return 0
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            return int(db.execute("select count(*) from answers").fetchall()[0][0])  # type: ignore[call-overload]
        except apsw.Error:
            return 0
        finally:
            db.close()

    end = time.monotonic() + 30
    while kept() < 6 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and not out and "Traceback" not in err, err
    before = kept()
    assert 6 <= before < 60
    report = json.loads(cli("eval", "desk", "--json", code=0).stdout)
    assert sum(result.get("kept", False) for result in report["candidate"]["results"]) == before


def test_a_bar_is_for_a_terminal_only(root: Path):
    """Whoever watches sees how far it is; a log file or a pipe gets none of it."""
    (root / "skilled_model.py").write_text(SLOW)
    command = [sys.executable, "-m", "mainstay", "eval", "desk"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == "" and "\r" not in done.stdout
    terminal, other = pty.openpty()
    process = subprocess.Popen([*command, "--fresh"], stdout=subprocess.PIPE, stderr=other)
    os.close(other)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert process.communicate(timeout=60) and process.returncode == 0
    assert b"60 of 60" in shown and b"[==" in shown and re.search(rb"\$0\.0\d+", shown)


# The audit


def tampered(root: Path, sql: str, *values: object) -> None:
    db = apsw.Connection(str(root / ".mainstay" / "releases.db"))
    db.execute(sql, values)  # type: ignore[arg-type]
    db.close()


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("update changes set body = replace(cast(body as text), 'ada', 'bob') where number = 2", "change 2 was altered"),
        ("delete from changes where number = 2", "change 3 was altered"),
        ("update changes set body = 'nothing' where number = 2", "damaged"),
        ("update changes set number = 9 where number = 1", "change"),
        ("delete from reports", "is gone"),
        ("update reports set body = zeroblob(9)", "damaged"),
        ("update releases set body = zeroblob(9)", "release"),
        ("delete from releases", "release"),
    ],
)
def test_whoever_touched_the_audit_is_shown(cli: Cli, root: Path, sql: str, told: str):
    """Promise 9: an edit, a removal, a swap, or a report or release that is not what it was."""
    cli("release", "desk", code=0)
    for command in ("off", "on"):
        cli(command, "desk", code=0)
    assert "3 changes" in cli("audit", "verify", code=0).output
    tampered(root, sql)
    said = cli("audit", "verify", code=1).output
    assert said.startswith("BROKEN") and told in said


def test_an_end_that_was_cut_off_shows_by_the_head_that_was_noted(cli: Cli, root: Path):
    """The last change can be removed without a trace in the file: so its hash is noted elsewhere, in full or as it is shown."""
    cli("off", "desk", code=0)
    cli("on", "desk", code=0)
    head = json.loads(cli("audit", "list", "--json", code=0).output)[-1]["hash"]
    for noted in (head, head[:12]):
        cli("audit", "verify", "--head", noted, code=0)
    tampered(root, "delete from changes where number = 2")
    cli("audit", "verify", code=0)
    for noted in (head, head[:12]):
        assert "cut off" in cli("audit", "verify", "--head", noted, code=1).output
    assert cli("audit", "verify", "--head", "a", code=2)


def test_nobody_writes_rows_of_their_own_into_the_list(cli: Cli, root: Path):
    """A reason is text of somebody's: it steers no terminal and looks like no other row."""
    cli("off", "desk", "--why", "x\n2   2026-01-01 00:00:00  ada  desk  live\x1b[2J", code=0)
    for arguments in (["audit", "list"], ["report", "desk"]):
        said = cli(*arguments, code=0).output
        assert "\x1b" not in said and not [line for line in said.splitlines() if line.startswith("2 ")]


def test_a_date_that_no_calendar_has_is_shown_all_the_same(cli: Cli, root: Path):
    """An entry of another program, or of a broken clock, does not end the list."""
    store = SqliteReleases(root / ".mainstay" / "releases.db")
    store.add("desk", WentLive(digest="a" * 64, override="x", expires=1e18), who="ada")
    store.close()
    assert "override x" in cli("audit", "list", code=0).output


# The checklist


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of which every line is met."""
    root = tmp_path_factory.mktemp("ready")
    write_project(root, skills=("a", "b"))
    free = (root / "mainstay.toml").read_text().replace("1 USD", "0 USD").replace("2 USD", "0 USD")
    (root / "mainstay.toml").write_text(f'observers = ["prometheus"]\n{free}')
    for command in (["release", "desk"], ["off", "desk"], ["on", "desk"], ["stress", "desk"]):
        done = subprocess.run([sys.executable, "-m", "mainstay", *command, "-C", str(root)], capture_output=True, timeout=300)
        print(done.stdout.decode()[-2000:], done.stderr.decode()[-2000:])
    subprocess.run([sys.executable, "-m", "mainstay", "check", "desk", "-C", str(root)], capture_output=True, timeout=300)
    return root


def lines(cli: Cli, root: Path) -> dict[str, dict[str, str]]:
    """What `check --json` says, by line."""
    return {line["name"]: line for line in json.loads(cli("check", "desk", "--json", "-C", str(root)).stdout)}


def test_every_line_can_be_met(cli: Cli, ready: Path):
    """A feature that has all of it is ready: exit code 0, and every line with its evidence."""
    result = cli("check", "desk", "-C", str(ready))
    assert result.exit_code == 0 and "desk is ready." in result.output, result.output
    found = lines(cli, ready)
    for name in ("faults", "stress", "gate", "switch"):
        assert found[name]["evidence"] and found[name]["age_s"] is not None, name


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def undo(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    return undo


def forget(sql: str) -> Callable[[Path], None]:
    return lambda root: tampered(root, sql)


def thin(root: Path) -> None:
    golden = root / CASES
    golden.write_text("".join(golden.read_text().splitlines(keepends=True)[:30]))


@pytest.mark.parametrize(
    ("line", "undo"),
    [
        ("cases", thin),
        ("monitoring", edit("mainstay.toml", 'observers = ["prometheus"]', "observers = []")),
        ("money", edit("mainstay.toml", 'output = "0 USD"', 'output = "2 USD"')),
        ("faults", forget("delete from attestations where kind = 'drill'")),
        ("stress", forget("delete from attestations where kind = 'stress'")),
        ("stress", forget("update attestations set body = replace(cast(body as text), 'true', 'false') where kind = 'stress'")),
        ("gate", forget("delete from reports")),
        ("switch", forget("delete from changes where number > 1")),
        ("judges", edit(CASES, '{"contains": ["a answer 1."]}', '{"judged:helpful": true, "contains": ["a answer 1."]}')),
    ],
)
def test_undoing_one_condition_turns_exactly_its_line_red(
    cli: Cli, ready: Path, tmp_path: Path, line: str, undo: Callable[[Path], None]
):
    """Each line looks at its own condition and at nothing else, and says the next thing to type."""
    root = tmp_path / "copy"
    shutil.copytree(ready, root)
    undo(root)
    result = cli("check", "desk", "--json", "-C", str(root))
    red = {found["name"]: found for found in json.loads(result.stdout) if found["standing"] != "met"}
    if line == "faults":  # the one that is run where nobody has
        assert not red and "Running the drill" in result.stderr
        return
    assert set(red) == {line} and result.exit_code == 1
    next = red[line]["next"]
    for command in next.split(" && ") if next.startswith("mainstay ") else []:
        assert cli(*command.split()[1:2], "--help").exit_code == 0


def test_an_edit_of_the_feature_makes_evidence_of_another_version_none(cli: Cli, ready: Path, tmp_path: Path):
    """What was shown of the version before says nothing of this one."""
    root = tmp_path / "copy"
    shutil.copytree(ready, root)
    edit("features/desk/feature.toml", 'output = ["size"]', "")(root)
    red = {name for name, found in lines(cli, root).items() if found["standing"] != "met"}
    assert {"output", "stress", "gate"} <= red and "switch" not in red


def test_a_feature_without_any_model_is_checked_too(cli: Cli, root: Path):
    """Rules and a message are a feature; nothing of it can be drilled, and no traceback says so."""
    feature = FEATURE.replace('model = "small"\nprompt = "prompt.md"', 'rules = "rules.toml"')
    (root / "features" / "desk" / "feature.toml").write_text(feature)
    (root / "features" / "desk" / "rules.toml").write_text('[[rule]]\nname = "a"\nmatches = ["^a"]\nanswer = "By a rule."\n')
    result = cli("check", "desk", "--json", code=1)
    assert json.loads(result.stdout)
