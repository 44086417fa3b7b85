"""The classifier of factual alignment: fitted, and counted on claims with evidence (`parts/alignment.py`).

- WiCE: claims of Wikipedia beside pieces of the pages that they cite; partially supported is not supported. Titles of articles
  are groups. The pieces that several annotators chose are the passages of one evidence.
- Q2: what dialogue systems said beside the knowledge that they were given. The knowledge is the group.
- HaluEval QA is never learned from and no aim: the length of an answer alone tells its label.

Beside the claims, the claim regression learns from sentences that stand in the pages word for word, or without their last clause,
and from the same with a number, a name, a month or an opposite changed, or denied: an answer of a product is nearer to its page
than a claim of Wikipedia is. They are never counted among WiCE's or Q2's rows.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bench.quality.table import Row, auroc, learned, read, share
from mainstay.core.evidence import Evidence, Passage
from mainstay.parts.alignment import (
    CLOSELY,
    Alignment,
    Card,
    Regression,
    Weights,
    claim_features,
    slots_of,
    weigher,
    word_features,
)
from mainstay.parts.matching import Compared, Ground, words_of

WEIGHTS = Path(__file__).parents[2] / "src/mainstay/parts/weights/alignment.json"
SIZE = 8192  # places in each half of the table of common stems
RARE = 3  # texts in which a stem has to stand to be in the table
L2_WORD, L2_CLAIM = 3.0, 10.0
MADE = 2  # sentences of a page that are taken and changed
WEIGH = {"wice": 1.0, "q2": 0.5, "made": 0.05}
WEIGH_CLOSE = {"wice": 1.0, "q2": 0.5, "made": 0.5}  # among sentences in the evidence's own words
FALSE_ALARMS = 0.05
CITES = 5  # sentences that are taken for a claim
CITING = {
    "recall@5 of supporting sentences (floor: BM25)": 0.781,
    "F1@5 of supporting sentences (floor: BM25)": 0.482,
    "the sentence quoted is a supporting one": None,
}
CARD = Card(
    name="alignment",
    data=(
        "WiCE (github.com/ryokamoi/wice, ddeb6c183665): claims of Wikipedia, evidence of the pages they cite, marks on words",
        "Q2 (github.com/orhonovich/q-squared, cab6027dc9a5): answers of dialogue systems beside the knowledge they were given",
    ),
    licence="WiCE's annotations ODC-BY, its texts CC-BY-SA (Wikipedia) and Common Crawl's terms; Q2 Apache-2.0, its data MIT",
    date="2026-11-21",
    figures={},
    limits=(
        "It compares spellings: a synonym or a translation is a missing word.",
        "It does not see who did what to whom.",
        "It was fitted on English; in other languages numbers, names and the same words count.",
        "Figures are cross-validated in groups of pages; each fold's weights never saw the page.",
    ),
)
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
    for (title, page), (_, other) in zip(pages, pages[1:] + pages[:1], strict=True):
        claims += made(title, page, other)
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
    "more": "less", "before": "after", "first": "last", "largest": "smallest", "north": "south", "won": "lost",
    "increased": "decreased", "above": "below", "opened": "closed",
    "with": "without", "higher": "lower", "best": "worst", "always": "never", "his": "her",
    "he": "she", "accepted": "rejected", "most": "least",
}  # fmt: skip
_VERB = re.compile(r"\b(is|was|are|were|has|have|had|can|could|will|would|may|must|should|did|does)\b(?! not\b)")
_PROSE = re.compile(r"[A-Z][^\n|{}<>]{40,260}[.!]$")


def _dice(*parts: str) -> int:
    return int(hashlib.sha256("|".join(parts).encode()).hexdigest()[:8], 16)


def made(title: str, page: list[str], other: list[str]) -> Iterator[Claim]:
    """Some sentences of a page, borne as they are and without their last clause; and what it does not bear: the same changed, the
    same where they are taken out, and another page's."""
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
        strange = [one for one in other if _PROSE.match(one)]
        if strange:
            yield Claim(strange[_dice(sentence, title) % len(strange)], evidence, False, title, "made", "stranger")
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
    denied = re.search(r"(?<=[a-z]) not(?= [a-z])|(?<=[a-z])n['’]t(?= )", sentence)
    if denied:
        yield "negation taken out", sentence[: denied.start()] + sentence[denied.end() :]
    swap = next((m for m in re.finditer(r"\w+", sentence) if m[0] in SWAPS), None)
    if swap:
        yield "opposite", sentence[: swap.start()] + SWAPS[swap[0]] + sentence[swap.end() :]


