"""Equilibrium Propagation written by hand in plain JAX, as fast as it gets there.

What the library must keep up with, so nothing of it is used: forces, minima and the
contrast are worked out on paper for dense couplings and `SquaredError`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ._cases import Case


Groups = Sequence[Sequence[int]]


def by_hand(
    case: Case, groups: tuple[Groups, Groups], *, batches: int, rate: float
) -> Callable[..., Any]:
    """A loop of training steps.

    **Arguments:**

    - `groups`: which layers of the state move at once, in the order of a sweep, for the
        free and for the nudged phase.
    - `batches`: the number of steps.
    - `rate`: the learning rate.

    **Returns:**

    `run(params, x, y, states)`, to be compiled: the new parameters, and the free states
    if they persist. The parameters are the weights by edge, then the biases by layer.
    """

    def run(params, x, y, states):
        def body(k, carry):
            params, states = carry
            xb, yb, *start = (
                jax.lax.dynamic_slice_in_dim(a, k * case.batch, case.batch)
                for a in (x, y, *states)
            )
            params, free = train_step(case, groups, params, xb, yb, start, rate)
            if case.persistent:
                states = tuple(
                    jax.lax.dynamic_update_slice_in_dim(s, new, k * case.batch, 0)
                    for s, new in zip(states, free, strict=True)
                )
            return params, states

        return jax.lax.fori_loop(0, batches, body, (params, states))

    return run


def train_step(case: Case, groups, params, x, y, start, rate):
    """One step of training: the new parameters, and the free state."""
    weights, biases = params[: len(case.edges)], params[len(case.edges) :]
    # What the clamped input and the biases drive, once for all steps and phases.
    fixed = [jnp.broadcast_to(b, (case.batch, b.size)) for b in biases]
    for (a, b), w in zip(case.edges, weights, strict=True):
        if a == 0:
            fixed[b - 1] = fixed[b - 1] + x @ w
    free = list(start) or [jnp.zeros_like(d) for d in fixed]
    free = _settle(case, groups[0], case.free_steps, weights, fixed, free)

    def both(a):
        return jnp.concatenate([a, a]) if case.centered else a

    signs = jnp.repeat(jnp.asarray(case.signs, x.dtype), case.batch)[:, None]
    nudge = case.beta * signs, both(y)
    fixed, nudged = [both(d) for d in fixed], [both(s) for s in free]
    nudged = _settle(case, groups[1], case.nudged_steps, weights, fixed, nudged, nudge)
    if not case.centered:
        nudged = [jnp.concatenate([n, f]) for n, f in zip(nudged, free, strict=True)]
    share = (0.5 if case.centered else 1.0) / case.beta
    return _updated(case, params, x, nudged, rate * share / case.batch), free


def _settle(case: Case, groups, steps, weights, fixed, state, nudge=None):
    move = _euler if case.solver == "euler" else _sweep

    def body(_, state):
        return move(case, groups, weights, fixed, state, nudge)

    return jax.lax.fori_loop(0, steps, body, state)


def _euler(case: Case, groups, weights, fixed, state, nudge):
    rates = [_rate(case, k, s) for k, s in enumerate(state)]
    moved = []
    for k, s in enumerate(state):
        drive = _drive(case, k, weights, fixed, rates)
        if case.curved(k + 1):
            drive = (1 - rates[k] * rates[k]) * drive
        force = drive - s
        if nudge is not None and k == len(state) - 1:
            beta, y = nudge
            force = force - beta * (s - y)
        moved.append(_clip(case, k, s + case.factor * force))
    return moved


def _sweep(case: Case, groups, weights, fixed, state, nudge):
    state = list(state)
    for group in groups:
        for k in group:
            goal = _drive(case, k, weights, fixed, state)
            if nudge is not None and k == len(state) - 1:
                beta, y = nudge
                goal = (goal + beta * y) / (1 + beta)
            goal = _clip(case, k, goal)
            state[k] = _clip(case, k, state[k] + case.factor * (goal - state[k]))
    return state


def _drive(case: Case, k, weights, fixed, rates):
    drive = fixed[k]
    for (a, b), w in zip(case.edges, weights, strict=True):
        if b == k + 1 and a > 0:
            drive = drive + rates[a - 1] @ w
        if a == k + 1:
            drive = drive + rates[b - 1] @ w.T
    return drive


def _rate(case: Case, k, s):
    return jnp.tanh(s) if case.curved(k + 1) else s


def _clip(case: Case, k, s):
    return jnp.clip(s, 0, 1) if case.clipped(k + 1) else s


def _updated(case: Case, params, x, state, scale):
    # The two contrasted phases lie one after the other in each array.
    rates = [_rate(case, k, s) for k, s in enumerate(state)]
    shifts = [r[: case.batch] - r[case.batch :] for r in rates]
    signs = jnp.repeat(jnp.asarray((1, -1), x.dtype), case.batch)[:, None]
    new = []
    for (a, b), w in zip(case.edges, params, strict=False):
        if a == 0:
            grad = x.T @ shifts[b - 1]
        else:
            grad = rates[a - 1].T @ (signs * rates[b - 1])
        new.append(w + scale * grad)
    biases = params[len(case.edges) :]
    new += [b + scale * jnp.sum(d, 0) for b, d in zip(biases, shifts, strict=True)]
    return tuple(new)
