# %% [markdown]
# # Checking a gradient
#
# Equilibrium Propagation gives the gradient of the cost only in a limit: of states that
# have settled, and of a nudge that vanishes. In practice states settle to some residual
# and β is some number. How wrong does that make the gradient, how would you know, and
# what do you turn? After this page you can tell a bias from an unsettled state from
# round-off by looking at how each of them depends on β.
#
# You need the two phases, as in [the paper in one hour](paper_in_one_hour.md).
#
# Notation: $E(θ, x, s)$ is the energy with parameters $θ$, input $x$ and state $s$;
# $C(s, y)$ the cost; $F = E + βC$ the nudged energy; $s^β$ the equilibrium of $F$; and
# $L(θ) = C(s^0, y)$ what learning minimizes.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


# Biases are told from round-off by their digits: float32 has too few.
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## 1. One neuron, by hand
#
# Take one linear unit with a bias $b$, $E = \frac12 s^2 - bs$, and
# $C = \frac12(s-y)^2$. Free, it settles at $s^0 = b$, so $L = \frac12(b - y)^2$ and the
# gradient is $b - y$. Nudged, it settles at $s^β = (b + βy)/(1 + β)$. With $∂F/∂b = -s$
# the two contrasts are
#
# $$\text{one-sided: } \frac{-s^β + s^0}{β} = \frac{b - y}{1 + β}, \qquad
#   \text{centered: } \frac{-s^β + s^{-β}}{2β} = \frac{b - y}{1 - β^2}.$$
#
# So the direction is right and the size off by a factor $1 - β$ or $1 + β^2$, to
# leading order. At $β = -1$ the nudged energy has no minimum at all. All of what
# follows is this example with more units.

# %%
b, y_one = 0.7, 0.2
neuron = ep.Model(
    ep.Network(
        [ep.Layer("output", ep.Linear(), (1,))],
        [ep.Edge(("output",), ep.Bias(jnp.asarray([b])))],
    ),
    ep.SquaredError(),
)


@eqx.filter_jit
def estimate(method, model, x, y):
    return method.value_and_grad(model, x, y)


nothing, target = jnp.zeros((1, 1)), jnp.asarray([[y_one]])
for beta in (0.1, 0.5):
    for nudging, formula in (
        (ep.OneSided(beta), (b - y_one) / (1 + beta)),
        (ep.Centered(beta), (b - y_one) / (1 - beta**2)),
    ):
        method = ep.EquilibriumProp(nudging, ep.BlockCoordinate(max_steps=2))
        _, found = estimate(method, neuron, nothing, target)
        slope = float(found.energy.edges[0].interaction.bias[0])
        name = type(nudging).__name__
        print(f"{name:9} β = {beta}: {slope:.12f}, by the formula {formula:.12f}")
        assert abs(slope - formula) < 1e-12

# %% [markdown]
# ## 2. Exact references
#
# For a network there is no such formula, but the gradient can be had exactly without
# any nudge. Four ways, which share no step with each other:
#
# | reference | how | what it costs |
# |---|---|---|
# | `finite_difference` | move a parameter, settle again | two relaxations each |
# | `ImplicitDifferentiation` | solve $∂_s^2E\,λ = -∂_sC$ | $n^3$ for $n$ units |
# | `RecurrentBackprop` | iterate that system to its fixed point | a second phase |
# | `BackpropThroughTime` | differentiate through every step | memory for all steps |
#
# Two networks for this page, 64 pixels to 24 hidden units to 10 outputs, one with tanh
# units and one with the paper's hard sigmoid (which is clipped at 0 and 1). Both first
# learn the digits for 60 steps of plain gradient descent: checking a gradient at random
# weights says little about training. Eight test digits will do.

# %%
data = ep.data.digits()
x, y = data.test.x[:8], data.test.y[:8]
recipe = ep.EquilibriumProp(ep.Centered(beta=0.2), ep.BlockCoordinate(max_steps=20))


def trained(unit):
    energy = ep.nets.mlp([64, 24, 10], key=jax.random.key(0), unit=unit)
    model = ep.Model(energy, ep.SquaredError())
    for k in range(60):
        few = slice(20 * k, 20 * k + 20)
        _, slope = estimate(recipe, model, data.train.x[few], data.train.y[few])
        model = eqx.apply_updates(model, jax.tree.map(lambda g: -0.2 * g, slope))
    return model


