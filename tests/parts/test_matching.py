"""How words are compared: by their stems, which may not make one word of two that say different things."""

from __future__ import annotations

import pytest

from mainstay.parts.matching import denies, stem


@pytest.mark.parametrize("word", ["note", "notes", "Notes", "pass", "passing", "passed", "San", "sane", "non"])
def test_no_other_word_is_taken_for_a_negation(word):
    """`note` and `pass` are no `not` and no `pas`, whatever ending is cut off."""
    assert not denies(stem(word))


@pytest.mark.parametrize("word", ["not", "Nothing", "never", "nobody's", "don't", "Kein", "pas", "sans", "ningun", "jamás"])
def test_negations_deny(word):
    """A negation keeps its spelling, so that it is known for one."""
    assert denies(stem(word))


def test_plurals_are_still_one_word():
    """Where cutting an ending would make a negation, the plural alone is cut."""
    assert stem("notes") == stem("note")
    assert stem("passes") == stem("pass") == stem("passing")
