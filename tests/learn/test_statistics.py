"""The statistics against printed tables, closed forms, other programs' results, and what chance does when it is drawn."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from mainstay.learn.statistics import (
    cases_needed,
    chance,
    cut_off,
    detectable_drop,
    drop_without_noise,
    flip_rate,
    holm,
    mcnemar,
    paired_bootstrap,
    percentile,
    sign_flip,
    wilson,
    without_noise,
)


def test_wilson_is_the_interval_that_others_print() -> None:
    """The figures of statsmodels' `proportion_confint(..., method="wilson")`, and both ends of the scale."""
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 20) == pytest.approx((0, 0.1611252), abs=1e-6)
    assert wilson(20, 20) == pytest.approx((0.8388748, 1), abs=1e-6)
    assert wilson(0, 0) == (0, 1)
    assert wilson(8, 10, 0.5)[0] > wilson(8, 10)[0]


def test_wilson_holds_the_truth_as_often_as_it_says() -> None:
    """Of many samples from a share of 0.85, some 95 % give an interval around it."""
    rng = random.Random(1)
    held = 0
    for _ in range(2000):
        low, high = wilson(sum(rng.random() < 0.85 for _ in range(60)), 60)
        held += low <= 0.85 <= high
    assert 0.93 < held / 2000 < 0.97


@pytest.mark.parametrize(("worse", "better", "p"), [(5, 0, 1 / 32), (8, 1, 10 / 512), (0, 3, 1), (0, 0, 1), (3, 3, 42 / 64)])
def test_mcnemar_is_the_binomial_tail(worse: int, better: int, p: float) -> None:
    """The same as scipy's `binomtest(worse, worse + better, 0.5, alternative="greater")`."""
    assert mcnemar(worse, better) == pytest.approx(p)


def test_mcnemar_is_exact_where_factorials_are_huge() -> None:
    """A symmetric split of 10,000 is a tail of one half and half of the middle term, without overflow."""
    assert mcnemar(5000, 5000) == pytest.approx(0.5 + 0.5 * 0.0079786, abs=1e-5)


def test_flipping_signs_of_whole_differences_is_mcnemar() -> None:
    """One turn a case is a special case of many, so there is one rule and not two."""
    assert sign_flip([-1] * 7 + [1] * 2 + [0] * 40) == mcnemar(7, 2)


def test_flipping_signs_counts_every_assignment() -> None:
    """The long integer counts what listing all assignments counts."""
    rng = random.Random(2)
    for _ in range(20):
        differences = [rng.randint(-5, 5) / 5 for _ in range(9)]
        moved = [d for d in differences if d]
        sums = [
            sum(s * abs(d) for s, d in zip(signs, moved, strict=True)) for signs in itertools.product((-1, 1), repeat=len(moved))
        ]
        expected = sum(s <= sum(moved) + 1e-9 for s in sums) / len(sums)
        assert sign_flip(differences) == pytest.approx(expected)


def test_flipping_many_signs_agrees_with_the_exact_count() -> None:
    """Where the normal distribution takes over, it says what the count would have said."""
    rng = random.Random(3)
    differences = [rng.choice([-1, -0.5, 0.5, 1]) for _ in range(990)] + [-0.5] * 9
    assert sign_flip(differences) == pytest.approx(sign_flip([*differences, 0.5, -0.5]), abs=0.02)


def test_flipping_signs_is_right_about_equal_releases() -> None:
    """Of equal releases measured with five turns, no more than one in twenty shows a p-value of 0.05."""
    rng = random.Random(4)
    shown = 0
    for _ in range(1000):
        shares = [(sum(rng.random() < 0.8 for _ in range(5)) - sum(rng.random() < 0.8 for _ in range(5))) / 5 for _ in range(15)]
        shown += sign_flip(shares) <= 0.05
    assert 0.02 < shown / 1000 < 0.07


def test_bootstrap_is_as_wide_as_theory_says_and_fast() -> None:
    """For 200 pairs the interval is 1.96 standard errors each way; the same seed gives the same one, in well under a second."""
    differences = [-1.0] * 30 + [1.0] * 10 + [0.0] * 160
    began = time.perf_counter()
    low, high = paired_bootstrap(differences, seed=1)
    assert time.perf_counter() - began < 2  # some 0.02 s on an idle machine
    error = ((40 / 200 - 0.1**2) / 200) ** 0.5
    assert (low, high) == pytest.approx((-0.1 - 1.96 * error, -0.1 + 1.96 * error), abs=0.007)
    assert paired_bootstrap([-1.0] * 60 + [1.0] * 40, seed=1) == pytest.approx((-0.2 - 0.192, -0.2 + 0.192), abs=0.03)
    assert paired_bootstrap(differences, seed=1) == (low, high)
    assert paired_bootstrap([0.2] * 5, seed=1) == pytest.approx((0.2, 0.2))
    with pytest.raises(ValueError):
        paired_bootstrap([], seed=1)


