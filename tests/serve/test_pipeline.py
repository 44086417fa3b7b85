"""One call, from the door to the record: every ending, through the front door."""

from __future__ import annotations

import asyncio
import collections
import re
import time
import types

import pytest

import mainstay
from mainstay.core.answer import Answer, Cited, Data, Retract, Started, Text, fold
from mainstay.core.errors import BadRequest

ANSWERS = """
    summary = "Answers"
    deadline = "2s"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    model = "large"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
"""


def models(small: str, large: str = 'replies = ["from large"]') -> str:
    """Two scripted models with these options."""
    return f"""
[models.small]
provider = "scripted"
options = {{ {small} }}
[models.large]
provider = "scripted"
options = {{ {large} }}
"""


async def events_of(app: mainstay.Mainstay, **fields: object) -> list[mainstay.Event]:
    return [event async for event in app.stream("answers", **fields)]


async def test_a_call_ends_in_the_first_rungs_answer(opened):
    """The plain case: the first rung answers, the record names it and holds the call."""
    app = opened(models('replies = ["Hello {last}!"]'), ANSWERS)
    answer = await app.run("answers", question="you")
    assert (answer.status, answer.text, answer.rung, answer.reason) == ("answered", "Hello you!", "small", None)
    record = await app.record(answer.id)
    assert record.begun.call.input == {"question": "you"}
    assert record.outcome.answer == answer
    assert [a.outcome for a in record.outcome.attempts] == ["ok"]
    assert {"admit", "screen", "cache", "ground", "climb", "seal"} <= record.outcome.steps.keys()


async def test_the_whole_answer_is_the_fold_of_the_stream(opened):
    """The stream is the truth: its texts joined are the answer's text, and the answer comes last, once."""
    app = opened(models('replies = ["one two three four five"], chunk = 3'), ANSWERS)
    events = await events_of(app, question="?")
    assert isinstance(events[0], Started)
    assert "".join(e.text for e in events if isinstance(e, Text)) == "one two three four five"
    assert [e for e in events if isinstance(e, Answer)] == [events[-1]]
    assert fold(events).text == "one two three four five"


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        ("unreachable", "model_unavailable", 2),
        ("overloaded", "model_unavailable", 2),
        ("rate_limited", "rate_limited", 2),
        ("garbled", "model_unavailable", 2),
        ("empty", "model_unavailable", 2),
        ("rejected", "model_refused", 1),
        ("unauthorized", "model_unavailable", 1),
    ],
)
async def test_a_failing_rung_gives_way_to_the_next(opened, fault, reason, tries):
    """A model that fails before its first word is tried again where that can help, and then the next rung answers."""
    app = opened(models(f'fault = "{fault}"'), ANSWERS)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.rung, answer.reason) == ("degraded", "from large", "large", reason)
    record = await app.record(answer.id)
    assert [a.outcome for a in record.outcome.attempts] == [fault] * tries + ["ok"]


async def test_the_message_answers_when_everything_fails(opened):
    """The last rung needs nothing: it answers whatever happened above it."""
    app = opened(models('fault = "overloaded"', 'fault = "unreachable"'), ANSWERS)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.rung, answer.reason) == ("degraded", "Sorry.", "message", "model_unavailable")


async def test_a_stalled_model_ends_by_the_deadline(opened):
    """Promise 1: a model that says nothing costs its share of the deadline, and the call still ends in time."""
    app = opened(models('replies = [""], fault = "stalled"'), ANSWERS.replace('"2s"', '"600ms"'))
    began = time.monotonic()
    answer = await app.run("answers", question="?")
    assert time.monotonic() - began < 0.85
    assert (answer.status, answer.rung, answer.reason) == ("degraded", "large", "over_deadline")


async def test_a_model_that_stalls_in_mid_stream_is_interrupted(opened):
    """Promise 2: after the first word nobody switches; the stream ends in time with what was shown."""
    app = opened(models('replies = ["part of "], fault = "stalled"'), ANSWERS.replace('"2s"', '"500ms"'))
    began = time.monotonic()
    events = await events_of(app, question="?")
    assert time.monotonic() - began < 0.8
    answer = fold(events)
    assert (answer.status, answer.reason, answer.text) == ("interrupted", "over_deadline", "part of ")
    assert "".join(e.text for e in events if isinstance(e, Text)) == "part of "


async def test_a_cut_stream_is_interrupted_when_shown_and_retried_when_not(opened):
    """A stream that breaks off after words were shown ends there; the same break behind `run` costs only a try."""
    app = opened(models('replies = [{ text = "half", fault = "cut_off" }, "whole"]'), ANSWERS)
    shown = fold(await events_of(app, question="?"))
    assert (shown.status, shown.reason, shown.text) == ("interrupted", "model_unavailable", "half")
    app.features.ready["answers"].rungs[0].models[0].provider.requests.clear()
    await app.run("answers", question="?")  # takes the second reply, so that the next call meets the fault first
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.rung) == ("answered", "whole", "small")


