"""The router on public questions of which it is known which of two models answers them: Mixtral 8x7B and GPT-4 (RouteLLM's sets).

- In domain: learned from a set of FIT, asked of the same set of DATA; where both are one folder, in five parts by prompt. MMLU
  three times: its subjects are the categories of the cases; there are none; each question comes with its subject, as a request
  does that has a field for it.
- Transfer: learned from one set of FIT, asked of the other of DATA.
- The promise: routers with a card of some hundred cases each; what is lost where the card lets calls start lower.

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
from typing import Any, Literal

from bench.quality.table import Row, apart, learned, read, share
from mainstay.core.router import Choice, RouterFile, margin_for
from mainstay.learn.router import Seen, TooFew, apgr, learn, without_card
from mainstay.serve.router import Router, choose

Subject = Literal["category", "unknown", "field"]  # of the cases, not known at all, or a field of the request
SETS = ("mmlu", "gsm8k")
PUBLISHED = {("mmlu", "APGR"): 0.603, ("gsm8k", "APGR"): 0.622}
CALLS = {("mmlu", "CPT50"): 0.354, ("mmlu", "CPT80"): 0.703, ("gsm8k", "CPT50"): 0.336, ("gsm8k", "CPT80"): 0.633}
BAR = {"mmlu": 0.696, "gsm8k": 0.620}  # measured on the other half of the sets
CHOICES = (Choice(name="strong", kind="model", models=("gpt-4-1106",)), Choice(name="weak", kind="model", models=("mixtral",)))
NAMES = ("prompt", "subject")
DRAWS = 100
PROJECT, PROJECTS, ASKED = 500, 10, 700  # cases of a project, how many projects, and questions to each
GIVEN_UP = (0.01, 0.02, 0.05)


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """The questions of one set."""
    return read(folder / "router" / f"{name}.jsonl.gz")


def seen(row: Mapping[str, Any], subject: Subject = "category") -> Seen:
    """A question as the router learns from it."""
    return Seen(
        values=asked(row, subject),
        category=row.get("domain", "") if subject == "category" else "",
        passed=(float(row["strong_ok"]), float(row["weak_ok"])),
        cost=(10.0, 1.0),
        took=(0.0, 0.0),
    )


def asked(row: Mapping[str, Any], subject: Subject) -> dict[str, str]:
    """The input of the request."""
    return {"prompt": row["prompt"], **({"subject": row["domain"]} if subject == "field" else {})}


def trained(rows: Sequence[Mapping[str, Any]], subject: Subject = "category") -> RouterFile:
    """A router of these questions."""
    return without_card([seen(row, subject) for row in rows], CHOICES, names=NAMES)


def gains(file: RouterFile, rows: Sequence[Mapping[str, Any]], subject: Subject = "category") -> list[float]:
    """By how much the strong model is expected to pass more often, as the product computes it."""
    router, inputs = Router(file, names=NAMES, give_up=0.0, check=0.0), [asked(row, subject) for row in rows]
    began = time.process_time()
    told = [router.losses(values)[1] for values in inputs]
    print(f"{len(rows)} questions asked, {(time.process_time() - began) / max(1, len(rows)) * 1e6:.0f} us each")
    return told


def in_domain(fit: Path, data: Path, name: str, subject: Subject = "category") -> tuple[list[float], list[dict[str, Any]]]:
    """What routers say that had not seen a question."""
    scores: list[float] = []
    tested: list[dict[str, Any]] = []
    for training, test in parts(fit, data, name):
        scores += gains(trained(training, subject), test, subject)
        tested += test
    return scores, tested


def parts(fit: Path, data: Path, name: str) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """What to learn from and what to count on."""
    same = fit.resolve() == data.resolve()
    return learned(rows_of(fit, name), rows_of(data, name), same=same, group=lambda row: row["prompt"])


def kept(fit: Path, data: Path, name: str) -> Iterator[Row]:
    """Whether no more is lost than was given up, and what that lets start lower: by routers of `PROJECT` cases, or of half of all
    where there are fewer.
    """
    lost: dict[float, list[list[float]]] = defaultdict(list)
    lower: dict[float, list[bool]] = defaultdict(list)
    pairs = list(parts(fit, data, name))
    each = PROJECTS // len(pairs)
    for training, test in pairs:
        for i in range(each):
            few = random.Random(i).sample(training, min(PROJECT, len(training) // 2))
            file = learn([seen(row, "unknown") for row in few], CHOICES, names=NAMES, feature="", date="")
            if isinstance(file, TooFew):
                print(f"{name}: {file.missing}")
                continue
            router = Router(file, names=NAMES, give_up=0.0, check=0.0)
            some = random.Random(i).sample(test, min(ASKED, len(test)))  # the rows are sorted by subject
            told = [router.losses(asked(row, "unknown")) for row in some]
            for give_up in GIVEN_UP:
                margin = margin_for(file.card.curve, give_up)
                starts = [0 if margin is None else choose(one, file.alone, margin, (0, 1)) for one in told]
                lower[give_up] += [start > 0 for start in starts]
                lost[give_up].append(
                    [start * (row["strong_ok"] - row["weak_ok"]) for row, start in zip(some, starts, strict=True)]
                )
    for give_up in GIVEN_UP:
        means, n = [share(one) for one in lost[give_up]], sum(map(len, lost[give_up]))
        each_lost = ", ".join(f"{mean:.3f}" for mean in means)
        print(f"{name}, give_up {give_up:g}: lost by each router, learned from {len(few)} cases: {each_lost}")
        yield Row(set=name, metric=f"lost at give_up {give_up:g}", published=None, ours=share(means), n=n)
        yield Row(set=name, metric=f"start lower at give_up {give_up:g}", published=None, ours=share(lower[give_up]), n=n)


def by_domain(fit: Path, data: Path, name: str) -> tuple[list[float], list[dict[str, Any]]]:
    """The bar of the README: what the strong model gains in a question's subject, which is known beforehand."""
    scores: list[float] = []
    tested: list[dict[str, Any]] = []
    for training, test in parts(fit, data, name):
        own: dict[str, list[float]] = defaultdict(list)
        for row in training:
            own[row["domain"]].append(row["strong_ok"] - row["weak_ok"])
        mean = sum(map(sum, own.values())) / len(training)
        scores += [(sum(own[row["domain"]]) + 10 * mean) / (len(own[row["domain"]]) + 10) for row in test]
        tested += test
    return scores, tested


