"""The guard `personal_data`: what a caller gives is hidden, and what is nobody's to tell does not get out."""

from __future__ import annotations

import itertools

import pytest
from guarding import DELIVERIES, becomes, on_input, said, streamed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainstay.core.call import Call, Turn
from mainstay.core.draft import ALLOW, Draft
from mainstay.core.errors import ConfigError
from mainstay.core.evidence import Evidence, Slot
from mainstay.core.model import ToolCall
from mainstay.core.personal_data import KINDS
from mainstay.core.seams import Hold
from mainstay.parts.guards.personal_data import PersonalData
from mainstay.serve.placeholders import restored
from mainstay.serve.ready import ReadyGuard
from mainstay.testing import check_cuts, check_guard

ANN, CARD, IBAN, PHONE = "ann@example.org", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "+44 20 7946 0958"
TEXTS = (
    f"Write to {ANN} or call {PHONE}, then send 5 EUR to {IBAN}. Done.",
    f"Card {CARD}, passport no. C01X00T47, born on 21 May 1980 in Rome.",
    "Nothing of the kind: order 4711, 2026-11-21, 1.299,00 EUR, version 1.2.3. " * 3,
    f"{ANN}",
    f"Two: {ANN},{ANN}; and https://x.example/?email=ann%40example.org&x=1 too.",
    "He lives at 12 High Street, London, and Hauptstraße 5, 10115 Berlin is hers.",
)


@pytest.mark.parametrize(
    "guard",
    [
        PersonalData(),
        PersonalData(output="refuse"),
        PersonalData(input="redact", kinds=["card", "iban"]),
        PersonalData(input="allow"),
    ],
)
async def test_any_cut_says_the_same(guard):
    """In pieces or whole the same is redacted, stopped and shown; a replaced input says the same once it is put back."""
    await check_guard(guard, TEXTS)


PIECES = st.sampled_from(
    [ANN, CARD, IBAN, PHONE, " ", ". ", "call ", "12", "34 ", "x", "@", "born on 1/2/1980", "é", "\n", "and more words "]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces=st.lists(PIECES, max_size=8), cuts=st.lists(st.integers(0, 160), max_size=10))
async def test_no_cut_shows_what_the_whole_hides(pieces, cuts):
    """However personal data is surrounded and cut, nothing of it leaves that the whole would not show."""
    text = " word ".join(pieces)
    guard = PersonalData(kinds=["email", "card", "iban", "birth_date"])
    places = sorted({0, len(text), *[c for c in cuts if c <= len(text)]})
    parts = [text[a:b] for a, b in itertools.pairwise(places)]
    whole = await guard.check(Draft(call=Call(id="t", feature="f"), text=text))
    await check_cuts(ReadyGuard("personal_data", guard, guard.hold), text, parts, whole)


def test_what_the_caller_brought_or_a_slot_holds_may_be_said():
    """An answer may repeat what was in the question, in whatever form, and the facts that it was given; nobody else's."""
    guard = PersonalData(input="allow")
    call = Call(id="t", feature="f", input={"question": f"my card is {CARD.replace(' ', '-')}"}, history=(Turn("user", ANN),))
    assert said(guard, f"Card {CARD}, {ANN.upper()}.", call=call) is ALLOW
    assert said(guard, "Write to bob@example.org", call=call).text == "Write to [email]"
    evidence = Evidence(slots=(Slot(name="mail", type="text", value="bob@example.org"),))
    assert said(guard, "Write to bob@example.org", call=call, evidence=evidence) is ALLOW


def test_what_is_nobodys_is_kept():
    """Addresses of the house, as a whole or by their domain, are no secret; others of the same kind are."""
    guard = PersonalData(keep=["@Shop.example", "+44 20 7946 0958"])
    assert becomes(guard, f"help@shop.example, {PHONE}, bob@other.example") == f"help@shop.example, {PHONE}, [email]"
    assert on_input(guard, question="is help@shop.example yours?") is ALLOW


