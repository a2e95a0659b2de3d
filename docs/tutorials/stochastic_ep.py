# %% [markdown]
# # Equilibrium Propagation at a temperature
#
# So far a network comes to rest. Analog hardware and nerve cells never do: their states
# fluctuate. If the fluctuations are thermal, the *distribution* of the states is as
# good an equilibrium as a point, and the two phases become two averages. What you get
# for the noise: units may be binary, and no derivative of an activation is needed. What
# you pay: a gradient is an estimate with a standard error.
#
# You need the two phases, as in [the paper in one hour](paper_in_one_hour.md), and
# expectations. The paper announces this form in its section 2.2
# ([arXiv:1602.05179](https://arxiv.org/abs/1602.05179)).

# %%
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


# To compare averages with exact expectations to more digits than the noise has.
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## 1. Samplers
#
# At temperature $T$ a state $s$ has probability
#
# $$p_β(s) \propto e^{-F(s)/T}, \qquad F = E + β\,C,$$
#
# with the energy $E$, the cost $C$ and the nudge $β$. A *sampler* takes the place of a
# solver: it walks through states so that in the long run it visits each as often as
# that. Three of them:
#
# - `Langevin`: the dynamics $ds = -∂F/∂s\,dt$ with noise, in steps of size $ε$. Cheap;
#   the steps bias the distribution a little.
# - `MetropolisLangevin`: the same, each step accepted or rejected so that the bias is
#   gone.
# - `Gibbs`: whole layers drawn anew, given their neighbors. No step size; needs units
#   whose conditional distribution is known (binary, or quadratic such as
#   `HardSigmoid`).
#
# For one linear unit, $F = \frac12 s^2 - bs$, everything is known. The distribution is
# normal with variance $T$, and Langevin steps of size $ε$ have the variance
# $T/(1 - ε/2)$. The batch axis gives us thousands of independent chains at once.

# %%
T, chains = 0.1, 20_000


def one_unit(bias):
    return ep.Network(
        [ep.Layer("output", ep.Linear(), (1,))],
        [ep.Edge(("output",), ep.Bias(jnp.asarray([bias])))],
    )


many = ep.Landscape(one_unit(0.5), jnp.zeros((chains, 1)))
variances = {}
for sampler, expected in (
    (ep.Langevin(T, 0.2, max_steps=60), T / (1 - 0.1)),
    (ep.Langevin(T, 0.8, max_steps=60), T / (1 - 0.4)),
    (ep.MetropolisLangevin(T, 0.8, max_steps=60), T),
    (ep.Gibbs(T, max_steps=1), T),
):
    samples = ep.relax(many, sampler, key=jax.random.key(1)).state[0][:, 0]
    found = float(jnp.var(samples))
    # The standard error of a normal distribution's variance.
    error = found * np.sqrt(2 / chains)
    name = f"{type(sampler).__name__}({float(getattr(sampler, 'step_size', 0)):g})"
    variances[name] = found, expected, error
    print(f"{name:24} variance {found:.4f} ± {error:.4f}, expected {expected:.4f}")
    assert abs(found - expected) < 4 * error

# %% [markdown]
# Units with walls are sampled between them. A hard-sigmoid unit driven past its wall
# sits *at* it at $T = 0$, and keeps a margin of random width from it at $T > 0$:

# %%
walled = ep.Network(
    [ep.Layer("output", ep.HardSigmoid(), (1,))],
    [ep.Edge(("output",), ep.Bias(jnp.asarray([1.2])))],
)
walls = ep.Landscape(walled, jnp.zeros((chains, 1)))
grid = np.linspace(0, 1, 1001)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for temperature, style in ((0.3, ":"), (0.03, "--"), (0.003, "-")):
    drawn = ep.relax(walls, ep.Gibbs(temperature), key=jax.random.key(2)).state[0]
    density = np.exp(-0.5 * (grid - 1.2) ** 2 / temperature)
    density = density / np.trapezoid(density, grid)
    mean = np.trapezoid(grid * density, grid)
    error = float(jnp.std(drawn)) / np.sqrt(chains)
    assert abs(float(jnp.mean(drawn)) - mean) < 4 * error
    axis.hist(np.asarray(drawn)[:, 0], 50, (0, 1), density=True, color="0.85")
    axis.plot(grid, density, "k" + style, label=f"T = {temperature}")
axis.set(xlabel="state of the unit", ylabel="probability density", yscale="log")
axis.set(ylim=(1e-2, 200))
axis.legend(frameon=False)

