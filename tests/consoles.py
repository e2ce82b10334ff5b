"""Does a page's console block print what it shows?  Its commands are run, in their order and in one shell.

>>> untrue("```console\\n$ echo one two\\none ...\\n```", folder, env)
[]
"""

import os
import re
import shutil
import subprocess
import sys

from conftest import ROOT


def section(page, title):
    """Split a page: a section of it, and the rest."""
    before, _, rest = page.partition(f"\n## {title}\n")
    text, heading, after = rest.partition("\n## ")
    return text, before + heading + after


def commands(page):
    """The commands of a page, each with the output that it shows."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def matches(expected, got):
    """Whether an output is the expected one, `...` standing for any text."""
    pattern = ".*".join(map(re.escape, expected.strip().split("...")))
    return re.fullmatch(pattern, got.strip(), re.DOTALL) is not None


def script(shown, port):
    """A shell script that writes the output of the n-th command to the file n, stderr with it."""
    lines = ["trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
    for number, command in enumerate(shown):
        if command.endswith("&"):
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


def with_venv(copy):
    """Give a copy of the repository the environment that runs the tests; make has nothing to install there."""
    (copy / ".venv").symlink_to(sys.prefix)
    if os.path.exists(f"{sys.prefix}-sam/installed"):
        (copy / ".venv-sam").symlink_to(f"{sys.prefix}-sam")
    for requirements in ("requirements.txt", "requirements/dev.txt", "requirements/sam.txt"):
        os.utime(copy / requirements, (0, 0))
    return copy


def _replaced(text, words):
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def untrue(page, folder, env, not_run=(), instead=None):
    """Run the commands of a page in a folder; give those that printed something else than it shows, with what it was.

    Parameters
    ----------
    page : str
    folder : pathlib.Path
    env : dict of str to str
    not_run : container of str
        Commands that are left out.
    instead : dict of str to str, optional
        What takes the place of a word of the page, such as ``{"8080": "40123"}``.
    """
    words = instead or {}
    shown = [(command, expected) for command, expected in commands(page) if command not in not_run]
    run = [_replaced(command, words) for command, _ in shown]
    lines = script(run, words.get("8080", "8080"))
    subprocess.run(["bash", "-c", lines], cwd=folder, env=env, check=False, timeout=600, capture_output=True)
    back = {value: word for word, value in words.items()}
    outputs = [_replaced((folder / str(number)).read_text(encoding="utf-8"), back) for number in range(len(shown))]
    return [
        f"$ {command}\n{output}"
        for (command, expected), output in zip(shown, outputs, strict=True)
        if not matches(expected, output)
    ]
