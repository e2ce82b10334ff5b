"""The library: from a table to a trained model, and from a model to an answer.

It reads in the order of the data's journey:
read -> check -> split -> scale -> fit -> evaluate -> compile -> save | load -> check -> predict -> inverse -> words.

>>> import mlib
>>> mlib.predict(180)
{'height_inches': 72.16, 'height_human_readable': '6 foot, 0 inches'}

A model is two files. model.joblib is the trained scikit-learn object; model.onnx is its compiled form, the same
function as data, which answers without scikit-learn. It is written only when the two agree.

What each step is made of stands in core/, one file a question. The packages that do the work (numpy, pandas,
scikit-learn, ONNX Runtime, ...) are imported by the functions that use them, never at the top: `--help` must not wait
for any, nor a prediction for those that train.
"""

import functools
import hashlib
import io
import itertools
import json
import math
import numbers
import os
import re
import warnings
from collections.abc import Mapping

from core import artifact, estimators
from core.answers import tell_many, tell_one
from core.artifact import HERE, MODEL, compiled_path, model_path, write_file
from core.errors import (
    MOST_PROBLEMS,
    DataError,
    Error,
    GateError,
    InputError,
    ModelError,
    OptionError,
    did_you_mean,
    plain,
    printable,
    problem_text,
    shown,
)
from core.estimators import ESTIMATORS, METRICS
from core.preparation import preparation
from core.session import Session
from core.signature import MISSING, TIE, Column, Signature, category_text, height_human, key, rounded, spread

__version__ = "1.0.0"
__all__ = [
    "DATA",
    "ESTIMATORS",
    "METRICS",
    "MISSING",
    "MODEL",
    "DataError",
    "Error",
    "GateError",
    "InputError",
    "Model",
    "ModelError",
    "OptionError",
    "Signature",
    "compare",
    "compiled_path",
    "conformal_half_width",
    "data",
    "did_you_mean",
    "format_input",
    "height_human",
    "human_readable_payload",
    "key",
    "load_model",
    "model_path",
    "model_stamp",
    "parse_csv",
    "plain",
    "predict",
    "printable",
    "problem_text",
    "read_rows",
    "retrain",
    "rounded",
    "scale_input",
    "scale_target",
    "write_file",
]

DATA = os.path.join(HERE, "htwtmlb.csv")

# A table with the columns of the published one is taken to be in its units, and about its players.
PUBLISHED_COLUMNS = {"Name", "Team", "Position", "Height", "Weight", "Age"}
PUBLISHED_UNITS = {"Height": "inches", "Weight": "pounds", "Age": "years"}
PUBLISHED_TARGET, PUBLISHED_FEATURES = "Height", ["Weight"]

COVERAGE = 0.9  # of the prediction interval
FOLDS = 5  # of the search for parameters and of a comparison, unless told
PACKAGES = ("scikit-learn", "scipy", "numpy", "pandas", "joblib", "skl2onnx", "onnx", "onnxruntime")  # a model's makers

LINEAR = {"ridge", "linear", "lasso", "elastic-net", "logistic"}
TOLERANCE = 1e-9  # between original and compiled, as a share of the target's range: of linear models,
TOLERANCE_OTHERS = 1e-6  # and of the others
MOST_SAMPLED = 20_000  # values of the training rows in a signature: it is read whenever a model is
TIES = "which of several equally near neighbours count is an accident of scikit-learn's search"
CHUNK = 131_072  # rows that are predicted at once: what lies between stays small, however many there are,
CHUNK_VALUES = 2**24  # and however wide it is: so many rows by the widest constant of the graph, but
CHUNK_LEAST = 1024

INCHES = {"in": "inches", "inch": "inches"}  # one word for one unit: it names the answer's key


# ------------------------------------------------------------------------------------------------ read, check


def data(path=DATA, encoding=None):
    """Read a table.

    Parameters
    ----------
    path : path
        A CSV file with a header line (any separator), JSON lines, a JSON array of objects, each of them packed by gzip
        or not, or Parquet. The project's own table unless told.
    encoding : str, optional
        Of the text; without it UTF-8, or what is most likely.

    Returns
    -------
    pandas.DataFrame
        As the file has it: for htwtmlb.csv 1,277 rows by 7 columns, Height in inches, Weight in pounds.

    Raises
    ------
    DataError
        The file is missing, empty, in none of these formats, or has a header only; two columns have one name; rows
        have more fields than the header.

    Examples
    --------
    >>> int(data()["Weight"].min())
    145
    """
    from core.reading import read_table

    return read_table(path, encoding)[0]


def _read(path, target, features, drop, category, task, encoding, sample_rows, seed):
    """Read a table, or a sample of one, and tell what its columns hold."""
    from core.columns import understand

    if sample_rows is None:
        from core.reading import read_table

        table, digest, notices = read_table(path, encoding)
        rows = len(table)
    else:
        from core.sampling import draw

        drawn = draw(path, int(sample_rows), int(seed), encoding)
        table, digest, notices, rows = drawn.table, drawn.sha256, drawn.notices, drawn.rows
    sampled = {"rows": len(table), "seed": int(seed)} if len(table) < rows else None
    if sampled:
        notices = [f"A uniform sample of {len(table):,} of {rows:,} rows.", *notices]
    is_published = PUBLISHED_COLUMNS.issubset(table.columns)
    if features is None and is_published and target == PUBLISHED_TARGET:
        features = PUBLISHED_FEATURES
    found, goal, task, told = understand(table, path, target, features, drop, category, task)
    return {
        "features": found,
        "target": goal,
        "task": task,
        "data": {"rows": rows, "sha256": digest} | ({"sampled": sampled} if sampled else {}),
        "is_published": is_published,
        "notices": [text.replace(os.fspath(path), os.path.basename(path)) for text in (*notices, *told)],
    }


# ------------------------------------------------------------------------- split, scale, fit, evaluate, save


