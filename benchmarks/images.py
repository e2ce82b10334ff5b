"""How do benchmarks build images, and how large are those?  What `containers` and `aws_lambda` share.

>>> build_from(ROOT / "Dockerfile", ROOT, "containers-bench-ours", "python:3.13-slim")
>>> size_of("containers-bench-ours") - size_of("python:3.13-slim")
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKER = os.environ.get("DOCKER", "docker")

LARGEST = 6  # packages that are shown of an image

# Bytes that each package has in an image, where Lambda looks for code too; what Python and the named packages are;
# and how many files of its standard library have byte code.
CONTENTS = """
import json, os, pathlib, platform, sys
from importlib import metadata
sizes = {}
for folder in {pathlib.Path(one) for one in sys.path if one.endswith("-packages") or one == "/var/task"}:
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).parts[0]
            sizes[name] = sizes.get(name, 0) + path.lstat().st_size
versions = {name: metadata.version(name) for name in sys.argv[1:]}
compiled = sum("-packages" not in str(one) for one in pathlib.Path(os.__file__).parent.rglob("*.pyc"))
print(json.dumps({"python": platform.python_version(), "versions": versions, "packages": sizes, "compiled": compiled}))
"""


class NotMeasuredError(Exception):
    """What was to be measured is not there, or does not answer as it should."""


def run(*command, **options):
    """Run a command to its end.

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
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    done = subprocess.run(list(map(str, command)), text=True, check=False, **options)
    if done.returncode:
        said = (done.stdout + (done.stderr or "")).strip()[-1000:]
        raise NotMeasuredError(f"{' '.join(map(str, command[:2]))} failed: {said}")
    return done.stdout


def docker(*command, **options):
    """Run a command of Docker's to its end, as `run` does."""
    return run(DOCKER, *command, **options)


def logs_of(container):
    """What a container printed, to stdout or to stderr."""
    return docker("logs", container, stderr=subprocess.STDOUT)


def port_of(container, port):
    """The port of loopback at which a port of a container is published."""
    return int(docker("port", container, port).split()[0].rpartition(":")[2])


def build_from(dockerfile, context, tag, base):
    """Build an image on a base, in place of the Python image that its Dockerfile names.

    Parameters
    ----------
    dockerfile : pathlib.Path
        Its Python image is Docker's (``python:3.13-slim``) or Lambda's (``public.ecr.aws/lambda/python:3.13``).
    context : path
    tag, base : str

    Raises
    ------
    NotMeasuredError
        The build failed, or the Dockerfile names no Python image.
    """
    python = r"^FROM (?:public\.ecr\.aws/lambda/)?python:\S+"
    on_base, count = re.subn(python, f"FROM {base}", dockerfile.read_text("utf-8"), flags=re.MULTILINE)
    if not count:
        raise NotMeasuredError(f"{dockerfile} names no Python image to stand on")
    # On the network of this machine, a build reaches the package index however this machine does; and one that fails
    # leaves no container behind.
    docker("build", "--network", "host", "--force-rm", "--tag", tag, "--file", "-", context, input=on_base)


@contextlib.contextmanager
def context_of(folder):
    """Make a build's context of a peer's folder, the model, its table, and what pins the project's versions.

    Parameters
    ----------
    folder : path

    Yields
    ------
    pathlib.Path
        It is removed in the end.
    """
    with tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary) / "context"
        shutil.copytree(folder, context, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("model.joblib", "htwtmlb.csv"):
            shutil.copy(ROOT / file, context)
        pins = re.findall(r"^[\w.-]+==[\w.]+", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
        (context / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
        yield context


def size_of(image):
    """Bytes of an image."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def contents_of(image, *packages):
    """Tell what Python, which versions and how many bytes of each package an image has."""
    return json.loads(docker("run", "--rm", "--entrypoint", "python3", image, "-B", "-c", CONTENTS, *packages))


def sizes(base, images):
    """Bytes that each image adds to the base, and what is in it.

    Parameters
    ----------
    base : str
    images : dict of str to (str, sequence of str)
        Of each name the image, and the packages whose versions tell what was measured.

    Returns
    -------
    dict
        ``base``, and ``images`` with ``added``, ``python``, ``versions`` and ``packages`` of each; those of packages
        that the base has too are left out. ``missing`` tells why an image is not there.
    """
    size, contents = size_of(base), contents_of(base)
    about = {"name": base, "bytes": size, "python": contents["python"], "compiled": contents["compiled"]}
    found = {"base": about, "images": {}, "missing": {}}
    for name, (image, packages) in images.items():
        try:
            added = size_of(image) - size  # first: it fails on an image that is not there, and pulls none
            inside = contents_of(image, *packages)
        except NotMeasuredError as error:
            found["missing"][name] = str(error)
        else:
            own = {one: count for one, count in inside["packages"].items() if one not in contents["packages"]}
            found["images"][name] = inside | {"added": added, "packages": own}
    return found


def largest(packages):
    """Name the largest packages of an image, with their megabytes."""
    ordered = sorted(packages.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {size / 1e6:.0f}" for name, size in ordered[:LARGEST])


def measured_on(results):
    """Tell on what was measured: the machine, Docker and the base."""
    about, base = results["machine"], results["base"]
    return (
        f"Measured on {about['processor']}, {about['cores']} cores, {about['memory_gb']} GB. Docker "
        f"{results['docker']}, a base of {base['bytes'] / 1e6:.0f} MB with Python {base['python']}, whose standard "
        f"library has {'' if base['compiled'] else 'no '}byte code."
    )


def build_all(build, tags):
    """Build all images; what cannot be built is told, and is missing later.

    Parameters
    ----------
    build : callable
        Takes a name.
    tags : dict of str to str
        Of each name the image.
    """
    for name, tag in tags.items():
        print(f"Building {tag}", flush=True)
        try:
            build(name)
        except NotMeasuredError as error:
            print(f"{name}: {error}", file=sys.stderr)


def remove_all(tags):
    """Remove images, as far as they are there."""
    for tag in tags:
        with contextlib.suppress(NotMeasuredError):
            docker("image", "rm", tag)


def write(folder, results, lines):
    """Write results.json, and the tables into README.md between its two marks.

    Parameters
    ----------
    folder : pathlib.Path
    results : dict
    lines : list of str
    """
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    path = folder / "README.md"
    before, mark, rest = path.read_text(encoding="utf-8").partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end -->")
    path.write_text(before + mark + "\n".join(lines) + "\n" + end + after, encoding="utf-8")
    print(*lines, sep="\n")


def do(parts):
    """Do what the command line names of some parts, in that order; exit with what could not be measured.

    Parameters
    ----------
    parts : dict of str to callable
    """
    unknown = set(sys.argv[1:]) - set(parts)
    if unknown or not sys.argv[1:]:
        sys.exit(f"Got {' '.join(sorted(unknown)) or 'nothing'} to do; expected some of {', '.join(parts)}.")
    for name in sys.argv[1:]:
        try:
            parts[name]()
        except NotMeasuredError as error:
            sys.exit(f"{name}: {error}")
