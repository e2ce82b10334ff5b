"""Tests of ./cli.py: as a process where it matters, else through click's runner."""

import hashlib
import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner
from conftest import ENVIRONMENT, ROOT, run

import mlib
from cli import predictcli


def cli(*args, **options):
    """Run in this process; `input=None` is a stdin that nobody types on."""
    return CliRunner().invoke(predictcli, list(map(str, args)), **options)


def on_a_terminal(*args, typed="", env=None):
    """Run ./cli.py with a terminal as stdin, stdout and stderr, type, and return what the terminal shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["./cli.py", *map(str, args)], cwd=ROOT, env=env or ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        while True:
            try:
                part = os.read(ours, 1024)
            except OSError:  # Linux's way to say that the other side has closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    return process.returncode, shown.decode()


def test_the_published_command_prints_the_height_and_nothing_else():
    done = run("./cli.py", "--weight", 180)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6 foot, 0 inches\n", "")


def test_it_works_from_any_folder(tmp_path):
    assert run(ROOT / "cli.py", "--weight", 180, cwd=tmp_path).stdout == "6 foot, 0 inches\n"


def test_weight_may_be_repeated():
    done = cli("--weight", 180, "--weight", 200)
    assert done.stdout == "6 foot, 0 inches\n6 foot, 1 inches\n"


def test_json_has_the_published_keys():
    assert json.loads(cli("--weight", 180, "--json").stdout) == {"prediction": mlib.predict(180)}
    several = json.loads(cli("--weight", 180, "--weight", 200, "--json").stdout)
    assert several == {"predictions": mlib.predict([180, 200])}


def test_interval_is_added_when_asked_for():
    low, high = (mlib.height_human(mlib.predict(180, interval=True)["interval"][end]) for end in ("low", "high"))
    assert cli("--weight", 180, "--interval").stdout == f"6 foot, 0 inches (90% interval: {low} to {high})\n"
    assert json.loads(cli("--weight", 180, "--interval", "--json").stdout)["prediction"]["interval"]["coverage"] == 0.9


def test_a_weight_beyond_training_is_answered_with_a_warning_on_stderr():
    done = cli("--weight", 400)
    assert (done.exit_code, done.stdout) == (0, "7 foot, 0 inches\n")
    assert done.stderr == (
        "Warning: Weight: got 400, expected 145 to 300 pounds, as in training; the answer is an extrapolation.\n"
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-5", "0", "1e999", "1e308"])
def test_a_weight_that_cannot_be_is_a_usage_error(value):
    done = cli("--weight", value)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "expected a number above 0 (145 to 300 pounds in training)" in done.stderr


@pytest.mark.parametrize("value", ["abc", "", "18O", "180 pounds", "1,5"])
def test_a_weight_that_is_no_number_is_a_usage_error(value):
    done = cli("--weight", value)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{value!r} is not a valid float" in done.stderr


def test_the_bad_one_of_several_is_named():
    assert "row 2, Weight: got -5" in cli("--weight", 180, "--weight", -5).stderr


def test_a_misspelt_option_is_a_usage_error_with_the_nearest():
    done = cli("--wieght", 180)
    assert done.exit_code == 2
    assert "Did you mean '--weight'?" in done.stderr


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("2", "2")])
def test_numpy_starts_no_threads_for_a_row_unless_the_user_wants_them(given, expected):
    env = {**ENVIRONMENT, "OPENBLAS_NUM_THREADS": given} if given else ENVIRONMENT
    code = "import atexit, os, runpy, sys; sys.argv = ['cli.py', '--weight', '180']\n"
    code += "atexit.register(lambda: print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules))\n"
    code += "runpy.run_path('cli.py', run_name='__main__')"
    assert run(sys.executable, "-c", code, env=env).stdout == f"6 foot, 0 inches\n{expected} True\n"


def test_without_a_weight_and_without_a_terminal_it_does_not_hang():
    done = run("./cli.py", timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Nothing to predict from. Give --weight, such as --weight 205." in done.stderr
    assert run("./cli.py", stdin=subprocess.PIPE, timeout=30).returncode == 2


def test_without_a_weight_it_asks_on_a_terminal():
    code, shown = on_a_terminal(typed="heavy\n180\n")
    assert code == 0
    assert "Weight (145 to 300 pounds in training): " in shown
    assert "'heavy' is not a valid float" in shown
    assert "6 foot, 0 inches" in shown


def test_a_question_left_with_end_of_file_is_no_answer():
    code, shown = on_a_terminal(typed="\x04")
    assert code == 1
    assert "Aborted!" in shown


def test_above_72_inches_is_green_and_else_red_on_a_terminal():
    green, red = "\x1b[37m\x1b[42m", "\x1b[37m\x1b[41m"
    assert f"{green}6 foot, 1 inches\x1b[0m" in on_a_terminal("--weight", 200)[1]
    assert f"{red}5 foot, 11 inches\x1b[0m" in on_a_terminal("--weight", 160)[1]


def test_72_inches_are_not_above_72(tmp_path, write_table):
    """A model that answers its feature: y = x, in inches."""
    table = write_table("x,y\n" + "".join(f"{x},{x}\n" for x in range(60, 85)))
    path = tmp_path / "same.joblib"
    mlib.retrain(data=table, target="y", features=("x",), units={"y": "in"}, estimator="linear", model_name=path)
    assert "\x1b[41m6 foot, 0 inches" in on_a_terminal("--model", path, "--x", 72)[1]
    assert "\x1b[42m6 foot, 0 inches" in on_a_terminal("--model", path, "--x", 72.01)[1]


def test_no_color_is_respected():
    assert on_a_terminal("--weight", 200, env={**ENVIRONMENT, "NO_COLOR": "1"})[1] == "6 foot, 1 inches\r\n"


def test_the_options_are_those_of_the_models_features(two_features):
    shown = cli("--model", two_features, "--help").stdout
    assert "--weight FLOAT" in shown
    assert "145 to 300 pounds in training" in shown
    assert "--age FLOAT" in shown
    row = {"Weight": 200, "Age": 30}
    done = cli("--weight", 200, f"--model={two_features}", "--age", 30, "--json")
    assert json.loads(done.stdout) == {"prediction": mlib.predict(row, two_features)}
    assert cli("--age", 30, "--weight", 200, "--model", two_features, "--json").stdout == done.stdout
    assert "No such option" in cli("--age", 30).stderr


def test_help_says_what_the_model_predicts(two_features):
    assert "Predict the Height From Weight of MLB Players." in cli("--help").stdout
    assert "Predict the Height From Weight and Age of MLB Players." in cli("--model", two_features, "--help").stdout


def test_each_feature_has_to_stand_as_often_as_the_others(two_features):
    done = cli("--model", two_features, "--weight", 200, "--weight", 210, "--age", 30)
    assert done.exit_code == 2
    assert "--weight 2 times, --age 1 times" in done.stderr
    assert "there is no --age." in cli("--model", two_features, "--weight", 200).stderr


def test_a_target_without_inches_is_said_with_its_unit(tmp_path, line_table):
    path = tmp_path / "line.joblib"
    mlib.retrain(data=line_table, target="y", features=("x",), units={"y": "km"}, estimator="linear", model_name=path)
    assert cli("--model", path, "--x", 10.5).stdout == "22 km\n"
    done = cli("--model", path, "--x", 10.5, "--interval")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: The model has no prediction interval: 4 held-out rows are too few")


def test_a_feature_with_the_name_of_an_option_gets_a_number(tmp_path, write_table):
    table = write_table("Model,help,y\n" + "".join(f"{x},{x * x},{x + 1}\n" for x in range(1, 31)))
    path = tmp_path / "names.joblib"
    mlib.retrain(data=table, target="y", features=("Model", "help"), model_name=path)
    shown = cli("--model", path, "--help").stdout
    assert "--model-2 FLOAT" in shown
    assert "--help-2 FLOAT" in shown
    assert cli("--model", path, "--model-2", 3, "--help-2", 9).exit_code == 0


@pytest.mark.parametrize("content", [None, b"", b"junk", b"\x80\x04K\x01."])
def test_a_model_that_is_missing_or_foreign_is_one_line(tmp_path, content):
    path = tmp_path / "model.joblib"
    if content is not None:
        path.write_bytes(content)
    done = cli("--model", path, "--weight", 180)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr


def test_help_is_given_without_a_model_too(tmp_path):
    done = cli("--help", "--model", tmp_path / "none.joblib")
    assert done.exit_code == 0
    assert "--interval" in done.stdout
    assert "There is no model" in done.stderr


def test_a_digest_that_was_asked_for_is_held(model):
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert cli("--model", model, "--weight", 180, "--sha256", digest).stdout == "6 foot, 0 inches\n"
    done = cli("--model", model, "--weight", 180, "--sha256", "0" * 64)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "was asked for. It was not loaded." in done.stderr


def test_model_without_a_path_is_a_usage_error():
    assert cli("--model").exit_code == 2


def test_mlops_model_names_another(monkeypatch, two_features):
    monkeypatch.setenv("MLOPS_MODEL", str(two_features))
    assert cli("--weight", 200, "--age", 30).exit_code == 0
