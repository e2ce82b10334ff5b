"""Tests of ./run_docker.sh: with a docker that only writes down what it is told, and with the real one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import engine
import pytest
from conftest import ENVIRONMENT, ROOT, free_port, run

TOLD = """#!/bin/bash
echo "$*" >> {log}
case "$1 $2" in {cases} esac
"""


@pytest.fixture(name="told")
def _told(tmp_path):
    """Run it with a docker that answers some commands so, and all others with success; give what that was told, too."""

    def told(*args, cases="", **given):
        log, docker = tmp_path / "log", tmp_path / "docker"
        log.write_text("")
        docker.write_text(TOLD.format(log=log, cases=cases))
        docker.chmod(0o755)
        env = {**ENVIRONMENT, "DOCKER": str(docker), "PORT": free_port(), **given}
        return run("./run_docker.sh", *args, env=env), log.read_text().splitlines()

    return told


def test_it_builds_lists_and_serves(told):
    done, asked = told(PORT="8093", IMAGE="some", TAG="one")
    assert (done.returncode, done.stderr) == (0, "")
    assert [command.split()[0] for command in asked] == ["version", "build", "image", "images", "run"]
    assert asked[1].startswith("build --tag some:one ")
    assert asked[-2] == "images some"
    assert "--publish 127.0.0.1:8093:8080" in asked[-1]
    assert asked[-1].endswith(" some:one")


def test_the_image_that_is_there_is_not_built_again(told):
    done, asked = told("--no-build")
    assert done.returncode == 0
    assert [command.split()[0] for command in asked] == ["version", "image", "images", "run"]
    assert asked[-1].endswith(" mlops-cookbook:latest")


def test_the_exit_code_is_that_of_the_container(told):
    assert told("--no-build", cases='"run "*) exit 7 ;;')[0].returncode == 7


def test_a_build_that_fails_ends_it(told):
    done, asked = told(cases='"build "*) echo no space left >&2; exit 1 ;;')
    assert done.returncode == 2  # make's
    assert "no space left" in done.stderr
    assert asked[-1].startswith("build ")


def test_the_help_names_each_option_and_variable(told):
    done, asked = told("--help")
    assert (done.returncode, done.stderr, asked) == (0, "", [])
    for word in ("--no-build", "--help", "PORT=8080", "IMAGE=mlops-cookbook", "TAG=latest", "DOCKER=docker"):
        assert f"\n  {word} " in done.stdout


@pytest.mark.parametrize("args", [["--nobuild"], ["8080"], ["--no-build", "-p"], [""]])
def test_what_is_no_option_is_refused(told, args):
    done, asked = told(*args)
    assert (done.returncode, done.stdout, asked) == (2, "", [])
    assert f"got {args[-1]}, expected --no-build or nothing" in done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "08080", "80 80", "1:2", "0.0.0.0:8080"])
def test_what_is_no_port_is_refused(told, port):
    done, asked = told(PORT=port)
    assert (done.returncode, done.stdout, asked) == (1, "", [])
    assert f"PORT: got {port}, expected a number from 1 to 65535" in done.stderr


def test_a_port_in_use_is_told_before_anything_is_built(told):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done, asked = told(PORT=port)
    assert (done.returncode, done.stdout, asked) == (1, "", ["version"])
    assert f"Port {port} is in use. Stop what serves there, or take another: PORT=" in done.stderr


def test_a_missing_engine_is_told(told):
    done, asked = told(DOCKER="no-such-docker")
    assert (done.returncode, asked) == (1, [])
    assert "no-such-docker is not installed. See https://docs.docker.com/engine/install/" in done.stderr


def test_an_engine_that_does_not_answer_is_told_in_its_own_words(told):
    done, asked = told(cases='"version "*) echo permission denied while trying to connect >&2; exit 1 ;;')
    assert (done.returncode, asked) == (1, ["version"])
    assert "The engine does not answer. Is it running, and are you allowed to use it?" in done.stderr
    assert "permission denied while trying to connect" in done.stderr


def test_an_image_that_is_missing_is_told(told):
    done, asked = told("--no-build", cases='"image inspect"*) exit 1 ;;', IMAGE="some")
    assert (done.returncode, len(asked)) == (1, 2)
    assert "There is no image some:latest. Build it: make image" in done.stderr


# ----------------------------------------------------------------------------------------------- with Docker


def with_docker(test):
    """Mark a test that wants a real engine."""
    for mark in engine.MARKS:
        test = mark(test)
    return test


@contextlib.contextmanager
def started(image, port):
    """Start it as from a terminal; give its process when it serves."""
    env = {**ENVIRONMENT, "IMAGE": image, "PORT": port, "IMAGE_OPTIONS": engine.BUILDING}
    command = {
        "cwd": ROOT,
        "env": env,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "start_new_session": True,
    }
    with subprocess.Popen(["./run_docker.sh"], stderr=subprocess.STDOUT, text=True, **command) as process:
        printed = []
        try:
            for line in process.stdout:
                printed.append(line)
                if "Running on" in line:
                    break
            else:
                pytest.fail("".join(printed))
            yield process, "".join(printed)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)


@pytest.fixture(name="image")
def _image():
    """A name for an image that is removed in the end."""
    name = f"test-run-docker-{os.getpid()}"
    yield name
    engine.docker("rmi", "--force", f"{name}:latest")


@with_docker
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 0)])  # as `python app.py` does
def test_it_serves_locked_down_and_on_this_machine_only_until_ctrl_c(image, number, code):
    port = free_port()
    with started(image, port) as (process, printed):
        assert f"Serving {image}:latest on http://127.0.0.1:{port}" in printed
        assert f"\n{image} " in printed  # the list of images
        done = run("./predict.sh", env={**ENVIRONMENT, "PORT": port})
        assert json.loads(done.stdout)["prediction"]["height_human_readable"] == "6 foot, 1 inches"
        container = engine.docker("ps", "--quiet", "--filter", f"ancestor={image}").strip()
        (told,) = json.loads(engine.docker("inspect", container))
        settings = told["HostConfig"]
        assert settings["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}
        assert (settings["ReadonlyRootfs"], settings["Init"]) == (True, True)
        assert (settings["CapDrop"], settings["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
        again = run("./run_docker.sh", "--no-build", env={**ENVIRONMENT, "PORT": port, "IMAGE": image})
        assert again.returncode == 1
        assert f"Port {port} is in use" in again.stderr
        os.killpg(process.pid, number)
        assert process.wait(timeout=60) == code
    for _ in range(100):  # --rm comes a moment later
        if not engine.docker("ps", "--all", "--quiet", "--filter", f"id={container}"):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"{container} is still there")


@with_docker
def test_a_container_that_ends_gives_its_exit_code(image):
    """The image's command is replaced by one that ends: an image on top of it says so."""
    lines = 'FROM python:3.13-slim\nCMD ["python", "-c", "raise SystemExit(7)"]\n'
    engine.docker("build", "--tag", image, "-", input=lines)
    done = run("./run_docker.sh", "--no-build", env={**ENVIRONMENT, "IMAGE": image, "PORT": free_port()})
    assert done.returncode == 7, done.stderr
