"""The library: from a table to a trained model, and from a model to an answer.

It reads in the order of the data's journey:
read -> check -> split -> scale -> fit -> evaluate -> compile -> save | load -> check -> predict -> inverse -> words.

>>> import mlib
>>> mlib.predict(180)
{'height_inches': 72.16, 'height_human_readable': '6 foot, 0 inches'}

A model is two files. model.joblib is the trained scikit-learn object; model.onnx is its compiled form, the same
function as data, which answers without scikit-learn. It is written only when the two agree.

The packages that do the work (numpy, pandas, scikit-learn, ONNX Runtime, ...) are imported by the functions that use
them, never at the top: `--help` must not wait for any, nor a prediction for those that train.
"""

import contextlib
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
from dataclasses import dataclass

__version__ = "1.0.0"

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "htwtmlb.csv")
MODEL = os.path.join(HERE, "model.joblib")

# A table with the columns of the published one is taken to be in its units, and about its players.
PUBLISHED_COLUMNS = {"Name", "Team", "Position", "Height", "Weight", "Age"}
PUBLISHED_UNITS = {"Height": "inches", "Weight": "pounds", "Age": "years"}

ESTIMATORS = {
    "ridge": "sklearn.linear_model.Ridge",
    "linear": "sklearn.linear_model.LinearRegression",
    "lasso": "sklearn.linear_model.Lasso",
    "elastic-net": "sklearn.linear_model.ElasticNet",
    "random-forest": "sklearn.ensemble.RandomForestRegressor",
    "gradient-boosting": "sklearn.ensemble.GradientBoostingRegressor",
    "hist-gradient-boosting": "sklearn.ensemble.HistGradientBoostingRegressor",
    "k-neighbors": "sklearn.neighbors.KNeighborsRegressor",
    "svm": "sklearn.svm.SVR",
    "mlp": "sklearn.neural_network.MLPRegressor",
    "dummy": "sklearn.dummy.DummyRegressor",
}

COVERAGE = 0.9  # of the prediction interval
BINS = 10  # of a column's histogram in the signature
LARGEST = 1e100  # of numbers that are trained on: squares and sums of them are still numbers
FARTHEST = 1e9  # standard deviations from training's mean: beyond, estimators overflow, and no answer means anything
SHOWN_PROBLEMS = 5  # of many problems, so many are told in one line
MOST_PROBLEMS = 100  # and so many are collected: a million bad rows need no million complaints
PACKAGES = ("scikit-learn", "scipy", "numpy", "pandas", "joblib", "skl2onnx", "onnx", "onnxruntime")  # a model's makers

LINEAR = {"ridge", "linear", "lasso", "elastic-net"}
TOLERANCE = 1e-9  # between original and compiled, as a share of the target's range: of linear models,
TOLERANCE_OTHERS = 1e-6  # and of the others
TIES = "which of several equally near neighbours count is an accident of scikit-learn's search"
MANY = 10_000  # rows that are worth a second thread
CHUNK = 131_072  # rows that are predicted at once: what lies between stays small, however many there are

INCHES = {"in": "inches", "inch": "inches"}  # one word for one unit: it names the answer's key


# ---------------------------------------------------------------------------------------------------- errors


class Error(Exception):
    """A failure that was foreseen. Its text is one line for people: what happened, and what to do next."""

    exit_code = 1  # what a command line that meets it ends with

    def __init__(self, text):
        """Keep the text to one line, whatever names and values from elsewhere stand in it."""
        super().__init__("".join(char if char.isprintable() else " " for char in text))


class DataError(Error):
    """A table that cannot be read or trained on."""


class ModelError(Error):
    """A model file that is missing, damaged, foreign or from other package versions; or cannot be written."""


class OptionError(Error, ValueError):
    """An argument of `retrain` that cannot be."""

    exit_code = 2


class GateError(Error):
    """A condition that the caller asked for did not hold."""

    exit_code = 5


class InputError(Error, ValueError):
    """Rows that cannot be predicted.

    Attributes
    ----------
    errors : list of dict
        A dict a problem: ``field``, ``got``, ``expected``, and ``row`` (from 1) when there were several rows;
        the first 100 of them.
    """

    def __init__(self, errors):
        self.errors = errors[:MOST_PROBLEMS]
        shown = "; ".join(map(problem_text, errors[:SHOWN_PROBLEMS]))
        super().__init__(shown + ("; and more" if len(errors) > SHOWN_PROBLEMS else ""))


def problem_text(problem):
    """Say one problem or warning in words.

    Parameters
    ----------
    problem : dict
        ``field``, ``got``, ``expected`` and, of several rows, ``row``.

    Returns
    -------
    str
        Such as ``"Weight: got -5, expected a number above 0"``.
    """
    row = f"row {problem['row']}, " if "row" in problem else ""
    got = "nothing" if problem["got"] is None else json.dumps(problem["got"], ensure_ascii=False)
    return f"{row}{problem['field']}: got {got}, expected {problem['expected']}"


def _did_you_mean(name, names):
    """Make a hint of the nearest of the names that exist, upper and lower case being equal; "" where none is near."""
    import difflib

    folded = {known.casefold(): known for known in names}
    found = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    return f" Did you mean {folded[found[0]]}?" if found else ""


# ------------------------------------------------------------------------------------------------ read, check


def data(path=DATA):
    """Read a table.

    Parameters
    ----------
    path : path
        A CSV file with a header line; the project's own table unless told.

    Returns
    -------
    pandas.DataFrame
        As the file has it: for htwtmlb.csv 1,277 rows by 7 columns, Height in inches, Weight in pounds.

    Raises
    ------
    DataError
        The file is missing, empty, no CSV, or has a header only; two columns have one name; rows have more fields
        than the header.

    Examples
    --------
    >>> int(data()["Weight"].min())
    145
    """
    return _read(path)[0]


