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
    axis.hist(np.asarray(drawn)[:, 0], 50, range=(0, 1), density=True, color="0.85")
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
# enough to sum over all eight hidden states. Given the hidden state $h$, the energy
# with its outputs integrated out is $-h^\top(W^\top x + b) - \frac12\|m_h\|^2$, where
# $m_h = V^\top h + c$ is the mean of the outputs, $x$ the input, $W$ and $V$ the
# weights, $b$ and $c$ the biases. Nudged toward the target $y$, the same steps give
#
# $$F_β(h) = -h^\top(W^\top x + b)
#   - \frac{\|m_h + βy\|^2}{2(1 + β)} + \frac{β\|y\|^2}{2} + \text{const}, \qquad
#   A_β = -T \ln \sum_h e^{-F_β(h)/T}.$$
#
# $A_β$ is the *free energy*, and all that we want to know is in it. Its slope in β is
# the expected cost, $∂A_β/∂β = \mathbb{E}_β[C]$ (the constant holds $T \ln(1 + β)$ for
# our two outputs), and its derivative in a parameter is $\mathbb{E}_β[∂F/∂θ]$. So at
# *any* β the centered contrast is the gradient of $(A_β - A_{-β})/2β$, exactly, and as
# $β \to 0$ that becomes the gradient of $\mathbb{E}_0[C]$: the theorem, proved. In
# code, `jax.grad` of ten lines is the exact gradient.

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


def free_energy(model, beta):
    """A_β of each example, by summing over all hidden states."""
    W, b, V, c = jax.tree.leaves(model.energy.edges)
    pulled = (hidden @ V + c + beta * y[:, None]) ** 2 / (1 + beta)
    fixed = beta * jnp.sum(y**2, axis=1)[:, None]
    minus = (x @ W + b) @ hidden.T + 0.5 * (jnp.sum(pulled, axis=2) - fixed)
    return T * jnp.log(1 + beta) - T * jax.nn.logsumexp(minus / T, axis=1)


@eqx.filter_jit
def expected_cost(model):
    return jnp.mean(jax.jvp(lambda b: free_energy(model, b), (0.0,), (1.0,))[1])


@eqx.filter_jit
def centered(model, beta):
    return jnp.mean(free_energy(model, beta) - free_energy(model, -beta)) / (2 * beta)


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


def thermal_at(beta):
    return ep.StochasticEP(ep.Centered(beta), gibbs, samples=200, chains=32)


outcome, gradient = sampled(thermal_at(0.1), model, x, y, jax.random.key(4))
found, error, truth = flat(gradient), flat(outcome.stderr), flat(exact)
at_beta = flat(eqx.filter_grad(centered)(model, 0.1))
scores = (found - at_beta) / error
print(f"expected cost {float(expected_cost(model)):.4f}, sampled {outcome.cost:.4f}")
print("standard errors from the exact contrast:", *np.round(scores, 1))
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
# The error has two parts. The bias grows with β, here with its square, as in
# [deterministic networks](gradient_checking.md). The standard error falls with the
# number of samples, and *rises* as β falls, since a difference of two averages is
# divided by it. The phases share their random numbers, so that most of the noise
# cancels; what is left are the flips of a binary unit that the nudge makes, whose
# number is in proportion to β.


# %%
def errors_at(beta):
    """Norms of the distance to the truth and of the standard error."""
    outcome, gradient = sampled(thermal_at(beta), model, x, y, jax.random.key(6))
    return np.linalg.norm(flat(gradient) - truth), np.linalg.norm(flat(outcome.stderr))


betas = np.asarray([0.01, 0.03, 0.1, 0.3, 0.6, 0.9])
size = np.linalg.norm(truth)
distance, spread = np.asarray([errors_at(b) for b in betas]).T / size
bias = [flat(eqx.filter_grad(centered)(model, b)) - truth for b in betas]
bias = np.linalg.norm(bias, axis=1) / size
total = np.hypot(bias, spread)
for row in zip(betas, bias, spread, distance, strict=True):
    print(
        "β = {:.2f}   bias {:.3f}   standard error {:.3f}   error {:.3f}".format(*row)
    )
best = int(np.argmin(total))
print(f"least at β = {betas[best]}")
assert np.all(np.diff(bias) > 0)
assert np.all(np.diff(spread[:4]) < 0)
assert 0 < best < len(betas) - 1