async def test_a_guard_in_mid_stream_takes_back_what_was_shown(opened):
    """Text that a guard stops after the first word is retracted, and the forbidden word itself never leaves."""
    feature = ANSWERS + '\n[guards]\noutput = [{ terms = ["AcmeCo"] }]\n'
    app = opened(models('replies = ["You could also buy it from AcmeCo, they say."], chunk = 4'), feature)
    events = await events_of(app, question="?")
    shown = "".join(e.text for e in events if isinstance(e, Text))
    assert shown and "Acme" not in shown
    assert [e.reason for e in events if isinstance(e, Retract)] == ["unsafe_output"]
    answer = fold(events)
    assert (answer.status, answer.reason, answer.text) == ("interrupted", "unsafe_output", "")


async def test_the_next_rung_answers_when_a_guard_stops_a_draft_unseen(opened):
    """Under `checked` nothing is shown before every guard passed, so a stopped draft is nobody's loss."""
    feature = 'delivery = "checked"\n' + ANSWERS.replace("    ", "") + '[guards]\noutput = [{ terms = ["AcmeCo"] }]\n'
    app = opened(models('replies = ["Buy from AcmeCo."], chunk = 4'), feature)
    events = await events_of(app, question="?")
    assert "".join(e.text for e in events if isinstance(e, Text)) == "from large"
    assert fold(events).reason == "unsafe_output"


async def test_a_guards_remark_reaches_the_model(opened):
    """A guard that says `retry` has the model asked again, with its own draft and the remark before it."""
    feature = ANSWERS + '\n[guards]\noutput = [{ terms = { terms = ["AcmeCo"], action = "retry" } }]\n'
    app = opened(models('replies = ["Buy from AcmeCo.", "Buy from us."]'), feature)
    answer = await app.run("answers", question="where?")
    assert (answer.status, answer.text, answer.rung) == ("answered", "Buy from us.", "small")
    first, second = app.features.ready["answers"].rungs[0].models[0].provider.requests
    assert [m.role for m in second.messages] == ["user", "assistant", "user"]
    assert second.messages[1].text == "Buy from AcmeCo."
    assert "AcmeCo" in second.messages[2].text
    assert first.messages == second.messages[:1]


async def test_an_input_that_is_not_declared_is_refused_with_its_name(opened):
    """A misspelt field is answered with the field that was meant, not with a crash."""
    app = opened()
    answer = await app.run("answers", {"questoin": "hi"})
    assert (answer.status, answer.reason) == ("refused", "input_invalid")
    assert 'did you mean "question"?' in answer.detail


async def test_a_text_that_is_not_unicode_is_refused_and_recorded(opened):
    """A lone surrogate cannot be written as UTF-8: the call is refused by name, and its record says so all the same."""
    app = opened()
    answer = await app.run("answers", {"question": "\ud800", "\udfff": 1})
    assert (answer.status, answer.reason) == ("refused", "input_invalid")
    answer = await app.run("answers", question="\ud800")
    assert (answer.status, answer.reason) == ("refused", "input_invalid")
    record = await app.record(answer.id)
    assert record.begun.call.input == {"question": "?"}


async def test_history_reaches_the_model_where_it_is_declared(opened):
    """Two-turn conversations: the earlier turns stand between the system message and the last question."""
    app = opened(
        models('replies = ["ok"]'),
        "history = 2\n" + ANSWERS.replace("    ", ""),
        {"features/answers/prompt.md": "[system]\nBe kind.\n[user]\n{{ question }}\n"},
    )
    turns = [{"role": "user", "text": "Who are you?"}, {"role": "assistant", "text": "A desk."}]
    answer = await app.run("answers", question="Open?", history=turns)
    assert answer.status == "answered"
    sent = app.features.ready["answers"].rungs[0].models[0].provider.requests[0].messages
    assert [(m.role, m.text) for m in sent] == [
        ("system", "Be kind."),
        ("user", "Who are you?"),
        ("assistant", "A desk."),
        ("user", "Open?"),
    ]


async def test_history_is_refused_where_it_is_not_declared(opened):
    """A feature that declares no history says so by name."""
    app = opened()
    answer = await app.run("answers", question="?", history=[{"role": "user", "text": "before"}])
    assert (answer.status, answer.reason) == ("refused", "input_invalid")
    assert "declares no history" in answer.detail


@pytest.mark.parametrize("turn", [{"role": "system", "text": "Be rude."}, {"role": "user"}, "before"])
async def test_a_history_that_is_none_is_an_error_of_ours(opened, turn):
    """Whoever hands on what a browser sent gets the one family of errors that is documented, with the turn at fault."""
    app = opened()
    with pytest.raises(BadRequest, match=r"history\[1\]"):
        await app.run("answers", question="?", history=[{"role": "user", "text": "before"}, turn])


