"""What do the columns of an Arrow table mean to a model, and how are its answers columns?

>>> checked = check(Signature.read(), pa.table({"Weight": ["180", "heavy"]}))
>>> checked.array
array([[180.],
       [ nan]])
>>> checked.problems
[{'index': 1, 'field': 'Weight', 'got': 'heavy', 'expected': 'a number above 0 (145 to 300 pounds in training)'}]

It is `Signature.check` for many rows at once: a column at a time, and what is done in Python is done once for each
value that a column has, or for rows that are refused.
"""

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.answers import NO_NUMBER, hundredths
from core.errors import shown
from core.signature import MISSING, TIE, feature_seen, height_human

# A number as tables write it; what is longer, or has an exponent of three digits, Python reads.
PLAIN = r"^[-+]?(\d{1,17}\.?\d{0,17}|\.\d{1,17})([eE][-+]?\d{1,2})?$"
DAY = 86_400_000_000  # microseconds
MOST_HEIGHTS = 10_000  # in words at once


@dataclasses.dataclass
class Checked:
    """Rows as a model computes on them.

    Attributes
    ----------
    array : numpy.ndarray of float64, shape (rows, features)
        NaN for what is missing, and for what cannot be read.
    bad : numpy.ndarray of bool, shape (rows,)
        Which rows have a value that cannot be.
    problems : list of dict
        ``index`` (the row, from 0), ``field``, ``got`` and ``expected``; in the order of the rows.
    outside : numpy.ndarray of bool, shape (rows,)
        Which rows have a value outside of what training saw.
    """

    array: np.ndarray
    bad: np.ndarray
    problems: list
    outside: np.ndarray


def check(signature, table, has_commas=False, bad=None):
    """Check rows, and make them what the model computes on.

    Parameters
    ----------
    signature : Signature
    table : pyarrow.Table
        With the features' columns, of any type; text is parsed as in CSV. A feature that has no column is missing in
        every row.
    has_commas : bool
        Whether numbers in texts may have decimal commas.
    bad : numpy.ndarray of bool, shape (rows,), optional
        Rows that are known to be wrong; nothing more is said of them.

    Returns
    -------
    Checked
    """
    rows = len(table)
    array = np.full((rows, len(signature.features)), np.nan)
    known = np.zeros(rows, dtype=bool) if bad is None else bad
    every, outside, problems = known.copy(), np.zeros(rows, dtype=bool), []
    for i, feature in enumerate(signature.features):
        if feature.name not in table.column_names:
            continue
        column = _plain(table.column(feature.name))
        values, unread = _values(feature, column, has_commas)
        array[:, i] = values
        outside |= (values < feature.first) | (values > feature.last)
        refused = (unread | feature.refused(values)) & ~known
        for index in np.flatnonzero(refused).tolist():
            got = column[index].as_py()
            got = feature.parse(got, has_commas) if isinstance(got, str) else got
            got = None if got != got else got  # pylint: disable=comparison-with-itself  # NaN is what is missing
            problem = {"field": feature.name, "got": shown(got), "expected": feature.refusal(got)}
            problems.append({"index": index, **problem})
        every |= refused
    return Checked(array, every, sorted(problems, key=lambda problem: problem["index"]), outside & ~every)


def predict(model, checked):
    """Predict the rows that can be; a row with no finite answer becomes a bad one.

    Parameters
    ----------
    model : mlib.Model
    checked : Checked
        Changed where an answer is no finite number.

    Returns
    -------
    numpy.ndarray of float64, shape (rows,) or (rows, classes)
        NaN in bad rows.
    """
    good = ~checked.bad
    if good.all():
        values = model.predict(checked.array)
    else:
        few = model.predict(checked.array[good]) if good.any() else np.empty((0, *_shape(model)))
        values = np.full((len(good), *few.shape[1:]), np.nan)
        values[good] = few
    infinite = good & ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if infinite.any():
        checked.bad |= infinite
        checked.outside &= ~infinite
        checked.problems += [{"index": index, **NO_NUMBER} for index in np.flatnonzero(infinite).tolist()]
        checked.problems.sort(key=lambda problem: problem["index"])
        values[infinite] = np.nan
    return values


def _shape(model):
    """The shape of one answer."""
    signature = model.signature
    return () if signature.task == "regression" else (len(signature.target.categories),)


# -------------------------------------------------------------------------------------------------------- columns


