"""The verifier of near hits: what it refuses outright, and what it leaves to the weights."""

from __future__ import annotations

import pytest

from mainstay.parts.nearness import Nearness, refusal, shared


@pytest.mark.parametrize("word", ["even", "thus", "moth", "saved", "note", "passing", "San", "real", "summary"])
def test_no_word_is_refused_for_one_that_its_stem_looks_like(word):
    """`even` is no evening, `thus` no Thursday, `moth` no mother, `note` no negation: such a word counts as a word."""
    read = shared().read
    assert refusal(read(f"How do I {word} keep my account?"), read("How do I keep my account?")) in ("", "name")


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Is it open in the evening?", "Is it open in the morning?", "kind"),
        ("Is it open on Mondays?", "Is it open on Tuesdays?", "kind"),
        ("May my mother come?", "May my mother's sister come?", "kind"),
        ("How do I pay?", "How do I not pay?", "negation"),
    ],
)
def test_words_of_a_kind_are_known_in_their_forms(one, other, why):
    """A plural and a genitive are the same word of its kind."""
    assert shared().same(one, other).refused == why


def test_the_same_comes_whichever_question_is_first():
    """Which of the two was asked first says nothing."""
    near: Nearness = shared()
    one, other = "How do I print the invoice of my last order?", "Print an invoice for an order"
    assert near.same(one, other) == near.same(other, one)
    assert 0 < near.same(one, other).probability < near.same(one, one).probability
