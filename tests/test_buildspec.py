"""Does buildspec.yml publish the image, and only an image that passed?  Its commands are run as CodeBuild would."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ENVIRONMENT, ROOT
from engine import BUILDING, MARKS, built, docker
from registry import PASSWORD, registry

pytestmark = MARKS

SPEC = yaml.safe_load((ROOT / "buildspec.yml").read_text())
PHASES = ("install", "pre_build", "build", "post_build")
INHERITED = ("MAKE", "MFLAGS", "PYTEST")  # what the `make` and the pytest that run these tests tell their own
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TAGS = ["0123456789ab", "latest"]
# The checks are those that take no minute, and of the tests one of each kind: this test is one of them itself.
NARROWED = {
    "make check": "make lint-docker lint-shell lint-workflows",
    "make test": "make test PYTEST_ADDOPTS='tests/test_cli.py -k test_weight_may_be_repeated'",
    'make test-containers MLOPS_IMAGE="$IMAGE:$TAG"': 'make test-containers MLOPS_IMAGE="$IMAGE:$TAG" '
    "PYTEST_ADDOPTS='tests/test_containers.py -k test_any_user_may_run_it'",
}
COMMANDS = [command for phase in PHASES for command in SPEC["phases"][phase]["commands"]]
PUSH = COMMANDS.index("make push-image")
# Credentials are what only AWS has: the stand-in of its command answers these two questions and no other.
AWS = f"""#!/bin/sh
case "$*" in
  "sts get-caller-identity --query Account --output text") echo 123456789012 ;;
  "ecr get-login-password --region eu-west-1") echo "${{PASSWORD-{PASSWORD}}}" ;;
  *) echo "aws: got $*, expected a question of buildspec.yml" >&2; exit 2 ;;
esac
"""


@pytest.fixture(name="server")
def _server(tmp_path):
    with registry(tmp_path / "registry", "AWS") as server:
        yield server


@pytest.fixture(name="codebuild")
def _codebuild(tmp_path):
    """Run phases as CodeBuild does, with a command line of AWS that answers; give exit code and what was printed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/aws").write_text(AWS)
    (tmp_path / "bin/aws").chmod(0o755)

    def run(phases, cwd=tmp_path, **variables):
        environment = {
            **{k: v for k, v in ENVIRONMENT.items() if not k.startswith(INHERITED)},
            "PATH": f"{tmp_path}/bin:{ENVIRONMENT['PATH']}",
            "DOCKER_CONFIG": str(tmp_path / "docker"),  # the login is no business of whoever runs the tests
            "AWS_REGION": "eu-west-1",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT,
            "IMAGE_OPTIONS": BUILDING,
            **SPEC["env"]["variables"],
            **variables,  # of a project or a build, which go before those of the file
        }
        command = [SPEC["env"]["shell"], "-c", script(phases)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": 1200}
        result = subprocess.run(command, cwd=cwd, env=environment, text=True, check=False, **options)
        return result.returncode, result.stdout

    return run


def script(phases):
    """Give the phases as one script, as they share a shell: what fails ends its phase, and the build.

    Except that a build that failed goes on to post_build, unless it is told to abort.
    Source: https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
    """
    lines = ["export CODEBUILD_BUILD_SUCCEEDING=1"]
    for name, phase in phases.items():
        lines += [f"{name}() {{", *(f"eval {shlex.quote(each)} || return" for each in phase["commands"]), ":", "}"]
        goes_on = name == "build" and phase.get("on-failure") != "ABORT"
        lines.append(f"{name} || {'CODEBUILD_BUILD_SUCCEEDING=0' if goes_on else 'exit'}")
    return "\n".join([*lines, 'test "$CODEBUILD_BUILD_SUCCEEDING" = 1'])


def changed(change):
    """Give the phases with each command changed by a function."""
    return {
        name: {**SPEC["phases"][name], "commands": [change(each) for each in SPEC["phases"][name]["commands"]]}
        for name in PHASES
    }


@pytest.fixture(name="checkout")
def _checkout(tmp_path):
    """A copy of the source. What `make install` would install is what these tests run with."""
    skipped = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis")
    copy = Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=skipped))
    for stamps in (("created", "installed", "installed-dev"), ("installed",)):
        environment = copy / (".venv" if len(stamps) > 1 else ".venv-serve")
        environment.mkdir()
        for each in Path(sys.prefix).iterdir():
            if each.name not in stamps:
                (environment / each.name).symlink_to(each)
        for each in stamps:
            (environment / each).touch()
    return copy


