"""A feature whose quality is known: its model answers the categories that its prompt names, and no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import mainstay

SETTINGS = """
[models.small]
provider = "skilled_model:Skilled"
price = { input = "1 USD", output = "2 USD" }
"""

MODEL = '''
"""Answers `category number` if its prompt names the category as a skill; a skill may have a share of wrong answers."""

import re
import zlib

from mainstay.core.model import Chunk, Usage
from mainstay.core.reasons import Finish


class Skilled:
    def __init__(self, model, *, key="", http=None):
        self.asked = 0

    async def generate(self, request, *, stream):
        self.asked += 1
        prompt, question = request.messages[0].text, request.messages[-1].text
        category, _, number = question.partition(" ")
        skills = {name: int(good or 100) for name, good in re.findall(r"skill: (\\w+)(?: (\\d+))?", prompt)}
        good = category in skills and zlib.crc32(f"{prompt[:40]}{question}".encode()) % 100 < skills[category]
        text = f"{category} answer {number}." if good else "I do not know."
        yield Chunk(text=text, finish=Finish.STOP, usage=Usage(input=100, output=10), model="skilled")
'''

FEATURE = """
summary = "Answers"
deadline = "5s"
log = "full"

[[ladder]]
model = "small"
prompt = "prompt.md"

[[ladder]]
message = "Sorry."

[guards]
output = ["size"]

[gate]
at_least = 60
pass_rate = 0.5

[cache]
keep = "1h"
"""


def prompt(*skills: str) -> str:
    """A prompt that makes the model good at these categories; `a 85` is good at 85 % of a."""
    return "[system]\n" + "".join([f"skill: {skill}\n" for skill in skills]) + "[user]\n{{ question }}\n"


def case(category: str, number: int, **more: object) -> str:
    """One line of a file of cases."""
    expect = {"contains": [f"{category} answer {number}."]}
    whole = {"id": f"{category}-{number}", "input": {"question": f"{category} {number}"}, "expect": expect, "category": category}
    return json.dumps(whole | more)


def write_project(
    root: Path,
    *,
    skills: Sequence[str] = ("a", "b"),
    categories: Mapping[str, int] | None = None,
    feature: str = FEATURE,
    cases: Sequence[str] = (),
) -> Path:
    """A project with the feature `desk`, and twenty cases of each of three categories unless it is told otherwise."""
    folder = root / "features" / "desk"
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    (root / "mainstay.toml").write_text(SETTINGS)
    (root / "skilled_model.py").write_text(MODEL)
    (folder / "feature.toml").write_text(feature)
    (folder / "prompt.md").write_text(prompt(*skills))
    counted = {"a": 20, "b": 20, "c": 20} if categories is None else categories
    lines = [case(category, number) for category, count in counted.items() for number in range(count)]
    (folder / "cases" / "golden.jsonl").write_text("\n".join([*lines, *cases]) + "\n")
    return root


def learn(root: Path, *skills: str) -> None:
    """Change the prompt of the working folder."""
    (root / "features" / "desk" / "prompt.md").write_text(prompt(*skills))


def working(root: Path) -> mainstay.Mainstay:
    """The folder, opened by whoever develops it."""
    return mainstay.open(root, environ={}, dev=True)


def production(root: Path) -> mainstay.Mainstay:
    """What is released, as a server would open it."""
    return mainstay.open(root, environ={})


async def idle(app: mainstay.Mainstay) -> None:
    """Wait until all that follows the answers of a trial is done."""
    async with asyncio.timeout(60):
        while app.trials.behind.busy:
            await asyncio.sleep(0.01)
