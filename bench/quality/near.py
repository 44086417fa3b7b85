"""The verifier of near hits: fitted, and counted beside published figures (`parts/nearness.py`).

- GPTCache's mock data: all `origin` are in the cache, every `similar` is asked; a hit of its own entry is right (rule `id`),
  or of one with the same text (rule `text`). Published for all 999 rows: 425 right at 25 wrong, 804 at 77, 904 at 92.
- Quora question pairs, an eighth of them: how many of the pairs that ask the same are found at a precision. Its text is for
  non-commercial use: nothing is ever learned from it.
- banking77 and clinc150: half of the questions are in the cache, some of the others are asked; a hit of another intent is wrong.

Learned from pairs: of GPTCache's mock data the same rows, and other rows that are near; of nlupp questions with the same labels
and slots, and near ones with others; of banking77 and clinc150 near ones of other intents; and questions made of these.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bench.quality.table import Row, learned, read
from mainstay.core.near import NearCard
from mainstay.parts.nearness import Nearness, Regression, Weights, compared, refusal, with_vectors
from mainstay.serve.nearing import CANDIDATES, Kept

WEIGHTS = Path(__file__).parents[2] / "src/mainstay/parts/weights/near.json"
L2 = 3.0
ALL = 1 << 18  # questions that are remembered as they were read
MADE = 0.2  # the weight of a pair that was made
MUCH = 4.0  # the weight of one that people wrote: they are few
NEGATIVES = 3
WRONG = (0.01, 0.05)
PRECISIONS = (0.90, 0.95, 0.98)
PUBLISHED = {25: 425, 77: 804, 92: 904}
ROWS = 999  # of GPTCache's file
INTENTS = ("banking77", "clinc150")
MOST = 250  # questions of a set of intents that are asked
CARD = NearCard(
    name="near-2",
    data=(
        "GPTCache's mock data (github.com/zilliztech/GPTCache, c59fb3a6152a): sentences and paraphrases",
        "banking77 and NLU++ (github.com/PolyAI-LDN/task-specific-datasets, 57ec275d8078): questions with intents and slots",
        "clinc150 (github.com/clinc/oos-eval, 828f8093932c): questions with intents",
        "questions made of these: begun otherwise, without articles, with a slip; and with words exchanged, added or left out",
    ),
    licence="GPTCache MIT; banking77 and NLU++ CC-BY-4.0; clinc150 CC-BY-3.0. Nothing is learned from Quora's questions",
    date="2026-11-21",
    figures={},
    limits=(
        "It compares spellings: a synonym is another word to it.",
        "A name in lower case is a word to it, unless it is of a kind that it knows (days, countries, currencies, ...).",
        "It was fitted on English; lists are English, German, French and Spanish.",
        "Questions that share every telling word and ask something else with their small words may pass.",
    ),
)
Array = Any


class Pair(NamedTuple):
    one: str
    other: str
    same: bool
    group: str
    weight: float = 1.0


class Asker:
    """Finds candidates among kept questions by their telling words, as they are served, and by vectors."""

    def __init__(self, kept: Sequence[str], near: Nearness, vectors: Callable[[Sequence[str]], Array] | None) -> None:
        self.kept, self.near, self.words = list(kept), near, Kept()
        for i, text in enumerate(kept):
            self.words.add(_key(i), text, near.terms(text))
        self.matrix = None if vectors is None else vectors(kept)
        self.vectors = vectors

    def candidates(self, text: str, count: int = CANDIDATES, *, but: int = -1) -> list[int]:
        best = [i for key in self.words.by_words(self.near.terms(text)) if (i := int.from_bytes(key)) != but][:count]
        if self.matrix is not None and self.vectors is not None:
            likeness = self.matrix @ self.vectors([text])[0]
            first = np.argsort(-likeness)[: count + 1]
            best += [int(i) for i in first if i != but and i not in best][:count]
        return best

    def best(self, text: str, *, but: int = -1) -> tuple[float, int]:
        """The likeliest of the kept questions, and its probability."""
        found = (0.0, -1)
        for i in self.candidates(text, but=but):
            likeness = None
            if self.matrix is not None and self.vectors is not None:
                likeness = float(self.matrix[i] @ self.vectors([text])[0])
            probability = self.near.same(text, self.kept[i], likeness).probability
            if probability > found[0]:
                found = (probability, i)
        return found


def _key(i: int) -> bytes:
    return i.to_bytes(4)


# What is learned from


def blank() -> Nearness:
    """A verifier whose weights are of no account: it reads and refuses."""
    nothing = Regression(bias=0.0, weights={})
    return Nearness(Weights(card=CARD, words=nothing, vectors=nothing), remembers=ALL)


def pairs(folder: Path, near: Nearness) -> list[Pair]:
    """All pairs that there are to learn from."""
    return [*mock_pairs(mock(folder), near), *intent_pairs(folder, near), *nlupp_pairs(folder, near)]


def mock(folder: Path) -> list[dict[str, Any]]:
    return read(folder / "semantic_cache" / "gptcache_mock.jsonl.gz")


def mock_pairs(rows: Sequence[dict[str, Any]], near: Nearness) -> Iterator[Pair]:
    asker = Asker([row["origin"] for row in rows], near, None)
    for i, row in enumerate(rows):
        yield Pair(row["similar"], row["origin"], True, row["origin"], MUCH)
        for j in asker.candidates(row["similar"], NEGATIVES, but=i):
            if rows[j]["origin"] != row["origin"]:
                yield Pair(row["similar"], rows[j]["origin"], False, row["origin"], MUCH)
        yield from exchanged(row["similar"], row["origin"], rows[(i * 7 + 3) % len(rows)]["origin"], near)


def intents(folder: Path, name: str) -> list[dict[str, Any]]:
    return [row for row in read(folder / "semantic_cache" / f"{name}.jsonl.gz") if row["intent"] != "oos"]


def intent_pairs(folder: Path, near: Nearness) -> Iterator[Pair]:
    """Near questions of other intents are not the same; those of one intent may be or not, and are left out. What is made of a
    question is the same, or is not.
    """
    for name in INTENTS:
        rows = [row for row in intents(folder, name) if "test" not in row["orig_split"]]
        rows = [row for row in rows if dice(row["text"]) % 4 == 0]
        asker = Asker([row["text"] for row in rows], near, None)
        for i, row in enumerate(rows):
            for j in asker.candidates(row["text"], 3, but=i):
                if rows[j]["intent"] != row["intent"]:
                    yield Pair(row["text"], rows[j]["text"], False, row["intent"], 0.5)
            if i % 2 == 0:
                yield from [
                    p._replace(weight=MADE) for p in made(row["text"], rows[(i * 7 + 3) % len(rows)]["text"], row["intent"])
                ]


FRAMES = (  # beginnings that ask the same
    ("how do i", "how can i", "how to", "what is the best way to", "how should i", "what are the steps to", "how do you"),
    ("what is", "what's", "can you tell me what is", "tell me what is"),
    ("can i", "is it possible to", "am i able to", "could i"),
    ("i want to", "i would like to", "i need to", "i'd like to"),
    ("why is", "why's", "what is the reason that"),
)
OTHERWISE = (("how", "why"), ("how", "when"), ("what", "why"), ("where", "when"), ("can i", "should i"), ("can i", "why can i"),
             ("how do i", "can i"), ("how do i", "should i"), ("my", "his"), ("my", "your"), ("from", "to"), ("in", "from"),
             ("for", "without"), ("what is", "how is"), ("is there", "why is there"), ("i", "my friend"))  # fmt: skip
ARTICLES = re.compile(r"\b(?:the|a|an|some|any|please)\s+", re.IGNORECASE)


def made(text: str, strange: str, group: str) -> Iterator[Pair]:
    """Questions that are made of one: some ask the same, some do not."""
    low = text.lower()
    for frame in FRAMES:
        for begin in frame:
            if low.startswith(begin + " "):
                other = frame[(frame.index(begin) + 1 + dice(text) % (len(frame) - 1)) % len(frame)]
                yield Pair(text, other + low[len(begin) :], True, group)
                break
    bare = ARTICLES.sub("", text)
    if bare != text:
        yield Pair(text, bare, True, group)
    words = re.findall(r"[^\W\d_]{5,}", text)
    if words:
        word = words[dice(text) % len(words)]
        at = len(word) // 2
        yield Pair(text, text.replace(word, word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :], 1), True, group)
        yield Pair(text, text.replace(word, word + "s" if not word.endswith("s") else word[:-1], 1), True, group)
    yield Pair(text, f"{('hi, ', 'please ', 'can you help me, ', 'hello, ')[dice(text) % 4]}{text}", True, group)
    changed = [re.sub(rf"\b{a}\b", b, low, count=1) for one in OTHERWISE for a, b in (one, one[::-1])]
    changed = [other for other in dict.fromkeys(changed) if other != low]
    for n in range(min(2, len(changed))):
        yield Pair(text, changed[(dice(text) + n) % len(changed)], False, group)
    others = [w for w in re.findall(r"[^\W\d_]{5,}", strange) if w.lower() not in low]
    if words and others:
        word, other = words[dice(text) % len(words)], others[dice(strange) % len(others)]
        yield Pair(text, re.sub(rf"\b{word}\b", other, text), False, group)
        yield Pair(text, f"{text.rstrip('?.! ')} {other}", False, group)
    if len(words) > 2:
        yield Pair(text, re.sub(rf"\b{words[dice(text) % len(words)]}\b ?", "", text), False, group)


def nlupp_pairs(folder: Path, near: Nearness) -> Iterator[Pair]:
    """Utterances with the same intents and slots; nearly all of what one says is in its labels."""
    rows = [row for row in read(folder / "semantic_cache" / "nlupp.jsonl.gz") if len(row["intents"]) >= 2]
    asker = Asker([row["text"] for row in rows], near, None)
    for i, row in enumerate(rows):
        for j in asker.candidates(row["text"], 4, but=i):
            yield Pair(row["text"], rows[j]["text"], label(row) == label(rows[j]), str(label(row)), 0.5)


def label(row: dict[str, Any]) -> str:
    return str(
        (sorted(row["intents"]), sorted((k, str(v.get("value", v["text"]))) for k, v in row["slots"].items()), row["domain"])
    )


def exchanged(asked: str, kept: str, strange: str, near: Nearness) -> Iterator[Pair]:
    """A question with one of its telling words exchanged for another question's."""
    words = [w for w in re.findall(r"[^\W\d_]{4,}", kept) if w in asked]
    others = [w for w in re.findall(r"[^\W\d_]{4,}", strange) if w.lower() not in asked.lower()]
    words = [w for w in words if near.terms(w)]
    others = [w for w in others if near.terms(w)]
    if words and others:
        word, other = words[dice(kept) % len(words)], others[dice(strange) % len(others)]
        yield Pair(asked, re.sub(rf"\b{word}\b", other, kept), False, kept, MUCH / 2)
        yield Pair(kept, re.sub(rf"\b{word}\b", other, kept), False, kept, MUCH / 2)


