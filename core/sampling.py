"""How is a table too large for memory sampled?

>>> drawn = draw("htwtmlb.csv", 100, seed=3)
>>> len(drawn.table), drawn.rows
(100, 1277)

In one pass from its first row to its last: each row gets a random number of 64 bits as its key, and the rows of the
smallest keys are kept. A key depends on the seed and on the row's number only, so the same rows are taken whatever the
format of the table is; and every set of so many rows is as likely as every other.

Source: Vitter, Random Sampling with a Reservoir, ACM TOMS 11 (1985), names the task; keys are drawn as in Efraimidis,
Spirakis: Weighted Random Sampling with a Reservoir, IPL 97 (2006), with equal weights.
"""

import dataclasses
import gzip
import hashlib
import io
import math
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core import reading, stream
from core.errors import DataError

CHUNK = 65_536  # rows that are read at once
SPARE = 4  # rows are thrown away when there are more than wanted by a quarter: then each is copied a few times only


@dataclasses.dataclass
class Drawn:
    """A sample of a table.

    Attributes
    ----------
    table : pandas.DataFrame
        The rows that were drawn, in the order of the file; its index tells the row in the file, from 0.
    sha256 : str
        Of the bytes of the whole file, as they lie on the disk.
    notices : list of str
        As of `core.reading.read_table`.
    rows : int
        How many there are in the file.
    """

    table: Any
    sha256: str
    notices: list
    rows: int


def draw(path, rows, seed, encoding=None):
    """Take a uniform sample of a table's rows, without replacement, in one pass.

    Memory holds the sample and a chunk, however large the file is. What the rows hold is read from the sample as
    `core.reading.read_table` reads it from all of them. So a row that cannot be read is told when it was drawn; the
    encoding is told from the first megabyte and the sample, the separator from the first rows.

    Parameters
    ----------
    path : path
        A file of CSV or JSON lines, gzipped or not, or of Parquet. No pipe: its first bytes are read twice.
    rows : int
        How many to take; all, where there are no more.
    seed : int
    encoding : str, optional
        As for `core.reading.read_table`.

    Returns
    -------
    Drawn

    Raises
    ------
    DataError
        As of `core.reading.read_table`; or it is a pipe, or JSON that is not of lines.
    OptionError
        No encoding has the name that was given.

    Examples
    --------
    >>> draw("htwtmlb.csv", 3, seed=1).table.index.tolist()
    [375, 692, 850]
    """
    try:
        before = os.stat(path)
        with open(path, "rb") as file:
            if not stat.S_ISREG(before.st_mode):
                raise DataError(f"{path} is no regular file, and only such a one is sampled. Write it to a file first.")
            source = stream.find(path, _form(file, path, encoding), encoding)
            file.seek(0)
            pool, digest = _draw(source, file, _Pool(rows, seed), bool(encoding))
        after = os.stat(path)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Name a file of {reading.FORMATS}.") from error
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise DataError(f"{path} changed while it was read. Try again when it is whole.")
    kept, places = pool.taken()
    read = _parquet if source.format == "parquet" else _json_lines if source.format == "jsonl" else _csv
    table, notices = read(kept, places, source, encoding)
    return Drawn(table, digest, list(dict.fromkeys([*source.notices, *notices])), pool.seen)


def _form(file, path, encoding):
    """Tell the format of a file; refuse one whose rows cannot be told apart without all of it."""
    with stream.reading_of(path):
        is_packed = file.read(len(reading.GZIP)) == reading.GZIP
        file.seek(0)
        unpacked = gzip.GzipFile(fileobj=file) if is_packed else file
        kind = reading.form(unpacked.read(stream.HEAD), path, encoding)
    if kind == "parquet" and is_packed:
        raise DataError(f"{path} is Parquet packed by gzip, of which no sample is taken. Unpack it: gunzip.")
    if kind == "json":
        raise DataError(
            f"{path} is JSON of which not each line is a row, and so it is not sampled: that is read as a whole only. "
            "Make it JSON lines: jq -c '.[]' of an array, jq -c . of objects."
        )
    return kind


# ------------------------------------------------------------------------------------------------------- drawing


class _Pool:
    """The rows of the smallest keys so far."""

    def __init__(self, rows, seed):
        self.seen = 0
        self._rows = rows
        # A child of the seed: the split, the folds and the sample in the signature are drawn with the seed itself. The
        # bits of a generator are the same in every version of numpy.
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0,)))
        self._keys, self._places = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._table = None
        self._limit = None  # a key has to be smaller, once there are enough

    def add(self, table):
        """Take what is to be taken of the next rows."""
        keys = np.asarray(self._bits.random_raw(len(table)))
        places = self.seen + np.arange(len(table))
        self.seen += len(table)
        if self._limit is not None:
            is_small = keys < self._limit
            keys, places, table = keys[is_small], places[is_small], table.filter(pa.array(is_small))
        self._keys, self._places = np.concatenate([self._keys, keys]), np.concatenate([self._places, places])
        self._table = table if self._table is None else pa.concat_tables([self._table, table])
        if len(self._keys) > self._rows + self._rows // SPARE:
            self._throw_away()

    def _throw_away(self):
        limit = np.partition(self._keys, self._rows - 1)[self._rows - 1]
        kept = self._keys < limit
        kept[np.flatnonzero(self._keys == limit)[: self._rows - kept.sum()]] = (
            True  # of equal keys that of the first row
        )
        self._keys, self._places, self._limit = self._keys[kept], self._places[kept], limit
        self._table = self._table.filter(pa.array(kept))
        self._table = self._table.combine_chunks()  # else there would be a piece for each chunk of the file

    def taken(self):
        """The rows, and which of the file they are, in its order; None where it has none."""
        if len(self._keys) > self._rows:
            self._throw_away()
        return self._table, self._places


