"""Which estimators are there, how is a model of one built, tried and compared?

>>> model = build("ridge", "regression", {"alpha": 2.0}, seed=0, prepare=StandardScaler())
>>> fit(model, x, y, "ridge")
[]
>>> metrics("regression", truth, model.predict(held_out))["r2"]
0.4841

Nothing here knows tables, files or signatures: a model's input is what the given `prepare` takes, numbers by
scikit-learn's conventions; its target is numbers, or the codes 0 to k - 1 of k classes.
"""

import contextlib
import importlib
import inspect
import math
import numbers
import re
import time
import warnings

from core.errors import DataError, Error, OptionError, did_you_mean

ESTIMATORS = {
    "ridge": {"regression": "sklearn.linear_model.Ridge"},
    "linear": {"regression": "sklearn.linear_model.LinearRegression"},
    "lasso": {"regression": "sklearn.linear_model.Lasso"},
    "elastic-net": {"regression": "sklearn.linear_model.ElasticNet"},
    "logistic": {"classification": "sklearn.linear_model.LogisticRegression"},
    "random-forest": {
        "regression": "sklearn.ensemble.RandomForestRegressor",
        "classification": "sklearn.ensemble.RandomForestClassifier",
    },
    "gradient-boosting": {
        "regression": "sklearn.ensemble.GradientBoostingRegressor",
        "classification": "sklearn.ensemble.GradientBoostingClassifier",
    },
    "hist-gradient-boosting": {
        "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
        "classification": "sklearn.ensemble.HistGradientBoostingClassifier",
    },
    "k-neighbors": {
        "regression": "sklearn.neighbors.KNeighborsRegressor",
        "classification": "sklearn.neighbors.KNeighborsClassifier",
    },
    "svm": {"regression": "sklearn.svm.SVR", "classification": "sklearn.svm.SVC"},
    "mlp": {
        "regression": "sklearn.neural_network.MLPRegressor",
        "classification": "sklearn.neural_network.MLPClassifier",
    },
    "dummy": {"regression": "sklearn.dummy.DummyRegressor", "classification": "sklearn.dummy.DummyClassifier"},
}

DEFAULTS = {"regression": "ridge", "classification": "logistic"}

# Unless told, otherwise than scikit-learn: its 100 and 200 iterations often end before the fit does.
MORE_ITERATIONS = {
    "sklearn.linear_model.LogisticRegression": {"max_iter": 1000},
    "sklearn.neural_network.MLPRegressor": {"max_iter": 1000},
    "sklearn.neural_network.MLPClassifier": {"max_iter": 1000},
}

# What `search` draws from: a list to choose of, or ("uniform" or "loguniform", low, high) of numbers, or ("randint",
# low, high) of whole numbers, both ends included. Features and target are standardised, so that one range suits any
# table. A parameter that an estimator has in one task only (epsilon: SVR) is drawn in that task only.
SPACES = {
    "ridge": {"alpha": ("loguniform", 1e-4, 1e4)},
    "lasso": {"alpha": ("loguniform", 1e-4, 1)},
    "elastic-net": {"alpha": ("loguniform", 1e-4, 1), "l1_ratio": ("uniform", 0.05, 1)},
    "logistic": {"C": ("loguniform", 1e-4, 1e4)},
    "random-forest": {
        "n_estimators": ("randint", 50, 500),
        "max_depth": [None, 5, 10, 20],
        "max_features": [0.33, 0.5, 1.0, "sqrt"],
        "min_samples_leaf": ("randint", 1, 20),
    },
    "gradient-boosting": {
        "n_estimators": ("randint", 50, 500),
        "learning_rate": ("loguniform", 0.01, 0.3),
        "max_depth": ("randint", 2, 6),
        "min_samples_leaf": ("randint", 1, 20),
        "subsample": ("uniform", 0.5, 1),
    },
    "hist-gradient-boosting": {
        "max_iter": ("randint", 50, 500),
        "learning_rate": ("loguniform", 0.01, 0.3),
        "max_leaf_nodes": ("randint", 7, 63),
        "min_samples_leaf": ("randint", 5, 50),
        "l2_regularization": ("loguniform", 1e-6, 10),
    },
    "k-neighbors": {
        "n_neighbors": [1, 2, 3, 5, 7, 10, 15, 20, 30, 50],
        "weights": ["uniform", "distance"],
        "p": [1, 2],
    },
    "svm": {
        "C": ("loguniform", 1e-2, 1e3),
        "gamma": ("loguniform", 1e-4, 10),
        "epsilon": ("loguniform", 1e-3, 1),
    },
    "mlp": {
        "hidden_layer_sizes": [[25], [50], [100], [200], [50, 50], [100, 50]],
        "alpha": ("loguniform", 1e-6, 1),
        "learning_rate_init": ("loguniform", 1e-4, 1e-2),
    },
}

