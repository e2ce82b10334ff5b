"""Does a cluster of containers write what this machine does?  Compose really runs it."""

import contextlib
import os
import sys
from pathlib import Path

import engine
import kubernetes_validate
import pytest
import yaml
from conftest import ENVIRONMENT, ROOT, free_port, run
from consoles import copied, with_venv

HERE = Path(__file__).parent
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
MANIFESTS = list(yaml.safe_load_all((HERE / "kubernetes.yaml").read_text(encoding="utf-8")))
TAG = f"test-{os.getpid()}"
IMAGE = f"test-dask-{os.getpid()}"


def marked(test):
    """Mark a test that wants Docker."""
    for mark in engine.MARKS:
        test = mark(test)
    return test


def make(*command, returncode=0, **options):
    """Run a target of the recipe; give what it printed."""
    return engine.make(*command, f"DASK_IMAGE={IMAGE}", f"TAG={TAG}", cwd=HERE, returncode=returncode, **options)


@pytest.fixture(name="image", scope="module")
def _image():
    """Build the image; give its name."""
    make("build")
    yield f"{IMAGE}:{TAG}"
    make("clean")


class Cluster:
    """What `make run` started, beside whatever else runs here.

    Parameters
    ----------
    folder : pathlib.Path
        Where Docker finds Compose, if this machine has none.
    data : pathlib.Path
    """

    def __init__(self, folder, data):
        self.data, self.port = data, free_port()
        self._env = {**ENVIRONMENT, "COMPOSE_PROJECT_NAME": f"test-dask-{os.getpid()}", "PORT": self.port}
        self._env |= {"DASK_IMAGE": IMAGE, "TAG": TAG, "DATA": str(data)}
        if "compose" not in run("docker", "compose", "version").stdout.lower():
            import compose  # the program is in the package, whose own command forgets the exit code

            (folder / "cli-plugins").mkdir()
            (folder / "cli-plugins" / "docker-compose").symlink_to(Path(compose.__file__).parent / "docker-compose")
            self._env["DOCKER_CONFIG"] = str(folder)

    def make(self, *command):
        """Run a target of the recipe; give what it printed."""
        return make(*command, f"DATA={self.data}", env=self._env)

    def compose(self, *command, returncode=0):
        """Run a command of Compose to its end, as the README does; give what it printed."""
        return engine.docker("compose", *command, cwd=HERE, env=self._env, returncode=returncode)

    def client(self, *command, returncode=0):
        """Run a command of the client."""
        return self.compose("run", "--rm", "client", *command, returncode=returncode)

    def containers(self, *services):
        """The containers of services that run."""
        return [engine.Container(each) for each in self.compose("ps", "--quiet", *services).split()]


@pytest.fixture(name="cluster", scope="module")
def _cluster(image, tmp_path_factory):
    """Run `make run`, as the README says; hold that it scored the players, and that `make clean` leaves nothing."""
    cluster = Cluster(tmp_path_factory.mktemp("docker"), tmp_path_factory.mktemp("data"))
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.compose, "--profile", "client", "down", "--timeout", "2", "--volumes")
        said = cluster.make("run", "WORKERS=3")
        assert "Rows         1,277\n" in said
        assert "Written      /data/heights.csv\n" in said
        assert len(cluster.containers("worker")) == 3
        with (cluster.data / "players.csv").open("a", encoding="utf-8") as file:
            file.write("0,Nobody,NYY,Pitcher,74,heavy,30\n")  # a row that cannot be scored
        yield cluster
        cluster.make("clean")
        assert not cluster.containers()
        assert not engine.docker("network", "ls", "--quiet", "--filter", f"name=test-dask-{os.getpid()}")
        assert not engine.docker("image", "ls", "--quiet", image)


def same(data, one, other):
    """Whether two outputs and their rejects are the same bytes."""
    names = [(one, other), (f"{one}.rejects.jsonl", f"{other}.rejects.jsonl")]
    return all((data / a).read_bytes() == (data / b).read_bytes() for a, b in names)


SCHEDULER = ["--scheduler", "tcp://scheduler:8786"]
ROWS = ["--chunk-rows", "100"]


@marked
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_batch_on_the_cluster_is_the_bytes_of_a_batch_on_one_machine(cluster, kind):
    cluster.client("batch", "/data/players.csv", f"/data/here.{kind}", *ROWS)
    said = cluster.client("batch", "/data/players.csv", f"/data/away.{kind}", *ROWS, *SCHEDULER)
    assert "Rejects      1, in /data/away" in said
    assert same(cluster.data, f"here.{kind}", f"away.{kind}")
    cluster.client("batch", f"/data/here.{kind}", f"/data/here-again.{kind}", *ROWS, "--keep", "Weight")
    cluster.client("batch", f"/data/here.{kind}", f"/data/away-again.{kind}", *ROWS, "--keep", "Weight", *SCHEDULER)
    assert same(cluster.data, f"here-again.{kind}", f"away-again.{kind}")
    logs = [worker.logs() for worker in cluster.containers("worker")]
    assert all("Starting Worker plugin mlops-cookbook" in log for log in logs)


