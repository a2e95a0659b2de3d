# %% [markdown]
# # Networks with an equilibrium inside
#
# An energy can be one layer of a larger network: a convolution before it, a readout
# after it, a loss on whatever you like. `jax.grad` then runs backpropagation through
# everything else and Equilibrium Propagation inside the energy, and the two meet at its
# border. This page shows what exactly is handed over there, trains a convolutional
# network with an equilibrium in it, reads hidden states, and turns the whole thing
# around to ask which pixels matter.
#
# You need Equinox modules and the two phases, as in [the paper in one
# hour](paper_in_one_hour.md). A chain of two energies is in
# `examples/hybrid_network.py` of the repository; the idea is that of Nest & Ernoult
# 2024 ([arXiv:2409.03306](https://arxiv.org/abs/2409.03306)).

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import eqprop as ep


# %% [markdown]
# ## 1. What is handed over
#
# The layer is $s^0(θ, x) = \arg\min_s E(θ, x, s)$: an input $x$ goes in, a settled
# state comes out. Say a loss $\ell$ is computed from it further on. Backpropagation
# arrives with the cotangent $g = ∂\ell/∂s^0$, and wants two things in return:
# $∂\ell/∂θ$ for the parameters and $∂\ell/∂x$ for the layers before. Both are contrasts
# of two phases that are nudged by $\pm β\,g^\top s$ instead of a cost:
#
# $$\frac{∂\ell}{∂θ} = \lim_{β \to 0} \frac{1}{2β}
#   \left[\frac{∂E}{∂θ}(s^β) - \frac{∂E}{∂θ}(s^{-β})\right], \qquad
#   \frac{∂\ell}{∂x} = \lim_{β \to 0} \frac{1}{2β}
#   \left[\frac{∂E}{∂x}(s^β) - \frac{∂E}{∂x}(s^{-β})\right].$$
#
# For a quadratic energy this is exact at any β, since $g^\top s$ has no curvature, and
# can be followed by hand. One layer of linear units that couple to each other by a
# symmetric matrix $A$ and to the input by $B$:
#
# $$E = \frac12 s^\top s - \frac12 s^\top A s - x^\top B s \quad\Rightarrow\quad
#   s^0 = (I - A)^{-1} B^\top x.$$
#
# With $λ = (I - A)^{-1} g$, which is also how far the nudge moves the state for each
# unit of $β$, the chain rule gives $∂\ell/∂x = Bλ$ and $∂\ell/∂B = x λ^\top$.

# %%
keys = jax.random.split(jax.random.key(0), 4)
A = 0.3 * jax.random.normal(keys[0], (4, 4))
A = (A + A.T) / 2 * (1 - jnp.eye(4))
B = jax.random.normal(keys[1], (3, 4))


def quadratic(params, s, x):
    return 0.5 * s @ s - 0.5 * s @ A @ s - x @ params @ s


layer = ep.FunctionEnergy(quadratic, B, init=lambda x: jnp.zeros(4), output=lambda s: s)
settling = ep.AdaptiveEuler(stop=ep.Tolerance(1e-6))
strong = ep.EquilibriumProp(ep.Centered(beta=0.5), settling)
x, g = jax.random.normal(keys[2], (1, 3)), jax.random.normal(keys[3], (1, 4))


@eqx.filter_jit
@eqx.filter_grad
def handed_back(parts, method):
    layer, x = parts
    return jnp.sum(g * method.equilibrium(layer, x).state)


for_layer, for_x = handed_back((layer, x), strong)
lam = np.linalg.solve(np.eye(4) - np.asarray(A), np.asarray(g[0]))
print("∂ℓ/∂x by the contrast", np.asarray(for_x[0]), " by hand", np.asarray(B) @ lam)
np.testing.assert_allclose(for_x[0], np.asarray(B) @ lam, atol=1e-4)
np.testing.assert_allclose(for_layer.params, np.outer(np.asarray(x[0]), lam), atol=1e-4)

# %% [markdown]
# A detail that matters in float32: late in training cotangents are tiny, and a nudge by
# `1e-6` would drown in the states' round-off. So each example's cotangent is scaled to
# size 1 before the nudge and the result scaled back. A loss that is a million times
# smaller has a gradient that is a million times smaller, to all its digits.


# %%
@eqx.filter_jit
@eqx.filter_grad
def scaled(x, method, factor):
    return factor * jnp.sum(g * method.equilibrium(layer, x).state)


