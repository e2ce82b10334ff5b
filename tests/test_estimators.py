"""Tests of core/estimators.py: against scikit-learn's own functions, and against what can be worked out by hand."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy import stats
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import BayesianRidge, Lasso, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, RandomizedSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from core import estimators
from core.errors import DataError, OptionError
from core.estimators import build, compare, cross_validate, describe, fit, make_estimator, metrics, search

NAMES = [(name, task) for name, paths in estimators.ESTIMATORS.items() for task in paths]

ODD = """
import warnings
import abc
import numpy
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

class Needs(RegressorMixin, BaseEstimator):
    def __init__(self, size, colour=None):
        self.size, self.colour = size, colour
    def fit(self, x, y): return self
    def predict(self, x): return numpy.full(len(x), self.size)

class Warns(RegressorMixin, BaseEstimator):
    def fit(self, x, y):
        warnings.warn("a warning of another kind")
        self.fitted_ = True
        return self
    def predict(self, x): return numpy.zeros(len(x))

class Votes(ClassifierMixin, BaseEstimator):
    def fit(self, x, y):
        self.classes_ = numpy.unique(y)
        return self
    def predict(self, x): return numpy.zeros(len(x), int)

class Open(RegressorMixin, BaseEstimator):
    def __init__(self, **others): self.others = others
    def fit(self, x, y): return self
    def predict(self, x): return numpy.zeros(len(x))
    def set_params(self, **others):
        self.others.update(others)
        return self

class Changes(RegressorMixin, BaseEstimator):
    def __init__(self, size=()): self.size = list(size)
    def fit(self, x, y): return self
    def predict(self, x): return numpy.zeros(len(x))

class Stiff(Needs):
    def __init__(self, size=1): self.size = size
    def set_params(self, **parameters): raise ValueError("size is fixed")

class Untagged:
    def fit(self, x, y): return self
    def predict(self, x): return x
    def get_params(self, deep=True): return {}
    def set_params(self): return self

class Abstract(RegressorMixin, BaseEstimator, abc.ABC):
    @abc.abstractmethod
    def fit(self, x, y): pass
    def predict(self, x): return x

something = 3
"""


@pytest.fixture(name="odd")
def _odd(tmp_path, monkeypatch):
    """A module with estimators that are none, or half."""
    (tmp_path / "odd_estimators.py").write_text(ODD, encoding="utf-8")
    (tmp_path / "odd_needing.py").write_text("import no_such_module_either", encoding="utf-8")
    (tmp_path / "odd_broken.py").write_text("from math import no_such_name", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture(name="line", scope="module")
def _line():
    """Rows of three numbers, and a target that is a line in two of them, and noise."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(80, 3)) * [1, 10, 100] + [0, 5, 1000]
    return x, 300 + 4 * x[:, 0] - 0.5 * x[:, 1] + generator.normal(size=80)


@pytest.fixture(name="iris", scope="module")
def _iris():
    """Half of Fisher's irises: 25 of each of three kinds."""
    x, y = load_iris(return_X_y=True)
    return x[::2], y[::2]


def model_of(name, task="regression", seed=0, calibrate=False, **parameters):
    """A model as `build` makes it, with standardised features."""
    return build(name, task, parameters, seed, StandardScaler(), calibrate)


def with_a_gap(x):
    """The same rows, one number missing."""
    x = x.copy()
    x[3, 1] = np.nan
    return x