# Fitting


def fit(data: Data) -> Weights:
    """The weights that these rows teach. The card is left to whoever ships them."""
    common = _common(data)
    weigh = weigher(common)
    word = _fit_words(data.tokens, weigh)
    seen = [(features(claim, weigh, word), claim) for claim in data.claims]
    near = [(row, claim) for row, claim in seen if row["in stretches"] >= CLOSELY]
    card = Card(name="alignment", data=(), licence="", date="", figures={}, limits=())
    return Weights(card=card, common=common, word=word, claim=_fit_claims(seen, WEIGH), close=_fit_claims(near, WEIGH_CLOSE))


def _fit_claims(seen: Sequence[tuple[dict[str, float], Claim]], weigh: dict[str, float]) -> Regression:
    """The weights of one kind of sentences; of the made ones, those that are borne count as much as those that are not."""
    counts = Counter(claim.borne for _, claim in seen if claim.of == "made")
    weights = [
        weigh[claim.of] * (1.0 if claim.of != "made" else sum(counts.values()) / 2 / counts[claim.borne]) for _, claim in seen
    ]
    table = np.array([list(row.values()) for row, _ in seen])
    labels = np.array([claim.borne for _, claim in seen], float)
    return _regression(list(seen[0][0]), table, labels, np.array(weights), L2_CLAIM)


def features(claim: Claim, weigh: Callable[[str], float], word: Regression) -> dict[str, float]:
    """What the claim regression sees."""
    seen = Compared(claim.text, _ground(claim.passages), weigh)
    gaps = seen.gaps()
    near = seen.beside(gaps)
    doubts = [word.probability(word_features(seen, i, near[i])) for i in range(len(seen.words))]
    return claim_features(seen, doubts, gaps)


@functools.lru_cache(4096)
def _ground(passages: tuple[tuple[str, str], ...]) -> Ground:
    return Ground(passages)


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
        seen = Compared(one.text, _ground((("", one.evidence),)), weigh)
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


# Counting


class Scored(NamedTuple):
    """A claim, what the part says of it, and from where on the claims that it was fitted on count as borne."""

    claim: Claim
    score: float
    threshold: float


def evidence_of(passages: Iterable[tuple[str, str]]) -> Evidence:
    return Evidence(
        passages=tuple([Passage(id=str(i), source="", document=h, text=t) for i, (h, t) in enumerate(passages)]), searched=True
    )


def score(alignment: Alignment, claim: Claim) -> float:
    """What the part itself says of a claim."""
    return alignment.support([claim.text], evidence_of(claim.passages))[0].score


def rows(fit_on: Path, data: Path) -> Iterator[Row]:
    """The figures of every set, each claim judged by weights that its group had no part in."""
    mine = load(fit_on)
    same = fit_on.resolve() == data.resolve()
    theirs = mine if same else load(data)
    scored: list[Scored] = []
    words: list[tuple[bool, bool]] = []
    cited: list[tuple[float, ...]] = []
    halu: list[tuple[float, bool]] = []
    articles, questions = [read(data / "grounding" / f"{name}.jsonl.gz") for name in (FULL, HALUEVAL)]
    known = sorted({*groups(mine), *groups(theirs), *(row["knowledge"] for row in questions)})
    for training, test in learned(known, known, same=same, group=str):
        taught, asked = mine.only(set(training).__contains__), theirs.only(set(test).__contains__)
        alignment = Alignment(fit(taught))
        best = {of: _balanced(alignment, [c for c in taught.claims if c.of == of]) for of in ("wice", "q2", "made")}
        scored += [Scored(c, score(alignment, c), best[c.of]) for c in asked.claims]
        words += _flags(alignment, asked.tokens, _flag_from(alignment, taught.tokens))
        cited += [_cited(alignment, row) for row in articles if row["title"] in test and any(row["supporting_sentences"])]
        halu += [pair for row in questions if not same or row["knowledge"] in test for pair in _halu(alignment, row)]
    yield from _claim_rows(scored)
    yield from _made_rows(scored)
    yield Row(
        set=TOKENS,
        metric="F1 (floor: the word is not there)",
        published=0.572,
        ours=_f1(words),
        n=len(words),
    )
    for i, (metric, published) in enumerate(CITING.items()):
        yield Row(set=FULL, metric=metric, published=published, ours=share(c[i] for c in cited), n=len(cited))
    area = auroc([said for said, _ in halu], [right for _, right in halu])
    yield Row(set=HALUEVAL, metric="AUROC, regression check (length alone)", published=0.94, ours=area, n=len(halu))


