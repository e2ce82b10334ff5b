"""How quick is batch, beside what one writes by hand, and what would a billion rows cost?  ``make bench-batch``

``python -m benchmarks.batch.bench parquet csv`` measures these parts alone, and keeps what is known of the others:
``memory``, ``dask`` and ``costs``. Whole processes are measured, in turns. The raw numbers are in results.json.

``ROWS=500_000 FEW_ROWS=100_000 MORE_ROWS=1_000_000 TURNS=1 make bench-batch`` only tries it. ``BATCH_DATA`` names a
folder that keeps the tables, which else are made in a temporary one; with what is written they take 14 GB.
"""

import contextlib
import dataclasses
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

import mlib
from benchmarks import images
from benchmarks.bench import machine, ratio_of
from benchmarks.images import ROOT, NotMeasuredError, run
from toolkit import batch, scoring

HERE = Path(__file__).parent
PEERS = HERE / "peers"

ROWS = int(os.environ.get("ROWS", "10_000_000"))
MORE_ROWS = int(os.environ.get("MORE_ROWS", "50_000_000"))  # whose peak memory is held against that of few
FEW_ROWS = int(os.environ.get("FEW_ROWS", "1_000_000"))
TURNS = int(os.environ.get("TURNS", "3"))
BLOCK = 1024**2  # rows that are made at once, and in a row group of the Parquet that is read: pyarrow's own default
LOOP_ROWS = 131_072  # and so many at a time by the loop, which else has whole row groups
CHUNK_ROWS = batch.usual_rows(8)  # of the table of eight numbers
SMALL_CHUNK = 8192  # rows; against the usual chunks it tells what each takes
SLOW = ("pandas",)  # takes as long as all others together, and so its turn is the first only
POLL = 0.02  # seconds between two looks at a process

FORMATS = {"parquet": "Parquet", "csv": "CSV"}
CLUSTER = (batch.cores(), 1)  # workers of a LocalCluster and threads of each, as --engine dask has them

BILLION = 1_000_000_000
WORKERS = (1, 10, 100)
# What is assumed on paper: dollars an hour of a core (with 2 GB, on AWS Fargate in us-east-1 in March 2026), and the
# bytes a second of each machine's network, 10 Gbit/s.
PRICE, NETWORK = 0.05, 1.25e9


@dataclasses.dataclass(frozen=True)
class Table:
    """A table and its model.

    Attributes
    ----------
    title : str
    columns : int
    key : str
        Of the answer that is written.
    decimals : str
        To how many the answer is rounded, or nothing.
    options : tuple of str
        Of our command.
    """

    title: str
    columns: int
    key: str
    decimals: str
    options: tuple = ()

    @property
    def tolerance(self):
        """How far two answers may be from each other: one of two decimals may be rounded up or down."""
        return 1.01 * 10.0 ** -int(self.decimals or 6)


TABLES = {
    "eight": Table("8 numbers", 8, "y", ""),
    "one": Table("a weight", 1, "height_inches", "2", ("--only", "height_inches")),
}

# ----------------------------------------------------------------------------------------------------------- the data


def block_of(name):
    """Make a block of a table.

    Parameters
    ----------
    name : str
        A name of `TABLES`.

    Returns
    -------
    pyarrow.Table
    """
    generator = np.random.default_rng(9)
    if name == "one":
        return pa.table({"Weight": generator.uniform(150, 290, BLOCK).round(1)})
    scales = (1, 1, 10, 10, 100, 100, 1000, 1000)
    return pa.table({f"x{i}": generator.normal(0, scale, BLOCK).round(4) for i, scale in enumerate(scales)})


