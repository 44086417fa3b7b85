"""The command line as people meet it: what it writes runs, what is wrong is said with the next thing to type, no traceback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from serving import Upstream, completion

from mainstay.doors.cli.main import main

COMMANDS = ["init", "demo", "serve", "run", "records", "doctor", "drill"]
KEYS = ["MAINSTAY_MODEL_URL", "MAINSTAY_MODEL_KEY", "MAINSTAY_MODEL_NAME", "MAINSTAY_API_KEY"]
KEYS += ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "PORT"]
QUESTION = "How do I return an item?"

Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("run", "help_desk", "hi")` is what a shell in an empty folder, without any key, would show. Never a traceback."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environ: str) -> Result:
        result = CliRunner().invoke(main, arguments, env={**dict.fromkeys(KEYS), **environ}, prog_name="mainstay")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"a traceback at the user: {result.output}") from result.exception
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def shop(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `mainstay init` writes, as the current folder."""
    assert cli("init", "shop").exit_code == 0
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# Commands, help and wrong words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: str):
    """`--help` and `-h` need no project, say what the command does and have a sentence for each option."""
    helped = cli(command, "--help")
    assert helped.exit_code == 0 and helped.output == cli(command, "-h").output
    assert helped.output.startswith(f"Usage: mainstay {command}")
    options = helped.output.partition("Options:\n")[2]
    assert all(line.split("  ", 2)[-1].strip() for line in options.splitlines() if line.lstrip().startswith("-"))


def test_the_list_of_commands(cli: Cli):
    """`mainstay --help` names every command with a sentence, and `--version` the version."""
    listed = cli("--help").output
    assert [c for c in COMMANDS if not re.search(rf"^  {c} +[A-Z]", listed, re.MULTILINE)] == []
    assert re.fullmatch(r"mainstay, version \d+\.\d+\.\d+\n", cli("--version").output)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["foo"], "No such command 'foo'"),
        (["run"], "Missing argument 'FEATURE'"),
        (["run", "help_desk", "--jsn"], "--json"),
        (["serve", "--port", "99999"], "99999 is not in the range"),
        (["serve", "--port", "http"], "'http' is not a valid integer"),
        (["records", "--limit", "0"], "0 is not in the range"),
        (["records", "--status", "answred"], "'answered'"),
        (["records", "--reason", "slow"], "'over_deadline'"),
        (["drill", "help_desk", "--deadline", "3"], "--deadline: expected a duration with its unit"),
        (["drill", "help_desk", "--deadline", "0s"], "longer than nothing"),
        (["run", "help_dsk", "hi"], 'did you mean "help_desk"?'),
        (["drill", "help_dsk"], 'did you mean "help_desk"?'),
        (["run", "help_desk", "what", "is", "this"], "next: mainstay run help_desk 'what is this'"),
        (["run", "help_desk", "question=a", "b"], "next: mainstay run help_desk b"),
        (["run", "help_desk", "question=a", "question=b"], "`question` is given twice"),
        (["records", "--state", "nowhere"], "nowhere: there is no ledger"),
        (["init", "--feature", "Bad-Name"], "next: mainstay init . --feature help_desk"),
        (["init", "README.md/sub"], "README.md: it is a file where a folder has to be"),
        (["init", "README.md"], "is a file"),
    ],
)
def test_a_wrong_command_line_is_2(cli: Cli, shop: Path, arguments: list[str], said: str):
    """A slip of the fingers is told apart from "no", and nothing is made or asked because of it."""
    before = sorted(shop.rglob("*"))
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert [p for p in sorted(shop.rglob("*")) if p not in before and ".mainstay" not in p.parts] == []


# init


