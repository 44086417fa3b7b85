"""`mainstay index`: what people and scripts see of indexing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner, Result

import mainstay
from mainstay.doors.cli.main import main

SETTINGS = """
[sources.help]
path = "help"

[sources.shop]
kind = "sql"
database = "shop"
[sources.shop.options]
query = "select id, text from pages"

[databases.shop]
kind = "sqlite"
path = "shop.db"
"""
FEATURE = """
    summary = "Answers"
    deadline = "2s"

    [[ladder]]
    search = "shop"

    [[ladder]]
    message = "Sorry."
"""
Index = Callable[..., Result]


@pytest.fixture
def root(project: Callable[..., Path]) -> Path:
    """A project with a folder and a query as its sources."""
    root = project(SETTINGS, FEATURE, {"help/a.md": "# Returns\n\nThirty days.\n"})
    rows(root, "insert into pages values(1, 'The zebra costs nine euros.')")
    return root


def rows(root: Path, statement: str) -> None:
    db = apsw.Connection(str(root / "shop.db"))
    db.execute("create table if not exists pages(id integer primary key, text text)")
    db.execute(statement)
    db.close()


@pytest.fixture
def index(root: Path) -> Index:
    """`index("--check")` is what a shell would show."""

    def run(*arguments: str, command: str = "index") -> Result:
        result = CliRunner().invoke(main, [command, *arguments, "--project", str(root)], prog_name="mainstay")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"a traceback at the user: {result.output}") from result.exception
        return result

    return run


def reports(result: Result) -> dict[str, dict[str, object]]:
    return {report["source"]: report for report in json.loads(result.stdout)}


def test_a_source_is_indexed_and_answers(root: Path, index: Index):
    """A query is not read at load: the error says what to type, and what is typed makes it answer, also after a change."""
    with pytest.raises(mainstay.ConfigError) as caught:
        mainstay.open(root, environ={}, dev=True)
    assert caught.value.next == "mainstay index shop"
    first = index("shop")
    assert first.exit_code == 0 and first.output.startswith("shop: 1 new, 0 changed, 0 gone, 0 unchanged, 1 passages made; ")
    with mainstay.open(root, environ={}, dev=True) as app:
        assert "nine euros" in app.run_sync("answers", question="What does the zebra cost?").text
        rows(root, "update pages set text = 'The zebra costs ten euros.'")
        assert index("shop").exit_code == 0
        assert "ten euros" in app.run_sync("answers", question="What does the zebra cost?").text


def test_check_says_what_would_change(root: Path, index: Index):
    """A pipeline asks whether the index is up to date, and gets its answer in the exit code; nothing is written."""
    would = index("--check")
    assert would.exit_code == 1 and "  new     a.md" in would.output and "Nothing was written." in would.output
    assert index().exit_code == 0 and index("--check").exit_code == 0
    (root / "help" / "a.md").write_text("# Returns\n\nForty days.\n")
    rows(root, "delete from pages")
    rows(root, "insert into pages values(2, 'Okapi.')")
    found = reports(index("--check", "--json"))
    assert found["help"]["changed"] == ["a.md"] and (found["shop"]["added"], found["shop"]["removed"]) == (["2"], ["1"])
    assert index("--check").exit_code == 1


def test_what_could_not_be_read_is_a_line(root: Path, index: Index):
    """One broken page, and one source that cannot be asked: each is named, the others are served, and the exit code is 1."""
    (root / "help" / "b.pdf").write_bytes(b"%PDF-1.4 nothing")
    rows(root, "drop table pages")
    result = index()
    assert result.exit_code == 1 and "help: 1 new" in result.output
    assert (
        "  not read: b.pdf: it is no PDF that can be read" in result.output
        and "  not read: shop: database shop: no such table" in result.output
    )
    found = reports(index("--json"))
    assert found["help"]["unchanged"] == 1 and [fault["document"] for fault in found["shop"]["faults"]] == ["shop"]


def test_doctor_names_what_could_not_be_read(root: Path, index: Index):
    """Whoever wonders why a page is never quoted finds it here."""
    (root / "help" / "b.pdf").write_bytes(b"%PDF-1.4 nothing")
    index()
    result = index(command="doctor")
    assert "source help: 1 documents" in result.output and "source help: b.pdf: it is no PDF" in result.output
    assert "next: save it anew" in result.output


@pytest.mark.parametrize(("arguments", "said"), [(["hlp"], 'did you mean "help"?'), (["--chck"], "No such option")])
def test_a_slip_is_named(index: Index, arguments: list[str], said: str):
    """A mistyped source or option is exit code 2, with the right one."""
    result = index(*arguments)
    assert result.exit_code == 2 and said in result.output


def test_no_key_is_needed(root: Path, index: Index):
    """Indexing asks no model, so a machine that only indexes has no model's key."""
    (root / "mainstay.toml").write_text(SETTINGS + '[models.big]\nprovider = "openai"\nmodel = "m"\nkey = "env:NOT_SET_HERE"\n')
    assert index().exit_code == 0


def test_a_second_run_says_that_it_waits(root: Path, index: Index):
    """Two at once, from two shells: the second says why nothing happens, and both end well."""
    folder = root / ".mainstay" / "index"
    folder.mkdir(parents=True)
    hold = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); time.sleep(1)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, str(folder / "help.lock")], stdout=subprocess.PIPE, env=os.environ)
    assert holder.stdout is not None and holder.stdout.readline()
    result = index("help")
    holder.communicate(timeout=20)
    assert result.exit_code == 0 and "another process indexes it; waiting" in result.output


async def test_indexing_serves_a_running_application(root: Path, index: Index):
    """A server that runs finds what another process indexed a moment ago, without a restart."""
    assert (await asyncio.to_thread(index)).exit_code == 0
    async with mainstay.open(root, environ={}, dev=True) as app:
        rows(root, "insert into pages values(7, 'The okapi is blue.')")
        assert (await asyncio.to_thread(index, "shop")).exit_code == 0
        assert "blue" in (await app.run("answers", question="Is the okapi blue?")).text