# Of each task: key -> (what people call it, whether larger is better). RANKED tells which one ranks.
METRICS = {
    "regression": {"r2": ("R²", True), "mae": ("MAE", False), "rmse": ("RMSE", False)},
    "classification": {
        "accuracy": ("accuracy", True),
        "balanced_accuracy": ("balanced accuracy", True),
        "macro_f1": ("macro F1", True),
        "log_loss": ("log loss", False),
        "roc_auc": ("ROC AUC", True),
    },
}
MANY_CLASSES = "The number of unique classes is greater than 50%"  # a warning: what is a class was decided before
RANKED = {"regression": "r2", "classification": "log_loss"}  # the log loss sees what accuracy is too coarse to see

# --------------------------------------------------------------------------------------------- find, make, build


def make_estimator(name, task, parameters, seed):
    """Make an unfitted estimator.

    Parameters
    ----------
    name : str
        A key of ESTIMATORS such as ``"ridge"``, or the dotted path of a scikit-learn-compatible class such as
        ``"sklearn.linear_model.BayesianRidge"``.
    task : str
        ``"regression"`` or ``"classification"``.
    parameters : dict
        Of its constructor, such as ``{"alpha": 0.5}``.
    seed : int
        Becomes its ``random_state``, where it has one and `parameters` does not name it.

    Returns
    -------
    sklearn.base.BaseEstimator

    Raises
    ------
    OptionError
        At a name, path or parameter that is none, and at an estimator of another task.

    Examples
    --------
    >>> make_estimator("lasso", "regression", {"alpha": 0.5}, seed=3)
    Lasso(alpha=0.5, random_state=3)
    """
    path = _path(name, task)
    settings = {**MORE_ITERATIONS.get(path, {}), **parameters}
    estimator = _construct(name, _class(path), settings)
    _check_task(name, estimator, task)
    if "random_state" in estimator.get_params():
        settings = {"random_state": seed, **settings}
    return _set(name, estimator, settings)


