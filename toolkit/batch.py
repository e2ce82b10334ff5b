"""How are files scored that are larger than memory? In chunks, on all cores or a cluster, always to the same bytes.

>>> summary = score_file("players.parquet", "heights.parquet")
>>> summary.rows, summary.rejects
(1277, 0)

Chunks are read in order, scored wherever a core is free, and written in order. So neither memory nor bytes depend on
how many cores or workers there are, nor on whether somebody ended the work in between and went on with it.
"""

import base64
import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import time

import mlib
from core import stream
from core.errors import shown
from toolkit import output, parquet, scoring

CELLS = 524_288  # of a chunk; what lies between input and output takes some 100 bytes a cell: 50 MB a core
MOST_ROWS, LEAST_ROWS = 131_072, 8_192  # of a chunk of few columns and of one of many
FILE = 128 * 1024**2  # bytes from which on a folder gets another file: what many readers take at once
FORMATS = stream.FORMATS


@dataclasses.dataclass
class Summary:
    """What came of it.

    Attributes
    ----------
    rows, rejects, warnings : int
        Rows of the input; those that could not be scored; those with values outside of what training saw.
    seconds : float
        Of this run.
    resumed_rows : int
        Rows that an earlier run had scored.
    low, high, mean : float or None
        Of predictions that are numbers.
    counts : dict of str to int or None
        Of predictions that are classes: how many rows of each.
    output, rejects_output : str or None
        Where they are.
    """

    rows: int = 0
    rejects: int = 0
    warnings: int = 0
    seconds: float = 0.0
    resumed_rows: int = 0
    low: float = None
    high: float = None
    mean: float = None
    counts: dict = None
    output: str = None
    rejects_output: str = None

    @property
    def rate(self):
        """Rows a second of this run."""
        return (self.rows - self.resumed_rows) / self.seconds if self.seconds else 0.0

    @property
    def card(self):
        """It as JSON has it."""
        return {**dataclasses.asdict(self), "rows_per_second": self.rate}


@dataclasses.dataclass
class Progress:
    """How far it is.

    Attributes
    ----------
    rows, rejects : int
    share : float
        Of the input, 0 to 1; 0 where its size is not known.
    rate : float
        Rows a second.
    seconds_left : float or None
    """

    rows: int
    rejects: int
    share: float
    rate: float
    seconds_left: float


class _Tally:
    """What a summary is made of, piece by piece; it stands in each note of the journal."""

    def __init__(self, state=None):
        self.state = state or {"rows": 0, "rejects": 0, "warnings": 0, "sum": 0.0, "low": None, "high": None}

    def add(self, scored):
        """Take up a chunk."""
        state, told = self.state, scored.told
        for name in ("rows", "rejects", "warnings"):
            state[name] += getattr(scored, name)
        if "counts" in told:
            before = state.get("counts") or [0] * len(told["counts"])
            state["counts"] = [old + new for old, new in zip(before, told["counts"], strict=True)]
        elif told["low"] is not None:
            state["sum"] += told["sum"]
            state["low"] = told["low"] if state["low"] is None else min(state["low"], told["low"])
            state["high"] = told["high"] if state["high"] is None else max(state["high"], told["high"])

    def summary(self, signature):
        """Make the summary."""
        state = self.state
        good = state["rows"] - state["rejects"]
        summary = Summary(*(state[name] for name in ("rows", "rejects", "warnings")))
        if signature.task == "classification":
            counts = state.get("counts") or [0] * len(signature.target.texts)
            summary.counts = dict(zip(signature.target.texts, counts, strict=True))
        elif good:
            summary.low, summary.high, summary.mean = state["low"], state["high"], state["sum"] / good
        return summary


