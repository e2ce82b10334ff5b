"""How are chunks scored on a Dask cluster? As on this machine, to the same bytes, by workers that each have the model.

>>> with engine("tcp://10.0.0.5:8786") as on_workers:
...     summary = batch.score_file("players.parquet", "heights.parquet", engine=on_workers)

Here everything is read, ordered, written and noted for --resume, as ever; workers only score. They get the model once,
as bytes, and text as bytes; of Parquet that they see, too, they read their own row groups. Nothing is sent through the
scheduler where this machine reaches the workers, and to score it needs nothing of this project.

Functions that run where that is not known to be stand within functions: these are sent as code, others by their name.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import os
import socket
import tempfile
import threading
import time
import uuid
import warnings

import mlib
from core import artifact, stream
from toolkit import batch
from toolkit.failures import UnreachableError

INSTALL = "pip install -r requirements/dask.txt"
SCORING = ("numpy", "pyarrow", "onnxruntime")  # what makes the bytes of an output
TRAINING = ("scikit-learn", "numpy", "scipy", "pandas", "joblib")  # what makes those of a model
CONNECT = 5.0  # seconds for a connection
HANDSHAKE = 10.0  # and for the scheduler to say hello
ABSENT = 15.0  # seconds without any worker
LOOK = 2.0  # seconds until it is looked whether there still is one
TRIES = 3  # of a chunk
A_THREAD = 2  # chunks under way: one that is scored, and one that is there when it is done
TOGETHER = 8  # chunks of a file that a worker reads itself, at most
FETCHED = 3  # parts that are brought here before their turn
PREFIX = "mlops-cookbook"


# --------------------------------------------------------------------------------------------------------- connect


@contextlib.contextmanager
def engine(address=None, workers=None):
    """Give the engine for `toolkit.batch.score_file`.

    Parameters
    ----------
    address : str, optional
        Of a scheduler, such as ``tcp://10.0.0.5:8786``; without it a cluster is started here, while it is used.
    workers : int, optional
        Of a cluster here: how many; one for each core unless told.

    Yields
    ------
    function
        Of plan, model and chunks, to what they are scored to.

    Raises
    ------
    toolkit.failures.UnreachableError
        There is no scheduler, or there are no workers.
    mlib.OptionError
        It is no address.
    mlib.Error
        Dask is not installed, or something there is of another version.
    """
    # What cleans up is `connected` itself, also where the caller raises.
    with connected(address, SCORING, workers) as client:  # pylint: disable=contextmanager-generator-missing-cleanup
        yield functools.partial(on_workers, client)


class LostError(UnreachableError):
    """A worker was lost with what fits need."""


def with_fits(address, work, notice=None):
    """Let what joblib runs side by side run on a cluster: the fits of a search, a cross-validation or a comparison.

    Parameters
    ----------
    address : str
        Of the scheduler.
    work : function
        Without arguments. It starts again where a worker is lost with the data that joblib had sent there.
    notice : function, optional
        Called with a text where it starts again.

    Returns
    -------
    object
        What `work` does.

    Raises
    ------
    toolkit.failures.UnreachableError, mlib.OptionError, mlib.Error
        As of `engine`; and workers are lost again and again.
    """
    for attempt in range(1, TRIES + 1):
        try:
            with _fits(address):
                return work()
        except LostError:
            if attempt == TRIES:
                raise
        if notice:
            notice("A worker of the Dask cluster was lost with the data of fits. They start again on the others.")
    return None  # the last try returns or raises


@contextlib.contextmanager
def _fits(address):
    try:
        import joblib
    except ImportError as error:
        raise mlib.Error(f"Training is not installed here ({error}). Try: pip install -r requirements.txt") from error
    with connected(address, TRAINING) as client:
        from distributed.scheduler import KilledWorker

        try:
            with joblib.parallel_config(backend="dask", client=client):
                yield
        except (KilledWorker, concurrent.futures.CancelledError) as error:  # with what joblib had sent there
            raise LostError(
                f"Workers of the Dask cluster at {_address(client)} were lost with the data of fits, {TRIES} times. "
                "Their log tells why."
            ) from error


@contextlib.contextmanager
def connected(address=None, packages=SCORING, workers=None):
    """Connect to a cluster on which the same runs as here; or start one.

    Parameters
    ----------
    address : str, optional
        As of `engine`.
    packages : sequence of str
        Which have to be of the same version there.
    workers : int, optional
        As of `engine`.

    Yields
    ------
    distributed.Client

    Raises
    ------
    toolkit.failures.UnreachableError, mlib.OptionError, mlib.Error
        As of `engine`.
    """
    try:
        import distributed
    except ImportError as error:
        raise mlib.Error(f"Dask is not installed ({error}): {INSTALL}") from error
    with _quiet(), contextlib.ExitStack() as stack:
        if address is None:
            there = stack.enter_context(_started(workers or batch.cores()))
            yield stack.enter_context(distributed.Client(there, set_as_default=False, direct_to_workers=True))
            return
        client = stack.enter_context(_client(address))
        _check(client, address, packages)
        client.direct_to_workers = _is_reached(client)
        yield client


@contextlib.contextmanager
def _quiet():
    """Keep what Dask logs from standard error: what concerns the user is raised."""
    loggers = [logging.getLogger(name) for name in ["distributed", *logging.root.manager.loggerDict]]
    levels = {each: each.level for each in loggers if each.name.split(".")[0] in ("distributed", "tornado")}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextlib.contextmanager
def _started(workers):
    """Start a cluster here that nobody else reaches over the network: a process a worker, with a thread each."""
    import distributed

    with (
        tempfile.TemporaryDirectory(prefix=PREFIX) as folder,
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # of what tells of its health; else all may ask it
            memory_limit=0,  # what is under way is bounded here
            local_directory=folder,
            preload=[
                "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
            ],  # Ctrl-C is told to all: one answers
            silence_logs=logging.CRITICAL + 1,
        ) as cluster,
    ):
        yield cluster


def _client(address):
    """Connect to a scheduler."""
    import distributed
    from distributed.comm import get_address_host_port
    from distributed.comm.registry import get_backend

    try:
        get_backend(address.partition("://")[0] if "://" in address else "tcp")
        host, port = get_address_host_port(address)
    except ValueError as error:
        raise mlib.OptionError(
            f"{address!r} is no address of a Dask scheduler, such as tcp://10.0.0.5:8786: {error}."
        ) from error
    try:
        socket.create_connection((host, port), timeout=CONNECT).close()  # tells at once, and why
    except OSError as error:
        reason = error.strerror or f"no answer within {CONNECT:g} seconds"
        raise UnreachableError(f"The Dask scheduler {address} cannot be reached: {reason}.") from error
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:  # this thread may have a loop of its own
            pool.submit(asyncio.run, _greeted(address)).result()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions, which are looked at next
            return distributed.Client(address, timeout=HANDSHAKE, set_as_default=False)
    except OSError as error:  # a TimeoutError is one
        raise UnreachableError(
            f"{address} does not answer as a Dask scheduler does within {HANDSHAKE:g} seconds. Is that its address, "
            "and is it to be asked by tcp:// or tls://?"
        ) from error


async def _greeted(address):
    """Ask whether somebody there speaks as Dask does; its client would wait for ever for one who is silent."""
    from distributed.comm import connect
    from distributed.security import Security

    asked = connect(address, timeout=HANDSHAKE, **Security().get_connection_args("client"))
    (await asyncio.wait_for(asked, HANDSHAKE)).abort()


def _is_reached(client):
    """Whether this machine reaches the workers themselves, as those of a cluster behind a gate are not."""
    from distributed.comm import connect

    worker = next(iter(client.scheduler_info(n_workers=1)["workers"]), None)

    async def reach():
        comm = await connect(worker, timeout=CONNECT, **client.connection_args)
        comm.abort()

    try:
        client.sync(reach)
    except OSError:
        return False
    return True


# ------------------------------------------------------------------------------------------------- what runs there


def _check(client, address, packages):
    """Raise where something there is not as it is here."""
    said = client.get_versions()  # Dask's own, without code of ours: code does not travel between versions of Python
    here = said["client"]["packages"]
    _compare(f"The scheduler {address}", said["scheduler"]["packages"], here, ("distributed", "python"))
    try:
        client.wait_for_workers(1, timeout=ABSENT)
    except TimeoutError as error:
        raise UnreachableError(
            f"The Dask cluster at {address} has no workers, and got none within {ABSENT:g} seconds. Start some: "
            f"dask worker {address}"
        ) from error
    for worker, told in client.get_versions()["workers"].items():
        _compare(f"The worker {worker}", told["packages"], here, ("distributed", "python"))
    tell = _telling()
    expected = tell(packages)
    found = {f"The worker {worker}": told for worker, told in client.run(tell, packages).items()}
    if packages is TRAINING:  # what joblib sends passes through the scheduler's hands, what is scored does not
        found[f"The scheduler {address}"] = client.run_on_scheduler(tell, packages)
    for who, told in found.items():
        if told["mlib"] is None:
            raise mlib.Error(
                f"{who} does not have this project's code. Start it where mlib.py, core and toolkit are: PYTHONPATH "
                "names their folder."
            )
        _compare(who, told, expected, expected)


def _compare(who, there, here, names):
    """Raise at the first version that is another."""
    for name in names:
        one, other = (_version(name, told.get(name)) for told in (there, here))
        if one != other:
            raise mlib.Error(
                f"{who} has {name} {one}, and here it is {other}. Both have to be the same."
                if one
                else f"{who} does not have {name}, which is {other} here. Install the same there."
            )


def _version(name, text):
    """Of Python 3.13.5.final.0 no more than 3.13."""
    return ".".join(text.split(".")[:2]) if text and name == "python" else text


# What these import, they import there. pylint: disable=reimported


def _telling():
    def tell(packages):
        import hashlib
        import importlib.metadata
        import pathlib

        told = {}
        for name in packages:
            try:
                told[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                told[name] = None
        try:
            import core
            import mlib as library
            import toolkit

            folders = [pathlib.Path(module.__file__).parent for module in (core, toolkit)]
            files = [pathlib.Path(library.__file__), *sorted(folders[0].glob("*.py"))]
            files += [folders[1] / f"{name}.py" for name in ("formats", "parquet", "scoring", "worker")]
            told["mlib"] = library.__version__
            texts = [file.read_bytes().replace(b"\r\n", b"\n") for file in files]
            told["code of this project"] = hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]
        except (ImportError, AttributeError, OSError, TypeError):
            told["mlib"] = None
        return told

    return tell


def _seeing():
    def see(files):
        import hashlib
        import os as system

        seen = []
        for name in files:
            try:
                if "://" in name:
                    import fsspec

                    filesystem, path = fsspec.core.url_to_fs(name)
                    seen.append([filesystem.info(path)["size"]])
                    continue
                with open(name, "rb") as file:
                    size = file.seek(0, system.SEEK_END)
                    file.seek(-min(size, 65536), system.SEEK_END)  # the footer, which tells of all that is in it
                    seen.append([size, hashlib.sha256(file.read()).hexdigest()])
            except Exception:  # pylint: disable=broad-exception-caught  # whatever it is: here it is not seen
                return None
        return seen

    return see


def _scoring():
    def score(name, chunk):
        from distributed import get_worker

        return get_worker().plugins[name].score(chunk)

    return score


# ----------------------------------------------------------------------------------------------------------- score


def on_workers(client, plan, model, chunks):
    """Score chunks on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    plan : toolkit.scoring.Plan
    model : mlib.Model
        Loaded from a file.
    chunks : core.stream.Reading

    Yields
    ------
    toolkit.scoring.Scored
        In the order of the chunks.

    Raises
    ------
    toolkit.failures.UnreachableError
        The scheduler is lost, or all workers.
    mlib.ModelError
        The model's file is another one by now.
    mlib.DataError
        As of `core.stream.chunks`.
    """
    from toolkit.worker import Job

    name = f"{PREFIX} {client.id} {uuid.uuid4().hex}"
    reading = _elsewhere(chunks)
    parts = reading.parts(TOGETHER) if plan.source.format == "parquet" and _is_seen(client, reading) else chunks
    _forget(client)
    client.register_plugin(Job(_content(model), model.form, plan, reading), name=name)
    most = A_THREAD * sum(client.nthreads().values())
    starters = concurrent.futures.ThreadPoolExecutor(2)
    fetchers = concurrent.futures.ThreadPoolExecutor(FETCHED)
    tasks = _Tasks(client, name)
    try:
        started = batch.in_order(parts, lambda part: _Task(tasks, part, starters), lambda _, task: task, most)
        for scored, error in batch.in_order(
            started, lambda task: fetchers.submit(task.result), lambda _, future: future.result(), FETCHED
        ):
            yield from scored
            if error:
                raise error
    finally:
        tasks.end()
        for pool in (starters, fetchers):
            pool.shutdown(wait=True, cancel_futures=True)
        with contextlib.suppress(Exception):  # the scheduler may be what was lost
            client.unregister_worker_plugin(name)


def _elsewhere(chunks):
    """The reading, as another process can do it: by whole names, without what only this one needs."""
    source = chunks.source
    files = [name if stream.is_address(name) or name == "-" else os.path.abspath(name) for name in source.files]
    return stream.Reading(
        dataclasses.replace(source, files=files, head=b"", standard=b""), chunks.rows, chunks.at, chunks.columns
    )


def _is_seen(client, reading):
    """Whether each worker has the very files."""
    see = _seeing()
    here = see(reading.source.files)
    return here is not None and all(there == here for there in client.run(see, reading.source.files).values())


def _content(model):
    """The bytes of the model's file."""
    if model.path is None:
        raise mlib.ModelError("A model goes to workers as its file's bytes, and this one is from no file.")
    read = artifact.read_onnx if model.form == "onnx" else artifact.read_joblib
    content, card, *_ = read(model.path)
    if card["version"] != model.signature.version:
        raise mlib.ModelError(f"{model.path} was written again since it was loaded. Start again.")
    return content


