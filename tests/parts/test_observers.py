"""The shipped observer `prometheus`: what it counts is what happened, in a text that Prometheus can read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

import mainstay
from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.model import Usage
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Attempt, Begun, GuardNote, Outcome, Record
from mainstay.parts.observers.prometheus import Prometheus
from projects import feature

FAMILIES = {
    "mainstay_calls": ("counter", {"feature", "status", "reason", "rung"}),
    "mainstay_call_seconds": ("histogram", {"feature"}),
    "mainstay_first_word_seconds": ("histogram", {"feature"}),
    "mainstay_overhead_seconds": ("histogram", {"feature"}),
    "mainstay_model_attempts": ("counter", {"model", "outcome"}),
    "mainstay_model_seconds": ("histogram", {"model"}),
    "mainstay_tokens": ("counter", {"feature", "model", "kind"}),
    "mainstay_cost_usd": ("counter", {"feature", "model"}),
    "mainstay_unpriced_attempts": ("counter", {"feature", "model"}),
    "mainstay_guard_verdicts": ("counter", {"guard", "stage", "action"}),
    "mainstay_queue_seconds": ("histogram", {"model"}),
    "mainstay_shed": ("counter", {"feature", "rung"}),
    "mainstay_running": ("gauge", {"of"}),
    "mainstay_queue_waiting": ("gauge", {"of", "lane"}),
}

SETTINGS = """
    [models.small]
    provider = "scripted"
    price = { input = "1 USD", output = "10 USD" }
    options = { delay = "60ms", usage = { input = 1000, output = 200, cached_input = 400, reasoning = 50 } }

    [models.unpriced]
    provider = "scripted"
    options = { replies = [{ text = "Hi", usage = { input = 10, output = 2 } }, { fault = "overloaded" }] }
"""

FEATURE = feature("""
    [guards]
    input = [{ size = { max = 40 } }]
    output = [{ terms = ["forbidden"] }]

    [cache]
    keep = "1h"
""")

OTHER = """
    summary = "Answers without a known price"
    deadline = "5s"

    [[ladder]]
    model = "unpriced"
    prompt = "prompt.md"
    tries = 1

    [[ladder]]
    message = "Sorry."
"""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: bytes) -> Samples:
    """Every sample, as Prometheus itself would read them; fails for a text that is not valid."""
    samples: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            at = (sample.name, frozenset(sample.labels.items()))
            assert at not in samples, f"twice: {at}"
            samples[at] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels."""
    return sum(v for (n, given), v in samples.items() if n == name and labels.items() <= given)


def record(id: str = "a", *, feature: str = "f", **fields: object) -> Record:
    answer = Answer(id=id, feature=feature, release="r", status=Status.ANSWERED, rung="small")
    changed = {name: fields.pop(name) for name in ("status", "reason", "rung") if name in fields}
    call = Call(id=id, feature=feature, origin=fields.pop("origin", "user"))
    return Record(
        begun=Begun(id=id, at=1.0, release="r", call=call),
        outcome=Outcome(id=id, answer=msgspec.structs.replace(answer, **changed), **{"took_us": 30_000, **fields}),
    )


@pytest.fixture
def app(opened: Callable[..., mainstay.Mainstay]) -> mainstay.Mainstay:
    files = {"features/other/feature.toml": OTHER, "features/other/prompt.md": "-"}
    return opened(SETTINGS, FEATURE, files)


