"""Does the service lose requests while things change under it?

    python tests/steady.py --swaps 50 --kills 20 --restarts 10

Eight clients ask without a pause, over connections that are kept, and never ask twice. Meanwhile the model is replaced,
a worker is killed, or the server is ended by SIGTERM and started again. It prints what was asked and what failed.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import mlib  # noqa: E402  # pylint: disable=wrong-import-position  # a program of its own: the root is not on its path

CLIENTS = 8
BODY = b'{"Weight": 200}'
HEADERS = {"Content-Type": "application/json"}
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execv(sys.executable, [sys.executable, "app.py"])
"""


class Load:
    """Clients that ask, one request after the other, until they are told to stop.

    Parameters
    ----------
    port : int
    expected : set of bytes
        Answers that are right.

    Attributes
    ----------
    asked : int
    failed : list of tuple
        When the request began, when it failed (seconds), and how.
    """

    def __init__(self, port, expected):
        self.port, self.expected = port, expected
        self.asked, self.failed, self.versions = 0, [], set()
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._stop.is_set():
            began = time.monotonic()
            if connection.sock is not None and _is_closed(connection.sock):
                connection.close()  # the server has ended it, which any client library sees
            try:
                connection.request("POST", "/predict", BODY, HEADERS)
                response = connection.getresponse()
                body = response.read()
                wrong = None if response.status == 200 and body in self.expected else f"{response.status} {body[:80]}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                wrong = repr(error)
            with self._lock:
                self.asked += 1
                if wrong:
                    self.failed.append((began, time.monotonic(), wrong))
            if wrong is None:
                self.versions.add(response.headers["X-Model-Version"])
            time.sleep(0.002)
        connection.close()


def _is_closed(sock):
    """Whether the server has ended a connection on which nothing was asked."""
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.settimeout(30)


@contextlib.contextmanager
def served(folder, sock, workers=1):
    """Run the service on a socket that outlives it; give a function that starts it, and what runs."""
    env = {
        **os.environ,
        "MLOPS_MODEL": str(folder / "model.joblib"),
        "WEB_CONCURRENCY": str(workers),
        "LISTEN_FDS": "1",
    }
    processes = []

    def start():
        with open(folder / "log", "ab") as log:
            command = [sys.executable, "-c", AS_SYSTEMD, str(sock.fileno())]
            options = {"cwd": ROOT, "env": env, "stderr": log, "pass_fds": [sock.fileno()]}
            process = subprocess.Popen(command, **options)  # pylint: disable=consider-using-with  # it outlives this
        processes.append(process)
        return process

    try:
        start()
        wait_until(lambda: ask(sock) == 200)
        yield start, processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


def ask(sock):
    """Ask whether the service is ready; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", sock.getsockname()[1], timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        response.read()
        return response.status


def wait_until(condition, seconds=60):
    """Wait until something holds; return how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise TimeoutError("it never held")
        time.sleep(0.01)
    return time.monotonic() - began


def wire_answer(model):
    """What the service answers with a model, as it sends it."""
    return json.dumps({"prediction": mlib.predict(200, model)}, separators=(",", ":")).encode() + b"\n"


def put(model, folder):
    """Replace the model as `retrain` does: first the one file, then the other."""
    for suffix in (".joblib", ".onnx"):
        shutil.copy(model.with_suffix(suffix), folder / "new.tmp")
        os.replace(folder / "new.tmp", folder / f"model{suffix}")


@contextlib.contextmanager
def prepared():
    """Give a folder with two models, `a` and `b`, and a copy of `a` that is served; and a listening socket."""
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0), backlog=256) as sock:
        folder = Path(name)
        mlib.retrain(model_name=folder / "a.joblib")
        mlib.retrain(model_name=folder / "b.joblib", tsize=0.4)
        put(folder / "a.joblib", folder)
        yield folder, sock


