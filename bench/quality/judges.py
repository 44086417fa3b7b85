"""Judges of which people's labels and verdicts were released, calibrated.

- PandaLM's test set has three people's labels and the released verdicts of gpt-3.5-turbo and PandaLM-7B, each in one order: those
  are calibrated, beside the accuracy that the data's README counts on the same rows.
- LLMBar and HH-RLHF (harmless) have labels and no released verdicts. In their place stands the judge that is nothing but a length
  bias, "the longer answer wins": it shows how much of each set length alone explains, and what a correction makes of that.
  Those figures are nobody's model and are marked unverified.

Published figures are those of DATA/judge_rerank/README.md, on the whole sets, of which about half is at hand.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.quality.table import Row, apart, learned, read, share
from mainstay.doors.cli.calibrating import show
from mainstay.learn.judging import VOTES, Calibration, Verdict, calibration
from mainstay.learn.judging import Row as Verdicts
from mainstay.learn.length_bias import Judgement, fit_prior

PANDALM: dict[int, Verdict | None] = {0: "tie", 1: "first", 2: "second", -1: None}
ROUNDED = 0.0025  # what figures with one decimal, from which another is worked out, leave open
LONGER = "the longer one wins"
FOLDER = "judge_rerank"
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
HH_LONGER = 0.443


def pandalm(rows: Sequence[dict[str, Any]], judge: str) -> list[Verdicts]:
    """PandaLM's rows with the released verdicts of one judge. Garbage is no verdict."""
    return [
        Verdicts(
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


def llmbar(rows: Sequence[dict[str, Any]]) -> Iterator[Verdicts]:
    for row in rows:
        first, second = row["output_1"], row["output_2"]
        label: Verdict = "first" if row["label"] == 1 else "second"
        yield Verdicts(id=row["id"], category=row["subset"], human=label, judge=longer(first, second), first=first, second=second)


def harmless(rows: Sequence[dict[str, Any]]) -> Iterator[Verdicts]:
    """The last turns of both dialogues, in an order that says nothing."""
    for row in rows:
        good, bad = [row[side].rpartition("\n\nAssistant:")[2].strip() for side in ("chosen", "rejected")]
        ahead = hashlib.sha256(row["id"].encode()).digest()[0] % 2 == 0
        first, second = (good, bad) if ahead else (bad, good)
        label: Verdict = "first" if ahead else "second"
        yield Verdicts(id=row["id"], human=label, judge=longer(first, second), first=first, second=second)


def section(title: str, found: Calibration) -> Calibration:
    """Print a calibration under its title."""
    print(f"\n== {title}")
    show(found)
    return found


def corrected(fit: Sequence[Verdicts], data: Sequence[Verdicts], *, same: bool) -> float:
    """The share of verdicts that agree with people, each corrected for length by a prior fitted on rows of other texts."""
    right: list[bool] = []
    for train, test in learned(fit, data, same=same, group=lambda row: row.category + row.first + row.second):
        prior = fit_prior([judgement for row in train if (judgement := _judgement(row)) is not None])
        for row in test:
            judgement = _judgement(row)
            right.append(judgement is not None and prior.corrected(judgement.vote, judgement.pull) == judgement.human)
    return share(right)


def _judgement(row: Verdicts) -> Judgement | None:
    """A row as figures; None where the judge gave no verdict."""
    label = row.label()
    if label is None or row.judge is None:
        return None
    first, second = (math.log2(max(1, n)) for n in row.characters())
    return Judgement(vote=VOTES[row.judge], human=VOTES[label], pull=first - second)


def rows(fit: Path, data: Path) -> Iterator[Row]:
    """The accuracy of released verdicts as they are and corrected for length, and of a judge that is length alone."""
    same = fit.resolve() == data.resolve()
    yield from apart(*[_released(judge, fit, data, same=same) for judge in PANDALM_PUBLISHED], _bar(data), _hh(data))


def _released(judge: str, fit: Path, data: Path, *, same: bool) -> Iterator[Row]:
    mine = pandalm(read(data / FOLDER / "pandalm.jsonl.gz"), judge)
    found = section(f"PandaLM's test set, released verdicts of {judge}", calibration(mine, judge=judge, verified=True))
    print("" if found.people is None else f"People: kappa {found.people:.2f} between two, {PEOPLE[0]} to {PEOPLE[1]} published.")
    name, ours = judge.removesuffix("_pred"), found.overall.agreement.value
    yield Row(set="pandalm", metric=f"accuracy, {name} as released", published=None, ours=ours, n=found.n)
    ours, published = (
        corrected(pandalm(read(fit / FOLDER / "pandalm.jsonl.gz"), judge), mine, same=same),
        PANDALM_PUBLISHED[judge][0],
    )
    yield Row(
        set="pandalm",
        metric=f"accuracy, {name} corrected for length (beside it as released, both halves)",
        published=published,
        ours=ours,
        n=found.n,
    )


def _bar(data: Path) -> Iterator[Row]:
    bar = list(llmbar(read(data / FOLDER / "llmbar.jsonl.gz")))
    ours = section(f"LLMBar, {LONGER}", calibration(bar, judge=LONGER)).overall.agreement.value
    for name, whole in LLMBAR_LONGER.items():
        own = [row.judge == row.human for row in bar if row.category == name]
        if own:
            print(f"{name}, {len(own)} rows: {sum(own) / len(own):.1%}, {whole:.1%} on the whole set.")
    yield Row(set="llmbar", metric=f"accuracy, {LONGER}", published=None, ours=ours, n=len(bar))


def _hh(data: Path) -> Iterator[Row]:
    hh = list(harmless(read(data / FOLDER / "hh_harmless.jsonl.gz")))
    ours = section(f"HH-RLHF harmless, {LONGER}", calibration(hh, judge=LONGER)).overall.agreement.value
    print(f"{HH_LONGER:.1%} on the other half.")
    yield Row(set="hh_harmless", metric=f"accuracy, {LONGER}", published=None, ours=ours, n=len(hh))