def dice(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


# Fitting


class Told(NamedTuple):
    """What is known of a pair that nothing refuses: its features without and with vectors."""

    pair: Pair
    words: dict[str, float]
    both: dict[str, float] | None


def told_of(some: Sequence[Pair], near: Nearness) -> list[Told]:
    open_ = [p for p in some if not refusal(near.read(p.one), near.read(p.other))]
    words = [compared(near.read(p.one), near.read(p.other)) for p in open_]
    embed = vectors()
    if embed is None:
        return [Told(pair, features, None) for pair, features in zip(open_, words, strict=True)]
    alike = np.sum(embed([p.one for p in open_]) * embed([p.other for p in open_]), axis=1)
    return [Told(p, f, with_vectors(f, float(x))) for p, f, x in zip(open_, words, alike, strict=True)]


def fitted(told: Sequence[Told]) -> Weights:
    """Two regressions, on the pairs that nothing refuses."""
    labels = np.array([float(t.pair.same) for t in told])
    sizes = np.array([t.pair.weight for t in told])
    words = regression([t.words for t in told], labels, sizes)
    both = [t.both for t in told if t.both is not None]
    return Weights(card=CARD, words=words, vectors=regression(both, labels, sizes) if both else words)


MORE = frozenset({"none lost", "covered", "runs", "likeness"})


def regression(rows: Sequence[dict[str, float]], labels: Array, sizes: Array) -> Regression:
    """Logistic regression with an L2 penalty, in which no feature may speak against its sense: what is lost never for a pair,
    what is shared never against it. One that would is left out, and the others are fitted again.
    """
    names = list(rows[0])
    matrix = np.array([[row[name] for name in names] for row in rows])
    left = list(range(len(names)))
    while True:
        bias, weights = _newton(matrix[:, left], labels, sizes)
        wrong = [(abs(w) * matrix[:, i].std(), i) for i, w in zip(left, weights, strict=True) if (w > 0) != (names[i] in MORE)]
        if not wrong:
            told = {names[i]: round(float(w), 4) for i, w in zip(left, weights, strict=True)}
            return Regression(bias=round(bias, 4), weights=told)
        left.remove(max(wrong)[1])


def _newton(x: Array, labels: Array, sizes: Array) -> tuple[float, Array]:
    middle, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = np.c_[np.ones(len(x)), (x - middle) / spread]
    w, pull = np.zeros(z.shape[1]), np.r_[1e-6, np.full(z.shape[1] - 1, L2)]
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(z @ w, -30, 30)))
        slope = z.T @ (sizes * (p - labels)) + pull * w
        bend = (z * (sizes * p * (1 - p))[:, None]).T @ z + np.diag(pull)
        step = np.linalg.solve(bend, slope)
        w -= step
        if np.abs(step).max() < 1e-6:
            break
    each = w[1:] / spread
    return float(w[0] - each @ middle), each