def refusal(call, *arguments, kind=OptionError, **options):
    """The one line that a call is refused with."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert caught.type is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------------------------------- find, make, build


@pytest.mark.parametrize(("name", "task"), NAMES)
def test_every_name_makes_an_estimator_of_its_task_that_can_be_fitted_and_described(name, task, line, iris):
    x, y = line if task == "regression" else iris
    estimator = make_estimator(name, task, {}, seed=7)
    assert (is_regressor if task == "regression" else is_classifier)(estimator)
    assert estimator.get_params().get("random_state", 7) == 7
    assert type(estimator).__module__.startswith("sklearn.")
    model = model_of(name, task)
    assert not fit(model, x, y, name)
    json.dumps(describe(model), allow_nan=False)


def test_the_defaults_are_names_of_their_task():
    assert list(estimators.DEFAULTS) == ["regression", "classification"]
    assert all((name, task) in NAMES for task, name in estimators.DEFAULTS.items())


def test_only_the_iterations_differ_from_scikit_learns_defaults():
    assert make_estimator("ridge", "regression", {}, 0).get_params() == Ridge(random_state=0).get_params()
    for name, task in [("logistic", "classification"), ("mlp", "classification"), ("mlp", "regression")]:
        assert make_estimator(name, task, {}, 0).max_iter == 1000
        assert make_estimator(name, task, {"max_iter": 5}, 0).max_iter == 5
    assert make_estimator("sklearn.linear_model.LogisticRegression", "classification", {}, 0).max_iter == 1000


def test_parameters_are_set_and_the_seed_gives_way_to_one_that_is_given():
    estimator = make_estimator("lasso", "regression", {"alpha": 0.5}, seed=3)
    assert (estimator.alpha, estimator.random_state) == (0.5, 3)
    assert make_estimator("lasso", "regression", {"random_state": 9}, seed=3).random_state == 9


@pytest.mark.usefixtures("odd")
def test_a_dotted_path_makes_any_compatible_class():
    path = "sklearn.linear_model.BayesianRidge"
    assert isinstance(make_estimator(path, "regression", {}, 0), BayesianRidge)
    needs = make_estimator("odd_estimators.Needs", "regression", {"size": 4, "colour": "red"}, 0)
    assert (needs.size, needs.colour) == (4, "red")
    assert make_estimator("odd_estimators.Open", "regression", {"anything": 1}, 0).others == {"anything": 1}


def test_a_nested_parameter_is_one_that_the_estimator_has():
    path = "sklearn.compose.TransformedTargetRegressor"
    estimator = make_estimator(path, "regression", {"regressor": Ridge(), "check_inverse": False}, 0)
    assert estimator.check_inverse is False


@pytest.mark.parametrize(
    ("name", "task", "parameters", "expected"),
    [
        (
            "rigde",
            "regression",
            {},
            "There is no estimator 'rigde'. Did you mean ridge? The names for regression are: ridge, linear, lasso, "
            "elastic-net, random-forest, gradient-boosting, hist-gradient-boosting, k-neighbors, svm, mlp, dummy; or "
            "give the dotted path of a class, such as sklearn.linear_model.BayesianRidge.",
        ),
        ("", "regression", {}, "There is no estimator ''. The names for regression are"),
        ("../x.Y", "regression", {}, "There is no estimator '../x.Y'."),
        (".Ridge", "regression", {}, "There is no estimator '.Ridge'."),
        (
            "ridge",
            "classification",
            {},
            "ridge is for regression; for classification: logistic, random-forest, gradient-boosting, "
            "hist-gradient-boosting, k-neighbors, svm, mlp, dummy.",
        ),
        ("logistic", "regression", {}, "logistic is for classification; for regression: ridge, linear, lasso,"),
        (
            "no_such_package.Booster",
            "regression",
            {},
            "no_such_package.Booster is of the package no_such_package, which is not installed here. "
            "Install it, or check the spelling.",
        ),
        (
            "sklearn.linear_modell.Ridge",
            "regression",
            {},
            "There is no module sklearn.linear_modell. Check the spelling of sklearn.linear_modell.Ridge.",
        ),
        (
            "odd_needing.Booster",
            "regression",
            {},
            "odd_needing.Booster needs the module no_such_module_either, which is not installed here. Install it",
        ),
        ("odd_broken.Booster", "regression", {}, "odd_broken.Booster cannot be imported: cannot import name"),
        (
            "sklearn.linear_model.Rigde",
            "regression",
            {},
            "There is no Rigde in sklearn.linear_model. Did you mean Ridge?",
        ),
        ("odd_estimators.something", "regression", {}, "odd_estimators.something is no class. Name a class,"),
        ("sklearn.preprocessing.scale", "regression", {}, "sklearn.preprocessing.scale is no class."),
        (
            "sklearn.preprocessing.StandardScaler",
            "regression",
            {},
            "sklearn.preprocessing.StandardScaler is not scikit-learn-compatible: it needs fit, predict, get_params",
        ),
        ("collections.OrderedDict", "regression", {}, "collections.OrderedDict is not scikit-learn-compatible"),
        ("odd_estimators.Untagged", "regression", {}, "odd_estimators.Untagged is not scikit-learn-compatible"),
        ("odd_estimators.Changes", "regression", {}, "odd_estimators.Changes is not scikit-learn-compatible"),
        ("odd_estimators.Abstract", "regression", {}, "odd_estimators.Abstract cannot be made: Can't instantiate"),
        (
            "sklearn.linear_model.BayesianRidge",
            "classification",
            {},
            "sklearn.linear_model.BayesianRidge is for regression, and the task is classification. "
            "Name another, such as logistic.",
        ),
        (
            "sklearn.naive_bayes.GaussianNB",
            "regression",
            {},
            "sklearn.naive_bayes.GaussianNB is for classification, and the task is regression. "
            "Name another, such as ridge.",
        ),
        ("sklearn.cluster.KMeans", "regression", {}, "KMeans is neither a regressor nor a classifier, and the task"),
        (
            "sklearn.ensemble.VotingRegressor",
            "regression",
            {},
            "sklearn.ensemble.VotingRegressor cannot be made without estimators. "
            "Give that parameter, or name another estimator.",
        ),
        (
            "linear",
            "regression",
            {"fit_intercpt": True},
            "linear has no parameter 'fit_intercpt'. Did you mean fit_intercept? "
            "It has: copy_X, fit_intercept, n_jobs, positive, tol.",
        ),
        (
            "odd_estimators.Warns",
            "regression",
            {"alpha": 1},
            "odd_estimators.Warns has no parameter 'alpha'. It has none",
        ),
        ("odd_estimators.Stiff", "regression", {"size": 2}, "odd_estimators.Stiff: size is fixed"),
    ],
)
@pytest.mark.usefixtures("odd")
def test_an_estimator_that_cannot_be_is_refused_in_one_line_with_what_to_do(name, task, parameters, expected):
    assert expected in refusal(make_estimator, name, task, parameters, 0)


def test_a_regressor_is_built_as_a_pipeline_inside_a_scaled_target(line):
    x, y = line
    model = build("ridge", "regression", {"alpha": 2.0}, 0, StandardScaler())
    by_hand = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge(2.0)), transformer=StandardScaler())
    assert [name for name, _ in model.regressor.steps] == ["prepare", "estimator"]
    np.testing.assert_array_equal(model.fit(x, y).predict(x), by_hand.fit(x, y).predict(x))


def test_a_classifier_is_built_as_a_pipeline():
    model = build("logistic", "classification", {"C": 3.0}, 0, StandardScaler())
    assert isinstance(model, Pipeline)
    assert list(model.named_steps) == ["prepare", "estimator"]
    assert model.named_steps["estimator"].C == 3.0


@pytest.mark.parametrize(
    ("name", "calibrate", "is_calibrated"),
    [
        ("logistic", False, False),
        ("logistic", True, True),
        ("svm", False, True),
        ("sklearn.svm.LinearSVC", False, True),
        ("sklearn.linear_model.RidgeClassifier", False, True),
        ("sklearn.linear_model.SGDClassifier", False, True),
        ("k-neighbors", False, False),
    ],
)
def test_a_classifier_is_calibrated_when_asked_and_when_it_has_no_probabilities(name, calibrate, is_calibrated, iris):
    model = model_of(name, "classification", seed=4, calibrate=calibrate)
    final = model.named_steps["estimator"]
    assert (type(final).__name__ == "CalibratedClassifierCV") == is_calibrated
    if is_calibrated:
        assert (final.method, final.ensemble) == ("sigmoid", False)
        folds = final.cv
        assert (folds.n_splits, folds.shuffle, folds.random_state) == (5, True, 4)
    x, y = iris
    fit(model, x, y, name)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)


def test_whether_a_classifier_has_probabilities_is_asked_of_the_one_with_these_parameters():
    model = model_of("sklearn.linear_model.SGDClassifier", "classification", loss="log_loss")
    assert type(model[-1]).__name__ == "SGDClassifier"


@pytest.mark.usefixtures("odd")
def test_probabilities_that_cannot_be_had_are_refused():
    assert "Only probabilities of classes are calibrated" in refusal(model_of, "ridge", calibrate=True)
    text = refusal(model_of, "odd_estimators.Votes", "classification")
    assert text == (
        "odd_estimators.Votes can give no probabilities: it has neither predict_proba nor decision_function. "
        "Name another, such as logistic."
    )


def test_describe_finds_the_estimator_wherever_it_is(line, iris):
    model = model_of("lasso", alpha=0.25)
    assert describe(model) == describe(Lasso(alpha=0.25, random_state=0))
    assert describe(model.fit(*line)) == describe(Lasso(alpha=0.25, random_state=0))
    calibrated = model_of("svm", "classification", C=3)
    assert describe(calibrated) == describe(SVC(C=3, random_state=0))
    assert describe(calibrated.fit(*iris)) == describe(SVC(C=3, random_state=0))


def test_describe_writes_what_json_cannot_hold_as_text_without_addresses():
    found = describe(SimpleImputer(missing_values=math.nan, fill_value=math.inf))
    assert (found["missing_values"], found["fill_value"]) == ("nan", "inf")
    found = describe(KNeighborsRegressor(np.int64(3), weights=np.square, metric_params={"w": np.array([1.5, 2])}))
    assert (found["n_neighbors"], found["weights"]) == (3, "<ufunc 'square'>")
    assert found["metric_params"] == {"w": [1.5, 2.0]}
    assert describe(KNeighborsRegressor(weights=refusal))["weights"] == "<function refusal>"
    assert describe(Ridge(random_state=np.random.default_rng(0)))["random_state"] == "Generator(PCG64)"
    assert describe(Ridge(alpha=(1, {"b", "a"})))["alpha"] == [1, ["a", "b"]]


# ------------------------------------------------------------------------------------------------- fit, measure


def test_a_value_that_cannot_be_is_an_option_error_in_scikit_learns_words(line, iris):
    text = refusal(fit, model_of("k-neighbors", weights="far"), *line, "k-neighbors")
    assert text.startswith("The 'weights' parameter of k-neighbors must be a str among")
    assert text.endswith("Got 'far' instead.")
    text = refusal(fit, model_of("svm", "classification", C=-1.0), *iris, "svm")
    assert text == "The 'C' parameter of svm must be a float in the range (0.0, inf]. Got -1.0 instead."


def test_rows_that_an_estimator_refuses_are_a_data_error(line):
    x, y = line
    text = refusal(fit, model_of("k-neighbors"), x[:4], y[:4], "k-neighbors", kind=DataError)
    assert text.startswith("The estimator k-neighbors refuses these 4 training rows: Expected n_neighbors <=")
    text = refusal(fit, model_of("ridge"), with_a_gap(x), y, "ridge", kind=DataError)
    assert text == "The estimator ridge refuses these 80 training rows: Input X contains NaN."


def test_sparse_columns_that_an_estimator_refuses_are_a_data_error(iris):
    x, y = iris
    model = build("hist-gradient-boosting", "classification", {}, 0, OneHotEncoder())
    text = refusal(fit, model, x, y, "hist-gradient-boosting", kind=DataError)
    assert text.startswith(
        "The estimator hist-gradient-boosting refuses these 75 training rows: Sparse data was passed"
    )


def test_a_fit_that_does_not_converge_is_a_notice_told_once(line, iris):
    notices = fit(model_of("lasso", alpha=1e-9, max_iter=1), *line, "lasso")
    assert len(notices) == 1
    assert notices[0].startswith("The estimator lasso did not converge: Objective did not converge.")
    notices = fit(model_of("mlp", "classification", max_iter=2, calibrate=True), *iris, "mlp")
    assert len(notices) == 1
    assert notices[0].startswith("The estimator mlp did not converge: Stochastic Optimizer: Maximum iterations (2)")


@pytest.mark.usefixtures("odd")
def test_other_warnings_are_notices_too(line):
    notices = fit(model_of("odd_estimators.Warns"), *line, "odd_estimators.Warns")
    assert notices == ["The estimator odd_estimators.Warns warns: a warning of another kind"]


def test_the_metrics_of_a_regression_are_those_worked_out_by_hand():
    found = metrics("regression", np.array([1.0, 2, 3, 6]), np.array([2.0, 2, 2, 8]))  # residuals -1 0 1 -2, mean 3
    assert found == {"r2": pytest.approx(1 - 6 / 14), "mae": 1, "rmse": pytest.approx(math.sqrt(6 / 4))}
    assert all(isinstance(value, float) for value in found.values())
    assert metrics("regression", np.array([1.0]), np.array([3.0])) == {"r2": None, "mae": 2, "rmse": 2}


def test_the_metrics_of_two_classes_are_those_worked_out_by_hand():
    ones = np.array([0.1, 0.6, 0.4, 0.8, 0.9])
    found = metrics("classification", np.array([0, 0, 1, 1, 1]), np.column_stack([1 - ones, ones]))
    assert found == {
        "log_loss": pytest.approx(-math.log(0.9 * 0.4 * 0.4 * 0.8 * 0.9) / 5),
        "accuracy": 3 / 5,
        "balanced_accuracy": pytest.approx((1 / 2 + 2 / 3) / 2),
        "macro_f1": pytest.approx((1 / 2 + 2 / 3) / 2),
        "roc_auc": pytest.approx(5 / 6),  # of the six pairs of a one and a nought all but (0.4, 0.6) are in order
    }
    assert list(found) == list(estimators.METRICS["classification"])
    assert all(isinstance(value, float) for value in found.values())


def test_roc_auc_of_more_classes_is_one_against_the_rest():
    generator = np.random.default_rng(2)
    truth, answers = np.arange(60) % 4, generator.dirichlet(np.ones(4), size=60)
    found = metrics("classification", truth, answers)["roc_auc"]
    assert found == pytest.approx(roc_auc_score(truth, answers, multi_class="ovr", average="macro"))


def test_a_class_that_no_held_out_row_has_leaves_roc_auc_open_and_warns_nobody():
    answers = np.array([[0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    found = metrics("classification", np.array([0, 1]), answers)
    assert found["roc_auc"] is None
    assert found["balanced_accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-math.log(0.2 * 0.8) / 2)
    found = metrics("classification", np.array([1, 1]), np.array([[0.2, 0.8], [0.3, 0.7]]))
    assert (found["roc_auc"], found["accuracy"]) == (None, 1)


def test_each_metric_has_a_label():
    assert {task: list(labels.values()) for task, labels in estimators.METRICS.items()} == {
        "regression": [("R²", True), ("MAE", False), ("RMSE", False)],
        "classification": [
            ("accuracy", True),
            ("balanced accuracy", True),
            ("macro F1", True),
            ("log loss", False),
            ("ROC AUC", True),
        ],
    }


# --------------------------------------------------------------------------------- cross-validate, search, compare


def test_cross_validation_of_a_regression_is_scikit_learns(line):
    x, y = line
    model = model_of("ridge")
    found = cross_validate(model, x, y, "regression", 4, 11)
    folds = KFold(4, shuffle=True, random_state=11)
    assert (found["folds"], found["n"], list(found["metrics"])) == (4, 80, ["r2", "mae", "rmse"])
    for key, scoring, sign in [("r2", "r2", 1), ("rmse", "neg_root_mean_squared_error", -1)]:
        scores = sign * cross_val_score(model, x, y, cv=folds, scoring=scoring)
        assert found["metrics"][key] == pytest.approx({"mean": scores.mean(), "std": scores.std()})
    assert not hasattr(model, "regressor_")
    assert found == cross_validate(model, x, y, "regression", 4, 11)


def test_cross_validation_of_classes_is_scikit_learns_and_takes_tables(iris):
    x, y = pandas.DataFrame(iris[0], columns=list("abcd")), iris[1]
    prepare = ColumnTransformer([("numbers", StandardScaler(), ["a", "b", "c"])])
    model = build("logistic", "classification", {}, 0, prepare)
    found = cross_validate(model, x, y, "classification", 3, 5)["metrics"]
    folds = StratifiedKFold(3, shuffle=True, random_state=5)
    scorings = {"log_loss": "neg_log_loss", "macro_f1": "f1_macro", "roc_auc": "roc_auc_ovr"}
    for key, scoring in scorings.items():
        scores = cross_val_score(model, x, y, cv=folds, scoring=scoring)
        assert found[key] == pytest.approx({"mean": abs(scores.mean()), "std": scores.std()})


@pytest.mark.parametrize("folds", [1, 0, -3, 2.5, True, "5"])
def test_folds_that_are_no_number_of_folds_are_refused(folds, line):
    text = refusal(cross_validate, model_of("ridge"), *line, "regression", folds, 0)
    assert text == f"The number of folds is {folds!r}, expected a whole number of at least 2."


def test_more_folds_than_rows_allow_are_refused(line):
    x, y = line
    text = refusal(cross_validate, model_of("ridge"), x[:9], y[:9], "regression", 5, 0, kind=DataError)
    assert text == (
        "9 rows cannot be split into 5 folds. A fold needs 2 rows at least, or R² is undefined, and there are 9: "
        "at most 4 folds."
    )
    text = refusal(cross_validate, model_of("ridge"), x[:3], y[:3], "regression", 20, 0, kind=DataError)
    assert text.endswith("there are 3: that is too few to cross-validate.")


def test_a_class_with_fewer_rows_than_folds_is_refused(iris):
    x, y = iris
    some = np.r_[0:50, 50:53]
    model = model_of("logistic", "classification")
    text = refusal(cross_validate, model, x[some], y[some], "classification", 4, 0, kind=DataError)
    assert text == (
        "53 rows cannot be split into 4 folds. A fold needs a row of every class at least, and the rarest class has "
        "3: at most 3 folds."
    )
    text = refusal(cross_validate, model, x[:51], y[:51], "classification", 2, 0, kind=DataError)
    assert text.endswith("the rarest class has 1: that is too few to cross-validate.")


def test_what_a_fold_refuses_is_raised(line):
    x, y = line
    text = refusal(cross_validate, model_of("ridge", alpha=-1.0), x, y, "regression", 2, 0)
    assert text.startswith("The 'alpha' parameter of Ridge must be")
    text = refusal(cross_validate, model_of("k-neighbors"), x[:8], y[:8], "regression", 2, 0, kind=DataError)
    assert text.startswith("The estimator KNeighborsRegressor refuses these 4 training rows: Expected n_neighbors")


@pytest.mark.parametrize(
    ("name", "task", "space", "scoring"),
    [
        ("lasso", "regression", {"regressor__estimator__alpha": stats.loguniform(1e-4, 1)}, "r2"),
        (
            "svm",
            "regression",
            {
                "regressor__estimator__C": stats.loguniform(0.01, 1000),
                "regressor__estimator__gamma": stats.loguniform(1e-4, 10),
                "regressor__estimator__epsilon": stats.loguniform(1e-3, 1),
            },
            "r2",
        ),
        (
            "svm",  # which is calibrated, and has no epsilon
            "classification",
            {
                "estimator__estimator__C": stats.loguniform(0.01, 1000),
                "estimator__estimator__gamma": stats.loguniform(1e-4, 10),
            },
            "neg_log_loss",
        ),
        (
            "gradient-boosting",
            "regression",
            {
                "regressor__estimator__n_estimators": stats.randint(50, 501),
                "regressor__estimator__learning_rate": stats.loguniform(0.01, 0.3),
                "regressor__estimator__max_depth": stats.randint(2, 7),
                "regressor__estimator__min_samples_leaf": stats.randint(1, 21),
                "regressor__estimator__subsample": stats.uniform(0.5, 0.5),
            },
            "r2",
        ),
    ],
)
def test_search_finds_what_randomized_search_finds(name, task, space, scoring, line, iris):
    x, y = line if task == "regression" else iris
    model, splitter = model_of(name, task), KFold if task == "regression" else StratifiedKFold
    folds = splitter(3, shuffle=True, random_state=8)
    theirs = RandomizedSearchCV(model, space, n_iter=4, scoring=scoring, cv=folds, random_state=8).fit(x, y)
    as_it_is = cross_val_score(model, x, y, cv=folds, scoring=scoring).mean()
    parameters, report = search(model, x, y, name, task, 4, 3, 8)
    assert abs(report["best"]) == pytest.approx(abs(max(theirs.best_score_, as_it_is)))
    if theirs.best_score_ > as_it_is:
        found = {key.rpartition("__")[2]: value for key, value in theirs.best_params_.items()}
        assert parameters == found
    else:
        assert parameters == {}
    assert report == {
        "tries": 4,
        "folds": 3,
        "score": "R²" if task == "regression" else "log loss",
        "best": report["best"],
        "parameters": parameters,
    }
    assert json.loads(json.dumps(report)) == report


def test_what_search_finds_is_never_worse_than_the_parameters_as_they_were():
    x = np.arange(30.0)[:, None]
    y = 2 * x[:, 0] + 1  # a line: the less ridge shrinks the better, and the space begins at 0.0001
    model = model_of("ridge", alpha=1e-12)
    parameters, report = search(model, x, y, "ridge", "regression", 3, 3, 0)
    assert parameters == {}
    assert report["best"] == cross_validate(model, x, y, "regression", 3, 0)["metrics"]["r2"]["mean"]
    parameters, _ = search(model_of("ridge", alpha=1e9), x, y, "ridge", "regression", 3, 3, 0)
    assert list(parameters) == ["alpha"]
    assert repr(parameters["alpha"]) == str(float(parameters["alpha"]))  # no np.float64
    make_estimator("ridge", "regression", {"alpha": 1e9, **parameters}, 0)


def test_search_tries_all_of_a_small_space_skips_what_fails_and_tells_its_progress(line):
    x, y = line
    told = []

    def progress(finished, total):
        for each in finished:
            told.append(total)
            yield each

    found = search(model_of("k-neighbors"), x[:12], y[:12], "k-neighbors", "regression", 500, 2, 0, progress)
    parameters, report = found
    assert report["tries"] == 10 * 2 * 2
    assert told == [41] * 41
    assert parameters["n_neighbors"] <= 5  # a fold trains on 6 rows: 7 to 50 neighbours fail
    assert found == search(model_of("k-neighbors"), x[:12], y[:12], "k-neighbors", "regression", 500, 2, 0)


def test_a_search_whose_candidates_all_fail_says_why(line):
    x, y = line
    text = refusal(search, model_of("ridge"), x * np.nan, y, "ridge", "regression", 2, 2, 0)
    assert text == (
        "None of the 3 candidates of ridge could be fitted and measured. Of its parameters as they were: "
        "The estimator ridge refuses these 40 training rows: Input X contains NaN."
    )


@pytest.mark.parametrize("name", ["dummy", "linear", "sklearn.linear_model.Ridge"])
def test_a_search_without_a_space_is_refused(name, line):
    text = refusal(search, model_of(name), *line, name, "regression", 2, 2, 0)
    assert text == (
        f"There is no search space for {name}. There is one for: ridge, lasso, elastic-net, logistic, random-forest, "
        "gradient-boosting, hist-gradient-boosting, k-neighbors, svm, mlp."
    )


@pytest.mark.parametrize("tries", [0, -1, 1.5, None])
def test_a_number_of_tries_that_is_none_is_refused(tries, line):
    text = refusal(search, model_of("ridge"), *line, "ridge", "regression", tries, 2, 0)
    assert text == f"The number of tries is {tries!r}, expected a whole number of at least 1."
    assert "The number of folds is 1" in refusal(search, model_of("ridge"), *line, "ridge", "regression", 2, 1, 0)


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize(("name", "task"), [each for each in NAMES if each[0] in estimators.SPACES])
def test_every_space_is_of_parameters_that_scikit_learn_takes_at_both_ends(name, task, end, line, iris):
    x, y = line if task == "regression" else iris
    ends = {key: (each if isinstance(each, list) else each[1:])[end] for key, each in estimators.SPACES[name].items()}
    known = make_estimator(name, task, {}, 0).get_params()
    parameters = {key: value for key, value in ends.items() if key in known}
    fit(model_of(name, task, **{**parameters, "n_neighbors": 5} if name == "k-neighbors" else parameters), x, y, name)
    assert set(ends) - set(known) == ({"epsilon"} if (name, task) == ("svm", "classification") else set())


def test_compare_ranks_the_best_first_and_those_that_refuse_last(iris):
    x, y = iris
    names = ["dummy", "sklearn.naive_bayes.MultinomialNB", "logistic", "k-neighbors"]
    told = []

    def make_model(name):
        return model_of(name, "classification")

    def progress(finished, total):
        for each in finished:
            told.append(total)
            yield each

    table = compare(names, x, y, "classification", make_model, 3, 2, progress)
    assert told == [4] * 4
    assert [row["estimator"] for row in table][2:] == ["dummy", "sklearn.naive_bayes.MultinomialNB"]
    losses = [row["metrics"]["log_loss"]["mean"] for row in table[:3]]
    assert losses == sorted(losses)
    for row in table[:3]:
        expected = cross_validate(make_model(row["estimator"]), x, y, "classification", 3, 2)
        assert row["metrics"] == expected["metrics"]
        assert row["refused"] is None
        assert 0 < row["seconds"] < 60
    assert table[3] == {
        "estimator": "sklearn.naive_bayes.MultinomialNB",
        "metrics": {},
        "seconds": None,
        "refused": "The estimator sklearn.naive_bayes.MultinomialNB refuses these 50 training rows: "
        "Negative values in data passed to MultinomialNB (input X).",
    }
    json.dumps(table, allow_nan=False)


def test_compare_ranks_regressions_by_r2_and_passes_on_a_name_that_is_none(line):
    table = compare(["dummy", "ridge"], *line, "regression", model_of, 2, 0)
    assert [row["estimator"] for row in table] == ["ridge", "dummy"]
    assert "There is no estimator 'nothing'" in refusal(compare, ["nothing"], *line, "regression", model_of, 2, 0)
    assert "The number of folds is 1" in refusal(compare, ["ridge"], *line, "regression", model_of, 1, 0)


# --------------------------------------------------------------------------------------------------- as a whole


def python(code, tmp_path):
    """Run Python elsewhere, as a person would whose warnings are not errors."""
    setup = f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
    command = [sys.executable, "-c", setup + code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path)


def test_importing_the_module_imports_nothing_heavy(tmp_path):
    code = "import core.estimators; print([m for m in ('numpy', 'scipy', 'sklearn', 'joblib') if m in sys.modules])"
    assert python(code, tmp_path).stdout == "[]\n"


def test_folds_that_do_not_converge_leave_standard_error_clean(tmp_path):
    code = """
import numpy as np
from sklearn.preprocessing import StandardScaler
from core.estimators import build, cross_validate
x = np.arange(40.0)[:, None]
model = build("mlp", "regression", {"max_iter": 2}, 0, StandardScaler())
print(cross_validate(model, x, x[:, 0] ** 2, "regression", 4, 0)["n"])
"""
    done = python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("40\n", "")


def test_models_of_the_same_seed_are_the_same(line):
    x, y = line
    first, second, third = (model_of("random-forest", seed=seed, n_estimators=5).fit(x, y) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.predict(x), second.predict(x))
    assert (first.predict(x) != third.predict(x)).any()
    assert clone(first).regressor[-1].random_state == 1
