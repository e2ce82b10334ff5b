"""How fast is the web service, beside plain programs and other servers?  ``make bench-serving`` measures all of it.

``python -m benchmarks.serving.bench rates many memory start size`` measures those parts that are named. The server has
one core, the load (wrk, 8 connections) another. Whatever is compared is measured in turns; of each turn a ratio is
taken, and the median of the turns' ratios is what the table shows. The raw numbers are in results.json.
"""

import contextlib
import http.client
import importlib.metadata
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import psutil
import requests

from benchmarks.bench import machine, ratio_of
from benchmarks.serving.servers import ANSWER, HERE, ROW, SERVERS, VENVS

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
CONNECTIONS = 8

TURNS = 5  # of the rates, each of a fresh process
SECONDS, WARM_UP = 4, 2  # of each turn
STARTS = 15

READY = "/health/ready"
IMPORTS = "import flask, onnxruntime"

FEW, MANY = 10_000, 1_000_000  # requests, between which memory may not grow

PATIENCE = 60  # seconds that a server may take to start, and to end


class NotMeasuredError(Exception):
    """What was to be measured is not there, or does not answer as it should."""


def free_ports(count):
    """Find ports on loopback that nothing listens on.

    Parameters
    ----------
    count : int

    Returns
    -------
    list of int
    """
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in listening]


