"""What does a model say of itself, and which rows can it answer?

>>> signature = Signature.read()
>>> signature.check({"Weight": -5})[1]
[{'field': 'Weight', 'got': -5, 'expected': 'a number above 0 (145 to 300 pounds in training)'}]

A model computes on numbers. A row of the table becomes a row of float64, a number a feature: a category is its place
in the signature's list, true and false are 1 and 0, a date is days since 1970, and what is missing is NaN.
"""

import functools
import itertools
import json
import math
import numbers
import operator
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from core import artifact
from core.errors import MOST_PROBLEMS, InputError, ModelError, did_you_mean, plain, printable, shown

FARTHEST = 1e9  # standard deviations from training's mean: beyond, estimators overflow, and no answer means anything
TIE = 1e-9  # between probabilities that are equal but for rounding
SHOWN_CATEGORIES = 8  # of many, so many are told in one line
RESERVED = {"interval", "probabilities", "warnings"}  # keys that an answer has already

# What stands for a missing value in a table of text: what pandas takes for one.
MISSING = frozenset(
    "#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null||".split("|")  # noqa: SIM905
)
WORDS = {
    "yes": 1.0,
    "no": 0.0,
    "true": 1.0,
    "false": 0.0,
    "y": 1.0,
    "n": 0.0,
    "t": 1.0,
    "f": 0.0,
    "on": 1.0,
    "off": 0.0,
}
EPOCH = datetime(1970, 1, 1)
DATE_PARTS = ("year", "month", "day", "weekday", "hour")


# ------------------------------------------------------------------------------------------------ the columns


class Column:
    """A feature or the target, as the training rows had it. Its children are the kinds.

    Attributes
    ----------
    name, kind : str
        The name as in the table; "number", "boolean", "category" or "date".
    unit : str or None
    missing : bool
        Whether a value may be missing.
    histogram : dict
        ``counts`` of the training rows, shape (bins,), and ``missing``, how many had none; of numbers and dates
        also ``edges``, shape (bins + 1,).
    first, last : float
        Between which training's values lie, as the model has them.
    range : str
        These in words, such as ``145 to 300 pounds``.
    expected : str
        What a value has to be, in words.
    possible : str
        What values it had, in words: ``145 to 300 pounds in training``, ``one of Lyon, Paris``.
    example : JSON value
        One that is answered: the median, or the commonest.
    card : dict
        What it was made of.
    """

    first = 0.0
    last = 1.0
    range = ""
    expected = ""

    def __init__(self, *, name, kind, unit, missing, histogram, **card):
        self.name = name
        self.kind = kind
        self.unit = unit
        self.missing = missing
        self.histogram = histogram
        self.example = self._describe(**card)
        if missing:
            self.expected += ", or nothing"

    @staticmethod
    def of(card):
        """Make the column that a signature describes.

        Parameters
        ----------
        card : dict
            ``name``, ``kind``, ``unit``, ``missing``, ``histogram`` and what is of the kind.

        Returns
        -------
        Column
        """
        column = {"number": Number, "boolean": Boolean, "category": Category, "date": Date}[card["kind"]](**card)
        column.card = card
        return column

    @property
    def possible(self):
        """What values it had, in words."""
        before, after = {"category": ("one of ", ""), "boolean": ("", "")}.get(self.kind, ("", " in training"))
        return f"{before}{self.range}{after}"

    def read(self, value):
        """Make of a value of a row the number that the model computes on.

        Parameters
        ----------
        value : JSON value
            Also datetime objects and other types of numbers.

        Returns
        -------
        float or None
            NaN for a missing one that may be missing; None for one that cannot be.
        """
        if value is None:
            return math.nan if self.missing else None
        return self._read(value)

    def read_many(self, values):
        """Make of the values of many rows the numbers that the model computes on.

        Parameters
        ----------
        values : list of JSON value

        Returns
        -------
        sequence of float or None
            None where one cannot be; `read` tells which.
        """
        numbers_ = [self.read(value) for value in values]
        return None if None in numbers_ else numbers_

    def parse(self, text, has_commas=False):
        """Make of a text, such as a form or a CSV file has, what JSON would have.

        Parameters
        ----------
        text : str
        has_commas : bool
            Whether a number may have a decimal comma.

        Returns
        -------
        JSON value
            The text as it is where it means nothing for this kind; `read` then refuses it.
        """
        text = text.strip()
        if text in MISSING:
            return None
        return self._parse(text.replace(",", ".") if has_commas and self.kind == "number" else text)

    def say(self, number):
        """Make of the number that the model computes on what JSON has.

        Parameters
        ----------
        number : float

        Returns
        -------
        JSON value
        """
        return shown(number)

    def refusal(self, value):  # pylint: disable=unused-argument  # some kinds have more to say of some values
        """Tell what would have been expected instead of a refused value.

        Parameters
        ----------
        value : object

        Returns
        -------
        str
        """
        return self.expected

    def refused(self, values):
        """Tell which of many numbers cannot be.

        Parameters
        ----------
        values : numpy.ndarray of float64, shape (rows,)
            As the model computes on them.

        Returns
        -------
        numpy.ndarray of bool, shape (rows,)
        """
        import numpy as np

        bad = ~self._can_be(values)
        return bad & ~np.isnan(values) if self.missing else bad

    def _describe(self, **card):
        raise NotImplementedError

    def _read(self, value):
        raise NotImplementedError

    def _parse(self, text):
        return text

    def _can_be(self, values):
        raise NotImplementedError


