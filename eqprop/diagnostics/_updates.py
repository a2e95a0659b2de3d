import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..energies import Model
from ..learning import batch_mean
from ..relaxation import as_scalar, FixedPoint, Landscape
from ._parameters import parameters_by_name


class DescendingUpdates(eqx.Module):
    """The time course of EP's second phase beside that of backpropagation through time.

    **Attributes:**

    - `ep`: for each parameter by name some entries of $Δ^{EP}_θ(β, t)$, for each step.
    - `bptt`: the same entries of $∇^{BPTT}_θ(t)$: what the step t before the last
        contributes to the exact gradient.
    - `rmse`: for each parameter the mean over all its entries of
        $\\sqrt{\\overline{(f-g)^2}^t}\\,/\\max(\\text{rms}f, \\text{rms}g)$.
    - `sign_error`: the share of entries and steps whose signs differ, of those that
        are not both zero to a millionth.
    """

    ep: dict[str, Float[np.ndarray, "steps entries"]]
    bptt: dict[str, Float[np.ndarray, "steps entries"]]
    rmse: dict[str, float]
    sign_error: dict[str, float]


def descending_updates(
    model: Model,
    x: PyTree[Array],
    y: Float[Array, "batch ..."],
    state: PyTree[Array],
    *,
    steps: int = 50,
    beta: float = 1e-3,
    damping: float = 0.5,
    entries: int = 5,
) -> DescendingUpdates:
    """Compares the second phase with backpropagation through time, step by step.

    $$Δ^{EP}_θ(β, t) = \\frac1β\\bigl[∂_θF(s^β_{t+1}) - ∂_θF(s^β_t)\\bigr]
      \\;\\to\\; ∇^{BPTT}_θ(t) = \\frac{∂L}{∂θ_{T-t}} \\quad (β \\to 0)$$

    Not only the sums agree, which is theorem 1: the nudged relaxation passes through
    the terms of the backward pass in its order (Ernoult et al. 2019). The dynamics is
    that of [`eqprop.FixedPoint`][], and the state must be its equilibrium. Takes memory
    for every parameter at every step, twice.

    **Arguments:**

    - `model`, `x`, `y`: the model and a batch, in float64.
    - `state`: the free equilibrium, settled to round-off.
    - `steps`: how many steps of the second phase.
    - `beta`: β of the nudge.
    - `damping`: ε of the dynamics.
    - `entries`: how many entries of each parameter to keep for a plot, those of the
        largest gradient.

    ??? cite "Ernoult et al. 2019"
        Updates of Equilibrium Prop match gradients of Backprop Through Time in an RNN
        with static input, arXiv:1905.13633.
    """
    solver = FixedPoint(damping=damping)
    beta = as_scalar(beta)
    ep = _second_phase(model, x, y, state, solver, beta, steps)
    bptt = _backward_pass(model, x, y, state, solver, steps)
    kept_ep, kept_bptt, rmse, sign_error = {}, {}, {}, {}
    for name in ep:
        f, g = (np.asarray(d[name]).reshape(steps, -1) for d in (ep, bptt))
        most = np.argsort(-np.abs(g).sum(axis=0))[:entries]
        kept_ep[name], kept_bptt[name] = f[:, most], g[:, most]
        size = np.maximum(_rms(f), _rms(g))
        rmse[name] = float(np.mean(_rms(f - g) / (1e-300 + size)))
        # What is a millionth of the largest is round-off over β, or a zero.
        least = 1e-6 * max(np.abs(f).max(initial=0), np.abs(g).max(initial=0))
        either = (np.abs(f) > least) | (np.abs(g) > least)
        differ = (f * g <= 0) & either
        sign_error[name] = float(differ.sum() / max(either.sum(), 1))
    return DescendingUpdates(kept_ep, kept_bptt, rmse, sign_error)


@eqx.filter_jit
def _second_phase(model, x, y, state, solver, beta, steps) -> dict[str, Array]:
    landscape = Landscape(model, x).nudge(y, beta)
    slope = eqx.filter_grad(
        lambda model, state: batch_mean(
            Landscape(model, x).nudge(y, beta).energy(state), None
        )
    )

    def step(carry, _):
        state, before = carry
        state, _, _ = solver.step(landscape, state, None)
        after = slope(model, state)
        change = jax.tree.map(lambda a, b: (a - b) / beta, after, before)
        return (state, after), parameters_by_name(change)

    return jax.lax.scan(step, (state, slope(model, state)), length=steps)[1]


@eqx.filter_jit
def _backward_pass(model, x, y, state, solver, steps) -> dict[str, Array]:
    def one_step(model, state):
        return solver.step(Landscape(model, x), state, None)[0]

    def cost(state):
        return batch_mean(Landscape(model, x).cost(state, y), None)

    _, pull = eqx.filter_vjp(one_step, model, state)

    def back(delta, _):
        model_bar, before = pull(delta)
        return before, parameters_by_name(model_bar)

    return jax.lax.scan(back, jax.grad(cost)(state), length=steps)[1]


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values**2, axis=0))