def build(name, task, parameters, seed, prepare, calibrate=False, folds=5):
    """Make an unfitted model: preparation, estimator, and what makes its answers those that are wanted.

    A regressor learns the standardised target, and its answers are scaled back. A classifier answers probabilities:
    one that has none of its own, or whose own are to be calibrated, is calibrated by a sigmoid over stratified folds.

    Parameters
    ----------
    name : str
        As `make_estimator` takes it, and so the next three.
    task : str
    parameters : dict
    seed : int
    prepare : transformer
        Unfitted; makes of the model's input an array, shape (n, columns).
    calibrate : bool
        Calibrate a classifier's probabilities.
    folds : int
        Of the calibration: 5, or as many as the rarest class has rows.

    Returns
    -------
    sklearn.compose.TransformedTargetRegressor or sklearn.pipeline.Pipeline
        With a Pipeline of the steps ``prepare`` and ``estimator``, inside or itself.

    Raises
    ------
    OptionError
        As `make_estimator`; at a classifier that cannot give probabilities; at calibrating a regressor.

    Examples
    --------
    >>> build("svm", "classification", {}, seed=0, prepare=StandardScaler())[-1]
    CalibratedClassifierCV(cv=StratifiedKFold(n_splits=5, random_state=0, shuffle=True), ensemble=False, estimator=...)

    Source
    ------
    Platt: Probabilistic outputs for support vector machines (1999), by scikit-learn's CalibratedClassifierCV.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    estimator = make_estimator(name, task, parameters, seed)
    if task == "classification":
        return Pipeline(
            [("prepare", prepare), ("estimator", _with_probabilities(name, estimator, seed, calibrate, folds))]
        )
    if calibrate:
        raise OptionError("Only probabilities of classes are calibrated, and this is a regression: do not ask for it.")
    return TransformedTargetRegressor(
        regressor=Pipeline([("prepare", prepare), ("estimator", estimator)]),
        transformer=StandardScaler(with_mean=not _wants_positive(estimator)),
        check_inverse=False,  # it is, but for the last bits of numbers of very different sizes, and a warning of them
    )


def describe(model):
    """List the parameters of a model's estimator, the defaults among them, as JSON can hold them.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        As `build` makes it, fitted or not; or an estimator alone.

    Returns
    -------
    dict
        Numbers, text, None, booleans, lists and dicts of them; whatever else there is as text, the same in every
        process.

    Examples
    --------
    >>> describe(build("lasso", "regression", {"alpha": 0.5}, seed=3, prepare=StandardScaler()))["alpha"]
    0.5
    """
    return {name: _plain(value) for name, value in final(model).get_params(deep=False).items()}


def _path(name, task):
    """Return the dotted path of a known name, or the name itself where it is such a path."""
    known = [key for key, paths in ESTIMATORS.items() if task in paths]
    if name in known:
        return ESTIMATORS[name][task]
    if name in ESTIMATORS:
        raise OptionError(f"{name} is for {', '.join(ESTIMATORS[name])}; for {task}: {', '.join(known)}.")
    if "." in name and all(part.isidentifier() for part in name.split(".")):
        return name
    raise OptionError(
        f"There is no estimator {name!r}.{did_you_mean(name, known)} The names for {task} are: {', '.join(known)}; "
        "or give the dotted path of a class, such as sklearn.linear_model.BayesianRidge."
    )


def _class(path):
    """Import the class at a dotted path."""
    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, class_name, None)
    except ModuleNotFoundError as error:
        raise OptionError(_missing(path, module_name, error.name or str(error))) from error
    except ImportError as error:
        raise OptionError(f"{path} cannot be imported: {_first_line(error)}") from error
    if found is None:
        hint = did_you_mean(class_name, [each for each in dir(module) if not each.startswith("_")])
        raise OptionError(f"There is no {class_name} in {module_name}.{hint}")
    if not isinstance(found, type):
        raise OptionError(f"{path} is no class. Name a class, such as sklearn.linear_model.BayesianRidge.")
    if not all(callable(getattr(found, each, None)) for each in ("fit", "predict", "get_params", "set_params")):
        raise OptionError(
            f"{path} is not scikit-learn-compatible: it needs fit, predict, get_params and set_params. "
            f"Name another class, or one of: {', '.join(ESTIMATORS)}."
        )
    return found


def _missing(path, module_name, missing):
    """Say which module is missing: the package itself, a module of it, or something that it needs."""
    package = module_name.partition(".")[0]
    if missing == package:
        return f"{path} is of the package {package}, which is not installed here. Install it, or check the spelling."
    if f"{module_name}.".startswith(f"{missing}."):
        return f"There is no module {missing}. Check the spelling of {path}."
    return f"{path} needs the module {missing}, which is not installed here. Install it first."


def _construct(name, cls, parameters):
    """Make an estimator with its defaults, and with the parameters that it cannot be made without."""
    needed = [
        each.name
        for each in inspect.signature(cls).parameters.values()
        if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    missing = [each for each in needed if each not in parameters]
    if missing:
        raise OptionError(
            f"{name} cannot be made without {', '.join(missing)}. Give that parameter, or name another estimator."
        )
    try:
        return cls(**{each: parameters[each] for each in needed})
    except (TypeError, ValueError, ImportError) as error:  # an abstract class, a wrapper of what is not installed
        raise OptionError(f"{name} cannot be made: {_first_line(error)}") from error


def _check_task(name, estimator, task):
    """Raise for an estimator of another task, and for one whose copies are no copies."""
    from sklearn.base import clone, is_classifier, is_regressor

    try:
        clone(estimator)
        found = {"regression": is_regressor(estimator), "classification": is_classifier(estimator)}
    except (AttributeError, TypeError, RuntimeError) as error:
        raise OptionError(f"{name} is not scikit-learn-compatible: {_first_line(error)}") from error
    if not found[task]:
        kinds = [f"is for {other}" for other, is_so in found.items() if is_so]
        raise OptionError(
            f"{name} {''.join(kinds) or 'is neither a regressor nor a classifier'}, and the task is {task}. "
            f"Name another, such as {DEFAULTS[task]}."
        )


def _set(name, estimator, parameters):
    """Set the parameters, which must be some that the estimator has; whoever takes any keyword knows best."""
    kinds = {each.kind for each in inspect.signature(type(estimator)).parameters.values()}
    known = estimator.get_params()
    for each in parameters:
        if each not in known and inspect.Parameter.VAR_KEYWORD not in kinds:
            has = f"It has: {', '.join(sorted(known))}." if known else "It has none."
            raise OptionError(f"{name} has no parameter {each!r}.{did_you_mean(each, known)} {has}")
    try:
        return estimator.set_params(**parameters)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name}: {_first_line(error)}") from error


def _wants_positive(estimator):
    """Whether a regressor learns only targets that are not negative, so that they must not be centred."""
    from sklearn.utils import get_tags

    loss = estimator.get_params(deep=False).get("loss")
    return get_tags(estimator).target_tags.positive_only or loss in ("poisson", "gamma")


def _with_probabilities(name, estimator, seed, calibrate, folds):
    """Return the classifier, calibrated where that is asked for, or needed to have probabilities at all."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedKFold

    if hasattr(estimator, "predict_proba") and not calibrate:
        return estimator
    if not hasattr(estimator, "predict_proba") and not hasattr(estimator, "decision_function"):
        raise OptionError(
            f"{name} can give no probabilities: it has neither predict_proba nor decision_function. "
            f"Name another, such as {DEFAULTS['classification']}."
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return CalibratedClassifierCV(estimator, method="sigmoid", ensemble=False, cv=splitter)


def final(model):
    """Find the estimator itself, inside of what prepares its input and calibrates its answers.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        As `build` makes it, fitted or not; or a bare estimator, which is returned.

    Returns
    -------
    sklearn.base.BaseEstimator
        Of a calibrated classifier the unfitted one.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    if isinstance(model, TransformedTargetRegressor) and model.regressor is not None:
        model = getattr(model, "regressor_", model.regressor)
    if isinstance(model, Pipeline):
        model = model.steps[-1][1]
    if isinstance(model, CalibratedClassifierCV) and model.estimator is not None:
        model = model.estimator
    return model


def _plain(value):
    """Return a value as JSON can hold it."""
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=repr)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return re.sub(" at 0x[0-9A-Fa-f]+", "", repr(value))  # an address is another one in every process


# ------------------------------------------------------------------------------------------------- fit, measure


def fit(model, x, y, name):
    """Fit a model, and try one answer: some estimators tell only then that the rows are too few.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        As `build` makes it; fitted in place.
    x : array or pandas.DataFrame, shape (n, columns)
        What the model's `prepare` takes.
    y : array, shape (n,)
        Numbers, in the target's unit; or codes of classes.
    name : str
        Of the estimator, for what is said to people.

    Returns
    -------
    list of str
        Notices: that the fit ended before it converged, and what else the estimator warned of.

    Raises
    ------
    OptionError
        At a parameter whose value cannot be.
    DataError
        At rows that the estimator refuses, with its reason.

    Examples
    --------
    >>> fit(build("lasso", "regression", {"alpha": 1e-9, "max_iter": 1}, 0, StandardScaler()), x, y, "lasso")
    ['The estimator lasso did not converge: Objective did not converge. You might want to ...']
    """
    from sklearn.exceptions import ConvergenceWarning

    with _refusals(name, len(x)), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", MANY_CLASSES)
        model.fit(x, y)
        _answers(model, x[:1])
    notices = [
        f"The estimator {name} {'did not converge' if issubclass(each.category, ConvergenceWarning) else 'warns'}: "
        f"{_first_line(each.message)}"
        for each in caught
    ]
    return list(dict.fromkeys(notices))


def metrics(task, truth, answers):
    """Measure answers to rows that were held out.

    Parameters
    ----------
    task : str
        ``"regression"`` or ``"classification"``.
    truth : array, shape (n,)
        Numbers, in the target's unit; or codes of classes, 0 to k - 1.
    answers : array, shape (n,) or (n, k)
        Numbers, in the target's unit; or the probability of each class, 0 to 1.

    Returns
    -------
    dict
        Of float, by the keys of ``METRICS[task]`` and in their order; None where a metric is undefined: R² of one row,
        ROC AUC where no held-out row is of some class. With more than two classes ROC AUC is the mean over the
        classes, each against the rest.

    Examples
    --------
    >>> metrics("regression", np.array([70.0, 72, 74]), np.array([71.0, 72, 73]))
    {'r2': 0.75, 'mae': 0.6666666666666666, 'rmse': 0.816496580927726}
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class was answered which no held-out row has, and the like
        found = _regression(truth, answers) if task == "regression" else _classification(truth, answers)
    return {key: None if found[key] is None else float(found[key]) for key in METRICS[task]}


def _regression(truth, answers):
    """R² and, in the target's unit, the mean absolute and the root mean squared error."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "r2": r2_score(truth, answers) if len(truth) > 1 else None,
        "mae": mean_absolute_error(truth, answers),
        "rmse": root_mean_squared_error(truth, answers),
    }


def _classification(truth, answers):
    """How good the probabilities are, and how good the likeliest class."""
    import numpy as np
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

    classes = np.arange(answers.shape[1])
    likeliest = answers.argmax(axis=1)
    return {
        "log_loss": log_loss(truth, answers, labels=classes),
        "accuracy": accuracy_score(truth, likeliest),
        "balanced_accuracy": balanced_accuracy_score(truth, likeliest),
        "macro_f1": f1_score(truth, likeliest, average="macro", zero_division=0),
        "roc_auc": _roc_auc(truth, answers, classes),
    }


def _roc_auc(truth, answers, classes):
    """Of class 1 of two; of more the mean over the classes, each against the rest; None where a class is missing."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    if len(np.unique(truth)) < len(classes):
        return None
    return np.mean([roc_auc_score(truth == each, answers[:, each]) for each in classes[len(classes) == 2 :]])


def _answers(model, x):
    """A classifier's probabilities, a regressor's numbers."""
    return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)


