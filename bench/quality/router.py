"""The router on public questions of which it is known which of two models answers them: Mixtral 8x7B and GPT-4 (RouteLLM's sets).

- In domain: learned from a set of FIT, asked of the same set of DATA; where both are one folder, in five parts by prompt.
- Transfer: learned from one set of FIT, asked of the other of DATA.

APGR is the area under the share of the gain that is had over the share of strong calls, CPT50 and CPT80 the shares of strong
calls for 50 % and 80 % of the gain. What is published is RouteLLM's; DATA/router/README.md measured a higher bar, which stands in
the metric's name: subjects known beforehand, or TF-IDF with a logistic. MT-bench's few questions are not counted.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.quality.table import Row, apart, learned, read
from mainstay.core.router import Choice, RouterFile
from mainstay.learn.router import Seen, apgr, without_card
from mainstay.serve.router import Router

SETS = ("mmlu", "gsm8k")
PUBLISHED = {("mmlu", "APGR"): 0.603, ("gsm8k", "APGR"): 0.622}
CALLS = {("mmlu", "CPT50"): 0.354, ("mmlu", "CPT80"): 0.703, ("gsm8k", "CPT50"): 0.336, ("gsm8k", "CPT80"): 0.633}
BAR = {"mmlu": 0.696, "gsm8k": 0.620}  # measured on the other half of the sets
CHOICES = (Choice(name="strong", kind="model", models=("gpt-4-1106",)), Choice(name="weak", kind="model", models=("mixtral",)))
DRAWS = 200


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """The questions of one set."""
    return read(folder / "router" / f"{name}.jsonl.gz")


def seen(row: Mapping[str, Any]) -> Seen:
    """A question as the router learns from it."""
    passed = (float(row["strong_ok"]), float(row["weak_ok"]))
    return Seen(text=row["prompt"], category=row.get("domain", ""), passed=passed, cost=(10.0, 1.0), took=(0.0, 0.0))


def gains(file: RouterFile, asked: Sequence[Mapping[str, Any]]) -> list[float]:
    """By how much the strong model is expected to pass more often, as the product computes it."""
    router = Router(file, names=("prompt",), give_up=0.0, check=0.0)
    began = time.process_time()
    told = [router.losses(row)[1] for row in asked]
    print(f"{len(asked)} questions asked, {(time.process_time() - began) / max(1, len(asked)) * 1e6:.0f} us each")
    return told


def in_domain(fit: Path, data: Path, name: str) -> tuple[list[float], list[dict[str, Any]]]:
    """What routers say that had not seen a question."""
    scores: list[float] = []
    asked: list[dict[str, Any]] = []
    for training, test in learned(
        rows_of(fit, name), rows_of(data, name), same=fit.resolve() == data.resolve(), group=lambda row: row["prompt"]
    ):
        scores += gains(without_card([seen(row) for row in training], CHOICES), test)
        asked += test
    return scores, asked


def by_domain(fit: Path, data: Path, name: str) -> tuple[list[float], list[dict[str, Any]]]:
    """The bar of the README: what the strong model gains in a question's subject, which is known beforehand."""
    scores: list[float] = []
    asked: list[dict[str, Any]] = []
    for training, test in learned(
        rows_of(fit, name), rows_of(data, name), same=fit.resolve() == data.resolve(), group=lambda row: row["prompt"]
    ):
        own: dict[str, list[float]] = defaultdict(list)
        for row in training:
            own[row["domain"]].append(row["strong_ok"] - row["weak_ok"])
        mean = sum(map(sum, own.values())) / len(training)
        scores += [(sum(own[row["domain"]]) + 10 * mean) / (len(own[row["domain"]]) + 10) for row in test]
        asked += test
    return scores, asked


def figures(scores: Sequence[float], asked: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """APGR, CPT50 and CPT80."""
    return apgr(scores, [float(row["weak_ok"]) for row in asked], [float(row["strong_ok"]) for row in asked])


def interval(scores: Sequence[float], asked: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Between which values the APGR lies (95 %), by drawing as many questions again and again."""
    chance, n = random.Random(1), len(asked)
    found = []
    for _ in range(DRAWS):
        drawn = [chance.randrange(n) for _ in range(n)]
        area = figures([scores[i] for i in drawn], [asked[i] for i in drawn])[0]
        found += [] if math.isnan(area) else [area]
    found.sort()
    return (found[int(0.025 * len(found))], found[int(0.975 * len(found))]) if found else (math.nan, math.nan)


def told(name: str, what: str, scores: Sequence[float], asked: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """The rows of one router on one set."""
    area, half, most = figures(scores, asked)
    low, high = interval(scores, asked)
    print(
        f"{name}, {what}: APGR {area:.3f} ({low:.3f} to {high:.3f}), CPT50 {half:.3f}, CPT80 {most:.3f}, {len(asked)} questions"
    )
    yield Row(set=name, metric=f"APGR, {what}", published=PUBLISHED[name, "APGR"], ours=area, n=len(asked))
    for metric, value in (("CPT50", half), ("CPT80", most)):
        published = CALLS[name, metric]
        yield Row(set=name, metric=f"{metric}, {what}", published=published, ours=value, n=len(asked))


def rows(fit: Path, data: Path) -> Iterator[Row]:
    """The figures of both sets, in domain and from one to the other."""
    yield from apart(
        *[_own(fit, data, name) for name in SETS], *[_other(fit, data, one, other) for one, other in (SETS, SETS[::-1])]
    )


def _own(fit: Path, data: Path, name: str) -> Iterator[Row]:
    yield from told(name, f"learned in domain (bar {BAR[name]:.3f})", *in_domain(fit, data, name))
    asked = rows_of(data, name)
    for what, scores in (("length alone", [float(len(row["prompt"])) for row in asked]),):
        print(f"{name}, {what}: APGR {figures(scores, asked)[0]:.3f}")
        yield Row(set=name, metric=f"APGR, {what}", published=None, ours=figures(scores, asked)[0], n=len(asked))
    if name == "mmlu":
        scores, asked = by_domain(fit, data, name)
        print(f"{name}, subject known beforehand: APGR {figures(scores, asked)[0]:.3f}, {interval(scores, asked)}")
        yield Row(set=name, metric="APGR, subject known beforehand", published=None, ours=figures(scores, asked)[0], n=len(asked))


def _other(fit: Path, data: Path, one: str, other: str) -> Iterator[Row]:
    file, asked = without_card([seen(row) for row in rows_of(fit, one)], CHOICES), rows_of(data, other)
    yield from told(other, f"learned from {one}", gains(file, asked), asked)