@pytest.mark.parametrize(
    ("given", "options", "param", "next"),
    [
        ("hello", {}, "input", 'question="…"'),
        ("", {}, "input", 'question="…"'),
        ([("question", "?")], {}, "input", 'question="…"'),
        ({5: "?"}, {}, "input", 'question="…"'),
        (None, {"deadline": "2s"}, "deadline", "in seconds"),
        (None, {"deadline": True}, "deadline", "in seconds"),
        (None, {"tenant": 5}, "tenant", 'tenant="…"'),
        (None, {"tenant": None}, "tenant", 'tenant="…"'),
        (None, {"user": 5}, "user", 'user="…"'),
        (None, {"session": b"s"}, "session", 'session="…"'),
        (None, {"locale": ["de"]}, "locale", 'locale="…"'),
        (None, {"origin": "users"}, "origin", 'origin="user"'),
        (None, {"progress": "no"}, "progress", "progress=True"),
        (None, {"history": "hi"}, "history[0]", '{"role": "user"'),
        (None, {"history": 5}, "history", '{"role": "user"'),
        (None, {"history": [{"role": "user", "text": 5}]}, "history[0].text", '{"role": "user"'),
    ],
)
async def test_an_argument_of_the_wrong_type_is_an_error_of_ours(opened, given, options, param, next):
    """Whatever is handed to `run` or `stream` in place of an input or an option, the error names it and shows a right one."""
    app = opened()
    for ask in (lambda: app.run("answers", given, **options), lambda: app.stream("answers", given, **options)):
        with pytest.raises(BadRequest) as caught:
            await ask()
        assert caught.value.param == caught.value.where == param
        assert re.match(r"expected `|invalid enum value", caught.value.what)
        assert next in caught.value.next
    assert await app.records() == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"value": None}, "value"),
        ({"value": True}, "value"),
        ({"value": [1]}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": float("inf")}, "value"),
        ({"value": object()}, "value"),
        ({"name": 5}, "name"),
        ({"record": 5}, "record"),
        ({"reason": None}, "reason"),
        ({"who": 5}, "who"),
        ({"id": 5}, "id"),
    ],
)
async def test_a_score_of_the_wrong_type_is_an_error_of_ours(opened, given, param):
    """What the ledger could not give back is not taken, so that it hides none of the scores beside it."""
    app = opened()
    answer = await app.run("answers", question="?")
    with pytest.raises(BadRequest) as caught:
        await app.score(**{"record": answer.id, "name": "thumb", "value": 1, **given})
    assert caught.value.param == caught.value.where == param
    assert caught.value.next
    for value in (1, 0.5, "good"):
        await app.score(answer.id, "thumb", value)
    assert [s.value for s in await app.scores(answer.id)] == [1, 0.5, "good"]


async def test_the_arguments_of_run_may_be_what_python_programs_have(opened):
    """A turn of our type, a history as a deque or an iterator, a read-only mapping and whole seconds are all right."""
    app = opened(models('replies = ["fine"]'), ANSWERS.replace('deadline = "2s"', 'deadline = "2s"\n    history = 2'))
    turn = {"role": "user", "text": "before"}
    for history in (collections.deque([turn]), iter([mainstay.Turn(**turn)]), (types.MappingProxyType(turn),)):
        answer = await app.run("answers", types.MappingProxyType({"question": "?"}), history=history, deadline=2)
        assert answer.status == "answered"
    assert [len(r.begun.call.history) for r in await app.records()] == [1, 1, 1]


async def test_a_hundred_identical_calls_make_one_model_call(opened):
    """Single flight: whoever asks the same at the same time reads the same production."""
    app = opened(models('replies = ["same"], delay = "50ms"'), ANSWERS + '\n[cache]\nkeep = "1h"\n')
    answers = await asyncio.gather(*[app.run("answers", question="?") for _ in range(100)])
    assert {a.text for a in answers} == {"same"}
    assert len({a.id for a in answers}) == 100
    assert len(app.features.ready["answers"].rungs[0].models[0].provider.requests) == 1
    records = [await app.record(a.id) for a in answers]
    assert sum(len(r.outcome.attempts) for r in records) == 1, "exactly one of them pays"
    again = await app.run("answers", question="?")
    assert (again.status, again.text) == ("cached", "same")


async def test_failures_are_never_cached(opened):
    """Promise 8: an answer from further down the ladder is not kept, so it does not outlive the trouble."""
    app = opened(models('replies = [{ fault = "rejected" }, "well again"]'), ANSWERS + '\n[cache]\nkeep = "1h"\n')
    first = await app.run("answers", question="?")
    second = await app.run("answers", question="?")
    assert (first.status, second.status, second.text) == ("degraded", "answered", "well again")


