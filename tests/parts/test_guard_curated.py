"""The guard `curated`: only what somebody approved, and looked at in time, bears an answer where the stakes are high."""

from __future__ import annotations

import datetime

import pytest

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict
from mainstay.core.evidence import Curated as By
from mainstay.core.evidence import Evidence, Passage, Slot
from mainstay.core.seams import Hold
from mainstay.parts.alignment import shared
from mainstay.parts.guards.curated import Curated
from mainstay.testing import check_guard

TODAY = datetime.datetime.now(datetime.UTC).date()
DOSE = "Adults take one tablet of Dolorin twice a day with water."
OTHER = "The clinic opens at nine."


def page(id: str, text: str, approver: str = "", review: datetime.date = TODAY) -> Passage:
    by = By(approver=approver, review=review.isoformat()) if approver else None
    return Passage(id=id, source="s", document="d", text=text, curated=by)


async def said(text: str, *passages: Passage, **draft) -> Verdict:
    evidence = Evidence(passages=passages, searched=True, slots=draft.pop("slots", ()))
    guard = Curated(aligner=shared())
    return await guard.check(Draft(call=Call(id="t", feature="f"), text=text, evidence=evidence, **draft))


async def test_what_approved_content_bears_passes():
    """Its review is due today, which is not overdue; greetings and questions state nothing."""
    assert await said(f"Hello! {DOSE} Shall I go on?", page("a", DOSE, "Dr. Ann")) is ALLOW


async def test_what_other_content_bears_does_not_pass():
    """A sentence that only unapproved or overdue passages bear is refused, and the record names them."""
    verdict = await said(
        DOSE, page("a", OTHER, "Dr. Ann"), page("b", DOSE), page("c", DOSE, "Dr. Ben", TODAY - datetime.timedelta(1))
    )
    assert (verdict.action, verdict.reason) == ("refuse", "high_risk_unvalidated")
    assert "sentence 1 of 1" in verdict.detail and "overdue: c" in verdict.detail and "approved by nobody: b" in verdict.detail
    assert verdict.support < 0.6


async def test_content_that_does_not_count_is_noted_where_the_rest_bears_the_answer():
    """An overdue review is in the record of an answer that could do without it."""
    verdict = await said(DOSE, page("a", DOSE, "Dr. Ann"), page("c", OTHER, "Dr. Ben", TODAY - datetime.timedelta(1)))
    assert verdict.action == "allow" and "overdue: c" in verdict.detail


async def test_one_unsupported_sentence_among_many_stops_the_answer():
    """Every sentence has to match, not the answer on average."""
    invented = "Children may take nine tablets of Dolorin every hour."
    assert (await said(f"{DOSE} {DOSE} {invented}", page("a", DOSE, "Dr. Ann"))).action == "refuse"


async def test_nothing_found_is_nothing_curated():
    """A model's own knowledge is no content that somebody approved."""
    verdict = await said(DOSE)
    assert (verdict.action, verdict.detail) == ("refuse", "nothing was found that is curated")


async def test_facts_from_systems_of_record_count():
    """A slot bears what it says."""
    price = Slot(name="price", type="money", value="129.00", unit="EUR")
    assert (await said("The price is 129.00 EUR.", slots=(price,))).action == "allow"


@pytest.mark.parametrize("author", ["team", "source", "model"])
async def test_whoever_wrote_it_has_to_match(author):
    """Rules and quotations are no exception; only the ladder's own message is."""
    assert (await said(DOSE, page("b", DOSE), author=author)).action == "refuse"
    assert await said(DOSE, page("b", DOSE), author="message") is ALLOW


async def test_a_quotation_may_say_where_it_is_from():
    """The line below what the `search` rung quotes states nothing; a model may not smuggle a claim into one."""
    quoted = f"{DOSE}\n— Dolorin › Nine tablets an hour [1]"
    assert await said(quoted, page("a", DOSE, "Dr. Ann"), author="source") is ALLOW
    assert (await said(quoted, page("a", DOSE, "Dr. Ann"))).action == "refuse"


async def test_texts_in_data_have_to_match():
    """A structured answer is no way around it."""
    assert (await said("", page("a", DOSE, "Dr. Ann"), data={"dose": DOSE})).action == "allow"
    assert (await said("", page("a", DOSE, "Dr. Ann"), data=[{"dose": "Take nine tablets every hour."}])).action == "refuse"


async def test_it_holds_everything():
    """Nothing leaves before the whole was compared, and any cut of a text has the same verdict."""
    assert Curated.hold is Hold.WHOLE
    await check_guard(Curated(aligner=shared()), [DOSE, f"{DOSE} {OTHER}"])


def test_it_is_not_made_by_hand():
    """A feature file cannot name it, because it could not say with what to compare."""
    with pytest.raises(ValueError, match="stakes"):
        Curated()