@dataclasses.dataclass(frozen=True)
class Limit:
    """How many rejects are allowed: so many rows, or such a share of them.

    Attributes
    ----------
    number : float
    is_share : bool
        Whether the number is a percentage.
    """

    number: float
    is_share: bool = False

    @classmethod
    def parse(cls, text):
        """Read ``10`` or ``0.5%``.

        Parameters
        ----------
        text : str

        Returns
        -------
        Limit

        Raises
        ------
        mlib.OptionError
        """
        number = text.removesuffix("%").strip()
        try:
            value = float(number) if text.endswith("%") else int(number)
        except ValueError:
            value = -1
        if not 0 <= value < float("inf") or (text.endswith("%") and value > 100):
            raise mlib.OptionError(f"{shown(text)!r} is no limit of rejects; expected a number such as 10, or 0.5%.")
        return cls(value, text.endswith("%"))

    def __str__(self):
        return f"{self.number:g}{'%' * self.is_share}"

    def check(self, state, is_end):
        """Raise where there are more; a share is told at the end only.

        Parameters
        ----------
        state : dict
        is_end : bool

        Raises
        ------
        mlib.GateError
        """
        rows, rejects = state["rows"], state["rejects"]
        most = self.number * rows / 100 if self.is_share else self.number
        if rejects > most and (is_end or not self.is_share):
            raise mlib.GateError(f"{rejects:,} of {rows:,} rows are rejects, and {self} were allowed.")


def score_file(
    source,
    to,
    model=None,
    *,
    format=None,  # pylint: disable=redefined-builtin  # the option's name
    encoding=None,
    keep=None,
    only=None,
    interval=False,
    warnings=False,
    chunk_rows=None,
    max_rejects=None,
    resume=False,
    engine=None,
    notice=None,
    progress=None,
):
    """Score the rows of a file of any size.

    Parameters
    ----------
    source : path
        CSV (any separator), JSON lines, each of them packed by gzip or not, or Parquet; a file, a folder of files, an
        address such as ``s3://bucket/rows.parquet``, or ``-``, the standard input.
    to : path
        Where to; a file, an address, ``-``, or a new folder of Parquet files, whose name ends in ``/``. The rows
        are in the input's order, each with its columns and the answer's; of a row that cannot be scored these are
        empty, and what is wrong goes to ``<to>.rejects.jsonl``.
    model : path or mlib.Model, optional
        As for `mlib.load_model`.
    format : str, optional
        "csv", "jsonl" or "parquet": of what does not say it by its name.
    encoding : str, optional
        Of the input's text; told from its first bytes unless given.
    keep, only : list of str, optional
        As for `toolkit.scoring.plan_for`.
    interval, warnings : bool
        As for `toolkit.scoring.plan_for`.
    chunk_rows : int, optional
        So many rows at a time, and of Parquet in a row group; as of `usual_rows` unless told.
    max_rejects : Limit, optional
        With more, nothing is written but the rejects.
    resume : bool
        Whether to go on where an earlier run was ended.
    engine : function, optional
        Of plan, model and chunks, to an iterable of what they are scored to, in their order; all cores of this machine
        unless told.
    notice : function, optional
        Called with what was assumed, a text each.
    progress : function, optional
        Called with a `Progress` after each chunk.

    Returns
    -------
    Summary

    Raises
    ------
    mlib.DataError, mlib.ModelError
        The input or the model cannot be read.
    mlib.OptionError
        An option that cannot be.
    toolkit.output.OutputError
        The output cannot be written.
    mlib.GateError
        There are more rejects than `max_rejects`.
    """
    source, to = stream.local(os.fspath(source)), stream.local(os.fspath(to))
    model = model if isinstance(model, mlib.Model) else mlib.load_model(model)
    signature, engine = model.signature, engine or on_all_cores
    kind, to_kind, is_packed = _formats(source, to, format)
    found = stream.find(source, kind, encoding)
    _check_apart(found.files, to)
    plan = scoring.plan_for(
        found,
        signature,
        to_kind or found.format,
        is_packed=is_packed,
        keep=keep,
        only=only,
        interval=interval,
        warnings=warnings,
    )
    for text in [*found.notices, *_notices(found, signature)] if notice else []:
        notice(text)
    chunk_rows = chunk_rows or usual_rows(len(found.columns))
    started = time.perf_counter()
    file_bytes = FILE if output.is_folder(to) else None
    with output.open_output(to, _identity(plan, signature, chunk_rows, file_bytes), resume) as out:
        try:
            tally, resumed = _run(found, plan, model, out, engine, chunk_rows, file_bytes, max_rejects, progress)
        except mlib.GateError as error:
            out.discard()
            raise mlib.GateError(f"{error} Only they were written.") from error
        out.finish()
    summary = tally.summary(signature)
    summary.seconds, summary.resumed_rows = time.perf_counter() - started, resumed
    summary.output = to
    if summary.rejects and to != output.STANDARD:
        summary.rejects_output = output.rejects_path(os.path.realpath(to) if os.path.islink(to) else to)
    return summary


