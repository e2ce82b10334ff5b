"""Does buildspec.yml publish the image, and only an image that passed?  Its commands are run as CodeBuild would."""

import os
import re
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
COMMIT = "5642b68c413337ff1060c15cea1272cc9898d7ad"  # which the repository of these tests has, and no other
TAGS = [COMMIT, "latest"]
# The checks are those that take no minute. Of the tests those that meet what a phase exports, and one of the image that
# was built; this test is one of them itself.
NARROWED = {
    "make check": "make lint-docker lint-shell lint-workflows",
    "make test": "make test PYTEST_ADDOPTS='tests/test_run_docker.py "
    "-k test_the_image_that_is_there_is_not_built_again'",
    'make test-containers MLOPS_IMAGE="$IMAGE_NAME:$COMMIT"': 'make test-containers MLOPS_IMAGE="$IMAGE_NAME:$COMMIT" '
    "PYTEST_ADDOPTS='tests/test_containers.py -k \"test_any_user_may_run_it or test_the_readme_shows_what_happens\"'",
}
COMMANDS = [command for phase in PHASES for command in SPEC["phases"][phase]["commands"]]
PUSH = next(number for number, command in enumerate(COMMANDS) if command.startswith("make push-image "))
NOT_MAIN = "expected push of refs/heads/main: filter it"
NO_COMMIT = "expected a commit: build from a git repository"
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


@pytest.fixture(name="repository")
def _repository(tmp_path):
    """A git repository whose main is at COMMIT; a function that runs git in it."""
    who = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in {"NAME": "A", "EMAIL": "a@b.c"}.items()}
    who |= {f"GIT_{role}_DATE": "2020-01-01T00:00:00Z" for role in ("AUTHOR", "COMMITTER")}
    environment = {**ENVIRONMENT, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*command):
        return subprocess.check_output(["git", *command], cwd=folder, env=environment, text=True).strip()

    folder = tmp_path / "repository"
    folder.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "--message=One")
    assert git("rev-parse", "HEAD") == COMMIT
    return git


@pytest.fixture(name="codebuild")
def _codebuild(tmp_path, repository):
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
            "CODEBUILD_SOURCE_REPO_URL": repository("rev-parse", "--absolute-git-dir"),
            "CODEBUILD_WEBHOOK_EVENT": "PUSH",
            "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/main",
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
    kinds = {
        ".venv": (sys.prefix, "created", "installed", "installed-dev"),
        ".venv-serve": (sys.prefix, "installed"),
        ".venv-sam": (f"{sys.prefix}-sam" if Path(f"{sys.prefix}-sam").exists() else sys.prefix, "installed"),
    }
    for name, (made, *stamps) in kinds.items():
        environment = copy / name
        environment.mkdir()
        for each in Path(made).iterdir():
            if each.name not in stamps:
                (environment / each.name).symlink_to(each)
        for each in stamps:
            (environment / each).touch()
    return copy


def test_nothing_is_published_before_every_gate():
    """In their order; what fails stops the build, as there is no other way in which a command goes on."""
    made = [target for command in COMMANDS for target in re.findall(r"^\s*make ([a-z-]+)", command, re.MULTILINE)]
    assert made == ["install", "check", "test", "image", "test-containers", "push-image", "push-image"]
    assert not [command for command in COMMANDS if command.startswith("make ") and re.search(r"[|;&]", command)]
    assert SPEC["phases"]["build"]["on-failure"] == "ABORT"


def test_the_image_is_tested_and_published(codebuild, server, checkout):
    """Under the commit and as latest; what is pulled answers, and tells its commit."""
    image = f"mlops-cookbook-codebuild-{os.getpid()}"
    names = [f"{prefix}{image}:{tag}" for prefix in ("", f"{server.address}/") for tag in TAGS]
    try:
        code, printed = codebuild(
            changed(lambda each: NARROWED.get(each, each)), cwd=checkout, IMAGE_NAME=image, REGISTRY=server.address
        )
        assert code == 0, printed
        assert re.findall(r"\b(\d+) passed", printed) == ["1", "2"], printed
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
    there = f'docker tag {image} "$IMAGE_NAME:$COMMIT"'
    done = {each: "true" for each in COMMANDS if each.startswith("make ") and "push-image" not in each}
    done[next(each for each in done if each.startswith("make image "))] = there
    return changed(lambda each: "false" if each == broken else done.get(each, each))