@contextlib.contextmanager
def _refusals(name, rows):
    """Say in our own words what an estimator refuses; a TypeError is how some refuse sparse columns."""
    from sklearn.utils._param_validation import InvalidParameterError

    try:
        yield
    except InvalidParameterError as error:  # a calibrated one's are said to be of a function inside scikit-learn
        raise OptionError(re.sub(r"parameter of \w+", f"parameter of {name}", _first_line(error), count=1)) from error
    except (ValueError, TypeError) as error:
        raise DataError(f"The estimator {name} refuses these {rows} training rows: {_first_line(error)}") from error


def _first_line(error):
    """Return the first line of an error's or a warning's text."""
    return str(error).strip().partition("\n")[0]


# --------------------------------------------------------------------------------- cross-validate, search, compare


def cross_validate(model, x, y, task, folds, seed):
    """Measure a model on each fold of the rows, fitted on the others; on all cores.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        Unfitted, and it stays so.
    x : array or pandas.DataFrame, shape (n, columns)
        What the model's `prepare` takes.
    y : array, shape (n,)
        Numbers, in the target's unit; or codes of classes.
    task : str
        ``"regression"`` or ``"classification"``; the folds of classes are stratified.
    folds : int
        At least 2.
    seed : int
        Shuffles the rows.

    Returns
    -------
    dict
        ``folds``, ``n`` (rows), and ``metrics``: by the keys of METRICS a dict of ``mean`` and ``std`` over the
        folds (the population's standard deviation, as scikit-learn's examples report it).

    Raises
    ------
    OptionError
        At fewer than 2 folds, and at a parameter whose value cannot be.
    DataError
        At too few rows, of all or of a class; at rows that the estimator refuses.

    Examples
    --------
    >>> cross_validate(model, x, y, "regression", folds=5, seed=0)["metrics"]["r2"]
    {'mean': 0.287, 'std': 0.031}
    """
    rows = _folds(x, y, task, folds, seed)
    tried = list(_try_all([(type(final(model)).__name__, model)], x, y, task, rows))
    _raise_first(tried)
    return {"folds": folds, "n": len(x), "metrics": _summary(tried, task)}


