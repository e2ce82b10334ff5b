"""What are the rows of a chunk? Columns for the model, the text that they stood in, and what is wrong with it.

>>> source = stream.find("htwtmlb.csv")
>>> chunk = next(stream.chunks(source, rows=1000))
>>> rows_of(chunk, source, types(source, signature, ["Weight"]), signature).table.num_rows
1000

A chunk that is as it should be is read by Arrow. What is not is read again: of CSV the rows that have too few or too
many fields, of JSON lines the chunk, as Arrow does not tell which line it stumbled at.
"""

import csv
import dataclasses
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from core import reading
from core.errors import DataError, shown
from core.signature import category_text
from core.stream import Chunk, record_ends

NO_TEXT = {"field": "(row)", "got": "bytes that are no text", "expected": "UTF-8; --encoding tells of another"}
SPACE = " \t\r\n"
FIRST = 10_000  # rows that tell whether the values of a column come twice


@dataclasses.dataclass
class Rows:
    """The rows of a chunk.

    Attributes
    ----------
    table : pyarrow.Table
        The columns that were wanted; of CSV texts.
    records : pyarrow.StringArray or None
        The text of each row, without its line end.
    bad : numpy.ndarray of bool, shape (rows,)
        Which rows are no rows of the table.
    problems : list of dict
        Why: ``index``, ``field``, ``got`` and ``expected``.
    lines : numpy.ndarray of int64, shape (rows,) or None
        In which line of the file each row begins.
    is_none : numpy.ndarray of bool, shape (rows,) or None
        Of JSON lines, which are no objects.
    """

    table: pa.Table
    records: pa.Array
    bad: np.ndarray
    problems: list
    lines: np.ndarray = None
    is_none: np.ndarray = None


def types(source, signature, columns):
    """Tell the types of columns, by the first rows; each later row has to fit.

    Parameters
    ----------
    source : core.stream.Source
    signature : mlib.Signature
    columns : list of str

    Returns
    -------
    pyarrow.Schema
        Of CSV texts, which have no other type; of Parquet those of the file.

    Raises
    ------
    DataError
        A column of JSON lines has texts in one row and numbers in another, and is no feature.
    """
    if source.format == "parquet":
        return pa.schema([source.schema.field(name) for name in columns])
    if source.format == "csv":
        return pa.schema([(name, pa.string()) for name in columns])
    rows, keys = [], frozenset(columns)
    for line in source.head.split(b"\n"):
        value = _json(line.decode("utf-8", "replace"), keys)[0] if line.strip() else None
        rows += [value] if isinstance(value, dict) else []
    features = {feature.name: feature for feature in signature.features}
    found = []
    for name in columns:
        cells = [row[name] for row in rows if row.get(name) is not None]
        if name in features:
            found.append((name, _feature_type(features[name], cells)))
            continue
        try:
            kind = pa.infer_type(cells) if cells else pa.string()
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataError(
                f"{source.name}: the column {name!r} has values of several kinds, and no column of another format can. "
                "Leave it out by naming those to --keep, or write JSON lines."
            ) from error
        found.append((name, kind))
    return pa.schema(found)


def _feature_type(feature, cells):
    """How Arrow is to read a feature of JSON lines."""
    kinds = {type(cell) for cell in cells}
    if str in kinds or feature.kind == "date" or not kinds:
        is_number = feature.kind == "number" and not kinds
        return pa.float64() if is_number else pa.string()
    return pa.bool_() if kinds == {bool} else pa.float64()


def rows_of(chunk, source, schema, signature):
    """Read the rows of a chunk.

    Parameters
    ----------
    chunk : core.stream.Chunk
    source : core.stream.Source
    schema : pyarrow.Schema
        The columns that are wanted, as of `types`.
    signature : mlib.Signature

    Returns
    -------
    Rows
    """
    if source.format == "parquet":
        table = chunk.data
        return Rows(table, None, np.zeros(table.num_rows, dtype=bool), [])
    ends, data = chunk.ends, chunk.data
    broken = _no_text(data, ends)
    if len(broken):
        data, ends = _mended(data, ends)
    separator = source.separator if source.format == "csv" else None
    records, is_blank = _records(data, ends, separator)
    lines = _first_lines(data, ends) + chunk.line
    if is_blank.any():
        keep = pa.array(~is_blank)
        raw = _raw(data, ends).filter(keep)
        data, records, lines = _bytes(raw), records.filter(keep), lines[~is_blank]
        broken = np.flatnonzero(np.isin(np.flatnonzero(~is_blank), broken))
    read = _csv_rows if source.format == "csv" else _json_rows
    rows = read(data, records, source, schema, signature)
    rows.lines = lines
    rows.bad[broken] = True
    rows.problems += [{"index": index, **NO_TEXT} for index in broken.tolist()]
    return rows


