"""Documents that lie break the build: generated parts, links, and every block of code in README.md and docs/.

A block's info string may name a file: `toml feature.toml`, `python shop/guards.py`. A name with a folder is written to the page's
project, which is what `mainstay init` writes; the bare names `feature.toml`, `mainstay.toml` and `rules.toml` are fragments,
which are completed with what they leave out and loaded in a copy. A comment `<!-- not run: reason -->` above a block leaves it
out.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import http.client
import importlib.util
import inspect
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import apsw
import pytest

import mainstay
from mainstay.at_rest import history
from mainstay.learn.fitting import Example, TooFew, fit, written
from mainstay.parts.parsing.cutting import anchor_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
SECRETS = {name for name in os.environ if name.endswith(("_API_KEY", "_MODEL_URL", "_MODEL_KEY", "_MODEL_NAME"))}
ENVIRON = {name: value for name, value in os.environ.items() if name not in SECRETS} | {"PORT": "0"}
MAINSTAY = [sys.executable, "-m", "mainstay"]
DEMO = "http://127.0.0.1:7070"
SECONDS = 30  # for one command, generously

_FENCE = re.compile(r"^```(\w*) ?(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->\n\Z")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page; `path` is what its info string says after the language."""

    line: int
    language: str
    path: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that can be run, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        if not _NOT_RUN.search(text[: match.start()]):
            yield Block(text.count("\n", 0, match.start()) + 1, match[1], match[2].strip(), match[3])


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "``", _FENCE.sub("", page.read_text(encoding="utf-8")))


# Generated parts and links


