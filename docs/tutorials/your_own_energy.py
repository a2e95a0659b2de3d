# %% [markdown]
# # Your own energy
#
# Everything that the library does with its own networks it does with an energy that you
# write: settle it, certify the result, check the gradient, train, save, load. You write
# one function of one example. This page takes one that is no chain of layers, a network
# with competition, through all of that, and shows how a choice of *units* and *blocks*
# makes it settle in fewer steps.
#
# You need JAX's `grad` and pytrees, and the two phases as in
# [the paper in one hour](paper_in_one_hour.md).

# %%
import itertools
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


# %% [markdown]
# ## 1. A function
#
# Sixteen groups of four hidden units each. Inside a group the units inhibit each other
# with strength $γ$, so that they share the work of describing the input among them.
# With the input $x$, hidden states $h_{kg}$ (member $k$ of group $g$) and outputs $o$,
#
# $$E = \frac12\|h\|^2 + \frac12\|o\|^2
#   - \sum_k h_k^\top (W_k^\top x + b_k) - \sum_k h_k^\top V_k\, o - c^\top o
#   + γ \sum_{k<l} h_k^\top h_l.$$
#
# The parameters are the weights $W_k$ and $V_k$ and the biases $b_k$ and $c$; $h_k$ is
# the vector of all groups' members $k$. As code: no batch axis, no gradient, no
# dynamics.

# %%
MEMBERS, GROUPS, GAMMA = 4, 16, 0.4


def inhibition(h):
    return sum(a @ b for a, b in itertools.combinations(h, 2))


def couplings(params, h, o, x):
    """All of the energy but the squares. `h` holds the members, each [groups]."""
    rows = jnp.asarray(h)
    driven = jnp.einsum("p,kpg->kg", x, params["w"]) + params["b"]
    upward = jnp.einsum("kg,kgo,o->", rows, params["v"], o) + params["c"] @ o
    return GAMMA * inhibition(h) - jnp.sum(rows * driven) - upward


def energy_in_full(params, state, x):
    h, o = state["hidden"], state["output"]
    squares = 0.5 * jnp.sum(h**2) + 0.5 * jnp.sum(o**2)
    return squares + couplings(params, h, o, x)


rng = np.random.default_rng(0)


def draw(*shape, fan_in):
    bound = 0.7 / fan_in**0.5
    return jnp.asarray(rng.uniform(-bound, bound, shape), jnp.float32)


units = MEMBERS * GROUPS
params = {
    "w": draw(MEMBERS, 64, GROUPS, fan_in=64),
    "v": draw(MEMBERS, GROUPS, 10, fan_in=units),
    "b": jnp.zeros((MEMBERS, GROUPS)),
    "c": jnp.zeros(10),
}

# %% [markdown]
# `FunctionEnergy` makes an energy of it. It wants to know two more things: the resting
# state from which a cold relaxation starts, and which part of the state is the output.
# The state may be any pytree; here it is a dictionary.


# %%
def at_rest(x):
    return {"hidden": jnp.zeros((MEMBERS, GROUPS)), "output": jnp.zeros(10)}


def output(state):
    return state["output"]


plain = ep.FunctionEnergy(energy_in_full, params, init=at_rest, output=output)
data = ep.data.digits()
x, y = data.train.x[:32], data.train.y[:32]
settled = ep.relax(ep.Landscape(plain, x), ep.AdaptiveEuler())
print("steps", int(settled.num_steps.max()), " residual", float(settled.residual.max()))

# %% [markdown]
# `AdaptiveEuler` goes downhill with a step of its own for each example and never up:
# the solver to start with. It promised a residual below `1e-4` and kept it, for each of
# the 32 examples. What does it do with an energy that has no minimum? With stronger
# inhibition, $γ > 1$, a group of these units can lower the energy forever: one unit
# rises, another falls, each driven by the other. You are told:


# %%
def runaway(params, state, x):
    return energy_in_full(params, state, x) + inhibition(state["hidden"])


unbounded = ep.FunctionEnergy(runaway, params, init=at_rest, output=output)
try:
    ep.relax(ep.Landscape(unbounded, x), ep.AdaptiveEuler(max_steps=300))
except ep.RelaxationError as error:
    message = str(error)
print(message)
assert "grew without bound" in message

