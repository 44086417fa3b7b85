"""Is the canary as good as the control? A decision that may be asked for after every call, without that making it wrong.

Users are compared, not calls: one user's calls resemble each other. The first user of the canary is set beside the first of the
control, the second beside the second, and so on, so that both of a pair came at about the same time. On each pair two bets are
made: against the canary being no worse, and against it being worse by the whole tolerance. If what a bet is against is true, the
game is fair or worse, and a stake of 1 ever becomes 1/e with a probability of at most e, however often one looks (Ville 1939).
So this is a sequential test in the manner of Wald 1945, for values anywhere between 0 and 1. Source of the bets: Waudby-Smith and
Ramdas 2024, Estimating means of bounded random variables by betting.

It does not know the time: ending a canary that took too long, and rolling it back, is the caller's part. It cannot see what no
score and no status shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from mainstay.core.personal_data import masked
from mainstay.core.reasons import Status
from mainstay.core.record import Record, Score

BOLDEST = 0.75  # of what is at stake on one pair: a single one may cost three quarters, never everything
_ASSUMED = 10  # pairs for which a spread of 0.25 is assumed, as long as few have been seen
_SPREAD = 0.25
_GOOD = frozenset({Status.ANSWERED, Status.CACHED})
_LATER = frozenset({Status.PENDING, Status.HELD})


class Decision(Struct, frozen=True, kw_only=True):
    """What to do with a canary, and why.

    `pairs` of users were compared, `discordant` of them not equal. `log_odds` is the evidence that the canary is worse by the
    tolerance, less the evidence that it is not: natural logarithms of what the two bets won.
    """

    outcome: Literal["promote", "roll_back", "go_on"]
    log_odds: float
    pairs: int
    discordant: int
    sentence: str


def goodness(record: Record, scores: Iterable[Score] = ()) -> float | None:
    """How good one call went, from 0 to 1; None while its answer is still to come.

    An answer is as good as the mean of its scores (those that are numbers from 0 to 1), and good where nobody scored it. Whatever
    is no answer of the rung where the ladder started counts 0, whatever was thought of it: degraded, interrupted, refused,
    unavailable. A lower rung may serve a user well, and yet a release that needs it more often is a worse one. A refusal that is
    the user's own doing, or an outage, strikes control and canary alike, and so decides nothing.
    """
    status = record.outcome.answer.status
    if status in _LATER:
        return None
    if status not in _GOOD:
        return 0.0
    known = [float(score.value) for score in scores if not isinstance(score.value, str) and 0 <= score.value <= 1]
    return math.fsum(known) / len(known) if known else 1.0


def values_of(calls: Iterable[tuple[Record, Sequence[Score]]]) -> list[float]:
    """The mean goodness of each user of one arm, in the order of their first calls; without a user a session stands for one, and
    without that, or where the log policy masked their names, the call for itself.

    `calls` are those of one release, of users only (`origin`), with their scores, in any order.
    """
    by_user: dict[tuple[str, str], list[float]] = {}
    for record, scores in sorted(calls, key=lambda call: call[0].begun.at):
        value = goodness(record, scores)
        if value is not None:
            call = record.begun.call
            named = next((name for name in (call.user, call.session) if name and not masked(name)), record.id)
            by_user.setdefault((call.tenant, named), []).append(value)
    return [math.fsum(values) / len(values) for values in by_user.values()]


def decide(
    control: Sequence[float],
    canary: Sequence[float],
    *,
    tolerance: float = 0.1,
    false_alarm: float = 0.02,
    missed: float = 0.01,
) -> Decision:
    """Promote, roll back, or go on: from the values of each arm's users, in the order in which they came.

    A canary that is as good or better is rolled back with a probability of at most `false_alarm`; one that is worse by
    `tolerance` (0.1 is ten points) or more is promoted with a probability of at most `missed`. In between, either may happen.
    The first decision that the values lead to is the one that counts. Raises `ValueError` for a tolerance that is not between 0
    and 1.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"a tolerance is between 0 and 1, not {tolerance}")
    worse = fine = 0.0  # the logarithms of what the bets have won
    squares, pairs, discordant = _SPREAD * _ASSUMED, 0, 0
    outcome: Literal["promote", "roll_back", "go_on"] = "go_on"
    for before, now in zip(control, canary, strict=False):
        difference = now - before
        # The stake that wins most if the canary is as bad, or as good, as the bet says: the mean over the mean of squares, both
        # known before this pair is looked at.
        spread = squares / (_ASSUMED + pairs)
        worse += math.log1p(-difference * min(BOLDEST, tolerance / spread))
        fine += math.log1p((difference + tolerance) * min(BOLDEST, tolerance / (spread + tolerance**2)))
        squares += difference**2
        pairs += 1
        discordant += difference != 0
        if worse >= -math.log(false_alarm):
            outcome = "roll_back"
            break
        if fine >= -math.log(missed):
            outcome = "promote"
            break
    sentence = _sentence(outcome, control[:pairs], canary[:pairs], tolerance)
    return Decision(outcome=outcome, log_odds=worse - fine, pairs=pairs, discordant=discordant, sentence=sentence)


def _sentence(outcome: str, control: Sequence[float], canary: Sequence[float], tolerance: float) -> str:
    if not control:
        return "Nobody can be compared yet: one of the arms has no user."
    before, now = (100 * math.fsum(values) / len(values) for values in (control, canary))
    seen = f"The canary stands at {now:.3g} % and the control at {before:.3g} % over {len(control)} pairs of users"
    shown = {
        "promote": f": it is not worse by {100 * tolerance:.3g} points.",
        "roll_back": ": it is worse.",
        "go_on": f"; whether it is worse by {100 * tolerance:.3g} points is not shown yet.",
    }
    return seen + shown[outcome]
