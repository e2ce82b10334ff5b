"""Does the function's image answer, and its zip file, and is in them what answers and no more?"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT
from contract import ANSWERS, Contract, is_problem
from emulator import MARK, Function, emulated
from engine import BUILDING, HARDENED, MARKS, container, docker, files
from test_aws_lambda_sam import HANDLER, HERE, REQUESTS, ask_by, event_of, opened

BASE = "public.ecr.aws/lambda/python:3.13"
# Lambda's own: nothing but /tmp can be written, a user without privileges, and what memory there may be at least.
AS_LAMBDA = [*HARDENED, "--tmpfs=/tmp", "--user=993:990", "--memory=128m", "--memory-swap=128m"]
NEEDLESS = {
    "sklearn",
    "scipy",
    "pandas",
    "joblib",
    "flask",
    "click",
    "pip",
    "boto3",
    "requests",
    "tests",
    "recipes",
    ".git",
}
NEEDLESS |= {"htwtmlb.csv", "model.joblib", "package.py", "service", "cli.py", "bin"}


def needless(names):
    """Give what is in a folder and has no part in an answer; the packages' own tests are none of ours."""
    return {name for name in names if NEEDLESS & set(Path(name).parts)}


def build(name, *options):
    """Build the function's image."""
    docker("build", *BUILDING.split(), *options, "--file", HERE / "Dockerfile", "--tag", name, ROOT)


def added(name):
    """Give what the image has and its base has not, as `engine.files` tells it."""
    base = files(BASE)
    return {path: what for path, what in files(name).items() if base.get(path) != what}


@pytest.fixture(name="image", scope="module")
def _image():
    name = f"mlops-cookbook-lambda:test-{os.getpid()}"
    build(name)
    yield name
    docker("rmi", "--force", name)


@pytest.fixture(name="function", scope="module")
def _function(image):
    with container(image, options=AS_LAMBDA) as running:
        yield Function(running.url())


class TestImage(Contract):
    """The contract, in the container."""

    pytestmark = MARKS
    bad_row = 400

    @pytest.fixture(name="ask")
    def _ask(self, function):
        return ask_by(function, "api-gateway-v1")

    @pytest.mark.parametrize("kind", REQUESTS)
    def test_each_kind_of_request_is_answered(self, function, kind):
        assert ask_by(function, kind)({"Weight": 200}) == (200, {"prediction": ANSWERS[200]})
        is_problem(*ask_by(function, kind)({"Weight": "heavy"}), 400)

    def test_events_are_answered(self, function):
        assert opened(function.invoke({"Weight": 200})) == (200, {"prediction": ANSWERS[200]})
        assert function.invoke({"Weight": -5})["errorType"] == "RefusedError"
        assert opened(function.invoke(event_of("alb-health")))[1]["status"] == "ready"

    def test_the_most_rows_are_answered_in_128_mb(self, function):
        answer = function.invoke([{"Weight": 200}] * 10_000)
        assert json.loads(answer["body"])["predictions"] == [ANSWERS[200]] * 10_000

    def test_nothing_is_in_it_that_does_not_answer(self, image):
        names = added(image)
        assert {"var/task/handler.py", "var/task/model.onnx"} <= set(names)
        assert not needless(names)
        assert not [name for name in names if not name.startswith("var/task")]

    def test_another_build_gives_the_same_files(self, image):
        again = f"{image}-again"
        build(again, "--no-cache")
        try:
            assert added(again) == added(image)
        finally:
            docker("rmi", "--force", again)


# ------------------------------------------------------------------------------------------------------ the zip file


def package(folder, *options):
    """Run package.py; pip's own warnings are no errors."""
    command, environment = [sys.executable, HERE / "package.py", folder, *options], ENVIRONMENT | {"PYTHONWARNINGS": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    """What the zip file is made of, and what was said."""
    folder = tmp_path_factory.mktemp("zip") / "folder"
    return folder, package(folder).stdout


@pytest.fixture(name="runtime")
def _runtime(tmp_path):
    """A folder with Lambda's runtime client alone: the environment of the tests has packages that Lambda has not."""
    installed = Path(sysconfig.get_path("platlib"))
    for name in ("awslambdaric", "simplejson", "snapshot_restore_py"):
        (tmp_path / name).symlink_to(installed / name)
    for path in installed.glob("runtime_client*.so"):
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def refused(folder, **environment):
    """Run package.py where it cannot do its work; give what it said."""
    environment = ENVIRONMENT | {"PYTHONWARNINGS": "", "PIP_NO_INDEX": "1"} | environment
    command = [sys.executable, HERE / "package.py", folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


@pytest.mark.parametrize("name", ["handler.py", "model.onnx", ".git/config"])
def test_a_folder_of_somebody_else_is_left_as_it_is(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    assert "was not made by this" in refused(tmp_path)
    assert "was not made by this" in refused(tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


def test_what_was_made_before_stays_when_the_packages_are_not_to_be_had(tmp_path):
    made = tmp_path / "made"
    (made / "onnxruntime").mkdir(parents=True)
    for name in ("handler.py", "model.onnx"):
        (made / name).write_text("of before")
    assert "were not installed" in refused(made)
    assert (made / "handler.py").read_text() == "of before"
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.long
class TestZip:
    """The folder that becomes the zip file. Lambda takes 250 MB of it."""

    def test_its_size_leaves_room(self, folder):
        size = sum(path.stat().st_size for path in folder[0].rglob("*") if path.is_file())
        assert json.loads(folder[1].splitlines()[0])["megabytes"] == round(size / 1e6, 1)
        assert size < 180e6

    def test_it_answered_when_it_was_made(self, folder):
        weight = json.loads(folder[1].splitlines()[1])["prediction"]
        assert weight.keys() == ANSWERS[200].keys()

    def test_nothing_is_in_it_that_does_not_answer(self, folder):
        names = {str(path.relative_to(folder[0])) for path in folder[0].rglob("*")}
        assert not needless(names)
        sources = {name for name in names if name.endswith(".py")}
        compiled = {
            f"{Path(name).parent.parent / Path(name).stem.partition('.')[0]}.py" for name in names if ".pyc" in name
        }
        assert sources == compiled  # nothing is compiled at a start

    @MARK
    def test_it_answers_by_itself(self, folder, runtime):
        base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        with emulated(HANDLER, folder[0], runtime, python=base) as function:
            assert ask_by(function, "function-url")({"Weight": 200}) == (200, {"prediction": ANSWERS[200]})
            assert function.invoke({"Weight": -5})["errorType"] == "RefusedError"

    def test_another_architecture_gets_its_own_packages(self, tmp_path):
        done = package(tmp_path / "arm", "--arch", "arm64", "--python", "3.13")
        built = {path.name.rpartition(".cpython-")[2] for path in (tmp_path / "arm/numpy").rglob("*.so")}
        assert built == {"313-aarch64-linux-gnu.so"}
        assert "byte code is missing" in done.stderr
        assert "not run" in done.stderr