# %% [markdown]
# ## 2. Units
#
# Firing rates are neither negative nor unlimited. That is a property of the *units*: a
# `HardSigmoid` has the self-potential $G(s) = \frac12 s^2$ on the interval $[0, 1]$.
# The energy is then the sum of all self-potentials and your function, so the squares
# leave the function. What you gain: states stay in bounds whatever the couplings, and
# every unit has an *activation*,
#
# $$\text{activate}(d) = \arg\min_{s \in [0, 1]} G(s) - d\,s = \min(\max(d, 0), 1),$$
#
# the state that minimizes the energy under a given drive $d$, which is what the faster
# solvers go by.


# %%
def competition(params, state, x):
    return couplings(params, state["hidden"], state["output"], x)


bounded = ep.FunctionEnergy(
    competition,
    params,
    init=at_rest,
    output=output,
    units={"hidden": ep.HardSigmoid(), "output": ep.Linear()},
)
landscape = ep.Landscape(bounded, x)
stop = ep.Tolerance(1e-5)
solvers = {
    "AdaptiveEuler": ep.AdaptiveEuler(stop=stop),
    "Euler(0.3)": ep.Euler(0.3, max_steps=1000, stop=stop),
    "FixedPoint(0.5)": ep.FixedPoint(damping=0.5, max_steps=1000, stop=stop),
    "Nesterov(0.3)": ep.Nesterov(0.3, max_steps=1000, stop=stop),
}
found = {name: ep.relax(landscape, solver) for name, solver in solvers.items()}
steps = {name: float(jnp.mean(e.num_steps)) for name, e in found.items()}
for name, count in steps.items():
    print(f"{name:16} {count:6.1f} steps on average")

# %% [markdown]
# Different ways, one equilibrium: the energy is convex, so there is only one. The
# certificate is the same for all of them, the largest distance of any unit from the
# state that its drive asks for.

# %%
states = [e.state["hidden"] for e in found.values()]
spread = max(float(jnp.max(jnp.abs(a - states[0]))) for a in states)
print(f"largest difference between solvers {spread:.1e}")
assert spread < 1e-4
assert all(bool(e.converged.all()) for e in found.values())

# %% [markdown]
# ## 3. Blocks
#
# `BlockCoordinate` isn't in the table, though it is what the library's networks use. It
# sets a whole layer at once to its exact minimum, in turn. Ask it to:

# %%
try:
    ep.relax(landscape, ep.BlockCoordinate())
except ValueError as error:
    refusal = str(error)
print(refusal)
assert "affine" in refusal

# %% [markdown]
# It is right: the units of one group push each other, so that setting all of them to
# what their drives ask for *now* can overshoot, back and forth. But members with the
# same number $k$, one of each group, don't interact. If each $h_k$ is a leaf of the
# state by itself, the leaves are blocks that can be minimized exactly. The function
# stays as it is: the library reads off from it which leaves interact.


# %%
def leaves_at_rest(x):
    return {"hidden": (jnp.zeros(GROUPS),) * MEMBERS, "output": jnp.zeros(10)}


swept = ep.FunctionEnergy(
    competition,
    params,
    init=leaves_at_rest,
    output=output,
    units={"hidden": ep.HardSigmoid(), "output": ep.Linear()},
)
landscape = ep.Landscape(swept, x)
print("blocks", landscape.blocks())
assert len(landscape.blocks()) == MEMBERS + 1
sweeps = ep.BlockCoordinate(max_steps=200, stop=stop)
by_blocks = ep.relax(landscape, sweeps)
apart = jnp.max(jnp.abs(jnp.stack(by_blocks.state["hidden"], axis=1) - states[0]))
steps["BlockCoordinate"] = float(jnp.mean(by_blocks.num_steps))
count = steps["BlockCoordinate"]
print(f"{count:.1f} sweeps on average, {float(apart):.0e} from the others' state")
assert apart < 1e-4
assert count < min(v for name, v in steps.items() if name != "BlockCoordinate")

# %%
figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
axis.barh(list(steps), list(steps.values()), color="0.75", edgecolor="k")
axis.bar_label(axis.containers[0], fmt="%.0f", padding=3)
axis.set(xlabel="steps to a tolerance of 1e-5 (mean of 32 examples)")
axis.invert_yaxis()

# %% [markdown]
# *Steps that each solver takes. Block sweeps take the fewest; a sweep visits every unit
# once, as a step of the others does.*
#
# One trap. The inhibition is also $\frac12 γ\,(‖\sum_k h_k‖^2 - \sum_k ‖h_k‖^2)$, which
# is shorter to write. It is the same number, but now each $h_k$ multiplies itself, and
# that this cancels can be seen in the formula, not in the computation: the library
# would find no block that it may minimize. Write an interaction as the products that it
# is made of.


