"""Do GitHub's workflows publish the image that was tested, and nothing else?  Their own commands are run here."""

import os
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import ENVIRONMENT, ROOT
from engine import BUILDING, MARKS, docker
from registry import registry

WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
INHERITED = ("MAKE", "MFLAGS", "PYTEST")  # what the `make` and the pytest that run these tests tell their own
# Left out: the tests, of which these are a part, and the scan, for which the workflow fetches a scanner.
NARROWED = re.compile(r"make (test|test-containers|scan-image)\b")


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_every_target_that_a_workflow_makes_is_there(workflow):
    commands = "\n".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    asked = set(re.findall(r"\bmake ([a-z-]+)", commands))
    assert asked
    assert asked <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_what_a_pull_request_starts_may_only_read(workflow):
    """YAML reads the word `on` as true."""
    assert workflow[True] == {"push": {"branches": ["main"]}, "pull_request": None}
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        if "write" in job["permissions"].values():
            assert job["if"] == "github.event_name == 'push'"


class Runner:
    """Runs the commands of image.yml's jobs, as for a push to main; actions are not run.

    Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax, of `shell: bash`.
    """

    def __init__(self, folder, server):
        skipped = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis")
        self.checkout = shutil.copytree(ROOT, folder / "checkout", ignore=skipped)
        self.output = folder / "output"
        self.jobs = WORKFLOWS["image.yml"]["jobs"]
        self.name = f"mlops-cookbook-workflow-{os.getpid()}"
        self.known = {"github.sha": COMMIT, "github.token": server.password}
        self.known |= {"github.server_url": "https://github.com", "github.repository": "Octo-Org/Cookbook"}
        settings = self.filled(WORKFLOWS["image.yml"]["env"])
        self.environment = {
            **{k: v for k, v in ENVIRONMENT.items() if not k.startswith(INHERITED)},
            **settings,
            "IMAGE": self.name,
            "IMAGE_OPTIONS": f"{settings['IMAGE_OPTIONS']} {BUILDING}",
            "DOCKER_CONFIG": str(folder / "docker"),  # the login is no business of whoever runs the tests
            "GITHUB_ACTOR": server.user,
            "GITHUB_REPOSITORY_OWNER": "Octo-Org",
            "GITHUB_OUTPUT": str(self.output),
        }
        self.registry = {"REGISTRY": server.address}

    def filled(self, values):
        """Give a mapping with its expressions replaced by what they stand for."""
        return {k: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: self.known[found[1]], v) for k, v in values.items()}

    def run(self, job):
        """Run a job to its end, or to the command that fails; give the exit code and what was printed."""
        printed = ""
        for step in self.jobs[job]["steps"]:
            if "run" not in step or NARROWED.search(step["run"]):
                continue
            given = self.filled(step.get("env", {}))
            given |= {k: v for k, v in self.registry.items() if given.get(k) == "ghcr.io"}
            result = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.checkout,
                env={**self.environment, **given},
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
        outputs = self.filled(self.jobs[job].get("outputs", {}))
        self.known |= {f"needs.{job}.outputs.{name}": value for name, value in outputs.items()}
        return 0, printed


@pytest.fixture(name="server")
def _server(tmp_path):
    with registry(tmp_path / "registry", "octocat") as server:
        yield server


@pytest.fixture(name="runner")
def _runner(tmp_path, server):
    """A runner whose first job is done; its image is only in the file that goes to the second."""
    runner = Runner(tmp_path, server)
    names = [
        f"{prefix}{runner.name}:{tag}" for prefix in ("", f"{server.address}/octo-org/") for tag in (COMMIT, "latest")
    ]
    try:
        code, printed = runner.run("build")
        assert code == 0, printed
        docker("rmi", names[0])
        yield runner
    finally:
        docker("rmi", "--force", *names, returncode=None)


class TestPublishing:
    """By image.yml's two jobs, to a registry that wants a login."""

    pytestmark = MARKS

    def test_the_image_is_published_as_the_commit_and_as_latest(self, runner, server):
        """In lower case; the digest that is attested is that of what can be pulled."""
        code, printed = runner.run("publish")
        assert code == 0, printed
        repository = f"octo-org/{runner.name}"
        pushed = f"{server.address}/{repository}"
        assert server.tags(repository) == [COMMIT, "latest"]
        assert runner.known["steps.push.outputs.name"] == pushed
        assert runner.known["steps.push.outputs.digest"] == server.digest(repository, "latest")
        docker(
            "rmi",
            "--force",
            f"{runner.name}:{COMMIT}",
            f"{runner.name}:latest",
            f"{pushed}:{COMMIT}",
            f"{pushed}:latest",
        )
        docker("--config", runner.environment["DOCKER_CONFIG"], "pull", f"{pushed}:latest")
        answer = docker("run", "--rm", "--network=none", f"{pushed}:latest", "./cli.py", "--weight", "180")
        assert answer == "6 foot, 0 inches\n"
        template = '{{index .Config.Labels "org.opencontainers.image.source"}}'
        assert docker("image", "inspect", "--format", template, f"{pushed}:latest") == (
            "https://github.com/Octo-Org/Cookbook\n"
        )

    def test_another_image_than_the_tested_one_is_not_published(self, runner, server):
        runner.known["needs.build.outputs.id"] = "sha256:" + "0" * 64
        code, _ = runner.run("publish")
        assert code != 0
        assert server.tags(f"octo-org/{runner.name}") == []

    def test_nothing_is_published_without_the_token(self, runner, server):
        runner.known["github.token"] = "another"
        code, printed = runner.run("publish")
        assert code != 0
        assert "unauthorized" in printed.lower()
        assert server.tags(f"octo-org/{runner.name}") == []