def usual_rows(columns):
    """Tell how many rows are scored at a time: the more columns there are, the fewer.

    Parameters
    ----------
    columns : int
        Of the input.

    Returns
    -------
    int
    """
    return min(MOST_ROWS, max(LEAST_ROWS, CELLS // max(1, columns)))


def _formats(source, to, given):
    """The format of the input and of the output, None where their content tells; and whether the output is packed."""
    kind, to_kind = stream.format_of(source), stream.format_of(to)
    if output.is_folder(to):
        if kind and given not in (None, "parquet"):
            raise mlib.OptionError(f"A folder of files is written as Parquet, and not as {given}. Name a file.")
        return kind or given, "parquet", False
    if given and kind and to_kind and given not in (kind, to_kind):
        raise mlib.OptionError(f"{source} and {to} say by their names what they are, and neither is {given}.")
    if not (to_kind or given) and to != output.STANDARD:
        if os.path.isdir(to):
            raise mlib.OptionError(f"{to} is a folder. Name a file in it, or a new folder, whose name ends in /.")
        raise mlib.OptionError(stream.unknown_format(to))
    return kind or given, to_kind or given, to.lower().endswith(".gz")


def _check_apart(files, to):
    """Refuse to write over what is read."""
    if to == output.STANDARD:
        return
    real = (lambda name: name) if stream.is_address(to) else os.path.realpath
    read = {real(name) for name in files if name != "-" and stream.is_address(name) == stream.is_address(to)}
    if output.is_folder(to):  # a file in OUT.part/ would go, too
        read |= {os.path.dirname(name) for name in read}
    for name in output.names_of(to):
        if real(name) in read:
            raise mlib.OptionError(f"{name} is the input. Name another output.")


def _notices(source, signature):
    """What is assumed of the input's columns."""
    absent = [feature.name for feature in signature.features if feature.name not in source.columns]
    where = "where a row does not have it" if source.format == "jsonl" else "in every row"
    return [f"Taken as missing {where}: {', '.join(absent)}."] if absent else []


def _identity(plan, signature, chunk_rows, file_bytes):
    """What of the work has to be the same to go on with it."""
    said = [plan.source.identity, signature.version, plan.kept, plan.keys, plan.format, plan.is_packed]
    said += [chunk_rows, file_bytes]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _run(source, plan, model, out, engine, chunk_rows, file_bytes, max_rejects, progress):
    """Read, score and write; give what the summary is made of, and how many rows were there already."""
    schema = scoring.empty(plan, model.signature).schema if plan.format == "parquet" else None
    file = schema and parquet.ParquetFile(schema)
    for note in out.notes:
        if note.get("ends_file"):
            file = parquet.ParquetFile(schema)
        elif note["footer"]:
            file.take(base64.b64decode(note["footer"]), note["length"])
    last = out.notes[-1] if out.notes else {"after": None, "state": None}
    tally = _Tally(last["state"])
    note = {"after": last["after"], "state": tally.state, "footer": None}
    if not out.notes or last.get("ends_file"):
        out.write(_beginning(plan, file), b"", note)
    resumed, began = tally.state["rows"], time.perf_counter()
    if progress and resumed:
        progress(_progress(tally.state, resumed, 0.0, 0.0))
    chunks = stream.Reading(source, chunk_rows, last["after"], columns=plan.schema.names)
    with contextlib.closing(engine(plan, model, chunks)) as results:
        for scored in results:
            if file_bytes and file.length >= file_bytes:
                out.write(file.end(), b"", {**note, "footer": None, "ends_file": True})
                file = parquet.ParquetFile(schema)
                out.write(file.start, b"", {**note, "footer": None})
            rejects = _rejects(source, scored, tally.state["rows"])
            tally.add(scored)
            data, tail = scored.data, None
            if file:
                tail = base64.b64encode(parquet.footer(data)).decode()
                data = file.add(data)
            note = {"after": scored.after, "state": tally.state, "footer": tail}
            out.write(data, rejects, note)
            if max_rejects is not None:
                max_rejects.check(tally.state, is_end=False)
            if progress:
                progress(_progress(tally.state, resumed, scored.share, time.perf_counter() - began))
    if max_rejects is not None:
        max_rejects.check(tally.state, is_end=True)
    if file:
        out.write(file.end(), b"", {**note, "footer": None, "is_end": True})
    return tally, resumed


def _beginning(plan, file):
    """What stands before the rows."""
    if file:
        return file.start
    header = plan.header.encode() if plan.format == "csv" else b""
    return scoring.packed(header) if plan.is_packed else header


def _rejects(source, scored, before):
    """What is wrong with rows, a line of JSON each: where, which field, what it got and what was expected."""
    lines = []
    for problem in scored.problems:
        where = {"file": source.files[scored.after[0]]} if len(source.files) > 1 else {}
        where["row"] = before + problem["index"] + 1
        rest = {name: value for name, value in problem.items() if name != "index"}
        lines.append(json.dumps({**where, **rest}, ensure_ascii=False) + "\n")
    return "".join(lines).encode("utf-8", "backslashreplace")  # half a character is written as JSON escapes it


def _progress(state, resumed, share, seconds):
    rate = (state["rows"] - resumed) / seconds if seconds else 0.0
    left = None
    if share and rate:
        left = state["rows"] * (1 - share) / share / rate
    return Progress(state["rows"], state["rejects"], share, rate, left)


def on_all_cores(plan, model, chunks, threads=None):
    """Score chunks by threads of this process; what takes long in it holds no other thread up.

    Parameters
    ----------
    plan : toolkit.scoring.Plan
    model : mlib.Model
    chunks : core.stream.Reading
    threads : int, optional
        As many as there are cores, unless told.

    Yields
    ------
    toolkit.scoring.Scored
        In the order of the chunks.
    """
    threads = threads or cores()
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        yield from in_order(
            chunks,
            lambda chunk: pool.submit(scoring.score, plan, model, chunk),
            lambda _, future: future.result(),
            threads + 1,
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def cores():
    """Tell how many cores this process may use.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(chunks, submit, result, most):
    """Keep so many chunks under way, and give what they become in their order.

    What can be read before something is wrong with the input is scored; then it is raised.

    Parameters
    ----------
    chunks : iterable of core.stream.Chunk
    submit : function
        Of a chunk, to a future.
    result : function
        Of the chunk and the future, to what it is scored to.
    most : int
        Chunks at a time.

    Yields
    ------
    toolkit.scoring.Scored
    """
    waiting, failure, chunks = collections.deque(), None, iter(chunks)
    while True:
        while len(waiting) < most and failure is None:
            try:
                chunk = next(chunks)
            except StopIteration:
                failure = StopIteration()
            except mlib.Error as error:
                failure = error
            else:
                waiting.append((chunk, submit(chunk)))
        if not waiting:
            break
        yield result(*waiting.popleft())
    if isinstance(failure, mlib.Error):
        raise failure
