"""What becomes of the rows of a chunk? One function scores them, here and on every worker of a cluster alike.

>>> plan = plan_for(stream.find("htwtmlb.csv"), model.signature, "csv")
>>> scored = score(plan, model, next(stream.chunks(plan.source, rows=1000)))
>>> bytes(scored.data[:40]), scored.rows
(b'Ruben Sierra,TEX,Outfielder,...', 1000)
"""

import dataclasses
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import mlib
from core import arrow
from core.rows import csv_line, mostly_distinct, rows_of, types
from core.stream import Source
from toolkit import formats, parquet


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is read, and what is written.

    Attributes
    ----------
    source : core.stream.Source
    schema : pyarrow.Schema
        Of the columns that are read.
    kept : list of str
        The input's columns that are written; those of the answer come behind.
    keys : list of str
        Of the answer.
    format : str
        Of the output: "csv", "jsonl" or "parquet".
    is_packed : bool
        By gzip.
    is_spliced : bool
        Whether the text of a row stays as it is, and the answer is put behind it.
    coded : list of str
        Of Parquet: the columns that are written with a dictionary. It only costs where values hardly come twice.
    """

    source: Source
    schema: pa.Schema
    kept: list
    keys: list
    format: str
    is_packed: bool = False
    is_spliced: bool = False
    coded: list = dataclasses.field(default_factory=list)

    @property
    def separator(self):
        """Of CSV that is written: the input's own where that is CSV, too."""
        return self.source.separator if self.source.format == "csv" else ","

    @property
    def has_commas(self):
        """Whether numbers of CSV are written with decimal commas: as the input has them."""
        return self.source.format == "csv" and self.source.commas

    @property
    def header(self):
        """The line of CSV that names the columns."""
        return csv_line([*self.kept, *self.keys], self.separator) + "\n"


@dataclasses.dataclass
class Scored:
    """Rows that are scored.

    Attributes
    ----------
    data : bytes
        As they are written; of Parquet a file of its own.
    problems : list of dict
        Of the rows that could not be: ``index`` (from 0, in the chunk), ``line`` (of the file, where that has lines),
        ``field``, ``got`` and ``expected``.
    rows, rejects, warnings : int
    told : dict
        Of the answers ``sum``, ``low``, ``high``, or of classes ``counts``.
    after : tuple of int
        As of `core.stream.Chunk`.
    share : float
    """

    data: object
    problems: list
    rows: int
    rejects: int
    warnings: int
    told: dict
    after: tuple
    share: float


def plan_for(source, signature, to, *, is_packed=False, keep=None, only=None, interval=False, warnings=False):
    """Decide what is read and what is written; refuse what cannot be.

    Parameters
    ----------
    source : core.stream.Source
    signature : mlib.Signature
    to : str
        The format of the output.
    is_packed : bool
        Whether the output is packed by gzip.
    keep : list of str, optional
        The input's columns to write; all of them unless told.
    only : list of str, optional
        The keys of the answer to write; all of them unless told.
    interval, warnings : bool
        Whether the answer has these.

    Returns
    -------
    Plan

    Raises
    ------
    mlib.DataError
        A feature has no column, or a column has the name of what is written.
    mlib.OptionError
        There is no such column or key; the model has no interval; Parquet would be packed by gzip.
    """
    if is_packed and to == "parquet":
        raise mlib.OptionError("Parquet packs its columns itself: leave out the .gz.")
    if interval:
        _check_interval(signature)
    is_open = source.format == "jsonl"  # later rows may have what the first have not
    if is_open and not source.columns:
        raise mlib.DataError(f"{source.title} has no JSON object in its first rows. It needs one a line.")
    names = [feature.name for feature in signature.features]
    present = [name for name in names if name in source.columns or is_open]
    for feature in signature.features:
        if feature.name not in source.columns and not feature.missing:
            others = [name for name in source.columns if name not in names]
            raise mlib.DataError(
                f"{source.title} has no column {feature.name!r}.{mlib.did_you_mean(feature.name, others)} It has: "
                f"{', '.join(source.columns) or 'none'}."
            )
    kept = source.columns if keep is None else _chosen(keep, source.columns, f"column of {source.title}")
    keys = arrow.answer_names(signature, interval, warnings)
    keys = keys if not only else _chosen(only, keys, "key of the answer")
    is_spliced = keep is None and source.format == to and to != "parquet"
    wanted = present if is_spliced else list(dict.fromkeys([*present, *kept]))
    plan = Plan(
        source=dataclasses.replace(source, head=b"", standard=b""),
        schema=types(source, signature, wanted),
        kept=kept,
        keys=keys,
        format=to,
        is_packed=is_packed,
        is_spliced=is_spliced,
    )
    twice = next((name for name in plan.kept if name in keys), None)
    if twice is not None:
        raise mlib.DataError(
            f"{source.title} has a column {twice!r} already, and the answer has one of that name. Name the columns to "
            "write, without it, by --keep."
        )
    return dataclasses.replace(plan, coded=_coded(source, plan, signature)) if to == "parquet" else plan


def _coded(source, plan, signature):
    """All columns but those of numbers that hardly come twice, as far as the input's beginning tells."""
    schema = empty(plan, signature).schema
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    of_input = [name for name in floats if name in plan.kept]
    of_answer = [name for name in floats if name not in plan.kept and not signature.human]  # heights are hundredths
    distinct = mostly_distinct(source, plan.schema, of_input, signature) + of_answer
    return [path for path in parquet.paths(schema) if path not in distinct]


