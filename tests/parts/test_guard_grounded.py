"""The guard `grounded`: what the evidence does not bear is not said, in either delivery; what it bears is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

import mainstay
from mainstay.core.answer import Answer, Text
from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict
from mainstay.core.errors import ConfigError, NotFound
from mainstay.core.evidence import Evidence, Passage, Slot
from mainstay.core.reasons import Status
from mainstay.core.sentences import sentences
from mainstay.parts.guards.grounded import Grounded
from mainstay.parts.statements import states
from mainstay.testing import check_guard

PAGE = (
    "You can return shoes within 30 days if they are unworn. Returns are free in Germany and Austria. "
    "The refund is paid to your card and takes 5 working days. Gift cards cannot be returned."
)
OTHER = "The shop in Vienna opens at nine. It is closed on Sundays, except in December."
EVIDENCE = Evidence(
    searched=True,
    passages=(
        Passage(id="returns.md", source="help", document="returns.md", heading=("Returns",), text=PAGE),
        Passage(id="shops.md", source="help", document="shops.md", heading=("Our shops",), text=OTHER),
    ),
)
BORNE = (
    "You can return shoes within 30 days.",
    "Returns are free in Austria [1].",
    "The refund takes 5 working days and is paid to your card.",
    "The shop in Vienna opens at nine. [2] It is closed on Sundays.",
    "Hello Ann! You can return unworn shoes within 30 days. I hope this helps.",
    "The handbook does not say whether boots are shoes.",
    "Do you want to know more?",
    "# Returns in Graz\n\n```\nmoon = cheese()\n```\n",
)
NOT_BORNE = (
    "You can return shoes within 60 days.",
    "Returns are free in Switzerland.",
    "Returns are free in Germany. The shop in Graz sells moon cheese.",
    "The shop in Vienna opens at nine [1].",
    "Sure, boats may be rented in Lisbon for a week.",
    "- Returns are free in Germany\n- Bread costs 3.50 euros\n- Bye",
)


class Holding(Grounded):
    """The guard, with evidence that a bare draft does not bring."""

    async def check(self, draft: Draft) -> Verdict:
        return await super().check(msgspec.structs.replace(draft, evidence=EVIDENCE))


async def said(text: str = "", guard: Grounded | None = None, **draft: Any) -> Verdict:
    call = Call(id="t", feature="f", input={"question": "?"})
    return await (guard or Grounded()).check(Draft(**{"call": call, "text": text, "evidence": EVIDENCE, **draft}))


async def test_it_keeps_the_seams_promises():
    """Whatever the cuts of a stream, the verdict is that on the whole, and nothing that stops it was shown."""
    await check_guard(Holding(), [*BORNE, *NOT_BORNE, " ".join((*BORNE, *NOT_BORNE)), "\n\n".join(BORNE)])


@pytest.mark.parametrize("stop", ["۔", "॥", "։", "።", "။", "。", "…"])
async def test_the_full_stop_of_any_script_ends_what_may_leave(stop: str):
    """A sentence that a stream lets go of was looked at before, whatever sign it ends with."""
    text = f"Boats may be rented in Lisbon{stop} And then some more of it follows"
    assert (await said(text, complete=False)).action == "retry"


@pytest.mark.parametrize("text", BORNE)
async def test_what_the_evidence_bears_passes(text: str):
    """Sentences in the passages' words, and those that state nothing, are not in anybody's way."""
    assert (await said(text)).action == "allow"


@pytest.mark.parametrize("text", NOT_BORNE)
async def test_what_it_does_not_bear_is_asked_for_again_and_later_refused(text: str):
    """Another number, name or subject, or a passage that does not say it, costs the draft; after the first word for good."""
    verdict = await said(text)
    assert (verdict.action, verdict.reason) == ("retry", "ungrounded")
    assert verdict.remark and verdict.support is not None and verdict.support < 0.5
    shown = await said(text + " And so on and so forth it goes.", shown=1)
    assert (shown.action, shown.reason) == ("refuse", "ungrounded")


async def test_the_remark_names_the_sentence_without_its_mark():
    """The model is told which sentence to drop, and not to drop the others."""
    verdict = await said("Returns are free in Germany [1]. Dogs are free in Portugal [1].")
    assert json.dumps("Dogs are free in Portugal.") in verdict.remark and "Germany" not in verdict.remark


async def test_a_sentence_is_held_to_the_passages_that_it_cites():
    """A true sentence under a wrong mark is not let through by another passage; a mark that numbers none is no excuse."""
    assert (await said("The shop in Vienna opens at nine [2].")).action == "allow"
    assert (await said("The shop in Vienna opens at nine [1].")).action == "retry"
    assert (await said("The shop in Vienna opens at nine [7].")).action == "allow"


@pytest.mark.parametrize(
    "draft",
    [
        {"evidence": Evidence()},
        {"evidence": Evidence(searched=True)},
        {"author": "team"},
        {"author": "message"},
        {"author": "source"},
        {"stage": "input"},
    ],
    ids=str,
)
async def test_where_there_is_nothing_to_hold_it_to_it_says_nothing(draft: dict[str, Any]):
    """Without evidence, and of what no model wrote, the guard has no opinion: not even a support."""
    assert await said(NOT_BORNE[0], **draft) is ALLOW


async def test_it_says_how_far_the_whole_is_borne():
    """The support of a draft is that of its weakest sentence; of one that states nothing there is none."""
    one, other = await said(BORNE[0]), await said(BORNE[1])
    both = await said(f"{BORNE[0]} {BORNE[1]}")
    assert both.support == min(one.support, other.support) and 0 < both.support <= 1
    assert await said("Hello! What can I do for you?") is ALLOW


async def test_a_fact_that_was_fetched_bears_a_sentence():
    """Slots are evidence: what the system of record says may be said."""
    slot = Slot(name="unit_price", type="money", value="1299.00", unit="EUR")
    evidence = Evidence(slots=(slot,), searched=True)
    assert (await said("The unit price is 1299 EUR.", evidence=evidence)).action == "allow"
    assert (await said("The unit price is 999 EUR.", evidence=evidence)).action == "retry"


FACTS = (
    Slot(name="unit_price", type="money", value="1299.00", unit="EUR"),
    Slot(name="stock", type="number", value="12"),
    Slot(name="delivery_date", type="date", value="2027-03-03"),
    Slot(name="sku", type="code", value="KX-7489-D"),
    Slot(name="contact", type="name", value="Ann Miller"),
    Slot(name="opening", type="text", value="not on Sundays"),
)
ASKED = "When will my order 4711 of the red Nord kettle come, and is it free?"
STATED = (
    "The price is 1,299.00 EUR.",
    "It costs €1,299.",
    "Der Preis beträgt 1.299 Euro.",
    "Le prix est de 1 299,00 €.",
    "Il prezzo è 1.299 euro e arriva il 3 marzo 2027.",
    "Your order 4711 will be delivered on 3 March.",
    "The red Nord kettle costs 1299 EUR.",
    "Ihre Bestellung 4711 wird am 03.03.2027 geliefert.",
    "The item KX-7489-D costs 1,299 EUR, arrives on 3 March 2027, and Ann Miller is in charge of it; there are 12 in stock.",
    "Ann Miller will send it on 2027-03-03.",
    "It is not open on Sundays.",
    "It costs 1299 EUR and can be returned within 30 days.",
)
NOT_STATED = (
    "The price is 1,399.00 EUR.",
    "The price is not 1,299.00 EUR.",
    "It never costs 1299 EUR.",
    "Der Preis beträgt nicht 1.299 Euro.",
    "Your order 4711 will be delivered on 4 March.",
    "Your order 4712 will be delivered on 3 March.",
    "It costs 1299 EUR and is waterproof.",
    "It costs 1299 EUR and shipping is included.",
    "The stock is 1299 boats in Lisbon.",
    "Bob Stone will send it on 2027-03-03.",
    "Ann Miller founded the company in Rome with her brother.",
    "It costs 1299 EUR and can be returned within 60 days.",
)


@pytest.mark.parametrize("text", STATED)
async def test_a_sentence_that_states_facts_is_borne_however_it_is_written(text: str):
    """The values of slots in any of seven languages, beside few plain words, what the user called the thing, or a passage."""
    evidence = msgspec.structs.replace(EVIDENCE, slots=FACTS)
    call = Call(id="t", feature="f", input={"question": ASKED})
    assert (await said(text, evidence=evidence, call=call)).action == "allow"


@pytest.mark.parametrize("text", NOT_STATED)
async def test_a_fact_bears_nothing_but_itself(text: str):
    """Another value, a denial, or a claim beside a true value is not let through by the value, nor by what the user asked."""
    evidence = msgspec.structs.replace(EVIDENCE, slots=FACTS)
    call = Call(id="t", feature="f", input={"question": ASKED})
    assert (await said(text, evidence=evidence, call=call)).action == "retry"


async def test_texts_in_data_are_held_to_the_evidence_too():
    """A structured answer is no way around it; a label is no statement that could be wrong."""
    assert (await said(data={"label": "refund", "reply": ["Returns are free in Austria."]})).action == "allow"
    assert (await said(data={"label": "refund", "reply": ["Returns are free on the Moon."]})).action == "retry"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sure, the refund is free.", True),
        ("It is free.", True),
        ("Yes, 5 euros.", True),
        ("I hope that 5 euros help.", True),
        ("The guide is not available in German.", True),
        ("The documents do not say it, but it is free.", True),
        ("I'm sorry, but the shop is closed.", True),
        ("| Monday | nine |", True),
        ("Das Handbuch kostet nichts.", True),
        ("Yes.", False),
        ("Hello Ann!", False),
        ("Here are the steps:", False),
        ("Is it free?", False),
        ("I could not find anything about that.", False),
        ("Das Handbuch sagt dazu nichts.", False),
        ("Je ne sais pas.", False),
        ("手册没有提到这一点。", False),
    ],
)
def test_only_what_states_something_has_to_be_borne(text: str, expected: bool):
    """A greeting costs no retry, and no greeting lets a claim slip by."""
    assert states(sentences(text)[0]) is expected


# The judge


class Judge:
    """What is asked of another feature, and what it says."""

    def __init__(self, data: Any = None, *, status: Status = Status.ANSWERED, error: Exception | None = None, slow: float = 0):
        self.asked: list[Mapping[str, Any]] = []
        self._data, self._status, self._error, self._slow = data, status, error, slow

    async def __call__(self, feature: str, input: Mapping[str, Any]) -> Answer:
        self.asked.append({"feature": feature, **input})
        await asyncio.sleep(self._slow)
        if self._error is not None:
            raise self._error
        return Answer(id="j", feature=feature, release="r", status=self._status, data=self._data)


ASKS = {"judge": "truth", "unsure": (0.0, 1.0)}


async def test_a_judge_decides_what_the_classifier_is_unsure_of():
    """Its word counts either way, it sees the evidence that the sentence is held to, and it is asked once of one sentence."""
    yes, no = Judge({"supported": True}), Judge({"supported": False})
    guard = Grounded(**ASKS)
    assert (await said(NOT_BORNE[0], guard, ask=yes)).action == "allow"
    assert (await said(NOT_BORNE[0], guard, ask=yes)).action == "allow"
    assert yes.asked == [{"feature": "truth", "sentence": NOT_BORNE[0], "evidence": f"{PAGE}\n\n{OTHER}"}]
    assert (await said(BORNE[1], Grounded(**ASKS), ask=no)).action == "retry"
    assert no.asked[0]["evidence"] == PAGE


@pytest.mark.parametrize(
    "judge",
    [
        Judge(status=Status.UNAVAILABLE),
        Judge("yes"),
        Judge(error=NotFound("there is no feature")),
        Judge({"supported": True}, slow=60),
    ],
    ids=["unavailable", "another shape", "missing", "slow"],
)
async def test_where_the_judge_cannot_say_the_classifier_stands(judge: Judge):
    """A judge that is down, late or talks nonsense neither stops a good answer nor lets a bad one out; the record says so."""
    guard = Grounded(**ASKS, within=0.05)
    good, bad = await said(BORNE[0], guard, ask=judge), await said(NOT_BORNE[0], guard, ask=judge)
    assert (good.action, bad.action) == ("allow", "retry")
    assert "the judge truth could not say" in good.detail and "the judge truth could not say" in bad.detail


async def test_the_judge_is_left_alone_where_the_classifier_is_sure():
    """A judge costs money: it is asked between the two probabilities only."""
    judge = Judge({"supported": True})
    await said(BORNE[0], Grounded(judge="truth", unsure=(0.0, 0.01)), ask=judge)
    assert judge.asked == []
    with pytest.raises(ValueError, match="from the lower to the higher"):
        Grounded(unsure=(0.9, 0.1))


# Through the front door

SETTINGS = """
    [models.small]
    provider = "scripted"
    model = "small"
    options = {{ replies = [{replies}], chunk = 4 }}
    [sources.help]
    path = "help"