def retrain(  # pylint: disable=redefined-outer-name  # `data` is both a published function and a parameter
    tsize=0.1,
    model_name=MODEL,
    data=DATA,
    target="Height",
    features=None,
    *,
    drop=(),
    category=(),
    units=None,
    task=None,
    encoding=None,
    estimator=None,
    parameters=None,
    calibrate=False,
    cv=None,
    search=None,
    seed=3,
    sample=200,
    sample_rows=None,
    min_r2=None,
    progress=None,
):
    """Train a model and write it, with its signature, to a file, and its compiled form beside it.

    The compiled form (the same name, ending in .onnx) is written when it agrees with the original; where it does not,
    the signature says why, and everything works from the original. What scales the features, fills their gaps and
    makes columns of categories sees the training rows only. The held-out rows measure the model, and give the
    half-width of its prediction interval; they are not trained on afterwards.

    Parameters
    ----------
    tsize : float
        The share of the rows that is held out, between 0 and 1; in each class the same share.
    model_name : path
        Where to write; replaced in one step, so that a reader never meets half a model.
    data : path
        A table, as for `data`.
    target : str
        The column to predict. Rows that have none are not used.
    features : sequence of str, optional
        The columns to predict from. Without it: Weight for the published table, and for another all columns but those
        that nothing can be learnt from, such as names and constants.
    drop : sequence of str
        Columns to leave out.
    category : sequence of str
        Columns that are categories, though they look like numbers or names.
    units : mapping of str to str, optional
        Units of columns, such as ``{"Height": "cm"}``. A table with the columns of the published one has that one's
        units (inches, pounds, years) unless told.
    task : str, optional
        "regression" or "classification"; without it, it is told from the target.
    encoding : str, optional
        Of the table's text, as for `data`.
    estimator : str, optional
        A name in `ESTIMATORS`, or the dotted path of a scikit-learn-compatible class; ridge, or logistic for classes,
        unless told.
    parameters : mapping of str to value, optional
        Of the estimator, such as ``{"alpha": 0.5}``.
    calibrate : bool
        Calibrate the probabilities of a classifier, by a sigmoid fitted on folds of the training rows.
    cv : int, optional
        Cross-validate on so many folds of the training rows too, and write the figures into the signature.
    search : int, optional
        Try so many parameters of the estimator at random, on folds of the training rows, and take the best.
    seed : int
        Of the split, the folds, the sample and estimators that draw random numbers.
    sample : int
        How many of the training rows go into the signature, for plots; of wide tables fewer, 20,000 values at most.
        With 0 no row of the table is in the signature.
    sample_rows : int, optional
        For tables larger than memory: take a uniform sample of so many rows, in one pass over the file, and train on
        it; all, where there are no more. What is told from all rows of a table (the kinds of its columns, what a value
        may be, which values are wrong) is told from the sample then.
    min_r2 : float, optional
        The least R² on held-out rows; a model below it is not written.
    progress : function, optional
        Of an iterator of what the search has done and how much there is to do, to an iterable of the same.

    Returns
    -------
    score : float
        R² on the held-out rows; of a classifier the accuracy.
    model_name : path
        As it was given.

    Raises
    ------
    OptionError
        A test size outside (0, 1), an estimator nobody knows, the target among the features.
    DataError
        No such file or column, values that do not fit their column, too few rows.
    GateError
        R² is below `min_r2`.
    ModelError
        The model cannot be written there.
    Error
        The packages that train are not installed.

    Examples
    --------
    >>> r2, model_name = retrain(tsize=0.4, model_name="forty.joblib")
    >>> round(r2, 2)
    0.22
    """
    _check_packages(sample_rows)

    features, drop, category = _names(features), _names(drop) or [], _names(category) or []
    _check_options(tsize, task, cv, search, seed, sample, sample_rows, min_r2, model_name)
    tsize, seed, parameters = float(tsize), int(seed), dict(parameters or {})
    table = _read(data, target, features, drop, category, task, encoding, sample_rows, seed)
    goal, task, notices = table["target"], table["task"], table["notices"]
    estimator = estimator or estimators.DEFAULTS[task]
    if task == "classification" and min_r2 is not None:
        raise OptionError(f"The least R² is of numbers; the target {target!r} has classes, and they have none.")
    if task == "regression" and calibrate:
        raise OptionError("Probabilities are calibrated, and a regression has none: its target is a number.")
    if isinstance(parameters.get("class_weight"), dict):
        parameters["class_weight"] = _weights_of_places(parameters["class_weight"], goal)
    estimators.make_estimator(estimator, task, parameters, seed)  # a mistake in it is told before the work
    units = _units(units or {}, [goal, *table["features"]], table["is_published"])

    train, test = _split(goal, task, tsize, seed, data, notices)
    columns, matrix = _describe(table["features"], train, units, features is not None, data, notices)
    x_train, x_test = matrix.take(train, axis=0), matrix.take(test, axis=0)  # many times as quick as matrix[train]
    y_train, y_test = goal.values.take(train), goal.values.take(test)
    goal_card = _describe_target(goal, units, y_train, data)
    inputs, prepare = spread(x_train, columns), preparation(columns, goal, seed)

    searched, validated = None, None
    folds = _calibration_folds(goal, y_train, cv or FOLDS if search or cv else None)
    model = estimators.build(estimator, task, parameters, seed, prepare, calibrate, folds)
    if search:
        best, searched = estimators.search(model, inputs, y_train, estimator, task, search, cv or FOLDS, seed, progress)
        parameters |= best
        model = estimators.build(estimator, task, parameters, seed, prepare, calibrate, folds)
    if cv:
        validated = estimators.cross_validate(model, inputs, y_train, task, cv, seed)
    notices += estimators.fit(model, inputs, y_train, estimator)
    run = model.predict if task == "regression" else model.predict_proba
    answers = _in_chunks(run, spread(x_test, columns), CHUNK)
    metrics = {"n": len(test), **estimators.metrics(task, y_test, answers)}
    baseline = {"n": len(test), **estimators.metrics(task, y_test, _always(task, y_train, len(test)))}
    if min_r2 is not None and not metrics["r2"] >= min_r2:
        raise GateError(
            f"R² is {metrics['r2']:.4f} on {len(test)} held-out rows, below the {min_r2:g} that was asked for. "
            "The model was not written."
        )

    tolerance = TOLERANCE if estimator in LINEAR and not calibrate else TOLERANCE_OTHERS
    graph, compiled = _compile(model, task, inputs, y_train, tolerance, spread(_parity_rows(columns), columns))
    golden = _golden_rows(columns, x_train if sample else x_train[:0])
    options = {
        "target": target,
        "features": [column.name for column in columns],
        "category": category,
        "units": units,
        "task": task,
        "estimator": estimator,
        "parameters": parameters,
        "calibrate": calibrate,
        "cv": cv,
        "search": search,
        "test_size": tsize,
        "seed": seed,
        "sample": sample,
    } | ({"sample_rows": int(sample_rows)} if sample_rows is not None else {})
    packages = _package_versions()
    final = estimators.final(model)
    card = {
        "format": 1,
        "name": f"{_file_stem(data)}-{key(target)}",
        "version": _version(table["data"]["sha256"], options, packages),
        "title": _title(target, [column.name for column in columns], table["is_published"]),
        "task": task,
        "target": goal_card,
        "features": [column.card for column in columns],
        "estimator": {
            "name": estimator,
            "class": ESTIMATORS.get(estimator, {}).get(task, estimator),
            "parameters": estimators.describe(final),
            "calibrated": task == "classification" and final is not model[-1],
        },
        "training": {"n": len(train), "test_size": tsize, "seed": seed, "notices": notices},
        "metrics": metrics,
        "baseline": baseline,
        "interval": _interval(abs(y_test - answers)) if task == "regression" else None,
        "cv": validated,
        "search": searched,
        "data": {"file": os.path.basename(data), **table["data"]},
        "compiled": compiled,
        "golden": {
            "rows": _json_rows(golden),
            "answers": run(spread(golden, columns)).tolist(),
            "tolerance": tolerance,
        },
        "sample": _sample(x_train, y_train, sample, seed),
        "packages": packages,
    }
    artifact.save(model_name, model, card, graph)
    return metrics["r2" if task == "regression" else "accuracy"], model_name


