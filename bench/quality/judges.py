"""`python -m bench.quality.judges DATA`: calibrate judges of which people's labels and verdicts were released.

- PandaLM's test set has three people's labels and the released verdicts of gpt-3.5-turbo and PandaLM-7B, each in one order: those
  are calibrated, beside the accuracy that the data's README counts on the same rows.
- LLMBar and HH-RLHF (harmless) have labels and no released verdicts. In their place stands the judge that is nothing but a length
  bias, "the longer answer wins": it shows how much of each set length alone explains, and what a correction makes of that.
  Those figures are nobody's model and are marked unverified.

Published figures are those of DATA/judge_rerank/README.md. Of PandaLM it gives the accuracy on the whole set and on the half that
is kept away, from which that on the half at hand follows; of the others it counts the whole sets, of which about half is at hand.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mainstay.doors.cli.calibrating import show
from mainstay.learn.judging import Calibration, Row, Verdict, calibration

PANDALM: dict[int, Verdict | None] = {0: "tie", 1: "first", 2: "second", -1: None}
ROUNDED = 0.0025  # what figures with one decimal, from which another is worked out, leave open
LONGER = "the longer one wins"


class Published(NamedTuple):
    """A figure that somebody else has published."""

    accuracy: float
    where: str


WHOLE, KEPT = 999, 498  # rows of PandaLM's set, and of its half that is kept away
PANDALM_PUBLISHED = {"gpt35_pred": (0.698, 0.709), "pandalm7b_pred": (0.668, 0.653)}  # 3-way against the majority, on both
PEOPLE = (0.85, 0.88)  # kappa between two of PandaLM's people, as published
LLMBAR_LONGER = {  # "longer answer wins (measured)": on the whole sets, of which the rows at hand are about half
    "Natural": 0.560,
    "Neighbor": 0.119,
    "GPTInst": 0.130,
    "GPTOut": 0.447,
    "Manual": 0.174,
    "FairEval": 0.591,
    "LLMEval2": 0.610,
    "MTBench": 0.695,
}
HH_LONGER = Published(0.443, "README")


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def pandalm(rows: Sequence[dict[str, Any]], judge: str) -> list[Row]:
    """PandaLM's rows with the released verdicts of one judge. Garbage is no verdict."""
    return [
        Row(
            id=row["id"],
            category=row["pair"],
            human=tuple(label for n in row["annotators"] if (label := PANDALM[n]) is not None),
            judge=PANDALM[row[judge]],
            first=row["response1"],
            second=row["response2"],
        )
        for row in rows
    ]


def longer(first: str, second: str) -> Verdict:
    return "tie" if len(first) == len(second) else "first" if len(first) > len(second) else "second"


def llmbar(rows: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for row in rows:
        first, second = row["output_1"], row["output_2"]
        label: Verdict = "first" if row["label"] == 1 else "second"
        yield Row(id=row["id"], category=row["subset"], human=label, judge=longer(first, second), first=first, second=second)


def harmless(rows: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """The last turns of both dialogues, in an order that says nothing."""
    for row in rows:
        good, bad = [row[side].rpartition("\n\nAssistant:")[2].strip() for side in ("chosen", "rejected")]
        ahead = hashlib.sha256(row["id"].encode()).digest()[0] % 2 == 0
        first, second = (good, bad) if ahead else (bad, good)
        label: Verdict = "first" if ahead else "second"
        yield Row(id=row["id"], human=label, judge=longer(first, second), first=first, second=second)


def beside(ours: float, published: Published) -> str:
    word = "the same" if abs(ours - published.accuracy) < ROUNDED else "better" if ours > published.accuracy else "worse"
    return f"{ours:.1%} beside {published.accuracy:.1%} published ({published.where}): {word}"


def section(title: str, found: Calibration, then: Callable[[Calibration], None] = lambda found: None) -> None:
    print(f"\n== {title}")
    show(found)
    then(found)


def main(arguments: Sequence[str]) -> int:
    """0 when everything was calibrated, 2 where there is no data."""
    folder = Path(arguments[0] if arguments else "../shared/data") / "judge_rerank"
    try:
        panda, bar, hh = [read(folder / f"{name}.jsonl.gz") for name in ("pandalm", "llmbar", "hh_harmless")]
    except OSError as error:
        print(
            f"there is nothing to calibrate: {error}\n  next: make bench-quality DATA=the folder with judge_rerank/",
            file=sys.stderr,
        )
        return 2
    for judge, (whole, kept) in PANDALM_PUBLISHED.items():
        published = Published(
            (whole * WHOLE - kept * KEPT) / (WHOLE - KEPT), f"{whole:.1%} on both halves, {kept:.1%} on the other"
        )
        found = calibration(pandalm(panda, judge), judge=judge, verified=True)
        section(f"PandaLM's test set, released verdicts of {judge}", found)
        print(f"Before: {beside(found.overall.agreement.value, published)}.")
        print(f"After:  {beside(found.corrected.agreement.value, published)}." if found.corrected else "")
        print(f"People: kappa {found.people:.2f} between two of them, {PEOPLE[0]} to {PEOPLE[1]} published.")
    rows = list(llmbar(bar))
    section(f"LLMBar, {LONGER}", calibration(rows, judge=LONGER))
    for name, share in LLMBAR_LONGER.items():
        found = calibration([row for row in rows if row.category == name], judge=LONGER)
        where = Published(share, "README, whole set")
        after = "" if found.corrected is None else f"; corrected {found.corrected.agreement.value:.1%}"
        print(f"  {name}, {found.n} rows: {beside(found.overall.agreement.value, where)}{after}")
    found = calibration(list(harmless(hh)), judge=LONGER)
    section(f"HH-RLHF harmless, {LONGER}", found)
    print(beside(found.overall.agreement.value, HH_LONGER) + ".")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
