"""Do the functions do in their image what they do without, and is the page of the recipe true?"""

import contextlib
import os
import re
import shutil
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import engine
import pytest
from conftest import ENVIRONMENT, ROOT, free_port
from consoles import copied, untrue
from emulator import CREDENTIALS, Function
from machines import started
from test_aws_lambda_marco_polo import HEIGHT, STEPS, Bucket, template

import mlib

pytestmark = engine.MARKS

HERE = Path(__file__).parent
BASE = "public.ecr.aws/lambda/python:3.13"
# As Lambda runs it: without privileges, and nothing but /tmp can be written.
AS_LAMBDA = [*engine.HARDENED, "--tmpfs=/tmp", "--user=993:990"]


@pytest.fixture(name="image", scope="module")
def _image():
    """Build the image of the pipeline, by a name of its own."""
    names = [f"IMAGE=test-pipeline-{os.getpid()}", "TAG=test"]
    engine.make("build", *names, cwd=HERE)
    yield f"test-pipeline-{os.getpid()}:test"
    engine.make("clean", *names, cwd=HERE)


@contextlib.contextmanager
def running(image, name, **environment):
    """Run a function of the template in its image, in this machine's network, where moto listens on loopback."""
    properties = template()[name]["Properties"]
    port, memory = free_port(), properties["MemorySize"]
    environment |= {**CREDENTIALS, "AWS_LAMBDA_FUNCTION_TIMEOUT": properties["Timeout"]}
    options = [f"--env={key}={value}" for key, value in environment.items()]
    options += [f"--memory={memory}m", f"--memory-swap={memory}m", f"--cpus={memory / 1769:.2f}", "--network=host"]
    addresses = [
        f"--runtime-interface-emulator-address=127.0.0.1:{port}",
        f"--runtime-api-address=127.0.0.1:{free_port()}",
    ]
    command = [*addresses, "/usr/bin/python3", "-m", "awslambdaric", *properties["ImageConfig"]["Command"]]
    options += [*AS_LAMBDA, "--entrypoint=/usr/local/bin/aws-lambda-rie"]
    with engine.container(image, *command, options=options, ports=()) as container:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                break
            time.sleep(0.05)
        else:
            pytest.fail(container.logs())
        yield Function(f"http://127.0.0.1:{port}")


def test_the_image_holds_what_trains_and_no_more_of_the_project(image):
    base, found = engine.files(BASE), engine.files(image)
    ours = {path for path in found.keys() - base.keys() if path.startswith("var/task/")}
    top = {path.split("/")[2] for path in ours}
    assert {"mlib.py", "core", "pipeline.py", "sklearn", "boto3"} <= top
    assert not top & {"htwtmlb.csv", "model.joblib", "cli.py", "app.py", "toolkit", "service", "recipes", "tests"}


def test_the_pipeline_promotes_in_its_image_with_the_memory_of_the_template(image):
    with pytest.MonkeyPatch.context() as monkeypatch, started(monkeypatch) as there, ExitStack() as stack:
        topic = there.client("sns").create_topic(Name="of-containers")["TopicArn"]
        for name in STEPS:
            function = running(image, name, AWS_ENDPOINT_URL=there.origin, TOPIC_ARN=topic)
            there.functions[name] = stack.enter_context(function)
        there.pipeline = there.machine(HERE / "pipeline.asl.json", **{name: name for name in STEPS})
        bucket = Bucket(there, "of-containers")
        version = bucket.promoted(**HEIGHT)
        assert bucket.current()["version"] == version
        signature = mlib.Signature.read(ROOT / "model.joblib")
        assert bucket.current()["score"] == round(signature.metrics["r2"], 4)
        done = bucket.execute(**{**HEIGHT, "target": "Hieght"})
        assert (done["status"], done["error"]) == ("FAILED", "DataError")
        assert bucket.current()["version"] == version


def test_make_run_calls_marco_in_a_container():
    assert engine.make("--silent", "run", cwd=HERE) == '"Polo"\n'
    said = engine.make("--silent", "run", "EVENT=events/nobody.json", cwd=HERE)
    assert said == '"No! Got {}, expected {\\"name\\": \\"Marco\\"}."\n'


@pytest.mark.skipif(not shutil.which("aws"), reason="the AWS command line is not installed")
def test_every_command_prints_what_the_readme_shows(tmp_path):
    copy = copied(tmp_path / "clone")
    instead = {"9000": free_port(), "polo-here": f"test-polo-{os.getpid()}"}
    env = {name: value for name, value in ENVIRONMENT.items() if not re.match("AWS_", name)}
    try:
        wrong = untrue((HERE / "README.md").read_text(), copy, env | {"HOME": str(tmp_path)}, (), instead)
    finally:
        engine.docker("rm", "--force", instead["polo-here"], returncode=None)
    assert not wrong, "\n".join(wrong)
