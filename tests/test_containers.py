"""Does the image do what the README says?  It is built and run by a real engine (`make test-containers`)."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time

import pytest
import requests
from conftest import ENVIRONMENT, ROOT, free_port, run
from consoles import copied, section, untrue, with_venv
from contract import ANSWERS, HttpContract
from engine import BUILDING, HARDENED, MARKS, NETWORK, built, container, docker, files, make
from registry import registry

pytestmark = MARKS

PYTHON = "python:3.13-slim"
HEALTH = "--health-interval=1s"  # all else as the image has it


@pytest.fixture(scope="module", name="image")
def _image():
    with built("mlops-cookbook") as name:
        yield name


@pytest.fixture(scope="module", name="service")
def _service(image):
    with container(image, options=HARDENED) as started:
        yield started


@pytest.fixture(name="context")
def _context(tmp_path):
    """A copy of what the image is built from, and of the Makefile."""
    skipped = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", "benchmarks", "tests", "recipes")
    return shutil.copytree(ROOT, tmp_path / "context", ignore=skipped)


def in_image(image, *command, options=("--network=none",), **settings):
    """Run a command in a new container; give its exit code, stdout and stderr."""
    result = run("docker", "run", "--rm", *HARDENED, *options, image, *command, **settings)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module", name="base")
def _base():
    return files(PYTHON)


@pytest.fixture(scope="module", name="added")
def _added(image, base):
    """What the image has and its base has not, by name."""
    return {name: what for name, what in files(image).items() if base.get(name) != what}


# ---------------------------------------------------------------------------------------------------- what it answers


class TestContract(HttpContract):
    """By the service in the container, which can write nowhere and do nothing that needs a privilege."""

    @pytest.fixture(name="url")
    def _url(self, service):
        return service.url()


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        (["./cli.py", "--weight", "180"], ""),
        (["./cli.py", "--weight", "180", "--weight", "400", "--interval", "--json"], ""),
        (["./cli.py", "--from", "-"], "Weight\n150\n400\n"),
        (["./cli.py", "--from", "-", "--json"], '[{"Weight": 200}, {"Weight": 145.5}]'),
        (["./cli.py", "--weight", "-5"], ""),
        (["./cli.py", "--wieght", "180"], ""),
        (["./cli.py", "--from", "-"], "Weight\n150\nheavy\n"),
        (["./cli.py", "--help"], ""),
        (["./utilscli.py", "info"], ""),
        (["./utilscli.py", "predict", "--weight", "200", "--host", "http://127.0.0.1:9", "--retries", "0"], ""),
    ],
)
def test_the_command_lines_answer_as_they_do_here(image, command, rows):
    """With stdout, stderr and exit code; in a container without network, as a user without name and home."""
    here = run(*command, input=rows, stdin=None, env={**ENVIRONMENT, "MLOPS_MODEL": ""})
    assert in_image(image, *command, options=["-i", "--network=none"], input=rows, stdin=None) == (
        here.returncode,
        here.stdout,
        here.stderr,
    )


def test_training_is_told_to_need_more(image):
    code, out, err = in_image(image, "./utilscli.py", "retrain", "--model-name", "/dev/shm/model.joblib")
    assert (code, out) == (1, "")
    assert "Error: Training needs pandas" in err


def test_any_user_may_run_it(image):
    options = ["--network=none", "--user=4711:4711"]
    assert in_image(image, "./cli.py", "--weight", "180", options=options)[:2] == (0, "6 foot, 0 inches\n")
    with container(image, options=[*HARDENED, "--user=4711:4711"]) as started:
        assert requests.post(f"{started.url()}/predict", json={"Weight": 200}, timeout=10).json() == {
            "prediction": ANSWERS[200]
        }


def test_several_workers_need_no_writable_file_system(image):
    with container(image, options=[*HARDENED, "--env=WEB_CONCURRENCY=2"]) as started:
        assert requests.get(f"{started.url()}/metrics", timeout=10).status_code == 200


def test_another_model_may_be_mounted(image, two_features):
    path = two_features.with_suffix(".onnx")
    options = ["--network=none", f"--volume={path}:/model.onnx:ro", "--env=MLOPS_MODEL=/model.onnx"]
    here = run(sys.executable, "cli.py", "--model", path, "--weight", 180, "--age", 27)
    got = in_image(image, "./cli.py", "--weight", "180", "--age", "27", options=options)
    assert got == (0, here.stdout, here.stderr)


# -------------------------------------------------------------------------------------------------------- how it lives


def test_it_runs_as_nobody_with_no_privilege(service):
    status = docker("exec", service.id, "cat", "/proc/1/status")
    assert re.search(r"^Uid:\t65532\t65532\t65532\t65532$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


def test_health_goes_from_starting_to_healthy(image):
    with container(image, options=[*HARDENED, "--health-interval=2s"]) as started:
        seen = []
        while "healthy" not in seen and len(seen) < 600:
            seen.append(started.tell("{{.State.Health.Status}}"))
            time.sleep(0.1)
        assert list(dict.fromkeys(seen)) == ["starting", "healthy"]
        assert "htwtmlb-height" in started.tell("{{json .State.Health.Log}}")


@pytest.mark.parametrize(
    ("options", "command"),
    [
        (["--env=PORT=9000"], []),
        (["--env=PORT="], []),
        (["--workdir=/"], []),
        (["--env=MLOPS_API_KEYS=a-key-of-the-service"], []),
        (["--env=http_proxy=http://127.0.0.1:9", "--env=HTTP_PROXY=http://127.0.0.1:9"], []),
    ],
)
def test_health_is_looked_at_where_it_is(image, options, command):
    with container(image, *command, options=[*HARDENED, HEALTH, *options], ports=(8080, 9000)) as started:
        assert until_looked_at(started) == "healthy"


def test_a_service_that_does_not_answer_is_unhealthy(image):
    options = [*HARDENED, HEALTH, "--health-start-period=1s", "--health-retries=1"]
    with container(image, "sleep", "60", options=options) as started:
        assert until_looked_at(started) == "unhealthy"
        assert "Connection refused" in started.tell("{{json .State.Health.Log}}")


def until_looked_at(started):
    """Wait for a verdict on a container's health."""
    for _ in range(600):
        status = started.tell("{{.State.Health.Status}}")
        if status != "starting":
            break
        time.sleep(0.1)
    return status


