"""How do row groups, each written by itself, become one Parquet file?

>>> file = ParquetFile(pa.schema([("x", pa.int64())]))
>>> content = file.start + b"".join(map(file.add, [encode(table), encode(table)])) + file.end()

pyarrow writes a file from its first row group to its last, and by one thread. Here each row group is a Parquet file of
its own, made wherever there is a core for it; what stands between its first and its last bytes is copied as it is, and
its part of the footer is moved to where it now lies. So a file can also be gone on with whose writer was ended.

Source: the format's specification, github.com/apache/parquet-format (parquet.thrift), and Thrift's compact protocol,
github.com/apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

import io
import itertools
import struct

MAGIC = b"PAR1"
TAIL = 8  # bytes at the end: the length of the footer, and MAGIC

# Kinds of values in the compact protocol.
TRUE, FALSE, BYTE, SHORT, INT, LONG, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
# Numbers of fields in parquet.thrift.
ROWS, GROUPS = 3, 4  # of FileMetaData
COLUMNS, GROUP_ROWS, GROUP_OFFSET, ORDINAL = 1, 3, 5, 7  # of RowGroup
CHUNK_OFFSET, METADATA, OFFSET_INDEX, COLUMN_INDEX = 2, 3, 4, 6  # of ColumnChunk
PAGE_OFFSETS = (9, 10, 11, 14)  # of ColumnMetaData: of data, index, dictionary and Bloom filter


def encode(table, coded=True):
    """Write a table as a Parquet file of one row group.

    Parameters
    ----------
    table : pyarrow.Table
    coded : list of str or True
        Columns that are written with a dictionary, as of `paths`; all of them unless told.

    Returns
    -------
    bytes
        The whole file; of a table without rows one without row groups.
    """
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, use_dictionary=coded) as writer:
        if len(table):
            writer.write_table(table, row_group_size=len(table))
    return sink.getvalue()


def paths(schema):
    """Name the columns as Parquet has them: of lists and objects those within.

    Parameters
    ----------
    schema : pyarrow.Schema

    Returns
    -------
    list of str
    """
    import pyarrow.parquet as pq

    columns = pq.ParquetFile(io.BytesIO(encode(schema.empty_table()))).schema
    return [columns.column(i).path for i in range(len(columns))]


def footer(content):
    """Take the footer from a Parquet file.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    bytes
        Without its length.
    """
    (length,) = struct.unpack("<I", content[-TAIL:-4])
    return content[-TAIL - length : -TAIL]


class ParquetFile:
    """A Parquet file that grows by row groups.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of each of them.

    Attributes
    ----------
    start : bytes
        What the file begins with.
    length : int
        Of it in bytes, so far.
    """

    start = MAGIC

    def __init__(self, schema):
        self._frame = parse(footer(encode(schema.empty_table())))
        self._groups, self._rows, self.length = [], 0, len(MAGIC)

    def add(self, content):
        """Take up the row group of a file.

        Parameters
        ----------
        content : bytes
            As of `encode`.

        Returns
        -------
        bytes
            What to write behind all before.
        """
        tail = footer(content)
        body = memoryview(content)[len(MAGIC) : len(content) - TAIL - len(tail)]
        self.take(tail, len(body))
        return body

    def take(self, tail, length):
        """Take up a row group that is written already.

        Parameters
        ----------
        tail : bytes
            The footer of the file that it came in.
        length : int
            Of it in bytes.
        """
        for group in parse(tail)[GROUPS][1][1]:
            _move(group, self.length - len(MAGIC))
            if ORDINAL in group:
                group[ORDINAL] = (SHORT, len(self._groups))
            self._groups.append(serialize(group))
            self._rows += group[GROUP_ROWS][1]
        self.length += length

    def end(self):
        """Make the footer.

        Returns
        -------
        bytes
            What the file ends with.
        """
        self._frame[ROWS] = (LONG, self._rows)
        self._frame[GROUPS] = (LIST, (STRUCT, self._groups))  # as bytes, which take a tenth of the memory
        tail = serialize(self._frame)
        return tail + struct.pack("<I", len(tail)) + MAGIC


def _move(group, distance):
    """Let a row group say where it lies now."""

    def move(fields, numbers):
        for number in numbers:
            if number in fields:
                kind, value = fields[number]
                # Zero stands for nowhere: writers leave the file offset of a chunk at it.
                fields[number] = (kind, value + distance if value else value)

    move(group, [GROUP_OFFSET])
    for chunk in group[COLUMNS][1][1]:
        move(chunk, [CHUNK_OFFSET, OFFSET_INDEX, COLUMN_INDEX])
        move(chunk[METADATA][1], PAGE_OFFSETS)


# ---------------------------------------------------------------------------------------------- the compact protocol


def parse(content):
    """Read a struct of Thrift's compact protocol.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    dict of int to (int, object)
        By the number of each field its kind and its value: a number, bytes, a dict again, or of a list the kind and the
        values of its elements.
    """
    return _Reader(content).struct()


class _Reader:
    def __init__(self, content):
        self.content, self.place = content, 0

    def byte(self):
        """Take a byte."""
        self.place += 1
        return self.content[self.place - 1]

    def varint(self):
        """Take a number of seven bits a byte."""
        value = 0
        for shift in itertools.count(0, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        return None

    def zigzag(self):
        """Take a number that may be negative."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def take(self, length):
        """Take so many bytes."""
        self.place += length
        return self.content[self.place - length : self.place]

    def struct(self):
        """Take fields up to their end."""
        fields, number = {}, 0
        while head := self.byte():
            kind, step = head & 0x0F, head >> 4
            number = number + step if step else self.zigzag()
            fields[number] = (kind, kind == TRUE if kind in (TRUE, FALSE) else self.value(kind))
        return fields

    def value(self, kind):
        """Take a value of a kind."""
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            head = self.byte()
            size = head >> 4 if head >> 4 < 15 else self.varint()
            return head & 0x0F, [self.value(head & 0x0F) for _ in range(size)]
        if kind == BINARY:
            return self.take(self.varint())
        if kind == DOUBLE:
            return struct.unpack("<d", self.take(8))[0]
        if kind in (TRUE, FALSE, BYTE):  # within a list, true and false are a byte
            return self.byte()
        if kind in (SHORT, INT, LONG):
            return self.zigzag()
        raise ValueError(f"kind {kind} of a value, which no Parquet footer has")


def serialize(fields):
    """Write a struct in Thrift's compact protocol.

    Parameters
    ----------
    fields : dict of int to (int, object)
        As of `parse`; a struct within may be the bytes that it is serialized to already.

    Returns
    -------
    bytes
    """
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


def _write_struct(out, fields):
    before = 0
    for number, (kind, value) in sorted(fields.items()):
        kind = (TRUE if value else FALSE) if kind in (TRUE, FALSE) else kind
        step = number - before
        if 0 < step < 16:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            _write_zigzag(out, number)
        if kind not in (TRUE, FALSE):
            _write_value(out, kind, value)
        before = number
    out.append(0)


def _write_value(out, kind, value):
    if kind == STRUCT and isinstance(value, bytes):
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        inner, values = value
        out.append(min(len(values), 15) << 4 | inner)
        if len(values) >= 15:
            _write_varint(out, len(values))
        for each in values:
            _write_value(out, inner, each)
    elif kind == BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == DOUBLE:
        out += struct.pack("<d", value)
    elif kind in (TRUE, FALSE, BYTE):
        out.append(value)
    else:
        _write_zigzag(out, value)


def _write_zigzag(out, value):
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_varint(out, value):
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