class Data:
    """Tables and models in a folder.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.models = {"one": ROOT / "model.joblib", "eight": folder / "eight.joblib"}

    def make(self):
        """Make what is not there yet."""
        for name, table in TABLES.items():
            sizes = {1, FEW_ROWS, ROWS} | ({MORE_ROWS} if name == "eight" else set())
            missing = [
                rows for rows in sorted(sizes) if not all(self.path(name, rows, kind).exists() for kind in FORMATS)
            ]
            if missing or not self.models[name].exists():
                block = block_of(name)
                for rows in missing:
                    print(f"Making {rows:,} rows of {table.title}", flush=True)
                    self._write(name, rows, block)
                if name == "eight":
                    self._train(block)

    def path(self, name, rows, kind):
        """Name the file of a table."""
        return self.folder / f"{name}-{rows}.{kind}"

    def compiled(self, name):
        """Name the compiled form of a model."""
        return Path(mlib.compiled_path(str(self.models[name])))

    def _write(self, name, rows, block):
        """Write a table as Parquet and as CSV: the block as often as it takes, and a part of it."""
        often, rest = divmod(rows, BLOCK)
        parts = [block] * often + [block.slice(0, rest)] * bool(rest)
        paths = {kind: self.path(name, rows, kind) for kind in FORMATS}
        part = paths["parquet"].with_suffix(".tmp")
        with pq.ParquetWriter(part, block.schema) as writer:
            for each in parts:
                writer.write_table(each, row_group_size=BLOCK)
        part.replace(paths["parquet"])
        lines = {len(each): _lines(each) for each in parts}
        with open(part, "wb") as file:
            file.write(",".join(block.column_names).encode() + b"\n")
            for each in parts:
                file.write(lines[len(each)])
        part.replace(paths["csv"])

    def _train(self, block):
        """Train the model of eight numbers: a linear function of them, with noise."""
        some = block.slice(0, 100_000)
        scales = np.array([column.to_numpy().std() for column in some.columns])
        x = np.column_stack(some.columns) / scales
        noise = np.random.default_rng(10).normal(0, 0.1, len(some))
        target = pa.array((x @ np.arange(1, 9) + noise).round(4))
        csv.write_csv(some.append_column("y", target), self.folder / "training.csv")
        mlib.retrain(data=self.folder / "training.csv", target="y", model_name=self.models["eight"])
        if not self.compiled("eight").exists():
            raise NotMeasuredError("the model of eight numbers has no compiled form")


def _lines(table):
    """Write rows as CSV, without a header."""
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False))
    return sink.getvalue()


@contextlib.contextmanager
def data_here():
    """Give the tables, made where they are missing; those of a temporary folder are removed in the end."""
    with contextlib.ExitStack() as stack:
        named = os.environ.get("BATCH_DATA")
        data = Data(Path(named or stack.enter_context(tempfile.TemporaryDirectory())))
        data.make()
        yield data


# -------------------------------------------------------------------------------------------------------- the programs


def ours(data, name, rows, kind, *options):
    """Give our command, without its output.

    Parameters
    ----------
    data : Data
    name : str
        A name of `TABLES`.
    rows : int
    kind : str
        "parquet" or "csv".
    *options : str

    Returns
    -------
    function
        Of the output's path, to a command.
    """
    source, model = data.path(name, rows, kind), data.models[name]
    command = [sys.executable, "utilscli.py", "batch", source]
    rest = ["--model", model, "--quiet", *TABLES[name].options, *options]
    return lambda to: [*command, to, *rest]


def peer(program, data, name, rows, kind, *options):
    """Give the command of a program in ``peers``, without its output; parameters as of `ours`."""
    source, table = data.path(name, rows, kind), TABLES[name]
    model = data.models[name] if program == "pandas_chunks" else data.compiled(name)
    rest = [model, table.key, table.decimals, *options]
    return lambda to: [sys.executable, PEERS / f"{program}.py", source, to, *rest]


def programs_of(part, data, name, rows):
    """Give the programs that a part compares.

    Parameters
    ----------
    part : str
        "parquet", "csv" or "dask".
    data : Data
    name : str
        A name of `TABLES`.
    rows : int

    Returns
    -------
    dict of str to function
        As of `ours`.
    """
    if part == "csv":
        return {
            "ours": ours(data, name, rows, "csv"),
            "whole": peer("csv_whole", data, name, rows, "csv"),
            "pandas": peer("pandas_chunks", data, name, rows, "csv"),
        }
    if part == "dask":
        return {
            "ours": ours(data, name, rows, "parquet", "--engine", "dask"),
            "partitions": peer("dask_partitions", data, name, rows, "parquet", *CLUSTER),
        }
    return {
        "ours": ours(data, name, rows, "parquet"),
        "batches": peer("parquet_loop", data, name, rows, "parquet", LOOP_ROWS),
        "groups": peer("parquet_loop", data, name, rows, "parquet", BLOCK),
    }


def environment():
    """Give the environment of commands: Python keeps its bytecode, as it does at home, and MLOPS_MODEL is not told."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE", "MLOPS_MODEL")}


