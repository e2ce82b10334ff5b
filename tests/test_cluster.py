"""Is a file scored on a Dask cluster as it is here, whatever happens there?  Schedulers and workers really run."""

import concurrent.futures
import contextlib
import functools
import importlib.metadata
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ENVIRONMENT, ROOT, free_port, run

import mlib
from core import stream
from toolkit import batch, cluster
from toolkit.failures import UnreachableError

pytestmark = pytest.mark.xdist_group("cluster")  # one after the other: they share what was started
ROWS = 2100


class Started:
    """A scheduler, and workers of it.

    Parameters
    ----------
    address : str
    folder : Path
        Where its processes write.
    """

    def __init__(self, address, folder):
        self.address, self._folder, self.workers = address, folder, []

    def work(self, path=ROOT):
        """Start a worker that finds packages in a folder, too, and wait until the scheduler knows it."""
        log = self._folder / f"worker-{len(self.workers)}"
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", self._folder]
        self.workers.append(_process(log, path, "worker", self.address, "--host", "127.0.0.1", *options))
        _wait(log, "Starting established connection", self.workers[-1])

    def lose(self, number):
        """Kill a worker."""
        self.workers[number].kill()
        self.workers[number].wait(timeout=60)


def _process(log, path, *command):
    env = {**ENVIRONMENT, "PYTHONPATH": str(path), "PYTHONWARNINGS": "default"}  # Dask's own are no concern of ours
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, command)], cwd=log.parent, env=env, stdout=file, stderr=file
        )


def _wait(log, text, process):
    while text not in log.read_text(encoding="utf-8"):
        if process.poll() is not None:
            pytest.fail(f"It ended: {log.read_text(encoding='utf-8')}")
        time.sleep(0.05)


@contextlib.contextmanager
def started(folder, workers=0, path=ROOT):
    """Run a scheduler that finds packages in a folder, too, and workers."""
    folder.mkdir(exist_ok=True)
    log, address = folder / "scheduler", f"tcp://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    process = _process(log, path, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    there = Started(address, folder)
    try:
        _wait(log, "Scheduler at", process)
        for _ in range(workers):
            there.work()
        yield there
    finally:
        there.workers.append(process)
        for number in range(len(there.workers)):
            there.lose(number)


def another(folder, package, version):
    """Make a folder in which a package tells another version than it has."""
    about = folder / f"{package}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    commands = importlib.metadata.distribution(package).read_text(
        "entry_points.txt"
    )  # of dask, which are distributed's
    (about / "entry_points.txt").write_text(commands or "")
    return folder


@pytest.fixture(name="there", scope="module")
def _there(tmp_path_factory):
    with started(tmp_path_factory.mktemp("cluster"), workers=2) as there:
        yield there


@pytest.fixture(name="tables", scope="module")
def _tables(tmp_path_factory):
    """The same rows in each format; every hundredth weight cannot be."""
    folder, draw = tmp_path_factory.mktemp("tables"), random.Random(0)
    weights = [-1 if i % 100 == 7 else draw.randint(150, 290) for i in range(ROWS)]
    rows = [{"Name": f"Player {i}", "Weight": weight} for i, weight in enumerate(weights)]
    (folder / "in.csv").write_text("Name,Weight\n" + "".join(f"{row['Name']},{row['Weight']}\n" for row in rows))
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet", row_group_size=700)
    return folder


def written(path):
    """What an output and its rejects are."""
    return path.read_bytes(), (path.parent / f"{path.name}.rejects.jsonl").read_bytes()


