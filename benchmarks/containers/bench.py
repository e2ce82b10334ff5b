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
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import joblib

from benchmarks.bench import machine, ratio_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCKER = os.environ.get("DOCKER", "docker")
BASE = os.environ.get("BASE", "python:3.13-slim")

TURNS = 15  # of starts, each of a fresh container; one more before them is to warm up
POLL = 0.005  # seconds between two questions
PATIENCE = 120  # seconds that a container may take to answer
LARGEST = 6  # packages that are shown of an image

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

# Bytes that each package has in an image, and what Python and the named packages are.
CONTENTS = """
import json, pathlib, platform, sys
from importlib import metadata
sizes = {}
for folder in {pathlib.Path(one) for one in sys.path if one.endswith("-packages")}:
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).parts[0]
            sizes[name] = sizes.get(name, 0) + path.lstat().st_size
versions = {name: metadata.version(name) for name in sys.argv[1:]}
print(json.dumps({"python": platform.python_version(), "versions": versions, "packages": sizes}))
"""


class NotMeasuredError(Exception):
    """What was to be measured is not there, or does not answer as it should."""


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


def docker(*command, **options):
    """Run a command of Docker's to its end.

    Parameters
    ----------
    *command : object
    **options
        Of `subprocess.run`.

    Returns
    -------
    str
        What it printed to stdout.

    Raises
    ------
    NotMeasuredError
        It failed; the message ends as its output does.
    """
    done = subprocess.run([DOCKER, *map(str, command)], text=True, capture_output=True, check=False, **options)
    if done.returncode:
        raise NotMeasuredError(f"docker {command[0]} failed: {(done.stdout + done.stderr).strip()[-1000:]}")
    return done.stdout


def build_from(folder, tag):
    """Build the image of a folder on `BASE`, in place of the Python image that its Dockerfile names.

    Parameters
    ----------
    folder : path
    tag : str
    """
    dockerfile = (folder / "Dockerfile").read_text("utf-8")
    on_base, count = re.subn(r"^FROM python:\S+", f"FROM {BASE}", dockerfile, flags=re.MULTILINE)
    if not count:
        raise NotMeasuredError(f"{folder / 'Dockerfile'} names no Python image to stand on")
    # on the network of this machine, a build reaches the package index however this machine does
    docker("build", "--network", "host", "--tag", tag, "--file", "-", folder, input=on_base)


