"""Tests of Parquet files that are put together from row groups: read back by pyarrow, with all that it checks."""

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.parquet import ParquetFile, encode, footer, parse, serialize

TABLE = pa.table(
    {
        "whole": pa.array([1, None, 3, 4], pa.int32()),
        "float": pa.array([0.5, None, -0.0, 1e300]),
        "text": ["a", None, "größe", "a"],
        "few": pa.array(["x", "y", "x", "x"]).dictionary_encode(),
        "flag": [True, None, False, True],
        "when": pa.array([datetime.datetime(2020, 1, day) for day in (1, 2, 3, 4)], pa.timestamp("us", "UTC")),
        "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.25"), decimal.Decimal("-3.00")]),
        "list": [[1, 2], [], None, [3]],
        "object": [{"a": 1, "b": ["x"]}, {"a": None, "b": []}, None, {"a": 2, "b": None}],
        "bytes": pa.array([b"\x00\xff", None, b"", b"abc"], pa.binary()),
        **{f"more_{i}": [i, i, i, i] for i in range(20)},  # a footer writes lists of 15 and more in another way
    }
)


def together(tables):
    """Put tables together, a row group each."""
    file = ParquetFile(tables[0].schema)
    return file.start + b"".join(bytes(file.add(encode(table))) for table in tables) + file.end()


@pytest.mark.parametrize("groups", [1, 2, 14, 15, 40])
def test_row_groups_become_one_file(tmp_path, groups):
    path = tmp_path / "whole.parquet"
    tables = [TABLE.slice(i % 3, 1 + i % 2) for i in range(groups)]
    path.write_bytes(together(tables))
    expected = pa.concat_tables(tables)
    file = pq.ParquetFile(path, page_checksum_verification=True)
    assert file.metadata.num_row_groups == groups
    assert file.metadata.num_rows == len(expected)
    assert file.read().equals(expected)
    for i, table in enumerate(tables):  # each by itself, backwards, a column only: so all offsets are where they say
        assert file.read_row_group(groups - 1 - i).equals(tables[groups - 1 - i])
        assert file.read_row_group(i, columns=["price"]).column("price").equals(table.column("price"))
    assert pq.read_table(path, filters=[("whole", "=", 3)]).num_rows == expected.column("whole").to_pylist().count(3)


def test_the_file_is_the_one_that_pyarrow_writes_at_once(tmp_path):
    tables = [TABLE.slice(0, 2), TABLE.slice(2, 2)]
    with pq.ParquetWriter(tmp_path / "at_once.parquet", TABLE.schema) as writer:
        for table in tables:
            writer.write_table(table)
    assert (tmp_path / "at_once.parquet").read_bytes() == together(tables)


def test_a_file_is_gone_on_with():
    tables = [TABLE.slice(i, 1) for i in range(4)]
    first = ParquetFile(TABLE.schema)
    written = [(footer(content), bytes(first.add(content))) for content in map(encode, tables[:2])]
    second = ParquetFile(TABLE.schema)
    for tail, body in written:
        second.take(tail, len(body))
    rest = b"".join(bytes(second.add(encode(table))) for table in tables[2:])
    assert second.start + b"".join(body for _, body in written) + rest + second.end() == together(tables)


def test_a_file_without_row_groups_has_its_columns(tmp_path):
    path = tmp_path / "empty.parquet"
    path.write_bytes(together([TABLE.slice(0, 0)]))
    assert pq.read_table(path).schema.equals(TABLE.schema)
    assert pq.ParquetFile(path).metadata.num_row_groups == 0


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30, unique=True), st.integers(0, 3))
def test_a_footer_is_written_as_it_was_read(names, rows):
    names = [name for name in names if name.isprintable()] or ["x"]
    table = pa.table({name: list(range(rows)) for name in names})
    tail = footer(encode(table))
    assert serialize(parse(tail)) == tail


@pytest.mark.parametrize("number", [0, 1, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)])
def test_numbers_are_written_as_the_specification_has_it(number):
    """Zigzag: 0, -1, 1, -2 are 0, 1, 2, 3; then seven bits a byte, the lowest first."""
    zigzag = 2 * number if number >= 0 else -2 * number - 1
    expected = []
    while zigzag > 127:
        expected.append(zigzag % 128 + 128)
        zigzag //= 128
    content = bytes([0x16, *expected, zigzag, 0])  # the first field, of 64 bits; the end
    assert serialize({1: (6, number)}) == content
    assert parse(content) == {1: (6, number)}


def test_fields_far_apart_and_of_all_kinds_come_back():
    fields = {
        1: (1, True),
        2: (2, False),
        20: (3, 7),
        300: (7, 1.5),
        301: (8, b"abc"),
        302: (9, (1, [1, 2, 1])),
        303: (9, (12, [{1: (5, -3)}] * 16)),
        304: (12, {5: (4, 9)}),
    }
    assert parse(serialize(fields)) == fields
