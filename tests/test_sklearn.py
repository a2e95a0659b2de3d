"""The estimators do what the library does, on data as scikit-learn gives it."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score, GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import eqprop as ep
from helpers_training import bits, relative_distance


pytestmark = pytest.mark.filterwarnings(
    "ignore:Training ended after:sklearn.exceptions.ConvergenceWarning"
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
NAMES = np.array(["ant", "bee", "cow"])
Y = NAMES[np.digitize(X[:, 0] + 0.3 * RNG.normal(size=40), [-0.5, 0.5])]
TARGETS = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)


def classifier(**params) -> ep.EquilibriumPropagationClassifier:
    defaults = {"hidden_layer_sizes": (8,), "random_state": 0, "max_epochs": 4}
    return ep.EquilibriumPropagationClassifier(**(defaults | params))


def regressor(**params) -> ep.EquilibriumPropagationRegressor:
    defaults = {"hidden_layer_sizes": (8,), "random_state": 0, "max_epochs": 4}
    return ep.EquilibriumPropagationRegressor(**(defaults | params))


def adam_by_hand(model: ep.Model, x, y, weight, steps: int, rate: float) -> ep.Model:
    """Full-batch Adam in float64 on the data as they are: no padding, no merging."""
    solver = ep.BlockCoordinate(max_steps=300, stop=ep.Tolerance(1e-13))
    gradient = eqx.filter_jit(
        ep.EquilibriumProp(ep.Centered(0.2), solver).value_and_grad
    )
    params, static = eqx.partition(model, eqx.is_inexact_array)
    m = v = jax.tree.map(jnp.zeros_like, params)
    for t in range(1, steps + 1):
        _, g = gradient(eqx.combine(params, static), x, y, weight=jnp.asarray(weight))
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        params = jax.tree.map(
            lambda p, m, v, t=t: (
                p - rate * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
            ),
            params,
            m,
            v,
        )
    return eqx.combine(params, static)


TIGHT = ep.BlockCoordinate(max_steps=300, stop=ep.Tolerance(1e-13))


def test_training_is_adam_on_the_weighted_mean_cost():
    weight = RNG.random(40) * (RNG.random(40) < 0.8)
    by_class = {"ant": 1.0, "bee": 3.0, "cow": 0.25}
    options = {"solver": TIGHT, "class_weight": by_class}
    start = classifier(**options, learning_rate=0.0).fit(X, Y, weight).model_
    got = classifier(**options, learning_rate=0.01).fit(X, Y, weight)
    whole = weight * np.array([by_class[name] for name in Y])
    y = jnp.asarray((Y[:, None] == NAMES).astype(float))
    wanted = adam_by_hand(start, jnp.asarray(X), y, whole, 4, 0.01)
    # Steps of 0.01 from contrasts of states settled to 1e-13.
    assert relative_distance(got.model_, wanted) < 1e-8
    assert relative_distance(got.model_, start) > 1e-3


def test_a_weight_of_2_is_an_example_given_twice_to_the_last_bit():
    weight = RNG.integers(0, 4, size=40)
    rows = RNG.permutation(np.repeat(np.arange(40), weight))
    one = classifier().fit(X, Y, weight)
    two = classifier().fit(X[rows], Y[rows])
    assert bits(one.model_) == bits(two.model_)


def test_a_regressor_learns_all_its_targets():
    start = regressor(solver=TIGHT, learning_rate=0.0).fit(X, TARGETS).model_
    got = regressor(solver=TIGHT, learning_rate=0.01).fit(X, TARGETS)
    wanted = adam_by_hand(
        start, jnp.asarray(X), jnp.asarray(TARGETS), np.ones(40), 4, 0.01
    )
    assert relative_distance(got.model_, wanted) < 1e-8
    assert got.predict(X).shape == TARGETS.shape


def settled(model: ep.Model, x) -> np.ndarray:
    free = ep.relax(ep.Landscape(model, jnp.asarray(x)), TIGHT)
    return np.asarray(free.state[-1])


def test_predictions_are_read_off_the_equilibrium():
    clf = classifier(cost=ep.CrossEntropy(), max_epochs=30, solver=TIGHT).fit(X, Y)
    output = settled(clf.model_, X)
    exps = np.exp(output)
    wanted = exps / exps.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.decision_function(X), output, atol=1e-10)
    np.testing.assert_allclose(clf.predict_proba(X), wanted, atol=1e-10)
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(wanted), atol=1e-10)
    assert clf.predict(X).tolist() == NAMES[output.argmax(axis=1)].tolist()
    reg = regressor(solver=TIGHT).fit(X, TARGETS)
    np.testing.assert_allclose(reg.predict(X), settled(reg.model_, X), atol=1e-10)


def test_of_two_classes_the_second_is_positive():
    two = Y == "bee"
    clf = classifier(max_epochs=30).fit(X, two)
    scores = clf.decision_function(X)
    assert scores.shape == (40,)
    assert ((scores > 0) == clf.predict(X)).all()


def test_only_the_cross_entropy_gives_probabilities():
    with pytest.raises(AttributeError, match="predict_proba"):
        _ = classifier().predict_proba
    assert not hasattr(classifier(cost=ep.SquaredError()), "predict_log_proba")
    assert hasattr(classifier(cost=ep.CrossEntropy()), "predict_proba")


def test_one_seed_one_result():
    options = {"batch_size": 16, "nudging": ep.RandomSign(0.3)}
    one, two = (classifier(**options).fit(X, Y) for _ in range(2))
    assert bits(one.model_) == bits(two.model_)
    assert one.loss_curve_ == two.loss_curve_
    other = classifier(**options, random_state=1).fit(X, Y)
    assert bits(one.model_) != bits(other.model_)


def held_out(estimator, y, strata=None):
    return train_test_split(
        X,
        y,
        test_size=estimator.validation_fraction,
        random_state=estimator._seed,
        stratify=strata,
    )


EARLY = {
    "early_stopping": True,
    "validation_fraction": 0.3,
    "max_epochs": 60,
    "patience": 5,
    "learning_rate": 0.05,
}


def test_early_stopping_restores_the_best_of_the_part_held_out():
    clf = classifier(**EARLY).fit(X, Y)
    _, x, _, y = held_out(clf, Y, Y)
    scores = clf.validation_scores_
    assert clf.best_validation_score_ == max(scores) == pytest.approx(clf.score(x, y))
    assert len(scores) == clf.n_iter_ < 60
    assert max(scores[-5:]) <= max(scores[:-5])
    assert scores[-1] < max(scores)


def test_the_score_held_out_of_a_regressor_is_its_r2():
    reg = regressor(**EARLY).fit(X, TARGETS)
    _, x, _, y = held_out(reg, TARGETS)
    wanted = r2_score(y, reg.predict(x), multioutput="variance_weighted")
    # Predictions and validation both settle to a residual of 1e-4.
    assert reg.best_validation_score_ == pytest.approx(wanted, abs=1e-3)
    assert reg.n_iter_ < 60


def test_without_a_part_held_out_training_ends_when_its_cost_no_longer_falls():
    reg = regressor(max_epochs=400, tol=1e-3, patience=3, learning_rate=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reg.fit(X, TARGETS)
    costs = reg.loss_curve_
    assert min(costs[:-3]) - 1e-3 <= min(costs[-3:])
    assert reg.n_iter_ == len(costs) < 400


def test_a_warm_start_goes_on_from_the_weights():
    clf = classifier(warm_start=True).fit(X, Y)
    before = clf.model_
    clf.set_params(learning_rate=0.0).fit(X, Y)
    assert bits(clf.model_) == bits(before)
    assert clf.n_iter_ == 8
    clf.set_params(warm_start=False).fit(X, Y)
    assert bits(clf.model_) != bits(before)
    assert clf.n_iter_ == 4


def test_a_warm_start_with_other_data_is_refused():
    clf = classifier(warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="`warm_start` goes on with the classes"):
        clf.fit(X, Y == "bee")
    with pytest.raises(ValueError, match=r"The fitted network has layers of \[3, 8"):
        clf.set_params(hidden_layer_sizes=(9,)).fit(X, Y)


def test_partial_fits_are_epochs_of_one_training():
    # One batch: an epoch is one step, whatever its order.
    whole = classifier(max_epochs=3).fit(X, Y)
    parts = classifier().partial_fit(X, Y, classes=NAMES)
    parts.partial_fit(X, Y).partial_fit(X, Y)
    assert relative_distance(parts.model_, whole.model_) < 1e-12
    assert parts.n_iter_ == 3


def test_partial_fit_takes_a_part_of_the_classes():
    some = Y != "cow"
    clf = classifier().partial_fit(X[some], Y[some], classes=NAMES)
    clf.partial_fit(X, Y)
    assert clf.classes_.tolist() == NAMES.tolist()
    with pytest.raises(ValueError, match="were not among the `classes` of the first"):
        clf.partial_fit(X, np.where(some, Y, "dog"))


def test_names_of_columns_are_kept_and_checked():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    clf = classifier().fit(frame, pd.Series(Y))
    assert clf.feature_names_in_.tolist() == ["a", "b", "c"]
    assert (clf.predict(frame) == clf.predict(frame)).all()
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[["c", "b", "a"]])


def test_a_single_precision_is_kept():
    reg = regressor().fit(X.astype(np.float32), TARGETS[:, 0])
    assert reg.predict(X.astype(np.float32)).dtype == np.float32
    assert reg.predict(X).dtype == np.float64


def test_what_diverges_is_an_error():
    with pytest.raises(ValueError, match="Training diverged in epoch 1.*StandardScal"):
        regressor().fit(X, 1e200 * TARGETS)
    reg = regressor(warm_start=True).fit(X, TARGETS)
    with pytest.raises(ValueError, match="Training diverged"):
        reg.set_params(warm_start=False).fit(X, 1e200 * TARGETS)
    with pytest.raises(NotFittedError):
        reg.predict(X)


def test_what_does_not_converge_is_a_warning():
    with pytest.warns(ConvergenceWarning, match="after `max_epochs=2` epochs"):
        classifier(max_epochs=2).fit(X, Y)
    slow = ep.BlockCoordinate(max_steps=1)
    with pytest.warns(ConvergenceWarning, match="In training, .* did not reach"):
        clf = classifier(solver=slow).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="In prediction, .* did not reach"):
        clf.predict(X)


def test_pipelines_are_validated_across():
    pipeline = make_pipeline(
        StandardScaler(), classifier(max_epochs=100, learning_rate=0.02)
    )
    scores = cross_val_score(pipeline, 1000 * X, Y, cv=3)
    # A third by chance; the classes overlap.
    assert scores.mean() > 0.6


def search(betas, sizes, *, epochs: int, cv: int) -> GridSearchCV:
    clf = ep.EquilibriumPropagationClassifier(
        batch_size=64, max_epochs=epochs, random_state=0
    )
    pipeline = make_pipeline(MinMaxScaler(), clf)
    name = "equilibriumpropagationclassifier"
    grid = {f"{name}__nudging__beta": betas, f"{name}__hidden_layer_sizes": sizes}
    return GridSearchCV(pipeline, grid, cv=cv)


def digits():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x, y, test_size=360, random_state=0, stratify=y)


def test_a_search_finds_a_good_network():
    x, test_x, y, test_y = digits()
    found = search([0.2], [(2,), (128,)], epochs=15, cv=2).fit(x, y)
    # Two bounded hidden units can't tell ten digits apart.
    assert (128,) in found.best_params_.values()
    assert found.score(test_x, test_y) >= 0.97


@pytest.mark.long
def test_a_search_over_beta_and_sizes_finds_at_most_3_percent():
    x, test_x, y, test_y = digits()
    found = search([0.1, 0.2, 0.5], [(64,), (128,), (256,)], epochs=40, cv=3)
    assert found.fit(x, y).score(test_x, test_y) >= 0.97