def build(name):
    """Build an image: ours, one of a Dockerfile in ``peers``, or one of what is generated there.

    Parameters
    ----------
    name : str
        A name of `IMAGES`.
    """
    if name == "ours":
        build_from(ROOT, tag_of(name))
        return
    with tempfile.TemporaryDirectory() as temporary:
        context, generated = Path(temporary) / "context", Path(temporary) / "generated"
        shutil.copytree(HERE / "peers" / name, context, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("model.joblib", "htwtmlb.csv"):
            shutil.copy(ROOT / file, context)
        pins = re.findall(r"^[\w.-]+==[\w.]+", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
        (context / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
        if not IMAGES[name].generated:
            build_from(context, tag_of(name))
            return
        build_from(context, tag_of(f"{name}-generator"))
        container = docker("create", tag_of(f"{name}-generator")).strip()
        try:
            docker("cp", f"{container}:/image", generated)
        finally:
            docker("rm", container)
        build_from(generated, tag_of(name))


def build_all():
    """Build all images; what cannot be built is told, and is missing later."""
    for name in IMAGES:
        print(f"Building {tag_of(name)}", flush=True)
        try:
            build(name)
        except NotMeasuredError as error:
            print(f"{name}: {error}", file=sys.stderr)


def remove_all():
    """Remove the images that were built, and what generated them."""
    for name in [*IMAGES, *(f"{name}-generator" for name, image in IMAGES.items() if image.generated)]:
        with contextlib.suppress(NotMeasuredError):
            docker("image", "rm", tag_of(name))


def size_of(image):
    """Bytes of an image."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def contents_of(image, *packages):
    """Tell what Python, which versions and how many bytes of each package an image has."""
    return json.loads(docker("run", "--rm", "--entrypoint", "python", image, "-c", CONTENTS, *packages))


def sizes():
    """Bytes that each image adds to the base, and what is in it.

    Returns
    -------
    dict
        ``base``, and ``images`` with ``added``, ``python``, ``versions`` and ``packages`` of each; those of packages
        that the base has too are left out. ``missing`` tells why an image is not there.
    """
    base = size_of(BASE), contents_of(BASE)
    found = {"base": {"name": BASE, "bytes": base[0], "python": base[1]["python"]}, "images": {}, "missing": {}}
    for name, image in IMAGES.items():
        try:
            added = size_of(tag_of(name)) - base[0]  # first: it fails on an image that is not there, and pulls none
            contents = contents_of(tag_of(name), *image.packages)
            own = {one: size for one, size in contents["packages"].items() if one not in base[1]["packages"]}
            found["images"][name] = contents | {"added": added, "packages": own}
        except NotMeasuredError as error:
            found["missing"][name] = str(error)
    return found


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
        port = int(docker("port", container, image.port).split()[0].rpartition(":")[2])
        while (seconds := time.perf_counter() - before) < PATIENCE:
            text = ask(port, image)
            if text is not None:
                seconds = time.perf_counter() - before
                numbers = [float(number) for number in re.findall(r"\d+\.\d+", text)]
                if not any(abs(number - right) < 1e-6 or number == round(right, 2) for number in numbers):
                    raise NotMeasuredError(f"{name} answered {text[:200]}, expected {right}")
                return seconds
            time.sleep(POLL)
        raise NotMeasuredError(f"{name} did not answer within {seconds:.0f} s: {docker('logs', container)[-1000:]}")
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
    results = {"machine": machine(), "docker": docker("version", "--format", "{{.Server.Version}}").strip()} | sizes()
    if len(results["images"]) < 2 or "ours" in results["missing"]:
        raise NotMeasuredError(f"{', '.join(results['missing'])} missing, build first: {results['missing']}")
    results["seconds"] = starts([*results["images"], "nothing"])
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = report(results)
    path = HERE / "README.md"
    before, mark, rest = path.read_text(encoding="utf-8").partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end -->")
    path.write_text(before + mark + "\n".join(lines) + "\n" + end + after, encoding="utf-8")
    print(*lines, sep="\n")


def report(results):
    """Make the tables: what was aimed at, each image, and where its size is.

    Parameters
    ----------
    results : dict

    Returns
    -------
    list of str
    """
    images, seconds = results["images"], results["seconds"]
    peers = [name for name in images if name != "ours"]
    added = {name: image["added"] for name, image in images.items()}
    size_ratio = {name: added["ours"] / added[name] for name in images}
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
        if name in images:
            packages, versions = images[name]["packages"], images[name]["versions"]
            cells = [IMAGES[name].what, f"{added[name] / 1e6:,.0f}", f"{size_ratio[name]:.2f}"]
            cells += [f"{sum(packages.values()) / 1e6:,.0f}", ", ".join(map(" ".join, versions.items()))]
        cells[4:4] = [f"{statistics.median(seconds[name]):.2f}", f"{time_ratio[name]:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    for name, why in results["missing"].items():
        lines.append(f"| {IMAGES[name].what} | | | | | | not there: {' '.join(why.split())[-200:]} |")
    lines += ["", "| image | its largest packages, MB |", "| --- | --- |"]
    for name in images:
        largest = sorted(images[name]["packages"].items(), key=lambda item: -item[1])[:LARGEST]
        sized = ", ".join(f"{package} {size / 1e6:.0f}" for package, size in largest)
        lines.append(f"| {IMAGES[name].what} | {sized} |")
    about, base = results["machine"], results["base"]
    lines += [
        "",
        f"Measured on {about['processor']}, {about['cores']} cores, {about['memory_gb']} GB. "
        f"Docker {results['docker']}, a base of {base['bytes'] / 1e6:.0f} MB with Python {base['python']}.",
    ]
    return lines


PARTS = {"build": build_all, "measure": measure, "remove": remove_all}


def main():
    """Do what is named, in that order."""
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown or not sys.argv[1:]:
        sys.exit(f"Got {' '.join(sorted(unknown)) or 'nothing'} to do; expected some of {', '.join(PARTS)}.")
    for name in sys.argv[1:]:
        try:
            PARTS[name]()
        except NotMeasuredError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
