# %% [markdown]
# # The paper in one hour
#
# *Equilibrium Propagation: Bridging the Gap between Energy-Based Models and
# Backpropagation* by Scellier & Bengio (2017,
# [arXiv:1602.05179](https://arxiv.org/abs/1602.05179)) says that a network can learn
# with one kind of computation: it relaxes to predict, and relaxes once more, gently
# pushed toward the right answer, to learn. No error signal travels through a circuit of
# its own. This page builds that up from a network of nine neurons to one that reads
# handwritten digits, and checks every statement on the way.
#
# You need to know what a gradient is. Ten minutes a section, half of them yours.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


# Differences of nearly equal states need more digits than float32 has.
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## 1. An energy
#
# The network is a Hopfield network. Each neuron $i$ has a membrane potential $u_i$ and
# fires at the rate $ρ(u_i)$; neurons $i$ and $j$ are coupled by the weight
# $W_{ij} = W_{ji}$, and $b_i$ is a bias. All of it is in one number, the energy (the
# paper's equation 1):
#
# $$E(u) = \frac12 \sum_i u_i^2 - \frac12 \sum_{i \ne j} W_{ij}\, ρ(u_i)\, ρ(u_j)
#   - \sum_i b_i\, ρ(u_i)$$
#
# Some neurons are inputs, held at the values $x$. The others are free: six hidden ones
# and three outputs here. For ρ we take a smooth sigmoid; the paper's hard one comes in
# section 6.

# %%
rho = ep.Sigmoid(slope=4.0, center=0.5)
energy = ep.nets.hopfield(
    (4, 6, 3), key=jax.random.key(0), rho=rho, init=ep.FanInUniform(1.0)
)
x = jnp.asarray([[0.9, 0.1, 0.6, 0.4]])
y = jnp.asarray([[1.0, 0.0, 0.5]])
model = ep.Model(energy, ep.SquaredError())
free = ep.Landscape(model, x)

# %% [markdown]
# A `Landscape` is an energy with everything fixed but the state: the input is clamped,
# and what remains is a surface over the hidden and output potentials. Arrays have a
# batch axis in front; our batch is one example. There is nothing hidden in the library's
# energy. Here it is again in NumPy:


# %%
def rate(u):
    return 1 / (1 + np.exp(-4 * (u - 0.5)))


def energy_by_hand(x, h, o):
    W, b, V, c = (np.asarray(a) for a in jax.tree.leaves(energy.edges))
    couplings = rate(x) @ W @ rate(h) + rate(h) @ V @ rate(o)
    squares = 0.5 * (x @ x + h @ h + o @ o)
    return squares - couplings - b @ rate(h) - c @ rate(o)


h, o = np.linspace(0, 1, 6), np.asarray([0.2, 0.5, 0.8])
ours = energy_by_hand(np.asarray(x[0]), h, o)
theirs = float(free.energy((jnp.asarray(h[None]), jnp.asarray(o[None])))[0])
print(f"energy by hand {ours:.12f}, by the library {theirs:.12f}")
assert abs(ours - theirs) < 1e-12

# %% [markdown]
# ## 2. Predicting is relaxing
#
# The free potentials slide downhill, $du/dt = -∂E/∂u$, until they rest at the *free
# equilibrium* $u^0$. What the outputs are then is the prediction. Written out, the force
# on a neuron is that of a leaky integrator (equation 8): it is driven by its neighbors'
# rates and leaks back to zero. On the way
#
# $$\frac{dE}{dt} = -\left\|\frac{du}{dt}\right\|^2 \le 0,$$
#
# so the energy is a clock that only runs down. `observe` is called at every step, and
# what it returns comes back stacked.

# %%
step_size, steps = 0.05, 240
euler = ep.Euler(step_size, max_steps=steps)


def watch(landscape, state):
    speed = sum(jnp.sum(f**2) for f in landscape.force(state))
    return landscape.energy(state)[0], speed, state[0][0], state[1][0]


first = ep.relax(free, euler, observe=watch)
falls, speed, *_ = map(np.asarray, first.observations)
lost = falls[0] - falls[-1]
dissipated = step_size * np.sum((speed[:-1] + speed[1:]) / 2)
print(f"energy lost {lost:.5f}, ∫|du/dt|² dt {dissipated:.5f}")
print(f"residual at the end {float(first.residual[0]):.1e}")
assert np.all(np.diff(falls) <= 1e-13)
# Explicit steps follow the flow to the order of their size.
assert abs(dissipated / lost - 1) < step_size