whole, tiny = scaled(x, strong, 1.0), scaled(x, strong, 1e-6)
ratio = np.asarray(tiny / whole)
print("ratio of the gradients", ratio[0])
np.testing.assert_allclose(ratio, 1e-6, rtol=1e-5)

# %% [markdown]
# ## 2. A convolution, an equilibrium, a readout
#
# Eight 3×3 filters look at the digit, their rectified responses are pooled over 2×2
# patches (128 numbers) and clamped as the input of an energy with two hidden layers,
# both of which a linear readout reads. `state` is all of the settled state, so anything
# may be read, not just the last layer.


# %%
class Hybrid(eqx.Module):
    """Convolution → equilibrium of two layers → readout of both."""

    filters: eqx.nn.Conv2d
    block: ep.AbstractEnergy
    readout: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.filters = eqx.nn.Conv2d(1, 8, 3, padding=1, key=keys[0])
        unit = ep.Sigmoid(slope=1, center=0.5)
        self.block = ep.nets.mlp(
            [128, 48, 24], key=keys[1], unit=unit, output_unit=unit
        )
        self.readout = eqx.nn.Linear(72, 10, key=keys[2])

    def features(self, image):
        response = jax.nn.relu(self.filters(image.reshape(1, 8, 8)))
        return response.reshape(8, 4, 2, 4, 2).mean(axis=(2, 4)).ravel()

    def __call__(self, x, method):
        """The logits of a batch, and the settled states."""
        state = method.equilibrium(self.block, jax.vmap(self.features)(x)).state
        return jax.vmap(self.readout)(jnp.concatenate(state, axis=1)), state


def loss(net, x, y, method):
    return jnp.mean(optax.softmax_cross_entropy(net(x, method)[0], y))


data = ep.data.digits()
net = Hybrid(jax.random.key(1))
method = ep.EquilibriumProp(ep.Centered(beta=0.1), ep.BlockCoordinate(max_steps=25))

# %% [markdown]
# `method` is an argument and decides how the block is differentiated; the network
# doesn't know. So the exact gradient is the same line with another method. Three of
# them here: the solution of a linear system, and backpropagation through all 25 sweeps.

# %%
gradient = eqx.filter_jit(eqx.filter_grad(loss))
x, y = data.train.x[:32], data.train.y[:32]
ways = {
    "Equilibrium Propagation": method,
    "implicit differentiation": ep.ImplicitDifferentiation(method.solver),
    "through time": ep.BackpropThroughTime(method.solver),
}
grads = {name: gradient(net, x, y, way) for name, way in ways.items()}


def flat(tree):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree)])


def cosine(a, b):
    a, b = flat(a), flat(b)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


exact = grads["implicit differentiation"]
cosines = {}
for part in ("filters", "block", "readout"):
    for name in ("Equilibrium Propagation", "through time"):
        cosines[part, name] = cosine(getattr(grads[name], part), getattr(exact, part))
        print(f"{part:8} {name:24} cosine {cosines[part, name]:.5f}")
assert min(cosines.values()) > 0.99

# %% [markdown]
# The filters' gradient went *through* the block: it is made of what the block's second
# phase handed back to its input. The readout's owes nothing to the block's gradient and
# is the same in all of them.
#
# ## 3. Training it
#
# An ordinary loop. The one thing to keep in mind: `method` goes in as an argument of
# the compiled function, so that another β doesn't compile again.

# %%
optimizer = optax.adam(1e-2)


@eqx.filter_jit
def epoch(net, memory, method, x, y):
    params, rest = eqx.partition(net, eqx.is_inexact_array)

    def step(carry, batch):
        params, memory = carry
        value, grads = eqx.filter_value_and_grad(loss)(
            eqx.combine(params, rest), *batch, method
        )
        updates, memory = optimizer.update(grads, memory, params)
        return (eqx.apply_updates(params, updates), memory), value

    (params, memory), values = jax.lax.scan(step, (params, memory), (x, y))
    return eqx.combine(params, rest), memory, jnp.mean(values)


@eqx.filter_jit
def test_error(net, method):
    guess = jnp.argmax(net(data.test.x, method)[0], axis=1)
    return 100 * jnp.mean(guess != data.test.labels)


