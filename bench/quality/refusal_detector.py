"""Did the model refuse? The guard `refusal_detector` beside people's labels, string matching and GPT-4.

The completions of XSTest, labelled by people; all completions of one prompt, and of all prompts with one focus word, stay
together. Ordinary answers of other models (PandaLM) are counted too: nearly none of them is a refusal. Half of those are learned
from as answers that are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.quality.table import Row, learned, read, share
from bench.quality.textfit import Example, fit
from mainstay.parts.guards.refusal_detector import OPENING, RefusalDetector, reading
from mainstay.parts.textmodel import Head, Recipe, TextModel

WEIGHTS = Path("src/mainstay/parts/weights/refusals.json")
RECIPE = Recipe(bits=14, grams=())
SET, ORDINARY = "xstest_completions_refusal", "pandalm"
PUBLISHED = {"string match": (0.877, 0.869), "GPT-4": (0.818, 0.792)}  # accuracy, F1, on the other half


class Completion(Example, frozen=True, kw_only=True):
    """A completion, as what is learned from: its opening, and the text itself."""

    text: str
    ordinary: bool = False


def completions(folder: Path) -> list[Completion]:
    """XSTest's completions."""
    near = folder / "injection_refusal"
    focus = {row["prompt"]: row["focus"] for row in read(near / "xstest_prompts.jsonl.gz")}
    return [
        completion(row["completion"], not row["human_label"].startswith("1"), focus.get(row["prompt"], row["prompt"]))
        for row in read(near / f"{SET}.jsonl.gz")
    ]


def ordinary(folder: Path) -> list[Completion]:
    """Answers to ordinary instructions. One that begins by declining is left out: it is what its label denies."""
    rows = read(folder / "judge_rerank" / f"{ORDINARY}.jsonl.gz")
    texts = {row[side]: row["instruction"] for row in rows for side in ("response1", "response2") if row[side].strip()}
    found = [completion(text, False, group, ordinary=True) for text, group in texts.items()]
    return [example for example in found if "says no at once" not in example.marks]


def completion(text: str, refused: bool, group: str, *, ordinary: bool = False) -> Completion:
    words, marks = reading(text.strip()[:OPENING])
    weight = 0.3 if ordinary else 1.0
    return Completion(
        tokens=tuple(words), marks=tuple(marks), label=refused, group=group, weight=weight, text=text, ordinary=ordinary
    )


def rows(fit_on: Path, data: Path) -> Iterator[Row]:
    """Accuracy and F1 of any refusal, and how many ordinary answers are taken for one."""
    same = fit_on.resolve() == data.resolve()
    mine, theirs = [*completions(fit_on), *ordinary(fit_on)], [*completions(data), *ordinary(data)]
    said: list[tuple[bool, Completion]] = []
    for training, asked in learned(mine, theirs, same=same, group=lambda example: example.group):
        guard = RefusalDetector(model=TextModel(fit(training, RECIPE).head))
        said += [(guard.probability(example.text.strip()) >= guard.at_least, example) for example in asked]
    xstest = [(yes, example) for yes, example in said if not example.ordinary]
    accuracy, f1 = counted(xstest)
    n = len(xstest)
    for name, (published_accuracy, published_f1) in PUBLISHED.items():
        yield Row(set=SET, metric=f"refusal detector, accuracy (beside {name})", published=published_accuracy, ours=accuracy, n=n)
        yield Row(set=SET, metric=f"refusal detector, F1 of any refusal (beside {name})", published=published_f1, ours=f1, n=n)
    plain = [yes for yes, example in said if example.ordinary]
    yield Row(set=ORDINARY, metric="ordinary answers taken for refusals", published=None, ours=share(plain), n=len(plain))


def counted(said: Sequence[tuple[bool, Completion]]) -> tuple[float, float]:
    """Accuracy, and F1 of "refused"."""
    right = [yes == example.label for yes, example in said]
    hits = sum(yes and example.label for yes, example in said)
    return share(right), 2 * hits / max(1, 2 * hits + right.count(False))


def head(folder: Path) -> Head:
    return fit([*completions(folder), *ordinary(folder)], RECIPE).head


def weights(folder: Path) -> dict[str, Any]:
    """What ships: the model, and its card."""
    return {"card": CARD, "models": {"refused": head(folder)}}


CARD = {
    "what": "the probability that the opening of an answer declines to answer, in whole or in part",
    "date": "2026-11-21",
    "data": "XSTest v2 completions with labels of people (half of them), and PandaLM answers as ordinary ones",
    "licence": "XSTest CC-BY-4.0, completions under their model makers' terms; PandaLM Apache-2.0; weights Apache-2.0",
    "figures": "docs/cards/refusals.md",
    "limits": "English; short questions that invite a refusal; other languages are decided by phrases",
}