"""
LADDER = """
    summary = "Answers"
    delivery = "{delivery}"
    deadline = "5s"
    [grounding]
    sources = ["help"]
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    tries = {tries}
    [[ladder]]
    message = "Call Bob in Lisbon."
    [guards]
    output = ["grounded"]
"""
FILES = {"help/returns.md": f"# Returns\n\n## How long\n\n{PAGE}\n"}
QUESTION = "Within how many days can I return unworn shoes?"
TRUE, FALSE = "You can return shoes within 30 days.", "You can return shoes within 90 days."


def app_of(opened: Any, *replies: str, delivery: str = "stream", tries: int = 1) -> mainstay.Mainstay:
    settings = SETTINGS.format(replies=", ".join(map(json.dumps, replies)))
    return opened(settings, LADDER.format(delivery=delivery, tries=tries), FILES)


@pytest.mark.parametrize("delivery", ["stream", "checked"])
async def test_nothing_unborne_is_shown_in_either_delivery(opened, delivery: str):
    """A false sentence behind true ones never leaves: what was shown before is taken back, or the next rung answers."""
    app = app_of(opened, f"{TRUE} Returns are free in Germany. {FALSE} Bye.", delivery=delivery)
    events = [event async for event in app.stream("answers", question=QUESTION)]
    shown = "".join(event.text for event in events if isinstance(event, Text))
    answer = events[-1]
    assert "90" not in shown and answer.reason == "ungrounded"
    assert answer.status == ("interrupted" if delivery == "stream" else "degraded" if shown else "refused")
    record = await app.record(answer.id)
    assert [(n.guard, n.reason) for n in record.outcome.guards if n.action != "allow"] == [("grounded", "ungrounded")]


@pytest.mark.parametrize("delivery", ["stream", "checked"])
async def test_what_is_borne_is_shown_whole(opened, delivery: str):
    """A good answer arrives, with its citations, though a decimal and a mark fall into any cut of the stream."""
    text = f"{TRUE} The refund takes 5 working days [1]."
    events = [event async for event in app_of(opened, text, delivery=delivery).stream("answers", question=QUESTION)]
    assert "".join(event.text for event in events if isinstance(event, Text)) == text == events[-1].text
    assert events[-1].status == "answered"
    assert [c.document for c in events[-1].citations] == ["returns.md", "returns.md"]


async def test_the_model_is_asked_again_with_the_remark(opened):
    """Before the first word, one more try costs nothing that a reader sees."""
    app = app_of(opened, FALSE, TRUE, tries=2)
    answer = await app.run("answers", question=QUESTION)
    assert (answer.status, answer.text) == ("answered", TRUE)
    second = app.features.ready["answers"].rungs[0].models[0].provider.requests[1]
    assert "not supported by the passages" in second.messages[-1].text and "90 days" in second.messages[-1].text


async def test_the_last_message_is_not_held_to_passages(opened):
    """What the team itself says needs no passage, or the ladder's last rung could fail."""
    answer = await app_of(opened, FALSE).run("answers", question=QUESTION)
    assert answer.reason == "ungrounded" and answer.status in ("degraded", "refused")


def test_a_slip_in_its_options_is_told_at_load(project):
    """A probability of 35 is a slip, not a threshold."""
    feature = LADDER.format(delivery="stream", tries=1).replace('"grounded"', "{ grounded = { at_least = 35 } }")
    with pytest.raises(ConfigError, match="at_least"):
        mainstay.open(project(SETTINGS.format(replies='"a"'), feature, FILES), environ={}, dev=True)
