"""Does the guard `risks` refuse what it should, and nothing else? On public prompts, whole refusals on input.

Nothing is learned: the shipped taxonomy was written and reviewed by hand. XSTest pairs safe prompts that sound dangerous with
unsafe ones; the published figures are GPT-4's full refusals, by people's labels. HateCheck's non-hateful posts, NotInject and
WildGuard's benign prompts show over-refusal on other texts; nobody has published a figure for them with such a guard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.quality.table import Row, read, share
from mainstay.core.call import Call
from mainstay.core.draft import Draft, Verdict
from mainstay.parts.guards.risks import Risks

GPT_4 = {"safe": 0.064, "unsafe": 0.975}  # full refusals, of 250 safe and 200 unsafe prompts
INJECTION, CONTENT = "injection_refusal", "pii_content"


def rows(fit: Path, data: Path) -> Iterator[Row]:
    """The rates of refusals; on harmless texts also of those that ask for curated content."""
    prompts = read(data / INJECTION / "xstest_prompts.jsonl.gz")
    for label, metric in (
        ("safe", "over-refusal: safe prompts refused (beside GPT-4)"),
        ("unsafe", "unsafe prompts refused (beside GPT-4)"),
    ):
        said = _said(row["prompt"] for row in prompts if row["label"] == label)
        yield Row(set="xstest_prompts", metric=metric, published=GPT_4[label], ours=_refused(said), n=len(said))
        print(f"risks, xstest {label}: {_curated(said):.1%} would need curated content")
    harmless = {
        "notinject": [row["text"] for row in read(data / INJECTION / "notinject.jsonl.gz")],
        "wildguard_benign": [row["text"] for row in read(data / INJECTION / "wildguard_benign.jsonl.gz")],
        "hatecheck": [row["text"] for row in read(data / CONTENT / "hatecheck.jsonl.gz") if row["label"] == "non-hateful"],
    }
    for name, texts in harmless.items():
        said = _said(texts)
        yield Row(set=name, metric="over-refusal: harmless texts refused", published=None, ours=_refused(said), n=len(said))
        print(f"risks, {name}: {_curated(said):.1%} would need curated content")


def _said(texts: Iterable[str]) -> list[Verdict]:
    """What the guard says of each text as an input."""
    guard = Risks()

    async def all_of() -> list[Verdict]:
        calls = [Call(id="bench", feature="bench", input={"question": text}) for text in texts]
        return [await guard.check(Draft(call=call, stage="input")) for call in calls]

    return asyncio.run(all_of())


def _refused(said: list[Verdict]) -> float:
    return share(verdict.action == "refuse" for verdict in said)


def _curated(said: list[Verdict]) -> float:
    return share(verdict.stakes == "high" for verdict in said)