def vectors() -> Callable[[Sequence[str]], Array] | None:
    """The embedder `local`, where it is installed."""
    try:
        import wordllama
    except ImportError:
        return None
    model = wordllama.WordLlama.load(cache_dir=Path(str(wordllama.__file__)).parent, disable_download=True)
    known: dict[str, Array] = {}

    def embed(texts: Sequence[str]) -> Array:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, model.embed(new, norm=True), strict=True))
        return np.array([known[text] for text in texts])

    return embed


def weights(fit: Path) -> Any:
    """What is shipped: learned from all pairs."""
    near = blank()
    return msgspec.to_builtins(fitted(told_of(pairs(fit, near), near)))


# Counting


def rows(fit: Path, data: Path) -> Iterator[Row]:
    """Figures with words alone, and with vectors beside them."""
    near, same = blank(), fit == data
    known = told_of(pairs(fit, near), near)
    embed = vectors()
    whole = Nearness(fitted(known), remembers=ALL)
    for name, vector in (("words", None), ("words and vectors", embed)):
        if name == "words" or vector is not None:
            yield from _mock(fit, data, known, name, vector, same=same)
            yield from _pairs_rows(data, whole, name, vector)
            yield from _stress(data, whole, name, vector)


def _mock(fit: Path, data: Path, known: Sequence[Told], name: str, vector: Any, *, same: bool) -> Iterator[Row]:
    """Every fold's questions are asked of the whole cache by weights that saw none of its rows."""
    asked = mock(data)
    found: list[tuple[float, bool, bool]] = []
    elsewhere = {row["origin"] for row in mock(fit)}
    for train, test in learned(mock(fit), asked, same=same, group=lambda row: row["origin"]):
        kept = {row["origin"] for row in train}
        some = [t for t in known if t.pair.group not in elsewhere or t.pair.group in kept]
        asker = Asker([row["origin"] for row in asked], Nearness(fitted(some), remembers=ALL), vector)
        for row in test:
            probability, i = asker.best(row["similar"])
            hit = asked[i] if i >= 0 else row
            found.append((probability if i >= 0 else 0.0, hit["id"] == row["id"], hit["origin"] == row["origin"]))
    n = len(asked)
    for rule, place in (("id", 1), ("text", 2)):
        ranked = sorted(found, key=lambda f: -f[0])
        for wrong, right in PUBLISHED.items():
            budget = round(wrong * n / ROWS)
            share = _right_at(ranked, place, budget) / n
            yield Row(
                set="gptcache_mock",
                metric=f"hits at {wrong / ROWS:.1%} misleading, by {rule} ({name})",
                published=right / ROWS if rule == "id" else None,
                ours=share,
                n=n,
            )
        for rate in WRONG:
            yield Row(
                set="gptcache_mock",
                metric=f"hits with 1 of {round(1 / rate)} mistaken, by {rule} ({name})",
                published=None,
                ours=_found_at([(p, f) for p, *f2 in ranked for f in [f2[place - 1]]], 1 - rate) / n,
                n=n,
            )


