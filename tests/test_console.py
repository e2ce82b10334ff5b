"""Tests of toolkit/console.py."""

import doctest
import os

import pytest
from conftest import run

import mlib
from toolkit import (
    auth,
    aws,
    chunks,
    connections,
    console,
    endpoints,
    failures,
    health,
    host_options,
    hosts,
    load,
    options,
    remote,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (mlib.DataError, 1),
        (mlib.ModelError, 1),
        (mlib.OptionError, 2),
        (remote.UnreachableError, 3),
        (remote.AnswerError, 4),
        (mlib.GateError, 5),
    ],
)
def test_a_foreseen_failure_is_one_line_on_stderr_and_its_exit_code(capsys, error, code):
    with pytest.raises(SystemExit) as caught, console.errors():
        raise error("It went wrong.")
    assert caught.value.code == code
    assert capsys.readouterr() == ("", "Error: It went wrong.\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["cli.py --weight 200", "cli.py --weight 200 --json", "utilscli.py info"])
def test_a_full_disk_is_one_line(command):
    done = run("bash", "-c", f"./{command} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "Error: The answer cannot be written: No space left on device.\n")


def test_the_examples_in_the_docstrings_are_true():
    modules = [auth, aws, chunks, connections, endpoints, failures, health, host_options, hosts, load, options, remote]
    results = [doctest.testmod(module, optionflags=doctest.ELLIPSIS) for module in modules]
    assert sum(result.attempted for result in results) >= 8
    assert not any(result.failed for result in results)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), console.errors():
        print(1 / 0)


def test_answers_go_to_stdout_and_notices_to_stderr(capsys):
    console.answer("six foot", fg="red")
    console.answer_json({"R²": 0.5, "lone": "\ud800"})
    console.notice("working", fg="red")
    assert capsys.readouterr() == (
        'six foot\n{"R\\u00b2": 0.5, "lone": "\\ud800"}\n',
        "working\n",
    )