models = {"tanh": trained(ep.Tanh()), "hard sigmoid": trained(ep.HardSigmoid())}
model = models["tanh"]
exacting = ep.BlockCoordinate(
    max_steps=1000, stop=ep.Tolerance(1e-14, 1e-14), certify=1e-11
)
_, exact = estimate(ep.ImplicitDifferentiation(exacting), model, x, y)
rows = {
    "RecurrentBackprop": ep.RecurrentBackprop(exacting, max_steps=300),
    "BackpropThroughTime": ep.BackpropThroughTime(ep.BlockCoordinate(max_steps=100)),
}
others = {name: (estimate(m, model, x, y)[1], None) for name, m in rows.items()}
others["finite differences"] = ep.diagnostics.finite_difference(
    model, x, y, exacting, entries=12
)
agreement = {}
for name, (gradient, where) in others.items():
    agreement[name] = ep.diagnostics.compare(gradient, exact, where)["all"].error
    print(f"{name:20} differs from implicit differentiation by {agreement[name]:.1e}")
assert max(agreement.values()) < 1e-6

# %% [markdown]
# Four routes to one number: that number is the gradient. (Differences of `1e-5` in a
# parameter leave about nine digits, which is why the last row is larger.)
#
# ## 3. The bias and its order
#
# `check_gradient` runs a method for several β against a reference and measures the
# slope of $\ln$ error against $\ln β$: the *order* of the bias. One-sided nudging
# should show 1, centered 2, and holomorphic nudging with $n$ points on a circle of
# complex β (Laborieux & Zenke 2022,
# [arXiv:2209.00530](https://arxiv.org/abs/2209.00530)) should show $n$.

# %%
betas = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
methods = {
    "one-sided": lambda beta: ep.EquilibriumProp(ep.OneSided(beta), exacting),
    "centered": lambda beta: ep.EquilibriumProp(ep.Centered(beta), exacting),
    "holomorphic, 4 points": lambda beta: ep.EquilibriumProp(
        ep.Holomorphic(beta, 4), exacting
    ),
}
smooth = ep.diagnostics.check_gradient(model, x, y, methods, betas, solver=exacting)
orders = {name: bias.order for name, bias in smooth.bias.items()}
for name, bias in smooth.bias.items():
    errors = "  ".join(f"{e:.0e}" for e in bias.errors)
    print(f"{name:22} order {bias.order:.2f}   errors {errors}")
for name, order in (("one-sided", 1), ("centered", 2), ("holomorphic, 4 points", 4)):
    # What the next power of β adds at the largest of them.
    assert abs(orders[name] - order) < 0.1 * order

# %% [markdown]
# The same with hard-sigmoid units. They are clipped, so complex β is out (the library
# refuses it), and something else happens.

# %%
del methods["holomorphic, 4 points"]
clipped = ep.diagnostics.check_gradient(
    models["hard sigmoid"], x, y, methods, betas, solver=exacting
)
for name, bias in clipped.bias.items():
    changed = "  ".join(f"{100 * c:4.1f}" for c in bias.changed)
    print(f"{name:10} safe up to β = {bias.safe},   % of units that change: {changed}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for axis, (title, check) in zip(
    axes, {"tanh": smooth, "hard sigmoid": clipped}.items(), strict=True
):
    for (name, bias), style in zip(
        check.bias.items(), ("ko-", "k^--", "ks:"), strict=False
    ):
        axis.loglog(betas, bias.errors, style, mfc="none", label=name)
        sound = [k for k, beta in enumerate(betas) if beta <= (bias.safe or 0)]
        axis.loglog(
            [betas[k] for k in sound], [bias.errors[k] for k in sound], style[:2]
        )
    axis.set(xlabel="β", title=f"{title} units")
axes[0].set_ylabel("relative error")
axes[0].legend(frameon=False)

# %% [markdown]
# *Relative error of the gradient against β. With tanh units the lines are straight, of
# slopes 1, 2 and 4. With hard-sigmoid units they are straight only as far as the
# symbols are filled; beyond, at hollow symbols, some unit has reached a wall or left
# it.*
#
# ## 4. Where β is safe
#
# The theorem asks that $s^β$ be smooth in β. A clipped unit that comes to its wall
# between the phases has a kink there: the contrast averages over two different slopes,
# and the error is no longer a power of β. So each β is reported with the share of units
# whose saturation *changes*, and `safe` is the largest β tried, up to which none does.
# Safe doesn't mean accurate, and beyond it is not useless: it is where the order ends.
#
# That settles the upper end for clipped units. There is another for all units: the
# *negative* nudge $-β$ takes curvature away from the energy. It must leave some,
#
# $$λ_{\min}\left(\frac{∂^2E}{∂s^2} - β\,\frac{∂^2C}{∂s^2}\right) > 0.$$
#
# In section 1 that was $β < 1$. `curvature` computes it for each example, at the free
# equilibrium.

