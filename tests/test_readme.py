"""Is the README true?  Its console blocks are run, in their order and in one shell, in a copy of the repository."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import ENVIRONMENT, ROOT

from utilscli import cli

NOT_RUN = {"make test": "it is what runs this"}

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    """The README's commands, each with the output that it shows."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def matches(expected, got):
    """Whether an output is the expected one, `...` standing for any text."""
    pattern = ".*".join(map(re.escape, expected.strip().split("...")))
    return re.fullmatch(pattern, got.strip(), re.DOTALL) is not None


def script(port):
    """A shell script that writes the output of the n-th command to the file n, stderr with it."""
    lines = ["trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
    for number, (command, _) in enumerate(commands()):
        command = command.replace("8080", port)
        if command in NOT_RUN:
            lines.append(f": > {number}")
        elif command.endswith("&"):
            listening = f"(: < /dev/tcp/127.0.0.1/{port}) 2>/dev/null"
            lines.append(f"{command.removesuffix('&')} > {number}.log 2>&1 < /dev/null &")
            lines.append(f": > {number}; for _ in {{1..100}}; do {listening} && break; sleep 0.2; done")
        elif ">" in command:  # only stderr is left to be seen
            lines.append(f"{command} 2> {number} < /dev/null")
        else:
            lines.append(f"{{ {command}; }} > {number} 2>&1 < /dev/null")
    return "\n".join(lines)


def copied(folder):
    """Copy the repository: its commands write files."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache"))
    return folder


@pytest.mark.skipif(
    not (Path(sys.prefix) / "installed").exists(), reason="these tests do not run in the environment that make makes"
)
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_command_prints_what_the_readme_shows(tmp_path):
    copy = copied(tmp_path / "clone")
    (copy / ".venv").symlink_to(sys.prefix)
    for requirements in ("requirements.txt", "requirements/dev.txt"):
        os.utime(copy / requirements, (0, 0))  # make has nothing to install, whatever their dates
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    env = {k: v for k, v in ENVIRONMENT.items() if not k.startswith(("MAKE", "MFLAGS", "VIRTUAL_ENV"))}
    env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    subprocess.run(
        ["bash", "-c", script(port)], cwd=copy, env={**env, "PORT": port}, check=False, timeout=300, capture_output=True
    )
    outputs = [(copy / str(number)).read_text().replace(port, "8080") for number in range(len(commands()))]
    wrong = [
        f"$ {command}\n{output}"
        for (command, expected), output in zip(commands(), outputs, strict=True)
        if command not in NOT_RUN and not matches(expected, output)
    ]
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