# %% [markdown]
# *Densities of a hard-sigmoid unit with drive 1.2 at three temperatures, and histograms
# of samples in gray. As T falls all of it gathers at the wall at 1.*
#
# ## 2. The contrast of two expectations
#
# What should be minimized now is the *expected* cost, $L(θ) = \mathbb{E}_0[C]$, over
# the free distribution. Theorem 1 has a thermal twin:
#
# $$\frac{d}{dθ}\,\mathbb{E}_0[C] = \lim_{β \to 0} \frac1β
#   \left(\mathbb{E}_β\!\left[\frac{∂F}{∂θ}\right]
#   - \mathbb{E}_0\!\left[\frac{∂F}{∂θ}\right]\right).$$
#
# Our network: two inputs, three *binary* hidden units, two linear outputs. It is small
# enough to sum over all eight hidden states. Given the hidden state $h$ the outputs are
# normal with mean $m_h = V^\top h + c$ and variance $T$, and integrating them out
# leaves
#
# $$p(h) \propto \exp\frac{h^\top(W^\top x + b) + \frac12\|m_h\|^2}{T}, \qquad
# \mathbb{E}_0[C] = \sum_h p(h) \left(\tfrac12\|m_h - y\|^2 + \tfrac12 T \cdot
# 2\right),$$
#
# where $x$ is the input, $y$ the target, $W$ and $V$ are the weights, $b$ and $c$ the
# biases. Ten lines, and `jax.grad` of them is the exact gradient.

# %%
T = 0.5
keys = jax.random.split(jax.random.key(3), 3)
network = ep.nets.mlp(
    [2, 3, 2], key=keys[0], unit=ep.Binary(), init=ep.FanInUniform(1.5)
)
model = ep.Model(network, ep.SquaredError())
x = jax.random.uniform(keys[1], (3, 2))
y = jax.random.uniform(keys[2], (3, 2))
hidden = jnp.asarray(list(itertools.product((0.0, 1.0), repeat=3)))


def expected_cost(model):
    W, b, V, c = jax.tree.leaves(model.energy.edges)
    means = hidden @ V + c
    drive = (x @ W + b) @ hidden.T + 0.5 * jnp.sum(means**2, axis=1)
    chance = jax.nn.softmax(drive / T, axis=1)
    cost = 0.5 * jnp.sum((means[None] - y[:, None]) ** 2, axis=2) + T
    return jnp.mean(jnp.sum(chance * cost, axis=1))


exact = eqx.filter_grad(expected_cost)(model)

# %% [markdown]
# `StochasticEP` lets each phase forget its start (the sampler's `max_steps`) and then
# averages over samples. Independent `chains` give a standard error for every parameter.


# %%
@eqx.filter_jit
def sampled(method, model, x, y, key):
    return method.value_and_grad(model, x, y, key=key)


def flat(tree):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree)])


gibbs = ep.Gibbs(T, max_steps=20)
method = ep.StochasticEP(ep.Centered(0.1), gibbs, samples=400, chains=64)
outcome, gradient = sampled(method, model, x, y, jax.random.key(4))
found, error, truth = flat(gradient), flat(outcome.stderr), flat(exact)
scores = (found - truth) / error
print(f"expected cost {float(expected_cost(model)):.4f}, sampled {outcome.cost:.4f}")
print("distance in standard errors", np.round(scores, 1))
# Seventeen draws: the largest of as many normal ones is below 4 but once in 900 times.
assert np.max(np.abs(scores)) < 4
assert np.linalg.norm(truth) > 5 * np.linalg.norm(error)

# %%
figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
axis.errorbar(truth, found, 2 * error, fmt="ko", ms=4, capsize=3, lw=1)
axis.axline((0, 0), slope=1, color="0.6", lw=1, zorder=0)
axis.set(
    xlabel="gradient by summing all states", ylabel="sampled (± 2 standard errors)"
)

# %% [markdown]
# *Every parameter's sampled gradient against the exact one, with bars of two standard
# errors, along the diagonal.*
#
# No activation was differentiated: a binary unit's has no derivative. It is the shift
# of the *probabilities* by the nudge that carries the error to the hidden units.
#
# ## 3. Bias, variance, and a best β
#
# The error has two parts. The bias grows with β, as in [deterministic
# networks](gradient_checking.md). The standard error falls as one over the square root
# of the number of samples, and *rises* as β falls, since a difference of two averages
# is divided by it. The phases share their random numbers, so that much of the noise
# cancels, but not all: whether a binary unit flips depends on β in jumps.


# %%
def errors_at(beta, samples, seed):
    """Norms of the distance to the truth and of the standard error."""
    method = ep.StochasticEP(ep.OneSided(beta), gibbs, samples=samples, chains=16)
    outcome, gradient = sampled(method, model, x, y, jax.random.key(seed))
    return np.linalg.norm(flat(gradient) - truth), np.linalg.norm(flat(outcome.stderr))


counts = (25, 100, 400)
spreads = [errors_at(0.3, n, seed=5)[1] for n in counts]
rate = np.polyfit(np.log(counts), np.log(spreads), 1)[0]
print(f"standard error against the number of samples: slope {rate:.2f}")
# A standard error from 16 chains is itself known to a fifth or so.
assert abs(rate + 0.5) < 0.15

