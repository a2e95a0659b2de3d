"""The window of spike timing: its statistics, by loops and by the closed form."""

import numpy as np
import pytest

from eqprop.apps.reproduce.measurements import stdp_timing


def test_a_window_is_the_mean_over_all_pairs_of_spikes():
    rng = np.random.default_rng(1)
    length = stdp_timing.LENGTH
    spikes, others = rng.poisson(0.1, (2, 3, length)).astype(float)
    slope = rng.normal(size=(3, length))
    lags = np.array([-7, 0, 3])
    found = stdp_timing.window(spikes, slope, others, lags)
    for lag, value in zip(lags, found, strict=True):
        pairs = [
            (slope[k, t], spikes[k, t] * others[k, (t + lag) % length])
            for k in range(3)
            for t in range(length)
        ]
        expected = sum(s * n for s, n in pairs) / sum(n for _, n in pairs)
        assert value == pytest.approx(expected, rel=1e-9)


def test_rates_are_what_the_closed_form_takes_them_for():
    values, slope = stdp_timing.rates(np.random.default_rng(0), 4000)
    fluctuation = values - stdp_timing.MEAN
    # Standard errors: 1 % over 4000 trials of some ten independent moments each.
    assert fluctuation.std() == pytest.approx(stdp_timing.DEVIATION, rel=0.02)
    # −C″(0) = v/τ².
    expected = stdp_timing.DEVIATION / stdp_timing.TAU
    assert slope.std() == pytest.approx(expected, rel=0.02)
    ahead = np.roll(values, -1, axis=1) - np.roll(values, 1, axis=1)
    # A central difference misses O(step²), here (0.05)²/6·3.
    np.testing.assert_allclose(ahead / (2 * stdp_timing.STEP), slope, atol=5e-3)


def test_the_timing_closed_form_holds_and_tied_both_ways_there_is_no_window():
    found = stdp_timing.measured(trials=4000, seed=3).values
    # 1/√spikes: 7 % of the window's size at 4000 trials, twice that for both ways.
    assert found["error"] < 0.15
    assert found["slope"] == pytest.approx(1, abs=0.1)
    assert found["symmetric_size"] < 0.3
    lag = np.linspace(-2, 2, 5)
    by_hand = 0.04 * lag * np.exp(-(lag**2) / 2)
    np.testing.assert_allclose(stdp_timing.expected(lag), by_hand)