# %% [markdown]
# `residual` is the *certificate*: how far the neuron that is worst off is from where its
# neighbors want it. A gradient computed at states that have not settled is not wrong by
# accident, it is wrong by construction, so the library measures this for every example
# of every phase.
#
# ## 3. Learning is relaxing once more
#
# How good is the prediction? The cost is $C = \frac12 \|u_{out} - y\|^2$, and the
# objective of learning is the cost of the free equilibrium, $J(θ) = C(u^0, y)$, where
# $θ$ are all weights and biases. Now let the cost pull at the outputs, with a small
# strength $β$: the *nudged* energy is
#
# $$F = E + β\,C.$$
#
# Under it the outputs feel an extra force $β(y - u_{out})$ (equation 9); hidden neurons
# feel nothing new, until the outputs move. The same dynamics runs on, from $u^0$ to the
# *nudged equilibrium* $u^β$.

# %%
beta = 1.0
second = ep.relax(free.nudge(y, beta), euler, first.state, observe=watch)
before, after = (float(free.cost(phase.state, y)[0]) for phase in (first, second))
print(f"cost of the free state {before:.4f}, of the nudged state {after:.4f}")
assert after < before

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
labels = ("hidden potentials", "output potentials")
for phase, start in ((first, 0), (second, steps)):
    energies, _, *layers = phase.observations
    time = step_size * (start + np.arange(steps + 1))
    axes[0].plot(time, energies, "k-" if start == 0 else "k--")
    for axis, layer in zip(axes[1:], layers, strict=True):
        axis.plot(time, layer, color="0.25", lw=1)
for axis, name in zip(axes, ("energy (F in phase 2)", *labels), strict=True):
    axis.axvline(step_size * steps, color="0.6", ls=":")
    axis.set(xlabel="time (time constants)", title=name)
for target in np.unique(y):
    axes[2].plot(2 * step_size * steps, target, "k<", clip_on=False)

# %% [markdown]
# *Both phases of one run; the dotted line is where β is switched on. The energy falls
# in each (it jumps up between them, by βC). The outputs move part of the way toward
# their targets, the triangles, and the hidden neurons follow a little later.*
#
# Phase 2 found a better state than phase 1, which is no accident: the paper's
# proposition 2 says that $C(u^β)$ falls as $β$ grows from zero. If the *parameters* can
# be changed so that the network comes to the better state by itself, it has learned.
#
# ## 4. The theorem
#
# Theorem 1 says how to change them. The gradient of the objective is the difference of
# two local measurements, at the two equilibria:
#
# $$\frac{dJ}{dθ} = \lim_{β \to 0} \frac1β
#   \left[\frac{∂F}{∂θ}(u^β) - \frac{∂F}{∂θ}(u^0)\right].$$
#
# Nothing on the right knows about derivatives of states with respect to parameters.
# We hold it against the slowest and safest gradient there is: move a parameter by
# $\pm 10^{-5}$, settle the network again, and see what the cost does. That is what
# `finite_difference` does, for every parameter. `FixedPoint` is a faster way to the same
# equilibria; we let it settle to round-off.

# %%
exacting = ep.FixedPoint(
    damping=0.5, max_steps=2000, stop=ep.Tolerance(1e-15), certify=1e-12
)
truth, _ = ep.diagnostics.finite_difference(model, x, y, exacting, entries=60)


@eqx.filter_jit
def gradient(method, model, x, y, state0=None):
    return method.value_and_grad(model, x, y, state0=state0)[1]


def flat(tree):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree)])


exact = flat(truth)
betas = np.asarray([0.01, 0.02, 0.05, 0.1, 0.2])
estimates = {
    nudging: np.asarray(
        [
            flat(gradient(ep.EquilibriumProp(nudging(b), exacting), model, x, y))
            for b in betas
        ]
    )
    for nudging in (ep.OneSided, ep.Centered)
}
errors, slopes = {}, {}
for nudging, found in estimates.items():
    error = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact)
    slope = np.polyfit(np.log(betas), np.log(error), 1)[0]
    errors[nudging.__name__], slopes[nudging.__name__] = error, slope
    print(f"{nudging.__name__}: error {error[0]:.1e} at β = 0.01, slope {slope:.2f}")
assert abs(slopes["OneSided"] - 1) < 0.1
assert abs(slopes["Centered"] - 2) < 0.1

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
axes[0].plot(exact, estimates[ep.Centered][0], "kx", label="β = 0.01, centered")
axes[0].axline((0, 0), slope=1, color="0.7", lw=1, zorder=0)
axes[0].set(xlabel="dJ/dθ by finite differences", ylabel="contrast of two phases")
axes[1].loglog(betas, errors["OneSided"], "ko-", label="one-sided: 0 and β")
axes[1].loglog(betas, errors["Centered"], "k^--", label="centered: −β and β")
axes[1].set(xlabel="β", ylabel="relative error")
for axis in axes:
    axis.legend(frameon=False)