@contextlib.contextmanager
def output_of(data, kind):
    """Give a path to write to; what is there in the end, a file or a folder, is removed."""
    to = data.folder / f"output.{kind}"
    try:
        yield to
    finally:
        if to.is_dir():
            shutil.rmtree(to)
        to.unlink(missing_ok=True)


def took(data, kind, program):
    """Run a program; give the seconds.

    Parameters
    ----------
    data : Data
    kind : str
        "parquet" or "csv".
    program : function
        As of `ours`.

    Returns
    -------
    float
    """
    with output_of(data, kind) as to:
        command = program(to)
        os.sync()  # what others wrote is not to be waited for in this one's time
        before = time.perf_counter()
        run(*command, cwd=ROOT, env=environment())
        return time.perf_counter() - before


def peak_of(data, kind, program):
    """Run a program; give the most bytes of memory that it and its children had, each at its own peak.

    Parameters
    ----------
    data : Data
    kind : str
    program : function
        As of `ours`.

    Returns
    -------
    int
    """
    peaks = {}
    with output_of(data, kind) as to, tempfile.TemporaryFile("w+") as said:
        command = list(map(str, program(to)))
        process = psutil.Popen(command, cwd=ROOT, env=environment(), stdout=said, stderr=said)
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for each in (process, *process.children(recursive=True)):
                    peaks[each.pid] = max(_peak(each.pid), peaks.get(each.pid, 0))
            time.sleep(POLL)
        if process.returncode:
            said.seek(0)
            raise NotMeasuredError(f"{' '.join(command[:3])} failed: {said.read()[-1000:]}")
    return sum(peaks.values())


