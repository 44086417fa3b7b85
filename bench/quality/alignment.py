"""The classifier of factual alignment: fitted, and counted on claims with evidence (`parts/alignment.py`).

`python -m bench.quality.alignment FIT [DATA]` prints the rows; with `--write` it writes the weights that ship.

- WiCE: claims of Wikipedia beside pieces of the pages that they cite; partially supported is not supported. Titles of articles
  are groups. The pieces that several annotators chose are the passages of one evidence.
- Q2: what dialogue systems said beside the knowledge that they were given. The knowledge is the group.
- HaluEval QA is never learned from and no aim: the length of an answer alone tells its label.

Beside the claims, the claim regression learns from sentences that stand in the pages word for word, or without their last clause,
and from the same with a number, a name, a month or an opposite changed, denied, or with a stranger's clause: an answer of a product
is nearer to its page than a claim of Wikipedia is. They are never counted among WiCE's or Q2's rows.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bench.quality.table import Row, auroc, folds, learned, read
from mainstay.core.evidence import Evidence, Passage
from mainstay.parts.alignment import Alignment, Card, Regression, Weights, claim_features, slots_of, weigher, word_features
from mainstay.parts.matching import Compared, Ground, keys, words_of

WEIGHTS = Path(__file__).parents[2] / "src/mainstay/parts/weights/alignment.json"
SIZE = 8192  # places in each half of the table of common stems
RARE = 3  # texts in which a stem has to stand to be in the table
L2_WORD, L2_CLAIM = 3.0, 10.0
MADE = 2  # sentences of a page that are taken and changed
WEIGH = {"wice": 1.0, "q2": 0.5, "made": 0.1}
FALSE_ALARMS = 0.05
ORACLE, FULL, TOKENS, Q2, HALUEVAL = (
    f"{name}"
    for name in ("wice_claims_oracle", "wice_claims_fullarticle", "wice_nonsupported_tokens", "q2_dialogue", "halueval_qa500")
)
Array = np.ndarray[Any, np.dtype[np.float64]]


class Claim(NamedTuple):
    """A claim with its evidence and whether that bears it; `group` is never torn apart, `of` names the set, `kind` its part."""

    text: str
    passages: tuple[tuple[str, str], ...]
    borne: bool
    group: str
    of: str
    kind: str = ""


class Tokens(NamedTuple):
    """A claim whose words are marked as not borne, with their places."""

    text: str
    evidence: str
    marks: tuple[tuple[int, int, bool], ...]
    group: str


class Data(NamedTuple):
    """What there is to learn from, or to count."""

    claims: list[Claim]
    tokens: list[Tokens]
    pages: list[tuple[str, list[str]]]  # group, sentences

    def only(self, groups: Callable[[str], bool]) -> Data:
        return Data(
            [c for c in self.claims if groups(c.group)],
            [t for t in self.tokens if groups(t.group)],
            [p for p in self.pages if groups(p[0])],
        )


def load(folder: Path) -> Data:
    """The sets of one half."""
    at = folder / "grounding"
    claims = [
        Claim(
            row["claim"],
            tuple([("", "\n".join(chunk)) for chunk in row["evidence_chunks"]]),
            row["label"] == "supported",
            row["title"],
            "wice",
        )
        for row in read(at / f"{ORACLE}.jsonl.gz")
    ]
    for row in read(at / f"{Q2}.jsonl.gz"):
        evidence = ((row["topic"] or "", row["knowledge"]),)
        claims.append(Claim(row["response"], evidence, bool(row["consistent"]), row["knowledge"], "q2", row["set"]))
    pages = [(row["title"], row["evidence"]) for row in read(at / f"{FULL}.jsonl.gz")]
    claims += [claim for title, page in pages for claim in made(title, page)]
    return Data(claims, [_tokens(row) for row in read(at / f"{TOKENS}.jsonl.gz")], pages)


def _tokens(row: dict[str, Any]) -> Tokens:
    marks, at = [], 0
    for token, flag in zip(row["claim_tokens"], row["non_supported"], strict=True):
        marks.append((at, at + len(token), flag))
        at += len(token) + 1
    return Tokens(" ".join(row["claim_tokens"]), "\n".join(row["evidence"]), tuple(marks), row["title"])


# Sentences that are made from pages

MONTHS = "January February March April May June July August September October November December".split()
SWAPS = {
    "more": "less", "before": "after", "first": "last", "largest": "smallest", "north": "south", "won": "lost", "increased": "decreased",
    "above": "below", "opened": "closed", "with": "without", "higher": "lower", "best": "worst", "always": "never", "his": "her",
    "he": "she", "accepted": "rejected", "most": "least",
}  # fmt: skip
_VERB = re.compile(r"\b(is|was|are|were|has|have|had|can|could|will|would|may|must|should|did|does)\b(?! not\b)")
_PROSE = re.compile(r"[A-Z][^\n|{}<>]{40,260}[.!]$")


def _dice(*parts: str) -> int:
    return int(hashlib.sha256("|".join(parts).encode()).hexdigest()[:8], 16)


def made(title: str, page: list[str]) -> Iterator[Claim]:
    """Some sentences of a page, borne as they are and without their last clause; and changed, which the page does not bear."""
    prose = [i for i, sentence in enumerate(page) if _PROSE.match(sentence)]
    for i in sorted(prose, key=lambda i: _dice(title, page[i]))[:MADE]:
        sentence = page[i]
        around = "\n".join(page[max(0, i - 6) : i + 7])
        evidence = (("", around),)
        yield Claim(sentence, evidence, True, title, "made", "verbatim")
        short = sentence[: sentence.rfind(",")] + "."
        if "," in sentence and len(short) > 40:
            yield Claim(short, evidence, True, title, "made", "shortened")
        for kind, changed in _changed(sentence, page, title):
            yield Claim(changed, evidence, False, title, "made", kind)
        gap = around.replace(sentence, "")
        if gap.strip():
            yield Claim(sentence, (("", gap),), False, title, "made", "elsewhere")


def _changed(sentence: str, page: list[str], title: str) -> Iterator[tuple[str, str]]:
    dice = _dice(sentence, title)
    numbers = list(re.finditer(r"(?<![\w.,])\d{1,4}(?![\w.,]\d)", sentence))
    if numbers:
        at = numbers[dice % len(numbers)]
        yield "number", f"{sentence[: at.start()]}{int(at[0]) + 1 + dice % 7}{sentence[at.end() :]}"
    month = re.search(rf"\b({'|'.join(MONTHS)})\b", sentence)
    if month:
        other = MONTHS[(MONTHS.index(month[0]) + 1 + dice % 11) % 12]
        yield "date", sentence[: month.start()] + other + sentence[month.end() :]
    names = list(re.finditer(r"(?<=[a-z,] )[A-Z][a-z]{2,}", sentence))
    strangers = sorted(
        {m for s in page for m in re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}", s)} - set(re.findall(r"\w+", sentence))
    )
    if names and strangers:
        at = names[dice % len(names)]
        yield "name", sentence[: at.start()] + strangers[dice % len(strangers)] + sentence[at.end() :]
    verb = _VERB.search(sentence)
    if verb:
        yield "negation", sentence[: verb.end()] + " not" + sentence[verb.end() :]
    swap = next((m for m in re.finditer(r"\w+", sentence) if m[0] in SWAPS), None)
    if swap:
        yield "opposite", sentence[: swap.start()] + SWAPS[swap[0]] + sentence[swap.end() :]


# Fitting


def fit(data: Data) -> Weights:
    """The weights that these rows teach. The card is left to whoever ships them."""
    common = _common(data)
    weigh = weigher(common)
    word = _fit_words(data.tokens, weigh)
    rows, labels, weights = [], [], []
    counts = Counter((c.of, c.borne) for c in data.claims if c.of == "made")
    for claim in data.claims:
        rows.append(features(claim, weigh, word))
        labels.append(claim.borne)
        balance = 1.0 if claim.of != "made" else sum(counts.values()) / 2 / counts["made", claim.borne]
        weights.append(WEIGH[claim.of] * balance)
    names = list(rows[0])
    table = np.array([list(row.values()) for row in rows])
    regression = _regression(names, table, np.array(labels, float), np.array(weights), L2_CLAIM)
    card = Card(name="alignment", data=(), licence="", date="", figures={}, limits=())
    return Weights(card=card, common=common, word=word, claim=regression)


def features(claim: Claim, weigh: Callable[[str], float], word: Regression) -> dict[str, float]:
    """What the claim regression sees."""
    seen = Compared(claim.text, Ground(claim.passages), weigh)
    gaps = seen.gaps()
    near = seen.beside(gaps)
    doubts = [word.probability(word_features(seen, i, near[i])) for i in range(len(seen.words))]
    return claim_features(seen, doubts, gaps)


def _common(data: Data) -> str:
    """In how many pages each stem stands, in ten steps; where two stems share a place, the commoner one decides."""
    pages = [set(_stems(sentences)) for _, sentences in data.pages]
    known = Counter(stem for page in pages for stem in page)
    table = [9] * (2 * SIZE)
    for stem, n in known.items():
        if n >= RARE and stem[0] != "#":
            rarity = math.log(1 + len(pages) / (1 + n)) / math.log(1 + len(pages))
            step = max(0, min(9, math.ceil(rarity * 10) - 1))
            for place in slots_of(stem, SIZE):
                table[place] = min(table[place], step)
    return "".join(map(str, table))


def _stems(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        for word in words_of(sentence):
            yield word.key


def _fit_words(tokens: Sequence[Tokens], weigh: Callable[[str], float]) -> Regression:
    rows: list[dict[str, float]] = []
    flags: list[bool] = []
    for one in tokens:
        seen = Compared(one.text, Ground([("", one.evidence)]), weigh)
        near = seen.beside(seen.gaps())
        rows += [word_features(seen, i, near[i]) for i in range(len(seen.words))]
        flags += flagged(one, seen)
    table = np.array([list(row.values()) for row in rows])
    return _regression(list(rows[0]), table, np.array(flags, float), np.ones(len(rows)), L2_WORD)


def flagged(one: Tokens, seen: Compared) -> list[bool]:
    """Which words people marked."""
    return [any(flag for start, end, flag in one.marks if start < w.end and end > w.start) for w in seen.words]


def _regression(names: list[str], table: Array, labels: Array, weights: Array, l2: float) -> Regression:
    """Logistic regression with a penalty on standardised weights, by Newton's method."""
    mean, scale = table.mean(0), table.std(0)
    scale[scale < 1e-9] = 1.0
    standard = np.c_[(table - mean) / scale, np.ones(len(table))]
    penalty = np.eye(standard.shape[1]) * l2
    penalty[-1, -1] = 1e-6
    beta = np.zeros(standard.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(standard @ beta, -30, 30)))
        slope = standard.T @ (weights * (labels - p)) - penalty @ beta
        curve = (standard * (weights * p * (1 - p))[:, None]).T @ standard + penalty
        step = np.linalg.solve(curve, slope)
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    raw = beta[:-1] / scale
    bias = float(beta[-1] - (raw * mean).sum())
    return Regression(weights={n: round(float(w), 4) for n, w in zip(names, raw, strict=True)}, bias=round(bias, 4))


def score(alignment: Alignment, claim: Claim) -> float:
    """What the part itself says of a claim."""
    passages = tuple([Passage(id=str(i), source="", document=h, text=t) for i, (h, t) in enumerate(claim.passages)])
    return alignment.support([claim.text], Evidence(passages=passages, searched=True))[0].score


def weights(fit_on: Path) -> dict[str, Any]:
    """What ships: fitted on all there is in a folder, with its card."""
    return msgspec.to_builtins(fit(load(fit_on)))