@pytest.mark.parametrize("broken", [None, *COMMANDS[:PUSH]])
def test_nothing_is_pushed_after_a_failure(codebuild, server, image, broken):
    """Whatever fails before the push; and where nothing fails, all is pushed."""
    name = f"mlops-cookbook-failing-{os.getpid()}"
    try:
        code, printed = codebuild(only_published(image, broken), IMAGE_NAME=name, REGISTRY=server.address, cwd=ROOT)
        assert (code == 0) == (broken is None), printed
        assert server.tags(name) == ([] if broken else TAGS)
    finally:
        names = [f"{prefix}{name}:{tag}" for prefix in ("", f"{server.address}/") for tag in TAGS]
        docker("rmi", "--force", *names, returncode=None)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PASSWORD": "another"}, "unauthorized"),
        ({"CODEBUILD_RESOLVED_SOURCE_VERSION": ""}, f"codebuild_resolved_source_version is '', {NO_COMMIT}"),
        ({"CODEBUILD_RESOLVED_SOURCE_VERSION": "3sL4kqtJlcpXroDTDmJ"}, NO_COMMIT),  # as of a zip in S3
        ({"CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/other"}, f"tells push of refs/heads/other, {NOT_MAIN}"),
        ({"CODEBUILD_WEBHOOK_HEAD_REF": "refs/tags/main"}, NOT_MAIN),
        ({"CODEBUILD_WEBHOOK_HEAD_REF": ""}, NOT_MAIN),
        ({"CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_UPDATED"}, NOT_MAIN),  # from a branch main of a fork
        ({"CODEBUILD_WEBHOOK_EVENT": ""}, NOT_MAIN),
        ({"AWS_REGION": "eu-central-1"}, "aws: got ecr get-login-password --region eu-central-1"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_pushed(codebuild, server, image, variables, expected):
    name = f"mlops-cookbook-refused-{os.getpid()}"
    try:
        code, printed = codebuild(
            only_published(image), IMAGE_NAME=name, REGISTRY=server.address, cwd=ROOT, **variables
        )
        assert code != 0
        assert expected in printed.lower()
        assert PASSWORD not in printed
        assert server.tags(name) == []
    finally:
        docker("rmi", "--force", f"{name}:{TAGS[0]}", returncode=None)


@pytest.mark.parametrize(
    "started", [{}, {"CODEBUILD_WEBHOOK_EVENT": "", "CODEBUILD_WEBHOOK_HEAD_REF": ""}], ids=["webhook", "person"]
)
@pytest.mark.parametrize("newer", [False, True])
def test_latest_does_not_move_back(codebuild, server, image, repository, started, newer):
    """A build of an old commit publishes that commit, whoever started it."""
    name = f"mlops-cookbook-latest-{os.getpid()}"
    if newer:
        repository("commit", "--quiet", "--allow-empty", "--message=Two")
    try:
        code, printed = codebuild(only_published(image), IMAGE_NAME=name, REGISTRY=server.address, cwd=ROOT, **started)
        assert code == 0, printed
        assert server.tags(name) == (TAGS[:1] if newer else TAGS)
        assert (f"latest stays as it is: main is at {repository('rev-parse', 'main')}" in printed) == newer
    finally:
        names = [f"{prefix}{name}:{tag}" for prefix in ("", f"{server.address}/") for tag in TAGS]
        docker("rmi", "--force", *names, returncode=None)


def test_latest_does_not_move_where_main_is_not_known(codebuild, server, image):
    """As where a pipeline brings the source: the build fails, and says why."""
    name = f"mlops-cookbook-unknown-{os.getpid()}"
    try:
        code, printed = codebuild(
            only_published(image), IMAGE_NAME=name, REGISTRY=server.address, cwd=ROOT, CODEBUILD_SOURCE_REPO_URL=""
        )
        assert code != 0
        assert "fatal: no path specified" in printed
        assert server.tags(name) == TAGS[:1]
    finally:
        docker(
            "rmi", "--force", *(f"{prefix}{name}:{COMMIT}" for prefix in ("", f"{server.address}/")), returncode=None
        )


def test_the_registry_is_that_of_the_account_and_region_unless_told(codebuild):
    command = next(each for each in COMMANDS if "get-caller-identity" in each)
    phases = {"post_build": {"commands": [command, 'echo "$REGISTRY"']}}
    assert codebuild(phases) == (0, "123456789012.dkr.ecr.eu-west-1.amazonaws.com\n")
    assert codebuild(phases, REGISTRY="registry.example") == (0, "registry.example\n")