# %% [markdown]
# *Left: every parameter's estimate against the truth, on the diagonal. Right: the error
# shrinks with β; in proportion for the paper's two phases, and with its square if the
# two phases are nudged by −β and β.*
#
# The second kind, `Centered`, is a later idea (Laborieux et al. 2021,
# [arXiv:2101.05536](https://arxiv.org/abs/2101.05536)). It costs one phase more and is
# what the library's recipes use.
#
# ## 5. The rule is local, and time can do the subtraction
#
# For a weight, $∂F/∂W_{ij} = -ρ(u_i)ρ(u_j)$. So gradient descent changes a synapse by
#
# $$ΔW_{ij} \propto \frac1β \left[ρ(u_i^β)ρ(u_j^β) - ρ(u_i^0)ρ(u_j^0)\right]$$
#
# (equation 10): the rates of the two neurons that it connects, twice. Hebbian at $u^β$,
# anti-Hebbian at $u^0$. In NumPy, for the weights from hidden to output neurons:

# %%
small = 0.1
method = ep.EquilibriumProp(ep.OneSided(small), exacting)
library = -np.asarray(gradient(method, model, x, y).energy.edges[2].interaction.weight)
settled = ep.relax(free, exacting).state
nudged = ep.relax(free.nudge(y, small), exacting, settled).state
products = [np.outer(rate(h[0]), rate(o[0])) for h, o in (settled, nudged)]
local = (products[1] - products[0]) / small
print("largest difference from the library's update", np.max(np.abs(local - library)))
np.testing.assert_allclose(local, library, rtol=0, atol=1e-11)

# %% [markdown]
# A synapse need not even remember $u^0$. If it follows
#
# $$\frac{dW_{ij}}{dt} \propto \frac{d}{dt}\bigl[ρ(u_i)\,ρ(u_j)\bigr]
#   = ρ(u_i)\,\frac{dρ(u_j)}{dt} + ρ(u_j)\,\frac{dρ(u_i)}{dt}$$
#
# through the second phase (equation 13), the changes add up to the difference of the
# ends. The paper reads this as spike-timing-dependent plasticity: presynaptic activity
# times the *change* of the postsynaptic activity. Each of the two terms alone is such a
# rule (equation 12), of one direction; only both together add up to the gradient.

# %%
finer = ep.Euler(step_size, max_steps=1000)
phase = ep.relax(free.nudge(y, small), finer, settled, observe=watch)
hidden, output = (rate(np.asarray(u)) for u in phase.observations[2:])
pairs = hidden[:, :, None] * output[:, None, :]
symmetric = np.cumsum(np.diff(pairs, axis=0), axis=0) / small
one_way = np.cumsum(hidden[:-1, :, None] * np.diff(output, axis=0)[:, None, :], 0)
one_way = one_way / small
gaps = {
    name: float(np.linalg.norm(sums[-1] - local) / np.linalg.norm(local))
    for name, sums in (("both ways", symmetric), ("one way", one_way))
}
print("missing of the contrast:", {k: f"{gap:.1e}" for k, gap in gaps.items()})
assert gaps["both ways"] < 1e-6
assert gaps["one way"] > 0.01

# %%
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
shown = [np.unravel_index(k, local.shape) for k in np.argsort(-np.abs(local.ravel()))]
time = step_size * np.arange(1, 301)
for n, (i, j) in enumerate(shown[:3]):
    axis.plot(time, symmetric[:300, i, j], "k-", label="both ways" if n == 0 else None)
    axis.plot(time, one_way[:300, i, j], "k:", label="one way" if n == 0 else None)
    axis.plot(time[-1], local[i, j], "ko", mfc="none", ms=9, clip_on=False)
axis.plot([], [], "ko", mfc="none", ms=9, label="contrast of the ends")
axis.set(xlabel="time in phase 2 (time constants)", ylabel="change of the weight / β")
axis.legend(frameon=False)

# %% [markdown]
# *Running sums of the two rules at the three synapses that change most. The symmetric
# rule ends in the contrast, the circles; the one-way rule misses it.*
#
# ## 6. Handwritten digits
#
# Now the same thing at the scale of a small task: 8×8 pixels, 128 hidden neurons, ten
# outputs, and 1,293 digits to learn from. The hidden neurons have the paper's hard
# sigmoid, $ρ(u) = \min(\max(u, 0), 1)$. `BlockCoordinate` is a quicker way downhill than
# small steps: it sets whole layers to their exact minimum, in turn. `fit` repeats what
# section 5 did, a batch at a time.

