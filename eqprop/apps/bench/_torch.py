"""Equilibrium Propagation written by hand in eager PyTorch.

As a good program of that kind is: no autograd, products accumulated in place, and the
clamped input's product computed once a batch. PyTorch is no dependency: where it is
missing, this column stays empty.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ._cases import Case
from ._machine import cores


# Not an import: installations lack it, and only this comparison wants it.
_NAME = "torch"


def load_torch() -> Any:
    """PyTorch, with as many threads as there are cores, or `None` if it isn't here."""
    try:
        torch = importlib.import_module(_NAME)
    except ImportError:
        return None
    torch.set_num_threads(cores())
    return torch


def by_torch(
    torch: Any, case: Case, groups: Any, *, batches: int, rate: float
) -> Callable[..., Any]:
    """A loop of training steps: `run(params, x, y, states)`, as
    [`eqprop.apps.bench.by_hand`][] describes it, on tensors. Parameters and states are
    changed in place, as PyTorch's optimizers do."""
    step = _Step(torch, case, groups, rate)

    def run(params, x, y, states):
        with torch.inference_mode():
            for k in range(batches):
                rows = slice(k * case.batch, (k + 1) * case.batch)
                free = step(params, x[rows], y[rows], [s[rows] for s in states])
                for s, new in zip(states, free, strict=False):
                    s[rows] = new
        return params, states

    return run


def as_tensors(torch: Any, tree: Any) -> Any:
    """Copies of arrays as tensors, in lists."""
    return [torch.from_numpy(np.array(a)) for a in tree]


class _Step:
    """One step of training, parameters updated in place; returns the free state."""

    def __init__(self, torch: Any, case: Case, groups: Any, rate: float):
        self.torch, self.case, self.groups = torch, case, groups
        self.scale = rate * (0.5 if case.centered else 1.0) / case.beta / case.batch

    def __call__(self, params: Any, x: Any, y: Any, start: Any) -> Any:
        torch, case = self.torch, self.case
        weights, biases = params[: len(case.edges)], params[len(case.edges) :]
        fixed: list[Any] = [b.expand(case.batch, -1) for b in biases]
        for (a, b), w in zip(case.edges, weights, strict=True):
            if a == 0:
                fixed[b - 1] = torch.addmm(fixed[b - 1], x, w)
        free = start or [torch.zeros_like(d) for d in fixed]
        free = self.settle(0, case.free_steps, weights, fixed, free, None)
        nudge = (case.beta, y)
        fixed_nudged, state = fixed, free
        if case.centered:
            signs = torch.ones(2 * case.batch, 1, dtype=x.dtype)
            signs[case.batch :] = -1
            nudge = (case.beta * signs, torch.cat([y, y]))
            fixed_nudged = [torch.cat([d, d]) for d in fixed]
            state = [torch.cat([s, s]) for s in free]
        state = self.settle(1, case.nudged_steps, weights, fixed_nudged, state, nudge)
        if not case.centered:
            state = [torch.cat([n, f]) for n, f in zip(state, free, strict=True)]
        self.update(params, x, state)
        return free

    def settle(self, phase, steps, weights, fixed, state, nudge):
        move = self.euler if self.case.solver == "euler" else self.sweep
        for _ in range(steps):
            state = move(phase, weights, fixed, state, nudge)
        return state

    def euler(self, phase, weights, fixed, state, nudge):
        rates = [self.rate_of(k, s) for k, s in enumerate(state)]
        moved = []
        for k, s in enumerate(state):
            force = self.drive(k, weights, fixed, rates)
            if self.case.curved(k + 1):
                force = force.mul_(1 - rates[k] * rates[k])
            force = force.sub_(s)
            if nudge is not None and k == len(state) - 1:
                force = force.sub_(nudge[0] * (s - nudge[1]))
            moved.append(self.clip(k, force.mul_(self.case.factor).add_(s)))
        return moved

    def sweep(self, phase, weights, fixed, state, nudge):
        state = list(state)
        for group in self.groups[phase]:
            for k in group:
                goal = self.drive(k, weights, fixed, state)
                if nudge is not None and k == len(state) - 1:
                    beta, y = nudge
                    goal = goal.add_(beta * y).div_(1 + beta)
                goal = self.clip(k, goal)
                state[k] = self.clip(
                    k, self.torch.lerp(state[k], goal, self.case.factor)
                )
        return state

    def drive(self, k, weights, fixed, rates):
        drive, fresh = fixed[k], False
        for (a, b), w in zip(self.case.edges, weights, strict=True):
            if b == k + 1 and a > 0:
                factors = rates[a - 1], w
            elif a == k + 1:
                factors = rates[b - 1], w.t()
            else:
                continue
            # The fixed drive is kept; what was made of it here may be added to.
            add = drive.addmm_ if fresh else drive.addmm
            drive, fresh = add(*factors), True
        return drive if fresh else drive.clone()

    def rate_of(self, k, s):
        return self.torch.tanh(s) if self.case.curved(k + 1) else s

    def clip(self, k, s):
        return s.clamp_(0, 1) if self.case.clipped(k + 1) else s

    def update(self, params, x, state):
        torch, case = self.torch, self.case
        rates = [self.rate_of(k, s) for k, s in enumerate(state)]
        shifts = [r[: case.batch] - r[case.batch :] for r in rates]
        for (a, b), w in zip(case.edges, params, strict=False):
            if a == 0:
                w.addmm_(x.t(), shifts[b - 1], alpha=self.scale)
            else:
                upper = rates[b - 1]
                signed = torch.cat([upper[: case.batch], -upper[case.batch :]])
                w.addmm_(rates[a - 1].t(), signed, alpha=self.scale)
        for bias, shift in zip(params[len(case.edges) :], shifts, strict=True):
            bias.add_(shift.sum(0), alpha=self.scale)
