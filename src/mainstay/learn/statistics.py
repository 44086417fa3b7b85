"""The few statistics that the gate and the canary rest on: pure functions of numbers, each with its source.

A *pair* is one case answered by two releases. A *changing* pair is one whose answers differ in how good they are. Shares and
probabilities are between 0 and 1; a drop of 0.1 is ten points. Nothing here draws at random but `paired_bootstrap`, which is
given its seed.
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
_FINE = 1000  # the largest denominator of a share: no case is repeated more often
_MANY = 1000  # changing pairs beyond which a sum of differences is as good as normally distributed
_COARSE = 64  # changing pairs up to which the p-values that can occur at all are looked at one by one
_ROUNDING = 1e-9


def percentile(values: Sequence[float], q: float) -> float:
    """The smallest of the values that a share `q` of them does not exceed (the nearest rank), so it is one that occurred.

    Raises `ValueError` where there are no values.
    """
    if not values:
        raise ValueError("there is no percentile of no values")
    return sorted(values)[max(0, math.ceil(q * len(values) - _ROUNDING) - 1)]


def wilson(passed: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which shares the true one lies, when `passed` of `n` passed; a repeated case may count as a fraction.

    Nothing is known from no cases: (0, 1). Source: Wilson 1927; recommended for small n by Brown, Cai and DasGupta 2001.
    """
    if n == 0:
        return 0.0, 1.0
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share, slack = passed / n, z * z / n
    middle = (share + slack / 2) / (1 + slack)
    half = math.sqrt(share * (1 - share) * slack + slack * slack / 4) / (1 + slack)
    return max(0.0, middle - half), min(1.0, middle + half)


def at_most(wrong: int, n: int, confidence: float = 0.95) -> float:
    """The share that the true one does not pass, with this confidence, when `wrong` of `n` were wrong; 1 where there were none.

    Exact and one-sided. Source: Clopper and Pearson 1934.
    """
    if wrong >= n:
        return 1.0
    return _root(lambda share: 1 - confidence - sum(_binomial(k, n, share) for k in range(wrong + 1)), wrong / n, 1.0)


def at_least(wrong: int, n: int, confidence: float = 0.95) -> float:
    """The share that the true one does not fall below: the other end of `at_most`."""
    return 1 - at_most(n - wrong, n, confidence) if n else 0.0


# Is a drop real?


def mcnemar(worse: int, better: int) -> float:
    """How likely two equally good releases show a drop this large.

    Each of their changing pairs is as likely to be worse as better. Exact and one-sided; 1 where nothing became worse. Source:
    McNemar 1947, in its exact binomial form.
    """
    n = worse + better
    ways, total = 1, 1  # of choosing which `better` pairs, or fewer, became better
    for k in range(1, better + 1):
        ways = ways * (n - k + 1) // k
        total += ways
    return float(total / 2**n)


def sign_flip(differences: Sequence[float]) -> float:
    """How likely two equally good releases show a drop this large, when a case's difference may be a fraction.

    If the releases are equal, each difference might as well have had the other sign. This is the share of all assignments of
    signs whose sum is as low as the one seen, counted exactly; for differences of -1, 0 and 1 it is `mcnemar`. Beyond 1,000
    changing pairs the sum is taken to be normally distributed. Source: Fisher 1935, The Design of Experiments, section 21.
    """
    changing = [Fraction(d).limit_denominator(_FINE) for d in differences if abs(d) > _ROUNDING]
    if all(abs(d) == 1 for d in changing):
        return mcnemar(sum(d < 0 for d in changing), sum(d > 0 for d in changing))
    if len(changing) > _MANY:
        return _NORMAL.cdf(float(sum(changing)) / math.sqrt(float(sum(d * d for d in changing))))
    whole = math.lcm(*(d.denominator for d in changing))
    # Counted from the lowest sum, each difference adds its size or does not. The number of ways to reach a sum is one field of a
    # long integer, wide enough for all of them, so that one shift and one addition take in a difference.
    width = len(changing) + 1
    ways = 1
    for d in changing:
        ways += ways << (int(abs(d) * whole) * width)
    gained = int(sum(d for d in changing if d > 0) * whole)
    as_low = ways & ((1 << ((gained + 1) * width)) - 1)
    among = as_low % ((1 << width) - 1)  # the remainder is the sum of the fields, as it is of digits by nine
    return float(among / 2 ** len(changing))