# %%
def shorter(params, state, x):
    h = jnp.stack(state["hidden"])
    squares = 0.5 * GAMMA * (jnp.sum(jnp.sum(h, axis=0) ** 2) - jnp.sum(h**2))
    rest = competition(params, state, x) - GAMMA * inhibition(state["hidden"])
    return squares + rest


hidden_from_view = ep.Landscape(eqx.tree_at(lambda e: e.fn, swept, shorter), x)
np.testing.assert_allclose(
    hidden_from_view.energy(by_blocks.state),
    landscape.energy(by_blocks.state),
    rtol=1e-5,
)
print("leaves that the first one depends on")
print("  as products:", sorted(landscape.couplings()[0]))
print("  as squares: ", sorted(hidden_from_view.couplings()[0]))
assert 0 not in landscape.couplings()[0]
assert 0 in hidden_from_view.couplings()[0]

# %% [markdown]
# ## 4. A Module
#
# Parameters in one place, shapes in another and a constant floating about is fine for a
# page. For a program, put them together: an `equinox.Module` that is called with the
# state and the input. Its floating-point arrays are what is trained; `gamma`, marked
# static, is not.


# %%
class Competition(eqx.Module):
    """Groups of hidden units that inhibit each other, between input and output."""

    w: jax.Array
    v: jax.Array
    b: jax.Array
    c: jax.Array
    gamma: float = eqx.field(static=True)

    def __call__(self, state, x):
        h, o = jnp.asarray(state["hidden"]), state["output"]
        drive = jnp.einsum("p,kpg->kg", x, self.w) + self.b
        drive = drive + jnp.einsum("kgo,o->kg", self.v, o)
        pairs = self.gamma * inhibition(state["hidden"])
        return pairs - jnp.sum(h * drive) - self.c @ o


def network(gamma, params=params):
    energy = ep.FunctionEnergy(
        Competition(**params, gamma=gamma),
        init=leaves_at_rest,
        output=output,
        units={"hidden": ep.HardSigmoid(), "output": ep.Linear()},
    )
    return ep.Model(energy, ep.SquaredError())


model = network(GAMMA)
before = landscape.energy(by_blocks.state)
after = ep.Landscape(model, x).energy(by_blocks.state)
np.testing.assert_allclose(before, after, rtol=1e-5)

# %% [markdown]
# ## 5. Is its gradient right?
#
# Equilibrium Propagation's gradient beside the exact one, from implicit
# differentiation, before any training. `compare` takes it apart by parameter.

# %%
method = ep.EquilibriumProp(
    ep.Centered(beta=0.1), ep.BlockCoordinate(1.0, max_steps=20)
)
exact = ep.ImplicitDifferentiation(sweeps)


@eqx.filter_jit
def gradient(method, model, x, y):
    return method.value_and_grad(model, x, y)


outcome, estimate = gradient(method, model, x, y)
_, truth = gradient(exact, model, x, y)
likeness = ep.diagnostics.compare(estimate, truth)
for name, row in likeness.items():
    print(f"{name:14} cosine {row.cosine:.5f}   relative error {row.error:.0e}")
print(f"largest residual {float(max(p.residual.max() for p in outcome.nudged)):.0e}")
assert likeness["all"].cosine > 0.995

# %% [markdown]
# [Checking a gradient](gradient_checking.md) says how to read such numbers, and how
# they depend on β.
#
# ## 6. Train, save, load
#
# `fit` takes the model as it is. With `out=` it keeps a folder: one line of metrics for
# each epoch, and after each a checkpoint, tensors by name and a checksum (safetensors
# and JSON; no pickle, so that loading a stranger's file runs nothing).

# %%
folder = Path(tempfile.mkdtemp()) / "competition"
run = ep.fit(model, data.train, method, ep.Adam(3e-3), epochs=10, seed=0, out=folder)
score = ep.evaluate(run.model, data.test, method.solver)
print(f"test error {score['error']:.2f} %, settled {100 * score['converged']:.0f} %")
print(sorted(p.name for p in folder.iterdir()))
assert score["error"] < 6

# %% [markdown]
# To load it, the library needs your code: it can't know the class `Competition`, and
# won't run anything that it finds in a file. Hand it a model of the same structure;
# arrays are replaced, by name.