# %%
data = ep.data.digits()
network = ep.Model(ep.nets.mlp([64, 128, 10], key=jax.random.key(1)), ep.SquaredError())
two_phases = ep.EquilibriumProp(ep.Centered(beta=0.2), ep.BlockCoordinate(max_steps=12))
run = ep.fit(network, data, two_phases, ep.Adam(2e-3), epochs=12, seed=0)
result = ep.evaluate(run.model, data.test, two_phases.solver)
print(f"test error {result['error']:.2f} %, settled {100 * result['converged']:.0f} %")
assert result["error"] < 5

# %%
figure, axis = plt.subplots(figsize=(5, 2.8), layout="constrained")
for name, style in (("train_error", "ko-"), ("validation_error", "ks--")):
    axis.semilogy([row[name] for row in run.metrics], style, label=name.split("_")[0])
axis.set(xlabel="epoch", ylabel="error (%)")
axis.legend(frameon=False)

# %% [markdown]
# *Error on the training and validation digits, epoch by epoch.*
#
# ## 7. What the nudge does
#
# Take the test digit that the trained network gets most badly wrong, and follow its
# equilibrium as β grows from a negative value, away from the target, to a positive one.

# %%
landscape = ep.Landscape(run.model, data.test.x)
precise = ep.BlockCoordinate(max_steps=500, stop=ep.Tolerance(1e-12), certify=1e-9)
costs = landscape.cost(ep.relax(landscape, precise).state, data.test.y)
worst = int(jnp.argmax(costs))
label = int(data.test.labels[worst])
strengths = np.arange(-2, 11) / 5
many = ep.Landscape(run.model, jnp.repeat(data.test.x[worst][None], 13, axis=0))
targets = jnp.repeat(data.test.y[worst][None], 13, axis=0)
branch = ep.relax(many.nudge(targets, jnp.asarray(strengths)), precise).state
outputs, cost = np.asarray(branch[-1]), np.asarray(many.cost(branch, targets))
guess = int(np.argmax(outputs[2]))
print(f"a {label}, read as a {guess}: cost", np.round(cost[[0, 2, 7, 12]], 3))
assert guess != label
assert np.all(np.diff(cost) < 0)

# %%
figure, axes = plt.subplots(
    1, 3, figsize=(9, 2.8), width_ratios=(1, 2, 2), layout="constrained"
)
axes[0].imshow(data.test.x[worst].reshape(8, 8), cmap="gray_r")
axes[0].set(title=f"a {label}", xticks=(), yticks=())
for k in range(10):
    style = {label: ("k", "-"), guess: ("k", "--")}.get(k, ("0.8", "-"))
    axes[1].plot(strengths, outputs[:, k], color=style[0], ls=style[1])
axes[1].set(xlabel="β", title=f"outputs: {label} solid, {guess} dashed")
axes[2].plot(strengths, cost, "ko-")
axes[2].set(xlabel="β", title="cost of the nudged state")

# %% [markdown]
# *A digit that the network gets wrong, its ten outputs as the nudge grows, and the cost,
# which falls all along.*
#
# Every step of training moves the weights so that the free state ($β = 0$) goes a bit
# in the direction of larger β. That is all the learning there is.
#
# ## Exercises
#
# **1.** The two phases 0 and β give the gradient up to an error of order β, and so do 0
# and −β. What does their average give?
#
# *Answer.* The average of $[f(β) - f(0)]/β$ and $[f(0) - f(-β)]/β$ is
# $[f(β) - f(-β)]/2β$: the free phase drops out, and what remains is the centered
# contrast, in which terms of even order in β cancel.

# %%
pair = [
    flat(gradient(ep.EquilibriumProp(ep.OneSided(b), exacting), model, x, y))
    for b in (small, -small)
]
centered = flat(gradient(ep.EquilibriumProp(ep.Centered(small), exacting), model, x, y))
print("average of both sides − centered:", np.max(np.abs(sum(pair) / 2 - centered)))
np.testing.assert_allclose(sum(pair) / 2, centered, rtol=0, atol=1e-12)

# %% [markdown]
# **2.** The paper starts the second phase at $u^0$. Does it have to?
#
# *Answer.* Only the end counts. Started anywhere in the same valley it ends at the same
# $u^β$, and the gradient is the same; from $u^0$ it is merely near. (If there are
# several valleys, starting at $u^0$ is what keeps both phases in one.)

# %%
from_rest = ep.relax(free.nudge(y, small), exacting)
apart = max(
    float(jnp.max(jnp.abs(a - b))) for a, b in zip(from_rest.state, nudged, strict=True)
)
print(f"nudged equilibria from rest and from u⁰ differ by {apart:.1e}")
assert apart < 1e-12

# %% [markdown]
# ## Where to go on
#
# [The paper's claims](../claims.md) one by one, each with a figure; how to
# [check a gradient](gradient_checking.md) before believing it; how to learn with
# [an energy of your own](your_own_energy.md).
