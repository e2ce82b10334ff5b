"""What several tests need: models in a temporary folder, the commands as processes, a real server."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlib

ROOT = Path(__file__).parent.parent
SETTINGS = {"MLOPS_MODEL", "NO_COLOR", "HOST", "PORT", "FLASK_DEBUG", "OPENBLAS_NUM_THREADS"}
# A process of its own meets no setting of the person who runs the tests; PATH finds the shebangs' python.
ENVIRONMENT = {
    **{
        k: v
        for k, v in os.environ.items()
        if k not in ("MLOPS_MODEL", "NO_COLOR", "HOST", "PORT", "FLASK_DEBUG", "OPENBLAS_NUM_THREADS")
    },
    "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
    "PYTHONWARNINGS": "error",
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    monkeypatch.delenv("MLOPS_MODEL", raising=False)
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


def run(*command, **options):
    """Run a command in the repository's root as a person would; stdin is closed unless told."""
    options = {"stdin": subprocess.DEVNULL, "env": ENVIRONMENT, "cwd": ROOT, "timeout": 120, **options}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)


@contextlib.contextmanager
def serving(**settings):
    """Run `python app.py` with some settings, on a port that the system chose; give its URL."""
    env = {**ENVIRONMENT, "PORT": "0", **{name: str(value) for name, value in settings.items()}}
    with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            log = []
            for line in process.stderr:
                log.append(line)
                found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", line)
                if found:
                    break
            else:
                pytest.fail(f"app.py did not start: {''.join(log)}")
            yield found[1]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def server():
    """The URL of `python app.py`, really running; with a setting that it has to ignore."""
    with serving(FLASK_DEBUG="1") as url:
        yield url