@marked
def test_compose_starts_again_what_ends_and_the_cluster_goes_on(cluster):
    worker = cluster.containers("worker")[0]
    before = worker.tell("{{.RestartCount}}")
    engine.docker("exec", worker.id, "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")
    cluster.client("batch", "/data/players.csv", "/data/killed.csv", *ROWS, *SCHEDULER)
    cluster.client("batch", "/data/players.csv", "/data/whole.csv", *ROWS)
    assert same(cluster.data, "killed.csv", "whole.csv")
    assert int(worker.tell("{{.RestartCount}}")) > int(before)
    assert len(cluster.containers("worker")) == 3


@marked
def test_outside_of_its_network_it_is_the_same_where_the_versions_are(cluster, image, tmp_path):
    """The scheduler's port is open, on loopback alone."""
    address = f"tcp://127.0.0.1:{cluster.port}"
    assert cluster.compose("port", "scheduler", "8786").strip() == address.removeprefix("tcp://")
    there = ["--network=host", f"--volume={cluster.data}:/data", f"--volume={ROOT / 'model.onnx'}:/model.onnx:ro"]
    there += ["--env=MLOPS_MODEL=/model.onnx", "--entrypoint=utilscli.py", image]
    engine.docker("run", "--rm", *there, "batch", "/data/players.csv", "/data/out.csv", "--scheduler", address)
    engine.docker("run", "--rm", *there, "batch", "/data/players.csv", "/data/alone.csv")
    assert same(cluster.data, "out.csv", "alone.csv")
    if sys.version_info[:2] != (3, 13):
        done = run(
            sys.executable, "utilscli.py", "batch", ROOT / "htwtmlb.csv", tmp_path / "o.csv", "--scheduler", address
        )
        assert done.returncode == 1
        assert f"The scheduler {address} has python 3.13, and here it is 3.1" in done.stderr


@marked
def test_training_there_says_what_is_missing(cluster):
    said = cluster.client("retrain", "--cv", "2", *SCHEDULER, returncode=1)
    assert "Training is not installed here (No module named 'joblib'). Try: pip install -r requirements.txt\n" in said
    assert "Traceback" not in said


@marked
def test_the_containers_are_what_compose_says(cluster):
    for container in cluster.containers("scheduler", "worker"):
        found = container.tell("{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}")
        assert found == "true [ALL] [no-new-privileges]"
        assert container.tell("{{.Config.User}}") == "65532:65532"
    worker = cluster.containers("worker")[0]
    assert worker.tell("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}") == f"{2**30} {10**9}"


@marked
def test_the_image_runs_as_nobody_and_holds_no_model(image):
    assert engine.docker("image", "inspect", "--format", "{{.Config.User}}", image).strip() == "65532:65532"
    found = engine.docker("run", "--rm", *engine.HARDENED, "--network=none", image, "ls", "/app").split()
    assert sorted({*found} - {"__pycache__"}) == ["core", "mlib.py", "toolkit", "utilscli.py"]
    installed = engine.docker("run", "--rm", image, "ls", "/venv/lib/python3.13/site-packages")
    assert "distributed" in installed.split()
    assert not {"sklearn", "pandas", "flask"} & set(installed.split())


def test_make_lists_the_six_targets_of_every_recipe():
    assert [line.split()[0] for line in make().splitlines()] == ["help", "build", "run", "test", "deploy", "clean"]


def test_make_test_finds_these_tests(tmp_path):
    """Collects them only: they are running."""
    copy = with_venv(copied(tmp_path / "clone"))
    env = {**ENVIRONMENT, "PYTEST_ADDOPTS": "--collect-only --quiet"}
    said = engine.make("test", cwd=copy / "recipes/dask-cluster", env=env)
    assert "test_dask_cluster.py::test_make_test_finds_these_tests" in said


@pytest.mark.parametrize("confirm", [[], ["CONFIRM=no"], ["CONFIRM=YES"]])
def test_deploy_without_confirm_shows_its_plan_and_does_nothing(confirm):
    said = make("--silent", "deploy", "REGISTRY=registry.invalid/somebody", *confirm, returncode=2)
    assert said.startswith(f"Push     {IMAGE}:{TAG} as registry.invalid/somebody/{IMAGE}:{TAG}\nCluster  ")
    assert "Nothing was deployed. To do it, add CONFIRM=yes\n" in said


def test_deploy_wants_a_registry_and_is_part_of_no_other_target():
    assert "REGISTRY is missing" in make("deploy", "REGISTRY=", returncode=2)
    for target in ("help", "build", "run", "test", "clean"):
        said = make("--dry-run", target, "REGISTRY=registry.invalid", "CONFIRM=yes")
        assert "push" not in said
        assert "apply" not in said


def test_the_manifests_give_no_privileges_and_run_what_compose_runs():
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in MANIFESTS if each["kind"] == "Deployment"
    }
    for name, pod in pods.items():
        container = pod["containers"][0]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 65532
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        compose = COMPOSE["services"][name.removeprefix("dask-")]["command"]
        assert [part.replace("dask-scheduler:", "scheduler:") for part in container["command"]] == compose


def test_the_manifests_are_what_kubernetes_takes():
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
