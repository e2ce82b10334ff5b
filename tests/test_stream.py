"""Tests of tables in chunks: Python's own csv tells where records end, and the file what all chunks together are."""

import csv
import gzip
import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import stream
from core.errors import DataError, OptionError
from core.stream import chunks, find, record_ends

CELLS = st.text(st.sampled_from(['"', ",", "\n", "a", "ü", " "]), max_size=5)


def written(rows, quoting, folder, name="in.csv"):
    """Write rows, of which the first is a header of as many columns."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)
    writer.writerows([[f"c{i}" for i in range(len(rows[0]))], *rows])
    path = folder / name
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def records(chunk):
    """The records of a chunk."""
    return [chunk.data[start:end] for start, end in zip([0, *chunk.ends[:-1]], chunk.ends, strict=True)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([1, 2, 5, 100]),
    st.sampled_from([1, 3, 7, 64, 4096]),
)
def test_records_end_where_they_do_for_python(tmp_path, rows, quoting, size, piece):
    """Whatever the size of what is read at once."""
    path = written(rows, quoting, tmp_path)
    source = find(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PIECE", piece)
        found = list(chunks(source, size))
    told = [next(csv.reader(io.StringIO(record.decode(), newline=""))) for each in found for record in records(each)]
    assert told == rows
    assert b"".join(each.data for each in found) == path.read_bytes()[source.start :]
    assert [len(each.ends) for each in found[:-1]] == [size] * (len(found) - 1)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=12), st.integers(0, 12), st.booleans())
def test_chunks_go_on_behind_any(tmp_path, rows, place, is_packed):
    path = written(rows, csv.QUOTE_MINIMAL, tmp_path)
    if is_packed:
        packed = tmp_path / "in.csv.gz"
        packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path = packed
    source = find(path)
    every = list(chunks(source, 2))
    place = min(place, len(every) - 1)
    rest = list(chunks(source, 2, every[place].after))
    assert [(each.data, each.line, each.after) for each in rest] == [
        (each.data, each.line, each.after) for each in every[place + 1 :]
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a,b\nc,d\n", [4, 8]),
        (b'"a\nb",c\nd\n', [8, 10]),
        (b'a"b\nc"d\n', [4, 8]),  # a quote within a field that has none at its beginning is text
        (b'"a""\nb",c\n', [10]),
        (b'x,"a\n,b"\ny\n', [9, 11]),
        (b'"a"x"\nb\n', [6, 8]),
        (b'"open\n', []),
    ],
)
def test_quotes_keep_line_ends_within_a_record(text, expected):
    assert record_ends(text, 0, False, ",")[0].tolist() == expected
    if not text.startswith(b'"open'):
        assert len(list(csv.reader(io.StringIO(text.decode(), newline="")))) == len(expected)


def test_a_record_goes_on_from_one_piece_to_the_next():
    ends, is_open = record_ends(b'a,"b\n', 0, False, ",")
    assert (ends.tolist(), is_open) == ([], True)
    ends, is_open = record_ends(b'a,"b\nc"\nd\n', 5, True, ",")
    assert (ends.tolist(), is_open) == ([8, 10], False)


def test_the_quote_that_is_never_closed_is_told_by_its_line(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('a,b\n1,2\n3,"4\n5,6\n')
    with pytest.raises(DataError, match="line 3: a quote is not closed"):
        list(chunks(find(path), 10))


def test_a_wide_row_makes_its_own_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "LARGEST", 50)
    path = written([["x" * 200, "y"], ["a", "b"], ["c", "d"], ["z" * 60, ""]], csv.QUOTE_MINIMAL, tmp_path)
    assert [len(each.ends) for each in chunks(find(path), 100)] == [1, 2, 1]


def test_a_row_that_is_longer_than_allowed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "LONGEST", 10_000)
    monkeypatch.setattr(stream, "PIECE", 1000)
    path = written([["x" * 20_000, "y"]], csv.QUOTE_MINIMAL, tmp_path)
    with pytest.raises(DataError, match="or a row is longer than 10,000 bytes"):
        list(chunks(find(path), 100))


def test_parquet_is_read_by_row_groups_and_gone_on_with(tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"x": range(10), "y": list("abcdefghij")}), path, row_group_size=4)
    every = list(chunks(find(path), 3, columns=["x"]))
    assert [each.data.column("x").to_pylist() for each in every] == [[0, 1, 2], [3], [4, 5, 6], [7], [8, 9]]
    assert [each.after for each in every] == [(0, 0, 1), (0, 0, 2), (0, 1, 1), (0, 1, 2), (0, 2, 1)]
    assert every[-1].share == 1.0
    for place, each in enumerate(every):
        rest = list(chunks(find(path), 3, each.after, columns=["x"]))
        assert [one.data.to_pydict() for one in rest] == [one.data.to_pydict() for one in every[place + 1 :]]


def test_another_file_is_another_identity(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n")
    first = find(path)
    assert find(path).identity == first.identity
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    assert find(path).identity != first.identity
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    path.write_text("a\n2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert find(path).identity != first.identity


@pytest.mark.parametrize(
    ("name", "content", "kind", "error", "says"),
    [
        ("in", b"a\n1\n", None, OptionError, "does not say by its name what it is"),
        ("in.csv", b"", None, DataError, "is empty"),
        ("in.csv", b"a,a\n1,2\n", None, DataError, "has 2 columns of the name 'a'"),
        ("in.csv", b"\x00\x01\x02\x03" * 100, None, DataError, "is of no known format"),
        ("in.parquet", b"PAR1 and no more", None, DataError, "is no whole Parquet file"),
        ("in.csv.gz", gzip.compress(b"a\n1\n", mtime=0)[:-9], None, DataError, "is gzip that is cut off"),
        (
            "in.csv.gz",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xff\xff\xff",
            None,
            DataError,
            "is gzip that is damaged",
        ),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, name, content, kind, error, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=says):
        list(chunks(find(path, kind), 10))


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(DataError, match="has several columns of the name 'a'"):
        find(path)
