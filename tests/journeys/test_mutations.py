"""Nothing false about a fact gets out: an answer with one figure, date, code, name or unit changed is not shown."""

from __future__ import annotations

from collections import Counter

import pytest
from bench import mutants

PRODUCTS = 9  # each of the three ways to say it, three times


@pytest.fixture(params=[("slots",), ("slots", "grounded")], ids=" ".join)
async def found(request: pytest.FixtureRequest) -> list[tuple[mutants.Asked, bool, bool]]:
    """Our own answers, unchanged and mutated, served over HTTP as a stream and as a whole."""
    wanted = {f"product {i}" for i in range(PRODUCTS)}
    asked = [one for one in mutants.cases(None) if one.set == "passages" or one.key in wanted]
    return await mutants.served(asked, request.param)


async def test_no_typed_mutant_is_shown_and_true_answers_are(
    found: list[tuple[mutants.Asked, bool, bool]], request: pytest.FixtureRequest
) -> None:
    """The promise of slots, beside the price of it: a guard that refuses everything would pass the first half alone."""
    wrong = [(one.set, one.kind, one.text) for one, streamed, whole in found if one.kind in mutants.TYPED and (streamed or whole)]
    assert wrong == []
    kinds = Counter(one.kind for one, _, _ in found if one.set == "facts")
    assert all(kinds[kind] >= 3 for kind in mutants.TYPED), kinds
    with_grounded = "grounded" in request.node.name
    for set, least in (("facts", 1 / 3 if with_grounded else 1.0), ("passages", 0.8)):
        true = [streamed and whole for one, streamed, whole in found if (one.set, one.kind) == (set, "unchanged")]
        assert sum(true) >= least * len(true), f"{set}: {sum(true)} of {len(true)} true answers are shown"


async def test_both_deliveries_agree(found: list[tuple[mutants.Asked, bool, bool]]) -> None:
    """What is stopped as a whole is not shown word by word first."""
    assert [one.text for one, streamed, whole in found if streamed != whole] == []


def test_mutants_differ_in_what_they_say() -> None:
    """A mutant that says the same would count as a guard's failure, and one without its end would count as shown at once."""
    asked = mutants.cases(None)
    true = {(one.set, one.key): one.text for one in asked if one.kind == "unchanged"}
    for one in asked:
        if one.kind != "unchanged":
            text = true[one.set, one.key]
            assert one.text != text and 0 < one.end <= len(one.text)
            assert not text.startswith(one.text[: one.end]), "what was changed stands before its end"