def paired_bootstrap(
    differences: Sequence[float], *, seed: int, rounds: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """Between which values the mean difference of pairs lies, by drawing as many pairs again and again.

    Too narrow for fewer than some twenty pairs, and blind to what no pair shows: where all are equal it has no width. Source:
    Efron 1979, percentile method.
    """
    if not differences:
        raise ValueError("there is nothing to draw from")
    n, draw = len(differences), random.Random(seed)
    counted = sorted(Counter(differences).items(), key=lambda value: value[1])
    means = []
    for _ in range(rounds):
        # How many of the draws hit each value, the rarest first: few steps, because differences take few values.
        total, left, others = 0.0, n, n
        for value, count in counted:
            hits = left if count == others else bisect(_up_to(left, count / others), draw.random())
            total, left, others = total + hits * value, left - hits, others - count
        means.append(total / n)
    return percentile(means, (1 - confidence) / 2), percentile(means, (1 + confidence) / 2)


@lru_cache(4096)
def _up_to(n: int, share: float) -> list[float]:
    """How likely at most 0, 1, 2, … of `n` are, each with that probability, as far as it matters."""
    likely, total = [], 0.0
    for k in range(n):
        total += _binomial(k, n, share)
        likely.append(total)
        if k > n * share and total > 1 - 1e-12:
            break
    return likely


# Many slices at once


@lru_cache(4096)
def chance(p: float, n: int, changing: float) -> float:
    """How likely `n` pairs of two equally good releases, of which a share `changing` differs, show a p-value of `p` or less.

    That is less than `p` for a small slice, because the p-value of a handful of changing pairs takes few values: three of them
    never show less than 1/8. Source: Tarone 1990, who first left those out of a correction that can never count.
    """
    if p >= 1:
        return 1.0
    total = seen = 0.0
    for d in range(min(n, _COARSE) + 1):
        likely = _binomial(d, n, changing)
        seen += likely
        total += likely * _attainable(p, d)
    return min(p, total + max(0.0, 1 - seen) * p)


def _binomial(k: int, n: int, share: float) -> float:
    """How likely exactly `k` of `n` are, each with that probability."""
    if share <= 0 or share >= 1:
        return float(k == (n if share >= 1 else 0))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


@lru_cache(4096)
def _attainable(p: float, changing: int) -> float:
    """The largest p-value up to `p` that so many changing pairs can show; 0 where they show none."""
    ways, total, reached = 1, 1, 0.0
    for better in range(changing + 1):
        if total / 2**changing > p + _ROUNDING:
            break
        reached = total / 2**changing
        ways = ways * (changing - better) // (better + 1)
        total += ways
    return reached


def holm(p_values: Sequence[float], sizes: Sequence[int], changing: float) -> list[float]:
    """The p-values of many slices, each corrected for there being many.

    A corrected one says how likely equally good releases show as much *in any* slice, so that whoever acts on 0.05 acts wrongly
    in one comparison of twenty, however many slices it has. `sizes` are the pairs of each slice, `changing` the share of pairs
    that differ between equal releases. Slices may overlap. Source: Holm 1979 (the smallest first, each beside those not yet
    judged), with what a slice can show at all (`chance`) in place of `p`, as in Westfall and Wolfinger 1997.
    """
    corrected = [1.0] * len(p_values)
    worst = 0.0
    left = sorted(range(len(p_values)), key=lambda i: p_values[i])
    while left:
        first = left[0]
        anywhere = sum(chance(p_values[first], sizes[i], changing) for i in left)
        worst = min(1.0, max(worst, p_values[first], anywhere))
        corrected[first] = worst
        left = left[1:]
    return corrected


def cut_off(alpha: float, sizes: Sequence[int], changing: float) -> float:
    """The p-value that a slice has to show so that `holm` finds at most `alpha` in it, while no other slice shows anything."""
    return _root(lambda p: max(p, sum(chance(p, n, changing) for n in sizes)) - alpha, 0.0, alpha)


# How many cases are enough?


def detectable_drop(n: int, discordance: float, alpha: float, power: float = 0.8) -> float:
    """The smallest drop that `n` pairs show with this probability, one-sided at `alpha`; 1 where not even a collapse shows.

    `discordance` is the share of pairs that differ between equal releases; the cases of the drop change on top of it. Source:
    Connor 1987, sample size for McNemar's test, solved for the drop.
    """
    if n == 0 or cases_needed(1.0, discordance, alpha, power) > n:
        return 1.0
    return _root(lambda drop: n - _cases(drop, discordance, alpha, power), _ROUNDING, 1.0)


def cases_needed(drop: float, discordance: float, alpha: float, power: float = 0.8) -> int:
    """How many pairs show a drop of that size with this probability: the inverse of `detectable_drop`."""
    return math.ceil(_cases(drop, discordance, alpha, power) - _ROUNDING)


def _cases(drop: float, discordance: float, alpha: float, power: float) -> float:
    """Connor's formula; never fewer cases than a drop has to hit for its p-value to reach `alpha` at all."""
    changing = min(1.0, discordance + drop)
    error = -_NORMAL.inv_cdf(alpha) * math.sqrt(changing)
    miss = _NORMAL.inv_cdf(power) * math.sqrt(max(0.0, changing - drop * drop))
    return max(((error + miss) / drop) ** 2, -math.log2(alpha) / drop)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes 0, between two values."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


# Scorers that are not always of one mind


def flip_rate(disagreement: float) -> float:
    """How often a scorer says the opposite of what it mostly says, when two of its verdicts on one answer differ so often.

    Two verdicts differ if exactly one of them is flipped: 2f(1 - f), solved for f. A scorer that disagrees with itself half
    of the time, or more, is a coin: 0.5.
    """
    return (1 - math.sqrt(max(0.0, 1 - 2 * disagreement))) / 2


def without_noise(share: float, flip: float) -> float:
    """The share that passes, when a scorer that flips each verdict with probability `flip` lets `share` pass.

    Flips draw every share towards one half. Right on average, so by chance it may lie below 0 or above 1; for the same reason it
    may be had for each case and averaged. Raises `ValueError` for a coin (0.5 or more), which says nothing. Source: Rogan and
    Gladen 1978, with sensitivity and specificity both 1 - flip.
    """
    return (share - flip) / _agreement(flip)


def drop_without_noise(drop: float, flip: float) -> float:
    """The difference of two shares that such a scorer shows as `drop`: flips make every difference smaller."""
    return drop / _agreement(flip)


def _agreement(flip: float) -> float:
    if not 0 <= flip < 0.5:
        raise ValueError(f"a scorer that flips {flip:.0%} of its verdicts says nothing")
    return 1 - 2 * flip
