"""What each guard costs: microseconds on an answer of a thousand words, and by how much it delays the first word of a stream.

Every guard that is installed is measured, with the options of `OPTIONS` where it has to have some; one that needs a model, a
database or a schema of its own is left out by name. The answer is made of the documentation's own sentences, in one piece and
as a stream of 50 chunks; each figure is processor time, the median of `TIMES` runs. The default guards, those that `mainstay
init` writes, are measured together as well.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mainstay.template
from mainstay import registry, testing
from mainstay.core.errors import MainstayError
from mainstay.core.seams import Hold
from mainstay.serve.guarding import Screening
from mainstay.serve.ready import SENTENCE, WHOLE, ReadyGuard

ROOT = Path(__file__).parents[1]
WORDS, CHUNKS, TIMES = 1000, 50, 9
OPTIONS: dict[str, dict[str, Any]] = {
    "size": {"max": 20_000},
    "terms": {"terms": ("AcmeCo", "OtherCo", "guaranteed profit")},
    "length": {"max_words": 5000},
    "links": {"allow": ("example.com", "mainstay.dev"), "action": "redact"},
}
HOLDS = {Hold.NOTHING: 0, Hold.SENTENCE: SENTENCE, Hold.WHOLE: WHOLE}


def text() -> str:
    """A thousand words of prose, with a number, an address and a link here and there."""
    pages = [line for name in ("concepts", "ladder", "delivery", "guards") for line in _lines(ROOT / "docs" / f"{name}.md")]
    words = " ".join(pages).split()[: WORDS - 12]
    told = "Call 555 0100, write to help@example.com or see https://example.com/help by 2026-11-21."
    return " ".join([*words[:400], *told.split(), *words[400:]])


def _lines(page: Path) -> list[str]:
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line[:1].isalpha() and "`" not in line]


def made(name: str, options: dict[str, Any]) -> ReadyGuard:
    """A guard with its hold in characters. Raises whatever it raises where it needs more than options."""
    guard = registry.part("guards", name, where="bench")(**options)
    hold = guard.hold
    return ReadyGuard(name, guard, HOLDS[hold] if isinstance(hold, Hold) else hold)


def defaults() -> list[ReadyGuard]:
    """The output guards that `mainstay init` writes, with options as they stand there."""
    written = next(Path(mainstay.template.__path__[0]).rglob("feature.toml")).read_text(encoding="utf-8")
    found = []
    for spec in tomllib.loads(written)["guards"]["output"]:
        name, given = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
        options = given if isinstance(given, dict) else {registry.first_option(registry.part("guards", name, where="")): given}
        found.append(made(name, {**OPTIONS.get(name, {}), **options}))
    return found


async def screened(guards: Sequence[ReadyGuard], answer: str, chunks: int) -> float:
    """Seconds of processor time that the guards take on the answer in so many pieces."""
    size = -(-len(answer) // chunks)
    pieces = [answer[i : i + size] for i in range(0, len(answer), size)]
    screening = Screening(testing._trace(), rung="bench", guards=tuple(guards), early=chunks > 1, release=str)
    began = time.thread_time()
    for piece in pieces:
        await screening.add(piece)
    await screening.complete()
    return time.thread_time() - began


async def measured(guards: Sequence[ReadyGuard], answer: str) -> tuple[float, float]:
    """Microseconds in one piece and in `CHUNKS`."""
    whole = [await screened(guards, answer, 1) for _ in range(TIMES)]
    streamed = [await screened(guards, answer, CHUNKS) for _ in range(TIMES)]
    return statistics.median(whole) * 1e6, statistics.median(streamed) * 1e6


def held(guards: Sequence[ReadyGuard]) -> str:
    """How much of a text's end stays back."""
    widest = max([guard.hold for guard in guards], default=0)
    return "everything" if widest >= WHOLE else "a sentence" if widest >= SENTENCE else f"{widest} characters"


def main() -> None:
    answer = text()
    left_out = []
    print(f"An answer of {len(answer.split())} words, {len(answer)} characters; {CHUNKS} chunks.\n")
    print("| guard | in one piece, µs | as a stream, µs | held back |\n|---|---|---|---|")
    for name in sorted(registry.offered("guards")):
        try:
            guard = made(name, OPTIONS.get(name, {}))
        except (MainstayError, TypeError, ValueError) as error:
            left_out.append(f"{name} ({str(error).splitlines()[0][:70]})")
            continue
        whole, streamed = asyncio.run(measured([guard], answer))
        print(f"| `{name}` | {whole:.0f} | {streamed:.0f} | {held([guard])} |")
    together = defaults()
    whole, streamed = asyncio.run(measured(together, answer))
    print(f"| all that `init` writes | {whole:.0f} | {streamed:.0f} | {held(together)} |")
    if left_out:
        print(f"\nLeft out, because they need more than options: {'; '.join(left_out)}")


if __name__ == "__main__":
    main()