# %%
limits = np.asarray(smooth.curvature.largest_beta)
print("smallest curvature", np.round(np.asarray(smooth.curvature.smallest), 3))
print("largest β of the negative nudge", np.round(limits, 3))
assert np.all(limits > 0)
# A tanh unit's curvature is at least 1, and the outputs' own is 1.
assert np.all(limits <= 1)

# %% [markdown]
# ## 5. What goes wrong, and how it shows
#
# Now break things, one at a time, and read the symptoms: the cosine to the exact
# gradient, the relative error, and the largest residual of any phase.


# %%
def symptoms(method, model, x, y, reference):
    outcome, gradient = estimate(method, model, x, y)
    phases = (outcome.free, *outcome.nudged)
    residual = max(float(jnp.max(phase.residual)) for phase in phases)
    likeness = ep.diagnostics.compare(gradient, reference)["all"]
    return likeness.cosine, likeness.error, residual


def ep_of(nudging, solver=exacting):
    return ep.EquilibriumProp(nudging, solver)


two = ep.BlockCoordinate(max_steps=2)
sixty = ep.BlockCoordinate(max_steps=60)
single = jax.tree.map(
    lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, (model, x, y)
)
cases = {
    "settled, β = 0.05": (ep_of(ep.Centered(0.05)), model, x, y),
    "two sweeps, one-sided, β = 0.05": (ep_of(ep.OneSided(0.05), two), model, x, y),
    "two sweeps, one-sided, β = 0.005": (ep_of(ep.OneSided(0.005), two), model, x, y),
    "two sweeps, centered, β = 0.005": (ep_of(ep.Centered(0.005), two), model, x, y),
    "settled, β = 0.8": (ep_of(ep.Centered(0.8)), model, x, y),
    "float32, β = 0.05": (ep_of(ep.Centered(0.05), sixty), *single),
    "float32, β = 1e-6": (ep_of(ep.Centered(1e-6), sixty), *single),
    "another objective": (ep_of(ep.Clamped()), model, x, y),
}
table = {name: symptoms(*case, exact) for name, case in cases.items()}
print(f"{'':34}{'cosine':>8}{'error':>10}{'residual':>10}")
for name, (cosine, error, residual) in table.items():
    print(f"{name:34}{cosine:8.4f}{error:10.1e}{residual:10.1e}")

# %% [markdown]
# Line by line.
#
# - **Two sweeps, one-sided.** The state still drifts when the nudge sets in, and goes
#   on drifting in the second phase. The contrast takes that for an effect of the nudge
#   and divides it by β: at a tenth of the β the error is ten times as large. The
#   residual says so before any reference is computed.
# - **Two sweeps, centered.** Both phases drift alike and the difference of the two is
#   spared. This is the better reason to use centered nudging; the residual is as bad.
# - **β = 0.8.** Every phase is settled to the last digit, and the gradient is
#   worthless. β is above the limit of section 4: under the negative nudge the minimum
#   is gone, and what was found is another equilibrium. A certificate says *that* a
#   state is an equilibrium, not *which*; that is why `check_gradient` reports
#   curvature.
# - **float32, β = 1e-6.** Round-off of the states, about $10^{-7}$, divided by β.
# - **Another objective.** `Clamped` is contrastive Hebbian learning. Nothing is wrong
#   with it, but it descends something else, and no smaller β will bring it nearer.

# %%
one, tenth = (table[f"two sweeps, one-sided, β = {b}"][1] for b in (0.05, 0.005))
assert abs(tenth / one - 10) < 1
assert table["two sweeps, centered, β = 0.005"][0] > 0.9
assert float(limits.max()) < 0.8
assert table["settled, β = 0.8"][1] > 1
assert table["settled, β = 0.8"][2] < 1e-10
assert table["float32, β = 1e-6"][1] > table["float32, β = 0.05"][1]