def _read(path):
    """Return the table and the sha256 of the very bytes it was read from."""
    import pandas as pd

    try:
        with open(path, "rb") as file:
            content = file.read()
        header = pd.read_csv(io.BytesIO(content), header=None, nrows=1, dtype=str).iloc[0].tolist()
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # a column of mixed kinds may be none that is used
            table = pd.read_csv(io.BytesIO(content), index_col=False)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Name a CSV file with a header line.") from error
    except pd.errors.ParserWarning as error:
        raise DataError(f"{path} has rows with more fields than its header.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8 CSV.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty. It needs a header line and rows.") from error
    except pd.errors.ParserError as error:
        reason = str(error).strip().replace("Error tokenizing data. C error: ", "")
        raise DataError(f"{path} cannot be read as CSV: {reason}.") from error
    if table.empty:
        raise DataError(f"{path} has a header but no rows.")
    for name in header:
        if header.count(name) > 1:
            raise DataError(
                f"{path} has {header.count(name)} columns of the name {name!r}. Give each a name of its own."
            )
    return table, hashlib.sha256(content).hexdigest()


def _check_columns(table, target, features, path):
    """Raise DataError for a column that is not in the table, OptionError for a choice that makes no model."""
    if not features:
        raise OptionError("No feature was named; a model needs at least one.")
    if target in features:
        raise OptionError(f"{target!r} cannot be both the target and a feature. Name other features.")
    if len(set(features)) < len(features):
        raise OptionError(f"A feature was named twice: {', '.join(features)}.")
    for name in (target, *features):
        if name not in table.columns:
            hint = _did_you_mean(name, table.columns)
            raise DataError(f"{path} has no column {name!r}.{hint} It has: {', '.join(table.columns)}.")


def _numbers(table, names, path):
    """Return the named columns as float64, shape (rows, names); tell of all that is wrong at once."""
    import numpy as np
    import pandas as pd

    numeric = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in names}
    problems = []
    for name, values in numeric.items():
        low, high = values.min(), values.max()  # NaN and infinity show in them
        if pd.api.types.is_bool_dtype(table[name]):
            problems.append(f"column {name!r} holds true and false, expected numbers")
        elif not (np.isfinite(low) and np.isfinite(high)):
            bad = ~np.isfinite(values)
            row = int(bad.argmax())
            value = table[name].iloc[row]
            got = "is empty or NA" if pd.isna(value) else f"is {_shown(str(value))!r}"
            more = f" (and {bad.sum() - 1:,} more rows)" if bad.sum() > 1 else ""
            problems.append(f"column {name!r}, row {row + 1} {got}, expected a number{more}")
        elif max(-low, high) > LARGEST:
            row = int(abs(values).argmax())
            problems.append(f"column {name!r}, row {row + 1} is {values[row]:g}, expected numbers within ±{LARGEST:g}")
        elif low == high:
            problems.append(f"column {name!r} is {plain(low)} in every row, expected values that differ")
    if problems:
        raise DataError(
            f"{path}: {'; '.join(problems)}. (Rows are counted from 1 after the header, without blank lines.)"
        )
    return np.column_stack(list(numeric.values()))


# ------------------------------------------------------------------------- split, scale, fit, evaluate, save


