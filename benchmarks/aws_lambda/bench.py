"""What does the function on AWS Lambda cost, beside one of the published shape?  ``make bench-lambda``

``python -m benchmarks.aws_lambda.bench build measure`` does both; ``remove`` removes the images that were built. All
stand on the same base, `BASE`: another can be named by a variable of that name. They run under Lambda's runtime
interface emulator, which that base brings. The raw numbers are in results.json.
"""

import contextlib
import http.client
import os
import random
import re
import statistics
import time
from pathlib import Path

import joblib

from benchmarks import images
from benchmarks.bench import machine, ratio_of
from benchmarks.images import ROOT, NotMeasuredError, docker

HERE = Path(__file__).parent
RECIPE = ROOT / "recipes" / "aws-lambda-sam"
ZIP = RECIPE / ".aws-sam" / "zip"  # what `make zip` packs
BASE = os.environ.get("BASE", "public.ecr.aws/lambda/python:3.13")

TURNS = int(os.environ.get("TURNS", "15"))  # each of fresh containers; one more before them is to warm up
WARM = 500  # invocations with each event, of which p50 and p99 are taken
LIMITED = 100  # invocations with the share of a core that a small function has
POLL = 0.005  # seconds between two questions whether the emulator listens
PATIENCE = 120  # seconds that it may take to, and that an invocation may take

PORT = 8080
INVOKE = "/2015-03-31/functions/function/invocations"
EVENTS = {"row": RECIPE / "payload.json", "gateway": RECIPE / "events" / "api-gateway-v1.json"}
WEIGHT = 200  # pounds, in both events

# Lambda's file system is read-only but for /tmp.
AS_LAMBDA = ("--read-only", "--tmpfs", "/tmp")
# At 512 MB a function has 512/1769 of a core, but while it is initialised.
SMALL = ("--cpus", f"{512 / 1769:.2f}", "--memory", "512m", "--memory-swap", "512m")

# What each is called, the packages that tell what was measured, and how far from model.joblib's its answer may be, in
# inches: rounded to two decimals, or of a model of its own.
IMAGES = {
    "ours": ("ours", ("onnxruntime", "numpy"), 0.005),
    "published": ("the published shape", ("scikit-learn", "pandas"), 0.1),
    "nothing": ("nothing", (), 0.005),
}

# The published limits: of this project, and of Lambda for all that is unpacked.
LARGEST_ZIP, LAMBDAS_ZIP = 180, 250  # MB

# what, the most that ours may be of the published shape's, how it comes from a turn
TARGETS = [
    ("initialisation and first answer", 0.25, lambda turn: turn["first"]),
    ("warm p50, a row as event", 0.5, lambda turn: turn["row"]["p50"]),
    ("warm p50, an event of API Gateway", 0.5, lambda turn: turn["gateway"]["p50"]),
]

# The columns of two tables: what, decimals, how it comes from a turn
START = [
    ("emulator listens, ms", 0, lambda turn: turn["listens"]),
    ("first answer, ms", 0, lambda turn: turn["first"]),
    ("initialisation in it, ms", 0, lambda turn: turn["init"]),
    ("memory, MB", 0, lambda turn: turn["resident"] / 1e6),
]
ANSWERS = [
    ("a row: p50, ms", 2, lambda turn: turn["row"]["p50"]),
    ("p99, ms", 2, lambda turn: turn["row"]["p99"]),
    ("API Gateway's event: p50, ms", 2, lambda turn: turn["gateway"]["p50"]),
    ("p99, ms", 2, lambda turn: turn["gateway"]["p99"]),
    ("a row at 512 MB: mean, ms", 1, lambda turn: turn["small"]),
]


def tag_of(name):
    """Name an image."""
    return f"lambda-bench-{name}"


def build(name):
    """Build an image: ours, or one of a Dockerfile in ``peers``.

    Parameters
    ----------
    name : str
        A name of `IMAGES`.
    """
    if name == "ours":
        images.build_from(RECIPE / "Dockerfile", ROOT, tag_of(name), BASE)
        return
    with images.context_of(HERE / "peers" / name) as context:
        images.build_from(context / "Dockerfile", context, tag_of(name), BASE)