# %%
try:
    ep.load(folder)
except ValueError as error:
    print(str(error).replace(str(folder), "FOLDER"))
loaded = ep.load(folder, like=model)
pairs = zip(jax.tree.leaves(loaded), jax.tree.leaves(run.model), strict=True)
assert all(np.array_equal(a, b) for a, b in pairs)

# %% [markdown]
# A template of another shape is refused, and the message names what differs:

# %%
other = network(GAMMA, params | {"c": jnp.zeros(11)})
try:
    ep.load(folder, like=other)
except ValueError as error:
    mismatch = str(error).replace(str(folder), "FOLDER")
print(mismatch)
assert "fn.c, expected float32[11], found float32[10]" in mismatch

# %% [markdown]
# What did the competition do? Below, the share of hidden units that are active in a
# settled test digit, and one group's four receptive fields, the weights from the pixels
# to each member.

# %%
test = ep.Landscape(run.model, data.test.x)
hidden = jnp.stack(ep.relax(test, sweeps).state["hidden"], axis=1)
active = np.asarray(jnp.sum(hidden > 0, axis=1))
share = float(np.mean(active) / MEMBERS)
print(f"{100 * share:.0f} % of the hidden units are active")

# %%
figure, axes = plt.subplots(
    1, 5, figsize=(9, 2.2), width_ratios=(1.8, 1, 1, 1, 1), layout="constrained"
)
counts = np.bincount(active.ravel(), minlength=MEMBERS + 1) / active.size
axes[0].bar(range(MEMBERS + 1), counts, color="0.75", edgecolor="k")
axes[0].set(xlabel="active members of a group", ylabel="share of groups")
group = int(np.argmax(np.ptp(np.asarray(run.model.energy.fn.w), axis=(0, 1))))
for k in range(MEMBERS):
    field = run.model.energy.fn.w[k, :, group].reshape(8, 8)
    axes[k + 1].imshow(field, cmap="gray")
    axes[k + 1].set(title=f"member {k}", xticks=(), yticks=())

# %% [markdown]
# *Left: how many of a group's four members are active in a settled digit. Right: one
# group's receptive fields, dark for negative weights.*
#
# ## Exercises
#
# **1.** In section 1, $γ > 1$ had no minimum. Where exactly does the trouble begin, and
# why do bounded units survive it?
#
# *Answer.* Inside a group the second derivative is $1$ on the diagonal and $γ$ beside
# it, with eigenvalues $1 - γ$ (units moving against each other) and $1 + 3γ$. Coupled
# to the outputs, which relax too, the smallest is a little less. At $γ = 1$ there is a
# flat direction; beyond, a hill. On $[0, 1]$ the units then roll down to a wall, where
# they rest: one winner in a group, and which one depends on the start. `curvature`
# looks at the units that can move. Without outputs ($V = 0$) it is $1 - γ$ to the last
# digit:

# %%
alone = params | {"v": jnp.zeros_like(params["v"])}
gamma = 0.8
separate = ep.Landscape(network(gamma, alone), x)
state = ep.relax(separate, sweeps).state
bend = float(jnp.min(ep.diagnostics.curvature(separate, state).smallest))
print(f"γ = {gamma}: smallest curvature {bend:.6f}")
assert abs(bend - (1 - gamma)) < 1e-5

# %% [markdown]
# **2.** Let the input speak to the outputs directly: add a term $-x^\top S\,o$. What do
# you have to change, and how many blocks are there then?
#
# *Answer.* One term of the energy. The blocks stay: $x$ is clamped, and a term of one
# free layer only is no interaction.


# %%
def with_skip(params, state, x):
    return competition(params, state, x) - x @ params["s"] @ state["output"]


skipping = ep.FunctionEnergy(
    with_skip,
    params | {"s": draw(64, 10, fan_in=64)},
    init=leaves_at_rest,
    output=output,
    units={"hidden": ep.HardSigmoid(), "output": ep.Linear()},
)
skipped = ep.Landscape(skipping, x)
equilibrium = ep.relax(skipped, sweeps)
print("blocks", skipped.blocks(), " settled", bool(equilibrium.converged.all()))
assert skipped.blocks() == landscape.blocks()

# %% [markdown]
# ## Where to go on
#
# The energy as [a layer of a network](hybrid_networks.md); its states as
# [samples at a temperature](stochastic_ep.md).
