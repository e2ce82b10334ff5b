"""Do GitHub's workflows publish the image that was tested, and nothing else?  Their own commands are run here."""

import os
import re
import shlex
import subprocess

import pytest
import yaml
from conftest import ENVIRONMENT, ROOT
from consoles import copied, with_venv
from engine import BUILDING, MARKS, docker
from registry import PASSWORD, registry

WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
INHERITED = ("MAKE", "MFLAGS", "PYTEST")  # what the `make` and the pytest that run these tests tell their own
# Of the tests, of which these are a part, those that meet what a step tells them. Left out are the scan, for which the
# workflow fetches a scanner, and what it installs.
NARROWED = {
    "make test": ["tests/test_run_docker.py", "-k", "test_the_image_that_is_there_is_not_built_again"],
    "make test-containers": ["tests/test_containers.py", "-k", "test_the_readme_shows_what_happens"],
}
LEFT_OUT = re.compile(r"make scan-image\b|sudo apt-get\b")
ON_MAIN = "github.ref == 'refs/heads/main'"
# Where main is, only GitHub knows: the stand-in of its command answers this question and no other.
GH = f"""#!/bin/sh
case "$GH_TOKEN $*" in
  "{PASSWORD} api repos/Octo-Org/Cookbook/git/ref/heads/main --jq .object.sha") echo "$MAIN" ;;
  *) echo "gh: got $*, expected the question of image.yml, with its token" >&2; exit 2 ;;
esac
"""


def steps(name, job):
    """Give a job's steps."""
    return WORKFLOWS[name]["jobs"][job]["steps"]


def made(name, job):
    """Give the steps of a job that make something, by their target, in their order."""
    found = [(re.findall(r"\bmake ([a-z-]+)", step.get("run", "")), step) for step in steps(name, job)]
    return {target: step for targets, step in found for target in targets}


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_every_target_that_a_workflow_makes_is_there(workflow):
    commands = "\n".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    asked = set(re.findall(r"\bmake ([a-z-]+)", commands))
    assert asked
    assert asked <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_what_a_pull_request_starts_may_only_read(workflow):
    """YAML reads the word `on` as true."""
    events = {**workflow[True]}
    events.pop("schedule", None)
    assert events == {"push": {"branches": ["main"]}, "pull_request": None}
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        if "write" in job["permissions"].values():
            assert job["if"] == ON_MAIN


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_actions_are_pinned_by_digest_and_the_version_stands_beside(workflow):
    """A tag may be moved to something else; YAML does not tell the comment."""
    used = re.findall(r"\buses: (.*)", (ROOT / ".github/workflows" / workflow).read_text())
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)]


def test_nothing_is_published_before_every_gate():
    """In their order, none of them skipped; what fails stops the rest, but for the scan in a pull request."""
    gates = made("image.yml", "build")
    assert list(gates) == ["test", "image", "test-containers", "scan-image"]
    assert list(made("ci.yml", "test")) == ["check", "test"]
    for step in (*gates.values(), *made("ci.yml", "test").values()):
        assert "if" not in step
        assert "||" not in step["run"]
    assert {target: step["continue-on-error"] for target, step in gates.items() if "continue-on-error" in step} == {
        "scan-image": "${{ github.event_name == 'pull_request' }}"
    }
    jobs = WORKFLOWS["image.yml"]["jobs"]
    assert not any("continue-on-error" in job for job in jobs.values())
    assert jobs["publish"]["needs"] == "build"
    assert [step["if"] for step in jobs["build"]["steps"] if "if" in step] == [ON_MAIN, ON_MAIN]


def test_what_is_attested_is_what_was_pushed_and_latest_comes_last():
    order = steps("image.yml", "publish")
    pushing = [number for number, step in enumerate(order) if "make push-image" in step.get("run", "")]
    attesting = next(n for n, step in enumerate(order) if step.get("uses", "").startswith("actions/attest@"))
    assert pushing == [attesting - 1, attesting + 1]
    assert order[pushing[0]]["id"] == "push"
    assert 'TAG="$GITHUB_SHA"' in order[pushing[0]]["run"]
    assert "TAG=latest" in order[pushing[1]]["run"]
    given = order[attesting]["with"]
    assert given["subject-name"] == "${{ steps.push.outputs.name }}"
    assert given["subject-digest"] == "${{ steps.push.outputs.digest }}"
    assert not any("if" in step or "continue-on-error" in step for step in order)


