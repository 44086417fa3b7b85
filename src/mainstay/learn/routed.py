"""What a router costs and saves on live calls: those that started lower, beside what the first rung says to a share of them.

Both answers of such a pair are scored by the feature's online scorers; the loss is the mean difference, with its 95 % interval.
What it does not know: what scorers do not see, and calls whose answer came from the cache.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from msgspec import Struct

from mainstay.core.record import Record
from mainstay.core.seams import Ledger
from mainstay.learn.statistics import paired_bootstrap
from mainstay.learn.trials import MOST, ROUTED

ENOUGH = 30  # pairs from which an interval is told


class Routed(Struct, frozen=True, kw_only=True):
    """Live calls that started lower. Money is in nano-dollars, None where a price is unknown.

    `calls` climbed the ladder, the newest: a rung was tried for each. `lower` of them started lower, `starts` counts where; the
    others started at the top. `pairs` were answered by the first rung too and scored; `loss` is by how much its scores are
    higher, on average, None without pairs, and its interval None with few of them. `saved` is what the first rung's answer costs
    more, on average; `spent` what the answers of the pairs cost that nobody saw.
    """

    calls: int
    lower: int
    starts: dict[str, int]
    pairs: int
    loss: float | None
    interval: tuple[float, float] | None
    saved: float | None
    spent: int | None

    @property
    def top(self) -> int:
        """How many started at the top."""
        return self.calls - self.lower

    @property
    def saved_in_all(self) -> int | None:
        """What all calls that started lower saved, less what it cost to measure it: an estimate from the pairs."""
        return None if self.saved is None or self.spent is None else round(self.saved * self.lower - self.spent)


def measured(ledger: Ledger, feature: str, digest: str | None = None) -> Routed:
    """What the records say of a feature's newest calls, of one release or of all."""
    where = {"feature": feature} | ({} if digest is None else {"release": digest})
    calls = [r for r in ledger.records(where=where | {"origin": "user"}, limit=MOST) if r.outcome.attempts]
    lower = {record.id: record for record in calls if record.outcome.route is not None}
    starts: dict[str, int] = defaultdict(int)
    for record in lower.values():
        if record.outcome.route is not None:
            starts[record.outcome.route.start] += 1
    shadows = ledger.records(where=where | {"origin": "shadow"}, limit=MOST)
    first = [record for record in shadows if (record.begun.call.cohort or "").startswith(ROUTED)]
    both = [(record, lower[record.begun.call.parent or ""]) for record in first if record.begun.call.parent in lower]
    losses = [loss for top, start in both if (loss := _loss(top, start, ledger)) is not None]
    more = [_more(top, start) for top, start in both]
    known = [money for money in more if money is not None]
    costs = [top.outcome.cost_nano_usd for top, _ in both]
    priced = [cost for cost in costs if cost is not None]
    return Routed(
        calls=len(calls),
        lower=len(lower),
        starts=dict(starts),
        pairs=len(losses),
        loss=fmean(losses) if losses else None,
        interval=paired_bootstrap(losses, seed=1) if len(losses) >= ENOUGH else None,
        saved=fmean(known) if known and len(known) == len(more) else None,
        spent=sum(priced) if len(priced) == len(costs) else None,
    )


def _loss(top: Record, start: Record, ledger: Ledger) -> float | None:
    """By how much the first rung's answer is better: the mean over what scored both, each between 0 and 1."""
    ours, theirs = _scores(start, ledger), _scores(top, ledger)
    both = ours.keys() & theirs.keys()
    return fmean(theirs[name] - ours[name] for name in both) if both else None


def _scores(record: Record, ledger: Ledger) -> dict[str, float]:
    """What scorers said; people judge one answer of a pair at most."""
    found = [score for score in ledger.scores(record.id) if score.who.startswith("scorer:")]
    return {score.name: float(score.value) for score in found if not isinstance(score.value, str)}


def _more(top: Record, start: Record) -> int | None:
    ours, theirs = start.outcome.cost_nano_usd, top.outcome.cost_nano_usd
    return None if ours is None or theirs is None else theirs - ours