def train(net, way, epochs=10):
    memory = optimizer.init(eqx.filter(net, eqx.is_inexact_array))
    course = []
    for k in range(epochs):
        order = jax.random.permutation(jax.random.key(k), len(data.train))
        order = order[: 40 * 32].reshape(40, 32)
        batches = data.train.x[order], data.train.y[order]
        net, memory, value = epoch(net, memory, way, *batches)
        course.append(float(value))
    return net, course, float(test_error(net, method))


results = {
    name: train(net, ways[name])
    for name in ("Equilibrium Propagation", "implicit differentiation")
}
for name, (_, course, error) in results.items():
    print(f"{name:24} loss {course[-1]:.3f}, test error {error:.2f} %")
trained = results["Equilibrium Propagation"][0]
assert all(error < 8 for _, _, error in results.values())
pair = [
    gradient(trained, x, y, ways[name]).block
    for name in ("Equilibrium Propagation", "implicit differentiation")
]
at_the_end = cosine(*pair)
print(f"the block's cosine after training {at_the_end:.4f}")
assert at_the_end > 0.99

# %%
figure, axis = plt.subplots(figsize=(5.5, 3), layout="constrained")
for (name, (_, course, _)), style in zip(results.items(), ("ko-", "ks--"), strict=True):
    axis.semilogy(course, style, mfc="none", label=name)
axis.set(xlabel="epoch", ylabel="training loss")
axis.legend(frameon=False)

# %% [markdown]
# *Training loss of the same network from the same weights, its block differentiated by
# Equilibrium Propagation and exactly. The courses part late: small differences grow
# from step to step in any training.*
#
# That they part is no sign of a wrong gradient: at the end its cosine is still above
# 0.99.
#
# ## 4. A loss on hidden states
#
# Since the whole state is differentiable, so is any wish about it. Ask the first hidden
# layer to be quiet: add $μ$ times its mean activity to the loss. Nothing in the energy
# needs to know; the wish arrives at the block as part of the cotangent $g$.


# %%
def quiet_loss(net, x, y, method, price):
    logits, state = net(x, method)
    fit = jnp.mean(optax.softmax_cross_entropy(logits, y))
    return fit + price * jnp.mean(state[0])


@eqx.filter_jit
def quieter(net, memory, method, x, y, price):
    grads = eqx.filter_grad(quiet_loss)(net, x, y, method, price)
    updates, memory = optimizer.update(grads, memory)
    return eqx.apply_updates(net, updates), memory


@eqx.filter_jit
def activity(net, method):
    return jnp.mean(net(data.test.x, method)[1][0])


quiet = trained
memory = optimizer.init(eqx.filter(quiet, eqx.is_inexact_array))
for k in range(80):
    few = jax.random.choice(jax.random.key(k), len(data.train), (64,), replace=False)
    batch = data.train.x[few], data.train.y[few]
    quiet, memory = quieter(quiet, memory, method, *batch, jnp.asarray(2.0))
before, after = float(activity(trained, method)), float(activity(quiet, method))
errors = float(test_error(trained, method)), float(test_error(quiet, method))
print(f"mean activity {before:.3f} → {after:.3f}")
print(f"test error {errors[0]:.2f} % → {errors[1]:.2f} %")
assert after < before / 2

# %% [markdown]
# ## 5. Which pixels matter
#
# The gradient in the *input* of the whole network: how each pixel would change the
# logit of the digit's class. It passes the block by its second phase, the convolution
# by backpropagation. We check one digit's against finite differences of the network,
# which settle it again for every pixel that is moved.


# %%
@eqx.filter_jit
def logits_of(x):
    return trained(x, method)[0]


def class_logit(x, k):
    return jnp.sum(trained(x, method)[0][:, k])


sensitivity = eqx.filter_jit(eqx.filter_grad(class_logit))
shown = [int(jnp.argmax(data.test.labels == k)) for k in (0, 3, 7)]
digits = data.test.x[jnp.asarray(shown)]
maps = [
    np.asarray(sensitivity(digit[None], k)[0])
    for digit, k in zip(digits, (0, 3, 7), strict=True)
]
h = 0.02
moved = digits[1] + h * jnp.concatenate([jnp.eye(64), -jnp.eye(64)])
up, down = np.split(np.asarray(logits_of(moved))[:, 3], 2)
differences = (up - down) / (2 * h)
agreement = float(np.corrcoef(maps[1], differences)[0, 1])
print(f"correlation with finite differences over 64 pixels {agreement:.4f}")
assert agreement > 0.98