def _peak(pid):
    """The most bytes that a process had in memory so far, as Linux notes them: no peak falls between two looks."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def answers_of(path, kind, key):
    """Read the answers that a program wrote."""
    table = csv.read_csv(path) if kind == "csv" else pq.read_table(path)
    return table.column(key).to_numpy()


def check(data, name, kind, programs):
    """Let each program score few rows, which warms up its files; refuse programs whose answers differ.

    Parameters
    ----------
    data : Data
    name : str
        A name of `TABLES`.
    kind : str
    programs : dict of str to function
        As of `programs_of`.

    Raises
    ------
    NotMeasuredError
    """
    first = None
    for program, command in programs.items():
        with output_of(data, kind) as to:
            run(*command(to), cwd=ROOT, env=environment())
            answers = answers_of(to, kind, TABLES[name].key)
        first = answers if first is None else first
        if len(answers) != FEW_ROWS or not np.allclose(answers, first, rtol=0, atol=TABLES[name].tolerance):
            raise NotMeasuredError(f"{program} answers {name} as {kind} otherwise than ours")


# -------------------------------------------------------------------------------------------------------- the measures


def in_turns(measures, turns):
    """Measure in turns, each turn in another order.

    Parameters
    ----------
    measures : dict of str to function
    turns : int

    Returns
    -------
    list of dict of str to object
    """
    found = []
    for turn in range(turns):
        results = {}
        due = [name for name in measures if not (turn and name in SLOW)]
        for name in random.Random(turn).sample(due, len(due)):
            results[name] = measures[name]()
            shown = results[name] / 1e6 if isinstance(results[name], int) else results[name]
            told = shown if isinstance(shown, dict) else f"{shown:10.3f}"
            print(f"{told} {'MB' if isinstance(results[name], int) else 's '}  {name}, turn {turn + 1}", flush=True)
        found.append({name: results[name] for name in due})
    return found


def compare(part, data, tables=tuple(TABLES)):
    """Measure the seconds of ours and of the programs that it is held against; parameters as of `programs_of`."""
    kind, found = "csv" if part == "csv" else "parquet", {}
    for name in tables:
        print(f"{part}, {TABLES[name].title}", flush=True)
        check(data, name, kind, programs_of(part, data, name, FEW_ROWS))
        programs = programs_of(part, data, name, ROWS)
        measures = {each: lambda one=one: took(data, kind, one) for each, one in programs.items()}
        found[name] = in_turns(measures, TURNS)
    return found


def memory(data):
    """Measure the peak memory of ours with few and with more rows; once, as it does not depend on what else runs."""
    measures = {
        f"{kind}, {rows} rows": lambda kind=kind, rows=rows: peak_of(data, kind, ours(data, "eight", rows, kind))
        for kind in FORMATS
        for rows in (FEW_ROWS, MORE_ROWS)
    }
    found = in_turns(measures, 1)[0]
    return {kind: [found[f"{kind}, {rows} rows"] for rows in (FEW_ROWS, MORE_ROWS)] for kind in FORMATS}


def dask(data):
    """Measure --engine dask over a hand-written map_partitions."""
    if "--engine" not in run(sys.executable, "utilscli.py", "batch", "--help", cwd=ROOT):
        raise NotMeasuredError("batch has no --engine yet")
    return compare("dask", data, ["eight"])


def costs(data):
    """Measure what the time of a billion rows is made of; all of the table of eight numbers."""

    def process(kind, rows, *options):
        return lambda: took(data, kind, ours(data, "eight", rows, kind, *options))

    measures = {}
    for kind in FORMATS:
        measures[f"{kind}, one row"] = process(kind, 1)
        measures[f"{kind}, few rows"] = process(kind, FEW_ROWS)
        measures[f"{kind}, all rows"] = process(kind, ROWS)
        measures[f"{kind}, small chunks"] = process(kind, ROWS, "--chunk-rows", str(SMALL_CHUNK))
        measures[f"{kind}, client"] = lambda kind=kind: client(data, kind)
    measures["dask"] = lambda: json.loads(
        run(sys.executable, PEERS / "dask_tasks.py", *CLUSTER, cwd=ROOT, env=environment())
    )
    sizes = {kind: sizes_of(data, kind) for kind in FORMATS}
    return {"bytes": sizes, "turns": in_turns(measures, TURNS)}


def sizes_of(data, kind):
    """Bytes of the table that is read, and of what is written."""
    with output_of(data, kind) as to:
        run(*ours(data, "eight", ROWS, kind)(to), cwd=ROOT, env=environment())
        return {"in": data.path("eight", ROWS, kind).stat().st_size, "out": to.stat().st_size}


def client(data, kind):
    """Measure what a cluster's client does itself, with workers that take no time: it reads and cuts text, and writes.

    Parameters
    ----------
    data : Data
    kind : str
        Parquet is read by the workers, CSV by the client.

    Returns
    -------
    float
        Seconds of all rows.
    """
    first = {}

    def no_time(plan, model, chunks):
        """Give for each chunk what the first was scored to."""
        scored = None
        for chunk in chunks:
            if scored is None:
                scored = scoring.score(plan, model, chunk)
                first["at"] = time.perf_counter()
            if kind == "parquet":
                break
            yield dataclasses.replace(scored, after=chunk.after, share=chunk.share)
        for number in range(-(-ROWS // CHUNK_ROWS) if kind == "parquet" else 0):
            yield dataclasses.replace(scored, after=(0, 0, number + 1))

    with output_of(data, kind) as to:
        batch.score_file(data.path("eight", ROWS, kind), to, data.models["eight"], engine=no_time)
        return time.perf_counter() - first["at"]


# ----------------------------------------------------------------------------------------------------------- the report


@dataclasses.dataclass(frozen=True)
class Costs:
    """What rows take, as measured.

    Attributes
    ----------
    start : float
        Seconds of a whole process of one row.
    row : float
        Seconds that each further row takes, on a machine such as the one that was measured.
    chunk : float
        Seconds that each further chunk takes there, of the same rows.
    client : float
        Seconds that each row takes of a cluster's client.
    read, written : float
        Bytes a row.
    is_shipped : bool
        Whether the client sends the workers what they score.
    cluster, task, byte : float
        Seconds of a LocalCluster's start; of each task, to Dask itself; of each byte to a worker or from one.
    """

    start: float
    row: float
    chunk: float
    client: float
    read: float
    written: float
    is_shipped: bool
    cluster: float
    task: float
    byte: float

    @classmethod
    def of(cls, results, kind):
        """Take them from results; the medians of the turns.

        Parameters
        ----------
        results : dict
        kind : str
            "parquet" or "csv".

        Returns
        -------
        Costs
        """
        turns, rows = results["measured"]["costs"]["turns"], results["rows"]
        sizes = results["measured"]["costs"]["bytes"][kind]
        more = rows / SMALL_CHUNK - rows / CHUNK_ROWS

        def median(value):
            return max(0.0, statistics.median(map(value, turns)))

        def between(turn, one, other):
            return turn[f"{kind}, {one}"] - turn[f"{kind}, {other}"]

        return cls(
            start=median(lambda turn: turn[f"{kind}, one row"]),
            row=median(lambda turn: between(turn, "all rows", "few rows") / (rows - results["few_rows"])),
            chunk=median(lambda turn: between(turn, "small chunks", "all rows") / more),
            client=median(lambda turn: turn[f"{kind}, client"] / rows),
            read=sizes["in"] / rows,
            written=sizes["out"] / rows,
            is_shipped=kind == "csv",
            cluster=median(lambda turn: turn["dask"]["start"]),
            task=median(lambda turn: turn["dask"]["task"]),
            byte=median(lambda turn: turn["dask"]["byte"]),
        )

    @property
    def moved(self):
        """Bytes a row that go between client and workers."""
        return self.written + self.read * self.is_shipped

    def shares(self, rows, workers):
        """Seconds of what happens at the same time: the workers' work, the client's, and its network's.

        Parameters
        ----------
        rows, workers : int

        Returns
        -------
        dict of str to float
        """
        return {
            "workers": rows * self.row / workers,
            "client": rows * (self.client + self.task / CHUNK_ROWS + self.moved * self.byte),
            "network": rows * self.moved / NETWORK,
        }

    def seconds(self, rows, workers):
        """Tell how long it takes; with no workers, on one machine without a cluster.

        Parameters
        ----------
        rows, workers : int

        Returns
        -------
        float
        """
        if not workers:
            return self.start + rows * self.row
        return self.start + self.cluster + max(self.shares(rows, workers).values())

    def most_workers(self):
        """Tell how many workers one client keeps busy."""
        shares = self.shares(1, 1)
        return shares["workers"] / max(shares["client"], shares["network"])


def verdict(value, target, is_least):
    """Say whether a target is met."""
    return "met" if (value >= target if is_least else value <= target) else "**missed**"


def targets(results):
    """Tell what was aimed at, and what came of it.

    Parameters
    ----------
    results : dict

    Yields
    ------
    str, float, bool, float
        What, the target, whether it is the least (or the most), and what was measured.
    """
    found = results["measured"]

    def quicker(turns, *others):
        turns = [turn for turn in turns if others[0] in turn]
        return ratio_of([min(turn[other] for other in others) for turn in turns], [turn["ours"] for turn in turns])

    for name, turns in found.get("parquet", {}).items():
        what = f"Parquet to Parquet, {TABLES[name].title}: rows a second, over a pyarrow and ONNX Runtime loop"
        yield what, 0.8, True, quicker(turns, "batches", "groups")
    for name, turns in found.get("csv", {}).items():
        what = f"CSV to CSV, {TABLES[name].title}: the same, over pyarrow's own read, one run, and write"
        yield what, 0.8, True, quicker(turns, "whole")
    for name, turns in found.get("csv", {}).items():
        what = f"CSV to CSV, {TABLES[name].title}: the same, over pandas and scikit-learn in chunks"
        yield what, 3, True, quicker(turns, "pandas")
    for kind, (few, more) in found.get("memory", {}).items():
        rows = f"{results['more_rows']:,} rows over {results['few_rows']:,}"
        yield f"peak memory of {rows}, {FORMATS[kind]}", 1.1, False, more / few
    if "dask" in found:
        what = "`--engine dask` on this machine, Parquet, 8 numbers: rows a second, over map_partitions"
        yield what, 0.9, True, quicker(found["dask"]["eight"], "partitions")


# Programs by part and name, for a table of rates.
PROGRAMS = {
    "ours": (("parquet", "ours"), ("csv", "ours")),
    "pyarrow and ONNX Runtime, 131,072 rows at a time": (("parquet", "batches"),),
    "the same, a row group at a time": (("parquet", "groups"),),
    "pyarrow and ONNX Runtime, the whole table": (("csv", "whole"),),
    "pandas and scikit-learn, in chunks": (("csv", "pandas"),),
    "ours, `--engine dask`": (("dask", "ours"),),
    "dask.dataframe's map_partitions": (("dask", "partitions"),),
}


def rates(results):
    """Make the table of rows a second: the medians of each program's turns."""
    columns = [(part, name) for part in ("parquet", "csv") for name in TABLES]
    titles = [f"{FORMATS[part]}, {TABLES[name].title}" for part, name in columns]
    yield f"| rows a second | {' | '.join(titles)} |"
    yield "| --- |" + " ---: |" * len(columns)
    for title, places in PROGRAMS.items():
        cells = {}
        for part, program in places:
            for name, turns in results["measured"].get(part, {}).items():
                seconds = statistics.median(turn[program] for turn in turns if program in turn)
                cells["parquet" if part == "dask" else part, name] = f"{results['rows'] / seconds:,.0f}"
        if cells:
            yield f"| {title} | {' | '.join(cells.get(column, '') for column in columns)} |"