# %%
betas = np.asarray([0.03, 0.1, 0.3, 1.0, 3.0])
runs = np.asarray([errors_at(b, 100, seed=6) for b in betas])


@eqx.filter_jit
def biased(model, beta):
    """The expectation that the one-sided contrast estimates: (A_β − A_0)/β."""

    def free_energy(beta):
        W, b, V, c = jax.tree.leaves(model.energy.edges)
        means = hidden @ V + c
        # The outputs integrated out of F = E + βC.
        pulled = (means + beta * y[:, None]) ** 2 / (1 + beta)
        fixed = beta * jnp.sum(y**2, axis=1)[:, None]
        drive = (x @ W + b) @ hidden.T + 0.5 * (jnp.sum(pulled, axis=2) - fixed)
        return -T * jax.nn.logsumexp(drive / T, axis=1)

    return jnp.mean(free_energy(beta) - free_energy(0.0)) / beta


bias = np.asarray(
    [np.linalg.norm(flat(eqx.filter_grad(biased)(model, b)) - truth) for b in betas]
)
size = np.linalg.norm(truth)
for b, (distance, spread), offset in zip(betas, runs, bias, strict=True):
    print(
        f"β = {b:<4}  bias {offset / size:5.2f}   standard error {spread / size:5.2f}"
        f"   error {distance / size:5.2f}"
    )
assert np.all(np.diff(bias) > 0)
assert np.all(np.diff(runs[:, 1]) < 0)

# %%
figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
axis.loglog(betas, bias / size, "k^--", label="bias, exact")
axis.loglog(betas, runs[:, 1] / size, "ks:", label="standard error")
axis.loglog(betas, runs[:, 0] / size, "ko-", label="distance to the gradient")
axis.set(xlabel="β", ylabel="relative to the gradient's norm")
axis.legend(frameon=False)

# %% [markdown]
# *Bias rises with β and the standard error falls; the total error is least where they
# meet.*
#
# With noise a β near 1 can be the right one, where without it one would take a tenth.
# More samples move the best β to the left.
#
# ## 4. T → 0
#
# As the temperature falls the distribution shrinks to the energy's minimum, and the
# thermal gradient becomes that of two points. We compare with `EquilibriumProp` on a
# network of hard-sigmoid units (those have a limit that can be differentiated).

# %%
soft = ep.Model(
    ep.nets.mlp([2, 6, 2], key=keys[0], init=ep.FanInUniform(1.0)), ep.SquaredError()
)
nudging = ep.Centered(0.2)
solver = ep.BlockCoordinate(max_steps=200)
_, limit = sampled(ep.EquilibriumProp(nudging, solver), soft, x, y, jax.random.key(0))
temperatures = np.asarray([1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
distances, noise = [], []
for temperature in temperatures:
    cold = ep.StochasticEP(
        nudging, ep.Gibbs(temperature, max_steps=30), samples=200, chains=16
    )
    outcome, gradient = sampled(cold, soft, x, y, jax.random.key(7))
    size = np.linalg.norm(flat(limit))
    distances.append(np.linalg.norm(flat(gradient) - flat(limit)) / size)
    noise.append(np.linalg.norm(flat(outcome.stderr)) / size)
for row in zip(temperatures, distances, noise, strict=True):
    print("T = {:.0e}   distance {:.1e}   standard error {:.1e}".format(*row))
assert np.all(np.diff(distances) < 0)
assert distances[-1] < 0.02

# %%
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.loglog(temperatures, distances, "ko-", label="distance to the limit")
axis.loglog(temperatures, noise, "ks:", label="standard error")
axis.set(xlabel="temperature T", ylabel="relative to the limit's norm")
axis.legend(frameon=False)

# %% [markdown]
# *The thermal gradient's distance to the deterministic one shrinks with the
# temperature, and so does its standard error.*
#
# Units well inside their interval are shifted by nothing, those near a wall by about
# the width of the distribution, $\sqrt T$: walls are what the slope is made of.
#
# ## 5. Learning with binary units
#
# Sixty-four binary hidden units read digits. Training samples; for predictions `solver`
# is used, the limit $T \to 0$. Few samples suffice: the noise of one batch averages out
# over the next.

# %%
data = ep.data.digits()
binary = ep.Model(
    ep.nets.mlp([64, 64, 10], key=jax.random.key(8), unit=ep.Binary()),
    ep.SquaredError(),
)
thermal = ep.StochasticEP(ep.Centered(0.5), ep.Gibbs(0.2, max_steps=5), samples=10)
start = ep.evaluate(binary, data.test, thermal.solver)["error"]
run = ep.fit(binary, data, thermal, ep.Adam(5e-3), epochs=8, seed=0)
score = ep.evaluate(run.model, data.test, thermal.solver)
print(f"test error {start:.0f} % before, {score['error']:.1f} % after 8 epochs")
assert score["error"] < 15