def groups(data: Data) -> list[str]:
    """Every group of the data, in one order."""
    return sorted({c.group for c in data.claims} | {t.group for t in data.tokens})


def _balanced(alignment: Alignment, claims: Sequence[Claim]) -> float:
    """The threshold with the highest balanced accuracy."""
    told = sorted((score(alignment, c), c.borne) for c in claims)
    borne = sum(label for _, label in told)
    best, threshold, lost, caught = 0.0, 0.5, 0, 0
    for i, (value, label) in enumerate(told):
        accuracy = (1 - lost / max(1, borne) + caught / max(1, len(told) - borne)) / 2
        if accuracy > best:
            best, threshold = accuracy, (value + told[i - 1][0]) / 2 if i else 0.0
        lost, caught = lost + label, caught + (not label)
    return threshold


def _claim_rows(scored: Sequence[Scored]) -> Iterator[Row]:
    wice = [s for s in scored if s.claim.of == "wice"]
    n, area = len(wice), auroc([s.score for s in wice], [s.claim.borne for s in wice])
    for who, published in (
        ("floor: words covered", 0.726),
        ("GPT-4, 100 claims", 0.802),
        ("T5-3B on ANLI", 0.835),
        ("T5-3B tuned on WiCE", 0.902),
    ):
        yield Row(set=ORACLE, metric=f"AUROC ({who})", published=published, ours=area, n=n)
    for who, published in (("GPT-4, 100 claims", 0.787), ("T5-3B on ANLI, 100 claims", 0.817)):
        yield Row(set=ORACLE, metric=f"balanced accuracy ({who})", published=published, ours=_accuracy(wice), n=n)
    yield Row(set=ORACLE, metric="expected calibration error", published=None, ours=calibration_error(wice), n=n)
    yield Row(set=ORACLE, metric="caught at 5 % false alarms", published=None, ours=_caught(wice, wice), n=n)
    for kind, floor in (("cross_annotation", 0.648), ("per_system_150", 0.742)):
        q2 = [s for s in scored if s.claim.kind == kind]
        area = auroc([s.score for s in q2], [s.claim.borne for s in q2])
        yield Row(set=Q2, metric=f"AUROC, {kind} (floor: overlap, other half)", published=floor, ours=area, n=len(q2))
        yield Row(set=Q2, metric=f"balanced accuracy, {kind}", published=None, ours=_accuracy(q2), n=len(q2))
        yield Row(set=Q2, metric=f"expected calibration error, {kind}", published=None, ours=calibration_error(q2), n=len(q2))


def _made_rows(scored: Sequence[Scored]) -> Iterator[Row]:
    made_up = [s for s in scored if s.claim.of == "made"]
    for kind in sorted({s.claim.kind for s in made_up if not s.claim.borne}):
        own = [s for s in made_up if s.claim.kind == kind]
        ours = _caught(made_up, own)
        yield Row(
            set=FULL, metric=f"sentences changed: {kind}, caught at 5 % false alarms", published=None, ours=ours, n=len(own)
        )


def _accuracy(scored: Sequence[Scored]) -> float:
    """Balanced, each claim at the threshold that what it was fitted on chose."""
    return share(share((s.score >= s.threshold) == label for s in scored if s.claim.borne == label) for label in (True, False))


def _caught(borne: Sequence[Scored], others: Sequence[Scored]) -> float:
    """The share of what is not borne below the score that 5 % of what is borne does not reach."""
    told = sorted(s.score for s in borne if s.claim.borne)
    if not told:
        return math.nan
    limit = told[int(FALSE_ALARMS * len(told))]
    wrong = [s.score < limit for s in others if not s.claim.borne]
    return share(wrong)