class Number(Column):  # pylint: disable=abstract-method  # it reads by itself
    """A column of numbers.

    Attributes
    ----------
    min, max, median, mean, scale : float
        Of the training rows, in the unit; `scale` is the population standard deviation.
    positive : bool
        Whether the whole table has only numbers above 0.
    bounds : tuple of float
        Between which numbers, both excluded, a value can be: above 0 where `positive`, and not too far.
    """

    def _describe(self, *, min, max, median, mean, scale, positive):  # pylint: disable=arguments-differ,redefined-builtin
        self.min, self.max, self.median, self.mean, self.scale, self.positive = min, max, median, mean, scale, positive
        self.first, self.last = min, max
        self.range = f"{plain(min)} to {plain(max)}" + (f" {self.unit}" if self.unit else "")
        self.expected = f"a number{' above 0' if positive else ''} ({self.range} in training)"
        far = FARTHEST * scale
        self.bounds = 0.0 if positive else mean - far, mean + far
        return shown(median)

    def read(self, value):  # the hot path: no call more than it needs
        if type(value) is not float:  # pylint: disable=unidiomatic-typecheck  # quicker, and others are made float
            if value is None:
                return math.nan if self.missing else None
            value = _number(value)
            if value is None:
                return None
        low, high = self.bounds
        return value if low < value < high else None  # NaN is between no two numbers

    def read_many(self, values):
        import numpy as np

        kinds, gaps = set(map(type, values)), 0
        if self.missing and type(None) in kinds:
            kinds.discard(type(None))
            gaps = values.count(None)
        if not kinds <= {int, float}:
            return super().read_many(values)
        try:
            array = np.array(values, dtype=np.float64)
        except OverflowError:  # a whole number beyond all floats
            return None
        has_nan = self.missing and np.isnan(array).sum() > gaps  # what is missing is None, and NaN no number
        return None if has_nan or self.refused(array).any() else array

    def _parse(self, text):
        number = None if "_" in text else _float(text)  # 1_80 is a number to Python, and to no table
        return text if number is None else number

    def refusal(self, value):
        number = _number(value)
        is_far = number is not None and math.isfinite(number) and (number > 0 or not self.positive)
        return self.expected + (", within a billion standard deviations of their mean" if is_far else "")

    def _can_be(self, values):
        low, high = self.bounds
        return (low < values) & (values < high)


