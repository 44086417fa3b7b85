"""`python -m bench.mutants [DATA]`: of answers with one thing changed, how many are shown?

Answers of our own making, borne by facts from a database and by passages, and supported claims of WiCE beside the evidence that
people chose, where DATA is there. Each is served as it is and with one thing changed (`bench/mutations.py`; and a negation, or
two names swapped), over HTTP as a stream and as a whole, by a model that says exactly that, through a feature with the guards
`slots` and `grounded`. A mutant counts as shown when the reader saw the text up to the end of what was changed.

Printed for each kind: how many were shown in each delivery, and how many of the unchanged answers were not.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

import mainstay
from bench.mutations import mutated
from mainstay.core.evidence import Passage, Viewer
from mainstay.doors.http.server import Server

TYPED = ("number", "date", "code", "name", "unit")
KINDS = (*TYPED, "negation", "swapped")
GUARDS = ("slots", "grounded")
ENOUGH = 500
NEGATED = re.compile(r"\b(is|are|was|were|can|will|has|have|may|must)\b(?! not)")
SETTINGS = """
[models.says]
provider = "scripted"
options = { chunk = 9, replies = REPLIES }
[sources.shelf]
kind = "bench.mutants:Shelf"
[databases.shop]
kind = "sqlite"
path = "shop.db"
"""
FEATURE = """
summary = "Says what it is told"
[input]
question = "text"
[grounding]
sources = ["shelf"]
required = false
SLOTS
[[ladder]]
model = "says"
prompt = "prompt.md"
tries = 1
[[ladder]]
message = "I cannot answer that."
[guards]
output = GUARDS
"""
SLOT = """
[grounding.slots.{name}]
database = "shop"
sql = "select {name} from products where id = :question"
type = "{type}"
unit = "{unit}"
"""
FACTS = {
    "price": ("money", "EUR"),
    "stock": ("number", ""),
    "arrives": ("date", ""),
    "sku": ("code", ""),
    "contact": ("name", ""),
}
PEOPLE = ("Ann Miller", "Jonas Weber", "Clara Rossi", "Sofia Almeida", "Peter Novak", "Lena Fischer")
DAYS = ("4 March 2027", "19 June 2027", "28 February 2027", "7 October 2027")
ISO = ("2027-03-04", "2027-06-19", "2027-02-28", "2027-10-07")
DOCUMENTS = (
    (
        "Parcels can be returned within 30 days. We refund the price within 5 working days.",
        "Parcels can be returned within 30 days.",
    ),
    ("The warranty of a kettle is 24 months. It covers the heating plate.", "The warranty of a kettle is 24 months."),
    ("Orders above 50 EUR are sent free of charge. Smaller ones cost 4.90 EUR.", "Smaller orders cost 4.90 EUR."),
    (
        "Our office in Lisbon is led by Clara Rossi. The one in Porto is led by Peter Novak.",
        "Our office in Lisbon is led by Clara Rossi.",
    ),
    (
        "The meeting was moved to 12 May 2027. It takes place in room B204.",
        "The meeting was moved to 12 May 2027 and takes place in room B204.",
    ),
    ("The tank holds 80 litres. Fill in at most 75 litres.", "The tank holds 80 litres."),
    ("Bookings can be cancelled until 48 hours before arrival.", "Bookings can be cancelled until 48 hours before arrival."),
    ("Employees may carry over 5 days of leave into the next year.", "Employees may carry over 5 days of leave."),
    ("The heater must be serviced every 12 months by a technician.", "The heater must be serviced every 12 months."),
    ("Die Rückgabe ist innerhalb von 14 Tagen möglich.", "Die Rückgabe ist innerhalb von 14 Tagen möglich."),
)


class Asked(NamedTuple):
    """An answer that is to be served: as it is, or with one thing changed up to `end`. `typed`: facts of the database bear it."""

    set: str
    kind: str
    key: str
    text: str
    end: int = 0


class Shelf:
    """A source that gives for a question what was put there for it."""

    version = "1"
    held: dict[str, tuple[str, ...]] = {}

    def __init__(self, *, name: str) -> None:
        self._name = name

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        texts = self.held.get(query.partition("\n")[0], ())
        return [Passage(id=f"d#{i}", source=self._name, document="d", text=text, score=1.0) for i, text in enumerate(texts)]


def products(n: int = 48) -> Iterator[tuple[str, dict[str, str], str]]:
    """Products with their facts, and a true answer about each."""
    chance = random.Random(4)
    for i in range(n):
        day = i % len(DAYS)
        price = f"{chance.randint(11, 899)}.{chance.randint(10, 99)}"
        facts = {
            "price": price,
            "stock": str(chance.randint(21, 480)),
            "arrives": ISO[day],
            "sku": f"KX-{chance.randint(1000, 9999)}-{chance.choice('ABCD')}",
            "contact": PEOPLE[i % len(PEOPLE)],
        }
        texts = (
            f"The item {facts['sku']} costs {price} EUR and arrives on {DAYS[day]}. There are {facts['stock']} in stock, "
            f"and {facts['contact']} is in charge of it.",
            f"It costs {price} €. {facts['contact']} will send it on {facts['arrives']}.",
            f"Der Preis ist {price.replace('.', ',')} Euro. Auf Lager sind {facts['stock']}.",
        )
        yield f"product {i}", facts, texts[i % 3]


def claims(data: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Supported claims of WiCE, each with the evidence that people chose; nothing where the data is not there."""
    path = data / "grounding" / "wice_claims_oracle.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file):
                row = json.loads(line)
                if row["label"] == "supported":
                    chunk = row["evidence_chunks"][0]
                    yield f"claim {number}", row["claim"], tuple(" ".join(chunk[i : i + 4]) for i in range(0, len(chunk), 4))


