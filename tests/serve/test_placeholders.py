"""What an input guard hides is hidden from everything behind it, and put back in what its own caller gets."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainstay.core.answer import Answer, Citation, Cited, Data, Retract, Text, fold
from mainstay.core.model import ToolCall
from mainstay.core.reasons import Reason, Status
from mainstay.serve.placeholders import Restoring, restored

ANN, BOB = "ann.lee@example.org", "bob-the-very-long-one@mail.example.net"
GUARDED = """
    summary = "Answers"
    deadline = "2s"
    history = 4
    {more}
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
    [guards]
    input = {input}
    [cache]
    keep = "1h"
"""
PROMPT = {"features/answers/prompt.md": "{{ question }}"}


def small(options: str = 'replies = ["You are {last}, I see."], chunk = 3') -> str:
    return f'[models.small]\nprovider = "scripted"\noptions = {{ {options} }}\n'


def feature(input: str = '["size", "personal_data"]', more: str = "") -> str:
    return GUARDED.format(input=input, more=more)


def asked(app):
    return app.features.ready["answers"].rungs[0].models[0].provider.requests


async def events_of(app, **fields):
    return [event async for event in app.stream("answers", **fields)]


def shown(events) -> str:
    return "".join(e.text for e in events if isinstance(e, Text))


async def on_disk(app) -> bytes:
    """Every byte that the project's state holds, once all is written."""
    await app.records(limit=1)
    return b"".join(p.read_bytes() for p in app.state.rglob("*") if p.is_file())


@pytest.mark.parametrize("delivery", ["stream", "checked"])
async def test_the_model_sees_a_placeholder_and_the_caller_the_name(opened, delivery):
    """The prompt holds the placeholder; stream, answer and each of its pieces what the caller gave; record and disk never."""
    app = opened(small(), feature(more=f'delivery = "{delivery}"'), PROMPT)
    events = await events_of(app, question=f"the one at {ANN}")
    answer = fold(events)
    assert answer.text == shown(events) == f"You are the one at {ANN}, I see."
    assert [m.text for m in asked(app)[0].messages] == ["the one at [email_1]"]
    record = await app.record(answer.id)
    assert record.begun.call.input == {"question": "the one at [email_1]"}
    assert record.outcome.answer.text == "You are the one at [email_1], I see."
    assert [(g.guard, g.action, g.detail) for g in record.outcome.guards] == [
        ("personal_data", "replace", "1 email in the input")
    ]
    assert ANN.encode() not in await on_disk(app)


async def test_two_users_share_a_flight_and_a_cache_and_each_gets_their_own(opened):
    """Calls that differ only in what is hidden are one production; each reader, and each cache hit, has its own name back."""
    app = opened(small('replies = ["Dear [email_1], hello."], chunk = 2, gap = "5ms"'), feature(), PROMPT)
    both = await asyncio.gather(events_of(app, question=f"I am {ANN}"), events_of(app, question=f"I am {BOB}"))
    again = await app.run("answers", question=f"I am {BOB}")
    assert [shown(events) for events in both] == [f"Dear {ANN}, hello.", f"Dear {BOB}, hello."]
    assert [fold(events).text for events in both] == [f"Dear {ANN}, hello.", f"Dear {BOB}, hello."]
    assert (again.status, again.text) == ("cached", f"Dear {BOB}, hello.")
    assert len(asked(app)) == 1
    assert not {ANN.encode(), BOB.encode()} & {*(await on_disk(app)).split()}
    assert ANN.encode() not in await on_disk(app)


async def test_the_history_has_the_same_placeholders_and_keeps_them(opened):
    """One value has one placeholder in history and question, and the numbers of a conversation stay as it grows."""
    app = opened(small(), feature(), PROMPT)
    turns = [{"role": "user", "text": f"I am {ANN}"}, {"role": "assistant", "text": f"Hello {ANN}, not {BOB}?"}]
    answer = await app.run("answers", question=f"{BOB} is not {ANN}", history=turns)
    assert answer.text == f"You are {BOB} is not {ANN}, I see."
    call = (await app.record(answer.id)).begun.call
    assert [t.text for t in call.history] == ["I am [email_1]", "Hello [email_1], not [email_2]?"]
    assert call.input == {"question": "[email_2] is not [email_1]"}


async def test_a_placeholder_that_the_caller_typed_means_nothing(opened):
    """`[email_1]` in a question is neither anybody's address nor given out for another."""
    app = opened(small(), feature(), PROMPT)
    answer = await app.run("answers", question=f"[Email 1] and {ANN}")
    assert answer.text == f"You are [Email 1] and {ANN}, I see."
    assert asked(app)[0].messages[0].text == "[Email 1] and [email_2]"