def compare(  # pylint: disable=redefined-outer-name  # `data` is both a published function and a parameter
    names,
    data=DATA,
    target="Height",
    features=None,
    *,
    drop=(),
    category=(),
    task=None,
    encoding=None,
    cv=FOLDS,
    seed=3,
    sample_rows=None,
    progress=None,
):
    """Compare estimators on the same folds of a table.

    Parameters
    ----------
    names : sequence of str
        Estimators, as for `retrain`; none compares all that have a name and are of the task.
    data : path
        As for `retrain`, like the next six.
    target : str
    features : sequence of str, optional
    drop : sequence of str
    category : sequence of str
    task : str, optional
    encoding : str, optional
    cv : int
        How many folds.
    seed : int
        Of the folds, the estimators and the sample.
    sample_rows : int, optional
        As for `retrain`.
    progress : function, optional
        As for `retrain`.

    Returns
    -------
    result : dict
        ``task``, ``n`` (rows), ``folds``, ``notices``, and ``estimators``, the best first: a dict each of
        ``estimator``, ``metrics`` (``mean`` and ``std`` over the folds of each), ``seconds`` a fit, and why it was
        ``refused``, or None.

    Raises
    ------
    OptionError, DataError, Error
        As for `retrain`.

    Examples
    --------
    >>> result = compare(["ridge", "dummy"])
    >>> [each["estimator"] for each in result["estimators"]]
    ['ridge', 'dummy']
    """
    _check_packages(sample_rows)
    import numpy as np

    features, drop, category = _names(features), _names(drop) or [], _names(category) or []
    _check_choices(task, cv, seed, sample_rows)
    table = _read(data, target, features, drop, category, task, encoding, sample_rows, seed)
    goal, task, notices = table["target"], table["task"], table["notices"]
    names = list(dict.fromkeys(names)) or [name for name, paths in ESTIMATORS.items() if task in paths]
    for name in names:
        estimators.make_estimator(name, task, {}, seed)
    every = np.arange(len(goal.values))
    columns, matrix = _describe(table["features"], every, {}, features is not None, data, notices)
    prepare, folds = preparation(columns, goal, seed), _calibration_folds(goal, goal.values, cv)
    rows = estimators.compare(
        names,
        spread(matrix, columns),
        goal.values,
        task,
        lambda name: estimators.build(name, task, {}, seed, prepare, folds=folds),
        cv,
        seed,
        progress,
    )
    return {"task": task, "n": len(every), "folds": cv, "notices": notices, "estimators": rows}


def _names(names):
    """One name or several, as a list; None stays."""
    return [names] if isinstance(names, str) else names and list(names)


def _check_packages(sample_rows):
    """Raise where training is not installed: an environment made to serve has no scikit-learn."""
    import importlib.util

    needed = ("pandas", "pandera", "sklearn", "joblib", "skl2onnx", *["pyarrow"] * (sample_rows is not None))
    missing = [name for name in needed if not importlib.util.find_spec(name)]
    if missing:
        raise Error(f"Training needs {', '.join(missing)}, not installed here. Try: pip install -r requirements.txt")


def _check_options(tsize, task, cv, search, seed, sample, sample_rows, min_r2, model_name):
    """Raise for what can be told before the table is read."""
    if not (isinstance(tsize, numbers.Real) and 0 < tsize < 1):
        raise OptionError(f"The test size is {tsize!r}, expected a share of the rows between 0 and 1, such as 0.1.")
    _check_choices(task, cv, seed, sample_rows)
    if search is not None and not (isinstance(search, numbers.Integral) and search >= 1):
        raise OptionError(f"The tries of the search are {search!r}, expected a whole number from 1.")
    if isinstance(sample, bool) or not isinstance(sample, numbers.Integral) or sample < 0:
        raise OptionError(f"The sample is {sample!r}, expected a whole number of rows from 0.")
    if min_r2 is not None and task == "classification":
        raise OptionError("The least R² is of numbers, and classes have none.")
    if min_r2 is not None and not min_r2 <= 1:
        raise OptionError(f"The least R² is {min_r2!r}, expected a number of at most 1.")
    if os.fspath(model_name).endswith(".onnx"):
        raise OptionError(f"{model_name} is the name of a compiled form. Name the model itself, such as model.joblib.")
    folder = os.path.dirname(os.path.abspath(model_name))
    if not os.path.isdir(folder):
        raise ModelError(f"Cannot write the model: {model_name} is in a folder that does not exist ({folder}).")
    if os.path.isdir(model_name):
        raise ModelError(f"Cannot write the model: {model_name} is a folder.")
    if (
        not os.fspath(model_name).endswith(".joblib")
        and os.path.isfile(model_name)
        and not artifact.is_joblib(model_name)
    ):
        raise ModelError(f"Cannot write the model: {model_name} is there, and no model. Name another file.")
    compiled = compiled_path(os.path.realpath(model_name))
    if os.path.lexists(compiled) and not artifact.is_compiled(compiled):
        raise ModelError(
            f"{compiled} is in the way: the compiled form would have that name, and it is none of this project, or "
            "damaged. Remove it, or name another model."
        )


