"""`python -m bench.quality.citations DATA`: does the scorer `citations` tell supported sentences from others?

The claims of WiCE, each cited to the evidence that people chose for it (any of their choices may support it), and the responses
of dialogue systems in Q², cited to the knowledge that they were given. What is printed is how many of each label pass. All rows
are English and none was used to fit anything: the method has one threshold, which is one half.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.quality.table import read
from mainstay.core.answer import Answer, Citation
from mainstay.core.call import Call
from mainstay.core.case import Case
from mainstay.core.evidence import Passage
from mainstay.core.reasons import Status
from mainstay.core.record import Begun, Outcome, Record
from mainstay.core.seams import Subject
from mainstay.parts.scorers.citations import Citations


async def nobody(feature: str, input: Mapping[str, Any]) -> Answer:
    raise AssertionError("nobody has to be asked")


async def nothing(citation: Citation) -> None:
    return None


async def passes(sentence: str, document: str, evidence: str) -> bool:
    """Whether the scorer accepts the sentence as an answer that cites this evidence."""
    passage = Passage(id="p", source="s", document=document, text=evidence)
    cited = (Citation.of(passage, start=0, end=len(sentence)),)
    answer = Answer(id="r", feature="f", release="d", status=Status.ANSWERED, text=sentence, citations=cited)
    record = Record(
        begun=Begun(id="r", at=0.0, release="d", call=Call(id="r", feature="f")),
        outcome=Outcome(id="r", answer=answer, took_us=0),
    )
    case = Case(input={}, passages=(passage,), language="en")
    opinion = await Citations().score(Subject(record=record, case=case, expected=True, look_up=nothing, ask=nobody))
    return opinion is not None and bool(opinion.passed)


def claims(folder: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    """The set and label of each sentence, the sentence, and the pieces of evidence of which any may support it."""
    for row in read(folder / "wice_claims_oracle.jsonl.gz"):
        yield f"WiCE, {row['label']}", "", row["claim"], [" ".join(chunk) for chunk in row["evidence_chunks"]]
    for row in read(folder / "q2_dialogue.jsonl.gz"):
        label = "consistent" if row["consistent"] else "inconsistent"
        yield f"Q2, {label}", row.get("topic", ""), row["response"], [row["knowledge"]]


async def count(folder: Path) -> tuple[Counter[str], Counter[str]]:
    passed: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for label, document, sentence, evidence in claims(folder):
        rows[label] += 1
        passed[label] += any([await passes(sentence, document, piece) for piece in evidence])
    return passed, rows


def main(arguments: list[str]) -> int:
    """0 when everything was counted, 2 where there is no data."""
    folder = Path(arguments[0] if arguments else "../shared/data") / "grounding"
    try:
        passed, rows = asyncio.run(count(folder))
    except OSError as error:
        print(f"there is nothing to score: {error}\n  next: make bench-quality DATA=the folder with grounding/", file=sys.stderr)
        return 2
    for label, n in rows.items():
        print(f"citations, {label}: {passed[label]} of {n} pass ({passed[label] / n:.0%})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
