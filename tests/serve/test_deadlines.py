"""Promise 1: always an answer, on time. Ladders of several shapes under every fault, through a real adapter and real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

import mainstay
from mainstay.core.answer import Answer, Text
from mainstay.core.record import Record
from mainstay.learn.faults import FAULTS, HEALTHY, FaultServer, Script
from mainstay.serve.breaker import FIRST_PAUSE, LEAST

LATE = 1.5  # seconds past a deadline that even a busy machine does not take
SCRIPT = Script(
    healthy="This answer is long enough for half of it to be something, and for guards to let some of it go before the end.",
    forbidden="nothing that is forbidden here",
    latency=0.05,
)

# The rungs above the last, with {small} and {large} for the models; and by whom a call is answered when both models fail.
SHAPES = {
    "two models and a search": (
        """
        [[ladder]]
        model = "{small}"
        prompt = "prompt.md"
        [[ladder]]
        model = "{large}"
        prompt = "prompt.md"
        tries = 1
        [[ladder]]
        search = "notes"
        """,
        "search",
    ),
    "one model": (
        """
        [[ladder]]
        model = "{small}"
        prompt = "prompt.md"
        """,
        "message",
    ),
    "three models": (
        """
        [[ladder]]
        model = "{small}"
        prompt = "prompt.md"
        [[ladder]]
        model = "{large}"
        prompt = "prompt.md"
        [[ladder]]
        model = "{small}"
        name = "again"
        prompt = "prompt.md"
        """,
        "message",
    ),
    "steps above a model": (
        """
        [[ladder]]
        [[ladder.steps]]
        name = "brief"
        model = "{small}"
        prompt = "prompt.md"
        [[ladder.steps]]
        name = "final"
        model = "{large}"
        prompt = "prompt.md"
        [[ladder]]
        model = "{large}"
        prompt = "prompt.md"
        """,
        "message",
    ),
    "the second step alone": (
        """
        [[ladder]]
        [[ladder.steps]]
        name = "brief"
        model = "healthy"
        prompt = "prompt.md"
        [[ladder.steps]]
        name = "final"
        model = "{large}"
        prompt = "prompt.md"
        """,
        "message",
    ),
    "limits on each attempt": (
        """
        [[ladder]]
        model = "{small}"
        prompt = "prompt.md"
        first_word = "300ms"
        timeout = "500ms"
        [[ladder]]
        rules = "rules.toml"
        needs = "300ms"
        """,
        "rules",
    ),
    "many tries": (
        """
        [[ladder]]
        rules = "none.toml"
        [[ladder]]
        model = "{small}"
        prompt = "prompt.md"
        tries = 5
        """,
        "message",
    ),
}
NONE = 'summary = "None"\n[[ladder]]\nmessage = "Sorry."\n'
FILES = {
    "rules.toml": "[[rule]]\nname = 'all'\nmatches = ['.']\nanswer = 'by rule'\n",
    "none.toml": "[[rule]]\nname = 'none'\nequals = ['nothing of the kind']\nanswer = 'by rule'\n",
    "prompt.md": "{{ question }}\n",
}


def name_of(fault: str) -> str:
    return f"on_{fault}"


def ladder_for(shape: str, fault: str, deadline: str) -> str:
    rungs, _ = SHAPES[shape]
    body = rungs.replace("{small}", f"small_{fault}").replace("{large}", f"large_{fault}")
    grounding = '[grounding]\nsources = ["notes"]\n' if "search" in body else ""
    return f'summary = "Answers"\ndeadline = "{deadline}"\n{grounding}{body}\n[[ladder]]\nmessage = "Sorry."\n'.replace(
        "        ", ""
    )


def settings_for(server: FaultServer) -> str:
    tables = [("healthy", HEALTHY.name)]
    tables += [(f"{size}_{fault.name}", fault.name) for fault in FAULTS for size in ("small", "large")]
    models = [f'[models."{name}"]\nprovider = "openai"\nmodel = "m"\nurl = "{server.url(fault)}"\n' for name, fault in tables]
    return "".join(models) + '[sources.notes]\npath = "notes"\n'


async def timed(app: mainstay.Mainstay, feature: str, *, stream: bool) -> tuple[Answer, str, float]:
    """The answer, the text that was shown before it, and the seconds that it took."""
    began, shown = time.monotonic(), ""
    if not stream:
        answer = await app.run(feature, question="What do the notes say about returns?")
        return answer, answer.text, time.monotonic() - began
    async for event in app.stream(feature, question="What do the notes say about returns?"):
        shown += event.text if isinstance(event, Text) else ""
    assert isinstance(event, Answer)
    return event, shown, time.monotonic() - began


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_every_ladder_answers_under_every_fault_by_its_deadline(
    opened: Callable[..., mainstay.Mainstay], shape: str, stream: bool
):
    """Whatever the providers do: one typed answer, in time, what was shown is what it says, and the record tells the same."""
    async with FaultServer(SCRIPT) as server:
        files = {f"features/{name_of(f.name)}/feature.toml": ladder_for(shape, f.name, "1500ms") for f in FAULTS}
        files |= {f"features/{name_of(f.name)}/{file}": text for f in FAULTS for file, text in FILES.items()}
        files["notes/returns.md"] = "# Returns\n\nThe notes say that returns are free within thirty days.\n"
        app = opened(settings_for(server), NONE, files)
        answers = await asyncio.gather(*[timed(app, name_of(fault.name), stream=stream) for fault in FAULTS])
        for fault, (answer, shown, took) in zip(FAULTS, answers, strict=True):
            record = await app.record(answer.id)
            assert took < 1.5 + LATE, fault.name
            assert shown == answer.text, fault.name
            assert record.outcome.answer == answer, fault.name
            _judge(fault.name, shape, answer, record, stream)
        await app.close()


def _judge(fault: str, shape: str, answer: Answer, record: Record, stream: bool) -> None:
    """What this fault amounts to on this ladder."""
    harmless = fault in ("latency", "forbidden")
    broken_off = stream and fault in ("stalled", "cut", "error", "cut_short")
    if harmless:
        assert (answer.status, answer.reason) == ("answered", None), fault
    elif broken_off:
        assert (answer.status, bool(answer.text)) == ("interrupted", True), fault
    else:
        assert (answer.status, answer.rung) == ("degraded", SHAPES[shape][1]), fault
        assert answer.reason in ("model_unavailable", "rate_limited", "over_deadline", "cut_short"), fault
    outcomes = {a.outcome for a in record.outcome.attempts}
    assert outcomes & next(f.becomes for f in FAULTS if f.name == fault), fault


# One limit at a time


def small(options: str, more: str = "") -> str:
    return f'[models.small]\nprovider = "scripted"\noptions = {{ {options} }}\n{more}'


ONE = """
    summary = "Answers"
    deadline = "{deadline}"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    {limits}
    [[ladder]]
    message = "Sorry."
