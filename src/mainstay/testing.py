"""Is a part of your own what its seam promises? Mainstay runs the same checks on every part that it ships.

    async def test_my_guard_keeps_the_seams_promises():
        await mainstay.testing.check_guard(NoCompetitors(names=["AcmeCo"]), texts=["Buy it at AcmeCo.", "Buy it here."])

Each check raises `AssertionError` with a sentence that says which promise was broken, and by which text. They show faults, not
their absence: give them texts and questions that matter to your part.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mainstay.core.answer import Answer, Citation
from mainstay.core.call import Call
from mainstay.core.case import Case
from mainstay.core.draft import Draft, Verdict
from mainstay.core.errors import SourceError
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.feature import Feature, MessageRung
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Begun, Outcome, Record
from mainstay.core.report import Opinion
from mainstay.core.seams import AHEAD, Counters, Database, Guard, Hold, Lacking, Scorer, Source, Subject, Take
from mainstay.serve.guarding import ACTIONS, Screening
from mainstay.serve.placeholders import restored
from mainstay.serve.ready import SENTENCE, WHOLE, Ready, ReadyGuard
from mainstay.serve.tracing import Trace

ANYBODY = Viewer()
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
        await _check_input(guard, text)
        for size in sizes:
            if len(text) > 500 and size < 1000:
                continue
            await check_cuts(ready, text, [text[i : i + size] for i in range(0, len(text), size)], whole)


async def _check_input(guard: Guard, text: str) -> None:
    """An input is allowed, refused, or replaced by one that says the same once its placeholders are put back."""
    call = _call(text)
    verdict = await _verdict(guard, Draft(call=call, stage="input"))
    assert verdict.action in ("allow", "refuse", "replace"), (
        f"an input can be allowed, refused or replaced, not answered with {verdict.action!r}"
    )
    if verdict.action == "replace":
        assert verdict.input is not None and verdict.input.keys() == call.input.keys(), "a replaced input has the same fields"
        if verdict.placeholders:
            assert restored(verdict.input, verdict.placeholders) == call.input, (
                f"what was replaced is not put back: {text[:80]!r}"
            )
        again = await _verdict(guard, Draft(call=_call(verdict.input["question"]), stage="input"))
        assert again.action == "allow" or again.input == verdict.input, f"what was replaced is replaced again: {text[:80]!r}"


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


async def check_source(
    source: Source, *, finds: Iterable[str], misses: Iterable[str] = (), viewer: Viewer = ANYBODY, shows: bool = False
) -> list[Passage]:
    """Does the source find something for each of the questions in `finds`, and nothing for those in `misses`?

    Passages have to be well formed, best first, and the same each time; no query may make it raise. With `shows` every passage
    that it found has to be there again by its id, and none by an id that there is not. Gives all passages found.
    """
    assert isinstance(source.version, str) and source.version, "`version` is a text that changes with the content"
    found: list[Passage] = []
    for query in finds:
        passages = await source.search(query, limit=3, viewer=viewer)
        assert passages, f"nothing was found for {query!r}"
        assert passages == await source.search(query, limit=3, viewer=viewer), f"the same search has two results: {query!r}"
        assert len(await source.search(query, limit=1, viewer=viewer)) == 1, "`limit` is the most passages that are given"
        found += passages
        _check_passages(passages, query)
    for query in (*misses, *ODD_QUERIES):
        passages = await source.search(query, limit=3, viewer=viewer)
        assert not passages or query in ODD_QUERIES, f"something was found for {query!r}"
        _check_passages(passages, query)
    if shows:
        await _check_shows(source, found, viewer)
    return found


async def check_database(
    database: Database,
    *,
    reads: str,
    values: Mapping[str, Any],
    row: Sequence[Any],
    many: str,
    writes: Iterable[str],
    hangs: str,
) -> None:
    """Does the database read one statement with named parameters, stop at a limit and in time, and never write?

    `reads` with `values` gives `row` and nothing else, `many` gives more than ten rows, `writes` are statements that change
    something, or are several, or are none, and `hangs` never ends by itself.
    """
    rows = await database.query(reads, values, limit=5, timeout=5.0)
    assert [tuple(found) for found in rows.rows] == [tuple(row)] and not rows.more, f"that is not the row: {rows.rows!r}"
    assert len(rows.columns) == len(row), "every column has a name"
    some = await database.query(many, {}, limit=3, timeout=5.0)
    assert len(some.rows) == 3 and some.more, "`limit` is the most rows that are given, and `more` says that there were others"
    for statement in (*writes, "", "-- nothing", f"{reads}; {reads}", "no statement at all"):
        await _refused(database, statement, values)
    for odd in ([1], {"a": 1}, object(), "\ud800"):
        await _refused(database, reads, dict.fromkeys(values, odd))
    await _refused(database, reads, {})
    began = time.monotonic()
    await _refused(database, hangs, {}, timeout=0.2)
    assert time.monotonic() - began < 5, "a statement that hangs is stopped when its time is over"
    again = await database.query(reads, values, limit=5, timeout=5.0)
    assert again == rows, "after all that, it answers as before"


async def _refused(database: Database, statement: str, values: Mapping[str, Any], *, timeout: float = 5.0) -> None:
    try:
        await database.query(statement, values, limit=5, timeout=timeout)
    except SourceError as error:
        assert error.what and error.where, f"an error says what and where: {error!r}"
    else:
        raise AssertionError(f"this was let pass: {statement!r} with {values!r}")


async def _check_shows(source: Any, found: Iterable[Passage], viewer: Viewer) -> None:
    for passage in found:
        again = await source.passage(passage.id, viewer=viewer)
        assert again is not None, f"a passage that was found is not shown again: {passage.id}"
        assert (again.text, again.version) == (passage.text, passage.version), f"another passage is shown: {passage.id}"
    for id in ("", "no such passage", *ODD_TEXTS):
        assert await source.passage(id, viewer=viewer) is None, f"there is no passage with the id {id[:80]!r}"


async def _no_judge(feature: str, input: Mapping[str, Any]) -> Answer:
    """There is nobody to ask: what a scorer gets whose judge cannot answer."""
    return Answer(
        id="judge", feature=feature, release="test", status=Status.UNAVAILABLE, reason=Reason.MODEL_UNAVAILABLE, text="Sorry."
    )


async def check_scorer(
    scorer: Scorer,
    *,
    expects: Iterable[Any] = (),
    refuses: Iterable[Any] = (),
    ask: Callable[[str, Mapping[str, Any]], Awaitable[Answer]] = _no_judge,
) -> list[Opinion]:
    """Has the scorer an opinion, or None, of whatever a feature may answer, and always the same one of the same answer?

    `expects` are expectations that cases may have of it, `refuses` such as it has to reject before an evaluation begins; `ask`
    stands in for other features. Answers are odd texts, data, refusals, empty and broken off; with citations that are there and
    not, with and without a case and a rival. Gives every opinion.
    """
    assert inspect.iscoroutinefunction(scorer.score), "`score` has to be declared with `async def`"
    accept = getattr(scorer, "check_expected", None)
    wanted = list(expects)
    for expected in wanted:
        if accept is not None:
            accept(expected)
    for expected in refuses:
        assert accept is not None, "`check_expected` is what rejects an expectation"
        try:
            accept(expected)
        except ValueError as error:
            assert str(error), f"a rejected expectation needs a sentence: {expected!r}"
        else:
            raise AssertionError(f"the expectation {expected!r} has to be rejected with a ValueError")
    found: list[Opinion] = []
    for subject in _subjects(wanted, ask):
        before = copy.deepcopy((subject.record, subject.case, subject.rival, subject.expected))
        opinion = await scorer.score(subject)
        shown = f"{subject.answer.status}, {subject.answer.shown[:60]!r}, expected {subject.expected!r}"
        _check_opinion(opinion, shown)
        assert opinion == await scorer.score(subject), f"the same answer has two opinions: {shown}"
        after = (subject.record, subject.case, subject.rival, subject.expected)
        assert before == after, f"a scorer only looks, it changes nothing: {shown}"
        if subject.expected is None and subject.case is not None:
            online = await scorer.score(msgspec.structs.replace(subject, case=None))
            assert online == opinion, f"the same answer has another opinion where there is no case: {shown}"
        found += [] if opinion is None else [opinion]
    return found


def _check_opinion(opinion: Any, shown: str) -> None:
    if opinion is None:
        return
    assert isinstance(opinion, Opinion), f"that is no opinion: {opinion!r} of {shown}"
    assert isinstance(opinion.reason, str), f"`reason` is a text: {shown}"
    value, passed = opinion.value, opinion.passed
    assert (value is None) is (passed is None), f"`value` and `passed` are known or unknown together: {opinion!r} of {shown}"
    if passed is None:
        assert opinion.reason, f"who could not tell says why: {shown}"
    else:
        assert isinstance(passed, bool), f"`passed` is true or false: {opinion!r} of {shown}"
        assert isinstance(value, int | float) and not isinstance(value, bool), f"`value` is a number: {opinion!r} of {shown}"
        assert math.isfinite(value) and 0 <= value <= 1, f"`value` is between 0 and 1: {opinion!r} of {shown}"
    msgspec.json.encode(opinion)  # a report has to be able to hold it


def _subjects(expects: Iterable[Any], ask: Callable[[str, Mapping[str, Any]], Awaitable[Answer]]) -> Iterator[Subject]:
    """What a scorer may be shown: each kind of answer, with each expectation, alone and beside a rival."""
    passage = Passage(id="guide.md#one", source="guide", document="guide.md", text="The answer is 42, says Ann.", version="1")

    async def look_up(citation: Citation) -> Passage | None:
        return passage if citation.passage == passage.id else None

    case = Case(input={"question": "question"})
    for answer in _answers(passage):
        record = _record(answer)
        rival = _record(msgspec.structs.replace(answer, text="Another answer.", data=None, citations=()))
        for expected in (None, *expects):
            seen = Subject(record=record, case=case, expected=expected, look_up=look_up, ask=ask)
            yield seen
            yield msgspec.structs.replace(seen, rival=rival)
            if expected is not None:
                yield msgspec.structs.replace(seen, unwanted=True)


def _answers(passage: Passage) -> Iterator[Answer]:
    plain = Answer(id="test", feature="test", release="test", status=Status.ANSWERED)
    for text in (*ODD_TEXTS, "The answer is 42, says Ann [1].", "[1, 2", '{"city": "Rome", "stops": [1, 2]}'):
        yield msgspec.structs.replace(plain, text=text)
    datas: tuple[Any, ...] = ({}, [], 0, False, "", 42, {"city": "Rome", "stops": [1, {"at": None}], "odd \ud800": "\ud800"})
    for data in datas:
        yield msgspec.structs.replace(plain, data=data)
    for status in Status:
        yield msgspec.structs.replace(plain, status=status, text="I can't answer that.", reason=Reason.NO_EVIDENCE)
    cited = Citation.of(passage, start=0, end=27, quote="the answer  is 42")
    gone = Citation(passage="guide.md#gone", source="guide", document="guide.md", start=0, end=10_000)
    for citations in ((cited,), (cited, gone), (gone,), (msgspec.structs.replace(cited, start=9, end=3),)):
        yield msgspec.structs.replace(plain, text="The answer is 42, says Ann [1].", citations=citations)


def _record(answer: Answer) -> Record:
    """A record of that answer whose cost nobody knows."""
    begun = Begun(id=answer.id, at=0.0, release=answer.release, call=_call())
    return Record(begun=begun, outcome=Outcome(id=answer.id, answer=answer, took_us=1_500_000, cost_nano_usd=None))


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
        parts = (verdict.input, verdict.history, verdict.request) if draft.stage == "input" else (verdict.text, verdict.data)
        assert any(part is not None for part in parts), "`replace` brings what to go on with"
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


def check_counters(first: Counters, second: Counters) -> None:
    """Do the counters, seen by two processes, never pass a cap, take all or nothing, and forget what is given back?

    `first` and `second` are two views of the same counts, or one and the same. The names that it counts under are new ones.
    """
    run, later = f"check {time.time_ns()}", int(time.time()) + 3600

    def take(by: Counters | None, *takes: tuple[str, int, int, int]) -> tuple[int, ...] | Lacking:
        return (by or second).take([Take(f"{run} {name}", need, want, most, later) for name, need, want, most in takes])

    def taken(name: str) -> int:
        (one,), (other,) = first.taken([f"{run} {name}"]), second.taken([f"{run} {name}"])
        assert one == other, f"{name} is {one} for the one and {other} for the other"
        return one

    assert taken("a") == 0, "what nobody has taken of is 0"
    assert take(first, ("a", 3, 3, 10)) == (3,), "the need is given where it fits"
    assert take(second, ("a", 7, 7, 10)) == (7,), "a cap may be reached exactly"
    assert take(first, ("a", 1, 1, 10)) == Lacking(f"{run} a", 10), "a cap was passed, or what is lacking was not named"
    assert take(first, ("a", 0, 0, 10)) == (0,), "nothing can always be taken"
    assert take(second, ("b", 5, 5, 9), ("a", 1, 1, 10)) == Lacking(f"{run} a", 10), "one cap of two was passed"
    assert taken("b") == 0, "what cannot be taken from all is taken from none"
    assert take(second, ("b", 5, 5, 9), ("b", 5, 5, 9)) == Lacking(f"{run} b", 5), "a counter that is named twice passed its cap"
    assert taken("b") == 0, "what cannot be taken from all is taken from none"
    first.give({f"{run} a": 4})
    assert taken("a") == 6, "what is given back is free again"
    assert take(second, ("a", 2, 2, 5)) == Lacking(f"{run} a", 6), "a cap that was lowered holds at once"
    second.give({f"{run} a": 100, f"{run} never": 1})
    assert taken("a") == 0 and taken("never") == 0, "less than nothing was taken"
    _check_ahead(take, taken)
    _check_endless(first, second, run)
    first.tend()
    assert taken("ahead") > 0, "what has not ended was cleared up"
    assert f"{run} ahead" in dict(first.all()) and dict(first.all()) == dict(second.all()), "`all` names what was taken of"
    old = Take(f"{run} old", 1, 1, 1, int(time.time()) - 60)
    assert first.take([old]) == (1,) and second.take([old]) == Lacking(old.counter, 1), "a clock may be set back"
    first.tend()
    second.tend()
    assert second.take([old]) == Lacking(old.counter, 1), "a window that has just ended was counted anew"
    assert old.counter not in dict(second.all()), "a window that has ended is listed"


def _check_ahead(take: Callable[..., Any], taken: Callable[[str], int]) -> None:
    """What is taken ahead of the need is never more than a part of what is left, and together never more than the cap."""
    most, all = 1000, 0
    while not isinstance(given := take(None, ("ahead", 1, 10**6, most)), Lacking):
        assert 1 <= given[0] <= max(1, (most - all) // AHEAD), f"{given[0]} of the {most - all} that were left was given for 1"
        all += given[0]
        assert all == taken("ahead") <= most, "a cap was passed"
    assert all == most, "something is left of a cap, and not given"


def _check_endless(first: Counters, second: Counters, run: str) -> None:
    """What has no end is given back by whoever took it, and by nobody else."""
    name = f"{run} at once"
    assert first.take([Take(name, 1, 1, 2, None)]) == (1,) == second.take([Take(name, 1, 1, 2, None)])
    assert first.take([Take(name, 1, 1, 2, None)]) == Lacking(name, 2), "a cap was passed"
    second.tend()
    first.tend()
    assert first.taken([name]) == (2,), "what a living process holds was taken from it"
    first.give({name: 1})
    second.give({name: 1})
    assert first.taken([name]) == (0,) == second.taken([name]), "what is given back is free again"
