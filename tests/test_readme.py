"""Is the README true?  Its console blocks are run, in their order and in one shell, in a copy of the repository."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import ENVIRONMENT, ROOT, free_port
from consoles import copied, section, untrue, with_venv

from utilscli import cli

NOT_RUN = {"make test": "it is what runs this"}

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(
    not (Path(sys.prefix) / "installed").exists(), reason="these tests do not run in the environment that make makes"
)
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_command_prints_what_the_readme_shows(tmp_path):
    copy = copied(tmp_path / "clone")
    with_venv(copy)
    port = free_port()
    env = {**ENVIRONMENT, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    _, page = section(README, "In a container")  # which test_containers.py runs
    wrong = untrue(page, copy, {**env, "PORT": port}, NOT_RUN, {"8080": port})
    assert not wrong, "\n".join(wrong)


def test_every_command_of_the_utility_belt_is_in_the_readme():
    for name in cli.commands:
        assert f"utilscli.py {name}" in README


def pages(command, context):
    """The help of a command and of all below it."""
    yield command.get_help(context)
    for name, below in getattr(command, "commands", {}).items():
        yield from pages(below, click.Context(below, info_name=name, parent=context))


def test_the_examples_of_every_help_run(tmp_path, server):
    copy = copied(tmp_path / "clone")
    shown = "\n".join(pages(cli, click.Context(cli)))
    examples = list(dict.fromkeys(re.findall(r"\./utilscli\.py [a-z].*", shown)))
    assert len(examples) > 12
    env = {**ENVIRONMENT, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    last = ("endpoints remove", "retrain")  # after these the name is gone, and the model here is another
    examples.sort(key=lambda line: ("endpoints add" not in line, any(words in line for words in last)))
    for example in examples:
        command = example.replace("http://localhost:8080", server)
        done = subprocess.run(["bash", "-c", command], cwd=copy, env=env, check=False, timeout=120, capture_output=True)
        assert done.returncode == 0, f"{example}\n{done.stderr.decode()}"


def test_every_link_into_the_repository_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) >= 3
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_file_that_the_readme_lists_is_there():
    table = README.partition("## What is here")[2].partition("\n## ")[0]
    for name in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for path in re.findall(r"`(.*?)`", name):
            assert (ROOT / path).exists(), path