def _check_choices(task, cv, seed, sample_rows):
    """Raise for a task, folds, a seed or a number of rows that cannot be."""
    if task not in (None, *estimators.DEFAULTS):
        raise OptionError(f"There is no task {task!r}. The names are: {', '.join(estimators.DEFAULTS)}.")
    if cv is not None and not (isinstance(cv, numbers.Integral) and cv >= 2):
        raise OptionError(f"The folds are {cv!r}, expected a whole number from 2.")
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**32:
        raise OptionError(f"The seed is {seed!r}, expected a whole number from 0 to {2**32 - 1}.")
    if sample_rows is None:
        return
    if isinstance(sample_rows, bool) or not isinstance(sample_rows, numbers.Integral) or sample_rows < 1:
        raise OptionError(f"The rows to sample are {sample_rows!r}, expected a whole number from 1.")


def _units(units, columns, is_published):
    """Return the unit of each column that has one."""
    kinds = {column.name: column.kind for column in columns}
    for name in units:
        if name not in kinds:
            hint = did_you_mean(name, kinds)
            raise OptionError(f"A unit was given for {name!r}, which is neither target nor feature.{hint}")
        if kinds[name] != "number":
            raise OptionError(f"A unit was given for {name!r}, which is no number: it is a {kinds[name]}.")
    units = {name: unit.strip() for name, unit in units.items()}
    for name, unit in units.items():
        if not unit or not unit.isprintable():
            raise OptionError(f"The unit of {name!r} is {unit!r}, expected a word such as cm.")
    units = {**(PUBLISHED_UNITS if is_published else {}), **units}
    return {
        name: INCHES.get(units[name].casefold(), units[name])
        for name in kinds
        if name in units and kinds[name] == "number"
    }


def _split(goal, task, tsize, seed, path, notices):
    """Split the rows, the same share of each class; both parts need two at least. Return the rows' numbers."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(goal.values))
    held_out = math.ceil(len(rows) * tsize)
    if held_out < 2 or len(rows) - held_out < 2:
        raise DataError(
            f"{len(rows)} rows of {path} are used; a test size of {tsize:g} holds out {held_out} of them and leaves "
            f"{len(rows) - held_out} to train on. Both parts need at least 2: more rows, or another test size."
        )
    strata = None
    if task == "classification":
        counts = np.bincount(goal.values.astype(np.int64))
        rarest = int(counts.argmin())
        if counts[rarest] < 2:
            raise DataError(
                f"{path}: the class {goal.categories[rarest]!r} of {goal.name!r} is there once; a class needs 2 rows "
                "at least, one to train on and one to hold out. Add rows, or remove that one."
            )
        if min(held_out, len(rows) - held_out) >= len(counts):
            strata = goal.values
        else:
            notices.append(
                f"{held_out} held-out rows are too few for {len(counts)} classes: they were drawn at random."
            )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", estimators.MANY_CLASSES)
        train, test = train_test_split(rows, test_size=tsize, random_state=seed, stratify=strata)
    if strata is None and task == "classification" and len(np.unique(goal.values[train])) < len(counts):
        raise DataError(
            f"{path}: the {len(train)} training rows lack a class of {goal.name!r}. "
            "More rows, another seed or another test size may help."
        )
    return train, test


def _describe(found, train, units, are_named, path, notices):
    """Describe the features in the training rows, and make the matrix of all rows.

    Returns
    -------
    columns : list of Column
        Each with its ``card``, as the signature has it.
    matrix : numpy.ndarray of float64, shape (rows, features)
    """
    import numpy as np

    from core.columns import describe, trained_first

    columns, values, constant = [], [], []
    for each in found:
        ordered = trained_first(each, train)
        of_train = ordered.values.take(train)
        low, high = np.fmin.reduce(of_train), np.fmax.reduce(of_train)
        has_gaps = bool(np.isnan(of_train).any()) and not math.isnan(low)
        if not low < high and not (each.kind in ("category", "boolean") and has_gaps):
            constant.append(each.name)
            continue
        card = describe(ordered, units.get(each.name), of_train)
        columns.append(Column.of(card))
        values.append(ordered.values)
    if constant and (are_named or not columns):
        raise DataError(
            f"{path}: column {constant[0]!r} has one value only in the {len(train)} training rows. "
            "More rows, another seed or another test size may help; or other features."
        )
    if constant:
        notices.append(f"Left out, the same in every training row: {', '.join(constant)}.")
    return columns, np.column_stack(values)


def _describe_target(goal, units, y_train, path):
    """Describe the target in the training rows, for the signature."""
    from core.columns import describe

    if goal.kind == "number" and y_train.min() == y_train.max():
        raise DataError(
            f"{path}: column {goal.name!r} has one value only in the {len(y_train)} training rows. "
            "More rows, another seed or another test size may help."
        )
    return describe(goal, units.get(goal.name), y_train)


def _weights_of_places(weights, goal):
    """Say the weights of classes by their places, as the estimator knows them."""
    places = {category_text(label): place for place, label in enumerate(goal.categories)}
    for label in weights:
        if category_text(label) not in places:
            raise OptionError(
                f"class_weight has {label!r}, which is no class of {goal.name!r}.{did_you_mean(label, places)} "
                f"The classes are: {', '.join(places)}."
            )
    return {places[category_text(label)]: weight for label, weight in weights.items()}


def _calibration_folds(goal, y, folds):
    """In how many folds a calibration, itself inside of folds or not, has rows of each class: 5 at most, 2 at least."""
    import numpy as np

    if goal.kind == "number":
        return 2
    rarest = int(np.bincount(y.astype(np.int64)).min())
    return max(2, min(5, rarest - math.ceil(rarest / folds) if folds else rarest))


def _always(task, y_train, n):
    """Answer n rows without looking at them: with the mean, or with how often each class is."""
    import numpy as np

    if task == "regression":
        return np.full(n, y_train.mean())
    return np.tile(np.bincount(y_train.astype(np.int64)) / len(y_train), (n, 1))


def _interval(residuals):
    return {"coverage": COVERAGE, "half_width": conformal_half_width(residuals, COVERAGE), "n": len(residuals)}


def _golden_rows(columns, train):
    """Rows whose answers prove a loaded model: the edges, the middle, and two of the table if it may be shown."""
    import numpy as np

    edges = [[column.first for column in columns], [_middle(column) for column in columns]]
    edges.append([column.last for column in columns])
    return np.vstack([edges, train[:1], train[-1:]])


def _sample(x_train, y_train, n, seed):
    """Draw some of the training rows, without looking at the others."""
    import numpy as np

    n = min(int(n), len(x_train), MOST_SAMPLED // (x_train.shape[1] + 1))
    drawn = np.sort(np.random.default_rng(seed).choice(len(x_train), n, replace=False, shuffle=False))
    return {"rows": _json_rows(x_train[drawn]), "target": y_train[drawn].tolist()}


def _json_rows(x):
    """Rows as JSON has them: with None for NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in x.tolist()]


