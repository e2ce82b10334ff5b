"""What do a table's columns hold: numbers, categories, true and false, dates, or nothing to learn from?

>>> found, notices = understand(table, "houses.csv", "price")
>>> [(column.name, column.kind) for column in found]
[('rooms', 'number'), ('city', 'category')]
"""

import re
from dataclasses import dataclass, replace
from datetime import date

from core.errors import DataError, OptionError, did_you_mean, plain, shown
from core.signature import DATE_PARTS, EPOCH, WORDS, date_parts

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
    "%Y-%m",
)
TIMES = ("", " %H:%M", " %H:%M:%S")
EITHER = "dates that may be month/day or day/month: write them as 2024-05-31"

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
        Of dates that are not in ISO 8601.
    """

    name: str
    kind: str
    values: object
    categories: tuple | list = ()
    format: str | None = None

    @property
    def missing(self):
        """Whether a value is missing in some row."""
        import numpy as np

        return bool(np.isnan(self.values).any())


# ------------------------------------------------------------------------------------------------ understand


def understand(table, path, target, features=None, drop=(), category=()):
    """Tell what the features of a table hold.

    Parameters
    ----------
    table : pandas.DataFrame
    path : path
        Where it is from, for the errors.
    target : str
        The column to predict.
    features : sequence of str, optional
        The columns to predict from; without it all that something can be learnt from.
    drop : sequence of str
        Columns that are left out.
    category : sequence of str
        Columns that are categories, whatever they look like.

    Returns
    -------
    features : list of Found
    notices : list of str
        What was left out, and why.

    Raises
    ------
    OptionError
        A choice that makes no model.
    DataError
        A column is not there; values that do not fit their column, all of them told with column, row and value.

    Examples
    --------
    >>> features, notices = understand(table, "titanic.csv", "survived", drop=["name"])
    """
    _check_names(table, path, target, features, drop, category)
    names = [name for name in features or table.columns if name not in {target, *drop}]
    kinds, left_out = {}, {}
    for name in names:
        kinds[name] = "category" if name in category else _kind(table[name], name)
        reason = _nothing_to_learn(table[name], name, kinds[name], path)
        if reason and not features and name not in category:
            left_out[name] = reason
    kept = [name for name in names if name not in left_out]
    if not kept:  # a row's number is better than nothing
        kept = [name for name in names if kinds[name] in ("number", "date") and table[name].nunique() > 1]
    if not kept:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise DataError(f"{path} has no column to predict {target!r} from. {reasons or 'It has no other column'}.")
    ambiguous = [name for name in kept if kinds[name] == EITHER]
    if ambiguous:
        raise DataError(f"{path}: column {ambiguous[0]!r} has {EITHER}, or leave it out: --drop '{ambiguous[0]}'.")
    check(table, {name: kinds[name] for name in kept}, path)
    reasons = dict.fromkeys(left_out.values())
    notices = [
        f"Left out, {reason}: {', '.join(name for name in left_out if left_out[name] == reason)}."
        for reason in reasons
        if any(left_out[name] == reason and name not in kept for name in left_out)
    ]
    return [_encode(table[name], name, kinds[name]) for name in kept], notices


def understand_target(table, path, name, task=None):
    """Tell what the target holds, and whether to answer numbers or classes.

    Parameters
    ----------
    table : pandas.DataFrame
    path : path
        Where it is from, for the errors.
    name : str
        The column to predict, without gaps.
    task : str, optional
        "regression" or "classification"; without it, it is told from the column.

    Returns
    -------
    target : Found
        A number, or a category of the classes.
    task : str
    notices : list of str

    Raises
    ------
    DataError
        It cannot be the target of that task.

    Examples
    --------
    >>> target, task, notices = understand_target(table, "iris.csv", "species")
    >>> task, target.categories
    ('classification', ['setosa', 'versicolor', 'virginica'])
    """
    column = table[name]
    kind, notices = _kind(column, name), []
    if kind in ("date", EITHER):
        raise DataError(f"{path}: the target {name!r} holds dates; expected numbers or classes.")
    if task is None:
        task = "regression" if kind == "number" else "classification"
        if kind == "number":
            check(table, {name: kind}, path)
            levels = column.unique()
            if _are_few_whole_numbers(column, levels):
                task = "classification"
                notices.append(
                    f"{name} has {len(levels)} whole numbers only: they are taken as classes. "
                    "--task regression takes them as numbers."
                )
    if task == "regression":
        if kind == "category":
            raise DataError(f"{path}: the target {name!r} is text, such as {str(column.iloc[0])!r}; expected numbers.")
        check(table, {name: kind}, path)
        found = replace(_encode(column, name, kind), kind="number")
        if found.values.min() == found.values.max():
            raise DataError(f"{path}: the target {name!r} is {plain(found.values[0])} in every row; nothing to learn.")
        return found, task, notices
    if kind == "number":
        check(table, {name: kind}, path)
    found = _encode(column, name, "category")
    if kind == "boolean":
        found = _boolean_classes(column, found)
    if len(found.categories) < 2:
        raise DataError(f"{path}: the target {name!r} is {found.categories[0]!r} in every row; nothing to learn.")
    if len(found.categories) > max(2, len(column) * OWN_VALUES):
        raise DataError(
            f"{path}: the target {name!r} has {len(found.categories):,} different values in {len(column):,} rows; "
            "that is no set of classes."
        )
    return found, task, notices


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
    for name in {*drop} & {*(features or ()), *category}:
        raise OptionError(f"{name!r} is to be dropped, and to be used. Name it once.")
    for name in (target, *(features or ()), *drop, *category):
        if name not in table.columns:
            hint = did_you_mean(name, table.columns) or " Name the target with --target." * (name == target)
            raise DataError(f"{path} has no column {name!r}.{hint} It has: {', '.join(map(str, table.columns))}.")
    for name in category:
        if features and name not in features:
            raise OptionError(f"{name!r} is to be a category, and is not among the features. Name it with --feature.")


def _kind(column, name):
    """Tell what a column holds."""
    import pandas as pd

    kind = column.dtype.kind
    if kind == "b" or column.dtype == "boolean":
        return "boolean"
    if pd.api.types.is_numeric_dtype(column.dtype) and kind != "c":
        return "number"
    if kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        return "date"
    try:
        counts = column.astype(object).value_counts() if kind == "O" else column.value_counts()
    except TypeError as error:
        raise DataError(f"Column {name!r} holds lists or objects; expected one value a cell. Drop it.") from error
    if not len(counts):
        return "number"  # nothing in it: it is left out
    levels = counts.index
    if {type(level).__name__ for level in levels[:100]} <= {"bool", "bool_"}:
        return "boolean"
    if all(isinstance(level, date) for level in levels[:100]):
        return "date"
    words = {str(level).strip().casefold() for level in levels[:20]}
    if len(levels) <= 4 and words <= WORDS.keys() and len({WORDS[word] for word in words}) == 2:
        return "boolean"
    if _share(counts, pd.to_numeric(levels.astype(str), errors="coerce").notna()) >= MOSTLY:
        return "number"
    formats = date_formats(counts)
    if formats:
        return EITHER if len(formats) > 1 else "date"
    return "category"


def _share(counts, which):
    """Return which share of the values some of the levels are."""
    return counts.to_numpy()[which].sum() / counts.sum()


def date_formats(counts):
    """Tell how dates are written.

    Parameters
    ----------
    counts : pandas.Series
        How often each text is there; its index are the texts.

    Returns
    -------
    list of str
        The formats that fit nearly all: none where they are no dates, "ISO8601" where that one does.
    """
    levels = counts.index.astype(str)
    sample = levels[:20]
    if not sample.str.contains(r"^\d{1,4}[-/. ][\dA-Za-z]|^[A-Z][a-z]+ \d{1,2}, \d{4}").mean() >= MOSTLY:
        return []
    if (
        sample.str.match(r"\d{4}-\d\d-\d\d").mean() >= MOSTLY
        and _share(counts, _moments(levels, "ISO8601").notna()) >= MOSTLY
    ):
        return ["ISO8601"]
    return [
        form + time
        for time in TIMES
        for form in DATE_FORMATS
        if _moments(sample, form + time).notna().mean() >= MOSTLY
        and _share(counts, _moments(levels, form + time).notna()) >= MOSTLY
    ]


def _moments(texts, form):
    """Parse texts as dates, in UTC where they tell a time zone; NaT where they are none."""
    import pandas as pd

    return pd.to_datetime(texts, format=form, errors="coerce", utc=True).tz_localize(None)


def _nothing_to_learn(column, name, kind, path):
    """Tell why a column is no feature unless the user wants it; None where it is one."""
    present = column.dropna()
    levels = present.nunique() if kind != EITHER else 2
    if kind == EITHER:
        return f"{EITHER} ({path})"
    if levels < 2:
        return "the same in every row" if len(present) else "empty"
    if kind == "category" and levels > len(present) * OWN_VALUES and (levels > 20 or levels == len(present)):
        return "a value of its own in most rows"
    if kind == "number" and len(present) == levels == len(column) and column.dtype.kind in "iu":
        first = column.iloc[0]
        if first in (0, 1) and (column.diff().iloc[1:] == 1).all():
            return "a number of the rows"
        if IDENTIFIER.search(name):
            return "a value of its own in most rows"
    return None


def _are_few_whole_numbers(column, levels):
    """Whether numbers look like classes: a few whole ones, each of them often."""
    return (
        len(levels) <= MOST_CLASSES
        and all(float(level).is_integer() for level in levels)
        and len(column) >= 10 * len(levels)
        and column.value_counts().min() >= 2
    )


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
    """
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

    checks = {
        "number": [
            pa.Check(_are_numbers, error="a number"),
            pa.Check(_are_within, error=f"a number within ±{LARGEST:g}"),
        ],
        "date": [pa.Check(_are_dates, error="a date as in the other rows")],
        "boolean": [],
        "category": [],
    }
    schema = pa.DataFrameSchema({name: pa.Column(None, checks[kind], nullable=True) for name, kind in kinds.items()})
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        problems = []
        for (column, expected), rows in cases.groupby(["column", "check"], sort=False):
            for value, row in rows[["failure_case", "index"]].head(SHOWN_ROWS).itertuples(index=False):
                problems.append(f"column {column!r}, row {int(row) + 1} is {shown(str(value))!r}, expected {expected}")
            if len(rows) > SHOWN_ROWS:
                problems[-1] += f" (and {len(rows) - SHOWN_ROWS:,} more rows)"
        raise DataError(
            f"{path}: {'; '.join(problems)}. (Rows are counted from 1 after the header, without blank lines.)"
        ) from error