def search(model, x, y, name, task, tries, folds, seed, progress=None):
    """Search for better parameters: scikit-learn's random search over the estimator's space, on all cores.

    The candidates and their scores are those of RandomizedSearchCV; the model's parameters as they are come first, so
    that what is found is never worse on these folds. A candidate that fails is left out. Parameters outside the space
    stay as the model has them.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        Unfitted, and it stays so.
    x : array or pandas.DataFrame, shape (n, columns)
        What the model's `prepare` takes.
    y : array, shape (n,)
        Numbers, in the target's unit; or codes of classes.
    name : str
        Of the estimator: a key of SPACES.
    task : str
        ``"regression"`` or ``"classification"``; the folds of classes are stratified.
    tries : int
        How many candidates are drawn, at least 1; all that there are, where there are fewer.
    folds : int
        At least 2.
    seed : int
        Shuffles the rows, and draws the candidates.
    progress : callable, optional
        Is given the iterator of finished candidates and their number, one more than are drawn; returns an iterable of
        the same.

    Returns
    -------
    tuple of (dict, dict)
        The best parameters, for `make_estimator` on top of what was given already: {} where nothing drawn was better.
        And a report: ``tries`` (drawn), ``folds``, ``score`` (its label), ``best`` (the mean over the folds) and
        ``parameters``.

    Raises
    ------
    OptionError
        At an estimator without a space, at fewer than 1 tries, at fewer than 2 folds; where every candidate fails.
    DataError
        At too few rows, of all or of a class.

    Examples
    --------
    >>> search(model, x, y, "ridge", "regression", tries=20, folds=5, seed=0)
    ({'alpha': 10.3}, {'tries': 20, 'folds': 5, 'score': 'R²', 'best': 0.289, 'parameters': {'alpha': 10.3}})

    Source
    ------
    Bergstra, Bengio: Random Search for Hyper-Parameter Optimization, JMLR 13 (2012).
    """
    if name not in SPACES:
        raise OptionError(f"There is no search space for {name}. There is one for: {', '.join(SPACES)}.")
    _check_count("number of tries", tries, 1)
    rows = _folds(x, y, task, folds, seed)
    drawn = _candidates(_space(name, model), tries, seed)
    candidates = [(name, _with(model, parameters)) for parameters in [{}, *drawn]]

    finished = _grouped(_try_all(candidates, x, y, task, rows), folds)
    tried = list(progress(finished, len(candidates)) if progress else finished)
    key = RANKED[task]
    label, is_larger_better = METRICS[task][key]
    means = [_summary(each, task).get(key, {}).get("mean") for each in tried]
    ranks = [_rank(mean, is_larger_better) for mean in means]
    best = ranks.index(max(ranks))
    if math.isinf(ranks[best]):
        reasons = [str(fold["refusal"]) for fold in tried[0] if fold["refusal"]]
        raise OptionError(
            f"None of the {len(candidates)} candidates of {name} could be fitted and measured. "
            f"Of its parameters as they were: {reasons[0] if reasons else f'their {label} is no number.'}"
        )
    found = [{}, *drawn][best]
    return found, {"tries": len(drawn), "folds": folds, "score": label, "best": means[best], "parameters": found}