async def test_the_figures_are_those_of_the_calls(app: mainstay.Mainstay):
    """Calls, tokens and money after a few calls of every kind are exactly what was asked, used and spent."""
    for i in range(3):
        await app.run("answers", question=f"question {i}")
    await app.run("answers", question="question 0")  # cached
    await app.run("answers", question="long " * 20)  # refused before any model
    await app.run("answers", question="a forbidden word")  # stopped by a guard
    for _ in range(2):
        await app.run("other", question="?")
    await app.run("answers", question="question 9", origin="eval")  # nobody's call
    samples = read(app.metrics())

    def calls(**labels: str) -> float:
        return value(samples, "mainstay_calls_total", **labels)

    assert calls() == 8 and calls(feature="answers") == 6
    assert calls(feature="answers", status="answered", reason="", rung="small") == 3
    assert calls(status="cached") == 1 and calls(status="refused", reason="input_invalid", rung="") == 1
    assert calls(feature="answers", status="degraded", reason="unsafe_output", rung="message") == 1
    assert calls(feature="other", status="degraded", reason="model_unavailable", rung="message") == 1
    asked = value(samples, "mainstay_model_attempts_total", model="small")
    assert value(samples, "mainstay_model_attempts_total", model="small", outcome="ok") == asked >= 4
    for kind, each in {"input": 1000, "output": 200, "cached_input": 400, "reasoning": 50, "cache_write": 0}.items():
        assert value(samples, "mainstay_tokens_total", feature="answers", model="small", kind=kind) == each * asked
    assert value(samples, "mainstay_cost_usd_total") == pytest.approx(asked * 0.003)
    assert value(samples, "mainstay_cost_usd_total", model="unpriced") == 0
    assert not [labels for name, labels in samples if name == "mainstay_cost_usd_total" and ("model", "unpriced") in labels]
    assert value(samples, "mainstay_unpriced_attempts_total", feature="other", model="unpriced") == 1
    assert value(samples, "mainstay_guard_verdicts_total", guard="size", stage="input", action="refuse") == 1
    assert value(samples, "mainstay_guard_verdicts_total", guard="terms", stage="output") >= 1
    assert value(samples, "mainstay_call_seconds_count") == 8


async def test_our_own_part_is_apart_from_the_models(app: mainstay.Mainstay):
    """A slow model shows in the call and in the attempt, and not in our own overhead."""
    async for _ in app.stream("answers", question="hello"):
        pass
    samples = read(app.metrics())
    assert value(samples, "mainstay_call_seconds_sum", feature="answers") >= 0.06
    assert value(samples, "mainstay_model_seconds_sum", model="small") >= 0.06
    assert value(samples, "mainstay_first_word_seconds_sum", feature="answers") >= 0.06
    assert value(samples, "mainstay_overhead_seconds_count", feature="answers") == 1
    whole, model = value(samples, "mainstay_call_seconds_sum"), value(samples, "mainstay_model_seconds_sum")
    assert value(samples, "mainstay_overhead_seconds_sum") <= whole - model + 0.05


async def test_calls_that_share_a_production_pay_once(app: mainstay.Mainstay):
    """Ten identical calls at once are ten calls, and one model's tokens and money."""
    await asyncio.gather(*(app.run("answers", question="the same") for _ in range(10)))
    samples = read(app.metrics())
    assert value(samples, "mainstay_calls_total") == 10
    assert value(samples, "mainstay_model_attempts_total") == 1
    assert value(samples, "mainstay_tokens_total", kind="input") == 1000
    assert value(samples, "mainstay_cost_usd_total") == pytest.approx(0.003)


def full() -> Record:
    """A record with something in it for every metric."""
    usage = Usage(input=9, output=8, cached_input=7, cache_write=6, reasoning=5)
    attempts = (
        Attempt(rung="small", outcome="ok", model="small", usage=usage, cost_nano_usd=3_000, queued_us=700),
        Attempt(rung="large", outcome="ok", model="large", usage=usage),
        Attempt(rung="busy", outcome="busy"),
    )
    guards = (GuardNote(guard="size", stage="input", action="refuse"),)
    return record(attempts=attempts, guards=guards, first_word_us=900, provider_us=20_000)


