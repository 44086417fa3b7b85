"""The guard `terms` with `fold`: the same word behind accents, look-alike letters and digits."""

from __future__ import annotations

import pytest
from guarding import DELIVERIES, becomes, said, streamed

from mainstay.core.draft import ALLOW
from mainstay.parts.guards.terms import Terms
from mainstay.testing import check_guard

EACH = {
    "accents": ("Ácmé Cörp", "ACME\u0301 Corp"),
    "confusables": ("\u0410\u0441m\u0435 C\u043erp", "Acm\u03b5 Co\u0433p".replace("\u0433", "r")),
    "leet": ("4cm3 C0rp", "@cm3 corp"),
}


@pytest.mark.parametrize("fold", EACH)
def test_each_way_is_folded_where_it_is_asked_for(fold):
    """A way of writing is passed over with its option and another word without it; what is beside the term stays."""
    for written in EACH[fold]:
        assert becomes(Terms(terms=["Acme Corp"], action="redact", fold=[fold]), f"Buy 4 of {written}, né?").startswith(
            "Buy 4 of █"
        )
        assert said(Terms(terms=["Acme Corp"]), f"Buy {written}.") is ALLOW or fold == "accents"
        assert said(Terms(terms=["Acme Corp"], fold=[other for other in EACH if other != fold]), f"Buy {written}.") is ALLOW


def test_words_of_other_scripts_are_still_themselves():
    """A term in Cyrillic or with an accent is found as it is written, and a handle keeps its edge."""
    every = Terms(terms=["Сбер", "café", "AcmeCo"], fold=list(EACH))
    for text in ("в Сбер!", "un café", "un cafe", "ask @AcmeCo now"):
        assert said(every, text).action == "refuse", text
    assert said(every, "Сберегательный, cafés, 4cmec0rp") is ALLOW


async def test_any_cut_says_the_same():
    """Folding changes nothing about what is held back."""
    texts = [f"Buy 4 of {written}, né? And 5 more." for ways in EACH.values() for written in ways]
    for action in ("redact", "refuse"):
        await check_guard(Terms(terms=["Acme Corp"], action=action, fold=list(EACH)), texts)


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_over_a_stream(opened, delivery):
    """The word is blacked out over a real stream."""
    shown, _ = await streamed(
        opened, '{ terms = { terms = ["AcmeCo"], action = "redact", fold = ["leet"] } }', "Buy 4cm3C0 now.", delivery
    )
    assert shown == "Buy ██████ now."
