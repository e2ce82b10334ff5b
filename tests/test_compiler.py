"""Tests of compiler.py: each estimator's graph, run by ONNX Runtime, against scikit-learn itself."""

import numpy as np
import onnxruntime
import pytest
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDRegressor,
)
from sklearn.model_selection import KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler, TargetEncoder
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

from core.compiler import write_graph

LEVELS = 5000

PREPARATIONS = {
    "numbers": {"number": [0, 1]},
    "numbers out of order": {"number": [1, 0]},
    "numbers with gaps": {"number_with_gaps": [2, 3]},
    "numbers with and without gaps": {"number": [0, 1], "number_with_gaps": [2, 3]},
    "a category": {"category": [4]},
    "a category with gaps": {"category": [5]},
    "a category of many": {"category_of_many": [6]},
    "categories of many with gaps": {"category_of_many": [7, 6]},
    "everything": {
        "number": [0, 1],
        "number_with_gaps": [2, 3],
        "category": [4, 5],
        "category_of_many": [6, 7],
    },
}

REGRESSORS = [
    (BayesianRidge(), 1e-12),
    (ElasticNet(0.01), 1e-12),
    (HuberRegressor(max_iter=1000), 1e-12),
    (Lasso(0.01), 1e-12),
    (LinearRegression(fit_intercept=False), 1e-12),
    (LinearSVR(max_iter=100_000), 1e-12),
    (Ridge(), 1e-12),
    (SGDRegressor(random_state=0), 1e-12),
    (DecisionTreeRegressor(random_state=0), 1e-12),
    (DummyRegressor(strategy="median"), 1e-12),
    (ExtraTreeRegressor(random_state=0), 1e-12),
    (ExtraTreesRegressor(10, random_state=0), 1e-12),
    (GradientBoostingRegressor(n_estimators=20, random_state=0), 1e-12),
    (GradientBoostingRegressor(n_estimators=20, init="zero"), 1e-12),
    (GradientBoostingRegressor(n_estimators=20, loss="absolute_error"), 1e-12),
    (GradientBoostingRegressor(n_estimators=20, loss="huber"), 1e-12),
    (GradientBoostingRegressor(n_estimators=20, loss="quantile"), 1e-12),
    (HistGradientBoostingRegressor(max_iter=20), 1e-12),
    (HistGradientBoostingRegressor(max_iter=20, loss="absolute_error"), 1e-12),
    (HistGradientBoostingRegressor(max_iter=20, loss="quantile", quantile=0.9), 1e-12),
    (RandomForestRegressor(10, random_state=0), 1e-12),
    (RandomForestRegressor(3, max_leaf_nodes=2, random_state=0), 1e-12),
    (KNeighborsRegressor(), 1e-9),
    (MLPRegressor(hidden_layer_sizes=(8,), activation="identity", max_iter=50, random_state=0), 1e-9),
    (MLPRegressor(hidden_layer_sizes=(8,), activation="logistic", max_iter=50, random_state=0), 1e-9),
    (MLPRegressor(hidden_layer_sizes=(8, 5), activation="tanh", max_iter=50, random_state=0), 1e-9),
    (MLPRegressor(max_iter=50, random_state=0), 1e-9),
    (NuSVR(), 1e-9),
    (SVR(), 1e-9),
    (SVR(kernel="linear"), 1e-9),
    (SVR(kernel="poly", coef0=0.5), 1e-9),
    (SVR(kernel="sigmoid", gamma=0.01), 1e-9),
]

