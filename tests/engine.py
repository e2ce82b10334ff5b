"""How do tests drive Docker?

>>> with container("mlops-cookbook:latest") as running:
...     requests.get(f"{running.url()}/health/live")
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tarfile
import time

import pytest
import requests
from conftest import ENVIRONMENT, ROOT

HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
NETWORK = "--network=host"  # so the package index is reached, however this machine does it
BUILDING = f"{NETWORK} --force-rm"  # and a build that fails leaves nothing behind


def _missing():
    """Tell why there are no containers here; None where there are."""
    if not shutil.which("docker"):
        return "docker is not installed"
    try:
        result = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return "no Docker engine answers within 20 seconds"
    return f"no Docker engine answers: {result.stderr.strip()}" if result.returncode else None


MISSING = _missing()
MARKS = [
    pytest.mark.container,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
    pytest.mark.xdist_group("container"),  # one after the other: they build the same images
]


def docker(*command, returncode=0, **options):
    """Run a command of Docker's to its end; give what it printed, stderr with it unless told otherwise."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": 600, "cwd": ROOT, **options}
    result = subprocess.run(["docker", *map(str, command)], text=True, check=False, **options)
    assert returncode in (None, result.returncode), f"docker {' '.join(map(str, command))}\n{result.stdout}"
    return result.stdout


def make(*command, cwd=ROOT, returncode=0, **options):
    """Run make; give what it printed, stderr with it."""
    result = subprocess.run(
        ["make", *map(str, command), f"IMAGE_OPTIONS={BUILDING}"],
        **{"cwd": cwd, "env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options},
        text=True,
        check=False,
    )
    assert returncode in (None, result.returncode), f"make {' '.join(map(str, command))}\n{result.stdout}"
    return result.stdout


@contextlib.contextmanager
def built(name, cwd=ROOT):
    """Build the image of a folder by `make image`; give its name, and remove it in the end.

    MLOPS_IMAGE names the project's image where it is there already: what CI publishes is what it tested.
    """
    if name == "mlops-cookbook" and "MLOPS_IMAGE" in os.environ:
        yield os.environ["MLOPS_IMAGE"]
        return
    image = f"{name}:test-{os.getpid()}"
    make("image", f"IMAGE={name}", f"TAG=test-{os.getpid()}", cwd=cwd)
    try:
        yield image
    finally:
        docker("rmi", "--force", image)


def files(image):
    """Give for each file of an image what it is: kind, mode, owner, and a digest of what it holds."""
    identifier = docker("create", image).strip()
    try:
        with (
            subprocess.Popen(["docker", "export", identifier], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as archive,
        ):
            return {each.name: _described(archive, each) for each in archive}
    finally:
        docker("rm", identifier)


def _described(archive, member):
    content = archive.extractfile(member).read() if member.isfile() else b""
    return member.type, member.mode, member.uid, member.linkname, hashlib.sha256(content).hexdigest()


class Container:
    """A container that was started, and may have ended."""

    def __init__(self, identifier):
        self.id = identifier

    def __repr__(self):
        return f"Container({self.id[:12]})"

    def tell(self, template):
        """Give what `docker inspect` tells, by a Go template such as ``{{.State.Status}}``."""
        return docker("inspect", "--format", template, self.id).strip()

    def logs(self):
        """Give what it printed so far."""
        return docker("logs", self.id)

    def wait(self):
        """Wait until it has ended; give its exit code."""
        return int(docker("wait", self.id, timeout=120))

    def url(self, port=8080):
        """Give the address of what serves in it, as soon as that answers."""
        address = f"http://{docker('port', self.id, port).split()[0]}"
        for _ in range(600):
            with contextlib.suppress(requests.ConnectionError):
                requests.get(address, timeout=10)
                return address
            if self.tell("{{.State.Running}}") != "true":
                break
            time.sleep(0.1)
        return pytest.fail(f"{self} does not answer at {address}: {self.logs()}")


@contextlib.contextmanager
def container(image, *command, options=(), ports=(8080,)):
    """Start a container that publishes ports on loopback; remove it in the end."""
    publish = [f"--publish=127.0.0.1::{port}" for port in ports]
    started = Container(docker("run", "--detach", *publish, *options, image, *command).strip())
    try:
        yield started
    finally:
        docker("rm", "--force", started.id)