def test_what_init_writes_runs_at_once(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The commands that `init` prints work as they are printed, also in a folder whose name has a blank."""
    made = cli("init", "my shop", "--feature", "order_help")
    written = {line.removeprefix("wrote ") for line in made.stdout.splitlines() if line.startswith("wrote ")}
    assert written == {str(p.relative_to(tmp_path)) for p in (tmp_path / "my shop").rglob("*") if p.is_file()}
    assert "help_desk" not in "".join((tmp_path / name).read_text(encoding="utf-8") for name in written)
    tries = made.stdout.partition("Try:\n")[2].splitlines()
    assert tries[:2] == [
        f"  mainstay run order_help \"{QUESTION}\" -C 'my shop'",
        "  mainstay drill order_help -C 'my shop'",
    ]
    asked = cli("run", "order_help", QUESTION, "-C", "my shop")
    assert asked.exit_code == 0 and "within 30 days" in asked.stdout and "returns.md" in asked.stdout
    seen = cli("doctor", "-C", "my shop")
    assert seen.exit_code == 0 and "FAIL" not in seen.stdout
    drilled = cli("drill", "order_help", "-C", "my shop", "--deadline", "600ms")
    assert drilled.exit_code == 0, drilled.output
    assert "Passed" in drilled.stdout


@pytest.mark.parametrize("taken", ["mainstay.toml", "features/help_desk/rules.toml"])
def test_init_makes_no_project_of_a_project(cli: Cli, tmp_path: Path, taken: str):
    """Settings or a feature that is there already is named, keeps its text, and nothing else is written beside it."""
    write(tmp_path, {taken: "mine"})
    result = cli("init")
    place = taken.removesuffix("/rules.toml")
    assert result.exit_code == 2 and f"{place}: it is there already" in result.stderr and "nothing was written" in result.stderr
    assert (tmp_path / taken).read_text() == "mine"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / taken]


def test_init_writes_nothing_where_a_file_is_in_the_way(cli: Cli, tmp_path: Path):
    """A file by the name of a folder of the template is named before anything is written."""
    write(tmp_path, {"knowledge": "mine"})
    result = cli("init")
    assert result.exit_code == 2 and "knowledge: it is a file" in result.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "knowledge"]


def test_init_in_a_repository_keeps_what_is_there(cli: Cli, tmp_path: Path):
    """A team begins in the repository that it has: what is there stays and is named, the rest is written, and it runs."""
    mine = {
        "README.md": "mine",
        ".gitignore": "*.pyc",
        ".git/config": "mine",
        "knowledge/returns.md": "# Mine\n\nWe take our bread back on Sundays.\n",
    }
    mine |= {"features/other/feature.toml": 'summary = "Other"\n[[ladder]]\nmessage = "Other."\n'}
    write(tmp_path, mine)
    result = cli("init")
    assert result.exit_code == 0
    kept = {line.removeprefix("kept ") for line in result.stdout.splitlines() if line.startswith("kept ")}
    assert kept == {"README.md", ".gitignore", "knowledge/returns.md"}
    assert "next: add the line .mainstay/ to it" in result.stdout
    assert {name: (tmp_path / name).read_text() for name in mine} == mine
    assert cli("run", "help_desk", "hi").exit_code == 0
    assert "[1] returns.md > Mine" in cli("run", "help_desk", "When do you take bread back?").stdout


def test_init_says_nothing_of_a_list_that_holds_the_line(cli: Cli, tmp_path: Path):
    """Whoever ignores the records already has nothing to add."""
    write(tmp_path, {".gitignore": "*.pyc\n/.mainstay/\n"})
    result = cli("init")
    assert (result.exit_code, "next:" in result.stdout) == (0, False)


# run


def test_run_shows_the_answer_and_the_facts_apart(cli: Cli, shop: Path):
    """The answer goes to standard output and ends its line; how it came about goes to standard error."""
    result = cli("run", "help_desk", "hi")
    assert (result.exit_code, result.stdout) == (0, "Hello! What can I help you with?\n")
    assert "-- answered, by rules" in result.stderr
    cited = cli("run", "help_desk", f"question={QUESTION}")
    assert cited.stdout.endswith("\n") and "[1] returns.md > " in cited.stdout
    assert "[rung search]" in cli("run", "help_desk", "Tell me about exchanges", "--progress").stderr


def test_run_prints_json_for_scripts(cli: Cli, shop: Path):
    """`--json` prints exactly the answer and nothing else."""
    result = cli("run", "help_desk", "hi", "--json", "--progress")
    answer = json.loads(result.stdout)
    assert (answer["status"], answer["rung"], answer["text"]) == ("answered", "rules", "Hello! What can I help you with?")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the input `question` is missing"),
        (["question="], "the input `question` is empty"),
        (["quesion=hi"], 'unknown input `quesion`; did you mean "question"?'),
        (["\udcff bad bytes"], "control character"),
        (["x" * 5000], "4000"),
        (["What is the weather on the moon?"], "no_evidence"),
    ],
)
def test_a_refusal_is_1_and_says_why(cli: Cli, shop: Path, arguments: list[str], said: str):
    """An input that does not fit is an answer like any other: typed, recorded, and explained."""
    result = cli("run", "help_desk", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr and "-- refused" in result.stderr
    assert json.loads(cli("records", "--json").stdout)[0]["outcome"]["answer"]["status"] == "refused"


async def test_a_wrong_key_is_said(cli: Cli, shop: Path, upstream):
    """Whoever set a wrong key sees what the provider said, though another rung answered; the key stays secret."""
    bad = (401, {"error": {"message": "Incorrect API key provided: k-wrong-key", "code": "invalid_api_key"}})
    server: Upstream = await upstream(bad)
    environ = {
        "MAINSTAY_MODEL_URL": f"http://127.0.0.1:{server.port}/v1",
        "MAINSTAY_MODEL_NAME": "m",
        "MAINSTAY_MODEL_KEY": "k-wrong-key",
    }
    asked = await asyncio.to_thread(cli, "run", "help_desk", QUESTION, **environ)
    assert asked.exit_code == 0 and "30 days" in asked.stdout
    assert "-- degraded, model_unavailable, by search" in asked.stderr
    assert "default: unauthorized: " in asked.stderr and "HTTP 401: Incorrect API key provided: [secret]" in asked.stderr
    seen = await asyncio.to_thread(cli, "doctor", "--ask", **environ)
    assert seen.exit_code == 1 and "FAIL  model default did not answer" in seen.stdout and "HTTP 401" in seen.stdout
    assert "k-wrong-key" not in asked.output + seen.output


async def test_a_right_key_is_well(cli: Cli, shop: Path, upstream):
    """`doctor --ask` says what the model said."""
    server: Upstream = await upstream(completion("well"))
    environ = {"MAINSTAY_MODEL_URL": f"http://127.0.0.1:{server.port}/v1", "MAINSTAY_MODEL_NAME": "m"}
    seen = await asyncio.to_thread(cli, "doctor", "--ask", **environ)
    assert seen.exit_code == 0 and "model default answered 'well'" in seen.stdout


def test_no_network_is_said_on_one_line(cli: Cli, shop: Path):
    """A server that is not there is named with its address; a finding of the doctor is a line and its next."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environ = {"MAINSTAY_MODEL_URL": f"http://127.0.0.1:{port}/v1", "MAINSTAY_MODEL_NAME": "m"}
    seen = cli("doctor", "--ask", **environ).stdout
    lines = [line for line in seen.splitlines() if not line.startswith(("ok  ", "note", "FAIL", "      next: "))]
    assert f"connection refused by 127.0.0.1:{port}" in seen and lines == []
    assert "default: unreachable" in cli("run", "help_desk", QUESTION, **environ).stderr


def test_a_stand_in_for_a_key_is_no_secret(cli: Cli, shop: Path):
    """Local servers want any key; one letter of it must not black out every word of an error that holds it."""
    environ = {"MAINSTAY_MODEL_URL": "http://127.0.0.1:1/v1", "MAINSTAY_MODEL_NAME": "m", "MAINSTAY_MODEL_KEY": "e"}
    asked = cli("run", "help_desk", QUESTION, **environ)
    assert "unreachable" in asked.stderr and "[secret]" not in asked.stderr


# records


def test_records_of_what_was_asked(cli: Cli, shop: Path):
    """The list has a line for each call, newest first, filters work, and one record is shown in full by its id."""
    empty = cli("records")
    assert (empty.exit_code, len(empty.stdout.splitlines())) == (0, 1) and "no records yet" in empty.stderr
    assert json.loads(cli("records", "--json").stdout) == []
    cli("run", "help_desk", "hi")
    cli("run", "help_desk", "What is the weather on the moon?")
    head, *lines = cli("records").stdout.splitlines()
    assert head.split() == ["when", "feature", "status", "reason", "rung", "took", "cost", "id"]
    assert [line.split()[3:5] for line in lines] == [["refused", "no_evidence"], ["answered", "-"]]
    assert len(cli("records", "--limit", "1").stdout.splitlines()) == 2
    refused = json.loads(cli("records", "--status", "refused", "--json").stdout)
    assert [r["outcome"]["answer"]["reason"] for r in refused] == ["no_evidence"]
    one = json.loads(cli("records", lines[1].split()[-1]).stdout)
    assert one["begun"]["call"]["input"] == {"question": "hi"} and one["scores"] == []
    assert cli("records", "--feature", "nobody").stderr == "There are no such records.\n"


def test_a_record_that_is_not_there_is_1(cli: Cli, shop: Path):
    """A script can tell a wrong id from a wrong command."""
    result = cli("records", "nosuch")
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'there is no record "nosuch"' in result.stderr and "next: mainstay records" in result.stderr


# doctor


def test_the_doctor_finds_a_sound_project_sound(cli: Cli, shop: Path):
    """What works is `ok`, what sleeps is a note with what to set; JSON says the same; and nothing is ill."""
    result = cli("doctor")
    assert result.exit_code == 0 and "ok    feature help_desk" in result.stdout and "rules > search > message" in result.stdout
    assert "note  model default is asleep" in result.stdout and "next: set MAINSTAY_MODEL_URL" in result.stdout
    findings = json.loads(cli("doctor", "--json").stdout)
    assert {f["state"] for f in findings} == {"well", "note"}
    assert "priced" in cli("doctor", OPENAI_API_KEY="no-real-key").stdout


FEATURE = "features/help_desk/feature.toml"
OPENAI = '[models.x]\nprovider = "openai"\nmodel = "m"\n'
URL = OPENAI + 'url = "{}"\n'


def prepend(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text + path.read_text(encoding="utf-8"), encoding="utf-8") and None


def append(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8") and None


def change(old: str, new: str) -> Callable[[Path], None]:
    return lambda path: edit(path, old, new)


def remove(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink()


def no_file(path: Path) -> None:
    """A file where a folder has to be."""
    path.write_text("not a folder")


BROKEN = {
    "no settings": ("mainstay.toml", remove, ["mainstay.toml", "the file is missing", "next: mainstay init"]),
    "no TOML": ("mainstay.toml", append("[models\n"), ["mainstay.toml:14", "expected"]),
    "unknown key": ("mainstay.toml", append("[servr]\n"), ["mainstay.toml:14 servr", 'did you mean "server"?']),
    "no folder of features": ("features", remove, ["features", "the folder of features is missing", "next: mainstay init"]),
    "no feature": (FEATURE, remove, ["there is no feature in", "next: mainstay init"]),
    "no duration": (FEATURE, change('"8s"', "8"), [f"{FEATURE}:4 deadline", 'such as "500ms"', "got 8"]),
    "no such model": (FEATURE, change('"default"', '"defualt"'), [f"{FEATURE}:20 ladder[1].model", 'did you mean "default"?']),
    "no such rung": (FEATURE, change("rules =", "rulez ="), [f"{FEATURE}:17 ladder[0]", "rulez"]),
    "no prompt": ("features/help_desk/prompts/answer.md", remove, [f"{FEATURE}:21 ladder[1].prompt", "answer.md", "is missing"]),
    "no such variable": (
        "features/help_desk/prompts/answer.md",
        change("{{ question }}", "{{ qestion }}"),
        ["features/help_desk/prompts/answer.md", "qestion", 'did you mean "question"?'],
    ),
    "no UTF-8": (FEATURE, lambda p: p.write_bytes(b"\xff\xfe"), [f"{FEATURE}:1", "not UTF-8", "next: save it as UTF-8"]),
    "no knowledge": ("knowledge", remove, ["mainstay.toml:12 sources.knowledge", "there is no file or folder"]),
    "last rung can fail": (FEATURE, change("\n[[ladder]]\nmessage =", "\n# message ="), [f"{FEATURE}", "ladder", "message"]),
    "key missing": (
        "mainstay.toml",
        append(OPENAI + 'key = "env:NO_KEY"\n'),
        ["models.x.key", "NO_KEY is not", "export NO_KEY=…"],
    ),
    "key itself": ("mainstay.toml", append(OPENAI + 'key = "sk-1234567"\n'), ["models.x.key", "a secret never stands in a file"]),
    "no address": (
        "mainstay.toml",
        append(URL.format("http://[::1/v1")),
        ["mainstay.toml:17 models.x.url", "expected an address"],
    ),
    "no such port": (
        "mainstay.toml",
        append(URL.format("http://a:99999/")),
        ["mainstay.toml:17 models.x.url", "expected an address"],
    ),
    "state is a file": (".mainstay", no_file, [".mainstay", "cannot be opened", "next: move what is there away"]),
    "state in a file": ("mainstay.toml", prepend('state = "README.md/x"\n'), ["README.md/x", "name another folder as `state`"]),
    "beyond loopback": ("mainstay.toml", append('[server]\nhost = "0.0.0.0"\n'), ["server.host", "without a key only loopback"]),
    "no such host": (
        "mainstay.toml",
        append('[server]\nhost = "127.0.0.256"\n'),
        ["127.0.0.256", "next: "],
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_the_doctor_names_what_is_broken(cli: Cli, shop: Path, broken: str):
    """Each way to break a project is one line with the file, the place and what was expected; and exit code 1."""
    file, breaks, said = BROKEN[broken]
    breaks(shop / file)
    result = cli("doctor")
    assert result.exit_code == 1, result.output
    ill = result.stdout[result.stdout.index("FAIL") :]
    for part in said:
        assert part in ill
    assert "next: mainstay doctor" not in ill and "sk-1234567" not in result.output
    asked = cli("run", "help_desk", "hi")
    assert asked.exit_code == (0 if "loopback" in broken or "host" in broken else 2), asked.output


def test_a_broken_cache_keeps_nobody_from_answering_and_a_broken_ledger_is_said(cli: Cli, shop: Path):
    """The cache is disposable: features load and answer. Records are not: the file is named, with a way out, and stays."""
    state = shop / ".mainstay"
    state.mkdir()
    (state / "cache.db").write_bytes(b"Dear diary, " * 500)
    assert cli("run", "help_desk", "hi").exit_code == 0
    assert (state / "cache.db.broken").read_bytes() == b"Dear diary, " * 500
    (state / "ledger.db").write_bytes(b"Dear diary, " * 500)
    for command in (["run", "help_desk", "hi"], ["records"], ["serve", "--port", "0"]):
        result = cli(*command)
        assert result.exit_code == 2
        assert "ledger.db: the database cannot be opened: file is not a database" in result.stderr
    assert "next: move what is there away" in cli("doctor").stdout
    assert (state / "ledger.db").read_bytes() == b"Dear diary, " * 500


def test_a_port_that_is_taken_is_no_fault(cli: Cli, shop: Path):
    """The server itself may be running there; the doctor says so and `serve` names a way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        append(f"[server]\nport = {port}\n")(shop / "mainstay.toml")
        seen = cli("doctor")
        assert seen.exit_code == 0 and f"note  127.0.0.1:{port} cannot be bound: Address already in use" in seen.stdout
        served = cli("serve", "--dev")
        assert (served.exit_code, served.stdout) == (2, "")
        assert f"127.0.0.1:{port} cannot be bound" in served.stderr and "next: mainstay serve --port 0" in served.stderr


@pytest.mark.parametrize(
    ("url", "said"), [("127.0.0.1:11434", '"127.0.0.1:11434"'), ("http://[::1", "http://[::1"), ("http://:80", "http://:80")]
)
def test_a_wrong_address_in_the_environment_is_said_there(cli: Cli, shop: Path, url: str, said: str):
    """The variable is named, and no file is blamed for it."""
    result = cli("run", "help_desk", "hi", MAINSTAY_MODEL_URL=url)
    assert (
        result.exit_code == 2 and "environment MAINSTAY_MODEL_URL: expected an address" in result.stderr and said in result.stderr
    )


def test_serving_beyond_loopback_needs_a_key(cli: Cli, shop: Path):
    """Nobody opens a door to the world by one option."""
    result = cli("serve", "--dev", "--host", "0.0.0.0", "--port", "0")
    assert result.exit_code == 2 and "next: export MAINSTAY_API_KEY=…" in result.stderr
    unknown = cli("serve", "--dev", "--host", "127.0.0.256", "--port", "0", MAINSTAY_API_KEY="a-key-for-tests")
    assert unknown.exit_code == 2 and "127.0.0.256:0 cannot be bound" in unknown.stderr


# Processes: signals, a full disk, kill -9

STALLED = """
    [models.default]
    provider = "scripted"
    options = { text = "Slow", fault = "stalled" }

    [sources.knowledge]
    path = "knowledge"
"""


class Shell:
    """`mainstay …` as a process of its own, with nothing of the environment that could answer."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        environ = {k: v for k, v in os.environ.items() if k not in KEYS} | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(self.root)}
        command = [sys.executable, "-m", "mainstay", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self._running.append(subprocess.Popen(command, cwd=self.root, env=environ, text=True, **pipes))
        return self._running[-1]

    def said(self, process: subprocess.Popen[str], last: str, limit: float = 15.0) -> list[str]:
        """The lines that it prints, to the first one with these words; fails when they do not come."""
        assert process.stdout is not None
        lines = [""]
        timer = threading.Timer(limit, process.kill)
        timer.start()
        while last not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], f"it never said {last!r}: {lines}"
        timer.cancel()
        return [line.rstrip("\n") for line in lines[1:]]

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=10)


@pytest.fixture
def shell(shop: Path) -> Iterator[Shell]:
    write(shop, {"mainstay.toml": STALLED})
    shell = Shell(shop)
    yield shell
    shell.close()


def begun(root: Path, state: str = ".mainstay", calls: int = 1, limit: float = 15.0) -> None:
    """Wait until so many calls were begun: that is in the spool."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if sum(path.read_bytes().count(b'"begun"') for path in root.glob(f"{state}/spool/*.spool")) >= calls:
            return
        time.sleep(0.02)
    raise AssertionError("no call began")


def test_ctrl_c_in_run_is_quiet(shell: Shell, cli: Cli):
    """Whoever stops waiting gets the prompt back at once, exit code 130, and the record says that the reader left."""
    process = shell.start("run", "help_desk", QUESTION)
    begun(shell.root)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130 and "Traceback" not in err
    assert json.loads(cli("records", "--json").stdout)[0]["outcome"]["answer"]["reason"] == "reader_left"


IMPORTS = ["msgspec", "mainstay.core.errors", "click", "mainstay.doors.cli.printing", "mainstay.loading"]  # of `mainstay run`
BEGINNINGS = {
    "module": ["-m", "mainstay"],
    "script": ["-c", "import sys; from mainstay.__main__ import main; sys.exit(main())"],  # as installers write it
}


def test_the_script_begins_where_ctrl_c_is_seen_to():
    """The installed command is the function that the next test stops."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"mainstay": "mainstay.__main__:main"}


@pytest.mark.parametrize("begin", BEGINNINGS)
@pytest.mark.parametrize(
    "imported", ["msgspec", "mainstay.core.errors", "click", "mainstay.doors.cli.printing", "mainstay.loading"]
)
def test_ctrl_c_at_the_beginning_is_quiet(shell: Shell, begin: str, imported: str):
    """Whoever typed the wrong command and takes it back at once sees the prompt, not the inside of our imports."""
    environ = {k: v for k, v in os.environ.items() if k not in KEYS} | {"PYTHONPROFILEIMPORTTIME": "1"}
    said = shell.root / "said.txt"
    with said.open("w") as err:
        command = [sys.executable, *BEGINNINGS[begin], "run", "help_desk", QUESTION]
        process = subprocess.Popen(command, cwd=shell.root, env=environ, stdout=subprocess.PIPE, stderr=err, text=True)
    end = time.monotonic() + 15
    while not re.search(rf"\| +{re.escape(imported)}$", said.read_text(), re.MULTILINE) and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    try:
        out, _ = process.communicate(timeout=15)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert [line for line in said.read_text().splitlines() if not line.startswith("import time:")] == []


def test_a_killed_run_is_in_the_records(shell: Shell, cli: Cli):
    """After kill -9 the next command takes over what was begun, and says so in one line."""
    process = shell.start("run", "help_desk", QUESTION)
    begun(shell.root)
    process.kill()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    assert cli("run", "help_desk", "hi").exit_code == 0
    statuses = [r["outcome"]["answer"]["reason"] for r in json.loads(cli("records", "--json").stdout)]
    assert statuses == [None, "process_died"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_server_is_quiet(shell: Shell, number: int):
    """`serve` says where, what and what to try; Ctrl-C or SIGTERM ends it with one word and exit code 0."""
    process = shell.start("serve", "--dev", "--port", "0")
    lines = shell.said(process, "/metrics")
    address = re.search(r"http://127\.0\.0\.1:\d+$", lines[0])
    assert lines[0].startswith("Mainstay ") and "serves 1 feature(s) at" in lines[0] and address
    assert lines[1] == "  help_desk  rules > default > search > message"
    assert lines[2] == "Models: default (scripted: what the server offers)"
    assert lines[3] == f"Records: {Path('.mainstay', 'ledger.db')}"
    assert lines[4:6] == ["The folder is loaded again when it changes.", "Try:"]
    assert [address[0] in line for line in lines[6:]] == [True] * 3
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    assert (process.returncode, out, err) == (0, "Stopped.\n", "")


def test_the_demo_says_what_it_serves(shell: Shell):
    """The first command of the README works anywhere, without a project or a key, and keeps its records where it says."""
    process = shell.start("demo", "--port", "0")
    lines = shell.said(process, "/metrics")
    assert "serves 2 feature(s)" in lines[0]
    assert lines[1].split()[0] == "handbook" and "search > message" in lines[1] and lines[2].split()[0] == "triage"
    assert lines[3].startswith("Models: none; set MAINSTAY_MODEL_URL") and str(Path(".mainstay", "demo")) in lines[4]
    assert ["curl" in line for line in lines[6:]] == [True] * 3
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=15) == ("Stopped.\n", "") and process.returncode == 0


def test_ctrl_c_in_drill_is_quiet(shell: Shell):
    """A drill that is stopped in the middle leaves no task to complain about."""
    process = shell.start("drill", "help_desk")
    begun(shell.root, "mainstay-drill-*", calls=14)
    time.sleep(0.3)  # so that some of the calls wait for their faulty server
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_under_the_output_is_said(shell: Shell):
    """Output that cannot be written is an error of one line, not a traceback."""
    with open("/dev/full", "w") as full:
        process = shell.start("run", "help_desk", "hi", stdout=full)
        _, err = process.communicate(timeout=15)
    assert process.returncode == 2 and "No space left on device" in err and "Traceback" not in err


def test_a_reader_that_has_enough_is_no_error(shell: Shell):
    """`mainstay … | head -1` ends without a word."""
    process = shell.start("drill", "--help")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=15)
    assert err == ""
