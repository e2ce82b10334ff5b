"""How large is the image, and how soon does it answer, beside what others generate?  ``make bench-containers``

``python -m benchmarks.containers.bench build measure`` does both; ``remove`` removes the images that were built. All
stand on the same base, `BASE`: another can be named by a variable of that name. The raw numbers are in results.json.
"""

import contextlib
import http.client
import json
import os
import random
import re
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import joblib

from benchmarks import images
from benchmarks.bench import machine, ratio_of
from benchmarks.images import ROOT, NotMeasuredError, docker

HERE = Path(__file__).parent
BASE = os.environ.get("BASE", "python:3.13-slim")

TURNS = 15  # of starts, each of a fresh container; one more before them is to warm up
POLL = 0.005  # seconds between two questions
PATIENCE = 120  # seconds that a container may take to answer

ROW = {"Weight": 200}

# Docker's own time, and Python's: the base answers any request with the right bytes.
NOTHING = """
import socket
server = socket.create_server(("", 8080))
while True:
    connection, _ = server.accept()
    if connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\n73.23")
    connection.close()
"""


@dataclass(frozen=True)
class Image:
    """An image that is measured.

    Parameters
    ----------
    what : str
        Its name in the table.
    packages : tuple of str
        Those that tell what was measured.
    port : int
        Where it listens.
    path : str
        Where it predicts.
    body : object
        One row, as it wants it; JSON.
    generated : bool
        Whether another program generates its Dockerfile; that of its folder in ``peers`` then makes it do so.
    """

    what: str
    packages: tuple
    port: int = 8080
    path: str = "/predict"
    body: object = field(default_factory=lambda: ROW)
    generated: bool = False


IMAGES = {
    "ours": Image("ours", ("onnxruntime", "flask", "uvicorn")),
    "published": Image("the chapter's Dockerfile", ("scikit-learn", "pandas", "flask")),
    "mlflow": Image(
        "MLflow's", ("mlflow", "scikit-learn"), 8080, "/invocations", {"inputs": [[200.0]]}, generated=True
    ),
    "bentoml": Image("BentoML's", ("bentoml", "scikit-learn"), port=3000, generated=True),
}


def tag_of(name):
    """Name an image."""
    return f"containers-bench-{name}"


def build(name):
    """Build an image: ours, one of a Dockerfile in ``peers``, or one of what is generated there.

    Parameters
    ----------
    name : str
        A name of `IMAGES`.
    """
    if name == "ours":
        images.build_from(ROOT / "Dockerfile", ROOT, tag_of(name), BASE)
        return
    with images.context_of(HERE / "peers" / name) as context:
        if not IMAGES[name].generated:
            images.build_from(context / "Dockerfile", context, tag_of(name), BASE)
            return
        images.build_from(context / "Dockerfile", context, tag_of(f"{name}-generator"), BASE)
        with tempfile.TemporaryDirectory() as temporary:
            generated = Path(temporary) / "generated"
            container = docker("create", tag_of(f"{name}-generator")).strip()
            try:
                docker("cp", f"{container}:/image", generated)
            finally:
                docker("rm", container)
            images.build_from(generated / "Dockerfile", generated, tag_of(name), BASE)


def build_all():
    """Build all images; what cannot be built is told, and is missing later."""
    images.build_all(build, {name: tag_of(name) for name in IMAGES})


def remove_all():
    """Remove the images that were built, and what generated them."""
    generators = [f"{name}-generator" for name, image in IMAGES.items() if image.generated]
    images.remove_all(map(tag_of, [*IMAGES, *generators]))


