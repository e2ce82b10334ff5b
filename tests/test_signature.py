"""Tests of core/signature.py: each kind of column, and what it makes of a value."""

import datetime
import math

import numpy as np
import pandas as pd
import pytest

from core.signature import DATE_PARTS, Column, date_parts, key, listed, rounded


def column(kind, missing=False, **card):
    """A column as training describes it."""
    defaults = {
        "number": {"min": 1, "max": 9, "median": 5, "mean": 5, "scale": 2, "positive": True},
        "boolean": {},
        "category": {"categories": ["Lyon", "Paris", "Metz"]},
        "date": {"min": 0, "max": 364, "median": 100, "format": "%d.%m.%Y", "parts": ["month"]},
    }[kind]
    histogram = {"counts": [2, 1, 0][: 2 if kind == "boolean" else 3], "missing": 0}
    name = {"name": "c", "kind": kind, "unit": None, "missing": missing, "histogram": histogram}
    return Column.of({**name, **defaults, **card})


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        ("number", 3, 3),
        ("number", np.float32(2.5), 2.5),
        ("number", np.int64(4), 4),
        ("boolean", True, 1),
        ("boolean", np.False_, 0),
        ("boolean", 0, 0),
        ("boolean", "Yes", 1),
        ("boolean", " off ", 0),
        ("category", "Paris", 1),
        ("category", "Metz", 2),
        ("date", "1970-01-02", 1),
        ("date", "1970-01-02T12:00", 1.5),
        ("date", "1970-01-02T00:00:00Z", 1),
        ("date", "1970-01-02T00:00:00+12:00", 0.5),
        ("date", "03.01.1970", 2),
        ("date", datetime.date(1970, 1, 2), 1),
        ("date", pd.Timestamp("1970-01-02"), 1),
    ],
)
def test_a_value_becomes_the_number_that_the_model_computes_on(kind, value, number):
    assert column(kind).read(value) == number


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("number", value) for value in ("3", True, [], {}, math.nan, math.inf, 0, -1, 1e300, 10**400, 1j)],
        *[("boolean", value) for value in ("maybe", "", 2, 0.5, math.nan, [], {}, b"yes")],
        *[("category", value) for value in ("lyon", "", 0, 1.0, True, [], {}, math.nan)],
        *[
            ("date", value)
            for value in (
                "1970-02-30",
                "02/01/1970",
                "0001-01-01T00:00:00+14:00",
                "today",
                5,
                True,
                [],
                math.nan,
                pd.NaT,
            )
        ],
    ],
)
@pytest.mark.parametrize("missing", [True, False])
def test_a_value_that_cannot_be_is_none(kind, value, missing):
    assert column(kind, missing).read(value) is None


@pytest.mark.parametrize("kind", ["number", "boolean", "category", "date"])
def test_nothing_is_nan_where_it_may_be_missing(kind):
    assert column(kind).read(None) is None
    assert math.isnan(column(kind, missing=True).read(None))
    assert column(kind, missing=True).parse(" NA ") is None
    assert column(kind, missing=True).expected.endswith(", or nothing")


def test_numbers_as_categories_are_numbers_in_json_and_text_in_a_table():
    years = column("category", categories=[2007, 2008, 2009.5])
    assert [years.read(value) for value in (2008, 2008.0, "2008", True)] == [1, 1, None, None]
    assert [years.parse(text) for text in ("2008", "2009.5", "2010")] == [2008, 2009.5, "2010"]


def test_a_category_called_as_a_missing_value_is_a_category():
    assert column("category", categories=["None", "Some", "x"]).parse("None") == "None"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("number", " 3.5 ", 3.5),
        ("number", "3,5", "3,5"),
        ("number", "nan", None),
        ("number", "1_80", "1_80"),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("boolean", "2", "2"),
        ("category", " Lyon ", "Lyon"),
        ("date", "1970-01-02", "1970-01-02"),
    ],
)
def test_text_becomes_what_json_has(kind, text, value):
    assert column(kind).parse(text) == value


@pytest.mark.parametrize(
    ("kind", "number", "value"),
    [
        ("number", 3.0, 3),
        ("boolean", 1.0, True),
        ("category", 1.0, "Paris"),
        ("date", 1.0, "1970-01-02"),
        ("date", 1.5, "1970-01-02T12:00"),
        ("date", 1 + 1 / 86400, "1970-01-02T00:00:01"),
        ("number", math.nan, "nan"),
        ("category", 7.0, 7),
        ("date", 1e300, 1e300),
    ],
)
def test_a_number_is_said_as_json_has_it(kind, number, value):
    assert column(kind).say(number) == value


@pytest.mark.parametrize("kind", ["number", "boolean", "category", "date"])
def test_the_example_is_answered(kind):
    example = column(kind)
    assert example.first <= example.read(example.example) <= example.last


def test_a_refusal_says_what_was_expected_with_the_nearest():
    assert column("category").refusal("Pariss") == "one of Lyon, Paris, Metz. Did you mean Paris?"
    assert column("category").refusal(7) == "one of Lyon, Paris, Metz"
    assert column("number").refusal(-1) == "a number above 0 (1 to 9 in training)"
    assert "billion standard deviations" in column("number").refusal(1e300)
    assert column("date").refusal("x") == "a date such as 1970-04-11 (1970-01-01 to 1970-12-31 in training)"


def test_many_numbers_are_refused_as_one_is():
    values = np.array([1.0, 0, np.nan, np.inf])
    assert column("number").refused(values).tolist() == [False, True, True, True]
    assert column("number", missing=True).refused(values).tolist() == [False, True, False, True]
    assert column("category").refused(np.array([0, 2.0, 3, 0.5, -1, np.nan])).tolist() == [False, False, *[True] * 4]
    assert column("boolean").refused(np.array([0, 1.0, 2])).tolist() == [False, False, True]
    assert column("date").refused(np.array([-7e5, 1e7])).tolist() == [False, True]


def test_dates_fall_into_the_parts_that_pandas_sees():
    moments = pd.Series(pd.date_range("1899-12-25", "2101-03-05", freq="37h"))
    days = ((moments - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy()
    parts = date_parts(days, DATE_PARTS)
    for i, part in enumerate(("year", "month", "day", "day_of_week", "hour")):
        np.testing.assert_allclose(parts[:, i], getattr(moments.dt, part), atol=1e-6)
    assert np.isnan(date_parts(np.array([np.nan]), DATE_PARTS)).all()


def test_many_categories_are_named_in_short():
    assert listed([f"c{i}" for i in range(5000)]) == "c0, c1, c2, c3, c4, c5, c6, c7, ... (5,000 in all)"


@pytest.mark.parametrize(
    ("value", "text"), [(123456.7, "123500"), (2.0527, "2.053"), (0.00012345, "0.0001234"), (1e300, "1e+300"), (0, "0")]
)
def test_a_number_is_rounded_to_the_digits_that_count(value, text):
    assert rounded(value, 4) == text


@pytest.mark.parametrize(
    ("name", "made"),
    [("Fuel type (l/100 km)", "fuel_type_l_100_km"), ("größe", "größe"), ("!?", "value"), ("2nd", "2nd")],
)
def test_a_name_is_made_a_key(name, made):
    assert key(name) == made