def build_all():
    """Build all images, and the zip file's folder; what cannot be built is told, and is missing later."""
    images.build_all(build, {name: tag_of(name) for name in IMAGES})
    print(f"Making {ZIP.relative_to(ROOT)}", flush=True)
    images.run("make", "-C", RECIPE, "zip")


def remove_all():
    """Remove the images that were built."""
    images.remove_all(map(tag_of, IMAGES))


def zip_size():
    """Bytes of what the zip file unpacks to."""
    if not ZIP.is_dir():
        raise NotMeasuredError(f"{ZIP} is missing, build first")
    return sum(path.lstat().st_size for path in ZIP.rglob("*") if path.is_file())


@contextlib.contextmanager
def running(name):
    """Run an image under the emulator, until that listens; it starts the function with the first invocation.

    Parameters
    ----------
    name : str
        A name of `IMAGES`.

    Yields
    ------
    str, http.client.HTTPConnection, float
        The container, a connection to its emulator, and the seconds that these took.
    """
    before = time.perf_counter()
    container = docker("run", "--detach", *AS_LAMBDA, "--publish", f"127.0.0.1::{PORT}", tag_of(name)).strip()
    try:
        port = images.port_of(container, PORT)
        while not listens(port):
            if time.perf_counter() - before > PATIENCE:
                raise NotMeasuredError(f"{name} does not listen: {images.logs_of(container)[-1000:]}")
            time.sleep(POLL)
        seconds = time.perf_counter() - before
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            yield container, connection, seconds
    finally:
        docker("rm", "--force", "--volumes", container)


def listens(port):
    """Ask the emulator for a page that it has not, which invokes nothing; whether it answers."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 404
        except (OSError, http.client.HTTPException):
            return False


def invoke(connection, event, right, off):
    """Invoke the function, and hold its answer against the model's.

    Parameters
    ----------
    connection : http.client.HTTPConnection
        It is kept: it stays open.
    event : bytes
    right : float
        The model's answer, in inches.
    off : float
        How far from it the function's may be.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    NotMeasuredError
        It answers something else, or not at all.
    """
    before = time.perf_counter()
    try:
        connection.request("POST", INVOKE, event, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise NotMeasuredError(f"the function did not answer: {error}") from error
    seconds = time.perf_counter() - before
    if not any(abs(float(number) - right) <= off for number in re.findall(rb"\d+\.\d+", answer)):
        raise NotMeasuredError(f"the function answered {answer[:200]}, expected {right}")
    return seconds


def turn_of(name, events, right):
    """Measure a container of an image, from its start to its end.

    Parameters
    ----------
    name : str
        A name of `IMAGES`.
    events : dict of str to bytes
    right : float

    Returns
    -------
    dict
        Milliseconds but for the last: ``listens``, from `docker run` to an emulator that listens; ``first``, of the
        invocation that initialises the function; ``init`` of that, as the emulator logs it; ``p50`` and ``p99`` of
        each event; ``small``, of an invocation with the share of a core that 512 MB have, on average; ``resident``,
        the most bytes that the function had in memory.
    """
    *_, off = IMAGES[name]
    with running(name) as (container, connection, seconds):

        def took(event):
            return invoke(connection, events[event], right, off) * 1e3

        found = {"listens": seconds * 1e3, "first": took("row"), "init": initialisation_of(container)}
        for event in events:
            times = [took(event) for _ in range(WARM)]
            found[event] = {"p50": statistics.median(times), "p99": statistics.quantiles(times, n=100)[98]}
        found["resident"] = resident(container)
        docker("update", *SMALL, container)
        found["small"] = statistics.mean(took("row") for _ in range(LIMITED))
    return found


def initialisation_of(container):
    """Milliseconds of the initialisation, which the emulator logs (its REPORT has another, which ends too soon)."""
    logged = re.search(r"INIT REPORT\(durationMs: ([\d.]+)\)", images.logs_of(container))
    if not logged:
        raise NotMeasuredError(f"the emulator logs no INIT REPORT: {images.logs_of(container)[-1000:]}")
    return float(logged[1])


def resident(container):
    """Most bytes that a process of a container had in memory: its function's, as the emulator has far less."""
    peaks = "import glob; print(*(open(one).read() for one in glob.glob('/proc/[1-9]*/status')))"
    asked = docker("exec", container, "python3", "-c", peaks)
    return max(int(kilobytes) * 1024 for kilobytes in re.findall(r"VmHWM:\s+(\d+) kB", asked))


