import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float, Inexact, PyTree, Scalar


def _clip(s: Array, low: float, high: float) -> Array:
    # Neither `jnp.clip` (derivative ½ at a corner) nor `lax.clamp` (0): units start
    # at rest on a corner, where the paper's hard sigmoid must still have slope 1.
    if low > -math.inf:
        s = jnp.where(s < low, low, s)
    if high < math.inf:
        s = jnp.where(s > high, high, s)
    return s


class AbstractUnit(eqx.Module):
    """What a layer's neurons are: a convex self-potential on a feasible set.

    The self-potential $G$ and the feasible set $S$ define the unit's activation, the
    state that minimizes the energy when the rest of the network holds a drive $d$:

    $$\\text{activate}(d) = \\arg\\min_{s \\in S}\\; G(s) - \\langle d, s \\rangle$$

    so that $\\text{activate} = (G')^{-1}$ inside $S$. All methods take the state of
    one layer of one example, of any shape.

    Bounds on the curvature $G''$ say which solvers suit a unit. `(1, 1)` is a quadratic
    unit, whose activation is a projection; an upper bound of infinity rules out
    explicit integrators such as [`eqprop.Euler`][]; a lower bound of 0 is a unit
    without potential, which has no activation. Infinity for both is a unit of two
    isolated states, 0 and 1.
    """

    @property
    @abc.abstractmethod
    def curvature(self) -> tuple[float, float]:
        """Lower and upper bound of $G''$ on the feasible set."""

    @abc.abstractmethod
    def potential(self, s: Inexact[Array, "*unit"]) -> Scalar:
        """The self-potential $G(s)$, summed over the layer."""

    @abc.abstractmethod
    def activate(self, drive: Inexact[Array, "*unit"]) -> Inexact[Array, "*unit"]:
        """The minimizer of $G(s) - \\langle d, s \\rangle$ over the feasible set."""

    @abc.abstractmethod
    def project(self, s: Inexact[Array, "*unit"]) -> Inexact[Array, "*unit"]:
        """The nearest feasible point. The complex plane has no walls: a complex state
        stays as it is."""

    @abc.abstractmethod
    def saturated(self, s: Float[Array, "*unit"]) -> Bool[Array, "*unit"]:
        """Where the activation's slope is below 1 % of its largest: such units pass
        no error signal back."""

    @property
    @abc.abstractmethod
    def analytic(self) -> bool:
        """Whether the activation is an analytic function, so that states may become
        complex ([`eqprop.Holomorphic`][]). Clipped units are not."""

    @property
    def quadratic(self) -> bool:
        """Whether $G = ½s²$, so that activating is projecting."""
        return self.curvature == (1.0, 1.0)

    @property
    def binary(self) -> bool:
        """Whether the only states are 0 and 1: then a drive is minus the difference
        of their energies."""
        return self.curvature[0] == math.inf