def retrain(  # pylint: disable=redefined-outer-name  # `data` is both a published function and a parameter
    tsize=0.1,
    model_name=MODEL,
    data=DATA,
    target="Height",
    features=("Weight",),
    *,
    units=None,
    estimator="ridge",
    seed=3,
    min_r2=None,
):
    """Train a model and write it, with its signature, to a file, and its compiled form beside it.

    The compiled form (the same name, ending in .onnx) is written when it agrees with the original; where it does not,
    the signature says why, and everything works from the original. The scalers see the training rows only. The
    held-out rows measure the model, and give the half-width of its prediction interval; they are not trained on
    afterwards.

    Parameters
    ----------
    tsize : float
        The share of the rows that is held out, between 0 and 1.
    model_name : path
        Where to write; replaced in one step, so that a reader never meets half a model.
    data : path
        A CSV file with a header line.
    target : str
        The column to predict.
    features : sequence of str
        The columns to predict from; numbers, without gaps.
    units : mapping of str to str, optional
        Units of columns, such as ``{"Height": "cm"}``. A table with the columns of the published one has that one's
        units (inches, pounds, years) unless told.
    estimator : str
        A name in `ESTIMATORS`.
    seed : int
        Of the split, and of estimators that draw random numbers.
    min_r2 : float, optional
        The least R² on held-out rows; a model below it is not written.

    Returns
    -------
    r2 : float
        R² on the held-out rows.
    model_name : path
        As it was given.

    Raises
    ------
    OptionError
        A test size outside (0, 1), an estimator nobody knows, the target among the features.
    DataError
        No such file or column, text or gaps among the numbers, a column without variation, too few rows.
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
    _check_packages()
    import numpy as np

    features = (features,) if isinstance(features, str) else tuple(features)
    _check_options(tsize, estimator, seed, min_r2, model_name)
    tsize, seed = float(tsize), int(seed)
    table, digest = _read(data)
    _check_columns(table, target, features, data)
    is_published = PUBLISHED_COLUMNS.issubset(table.columns)
    units = _units(units or {}, (target, *features), is_published)
    values = _numbers(table, (*features, target), data)

    train, test = _split(values, tsize, seed, (*features, target), data)
    model = _fit(_pipeline(estimator, seed), train[:, :-1], train[:, -1], estimator)
    answers = model.predict(test[:, :-1])
    metrics = {"n": len(test), **_metrics(test[:, -1], answers)}
    baseline = {"n": len(test), **_metrics(test[:, -1], [train[:, -1].mean()] * len(test))}
    if min_r2 is not None and not metrics["r2"] >= min_r2:
        raise GateError(
            f"R² is {metrics['r2']:.4f} on {len(test)} held-out rows, below the {min_r2:g} that was asked for. "
            "The model was not written."
        )

    scaler, target_scaler = model.regressor_[0], model.transformer_
    means, scales = [*scaler.mean_, *target_scaler.mean_], [*scaler.scale_, *target_scaler.scale_]
    columns = [
        _describe(name, units.get(name), train[:, i], means[i], scales[i]) for i, name in enumerate((*features, target))
    ]
    options = {
        "target": target,
        "features": features,
        "units": units,
        "estimator": estimator,
        "test_size": tsize,
        "seed": seed,
    }
    packages = _package_versions()
    tolerance = TOLERANCE if estimator in LINEAR else TOLERANCE_OTHERS
    low, middle, high = ([column[name] for column in columns[:-1]] for name in ("min", "median", "max"))
    golden = np.vstack([low, middle, high, train[0, :-1], train[-1, :-1]])  # edges, middle, and two more
    graph, compiled = _compile(model, train, tolerance, _parity_rows(low, middle, high))
    signature = {
        "format": 1,
        "name": f"{_file_stem(data)}-{key(target)}",
        "version": _version(digest, options, packages),
        "title": f"{target} From {' and '.join(features)}" + (" of MLB Players" if is_published else ""),
        "task": "regression",
        "target": columns[-1],
        "features": columns[:-1],
        "estimator": {
            "name": estimator,
            "class": ESTIMATORS[estimator],
            "parameters": model.regressor_[-1].get_params(),
        },
        "training": {"n": len(train), "test_size": tsize, "seed": seed},
        "metrics": metrics,
        "baseline": baseline,
        "interval": {
            "coverage": COVERAGE,
            "half_width": conformal_half_width(abs(test[:, -1] - answers), COVERAGE),
            "n": len(test),
        },
        "data": {"file": os.path.basename(data), "rows": len(table), "sha256": digest},
        "compiled": compiled,
        "golden": {"rows": golden.tolist(), "answers": model.predict(golden).tolist(), "tolerance": tolerance},
        "packages": packages,
    }
    _save(model_name, model, signature, graph)
    return metrics["r2"], model_name


def _check_packages():
    """Raise where training is not installed: an environment made to serve has no scikit-learn."""
    import importlib.util

    missing = [name for name in ("pandas", "sklearn", "joblib", "skl2onnx") if not importlib.util.find_spec(name)]
    if missing:
        raise Error(f"Training needs {', '.join(missing)}, not installed here. Try: pip install -r requirements.txt")


def _check_options(tsize, estimator, seed, min_r2, model_name):
    """Raise for what can be told before the table is read."""
    if not (isinstance(tsize, numbers.Real) and 0 < tsize < 1):
        raise OptionError(f"The test size is {tsize!r}, expected a share of the rows between 0 and 1, such as 0.1.")
    if estimator not in ESTIMATORS:
        hint = _did_you_mean(estimator, ESTIMATORS)
        raise OptionError(f"There is no estimator {estimator!r}.{hint} The names are: {', '.join(ESTIMATORS)}.")
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**32:
        raise OptionError(f"The seed is {seed!r}, expected a whole number from 0 to {2**32 - 1}.")
    if min_r2 is not None and not min_r2 <= 1:
        raise OptionError(f"The least R² is {min_r2!r}, expected a number of at most 1.")
    if os.fspath(model_name).endswith(".onnx"):
        raise OptionError(f"{model_name} is the name of a compiled form. Name the model itself, such as model.joblib.")
    folder = os.path.dirname(os.path.abspath(model_name))
    if not os.path.isdir(folder):
        raise ModelError(f"Cannot write the model: {model_name} is in a folder that does not exist ({folder}).")
    if os.path.isdir(model_name):
        raise ModelError(f"Cannot write the model: {model_name} is a folder.")
    compiled = compiled_path(os.path.realpath(model_name))
    if os.path.lexists(compiled) and not _is_compiled(compiled):
        raise ModelError(
            f"{compiled} is in the way: the compiled form would have that name, and it is none of this project, or "
            "damaged. Remove it, or name another model."
        )


def _units(units, names, is_published):
    """Return the unit of each named column that has one."""
    for name in units:
        if name not in names:
            hint = _did_you_mean(name, names)
            raise OptionError(f"A unit was given for {name!r}, which is neither target nor feature.{hint}")
    units = {name: unit.strip() for name, unit in units.items()}
    for name, unit in units.items():
        if not unit or not unit.isprintable():
            raise OptionError(f"The unit of {name!r} is {unit!r}, expected a word such as cm.")
    units = {**(PUBLISHED_UNITS if is_published else {}), **units}
    return {name: INCHES.get(units[name].casefold(), units[name]) for name in names if name in units}


def _split(values, tsize, seed, names, path):
    """Split the rows; both parts need two at least, and the training part needs variation."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    held_out = math.ceil(len(values) * tsize)
    if held_out < 2 or len(values) - held_out < 2:
        raise DataError(
            f"{path} has {len(values)} rows; a test size of {tsize:g} holds out {held_out} of them and leaves "
            f"{len(values) - held_out} to train on. Both parts need at least 2: more rows, or another test size."
        )
    train, test = train_test_split(np.arange(len(values)), test_size=tsize, random_state=seed)
    train, test = values.take(train, axis=0), values.take(test, axis=0)  # several times as quick as values[train]
    for name, column in zip(names, train.T, strict=True):
        if column.min() == column.max():
            raise DataError(
                f"{path}: column {name!r} has one value only in the {len(train)} training rows. "
                "More rows, another seed or another test size may help."
            )
    return train, test


