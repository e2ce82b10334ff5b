"""Tests of toolkit/console.py."""

import pytest

import mlib
from toolkit import console, remote


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
