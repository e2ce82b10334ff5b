"""Tests of columns as lines of CSV and of JSON: read back by Python's own csv and json."""

import csv
import datetime
import decimal
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.formats import cells_of_csv, content, lines_of_csv, members_of_json

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(TEXTS, FLOATS, TEXTS), min_size=1, max_size=8), st.sampled_from(",;\t|^"))
def test_csv_is_read_back_as_it_was(rows, separator):
    columns = [
        pa.array(column, kind)
        for column, kind in zip(zip(*rows, strict=True), ["string", "double", "string"], strict=True)
    ]
    text = "".join(line + "\n" for line in lines_of_csv(columns, separator).to_pylist())
    found = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    assert [(first, third) for first, _, third in found] == [(a or "", c or "") for a, _, c in rows]
    assert [float(number) if number else None for _, number, _ in found] == [number for _, number, _ in rows]


@given(
    st.lists(
        st.tuples(TEXTS, FLOATS, st.none() | st.booleans(), st.none() | st.integers(-(2**63), 2**63 - 1)), min_size=1
    )
)
def test_json_is_read_back_as_it_was(rows):
    kinds = {'te"xt': "string", "number": "double", "flag": "bool", "whole": "int64"}
    columns = {
        name: pa.array(column, getattr(pa, kind.replace("double", "float64").replace("bool", "bool_"))())
        for (name, kind), column in zip(kinds.items(), zip(*rows, strict=True), strict=True)
    }
    found = [json.loads("{" + line + "}") for line in members_of_json(columns).to_pylist()]
    assert found == [dict(zip(kinds, row, strict=True)) for row in rows]


def test_a_lone_column_without_a_value_is_no_blank_line():
    assert lines_of_csv([pa.array(["a", None, ""])], ",").to_pylist() == ["a", '""', '""']


def test_decimal_commas_are_for_numbers_only():
    assert cells_of_csv(pa.array([1.5, None]), ";", has_commas=True).to_pylist() == ["1,5", None]
    assert cells_of_csv(pa.array(["1.5"]), ";", has_commas=True).to_pylist() == ["1.5"]
    assert cells_of_csv(pa.array([1.5]), ",", has_commas=True).to_pylist() == ['"1,5"']


@pytest.mark.parametrize(
    ("column", "in_csv", "in_json"),
    [
        (pa.array([datetime.date(2020, 1, 2)]), "2020-01-02", "2020-01-02"),
        (pa.array([datetime.datetime(2020, 1, 2, 3)], pa.timestamp("s")), "2020-01-02 03:00:00", "2020-01-02 03:00:00"),
        (pa.array([decimal.Decimal("1.50")]), "1.50", 1.5),
        (pa.array([[1, None]]), '"[1, null]"', [1, None]),
        (pa.array([{"a": "ü"}]), '"{""a"": ""ü""}"', {"a": "ü"}),
        (pa.array([b"\x00\xff"], pa.binary()), "00ff", "00ff"),
        (pa.array(["x"], pa.large_string()), "x", "x"),
        (pa.array(["x"]).dictionary_encode(), "x", "x"),
        (pa.array([float("nan")]), "nan", None),
        (pa.array([None]), None, None),
    ],
)
def test_other_types_are_written_in_words(column, in_csv, in_json):
    assert cells_of_csv(column, ",").to_pylist() == [in_csv]
    (line,) = members_of_json({"x": column}).to_pylist()
    assert json.loads("{" + line + "}") == {"x": in_json}


def test_the_bytes_of_a_part_of_an_array_are_its_own():
    texts = pa.array(["ab", "c", "", "def", "g"])
    assert bytes(content(texts)) == b"abcdefg"
    assert bytes(content(texts.slice(1, 3))) == b"cdef"
    assert bytes(content(pa.chunked_array([texts.slice(1, 1), texts.slice(3)]))) == b"cdefg"
    assert bytes(content(texts.slice(5))) == b""
