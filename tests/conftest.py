"""What several tests need: models in a temporary folder, the commands as processes, a real server."""

import atexit
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hypothesis
import pytest

import mlib

ROOT = Path(__file__).parent.parent
SETTINGS = {"NO_COLOR", "HOST", "PORT", "WEB_CONCURRENCY", "FLASK_DEBUG", "OPENBLAS_NUM_THREADS", "LISTEN_FDS"}
# What the make that runs the tests was told, and tells its own.
SETTINGS |= {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "VENV", "PYTHON", "DOCKER", "IMAGE", "TAG", "HELLO"}
SETTINGS |= {"IMAGE_OPTIONS", "REVISION", "REGISTRY", "CONFIRM", "VIRTUAL_ENV"}
# A process of its own meets no setting of the person who runs the tests; PATH finds the shebangs' python.
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if k not in SETTINGS and not k.startswith("MLOPS_")},
    "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
    "PYTHONWARNINGS": "error",
    "XDG_CONFIG_HOME": tempfile.mkdtemp(prefix="mlops-cookbook-tests-"),
}
atexit.register(shutil.rmtree, ENVIRONMENT["XDG_CONFIG_HOME"], ignore_errors=True)
# How long an example takes tells of the machine, on which others may be busy, and not of the code.
hypothesis.settings.register_profile(
    "tests", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("MLOPS_MODEL", raising=False)
    monkeypatch.delenv("MLOPS_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # where endpoints and what they told are kept
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The path of the default model, trained anew."""
    path = tmp_path_factory.mktemp("model") / "model.joblib"
    mlib.retrain(model_name=path)
    return path


@pytest.fixture(scope="session")
def two_features(tmp_path_factory):
    """The path of a model of Weight and Age."""
    path = tmp_path_factory.mktemp("two") / "two.joblib"
    mlib.retrain(model_name=path, features=("Weight", "Age"))
    return path


@pytest.fixture(name="write_table")
def _write_table(tmp_path):
    """Write a CSV table and return its path."""

    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def line_table(write_table):
    """A table whose target is 2 x + 1, exactly: x from 1 to 40, in a column of its own a constant."""
    return write_table("x,y,same,word\n" + "".join(f"{x},{2 * x + 1},7,a{x}\n" for x in range(1, 41)))


def free_port():
    """A port of loopback that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def run(*command, **options):
    """Run a command in the repository's root as a person would; stdin is closed unless told."""
    env = {**ENVIRONMENT, "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", ENVIRONMENT["XDG_CONFIG_HOME"])}
    options = {"stdin": subprocess.DEVNULL, "env": env, "cwd": ROOT, "timeout": 120, **options}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)


class Served:
    """A running service: its URL, its process, and what it logged."""

    def __init__(self, url, process, log):
        self.url, self.process, self._log = url, process, log

    def lines(self):
        """Return the lines of its log that are JSON, the last one if it is whole."""
        lines = self._log.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextlib.contextmanager
def running(*command, python=sys.executable, cwd=ROOT, **settings):
    """Run `python app.py` with some settings, on a port that the system chose; give what is running."""
    env = {**ENVIRONMENT, "PORT": "0", **{name: str(value) for name, value in settings.items()}}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen([python, "app.py", *command], cwd=cwd, env=env, stderr=file)
        try:
            found = None
            while not found:
                ended = process.poll() is not None
                found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8"))
                if ended and not found:
                    pytest.fail(f"app.py did not start: {log.read_text(encoding='utf-8')}")
                time.sleep(0.02)
            yield Served(found[1], process, log)
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextlib.contextmanager
def serving(**settings):
    """Run `python app.py` with some settings; give its URL."""
    with running(**settings) as served:
        yield served.url


@pytest.fixture(scope="session")
def server():
    """The URL of `python app.py`, really running; with a setting that it has to ignore."""
    with serving(FLASK_DEBUG="1") as url:
        yield url