CLASSIFIERS = [
    (LinearDiscriminantAnalysis(), 1e-12),
    (LogisticRegression(max_iter=1000), 1e-12),
    (LogisticRegression(max_iter=1000, fit_intercept=False), 1e-12),
    (DecisionTreeClassifier(max_depth=5, random_state=0), 1e-12),
    (DummyClassifier(strategy="most_frequent"), 1e-12),
    (DummyClassifier(strategy="prior"), 1e-12),
    (ExtraTreesClassifier(10, min_samples_leaf=3, random_state=0), 1e-12),
    (GradientBoostingClassifier(n_estimators=10, random_state=0), 1e-12),
    (GradientBoostingClassifier(n_estimators=10, init="zero"), 1e-12),
    (HistGradientBoostingClassifier(max_iter=10), 1e-12),
    (RandomForestClassifier(10, random_state=0), 1e-12),
    (RandomForestClassifier(7, max_depth=3, class_weight="balanced", random_state=0), 1e-12),
    (KNeighborsClassifier(), 1e-9),
    (MLPClassifier((8,), activation="identity", max_iter=50, random_state=0), 1e-9),
    (MLPClassifier((8,), activation="logistic", max_iter=50, random_state=0), 1e-9),
    (MLPClassifier((8, 5), activation="tanh", max_iter=50, random_state=0), 1e-9),
    (MLPClassifier(max_iter=50, random_state=0), 1e-9),
]

CALIBRATED = [
    DecisionTreeClassifier(max_depth=5, random_state=0),
    GaussianNB(),
    GradientBoostingClassifier(n_estimators=10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10),
    LinearSVC(max_iter=100_000),
    LogisticRegression(max_iter=1000),
    MLPClassifier((8,), max_iter=50, random_state=0),
    NuSVC(nu=0.1),
    RandomForestClassifier(10, random_state=0),
    RidgeClassifier(),
    SVC(),
    SVC(kernel="linear"),
    SVC(kernel="poly", coef0=0.5),
]


def prepared_by(parts):
    """A ColumnTransformer as training makes it: of each kind of feature, its columns."""
    transformers = {
        "number": StandardScaler(),
        "number_with_gaps": make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
        "category": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        "category_of_many": TargetEncoder(cv=KFold(5, shuffle=True, random_state=0)),
    }
    chosen = [(kind, transformers[kind], columns) for kind, columns in parts.items()]
    return ColumnTransformer(chosen, sparse_threshold=0, remainder="drop")


def fitted(estimator, x, y, prepare=None):
    """A model as training makes it."""
    pipeline = make_pipeline(prepare or StandardScaler(), estimator)
    is_classification = is_classifier(estimator)
    return (pipeline if is_classification else TransformedTargetRegressor(pipeline, transformer=StandardScaler())).fit(
        x, y
    )


def compiled(model, width):
    """The function of a model's graph."""
    session = onnxruntime.InferenceSession(write_graph(model, width).SerializeToString())
    return lambda x: session.run(None, {"x": x})[0]


def difference(model, rows, size=1.0):
    """The worst difference between a model and its graph, in units of `size`; a classifier's classes are equal."""
    answers = compiled(model, rows.shape[1])(rows)
    is_classification = is_classifier(model)
    expected = model.predict_proba(rows) if is_classification else model.predict(rows)
    assert answers.dtype == np.float64
    assert answers.shape == expected.shape
    if is_classification:
        np.testing.assert_array_equal(answers.argmax(axis=1), model.predict(rows))
    return (abs(answers - expected) / size).max()