# %%
figure, axes = plt.subplots(2, 3, figsize=(6, 4), layout="constrained")
for k, (digit, field) in enumerate(zip(digits, maps, strict=True)):
    axes[0, k].imshow(digit.reshape(8, 8), cmap="gray_r")
    most = np.abs(field).max()
    axes[1, k].imshow(field.reshape(8, 8), cmap="gray", vmin=-most, vmax=most)
    for axis in axes[:, k]:
        axis.set(xticks=(), yticks=())
axes[0, 0].set_ylabel("digit")
axes[1, 0].set_ylabel("∂logit/∂pixel")

# %% [markdown]
# *Three digits, and how each pixel would change the logit of the right class: white
# where more ink would help, black where it would hurt, gray where it makes no
# difference.*
#
# ## 6. Three things that it refuses
#
# **An equilibrium that isn't one.** A solver with a tolerance promises to reach it. If
# it can't, the layer raises instead of handing on a wrong number (`throw=False` lets
# it).

# %%
hasty = ep.EquilibriumProp(
    ep.Centered(0.1), ep.BlockCoordinate(max_steps=1, stop=ep.Tolerance(1e-6))
)
try:
    hasty.equilibrium(net.block, jnp.ones((1, 128)))
except ep.RelaxationError as error:
    hurried = str(error)
print(hurried)
assert "did not reach equilibrium" in hurried

# %% [markdown]
# **A second derivative.** The gradient is a contrast of two states; its own derivative
# is not that of the gradient, and would be wrong without a word. So it is an error.


# %%
@eqx.filter_jit
@eqx.filter_grad
def slope_of_the_slope(x):
    return jnp.sum(scaled(x, strong, 1.0) ** 2)


try:
    slope_of_the_slope(jnp.ones((1, 3)))
except ValueError as error:
    twice = str(error)
print(twice)
assert "once, not twice" in twice

# %% [markdown]
# **A method that estimates something else.** `Clamped` holds outputs at targets, and
# there are none inside a network.

# %%
hebbian = ep.EquilibriumProp(ep.Clamped(), ep.BlockCoordinate())
try:
    gradient(net, x, y, hebbian)
except ValueError as error:
    objection = str(error)
print(objection)

# %% [markdown]
# ## Exercises
#
# **1.** How much does the block's gradient depend on β here? Compare with section 1,
# where it didn't at all.
#
# *Answer.* The nudge $g^\top s$ is still linear, but these units are curved: they
# saturate as they are pushed. The centered contrast is off by $O(β^2)$, and past
# $β = 1$, where the nudge is as strong as the drives, it loses the gradient's
# direction.

# %%
sweep = {
    beta: cosine(
        gradient(net, x, y, ep.EquilibriumProp(ep.Centered(beta), method.solver)).block,
        exact.block,
    )
    for beta in (0.01, 0.1, 1.0, 10.0)
}
print({beta: round(value, 4) for beta, value in sweep.items()})
assert sweep[0.01] > 0.999
assert sweep[10.0] < sweep[0.1]

# %% [markdown]
# **2.** Freeze the filters at their random start. Which line changes, and does the
# block need its $∂\ell/∂x$ then?
#
# *Answer.* Put `jax.lax.stop_gradient` around the features, and nothing asks for the
# input's cotangent. The block's own gradient is the same to the last bit, and that of
# the filters zero.


# %%
def frozen_loss(net, x, y, method):
    features = jax.lax.stop_gradient(jax.vmap(net.features)(x))
    state = method.equilibrium(net.block, features).state
    logits = jax.vmap(net.readout)(jnp.concatenate(state, axis=1))
    return jnp.mean(optax.softmax_cross_entropy(logits, y))


frozen = eqx.filter_jit(eqx.filter_grad(frozen_loss))(net, x, y, method)
free = grads["Equilibrium Propagation"]
print("largest gradient of the filters", np.max(np.abs(flat(frozen.filters))))
assert not np.any(flat(frozen.filters))
np.testing.assert_allclose(flat(frozen.block), flat(free.block), rtol=1e-4, atol=1e-7)

# %% [markdown]
# ## Where to go on
#
# [An energy of your own](your_own_energy.md) as the block;
# [checking its gradient](gradient_checking.md) in all detail.