def test_the_image_is_tested_and_published(codebuild, server, checkout):
    """Under the commit and as latest; what is pulled answers, and tells its commit."""
    image = f"mlops-cookbook-codebuild-{os.getpid()}"
    names = [f"{prefix}{image}:{tag}" for prefix in ("", f"{server.address}/") for tag in TAGS]
    try:
        code, printed = codebuild(
            changed(lambda each: NARROWED.get(each, each)), cwd=checkout, IMAGE=image, REGISTRY=server.address
        )
        assert code == 0, printed
        assert printed.count(" passed") == 2, printed
        assert server.tags(image) == TAGS
        assert server.digest(image, "latest") == server.digest(image, TAGS[0])
        docker("rmi", "--force", *names)
        config = ("--config", checkout.parent / "docker")
        docker(*config, "pull", names[-1])
        assert docker("run", "--rm", "--network=none", names[-1], "./cli.py", "--weight", "180") == "6 foot, 0 inches\n"
        template = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
        assert docker("image", "inspect", "--format", template, names[-1]).strip() == COMMIT
    finally:
        docker("rmi", "--force", *names, returncode=None)


@pytest.fixture(scope="module", name="image")
def _image():
    with built("mlops-cookbook-codebuild") as name:
        yield name


def only_published(image, broken=None):
    """Give the phases with an image that is there, with nothing tested, and with one command that fails."""
    there = f'docker tag {image} "$IMAGE:$TAG"'
    done = {each: "true" for each in COMMANDS if each.startswith("make ") and "push-image" not in each}
    done[next(each for each in done if each.startswith("make image "))] = there
    return changed(lambda each: "false" if each == broken else done.get(each, each))


@pytest.mark.parametrize("broken", [None, *COMMANDS[:PUSH]])
def test_nothing_is_pushed_after_a_failure(codebuild, server, image, broken):
    """Whatever fails before the push; and where nothing fails, all is pushed."""
    name = f"mlops-cookbook-failing-{os.getpid()}"
    try:
        code, printed = codebuild(only_published(image, broken), IMAGE=name, REGISTRY=server.address, cwd=ROOT)
        assert (code == 0) == (broken is None), printed
        assert server.tags(name) == ([] if broken else TAGS)
    finally:
        names = [f"{prefix}{name}:{tag}" for prefix in ("", f"{server.address}/") for tag in TAGS]
        docker("rmi", "--force", *names, returncode=None)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PASSWORD": "another"}, "unauthorized"),
        ({"CODEBUILD_RESOLVED_SOURCE_VERSION": ""}, "codebuild_resolved_source_version is empty, expected a commit"),
        ({"AWS_REGION": "eu-central-1"}, "aws: got ecr get-login-password --region eu-central-1"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_pushed(codebuild, server, image, variables, expected):
    name = f"mlops-cookbook-refused-{os.getpid()}"
    try:
        code, printed = codebuild(only_published(image), IMAGE=name, REGISTRY=server.address, cwd=ROOT, **variables)
        assert code != 0
        assert expected in printed.lower()
        assert PASSWORD not in printed
        assert server.tags(name) == []
    finally:
        docker("rmi", "--force", f"{name}:{TAGS[0]}", returncode=None)


def test_the_registry_is_that_of_the_account_and_region_unless_told(codebuild):
    command = next(each for each in COMMANDS if "get-caller-identity" in each)
    phases = {"post_build": {"commands": [command, 'echo "$REGISTRY"']}}
    assert codebuild(phases) == (0, "123456789012.dkr.ecr.eu-west-1.amazonaws.com\n")
    assert codebuild(phases, REGISTRY="registry.example") == (0, "registry.example\n")