class Boolean(Column):
    """A column of true and false, however the table writes them."""

    range = "true or false"
    expected = "true or false"

    def _describe(self):  # pylint: disable=arguments-differ
        false, true = self.histogram["counts"]
        return true > false

    def _read(self, value):
        if isinstance(value, str):
            return WORDS.get(value.strip().casefold())
        is_number = isinstance(value, numbers.Real) or type(value).__name__ in ("bool", "bool_")
        return float(value) if is_number and value in (0, 1) else None

    def _parse(self, text):
        number = WORDS.get(text.casefold(), _float(text))
        return bool(number) if number in (0, 1) else text

    def say(self, number):
        return shown(number) if math.isnan(number) else bool(number)

    def _can_be(self, values):
        return (values == 0) | (values == 1)


class Category(Column):
    """A column of one value out of several.

    Attributes
    ----------
    categories : list of str, bool or number
        All that the table has, those of the training rows first; a value's place is its number.
    texts : list of str
        These as a table of text has them.
    """

    def _describe(self, *, categories):  # pylint: disable=arguments-differ
        counts = self.histogram["counts"]
        self.categories = categories
        self.texts = [category_text(value) for value in categories]
        self.last = float(sum(count > 0 for count in counts) - 1)
        self.range = listed(categories)
        self.expected = f"one of {self.range}"
        return categories[max(range(len(categories)), key=counts.__getitem__)]

    @functools.cached_property
    def _places(self):
        return {value: float(place) for place, value in enumerate(self.categories)}

    @functools.cached_property
    def _of_text(self):
        return dict(zip(self.texts, self.categories, strict=True))

    def parse(self, text, has_commas=False):
        stripped = text.strip()
        for found in (text, stripped, _as_number(stripped)):  # 01067 and 3.0 are learnt as 1067 and 3, True as true
            if found in self._of_text:
                return self._of_text[found]
        return None if stripped in MISSING else stripped

    def read_many(self, values):
        if set(map(type, values)) != {str}:
            return super().read_many(values)
        places = list(map(self._places.get, values))
        return None if None in places else places

    def _read(self, value):
        value = category_value(value)
        found = self._places.get(value)
        if found is None and not isinstance(value, str):  # where the table mixes text and numbers, all of it is text
            found = self._places.get(category_text(value))
        return found

    def say(self, number):
        is_place = number in range(len(self.categories))
        return self.categories[int(number)] if is_place else shown(number)

    def refusal(self, value):
        return self.expected + (f".{did_you_mean(value, self.texts)}" if isinstance(value, str) else "").rstrip(".")

    def _can_be(self, values):
        import numpy as np

        return np.isin(values, np.arange(len(self.categories)))


class Date(Column):
    """A column of dates, or of dates with times. The model computes on its numeric parts.

    Attributes
    ----------
    min, max, median : float
        Of the training rows, in days since 1970-01-01, UTC where the table tells time zones.
    format : str
        How the table writes them: "ISO8601", or as strftime has it.
    parts : list of str
        Of "year", "month", "day", "weekday" (Monday is 0) and "hour" those that vary in training.
    """

    def _describe(self, *, min, max, median, format, parts):  # pylint: disable=arguments-differ,redefined-builtin
        self.min, self.max, self.median, self.format, self.parts = min, max, median, format, parts
        self.first, self.last = min, max
        self.range = f"{self.say(min)} to {self.say(max)}"
        self.expected = f"a date such as {self.say(median)} ({self.range} in training)"
        return self.say(median)

    def _read(self, value):
        if isinstance(value, str):
            value = self._moment(value.strip())
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime) or type(value).__name__ == "NaTType":  # pandas' NaT is a datetime
            return None
        try:
            value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        except OverflowError:  # before the year 1, or after 9999
            return None
        return (value - EPOCH) / timedelta(days=1)

    def _moment(self, text):
        for parse in (datetime.fromisoformat, lambda text: datetime.strptime(text, self.format)):
            try:
                return parse(text)
            except (ValueError, OverflowError):
                continue
        return None

    def say(self, number):
        if math.isnan(number):
            return shown(number)
        try:
            moment = EPOCH + timedelta(seconds=round(number * 86400))
        except OverflowError:
            return shown(number)
        if number == int(number):
            return moment.date().isoformat()
        return moment.isoformat(timespec="seconds" if moment.second else "minutes")

    def _can_be(self, values):
        return abs(values) < 4e6  # days: from the year 1 to 9999 it is less