@contextlib.contextmanager
def half_asked(started, body):
    """Send a request's head and the half of its body; give the connection."""
    host, port = started.url().removeprefix("http://").split(":")
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])
        time.sleep(0.5)  # it travels through the engine's proxy
        yield connection


def test_stop_finishes_a_request_under_way(image):
    body = json.dumps([{"Weight": 200}] * 100).encode()
    with container(image, options=HARDENED) as started, half_asked(started, body) as connection:
        stop = threading.Thread(target=docker, args=("stop", started.id))
        stop.start()
        while "Shutting down" not in started.logs() and stop.is_alive():
            time.sleep(0.1)
        connection.sendall(body[len(body) // 2 :])
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        stop.join()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.count(b"73.23") == 100
        assert started.wait() == 0


def test_stop_waits_for_no_client_that_never_ends_its_request(image):
    """Or the engine, which waits ten seconds, would kill what others have under way."""
    with container(image, options=HARDENED) as started, half_asked(started, b"[" * 1000):
        docker("stop", started.id)
        assert started.wait() == 0


@pytest.mark.parametrize("command", [[], ["cli.py", "--from", "-"]])
def test_stop_is_heard_before_anything_is_ready(image, command):
    """Process 1 hears only the signals that it asked for."""
    with container(image, *command, options=[*HARDENED, "--interactive", "--cpus=0.3"]) as started:
        for _ in range(100):
            status = docker("exec", started.id, "cat", "/proc/1/status")
            if int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) & 1 << signal.SIGTERM - 1:
                break
        docker("stop", started.id)
        assert started.wait() in (143, 0)


def test_256_mb_are_enough_under_load(image):
    with container(
        image, options=[*HARDENED, "--memory=256m", "--memory-swap=256m", "--health-interval=1s"]
    ) as started:
        url = started.url()
        rows = json.dumps([{"Weight": 145 + n % 150} for n in range(10_000)])
        table = "Weight\n" + "200\n" * 10_000
        with subprocess.Popen(
            [sys.executable, "utilscli.py", "load", "--host", url, "--rate", "200", "--duration", "10", "--json"],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as load:
            for _ in range(20):
                assert len(requests.post(f"{url}/predict", data=rows, timeout=60).json()["predictions"]) == 10_000
                answer = requests.post(f"{url}/predict", data=table, headers={"Content-Type": "text/csv"}, timeout=60)
                assert answer.text.count("\n") == 10_001
            report = json.load(load.stdout)
        assert report["answered"] > 0
        assert report["errors"] == {}
        assert started.tell("{{.State.OOMKilled}} {{.State.Running}} {{.RestartCount}}") == "false true 0"


@pytest.mark.parametrize("port", ["eighty", "70000", "-1", "80.5"])
def test_a_wrong_port_is_told(image, port):
    code, out, err = in_image(image, options=["--network=none", f"--env=PORT={port}"])
    assert (code, out) == (2, "")
    assert "Invalid value for '--port' (env var: 'PORT')" in err
    assert port in err


def test_a_port_without_value_is_the_usual_one(image):
    with container(image, options=[*HARDENED, "--env=PORT="]) as started:
        assert requests.get(f"{started.url()}/health/live", timeout=10).status_code == 200


def test_a_model_that_is_not_there_is_told(image):
    code, out, err = in_image(image, options=["--network=none", "--env=MLOPS_MODEL=/nothing.onnx"])
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert "/nothing.onnx" in err


# --------------------------------------------------------------------------------------------------------- what it is


def test_it_holds_what_answers_and_nothing_else(added):
    """No test, no data, no repository, nothing that trains, builds or installs."""
    own = {name.split("/")[1] for name in added if re.match("app/.", name)}
    expected = "LICENSE mlib.py cli.py utilscli.py app.py core toolkit service model.joblib model.onnx"
    assert own == set(expected.split())
    made_by_the_engine = {".dockerenv", "dev", "proc", "sys", "etc"}
    assert {name.split("/")[0] for name in added} <= {"app", "venv", "pycache"} | made_by_the_engine
    assert {name for name in added if re.match("etc/.", name)} <= {"etc/hostname", "etc/hosts", "etc/resolv.conf"}
    packages = {name.split("/")[4] for name in added if re.match(r"venv/lib/python3\.\d+/site-packages/.", name)}
    assert not packages & {"sklearn", "scipy", "pandas", "joblib", "pytest", "pip", "setuptools", "skl2onnx", "onnx"}
    assert {"onnxruntime", "numpy", "flask"} <= packages
    parts = {part for name in added for part in name.split("/")}
    assert not parts & {".git", ".env", ".aws", ".ssh", "tests", "notebooks", "htwtmlb.csv", "Makefile", "pip.conf"}
    kinds = (".csv", ".ipynb", ".key", ".pem", ".whl", ".gz")
    found = {name.rpartition("/")[2] for name in added if name.endswith(kinds)}
    assert found == {"cacert.pem"}  # certifi's, which is public


def test_nobody_but_root_can_change_it_and_nothing_gives_privileges(added):
    ours = {name: what for name, what in added.items() if name.startswith(("app/", "venv/", "pycache/"))}
    assert {uid for _, _, uid, _, _ in ours.values()} == {0}
    modes = {name: mode for name, (kind, mode, *_) in ours.items() if kind != tarfile.SYMTYPE}
    assert not [name for name, mode in modes.items() if mode & 0o6022]
    assert not [name for name, mode in modes.items() if mode & 0o004 == 0]


def test_nothing_is_compiled_when_it_starts(image):
    """Not of the standard library either, of which the official image has no byte code."""
    with container(image, options=[*HARDENED, "--env=PYTHONVERBOSE=1"]) as started:
        requests.post(f"{started.url()}/predict", json={"Weight": 200}, timeout=10)
        said = started.logs()
    assert len(re.findall(r"code object from '/pycache/.*pyc'", said)) > 300
    assert not re.findall(r"code object from '.*py'", said)


def test_a_file_that_is_changed_in_it_counts(image, tmp_path):
    """As in images that are made from it."""
    (tmp_path / "mlib.py").write_text("raise SystemExit('another')\n", encoding="utf-8")
    options = ["--network=none", f"--volume={tmp_path / 'mlib.py'}:/app/mlib.py:ro"]
    assert in_image(image, "cli.py", "--weight", "180", options=options) == (1, "", "another\n")


def test_its_commands_are_found_from_any_folder(image, tmp_path):
    (tmp_path / "rows.csv").write_text("Weight\n180\n", encoding="utf-8")
    options = ["--network=none", f"--volume={tmp_path}:/rows:ro", "--workdir=/rows", f"--user={os.getuid()}"]
    assert in_image(image, "cli.py", "--from", "rows.csv", options=options) == (0, "6 foot, 0 inches\n", "")


def test_several_workers_without_a_place_to_count_are_told_what_is_missing(image):
    code, out, err = in_image(image, options=["--network=none", "--ipc=none", "--env=WEB_CONCURRENCY=2"])
    assert (code, out) == (1, "")
    assert err.startswith("Error: Several workers count in a temporary folder, and none can be made: ")


def test_it_says_what_it_is(image):
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image))
    assert config["User"] == "65532:65532"
    assert config["StopSignal"] == "SIGTERM"
    assert not config.get("Entrypoint")
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    labels = config["Labels"]
    revision = run("git", "rev-parse", "HEAD").stdout.strip() or "unknown"
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == revision
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def test_secrets_beside_the_code_stay_outside(context):
    """Wherever they lie; the names are what people leave in a checkout."""
    names = [".env", "id_rsa", ".aws/credentials", "notes.txt", "service/.env", "core/.git/config", "toolkit/.key"]
    names += ["service/credentials.json", "core/server.pem", "core/errors.py~", "toolkit/old/remote.py"]
    for name in names:
        (context / name).parent.mkdir(exist_ok=True)
        (context / name).write_text("a secret that nobody should see")
    with built("mlops-cookbook-secrets", cwd=context) as image:
        digest = hashlib.sha256(b"a secret that nobody should see").hexdigest()
        assert digest not in {what[-1] for what in files(image).values()}
        assert in_image(image, "./cli.py", "--weight", "180")[:2] == (0, "6 foot, 0 inches\n")


