"""Spike timing: presynaptic activity times the change of the postsynaptic rate is a
window of spike-timing-dependent plasticity; the symmetric form has none.

Pre- and postsynaptic firing rates are independent stationary Gaussian processes with
mean $r$ and autocovariance $C(t) = v\\,e^{-t²/2τ²}$, and spikes are drawn from them. A
synapse changes by $\\dot ρ_j$ at every presynaptic spike (equations 11 and 12). Its
mean change, given that a postsynaptic spike comes $Δ$ after the presynaptic one, is

$$E[\\dot ρ_j(0)\\,|\\,\\text{spike of } j \\text{ at } Δ]
  = -\\frac{C'(Δ)}{r} = \\frac{v Δ}{r τ²}\\,e^{-Δ²/2τ²}$$

positive for a spike after, negative for one before, largest at $Δ = ±τ$. The symmetric
form, $d(ρ_iρ_j)/dt$ of equation 13, changes at postsynaptic spikes by $\\dot ρ_i$ too:
by as much with the opposite sign. Tied both ways, a weight has no window.
"""

import numpy as np

from ._measured import line, Measured, panel


MEAN = 1.0
# Rates five deviations above zero.
DEVIATION = 0.2
TAU = 1.0
STEP = 0.05
# In steps: a trial, and the largest lag.
LENGTH, LAGS = 400, 80
# Spikes for each unit of rate and time step.
SPIKES = 0.2


def rates(rng: np.random.Generator, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates and their derivatives in time, `[trial, step]`, by filtering noise in the
    frequency domain: on a circle, so that every moment is like any other."""
    frequency = 2 * np.pi * np.fft.rfftfreq(LENGTH, STEP)
    power = np.exp(-0.5 * (frequency * TAU) ** 2)
    # Power over all frequencies, of which rfft holds one half, sums to the variance.
    both = power[0] + 2 * power[1:-1].sum() + power[-1]
    noise = np.fft.rfft(rng.normal(size=(trials, LENGTH)), norm="ortho")
    spectrum = DEVIATION * noise * np.sqrt(LENGTH * power / both)
    # The derivative of the highest frequency has no phase of its own.
    slope = spectrum * 1j * frequency
    slope[:, -1] = 0
    values = np.fft.irfft(spectrum, LENGTH, norm="ortho")
    return np.maximum(MEAN + values, 0), np.fft.irfft(slope, LENGTH, norm="ortho")


def window(
    spikes: np.ndarray, slope: np.ndarray, others: np.ndarray, lags: np.ndarray
) -> np.ndarray:
    """The mean of `slope` at `spikes`, over all pairs with one of `others` that comes
    `lags` steps later."""
    at = np.fft.rfft(spikes * slope)
    alone, later = np.fft.rfft(spikes), np.fft.rfft(others)

    def pairs(first: np.ndarray) -> np.ndarray:
        product = np.fft.irfft(np.conj(first) * later, LENGTH)
        return product.sum(axis=0)[lags]

    return pairs(at) / pairs(alone)


def expected(lag: np.ndarray) -> np.ndarray:
    """The closed form of the window."""
    scale = DEVIATION**2 / (MEAN * TAU**2)
    return scale * lag * np.exp(-0.5 * (lag / TAU) ** 2)


def measure(trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lags, the window of equation 11, and that of the symmetric form."""
    rng = np.random.default_rng(seed)
    (before, rise_before), (after, rise_after) = rates(rng, trials), rates(rng, trials)
    pre, post = (rng.poisson(SPIKES * r).astype(float) for r in (before, after))
    steps = np.arange(-LAGS, LAGS + 1)
    one_way = window(pre, rise_after, post, steps)
    # Seen from the postsynaptic spike, the presynaptic one comes −Δ later.
    back = window(post, rise_before, pre, -steps)
    return STEP * steps, one_way, one_way + back


def measured(*, trials: int, seed: int = 0) -> Measured:
    """Both windows against the closed form.

    **Arguments:**

    - `trials`: how many pairs of rates of 20 time constants.
    - `seed`: of the rates and the spikes.
    """
    lag, one_way, symmetric = measure(trials, seed)
    theory = expected(lag)
    size = np.linalg.norm(theory)
    shown = slice(None, None, 4)
    return Measured(
        {
            "error": float(np.linalg.norm(one_way - theory) / size),
            "slope": float(one_way @ theory / size**2),
            "peak_lag": float(lag[one_way.argmax()]),
            "trough_lag": float(lag[one_way.argmin()]),
            "symmetric_size": float(np.linalg.norm(symmetric) / size),
        },
        [
            panel(
                "postsynaptic spike after presynaptic (τ)",
                "mean change of the weight",
                [
                    line("closed form", lag, theory),
                    line("eq. 11", lag[shown], one_way[shown], points=True),
                    line(
                        "symmetric, eq. 13", lag[shown], symmetric[shown], points=True
                    ),
                ],
            )
        ],
    )