def _middle(column):
    """The number that the model computes on for a column's example."""
    return column.median if column.kind in ("number", "date") else column.read(column.example)


def _title(target, names, is_published):
    """Say in words what is predicted from what."""
    source = " and ".join(names) if len(names) < 4 else f"{len(names)} columns"
    return f"{target} From {source} of MLB Players" if is_published else f"{target} from {source}"


def conformal_half_width(residuals, coverage=COVERAGE):
    """Half-width of a prediction interval, by split conformal prediction.

    An interval of this half-width around an answer holds the true value of a new row with at least the chance
    `coverage`, for any model and any distribution, as long as the new row and the held-out rows are exchangeable.

    Parameters
    ----------
    residuals : array, shape (n,)
        Absolute residuals of rows that were not trained on, in the target's unit.
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float or None
        In the target's unit: the k-th smallest residual, k = ceil((n + 1) * coverage). None when n is too small
        for that coverage (k > n; for 0.9 less than 9 rows).

    Source
    ------
    Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World (2005); Lei, G'Sell, Rinaldo, Tibshirani,
    Wasserman: Distribution-Free Predictive Inference for Regression, JASA 113 (2018), section 2.2.

    Examples
    --------
    >>> conformal_half_width([0.5, 0.1, 0.4, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9])
    0.9
    """
    import numpy as np

    rank = math.ceil(round((len(residuals) + 1) * coverage, 9))  # 10 * 0.9 is 9, whatever the last bit says
    return None if rank > len(residuals) else float(np.partition(residuals, rank - 1)[rank - 1])


def _file_stem(path):
    """`data/houses.csv.gz` is named houses."""
    name = os.path.basename(path)
    return os.path.splitext(name.removesuffix(".gz"))[0]


@functools.cache
def _package_versions():
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}


def _version(digest, options, packages):
    """Name the content: what a model is made from, neither clock nor machine."""
    made_from = json.dumps([digest, options, packages], sort_keys=True, default=repr)
    return hashlib.sha256(made_from.encode()).hexdigest()[:12]


# ----------------------------------------------------------------------------------------------------- compile


