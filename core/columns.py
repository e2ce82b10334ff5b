"""What do a table's columns hold: numbers, categories, true and false, dates, or nothing to learn from?

>>> features, target, task, notices = understand(table, "houses.csv", "price")
>>> [(column.name, column.kind) for column in features]
[('rooms', 'number'), ('city', 'category')]
"""

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from core.errors import DataError, OptionError, did_you_mean, plain, shown
from core.signature import DATE_PARTS, EPOCH, WORDS, category_text, category_value, date_parts

BINS = 10  # of a column's histogram in the signature
LARGEST = 1e100  # of numbers that are trained on: squares and sums of them are still numbers
MOSTLY = 0.9  # of a column's values: so many numbers, and what is no number is a mistake
OWN_VALUES = 0.5  # of a column's values: so many different texts, and it names the rows
MOST_CLASSES = 10  # whole numbers as a target: with more of them they are numbers
SHOWN_ROWS = 5  # of a column that is wrong in many rows

# How dates are written, beside ISO 8601; a time may follow.
DATE_FORMATS = (
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%B %d, %Y",
    "%b %d, %Y",
    "%Y-%m-%d",
    "%Y-%m",
)
TIMES = ("", " %H:%M", " %H:%M:%S")
EITHER = "ambiguous, since its dates may be month/day or day/month (write them as 2024-05-31)"

IDENTIFIER = re.compile(r"(?i)(^|[^a-z]|[a-z])id$|^(rownames?|row|index|key|nr|no|number|unnamed: 0)$")


@dataclass(frozen=True)
class Found:
    """What was found in one column.

    Attributes
    ----------
    name, kind : str
        "number", "boolean", "category" or "date".
    values : numpy.ndarray of float64, shape (rows,)
        As the model computes on them: a category's place in `categories`, days since 1970; NaN where one is missing.
    categories : list of str or number
        Of a category, else empty.
    format : str or None
        Of dates: "ISO8601", or as strftime has it.
    missing, positive : bool
        Whether some row of the whole table has no value; whether all that there are are numbers above 0.
    """

    name: str
    kind: str
    values: Any
    categories: tuple | list = ()
    format: str | None = None
    missing: bool = False
    positive: bool = False


# ------------------------------------------------------------------------------------------------ understand


def understand(table, path, target, features=None, drop=(), category=(), task=None):
    """Tell what the columns of a table hold.

    Parameters
    ----------
    table : pandas.DataFrame
        Its index tells the row in the file, from 0.
    path : path
        Where it is from, for the errors.
    target : str
        The column to predict. Rows that have none tell what values there are, and are not learnt from.
    features : sequence of str, optional
        The columns to predict from; without it all that something can be learnt from.
    drop : sequence of str
        Columns that are left out.
    category : sequence of str
        Columns that are categories, whatever they look like.
    task : str, optional
        "regression" or "classification"; without it, it is told from the target.

    Returns
    -------
    features : list of Found
        Their values in the rows that have a target.
    target : Found
        A number, or a category of the classes.
    task : str
    notices : list of str
        What was left out, and why; and how the target was taken where it might be otherwise.

    Raises
    ------
    OptionError
        A choice that makes no model.
    DataError
        A column is not there; values that do not fit their column, all of them told with column, row and value.

    Examples
    --------
    >>> features, target, task, notices = understand(table, "iris.csv", "species", drop=["sepal width"])
    >>> task, target.categories
    ('classification', ['setosa', 'versicolor', 'virginica'])
    """
    _check_names(table, path, target, features, drop, category)
    names = [name for name in features or table.columns if name not in {target, *drop}]
    looks = {name: _look(table[name], name, is_category=name in category) for name in names}
    reasons = {name: _nothing_to_learn(table[name], looks[name]) for name in names}
    wanted = {*(features or ()), *category}
    kept = [name for name in names if not reasons[name] or (name in wanted and reasons[name] in OVERRULED)]
    if not kept and not features:  # a row's number is better than nothing
        kept = [name for name in names if looks[name].kind == "number" and reasons[name] in OVERRULED]
    for name in names:
        if name not in kept and (features or name in category):
            raise DataError(f"{path}: column {name!r} is {reasons[name]}; nothing can be learnt from it.")
    if not kept:
        why = "; ".join(f"{name} is {reasons[name]}" for name in names)
        raise DataError(f"{path} has no column to predict {target!r} from: {why or 'it has no other'}.")
    has_target = table[target].notna()
    if not has_target.any():
        raise DataError(f"{path}: the target {target!r} is empty in every row.")
    answers = table.loc[has_target, target]
    goal = _look(answers, target)
    task, notices = _task(answers, goal, task, path)
    if len(answers) < len(table):
        notices.append(f"{len(table) - len(answers):,} of {len(table):,} rows have no {target}; they are not used.")
    kinds = {name: looks[name].kind for name in kept}
    is_number = task == "regression" or (goal.kind == "number" and goal.levels is None)
    check(table, {**kinds, target: "number" if is_number and goal.kind == "number" else "category"}, path)
    left_out = {}
    for name in names:
        if name not in kinds:
            left_out.setdefault(reasons[name], []).append(name)
    notices += [f"Left out, {reason}: {', '.join(absent)}." for reason, absent in left_out.items()]
    found = [_encode(table[name], looks[name]) for name in kept]
    if len(answers) < len(table):
        found = [replace(column, values=column.values[has_target.to_numpy()]) for column in found]
    return found, _encode_target(answers, goal, task, path), task, notices