def paper(results):
    """Make the tables of what a billion rows would take."""
    kinds = {kind: Costs.of(results, kind) for kind in FORMATS}
    yield f"| 8 numbers, {machine()['cores']} cores | {' | '.join(FORMATS[kind] for kind in kinds)} |"
    yield "| --- | ---: | ---: |"
    for what, told in (
        ("`start`: a process of one row, s", lambda one: f"{one.start:.2f}"),
        ("`row`: each further million rows, s", lambda one: f"{one.row * 1e6:.3f}"),
        ("`chunk`: each further chunk of the same rows, ms", lambda one: f"{one.chunk * 1e3:.2f}"),
        ("`client`: of a million rows what a cluster's client does, s", lambda one: f"{one.client * 1e6:.3f}"),
        ("bytes a row that are read", lambda one: f"{one.read:.0f}"),
        ("bytes a row that are written", lambda one: f"{one.written:.0f}"),
        ("`moved`: bytes a row between client and workers", lambda one: f"{one.moved:.0f}"),
        ("`cluster`: start of a LocalCluster, s", lambda one: f"{one.cluster:.2f}"),
        ("`task`: each task, to Dask itself, ms", lambda one: f"{one.task * 1e3:.2f}"),
        ("`byte`: each megabyte to or from a worker, ms", lambda one: f"{one.byte * 1e9:.2f}"),
    ):
        yield f"| {what} | {' | '.join(map(told, kinds.values()))} |"
    yield ""
    yield "| a billion rows | time | workers busy | client busy | its network busy | cost, $ |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    cores = results["machine"]["cores"]
    for kind, one in kinds.items():
        for workers in (0, *WORKERS):
            seconds = one.seconds(BILLION, workers)
            busy = {}
            if workers:
                busy = {who: f"{share / seconds:.0%}" for who, share in one.shares(BILLION, workers).items()}
            where = f"{workers} {'worker' if workers == 1 else 'workers'}" if workers else "this machine, no cluster"
            dollars = (workers + 1) * cores * seconds / 3600 * PRICE
            cells = [f"{FORMATS[kind]}, {where}", clock(seconds), *(busy.get(who, "") for who in one.shares(1, 1))]
            yield f"| {' | '.join([*cells, f'{dollars:.2f}'])} |"
    yield ""
    limits = ", ".join(f"{one.most_workers():.1f} of {FORMATS[kind]}" for kind, one in kinds.items())
    yield f"Workers that one client keeps busy: {limits}."