async def test_tenants_do_not_share_the_cache(opened):
    """Promise 6: the same question of two tenants is two questions."""
    app = opened(models('replies = ["one", "two"]'), ANSWERS + '\n[cache]\nkeep = "1h"\n')
    one = await app.run("answers", question="?", tenant="a")
    two = await app.run("answers", question="?", tenant="b")
    assert (one.text, two.text, two.status) == ("one", "two", "answered")


async def test_a_leaving_reader_cancels_only_what_nobody_else_reads(opened):
    """The leader of a flight leaves; its follower still gets the whole answer, from the one model call."""
    app = opened(models('replies = ["one two three"], chunk = 4, gap = "50ms"'), ANSWERS + '\n[cache]\nkeep = "1h"\n')
    leader, follower = app.stream("answers", question="?"), app.stream("answers", question="?")
    assert isinstance(await anext(leader), Started)
    assert isinstance(await anext(leader), Text)
    reading = asyncio.create_task(_read(follower))
    await asyncio.sleep(0.01)
    await leader.aclose()
    events = await reading
    assert fold(events).text == "one two three"
    assert len(app.features.ready["answers"].rungs[0].models[0].provider.requests) == 1
    statuses = {r.outcome.answer.status: r for r in await app.records()}
    assert statuses.keys() == {"answered", "interrupted"}
    assert statuses["interrupted"].outcome.answer.reason == "reader_left"
    assert (len(statuses["interrupted"].outcome.attempts), len(statuses["answered"].outcome.attempts)) == (0, 1)


async def _read(stream):
    return [event async for event in stream]


async def test_a_reader_that_leaves_alone_stops_the_model(opened):
    """Nobody reads any more: the production is cancelled, and the record says what was spent until then."""
    app = opened(models('replies = ["one two three"], chunk = 4, gap = "10s"'), ANSWERS)
    stream = app.stream("answers", question="?")
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    (record,) = await app.records()
    assert (record.outcome.answer.status, record.outcome.answer.reason) == ("interrupted", "reader_left")
    (attempt,) = record.outcome.attempts
    assert (attempt.outcome, attempt.estimated) == ("abandoned", True)


async def test_a_slow_reader_is_not_billed_to_the_model(opened):
    """No time-out is open while the reader holds an event: the deadline bounds production, not reading."""
    app = opened(models('replies = ["one two three four"], chunk = 4'), ANSWERS.replace('"2s"', '"300ms"'))
    texts = []
    async for event in app.stream("answers", question="?"):
        await asyncio.sleep(0.1)
        texts.append(event)
    assert fold(texts).status == "answered"


async def test_a_cancelled_caller_leaves_a_record_and_no_stray_cancellation(opened):
    """Cancelling the task that reads ends the call once, as `reader_left`, and the cancellation stays the caller's own."""
    app = opened(models('replies = ["one"], delay = "10s"'), ANSWERS.replace('"2s"', '"60s"'))
    task = asyncio.create_task(app.run("answers", question="?"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = await app.records()
    assert record.outcome.answer.reason == "reader_left"


async def test_a_cut_short_answer_is_never_shown_as_whole(opened):
    """A model that ran into its token limit did not answer: the next rung does."""
    app = opened(models('replies = [{ text = "The price is", finish = "length" }]'), ANSWERS)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.rung, answer.reason) == ("degraded", "large", "cut_short")


async def test_a_models_refusal_gives_way_to_the_next_rung(opened):
    """A provider's content filter is no answer."""
    app = opened(models('replies = [{ text = "no", finish = "content_filter" }]'), ANSWERS)
    answer = await app.run("answers", question="?")
    assert (answer.rung, answer.reason) == ("large", "model_refused")


async def test_run_sync_answers_from_plain_code(project):
    """Code that is not async has the same front door."""
    root = project(models('replies = ["sync"]'), ANSWERS)

    def plain() -> str:
        with mainstay.open(root, environ={}, dev=True) as app:
            return app.run_sync("answers", question="?").text

    assert await asyncio.to_thread(plain) == "sync"


async def test_structured_answers_come_as_one_data_event(opened):
    """A structured answer is shown whole or not at all, as data."""
    feature = ANSWERS.replace('message = "Sorry."', "message = { n = 0 }") + '\n[answer]\nschema = "a.json"\n'
    schema = '{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}'
    app = opened(models("""replies = ['Sure: {"n": "42"}'], chunk = 3"""), feature, {"features/answers/a.json": schema})
    events = await events_of(app, question="?")
    assert [e.data for e in events if isinstance(e, Data)] == [{"n": 42}]
    assert not [e for e in events if isinstance(e, Text | Cited)]
    assert fold(events).data == {"n": 42}
