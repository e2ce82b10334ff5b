"""Does a cluster of containers write what this machine does?  They really run, with the settings of compose.yaml."""

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

import engine
import kubernetes_validate
import pytest
import yaml
from conftest import ENVIRONMENT, ROOT
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


def make(*command, returncode=0):
    """Run a target of the recipe; give what it printed."""
    return engine.make(*command, f"DASK_IMAGE={IMAGE}", f"TAG={TAG}", cwd=HERE, returncode=returncode)


@pytest.fixture(name="image", scope="module")
def _image():
    """Build the image; give its name."""
    make("build")
    yield f"{IMAGE}:{TAG}"
    make("clean")


def filled(text, values):
    """What Compose makes of ${NAME:-default}."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: str(values.get(found[1], found[2])), text)


def options(service, values):
    """The options of docker run that a service's settings are."""
    settings = COMPOSE["services"][service]
    known = {"image", "command", "profiles", "depends_on", "restart", "deploy", "ports"}  # the others are these options
    given = {"user", "read_only", "tmpfs", "cap_drop", "security_opt", "init", "mem_limit", "cpus", "volumes"}
    assert settings.keys() <= known | given | {"entrypoint", "environment"}
    found = ["--user", settings["user"], "--memory", settings["mem_limit"]]
    found += ["--read-only"] * settings["read_only"] + ["--init"] * settings["init"]
    for name, option in (("tmpfs", "tmpfs"), ("cap_drop", "cap-drop"), ("security_opt", "security-opt")):
        found += [f"--{option}={value}" for value in settings[name]]
    found += [f"--volume={filled(volume, values)}" for volume in settings.get("volumes", [])]
    found += [f"--env={name}={value}" for name, value in settings.get("environment", {}).items()]
    found += [f"--cpus={settings['cpus']}"] if "cpus" in settings else []
    return found + [f"--entrypoint={each}" for each in settings.get("entrypoint", [])]


class Cluster:
    """A network of containers, as Compose would start them.

    Parameters
    ----------
    network : str
    values : dict of str to object
        Of what stands in compose.yaml as ``${NAME:-default}``.
    """

    def __init__(self, network, values):
        self._network, self._values = network, values
        self.workers = []

    def command(self, service, *command):
        """What docker run is told to run a service."""
        image = filled(COMPOSE["services"][service]["image"], self._values)
        network = [f"--network={self._network}", *options(service, self._values)]
        return [*network, image, *(command or COMPOSE["services"][service]["command"])]

    def client(self, *command, returncode=0):
        """Run a command of the client to its end; give what it printed."""
        return engine.docker("run", "--rm", *self.command("client", *command), returncode=returncode)


@contextlib.contextmanager
def started(image, data, stack):
    """Start scheduler and workers; give the cluster."""
    name, tag = image.split(":")
    model = ROOT / "model.onnx"
    network = f"test-dask-{os.getpid()}"
    engine.docker("network", "create", "--internal", network)
    stack.callback(engine.docker, "network", "rm", network)
    cluster = Cluster(network, {"DASK_IMAGE": name, "TAG": tag, "DATA": data, "MODEL": model})
    names = ["scheduler"] + ["worker"] * COMPOSE["services"]["worker"]["deploy"]["replicas"]
    for service in names:
        alias = ["--network-alias", service] if service == "scheduler" else []
        identifier = engine.docker("run", "--detach", *alias, *cluster.command(service)).strip()
        stack.callback(engine.docker, "rm", "--force", identifier)
        if service == "worker":
            cluster.workers.append(engine.Container(identifier))
    for worker in cluster.workers:
        for _ in range(600):
            if "Starting established connection" in worker.logs():
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"{worker} does not find the scheduler: {worker.logs()}")
    yield cluster


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory):
    """A folder that everybody may write in, with the players in it, and a row that cannot be."""
    folder = tmp_path_factory.mktemp("data")
    folder.chmod(0o777)
    shutil.copy(ROOT / "htwtmlb.csv", folder / "players.csv")
    with (folder / "players.csv").open("a", encoding="utf-8") as file:
        file.write("0,Nobody,NYY,Pitcher,74,heavy,30\n")
    return folder


@pytest.fixture(name="cluster", scope="module")
def _cluster(image, data):
    with contextlib.ExitStack() as stack, started(image, data, stack) as cluster:
        yield cluster


def same(data, one, other):
    """Whether two outputs and their rejects are the same bytes."""
    names = [(one, other), (f"{one}.rejects.jsonl", f"{other}.rejects.jsonl")]
    return all((data / a).read_bytes() == (data / b).read_bytes() for a, b in names)


SCHEDULER = ["--scheduler", "tcp://scheduler:8786"]
ROWS = ["--chunk-rows", "100"]


@marked
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_batch_on_the_cluster_is_the_bytes_of_a_batch_on_one_machine(cluster, data, kind):
    cluster.client("batch", "/data/players.csv", f"/data/here.{kind}", *ROWS)
    said = cluster.client("batch", "/data/players.csv", f"/data/away.{kind}", *ROWS, *SCHEDULER)
    assert "Rejects      1, in /data/away" in said
    assert same(data, f"here.{kind}", f"away.{kind}")
    cluster.client("batch", f"/data/here.{kind}", f"/data/here-again.{kind}", *ROWS, "--keep", "Weight")
    cluster.client("batch", f"/data/here.{kind}", f"/data/away-again.{kind}", *ROWS, "--keep", "Weight", *SCHEDULER)
    assert same(data, f"here-again.{kind}", f"away-again.{kind}")
    logs = "".join(worker.logs() for worker in cluster.workers)
    assert "Starting Worker plugin mlops-cookbook" in logs


@marked
def test_training_there_says_what_is_missing(cluster):
    said = engine.docker("run", "--rm", *cluster.command("client", "retrain", "--cv", "2", *SCHEDULER), returncode=1)
    assert "Training is not installed here (No module named 'joblib'). Try: pip install -r requirements.txt\n" in said
    assert "Traceback" not in said


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
