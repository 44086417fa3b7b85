"""The guard `length`: how long an answer may and has to be, in words, characters and sentences."""

from __future__ import annotations

import pytest
from guarding import DELIVERIES, becomes, on_input, said, streamed

from mainstay.core.draft import ALLOW
from mainstay.parts.guards.length import Length, count
from mainstay.testing import check_guard

TEXTS = (
    "One two three. Four five six! Seven eight nine ten?",
    "word " * 40,
    "Dr. Who came at 10:30. It cost 1.299,00 € (see below).\n\nThen he left.",
    "你好，世界。今天天气很好。我们走吧。",
    "Short.",
)


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ("", 0, 0),
        ("One two  three.\nFour", 4, 2),
        ("It costs 1.5 EUR. Really?! Yes.", 6, 3),
        ("你好，世界。好", 5, 2),
        ("Größe ist 5 — gut", 5, 1),
    ],
)
def test_counting(text, words, sentences):
    """Words stand between blanks, signs of Chinese each count as one, a number's point ends no sentence."""
    assert count(text, "words") == words or "，" in text
    assert count(text, "sentences") == sentences


def test_too_long_and_too_short():
    """Both are asked for again with the limit; `refuse` stops, `cut` keeps whole sentences."""
    assert said(Length(max_words=5), TEXTS[0]).remark == "the answer has more than 5 words; write at most 5"
    assert said(Length(min_words=20), TEXTS[0]).remark == "the answer has 10 words; write at least 20"
    assert said(Length(max_sentences=2, over="refuse"), TEXTS[0]).action == "refuse"
    assert becomes(Length(max_words=7, over="cut"), TEXTS[0]) == "One two three. Four five six!"
    assert becomes(Length(max_characters=20, over="cut"), TEXTS[0]) == "One two three."
    assert becomes(Length(max_words=2, over="cut"), TEXTS[0]) is None
    assert said(Length(max_words=10, max_characters=60, max_sentences=3, min_sentences=3), TEXTS[0]) is ALLOW


def test_what_is_not_counted():
    """Data and inputs: a structured answer has no length, an input is refused by the number that it has."""
    assert said(Length(max_words=1), '{"a": "b c d"}', data={"a": "b c d"}) is ALLOW
    assert on_input(Length(max_words=2), question="a b c").detail == "the input has 3 words; send at most 2"
    assert on_input(Length(min_words=2), question="a b c") is ALLOW
    with pytest.raises(ValueError, match="set one of"):
        Length()
    with pytest.raises(ValueError, match="no answer fits"):
        Length(min_words=5, max_words=4)


@pytest.mark.parametrize(
    "guard",
    [
        Length(max_words=9),
        Length(max_characters=30, over="refuse"),
        Length(max_sentences=2),
        Length(min_words=3),
        Length(max_words=7, over="cut"),
        Length(max_sentences=2, min_characters=10, over="cut"),
    ],
)
async def test_any_cut_says_the_same(guard):
    """A growing text is too long as soon as the whole is, and what needs the end waits for it."""
    await check_guard(guard, TEXTS)


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_over_a_stream(opened, delivery):
    """A cut answer is shown once it is whole; one that grows past its maximum is taken back, or never shown."""
    shown, answer = await streamed(opened, '{ length = { max_words = 7, over = "cut" } }', TEXTS[0], delivery)
    assert shown == answer.text == "One two three. Four five six!"
    shown, answer = await streamed(opened, "{ length = { max_words = 7 } }", TEXTS[0], delivery)
    assert (answer.status, answer.text) == (("interrupted", "") if delivery == "stream" else ("degraded", "Sorry."))
    assert answer.reason == "unsafe_output"