# %%
figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
axis.loglog(betas, bias, "k^--", label="bias, exact")
axis.loglog(betas, spread, "ks:", label="standard error, 6,400 samples")
axis.loglog(betas, distance, "ko-", label="distance to the gradient")
axis.set(xlabel="β", ylabel="relative to the gradient's norm")
axis.legend(frameon=False)

# %% [markdown]
# *Bias rises with the square of β and the standard error falls; the total error is
# least about where they meet.*
#
# So noise asks for a larger β than round-off does, and more samples allow a smaller
# one.
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
        nudging, ep.Gibbs(temperature, max_steps=30), samples=100, chains=16
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
# Without walls it would be the limit's at once: of a quadratic energy the mean is the
# minimum at any temperature. What the temperature softens are the walls, as in the
# first figure, over a distance of about $\sqrt T$.
#
# ## 5. Learning with binary units
#
# Sixty-four binary hidden units read digits. Training samples; predictions are made by
# `solver`, in the limit $T \to 0$. Ten samples for each phase suffice: the noise of one
# batch averages out over the next.

# %%
data = ep.data.digits()
binary = ep.Model(
    ep.nets.mlp([64, 64, 10], key=jax.random.key(8), unit=ep.Binary()),
    ep.SquaredError(),
)
thermal = ep.StochasticEP(
    ep.Centered(0.5), ep.Gibbs(0.2, max_steps=5), ep.BlockCoordinate(1.0), samples=10
)
run = ep.fit(binary, data.train, thermal, ep.Adam(5e-3), epochs=8, seed=0)
score = ep.evaluate(run.model, data.test, thermal.solver)
print(f"test error {score['error']:.1f} %")
assert score["error"] < 15

# %%
figure, axis = plt.subplots(figsize=(5, 2.8), layout="constrained")
axis.plot([row["train_error"] for row in run.metrics], "ko-")
axis.set(xlabel="epoch", ylabel="training error (%)", ylim=(0, None))

# %% [markdown]
# *Training error of single samples, epoch by epoch.*
#
# It is much larger than the test error: at $T = 0.2$ each output fluctuates by
# $\sqrt T$, about 0.45, so that one sample often has its largest output elsewhere. The
# network learns from such samples, and is read at $T \to 0$, or by an average of many.
#
# ## Exercises
#
# **1.** In a deterministic network more nudge means less cost. Show that here
# $\frac{d}{dβ} \mathbb{E}_β[C] = -\text{Var}_β(C)/T$, and check it.
#
# *Answer.* With $\mathbb{E}_β[C] = ∂A_β/∂β$ it is the second derivative of $A_β$. The
# first is $\sum C e^{-F/T} / \sum e^{-F/T}$; differentiate again, and each $∂F/∂β = C$
# brings down $-C/T$, once above and once below. The difference of the two terms is
# $-(\mathbb{E}[C^2] - \mathbb{E}[C]^2)/T$. Below, the second derivative of our $A_β$ at
# 0 beside the variance over samples, for one example.

# %%
bend = jax.jit(jax.grad(jax.grad(lambda b: free_energy(model, b)[0])))(0.0)
repeated = ep.Landscape(model, jnp.repeat(x[:1], 5000, axis=0))
state = ep.relax(repeated, gibbs, key=jax.random.key(9)).state
costs = repeated.cost(state, jnp.repeat(y[:1], 5000, axis=0))
slope = -float(jnp.var(costs)) / T
# The variance's own standard error, from the fourth moment.
fourth = jnp.mean((costs - jnp.mean(costs)) ** 4)
doubt = float(jnp.sqrt((fourth - jnp.var(costs) ** 2) / 5000)) / T
print(
    f"slope of the expected cost {float(bend):.3f}, sampled {slope:.3f} ± {doubt:.3f}"
)
assert abs(slope - bend) < 4 * doubt

# %% [markdown]
# **2.** Why not simply take the deterministic gradient of binary units, at $T = 0$?
#
# *Answer.* There is none. A binary unit at $T = 0$ is on or off, and a small nudge
# leaves it as it is: nothing gets past the hidden layer, and its weights from the input
# never learn. In numbers:

# %%
deterministic = ep.EquilibriumProp(ep.Centered(0.01), ep.BlockCoordinate())
_, stuck = sampled(deterministic, model, x, y, jax.random.key(0))
first_weights = stuck.energy.edges[0].interaction.weight
print("gradient of the first weights:", np.asarray(first_weights).ravel())
assert not np.any(first_weights)

# %% [markdown]
# ## Where to go on
#
# [Contrastive divergence beside settled phases](../claims.md), on a machine of 32
# states; [all methods compared](../methods.md).