def _compile(model, task, train, y_train, tolerance, others):
    """Compile a fitted model and hold the compiled form against it: on all rows of training, and on others.

    Returns
    -------
    graph : onnx.ModelProto or None
        None where it cannot be compiled, or does not agree.
    compiled : dict
        ``tolerance``; ``chunk``, how many rows are best answered at once; ``worst``, the largest difference as a share
        of the target's range, or of probabilities (None where it is no number or nothing was compared), and ``rows``,
        on how many; ``refused``, why there is no compiled form, or None.
    """
    import numpy as np

    from core.compiler import write_graph

    result = {"tolerance": tolerance, "chunk": CHUNK, "worst": None, "rows": 0, "refused": None}
    try:
        graph = write_graph(model, train.shape[1])
        widest = max((size for constant in graph.graph.initializer for size in constant.dims), default=1)
        result["chunk"] = max(CHUNK_LEAST, min(CHUNK, CHUNK_VALUES // widest))
        run = Session(graph.SerializeToString())
    except Exception as error:  # pylint: disable=broad-exception-caught  # converters raise anything; it is told
        reason = str(error).strip().partition("\n")[0]
        return None, {**result, "refused": f"it cannot be compiled ({type(error).__name__}: {reason})"}
    unit, worst = (np.ptp(y_train), -1.0) if task == "regression" else (1.0, -1.0)
    original = model.predict if task == "regression" else model.predict_proba
    for rows in (train, others):
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            truth, answers = original(part), _in_chunks(run, part, result["chunk"])
            difference = abs(answers - truth) / unit
            if task == "classification":
                difference = difference.max(axis=1) + (_classes(answers) != _classes(truth))
            row = int(difference.argmax())  # a NaN is the largest, and within no tolerance
            if not difference[row] <= worst:
                worst, at = float(difference[row]), (part[row], answers[row], truth[row])
            if math.isnan(worst):
                break
    result |= {"worst": worst if math.isfinite(worst) else None, "rows": len(train) + len(others)}
    if not worst <= tolerance:
        row, answer, truth = (", ".join(f"{value:.6g}" for value in np.ravel(part)) for part in at)
        return None, {**result, "refused": f"at {row} it answers {answer} and scikit-learn {truth}"}
    if "KNeighbors" in type(estimators.final(model)).__name__:
        return None, {**result, "refused": TIES}  # no comparison shows that none will be met
    return graph, result


def _classes(probabilities):
    """The class that is answered of each row, as `Signature.classes` does."""
    return (probabilities >= probabilities.max(axis=1, keepdims=True) - TIE).argmax(axis=1)


def _parity_rows(columns):
    """Rows to compare on beside those of training: edges, each category, gaps, beyond, and random ones in between."""
    import numpy as np

    generator = np.random.default_rng(0)
    middle = np.array([_middle(column) for column in columns])
    low, high = (np.array([getattr(column, end) for column in columns]) for end in ("first", "last"))
    rows, between = [low, high], []
    for i, column in enumerate(columns):
        is_number = column.kind in ("number", "date")
        edges = [low[i], high[i]] if is_number else np.arange(float(len(column.histogram["counts"])))
        for edge in [*edges, *[math.nan] * column.missing]:
            rows.append(middle.copy())
            rows[-1][i] = edge
        column_between = generator.uniform(low[i], high[i], 1000) if is_number else generator.choice(edges, 1000)
        if column.missing:
            column_between[generator.random(1000) < 0.1] = math.nan
        between.append(column_between)
    span = np.where([column.kind == "number" for column in columns], high - low, 0)
    beyond = [low - span, low - span / 2, high + span / 2, high + span, high + 10 * span]
    return np.vstack([*rows, *beyond, np.column_stack(between)])


# --------------------------------------------------------------------------------------------- load, predict


class Model:
    """A loaded model: its signature, and the function that answers.

    Parameters
    ----------
    signature : Signature
    run : function
        Of an array of float64, shape (rows, inputs), to one of shape (rows,), or of (rows, classes) for a classifier.
    form, path : str
        "onnx" or "joblib"; and the file that answers, where it came from one.

    Attributes
    ----------
    row : function
        Of a list of float, shape (features,), to the answer of that one row: `predict` for the quick.

    Examples
    --------
    >>> load_model().predict([[180.0]])
    array([72.158...])
    """

    def __init__(self, signature, run, form, path=None):
        self.signature, self.form, self.path = signature, form, path
        self.run = (lambda x: run(signature.spread(x))) if signature.has_dates else run
        self.row = self._row if signature.has_dates else getattr(run, "row", self._row)

    def predict(self, x):
        """Answer without checks or words, as scikit-learn does.

        Parameters
        ----------
        x : array of float, shape (rows, features)
            In the features' order, as the model computes on them: numbers in their units, a category's place in the
            signature, true and false as 1 and 0, dates in days since 1970, and NaN for what is missing.

        Returns
        -------
        numpy.ndarray of float64, shape (rows,) or (rows, classes)
            In the target's unit; of a classifier the probability of each class.
        """
        import numpy as np

        chunk = CHUNK if self.form == "joblib" else self.signature.compiled["chunk"]
        return _in_chunks(self.run, np.ascontiguousarray(x, dtype=np.float64), chunk)

    def _row(self, values):
        import numpy as np

        return self.run(np.array([values]))[0].tolist()


def _in_chunks(run, x, chunk):
    """Run a model over an array, a part at a time."""
    import numpy as np

    if len(x) <= chunk:
        return run(x)
    first = run(x[:chunk])
    answers = np.empty((len(x), *first.shape[1:]))
    answers[:chunk] = first
    for start in range(chunk, len(x), chunk):
        answers[start : start + chunk] = run(x[start : start + chunk])
    return answers


def load_model(model=None, sha256=None):
    """Load a model that `retrain` wrote. A file that did not change is loaded once a process.

    The compiled form beside it is taken when it was compiled from this very file, or when only it is there: it is data,
    needs no scikit-learn, and gives the same answers. Else the joblib file is loaded, and a joblib file is code:
    loading one runs what its maker put in. Load only files you made or trust, or whose digest you know (`sha256`); the
    digest in the file, which is always checked, guards against damage, not against malice.

    Parameters
    ----------
    model : path, optional
        The file; without it that named by MLOPS_MODEL, else model.joblib beside mlib.py. A compiled form may be named
        itself.
    sha256 : str, optional
        The digest, 64 hex digits, that the file of that name has to have; that very file is loaded then.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        The file is missing, damaged, foreign, has another digest, was written by another scikit-learn version, or
        does not answer here as it did where it was trained.
    OptionError
        The digest is none.
    """
    path = model_path(model)
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise OptionError(f"The sha256 is {shown(sha256)!r}, expected 64 hex digits, as sha256sum prints them.")
    return _load(path, sha256, *model_stamp(path))


def model_stamp(model=None):
    """Tell what changes when a model's files do.

    Parameters
    ----------
    model : path, optional
        As for `load_model`.

    Returns
    -------
    tuple
        Of the file and of its compiled form, (time, size, inode) or None where there is none.
    """
    path = os.path.realpath(model_path(model))  # the compiled form lies beside the file, not beside a link to it
    return artifact.stamp(path), artifact.stamp(compiled_path(path))


@functools.lru_cache(maxsize=8)
def _load(path, sha256, _path_stamp, _compiled_stamp):
    path = os.path.realpath(path)
    compiled = compiled_path(path)
    if artifact.is_alone(path):
        content, card, _ = artifact.read_onnx(compiled)
        _check_digest(compiled, content, sha256)
        return _proved(compiled, _load_onnx(compiled, content, Signature.parse(compiled, card)))
    content, card = artifact.read_joblib(path)
    signature = Signature.parse(path, card)
    digest = _check_digest(path, content, sha256)
    if os.path.lexists(compiled) and sha256 is None:  # a digest speaks for the file of that name, and for no other
        compiled_content, _, compiled_from = artifact.read_onnx(compiled)
        if compiled_from == digest:
            return _proved(compiled, _load_onnx(compiled, compiled_content, signature))
    return _proved(path, _load_joblib(path, content, signature))


def _check_digest(path, content, sha256):
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise ModelError(f"{path} has the sha256 {digest}, and {sha256} was asked for. It was not loaded.")
    return digest


def _load_onnx(path, content, signature):
    try:
        run = Session(content)
    except ModuleNotFoundError as error:
        raise ModelError(f"{path} needs onnxruntime, not installed here. Try: pip install onnxruntime") from error
    except Exception as error:  # pylint: disable=broad-exception-caught  # ONNX Runtime's have no common name
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path} cannot be run by this ONNX Runtime: {reason}") from error
    return Model(signature, run, "onnx", path)


def _load_joblib(path, content, signature):
    try:
        import joblib
        import sklearn
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{path} has no compiled form beside it that is of it, so it needs scikit-learn, which is not installed: "
            "pip install -r requirements.txt"
        ) from error
    trained_with = signature.packages["scikit-learn"]
    if trained_with != sklearn.__version__:
        raise ModelError(
            f"{path} was written by scikit-learn {trained_with}, and {sklearn.__version__} is installed; the one does "
            f"not safely read the other's. Install scikit-learn=={trained_with}, or train again: "
            f"./utilscli.py retrain --model-name {path}"
        )
    try:
        trained = joblib.load(io.BytesIO(content))
    except Exception as error:  # pylint: disable=broad-exception-caught  # unpickling raises anything
        raise ModelError(f"{path} cannot be loaded here: {type(error).__name__}: {error}.") from error
    run = trained.predict if signature.task == "regression" else trained.predict_proba
    return Model(signature, run, "joblib", path)


