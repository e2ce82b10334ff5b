"""Is the command line in a container what the README says?  Docker builds, runs, pushes and pulls it for real."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import engine
import pytest
from conftest import ENVIRONMENT, ROOT
from consoles import copied, untrue, with_venv
from registry import registry

pytestmark = engine.MARKS

BASE = "python:3.13-slim"
HERE = Path(__file__).parent
HARDENED = ["--network", "none", *engine.HARDENED]


@pytest.fixture(name="images", scope="module")
def _images():
    """Build both images, by names of their own; give what make is told them by."""
    own = f"{os.getpid()}"
    names = {"HELLO": f"test-hello-{own}", "IMAGE": f"test-model-{own}", "TAG": f"test-{own}"}
    make(names, "build")
    yield names
    make(names, "clean")


def make(names, *command, returncode=0):
    """Run a target of the recipe; give what it printed."""
    given = [f"{name}={value}" for name, value in names.items()]
    return engine.make(*command, *given, cwd=HERE, returncode=returncode)


def in_container(image, *command):
    """Run a command in a container that can nothing but compute; give its exit code, stdout and stderr."""
    done = subprocess.run(
        ["docker", "run", "--rm", *HARDENED, image, *command], capture_output=True, check=False, timeout=120
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def greet(images, *args):
    """Run the greeting."""
    return in_container(f"{images['HELLO']}:{images['TAG']}", *args)


@pytest.mark.parametrize(
    "name",
    [
        "Big John",
        "Zoë",
        "山田 太郎",
        "👩‍🚀",
        'O\'Hara "$HOME" `id` \\n',
        "-x",
        "--help",
        "--",
        " padded ",
        "x" * 100_000,
    ],
    ids=lambda name: name[:12],
)
def test_it_greets_whoever_has_a_name(images, name):
    assert greet(images, "--name", name) == (0, f"Hello {name}!\n", "")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--name", ""], "got nothing, expected a name"),
        (["--name", "   "], "got nothing, expected a name"),
        (["--name", "Big\nJohn"], r"got the character '\n' in it, expected one line of text"),
        (["--name", "\x1b[31mred"], r"got the character '\x1b' in it"),
        (["--name"], "Option '--name' requires an argument"),
        (["--nmae", "Big John"], "No such option '--nmae'"),
        (["--name", "Big John", "twice"], "Got unexpected extra argument (twice)"),
        (["Big John"], "Missing option '--name'"),
    ],
)
def test_what_is_no_name_is_refused_in_clicks_words(images, args, said):
    code, out, err = greet(images, *args)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_name_that_is_no_utf_8_is_refused_too():
    """Not in a container: Docker replaces what is no UTF-8 before the command sees it."""
    done = subprocess.run([sys.executable, HERE / "hello.py", "--name", b"\xff"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert rb"got the character '\udcff' in it" in done.stderr


def test_without_arguments_it_explains_itself(images):
    for args in ((), ("--help",)):
        code, out, err = greet(images, *args)
        assert (code, err) == (0, "")
        assert "--name NAME  Whom to greet.  [required]" in out


def test_the_image_runs_as_nobody_and_holds_no_more_than_it_needs(images):
    image = f"{images['HELLO']}:{images['TAG']}"

    def inside(*command):
        return engine.docker("run", "--rm", *HARDENED, "--entrypoint", command[0], image, *command[1:]).split()

    assert engine.docker("image", "inspect", "--format", "{{.Config.User}}", image).strip() == "65532:65532"
    assert inside("ls", "/app", "/tmp") == ["/app:", "hello.py", "/tmp:"]
    pinned = [line.split()[0] for line in (ROOT / "requirements/serve.txt").read_text().splitlines() if "==" in line]
    found = inside("python", "-m", "pip", "list", "--format", "freeze")
    assert [line for line in found if line in pinned] == [line for line in pinned if line.startswith("click==")]
    size, base = (int(engine.docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (image, BASE))
    assert size - base < 3_000_000  # Click and 60 kB of hashes: no package index, no cache


def test_it_is_told_to_be_built_from_the_pinned_hashes(tmp_path):
    """Another file in the place of Click's ends the build, before anything of it is run."""
    for path in (
        ".dockerignore",
        "requirements/serve.txt",
        "recipes/cli-container/hello.py",
        "recipes/cli-container/Dockerfile",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    pins = tmp_path / "requirements/serve.txt"
    pins.write_text(re.sub("sha256:[0-9a-f]{4}", "sha256:0000", pins.read_text()))
    options = engine.BUILDING.split()
    said = engine.docker("build", *options, "-f", tmp_path / "recipes/cli-container/Dockerfile", tmp_path, returncode=1)
    assert "DO NOT MATCH THE HASHES" in said


def test_make_lists_the_six_targets_of_every_recipe():
    targets = [line.split()[0] for line in make({}).splitlines()]
    assert targets == ["help", "build", "run", "test", "deploy", "clean"]


def test_make_run_greets_and_predicts(images):
    assert make(images, "--silent", "run") == "Hello Big John!\n6 foot, 0 inches\n"


def test_make_test_finds_these_tests(tmp_path):
    """Collects them only: they are running."""
    copy = with_venv(copied(tmp_path / "clone"))
    env = {**ENVIRONMENT, "PYTEST_ADDOPTS": "--collect-only --quiet"}
    said = engine.make("test", cwd=copy / "recipes/cli-container", env=env)
    assert "test_cli_container.py::test_make_test_finds_these_tests" in said


def test_clean_removes_both_images_and_may_be_run_twice(images):
    names = {"HELLO": f"{images['HELLO']}-gone", "IMAGE": f"{images['IMAGE']}-gone", "TAG": images["TAG"]}
    for name in ("HELLO", "IMAGE"):
        engine.docker("tag", f"{images[name]}:{images['TAG']}", f"{names[name]}:{names['TAG']}")
    for _ in range(2):
        make(names, "clean")
        assert not any(engine.docker("images", "--quiet", names[name]) for name in ("HELLO", "IMAGE"))
    assert all(engine.docker("images", "--quiet", images[name]) for name in ("HELLO", "IMAGE"))


def test_every_command_prints_what_the_readme_shows(images, tmp_path):
    copy = copied(tmp_path / "clone")
    names = {"HELLO": images["HELLO"], "IMAGE": images["IMAGE"], "IMAGE_OPTIONS": engine.BUILDING}
    instead = {"mlops-cookbook-hello": images["HELLO"], "mlops-cookbook": images["IMAGE"]}
    try:
        wrong = untrue((HERE / "README.md").read_text(), copy, {**ENVIRONMENT, **names}, (), instead)
    finally:
        make({**names, "TAG": "latest"}, "clean")
    assert not wrong, "\n".join(wrong)


# --------------------------------------------------------------------------------------------------------- deploy


def plan(images, where):
    """What deploy says that it would do."""
    return "".join(
        f"Push {name}:{images['TAG']} as {where}/{name}:{images['TAG']}\n"
        for name in (images["HELLO"], images["IMAGE"])
    )


def test_deploy_wants_a_registry_and_tells_which():
    said = make({"REGISTRY": ""}, "deploy", returncode=2)
    assert "REGISTRY is missing. Name one: make deploy REGISTRY=ghcr.io/somebody" in said
    assert "Push" not in said


@pytest.mark.parametrize("confirm", [{}, {"CONFIRM": "no"}, {"CONFIRM": "YES"}])
def test_deploy_without_confirm_shows_its_plan_and_does_nothing(images, confirm):
    where = "registry.invalid/somebody"
    said = make({**images, "REGISTRY": where, **confirm}, "--silent", "deploy", returncode=2)
    assert said.startswith(plan(images, where) + "Nothing was pushed. To do it, add CONFIRM=yes\n")
    assert not engine.docker("images", "--quiet", f"{where}/{images['HELLO']}")


def test_deploy_is_part_of_no_other_target():
    for target in ("help", "build", "run", "test", "clean"):
        said = make({"REGISTRY": "registry.invalid", "CONFIRM": "yes"}, "--dry-run", target)
        assert "push" not in said


def test_what_was_deployed_greets_and_predicts_where_it_is_pulled(images, tmp_path):
    with registry(tmp_path) as server:
        where = f"{server.address}/somebody"
        hello, model = (f"{where}/{images[name]}:{images['TAG']}" for name in ("HELLO", "IMAGE"))
        try:
            said = make(images, "deploy", f"REGISTRY={where}", "CONFIRM=yes")
            assert plan(images, where) in said
            assert server.tags(f"somebody/{images['HELLO']}") == [images["TAG"]]
            engine.docker("rmi", hello, model)  # what is run now is what was pulled
            code, out, err = in_container(hello, "--name", "Big John")
            assert (code, out) == (0, "Hello Big John!\n")
            assert "Pulling from somebody/" in err
            assert in_container(model, "./cli.py", "--weight", "180")[:2] == (0, "6 foot, 0 inches\n")
        finally:
            engine.docker("rmi", "--force", hello, model)


def test_a_registry_that_is_not_there_fails_the_deploy(images, tmp_path):
    with registry(tmp_path) as server:
        pass  # it is gone
    where = f"{server.address}/somebody"
    try:
        make(images, "deploy", f"REGISTRY={where}", "CONFIRM=yes", returncode=2)
    finally:
        engine.docker("rmi", "--force", f"{where}/{images['HELLO']}:{images['TAG']}")
