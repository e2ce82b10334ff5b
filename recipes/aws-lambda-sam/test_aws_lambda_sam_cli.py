"""Does the recipe do what its README says, by make and the SAM CLI, in containers?"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time

import engine
import pytest
import requests
from conftest import ENVIRONMENT, ROOT, free_port, run
from consoles import copied, untrue, with_venv
from contract import ANSWERS, NO_JSON, Contract, is_problem
from emulator import ARCH
from sam import BIN, MARK, environment, sam

import mlib

pytestmark = [*engine.MARKS, MARK]

RECIPE = "recipes/aws-lambda-sam"
HERE = ROOT / RECIPE
EVENTS = ["payload.json", *sorted(f"events/{path.name}" for path in (HERE / "events").glob("*.json"))]
IMAGE = f"test-lambda-sam-{os.getpid()}"
# Where AWS's images have the start of the runtime client, which SAM runs; a stand-in for them may have none.
BASE = """
FROM public.ecr.aws/lambda/python:3.13
RUN test -x /var/runtime/bootstrap || { \
  mkdir -p /var/runtime && echo 'exec python3 -m awslambdaric "$_HANDLER"' > /var/runtime/bootstrap && \
  sed -i '1i #!/bin/sh' /var/runtime/bootstrap && chmod 755 /var/runtime/bootstrap; }
"""


@pytest.fixture(name="recipe", scope="module")
def _recipe(tmp_path_factory):
    """The recipe in a copy of the repository, its image with a name of its own, and built."""
    copy = with_venv(copied(tmp_path_factory.mktemp("sam") / "clone"))
    recipe = copy / RECIPE
    shutil.rmtree(recipe / ".aws-sam", ignore_errors=True)
    for name in ("Makefile", "template.yaml"):
        text = (recipe / name).read_text(encoding="utf-8")
        assert "mlops-cookbook-lambda" in text
        (recipe / name).write_text(text.replace("mlops-cookbook-lambda", IMAGE), encoding="utf-8")
    home = tmp_path_factory.mktemp("home")
    try:
        said = engine.make("build", cwd=recipe, env=environment(home))
        assert "Build Succeeded" in said
        yield recipe
    finally:
        engine.make("clean", cwd=recipe, env=environment(home))
        assert not engine.docker("images", "--quiet", IMAGE)


def containers():
    """Give the containers that run or ran the function; by the image's name, as others may have made the same image."""
    lines = engine.docker("ps", "--all", "--format", "{{.Image}} {{.ID}}").splitlines()
    return [line for line in lines if line.startswith(f"{IMAGE}:")]


@contextlib.contextmanager
def listening(*command, cwd, home):
    """Start what answers at a port; give its address, and stop it in the end, with what it started."""
    port = free_port()
    log = home / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [word.format(port=port) for word in map(str, command)],
            cwd=cwd,
            env=environment(home),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(600):
            if f"http://127.0.0.1:{port}" in log.read_text() and "Running on" in log.read_text():
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)
        gone(log.read_text)


def gone(tell=str):
    """Wait until there are no containers of the function any more."""
    for _ in range(100):
        if not containers():
            return
        time.sleep(0.2)
    pytest.fail(f"Containers are left: {containers()}\n{tell()}")


@pytest.mark.parametrize("event", ["payload.json", "events/api-gateway-v1.json", "events/wrong.json"])
def test_an_event_is_handed_to_the_function(recipe, event):
    answer = json.loads(sam("local", "invoke", "--event", event, cwd=recipe, stderr=subprocess.DEVNULL))
    check(event, answer)
    gone()


def check(event, answer):
    """Check what the function answers to an event that is kept as a file."""
    if event == "events/wrong.json":
        assert answer["errorType"] == "RefusedError"
        assert "Did you mean Weight?" in answer["errorMessage"]
        return
    assert answer["statusCode"] == 200
    document = json.loads(answer["body"])
    if "health" in event:
        assert document["status"] == "ready"
    elif event == "events/rows.json":
        assert document == {"predictions": [ANSWERS[weight] for weight in (300, 145, 200, 180)]}
    else:
        assert document["prediction"].items() >= ANSWERS[200].items()


@pytest.fixture(name="url", scope="class")
def _url(recipe, tmp_path_factory):
    home = tmp_path_factory.mktemp("api")
    with listening("make", "--silent", "run", "PORT={port}", cwd=recipe, home=home) as url:
        yield url