def test_every_family_is_there_with_its_labels():
    """Dashboards and alarms are written against these names; one that vanishes is an alarm that never rings."""
    observer = Prometheus()
    observer.queues = lambda: [("small", 2, {"interactive": 1})]
    observer.observe(full())
    families = {family.name: family for family in text_string_to_metric_families(observer.render().decode())}
    assert {name: family.type for name, family in families.items()} == {name: kind for name, (kind, _) in FAMILIES.items()}
    for name, (_, labels) in FAMILIES.items():
        assert families[name].documentation.endswith(".")
        assert {label for sample in families[name].samples for label in sample.labels} - {"le"} == labels, name


def test_a_histogram_adds_up():
    """Buckets only grow, the last one is the count, and a value on a bound belongs to the bucket of that bound."""
    observer = Prometheus()
    for took in (0, 10_000, 10_001, 59_999_999, 600_000_000):
        observer.observe(record(took_us=took))
    samples = read(observer.render())
    bounds = sorted(
        (float(dict(labels)["le"]), count) for (name, labels), count in samples.items() if name == "mainstay_call_seconds_bucket"
    )
    counts = [count for _, count in bounds]
    assert counts == sorted(counts) and counts[-1] == value(samples, "mainstay_call_seconds_count") == 5
    assert dict(bounds)[0.01] == 2 and dict(bounds)[0.025] == 3 and dict(bounds)[60.0] == 4
    assert value(samples, "mainstay_call_seconds_sum") == pytest.approx(660.020000, abs=1e-3)


EVIL = 'x"} 1\nmainstay_evil_total{y="'


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\\", "line\nbreak", EVIL, "ü 汉字 \U0001f600", "", "\r\t\x00"])
def test_a_label_cannot_break_the_text(name: str):
    """Whatever stands in a name, the text stays valid and says that name; nothing can be smuggled in beside it."""
    observer = Prometheus()
    attempts = (Attempt(rung=name, outcome=name, model=name, usage=Usage(input=1)),)
    observer.observe(record(feature=name, rung=name, attempts=attempts, guards=(GuardNote(guard=name, stage=name, action=name),)))
    observer.observe(record(feature="plain"))
    samples = read(observer.render())
    assert {sample.partition("_total")[0] for sample, _ in samples if sample.endswith("_total")} <= set(FAMILIES)
    assert value(samples, "mainstay_calls_total", feature=name, rung=name) == 1
    assert value(samples, "mainstay_tokens_total", model=name) == 1


def test_nothing_of_a_person_is_a_label():
    """A tenant, a user, a question or an answer never reach the metrics: they would live in a dashboard for ever."""
    observer = Prometheus()
    one = full()
    call = Call(id="a", feature="f", tenant="acme-tenant", user="ann", session="s-17", input={"question": "my secret question"})
    answer = msgspec.structs.replace(one.outcome.answer, text="the secret answer", detail="secret detail")
    one = msgspec.structs.replace(
        one, begun=msgspec.structs.replace(one.begun, call=call), outcome=msgspec.structs.replace(one.outcome, answer=answer)
    )
    observer.observe(one)
    text = observer.render().decode()
    assert 'feature="f"' in text
    for private in ("acme-tenant", 'ann"', "s-17", "secret"):
        assert private not in text


def test_only_users_calls_count():
    """Evaluations, drills and audits would make a dashboard lie about what users see."""
    observer = Prometheus()
    for origin in ("eval", "judge", "shadow", "replay", "audit", "drill"):
        observer.observe(record(origin=origin))
    assert read(observer.render()) == {}


def test_what_is_not_known_is_not_counted_as_nothing():
    """A call that left early, or waited for another's production, says nothing of our own overhead, and no zero either."""
    observer = Prometheus()
    observer.observe(record(status=Status.INTERRUPTED, reason=Reason.READER_LEFT))
    observer.observe(record(shared_with="b"))
    samples = read(observer.render())
    assert value(samples, "mainstay_overhead_seconds_count") == 0
    assert value(samples, "mainstay_first_word_seconds_count") == 0
    assert value(samples, "mainstay_calls_total") == 2
