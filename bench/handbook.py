"""Does the handbook find the right section, and refuse what it cannot know?

Asks the bundled feature `handbook` without any key, so that its `search` rung answers: questions about Mainstay, each with the
sections that answer it (one of them, or an entry of a page of questions that leads to it, has to be among the first three
citations), and questions about anything else, which have to be refused with `no_evidence`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import mainstay
from mainstay.doors.cli.serve import demo_project
from mainstay.parts.parsing.markdown import sections

_LINK = re.compile(r"\]\(([^)]+#[^)]+)\)")
QUESTIONS = Path(__file__).parent / "questions"
FIRST = 3


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


async def ask(app: mainstay.Mainstay, question: str) -> mainstay.Answer:
    return await app.run("handbook", question=question, tenant="bench")


def section_of(citation: mainstay.Citation) -> str:
    return citation.passage.partition("~")[0]


def leading_to(docs: Path) -> dict[str, set[str]]:
    """For each section, the entries of pages of questions that link to it."""
    entries: dict[str, set[str]] = {}
    for page in docs.glob("questions-*.md"):
        for section in sections(page.read_text(encoding="utf-8")):
            for link in _LINK.findall(section.text):
                entries.setdefault(link, set()).add(f"{page.name}#{section.anchor}")
    return entries


async def answered(app: mainstay.Mainstay, known: list[dict[str, Any]]) -> tuple[int, int]:
    """For how many the right section was found, and for how many it came first; those that were missed are printed."""
    found = first = 0
    leading = leading_to(demo_project() / "docs")
    for row in known:
        answer = await ask(app, row["question"])
        cited = [section_of(c) for c in answer.citations[:FIRST]]
        right = set(row["sections"]).union(*(leading.get(section, ()) for section in row["sections"]))
        hit = any(section in right for section in cited)
        found, first = found + hit, first + (cited[:1] != [] and cited[0] in right)
        if not hit:
            print(f"  missed: {row['question']}")
            print(f"     wanted {', '.join(row['sections'])}; got {', '.join(cited) or answer.reason}")
    return found, first


async def refused(app: mainstay.Mainstay, unknown: list[dict[str, Any]]) -> int:
    """How many were refused for want of evidence; the others are printed."""
    right = 0
    for row in unknown:
        answer = await ask(app, row["question"])
        if (answer.status, answer.reason) == ("refused", "no_evidence"):
            right += 1
        else:
            print(f"  not refused: {row['question']}\n     got {', '.join(section_of(c) for c in answer.citations)}")
    return right


async def measure(app: mainstay.Mainstay, questions: Path, title: str) -> bool:
    """Ask one set of both kinds; whether four of five were right of each."""
    print(f"\n{title}\n")
    known, unknown = read(questions / "handbook.jsonl"), read(questions / "elsewhere.jsonl")
    found, first = await answered(app, known)
    rightly = await refused(app, unknown)
    share = f"{found} of {len(known)} ({found / len(known):.0%})"
    print(f"\nhandbook: right section in the top {FIRST} for {share}, first for {first}")
    print(f"elsewhere: refused with no_evidence {rightly} of {len(unknown)} ({rightly / len(unknown):.0%})")
    return found >= 0.8 * len(known) and rightly >= 0.8 * len(unknown)


async def both(folder: str) -> bool:
    async with mainstay.open(demo_project(), environ={}, dev=True, state=folder) as app:
        fresh = await measure(
            app, QUESTIONS / "unseen", "Written apart from the pages of questions, and never read while they were written"
        )
        return await measure(app, QUESTIONS, "Looked at while the search was made") and fresh


def main() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(both(folder))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