def scored(source, to, model, engine, **options):
    """Score a file; give what was written, and that 21 of its rows are rejects."""
    summary = batch.score_file(source, to, model, engine=engine, **options)
    assert (summary.rows, summary.rejects) == (ROWS, ROWS // 100)
    return written(to)


# ------------------------------------------------------------------------------------------------------ the same


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_one_two_and_seven_partitions_are_the_same_bytes_as_on_all_cores(there, tables, model, tmp_path, kind):
    with cluster.engine(there.address) as engine:
        for parts in (1, 2, 7):
            rows = ROWS // parts
            here = scored(tables / f"in.{kind}", tmp_path / f"here.{kind}", model, None, chunk_rows=rows)
            away = scored(tables / f"in.{kind}", tmp_path / f"away.{kind}", model, engine, chunk_rows=rows)
            assert away == here


def test_a_folder_has_the_same_files(there, tables, model, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "FILE", 5000)
    found = {}
    with cluster.engine(there.address) as engine:
        for name, each in (("here", None), ("away", engine)):
            batch.score_file(tables / "in.parquet", f"{tmp_path}/{name}/", model, chunk_rows=300, engine=each)
            found[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert len(found["here"]) > 2
    assert found["away"] == found["here"]


def test_parquet_that_the_workers_do_not_see_is_sent_to_them(there, tables, model, tmp_path):
    """As an address it is opened here only: no worker knows what is in this process's memory."""
    import fsspec

    with fsspec.open("memory://players/in.parquet", "wb") as file:
        file.write((tables / "in.parquet").read_bytes())
    here = scored(tables / "in.parquet", tmp_path / "here.parquet", model, None, chunk_rows=300)
    with cluster.engine(there.address) as engine:
        away = scored("memory://players/in.parquet", tmp_path / "away.parquet", model, engine, chunk_rows=300)
    assert away == here


def test_where_the_workers_are_not_reached_all_goes_through_the_scheduler(there, tables, model, tmp_path):
    with cluster.connected(there.address) as client:
        assert client.direct_to_workers  # here they are
        client.direct_to_workers = False
        engine = functools.partial(cluster.on_workers, client)
        here = scored(tables / "in.jsonl", tmp_path / "here.jsonl", model, None, chunk_rows=300)
        assert scored(tables / "in.jsonl", tmp_path / "away.jsonl", model, engine, chunk_rows=300) == here


def test_a_model_without_a_compiled_form_is_sent_as_its_joblib_file(there, tables, model, tmp_path):
    alone = tmp_path / "alone.joblib"
    alone.write_bytes(model.read_bytes())
    here = scored(tables / "in.csv", tmp_path / "here.csv", alone, None, chunk_rows=1000)
    with cluster.engine(there.address) as engine:
        assert scored(tables / "in.csv", tmp_path / "away.csv", alone, engine, chunk_rows=1000) == here


def test_a_cluster_that_is_started_here_writes_the_same_bytes(tables, model, tmp_path):
    here = scored(tables / "in.csv", tmp_path / "here.csv", model, None, chunk_rows=300)
    options = ["--chunk-rows", 300, "--model", model, "--engine", "dask", "--json"]
    done = run(sys.executable, "utilscli.py", "batch", tables / "in.csv", tmp_path / "away.csv", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rows"] == ROWS
    assert written(tmp_path / "away.csv") == here


def test_what_was_begun_on_all_cores_is_ended_on_a_cluster(there, tables, model, tmp_path):
    here = scored(tables / "in.parquet", tmp_path / "here.parquet", model, None, chunk_rows=100)

    def ending(plan, loaded, chunks):
        yield from itertools.islice(batch.on_all_cores(plan, loaded, chunks), 5)
        raise mlib.DataError("It is over.")

    with pytest.raises(mlib.DataError, match="It is over"):
        scored(tables / "in.parquet", tmp_path / "away.parquet", model, ending, chunk_rows=100)
    with cluster.engine(there.address) as engine:
        away = scored(tables / "in.parquet", tmp_path / "away.parquet", model, engine, chunk_rows=100, resume=True)
    assert away == here


def test_what_is_wrong_with_rows_ends_it_in_one_line(there, model, tmp_path):
    """JSON lines that have a key of the answer already are refused by whoever scores them."""
    rows = [{"Weight": 200}] * 250 + [{"Weight": 200, "height_inches": 1}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with cluster.engine(there.address) as engine, pytest.raises(mlib.DataError, match="'height_inches' already"):
        batch.score_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", model, engine=engine, chunk_rows=100)


def test_nothing_of_a_job_stays_on_the_scheduler(there, tables, model, tmp_path):
    def plugins(dask_scheduler):
        return [name for name in dask_scheduler.worker_plugins if name.startswith("mlops")]

    with cluster.connected(there.address) as client:
        client.register_plugin(_left(), name="mlops-cookbook Client-that-was-killed 1")
        engine = functools.partial(cluster.on_workers, client)
        scored(tables / "in.csv", tmp_path / "away.csv", model, engine)
        assert client.run_on_scheduler(plugins) == []


def _left():
    from distributed import WorkerPlugin

    class Left(WorkerPlugin):
        """What somebody left behind."""

    return Left()


@pytest.mark.long
def test_a_search_and_a_cross_validation_on_a_cluster_give_the_same_model(there, tmp_path):
    asked = {"estimator": "lasso", "search": 3, "cv": 2}
    mlib.retrain(model_name=tmp_path / "here.joblib", **asked)
    options = ["--estimator", "lasso", "--search", 3, "--cv", 2, "--scheduler", there.address]
    done = run(sys.executable, "utilscli.py", "retrain", *options, "--model-name", tmp_path / "away.joblib")
    assert (done.returncode, done.stderr) == (0, "Retraining Model\n")
    for form in ("joblib", "onnx"):
        assert (tmp_path / f"away.{form}").read_bytes() == (tmp_path / f"here.{form}").read_bytes()


RESTART = "A worker of the Dask cluster was lost with the data of fits. They start again on the others."


@pytest.mark.parametrize("losses", [0, 1, 2, 3])
def test_fits_start_again_where_their_data_were_lost(there, losses):
    tries, told = [], []

    def work():
        tries.append(1)
        if len(tries) <= losses:
            raise concurrent.futures.CancelledError
        return "done"

    if losses < 3:
        assert cluster.with_fits(there.address, work, told.append) == "done"
    else:
        with pytest.raises(UnreachableError, match="were lost with the data of fits, 3 times"):
            cluster.with_fits(there.address, work, told.append)
    assert told == [RESTART] * min(losses, 2)


@pytest.mark.long
def test_a_search_survives_a_worker_that_is_lost_with_its_data(tmp_path):
    asked = {"estimator": "lasso", "search": 12, "cv": 5}
    mlib.retrain(model_name=tmp_path / "here.joblib", **asked)
    told, killed = [], []

    with started(tmp_path / "cluster", workers=2) as there:

        def kill(steps, _):
            for number, step in enumerate(steps):
                if number == 2 and not killed:
                    killed.append(there.lose(0))
                yield step

        cluster.with_fits(
            there.address,
            lambda: mlib.retrain(model_name=tmp_path / "away.joblib", progress=kill, **asked),
            told.append,
        )
    assert killed
    assert told in ([], [RESTART])  # the other worker may have had the data, too
    for form in ("joblib", "onnx"):
        assert (tmp_path / f"away.{form}").read_bytes() == (tmp_path / f"here.{form}").read_bytes()


# ------------------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize("group", [30, 100, 101, 450, 1000])
@pytest.mark.parametrize("at", [None, (0, 0, 2), (1, 0, 1)])
def test_parts_are_the_chunks_that_are_read_in_one_go(tmp_path, group, at):
    table = pa.table({"x": range(1000)})
    for name in ("a", "b"):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=group)
    reading = stream.Reading(stream.find(tmp_path), 100, at)
    parts = [list(reading.part(*part)) for part in reading.parts(3)]
    assert max(map(len, parts)) <= 3
    assert [chunk.after for part in parts for chunk in part] == [chunk.after for chunk in reading]
    assert all(one.data.equals(other.data) for one, other in zip(itertools.chain(*parts), reading, strict=True))


# -------------------------------------------------------------------------------------------------- what goes wrong


def connect(*options):
    """Connect to a cluster, and leave it."""
    with cluster.connected(*options):
        pass


@pytest.mark.long
def test_a_worker_that_is_killed_in_the_middle_changes_no_byte(tables, model, tmp_path):
    here = scored(tables / "in.csv", tmp_path / "here.csv", model, None, chunk_rows=30)
    with started(tmp_path / "cluster", workers=2) as there, cluster.engine(there.address) as engine:

        def kill(progress):
            if progress.rows == 300:
                there.lose(0)

        away = scored(tables / "in.csv", tmp_path / "away.csv", model, engine, chunk_rows=30, progress=kill)
    assert away == here


@pytest.mark.long
def test_a_chunk_that_every_worker_dies_of_is_given_up(tables, model, tmp_path):
    """As where there is too little memory; the scheduler here gives up at the first."""
    from distributed import Client

    def die(*_):
        os._exit(1)

    def be_ill():
        from toolkit import scoring

        scoring.score = die

    def be_strict(dask_scheduler):
        dask_scheduler.allowed_failures = 0

    with started(tmp_path / "cluster", workers=2) as there, cluster.engine(there.address) as engine:
        with Client(there.address, set_as_default=False) as client:
            client.run(be_ill)
            client.run_on_scheduler(be_strict)
        with pytest.raises(UnreachableError, match=r"A chunk was lost with its worker .* fewer --chunk-rows need less"):
            batch.score_file(tables / "in.csv", tmp_path / "out.csv", model, engine=engine, chunk_rows=1000)
    assert not (tmp_path / "out.csv").exists()


def test_ctrl_c_ends_a_cluster_that_was_started_here_without_a_word_of_its_workers(tables, model, tmp_path):
    """It is heard by all processes of a terminal; 2100 chunks of one row take longer than that."""
    options = ["--engine", "dask", "--chunk-rows", "1", "--model", str(model)]
    command = [sys.executable, "utilscli.py", "batch", tables / "in.csv", tmp_path / "out.csv", *options]
    log = tmp_path / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=file, start_new_session=True) as process,
    ):
        part = tmp_path / "out.csv.part"
        try:
            while not (part.exists() and part.stat().st_size > 1000):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(timeout=60) == 1
        finally:
            process.kill()
    assert re.fullmatch(r"\s*Interrupted\..*\s*Aborted!\s*", log.read_text(encoding="utf-8"))


def test_without_a_scheduler_it_exits_with_3_and_names_the_address(tables, model, tmp_path):
    address = f"tcp://127.0.0.1:{free_port()}"
    options = ["--model", model, "--scheduler", address]
    done = run(sys.executable, "utilscli.py", "batch", tables / "in.csv", tmp_path / "out.csv", *options)
    expected = f"Error: The Dask scheduler {address} cannot be reached: Connection refused.\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", expected)