def _are_numbers(column):
    import numpy as np

    numeric = _numeric(column)
    return (np.isfinite(numeric)) | (numeric.isna() & column.isna())


def _are_within(column):
    import numpy as np

    numeric = _numeric(column).abs()
    return (numeric <= LARGEST) | ~np.isfinite(numeric)


def _numeric(column):
    import pandas as pd

    if column.dtype.kind in "iuf":
        return column
    return pd.to_numeric(column.astype(object), errors="coerce").astype(float)


def _are_dates(column):
    return _days(column)[0].notna() | column.isna()


# ----------------------------------------------------------------------------------------------------- encode


def _encode(column, name, kind):
    """Make the numbers of a column that the model computes on."""
    import numpy as np
    import pandas as pd

    if kind == "number":
        return Found(name, kind, _numeric(column).to_numpy(np.float64, na_value=np.nan))
    if kind == "date":
        days, form = _days(column)
        return Found(name, kind, days.to_numpy(np.float64, na_value=np.nan), format=form)
    if kind == "boolean":
        if column.dtype.kind == "b":
            return Found(name, kind, column.to_numpy(np.float64))
        truths = column.astype(object).map(lambda value: WORDS[str(value).strip().casefold()], na_action="ignore")
        return Found(name, kind, truths.to_numpy(np.float64, na_value=np.nan))
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    places, levels = pd.factorize(column, sort=False)
    levels = [_level(level) for level in levels]
    if len({type(level) for level in levels}) > 1:
        levels = [level if isinstance(level, str) else plain(level) for level in levels]
    order = sorted(range(len(levels)), key=levels.__getitem__)
    ranks = np.empty(len(levels) + 1)
    ranks[order], ranks[-1] = np.arange(len(levels)), np.nan  # pandas gives missing ones the place -1
    return Found(name, kind, ranks.take(places), [levels[place] for place in order])