def figures(scores: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """APGR, CPT50 and CPT80."""
    return apgr(scores, [float(row["weak_ok"]) for row in rows], [float(row["strong_ok"]) for row in rows])


def interval(scores: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Between which values the APGR lies (95 %), by drawing as many questions again and again."""
    chance, n = random.Random(1), len(rows)
    found = []
    for _ in range(DRAWS):
        drawn = chance.choices(range(n), k=n)
        area = figures([scores[i] for i in drawn], [rows[i] for i in drawn])[0]
        found += [] if math.isnan(area) else [area]
    found.sort()
    return (found[int(0.025 * len(found))], found[int(0.975 * len(found))]) if found else (math.nan, math.nan)


def told(name: str, what: str, scores: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """The rows of one router on one set."""
    area, half, most = figures(scores, rows)
    low, high = interval(scores, rows)
    print(f"{name}, {what}: APGR {area:.3f} ({low:.3f} to {high:.3f}), CPT50 {half:.3f}, CPT80 {most:.3f}, {len(rows)} questions")
    yield Row(set=name, metric=f"APGR, {what}", published=PUBLISHED[name, "APGR"], ours=area, n=len(rows))
    for metric, value in (("CPT50", half), ("CPT80", most)):
        published = CALLS[name, metric]
        yield Row(set=name, metric=f"{metric}, {what}", published=published, ours=value, n=len(rows))


def rows(fit: Path, data: Path) -> Iterator[Row]:
    """The figures of both sets, in domain and from one to the other."""
    yield from apart(
        *[_own(fit, data, name) for name in SETS],
        *[_other(fit, data, one, other) for one, other in (SETS, SETS[::-1])],
        *[kept(fit, data, name) for name in SETS],
    )


def _own(fit: Path, data: Path, name: str) -> Iterator[Row]:
    yield from told(name, f"learned in domain (bar {BAR[name]:.3f})", *in_domain(fit, data, name))
    rows = rows_of(data, name)
    area = figures([float(len(row["prompt"])) for row in rows], rows)[0]
    yield Row(set=name, metric="APGR, length alone", published=None, ours=area, n=len(rows))
    if name == "mmlu":
        yield from told(name, "learned in domain without categories (bar 0.696)", *in_domain(fit, data, name, "unknown"))
        yield from told(name, "learned in domain, the subject in the request (bar 0.695)", *in_domain(fit, data, name, "field"))
        scores, rows = by_domain(fit, data, name)
        area, (low, high) = figures(scores, rows)[0], interval(scores, rows)
        print(f"{name}, subject known beforehand and nothing else: APGR {area:.3f} ({low:.3f} to {high:.3f})")
        yield Row(set=name, metric="APGR, subject known beforehand", published=None, ours=area, n=len(rows))


def _other(fit: Path, data: Path, one: str, other: str) -> Iterator[Row]:
    rows = rows_of(data, other)
    yield from told(other, f"learned from {one}", gains(trained(rows_of(fit, one)), rows), rows)