def _check_names(table, path, target, features, drop, category):
    """Raise DataError for a column that is not in the table, OptionError for a choice that makes no model."""
    if features is not None and not features:
        raise OptionError("No feature was named; a model needs at least one.")
    if target in (features or ()):
        raise OptionError(f"{target!r} cannot be both the target and a feature. Name other features.")
    if len(set(features or ())) < len(features or ()):
        raise OptionError(f"A feature was named twice: {', '.join(features)}.")
    if target in {*drop, *category}:
        raise OptionError(f"{target!r} is the target; it cannot be dropped or made a category (see --task).")
    for name in sorted({*drop} & {*(features or ()), *category}):
        raise OptionError(f"{name!r} is to be dropped, and to be used. Name it once.")
    for name in (target, *(features or ()), *drop, *category):
        if name not in table.columns:
            hint = did_you_mean(name, table.columns)
            if not hint and name == target:
                hint = " Name the target: --target NAME."
            raise DataError(f"{path} has no column {name!r}.{hint} It has: {', '.join(map(str, table.columns))}.")
    for name in category:
        if features and name not in features:
            raise OptionError(f"{name!r} is to be a category, and is not among the features. Name it with --feature.")


@dataclass(frozen=True)
class _Look:
    """A first look at a column: its kind; of text each cell's place among its levels, and how often each is there."""

    name: str
    kind: str
    places: Any = None
    levels: Any = None
    counts: Any = None
    formats: tuple = ()


def _look(column, name, is_category=False):
    """Tell what a column holds."""
    import numpy as np
    import pandas as pd

    kind = column.dtype.kind
    if not is_category:
        if kind == "b" or column.dtype == "boolean":
            return _Look(name, "boolean")
        if pd.api.types.is_numeric_dtype(column.dtype) and kind != "c":
            return _Look(name, "number")
        if kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
            return _Look(name, "date")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
        return _look(column, name, is_category=is_category or column.dtype.kind in "iuf")
    try:
        if column.dtype == object and len(types := set(map(type, column.dropna()))) > 1 and bool in types:
            column = column.map(category_value, na_action="ignore")  # to pandas true and 1 are the same
        places, levels = pd.factorize(column)
    except TypeError as error:
        raise DataError(
            f"Column {name!r} holds lists or objects; expected one value a cell. Drop it: --drop '{name}'."
        ) from error
    if any(isinstance(level, bytes) for level in levels[:100]):
        raise DataError(f"Column {name!r} holds bytes; expected numbers, text or dates. Drop it: --drop '{name}'.")
    if "" in levels:  # JSON's way to leave a cell empty
        column = column.replace("", None)
        places, levels = pd.factorize(column)
    counts = np.bincount(places[places >= 0], minlength=len(levels))
    kind, formats = ("category", ()) if is_category or len(levels) == 0 else _kind(pd.Index(levels), counts)
    return _Look(name, kind, places, levels, counts, formats)


