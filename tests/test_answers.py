"""Tests of how answers are told: rounding against Python's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlib
from core.answers import hundredths
from core.errors import InputError

HALVES = st.integers(-(10**9), 10**9).map(lambda n: (2 * n + 1) / 200)  # 0.005, 0.015: as near to a half as can be
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(HALVES | FLOATS | st.floats(-100, 100), min_size=1, max_size=20))
def test_many_numbers_are_rounded_as_one_is(values):
    with np.errstate(over="ignore", invalid="ignore"):
        assert list(map(repr, hundredths(np.array(values)).tolist())) == [repr(round(value, 2)) for value in values]


def test_many_rows_are_told_as_one_is(model):
    weights = [145.0, 180.5, 200, 300, 301, 1e6, 0.1]
    assert mlib.predict([{"Weight": weight} for weight in weights], model) == [
        mlib.predict({"Weight": weight}, model) for weight in weights
    ]


def test_the_bad_one_of_many_rows_is_told_whatever_the_others_are(two_features):
    good = {"Weight": 200, "Age": 30}
    for bad in (
        {"Weight": 200},
        {"Weight": "x", "Age": 1},
        {"Weight": True, "Age": 1},
        {**good, "x": 1},
        {"Weight": 10**400, "Age": 1},
    ):
        with pytest.raises(InputError) as error:
            mlib.predict([good, bad, good], two_features)
        assert {each["row"] for each in error.value.errors} == {2}


def test_gaps_and_categories_of_many_rows_are_read_as_those_of_one(tmp_path, write_table):
    """Numbers with gaps, categories of text and of numbers, booleans and dates, each with all kinds of values."""
    lines = []
    for i in range(120):
        number, place = i % 7 if i % 5 else "", i % 2 + 10 if i % 4 else ""
        lines.append(f"{number},{'abc'[i % 3]},{place},{'yes' if i % 3 else 'no'},2020-01-{i % 28 + 1:02},{i % 11}")
    table = write_table("x,g,k,b,d,y\n" + "\n".join(lines) + "\n")
    path = tmp_path / "mixed.joblib"
    mlib.retrain(data=table, target="y", category=["k"], model_name=path)
    model = mlib.load_model(path)
    row = {"x": 3, "g": "a", "k": 10, "b": True, "d": "2020-01-05"}
    given_ = {
        "x": [None, 0, 2.5, True, "3", float("nan"), np.float64(2), 1e300],
        "g": ["b", "d", None, 1, True, [], {}],
        "k": [None, 11, 10.0, "10", 12, True],
        "b": [False, 1, 0.0, 2, None, "yes"],
        "d": ["2020-01-07", "x", None, 5],
    }
    for name, values in given_.items():
        for value in values:
            asked = {**row, name: value}
            single, several = outcome(asked, model), outcome([row, asked], model)
            if isinstance(single, dict):
                assert several[1].pop("y") == pytest.approx(single.pop("y"), rel=1e-12)
                assert several[1] == single
            else:
                assert several == [{"row": 2, **each} for each in single]


def outcome(asked, model):
    """What is answered, or the errors."""
    try:
        return mlib.predict(asked, model)
    except InputError as error:
        return error.errors
