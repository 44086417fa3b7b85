"""Citations are spans: each says exactly which stretch of the answer rests on which passage, with or without a mark."""

from __future__ import annotations

import json

import pytest

from mainstay.core.answer import Cited
from mainstay.core.evidence import Evidence, Passage
from mainstay.parts.alignment import shared
from mainstay.serve.citing import cite

PAGE = """We open at nine, e.g. in Dr. Lee's Street 3.5. Returns are free within 30 days of delivery.

Gift cards are not taken back."""
OTHER = "Das Geschäft öffnet um neun Uhr. Der Versand kostet 4,90 Euro.\n商店九点开门。退货免费。"
EVIDENCE = Evidence(
    searched=True,
    passages=(
        Passage(id="a", source="help", document="a.md", text=PAGE),
        Passage(id="b", source="help", document="b.md", text=OTHER),
    ),
)


def spans(text: str, *, aligned: bool = False) -> list[tuple[str, str]]:
    """The stretches of a text that rest on something, and on what."""
    return [(text[c.start : c.end], c.passage) for c in cite(text, EVIDENCE, shared() if aligned else None)]


MARKED = {
    "before and behind the stop": (
        "It opens at nine [1]. It costs 4.90. [2] Bye.",
        [("It opens at nine", "a"), ("It costs 4.90.", "b")],
    ),
    "several, side by side": ("It is so. It opens [1][2].", [("It opens", "a"), ("It opens", "b")]),
    "two in one sentence": ("It opens [1] and costs [2].", [("It opens", "a"), ("It opens [1] and costs", "b")]),
    "at the beginning": ("[1] says that it opens. Bye.", [("says that it opens.", "a")]),
    "abbreviations and decimals": (
        "See e.g. Dr. Lee, No. 5, for 3.50 euros [1].",
        [("See e.g. Dr. Lee, No. 5, for 3.50 euros", "a")],
    ),
    "lists and tables": (
        "Hours:\n- at nine [1]\n1. at ten\n   or later [2]\n\n| nine | [1] |",
        [("at nine", "a"), ("at ten\n   or later", "b"), ("| nine |", "a")],
    ),
    "Chinese": ("商店九点开门。[2]退货免费[1]。", [("商店九点开门。", "b"), ("退货免费", "a")]),
    "no passage has that number": ("It opens [3], [0] and [99].", []),
    "code": ("Take `list[1]`.\n~~~\nlist [1]\n~~~\nIt opens [1].", [("It opens", "a")]),
}


@pytest.mark.parametrize(("text", "expected"), MARKED.values(), ids=MARKED)
def test_a_mark_cites_what_stands_before_it_in_its_sentence(text: str, expected: list[tuple[str, str]]):
    """Offsets are exact, whatever the layout and script; what is no mark of a passage cites nothing."""
    assert spans(text) == expected


def test_a_sentence_without_a_mark_rests_on_what_bears_it():
    """A user sees where a sentence comes from though the model did not say; what nothing bears, and a question, cites nothing."""
    text = "Returns are free within 30 days! Elephants live in Africa. Are returns free? Der Versand kostet 4,90 Euro."
    assert spans(text, aligned=True) == [("Returns are free within 30 days!", "a"), ("Der Versand kostet 4,90 Euro.", "b")]


def test_a_citation_quotes_the_sentence_that_bears_it():
    """A reader need not search the passage; a quote is always a stretch of it, cut at no abbreviation."""
    text = "We open at nine, in Dr. Lee's Street 3.5 [1]. Gift cards are not taken back. 商店九点开门。[2]"
    quotes = [c.quote for c in cite(text, EVIDENCE, shared())]
    assert quotes == ["We open at nine, e.g. in Dr. Lee's Street 3.5.", "Gift cards are not taken back.", "商店九点开门。"]
    assert [c.quote for c in cite("Elephants live in Africa [1].", EVIDENCE, shared())] == [""]


def test_nothing_is_cited_where_nothing_was_found():
    """Without evidence a mark is just brackets."""
    assert cite("It opens [1].", Evidence(searched=True), shared()) == ()


async def test_every_grounded_answer_carries_its_spans(opened):
    """Through the front door: the stream's citations are the answer's, also for a sentence that the model left without a mark."""
    said = "Returns are free within 30 days [1]. Gift cards are not taken back."
    settings = f"""
        [models.small]
        provider = "scripted"
        options = {{ replies = [{json.dumps(said)}], chunk = 5 }}
        [sources.help]
        path = "help"
    """
    feature = """
        summary = "Answers"
        [grounding]
        sources = ["help"]
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        message = "Sorry."
    """
    app = opened(settings, feature, {"help/page.md": f"# Returns\n\n{PAGE}\n"})
    events = [event async for event in app.stream("answers", question="Are returns free within 30 days?")]
    answer = events[-1]
    assert tuple(event.citation for event in events if isinstance(event, Cited)) == answer.citations
    assert [answer.text[c.start : c.end] for c in answer.citations] == [
        "Returns are free within 30 days",
        "Gift cards are not taken back.",
    ]
    assert [c.quote for c in answer.citations] == [
        "Returns are free within 30 days of delivery.",
        "Gift cards are not taken back.",
    ]
