"""The canary's decision: a planted regression is rolled back, a good release is promoted, whenever one looks."""

from __future__ import annotations

import random

import pytest
from bench.gate import canaries

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.reasons import Status
from mainstay.core.record import Begun, Outcome, Record, Score
from mainstay.learn.canary import decide, goodness, values_of


def record(
    id: str = "r", *, user: str | None = None, tenant: str = "default", at: float = 0, status: Status = Status.ANSWERED
) -> Record:
    call = Call(id=id, feature="desk", input={}, user=user, tenant=tenant)
    answer = Answer(id=id, feature="desk", release="a", status=status)
    return Record(begun=Begun(id=id, at=at, release="a", call=call), outcome=Outcome(id=id, answer=answer, took_us=1))


def score(value: float | str) -> Score:
    return Score(id="s", record="r", at=0, name="thumb", value=value)


def passing(rng: random.Random, share: float, n: int = 2000) -> list[float]:
    return [float(rng.random() < share) for _ in range(n)]


# The decision


def test_a_planted_regression_is_rolled_back() -> None:
    """Of simulated canaries that are ten points worse, with users of 1 to 5 calls each, at least nine in ten go back."""
    for passes, alike in ((0.85, True), (0.95, False)):
        counted, calls = canaries(31, 60, passes, 0.1, alike=alike)
        assert counted["roll_back"] >= 54, counted
        assert calls[30] < 1500


def test_a_good_release_is_promoted() -> None:
    """Of simulated canaries that are as good, at most one in ten goes back, although they are looked at after every 50 calls."""
    for passes, alike in ((0.85, False), (0.95, True)):
        counted, _ = canaries(32, 60, passes, 0.0, alike=alike)
        assert counted["roll_back"] <= 6 and counted["promote"] >= 53, counted


def test_a_better_release_is_promoted_sooner() -> None:
    """Ten points better needs fewer users than equally good."""
    rng = random.Random(5)
    control = passing(rng, 0.8)
    better, equal = decide(control, passing(rng, 0.9)), decide(control, passing(rng, 0.8))
    assert better.outcome == equal.outcome == "promote"
    assert better.pairs < equal.pairs


def test_few_users_decide_nothing() -> None:
    """However bad the first ones were, and also when nobody came at all."""
    assert decide([], []).outcome == "go_on"
    assert "no user" in decide([1.0], []).sentence
    assert decide([1.0] * 3, [0.0] * 3).outcome == "go_on"


def test_a_collapse_is_rolled_back_within_thirty_users() -> None:
    """A canary that fails everybody does not fail many."""
    decision = decide([1.0] * 100, [0.0] * 100)
    assert decision.outcome == "roll_back" and decision.pairs <= 30
    assert decision.discordant == decision.pairs
    assert decision.log_odds > 0
    assert decision.sentence.startswith("The canary stands at 0 % and the control at 100 %")


def test_a_perfect_pair_of_arms_is_promoted() -> None:
    """Where nobody ever fails there is no noise to wait for, and the bets get bolder: the usual spread would take 120 pairs."""
    decision = decide([1.0] * 500, [1.0] * 500)
    assert decision.outcome == "promote" and decision.pairs < 90 and decision.discordant == 0 and decision.log_odds < 0


def test_the_first_decision_counts() -> None:
    """What comes after a decision cannot undo it: otherwise looking often would be cheating."""
    control, canary = [1.0] * 300, [0.0] * 40 + [1.0] * 260
    assert decide(control, canary) == decide(control[:40], canary[:40])


def test_only_users_with_a_partner_count() -> None:
    """An arm that has more users waits for the other."""
    rng = random.Random(2)
    control, canary = passing(rng, 0.9), passing(rng, 0.9)
    assert decide(control, canary[:40]) == decide(control[:40], canary[:40])
    assert decide(control, canary[:40]).pairs == 40


def test_both_errors_are_kept_at_every_look() -> None:
    """The two bounds hold at any time: of equal canaries at most 2 % go back, of those at the tolerance at most 1 % go on."""
    rng = random.Random(3)
    back = sum(decide(passing(rng, 0.7), passing(rng, 0.7)).outcome == "roll_back" for _ in range(300))
    promoted = sum(decide(passing(rng, 0.7), passing(rng, 0.6)).outcome == "promote" for _ in range(300))
    assert back <= 14 and promoted <= 10


def test_a_wider_tolerance_decides_sooner() -> None:
    """Who only fears twenty points needs fewer users to be reassured."""
    rng = random.Random(4)
    control, canary = passing(rng, 0.85), passing(rng, 0.85)
    assert decide(control, canary, tolerance=0.2).pairs < decide(control, canary, tolerance=0.1).pairs
    for tolerance in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            decide(control, canary, tolerance=tolerance)


# What a call is worth


def test_an_answer_is_worth_the_mean_of_its_scores() -> None:
    """Thumbs and scorers are averaged; words and other scales are no share."""
    assert goodness(record()) == 1
    assert goodness(record(status=Status.CACHED)) == 1
    assert goodness(record(), [score(1), score(0.5), score("edited"), score(7.0)]) == 0.75
    assert goodness(record(), [score(0)]) == 0


@pytest.mark.parametrize("status", [Status.DEGRADED, Status.REFUSED, Status.INTERRUPTED, Status.UNAVAILABLE])
def test_what_is_no_answer_of_its_rung_is_worth_nothing(status: Status) -> None:
    """A release that falls back more often is worse, however well the lower rung is scored."""
    assert goodness(record(status=status), [score(1.0)]) == 0


def test_what_is_still_to_come_is_not_counted() -> None:
    """A held or pending answer says nothing yet."""
    assert goodness(record(status=Status.HELD)) is goodness(record(status=Status.PENDING)) is None
    assert values_of([(record(status=Status.PENDING), [])]) == []


def test_one_user_is_one_value_in_order_of_coming() -> None:
    """A user's calls are averaged, whoever asked first comes first, equal names of two tenants are two users."""
    calls = [
        (record("4", user="ben", at=4), [score(0)]),
        (record("2", user="ann", at=2, tenant="other"), [score(0.25)]),
        (record("1", user="ann", at=1), [score(1)]),
        (record("3", user="ann", at=3), [score(0)]),
        (record("5", at=5), []),
        (record("6", at=6), [score(0.75)]),
    ]
    assert values_of(calls) == [0.5, 0.25, 0, 1, 0.75]
