"""Is a part of your own what its seam promises? Mainstay runs the same checks on every part that it ships.

    async def test_my_guard_keeps_the_seams_promises():
        await mainstay.testing.check_guard(NoCompetitors(names=["AcmeCo"]), texts=["Buy it at AcmeCo.", "Buy it here."])

Each check raises `AssertionError` with a sentence that says which promise was broken, and by which text. They show faults, not
their absence: give them texts and questions that matter to your part.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from mainstay.core.call import Call
from mainstay.core.draft import Draft, Verdict
from mainstay.core.evidence import Passage
from mainstay.core.feature import Feature, MessageRung
from mainstay.core.seams import Guard, Hold, Source
from mainstay.serve.guarding import ACTIONS, Screening
from mainstay.serve.ready import SENTENCE, WHOLE, Ready, ReadyGuard
from mainstay.serve.tracing import Trace

PASSES = ("allow", "replace")
ODD_TEXTS = (
    "",
    " \n\t",
    "\x00\x1b[31m\x7f",
    "\ud800 half a pair",
    "e\u0301\u0327\u200b\u200d\ufe0f\u202e",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "ﷺ ½ ﬃ İıßẞςΣ Ａ",
    "{}[]()*+?.\\^$|'\"`<>&%",
    "ก็ हिन्दी 한국어 汉字 العربية",
    "a" * 20_000,
)
ODD_QUERIES = (*ODD_TEXTS, 'AND OR NOT NEAR("a" b)', '"', "*", "a-b:c^2", "'; drop table words; --", "?")


async def check_guard(guard: Guard, texts: Iterable[str], *, sizes: Iterable[int] = (1, 2, 3, 7, 1000)) -> None:
    """Does the guard say the same of a text in one piece and of the same text as it grows, piece by piece of each of these sizes?

    Its verdicts have to be well formed, for inputs and for odd texts too. Of a text that it stops, nothing may have left that it
    would have had to hold back; what was shown is never changed.
    """
    ready = ReadyGuard("under test", guard, _hold(guard))
    assert inspect.iscoroutinefunction(guard.check), "`check` has to be declared with `async def`"
    for text in (*texts, *ODD_TEXTS):
        whole = await _verdict(guard, Draft(call=_call(), text=text))
        on_input = await _verdict(guard, Draft(call=_call(text), stage="input"))
        assert on_input.action in ("allow", "refuse"), (
            f"an input can be allowed or refused, not answered with {on_input.action!r}"
        )
        for size in sizes:
            if len(text) > 500 and size < 1000:
                continue
            await check_cuts(ready, text, [text[i : i + size] for i in range(0, len(text), size)], whole)


async def check_cuts(guard: ReadyGuard, text: str, pieces: Iterable[str], whole: Verdict) -> str:
    """As `check_guard`, for one way to cut a text and the verdict on the whole of it; gives what was shown before its end."""
    released: list[str] = []
    screening = Screening(_trace(), rung="test", guards=(guard,), early=True, release=released.append)
    stop = None
    for piece in pieces:
        stop = await screening.add(piece)
        assert text.startswith("".join(released)) or whole.action == "replace", f"what was shown is not the text: {text[:80]!r}"
        if stop is not None:
            break
    shown = "".join(released)
    stop = stop or await screening.complete()
    streamed = "passes" if stop is None else "is stopped"
    assert (stop is None) == (whole.action in PASSES), (
        f"in one piece: {whole.action}; piece by piece it {streamed}: {text[:80]!r}"
    )
    final = text if whole.text is None else whole.text
    if stop is None and screening.data is None and not final.isspace():
        assert "".join(released) == final, f"piece by piece another text is shown than in one piece: {text[:80]!r}"
    elif stop is not None:
        rest = await _verdict(guard.guard, Draft(call=_call(), text=text, shown=len(shown)))
        assert rest.action not in PASSES, f"all that stops this text was shown already: {text[:80]!r}"
    return shown


async def check_source(source: Source, *, finds: Iterable[str], misses: Iterable[str] = ()) -> list[Passage]:
    """Does the source find something for each of the questions in `finds`, and nothing for those in `misses`?

    Passages have to be well formed, best first, and the same each time; no query may make it raise. Gives all passages found.
    """
    assert isinstance(source.version, str) and source.version, "`version` is a text that changes with the content"
    found: list[Passage] = []
    for query in finds:
        passages = await source.search(query, limit=3)
        assert passages, f"nothing was found for {query!r}"
        assert passages == await source.search(query, limit=3), f"the same search has two results: {query!r}"
        assert len(await source.search(query, limit=1)) == 1, "`limit` is the most passages that are given"
        found += passages
        _check_passages(passages, query)
    for query in (*misses, *ODD_QUERIES):
        passages = await source.search(query, limit=3)
        assert not passages or query in ODD_QUERIES, f"something was found for {query!r}"
        _check_passages(passages, query)
    return found


def _check_passages(passages: list[Passage], query: str) -> None:
    assert len(passages) <= 3, "`limit` is the most passages that are given"
    assert len({p.id for p in passages}) == len(passages), f"two passages have one id, for {query[:80]!r}"
    scores = [p.score for p in passages]
    assert all(0 <= score <= 1 for score in scores), f"a score is between 0 and 1: {scores}"
    for passage in passages:
        assert passage.text.strip() and passage.document and passage.source, f"a passage says nothing: {passage.id}"
        assert passage.start <= passage.end, f"a passage ends before it begins: {passage.id}"


def _hold(guard: Guard) -> int:
    if isinstance(guard.hold, Hold):
        return {Hold.NOTHING: 0, Hold.SENTENCE: SENTENCE, Hold.WHOLE: WHOLE}[guard.hold]
    assert isinstance(guard.hold, int) and guard.hold >= 0, "`hold` is a number of characters, or a Hold"
    return guard.hold


async def _verdict(guard: Guard, draft: Draft) -> Verdict:
    verdict = await guard.check(draft)
    assert isinstance(verdict, Verdict) and verdict.action in ACTIONS, f"that is no verdict: {verdict!r}"
    if verdict.action == "replace":
        assert verdict.text is not None or verdict.data is not None, "`replace` brings the text or the data to go on with"
    if verdict.text is not None:
        assert verdict.text.startswith(draft.text[: draft.shown]), "what was shown already cannot be changed"
    if verdict.action == "retry":
        assert verdict.remark, "`retry` brings a remark for the model"
    if verdict.action in ("retry", "refuse"):
        assert verdict.reason is not None, f"{verdict.action!r} brings a reason"
    return verdict


def _call(text: str = "question") -> Call:
    return Call(id="test", feature="test", input={"question": text})


def _trace() -> Trace:
    feature = Feature(name="test", summary="A test", ladder=(MessageRung(message="-"),))
    ready = Ready(
        digest="test", feature=feature, rungs=(), input_guards=(), output_guards=(), sources={}, read_input=dict, keeps=0.0
    )
    return Trace(_call(), ready)