def compare(names, x, y, task, make_model, folds, seed, progress=None):
    """Measure several estimators on the same folds, on all cores.

    Parameters
    ----------
    names : sequence of str
        Of estimators.
    x : array or pandas.DataFrame, shape (n, columns)
        What the models' `prepare` takes.
    y : array, shape (n,)
        Numbers, in the target's unit; or codes of classes.
    task : str
        ``"regression"`` or ``"classification"``; the folds of classes are stratified.
    make_model : callable
        Makes of a name the unfitted model.
    folds : int
        At least 2.
    seed : int
        Shuffles the rows.
    progress : callable, optional
        Is given the iterator of finished estimators and their number; returns an iterable of the same.

    Returns
    -------
    list of dict
        One an estimator, best first: ``estimator``, ``metrics`` (as `cross_validate`), ``seconds`` that a fold's fit
        took (mean), and ``refused``: None; or why it could not be fitted, and then ``metrics`` is empty and
        ``seconds`` None.

    Raises
    ------
    OptionError
        At fewer than 2 folds, and whatever `make_model` raises.
    DataError
        At too few rows, of all or of a class.

    Examples
    --------
    >>> [row["estimator"] for row in compare(["dummy", "ridge"], x, y, "regression", make_model, folds=5, seed=0)]
    ['ridge', 'dummy']
    """
    models = [(name, make_model(name)) for name in names]
    rows = _folds(x, y, task, folds, seed)
    finished = _grouped(_try_all(models, x, y, task, rows), folds)
    tried = progress(finished, len(models)) if progress else finished
    table = [_compared(name, each, task) for name, each in zip(names, tried, strict=True)]
    key = RANKED[task]
    is_larger_better = METRICS[task][key][1]
    return sorted(table, key=lambda row: _rank(row["metrics"].get(key, {}).get("mean"), is_larger_better), reverse=True)