"""


def one(deadline: str, limits: str = "") -> str:
    return ONE.replace("{deadline}", deadline).replace("{limits}", limits)


async def test_a_wait_that_is_longer_than_the_time_left_is_not_waited(opened: Callable[..., mainstay.Mainstay]):
    """`retry-after` of a minute: the next rung answers at once, and the model was asked once."""
    app = opened(small('fault = "rate_limited", retry_after = 60.0'), one("20s"))
    began = time.monotonic()
    answer = await app.run("answers", question="?")
    assert time.monotonic() - began < 5
    assert (answer.status, answer.reason) == ("degraded", "rate_limited")
    assert len((await app.record(answer.id)).outcome.attempts) == 1


async def test_a_wait_that_fits_is_honoured(opened: Callable[..., mainstay.Mainstay]):
    """`retry-after` within the rung's time: the model is asked again, and not sooner."""
    app = opened(small('replies = [{ fault = "rate_limited", retry_after = 0.4 }, "well"]'), one("20s"))
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text) == ("answered", "well")
    first, second = (await app.record(answer.id)).outcome.attempts
    assert second.at_us - first.at_us >= 400_000


async def test_a_first_word_limit_ends_a_silent_attempt_early(opened: Callable[..., mainstay.Mainstay]):
    """A model that says nothing is given up at its first-word limit, long before the deadline."""
    app = opened(small('replies = [""], fault = "stalled"'), one("20s", 'first_word = "200ms"'))
    began = time.monotonic()
    answer = await app.run("answers", question="?")
    assert time.monotonic() - began < 5
    assert (answer.status, answer.reason) == ("degraded", "over_deadline")


async def test_a_first_word_limit_does_not_bound_the_rest(opened: Callable[..., mainstay.Mainstay]):
    """A model that began in time may take its time."""
    app = opened(small('replies = ["one two three"], chunk = 4, gap = "300ms"'), one("20s", 'first_word = "250ms"'))
    assert (await app.run("answers", question="?")).status == "answered"


async def test_a_time_out_bounds_a_whole_attempt(opened: Callable[..., mainstay.Mainstay]):
    """A model that writes and writes is given up at its attempt's time-out; nothing was shown, so the next rung answers."""
    app = opened(
        small('replies = ["a b c d e f g h"], chunk = 2, gap = "150ms"'), one("20s", 'timeout = "400ms"\nfirst_word = "300ms"')
    )
    began = time.monotonic()
    answer = await app.run("answers", question="?")
    assert time.monotonic() - began < 5
    assert (answer.status, answer.reason, answer.rung) == ("degraded", "over_deadline", "message")


async def test_a_callers_shorter_deadline_bounds_the_call(opened: Callable[..., mainstay.Mainstay]):
    """Who brings a deadline of their own is answered by it, under a stall too."""
    app = opened(small('replies = [""], fault = "stalled"'), one("60s"))
    began = time.monotonic()
    answer = await app.run("answers", question="?", deadline=0.3)
    assert time.monotonic() - began < 0.3 + LATE
    assert (answer.status, answer.reason) == ("degraded", "over_deadline")


async def test_many_stalled_calls_end_in_time_together(opened: Callable[..., mainstay.Mainstay]):
    """A hundred calls to a model that hangs do not wait for each other."""
    app = opened(small('replies = [""], fault = "stalled"'), one("500ms"))
    began = time.monotonic()
    answers = await asyncio.gather(*[app.run("answers", question=f"{i}?", origin="drill") for i in range(100)])
    assert time.monotonic() - began < 0.5 + LATE
    assert {(a.status, a.reason) for a in answers} == {("degraded", "over_deadline")}


async def test_a_breaker_opens_probes_and_closes(opened: Callable[..., mainstay.Mainstay]):
    """Failures open it: calls are answered without the model. After its pause two good probes close it again."""
    app = opened(small("replies = [" + '{ fault = "overloaded" }, ' * LEAST + '"well", "well", "well"]'), one("20s", "tries = 1"))
    for _ in range(LEAST):
        assert (await app.run("answers", question="?")).status == "degraded"
    breaker = app.features.ready["answers"].rungs[0].models[0].breaker
    assert breaker.state == "open"
    assert (await app.run("answers", question="?")).reason == "model_unavailable"
    await asyncio.sleep(FIRST_PAUSE + 0.1)
    states = []
    for _ in range(3):
        assert (await app.run("answers", question="?")).text == "well"
        states.append(breaker.state)
    assert states == ["half_open", "closed", "closed"]