async def test_a_structured_answer_is_put_back_and_stays_json(opened):
    """Texts, keys and lists of data are restored in the event and in the answer; the record's are not."""
    schema = {"type": "object", "required": ["to"], "properties": {"to": {"type": "string"}, "all": {"type": "array"}}}
    reply = json.dumps({"to": "[email_1]", "all": ["[email_1]", 1]}).replace('"', '\\"')
    app = opened(
        small(f'replies = ["{reply}"]'),
        feature().replace('message = "Sorry."', 'message = { to = "-" }') + '\n    [answer]\n    schema = "answer.json"\n',
        {**PROMPT, "features/answers/answer.json": json.dumps(schema)},
    )
    events = await events_of(app, question=f"to {ANN}")
    wanted = {"to": ANN, "all": [ANN, 1]}
    assert [e.data for e in events if isinstance(e, Data)] == [wanted]
    assert fold(events).data == wanted
    assert (await app.record(fold(events).id)).outcome.answer.data == {"to": "[email_1]", "all": ["[email_1]", 1]}


async def test_an_interrupted_stream_shows_no_half_of_a_placeholder_as_its_end(opened):
    """Where the model breaks off in the middle of a placeholder, stream and answer agree, and nobody's name is guessed."""
    app = opened(small('replies = ["Dear [email_1], or [ema"], fault = "cut_off", chunk = 2'), feature(), PROMPT)
    events = await events_of(app, question=f"I am {ANN}")
    assert fold(events).status == "interrupted"
    assert shown(events) == fold(events).text == f"Dear {ANN}, or [ema"


async def test_a_reader_who_leaves_leaves_no_name(opened):
    """The record of a stream that nobody read to its end holds placeholders, in the call and in what was shown."""
    app = opened(small('replies = ["Dear [email_1], there is more to say"], chunk = 4, gap = "20ms"'), feature(), PROMPT)
    stream = app.stream("answers", question=f"I am {ANN}")
    seen = ""
    async for event in stream:
        seen += event.text if isinstance(event, Text) else ""
        if ANN in seen:
            break
    await stream.aclose()
    record = (await app.records(limit=1))[0]
    assert record.outcome.answer.reason == "reader_left"
    assert "Dear [email_1]" in record.outcome.answer.text
    assert ANN.encode() not in await on_disk(app)


@pytest.mark.parametrize(
    ("asked_with", "input", "reason"),
    [
        ({"question": f"I am {ANN}", "history": [{"role": "user", "text": ANN}] * 9}, '["personal_data"]', "input_invalid"),
        ({"question": f"{ANN} " * 9}, '[{ size = { max = 20 } }, "personal_data"]', "input_invalid"),
        ({"question": f"I am {ANN}"}, '[{ personal_data = "refuse" }]', "unsafe_input"),
        ({"question": f"I am {ANN}"}, '["failing_parts:Fails", "personal_data"]', "unsafe_input"),
    ],
)
async def test_what_ends_before_it_was_screened_is_recorded_without_its_texts(opened, caplog, asked_with, input, reason):
    """A call that is refused before, or by, the guard that hides what is private leaves no text of it on disk or in the log."""
    part = """
        class Fails:
            hold = 0

            async def check(self, draft):
                raise ValueError(f"cannot read {draft.call.input}")
    """
    app = opened(small(), feature(input=input), {**PROMPT, "failing_parts.py": part})
    answer = await app.run("answers", **asked_with)
    assert (answer.status, answer.reason) == ("refused", reason)
    assert (await app.record(answer.id)).outcome.answer.reason == reason
    assert ANN.encode() not in await on_disk(app)
    assert ANN not in "".join(logging.Formatter().format(record) for record in caplog.records)


async def test_without_such_a_guard_records_are_as_before(opened):
    """Placeholders cost nobody their records: without the guard a refused call keeps its texts."""
    app = opened(small(), feature(input="[{ size = { max = 5 } }]"), PROMPT)
    answer = await app.run("answers", question=f"I am {ANN}")
    assert (await app.record(answer.id)).begun.call.input == {"question": f"I am {ANN}"}


async def test_an_input_that_can_hold_no_placeholder_is_refused_by_name(opened):
    """A field whose schema wants an address gets a sentence, and no crash further down."""
    schema = {"type": "object", "properties": {"mail": {"type": "string", "format": "email"}}, "required": ["mail"]}
    text = feature().replace("[guards]", '[input]\n    schema = "input.json"\n    [guards]')
    app = opened(small(), text, {"features/answers/input.json": json.dumps(schema), "features/answers/prompt.md": "{{ mail }}"})
    answer = await app.run("answers", mail=ANN)
    assert (answer.status, answer.reason) == ("refused", "input_invalid")
    assert "mail" in answer.detail and "taken out" in answer.detail