def _level(level):
    """A category as JSON has it."""
    if isinstance(level, str):
        return level
    if type(level).__name__ in ("bool", "bool_"):
        return str(bool(level)).lower()
    try:
        number = float(level)
    except (TypeError, ValueError):
        return str(level)
    return int(number) if number.is_integer() else number


def _days(column):
    """Return the days since 1970 of a column of dates, and the format of its text where that is not ISO 8601."""
    import pandas as pd

    form = None
    if column.dtype.kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        moments = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz else column
    elif isinstance(column.dropna().iloc[0], date):
        moments = pd.to_datetime(column, errors="coerce", utc=True).dt.tz_localize(None)
    else:
        places, levels = pd.factorize(column.str.strip())
        counts = pd.Series(1, index=levels)
        form = date_formats(counts)[0]
        moments = pd.Series([*_moments(levels, form), pd.NaT]).take(places)
        moments.index = column.index
    return (moments - EPOCH) / pd.Timedelta(days=1), None if form == "ISO8601" else form


def _boolean_classes(column, found):
    """Make true and false of the words of a target of two classes."""
    import numpy as np

    truths = _encode(column, found.name, "boolean").values
    return replace(found, values=truths.astype(np.float64), categories=[False, True])


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
    card["histogram"] = {"counts": counts.tolist(), "missing": gaps}
    if column.kind in ("number", "date"):
        card["histogram"]["edges"] = edges.tolist()
    if column.kind == "number":
        card |= {"mean": float(present.mean()), "scale": float(present.std())}
        card["positive"] = bool(np.nanmin(column.values) > 0)
    if column.kind == "date":
        pieces = date_parts(present, DATE_PARTS)
        varied = [part for part, piece in zip(DATE_PARTS, pieces.T, strict=True) if piece.min() < piece.max()]
        card |= {"median": float(np.sort(present)[len(present) // 2]), "format": column.format, "parts": varied}
    return card
