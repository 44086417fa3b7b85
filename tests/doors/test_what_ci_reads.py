"""What a CI job and an operator read from the commands of releasing: exit codes, files, and ways out that are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainstay.doors.cli.main import main

Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("eval", "help_desk")` in a project that `mainstay init` wrote, without any key."""
    for name in ("MAINSTAY_MODEL_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(main, arguments, prog_name="mainstay")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    monkeypatch.chdir(tmp_path)
    assert run("init", "shop").exit_code == 0
    monkeypatch.chdir(tmp_path / "shop")
    return run


def another(name: str, old: str, new: str) -> None:
    """A second feature like the first, with one line of its file another."""
    shutil.copytree("features/help_desk", f"features/{name}")
    file = Path(f"features/{name}/feature.toml")
    file.write_text(file.read_text().replace(old, new))


def test_a_blocked_feature_is_not_hidden_by_one_that_is_inconclusive(cli: Cli):
    """A job that lets exit code 3 pass would otherwise let a blocked release pass."""
    another("blocked", "pass_rate         = 0.8", "pass_rate         = 0.99")
    another("open", "at_least          = 50", "at_least          = 200")
    assert cli("eval", "blocked").exit_code == 1
    assert cli("eval", "open").exit_code == 3
    assert cli("eval", "blocked", "open").exit_code == cli("eval", "open", "blocked").exit_code == 1
    assert cli("eval", "open", "help_desk").exit_code == 3


def test_each_of_several_features_has_its_files(cli: Cli):
    """The report of the last feature does not take the place of the others."""
    another("second", "Answers", "Replies")
    assert cli("eval", "--changed", "--junit", "evals.xml", "--html", "evals.html", "--markdown", "all.md").exit_code == 0
    for name in ("help_desk", "second"):
        assert f'name="{name}' in Path(f"evals.{name}.xml").read_text()
        assert name in Path(f"evals.{name}.html").read_text()
        assert name.replace("_", "\\_") in Path("all.md").read_text()
    assert not Path("evals.xml").exists()


def test_a_shadow_can_be_ended_and_what_is_live_stays(cli: Cli):
    """The command that is named where a shadow is in the way ends it, and rolls nothing back."""
    assert cli("release", "help_desk").exit_code == 0
    file = Path("features/help_desk/feature.toml")
    file.write_text(file.read_text().replace("Answers", "Replies"))
    assert cli("release", "help_desk").exit_code == 0
    file.write_text(file.read_text().replace("Replies", "Responds"))
    assert cli("release", "help_desk", "--shadow", "10%").exit_code == 0
    live = cli("report", "help_desk").output.splitlines()[0]
    again = cli("release", "help_desk", "--shadow", "20%")
    assert "next: mainstay rollback help_desk --shadow" in again.stderr
    assert "The shadow of help_desk is over" in cli("rollback", "help_desk", "--shadow").output
    report = cli("report", "help_desk").output
    assert report.splitlines()[0] == live and "On trial" not in report
    assert "has no shadow" in cli("rollback", "help_desk", "--shadow").stderr


def test_a_head_may_be_noted_as_the_list_shows_it(cli: Cli):
    """What `audit list` prints is enough to see that the end of the chain is still there."""
    assert cli("off", "help_desk").exit_code == 0
    head = cli("audit", "list").output.split()[-1]
    assert cli("audit", "verify", "--head", head).exit_code == 0
    gone = cli("audit", "verify", "--head", "f" * 12)
    assert gone.exit_code == 1 and "BROKEN" in gone.output
    assert cli("audit", "verify", "--head", head[:4]).exit_code == 2


def test_a_release_is_compared_with_what_is_live_and_with_nothing_else(cli: Cli):
    """Only an evaluation may be told what to compare with: a release that chose its own rival would choose a weak one."""
    assert cli("release", "help_desk", "--against", "none").exit_code == 2
    assert cli("report", "help_desk").output.startswith("help_desk: nothing is live.")
    assert cli("eval", "help_desk", "--against", "none").exit_code == 0