def calibration_error(scored: Sequence[Scored]) -> float:
    """The mean distance, in ten steps of probability, between what is said and what is so."""
    error = 0.0
    for step in range(10):
        own = [s for s in scored if min(9, int(s.score * 10)) == step]
        error += abs(sum(s.score for s in own) - sum(s.claim.borne for s in own))
    return error / max(1, len(scored))


def _told(alignment: Alignment, one: Tokens) -> list[tuple[float, bool]]:
    found = alignment.doubts(one.text, evidence_of([("", one.evidence)]))
    return [(doubt, any(flag for s, e, flag in one.marks if s < end and e > start)) for start, end, doubt in found]


def _flag_from(alignment: Alignment, tokens: Sequence[Tokens]) -> float:
    told = [pair for one in tokens for pair in _told(alignment, one)]
    return max((step / 20 for step in range(1, 20)), key=lambda at: _f1([(doubt >= at, flag) for doubt, flag in told]))


def _flags(alignment: Alignment, tokens: Sequence[Tokens], at: float) -> list[tuple[bool, bool]]:
    return [(doubt >= at, flag) for one in tokens for doubt, flag in _told(alignment, one)]


def _f1(flags: Sequence[tuple[bool, bool]]) -> float:
    both = sum(said and so for said, so in flags)
    return 2 * both / max(1, sum(said for said, _ in flags) + sum(so for _, so in flags))


def _cited(alignment: Alignment, row: dict[str, Any]) -> tuple[float, float, float]:
    """Of the sentences of a page that bear a claim: recall of the best supporting set with five, F1 of five, and whether the one
    that a citation quotes is in any set."""
    texts = [text.replace("\n", " ") for text in row["evidence"]]
    starts = list(accumulate((len(text) + 1 for text in texts), initial=0))
    page = "\n".join(texts)
    sets = [set(s) for s in row["supporting_sentences"] if s]
    ground = _ground((("", page),))
    seen = Compared(row["claim"], ground, weigher(alignment.weights.common))
    masks: dict[int, int] = {}
    for at, mask in seen.rows.items():
        place = bisect_right(starts, ground.starts[at]) - 1
        masks[place] = masks.get(place, 0) | mask
    first = set(_first(seen, masks, len(texts)))
    recall = max(len(first & s) / len(s) for s in sets)
    f1 = max(2 * len(first & s) / (len(first) + len(s)) for s in sets)
    at = alignment.support([row["claim"]], evidence_of([("", page)]))[0].at
    quoted = -1 if at is None else bisect_right(starts, at) - 1
    return recall, f1, float(any(quoted in s for s in sets))


def _first(seen: Compared, masks: dict[int, int], sentences: int) -> list[int]:
    """Five sentences: each bears much, and half of that counts again where those before it do not bear it."""
    rare = [
        weight * math.log(1 + sentences / (1 + sum(mask >> i & 1 for mask in masks.values())))
        for i, weight in enumerate(seen.weights)
    ]
    order: list[int] = []
    covered = 0
    left = dict(masks)
    while left and len(order) < CITES:
        best = max(left, key=lambda place: _sum(left[place], rare) + 0.5 * _sum(left[place] & ~covered, rare))
        order.append(best)
        covered |= left.pop(best)
    return order


def _sum(mask: int, weights: Sequence[float]) -> float:
    return sum(weight for i, weight in enumerate(weights) if mask >> i & 1)


def _halu(alignment: Alignment, row: dict[str, Any]) -> list[tuple[float, bool]]:
    evidence = evidence_of([("", row["knowledge"])])
    answers = [(row["right_answer"], True), (row["hallucinated_one_turn"], False), (row["hallucinated_multi_turn"], False)]
    return [(alignment.support([text], evidence)[0].score, right) for text, right in answers if text]


def weights(fit_on: Path) -> dict[str, Any]:
    """What ships: fitted on all there is in a folder, with its card."""
    figures = {f"{row.set}: {row.metric}": round(row.ours, 3) for row in rows(fit_on, fit_on)}
    found = fit(load(fit_on))
    return msgspec.to_builtins(msgspec.structs.replace(found, card=msgspec.structs.replace(CARD, figures=figures)))