def date_parts(days, parts):
    """Take dates to pieces.

    Parameters
    ----------
    days : numpy.ndarray of float64, shape (rows,)
        Days since 1970-01-01; NaN where there is no date.
    parts : sequence of str
        Of `DATE_PARTS`.

    Returns
    -------
    numpy.ndarray of float64, shape (rows, parts)
        The year, the month (1 to 12), the day (1 to 31), the weekday (0 to 6 from Monday), the hour with its fraction.

    Examples
    --------
    >>> import numpy as np
    >>> date_parts(np.array([0.5]), ["year", "weekday", "hour"])
    array([[1970.,    3.,   12.]])
    """
    import numpy as np

    missing, whole = np.isnan(days), np.floor(np.nan_to_num(days))
    day = whole.astype("M8[D]")
    month = day.astype("M8[M]")
    every = {
        "year": lambda: day.astype("M8[Y]").astype(np.int64) + 1970,
        "month": lambda: month.astype(np.int64) % 12 + 1,
        "day": lambda: (day - month).astype(np.int64) + 1,
        "weekday": lambda: (whole + 3) % 7,  # 1970-01-01 was a Thursday
        "hour": lambda: (days - whole) * 24,
    }
    return np.column_stack([np.where(missing, np.nan, every[part]()) for part in parts])