def mostly_distinct(source, schema, names, signature):
    """Tell which columns of numbers hardly have a value twice, as far as the first rows tell.

    Parameters
    ----------
    source : core.stream.Source
    schema : pyarrow.Schema
    names : list of str
        Of columns of numbers.
    signature : mlib.Signature

    Returns
    -------
    list of str
    """
    if source.format == "parquet":
        return [name for name in names if source.distinct.get(name, True)]
    separator = source.separator if source.format == "csv" else None
    ends = record_ends(source.head, 0, False, separator)[0][:FIRST]
    if not ends.size:
        return []
    table = rows_of(Chunk(source.head[: int(ends[-1])], ends, 0, (0,), 0.0), source, schema, signature).table
    return [name for name in names if 2 * pc.count_distinct(table.column(name)).as_py() > len(table)]


# -------------------------------------------------------------------------------------------------------- records


def _raw(data, ends):
    """The records with their line ends, as an Arrow array of the very bytes."""
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))


def _records(data, ends, separator):
    """The records without their line ends, and which of them are blank; a separator is never taken off."""
    if not ends.size:
        return pa.array([], pa.string()), np.empty(0, dtype=bool)
    raw = _raw(data, ends)
    trimmed = pc.utf8_trim(raw, SPACE.replace(separator or "", "") if separator else SPACE)
    is_blank = pc.equal(pc.binary_length(trimmed), 0).to_numpy(zero_copy_only=False)
    return pc.utf8_rtrim(raw, "\r\n") if separator else trimmed, is_blank


def _bytes(strings):
    """The bytes of all strings of an array, one behind another."""
    strings = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    if len(strings) == 0:
        return b""
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return strings.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_pybytes()


def _first_lines(data, ends):
    """In which line each record begins, from 1."""
    if data.count(b"\n") == len(ends):
        return np.arange(1, len(ends) + 1)
    newlines = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    return np.searchsorted(newlines, np.concatenate([[0], ends[:-1]])) + 1


def _no_text(data, ends):
    """Which records are no UTF-8, or have a NUL."""
    if b"\0" not in data:
        if data.isascii():
            return np.empty(0, np.int64)
        try:
            data.decode()
            return np.empty(0, np.int64)
        except UnicodeDecodeError:
            pass
    found = []
    for index, record in enumerate(_split(data, ends)):
        try:
            record.decode()
            is_text = b"\0" not in record
        except UnicodeDecodeError:
            is_text = False
        found += [] if is_text else [index]
    return np.array(found, dtype=np.int64)


def _mended(data, ends):
    """The same with marks instead of what is no text."""
    records = [record.decode("utf-8", "replace").replace("\0", "\ufffd").encode() for record in _split(data, ends)]
    return b"".join(records), np.cumsum([len(record) for record in records])