# %%
sweep = np.asarray([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3])
curves = {
    ("float64, settled", "ko-"): (ep.Centered, exacting, model, x, y),
    ("float32, settled", "ks--"): (ep.Centered, sixty, *single),
    ("float64, two sweeps, one-sided", "k^:"): (ep.OneSided, two, model, x, y),
}
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
shape = {}
for (name, style), (nudging, solver, *problem) in curves.items():
    errors = [symptoms(ep_of(nudging(b), solver), *problem, exact)[1] for b in sweep]
    shape[name] = np.asarray(errors)
    axis.loglog(sweep, errors, style, label=name)
axis.set(xlabel="β", ylabel="relative error", ylim=(1e-10, 1e9))
axis.legend(frameon=False, loc="upper right")
# What is rounded is the same everywhere; what falls with β² has a best β.
best = sweep[np.argmin(shape["float32, settled"])]
print(f"best β tried in float32: {best:g}")
assert 1e-4 <= best <= 1e-2

# %% [markdown]
# *Relative error against β on logarithmic axes. In float64 the settled centered
# estimate falls with slope 2 until round-off stops it; in float32 the line turns up
# already near a thousandth; that of unsettled phases rises all the way to the left.*
#
# So the shape of the curve is the diagnosis. Falling with β: bias, take a smaller β or
# a higher order. Rising as $1/β$: something that isn't the nudge differs between the
# phases; settle longer, or take more digits. Flat: another objective, or a reference
# for another loss.
#
# On a trained run all of this is one command, `eqprop check-gradient`, which ends with
# exit code 1 if a gradient is off.
#
# ## Exercises
#
# **1.** Centered estimates at β and at 2β have errors $cβ^2$ and $4cβ^2$, and the next
# power is $β^4$. Combine the two into one of fourth order.
#
# *Answer.* $\frac13[4g(β) - g(2β)]$, Richardson's extrapolation. It takes four nudged
# phases, as many as the holomorphic estimate with four points, but real ones.


# %%
def centered_at(beta):
    return estimate(ep_of(ep.Centered(beta)), model, x, y)[1]


richardson = []
for beta in (0.02, 0.04):
    pair = centered_at(beta), centered_at(2 * beta)
    joined = jax.tree.map(lambda g, h: (4 * g - h) / 3, *pair)
    richardson.append(ep.diagnostics.compare(joined, exact)["all"].error)
order = np.log2(richardson[1] / richardson[0])
print(f"errors {richardson[0]:.1e} and {richardson[1]:.1e}: order {order:.2f}")
assert abs(order - 4) < 0.2

# %% [markdown]
# **2.** At a finite β the one-sided contrast isn't the gradient of $L$. Is it the
# gradient of anything?
#
# *Answer.* Yes, exactly, of $L_β = \frac1β[F(β, s^β) - F(0, s^0)]$: at an equilibrium
# the derivative of $F$ in the state vanishes, so the derivative of the settled energy
# in a parameter is the partial one. A large β therefore follows a different objective,
# not noise; $L_β$ is the mean cost along the way from $s^0$ to $s^β$. Finite
# differences of $L_β$ in the first output bias:


# %%
@eqx.filter_jit
def surrogate(model, beta):
    free = ep.Landscape(model, x)
    state = ep.relax(free, exacting).state
    nudged = free.nudge(y, beta)
    after = ep.relax(nudged, exacting, state).state
    return jnp.mean(nudged.energy(after) - free.energy(state)) / beta


def bias_of(tree):
    return tree.energy.edges[-1].interaction.bias


beta, h = 0.4, 1e-5
moved = [
    eqx.tree_at(bias_of, model, bias_of(model).at[0].add(step)) for step in (h, -h)
]
by_differences = float(surrogate(moved[0], beta) - surrogate(moved[1], beta)) / (2 * h)
contrast = float(bias_of(estimate(ep_of(ep.OneSided(beta)), model, x, y)[1])[0])
true = float(bias_of(exact)[0])
print(f"contrast {contrast:.9f}, slope of L_β {by_differences:.9f}, of L {true:.9f}")
assert abs(contrast - by_differences) < 1e-8
assert abs(contrast - true) > 1e-3

# %% [markdown]
# ## Where to go on
#
# [All methods compared](../methods.md); [networks](hybrid_networks.md) in which the
# equilibrium is one layer of many; gradients that are
# [expectations over noise](stochastic_ep.md), where bias meets variance.
