from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree, Scalar

from ..energies import (
    AbstractEnergy,
    AbstractUnit,
    check_energy,
    Model,
    name_of,
    units_of_leaves,
)
from ._continuation import (
    as_complex,
    as_real,
    gradient,
    is_complex,
    negative_gradient,
    require_analytic,
)
from ._minimum import displaced, nudged_minimum
from ._scalars import (
    as_arrays,
    as_scalar,
    require_beta,
    require_inputs,
    state_size,
)
from ._structure import color, dependencies, picked_leaves


class Landscape(eqx.Module):
    """An energy with everything fixed but the state: all that a solver sees.

    $$F(s) = E(θ, x, s) + β\\,C(\\text{output}(s), y)$$

    for a batch of examples: x is clamped, the outputs perhaps nudged toward y
    ([`eqprop.Landscape.nudge`][]), parts of the state perhaps held
    ([`eqprop.Landscape.clamp`][]). States and everything returned have a leading batch
    axis.

    **Arguments:**

    - `model`: a [`eqprop.Model`][], or a bare energy (which can't be nudged).
    - `x`: inputs, `[batch, ...]`.

    **Raises:**

    - `ValueError`: x doesn't fit the energy, or the energy isn't a scalar.
    """

    model: Model | AbstractEnergy
    x: PyTree[Array] = eqx.field(converter=as_arrays)
    y: Array | None = None
    beta: Array | None = eqx.field(default=None, converter=as_scalar)
    held: dict[int, Array] = eqx.field(default_factory=dict)

    def __check_init__(self):
        require_inputs(self.x)
        if self.complex:
            require_analytic(self)
        else:
            check_energy(self.energy_fn, self.x)

    @property
    def energy_fn(self) -> AbstractEnergy:
        """The energy E of one example."""
        return self.model.energy if isinstance(self.model, Model) else self.model

    @property
    def batch(self) -> int:
        """The number of examples."""
        return jax.tree.leaves(self.x)[0].shape[0]

    @property
    def complex(self) -> bool:
        """Whether states are complex: see [`eqprop.Landscape.continued`][]."""
        return is_complex(self.x)

    def init(self) -> PyTree[Array]:
        """The resting state of every example, or where its predictor has it start."""
        energy, x = as_real((self.energy_fn, self.x))
        return self.hold(self._cast(jax.vmap(energy.init)(x)))

    def output(self, state: PyTree[Array]) -> Inexact[Array, "batch *unit"]:
        """What the cost reads of every example's state."""
        return jax.vmap(self.energy_fn.output)(state)

    def nudge(self, y: Inexact[Array, "batch ..."], beta: Any) -> "Landscape":
        """This landscape tilted toward lower cost: $F = E + βC$.

        **Arguments:**

        - `y`: targets, `[batch, ...]`.
        - `beta`: β, a number or one for each example, `[batch]`; negative nudges away
            from the target. Dimensionless.
        """
        require_beta(beta, self.batch, plane=self.complex)
        self.check_targets(y)
        y, beta = self._cast((jnp.asarray(y), as_scalar(beta)))
        return Landscape(self.model, self.x, y, beta, self.held)

    def clamp(self, where: Callable[[PyTree], Any], value: Any) -> "Landscape":
        """This landscape with a part of the state held at a value.

        **Arguments:**

        - `where`: picks leaves of the state, as in `lambda state: state[-1]`.
        - `value`: what they are held at, with a batch axis.
        """
        indices = self._picked(where)
        if indices is None:
            raise ValueError(
                "`where` of `clamp` must pick whole leaves of the state, as in "
                "`lambda state: state[-1]`; it computes something of them instead."
            )
        values = jax.tree.leaves(value)
        if len(values) != len(indices) or not all(map(eqx.is_inexact_array, values)):
            raise ValueError(
                f"`value` of `clamp` must hold {len(indices)} floating-point arrays, "
                f"one for each leaf that `where` picks, but is {value!r}."
            )
        structs = jax.tree.leaves(jax.eval_shape(self.init))
        for k, v in zip(indices, values, strict=True):
            if v.shape != structs[k].shape:
                raise ValueError(
                    f"`value` of `clamp` has shape {v.shape}, but the part of the "
                    f"state that it replaces has {structs[k].shape}."
                )
        held = self.held | self._cast(dict(zip(indices, values, strict=True)))
        return Landscape(self.model, self.x, self.y, self.beta, held)

    def continued(self) -> "Landscape":
        """This landscape for complex states: the analytic continuation of F.

        Parameters, inputs and targets become complex numbers, so that β may be one:
        the relaxed states and their energies are analytic functions of β. On the
        complex plane there are no walls.

        **Raises:**

        - `ValueError`: a unit is clipped, or the energy or cost uses a function that
            is not analytic.
        """
        parts = (self.model, self.x, self.y, self.beta, self.held)
        return Landscape(*as_complex(parts))

    def hold(self, state: PyTree[Array]) -> PyTree[Array]:
        """The state with its clamped parts at the values where they are held."""
        if not self.held:
            return state
        leaves, treedef = jax.tree.flatten(state)
        kept = [self.held.get(k, s) for k, s in enumerate(leaves)]
        return jax.tree.unflatten(treedef, kept)

    def energy(self, state: PyTree[Array]) -> Inexact[Array, " batch"]:
        """The (nudged) energy F of every example."""
        state = self.hold(state)
        energy = jax.vmap(self.energy_fn)(state, self.x)
        return energy if self.beta is None else energy + self.beta * self.cost(state)

    def cost(
        self, state: PyTree[Array], y: Inexact[Array, "batch ..."] | None = None
    ) -> Inexact[Array, " batch"]:
        """The cost C of every example's output, for `y` or this nudge's own targets."""
        y = self.y if y is None else self._cast(y)
        if not isinstance(self.model, Model) or y is None:
            raise ValueError("`cost` needs a model with a cost, and targets `y`.")
        self.check_targets(y)
        return jax.vmap(self.model.cost)(self.output(state), y)

    def force(self, state: PyTree[Array]) -> PyTree[Array]:
        """Minus the gradient of F in the state; zero where the state is held."""
        slope = gradient(lambda s: jnp.sum(self.energy(s)), state)
        return jax.tree.map(jnp.negative, slope)

    def drive(
        self, state: PyTree[Array], block: Sequence[int] | None = None
    ) -> PyTree[Array]:
        """Minus the gradient of all but the self-potentials, the nudge included.

        Of binary units it is minus the difference of their two states' energies:
        exactly, where the interaction is affine in each unit and the cost's curvature
        is constant.

        **Arguments:**

        - `block`: indices of the state's leaves to differentiate in. Then a tuple of
            their drives is returned, and nothing is computed for the others.
        """

        def tilt(state):
            return self._interaction(state) + self._nudge(state)

        if block is None:
            return jax.tree.map(jnp.negative, gradient(tilt, self.hold(state)))
        return negative_gradient(tilt, self.hold(state), block)

    def nudged_drive(self, state: PyTree[Array], drive: PyTree[Array]) -> PyTree[Array]:
        """The drive of this landscape, from that of the same one without its nudge.

        **Arguments:**

        - `drive`: the latter, of this state.
        """
        if self.beta is None:
            return drive
        slope = gradient(lambda s: jnp.asarray(self._nudge(s)), self.hold(state))
        return jax.tree.map(jnp.subtract, drive, slope)

    def project(self, state: PyTree[Array]) -> PyTree[Array]:
        """The nearest feasible state."""
        return self.hold(self._by_unit(lambda u, s: u.project(s), state))

    def activate(self, drive: PyTree[Array]) -> PyTree[Array]:
        """The state that every unit would take under a fixed drive."""
        return self.hold(self._by_unit(lambda u, d: u.activate(d), drive))

    def displacement(
        self, state: PyTree[Array], drive: PyTree[Array] | None = None
    ) -> PyTree[Array]:
        """How far every unit is from where its drive would take it.

        $\\text{activate}(\\text{drive}) - s$ for units that have a potential, and
        $\\text{project}(s + \\text{force}) - s$ for those that don't. Zero exactly at
        equilibrium, and where the state is held.

        **Arguments:**

        - `drive`: that of this state, if it is known.
        """
        leaves, treedef = jax.tree.flatten(self.hold(state))
        drives = jax.tree.leaves(self.drive(state) if drive is None else drive)
        parts = zip(self.leaf_units(), drives, leaves, strict=True)
        moves = [
            jnp.zeros_like(part[-1]) if k in self.held else displaced(*part)
            for k, part in enumerate(parts)
        ]
        return jax.tree.unflatten(treedef, moves)

    def residual(
        self, state: PyTree[Array], drive: PyTree[Array] | None = None
    ) -> Float[Array, " batch"]:
        """How far every example is from equilibrium: the certificate, the largest
        [`eqprop.Landscape.displacement`][] of any unit."""
        return state_size(self.displacement(state, drive))

    def minimum(
        self,
        state: PyTree[Array],
        block: Sequence[int],
        drives: Sequence[Array] | None = None,
    ) -> tuple[Inexact[Array, "batch ..."], ...]:
        """The states of one block that minimize F with all others fixed.

        Exact where the interaction is affine in the block: `activate(drive)`. The
        nudged output takes a majorization step instead, which never increases F and
        is exact for a cost of constant curvature on quadratic units: for
        `SquaredError`, `activate((drive + βy)/(1 + β))`. NaN where 1 + β·curvature
        is not positive: there is no minimum.

        **Arguments:**

        - `block`: indices of the state's leaves.
        - `drives`: theirs in this state, if they are known.
        """
        state = self.hold(state)
        leaves, units = jax.tree.leaves(state), self.leaf_units()
        output = self._curved_output()
        drives = self.drive(state, block) if drives is None else drives

        def goal(k, drive):
            if k != output:
                return jax.vmap(units[k].activate)(drive)
            assert isinstance(self.model, Model)
            assert self.beta is not None
            cost, unit = self.model.cost, units[k]
            return nudged_minimum(cost, unit, drive, leaves[k], self.beta)

        return tuple(goal(k, d) for k, d in zip(block, drives, strict=True))

    @property
    def affine_nudge(self) -> bool:
        """Whether the nudge is a constant drive: the cost has no curvature."""
        assert isinstance(self.model, Model)
        bounds = self.model.cost.curvature()
        return all(isinstance(b, float) and b == 0 for b in bounds)

    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The state's leaves in groups that don't interact inside a group.

        Leaves of one group can be minimized at once. The group of a nudged output
        comes first: the nudge starts there.
        """
        neighbors = self.couplings()
        free = [k for k in range(len(neighbors)) if k not in self.held]
        renamed = {k: j for j, k in enumerate(free)}
        among = [
            frozenset(renamed[n] for n in neighbors[k] if n in renamed) for k in free
        ]
        groups = tuple(tuple(free[j] for j in group) for group in color(among))
        if self.beta is None:
            return groups
        output = self.output_leaf()
        first = next((i for i, g in enumerate(groups) if output in g), 0)
        return groups[first:] + groups[:first]

    def couplings(self) -> list[frozenset[int]]:
        """For each leaf of the state, the leaves that its drive depends on, the nudge
        left out. A leaf that lists itself is not affine in the interaction."""
        structs, treedef = jax.tree.flatten(jax.eval_shape(self.init))

        def drives(*leaves):
            state = jax.tree.unflatten(treedef, leaves)
            return negative_gradient(self._interaction, state, range(len(leaves)))

        return dependencies(drives, structs)

    def output_leaf(self) -> int | None:
        """Which leaf of the state the output is; `None` if it is computed of them."""
        picked = self._picked(self.energy_fn.output)
        return picked[0] if picked is not None and len(picked) == 1 else None

    def leaf_units(self) -> list[AbstractUnit]:
        """The unit of each leaf of the state."""
        return units_of_leaves(self.energy_fn.units, jax.eval_shape(self.init))

    def _cast(self, tree: Any) -> Any:
        return as_complex(tree) if self.complex else tree

    def _interaction(self, state: PyTree[Array]) -> Scalar:
        energies = jax.vmap(self.energy_fn.interaction)(state, self.x)
        if self.beta is None:
            return jnp.sum(energies)
        # Relaxed together, phases are mapped over β. The derivative of a dot product
        # comes out transposed, copies and all, unless the cotangent is mapped too.
        return jnp.sum((1 + 0 * self.beta).astype(energies.dtype) * energies)

    def _nudge(self, state: PyTree[Array]) -> Scalar | float:
        if self.beta is None:
            return 0.0
        return jnp.sum(self.beta * self.cost(self._halfway(state)))

    def _halfway(self, state: PyTree[Array]) -> PyTree[Array]:
        # A quadratic cost's slope at ½ is its difference between the states 0 and 1.
        leaves, treedef = jax.tree.flatten(state)
        for k, unit in enumerate(self.leaf_units()):
            if unit.binary:
                leaves[k] = leaves[k] + jax.lax.stop_gradient(0.5 - leaves[k])
        return jax.tree.unflatten(treedef, leaves)

    def _curved_output(self) -> int | None:
        # The nudged output, where the cost's curvature bends its drive.
        if self.beta is None or self.affine_nudge:
            return None
        output = self.output_leaf()
        if output is None:
            raise ValueError(
                "`minimum` needs a nudged output that is one leaf of the state."
            )
        return output

    def _by_unit(self, fn: Callable, state: PyTree[Array]) -> PyTree[Array]:
        leaves, treedef = jax.tree.flatten(state)
        out = []
        for unit, s in zip(self.leaf_units(), leaves, strict=True):
            out.append(jax.vmap(lambda a, unit=unit: fn(unit, a))(s))
        return jax.tree.unflatten(treedef, out)

    def _picked(self, where: Callable[[PyTree], Any]) -> tuple[int, ...] | None:
        return picked_leaves(where, jax.tree.structure(jax.eval_shape(self.init)))

    def check_targets(self, y: Any) -> None:
        """Raises a `ValueError` unless `y` can be this model's targets. Nothing is
        computed."""
        if not isinstance(self.model, Model):
            raise ValueError(
                "Targets need a cost, but this landscape holds a bare energy. Make it "
                "from a model: `ep.Landscape(ep.Model(energy, ep.SquaredError()), x)`."
            )
        model, shape = self.model, jnp.shape(y)
        output = jax.eval_shape(lambda: self.output(self.init())).shape
        if len(shape) < 1 or shape[0] != self.batch:
            problem = f"`x` holds {self.batch} examples"
        else:
            problem = model.cost.check(output[1:], shape[1:])
        kind = jnp.inexact if self.complex else jnp.floating
        if problem is None and not jnp.issubdtype(jnp.result_type(y), kind):
            problem = "targets must be floating-point numbers"
        if problem is not None:
            raise ValueError(
                f"`y` of shape {shape} and dtype {jnp.result_type(y)} does not fit the "
                f"cost `{type(model.cost).__name__}` of {name_of(model.energy)}: "
                f"{problem}. Class labels become targets by `ep.data.one_hot(labels, "
                "classes)`."
            )