def reference() -> ModuleType:
    """scripts/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("mainstay_reference", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_up_to_date() -> None:
    """Tables and schemas say what the code says now; `make docs` writes them."""
    stale = [
        str(path.relative_to(ROOT))
        for path, text in reference().written().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make docs`"


def test_every_table_that_can_be_generated_is_in_a_page() -> None:
    """A new setting, rung, metric or command is described somewhere, because its table is."""
    used = set(re.findall(r"<!-- generated:([a-z.-]+) -->", "".join(p.read_text(encoding="utf-8") for p in LINKED)))
    assert set(reference().TABLES) == used


@pytest.mark.parametrize("page", LINKED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there and, if it names one, a heading of it."""
    dead = []
    for target in _LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {anchor_of(re.sub(r"[`*]", "", heading)) for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_headings_of_a_page_differ(page: Path) -> None:
    """Two sections of one name would be one place for links and citations."""
    headings = Counter(_HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))))
    assert [heading for heading, count in headings.items() if count > 1] == []


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda p: p.name)
def test_sections_begin_with_a_sentence(page: Path) -> None:
    """What is found for a question is quoted by its sentences, so none begins with code or a table."""
    _, *sections = re.split(r"^## ", re.sub(_FENCE, "```", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    wrong = []
    for section in sections:
        heading, _, text = section.partition("\n")
        first = text.lstrip().partition("\n")[0]
        if not re.match(r"[`*\[(]?[A-Z`]", first) or first.startswith("```") or first[-1] not in ".:":
            wrong.append(f"{heading}: {first!r}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_nothing_is_said_twice_on_a_page(page: Path) -> None:
    """A sentence that stands twice was moved and not taken away, and is quoted twice."""
    lines = Counter(line for line in prose(page).splitlines() if len(line) > 60 and not line.startswith(("|", "More: ")))
    assert [line for line, count in lines.items() if count > 1] == []


def test_cases_of_the_example_cite_what_is_there() -> None:
    """A case of `handbook` that expects a section which was renamed could never pass again."""
    known = {page.name: anchors(page) for page in PAGES}
    gone = []
    for file in sorted((ROOT / "src" / "mainstay" / "demo" / "features" / "handbook" / "cases").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            for target in cited(case["expect"]):
                name, _, anchor = target.partition("#")
                if name not in known or (anchor and anchor not in known[name]):
                    gone.append(f"{file.name} {case['id']}: {target}")
    assert gone == []


def cited(expect: Mapping[str, Any]) -> Iterator[str]:
    """The documents and sections that a case expects to be cited, or not to be."""
    for name in ("cites", "not-cites"):
        said = expect.get(name, [])
        for part in said.values() if isinstance(said, dict) else [said]:
            yield from [part] if isinstance(part, str) else part


# Blocks


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_blocks_do_what_they_show(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file, program and command of a page works in a project as the page describes it."""
    for name in SECRETS:
        monkeypatch.delenv(name)
    root = tmp_path / "project"
    shown = Page(root)
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    before = set(sys.modules)
    try:
        for block in blocks(page):
            try:
                shown.do(block)
            except Exception as error:
                raise AssertionError(f"{page.relative_to(ROOT)}:{block.line}: {error}") from error
    finally:
        shown.close()
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "shop":
                del sys.modules[name]


class Page:
    """One page's project, and what its blocks do to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: dict[str, Any] = {}
        self.open = contextlib.ExitStack()
        subprocess.run([*MAINSTAY, "init", str(root)], env=ENVIRON, check=True, capture_output=True, timeout=SECONDS)

    def close(self) -> None:
        """Close what a program left open."""
        for value in self.names.values():
            if isinstance(value, mainstay.Mainstay):
                value.close_sync()
        self.open.close()

    @functools.cached_property
    def demo(self) -> str:
        """The address of a `mainstay demo` of this page's own, started when something is asked of it."""
        _, banner = self.open.enter_context(served([*MAINSTAY, "demo"], self.root))
        return "http://127.0.0.1:" + re.findall(r"127\.0\.0\.1:(\d+)", banner)[0]

    def do(self, block: Block) -> None:
        """Run one block, each language in its way; one that has none is for reading."""
        if "/" in block.path and not block.path.startswith("prompts/"):
            self.write(block)
        elif block.language == "toml":
            self.load(block)
        elif block.language == "markdown":
            self.prompt(block)
        elif block.language == "python":
            self.python(block.text)
        elif block.language in ("console", "sh"):
            self.commands(block)
        elif block.language == "sql":
            self.sql(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.path:
            self.write(block)

    def write(self, block: Block) -> None:
        """Put a file into the project; a file that the loader reads is loaded."""
        path = self.root / block.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        if path.name == "feature.toml":
            opened(completed(self.root))
        elif path.name == "mainstay.toml":
            opened(path.parent)

    def load(self, block: Block) -> None:
        """Load a fragment in a copy of the project, completed with what it leaves out."""
        if block.path == "pyproject.toml":
            tomllib.loads(block.text)
            return
        copy = self.copy()
        feature = copy / "features" / "help_desk" / "feature.toml"
        if block.path == "feature.toml":
            feature.write_text(as_feature(block.text), encoding="utf-8")
        elif block.path == "mainstay.toml":
            (copy / "mainstay.toml").write_text(block.text, encoding="utf-8")
        elif block.path == "rules.toml":
            feature.with_name("rules.toml").write_text(block.text, encoding="utf-8")
        else:
            raise ValueError(f"a toml block has to say which file it is, not {block.path!r}")
        opened(completed(copy))

    def prompt(self, block: Block) -> None:
        """Load the project with this prompt."""
        copy = self.copy()
        (copy / "features" / "help_desk" / block.path).write_text(block.text, encoding="utf-8")
        opened(completed(copy))

    def copy(self) -> Path:
        """A copy of the project, without what earlier commands recorded."""
        copy = self.root.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        return Path(shutil.copytree(self.root, copy, ignore=shutil.ignore_patterns(".mainstay", "shop.*")))

    def python(self, text: str) -> None:
        """Run a program; `await` may stand at its top, and the programs of a page share their names."""
        text = text.replace(DEMO, self.demo) if DEMO in text else text
        code = compile(text, "<page>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, self.names)
        if inspect.iscoroutine(result):
            asyncio.run(result)

    def sql(self, text: str) -> None:
        """Run a query on the project's ledger."""
        history(self.root).close()
        db = apsw.Connection(str(self.root / ".mainstay" / "ledger.db"))
        try:
            db.execute(text).fetchall()
        finally:
            db.close()

    def commands(self, block: Block) -> None:
        """Run the block's `mainstay` and `curl` commands and compare what they print with what is shown."""
        for command, expected in shown_commands(block):
            if command.startswith("mainstay"):
                output = self.mainstay(shlex.split(command)[1:])
                assert_lines(expected, output, command)
            elif command.startswith("pytest"):
                done = subprocess.run(
                    [sys.executable, "-m", "pytest", "-p", "mainstay.pytest_plugin", *shlex.split(command)[1:]],
                    env=ENVIRON | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"},
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                )
                assert_lines(expected, done.stdout + done.stderr, command)
            elif command.startswith("curl"):
                assert_body(expected, curl(command, self.demo), command)

    def mainstay(self, arguments: list[str]) -> str:
        """What a command prints; it has to exit with 0."""
        if arguments[0] in ("serve", "demo"):
            given = [] if arguments[0] == "demo" or "--port" in arguments else ["--port", "0"]
            with served([*MAINSTAY, *arguments, *given], self.root) as (process, banner):
                pass
            assert process.returncode == 0, banner
            return banner
        done = subprocess.run([*MAINSTAY, *arguments], env=ENVIRON, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@contextlib.contextmanager
def served(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that serves: gives its process and its banner, and ends it with SIGTERM."""
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        banner = ""
        for line in process.stdout:
            banner += line
            if line.startswith("Try:"):
                break
        yield process, banner
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


# Completing what a fragment leaves out


def as_feature(text: str) -> str:
    """A fragment of a feature file with the summary, the source and the last message that it leaves out."""
    data = tomllib.loads(text)
    if "summary" not in data:
        text = 'summary = "An example"\n' + text
    if "grounding" not in data:
        text += '\n[grounding]\nsources = ["knowledge"]\n'
    if not any("message" in rung for rung in data.get("ladder", ())):
        text += '\n[[ladder]]\nmessage = "Sorry."\n'
    return text


def completed(root: Path) -> Path:
    """The project with stubs for every model, source and file that it names and does not have."""
    settings = root / "mainstay.toml"
    known = tomllib.loads(settings.read_text(encoding="utf-8"))
    models, sources = set(known.get("models", {})), set(known.get("sources", {}))
    added = ""
    for source in known.get("sources", {}).values():
        stub(root / source["path"] if Path(source["path"]).suffix else root / source["path"] / "page.md", "# A page\n\nA text.\n")
    for feature in (root / "features").glob("*/feature.toml"):
        data = tomllib.loads(feature.read_text(encoding="utf-8"))
        for rung in data["ladder"]:
            if "classifier" in rung:
                stub(feature.parent / rung["classifier"], small_classifier())
            for step in (rung, *rung.get("steps", ())):
                if "model" in step:
                    stub(feature.parent / step["prompt"], "Answer.\n")
                    added += "" if step["model"] in models else f'\n[models.{step["model"]}]\nprovider = "scripted"\n'
                    models.add(step["model"])
        for source in {*data.get("grounding", {}).get("sources", ()), *(r["search"] for r in data["ladder"] if "search" in r)}:
            stub(root / source / "page.md", "# A page\n\nA text.\n")
            added += "" if source in sources else f'\n[sources.{source}]\npath = "{source}"\n'
            sources.add(source)
    settings.write_text(settings.read_text(encoding="utf-8") + added, encoding="utf-8")
    return root


@functools.cache
def small_classifier() -> str:
    """A classifier of two labels, for pages that name one."""
    texts = {"billing": "an invoice for me", "delivery": "where is a parcel"}
    examples = [Example(text=f"{text} {i}", labels={"answer": label}) for label, text in texts.items() for i in range(5)]
    fitted = fit(examples, date="2026-11-21")
    assert not isinstance(fitted, TooFew)
    return written(fitted).decode()


def stub(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def opened(root: Path) -> None:
    """Load the project, with a value for every key that it names."""
    text = (root / "mainstay.toml").read_text(encoding="utf-8")
    mainstay.open(root, environ=dict.fromkeys(re.findall(r'"env:(\w+)"', text), "a key"), dev=True).close_sync()


# Commands and what they print


def shown_commands(block: Block) -> list[tuple[str, list[str]]]:
    """Each command of a block with the output shown below it."""
    if block.language == "sh":
        return [(line, []) for line in block.text.splitlines()]
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def assert_lines(expected: list[str], output: str, command: str) -> None:
    """Each line shown is printed, in this order; numbers and ids may differ, and `…` is anything."""
    rest = output.splitlines()
    for line in expected:
        pattern = re.compile(like(line))
        while rest and not pattern.fullmatch(rest[0].strip()):
            rest.pop(0)
        assert rest, f"{command}\n  does not print {line!r} but\n{output}"


def like(line: str) -> str:
    """A pattern for a line: white space, numbers and ids by their kind."""
    pieces = re.split(r"(\s+|\b[0-9a-f]{10,}\b|\d+|…)", line.strip())
    kinds = {"…": ".*"}
    return "".join(
        kinds.get(p)
        or (
            r"\s+"
            if p.isspace()
            else r"[0-9a-f]+"
            if re.fullmatch("[0-9a-f]{10,}", p)
            else r"\d+"
            if p.isdigit()
            else re.escape(p)
        )
        for p in pieces
        if p
    )


def assert_body(expected: list[str], body: str, command: str) -> None:
    """A JSON body holds what is shown of it; any other body has its lines."""
    if expected and expected[0].startswith("{"):
        difference = missing(json.loads("\n".join(expected)), json.loads(body))
        assert difference is None, f"{command}\n  {difference} in\n{body}"
    else:
        assert_lines(expected, body, command)


def missing(shown: Any, real: Any, place: str = "$") -> str | None:
    """What of the shown value the real one does not have; `"…"` is anything, and a list may hold more than is shown."""
    if shown == "…":
        return None
    if isinstance(shown, Mapping) and isinstance(real, Mapping):
        absent = next((f"{place}.{key} is not there" for key in shown if key not in real), None)
        return absent or next((d for k, v in shown.items() if (d := missing(v, real[k], f"{place}.{k}"))), None)
    if isinstance(shown, list) and isinstance(real, list):
        rest = iter(real)
        absent = next((i for i, v in enumerate(shown) if all(missing(v, r) for r in rest)), None)
        return None if absent is None else f"{place}[{absent}] as shown is not, in its order, in {real!r}"
    return None if shown == real else f"{place} is {real!r}, not {shown!r}"


def curl(command: str, demo: str) -> str:
    """The body that a curl command gets, asked without curl."""
    body, address, headers = None, "", {}
    words = iter(shlex.split(command)[1:])
    for word in words:
        if word == "--json":
            body, headers["content-type"] = next(words), "application/json"
        elif word == "-H":
            name, _, value = next(words).partition(":")
            headers[name] = value.strip()
        elif not word.startswith("-"):
            address = word
        elif word.strip("-siN"):
            raise ValueError(f"an option of curl that is not known here: {word}")
    assert address.startswith(DEMO), f"not the demo's address: {address}"
    connection = http.client.HTTPConnection(demo.removeprefix("http://"), timeout=SECONDS)
    try:
        connection.request(
            "GET" if body is None else "POST", address.removeprefix(DEMO), None if body is None else body.encode(), headers
        )
        return connection.getresponse().read().decode()
    finally:
        connection.close()