async def test_images_and_redaction(opened):
    """`redact` hides for good, and an image goes on as it is."""
    fields = '[input]\n    question = "text"\n    photo = "image?"\n    [guards]'
    text = feature(input='[{ personal_data = "redact" }]').replace("[guards]", fields)
    app = opened(small('replies = ["Hello [email] {last}"]'), text, PROMPT)
    answer = await app.run("answers", question=f"I am {ANN}", photo="data:image/png;base64,iVBORw0KGgo=")
    assert answer.text == "Hello [email] I am [email]"
    assert (await app.record(answer.id)).begun.call.input["photo"].startswith("data:image")


# The restoring itself


MAP = {"[person_1]": "Ann Lee", "[person_2]": "Bob", "[person_12]": 'Zoë "Z" O\'Neil\n'}
MANGLED = [
    "[person_1]",
    "[Person_1]",
    "[PERSON 1]",
    "[person-1]",
    "[ person_1 ]",
    r"\[person\_1\]",
    "【person_1】",
    "［person＿１］",
]


@pytest.mark.parametrize("written", MANGLED)
def test_a_model_may_write_a_placeholder_its_own_way(written):
    """Case, blanks, hyphens, Markdown's backslashes and the brackets of other scripts are still the placeholder."""
    assert restored(f"Dear {written}!", MAP) == "Dear Ann Lee!"


@pytest.mark.parametrize(
    "text", ["person_1", "(person_1)", "[person_3]", "[person]", "[1]", "[personne_1]", "[person_1", "person_1]"]
)
def test_what_is_not_surely_a_placeholder_stays(text):
    """A number that was never given out, and a word without its brackets, are text."""
    assert restored(text, MAP) == text


PIECES = st.sampled_from(
    ["[person_1]", "[Person 12]", "[per", "son_2]", "[", "]", "\\", "\\[person\\_2\\]", "[1]", "a ", "é", " [person_3]"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces=st.lists(PIECES, max_size=12), cuts=st.lists(st.integers(0, 80), max_size=10))
def test_a_stream_in_any_cut_says_what_the_whole_says(pieces, cuts):
    """However a text is cut, the pieces together are the restored whole, and no piece ends in half a placeholder's name."""
    text = "".join(pieces)
    places = sorted({0, len(text), *[c for c in cuts if c <= len(text)]})
    restoring = Restoring(MAP)
    out = [e.text for a, b in itertools.pairwise(places) for e in restoring.events([Text(text[a:b])])]
    out += [e.text for e in restoring.events([], over=True)]
    assert "".join(out) == restored(text, MAP)


def test_citations_move_with_the_text():
    """A citation covers the same stretch of what the reader sees, in the stream and in the answer."""
    raw = "Dear [person_2], it is [person_1] [1]. More."
    citation = Citation(passage="p", source="s", document="d", quote="says [person_1]", start=17, end=33)
    answer = Answer(id="a", feature="f", release="r", status=Status.ANSWERED, text=raw, citations=(citation,))
    restoring = Restoring(MAP)
    out = [e for piece in ("Dear [per", "son_2], it is [person_1] [1]", ". More.") for e in restoring.events([Text(piece)])]
    cited = [e.citation for e in restoring.events([Cited(citation)]) if isinstance(e, Cited)]
    final = restoring.answer(answer)
    assert "".join(e.text for e in out) == final.text == "Dear Bob, it is Ann Lee [1]. More."
    assert cited == list(final.citations)
    assert final.text[cited[0].start : cited[0].end] == "it is Ann Lee"
    assert cited[0].quote == "says Ann Lee"


def test_tool_calls_stay_json_and_what_is_taken_back_is_not_shown():
    """A value with quotes and line ends is escaped in a tool's arguments; a retraction shows nothing that was held back."""
    call = ToolCall(id="1", name="write", arguments='{"to": "[person_12]"}')
    (data,) = Restoring(MAP).events([Data(None, (call,))])
    assert json.loads(data.tool_calls[0].arguments) == {"to": MAP["[person_12]"]}
    restoring = Restoring(MAP)
    assert [e.text for e in restoring.events([Text("a [per")])] == ["a "]
    assert restoring.events([Retract(Reason.UNSAFE_OUTPUT)], over=True) == [Retract(Reason.UNSAFE_OUTPUT)]