def test_a_checkout_that_only_its_owner_may_read_makes_an_image_that_anybody_can_run(context):
    for folder, _, names in os.walk(context):
        os.chmod(folder, 0o700)
        for name in names:
            os.chmod(os.path.join(folder, name), 0o700 if name.endswith("cli.py") else 0o600)
    with built("mlops-cookbook-private", cwd=context) as image:
        assert in_image(image, "./cli.py", "--weight", "180")[:2] == (0, "6 foot, 0 inches\n")
        with container(image, options=HARDENED) as started:
            assert requests.get(started.url(), timeout=10).status_code == 200


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_model_that_cannot_answer_makes_no_image(context, damage):
    path = context / "model.onnx"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.unlink()
    said = make("image", "IMAGE=mlops-cookbook-damaged", cwd=context, returncode=2)
    assert "model.onnx" in said
    assert docker("images", "--quiet", "mlops-cookbook-damaged") == ""


@pytest.mark.parametrize("buildkit", ["0", "1"])
def test_either_builder_makes_it(image, base, added, buildkit):
    """The old one and BuildKit; older clients of Docker's bring that, newer ones want it installed beside."""
    again = f"{image}-{buildkit}"
    programs = {shutil.which("docker", path=folder) for folder in os.get_exec_path()} - {None}
    command = ["build", *BUILDING.split(), "--tag", again, "."]
    env = {**os.environ, "DOCKER_BUILDKIT": buildkit}
    results = [run(program, *command, env=env, timeout=600) for program in sorted(programs)]
    if all("buildx component is missing" in result.stderr for result in results):
        pytest.skip("this machine's Docker has no BuildKit")
    assert 0 in [result.returncode for result in results], results
    try:
        assert {name: what for name, what in files(again).items() if base.get(name) != what} == added
    finally:
        docker("rmi", "--force", again)