def _kind(levels, counts):
    """Tell what texts, or values of mixed types, stand for; of dates also how they are written."""
    import pandas as pd

    if {type(level).__name__ for level in levels[:100]} <= {"bool", "bool_"}:
        return "boolean", ()
    if all(isinstance(level, date) for level in levels[:100]):
        return "date", ()
    words = {str(level).strip().casefold() for level in levels[:50]}
    if len(levels) < 50 and words <= WORDS.keys() and len({WORDS[word] for word in words}) == 2:
        return "boolean", ()
    if _share(counts, pd.to_numeric(levels.astype(str), errors="coerce").notna()) >= MOSTLY:
        return "number", ()
    formats = _date_formats(levels.astype(str).str.strip(), counts)
    return ("date" if formats else "category"), formats


def _share(counts, which):
    """Return which share of the values some of the levels are."""
    return counts[which].sum() / counts.sum()


def _date_formats(levels, counts):
    """Tell in which formats nearly all texts are dates: none where they are no dates."""
    sample = levels[:20]
    if sample.str.contains(r"^\d{1,4}[-/. ][\dA-Za-z]|^[A-Z][a-z]+ \d{1,2}, \d{4}").mean() < MOSTLY:
        return ()
    looks_iso = sample.str.match(r"\d{4}-\d\d-\d\d").mean() >= MOSTLY
    if looks_iso and _share(counts, _moments(levels, "ISO8601").notna()) >= MOSTLY:
        return ("ISO8601",)
    found = {}
    for form in (form + time for time in TIMES for form in DATE_FORMATS):
        if _moments(sample, form).notna().mean() >= MOSTLY:
            moments = _moments(levels, form)
            is_new = not any(moments.equals(others) for others in found.values())
            if is_new and _share(counts, moments.notna()) >= MOSTLY:
                found[form] = moments
    return tuple(found)


def _moments(texts, form):
    """Parse texts as dates, in UTC where they tell a time zone; NaT where they are none."""
    import pandas as pd

    return pd.to_datetime(texts, format=form, errors="coerce", utc=True).tz_localize(None)


# Why a column is no feature unless the user names it.
OWN, ROW = "a value of its own in most rows", "the number of the row"
OVERRULED = {OWN, ROW}


def _nothing_to_learn(column, look):
    """Tell why a column is no feature; None where it is one."""
    if len(look.formats) > 1:
        return EITHER
    if column.isna().all():
        return "empty in every row"
    return _constant(column, look) or _identifier(column, look)


def _constant(column, look):
    """Tell of a column that has one value only; true and missing are two, as a category and missing are."""
    if look.levels is None:
        value, highest = column.min(), column.max()
        is_one = value == highest
    else:
        value, is_one = look.levels[0], len(look.levels) == 1
    has_gaps = look.kind in ("category", "boolean") and column.isna().any()
    return f"{shown(str(value))} in every row" if is_one and not has_gaps else None


def _identifier(column, look):
    """Tell of a column that names or numbers the rows."""
    if look.kind == "category":
        n_levels, n = len(look.levels), look.counts.sum()
        return OWN if n_levels > n * OWN_VALUES and (n_levels > 20 or n_levels == n) else None
    if look.kind == "number" and column.dtype.kind in "iu" and not column.isna().any():
        if column.iloc[0] in (0, 1) and (column.diff().iloc[1:] == 1).all():
            return ROW
        if IDENTIFIER.search(look.name) and column.is_unique:
            return OWN
    return None


# ------------------------------------------------------------------------------------------------- the target


def _task(column, look, task, path):
    """Tell whether the target is a number or a class, and what there is to say of that."""
    if look.kind == "date":
        raise DataError(f"{path}: the target {look.name!r} holds dates; expected numbers or classes.")
    if task == "regression" and look.kind == "category":
        raise DataError(
            f"{path}: the target {look.name!r} is text, such as {shown(str(column.iloc[0]))!r}; expected numbers."
        )
    if task:
        return task, []
    if look.kind != "number":
        return "classification", []
    if column.dtype.kind not in "iuf":
        return "regression", []
    levels = column.iloc[:1000].unique()
    if len(levels) <= MOST_CLASSES:
        levels = column.unique()
    few = len(levels) <= MOST_CLASSES and len(column) >= 10 * len(levels)
    if few and all(float(level).is_integer() for level in levels) and column.value_counts().min() >= 2:
        notice = f"{look.name} has {len(levels)} whole numbers only: they are taken as classes. "
        return "classification", [notice + "--task regression takes them as numbers."]
    return "regression", []