def ask(port, image):
    """Ask once, for a row; the answer's text, or nothing where there is no good answer yet."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        try:
            connection.request("POST", image.path, json.dumps(image.body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None
    return text if answer.status == 200 else None


def time_to_answer(name, right):
    """Time from ``docker run`` to the first answer, and hold that against the model's.

    Parameters
    ----------
    name : str
        A name of `IMAGES`, or ``"nothing"``.
    right : float
        The model's answer; an image may round it to two decimals.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    NotMeasuredError
        It answers something else, or not at all.
    """
    image = IMAGES.get(name, IMAGES["ours"])
    what = (BASE, "python3", "-c", NOTHING) if name == "nothing" else (tag_of(name),)
    before = time.perf_counter()
    container = docker("run", "--detach", "--publish", f"127.0.0.1::{image.port}", *what).strip()
    try:
        port = images.port_of(container, image.port)
        while (seconds := time.perf_counter() - before) < PATIENCE:
            text = ask(port, image)
            if text is not None:
                seconds = time.perf_counter() - before
                numbers = [float(number) for number in re.findall(r"\d+\.\d+", text)]
                if not any(abs(number - right) < 1e-6 or number == round(right, 2) for number in numbers):
                    raise NotMeasuredError(f"{name} answered {text[:200]}, expected {right}")
                return seconds
            time.sleep(POLL)
        raise NotMeasuredError(f"{name} did not answer within {seconds:.0f} s: {images.logs_of(container)[-1000:]}")
    finally:
        docker("rm", "--force", "--volumes", container)


def starts(names):
    """Seconds to the first answer of each image, turn by turn; each turn in another order.

    Parameters
    ----------
    names : list of str

    Returns
    -------
    dict of str to list of float
    """
    right = float(joblib.load(ROOT / "model.joblib").predict([[ROW["Weight"]]])[0])
    found = {name: [] for name in names}
    for turn in range(TURNS + 1):
        for name in random.Random(turn).sample(names, len(names)):
            seconds = time_to_answer(name, right)
            if turn:
                found[name].append(seconds)
            print(f"{seconds:8.3f} s to the first answer, {name}, turn {turn}", flush=True)
    return found


def measure():
    """Measure all images that are there, and write results.json and README.md."""
    results = {"machine": machine(), "docker": docker("version", "--format", "{{.Server.Version}}").strip()}
    results |= images.sizes(BASE, {name: (tag_of(name), image.packages) for name, image in IMAGES.items()})
    if len(results["images"]) < 2 or "ours" in results["missing"]:
        raise NotMeasuredError(f"{', '.join(results['missing'])} missing, build first: {results['missing']}")
    results["seconds"] = starts([*results["images"], "nothing"])
    images.write(HERE, results, report(results))


def report(results):
    """Make the tables: what was aimed at, each image, and where its size is.

    Parameters
    ----------
    results : dict

    Returns
    -------
    list of str
    """
    found, seconds = results["images"], results["seconds"]
    peers = [name for name in found if name != "ours"]
    added = {name: image["added"] for name, image in found.items()}
    size_ratio = {name: added["ours"] / added[name] for name in found}
    time_ratio = {name: ratio_of(seconds["ours"], seconds[name]) for name in seconds}
    lines = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    for what, ratio in (
        ("size that it adds to the base, over the smallest peer's", max(size_ratio[name] for name in peers)),
        ("from `docker run` to the first answer, over the quickest peer's", max(time_ratio[name] for name in peers)),
    ):
        lines.append(f"| {what} | at most 0.5 | {ratio:.2f} | {'met' if ratio <= 0.5 else '**missed**'} |")
    lines += [
        "",
        "| image | adds to the base, MB | ours over it | of it packages | first answer, s | ours over it | measured |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name in seconds:
        cells = ["nothing, in the base", "0", "", "", "a bare socket"]
        if name in found:
            packages, versions = found[name]["packages"], found[name]["versions"]
            cells = [IMAGES[name].what, f"{added[name] / 1e6:,.0f}", f"{size_ratio[name]:.2f}"]
            cells += [f"{sum(packages.values()) / 1e6:,.0f}", ", ".join(map(" ".join, versions.items()))]
        cells[4:4] = [f"{statistics.median(seconds[name]):.2f}", f"{time_ratio[name]:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    for name, why in results["missing"].items():
        lines.append(f"| {IMAGES[name].what} | | | | | | not there: {' '.join(why.split())[-200:]} |")
    lines += ["", "| image | its largest packages, MB |", "| --- | --- |"]
    for name in found:
        lines.append(f"| {IMAGES[name].what} | {images.largest(found[name]['packages'])} |")
    return [*lines, "", images.measured_on(results)]


PARTS = {"build": build_all, "measure": measure, "remove": remove_all}


if __name__ == "__main__":
    images.do(PARTS)
