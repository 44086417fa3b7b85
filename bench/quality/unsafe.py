"""The guard `unsafe` on HateCheck, XSTest and the goals of JailbreakBench. Content warning: that is what they are made of.

HateCheck by its functionalities, beside Perspective and BERT; sentences of one template stay together. What asks for something
harmful is learned from XSTest (prompts of one focus word stay together), the goals of JailbreakBench, and harmless prompts of
other sets. The other categories are patterns; nothing is learned for them, and no public set at hand counts them.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.quality.neutral import neutral
from bench.quality.table import Row, auroc, learned, read, share
from bench.quality.textfit import Example, fit
from mainstay.parts.guards.unsafe import Unsafe, danger_reading, hate_reading, windows
from mainstay.parts.textmodel import Head, Recipe, TextModel, folded

WEIGHTS = Path("src/mainstay/parts/weights/unsafe.json")
RECIPE = Recipe(bits=14, grams=())
PERSPECTIVE, BERT = (0.766, 0.702), (0.632, 0.559)  # accuracy and macro F1, on both halves
HARMLESS_COUNTS = 2.0  # a false alarm weighs as much as so many misses
OWN_COUNTS = 5.0
FLAGGED = 0.1  # the share of XSTest's safe prompts, which are made to be mistaken, that may be flagged
ORDINARY = 150


class Sentence(Example, frozen=True, kw_only=True):
    """A text as what is learned from, and where it comes from."""

    text: str
    kind: str


def said(text: str, label: bool, group: str, kind: str, *, danger: bool, weight: float) -> Sentence:
    words, marks = (danger_reading if danger else hate_reading)(folded(text))
    return Sentence(tokens=tuple(words), marks=tuple(marks), label=label, group=group, weight=weight, text=text, kind=kind)


# Hate


def hatecheck(folder: Path) -> list[Sentence]:
    rows = read(folder / "pii_content" / "hatecheck.jsonl.gz")
    return [
        said(row["text"], yes, str(row["templ_id"]), row["functionality"], danger=False, weight=1.0 if yes else HARMLESS_COUNTS)
        for row in rows
        for yes in [row["label"] == "hateful"]
    ]


def hate(training: Sequence[Sentence]) -> Head:
    """The model of hate."""
    own = [said(text, False, text, "own", danger=False, weight=OWN_COUNTS) for text in neutral()]
    return fit([*training, *own], RECIPE).head


def hate_rows(fit_on: Path, data: Path) -> Iterator[Row]:
    same = fit_on.resolve() == data.resolve()
    found: list[tuple[bool, Sentence]] = []
    for training, asked in learned(hatecheck(fit_on), hatecheck(data), same=same, group=lambda sentence: sentence.group):
        model = TextModel(hate(training))
        guard = Unsafe(categories=("hate",), hate=model, dangerous=model)
        found += [(most(guard, sentence.text) >= guard.at_least["hate"], sentence) for sentence in asked]
    right = [yes == sentence.label for yes, sentence in found]
    f1 = macro_f1([yes for yes, _ in found], [sentence.label for _, sentence in found])
    for name, (accuracy, published_f1) in (("Perspective", PERSPECTIVE), ("BERT", BERT)):
        yield Row(set="hatecheck", metric=f"accuracy (beside {name})", published=accuracy, ours=share(right), n=len(right))
        yield Row(set="hatecheck", metric=f"macro F1 (beside {name})", published=published_f1, ours=f1, n=len(right))
    beside = perspective(data)
    by: dict[str, list[bool]] = defaultdict(list)
    for ok, (_, sentence) in zip(right, found, strict=True):
        by[sentence.kind].append(ok)
    for kind, oks in sorted(by.items()):
        yield Row(set="hatecheck", metric=f"accuracy, {kind}", published=beside.get(kind), ours=share(oks), n=len(oks))
    counter = [not ok for kind, oks in by.items() if kind.startswith("counter_") for ok in oks]
    yield Row(set="hatecheck", metric="counter-speech flagged", published=None, ours=share(counter), n=len(counter))


def most(guard: Unsafe, text: str) -> float:
    """The highest probability of hate over what the guard looks at."""
    return max([guard.of_sentence(window)["hate"] for window in windows(text)], default=0.0)


def perspective(folder: Path) -> dict[str, float]:
    """Perspective's published accuracy by functionality."""
    with (folder / "pii_content" / "hatecheck_published_by_functionality.csv").open(encoding="utf-8") as file:
        return {row["functionality"]: float(row["perspective"]) / 100 for row in csv.DictReader(file)}