def _encode_target(column, look, task, path):
    """Make the target's numbers, or its classes."""
    if task == "regression":
        found = replace(_encode(column, look), kind="number")
        if found.values.min() == found.values.max():
            raise DataError(f"{path}: column {look.name!r} is {plain(found.values[0])} in every row; nothing to learn.")
        return found
    if look.kind == "boolean" and column.dtype.kind in "bO" and not any(isinstance(level, str) for level in column[:1]):
        found = replace(_encode(column, look), kind="category", categories=[False, True])
        if found.values.min() == found.values.max():
            raise DataError(f"{path}: column {look.name!r} is {column.iloc[0]} in every row; nothing to learn.")
        return found
    found = _encode(column, _look(column, look.name, is_category=True))
    if len(found.categories) < 2:
        raise DataError(f"{path}: column {look.name!r} is {found.categories[0]!r} in every row; nothing to learn.")
    if len(found.categories) > max(2, len(column) * OWN_VALUES):
        raise DataError(
            f"{path}: the target {look.name!r} has {len(found.categories):,} different values in {len(column):,} rows; "
            "that is no set of classes."
        )
    return found


# ------------------------------------------------------------------------------------------------------ check


def check(table, kinds, path):
    """Hold the values of a table against the kinds of its columns.

    Parameters
    ----------
    table : pandas.DataFrame
        Its index tells the row in the file, from 0.
    kinds : dict of str to str
        "number", "boolean", "category" or "date" of each column that is used.
    path : path
        Where it is from, for the error.

    Raises
    ------
    DataError
        All that is wrong, with column, row and value.
    SchemaErrors
        A check failed by a mistake of its own.
    """
    kinds = {name: kind for name, kind in kinds.items() if kind in ("number", "date") and not _is_sound(table[name])}
    if not kinds:  # the usual case, told from the least and the largest of each column
        return
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

    checks = {
        "number": [
            pa.Check(_are_numbers, error="a number"),
            pa.Check(_are_within, error=f"a number within ±{LARGEST:g}"),
        ],
        "date": [pa.Check(_are_dates, error="a date as in the other rows")],
    }
    schema = pa.DataFrameSchema({name: pa.Column(None, checks[kind], nullable=True) for name, kind in kinds.items()})
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases, problems = error.failure_cases, []
        if cases["index"].isna().any():  # no value failed, but a check itself: that is a bug
            raise
        for (column, expected), rows in cases.groupby(["column", "check"], sort=False):
            for value, row in rows[["failure_case", "index"]].head(SHOWN_ROWS).itertuples(index=False):
                problems.append(f"column {column!r}, row {int(row) + 1} is {shown(str(value))!r}, expected {expected}")
            if len(rows) > SHOWN_ROWS:
                problems[-1] += f" (and {len(rows) - SHOWN_ROWS:,} more rows)"
        raise DataError(
            f"{path}: {'; '.join(problems)}. (Rows are counted from 1 after the header, without blank lines. "
            "--category NAME takes a column as categories, --drop NAME leaves it out.)"
        ) from error


def _is_sound(column):
    """Whether a column can have no value that is wrong: of dates, or of numbers that are not too large."""
    if column.dtype.kind in "iuf":
        return column.isna().all() or -LARGEST <= float(column.min()) <= float(column.max()) <= LARGEST
    return column.dtype.kind == "M"


def _are_numbers(column):
    import numpy as np

    numeric = _numeric(column)
    return (np.isfinite(numeric)) | (numeric.isna() & column.isna())


def _are_within(column):
    import numpy as np

    numeric = _numeric(column).abs()
    return (numeric <= LARGEST) | ~np.isfinite(numeric)


def _numeric(column):
    """The numbers of a column in float64, whatever held them; NaN where a value is none."""
    import numpy as np
    import pandas as pd

    if column.dtype.kind in "iuf" and isinstance(column.dtype, np.dtype):
        return column.astype(np.float64)
    texts = column.astype(object).map(str, na_action="ignore")  # a whole number of 400 digits is text that is infinite
    return pd.to_numeric(texts, errors="coerce").astype(np.float64)


def _are_dates(column):
    return _days(column).notna() | column.isna()


# ----------------------------------------------------------------------------------------------------- encode


