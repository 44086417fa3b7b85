"""The bundled example goes through its own gate: `handbook` and `triage`, with a model whose quality is known.

The model is an actor: it knows the cases, and answers those well whose categories its prompt names. So a better and a worse
prompt are made on purpose, and everything else (retrieval, rules, guards, scorers, the gate, the runtime) is what users get.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import mainstay
from mainstay.doors.cli.main import main
from mainstay.doors.cli.serve import demo_project
from mainstay.learn.releasing import Released, Wanted

ACTOR = """
import json
import pathlib
import re

from mainstay.core.model import Chunk, Usage
from mainstay.core.reasons import Finish

ROOT = pathlib.Path(__file__).parent
CASES = {}
for path in sorted(ROOT.glob("features/*/cases/*.jsonl")):
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            case = json.loads(line)
            CASES[next(iter(case["input"].values())).strip()] = case


class Actor:
    def __init__(self, model, *, key="", http=None):
        pass

    async def generate(self, request, *, stream):
        prompt, question = request.messages[0].text, request.messages[-1].text.strip()
        case = CASES.get(question, {})
        skilled = case.get("must") or case.get("category") in re.findall(r"skill: (\\w+)", prompt)
        if "You sort support messages" in prompt:
            data = case.get("expect", {}).get("data", {}) if skilled else {}
            text = json.dumps({"category": "other", "urgency": "normal", "entities": [], **data})
        else:
            passages = re.split(r"^\\[(\\d+)\\] ", prompt.partition("Passages:")[2], flags=re.MULTILINE)[1:]
            numbered = list(zip(passages[::2], passages[1::2]))
            quoted = [f"{line} [{number}]" for number, text in numbered for line in text.splitlines()[1:] if line.strip()]
            text = "\\n".join(quoted) if skilled and quoted else "The handbook does not say."
        yield Chunk(text=text, finish=Finish.STOP, usage=Usage(input=500, output=50), model="actor")
"""
SETTINGS = '[models.default]\nprovider = "{name}:Actor"\nprice = {{ input = "1 USD", output = "4 USD" }}\n'


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the bundled example, whose model is the actor."""
    root = tmp_path / "example"
    shutil.copytree(demo_project(), root, ignore=shutil.ignore_patterns("__pycache__", ".mainstay"))
    name = f"actor_{abs(hash(str(tmp_path)))}"
    (root / f"{name}.py").write_text(ACTOR)
    settings = (root / "mainstay.toml").read_text()
    (root / "mainstay.toml").write_text(SETTINGS.format(name=name) + settings[settings.index("[sources.") :])
    return root


def skilled(root: Path, feature: str, *skills: str) -> None:
    """Change the feature's prompt, so that its model answers these categories."""
    path = next((root / "features" / feature / "prompts").glob("*.md"))
    original = demo_project() / "features" / feature / "prompts" / path.name
    named = "".join(f"skill: {skill}\n" for skill in skills)
    path.write_text(original.read_text(encoding="utf-8").replace("[user]", f"{named}[user]", 1), encoding="utf-8")


FLOORS = ("pass_rate", "no_category_below", "p95", "first_word")


def lenient(root: Path, feature: str) -> None:
    """Floors that the first of these releases reaches: what is tested is the comparison with what is live."""
    path = root / "features" / feature / "feature.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text(
        "\n".join(line for line in lines if not line.startswith(("pass_rate", "no_category_below"))), encoding="utf-8"
    )


async def release(root: Path, feature: str) -> Released:
    """Release the folder as it is."""
    async with mainstay.open(root, environ={}, dev=True) as app:
        return await app.desk.release(feature, Wanted())


def passing(done: Released) -> int:
    """How many cases the candidate passed."""
    assert done.report is not None
    return sum(result.passed is True for result in done.report.candidate.results)


TRIAGE = ("billing", "delivery", "returns", "technical", "account", "praise", "other")
HANDBOOK = ("concepts", "building", "running", "calling", "trouble", "outside")


@pytest.mark.parametrize(
    ("feature", "live", "better", "broken"),
    [
        ("triage", ("billing", "delivery", "returns"), TRIAGE, "billing"),
        ("handbook", ("calling", "trouble", "outside"), HANDBOOK, "calling"),
    ],
)
async def test_a_better_prompt_goes_live_and_one_that_breaks_a_category_does_not(
    example: Path, feature: str, live: tuple[str, ...], better: tuple[str, ...], broken: str
):
    """The better one passes the gate; one with a higher average and a broken category is refused, with that category's cases."""
    lenient(example, feature)
    skilled(example, feature, *live)
    first = await release(example, feature)
    assert first.link is not None, first.report and first.report.ruling
    skilled(example, feature, *[skill for skill in better if skill != broken])
    refused = await release(example, feature)
    assert refused.link is None and refused.report is not None and refused.report.ruling is not None
    assert passing(refused) > passing(first)
    blocked = [finding for finding in refused.report.ruling.findings if finding.outcome == "blocked"]
    assert f"category={broken}" in [finding.slice for finding in blocked]
    of_the_slice = {case.id for case in refused.report.cases if case.category == broken}
    named = next(finding.cases for finding in blocked if finding.slice == f"category={broken}")
    assert named and set(named) <= of_the_slice
    skilled(example, feature, *better)
    released = await release(example, feature)
    assert released.link is not None and passing(released) > passing(refused)
    async with mainstay.open(example, environ={}) as app:
        assert app.features.ready[feature].digest == released.release


def test_too_few_cases_are_inconclusive(example: Path):
    """Thirty cases say little, and the exit code says so: 3."""
    for path in (example / "features" / "triage" / "cases").glob("*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:5]), encoding="utf-8")
    done = CliRunner().invoke(main, ["release", "triage", "-C", str(example)])
    assert done.exit_code == 1 or (done.exit_code == 3 and "35 cases" in done.output)


@pytest.mark.parametrize("feature", ["handbook", "triage"])
def test_stress_and_check_print_their_evidence(example: Path, feature: str):
    """What the example ships is not weak, and the checklist says of each line what it rests on, or what to type."""
    runner = CliRunner()
    stressed = runner.invoke(main, ["stress", feature, "-C", str(example), "--json"])
    assert stressed.exit_code in (0, 3), stressed.output
    checked = runner.invoke(main, ["check", feature, "-C", str(example), "--json"])
    lines = {line["name"]: line for line in json.loads(checked.stdout)}
    assert lines["faults"]["standing"] == "met" and lines["faults"]["evidence"] and lines["stress"]["standing"] == "met"
    assert lines["gate"]["standing"] == "unknown" and lines["gate"]["next"] == f"mainstay release {feature}"
    assert lines["switch"]["next"] == f"mainstay off {feature} && mainstay on {feature}" and checked.exit_code == 1


def test_the_actor_knows_the_cases(example: Path):
    """The double is what these tests take it for."""
    make: Callable[[str], int] = lambda feature: len(list((example / "features" / feature / "cases").glob("*.jsonl")))  # noqa: E731
    assert make("triage") and make("handbook")