def mutants(set: str, key: str, text: str, names: Sequence[str] = ()) -> Iterator[Asked]:
    """The text as it is, and with each thing in it changed."""
    yield Asked(set, "unchanged", key, text)
    for mutation in mutated(text, names=names, seed=1):
        same = next((i for i, (a, b) in enumerate(zip(text, mutation.text, strict=False)) if a != b), len(text))
        yield Asked(
            set, mutation.kind, key, mutation.text, max(same + 1, len(mutation.text) - _alike_behind(text, mutation.text))
        )
    if match := NEGATED.search(text):
        yield Asked(set, "negation", key, f"{text[: match.end()]} not{text[match.end() :]}", match.end() + 4)
    capitals = [m for m in re.finditer(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*", text) if m[0] not in DAYS]
    if len({m[0] for m in capitals}) > 1:
        a, b = capitals[0], next(m for m in capitals if m[0] != capitals[0][0])
        yield Asked(
            set,
            "swapped",
            key,
            text[: a.start()] + b[0] + text[a.end() : b.start()] + a[0] + text[b.end() :],
            a.start() + len(b[0]),
        )


def _alike_behind(one: str, other: str) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)) if a != b), min(len(one), len(other))
    )


def cases(data: Path | None, most: int = ENOUGH) -> list[Asked]:
    """What is served: our own first, then claims of the data until there are `most` mutants."""
    found: list[Asked] = []
    Shelf.held.clear()
    for key, _, text in products():
        found += mutants("facts", key, text, [name for name in PEOPLE if name in text])
    for i, (passage, text) in enumerate(DOCUMENTS):
        Shelf.held[f"document {i}"] = (passage,)
        found += mutants("passages", f"document {i}", text, [name for name in PEOPLE if name in text])
    for key, text, passages in claims(data) if data is not None else ():
        if sum(asked.kind != "unchanged" for asked in found) >= most:
            break
        Shelf.held[key] = passages
        found += mutants("claims", key, text)
    left = most
    kept = []
    for asked in found:
        left -= asked.kind != "unchanged"
        if left >= 0:
            kept.append(asked)
    return kept


