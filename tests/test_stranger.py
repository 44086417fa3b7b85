"""A stranger's package, written from docs/extending.md alone: really installed, found by its entry points, used and checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

STRANGER = Path(__file__).parent / "stranger"

SETTINGS = """
    observers = ["prometheus", "diary"]

    [models.loud]
    provider = "shouting"
    model = "loud-1"

    [sources.facts]
    kind = "facts"
    path = "facts.txt"
    options = { least = 2 }
"""

FEATURE = """
    summary = "Answers"
    deadline = "5s"

    [input]
    question = "text"

    [grounding]
    sources = ["facts"]
    required = false

    [[ladder]]
    call = "lantern.rungs:opening_hours"

    [[ladder]]
    model = "loud"
    prompt = "prompt.md"

    [[ladder]]
    search = "facts"

    [[ladder]]
    message = "Sorry."

    [guards]
    output = [{ no_promises = { words = ["tomorrow"] } }]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the stranger's package was installed into, without any network."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copytree(STRANGER, folder / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps"]
    options = ["--disable-pip-version-check", "--no-compile", "--target", str(folder / "site"), str(folder / "sources")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that uses a part of the stranger's on each seam."""
    root = tmp_path / "project"
    files = {
        "facts.txt": "A rung is one way of answering.\nA ladder holds rungs.\n",
        "features/answers/prompt.md": "{{ question }}\n",
    }
    files |= {"mainstay.toml": SETTINGS, "features/answers/feature.toml": FEATURE}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    return root


class Outside:
    """Python with the stranger's package installed."""

    def __init__(self, site: Path, root: Path) -> None:
        self.root, self.diary = root, root / "diary.txt"
        sources = os.environ.get("PYTHONPATH", "")
        self._environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(site), sources])),
            "LANTERN_DIARY": str(self.diary),
        }

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.root, env=self._environ, capture_output=True, text=True, timeout=60
        )

    def mainstay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "mainstay", *arguments)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def outside(installed: Path, root: Path) -> Outside:
    return Outside(installed, root)


ASKS = """
import asyncio, json, mainstay

QUESTIONS = ["when do you open?", "hello there", "will it come tomorrow?", "sleep now: what is one way of answering?"]

async def main():
    async with mainstay.open(".", environ={}, dev=True) as app:
        answers = [await app.run("answers", question=question) for question in QUESTIONS]
        record = await app.record(answers[1].id)
        print(json.dumps({
            "answers": [[a.status, a.reason, a.rung, a.text] for a in answers],
            "usage": record.outcome.attempts[-1].usage.output,
            "guards": [n.guard for n in (await app.record(answers[2].id)).outcome.guards],
            "metrics": app.metrics().decode(),
        }))

asyncio.run(main())
"""


def test_each_part_does_its_work_in_a_project(outside: Outside):
    """Whoever has only the docs can add a guard, provider, source, observer and function, and all of them are really used."""
    done = outside.python("-c", ASKS)
    assert (done.returncode, done.stderr) == (0, "loud: overloaded: loud-1: it is asleep\n")
    said = json.loads(done.stdout)
    hours, loud, promise, asleep = said["answers"]
    assert hours == ["answered", None, "call", "We are open from nine to five."]
    assert loud[2:] == ["loud", "HELLO THERE"] and said["usage"] == 1
    assert promise[2:] == ["message", "Sorry."] and promise[1] == "unsafe_output" and set(said["guards"]) == {"no_promises"}
    assert asleep[:3] == ["degraded", "model_unavailable", "search"] and "one way of answering" in asleep[3]
    assert 'mainstay_calls_total{feature="answers",reason="",rung="loud",status="answered"} 1.0' in said["metrics"]
    assert "lantern_lines_total 4" in said["metrics"]
    assert len(outside.diary.read_text().splitlines()) == 4


def test_the_command_line_takes_them_like_built_in_ones(outside: Outside):
    """`run` and `doctor` know installed parts by name, with nothing said to Mainstay about the package."""
    ran = outside.mainstay("run", "answers", "hello there", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["text"] == "HELLO THERE"
    assert outside.diary.read_text() == "answers answered loud\n"
    seen = outside.mainstay("doctor")
    assert seen.returncode == 0, seen.stdout
    assert "loud" in seen.stdout


CHECKS = """
import asyncio
from lantern.guards import NoPromises
from lantern.scorers import Polite
from lantern.sources import Facts
from mainstay import registry
from mainstay.testing import check_guard, check_scorer, check_source

async def main():
    guard = NoPromises(words=("tomorrow",), strict=False)
    await check_guard(guard, texts=["It comes tomorrow. Or later.", "It comes soon. Really.", "Tomorrow"])
    facts = Facts(name="facts", path="facts.txt", least=2)
    await check_source(facts, finds=["what is one way of answering", "which ladder holds rungs?"], misses=["the weather in Rome"])
    assert registry.part("scorers", "polite", where="here") is Polite
    await check_scorer(Polite(words=("gladly",)), expects=[True, "please"], refuses=[42])

asyncio.run(main())
"""


def test_its_parts_keep_their_seams_promises(outside: Outside):
    """The conformance checks that Mainstay runs on its own parts can be run by a stranger, and what the docs show passes them."""
    done = outside.python("-c", CHECKS)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("mainstay.toml", 'kind = "facts"', 'kind = "fats"', ["mainstay.toml:8 sources.facts.kind", 'did you mean "facts"?']),
        ("mainstay.toml", '"shouting"', '"shoutin"', ["mainstay.toml:4 models.loud.provider", 'did you mean "shouting"?']),
        ("mainstay.toml", '"diary"', '"dairy"', ["mainstay.toml:1 observers[1]", 'did you mean "diary"?']),
        (
            "features/answers/feature.toml",
            "no_promises",
            "no_promisses",
            ["features/answers/feature.toml:25 guards.output[0]", 'did you mean "no_promises"?'],
        ),
        (
            "mainstay.toml",
            '"diary"',
            '"broken"',
            ["mainstay.toml:1 observers[1]", "lantern_extra_that_is_not_installed", "lantern-parts 1.2"],
        ),
        ("mainstay.toml", "least = 2", "leest = 2", ["mainstay.toml:10 sources.facts.options.leest", 'did you mean "least"?']),
        (
            "features/answers/feature.toml",
            'words = ["tomorrow"]',
            'words = "tomorrow"',
            ["features/answers/feature.toml:25 guards.output[0].no_promises.words", "expected"],
        ),
        (
            "features/answers/feature.toml",
            'words = ["tomorrow"]',
            'words = ["tomorrow"], strikt = true',
            ["features/answers/feature.toml:25 guards.output[0].no_promises.strikt", 'did you mean "strict"?'],
        ),
        (
            "features/answers/feature.toml",
            "rungs:opening_hours",
            "rungs:opening_ours",
            ["features/answers/feature.toml:12 ladder[0].call", "opening_ours"],
        ),
        ("mainstay.toml", '"facts.txt"', '"no-facts.txt"', ["mainstay.toml:7 sources.facts", "no-facts.txt"]),
    ],
)
def test_a_mistake_in_the_use_of_a_part_is_said_with_its_place(outside: Outside, file, old, new, said):
    """A wrong name says the nearest one, a part that cannot be imported its package, a wrong option its key; no traceback."""
    outside.edit(file, old, new)
    done = outside.mainstay("run", "answers", "hello")
    assert done.returncode == 2 and done.stdout == ""
    assert "Traceback" not in done.stderr
    for part in said:
        assert part in done.stderr
