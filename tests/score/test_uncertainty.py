"""Bootstrap intervals behave as intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sspipe.score import uncertainty
from sspipe.score.uncertainty import f1_score, interval, resample_weights, resampled_sums


def tiles(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    found = random.binomial(14, random.beta(4, 3, count))
    return found, random.poisson(5, count), 14 - found


def bootstrap_f1(*counts, samples, seed=0, units=None):
    """The interval of the micro F1, by the steps that a score takes."""
    columns = np.stack([np.asarray(count, float) for count in counts], axis=1)
    return interval(f1_score(*resampled_sums(columns, units, samples=samples, seed=seed).T))


@settings(max_examples=25, deadline=None)
@given(st.integers(30, 300), st.integers(0, 1000))
def test_interval_holds_the_point_estimate(count, seed):
    counts = tiles(count, seed)
    low, high = bootstrap_f1(*counts, samples=300)
    assert 0 <= low <= f1_score(*(count.sum() for count in counts)) <= high <= 1


def test_same_seed_gives_the_same_interval():
    assert bootstrap_f1(*tiles(50), samples=200, seed=3) == bootstrap_f1(*tiles(50), samples=200, seed=3)
    assert bootstrap_f1(*tiles(50), samples=200, seed=3) != bootstrap_f1(*tiles(50), samples=200, seed=4)


def test_interval_narrows_as_the_root_of_the_number_of_tiles():
    few, many = (np.diff(bootstrap_f1(*tiles(count), samples=1000))[0] for count in (50, 5000))
    assert few / many == pytest.approx(10, rel=0.4)


def test_interval_is_that_of_drawing_tiles_with_replacement():
    counts = np.stack(tiles(40), axis=1)
    random = np.random.default_rng(1)
    drawn = [f1_score(*counts[random.integers(0, 40, 40)].sum(axis=0)) for _ in range(4000)]
    expected = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(bootstrap_f1(*counts.T, samples=4000), expected, atol=0.006)


def test_alike_tiles_leave_no_doubt():
    same = np.full(20, 3)
    assert bootstrap_f1(same, same, same, samples=100) == pytest.approx((0.5, 0.5))


def test_one_tile_and_no_counts_are_defined():
    assert bootstrap_f1([0], [0], [0], samples=100) == (0, 0)
    assert bootstrap_f1([2], [0], [0], samples=100) == (1, 1)


def test_weights_are_whole_draws_however_they_are_parted(monkeypatch):
    whole = np.concatenate(list(resample_weights(7, 20, seed=0)))
    assert (whole.sum(axis=1) == 7).all()
    monkeypatch.setattr(uncertainty, "WEIGHTS_AT_ONCE", 21)
    np.testing.assert_array_equal(np.concatenate(list(resample_weights(7, 20, seed=0))), whole)


def test_tiles_of_one_unit_are_drawn_together_in_whatever_order_they_come():
    counts = np.stack(tiles(40), axis=1)
    twice, units = np.repeat(counts, 2, axis=0), np.repeat([f"block {n:02}" for n in range(40)], 2)
    expected = bootstrap_f1(*counts.T, samples=300)
    assert bootstrap_f1(*twice.T, samples=300, units=units) == pytest.approx(expected)
    order = np.random.default_rng(0).permutation(80)
    assert bootstrap_f1(*twice[order].T, samples=300, units=units[order]) == pytest.approx(expected)
    # Taken for tiles that say the same twice, they would seem to know more.
    narrow = bootstrap_f1(*twice.T, samples=300)
    assert np.diff(narrow) < 0.85 * np.diff(expected)


def test_very_many_units_are_drawn_in_groups_with_the_same_spread(monkeypatch):
    counts = tiles(3000)
    one_by_one = bootstrap_f1(*counts, samples=1000)
    monkeypatch.setattr(uncertainty, "MAX_UNITS", 300)
    np.testing.assert_allclose(bootstrap_f1(*counts, samples=1000), one_by_one, atol=0.25 * np.diff(one_by_one)[0])


def test_undefined_resamples_are_passed_over():
    assert uncertainty.interval(np.array([np.nan, 0.5, np.nan, 0.5])) == (0.5, 0.5)
    assert uncertainty.interval(np.array([np.nan])) == (None, None)