def _draw(source, file, pool, is_told):
    """Read all rows, and hash the bytes of the file beside: so it is read from the disk once."""
    digest = hashlib.sha256()
    rows_of = _columns if source.format == "parquet" else _records
    with ThreadPoolExecutor(1) as thread:
        hashing = None
        for chunk in stream.chunks(source, CHUNK):
            if hashing:
                hashing.result()
            hashing = thread.submit(_hash, digest, file, int(chunk.share * source.sizes[0]))
            pool.add(rows_of(chunk, source, is_told))
    _hash(digest, file, math.inf)
    return pool, digest.hexdigest()


def _hash(digest, file, until):
    """Hash a file up to a byte of it, or some more."""
    while file.tell() < until and (piece := file.read(reading.PIECE)):
        digest.update(piece)


def _columns(chunk, _source, _is_told):
    return chunk.data


def _records(chunk, source, is_told):
    """The text of each row that is not blank, and in which line it begins."""
    data, ends = chunk.data, chunk.ends
    if b"\0" in data:
        raise reading.nul_error(source.name, chunk.line + 1 + data.count(b"\n", 0, data.index(b"\0")))
    if is_told and source.encoding == "utf-8":
        _check_utf8(data, source, chunk.line)
    offsets = np.concatenate([[0], ends])
    records = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(ends), [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(data)]
    )
    lines = chunk.line + 1 + np.arange(len(ends))  # of CSV only a row's number is told
    table = pa.table({"record": records, "line": lines})
    blank = _blank(data, offsets, source)
    return table.filter(pa.array(~np.isin(np.arange(len(ends)), blank))) if blank else table


def _check_utf8(data, source, line):
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line += 1 + data.count(b"\n", 0, error.start)
        raise DataError(f"{source.name} is no utf-8 (line {line}). Name its encoding, or save it as UTF-8.") from error


def _blank(data, offsets, source):
    """Which records are blank: of CSV as pandas has it, a separator being none; of JSON lines whatever space it is."""
    starts = np.frombuffer(data, np.uint8)[offsets[:-1]]
    if source.format == "jsonl":
        doubtful = np.flatnonzero(starts != ord("{"))
        return [i for i in doubtful if not data[offsets[i] : offsets[i + 1]].decode("utf-8", "replace").strip()]
    space = b" \t\r\n".replace(source.separator.encode(), b"")
    doubtful = np.flatnonzero(np.isin(starts, np.frombuffer(space, np.uint8)))
    return [i for i in doubtful if not data[offsets[i] : offsets[i + 1]].strip(space)]


# ------------------------------------------------------------------------------------------------------- reading


def _bytes(table):
    """The text of the records that were kept."""
    content = io.BytesIO()
    for piece in table["record"].chunks if table is not None else []:
        offsets = np.frombuffer(piece.buffers()[1], np.int64)[piece.offset : piece.offset + len(piece) + 1]
        content.write(memoryview(piece.buffers()[2])[offsets[0] : offsets[-1]])
    return content.getvalue()


def _csv(kept, places, source, encoding):
    encoding = encoding if source.encoding == "utf-8" else "utf-8"  # what is of another one was recoded
    content = source.header + _bytes(kept)
    table, notices = reading.parse_table(content, source.name, encoding, source.separator)
    if len(table) != len(places) or re.search(rb"\r(?!\r*\n)", source.header):
        raise DataError(
            f"{source.name} has lines that end with a carriage return alone, and so it is not sampled. "
            "Let them end with a line feed."
        )
    return table.set_axis(places), notices


def _json_lines(kept, places, source, encoding):
    if kept is None:
        raise DataError(f"{source.name} has no rows.")
    encoding = encoding if source.encoding == "utf-8" else "utf-8"
    lines = dict(zip(kept["line"].to_pylist(), places.tolist(), strict=True))
    return reading.parse_table(_bytes(kept), source.name, encoding, places=lines)


def _parquet(kept, places, source, _encoding):
    """Read the rows as those of a file, as pandas' kinds and index stand in its metadata."""
    schema = pq.read_schema(source.files[0])
    kept = schema.empty_table() if kept is None else kept.replace_schema_metadata(schema.metadata)
    content = io.BytesIO()
    pq.write_table(kept, content)
    return reading.parse_parquet(content.getvalue(), source.name, places), []
