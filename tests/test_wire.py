"""Tests of reading bodies and writing answers, against Python's own parser."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlib
from toolkit import wire

NAMES = st.sampled_from(["a", "b", "c:", '"', "\\", "é", ""])


class Pairs:
    """An object of JSON, in which a key may be twice."""

    def __init__(self, pairs):
        self.pairs = pairs


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=3).map(Pairs),
    max_leaves=8,
)


def write(value):
    """Write a value as JSON; return the text, and whether a key is twice in an object."""
    if isinstance(value, Pairs):
        parts = [(json.dumps(key), *write(inner)) for key, inner in value.pairs]
        keys = [key for key, _ in value.pairs]
        twice = len(set(keys)) < len(keys) or any(part[2] for part in parts)
        return "{" + ", ".join(f"{key}: {text}" for key, text, _ in parts) + "}", twice
    if isinstance(value, list):
        parts = [write(inner) for inner in value]
        return "[" + ",".join(text for text, _ in parts) + "]", any(twice for _, twice in parts)
    return json.dumps(value), False


@given(VALUES)
def test_json_is_read_as_python_reads_it_and_a_key_is_there_once(value):
    text, has_twins = write(value)
    if has_twins:
        with pytest.raises(wire.Refused, match="twice"):
            wire.loads(text.encode())
    else:
        assert wire.loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize("depth", [10, 990, 1020])
@pytest.mark.parametrize("around", ["{}", '[{{"Weight": 1}}, {}]'])
def test_what_is_deep_and_no_row_is_refused(depth, around):
    body = around.format("[" * depth + "]" * depth).encode()
    with pytest.raises(wire.Refused):
        wire.answer(wire.loads(body), mlib.load_model(), 10)


def test_a_whole_number_of_any_length_is_written():
    assert wire.dumps({"a": 2**70}) == b'{"a":1180591620717411303424}'


def test_a_problem_has_the_members_of_the_rfc_and_others_that_are_given():
    document = json.loads(wire.problem(404, "Not Found", "Nothing is there.", error="x"))
    assert document == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Nothing is there.",
        "errors": [],
        "error": "x",
    }