# ---------------------------------------------------------------------------------------------- the signature


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
    task : str
        "regression" or "classification".
    target : Number or Category
    features : list of Column
        In the order of the model's input.
    answer : str
        The answer's key: ``height_inches``, or ``price`` where the target has no unit.
    human : str or None
        The key of the answer in feet and inches, or None where the target is not in inches.
    estimator : dict
        ``name``, ``class`` and ``parameters``.
    training : dict
        ``n`` (rows), ``test_size``, ``seed`` and ``notices``, what training had to say.
    metrics, baseline : dict
        ``n`` and the figures on the held-out rows: of the model, and of always answering the mean or the commonest
        class. Of numbers ``r2``, ``mae``, ``rmse`` (the target's unit); of classes ``accuracy``,
        ``balanced_accuracy``, ``macro_f1``, ``log_loss``, ``roc_auc``.
    interval : dict or None
        ``coverage``, ``half_width`` (the target's unit; None where too few rows were held out) and ``n``; None for
        classes.
    cv, search : dict or None
        What cross-validation and the search for parameters gave, where they were asked for.
    data : dict
        ``file``, ``rows`` and ``sha256`` of the table; where not all of its rows were read, ``sampled``: how many
        ``rows``, drawn with which ``seed``.
    compiled : dict
        ``tolerance``, ``worst`` (shares of the target's range, or of probabilities) and ``rows`` of the comparison of
        the compiled form with the original, and why it was ``refused``, or None; ``chunk``, how many rows it is best
        given at once.
    golden : dict
        ``rows``, shape (5, features), their ``answers``, and the ``tolerance``; 3 rows where there is no ``sample``.
    sample : dict
        ``rows``, shape (n, features), and ``target``, shape (n,), of some training rows, as the model computes on them;
        None for what is missing.
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
        self.task = card["task"]
        self.target = Column.of(card["target"])
        self.features = [Column.of(feature) for feature in card["features"]]
        self.estimator = card["estimator"]
        self.training = card["training"]
        self.metrics = card["metrics"]
        self.baseline = card["baseline"]
        self.interval = card["interval"]
        self.cv = card["cv"]
        self.search = card["search"]
        self.data = card["data"]
        self.compiled = card["compiled"]
        self.golden = card["golden"]
        self.sample = card.get("sample", {"rows": [], "target": []})  # what was trained before there was one has none
        self.packages = card["packages"]
        self.has_dates = any(feature.kind == "date" for feature in self.features)
        self._names = {feature.name for feature in self.features}
        if not self._names or len(self._names) < len(self.features) or {type(name) for name in self._names} != {str}:
            raise ValueError("the features have no names of their own")
        name, unit = key(self.target.name), self.target.unit
        self.answer = f"{name}_{key(unit)}" if unit else name
        if self.answer in RESERVED:
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
        path = artifact.model_path(model)
        return cls.parse(path, artifact.read_card(path))

    @classmethod
    def parse(cls, path, card):
        """Make it of the dict that stands in a model's file.

        Parameters
        ----------
        path : path
            For the error.
        card : dict

        Returns
        -------
        Signature

        Raises
        ------
        ModelError
            It is not what training writes.
        """
        try:
            return cls(card)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ModelError(
                f"{path} has a signature that cannot be read ({type(error).__name__}: {error})."
            ) from error

    def words(self, prediction):
        """Say an answer.

        Parameters
        ----------
        prediction : dict
            As `predict` gives it; or a value of a target that is a number.

        Returns
        -------
        str
            ``6 foot, 0 inches`` where the unit is inches, else the number and its unit; ``Adelie (probability 0.98)``
            of classes.
        """
        value = prediction[self.answer] if isinstance(prediction, dict) else prediction
        if self.task == "classification":
            text = category_text(value)
            line = printable(text)
            return f"{line} (probability {prediction['probabilities'][text]:.2g})"
        return height_human(value) if self.human else self.amount(value, 6)

    def amount(self, value, digits=4):
        """Say a quantity in the target's unit.

        Parameters
        ----------
        value : float
        digits : int
            How many count.

        Returns
        -------
        str
            Such as ``2.053 inches``.
        """
        return rounded(value, digits) + (f" {self.target.unit}" if self.target.unit else "")

    def classes(self, probabilities):
        """Make the answer of a classifier.

        Parameters
        ----------
        probabilities : sequence of float, shape (classes,)

        Returns
        -------
        dict
            The most probable class (the first of those that are equal but for a billionth, so that the last bits of
            a processor's sums decide nothing), and the probability of each by its name.
        """
        least = max(probabilities) - TIE
        best = next(place for place, probability in enumerate(probabilities) if probability >= least)
        named = dict(zip(self.target.texts, probabilities))  # noqa: B905  # the hot path: strict costs
        return {self.answer: self.target.categories[best], "probabilities": named}

    def example(self):
        """Make a row that is answered: the medians of training, the commonest categories.

        Returns
        -------
        dict of str to JSON value
            Such as ``{"Weight": 205}``.
        """
        return {feature.name: feature.example for feature in self.features}

    def spread(self, x):
        """Take the dates of rows to pieces: what stands before the model.

        Parameters
        ----------
        x : numpy.ndarray of float64, shape (rows, features)

        Returns
        -------
        numpy.ndarray of float64, shape (rows, inputs)
            A column a feature, but a column a part for dates.
        """
        return spread(x, self.features)

    def check(self, row):
        """Check one row.

        Parameters
        ----------
        row : mapping of str to JSON value
            Such as ``{"Weight": 200}``: pounds.

        Returns
        -------
        values : list of float
            In the features' order, as the model computes on them.
        errors : list of dict
            What is wrong; empty where the row can be predicted.
        """
        values, errors = [], []
        for feature in self.features:
            got = row.get(feature.name)
            value = feature.read(got)
            values.append(value)
            if value is None:
                errors.append({"field": feature.name, "got": shown(got), "expected": feature.refusal(got)})
        if len(row) > len(self.features) or not self._names.issuperset(row):
            errors += self._unknown(row)
        return values, errors

    def read_many(self, rows):
        """Make an array of many rows, a column at a time: `check` for those that are all good.

        Parameters
        ----------
        rows : list of mapping of str to JSON value

        Returns
        -------
        numpy.ndarray of float64, shape (rows, features), or None
            None where a row has other names than the features, or a value that cannot be; `check` tells which.
        """
        import numpy as np

        if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(self.features)}:
            return None
        array = np.empty((len(rows), len(self.features)))
        for i, feature in enumerate(self.features):
            try:
                column = feature.read_many(list(map(operator.itemgetter(feature.name), rows)))
            except KeyError:
                return None
            if column is None:
                return None
            array[:, i] = column
        return array

    def parse_row(self, row, has_commas=False):
        """Make of a row of text what JSON would have.

        Parameters
        ----------
        row : mapping of str to str or None
            As a CSV file or a form has it; names that are no feature's stay.
        has_commas : bool
            Whether numbers may have decimal commas.

        Returns
        -------
        dict of str to JSON value
        """
        return {
            name: self._of_name[name].parse(text, has_commas)
            if name in self._of_name and isinstance(text, str)
            else text
            for name, text in row.items()
        }

    @functools.cached_property
    def _of_name(self):
        return {feature.name: feature for feature in self.features}

    def check_names(self, columns):
        """Check the columns of a table.

        Parameters
        ----------
        columns : sequence of str

        Raises
        ------
        InputError
            A feature is missing that may not be, a column is not a feature, or one is there twice.
        """
        columns = list(columns)
        missing = [
            {"field": feature.name, "got": None, "expected": "a column of that name"}
            for feature in self.features
            if feature.name not in columns and not feature.missing
        ]
        twice = [
            {"field": feature.name, "got": "several columns", "expected": "one column of that name"}
            for feature in self.features
            if columns.count(feature.name) > 1
        ]
        errors = missing + twice + self._unknown(dict.fromkeys(columns, "a column"))
        if errors:
            raise InputError(errors)

    def _unknown(self, row):
        unknown = itertools.islice((name for name in row if name not in self._names), MOST_PROBLEMS)
        return [
            {"field": shown(str(name)), "got": shown(row[name]), "expected": self._known_names(shown(str(name)))}
            for name in unknown
        ]

    def _known_names(self, name):
        return f"one of the fields: {', '.join(map(str, self._ordered_names))}." + did_you_mean(name, self._names)

    @functools.cached_property
    def _ordered_names(self):
        return [feature.name for feature in self.features]

    def check_array(self, array):
        """Check many rows at once.

        Parameters
        ----------
        array : numpy.ndarray of float64, shape (rows, features)
            As the model computes on them.

        Raises
        ------
        InputError
            With row, field and value.
        """
        import numpy as np

        bad = np.column_stack([feature.refused(array[:, i]) for i, feature in enumerate(self.features)])
        if bad.any():
            raise InputError(
                [
                    {
                        "row": int(row) + 1,
                        "field": self.features[i].name,
                        "got": self.features[i].say(float(array[row, i])),
                        "expected": self.features[i].refusal(float(array[row, i])),
                    }
                    for row, i in np.argwhere(bad)[:MOST_PROBLEMS]
                ]
            )

    def is_outside(self, array):
        """Tell which of many checked rows `warnings` has something to say of.

        Parameters
        ----------
        array : numpy.ndarray of float64, shape (rows, features)

        Returns
        -------
        numpy.ndarray of bool, shape (rows,)
        """
        first, last = self._edges
        return ((array < first) | (array > last)).any(axis=1)

    @functools.cached_property
    def _edges(self):
        return [feature.first for feature in self.features], [feature.last for feature in self.features]

    def warnings(self, values):
        """Tell which values of a checked row lie outside what training saw.

        Parameters
        ----------
        values : sequence of float, shape (features,)

        Returns
        -------
        list of dict
            ``field``, ``got``, ``expected``; empty where all lie within, or are missing.
        """
        return [
            {"field": feature.name, "got": feature.say(value), "expected": feature_seen(feature)}
            for feature, value in zip(self.features, values)  # noqa: B905  # the hot path: strict costs
            if value < feature.first or value > feature.last
        ]


def spread(x, features):
    """Take the dates of rows to pieces.

    Parameters
    ----------
    x : numpy.ndarray of float64, shape (rows, features)
    features : sequence of Column

    Returns
    -------
    numpy.ndarray of float64, shape (rows, inputs)
        The same array where there are no dates.
    """
    import numpy as np

    if not any(feature.kind == "date" for feature in features):
        return x
    columns = [
        date_parts(x[:, i], feature.parts) if feature.kind == "date" else x[:, i : i + 1]
        for i, feature in enumerate(features)
    ]
    return np.concatenate(columns, axis=1)


def feature_seen(feature):
    """Say what training saw of a feature, for a warning.

    Parameters
    ----------
    feature : Column

    Returns
    -------
    str
    """
    if feature.kind == "category":
        return f"one of the training rows: {listed(feature.categories[: int(feature.last) + 1])}"
    return f"{feature.range}, as in training"


# ------------------------------------------------------------------------------------------------------ words


def key(name):
    """Write a name as the answer's keys have it.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        ``Fuel type (l/100 km)`` is ``fuel_type_l_100_km``.
    """
    return re.sub(r"\W+", "_", name).strip("_").lower() or "value"


def rounded(value, digits):
    """Write a number in so many digits, without an exponent where people would write none.

    Parameters
    ----------
    value : float
    digits : int

    Returns
    -------
    str
        123456.7 in four digits is ``123500``.
    """
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e15 else text


def category_value(value):
    """Make of a value what stands for it as a category, at training and after.

    Parameters
    ----------
    value : object

    Returns
    -------
    str, int or float
        Text and numbers, whole ones as int; of true and false, and of all other objects, their text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return int(value)  # exact, however long
    if not isinstance(value, (numbers.Real, Decimal)):
        return str(value)
    number = float(value)
    return int(number) if number.is_integer() else number


def category_text(value):
    """Write a category as text, as a table of text would.

    Parameters
    ----------
    value : str, bool or number

    Returns
    -------
    str
        Whole numbers without a point, ``true`` and ``false`` in small letters.
    """
    value = category_value(value)
    return value if isinstance(value, str) else repr(value)


def listed(categories):
    """Name categories in one line.

    Parameters
    ----------
    categories : sequence of str, bool or number

    Returns
    -------
    str
        Of many the first 8, and how many there are.
    """
    texts = [category_text(value) for value in categories[:SHOWN_CATEGORIES]]
    texts = [text if len(text) <= 40 else text[:37] + "..." for text in texts]
    texts = [json.dumps(text, ensure_ascii=False) if "," in text or not text.isprintable() else text for text in texts]
    more = f", ... ({len(categories):,} in all)" if len(categories) > SHOWN_CATEGORIES else ""
    return ", ".join(texts) + more


@functools.lru_cache(maxsize=4096)  # heights in hundredths of an inch come again and again
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


def _number(value):
    """The value as float, or None where it is no number; text that looks like one is none."""
    if isinstance(value, bool) or not isinstance(value, (int, numbers.Real, Decimal)):  # an int is quickly told
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _as_number(text):
    """A text as the number that it is has as a category's text; of none in small letters."""
    try:
        return category_text(int(text))
    except ValueError:
        number = _float(text)
        return text.lower() if number is None or not math.isfinite(number) else category_text(number)


def _float(text):
    try:
        return float(text)
    except ValueError:
        return None