def _proved(path, model):
    """Return a model that answers its golden rows as the trained one did; refuse it otherwise."""
    import numpy as np

    golden, target = model.signature.golden, model.signature.target
    answers = model.predict(np.array(golden["rows"], dtype=np.float64))
    unit = target.max - target.min if model.signature.task == "regression" else 1.0
    difference = abs(answers - golden["answers"]).reshape(len(answers), -1).max(axis=1) / unit
    row = int(difference.argmax())
    if not difference[row] <= golden["tolerance"]:
        answer, expected = (
            ", ".join(f"{value:.10g}" for value in np.ravel(part[row])) for part in (answers, golden["answers"])
        )
        raise ModelError(
            f"{path} answers {answer} to its golden row {golden['rows'][row]}, and answered {expected} where it was "
            "trained; another processor, or other package versions? Train it again here."
        )
    return model


def predict(x, model=None, interval=False):
    """Predict the target, in words as well as in numbers.

    Parameters
    ----------
    x : number, text, mapping, list of mappings, pandas.DataFrame or numpy.ndarray
        One value for a model of one feature (180: pounds), or rows that name their values (``{"Weight": 180}``),
        or an array of float, shape (rows, features), as for `Model.predict`.
    model : path or Model, optional
        As for `load_model`.
    interval : bool
        Add the prediction interval.

    Returns
    -------
    dict, list of dict, or numpy.ndarray
        A dict for one row, a list in their order for many: ``height_inches`` (``<target>_<unit>``), and
        ``height_human_readable`` where the target is in inches; ``interval`` with ``low``, ``high`` (the target's
        unit) and ``coverage`` where it was asked for; ``warnings`` where a value lies outside what training saw.
        Of a classifier ``<target>``, the most probable class, and ``probabilities``, a dict of each class's.
        An array is answered by an array as of `Model.predict`: the numbers alone.

    Raises
    ------
    InputError
        A value is missing, no number, NaN or infinite, or no category of the table; a name is unknown; a value is
        zero or negative where the table has only positive ones.
    ModelError
        The model cannot be loaded, or has no interval.
    OptionError
        An interval was asked for of an array.

    Examples
    --------
    >>> predict({"Weight": 180})
    {'height_inches': 72.16, 'height_human_readable': '6 foot, 0 inches'}
    >>> predict(400)["warnings"]
    [{'field': 'Weight', 'got': 400, 'expected': '145 to 300 pounds, as in training'}]
    """
    model = model if isinstance(model, Model) else load_model(model)
    signature = model.signature
    if interval and signature.interval is None:
        raise OptionError("The model answers classes, and these have probabilities, no interval.")
    if interval and signature.interval["half_width"] is None:
        raise ModelError(
            f"The model has no prediction interval: {signature.interval['n']} held-out rows are too few for "
            f"{signature.interval['coverage']:.0%}. Train it with more rows, or with a larger test size."
        )
    if isinstance(x, (dict, Mapping)):  # of a dict the first tells, many times as quickly
        values, errors = signature.check(x)
        if errors:
            raise InputError(errors)
        return tell_one(signature, model.row(values), values, interval)

    import numpy as np

    if isinstance(x, np.ndarray) and not x.ndim:
        x = x.item()
    if isinstance(x, np.ndarray):
        if interval:
            raise OptionError("An array is answered by numbers alone. For intervals give rows: a list, or a DataFrame.")
        array = _array(x, signature)
        return model.predict(array)
    if isinstance(x, (list, tuple)):
        return _answers(model, _rows(x, signature), interval)
    if hasattr(x, "columns"):
        return _answers(model, _frame(x, signature), interval)
    if len(signature.features) == 1:
        return predict({signature.features[0].name: x}, model, interval)
    names = ", ".join(feature.name for feature in signature.features)
    raise InputError([{"field": "(row)", "got": shown(x), "expected": f"a mapping with {names}"}])


def read_rows(path, signature):
    """Read the rows of a file that are to be predicted; needs no pandas, but for Parquet.

    Parameters
    ----------
    path : path
        CSV with a header line (any separator), JSON (a list of objects) or JSON lines, packed by gzip or not, or
        Parquet; ``-`` is the standard input.
    signature : Signature
        Of the model that is to answer.

    Returns
    -------
    rows : list of dict
        As `predict` takes them: text is parsed, in JSON too, and columns that are no features are left out.
    notices : list of str
        What was left out.

    Raises
    ------
    DataError
        It cannot be read.

    Examples
    --------
    >>> rows, notices = read_rows(DATA, Signature.read())
    >>> rows[0], notices
    ({'Weight': ...}, ['Ignored, no features of the model: ...'])
    """
    from core.reading import read_rows as read

    rows, has_commas, notices = read(path)
    source = "The standard input" if path == "-" else path
    names = [feature.name for feature in signature.features]
    present = dict.fromkeys(itertools.chain.from_iterable(rows))
    ignored = [name for name in present if name not in names]
    absent = [feature for feature in signature.features if feature.name not in present]
    for feature in absent:
        if not feature.missing:
            raise DataError(
                f"{source} has no column {feature.name!r}.{did_you_mean(feature.name, ignored)} "
                f"It has: {', '.join(present)}."
            )
    if ignored:
        notices = [*notices, f"Ignored, no features of the model: {', '.join(ignored)}."]
    if absent:
        notices = [*notices, f"Taken as missing in every row: {', '.join(feature.name for feature in absent)}."]
    rows = [{name: row[name] for name in names if name in row} for row in rows]
    return [signature.parse_row(row, has_commas) for row in rows], notices