def _split(data, ends):
    return [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


# ------------------------------------------------------------------------------------------------------------ CSV


def _csv_rows(data, records, source, schema, _signature):
    """Read the rows of CSV, as texts."""
    names, count = source.columns, len(records)
    bad, problems, irregular = np.zeros(count, dtype=bool), [], []

    def keep_aside(row):
        irregular.append((row.number - 1, row.text))
        return "skip"

    table = schema.empty_table()
    if count:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            pa_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            pa_csv.ParseOptions(delimiter=source.separator, newlines_in_values=True, invalid_row_handler=keep_aside),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                include_columns=schema.names,
                check_utf8=False,
            ),
        )
    if table.num_rows + len(irregular) != count:  # a carriage return within a row, which Arrow takes for an end
        table = schema.empty_table()
        irregular = [(index, record.replace("\r", " ")) for index, record in enumerate(records.to_pylist())]
    if not irregular:
        return Rows(table, records, bad, problems)
    fields, texts = [], []
    for index, text in irregular:
        row = next(csv.reader(io.StringIO(text, newline=""), delimiter=source.separator), [])
        if len(row) > len(names) and (len(row) > len(names) + 1 or row[-1]):
            bad[index] = True
            expected = f"{len(names)} as the header has"
            problems.append({"index": index, "field": "(row)", "got": f"{len(row)} fields", "expected": expected})
        row = (row + [""] * len(names))[: len(names)]
        fields.append(row)
        texts.append(csv_line(row, source.separator))
    places = np.array([index for index, _ in irregular])
    more = pa.table([pa.array(column, pa.string()) for column in zip(*fields, strict=True)], names=names)
    order = np.empty(count, dtype=np.int64)
    is_irregular = np.zeros(count, dtype=bool)
    is_irregular[places] = True
    order[~is_irregular] = np.arange(table.num_rows)
    order[places] = table.num_rows + np.arange(len(places))
    table = pa.concat_tables([table, more.select(schema.names)]).combine_chunks().take(pa.array(order))
    return Rows(table, pc.replace_with_mask(records, pa.array(is_irregular), pa.array(texts)), bad, problems)


def csv_line(cells, separator):
    """Write a line of CSV, without its end.

    Parameters
    ----------
    cells : list of str
    separator : str

    Returns
    -------
    str
    """
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="").writerow(cells)
    return line.getvalue()


# ----------------------------------------------------------------------------------------------------- JSON lines


def _json_rows(data, records, _source, schema, signature):
    """Read the rows of JSON lines."""
    count = len(records)
    is_doubtful = b"NaN" in data or b"Infinity" in data  # no JSON, and Arrow takes them
    if count and not is_doubtful:
        try:
            table = pa_json.read_json(
                pa.BufferReader(data),
                pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
                pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            )
            if table.num_rows == count and not _has_infinite(table):
                return Rows(table, records, np.zeros(count, dtype=bool), [], is_none=np.zeros(count, dtype=bool))
        except pa.ArrowInvalid:
            pass
    return _json_slowly(records.to_pylist(), records, schema, signature)


def _has_infinite(table):
    """Whether a number was too large for Arrow, which takes it for infinite."""
    floats = [column for column in table.columns if pa.types.is_floating(column.type)]
    return any(pc.any(pc.is_inf(column)).as_py() for column in floats)


def _json_slowly(texts, records, schema, signature):
    """Read the rows one by one, to tell which are wrong, and what of them."""
    is_none, problems, objects = np.zeros(len(texts), dtype=bool), [], []
    keys = frozenset(schema.names)  # as Arrow, which does not look at others
    for index, text in enumerate(texts):
        value, reason = _json(text, keys)
        if not isinstance(value, dict):
            is_none[index] = True
            expected = f"a JSON object ({reason})" if reason else "a JSON object"
            problems.append({"index": index, "field": "(row)", "got": shown(text), "expected": expected})
            value = {}
        objects.append(value)
    features = {feature.name: feature for feature in signature.features}
    bad, columns = is_none.copy(), []
    for field in schema:
        cells = []
        for index, row in enumerate(objects):
            if is_none[index]:
                cells.append(None)
                continue
            cell, problem = _cell(row.get(field.name), field, features.get(field.name))
            cells.append(cell)
            if problem:
                bad[index] = True
                problems.append({"index": index, **problem})
        columns.append(pa.array(cells, field.type))
    return Rows(pa.table(columns, schema=schema), records, bad, problems, is_none=is_none)


def _json(text, keys):
    """The value of a line, or why it has none."""
    try:
        return reading.parse_line(text, keys), None
    except DataError as error:
        return None, str(error)


def _cell(value, field, feature):
    """A cell as its column has it, and what is wrong where it cannot be so."""
    if feature is not None:
        value = feature.parse(value) if isinstance(value, str) else value
        number = feature.read(value)
        if number is None:
            return None, {"field": field.name, "got": shown(value), "expected": feature.refusal(value)}
        if value is None or isinstance(value, str):
            return value, None
        value = feature.say(number)
        return (category_text(value) if pa.types.is_string(field.type) else value), None
    if value is None:
        return None, None
    try:
        return pa.scalar(value, field.type).as_py(), None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):  # of half a character
        expected = f"{field.type}, as in the first rows"
        return None, {"field": field.name, "got": shown(value), "expected": expected}