def test_bootstrap_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of many samples of 60 differences, some nineteen in twenty give an interval around the true mean of -0.1."""
    rng = random.Random(5)
    held = 0
    for round in range(200):
        low, high = paired_bootstrap(rng.choices([-1.0, 0.0, 1.0], [0.2, 0.7, 0.1], k=60), seed=round, rounds=300)
        held += low <= -0.1 <= high
    assert 0.88 < held / 200 < 0.99


def test_chance_of_a_small_p_value_is_what_is_drawn() -> None:
    """The correction for slices rests on how often equal releases show a p-value; that is what simulated ones show."""
    rng = random.Random(6)
    for n, changing, p in ((15, 0.2, 1 / 32), (15, 0.1, 0.125), (100, 0.2, 0.05)):
        shown = 0
        for _ in range(4000):
            moved = [rng.random() < 0.5 for _ in range(n) if rng.random() < changing]
            shown += mcnemar(sum(moved), len(moved) - sum(moved)) <= p
        assert shown / 4000 == pytest.approx(chance(p, n, changing), abs=0.012)


def test_chance_leaves_out_what_a_slice_cannot_show() -> None:
    """Three changing pairs never show less than 1/8, so three cases add nothing to a correction at 0.05."""
    assert chance(0.05, 3, 0.9) == 0
    assert chance(1 / 32, 5, 1) == pytest.approx(1 / 32)
    assert chance(0.05, 10_000, 0.3) == pytest.approx(0.05, abs=1e-6)
    assert chance(1.0, 5, 0.1) == 1


def test_holm_on_large_slices_is_the_textbook() -> None:
    """With slices so large that every p-value can occur, the corrected ones are those of Holm's paper: times what is left."""
    corrected = holm([0.01, 0.04, 0.03, 0.005], [100_000] * 4, 0.5)
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-6)
    assert holm([], [], 0.1) == []


def test_holm_costs_little_for_slices_that_are_small() -> None:
    """Five of fifteen cases lost is found beside six other small slices, which seven times the p-value would not find."""
    corrected = holm([1 / 32, *[0.5] * 6], [15] * 7, 0.1)
    assert corrected[0] <= 0.05 < 7 / 32
    assert min(corrected[1:]) >= 0.5


def test_cut_off_is_where_holm_says_alpha() -> None:
    """A slice that shows the cut-off, while no other shows anything, is corrected to the error that was asked for."""
    sizes = [200] * 5
    limit = cut_off(0.05, sizes, 0.3)
    assert 0.01 < limit < 0.02
    assert holm([limit * 0.99, 1, 1, 1, 1], sizes, 0.3)[0] <= 0.05
    assert cut_off(0.05, [15], 0.1) == pytest.approx(0.05)


def test_detectable_drop_is_detected_as_often_as_it_says() -> None:
    """A drop of the size that 100 cases can show is shown by about four of five draws."""
    n, noise = 100, 0.1
    drop = detectable_drop(n, noise, 0.05)
    rng = random.Random(7)
    seen = 0
    for _ in range(1500):
        draws = rng.choices([-1, 1, 0], [noise / 2 + drop, noise / 2, 1 - noise - drop], k=n)
        seen += mcnemar(draws.count(-1), draws.count(1)) <= 0.05
    assert 0.7 < seen / 1500 < 0.9


def test_cases_needed_is_the_other_side_of_the_detectable_drop() -> None:
    """So many cases show the drop, and one fewer does not; more cases show less, and no case nothing."""
    needed = cases_needed(0.1, 0.1, 0.05)
    assert detectable_drop(needed, 0.1, 0.05) <= 0.1 < detectable_drop(needed - 1, 0.1, 0.05)
    assert detectable_drop(400, 0.1, 0.05) < detectable_drop(100, 0.1, 0.05) < detectable_drop(20, 0.1, 0.05)
    assert detectable_drop(0, 0.1, 0.05) == detectable_drop(3, 0.1, 0.05) == 1
    assert 110 <= needed <= 130  # Connor's formula by hand: (1.645 * sqrt(.2) + 0.842 * sqrt(.19))^2 / .01 = 122


def test_percentile_is_a_value_that_occurred() -> None:
    """Of a hundred times, the 95th is the one that 95 do not exceed; of one, it is that one."""
    assert percentile(list(range(100, 0, -1)), 0.95) == 95
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([1, 2, 3, 4], 0) == 1 and percentile([1, 2, 3, 4], 1) == 4
    with pytest.raises(ValueError):
        percentile([], 0.5)


def test_noise_is_taken_out_of_shares_and_drops() -> None:
    """What a scorer with one wrong verdict in ten shows of 0.9 and of a drop of 0.2 is turned back into them."""
    flip = 0.1
    shown = 0.9 * (1 - flip) + 0.1 * flip
    assert without_noise(shown, flip) == pytest.approx(0.9)
    assert drop_without_noise(0.2 * (1 - 2 * flip), flip) == pytest.approx(0.2)
    assert without_noise(0.05, flip) < 0 and without_noise(1.0, flip) > 1
    assert without_noise(0.3, 0) == 0.3
    with pytest.raises(ValueError):
        without_noise(0.5, 0.5)


def test_a_flip_rate_is_found_again_in_drawn_verdicts() -> None:
    """A scorer that is wrong once in eight disagrees with itself in 2 * 1/8 * 7/8 of pairs, and the rate comes back from that."""
    assert flip_rate(2 * 0.125 * 0.875) == pytest.approx(0.125)
    assert flip_rate(0) == 0 and flip_rate(0.7) == 0.5