def written(root: Path, asked: Sequence[Asked], guards: Sequence[str]) -> None:
    """The project: its database, a feature of each kind, and a model that says each answer twice, in their order."""
    with sqlite3.connect(root / "shop.db") as db:
        db.execute(f"create table products(id text primary key, {', '.join(FACTS)})")
        for key, facts, _ in products():
            db.execute("insert into products values(?, ?, ?, ?, ?, ?)", (key, *[facts[name] for name in FACTS]))
    db.close()
    replies = json.dumps([one.text for one in asked for _ in range(2)], ensure_ascii=False)
    (root / "mainstay.toml").write_text(SETTINGS.replace("REPLIES", replies), encoding="utf-8")
    slots = "".join(SLOT.format(name=name, type=type, unit=unit) for name, (type, unit) in FACTS.items())
    for name, text in (("facts", slots), ("passages", "")):
        folder = root / "features" / name
        folder.mkdir(parents=True)
        (folder / "feature.toml").write_text(FEATURE.replace("SLOTS", text).replace("GUARDS", json.dumps(list(guards))))
        (folder / "prompt.md").write_text(f"{'{{ slots }}' if slots and text else ''} {{{{ question }}}}")


def shown(body: str, *, stream: bool) -> str:
    """What a reader has seen."""
    if not stream:
        return str(json.loads(body)["text"])
    texts = re.findall(r"^event: text\ndata: (.*)$", body, re.MULTILINE)
    return "".join(json.loads(data)["text"] for data in texts)


async def served(asked: Sequence[Asked], guards: Sequence[str] = GUARDS) -> list[tuple[Asked, bool, bool]]:
    """Whether each was shown, streamed and whole, past these guards."""
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), asked, guards)
        app = mainstay.open(folder, environ={}, dev=True)
        listening = asyncio.Event()
        server = Server(app, key="", ready=lambda port: listening.set())
        task = asyncio.create_task(server.serve())
        await listening.wait()
        found = []
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30, trust_env=False) as client:
            for i, one in enumerate(asked):
                found.append((one, *[await _was_shown(client, one, stream=stream) for stream in (True, False)]))
                if sys.stderr.isatty():
                    print(f"\r{i + 1} of {len(asked)}", end="", file=sys.stderr)
        server.should_exit = True
        await task
        await app.close()
        return found


async def _was_shown(client: httpx2.AsyncClient, one: Asked, *, stream: bool) -> bool:
    feature = "facts" if one.set == "facts" else "passages"
    body: dict[str, Any] = {"input": {"question": one.key}, "stream": stream}
    response = await client.post(f"/v1/features/{feature}", json=body)
    text = shown(response.text, stream=stream)
    end = one.end or len(one.text)
    return re.sub(r"\s*\[\d+\]", "", text).startswith(one.text[:end].rstrip()) and bool(text)


def table(found: Sequence[tuple[Asked, bool, bool]]) -> list[str]:
    """Lines of Markdown: for each set and kind how many there were, and were shown."""
    lines = ["| set | what was changed | answers | shown, streamed | shown, whole |", "| --- | --- | --- | --- | --- |"]
    for set in ("facts", "passages", "claims"):
        for kind in ("unchanged", *KINDS):
            own = [one for one in found if (one[0].set, one[0].kind) == (set, kind)]
            if own:
                lines.append(f"| {set} | {kind} | {len(own)} | {sum(s for _, s, _ in own)} | {sum(w for _, _, w in own)} |")
    return lines


def main(arguments: Sequence[str]) -> int:
    """0 if nothing typed that facts contradict was shown, 1 if something was."""
    asked = cases(Path(arguments[0] if arguments else "../shared/data"))
    found = asyncio.run(served(asked))
    alone = asyncio.run(served([one for one in asked if one.set == "facts"], ("slots",)))
    print("With the guards slots and grounded:\n", *table(found), "\nWith the guard slots alone:\n", *table(alone), sep="\n")
    wrong = [one for one in (*found, *alone) if one[0].set == "facts" and one[0].kind in TYPED and (one[1] or one[2])]
    for one, streamed, whole in wrong:
        print(f"SHOWN {one.kind}: {one.text} (streamed {streamed}, whole {whole})")
    number = sum(one.kind != "unchanged" for one, _, _ in found)
    print(f"mutants: {number} mutated answers, {len(wrong)} of the typed ones about facts were shown")
    return 1 if wrong else 0


if __name__ == "__main__":
    from bench import mutants  # the module that the project's source is looked up in

    sys.exit(mutants.main(sys.argv[1:]))