def test_inputs():
    """Replaced by placeholders with a map, redacted without one, refused without a word of it, or left alone."""
    history = (Turn("user", f"I am {ANN}"), Turn("assistant", f"Hello {ANN}"))
    verdict = on_input(PersonalData(), question=f"{PHONE}, {ANN} [phone 1]", more={"deep": [ANN, 5]}, history=history)
    assert verdict.input == {"question": "[phone_2], [email_1] [phone 1]", "more": {"deep": ["[email_1]", 5]}}
    assert [turn.text for turn in verdict.history] == ["I am [email_1]", "Hello [email_1]"]
    assert verdict.placeholders == {"[email_1]": ANN, "[phone_2]": PHONE}
    assert restored(verdict.input, verdict.placeholders)["more"] == {"deep": [ANN, 5]}
    redacted = on_input(PersonalData(input="redact"), question=f"I am {ANN}")
    assert (redacted.input, redacted.placeholders) == ({"question": "I am [email]"}, {})
    refused = on_input(PersonalData(input="refuse"), question=f"I am {ANN}")
    assert (refused.action, refused.reason) == ("refuse", "unsafe_input") and ANN not in refused.detail
    assert on_input(PersonalData(input="allow"), question=ANN) is ALLOW
    assert on_input(PersonalData(), question="Hello", photo="data:image/png;base64,4111111111111111") is ALLOW


def test_data_and_tools():
    """Structured answers are cleaned in every text; a tool is not called with anybody's data."""
    guard = PersonalData()
    assert said(guard, data={"to": [f"x {ANN}"], "n": 1}).data == {"to": ["x [email]"], "n": 1}
    assert said(PersonalData(output="refuse"), data={"to": ANN}).reason == "unsafe_output"
    assert said(guard, tool_calls=(ToolCall(id="1", name="mail", arguments=f'{{"to": "{ANN}"}}'),)).action == "refuse"


def test_options():
    """A kind that there is not is named, with the nearest; numbers of a country need no word before them."""
    with pytest.raises(ValueError, match='did you mean "email"'):
        PersonalData(kinds=["emial"])
    assert said(PersonalData(kinds=["phone"]), "Number 30 901820 please") is ALLOW
    assert becomes(PersonalData(kinds=["phone"], regions=["DE"]), "Number 030 901820 please") == "Number [phone] please"
    with pytest.raises(ConfigError, match="region"):
        PersonalData(regions=["XX"])
    assert set(PersonalData.options.__struct_defaults__[2]) <= set(KINDS)


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_over_a_stream(opened, delivery):
    """Somebody's card number in an answer is redacted over a real stream, or stops it."""
    shown, answer = await streamed(opened, '"personal_data"', f"Her card is {CARD}, as you know, and that is it.", delivery)
    assert shown == answer.text == "Her card is [card], as you know, and that is it."
    refusing = '{ personal_data = { output = "refuse" } }'
    shown, answer = await streamed(opened, refusing, f"{'Well, ' * 50}her card is {CARD}.", delivery)
    assert "4111" not in shown
    assert answer.reason == "unsafe_output"


def test_names_only_where_they_are_asked_for():
    """The model for names is opt-in: a name is replaced everywhere that it stands, and an answer waits for its end."""
    named = PersonalData(kinds=["person", "email"])
    verdict = on_input(named, question=f"Hi, my name is Maria Keller, write to {ANN}.", note="for Maria Keller")
    assert verdict.input == {"question": "Hi, my name is [person_1], write to [email_1].", "note": "for [person_1]"}
    assert said(named, "Dear Mr. Keller", complete=False) is ALLOW
    assert named.hold is Hold.WHOLE
    assert on_input(PersonalData(), question="Hi, my name is Maria Keller.") is ALLOW


async def test_names_in_any_cut():
    """With names too, a growing text ends as the whole does."""
    await check_guard(PersonalData(kinds=["person", "email"]), [*TEXTS, "Regards,\nMaria Keller\nACME Inc."])