def _right_at(ranked: Sequence[tuple[float, bool, bool]], place: int, budget: int) -> int:
    right = wrong = 0
    for one in ranked:
        if one[0] <= 0:
            break
        wrong += not one[place]
        if wrong > budget:
            break
        right += one[place]
    return right


def _found_at(ranked: Sequence[tuple[float, bool]], precision: float) -> int:
    """The most right ones at a threshold where at least so many are right; equal probabilities stand or fall together."""
    ranked = sorted(ranked, key=lambda f: -f[0])
    best = right = 0
    for i, (probability, good) in enumerate(ranked):
        if probability <= 0:
            break
        right += good
        last = i + 1 == len(ranked) or ranked[i + 1][0] != probability
        if last and right >= precision * (i + 1):
            best = right
    return best


def _pairs_rows(data: Path, near: Nearness, name: str, vector: Any) -> Iterator[Row]:
    some = [row for row in read(data / "semantic_cache" / "qqp_pairs.jsonl.gz") if dice(row["id"]) % 8 == 0]
    likeness = None if vector is None else np.sum(vector([r["a"] for r in some]) * vector([r["b"] for r in some]), axis=1)
    told = [
        (near.same(row["a"], row["b"], None if likeness is None else float(likeness[i])).probability, bool(row["same"]))
        for i, row in enumerate(some)
    ]
    alike = sum(good for _, good in told)
    for precision in (*PRECISIONS, *[1 - rate for rate in WRONG if 1 - rate not in PRECISIONS]):
        yield Row(
            set="qqp_pairs",
            metric=f"recall at precision {precision:.2f} ({name})",
            published=0.02 if precision == 0.90 else None,
            ours=_found_at(told, precision) / alike,
            n=len(told),
        )


def _stress(data: Path, near: Nearness, name: str, vector: Any) -> Iterator[Row]:
    for dataset in INTENTS:
        some = sorted(intents(data, dataset), key=lambda row: dice(row["text"]))
        kept, asked = some[::2], some[1::2][:MOST]
        asker = Asker([row["text"] for row in kept], near, vector)
        told = []
        for row in asked:
            probability, i = asker.best(row["text"])
            told.append((probability, i >= 0 and kept[i]["intent"] == row["intent"]))
        for rate in WRONG:
            yield Row(
                set=dataset,
                metric=f"hits with 1 of {round(1 / rate)} of another intent ({name})",
                published=None,
                ours=_found_at(told, 1 - rate) / len(told),
                n=len(told),
            )