def _encode(column, look):
    """Make the numbers of a column that the model computes on."""
    import numpy as np

    values, categories, form = _values(column, look)
    missing = bool(np.isnan(values).any())
    positive = look.kind == "number" and bool(np.fmin.reduce(values) > 0)
    return Found(look.name, look.kind, values, categories, form, missing, positive)


def _values(column, look):
    """Return the numbers of a column, its categories, and the format of its dates."""
    import numpy as np

    if look.kind == "number":
        return _numeric(column).to_numpy(np.float64, na_value=np.nan), (), None
    if look.kind == "date":
        form = look.formats[0] if look.formats else "ISO8601"
        return _days(column).to_numpy(np.float64, na_value=np.nan), (), form
    if look.kind == "boolean" and look.levels is None:
        return column.to_numpy(np.float64, na_value=np.nan), (), None
    levels = list(map(category_value, look.levels))
    if look.kind == "boolean":
        truths = np.array([*(WORDS[str(level).strip().casefold()] for level in levels), np.nan])
        return truths.take(look.places), (), None  # missing ones have the place -1
    if len({isinstance(level, str) for level in levels}) > 1:
        levels = list(map(category_text, levels))
    categories = sorted(set(levels))  # 1 and "1" are one category where text and numbers are mixed
    rank = {level: float(place) for place, level in enumerate(categories)}
    ranks = np.array([*map(rank.get, levels), np.nan])
    return ranks.take(look.places), categories, None


def _days(column):
    """Return the days since 1970 of a column of dates; NaN where a value is none."""
    import pandas as pd

    if column.dtype.kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        moments = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz else column
    elif all(isinstance(value, date) for value in column.dropna().iloc[:100]):
        moments = pd.to_datetime(column, errors="coerce", utc=True).dt.tz_localize(None)
    else:
        look = _look(column, column.name)
        moments = pd.Series([*_moments(pd.Index(look.levels).astype(str).str.strip(), look.formats[0]), pd.NaT]).take(
            look.places
        )
        moments.index = column.index
    return (moments - EPOCH) / pd.Timedelta(days=1)


# --------------------------------------------------------------------------------------------------- describe


def trained_first(column, train):
    """Order the categories so that those of the training rows come first.

    Parameters
    ----------
    column : Found
    train : numpy.ndarray of int, shape (rows,)
        The training rows.

    Returns
    -------
    Found
    """
    import numpy as np

    if column.kind != "category":
        return column
    places = column.values[train]
    counts = np.bincount(places[~np.isnan(places)].astype(np.int64), minlength=len(column.categories))
    if counts.all():
        return column
    order = np.argsort(counts == 0, kind="stable")
    ranks = np.empty(len(order) + 1)
    ranks[order], ranks[-1] = np.arange(len(order)), np.nan
    values = ranks.take(np.nan_to_num(column.values, nan=-1).astype(np.int64))
    return replace(column, values=values, categories=[column.categories[place] for place in order])


def describe(column, unit, train):
    """Describe one column of the training rows, for the signature.

    Parameters
    ----------
    column : Found
    unit : str or None
    train : numpy.ndarray of float64, shape (rows,)
        Its values in the training rows.

    Returns
    -------
    dict
        As `core.signature.Column.of` takes it.
    """
    import numpy as np

    missing = column.missing
    present = train[~np.isnan(train)] if missing else train
    card = {"name": column.name, "kind": column.kind, "unit": unit, "missing": missing}
    gaps = len(train) - len(present)
    if column.kind == "category":
        counts = np.bincount(present.astype(np.int64), minlength=len(column.categories))
        card["categories"] = list(column.categories)
    elif column.kind == "boolean":
        counts = np.bincount(present.astype(np.int64), minlength=2)
    else:
        counts, edges = np.histogram(present, bins=BINS)
        card |= {"min": float(present.min()), "max": float(present.max()), "median": float(np.median(present))}
        card["histogram"] = {"edges": edges.tolist()}
    card["histogram"] = {**card.get("histogram", {}), "counts": counts.tolist(), "missing": gaps}
    if column.kind == "number":
        card |= {"mean": float(present.mean()), "scale": float(present.std())}
        card["positive"] = column.positive
    if column.kind == "date":
        pieces = date_parts(present, DATE_PARTS)
        varied = [part for part, piece in zip(DATE_PARTS, pieces.T, strict=True) if piece.min() < piece.max()]
        card |= {"median": float(np.sort(present)[len(present) // 2]), "format": column.format, "parts": varied}
    return card