def _check_count(what, value, least):
    """Raise for what is no whole number, or one too small."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise OptionError(f"The {what} is {value!r}, expected a whole number of at least {least}.")


def _folds(x, y, task, folds, seed):
    """Return the folds, each as the positions of its training rows and of its held-out rows."""
    import numpy as np
    from sklearn.model_selection import KFold, StratifiedKFold

    _check_count("number of folds", folds, 2)
    if task == "regression":
        most, what = len(x) // 2, f"A fold needs 2 rows at least, or R² is undefined, and there are {len(x)}"
    else:
        most = int(np.unique(y, return_counts=True)[1].min())
        what = f"A fold needs a row of every class at least, and the rarest class has {most}"
    if folds > most:
        advice = f"at most {most} folds" if most >= 2 else "that is too few to cross-validate"
        raise DataError(f"{len(x)} rows cannot be split into {folds} folds. {what}: {advice}.")
    splitter = KFold if task == "regression" else StratifiedKFold
    return list(splitter(folds, shuffle=True, random_state=seed).split(x, y))


def _try_all(models, x, y, task, rows):
    """Try each model, given with its name, on each fold, in processes; yield what `_try` returns, in order."""
    from joblib import Parallel, delayed

    jobs = (delayed(_try)(name, model, x, y, task, *fold) for name, model in models for fold in rows)
    return Parallel(n_jobs=-1, return_as="generator")(jobs)


def _try(name, model, x, y, task, train, test):
    """Fit a copy on some rows and measure it on others; return metrics, seconds and what was refused."""
    from sklearn.base import clone

    model = clone(model)
    try:
        with _refusals(name, len(train)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody reads the standard error of many processes
            start = time.perf_counter()
            model.fit(_take(x, train), y[train])
            seconds = time.perf_counter() - start
            found = metrics(task, y[test], _answers(model, _take(x, test)))
        return {"metrics": found, "seconds": seconds, "refusal": None}
    except Error as error:
        return {"metrics": None, "seconds": None, "refusal": error}


def _take(x, positions):
    """Return some rows of an array or of a table."""
    return x.iloc[positions] if hasattr(x, "iloc") else x[positions]


def _grouped(tried, folds):
    """Gather what comes fold by fold into one list a model."""
    group = []
    for each in tried:
        group.append(each)
        if len(group) == folds:
            yield group
            group = []


def _raise_first(tried):
    """Raise the first refusal, if there is one."""
    for each in tried:
        if each["refusal"]:
            raise each["refusal"]


def _summary(tried, task):
    """Return mean and standard deviation over the folds of each metric; {} where a fold was refused."""
    if any(each["refusal"] for each in tried):
        return {}
    return {key: _mean_and_std([each["metrics"][key] for each in tried]) for key in METRICS[task]}


def _mean_and_std(values):
    """Return mean and standard deviation; None where a value is."""
    import numpy as np

    if None in values:
        return {"mean": None, "std": None}
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}


def _rank(mean, is_larger_better):
    """Return what is the larger the better: smallest of all where there is no number."""
    if mean is None or not math.isfinite(mean):
        return -math.inf
    return mean if is_larger_better else -mean


def _compared(name, tried, task):
    """Return the row of one estimator."""
    refusals = [str(each["refusal"]) for each in tried if each["refusal"]]
    seconds = None if refusals else sum(each["seconds"] for each in tried) / len(tried)
    return {
        "estimator": name,
        "metrics": _summary(tried, task),
        "seconds": seconds,
        "refused": refusals[0] if refusals else None,
    }


def _space(name, model):
    """Return the distributions of the parameters that this model's estimator has."""
    from scipy import stats

    make = {
        "uniform": lambda low, high: stats.uniform(low, high - low),
        "loguniform": stats.loguniform,
        "randint": lambda low, high: stats.randint(low, high + 1),
    }
    known = final(model).get_params()
    return {
        parameter: range_ if isinstance(range_, list) else make[range_[0]](*range_[1:])
        for parameter, range_ in SPACES[name].items()
        if parameter in known
    }


def _candidates(space, tries, seed):
    """Draw parameters, as plain values; each one there is, where there are not more."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    if all(isinstance(each, list) for each in space.values()):
        tries = min(tries, len(ParameterGrid(space)))
    return [
        {name: _plain(value) for name, value in drawn.items()}
        for drawn in ParameterSampler(space, tries, random_state=seed)
    ]


def _with(model, parameters):
    """Return a copy of a model whose estimator has these parameters."""
    from sklearn.base import clone

    copy = clone(model)
    final(copy).set_params(**parameters)
    return copy