class Runner:
    """Runs the commands of image.yml's jobs, as for a push to main; actions are not run.

    Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax, of `shell: bash`.
    """

    def __init__(self, folder):
        self.checkout = with_venv(copied(folder / "checkout"))
        (self.checkout / ".venv-serve").symlink_to(self.checkout / ".venv")
        os.utime(self.checkout / "requirements/serve.txt", (0, 0))
        (folder / "bin").mkdir()
        (folder / "bin/gh").write_text(GH)
        (folder / "bin/gh").chmod(0o755)
        self.output = folder / "output"
        self.name = f"mlops-cookbook-workflow-{os.getpid()}"
        self.known = {"github.token": PASSWORD}
        self.known |= {"github.server_url": "https://github.com", "github.repository": "Octo-Org/Cookbook"}
        self.environment = {
            **{k: v for k, v in ENVIRONMENT.items() if not k.startswith(INHERITED)},
            **WORKFLOWS["image.yml"]["env"],
            "IMAGE_NAME": self.name,
            "PATH": f"{folder}/bin:{ENVIRONMENT['PATH']}",
            "DOCKER_CONFIG": str(folder / "docker"),  # the login is no business of whoever runs the tests
            "GITHUB_ACTOR": "octocat",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_REPOSITORY": "Octo-Org/Cookbook",
            "GITHUB_REPOSITORY_OWNER": "Octo-Org",
            "GITHUB_SHA": COMMIT,
            "MAIN": COMMIT,
        }

    def filled(self, values):
        """Give a mapping with its expressions replaced by what they stand for."""
        return {k: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: self.known[found[1]], v) for k, v in values.items()}

    def run(self, job, **settings):
        """Run a job to its end, or to the command that fails; give the exit code and what was printed.

        Settings go before what the job itself tells its steps.
        """
        printed = ""
        given = {**WORKFLOWS["image.yml"]["jobs"][job].get("env", {}), **settings}
        for step in steps("image.yml", job):
            if "run" not in step or LEFT_OUT.search(step["run"]):
                continue
            environment = {**self.environment, **given, **self.filled(step.get("env", {}))}
            if "IMAGE_OPTIONS" in environment:
                environment["IMAGE_OPTIONS"] += f" {BUILDING}"
            for command, chosen in NARROWED.items():
                if re.match(rf"{command}(\s|$)", step["run"]):
                    environment["PYTEST_ADDOPTS"] = shlex.join(chosen)
            result = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.checkout,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            printed += result.stdout
            if result.returncode:
                return result.returncode, printed
            if "id" in step:
                told = dict(line.split("=", 1) for line in self.output.read_text().splitlines())
                self.known |= {f"steps.{step['id']}.outputs.{name}": value for name, value in told.items()}
        outputs = self.filled(WORKFLOWS["image.yml"]["jobs"][job].get("outputs", {}))
        self.known |= {f"needs.{job}.outputs.{name}": value for name, value in outputs.items()}
        return 0, printed


@pytest.fixture(scope="module", name="built")
def _built(tmp_path_factory):
    """A runner whose first job is done; its image is only in the file that goes to the second."""
    runner = Runner(tmp_path_factory.mktemp("runner"))
    try:
        code, printed = runner.run("build")
        assert code == 0, printed
        assert printed.count(" 1 passed") + printed.count("\n1 passed") == 2, printed
    finally:
        docker("rmi", "--force", f"{runner.name}:{COMMIT}", returncode=None)
    return runner


@pytest.fixture(name="server")
def _server(tmp_path):
    with registry(tmp_path / "registry", "octocat") as server:
        yield server


@pytest.fixture(name="publish")
def _publish(built, server):
    """Run the second job, with a registry of its own; give exit code and what was printed."""
    known, prefixes = dict(built.known), ("", f"{server.address}/octo-org/")

    def run(**settings):
        return built.run("publish", REGISTRY=server.address, **settings)

    try:
        yield run
    finally:
        built.known = known
        names = [f"{prefix}{built.name}:{tag}" for prefix in prefixes for tag in (COMMIT, "latest")]
        docker("rmi", "--force", *names, returncode=None)


class TestPublishing:
    """By image.yml's two jobs, to a registry that wants a login."""

    pytestmark = MARKS

    def test_the_image_is_published_as_the_commit_and_as_latest(self, built, publish, server):
        """In lower case; the digest that is attested is that of what can be pulled."""
        code, printed = publish()
        assert code == 0, printed
        repository = f"octo-org/{built.name}"
        pushed = f"{server.address}/{repository}"
        assert server.tags(repository) == [COMMIT, "latest"]
        assert built.known["steps.push.outputs.name"] == pushed
        assert built.known["steps.push.outputs.digest"] == server.digest(repository, COMMIT)
        assert built.known["steps.push.outputs.digest"] == server.digest(repository, "latest")
        docker("rmi", "--force", *(f"{name}:{tag}" for name in (built.name, pushed) for tag in (COMMIT, "latest")))
        docker("--config", built.environment["DOCKER_CONFIG"], "pull", f"{pushed}:latest")
        answer = docker("run", "--rm", "--network=none", f"{pushed}:latest", "./cli.py", "--weight", "180")
        assert answer == "6 foot, 0 inches\n"
        template = '{{index .Config.Labels "org.opencontainers.image.source"}}'
        assert docker("image", "inspect", "--format", template, f"{pushed}:latest") == (
            "https://github.com/Octo-Org/Cookbook\n"
        )

    def test_latest_does_not_move_back(self, built, publish, server):
        """An old run that is run again publishes its commit."""
        code, printed = publish(MAIN="0" * 40)
        assert code == 0, printed
        assert f"latest stays as it is: main is at {'0' * 40}, and this image is of {COMMIT}" in printed
        assert server.tags(f"octo-org/{built.name}") == [COMMIT]

    def test_another_image_than_the_tested_one_is_not_published(self, built, publish, server):
        built.known["needs.build.outputs.id"] = "sha256:" + "0" * 64
        code, _ = publish()
        assert code != 0
        assert server.tags(f"octo-org/{built.name}") == []

    def test_nothing_is_published_without_the_token(self, built, publish, server):
        built.known["github.token"] = "another"
        code, printed = publish()
        assert code != 0
        assert "unauthorized" in printed.lower()
        assert server.tags(f"octo-org/{built.name}") == []