def test_two_builds_give_the_same_files(image, base, added):
    again = f"{image}-again"
    docker("build", *BUILDING.split(), "--no-cache", "--tag", again, ".")
    try:
        assert {name: what for name, what in files(again).items() if base.get(name) != what} == added
    finally:
        docker("rmi", "--force", again)


def test_it_adds_little_to_what_the_requirements_take(image):
    """At most 1.15 times of what requirements/serve.txt takes when it is installed on the same base."""
    install = "pip install --quiet --target /installed -r /serve.txt && du --summarize --bytes /installed"
    mount = f"--volume={ROOT}/requirements/serve.txt:/serve.txt:ro"
    printed = docker("run", "--rm", NETWORK, mount, PYTHON, "sh", "-c", install)
    installed = int(printed.split()[-2])
    size, base = (int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (image, PYTHON))
    assert size - base < 1.15 * installed


# ---------------------------------------------------------------------------------------------------------- registries


def test_what_is_pushed_can_be_pulled_and_answers(image, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))  # the login is no business of whoever runs the tests
    name, tag = image.split(":")
    with registry(tmp_path, "somebody") as server:
        docker("login", server.address, "--username", server.user, "--password", server.password)
        make(
            "push-image",
            f"IMAGE={name}",
            f"TAG={tag}",
            f"REGISTRY={server.address}",
            env={**ENVIRONMENT, "DOCKER_CONFIG": str(tmp_path / "docker")},
        )
        assert server.tags(name) == [tag]
        pushed = f"{server.address}/{image}"
        docker("rmi", pushed)
        docker("pull", pushed)
        try:
            assert in_image(pushed, "./cli.py", "--weight", "180") == (0, "6 foot, 0 inches\n", "")
        finally:
            docker("rmi", pushed)