def turns():
    """Measure all images, turn by turn; each turn in another order.

    Returns
    -------
    dict of str to list of dict
        The turns of each image.
    """
    right = float(joblib.load(ROOT / "model.joblib").predict([[WEIGHT]])[0])
    events = {name: path.read_bytes() for name, path in EVENTS.items()}
    found = {name: [] for name in IMAGES}
    for turn in range(TURNS + 1):
        for name in random.Random(turn).sample(list(IMAGES), len(IMAGES)):
            try:
                measured = turn_of(name, events, right)
            except NotMeasuredError as error:
                raise NotMeasuredError(f"{name}: {error}") from error
            if turn:
                found[name].append(measured)
            first, warm = measured["first"], measured["row"]["p50"]
            print(f"{first:8.0f} ms to the first answer, {warm:6.2f} ms warm, {name}, turn {turn}", flush=True)
    return found


def measure():
    """Measure all images, and write results.json and README.md."""
    results = {"machine": machine(), "docker": docker("version", "--format", "{{.Server.Version}}").strip()}
    results |= images.sizes(BASE, {name: (tag_of(name), packages) for name, (_, packages, _) in IMAGES.items()})
    if results["missing"]:
        raise NotMeasuredError(f"{', '.join(results['missing'])} missing, build first: {results['missing']}")
    results["zip"] = zip_size()
    results["turns"] = turns()
    images.write(HERE, results, report(results))


def ratio(turns_of, of, less=None):
    """Take the ratio of ours over the published shape's in each turn; give the median.

    Parameters
    ----------
    turns_of : dict of str to list of dict
        The turns of each image.
    of : callable
        Takes a number from a turn.
    less : str, optional
        The image whose number of the same turn is taken off both.

    Returns
    -------
    float
    """
    common = [of(turn) if less else 0 for turn in turns_of[less or "ours"]]
    ours, published = (
        [of(turn) - off for turn, off in zip(turns_of[name], common, strict=True)] for name in ("ours", "published")
    )
    return ratio_of(ours, published)


def table_of(columns, turns_of):
    """Make a table of the medians of each image's turns."""
    lines = [f"| function | {' | '.join(what for what, _, _ in columns)} |", "| --- |" + " ---: |" * len(columns)]
    for name, (what, *_) in IMAGES.items():
        cells = [f"{statistics.median(map(of, turns_of[name])):,.{decimals}f}" for _, decimals, of in columns]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return lines


def report(results):
    """Make the tables: what was aimed at, the start, the answers, and where the size is.

    Parameters
    ----------
    results : dict

    Returns
    -------
    list of str
    """
    found, turns_of = results["images"], results["turns"]
    size_ratio, megabytes = found["ours"]["added"] / found["published"]["added"], results["zip"] / 1e6
    rows = [
        (f"{what}, over the published shape's", most, ratio(turns_of, of), f"{ratio(turns_of, of, 'nothing'):.2f}")
        for what, most, of in TARGETS
    ]
    rows.append(("size that it adds to the base, over the published shape's", 0.5, size_ratio, ""))
    rows.append((f"what the zip file unpacks to, MB, of {LAMBDAS_ZIP} that Lambda takes", LARGEST_ZIP, megabytes, ""))
    lines = ["| what | target | measured | | less nothing's time |", "| --- | --- | --- | --- | --- |"]
    for what, most, value, net in rows:
        is_met = "met" if value <= most else "**missed**"
        lines.append(f"| {what} | at most {most:g} | {value:.{2 if most < 1 else 0}f} | {is_met} | {net} |")
    lines += ["", *table_of(START, turns_of), "", *table_of(ANSWERS, turns_of)]
    lines += ["", "| function | adds to the base, MB | its largest, MB | measured |", "| --- | ---: | --- | --- |"]
    for name in ("ours", "published"):
        versions = ", ".join(map(" ".join, found[name]["versions"].items()))
        cells = [
            IMAGES[name][0],
            f"{found[name]['added'] / 1e6:,.0f}",
            images.largest(found[name]["packages"]),
            versions,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", images.measured_on(results)]


PARTS = {"build": build_all, "measure": measure, "remove": remove_all}


if __name__ == "__main__":
    images.do(PARTS)