class TestApi(Contract):
    """The contract, behind what `make run` starts."""

    bad_row = 400

    @pytest.fixture
    def ask(self, url):
        """Ask POST /predict."""

        def post(payload):
            response = requests.post(f"{url}/predict", json=payload, timeout=60)
            kind = "application/json" if response.ok else "application/problem+json"
            assert response.headers["Content-Type"] == kind
            return response.status_code, response.json()

        return post

    @pytest.mark.parametrize("body", [body for body in NO_JSON if body])
    def test_what_is_no_json_is_refused(self, url, body):
        response = requests.post(f"{url}/predict", data=body, headers={"Content-Type": "application/json"}, timeout=60)
        is_problem(response.status_code, response.json(), 400)

    def test_another_kind_of_body_is_refused(self, url):
        response = requests.post(
            f"{url}/predict", data=b"Weight\n200", headers={"Content-Type": "text/csv"}, timeout=60
        )
        is_problem(response.status_code, response.json(), 415)

    def test_it_is_live_and_ready_and_has_a_card(self, url):
        assert requests.get(f"{url}/health/live", timeout=60).json() == {"status": "live"}
        assert requests.get(f"{url}/health/ready", timeout=60).json()["status"] == "ready"
        assert requests.get(f"{url}/model", timeout=60).json() == mlib.Signature.read(ROOT / "model.onnx").card

    def test_the_interval_is_answered_when_it_is_asked_for(self, url):
        response = requests.post(f"{url}/predict?interval=true", json={"Weight": 200}, timeout=60)
        assert response.json()["prediction"]["interval"]["coverage"] == 0.9

    def test_the_client_asks_it(self, url):
        done = run("./utilscli.py", "health", "--host", url, "--compare-local", "--json")
        assert (done.returncode, json.loads(done.stdout)["ready"]) == (0, True), done.stderr


@pytest.fixture(name="endpoint", scope="class")
def _endpoint(recipe, tmp_path_factory):
    """What stands in for Lambda's own address; it knows no aliases, and names the function as the template does."""
    command = [BIN / "sam", "local", "start-lambda", "--port", "{port}", "--warm-containers", "LAZY"]
    with listening(*command, cwd=recipe, home=tmp_path_factory.mktemp("endpoint")) as url:
        yield url


class TestEndpoint:
    """The function by its name, as the client and any of AWS's tools ask for it."""

    @pytest.mark.parametrize("event", EVENTS)
    def test_every_event_is_answered(self, endpoint, event):
        url = f"{endpoint}/2015-03-31/functions/Predict/invocations"
        check(event, requests.post(url, data=(HERE / event).read_bytes(), timeout=60).json())

    def test_the_client_asks_it_by_its_name(self, endpoint):
        keys = {"AWS_ACCESS_KEY_ID": "of-tests", "AWS_SECRET_ACCESS_KEY": "of-tests"}
        env = ENVIRONMENT | keys | {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL_LAMBDA": endpoint}
        done = run("./utilscli.py", "predict", "--host", "lambda:Predict", "--weight", "200", "--json", env=env)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"prediction": ANSWERS[200]}), done.stderr


def test_the_zip_variant_answers_too(recipe, tmp_path):
    said = engine.make("zip", f"ARCHITECTURE={ARCH}", cwd=recipe, env=ENVIRONMENT | {"PYTHONWARNINGS": "default"})
    assert float(re.search(r'"megabytes": ([\d.]+)', said)[1]) < 125  # half of the 250 that Lambda takes
    base = f"{IMAGE}-base"
    (tmp_path / "Dockerfile").write_text(BASE)
    engine.docker("build", "--tag", f"{base}:latest", tmp_path)
    try:
        given = ["--template", "template-zip.yaml", "--invoke-image", f"{base}:latest", "--skip-pull-image"]
        given += ["--parameter-overrides", f"Architecture={ARCH}"]
        for event in ("payload.json", "events/function-url.json", "events/function-url-base64.json"):
            answer = sam("local", "invoke", *given, "--event", event, cwd=recipe, stderr=subprocess.DEVNULL)
            assert json.loads(json.loads(answer)["body"]) == {"prediction": ANSWERS[200]}
    finally:
        engine.docker("rmi", "--force", f"{base}:latest", f"{base}:rapid-{ARCH}")


def test_every_command_prints_what_the_readme_shows(recipe, tmp_path):
    port = free_port()
    env = environment(tmp_path) | {"PORT": port, "IMAGE_OPTIONS": engine.BUILDING}
    try:
        wrong = untrue((HERE / "README.md").read_text(), recipe.parent.parent, env, (), {"8080": port, "3000": port})
    finally:
        gone()
    assert not wrong, "\n".join(wrong)


def test_clean_may_be_run_twice(recipe, tmp_path):
    """Of another name, as the image is needed."""
    copy = shutil.copy(recipe / "Makefile", tmp_path)
    text = (tmp_path / "Makefile").read_text().replace(IMAGE, f"{IMAGE}-gone")
    (tmp_path / copy).write_text(text)
    engine.docker("tag", f"{IMAGE}:latest", f"{IMAGE}-gone:latest")
    for _ in range(2):
        engine.make("clean", cwd=tmp_path)
        assert not engine.docker("images", "--quiet", f"{IMAGE}-gone")
    assert engine.docker("images", "--quiet", IMAGE)
