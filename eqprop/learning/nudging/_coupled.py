import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Scalar

from ...relaxation import as_scalar, require
from .._phase import Phase
from ._clamped import holdable_cost
from ._nudging import AbstractNudging


class Coupled(AbstractNudging):
    """Coupled learning: outputs free, then held a little nearer to the target (Stern
    et al. 2021).

    $$\\frac1η\\bigl[∂_θE(s^c) - ∂_θE(s^0)\\bigr],
      \\qquad o^c = o^0 - η\\,\\frac{∂C}{∂o}(o^0, y)$$

    For `SquaredError` they are held at $(1-η)o^0 + ηy$, and η = 1 is
    [`eqprop.Clamped`][]. It is *not* the gradient of the cost. As η → 0 it is
    Equilibrium Propagation with $S\\,∂C/∂o$ in the place of $∂C/∂o$, where $S = J_{oo}
    - J_{oh} J_{hh}^{-1} J_{ho}$ is the Schur complement of the curvature $J = ∂²E/∂s²$
    onto the outputs: how stiff they are. Where S is the same for all outputs that is
    only a factor; where it is not, stiff outputs learn first. For `SquaredError` that
    is a step down $½\\,(o^0 - y)^⊤ S\\,(o^0 - y)$ with S held fixed. S is positive
    definite, so the rule rests only where the output asks for no change; but with few
    parameters, or unequal ones, a step of it can raise the cost itself.

    Bias against its own limit O(η), against the gradient O(1); one relaxation more
    than prediction. Needs an output that can be held, a layer of the state, and a cost
    without parameters: `SquaredError`, or `CrossEntropy` of logits, whose outputs are
    held at $o^0 - η(p - y)$. What the output units can't take is projected to what
    they can. Can't stand behind [`eqprop.AbstractEstimator.equilibrium`][].

    **Arguments:**

    - `eta`: η > 0, dimensionless; changing it doesn't recompile.

    ??? cite "Stern, Hexner, Rocks & Liu 2021; Scellier et al. 2023"
        Supervised learning in physical networks: from machine learning to learning
        machines, Physical Review X 11:021045, arXiv:2011.03861. Theirs is for a
        squared error. Compared with Equilibrium Propagation: Energy-based learning
        algorithms for analog computing: a comparative study, arXiv:2312.15103.
    """

    eta: Scalar = eqx.field(converter=as_scalar)

    def __check_init__(self):
        fix = "Small values have less bias, large ones less round-off: try 0.2."
        require("Coupled", "eta", self.eta, above=0, fix=fix)

    def phases(self, landscape, state, y, *, key=None):
        cost = holdable_cost("Coupled", landscape, y)
        output = landscape.energy_fn.output
        slope = jax.grad(lambda o: jnp.sum(jax.vmap(cost)(o, y)))
        o = landscape.output(state)
        wanted = landscape.clamp(output, o - self.eta.astype(o.dtype) * slope(o))
        # Of the walls of the output units, which `wanted` doesn't know.
        near = landscape.project(wanted.hold(state))
        held = landscape.clamp(output, landscape.output(near))
        free = Phase(landscape, state, -1 / self.eta)
        return (free,), (Phase(held, held.hold(state), 1 / self.eta),)