class AbstractQuadraticUnit(AbstractUnit):
    """A unit with $G = ½s²$ on an interval: activating is projecting onto it."""

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The ends of the interval, which may be infinite."""

    @property
    def curvature(self) -> tuple[float, float]:
        return (1.0, 1.0)

    def potential(self, s):
        return 0.5 * jnp.sum(s * s)

    def activate(self, drive):
        return _clip(drive, *self.bounds)

    def project(self, s):
        return _clip(s, *self.bounds)

    @property
    def analytic(self) -> bool:
        return self.bounds == (-math.inf, math.inf)

    def saturated(self, s):
        low, high = self.bounds
        return (s <= low) | (s >= high)


class Linear(AbstractQuadraticUnit):
    """A linear unit: $G = ½s²$ on the whole line, $\\text{activate}(d) = d$."""

    @property
    def bounds(self):
        return (-math.inf, math.inf)


class HardSigmoid(AbstractQuadraticUnit):
    """The paper's unit: $G = ½s²$ on $[0, 1]$, $\\text{activate}(d) = \\min(\\max(d,
    0), 1)$, with slope 1 at the corners.

    ??? cite "Scellier & Bengio 2017, eq. 43"
        arXiv:1602.05179.
    """

    @property
    def bounds(self):
        return (0.0, 1.0)


class ReLU(AbstractQuadraticUnit):
    """A rectified linear unit: $G = ½s²$ on $[0, ∞)$, $\\text{activate}(d) =
    \\max(d, 0)$. Unbounded: strong positive couplings can make the energy unbounded
    below, which a relaxation reports as diverged."""

    @property
    def bounds(self):
        return (0.0, math.inf)


class ClippedReLU(AbstractQuadraticUnit):
    """A rectified linear unit with a ceiling: $G = ½s²$ on $[0, c]$.

    **Arguments:**

    - `ceiling`: the largest state $c > 0$ (6 is the ReLU6 of Hopfield-ResNets).
    """

    ceiling: float = eqx.field(default=6.0, static=True, converter=float)

    def __check_init__(self):
        if not 0 < self.ceiling < math.inf:
            raise ValueError(
                f"`ceiling` must be a positive number, but is {self.ceiling}. "
                "For no ceiling use `ep.ReLU()`."
            )

    @property
    def bounds(self):
        return (0.0, self.ceiling)


class Sigmoid(AbstractUnit):
    """A logistic unit: $\\text{activate}(d) = 1/(1 + e^{-a(d - c)})$ on $[0, 1]$.

    Its self-potential is $G(s) = \\frac1a[s\\ln s + (1-s)\\ln(1-s)] + c\\,s$, whose
    curvature $1/(a\\,s(1-s))$ is at least $4/a$ and grows without bound at 0 and 1.

    **Arguments:**

    - `slope`: $a > 0$, four times the slope at the center.
    - `center`: $c$, the drive at which the state is ½. `Sigmoid(slope=4, center=0.5)`
        is the $\\sigma(4(s-½))$ of Ernoult et al. 2019, with slope 1 at its center.
    """

    slope: float = eqx.field(default=1.0, static=True, converter=float)
    center: float = eqx.field(default=0.0, static=True, converter=float)

    def __check_init__(self):
        if not 0 < self.slope < math.inf:
            raise ValueError(
                f"`slope` must be a positive number, but is {self.slope}: the "
                "self-potential of a decreasing activation is not convex."
            )
        if not math.isfinite(self.center):
            raise ValueError(f"`center` must be a finite number, but is {self.center}.")

    @property
    def curvature(self) -> tuple[float, float]:
        return (4.0 / self.slope, math.inf)

    @property
    def analytic(self) -> bool:
        return True

    def potential(self, s):
        negative_entropy = xlogy(s, s) + xlogy(1 - s, 1 - s)
        return jnp.sum(negative_entropy / self.slope + self.center * s)

    def activate(self, drive):
        return jax.nn.sigmoid(self.slope * (drive - self.center))

    def project(self, s):
        return s if jnp.iscomplexobj(s) else _clip(s, 0.0, 1.0)

    def saturated(self, s):
        return 4 * s * (1 - s) < 0.01


class Tanh(AbstractUnit):
    """A hyperbolic-tangent unit: $\\text{activate}(d) = \\tanh(d)$ on $[-1, 1]$, with
    $G(s) = s\\,\\text{artanh}(s) + ½\\ln(1 - s²)$ and $G'' = 1/(1 - s²) \\ge 1$."""

    @property
    def curvature(self) -> tuple[float, float]:
        return (1.0, math.inf)

    @property
    def analytic(self) -> bool:
        return True

    def potential(self, s):
        return 0.5 * jnp.sum(xlogy(1 + s, 1 + s) + xlogy(1 - s, 1 - s))

    def activate(self, drive):
        return jnp.tanh(drive)

    def project(self, s):
        return s if jnp.iscomplexobj(s) else _clip(s, -1.0, 1.0)

    def saturated(self, s):
        return 1 - s * s < 0.01


class Softmax(AbstractUnit):
    """A layer that holds a probability vector: $G(s) = \\sum_i s_i \\ln s_i$ on the
    simplex, $\\text{activate}(d) = \\text{softmax}(d)$ over the whole layer."""

    @property
    def curvature(self) -> tuple[float, float]:
        return (1.0, math.inf)

    @property
    def analytic(self) -> bool:
        return True

    def potential(self, s):
        return jnp.sum(xlogy(s, s))

    def activate(self, drive):
        return jax.nn.softmax(drive.reshape(-1)).reshape(drive.shape)

    def project(self, s):
        if jnp.iscomplexobj(s):
            return s
        # Euclidean projection onto the simplex: shift until the positive part sums
        # to one; the shift follows from the sorted entries.
        # It is the same for all entries moved alike; the largest at zero rounds least.
        flat = s.reshape(-1) - jnp.max(s)
        descending = jnp.sort(flat)[::-1]
        excess = jnp.cumsum(descending) - 1
        count = jnp.arange(1, flat.size + 1, dtype=flat.dtype)
        kept = jnp.sum(descending * count > excess)
        shift = excess[kept - 1] / kept.astype(flat.dtype)
        return jnp.maximum(flat - shift, 0).reshape(s.shape)

    def saturated(self, s):
        return 4 * s * (1 - s) < 0.01


class Unconstrained(AbstractUnit):
    """A unit without self-potential: $G = 0$ on the whole line.

    For energies that are written out in full, such as a [`eqprop.FunctionEnergy`][]
    that holds its own $½s²$. It has no activation, so solvers that need one
    (`FixedPoint`, `BlockCoordinate`) refuse it.
    """

    @property
    def curvature(self) -> tuple[float, float]:
        return (0.0, 0.0)

    @property
    def analytic(self) -> bool:
        return True

    def potential(self, s):
        return jnp.zeros((), s.dtype)

    def activate(self, drive):
        raise ValueError(
            "`Unconstrained()` has no potential, hence no activation: the state that "
            "minimizes −⟨drive, s⟩ is infinite. Give the layer a unit, such as "
            "`units=ep.HardSigmoid()`, and drop the matching ½s² from the energy."
        )

    def project(self, s):
        return s

    def saturated(self, s):
        return jnp.zeros(jnp.shape(s), bool)


def is_unit(node: object) -> bool:
    """Whether a node of a pytree is a unit (a leaf of `energy.units`)."""
    return isinstance(node, AbstractUnit)


def units_of_leaves(units: PyTree[AbstractUnit], state: PyTree) -> list[AbstractUnit]:
    """One unit for each leaf of `state`, in the order of `jax.tree.leaves`.

    `units` is a prefix of the state's structure: a single unit serves all below it.
    """
    spread = jax.tree.map(
        lambda unit, part: [unit] * len(jax.tree.leaves(part)),
        units,
        state,
        is_leaf=is_unit,
    )
    return jax.tree.leaves(spread, is_leaf=is_unit)


def self_potential(units: PyTree[AbstractUnit], state: PyTree) -> Scalar:
    """$\\sum_k G_k(s_k)$ over the leaves of one example's state."""
    leaves = jax.tree.leaves(state)
    terms = [
        u.potential(s)
        for u, s in zip(units_of_leaves(units, state), leaves, strict=True)
    ]
    return sum(terms[1:], start=terms[0])