def parse_csv(content, signature, name, is_headless=False):
    """Read rows to predict from CSV that is in memory.

    Parameters
    ----------
    content : bytes
        UTF-8, any usual separator, with a header line that names features.
    signature : Signature
        Of the model that is to answer.
    name : str
        What it is called in an error.
    is_headless : bool
        Whether the header may be absent; the fields are then the features, in their order.

    Returns
    -------
    list of dict
        As `predict` takes them.

    Raises
    ------
    DataError
        It cannot be read.
    InputError
        The header has what is no feature, or lacks one.
    """
    from core.reading import parse_csv as parse

    names = [feature.name for feature in signature.features]
    rows, has_commas = parse(content, name, names if is_headless else None)
    signature.check_names(rows[0])
    return [signature.parse_row(row, has_commas) for row in rows]


def _array(x, signature):
    """Check an array; one dimension will do for one feature."""
    import numpy as np

    width = len(signature.features)
    array = x.reshape(-1, 1) if x.ndim == 1 and width == 1 else x
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "iuf":
        expected = f"numbers of shape (rows, {width})"
        got = f"an array of {x.dtype}, shape {x.shape}"
        raise InputError([{"field": "(array)", "got": got, "expected": expected}])
    array = np.ma.filled(array.astype(np.float64, copy=False), np.nan)  # what is masked is missing
    signature.check_array(array)
    return array


def _rows(rows, signature):
    """Check a list of mappings (of numbers, for one feature) and make it an array; all problems at once."""
    import numpy as np

    found = signature.read_many(rows)
    if found is not None:
        return found
    array, problems = [], []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping) and len(signature.features) == 1:
            row = {signature.features[0].name: row}
        if isinstance(row, Mapping):
            values, errors = signature.check(row)
        else:
            names = ", ".join(feature.name for feature in signature.features)
            values, errors = [], [{"field": "(row)", "got": shown(row), "expected": f"an object with {names}"}]
        array.append(values)
        problems += [{"row": number, **error} for error in errors]
        if len(problems) > MOST_PROBLEMS:
            break
    if problems:
        raise InputError(problems)
    return np.array(array, dtype=np.float64).reshape(-1, len(signature.features))


def _frame(table, signature):
    """Check a DataFrame and make it an array, a column at a time; all problems at once."""
    import numpy as np

    signature.check_names(table.columns)
    columns, problems = [], []
    for feature in signature.features:
        if feature.name not in table.columns:
            columns.append(np.full(len(table), np.nan))
            continue
        column = table[feature.name]
        if feature.kind == "number" and column.dtype.kind in "iuf":
            values = column.to_numpy(np.float64, na_value=np.nan)
            bad = np.flatnonzero(feature.refused(values)).tolist()
        else:
            cells = column.astype(object).where(column.notna(), None)
            values = [feature.read(cell) for cell in cells]
            bad = [row for row, value in enumerate(values) if value is None]
        columns.append(values)
        for row in bad[:MOST_PROBLEMS]:
            got = column.iloc[row]
            got = None if column.isna().iloc[row] else got
            expected = feature.refusal(got)
            problems.append({"row": row + 1, "field": feature.name, "got": shown(got), "expected": expected})
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem["row"]))
    return np.column_stack(columns).astype(np.float64)


def _answers(model, array, interval):
    """Predict checked rows in one call, and put each answer into words."""
    return tell_many(model.signature, model.predict(array), array, interval) if array.size else []


# ---------------------------------------------------------------------- the published steps, words for people


def format_input(x):
    """Make a number, or a list of numbers, a column.

    Parameters
    ----------
    x : number or sequence of numbers, shape (n,)

    Returns
    -------
    numpy.ndarray, shape (n, 1)

    Examples
    --------
    >>> format_input(2).shape
    (1, 1)
    """
    import numpy as np

    return np.array(x).reshape(-1, 1)


def scale_input(feature, model=None):
    """Standardise feature values as the model does: with the mean and deviation of its training rows.

    Parameters
    ----------
    feature : array, shape (n, features)
        In the features' units: pounds.
    model : path, optional
        As for `load_model`.

    Returns
    -------
    numpy.ndarray, shape (n, features)
        Without unit: 0 is the mean, 1 a standard deviation above it.

    Raises
    ------
    InputError
        As for `predict`: another shape, or a value that cannot be.
    OptionError
        The model has features that are no numbers, or have gaps.

    Examples
    --------
    >>> scale_input(format_input(208)).round(2)
    array([[0.01]])
    """
    import numpy as np

    signature = load_model(model).signature
    if any(feature.kind != "number" or feature.missing for feature in signature.features):
        raise OptionError("Only numbers without gaps are scaled alone; this model has other features. Use predict.")
    means, scales = zip(*((column.mean, column.scale) for column in signature.features), strict=True)
    return (_array(np.asarray(feature), signature) - means) / scales


def scale_target(target, model=None):
    """Take standardised answers back to the target's unit (the published name: it is the inverse).

    Parameters
    ----------
    target : array, any shape
        Without unit.
    model : path, optional
        As for `load_model`.

    Returns
    -------
    numpy.ndarray, the same shape
        In the target's unit: inches.

    Raises
    ------
    OptionError
        The model answers classes.

    Examples
    --------
    >>> scale_target([[0.0]]).round(1)
    array([[73.6]])
    """
    import numpy as np

    column = load_model(model).signature.target
    if column.kind != "number":
        raise OptionError("Only a target of numbers has a scale; this model answers classes. Use predict.")
    return np.asarray(target) * column.scale + column.mean


def human_readable_payload(predict_value, name="height"):
    """Make the published answer of a height.

    Parameters
    ----------
    predict_value : float, or an array of one
        Inches.
    name : str
        What was measured.

    Returns
    -------
    dict
        ``height_inches``, rounded to two decimals, and ``height_human_readable``.

    Examples
    --------
    >>> human_readable_payload(73.4)
    {'height_inches': 73.4, 'height_human_readable': '6 foot, 1 inches'}
    """
    inches = round(float(getattr(predict_value, "item", lambda: predict_value)()), 2)
    return {f"{name}_inches": inches, f"{name}_human_readable": height_human(inches)}