def test_push_without_a_registry_says_what_is_missing():
    assert "REGISTRY is missing. Name one: make push-image REGISTRY=" in make("push-image", returncode=2)


@pytest.mark.parametrize("wrong", ["https://ghcr.io/x", "ghcr.io/x/", "ghcr.io/Somebody", "a b", "ghcr.io/x;ls"])
def test_push_to_what_is_no_registry_is_refused(wrong):
    said = make("push-image", f"REGISTRY={wrong}", returncode=2)
    assert f"REGISTRY: got {wrong}, expected a host and what follows it, in small letters" in said


def test_a_scan_without_a_scanner_is_no_success(tmp_path):
    for name in ("sh", "make", "git"):
        (tmp_path / name).symlink_to(shutil.which(name))
    said = make("scan-image", returncode=2, env={"PATH": str(tmp_path)})
    assert "Neither grype nor trivy is installed, so nothing was scanned." in said


@pytest.mark.parametrize(("exit_code", "returncode"), [(0, 0), (1, 2)])
def test_a_scan_is_what_the_scanner_says(tmp_path, exit_code, returncode):
    (tmp_path / "grype").write_text(f'#!/bin/sh\necho "asked: $*"; exit {exit_code}\n', encoding="utf-8")
    (tmp_path / "grype").chmod(0o755)
    env = {**ENVIRONMENT, "PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
    said = make("scan-image", "IMAGE=some", "TAG=one", returncode=returncode, env=env)
    assert "asked: --fail-on high --only-fixed some:one" in said


# -------------------------------------------------------------------------------------------------------------- README


def test_the_readme_shows_what_happens(tmp_path, two_features):
    copy = with_venv(copied(tmp_path / "clone"))
    shutil.copy(two_features.with_suffix(".onnx"), copy / "two.onnx")  # which it trains further up
    port = free_port()
    name = f"readme-{os.getpid()}"
    env = {**ENVIRONMENT, "IMAGE": name, "IMAGE_OPTIONS": BUILDING}
    page, _ = section((ROOT / "README.md").read_text(encoding="utf-8"), "In a container")
    try:
        wrong = untrue(page, copy, env, instead={"9090": port, "mlops-cookbook": name})
        assert not wrong, "\n".join(wrong)
    finally:
        docker("rm", "--force", f"{name}-service", returncode=None)
        docker("rmi", "--force", name)


# ------------------------------------------------------------------------------------------------------ newest Python


@pytest.mark.long
def test_the_unit_tests_pass_on_the_newest_python():
    """As everybody would install it; what needs a browser or Docker is skipped there.

    Without tests that take minutes and whose outcome no Python changes: of shell scripts, of documents, and those that
    ask a real server thousands of times. What services log and the lines of dots would drown what failed.
    """
    script = """
        set -e
        apt-get update -qq && apt-get install -y -qq --no-install-recommends curl make > /dev/null
        mkdir /clone && tar -c -C /source --exclude=.venv* --exclude=.git --exclude=__pycache__ . | tar -x -C /clone
        cd /clone && python -m venv /venv
        /venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
        /venv/bin/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
        /venv/bin/python --version
        /venv/bin/python -m pytest --numprocesses auto --dist loadgroup -m 'not long and not container' \
          -p no:cacheprovider --tb short -r fE tests \
          --ignore tests/test_resize.py --ignore tests/test_engine.py --ignore tests/test_readme.py \
          --ignore tests/test_server.py --ignore tests/test_openapi.py --ignore tests/test_load.py \
          > /printed 2> /dev/null || { grep -v '%]$' /printed; exit 1; }
        tail -n 1 /printed
    """
    printed = docker("run", "--rm", NETWORK, f"--volume={ROOT}:/source:ro", PYTHON, "sh", "-c", script, timeout=1500)
    print(printed)
    assert "Python 3.13" in printed
    assert re.search(r"\d{3,} passed", printed)