def swap(count):
    """Replace the model under load.

    Parameters
    ----------
    count : int
        How often.

    Returns
    -------
    dict
        ``asked``, ``failed``, and how long a new model took to answer, in seconds: ``median`` and ``slowest``.
    """
    with prepared() as (folder, sock), served(folder, sock):
        models = [folder / "b.joblib", folder / "a.joblib"]
        took = []
        with Load(sock.getsockname()[1], {wire_answer(model) for model in models}) as load:
            for model in itertools.islice(itertools.cycle(models), count):
                version = mlib.Signature.read(model).version
                put(model, folder)
                load.versions.clear()
                took.append(wait_until(lambda version=version: version in load.versions))
        took = took or [0.0]
        return {"asked": load.asked, "failed": load.failed, "median": statistics.median(took), "slowest": max(took)}


def kill(count):
    """Kill a worker with SIGKILL under load, each time when all are up again.

    Parameters
    ----------
    count : int
        How often.

    Returns
    -------
    dict
        ``asked``, ``failed`` (requests that were under way when a worker died), and ``lost``: those that were not.
    """
    with prepared() as (folder, sock), served(folder, sock, workers=2) as (_, (process,)):
        wait_until(lambda: len(workers_of(process.pid)) == 2)
        killed = []
        with Load(sock.getsockname()[1], {wire_answer(folder / "a.joblib")}) as load:
            for _ in range(count):
                time.sleep(0.5)
                victim = workers_of(process.pid)[0]
                began = time.monotonic()
                kill_whole(victim)
                killed.append((began, time.monotonic()))
                wait_until(
                    lambda victim=victim: len(workers_of(process.pid)) == 2 and victim not in workers_of(process.pid)
                )
                started = f"Started server process [{workers_of(process.pid)[-1]}]"
                wait_until(lambda started=started: started in (folder / "log").read_text(encoding="utf-8"))
        lost = [each for each in load.failed if not any(each[0] <= end and began <= each[1] for began, end in killed)]
        return {"asked": load.asked, "failed": load.failed, "lost": lost}


def kill_whole(pid):
    """Kill a process, and wait until all of its threads, and with them its connections, are gone."""
    ends = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([ends], [], [], 60)
    os.close(ends)


def workers_of(pid):
    """The workers of a server: children that serve."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    found = []
    for child in children:
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command and not re.search(rb"resource_tracker", command):
                found.append(int(child))
    return sorted(found)


def restart(count):
    """End the server by SIGTERM under load, and start it again; the socket is held meanwhile, as by systemd.

    Parameters
    ----------
    count : int
        How often.

    Returns
    -------
    dict
        ``asked``, ``failed``.
    """
    with prepared() as (folder, sock), served(folder, sock) as (start, processes):
        with Load(sock.getsockname()[1], {wire_answer(folder / "a.joblib")}) as load:
            for _ in range(count):
                time.sleep(0.5)
                processes[-1].terminate()
                processes[-1].wait(timeout=60)
                start()
            wait_until(lambda: ask(sock) == 200)
        return {"asked": load.asked, "failed": load.failed}


@click.command()
@click.option("--swaps", default=50, show_default=True, help="How often the model is replaced.")
@click.option("--kills", default=20, show_default=True, help="How often a worker is killed.")
@click.option("--restarts", default=10, show_default=True, help="How often the server is ended and started.")
def main(swaps, kills, restarts):
    """Show whether the service loses requests while things change under it."""
    for what, count in ((swap, swaps), (kill, kills), (restart, restarts)):
        told = what(count)
        more = "".join(
            f", {name} {value if isinstance(value, float) else len(value)}"
            for name, value in told.items()
            if name not in ("asked", "failed")
        )
        print(
            f"{what.__name__:8} {count:3} times: {told['asked']:,} asked, {len(told['failed'])} failed{more}",
            flush=True,
        )
        for began, ended, wrong in told["failed"][:20]:
            print(f"    began {began:.3f}, failed after {ended - began:.3f} s: {wrong}")


if __name__ == "__main__":
    main()  # pylint: disable=no-value-for-parameter  # click's to give