def clock(seconds):
    """Say a time as hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def report(results):
    """Make the tables: what was aimed at, the rates, and what a billion rows would take.

    Parameters
    ----------
    results : dict

    Returns
    -------
    list of str
    """
    lines = ["| what | target | measured | |", "| --- | --- | ---: | --- |"]
    for what, target, is_least, value in targets(results):
        bound = "at least" if is_least else "at most"
        lines.append(f"| {what} | {bound} {target:g} | {value:.2f} | {verdict(value, target, is_least)} |")
    lines += [""] + [f"Not measured, {reason}: {part}." for part, reason in results["missing"].items()]
    lines += [""] * bool(results["missing"]) + list(rates(results))
    if "memory" in results["measured"]:
        told = [
            f"{FORMATS[kind]} {few / 1e6:,.0f} and {more / 1e6:,.0f}"
            for kind, (few, more) in results["measured"]["memory"].items()
        ]
        lines += ["", f"Peak memory of few and of more rows, MB: {', '.join(told)}."]
    if "costs" in results["measured"]:
        lines += ["", *paper(results)]
    about = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        *lines,
        "",
        f"Measured on {about['processor']}, {about['cores']} cores, {about['memory_gb']} GB, {about['system']}, "
        f"{versions}; {results['rows']:,} rows, {results['turns']} turns.",
    ]


MEASURES = {
    "parquet": lambda data: compare("parquet", data),
    "csv": lambda data: compare("csv", data),
    "memory": memory,
    "dask": dask,
    "costs": costs,
}


def main():
    """Measure all parts, or those that are named, and write the results."""
    os.environ.pop("MLOPS_MODEL", None)
    wanted = sys.argv[1:] or list(MEASURES)
    unknown = set(wanted) - set(MEASURES)
    if unknown:
        sys.exit(f"Got {', '.join(sorted(unknown))}; expected some of {', '.join(MEASURES)}.")
    about = machine()
    about["versions"] |= {name: metadata.version(name) for name in ("pyarrow", "dask")}
    results = {"machine": about, "rows": ROWS, "few_rows": FEW_ROWS, "more_rows": MORE_ROWS, "turns": TURNS}
    results |= known() if sys.argv[1:] else {"measured": {}, "missing": {}}
    with data_here() as data:
        for part in wanted:
            results["missing"].pop(part, None)
            try:
                results["measured"][part] = MEASURES[part](data)
            except NotMeasuredError as error:
                results["missing"][part] = str(error)
                print(f"not measured, {error}: {part}", file=sys.stderr)
    images.write(HERE, results, report(results))


def known():
    """Read what was measured before, of as many rows.

    Returns
    -------
    dict
    """
    path = HERE / "results.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    sizes = {"rows": ROWS, "few_rows": FEW_ROWS, "more_rows": MORE_ROWS}
    if any(found.get(name) != rows for name, rows in sizes.items()):
        return {"measured": {}, "missing": {}}
    return {name: found[name] for name in ("measured", "missing")}


if __name__ == "__main__":
    main()