@pytest.mark.long
def test_what_listens_and_is_no_scheduler_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=f"{address} does not answer as a Dask scheduler"):
            connect(address)


@pytest.mark.long
def test_a_cluster_without_workers_is_not_waited_for(tmp_path):
    with started(tmp_path / "cluster") as there, pytest.raises(UnreachableError, match="has no workers, and got none"):
        connect(there.address)


@pytest.mark.parametrize("address", ["nonsense", "gopher://127.0.0.1:70", "tcp://", "127.0.0.1:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(mlib.OptionError, match="is no address of a Dask scheduler, such as tcp://"):
        connect(address)


def test_another_version_of_dask_there_is_refused_and_both_are_named(tables, model, tmp_path):
    import distributed

    path = another(tmp_path / "packages", "distributed", "2020.1.0")
    with started(tmp_path / "cluster", path=path) as there:
        options = ["--model", model, "--scheduler", there.address]
        done = run(sys.executable, "utilscli.py", "batch", tables / "in.csv", tmp_path / "out.csv", *options)
    expected = f"has distributed 2020.1.0, and here it is {distributed.__version__}. Both have to be the same.\n"
    assert (done.returncode, done.stderr) == (1, f"Error: The scheduler {there.address} {expected}")


def test_workers_of_other_versions_or_without_the_code_are_refused(tmp_path):
    with started(tmp_path / "cluster") as there:
        there.work(path=another(tmp_path / "packages", "pyarrow", "1.0"))
        with pytest.raises(mlib.Error, match=r"The worker tcp://.* does not have this project's code"):
            connect(there.address)
        there.lose(0)
        (tmp_path / "packages" / "mlib.py").write_text("__version__ = '0.1'\n")
        for name in ("core", "toolkit"):
            (tmp_path / "packages" / name).symlink_to(ROOT / name)
        there.work(path=tmp_path / "packages")
        named = f"has pyarrow 1.0, and here it is {pa.__version__}. Both have to be the same."
        with pytest.raises(mlib.Error, match=named):
            connect(there.address)
        named = f"has mlib 0.1, and here it is {mlib.__version__}"
        with pytest.raises(mlib.Error, match=named):
            connect(there.address, ("numpy",))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["batch", "a.csv", "b.csv", "--engine", "cores", "--scheduler", "x:1"], "--engine cores uses none"),
        (["retrain", "--scheduler", "x:1"], "give one of them, too"),
    ],
)
def test_options_that_contradict_each_other_are_refused(command, said):
    done = run(sys.executable, "utilscli.py", *command)
    assert done.returncode == 2
    assert said in done.stderr


def test_without_dask_it_says_what_to_install(tmp_path):
    (tmp_path / "distributed.py").write_text("raise ImportError('No module named distributed')\n")
    code = "from toolkit import cluster; cluster.connected().__enter__()"
    done = run(sys.executable, "-c", code, env={**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert done.stderr.endswith(
        "Dask is not installed (No module named distributed): pip install -r requirements/dask.txt\n"
    )