def _plain(column):
    """A column in one piece, and not as a dictionary."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column  # it lacks most functions


def _values(feature, column, has_commas):
    """The numbers of a column (NaN for what is missing or cannot be read), and which could not be read."""
    kind, unread = column.type, np.zeros(len(column), dtype=bool)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if feature.kind == "number" and is_text:
        return _numbers_of_text(feature, column, has_commas)
    if feature.kind == "number" and _is_number(kind):
        return _floats(column), unread
    if feature.kind == "date" and is_text:
        try:
            return _days(pc.cast(column, pa.timestamp("us"))), unread
        except pa.ArrowInvalid:
            return _of_distinct(feature, column)
    if feature.kind == "date" and is_moment:
        return _days(column), unread
    return _of_distinct(feature, column)


def _is_number(kind):
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _floats(column):
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _days(column):
    """Days since 1970 of moments; the instant where there is a time zone."""
    moments = pc.cast(column, pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
    return _floats(pc.cast(moments, pa.int64())) / DAY


def _numbers_of_text(feature, column, has_commas):
    """The numbers that texts are. Arrow reads what all tables write, and Python the rest: so both refuse the same."""
    unread = np.zeros(len(column), dtype=bool)
    if not has_commas:
        try:
            values = _floats(column)
        except pa.ArrowInvalid:
            pass
        else:
            if np.isnan(values).sum() == column.null_count:  # of nan and its kin some are no marks of a missing value
                return values, unread
    texts = pc.utf8_trim_whitespace(column)
    texts = pc.if_else(pc.is_in(texts, pa.array(MISSING, texts.type)), pa.scalar(None, texts.type), texts)
    texts = pc.replace_substring(texts, ",", ".") if has_commas else texts
    is_plain = pc.match_substring_regex(texts, PLAIN)
    values = _floats(pc.if_else(is_plain, texts, pa.scalar(None, texts.type)))
    rest = np.flatnonzero(~is_plain.fill_null(True).to_numpy(zero_copy_only=False))
    if len(rest):
        values = np.array(values)  # Arrow's own cannot be written to
        values[rest], unread[rest] = _of_distinct(feature, column.take(pa.array(rest)), has_commas)
    return values, unread


def _of_distinct(feature, column, has_commas=False):
    """Read each value that a column has once, by Python; for what Arrow does not know of the kinds of features."""

    def read(value):
        return feature.read(feature.parse(value, has_commas) if isinstance(value, str) else value)

    try:
        encoded = column.dictionary_encode()
        distinct, places = encoded.dictionary.to_pylist(), encoded.indices
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists and objects, which none can be
        distinct = column.to_pylist()
        places = pa.array(np.arange(len(distinct)), mask=column.is_null().to_numpy(zero_copy_only=False))
    found = [read(value) for value in distinct]
    numbers = np.array([math.nan if value is None else value for value in [*found, None]], dtype=np.float64)
    cannot = np.array([value is None for value in found] + [False])
    places = places.fill_null(len(found)).to_numpy(zero_copy_only=False)
    return numbers[places], cannot[places]


# -------------------------------------------------------------------------------------------------------- answers


def answer_names(signature, interval=False, warnings=False):
    """Name the columns of answers.

    Parameters
    ----------
    signature : Signature
    interval : bool
    warnings : bool

    Returns
    -------
    list of str
        ``height_inches``, ``height_human_readable``, or of classes ``species`` and ``probability_Adelie``, ...; then
        ``interval_low``, ``interval_high`` and ``warnings`` where they were asked for.
    """
    names = [signature.answer]
    if signature.task == "classification":
        names += [f"probability_{text}" for text in signature.target.texts]
    elif signature.human:
        names.append(signature.human)
    return names + ["interval_low", "interval_high"] * interval + ["warnings"] * warnings


def answers(signature, values, checked, keys):
    """Make columns of what the model computed: the same numbers and words as `mlib.predict` tells.

    Parameters
    ----------
    signature : Signature
    values : numpy.ndarray of float64, shape (rows,) or (rows, classes)
        As of `predict`; NaN in bad rows.
    checked : Checked
    keys : list of str
        Of `answer_names`, those to make.

    Returns
    -------
    dict of str to pyarrow.Array
        Null in bad rows, and of warnings where there are none. What has few values is an array of their places.
    """
    bad = checked.bad
    if signature.task == "classification":
        makers = [lambda: _classes(signature, values, bad)]
        makers += [lambda column=column: pa.array(column, mask=bad) for column in values.T]
    else:
        told = hundredths(values) if signature.human else values
        makers = [lambda: pa.array(told, mask=bad)]
        if signature.human:
            makers.append(lambda: _heights(told, bad))
    makers += [
        lambda: _bound(signature, values, bad, -1),
        lambda: _bound(signature, values, bad, 1),
        lambda: _warnings(signature, checked),
    ]
    named = dict(zip(answer_names(signature, interval=True, warnings=True), makers, strict=True))
    return {key: named[key]() for key in keys}


def _bound(signature, values, bad, sign):
    """An end of the prediction interval."""
    end = values + sign * signature.interval["half_width"]
    return pa.array(hundredths(end) if signature.human else end, mask=bad)


def _classes(signature, values, bad):
    """The likeliest class of each row; of those that are as likely, the first."""
    best = (values >= values.max(axis=1, keepdims=True) - TIE).argmax(axis=1) if len(values) else np.zeros(0, int)
    return pa.DictionaryArray.from_arrays(pa.array(best, mask=bad), pa.array(signature.target.categories))


def _heights(inches, bad):
    """Heights in words. There are few of them, in whole inches; where they lie near each other, nothing is sorted."""
    rounded = np.rint(np.where(bad, 0, inches))
    first = rounded.min(initial=0)
    if rounded.max(initial=0) - first < MOST_HEIGHTS:
        places = (rounded - first).astype(np.int64)
        whole = first + np.arange(places.max(initial=0) + 1)
    else:
        whole, places = np.unique(rounded, return_inverse=True)
    words = pa.array([height_human(inch) for inch in whole.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(places, mask=bad), words)


def _warnings(signature, checked):
    """What `Signature.warnings` says, as a text a row."""
    texts = {}
    if not checked.outside.any():
        return pa.nulls(len(checked.bad), pa.string())
    for i, feature in enumerate(signature.features):
        values = checked.array[:, i]
        rows = np.flatnonzero(((values < feature.first) | (values > feature.last)) & ~checked.bad)
        distinct, places = np.unique(values[rows], return_inverse=True)
        said = [f"{feature.name}: got {feature.say(value)}, expected {feature_seen(feature)}" for value in distinct]
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            texts[row] = f"{texts[row]}; {said[place]}" if row in texts else said[place]
    found = np.full(len(checked.bad), None, dtype=object)
    found[list(texts)] = list(texts.values())
    return pa.array(found, pa.string())