@pytest.fixture(name="table", scope="module")
def _table():
    """Rows whose columns are of very different sizes, and a target that bends."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(600, 4)) * [1e-3, 1, 1e4, 1e9] + [0, 50, 0, 0]
    y = 1e5 + 3e3 * np.sin(1e3 * x[:, 0]) + 2e3 * (x[:, 1] - 50) * x[:, 2] / 1e4 + generator.normal(size=600) * 100
    return x, y


@pytest.fixture(name="mixed", scope="module")
def _mixed():
    """Rows of numbers and codes, with gaps, to train on; a target; and rows that are stranger, to predict."""
    generator = np.random.default_rng(7)
    n = 500
    x = np.column_stack(
        [
            generator.normal(size=n),
            1e9 + generator.normal(size=n),
            generator.normal(size=n) * 1e-6,
            generator.exponential(size=n) * 1e4,
            generator.choice([0.0, 1, 3, 4], n),
            generator.integers(0, 6, n),
            generator.choice([*np.arange(8.0), LEVELS + 3], n),
            generator.integers(0, LEVELS, n),
        ]
    )
    y = 20 + x[:, 0] + 0.5 * (x[:, 1] - 1e9) * (x[:, 4] > 1) + x[:, 3] / 1e4 + 0.3 * x[:, 5] - 0.2 * x[:, 6] % 3
    y += generator.normal(size=n) * 0.2
    for column in (2, 3, 5, 7):
        x[generator.random(n) < 0.1, column] = np.nan
    rows = np.vstack([x, x[generator.integers(0, n, (1500, 1)), np.arange(8)]])
    far = np.array([[1e6, 2e9, 1e3, -1e9, 2, 17, 8, 1e7], [-1e6, -1e9, -1e3, 1e12, -1, -1, -1, -1]])
    far = np.vstack([far, np.where(np.arange(8) < 4, np.nanmedian(x, axis=0), 2.5)])
    return x, y, np.vstack([rows, far])


@pytest.fixture(name="two_classes", scope="module")
def _two_classes(mixed):
    """The mixed rows with two classes."""
    x, y, rows = mixed
    return x, (y > np.quantile(y, 0.6)).astype(float), rows


@pytest.fixture(name="four_classes", scope="module")
def _four_classes(mixed):
    """The mixed rows with four classes."""
    x, y, rows = mixed
    return x, np.digitize(y, np.quantile(y, [0.1, 0.5, 0.8])).astype(float), rows


# A model's graph answers as scikit-learn does


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "tolerance"), REGRESSORS, ids=repr)
def test_a_regression_answers_as_scikit_learn_does(mixed, estimator, tolerance):
    x, y, rows = mixed
    model = fitted(estimator, x, y, prepared_by(PREPARATIONS["everything"]))
    assert difference(model, rows, np.maximum(np.ptp(y), abs(model.predict(rows)))) <= tolerance


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("target", ["two_classes", "four_classes"])
@pytest.mark.parametrize(("estimator", "tolerance"), CLASSIFIERS, ids=repr)
def test_a_classification_answers_as_scikit_learn_does(request, target, estimator, tolerance):
    x, y, rows = request.getfixturevalue(target)
    model = fitted(estimator, x, y, prepared_by(PREPARATIONS["everything"]))
    assert difference(model, rows) <= tolerance


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("target", ["two_classes", "four_classes"])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("estimator", CALIBRATED, ids=repr)
def test_a_calibrated_classifier_answers_as_scikit_learn_does(request, target, method, estimator):
    x, y, rows = request.getfixturevalue(target)
    calibrated = CalibratedClassifierCV(estimator, method=method, cv=2, ensemble=False)
    model = fitted(calibrated, x, y, prepared_by(PREPARATIONS["everything"]))
    assert difference(model, rows) <= 1e-9


@pytest.mark.parametrize("parts", PREPARATIONS.values(), ids=list(PREPARATIONS))
@pytest.mark.parametrize("kind", ["regression", "two_classes", "four_classes"])
def test_each_preparation_is_written(request, kind, parts):
    x, y, rows = request.getfixturevalue("mixed" if kind == "regression" else kind)
    if kind == "regression":
        model = fitted(Ridge(), x, y, prepared_by(parts))
        size = np.maximum(np.ptp(y), abs(model.predict(rows)))
    else:
        model, size = fitted(LogisticRegression(max_iter=1000), x, y, prepared_by(parts)), 1
    assert difference(model, rows, size) <= 1e-12


@pytest.mark.parametrize("kind", ["regression", "two_classes", "four_classes"])
def test_a_category_of_thousands_is_written(kind):
    generator = np.random.default_rng(8)
    x = np.append(np.repeat(np.arange(float(LEVELS)), 2), [np.nan] * 9).reshape(-1, 1)
    y = generator.normal(size=len(x)) + x[:, 0] % 7
    y[-9:] = generator.normal(size=9)
    estimator = Ridge()
    if kind != "regression":
        y = np.digitize(y, [3.0] if kind == "two_classes" else [1.0, 3.0, 5.0])
        estimator = LogisticRegression(max_iter=1000)
    model = fitted(estimator, x, y, prepared_by({"category_of_many": [0]}))
    rows = np.vstack([x, [[-1.0], [LEVELS], [1e18], [0.5]]])
    assert difference(model, rows, np.ptp(y)) <= 1e-12


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values:UserWarning")
def test_a_column_of_gaps_only_is_dropped_as_scikit_learn_drops_it(mixed):
    x, y, rows = mixed
    x, rows = x[:, [2, 3]].copy(), rows[:, [2, 3]].copy()
    x[:, 0] = np.nan
    model = fitted(Ridge(), x, y, prepared_by({"number_with_gaps": [0, 1]}))
    assert difference(model, rows, np.maximum(np.ptp(y), abs(model.predict(rows)))) <= 1e-12


# The plain scaler


@pytest.mark.parametrize(
    ("estimator", "tolerance"),
    [
        (Ridge(), 1e-12),
        (LinearRegression(), 1e-12),
        (RandomForestRegressor(30, random_state=0), 1e-12),
        (GradientBoostingRegressor(random_state=0), 1e-12),
        (HistGradientBoostingRegressor(random_state=0), 1e-12),
        (SVR(), 1e-9),
        (MLPRegressor(max_iter=2000, random_state=0), 1e-9),
    ],
    ids=repr,
)
def test_scaled_columns_answer_as_scikit_learn_does(table, estimator, tolerance):
    x, y = table
    model = fitted(estimator, x, y)
    beyond = np.array([[-1.0, 0, 0, 0], [1, 1e3, 1e6, -1e12]])
    between = np.random.default_rng(6).uniform(x.min(axis=0), x.max(axis=0), (5000, 4))
    assert difference(model, np.vstack([x, beyond, between]), np.ptp(y)) <= tolerance


@pytest.mark.parametrize("estimator", [Ridge(), LinearRegression()])
def test_a_large_column_that_hardly_varies_keeps_its_digits(estimator):
    x = 1e9 + np.random.default_rng(9).normal(size=(300, 1))
    y = 5 * (x[:, 0] - 1e9) + np.random.default_rng(10).normal(size=300)
    assert difference(fitted(estimator, x, y), x, np.ptp(y)) <= 1e-12


def test_the_default_model_is_a_graph_of_six_operators():
    x = np.arange(10.0).reshape(-1, 1)
    operators = [node.op_type for node in write_graph(fitted(Ridge(), x, x[:, 0]), 1).graph.node]
    assert operators == ["Sub", "Div", "Gemm", "Mul", "Add", "Reshape"]


def test_ten_mixed_columns_are_prepared_by_few_operators(mixed):
    x, y, _ = mixed
    parts = {"number": [0, 1], "number_with_gaps": [2, 3], "category": [4, 5]}
    operators = [node.op_type for node in write_graph(fitted(Ridge(), x, y, prepared_by(parts)), 8).graph.node]
    numbers = ["Gather", "IsNaN", "Where", "Sub", "Div"]
    codes = ["Gather", "IsNaN", "Where", "Equal", "Cast"]
    assert operators == [*numbers, *codes, "Concat", "Gemm", "Mul", "Add", "Reshape"]


# Trees


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


def test_exponential_boosting_is_written(two_classes):
    x, y, rows = two_classes
    boosting = GradientBoostingClassifier(loss="exponential", n_estimators=20)
    assert difference(fitted(boosting, x, y, prepared_by(PREPARATIONS["everything"])), rows) <= 1e-12


@pytest.mark.parametrize("loss", ["gamma", "poisson"])
def test_boosting_with_a_logarithm_is_written(loss):
    """A scaled target is not positive, as these losses ask: the model is put together without scaling it."""
    x = np.random.default_rng(11).normal(size=(300, 2))
    y = np.exp(x[:, 0])
    model = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), HistGradientBoostingRegressor(loss=loss, max_iter=20)),
        transformer=StandardScaler(with_mean=False),
    ).fit(x, y)
    model.transformer_.mean_ = np.zeros(1)
    assert difference(model, x, np.ptp(y)) <= 1e-12


# Probabilities at their ends


@pytest.mark.parametrize("estimator", [LogisticRegression(), MLPClassifier((4,), max_iter=20, random_state=0)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_far_away_have_finite_probabilities(estimator, n_classes):
    x = np.random.default_rng(12).normal(size=(200, 1))
    model = fitted(estimator, x, np.digitize(x[:, 0], [0.0, 1.0][: n_classes - 1]))
    sizes = np.logspace(-6, 9, 100).reshape(-1, 1)
    rows = np.vstack([sizes, -sizes])
    assert difference(model, rows) <= 1e-12
    assert np.isfinite(compiled(model, 1)(rows)).all()


def test_a_row_that_every_calibrator_refuses_gets_equal_probabilities():
    """The sides of a triangle, each point of the class of its nearest corner; its middle is like none of them."""
    corners = np.array([[0, 0], [1, 0], [0.5, 0.75**0.5]])
    ways = np.linspace(0, 1, 40).reshape(-1, 1)
    x = np.vstack([(1 - ways) * corners[i] + ways * corners[i - 1] for i in range(3)])
    np.random.default_rng(13).shuffle(x)
    y = np.linalg.norm(x[:, np.newaxis] - corners, axis=2).argmin(axis=1)
    model = fitted(CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3, ensemble=False), x, y)
    rows = np.vstack([x, corners.mean(axis=0)])
    assert (model.predict_proba(rows)[-1] == 1 / 3).all()
    assert difference(model, rows) <= 1e-9


# What is not written


def test_a_kernel_that_is_not_written_is_refused():
    x, y = np.arange(10.0).reshape(-1, 1), np.arange(10.0)
    with pytest.raises(NotImplementedError, match="the kernel <function"):
        write_graph(fitted(SVR(kernel=lambda a, b: a @ b.T), x, y), 1)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (CalibratedClassifierCV(SVC(), cv=2), "an ensemble"),
        (CalibratedClassifierCV(LinearSVC(), method="temperature", cv=2, ensemble=False), "a temperature"),
        (CalibratedClassifierCV(BaggingClassifier(), method="isotonic", cv=2, ensemble=False), "trees of skl2onnx"),
        (CalibratedClassifierCV(AdaBoostClassifier(), cv=2, ensemble=False), "of AdaBoostClassifier"),
        (CalibratedClassifierCV(SVC(decision_function_shape="ovo"), cv=2, ensemble=False), "of pairs"),
        (DummyClassifier(strategy="stratified"), "draws lots"),
        (GradientBoostingRegressor(init=Ridge()), "another estimator"),
        (HistGradientBoostingRegressor(categorical_features=[0], min_samples_leaf=1), "splits by categories"),
    ],
    ids=repr,
)
def test_an_estimator_that_is_not_written_is_refused(estimator, reason):
    x, y = np.arange(300.0).reshape(-1, 1) % 10, np.arange(300.0) % 10 % 3
    with pytest.raises(NotImplementedError, match=reason):
        write_graph(fitted(estimator, x, y), 1)


@pytest.mark.parametrize(
    "prepare",
    [
        MinMaxScaler(),
        ColumnTransformer([("number", MinMaxScaler(), [0])]),
        ColumnTransformer([("category", OneHotEncoder(drop="first", sparse_output=False), [0])]),
    ],
    ids=repr,
)
def test_a_preparation_that_is_not_written_is_refused(prepare):
    x, y = np.arange(10.0).reshape(-1, 1), np.arange(10.0)
    with pytest.raises(NotImplementedError, match="is not written"):
        write_graph(fitted(Ridge(), x, y, prepare), 1)
