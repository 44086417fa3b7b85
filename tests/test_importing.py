"""What is imported for a small project, and what is left until something asks for it. Figures are in docs/performance.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mainstay.core.later import later, pattern

ANSWERED = """
import sys, mainstay
with mainstay.open({root!r}, environ={{}}, dev=True) as app:
    assert app.run_sync("answers", question="How long?").status == "answered"
    print(*sys.modules)
"""
COMMAND = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from mainstay.__main__ import main; main()"
WHOLE = "workshop sourcing indexing at_rest doors parts.alignment parts.nearness parts.parsing parts.text".split()
LEARNING = "evaluation gate releasing readiness rechecking drill stress adversarial fitting judging router nearing".split()
OTHERS = ("click", "uvicorn", "yaml", "numpy", "pydantic", "starlette", "rich", "typer", "opentelemetry", "selectolax", "pypdf")
# What this project names, and what all have.
IN_FORCE = {"providers.scripted", "guards.curated", "guards.size", "observers.prometheus"}


def modules(*command: str) -> set[str]:
    """What a Python of its own has imported at the end."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=True, env={**os.environ})
    return set(done.stdout.splitlines()[-1].split())


def under(imported: set[str], *names: str) -> list[str]:
    """Those that are one of these, or in one."""
    return sorted(m for m in imported for name in names if m == name or m.startswith(f"{name}."))


def test_an_answer_needs_no_workshop_and_no_part_that_the_project_does_not_name(project: Callable[..., Path]):
    """Whoever imports everything makes each process of a team wait, and keep in memory, what one of them may need one day."""
    imported = modules("-c", ANSWERED.format(root=str(project())))
    ours = (*WHOLE, *[f"learn.{name}" for name in LEARNING])
    assert under(imported, *[f"mainstay.{name}" for name in ours]) == []
    assert under(imported, *OTHERS) == []
    seams = "providers guards readers sources scorers embedders rerankers classifiers databases observers".split()
    parts = {m.removeprefix("mainstay.parts.") for m in under(imported, *[f"mainstay.parts.{seam}" for seam in seams])}
    assert {part for part in parts if "." in part} == IN_FORCE


def test_a_project_with_sources_reads_what_compares_with_them_before_it_answers(project: Callable[..., Path]):
    """The weights of the aligner are read when the project is opened: the first reader must not wait for them."""
    source = '[sources.help]\nkind = "folder"\npath = "help"\n'
    root = project('[models.small]\nprovider = "scripted"\n' + source, files={"help/a.md": "# Deadlines\nThirty days.\n"})
    opened = f"import sys, mainstay\nwith mainstay.open({str(root)!r}, environ={{}}, dev=True):\n    print(*sys.modules)"
    assert {"mainstay.sourcing", "mainstay.parts.alignment"} <= modules("-c", opened)


def test_a_command_imports_no_other(project: Callable[..., Path]):
    """`mainstay keys` in a script must not start a web server's imports first."""
    imported = modules("-c", COMMAND, "keys", "--help")
    commands = {m.rpartition(".")[2] for m in under(imported, "mainstay.doors.cli")}
    assert "keys" in commands and not commands & {"serve", "eval", "stress", "drill", "learn"}
    assert under(imported, "uvicorn", "mainstay.doors.http", "mainstay.workshop", "prometheus_client") == []


def test_what_is_made_later_is_made_once_and_only_when_asked():
    """A pattern at the top of a module costs nothing until it is used, and is compiled once."""
    made: list[str] = []

    def make() -> re.Pattern[str]:
        made.append("made")
        return re.compile("a+")

    written = later(make)
    assert made == []
    assert [written.findall("aab"), written.sub("-", "aab"), written.pattern] == [["aa"], "-b", "a+"]
    assert written.findall("ab") == ["a"] and made == ["made"]


def test_a_wrong_pattern_and_a_wrong_name_say_so():
    """What stands for a thing fails as the thing does, and does not ask itself for ever."""
    with pytest.raises(re.error):
        pattern("(").search("")
    with pytest.raises(AttributeError, match="serch"):
        pattern("a").serch  # noqa: B018