def start(server, port, spare, log):
    """Start a server on its core.

    Parameters
    ----------
    server : Server
    port, spare : int
        Where it is to listen; a second port for a server that wants two.
    log : file
        Takes what it prints.

    Returns
    -------
    psutil.Popen

    Raises
    ------
    NotMeasuredError
        Its environment is not there.
    """
    folder = VENVS / server.env
    if not (folder / "installed.txt").exists():
        failed = VENVS / f"{server.env}.failed.txt"
        why = failed.read_text("utf-8") if failed.exists() else "python -m benchmarks.serving.setup installs it"
        raise NotMeasuredError(f"not installed: {why}")
    program, *args = server.command.format(port=port, spare=spare).split()
    return psutil.Popen(
        ["taskset", "-c", str(SERVER_CORE), folder / "bin" / program, *args],
        cwd=server.folder,
        env=environment(server, port, spare),
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def environment(server, port, spare):
    """Make a server's variables; its environment's programs come first, and Python keeps its bytecode."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "MLOPS_MODEL")}
    own = {name: value.format(port=port, spare=spare) for name, value in server.environment.items()}
    return inherited | {"PATH": f"{VENVS / server.env / 'bin'}:{os.environ['PATH']}"} | own


def stop(process):
    """End a server and all that it started, by their ids; some leave their children behind.

    Parameters
    ----------
    process : psutil.Popen
    """
    tree = tree_of(process)
    process.terminate()
    psutil.wait_procs([process], timeout=PATIENCE)
    for left in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    psutil.wait_procs(tree)


def tree_of(process):
    """List a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return [process]


@contextlib.contextmanager
def running(server):
    """Run a server, and make sure that it answers what it should.

    Parameters
    ----------
    server : Server

    Yields
    ------
    str, psutil.Popen
        The URL that predicts, and the process.

    Raises
    ------
    NotMeasuredError
        It is not installed, does not start, or answers something else.
    """
    port, spare = free_ports(2)
    url = f"http://127.0.0.1:{port}{server.path}"
    with tempfile.TemporaryFile("w+") as log:
        process = start(server, port, spare, log)
        try:
            check_answer(url, server.body, process)
            yield url, process
        except NotMeasuredError as error:
            log.seek(0)
            raise NotMeasuredError(f"{error} {log.read()[-1000:]}".strip()) from error
        finally:
            stop(process)


def check_answer(url, body, process):
    """Wait until a server answers, and hold the answer against the model's."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        with contextlib.suppress(requests.ConnectionError):
            answer = requests.post(url, json=body, timeout=PATIENCE)
            if answer.status_code == 200:
                numbers = map(float, re.findall(r"\d+\.\d+", answer.text))
                if any(abs(number - ANSWER) < 0.01 for number in numbers):
                    return
            if answer.status_code not in (404, 503):  # those two are what a server says that is still loading
                raise NotMeasuredError(f"it answered {answer.status_code}: {answer.text[:200]}")
        time.sleep(0.05)
    raise NotMeasuredError("it did not start")


def load(url, body, seconds=SECONDS, most=None):
    """Ask a server over and over, from the other core.

    Parameters
    ----------
    url : str
    body : object
        What is posted, as JSON.
    seconds : int
    most : int, optional
        Requests after which to stop before the seconds are over.

    Returns
    -------
    dict
        ``requests``, ``seconds``, ``p50_ms`` and ``p99_ms``.

    Raises
    ------
    NotMeasuredError
        A request failed, or was not answered with success.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as posted:
        json.dump(body, posted)
        posted.flush()
        command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s"]
        command += ["-s", HERE / "load.lua", url, "--", posted.name, *([most] if most else [])]
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    if measured.pop("failed"):
        raise NotMeasuredError(f"requests failed: {done.stdout}")
    return measured


def rate_of(measured):
    """Requests a second."""
    return measured["requests"] / measured["seconds"]


def cpu_seconds(process):
    """What a server and all that it started have used of the processor, which no neighbour disturbs."""
    times = [one.cpu_times() for one in tree_of(process)]
    return sum(one.user + one.system for one in times)


def rates():
    """One row a request, of every server: turns of a fresh process, warmed up, then measured."""
    found = {name: [] for name in SERVERS}
    missing = {}
    for turn in range(1, TURNS + 1):
        for name, server in SERVERS.items():
            if name in missing:
                continue
            try:
                with running(server) as (url, process):
                    load(url, server.body, WARM_UP)
                    busy = cpu_seconds(process)
                    measured = load(url, server.body)
                    measured["cpu_us"] = (cpu_seconds(process) - busy) / measured["requests"] * 1e6
                    found[name].append(measured)
            except NotMeasuredError as error:
                missing[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
            else:
                print(f"{rate_of(found[name][-1]):10,.0f}  requests a second, {name}, turn {turn}", flush=True)
    return {"turns": {name: turns for name, turns in found.items() if name not in missing}, "missing": missing}


def many():
    """Rows a second of 1,000 rows in a request, and of one; the same process, in turns."""
    found = [], []
    with running(SERVERS["ours"]) as (url, _):
        for turn in range(TURNS + 1):  # the first is to warm up
            for rows, of_turns in zip((1000, 1), found, strict=True):
                rate = rows * rate_of(load(url, [ROW] * rows if rows > 1 else ROW))
                if turn:
                    of_turns.append(rate)
    return found


def memory():
    """Resident memory of our server, all its processes together, after 1,000,000 requests and after 10,000; bytes."""
    server, sent, resident = SERVERS["ours"], 0, []
    with running(server) as (url, process):
        for count in (FEW, MANY):
            while count - sent > 2 * CONNECTIONS:  # those under way when it stops are not counted
                sent += load(url, server.body, 1 if count == FEW else 5, count - sent)["requests"]
            resident.append(sum(one.memory_info().rss for one in tree_of(process)))
    return [resident[1]], [resident[0]]


def starts():
    """Seconds from the start of our server until it is ready, and of a process that imports what it needs; in turns."""
    found = [], []
    python = ["taskset", "-c", str(SERVER_CORE), VENVS / SERVERS["ours"].env / "bin" / "python"]
    for turn in range(STARTS + 1):  # the first is to warm up
        ready = time_to_ready()
        before = time.perf_counter()
        subprocess.run([*python, "-c", IMPORTS], check=True, env=environment(SERVERS["ours"], 0, 0))
        imported = time.perf_counter() - before
        if turn:
            found[0].append(ready)
            found[1].append(imported)
    return found


def time_to_ready():
    """Start our server, and time it until it says that it is ready."""
    port, spare = free_ports(2)
    with tempfile.TemporaryFile() as log:
        before = time.perf_counter()
        process = start(SERVERS["ours"], port, spare, log)
        try:
            seconds = 0
            while seconds < PATIENCE and process.poll() is None:
                status = status_of(port, READY)
                seconds = time.perf_counter() - before
                if status == 200:
                    return seconds
                if status not in (None, 503):
                    raise NotMeasuredError(f"{READY} answers {status}")
                time.sleep(0.001)
            raise NotMeasuredError(f"{READY} did not answer, within {seconds:.0f} s")
        finally:
            stop(process)


def status_of(port, path):
    """Ask once; the status, or nothing where nothing listens yet."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None


def sizes():
    """Megabytes of each environment's packages, without what Python compiles; and the version of what is measured."""
    found = {}
    for name, server in SERVERS.items():
        for site in (VENVS / server.env).glob("lib/python*/site-packages"):
            files = [path for path in site.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
            (package,) = importlib.metadata.distributions(name=server.package, path=[str(site)])
            found[name] = {
                "megabytes": sum(path.lstat().st_size for path in files) / 1e6,
                "version": f"{server.package} {package.version}",
            }
    return found


PARTS = {"rates": rates, "many": many, "memory": memory, "start": starts, "size": sizes}


def over(results, other, of=rate_of):
    """The ratio of our server's rate, or of something else of a turn, over another server's; nothing without it."""
    turns = results.get("rates", {}).get("turns", {})
    return ratio_of(map(of, turns["ours"]), map(of, turns[other])) if {"ours", other} <= set(turns) else None


def best_peer(results):
    """The name of the other project's server that answers most requests a second."""
    turns = results.get("rates", {}).get("turns", {})
    peers = [name for name in turns if SERVERS[name].peer]
    return max(peers, key=lambda name: statistics.median(map(rate_of, turns[name])), default=None)


def ratio_in(part):
    """Return what takes the ratio of a part that was measured as a pair."""
    return lambda results: None if "missing" in results.get(part, ["missing"]) else ratio_of(*results[part])


# what, "at least" or "at most", target, how it comes from the results
TARGETS = [
    (
        "rows a second, one row a request, over the best of the peers",
        "at least",
        10,
        lambda results: over(results, best_peer(results)),
    ),
    ("the same over FastAPI with ONNX Runtime", "at least", 2, lambda results: over(results, "fastapi_onnx")),
    (
        "the same over the do-nothing WSGI app on the same server",
        "at least",
        0.35,
        lambda results: over(results, "nothing_wsgi"),
    ),
    (
        "p99 latency, over that of the do-nothing WSGI app",
        "at most",
        4,
        lambda results: over(results, "nothing_wsgi", lambda turn: turn["p99_ms"]),
    ),
    ("1,000 rows in a request: rows a second, over one row a request", "at least", 50, ratio_in("many")),
    ("memory after 1,000,000 requests, over after 10,000", "at most", 1.05, ratio_in("memory")),
    ("from start to ready, over a process that imports flask and onnxruntime", "at most", 1.5, ratio_in("start")),
]


def targets_table(results):
    """Make the table of what was promised."""
    lines = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    for what, side, target, ratio_from in TARGETS:
        ratio = ratio_from(results)
        if ratio is None:
            lines.append(f"| {what} | {side} {target:g} | | not measured |")
            continue
        is_met = ratio >= target if side == "at least" else ratio <= target
        lines.append(f"| {what} | {side} {target:g} | {ratio:.2f} | {'met' if is_met else '**missed**'} |")
    return lines


def servers_table(results):
    """Make the table of the servers: medians of the turns, the quickest first."""
    found = results.get("rates", {"turns": {}, "missing": {}})
    lines = [
        "| server | requests/s | ours over it | p50, ms | p99, ms | CPU a request, µs | packages, MB | measured |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    medians = {
        name: {"rate": statistics.median(map(rate_of, turns))}
        | {key: statistics.median(turn[key] for turn in turns) for key in ("p50_ms", "p99_ms", "cpu_us")}
        for name, turns in found["turns"].items()
    }
    for name, median in sorted(medians.items(), key=lambda item: -item[1]["rate"]):
        ratio, size = over(results, name), results.get("size", {}).get(name)
        cells = [SERVERS[name].what, f"{median['rate']:,.0f}", f"{ratio:.2f}" if ratio else ""]
        cells += [f"{median['p50_ms']:.2f}", f"{median['p99_ms']:.2f}", f"{median['cpu_us']:,.0f}"]
        cells += [f"{size['megabytes']:.0f}", size["version"]] if size else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    for name, why in found["missing"].items():
        lines.append(f"| {SERVERS[name].what} | | | | | | | not measured: {' '.join(why.split())[:200]} |")
    return lines


def write_readme(results):
    """Put both tables and the machine into README.md, between its two marks."""
    about = results["machine"]
    lines = [
        *targets_table(results),
        "",
        *servers_table(results),
        "",
        f"Measured on {about['processor']}, {about['cores']} cores, {about['memory_gb']} GB, {about['system']}.",
    ]
    path = HERE / "README.md"
    before, mark, rest = path.read_text(encoding="utf-8").partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end -->")
    path.write_text(before + mark + "\n".join(lines) + "\n" + end + after, encoding="utf-8")


def main():
    """Measure all parts, or those that are named, and write the results."""
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown:
        sys.exit(f"There is no part {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}.")
    if not shutil.which("wrk"):
        sys.exit("wrk, which makes the load, is missing; on Debian and Ubuntu: apt-get install wrk")
    if SERVER_CORE == LOAD_CORE:
        sys.exit("There is one core; expected two, one for the server and one for the load.")
    path = HERE / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() and sys.argv[1:] else {}
    results["machine"] = machine()
    os.sched_setaffinity(0, {LOAD_CORE})  # what measures is on the side of the load
    for name in sys.argv[1:] or PARTS:
        try:
            results[name] = PARTS[name]()
        except NotMeasuredError as error:
            results[name] = {"missing": str(error)}
            print(f"{name}: {error}", file=sys.stderr)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        write_readme(results)
    print(*targets_table(results), "", *servers_table(results), sep="\n")


if __name__ == "__main__":
    main()
