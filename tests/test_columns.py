"""Tests of core/columns.py: what a table's columns are taken for, and what is said of them."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from core.columns import Found, describe, trained_first, understand
from core.errors import DataError, OptionError
from core.signature import Column

N = 40
Y = [i * 1.5 + (i % 7) for i in range(N)]


def found(values, **options):
    """Understand one column beside a number and a target, and return what was found of it."""
    table = pd.DataFrame({"c": values, "other": np.cos(range(N)), "y": Y})
    features, *_ = understand(table, "t.csv", "y", **options)
    return next(column for column in features if column.name == "c")


def notices_of(values, name="c"):
    """Return what is said of one column beside a number and a target."""
    table = pd.DataFrame({name: values, "other": np.cos(range(N)), "y": Y})
    features, _, _, notices = understand(table, "t.csv", "y")
    return [column.name for column in features], notices


@pytest.mark.parametrize(
    ("values", "kind", "numbers"),
    [
        ([3, 1.5], "number", [3, 1.5]),
        ([3, None, 4, 5], "number", [3, np.nan, 4, 5]),
        (["3", "1e2"], "number", [3, 100]),
        (["b", "a"], "category", [1, 0]),
        (["b", None], "category", [0, np.nan]),
        ([True, False], "boolean", [1, 0]),
        ([True, None], "boolean", [1, np.nan]),
        (["yes", "no"], "boolean", [1, 0]),
        (["No", "YES"], "boolean", [0, 1]),
        (["t", "f"], "boolean", [1, 0]),
        (["on", "no"], "boolean", [1, 0]),
        (["yes", "maybe"], "category", [1, 0]),
        (["1970-01-02", "1971-01-01"], "date", [1, 365]),
        (["1970-01-02 12:00", "1970-01-01T06:00"], "date", [1.5, 0.25]),
        (["1970-01-02T00:00:00+02:00", None, "1970-01-03", None], "date", [22 / 24, np.nan, 2, np.nan]),
        (["02.01.1970", "31.01.1970"], "date", [1, 30]),
        (["01/31/1970", "01/02/1970"], "date", [30, 1]),
        (["31/01/1970", "02/01/1970"], "date", [30, 1]),
        (["1970/01/02", "1970/01/31"], "date", [1, 30]),
        (["2 Jan 1970", "31 Jan 1970"], "date", [1, 30]),
        ([pd.Timestamp("1970-01-02"), pd.NaT, pd.Timestamp("1970-01-03"), pd.NaT], "date", [1, np.nan, 2, np.nan]),
        ([datetime.date(1970, 1, 2), datetime.date(1970, 1, 3)], "date", [1, 2]),
        (["1-2", "3-4"], "category", [0, 1]),
        (["May 5", "June 6"], "category", [1, 0]),
    ],
)
def test_a_column_is_taken_for_what_it_holds(values, kind, numbers):
    column = found(values * (N // len(values)))
    assert column.kind == kind
    np.testing.assert_allclose(column.values[: len(values)], numbers)
    assert column.missing == any(value is None or value is pd.NaT for value in values)


def test_a_column_of_pandas_own_types_is_taken_for_what_it_holds():
    assert found(pd.array([1, None, 2, 3] * 10, dtype="Int64")).kind == "number"
    assert found(pd.array([True, None] * 20, dtype="boolean")).kind == "boolean"
    column = found(pd.Categorical(["b", "a"] * 20, categories=["a", "b", "c"]))
    assert (column.kind, column.categories) == ("category", ["a", "b"])
    column = found(pd.Series(pd.to_datetime(["1970-01-02T02:00+02:00"] * 39 + ["1970-01-03T02:00+02:00"])))
    assert (column.kind, column.values[0]) == ("date", 1)


def test_numbers_become_categories_when_asked_for():
    column = found([10, 9, None, 10] * 10, category=["c"])
    assert (column.kind, column.categories) == ("category", [9, 10])
    np.testing.assert_array_equal(column.values[:4], [1, 0, np.nan, 1])


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("name", [f"player {i}" for i in range(N)], "a value of its own in most rows"),
        ("cabin", [None] * 15 + [f"C{i}" for i in range(25)], "a value of its own in most rows"),
        ("customer_id", [i * 37 % 1009 for i in range(N)], "a value of its own in most rows"),
        ("whatever", range(N), "the number of the row"),
        ("whatever", range(1, N + 1), "the number of the row"),
        ("same", [7] * N, "7 in every row"),
        ("same", ["a"] * N, "a in every row"),
        ("gaps", [None] * N, "empty in every row"),
        ("gaps", [7, None] * 20, "7.0 in every row"),
        ("when", ["01/02/2024", "03/04/2024"] * 20, "ambiguous, since its dates may be month/day or day/month"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_left_out_and_said(name, values, reason):
    names, notices = notices_of(list(values), name)
    assert names == ["other"]
    assert notices[0].startswith(f"Left out, {reason}")
    assert notices[0].endswith(f": {name}.")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("year", range(1980, 1980 + N)),
        ("acid", [i * 0.5 for i in range(N)]),
        ("size", [i * 37 % 1009 for i in range(N)]),
        ("colour", ["red", None] * 20),
        ("city", [f"city {i % 20}" for i in range(N)]),
    ],
)
def test_what_only_looks_like_it_is_kept(name, values):
    assert notices_of(list(values), name) == ([name, "other"], [])


def test_the_number_of_a_row_is_better_than_nothing():
    table = pd.DataFrame({"x": range(N), "y": Y})
    assert [column.name for column in understand(table, "t.csv", "y")[0]] == ["x"]


def test_a_column_that_is_named_is_taken():
    table = pd.DataFrame({"name": [f"n{i}" for i in range(N)], "x": range(N), "y": Y})
    assert [column.name for column in understand(table, "t.csv", "y", ["name", "x"])[0]] == ["name", "x"]
    assert [column.name for column in understand(table, "t.csv", "y", category=["name"])[0]] == ["name"]


def test_all_that_is_wrong_is_told_at_once():
    table = pd.DataFrame({"a": ["1", "x", "3", "z"] + ["5"] * 36, "b": [np.inf, 1e300, *range(38)], "y": Y})
    table.loc[5, "y"] = -np.inf
    with pytest.raises(DataError) as caught:
        understand(table, "t.csv", "y")
    for said in (
        "column 'a', row 2 is 'x', expected a number",
        "column 'a', row 4 is 'z'",
        "column 'b', row 1 is 'inf'",
        "column 'b', row 2 is '1e+300', expected a number within ±1e+100",
        "column 'y', row 6 is '-inf'",
    ):
        assert said in str(caught.value)


def test_a_column_wrong_in_many_rows_is_told_in_short():
    table = pd.DataFrame({"a": [f"x{i}" for i in range(9)] + ["5"] * 191, "y": range(200)})
    with pytest.raises(DataError, match=r"row 5 is 'x4', expected a number \(and 4 more rows\)"):
        understand(table, "t.csv", "y")


def test_a_date_that_is_none_is_told():
    table = pd.DataFrame({"d": ["2024-01-31"] * 20 + ["2024-02-01"] * 19 + ["2024-02-31"], "y": Y})
    with pytest.raises(DataError, match="column 'd', row 40 is '2024-02-31', expected a date as in the other rows"):
        understand(table, "t.csv", "y")


@pytest.mark.parametrize(
    ("target", "task", "categories"),
    [
        (Y, "regression", ()),
        (range(N), "regression", ()),
        ([0, 1] * 20, "classification", [0, 1]),
        ([0.0, 1.0] * 20, "classification", [0, 1]),
        ([4, 6, 8, 6] * 10, "classification", [4, 6, 8]),
        ([0.5, 1.5] * 20, "regression", ()),
        ([*range(10)] * 4, "regression", ()),
        (["b", "a"] * 20, "classification", ["a", "b"]),
        (["yes", "no"] * 20, "classification", ["no", "yes"]),
        ([True, False] * 20, "classification", [False, True]),
        ([f"{y}" for y in Y], "regression", ()),
    ],
)
def test_the_task_is_told_from_the_target(target, task, categories):
    table = pd.DataFrame({"x": np.cos(range(N)), "y": list(target)})
    _, goal, told, notices = understand(table, "t.csv", "y")
    assert (told, list(goal.categories)) == (task, list(categories))
    assert bool(notices) == (
        task == "classification"
        and all(isinstance(value, int) for value in categories[:1])
        and not isinstance(categories[0], bool)
    )


def test_the_task_that_is_asked_for_is_taken():
    table = pd.DataFrame({"x": np.cos(range(N)), "y": [0, 1] * 20, "flag": [True, False] * 20, "n": [*range(10)] * 4})
    assert understand(table, "t.csv", "y", ["x"], task="regression")[1].kind == "number"
    assert understand(table, "t.csv", "flag", ["x"], task="regression")[1].values.tolist()[:2] == [1, 0]
    assert understand(table, "t.csv", "n", ["x"], task="classification")[1].categories == list(range(10))


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        (["a", "b"] * 20, "regression", "is text, such as 'a'; expected numbers"),
        ([f"n{i}" for i in range(N)], None, "40 different values in 40 rows; that is no set of classes"),
        (["2024-01-01", "2024-01-02"] * 20, None, "holds dates; expected numbers or classes"),
        (["a"] * N, None, "is 'a' in every row; nothing to learn"),
        ([5] * N, "regression", "is 5 in every row; nothing to learn"),
    ],
)
def test_a_target_that_cannot_be_is_refused(target, task, said):
    table = pd.DataFrame({"x": np.cos(range(N)), "y": target})
    with pytest.raises(DataError, match=said):
        understand(table, "t.csv", "y", task=task)


def test_lists_in_cells_are_refused():
    table = pd.DataFrame({"x": [[1], [2]] * 20, "y": Y})
    with pytest.raises(DataError, match="'x' holds lists or objects"):
        understand(table, "t.csv", "y")


def test_a_choice_that_makes_no_model_is_refused():
    table = pd.DataFrame({"x": np.cos(range(N)), "y": Y})
    with pytest.raises(OptionError, match="'x' is to be dropped, and to be used"):
        understand(table, "t.csv", "y", ["x"], drop=["x"])
    with pytest.raises(DataError, match="no column to predict 'y' from"):
        understand(table, "t.csv", "y", drop=["x"])
    with pytest.raises(DataError, match="Name the target: --target NAME"):
        understand(table, "t.csv", "Height")


def test_categories_of_the_training_rows_come_first():
    column = Found("c", "category", np.array([0.0, 1, 2, np.nan, 2]), ["a", "b", "c"], missing=True)
    ordered = trained_first(column, np.array([2, 3, 4]))
    assert ordered.categories == ["c", "a", "b"]
    np.testing.assert_array_equal(ordered.values, [1, 2, 0, np.nan, 0])
    card = describe(ordered, None, ordered.values[2:])
    assert card["histogram"] == {"counts": [2, 0, 0], "missing": 1}
    assert card["missing"] is True


def test_a_number_is_described_by_its_training_rows_but_may_be_zero_where_the_table_has_zeros():
    column = Found("x", "number", np.array([0.0, 1, 2, 3, np.nan]), missing=True)
    card = describe(column, "m", column.values[1:])
    assert [card[name] for name in ("min", "max", "median", "mean", "missing", "positive")] == [1, 3, 2, 2, True, False]
    assert card["scale"] == pytest.approx((2 / 3) ** 0.5)


def test_dates_are_described_by_their_parts_that_vary():
    days = np.array([0.0, 31, 59])  # the first of January, February and March 1970
    card = describe(Found("d", "date", days, format="ISO8601"), None, days)
    assert card["parts"] == ["month", "weekday"]
    assert (card["min"], card["median"], card["max"]) == (0, 31, 59)


def test_whole_numbers_of_any_length_are_categories_of_their_own():
    column = found([2**53, 2**53 + 1] * 20, category=["c"])
    assert column.categories == [2**53, 2**53 + 1]
    assert found([str(10**400), *map(str, range(9))] * 4, category=["c"]).kind == "category"


def test_bytes_and_numbers_beyond_all_computing_are_refused():
    with pytest.raises(DataError, match="'c' holds bytes"):
        found([b"\xff", b"a"] * 20)
    with pytest.raises(DataError, match=r"row 40 is '1000000.*expected a number"):
        found([*range(39), 10**400])


def test_a_thousand_columns_that_are_left_out_are_said_quickly_and_once():
    table = pd.DataFrame({f"c{i}": [1.0] * N for i in range(2000)} | {"x": np.cos(range(N)), "y": Y})
    *_, notices = understand(table, "t.csv", "y")
    assert len(notices) == 1
    assert notices[0].startswith("Left out, 1.0 in every row: c0, c1,")


def test_text_and_numbers_of_one_look_are_one_category():
    column = found([1, "1", True, "true", "x"] * 8, category=["c"])
    assert column.categories == ["1", "true", "x"]
    np.testing.assert_array_equal(column.values[:5], [0, 0, 1, 1, 2])


@pytest.mark.parametrize(
    "level", [pd.Timestamp("2024-05-31"), datetime.date(2024, 5, 31), datetime.time(8, 30), Decimal("0.1")]
)
def test_other_things_are_categories_by_their_text_and_are_known_again(level):
    column = found([level, "x"] * 20, category=["c"])
    card = describe(column, None, column.values)
    assert Column.of(card).read(level) == column.values[0]


@pytest.mark.parametrize(
    ("text", "days"), [("2024-5-1", 19844), ("May 1, 2024", 19844), (" 2024-05-01 ", 19844), ("Feb 01, 2024", 19754)]
)
def test_dates_are_told_however_they_are_written(text, days):
    column = found([text, text.replace("2024", "2023")] * 20)
    assert (column.kind, column.values[0]) == ("date", days)
    card = describe(column, None, column.values)
    assert Column.of(card).read(text) == days


def test_a_boolean_may_be_written_in_many_ways():
    assert found(["yes", "Yes", "YES", "no", "No"] * 8).kind == "boolean"


def test_a_gap_that_only_held_out_rows_have_may_be_missing():
    column = Found("x", "number", np.array([1.0, 2, 3]), missing=True)
    assert describe(column, None, column.values)["missing"]


def test_an_empty_text_is_a_missing_value():
    column = found(["a", "", "b", "a"] * 10)
    assert (column.categories, column.missing) == (["a", "b"], True)
    np.testing.assert_array_equal(column.values[:4], [0, np.nan, 1, 0])
