"""Are the passages found that answer? XQuAD in twelve languages, a code base, and product documentation.

Nothing is learned here: `fit` is not looked at. Each language is an index of its own and is searched in that language. What is
counted is the ranking (`SqliteIndex.ranked`); whether a search says that there is no evidence is printed beside it: how often for
questions whose passage is there, and how often it does not for those whose article was left out, and whose passage alone was.
Hybrid rows need the extra `local`.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.quality.table import Row, read, share
from mainstay.core.errors import ConfigError
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.project import Service
from mainstay.core.seams import Entry
from mainstay.parts.embedders.local import Local
from mainstay.parts.http import Http
from mainstay.parts.stores.sqlite_index import SqliteIndex

PUBLISHED = {  # R@1, the better of BM25 over words and over three characters, all 1,190 questions
    "en": 0.924, "ar": 0.903, "de": 0.912, "el": 0.911, "es": 0.905, "hi": 0.913,
    "ro": 0.916, "ru": 0.902, "th": 0.938, "tr": 0.898, "vi": 0.920, "zh": 0.835,
}  # fmt: skip
CODE = {"words": (0.581, 0.673, 0.755), "hybrid": (0.8643, 0.9321, 0.9499)}
DOCS = {"words": (0.370, 0.599, 0.748), "hybrid": (0.437, 0.693, 0.865)}
CODE_BESIDE = {"words": "BM25", "hybrid": "contextual embeddings and BM25"}
DOCS_BESIDE = {"words": "BM25", "hybrid": "a model that ranks again"}
ANYBODY = Viewer()
HALF = 2  # every second article is left out for the questions that cannot be answered
ALONE = 60  # questions whose passage alone is taken away


class Embedding:
    """WordLlama; no vectors at all where it is not installed, or not asked for."""

    def __init__(self, *, wanted: bool) -> None:
        self.name = ""
        if wanted:
            self._local = Local(Service(kind="local"), key="", http=Http())
            self.name = self._local.name

    def of(self, texts: Sequence[str]) -> list[bytes]:
        if not self.name:
            return [b""] * len(texts)
        return [struct.pack(f"<{len(v)}f", *v) for v in asyncio.run(self._local.embed(texts))]


def indexed(passages: Sequence[Passage], embedding: Embedding) -> SqliteIndex:
    """An index with a document for each passage."""
    index = SqliteIndex(":memory:")
    vectors = embedding.of(["\n".join([*p.heading, p.text]) for p in passages])
    pairs = zip(passages, vectors, strict=True)
    entries = [Entry(document=p.id, digest=p.id, passages=(p,), vectors=(v,) if v else ()) for p, v in pairs]
    index.write(entries, embedder=embedding.name)
    return index


def best(index: SqliteIndex, query: str, vector: bytes, limit: int) -> list[str]:
    found = index.ranked(query, vector, limit=limit, viewer=ANYBODY).passages
    return [passage.id for _, passage in found]


def answered(index: SqliteIndex, questions: Sequence[str]) -> float:
    """The share of questions for which there is said to be evidence."""
    said = [index.ranked(question, b"", limit=1, viewer=ANYBODY).evidence for question in questions]
    return share(said)


def xquad(data: Path) -> Iterator[Row]:
    questions = read(data / "multilingual" / "xquad_questions.jsonl.gz")
    written = read(data / "multilingual" / "corpus" / "xquad_passages.jsonl.gz")
    words = Embedding(wanted=False)
    for language, published in PUBLISHED.items():
        asked = [row for row in questions if row["lang"] == language]
        rows = [row for row in written if row["lang"] == language]
        passages = [Passage(id=row["pid"], source="xquad", document=row["pid"], text=row["text"]) for row in rows]
        index = indexed(passages, words)
        found = [index.ranked(row["question"], b"", limit=1, viewer=ANYBODY) for row in asked]
        right = [[p.id for _, p in one.passages] == [row["pid"]] for one, row in zip(found, asked, strict=True)]
        yield Row(
            set="xquad_questions",
            metric=f"R@1 {language} (beside BM25)",
            published=published,
            ours=share(right),
            n=len(asked),
        )
        _print_evidence(language, index, asked, rows, passages, share(one.evidence for one in found))


def _print_evidence(
    language: str, index: SqliteIndex, asked: list[Any], rows: list[Any], passages: list[Passage], there: float
) -> None:
    kept = [passage for passage, row in zip(passages, rows, strict=True) if row["article"] % HALF]
    without = indexed(kept, Embedding(wanted=False))
    gone = answered(without, [row["question"] for row in asked if not row["article"] % HALF])
    by_id = {passage.id: passage for passage in passages}
    alone = 0.0
    some = asked[:: max(1, len(asked) // ALONE)][:ALONE]
    for row in some:
        index.write([], gone=[row["pid"]])
        alone += answered(index, [row["question"]]) / len(some)
        index.write([Entry(document=row["pid"], digest="", passages=(by_id[row["pid"]],))])
    print(
        f"evidence, {language}: said for {there:.0%} of the questions that can be answered; wrongly for {gone:.0%} "
        f"of those whose article is not there, and for {alone:.0%} of those whose passage alone is not"
    )


def code(data: Path, kind: str, embedding: Embedding) -> Iterator[Row]:
    chunks = read(data / "retrieval" / "corpus" / "codebase_chunks.jsonl.gz")
    asked = read(data / "retrieval" / "codebase_queries.jsonl.gz")
    names = [f"{chunk['doc_uuid']}#{chunk['index']}" for chunk in chunks]
    passages = [Passage(id=n, source="code", document=n, text=c["text"]) for n, c in zip(names, chunks, strict=True)]
    index = indexed(passages, embedding)
    vectors = embedding.of([row["query"] for row in asked])
    found = [best(index, row["query"], vector, 20) for row, vector in zip(asked, vectors, strict=True)]
    golden = [{f"{document}#{number}" for document, number in row["golden"]} for row in asked]
    for limit, published in zip((5, 10, 20), CODE[kind], strict=True):
        shares = [len(gold & set(ids[:limit])) / len(gold) for gold, ids in zip(golden, found, strict=True)]
        ours = share(shares)
        yield Row(
            set="codebase_queries",
            metric=f"Pass@{limit} {kind} (beside {CODE_BESIDE[kind]})",
            published=published,
            ours=ours,
            n=len(asked),
        )


def docs(data: Path, kind: str, embedding: Embedding) -> Iterator[Row]:
    sections = read(data / "retrieval" / "corpus" / "claude_docs.jsonl.gz")
    asked = read(data / "retrieval" / "claude_docs_queries.jsonl.gz")
    passages = [
        Passage(id=s["id"], source="docs", document=s["id"], text=s["text"], heading=(s["heading"],) if s["heading"] else ())
        for s in sections
        if s["text"].strip()
    ]
    index = indexed(passages, embedding)
    vectors = embedding.of([row["question"] for row in asked])
    found = [best(index, row["question"], vector, 3) for row, vector in zip(asked, vectors, strict=True)]
    golden = [set(row["correct_chunks"]) for row in asked]
    hits = [len(gold & set(ids)) for gold, ids in zip(golden, found, strict=True)]
    first = [next((i for i, id in enumerate(ids, 1) if id in gold), 0) for gold, ids in zip(golden, found, strict=True)]
    figures = (
        share(hit / 3 for hit in hits),
        share(hit / len(gold) for hit, gold in zip(hits, golden, strict=True)),
        share(1 / place if place else 0.0 for place in first),
    )
    for metric, published, ours in zip(("precision", "recall", "MRR"), DOCS[kind], figures, strict=True):
        yield Row(
            set="claude_docs_queries",
            metric=f"{metric}@3 {kind} (beside {DOCS_BESIDE[kind]})",
            published=published,
            ours=ours,
            n=len(asked),
        )


def rows(fit: Path, data: Path) -> Iterator[Row]:
    """Every row; hybrid ones where there is an embedder."""
    yield from xquad(data)
    kinds = {"words": Embedding(wanted=False)}
    try:
        kinds["hybrid"] = Embedding(wanted=True)
    except ConfigError as error:
        print(f"hybrid search is not measured: {error.what}", file=sys.stderr)
    for kind, embedding in kinds.items():
        yield from code(data, kind, embedding)
        yield from docs(data, kind, embedding)


def main(arguments: list[str]) -> int:
    """`python -m bench.quality.retrieval DATA`: 0 when everything was counted, 2 where there is no data."""
    data = Path(arguments[0] if arguments else "../shared/data")
    try:
        for row in rows(data, data):
            print(f"{row.set}  {row.metric}  published {row.published}  ours {row.ours:.3f}  n {row.n}", flush=True)
    except OSError as error:
        print(f"there is nothing to search: {error}\n  next: name the folder with multilingual/ and retrieval/", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