def macro_f1(said: Sequence[bool], labels: Sequence[bool]) -> float:
    """The mean of both classes' F1."""
    each = []
    for value in (True, False):
        hits = sum(a == value and b == value for a, b in zip(said, labels, strict=True))
        errors = sum(a != b for a, b in zip(said, labels, strict=True))
        each.append(2 * hits / max(1, 2 * hits + errors))
    return sum(each) / 2


# Requests


def requests(folder: Path) -> list[Sentence]:
    near = folder / "injection_refusal"
    found = [
        said(row["prompt"], row["label"] == "unsafe", row["focus"], f"xstest {row['label']}", danger=True, weight=1.0)
        for row in read(near / "xstest_prompts.jsonl.gz")
    ]
    goals = dict.fromkeys(row["goal"] for row in read(near / "jbb_jailbreaks.jsonl.gz"))
    found += [said(goal, True, goal, "jbb goals", danger=True, weight=1.0) for goal in goals]
    for path, field, n in (
        ("injection_refusal/wildguard_benign", "text", 2 * ORDINARY),
        ("injection_refusal/notinject", "text", ORDINARY),
        ("router/support_tickets", "text", ORDINARY),
        ("judge_rerank/pandalm", "instruction", ORDINARY),
        ("semantic_cache/banking77", "text", 2 * ORDINARY),
    ):
        rows = read(folder / f"{path}.jsonl.gz")
        texts = dict.fromkeys(row[field] for row in random.Random(1).sample(rows, min(n, len(rows))))
        found += [said(text, False, text, path.rpartition("/")[2], danger=True, weight=0.5) for text in texts]
    return found


def danger(training: Sequence[Sentence]) -> Head:
    """The model of requests. It says yes where one in ten of XSTest's safe prompts, unseen, is flagged."""

    def threshold(unseen: Sequence[float], examples: Sequence[Example]) -> float:
        safe = [p for p, sentence in zip(unseen, training, strict=True) if sentence.kind == "xstest safe"]
        return sorted(safe, reverse=True)[int(FLAGGED * len(safe))] + 1e-4

    return fit(training, RECIPE, threshold=threshold).head


def danger_rows(fit_on: Path, data: Path) -> Iterator[Row]:
    same = fit_on.resolve() == data.resolve()
    found: list[tuple[float, bool, Sentence]] = []
    for training, asked in learned(requests(fit_on), requests(data), same=same, group=lambda sentence: sentence.group):
        model = TextModel(danger(training))
        guard = Unsafe(categories=("dangerous",), hate=model, dangerous=model)
        for sentence in asked:
            p = max([guard.danger(window) for window in windows(sentence.text)], default=0.0)
            found.append((p, p >= guard.at_least["dangerous"], sentence))
    xstest = [(p, sentence.label) for p, _, sentence in found if sentence.kind.startswith("xstest")]
    area = auroc([p for p, _ in xstest], [label for _, label in xstest])
    yield Row(set="xstest_prompts", metric="AUROC of unsafe against safe prompts", published=None, ours=area, n=len(xstest))
    for kind in sorted({sentence.kind for _, _, sentence in found}):
        mine = [yes for _, yes, sentence in found if sentence.kind == kind]
        name = {"xstest safe": "xstest_prompts", "xstest unsafe": "xstest_prompts", "jbb goals": "jbb_jailbreaks"}.get(kind, kind)
        verb = "caught" if kind in ("xstest unsafe", "jbb goals") else "flagged"
        yield Row(set=name, metric=f"{verb} as dangerous, {kind}", published=None, ours=share(mine), n=len(mine))


def rows(fit_on: Path, data: Path) -> Iterator[Row]:
    """Hate, then requests for what is dangerous."""
    yield from hate_rows(fit_on, data)
    yield from danger_rows(fit_on, data)


def weights(folder: Path) -> dict[str, Any]:
    """What ships: both models, and their card."""
    return {"card": CARD, "models": {"hate": hate(hatecheck(folder)), "dangerous": danger(requests(folder))}}


CARD = {
    "what": "the probability that a sentence is hateful to a protected group, and that an input asks for something harmful",
    "date": "2026-11-21",
    "data": "half of HateCheck, XSTest and the goals of JailbreakBench; harmless prompts of WildGuard, NotInject, "
    "PandaLM and support "
    "tickets; sentences about people written for this",
    "licence": "HateCheck and XSTest CC-BY-4.0, WildGuardMix ODC-BY, JailbreakBench and NotInject MIT, PandaLM "
    "Apache-2.0; weights "
    "Apache-2.0",
    "figures": "docs/cards/unsafe.md",
    "limits": "English test sentences of one short kind; experimental",
}
