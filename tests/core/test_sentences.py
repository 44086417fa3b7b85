"""Sentences are found where they are, in any script and layout, and a growing text is cut where the whole one is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainstay.core.sentences import sentences, settled

CUT = {
    "decimals, abbreviations and addresses": (
        "It costs 3.50, e.g. at Dr. Lee's. See docs.example.com for v1.2.3. Call No. 5 first.",
        ["It costs 3.50, e.g. at Dr. Lee's.", "See docs.example.com for v1.2.3.", "Call No. 5 first."],
    ),
    "initials and plain letters": (
        "J. R. R. Tolkien wrote it. Choose plan B. Then the U.S. Army came at 5 p.m. It left. No. It stayed.",
        ["J. R. R. Tolkien wrote it.", "Choose plan B.", "Then the U.S. Army came at 5 p.m.", "It left.", "No.", "It stayed."],
    ),
    "questions, names with a mark, and what trails off": (
        "Really? Yes! Yahoo! is a name… And so on... or not.",
        ["Really?", "Yes!", "Yahoo! is a name…", "And so on... or not."],
    ),
    "German": (
        "Ab dem 3. Mai kostet es z. B. 1.299,00 €, bzw. ca. 5 % mehr. „Das ist viel.“ Siehe Nr. 5.",
        ["Ab dem 3. Mai kostet es z. B. 1.299,00 €, bzw. ca. 5 % mehr.", "„Das ist viel.“", "Siehe Nr. 5."],
    ),
    "Chinese": ("商店九点开门。[1]“关门吗？”他问。五点！", ["商店九点开门。[1]", "“关门吗？”", "他问。", "五点！"]),
    "Hindi and Arabic": ("यह खुला है। कब? هل هو مفتوح؟ نعم.", ["यह खुला है।", "कब?", "هل هو مفتوح؟", "نعم."]),
    "marks": (
        "It opens at nine [1]. It closes at five. [2][3] Then [4] it rests.",
        ["It opens at nine [1].", "It closes at five. [2][3]", "Then [4] it rests."],
    ),
    "wrapped lines": (
        "A line that is long enough to have been wrapped at\nBerlin goes on, and so does\nthis one.\nThis one is new",
        ["A line that is long enough to have been wrapped at\nBerlin goes on, and so does\nthis one.", "This one is new"],
    ),
    "lists, tables, headings and rules": (
        "## Opening hours\n\nWe open:\n- at nine\n  or later [1]\n* [ ] at ten\n1. never\n\n---\n"
        "| day | hour |\n|---|---:|\n| Mo | 9 |\n> Quoted. Twice.",
        [
            *("Opening hours", "We open:", "at nine\n  or later [1]", "at ten", "never"),
            *("| day | hour |", "| Mo | 9 |", "Quoted.", "Twice."),
        ],
    ),
    "code": (
        "Run this:\n```py\nx = 1. \ny = f(x)\n```\nThe call `a. B` waits. Done",
        ["Run this:", "```py\nx = 1. \ny = f(x)\n```", "The call `a. B` waits.", "Done"],
    ),
    "nothing": (" \n\t\n", []),
}


@pytest.mark.parametrize(("text", "expected"), CUT.values(), ids=CUT)
def test_sentences_end_where_a_reader_sees_them_end(text: str, expected: list[str]):
    """A decimal, an abbreviation, a list or another script breaks no sentence in two, and places are exact."""
    found = sentences(text)
    assert [s.text for s in found] == expected
    assert all(text[s.start : s.end] == s.text for s in found)


def test_headings_rows_and_code_say_what_they_are():
    """Who checks statements can pass over what states nothing."""
    assert [s.kind for s in sentences("# A\nb\n| c |\n~~~\nd\n~~~")] == ["heading", "text", "row", "code"]


def test_marks_behind_a_sentence_are_told_from_it():
    """A citation ends where the words end, not behind its mark."""
    text = "It opens. [1][2] It closes [3] now [4]\nIt is open [5]."
    assert [text[s.start : s.unmarked] for s in sentences(text)] == ["It opens.", "It closes [3] now", "It is open [5]."]


PIECES = st.sampled_from(
    (
        *(
            "It opens. ",
            "at 3",
            ".",
            " ",
            "\n",
            "\n\n",
            "- ",
            "1. ",
            "# ",
            "| ",
            "|---|",
            "```",
            "~~~",
            "`",
            "e.g. ",
            "Dr. ",
            "No. ",
        ),
        *("[1]", "[", "12]", "! ", "?", "“", "”", "。", "汉字", "a", "B", "Mai", "---", "=", "> ", "x" * 30, "…", ")", "*", "\t"),
    )
)


@given(st.lists(PIECES, max_size=24).map("".join))
@example("Am 3. Mai. See No. 5. [1] [2]\n\n```\na. B\n```\nC. D")
def test_what_is_settled_stays_however_the_text_goes_on(text: str):
    """A stream that lets go of settled sentences lets go of whole ones, and finds the same ones when it starts from there."""
    whole, start = sentences(text), 0
    for size in range(len(text) + 1):
        end = settled(text[:size])
        assert end >= start and settled(text[:size], start) == end
        before = [s for s in whole if s.end <= end]
        assert [s for s in sentences(text[:size]) if s.end <= end] == before
        assert end == 0 or before[-1].end == end
        assert sentences(text, end) == whole[len(before) :]
        start = end