def _forget(client):
    """Let the scheduler forget the models of those who were killed before they could tell it to."""

    def names(dask_scheduler):
        return list(dask_scheduler.worker_plugins), list(dask_scheduler.clients)

    plugins, clients = client.run_on_scheduler(names)
    for plugin in plugins:
        if plugin.startswith(f"{PREFIX} ") and plugin.split(" ")[1] not in clients:
            client.unregister_worker_plugin(plugin)


class _Tasks:
    """What the tasks of a job have in common."""

    def __init__(self, client, name):
        self.client, self.name, self.score = client, name, _scoring()
        self.is_ended, self.futures = False, set()

    def end(self):
        """Let nothing go on."""
        self.is_ended = True
        with contextlib.suppress(Exception):
            self.client.cancel(list(self.futures), force=True)

    def look(self):
        """Raise where there is nobody who would do it.

        Returns
        -------
        bool
            Whether there is a worker.
        """
        if self.client.status != "running":
            raise UnreachableError(f"The Dask scheduler {_address(self.client)} is lost.")
        return bool(self.client.nthreads())


class _Task:
    """A chunk on its way."""

    def __init__(self, tasks, chunk, starters):
        self._tasks, self._chunk, self._future, self._data = tasks, chunk, None, None
        self._starting = starters.submit(self._start)

    def _start(self):
        client, data = self._tasks.client, self._chunk
        if not isinstance(data, tuple):  # a tuple tells where it lies; else it goes to a worker, past the scheduler
            data = self._data = client.scatter(data, direct=client.direct_to_workers, hash=False)
        self._future = client.submit(self._tasks.score, self._tasks.name, data, key=f"{PREFIX}-{uuid.uuid4().hex}")
        self._tasks.futures.add(self._future)

    def result(self):
        """Wait for it; a chunk that was lost with its worker is sent again."""
        from distributed.scheduler import KilledWorker

        for attempt in range(1, TRIES + 1):
            try:
                (self._starting.result if attempt == 1 else self._start)()
                self._wait()
                return self._future.result()
            except KilledWorker as error:
                raise _lost(self._tasks.client) from error
            except (OSError, concurrent.futures.CancelledError, TimeoutError) as error:
                self._tasks.look()
                if self._tasks.is_ended or attempt == TRIES:
                    raise _lost(self._tasks.client) from error
                time.sleep(attempt)
            finally:
                self._tasks.futures.discard(self._future)
        return None  # the last try returns or raises

    def _wait(self):
        done, absent = threading.Event(), 0.0
        self._future.add_done_callback(lambda _: done.set())
        while not done.wait(LOOK):
            absent = 0.0 if self._tasks.look() else absent + LOOK
            if absent > ABSENT:
                raise UnreachableError(f"The Dask cluster at {_address(self._tasks.client)} has no workers any more.")


def _address(client):
    return client.scheduler.address if client.scheduler else "that was"


def _lost(client):
    return UnreachableError(
        f"A chunk was lost with its worker {TRIES} times on the Dask cluster at {_address(client)}. Do the workers "
        "have enough memory? Their log tells; fewer --chunk-rows need less."
    )