def _chosen(names, known, what):
    """Names, each once, all of them known."""
    for name in names:
        if name not in known:
            raise mlib.OptionError(
                f"There is no {what} {name!r}.{mlib.did_you_mean(name, known)} There are: {', '.join(known)}."
            )
    return list(dict.fromkeys(names))


def _check_interval(signature):
    if signature.interval is None:
        raise mlib.OptionError("The model answers classes, and these have probabilities, no interval.")
    if signature.interval["half_width"] is None:
        raise mlib.OptionError("The model has no prediction interval: too few rows were held out when it was trained.")


def score(plan, model, chunk):
    """Score the rows of a chunk.

    Parameters
    ----------
    plan : Plan
    model : mlib.Model
    chunk : core.stream.Chunk

    Returns
    -------
    Scored
    """
    signature, source = model.signature, plan.source
    rows = rows_of(chunk, source, plan.schema, signature)
    checked = arrow.check(signature, rows.table, source.has_commas, rows.bad)
    values = arrow.predict(model, checked)
    problems = sorted([*rows.problems, *checked.problems], key=lambda problem: problem["index"])
    if rows.lines is not None:
        lines = rows.lines.tolist() if problems else []
        problems = [{"index": each["index"], "line": lines[each["index"]], **each} for each in problems]
    good = ~checked.bad
    return Scored(
        data=_written(plan, signature, rows, checked, values),
        problems=problems,
        rows=len(good),
        rejects=int(len(good) - good.sum()),
        warnings=int(checked.outside.sum()),
        told=_told(signature, values[good]),
        after=chunk.after,
        share=chunk.share,
    )


def empty(plan, signature):
    """Make the table of no rows that the output begins with: it tells the types of its columns.

    Parameters
    ----------
    plan : Plan
    signature : mlib.Signature

    Returns
    -------
    pyarrow.Table
    """
    width = len(signature.features)
    shape = (0,) if signature.task == "regression" else (0, len(signature.target.categories))
    none = np.empty(0, dtype=bool)
    checked = arrow.Checked(np.empty((0, width)), none, [], none)
    return _table(plan, signature, plan.schema.empty_table(), checked, np.empty(shape))


def _told(signature, values):
    """What the summary says of answers."""
    if signature.task == "classification":
        classes = (values >= values.max(axis=1, keepdims=True) - arrow.TIE).argmax(axis=1) if len(values) else []
        return {"counts": np.bincount(classes, minlength=len(signature.target.categories)).tolist()}
    if not values.size:
        return {"sum": 0.0, "low": None, "high": None}
    return {"sum": float(values.sum()), "low": float(values.min()), "high": float(values.max())}


def _table(plan, signature, table, checked, values):
    """What is written, as columns. Numbers of CSV, where they are features, are numbers; all else of CSV is text."""
    columns = {name: table.column(name).combine_chunks() for name in plan.kept}
    if plan.source.format == "csv":
        for i, feature in enumerate(signature.features):
            if feature.kind == "number" and feature.name in columns:
                numbers = checked.array[:, i]
                columns[feature.name] = pa.array(numbers, mask=np.isnan(numbers))
    answer = arrow.answers(signature, values, checked, plan.keys)
    if plan.format == "parquet":
        answer = {key: _decoded(column) for key, column in answer.items()}
    return pa.table(columns | answer)


def _decoded(column):
    """A column of values, not of places of values."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _written(plan, signature, rows, checked, values):
    """The bytes of rows and answers."""
    if plan.is_spliced:
        lines = _spliced(plan, rows, arrow.answers(signature, values, checked, plan.keys))
    else:
        table = _table(plan, signature, rows.table, checked, values)
        if plan.format == "parquet":
            return parquet.encode(table, plan.coded)
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        if plan.format == "csv":
            lines = formats.joined(
                [formats.lines_of_csv(list(columns.values()), plan.separator, plan.has_commas), "\n"]
            )
        else:
            lines = formats.joined(["{", formats.members_of_json(columns), "}\n"])
    data = formats.content(lines)
    return packed(data) if plan.is_packed else data


def packed(data):
    """Pack bytes by gzip, always to the same.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    bytes
    """
    return gzip.compress(data, mtime=0) if len(data) else b""


def _spliced(plan, rows, answer):
    """The text of each row, with the answer behind."""
    if plan.format == "csv":
        texts = formats.lines_of_csv(list(answer.values()), plan.separator, plan.has_commas, is_rest=True)
        return formats.joined([rows.records, plan.separator, texts, "\n"])
    _check_keys(plan, rows)
    records = pc.if_else(pa.array(rows.is_none), "{}", rows.records) if rows.is_none.any() else rows.records
    bodies = pc.binary_slice(records.cast(pa.binary()), 0, -1).cast(pa.string())
    is_empty = pc.equal(pc.utf8_rtrim_whitespace(bodies), "{")
    comma = pc.if_else(is_empty, "", ", ") if pc.any(is_empty).as_py() else ", "
    return formats.joined([bodies, comma, formats.members_of_json(answer), "}\n"])


def _check_keys(plan, rows):
    """Refuse rows that have a key of the answer already."""
    for key in plan.keys:
        name = json.dumps(key, ensure_ascii=False)
        if pc.any(pc.match_substring(rows.records, name)).as_py():
            found = rows.records.filter(pc.match_substring(rows.records, name))
            if any(_has_key(text, key) for text in found.to_pylist()):
                raise mlib.DataError(
                    f"{plan.source.title} has rows with {key!r} already, and the answer has one of that name. Name the "
                    "columns to write, without it, by --keep."
                )


def _has_key(text, key):
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and key in row