def _pipeline(estimator, seed):
    """Make the unfitted model: features and target standardised, the target's scale taken back in the answer."""
    import importlib

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    module, name = ESTIMATORS[estimator].rsplit(".", 1)
    regressor = getattr(importlib.import_module(module), name)()
    if "random_state" in regressor.get_params():
        regressor.set_params(random_state=seed)
    return TransformedTargetRegressor(
        regressor=make_pipeline(StandardScaler(), regressor), transformer=StandardScaler()
    )


def _fit(model, x, y, estimator):
    """Fit, and try one answer: some estimators tell only then that the rows are too few."""
    try:
        model.fit(x, y)
        model.predict(x[:1])
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"The estimator {estimator} refuses these {len(x)} training rows: {reason}") from error
    return model


def _metrics(truth, answers):
    """R² and, in the target's unit, the mean absolute and the root mean squared error."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "r2": float(r2_score(truth, answers)),
        "mae": float(mean_absolute_error(truth, answers)),
        "rmse": float(root_mean_squared_error(truth, answers)),
    }


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


def _describe(name, unit, values, mean, scale):
    """Describe one column of the training rows, for the signature."""
    import numpy as np

    counts, edges = np.histogram(values, bins=BINS)
    return {
        "name": name,
        "kind": "number",
        "unit": unit,
        "min": float(values.min()),
        "max": float(values.max()),
        "median": float(np.median(values)),
        "mean": float(mean),
        "scale": float(scale),
        "missing": False,
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def _file_stem(path):
    """`data/houses.csv` is named houses."""
    return os.path.splitext(os.path.basename(path))[0]


@functools.cache
def _package_versions():
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}


def _version(digest, options, packages):
    """Name the content: what a model is made from, neither clock nor machine."""
    made_from = json.dumps([digest, options, packages], sort_keys=True)
    return hashlib.sha256(made_from.encode()).hexdigest()[:12]


# ----------------------------------------------------------------------------------------------------- compile


def _compile(model, train, tolerance, others):
    """Compile a fitted model and hold the compiled form against it: on all rows of training, and on others.

    Returns
    -------
    graph : onnx.ModelProto or None
        None where it cannot be compiled, or does not agree.
    compiled : dict
        ``tolerance``; ``worst``, the largest difference as a share of the target's range (None where it is no number
        or nothing was compared), and ``rows``, on how many; ``refused``, why there is no compiled form, or None.
    """
    import numpy as np

    from compiler import write_graph

    result = {"tolerance": tolerance, "worst": None, "rows": 0, "refused": None}
    try:
        graph = write_graph(model, train.shape[1] - 1)
        run = _session(graph.SerializeToString())
    except Exception as error:  # pylint: disable=broad-exception-caught  # converters raise anything; it is told
        reason = str(error).strip().partition("\n")[0]
        return None, {**result, "refused": f"it cannot be compiled ({type(error).__name__}: {reason})"}
    rows = np.vstack([train[:, :-1], others])
    original, answers = model.predict(rows), _in_chunks(run, rows)
    difference = abs(answers - original) / np.ptp(train[:, -1])
    row = int(difference.argmax())  # a NaN is the largest, and within no tolerance
    worst = float(difference[row])
    result |= {"worst": worst if math.isfinite(worst) else None, "rows": len(rows)}
    if not worst <= tolerance:
        at = ", ".join(map(plain, rows[row]))
        reason = f"at {at} it answers {answers[row]:.6g} and scikit-learn {original[row]:.6g}"
        return None, {**result, "refused": reason}
    if "KNeighbors" in type(model.regressor_[-1]).__name__:
        return None, {**result, "refused": TIES}  # no comparison shows that none will be met
    return graph, result


def _parity_rows(low, middle, high):
    """Rows to compare on beside those of training: the edges of the ranges, beyond them, and random ones in between."""
    import numpy as np

    low, middle, high = np.array([low, middle, high])
    span, which = high - low, np.arange(len(low))
    edges = [np.where(which == i, edge, middle) for edge in (low, high) for i in which]
    beyond = [low - span, low - span / 2, high + span / 2, high + span, high + 10 * span]
    between = np.random.default_rng(0).uniform(low, high, (1000, len(low)))
    return np.vstack([low, high, *edges, *beyond, between])


def _session(content):
    """Return the function of an ONNX model's bytes: an array of float64, shape (rows, features), to one of (rows,)."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # what fails is raised; the rest concerns nobody here
    onnxruntime.disable_telemetry_events()

    def session(threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run

    one = session(1)  # more threads only cost, for a row or a few
    many = functools.cache(lambda: session(0))  # as many as there are cores, made when there is work for them
    return lambda x: (one if len(x) < MANY else many())(None, {"x": x})[0]


# ------------------------------------------------------------------------------------------ the model's two files
#
# model.joblib is what joblib writes, so joblib.load reads it as any other, followed by the signature as JSON and a
# footer: MAGIC, the signature's length, and the sha256 of all before. A pickle ends where it ends; what follows is
# not joblib's to read. So the signature is read without running what a pickle may hold, and a damaged file is known
# before anything in it runs.

MAGIC = b"\nmlops-cookbook-1 "
LENGTH = b"%012d "
FOOTER = len(MAGIC) + 13 + 64


# model.onnx is what ONNX tools read; the signature, the sha256 of the model.joblib that it was compiled from, and last
# the sha256 of all before stand in its metadata, a list of keys and values (protobuf: a field that is appended to a
# file is appended to its list).

SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"  # field 14 of a ModelProto: {key: "sha256", value: 64 characters that follow}


@functools.lru_cache(maxsize=64)
def compiled_path(path):
    """Name a model's compiled form: model.onnx beside model.joblib, model.v2.onnx beside model.v2."""
    return path if path.endswith(".onnx") else path.removesuffix(".joblib") + ".onnx"


def _is_compiled(path):
    """Whether a file is a compiled form of this project, by its end."""
    try:
        with open(path, "rb") as file:
            file.seek(-min(FOOTER, os.path.getsize(path)), os.SEEK_END)
            return file.read()[:-64].endswith(SEAL)
    except OSError:
        return False


def _save(path, model, signature, graph):
    """Write both files. Whatever ends the program, a compiled form that is of another model is not used."""
    import joblib

    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    text = json.dumps(signature, allow_nan=False, default=repr, separators=(",", ":")).encode()
    content = buffer.getvalue() + text + MAGIC + LENGTH % len(text)
    content += hashlib.sha256(content).hexdigest().encode()
    path = os.path.realpath(path)  # where it is a link, the compiled form lies beside the file that it names
    write_file(path, content)
    if graph is None:
        with contextlib.suppress(FileNotFoundError):  # the old model's compiled form is of no more use
            os.unlink(compiled_path(path))
        return
    metadata = {"signature": text.decode(), "compiled_from": hashlib.sha256(content).hexdigest()}
    for name, value in metadata.items():
        graph.metadata_props.add(key=name, value=value)
    compiled = graph.SerializeToString() + SEAL
    write_file(compiled_path(path), compiled + hashlib.sha256(compiled).hexdigest().encode())


def write_file(path, content):
    """Write a file that is whole at every moment, whatever ends the program.

    Parameters
    ----------
    path : path
        Where to; where it is a link, the file that it names.
    content : bytes

    Raises
    ------
    ModelError
        The system refuses: no right to write, no space left.
    """
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise ModelError(f"Cannot write {path}: it is there, and no regular file.")
    temporary = f"{path}.{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ModelError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def model_path(model=None):
    """Name the model to use: the one given, else that of MLOPS_MODEL, else model.joblib beside this file."""
    return os.fspath(model or os.environ.get("MLOPS_MODEL") or MODEL)


def _is_alone(path):
    """Whether a name stands for a compiled form: its own name, or that of a model of which only it is there."""
    compiled = compiled_path(path)
    return path == compiled or (path.endswith(".joblib") and not os.path.lexists(path) and os.path.lexists(compiled))


def _read_signature(path):
    path = os.path.realpath(path)
    return _read_onnx(compiled_path(path))[1] if _is_alone(path) else _read_joblib(path)[1]


def _read_file(path, is_whole):
    """Return a model file's bytes, proved whole; what is foreign by its end is not read whole.

    Parameters
    ----------
    path : path
    is_whole : function of bytes to bool
        Whether the last bytes of the file (`FOOTER` of them) are the end of such a file.
    """
    trained = path.removesuffix(".onnx") + ".joblib" if path.endswith(".onnx") else path
    retrain_it = f"Train it again: ./utilscli.py retrain --model-name {trained}"
    if trained != path and os.path.exists(trained):
        retrain_it = f"Remove it, and {trained} is used; or train again: ./utilscli.py retrain --model-name {trained}"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ModelError(f"{path} is no model: it is a folder, a pipe or a device.")
        with open(path, "rb") as file:
            file.seek(-min(FOOTER, os.path.getsize(path)), os.SEEK_END)
            if not is_whole(file.read()):
                raise ModelError(
                    f"{path} is not a whole model of this project: cut off, damaged, or made by another program. "
                    f"{retrain_it}"
                )
            file.seek(0)
            content = file.read()
    except FileNotFoundError as error:
        raise ModelError(
            f"There is no model {path}. Train one: ./utilscli.py retrain --model-name {trained}"
        ) from error
    except OSError as error:
        raise ModelError(f"Cannot read the model {path}: {error.strerror}.") from error
    if hashlib.sha256(content[:-64]).hexdigest().encode() != content[-64:]:
        raise ModelError(f"{path} is damaged: its content does not have the digest it was written with. {retrain_it}")
    return content


def _read_joblib(path):
    """Return a model.joblib's bytes and its signature."""
    content = _read_file(path, lambda end: end.startswith(MAGIC))
    end = len(content) - FOOTER
    length = int(content[end + len(MAGIC) : -64])
    return content, _parse_signature(path, content[end - length : end])


def _parse_signature(path, text):
    try:
        return Signature(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # no JSON, or not what training writes
        raise ModelError(f"{path} has a signature that cannot be read ({type(error).__name__}: {error}).") from error


def _read_onnx(path):
    """Return a model.onnx's bytes, its signature, and the sha256 of the model.joblib that it was compiled from."""
    content = _read_file(path, lambda end: end[:-64].endswith(SEAL))
    try:
        metadata = _onnx_metadata(content)
        signature, compiled_from = metadata["signature"], metadata["compiled_from"]
    except (ValueError, KeyError, TypeError, IndexError) as error:  # no protobuf, or none that training writes
        raise ModelError(f"{path} was not compiled by this project: it has no signature.") from error
    return content, _parse_signature(path, signature), compiled_from


def _onnx_metadata(content):
    """Read the metadata of an ONNX model, without the packages that run it.

    Parameters
    ----------
    content : bytes
        A ModelProto: fields, each a tag (its number and how it is written) and a value. What is skipped is skipped
        by its length.

    Returns
    -------
    dict of str to str

    Raises
    ------
    ValueError, KeyError, TypeError, IndexError
        It is no such message, or an entry is there twice.

    Source
    ------
    The protocol buffers' encoding guide, and onnx.proto: ModelProto's field 14 is metadata_props, a list of
    StringStringEntryProto with key (1) and value (2).
    """
    metadata = {}
    for number, value in _fields(content):
        if number == 14:
            entry = dict(_fields(value))
            name = str(entry[1], "utf-8")
            if name in metadata:
                raise ValueError(f"two entries have the name {name}")
            metadata[name] = str(entry[2], "utf-8")
    return metadata


def _fields(content):
    """Yield number and value of each field of a protobuf message; a value is a memoryview, or an int."""
    view, position = memoryview(content), 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = view[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(view):
        tag = varint()
        value = varint()
        if tag & 7 == 2 and position + value <= len(view):  # the varint was a length, and that many bytes follow
            value, position = view[position : position + value], position + value
        elif tag & 7:
            raise ValueError("a field that is cut off, or of a kind that a model has not")
        yield tag >> 3, value


# -------------------------------------------------------------------------------------- the signature, check


@dataclass(frozen=True)
class Column:
    """A feature or the target, as the training rows had it.

    Attributes
    ----------
    name, kind, unit : str
        The name as in the table; "number"; the unit, or None where none is known.
    min, max, median, mean, scale : float
        Of the training rows, in the unit; `scale` is the population standard deviation.
    missing : bool
        Whether a value may be missing.
    histogram : dict
        ``edges``, shape (bins + 1,), and ``counts``, shape (bins,).
    """

    name: str
    kind: str
    unit: str | None
    min: float
    max: float
    median: float
    mean: float
    scale: float
    missing: bool
    histogram: dict

    @property
    def range(self):
        """The observed range in words, such as ``145 to 300 pounds``."""
        return f"{plain(self.min)} to {plain(self.max)}" + (f" {self.unit}" if self.unit else "")

    @property
    def expected(self):
        """What a value has to be, in words."""
        return f"a number{' above 0' if self.min > 0 else ''} ({self.range} in training)"

    @functools.cached_property
    def bounds(self):
        """Between which numbers, both excluded, a value can be: above 0 where all of training were, and not too far."""
        far = FARTHEST * self.scale
        return 0.0 if self.min > 0 else self.mean - far, self.mean + far

    def refusal(self, value):
        """What would have been expected instead of a value that is out of bounds, a float or None."""
        is_far = value is not None and math.isfinite(value) and (value > 0 or self.min <= 0)
        return self.expected + (", within a billion standard deviations of their mean" if is_far else "")


class Signature:
    """What training wrote of itself into the model; the only reader of that dict.

    Parameters
    ----------
    card : dict
        The signature as `retrain` wrote it, JSON-able.

    Attributes
    ----------
    name, version, title : str
        The model's name, the digest of what it was made from, and the words for a page's heading.
    target : Column
    features : list of Column
        In the order of the model's input.
    answer : str
        The answer's key: ``height_inches``, or ``price`` where the target has no unit.
    human : str or None
        The key of the answer in feet and inches, or None where the target is not in inches.
    estimator : dict
        ``name``, ``class`` and ``parameters``.
    training : dict
        ``n`` (rows), ``test_size`` and ``seed``.
    metrics, baseline : dict
        ``r2``, ``mae``, ``rmse`` (the target's unit) and ``n`` on the held-out rows: of the model, and of always
        answering the mean.
    interval : dict
        ``coverage``, ``half_width`` (the target's unit; None where too few rows were held out) and ``n``.
    data : dict
        ``file``, ``rows`` and ``sha256`` of the table.
    compiled : dict
        ``tolerance``, ``worst`` (shares of the target's range) and ``rows`` of the comparison of the compiled form with
        the original, and why it was ``refused``, or None.
    golden : dict
        ``rows``, shape (5, features), their ``answers``, and the ``tolerance``, a share of the target's range.
    packages : dict of str to str
        Versions of the packages that trained the model.

    Examples
    --------
    >>> Signature.read().features[0].range
    '145 to 300 pounds'
    """

    def __init__(self, card):
        if card.get("format") != 1:
            raise ModelError(f"The signature has format {card.get('format')!r}; this version of mlib reads format 1.")
        self.card = card
        self.name = card["name"]
        self.version = card["version"]
        self.title = card["title"]
        self.target = Column(**card["target"])
        self.features = [Column(**feature) for feature in card["features"]]
        self.estimator = card["estimator"]
        self.training = card["training"]
        self.metrics = card["metrics"]
        self.baseline = card["baseline"]
        self.interval = card["interval"]
        self.data = card["data"]
        self.compiled = card["compiled"]
        self.golden = card["golden"]
        self.packages = card["packages"]
        self._names = {feature.name for feature in self.features}
        name, unit = key(self.target.name), self.target.unit
        self.answer = f"{name}_{key(unit)}" if unit else name
        if self.answer in ("interval", "warnings"):  # an answer has these keys already
            self.answer += "_value"
        self.human = f"{name}_human_readable" if unit == "inches" else None

    @classmethod
    def read(cls, model=None):
        """Read it from a model's file, without loading the model.

        Parameters
        ----------
        model : path, optional
            As for `load_model`.

        Returns
        -------
        Signature

        Raises
        ------
        ModelError
            The file is missing, damaged or foreign.
        """
        return _read_signature(model_path(model))

    def words(self, value):
        """Say a value of the target.

        Parameters
        ----------
        value : float
            In the target's unit.

        Returns
        -------
        str
            ``6 foot, 0 inches`` where the unit is inches, else the number and its unit.
        """
        return height_human(value) if self.human else self.amount(value)

    def amount(self, value):
        """Say a quantity in the target's unit, in four digits: ``2.053 inches``."""
        return f"{value:.4g}" + (f" {self.target.unit}" if self.target.unit else "")

    def example(self):
        """Make a row that is answered: the medians of training.

        Returns
        -------
        dict of str to number
            Such as ``{"Weight": 205}``.
        """
        return {feature.name: _shown(feature.median) for feature in self.features}

    def check(self, row):
        """Check one row.

        Parameters
        ----------
        row : mapping of str to number
            Such as ``{"Weight": 200}``: pounds.

        Returns
        -------
        values : list of float
            In the features' order.
        errors : list of dict
            What is wrong; empty where the row can be predicted.
        """
        values, errors = [], []
        for feature in self.features:
            got = row.get(feature.name)
            value = _number(got)
            values.append(value)
            low, high = feature.bounds
            if value is None or not low < value < high:  # NaN is between no two numbers
                errors.append({"field": feature.name, "got": _shown(got), "expected": feature.refusal(value)})
        if len(row) > len(self.features) or not self._names.issuperset(row):
            errors += self._unknown(row)
        return values, errors

    def check_names(self, columns):
        """Check the columns of a table.

        Parameters
        ----------
        columns : sequence of str

        Raises
        ------
        InputError
            A feature is missing, a column is not a feature, or one is there twice.
        """
        missing = [
            {"field": feature.name, "got": None, "expected": "a column of that name"}
            for feature in self.features
            if feature.name not in columns
        ]
        twice = [
            {"field": feature.name, "got": "several columns", "expected": "one column of that name"}
            for feature in self.features
            if list(columns).count(feature.name) > 1
        ]
        errors = missing + twice + self._unknown(dict.fromkeys(columns, "a column"))
        if errors:
            raise InputError(errors)

    def _unknown(self, row):
        unknown = itertools.islice((name for name in row if name not in self._names), MOST_PROBLEMS)
        return [
            {"field": _shown(str(name)), "got": _shown(row[name]), "expected": self._known_names(_shown(str(name)))}
            for name in unknown
        ]

    def _known_names(self, name):
        known = ", ".join(feature.name for feature in self.features)
        return f"one of the fields: {known}." + _did_you_mean(name, self._names)

    def check_array(self, array):
        """Check many rows at once.

        Parameters
        ----------
        array : numpy.ndarray of float64, shape (rows, features)

        Raises
        ------
        InputError
            With row, field and value.
        """
        import numpy as np

        low, high = np.transpose([feature.bounds for feature in self.features])
        bad = ~((low < array) & (array < high))
        if bad.any():
            raise InputError(
                [
                    {
                        "row": int(row) + 1,
                        "field": self.features[i].name,
                        "got": _shown(float(array[row, i])),
                        "expected": self.features[i].refusal(float(array[row, i])),
                    }
                    for row, i in np.argwhere(bad)[:MOST_PROBLEMS]
                ]
            )

    def warnings(self, values):
        """Tell which values of a checked row lie outside what training saw.

        Parameters
        ----------
        values : sequence of float, shape (features,)

        Returns
        -------
        list of dict
            ``field``, ``got``, ``expected``; empty where all lie within.
        """
        return [
            {"field": feature.name, "got": _shown(value), "expected": f"{feature.range}, as in training"}
            for feature, value in zip(self.features, values)  # noqa: B905  # the hot path: strict costs
            if not feature.min <= value <= feature.max
        ]


def key(name):
    """A name as the answer's keys have it: ``Fuel type (l/100 km)`` is ``fuel_type_l_100_km``."""
    return re.sub(r"\W+", "_", name).strip("_").lower() or "value"


def plain(value):
    """A number without needless digits: 180.0 is ``180``."""
    return f"{value:.10g}"


def _number(value):
    """The value as float, or None where it is no number; text that looks like one is none."""
    if isinstance(value, float):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value):
    """A refused value as an error shows it: short, and always JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= 80 else value[:77] + "..."
    if isinstance(value, numbers.Real):
        try:
            value = float(value)
        except OverflowError:
            return "a number too large"
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    kinds = {dict: "an object", list: "a list"}
    return kinds.get(type(value), f"a {type(value).__name__}")


# --------------------------------------------------------------------------------------------- load, predict


class Model:
    """A loaded model: its signature, and the function that answers.

    Parameters
    ----------
    signature : Signature
    run : function
        Of an array of float64, shape (rows, features), to one of shape (rows,).
    form : str
        "onnx" or "joblib".

    Examples
    --------
    >>> load_model().predict([[180.0]])
    array([72.158...])
    """

    def __init__(self, signature, run, form):
        self.signature = signature
        self.run = run
        self.form = form

    def predict(self, x):
        """Answer without checks or words, as scikit-learn does.

        Parameters
        ----------
        x : array of float, shape (rows, features)
            In the features' order and units.

        Returns
        -------
        numpy.ndarray of float64, shape (rows,)
            In the target's unit.
        """
        import numpy as np

        return _in_chunks(self.run, np.ascontiguousarray(x, dtype=np.float64))


def _in_chunks(run, x):
    """Run a model over an array, a part at a time."""
    import numpy as np

    if len(x) <= CHUNK:
        return run(x)
    answers = np.empty(len(x))
    for start in range(0, len(x), CHUNK):
        answers[start : start + CHUNK] = run(x[start : start + CHUNK])
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
        raise OptionError(f"The sha256 is {_shown(sha256)!r}, expected 64 hex digits, as sha256sum prints them.")
    return _load(path, sha256, _stamp(path), _stamp(compiled_path(path)))


def _stamp(path):
    """What changes when a file does; None where there is none."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@functools.lru_cache(maxsize=8)
def _load(path, sha256, _path_stamp, _compiled_stamp):
    path = os.path.realpath(path)
    compiled = compiled_path(path)
    if _is_alone(path):
        content, signature, _ = _read_onnx(compiled)
        _check_digest(compiled, content, sha256)
        return _proved(compiled, _load_onnx(compiled, content, signature))
    content, signature = _read_joblib(path)
    digest = _check_digest(path, content, sha256)
    if os.path.lexists(compiled) and sha256 is None:  # a digest speaks for the file of that name, and for no other
        compiled_content, _, compiled_from = _read_onnx(compiled)
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
        run = _session(content)
    except ModuleNotFoundError as error:
        raise ModelError(f"{path} needs onnxruntime, not installed here. Try: pip install onnxruntime") from error
    except Exception as error:  # pylint: disable=broad-exception-caught  # ONNX Runtime's have no common name
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path} cannot be run by this ONNX Runtime: {reason}") from error
    return Model(signature, run, "onnx")


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
    return Model(signature, joblib.load(io.BytesIO(content)).predict, "joblib")


def _proved(path, model):
    """Return a model that answers its golden rows as the trained one did; refuse it otherwise."""
    golden, target = model.signature.golden, model.signature.target
    answers = model.predict(golden["rows"])
    difference = abs(answers - golden["answers"]) / (target.max - target.min)
    row = int(difference.argmax())
    if not difference[row] <= golden["tolerance"]:
        raise ModelError(
            f"{path} answers {answers[row]:.10g} to its golden row {golden['rows'][row]}, and answered "
            f"{golden['answers'][row]:.10g} where it was trained; another processor, or other package versions? "
            "Train it again here."
        )
    return model


def predict(x, model=None, interval=False):
    """Predict the target, in words as well as in numbers.

    Parameters
    ----------
    x : number, mapping, list of mappings, pandas.DataFrame or numpy.ndarray
        One value for a model of one feature (180: pounds), or rows that name their values (``{"Weight": 180}``),
        or an array of float, shape (rows, features), in the features' order.
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
        An array is answered by an array of float64, shape (rows,): the numbers alone.

    Raises
    ------
    InputError
        A value is missing, no number, NaN or infinite; a name is unknown; a value is zero or negative where
        training saw only positive ones.
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
    import numpy as np

    model = model if isinstance(model, Model) else load_model(model)
    signature = model.signature
    if interval and signature.interval["half_width"] is None:
        raise ModelError(
            f"The model has no prediction interval: {signature.interval['n']} held-out rows are too few for "
            f"{signature.interval['coverage']:.0%}. Train it with more rows, or with a larger test size."
        )
    if isinstance(x, np.ndarray) and not x.ndim:
        x = x.item()
    if isinstance(x, np.ndarray):
        if interval:
            raise OptionError("An array is answered by numbers alone. For intervals give rows: a list, or a DataFrame.")
        array = _array(x, signature)
        return model.predict(array) if len(array) else np.empty(0)
    if isinstance(x, Mapping):
        values, errors = signature.check(x)
        if errors:
            raise InputError(errors)
        return _answer(signature, model.run(np.array([values])).item(), values, interval)
    if isinstance(x, (list, tuple)):
        return _answers(model, _rows(x, signature), interval)
    if hasattr(x, "columns"):
        return _answers(model, _frame(x, signature), interval)
    if len(signature.features) == 1:
        return predict({signature.features[0].name: x}, model, interval)
    names = ", ".join(feature.name for feature in signature.features)
    raise InputError([{"field": "(row)", "got": _shown(x), "expected": f"a mapping with {names}"}])


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

    array, problems = [], []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping) and len(signature.features) == 1:
            row = {signature.features[0].name: row}
        if isinstance(row, Mapping):
            values, errors = signature.check(row)
        else:
            names = ", ".join(feature.name for feature in signature.features)
            values, errors = [], [{"field": "(row)", "got": _shown(row), "expected": f"an object with {names}"}]
        array.append(values)
        problems += [{"row": number, **error} for error in errors]
        if len(problems) > MOST_PROBLEMS:
            break
    if problems:
        raise InputError(problems)
    return np.array(array, dtype=np.float64).reshape(-1, len(signature.features))


def _frame(table, signature):
    """Check a DataFrame and make it an array: in one step where all columns are numbers."""
    import numpy as np

    signature.check_names(table.columns)
    table = table[[feature.name for feature in signature.features]]
    if all(dtype.kind in "iuf" for dtype in table.dtypes):
        return _array(table.to_numpy(np.float64, na_value=np.nan), signature)
    return _rows(table.to_dict("records"), signature)


def _answers(model, array, interval):
    """Predict checked rows in one call, and put each answer into words."""
    if array.size == 0:
        return []
    signature, values = model.signature, model.predict(array).tolist()
    return [_answer(signature, value, row, interval) for value, row in zip(values, array.tolist(), strict=True)]


def _answer(signature, value, row, interval):
    """Put the answer to one checked row into words, with what is to be known beside it."""
    if signature.human:
        inches = round(value, 2)
        answer = {signature.answer: inches, signature.human: height_human(inches)}
    else:
        answer = {signature.answer: value}
    if interval:
        low, high = value - signature.interval["half_width"], value + signature.interval["half_width"]
        if signature.human:
            low, high = round(low, 2), round(high, 2)
        answer["interval"] = {"low": low, "high": high, "coverage": signature.interval["coverage"]}
    warned = signature.warnings(row)
    if warned:
        answer["warnings"] = warned
    return answer


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

    Examples
    --------
    >>> scale_input(format_input(208)).round(2)
    array([[0.01]])
    """
    import numpy as np

    signature = load_model(model).signature
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

    Examples
    --------
    >>> scale_target([[0.0]]).round(1)
    array([[73.6]])
    """
    import numpy as np

    column = load_model(model).signature.target
    return np.asarray(target) * column.scale + column.mean


def height_human(float_inches):
    """Say a height in feet and inches, rounded to whole inches.

    Parameters
    ----------
    float_inches : float
        Inches.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        NaN or infinite.

    Examples
    --------
    >>> height_human(71.6)
    '6 foot, 0 inches'
    """
    if not math.isfinite(float_inches):
        raise ValueError(f"A height of {float_inches} inches has no words; expected a finite number.")
    whole = round(float(float_inches))
    feet, inches = divmod(abs(whole), 12)
    return f"{'-' if whole < 0 else ''}{feet} foot, {inches} inches"


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
