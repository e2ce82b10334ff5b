"""Tests of compiler.py: each estimator's graph, run by ONNX Runtime, against scikit-learn itself."""

import numpy as np
import onnxruntime
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from compiler import write_graph


def fitted(estimator, x, y):
    """A pipeline as `retrain` makes it."""
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), estimator), transformer=StandardScaler()).fit(
        x, y
    )


def compiled(model, width):
    """The function of a model's graph."""
    session = onnxruntime.InferenceSession(write_graph(model, width).SerializeToString())
    return lambda x: session.run(None, {"x": x})[0]


@pytest.fixture(name="table", scope="module")
def _table():
    """Rows whose columns are of very different sizes, and a target that bends."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(600, 4)) * [1e-3, 1, 1e4, 1e9] + [0, 50, 0, 0]
    y = 1e5 + 3e3 * np.sin(1e3 * x[:, 0]) + 2e3 * (x[:, 1] - 50) * x[:, 2] / 1e4 + generator.normal(size=600) * 100
    return x, y


@pytest.mark.parametrize(
    ("estimator", "tolerance"),
    [
        (Ridge(), 1e-12),
        (LinearRegression(), 1e-12),
        (Lasso(0.01), 1e-12),
        (ElasticNet(0.01), 1e-12),
        (RandomForestRegressor(30, random_state=0), 1e-12),
        (RandomForestRegressor(3, max_leaf_nodes=2, random_state=0), 1e-12),
        (GradientBoostingRegressor(random_state=0), 1e-12),
        (HistGradientBoostingRegressor(random_state=0), 1e-12),
        (KNeighborsRegressor(), 1e-9),
        (SVR(), 1e-9),
        (MLPRegressor(max_iter=2000, random_state=0), 1e-9),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_graph_answers_as_scikit_learn_does(table, estimator, tolerance):
    x, y = table
    model = fitted(estimator, x, y)
    beyond = np.array([[-1.0, 0, 0, 0], [1, 1e3, 1e6, -1e12]])
    between = np.random.default_rng(6).uniform(x.min(axis=0), x.max(axis=0), (5000, 4))
    rows = np.vstack([x, beyond, between])
    answers = compiled(model, 4)(rows)
    assert answers.dtype == np.float64
    assert answers.shape == (len(rows),)
    assert abs(answers - model.predict(rows)).max() <= tolerance * np.ptp(y)


@pytest.mark.parametrize("estimator", [RandomForestRegressor(20, random_state=0), GradientBoostingRegressor()])
def test_values_on_a_threshold_go_the_way_that_scikit_learn_sends_them(estimator):
    """Trees compare in float32; here neighbours in float64 are the same there, and thresholds lie between them."""
    x = np.repeat(np.arange(1, 101) / 7, 2).reshape(-1, 1)
    model = fitted(estimator, x, np.sin(x[:, 0]) + np.arange(200) % 2)
    scaler = model.regressor_[0]
    trees = (tree.tree_ for tree in np.ravel(model.regressor_[-1].estimators_))
    thresholds = np.concatenate([tree.threshold[tree.children_left >= 0] for tree in trees])
    on = scaler.inverse_transform(thresholds.reshape(-1, 1))
    rows = np.vstack([on, np.nextafter(on, np.inf), np.nextafter(on, -np.inf)])
    np.testing.assert_allclose(compiled(model, 1)(rows), model.predict(rows), rtol=0, atol=1e-12)


def test_a_tree_of_one_leaf_is_written():
    x, y = np.arange(10.0).reshape(-1, 1), np.arange(10.0)
    model = fitted(RandomForestRegressor(3, min_samples_leaf=10, random_state=0), x, y)
    assert compiled(model, 1)(x) == pytest.approx(model.predict(x))


def test_a_kernel_that_is_not_written_is_refused():
    x, y = np.arange(10.0).reshape(-1, 1), np.arange(10.0)
    with pytest.raises(NotImplementedError, match="the kernel poly is not written"):
        write_graph(fitted(SVR(kernel="poly"), x, y), 1)
