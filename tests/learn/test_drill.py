"""The drill, through the command: green on a sound product, red on each planted bug, with the scenario's name."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mainstay.core.draft import ALLOW
from mainstay.core.model import Chunk
from mainstay.doors.cli.main import main
from mainstay.doors.cli.serve import demo_project
from mainstay.learn.faults import FAULTS
from mainstay.parts.guards.schema import Schema
from mainstay.parts.guards.terms import Terms
from mainstay.parts.providers.openai import OpenAI
from mainstay.parts.stores.spool import Spool
from mainstay.serve import guarding, pipeline
from mainstay.serve.guarding import Checked, Screening
from mainstay.serve.watch import Watch

MODELS = """
    [models.small]
    provider = "openai"
    model = "small"
    key = "env:NOBODY_HAS_THIS_KEY"

    [models.large]
    provider = "scripted"
"""

LADDER = """
    summary = "Answers"
    deadline = "800ms"

    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    tries = 1

    [[ladder]]
    rules = "rules.toml"

    [[ladder]]
    message = "Sorry."
"""
RULES = {"features/answers/rules.toml": "[[rule]]\nname = 'all'\nmatches = ['.']\nanswer = 'by rule'\n"}
ALL = {(fault.name, delivery) for fault in FAULTS for delivery in ("streamed", "whole")}

Drill = Callable[..., Result]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of whoever runs the tests."""
    for name in ("MAINSTAY_MODEL_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def drill(project: Callable[..., Path]) -> Drill:
    """`drill("--json", feature=...)` drills the feature `answers` of a project and gives what the command did."""

    def run(*arguments: str, settings: str = MODELS, feature: str = LADDER, files: dict[str, str] | None = None) -> Result:
        root = project(settings, feature, {**RULES, **(files or {})})
        return CliRunner().invoke(main, ["drill", "answers", "-C", str(root), *arguments], catch_exceptions=False)

    return run


def broken(result: Result) -> dict[tuple[str, str], str]:
    """What the drill found wrong, by scenario."""
    return {(c["fault"], c["delivery"]): "; ".join(c["wrong"]) for c in json.loads(result.stdout)["calls"] if c["wrong"]}


def test_a_sound_feature_passes(drill: Drill):
    """Every fault is answered in time, typed, checked and recorded; the table shows each, and the share is told."""
    result = drill()
    assert result.exit_code == 0, result.output
    for name, delivery in ALL:
        assert any(line.split()[:2] == [name, delivery] for line in result.stdout.splitlines())
    assert "Passed: 38 calls" in result.stdout and "WRONG" not in result.stdout
    assert "Answered above the message:" in result.stdout
    broken_off = sum("interrupted" in line.split() for line in result.stdout.splitlines())
    assert f"{broken_off} were broken off after the first word, 0 had the message or nothing." in result.stdout
    lines = {" ".join(line.split()[:2]): line for line in result.stdout.splitlines()}
    assert lines["stalled streamed"].endswith("writes half an answer, then nothing more")
    assert "No key is set for: small." in result.stdout


def test_the_report_is_json_for_scripts(drill: Drill):
    """`--json` gives one value with what a user saw in each scenario."""
    result = drill("--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["passed"], report["deadline"], report["scale"]) == (0, True, 0.8, 1.0)
    assert report["adapters"] == {"small": "openai"}
    calls = {(c["fault"], c["delivery"]): c for c in report["calls"]}
    assert calls.keys() == ALL | {("healthy", "streamed"), ("healthy", "whole")}
    assert (calls["429", "whole"]["status"], calls["429", "whole"]["reason"]) == ("degraded", "rate_limited")
    assert (calls["429", "whole"]["rung"], calls["429", "whole"]["shown"]) == ("rules", "by rule")
    assert (calls["stalled", "streamed"]["status"], calls["stalled", "streamed"]["attempts"]) == ("interrupted", ["too_slow"])
    assert calls["healthy", "whole"]["status"] == "answered"
    answered = [c for key, c in calls.items() if key[0] != "healthy" and c["status"] in ("answered", "degraded")]
    assert report["above_message"] == pytest.approx(len(answered) / len(ALL))


@pytest.mark.parametrize("key", ["", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MAINSTAY_MODEL_URL"])
@pytest.mark.parametrize("feature", ["handbook", "triage"])
def test_the_bundled_example_passes_with_any_key_and_without(
    feature: str, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """What a newcomer types in an empty folder works, whatever key is set, and leaves nothing behind. Without a key it says that
    live calls go without the model that it drilled."""
    monkeypatch.chdir(tmp_path)
    if key:
        monkeypatch.setenv(key, "http://127.0.0.1:9/v1" if key.endswith("URL") else "any-value-will-do")
    state = demo_project() / ".mainstay"
    before = state.exists()
    result = CliRunner().invoke(main, ["drill", feature, "--deadline", "1s"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "bundled example" in result.stderr
    assert ("No key is set for: default." in result.stdout) is (not key)
    adapter = key.partition("_")[0].lower() if key.endswith("KEY") else "openai"
    assert f"default through {adapter};" in result.stdout
    assert list(tmp_path.iterdir()) == [] and state.exists() == before


def test_what_init_writes_passes(tmp_path: Path):
    """A new team's first project drills as it is."""
    target = str(tmp_path / "shop")
    assert CliRunner().invoke(main, ["init", target]).exit_code == 0
    result = CliRunner().invoke(main, ["drill", "help_desk", "-C", target, "--deadline", "1s"], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_live_state_is_not_touched(drill: Drill, tmp_path: Path):
    """A drill writes no record, no cache and no breaker of the project: its state folder does not even come to be."""
    assert drill("--json").exit_code == 0
    assert not (tmp_path / "project" / ".mainstay").exists()


def test_a_ladder_of_models_and_steps_passes(drill: Drill):
    """Two models, steps, limits on the first word: each rung gives way in its share of the time."""
    feature = """
        summary = "Answers"
        deadline = "4s"
        [[ladder]]
        first_word = "1s"
        timeout = "2s"
        [[ladder.steps]]
        name = "brief"
        model = "small"
        prompt = "prompt.md"
        [[ladder.steps]]
        name = "final"
        model = "large"
        prompt = "prompt.md"
        [[ladder]]
        model = "large"
        prompt = "prompt.md"
        needs = "1s"
        [[ladder]]
        message = "Sorry."
    """
    result = drill("--json", "--deadline", "2s", feature=feature)
    report = json.loads(result.stdout)
    assert (result.exit_code, broken(result)) == (0, {})
    assert (report["scale"], report["adapters"]) == (0.5, {"small": "openai", "large": "openai"})
    calls = {(c["fault"], c["delivery"]): c for c in report["calls"]}
    assert calls["healthy", "streamed"]["attempts"] == ["ok", "ok"]
    assert calls["slow", "whole"]["attempts"] == ["too_slow", "too_slow"]


def test_an_input_that_never_reaches_a_model_is_inconclusive(drill: Drill):
    """Where a rule answers first nothing was drilled: exit code 3, and what to type instead."""
    feature = LADDER.replace("[[ladder]]\n    model", '[[ladder]]\n    rules = "rules.toml"\n\n    [[ladder]]\n    model', 1)
    result = drill(feature=feature)
    assert result.exit_code == 3
    assert "no model was asked" in result.stdout and "mainstay drill answers NAME=VALUE" in result.stdout


def test_an_input_may_be_given(drill: Drill):
    """The input is read as `mainstay run` reads it, and is what the feature is asked."""
    rules = {"features/answers/rules.toml": "[[rule]]\nname = 'all'\nmatches = ['.']\nanswer = 'You said {{ question }}'\n"}
    result = drill("question=a=b", "--json", files=rules)
    assert result.exit_code == 0
    assert {c["shown"] for c in json.loads(result.stdout)["calls"] if c["rung"] == "rules"} == {"You said a=b"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["drill", "anwsers"], 'did you mean "answers"?'),
        (["drill", "answers", "questoin=x"], 'did you mean "question"?'),
        (["drill", "answers", "--deadline", "3"], "a duration with its unit"),
        (["drill", "answers", "--deadline", "0s"], "longer than nothing"),
    ],
)
def test_mistakes_are_answered_with_what_to_type(project: Callable[..., Path], arguments: list[str], says: str):
    """A wrong name, field or duration ends with exit code 2 and a sentence."""
    result = CliRunner().invoke(main, [*arguments, "-C", str(project(MODELS, LADDER, RULES))], catch_exceptions=False)
    assert result.exit_code == 2
    assert says in result.stderr


# Three bugs, planted in the product


def test_a_watchdog_that_never_rings_turns_it_red(drill: Drill, monkeypatch: pytest.MonkeyPatch):
    """A swallowed time-out, on our side: nothing stops a silent model, and the drill names what was silent."""
    monkeypatch.setattr(Watch, "_ring", lambda self: None)
    result = drill("--json")
    assert result.exit_code == 1
    assert {name for name, _ in broken(result)} == {"slow", "stalled"}
    assert all("no attempt is too_slow" in wrong for wrong in broken(result).values())


def test_an_adapter_that_swallows_its_time_out_turns_it_red(drill: Drill, monkeypatch: pytest.MonkeyPatch):
    """A swallowed time-out, on the provider's side: an adapter that will not be cancelled is seen."""
    sound = OpenAI.generate

    async def stubborn(self: OpenAI, request: Any, *, stream: bool) -> Any:
        try:
            async for chunk in sound(self, request, stream=stream):
                yield chunk
        except asyncio.CancelledError:
            until = asyncio.get_running_loop().time() + 3
            while (left := until - asyncio.get_running_loop().time()) > 0:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(left)
            yield Chunk(text="at last")

    monkeypatch.setattr(OpenAI, "generate", stubborn)
    result = drill("--json")
    assert result.exit_code == 1
    assert {name for name, _ in broken(result)} >= {"slow", "stalled"}


def test_a_call_that_never_ends_turns_it_red(drill: Drill, monkeypatch: pytest.MonkeyPatch):
    """Where nothing at all keeps the time, the drill still ends, and says what did not."""

    async def endless(key: Any, flight: Any, parts: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(pipeline, "_produce", endless)
    monkeypatch.setattr("mainstay.serve.flights.Reader._ring", lambda self: None)
    monkeypatch.setattr("mainstay.learn.drill.PATIENCE", 0.5)
    result = drill("--json", "--deadline", "100ms")
    assert result.exit_code == 1
    assert "never ended" in broken(result)["healthy", "whole"] and "late" in broken(result)["healthy", "whole"]


async def _allow(self: Any, draft: Any) -> Any:
    return ALLOW


async def _unseen(draft: Any, guards: Any, trace: Any, rung: Any) -> Checked:
    return Checked(draft.text, draft.data)


async def _only_when_complete(self: Screening, text: str) -> None:
    self.text += text
    if self._early:
        self._let_go(len(self.text))


@pytest.mark.parametrize(
    ("where", "what", "instead", "scenarios"),
    [
        (Terms, "check", _allow, {"forbidden"}),
        (guarding, "check", _unseen, None),
        (Screening, "add", _only_when_complete, None),
    ],
    ids=["one guard", "all of them", "in mid-stream"],
)
def test_a_skipped_guard_turns_it_red(drill: Drill, monkeypatch: pytest.MonkeyPatch, where, what, instead, scenarios):
    """A guard that is not asked, everywhere or only in mid-stream, is seen by the forbidden word and by the witness."""
    monkeypatch.setattr(where, what, instead)
    result = drill("--json")
    assert result.exit_code == 1
    wrong = {key: text for key, text in broken(result).items() if "unchecked" in text}
    assert "the forbidden word was shown" in wrong["forbidden", "streamed"]
    if scenarios is not None:
        assert {name for name, _ in wrong} == scenarios


def test_a_skipped_schema_turns_it_red(drill: Drill, monkeypatch: pytest.MonkeyPatch):
    """Where an answer has a schema, text that nobody held to it is seen."""
    feature = LADDER.replace('    [[ladder]]\n    rules = "rules.toml"\n', "").replace('"Sorry."', "{ n = 0 }")
    feature += '\n    [answer]\n    schema = "a.json"\n'
    schema = {"features/answers/a.json": '{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}'}
    assert drill("--json", feature=feature, files=schema).exit_code == 0
    monkeypatch.setattr(Schema, "check", _allow)
    result = drill("--json", feature=feature, files=schema)
    assert result.exit_code == 1
    assert "none of the data" in broken(result)["useless", "whole"]


def test_a_lost_record_turns_it_red(drill: Drill, monkeypatch: pytest.MonkeyPatch):
    """Records that are not kept, here of calls that were answered with `rate_limited`, are missed by name."""
    sound = Spool.append

    def forgetful(self: Spool, *lines: bytes) -> None:
        sound(self, *[line for line in lines if b"rate_limited" not in line])

    monkeypatch.setattr(Spool, "append", forgetful)
    result = drill("--json")
    assert result.exit_code == 1
    assert set(broken(result)) == {(name, delivery) for name in ("429", "429_later") for delivery in ("streamed", "whole")}
    assert set(broken(result).values()) == {"unrecorded: there is no record"}


def test_a_record_that_tells_another_story_turns_it_red(drill: Drill, monkeypatch: pytest.MonkeyPatch):
    """A record that differs from the answer, or from what happened, is as good as none."""
    sound = Spool.append
    lies = ((b'"reason":"rate_limited"', b'"reason":"no_evidence"'), (b'"outcome":"overloaded"', b'"outcome":"ok"'))

    def lying(self: Spool, *lines: bytes) -> None:
        for true, false in lies:
            lines = tuple([line.replace(true, false) for line in lines])
        sound(self, *lines)

    monkeypatch.setattr(Spool, "append", lying)
    result = drill("--json")
    assert result.exit_code == 1
    assert "tells another answer" in broken(result)["429", "whole"]
    assert "no attempt is overloaded" in broken(result)["503", "streamed"]
