"""Tests of ./utilscli.py: as a process where it matters, else through click's runner."""

import json

import pytest
from click.testing import CliRunner
from conftest import ROOT, run

import mlib
from utilscli import cli

REFUSED = "http://127.0.0.1:9/predict"  # the port of "discard", where nothing listens


def utils(*args):
    """Run in this process."""
    return CliRunner().invoke(cli, list(map(str, args)))


def test_version():
    assert utils("--version").stdout == f"cli, version {mlib.__version__}\n"
    assert run("./utilscli.py", "--version").stdout == f"utilscli.py, version {mlib.__version__}\n"


def test_every_command_and_option_has_a_help_text():
    for command in cli.commands.values():
        assert command.help
        for option in command.params:
            assert option.help, f"{command.name} {option.name}"


def test_retrain_prints_r2_and_name_as_published_and_what_the_model_is_worth(tmp_path):
    path = tmp_path / "model.joblib"
    done = run("./utilscli.py", "retrain", "--tsize", 0.4, "--model-name", path)
    signature = mlib.Signature.read(path)
    assert done.returncode == 0
    assert done.stderr == "Retraining Model\n"
    lines = done.stdout.splitlines()
    assert lines[0] == f"Retrained Model Accuracy: {signature.metrics['r2']:.4f} (R²)"
    assert lines[1] == f"Retrained Model Name: {path}"
    assert "on 511 held-out rows; always answering the mean: " in lines[2]  # ceil(1277 * 0.4)
    assert len(lines) == 6
    assert signature.training["test_size"] == 0.4


def test_a_model_in_this_folder_is_named_without_the_way_to_it(tmp_path):
    done = run(ROOT / "utilscli.py", "retrain", "--model-name", tmp_path / "here.joblib", cwd=tmp_path)
    assert "Retrained Model Name: here.joblib\n" in done.stdout


def test_retrain_takes_another_table(tmp_path, line_table):
    path = tmp_path / "line.joblib"
    done = utils(
        "retrain", "--data", line_table, "--target", "y", "--feature", "x", "--feature", "same", "--model-name", path
    )
    assert done.exit_code == 1
    assert "column 'same' is 7 in every row" in done.stderr
    done = utils(
        *("retrain", "--data", line_table, "--target", "y", "--feature", "x", "--unit", "y=km", "--unit", "x=l/100 km"),
        *("--estimator", "linear", "--seed", 9, "--model-name", path, "--json"),
    )
    answer = json.loads(done.stdout)
    assert answer["r2"] == pytest.approx(1)
    assert answer["model_name"] == str(path)
    assert answer["card"]["training"]["seed"] == 9
    assert answer["card"]["target"]["unit"] == "km"
    assert answer["card"]["features"][0]["unit"] == "l/100 km"


def test_a_model_that_is_not_compiled_is_told_in_one_line_with_the_worst_row(tmp_path):
    done = utils("retrain", "--estimator", "k-neighbors", "--model-name", tmp_path / "model.joblib")
    assert done.exit_code == 0
    notices = done.stderr.splitlines()
    assert notices[0] == "Retraining Model"
    assert notices[1].startswith("Not compiled, at ")
    assert notices[1].endswith("The model works, from its joblib file.")
    assert len(notices) == 2


def test_what_an_estimator_prints_is_no_answer(tmp_path):
    options = ("--estimator", "mlp", "--param", "verbose=True", "--param", "max_iter=2")
    done = run("./utilscli.py", "retrain", *options, "--model-name", tmp_path / "m.joblib", "--json")
    assert "r2" in json.loads(done.stdout)
    assert "Iteration 1" in done.stderr


def test_compare_prints_the_best_first():
    done = utils("compare", "--estimator", "dummy", "--estimator", "ridge", "--cv", "3")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["estimator", "ridge", "dummy"]
    result = json.loads(utils("compare", "--estimator", "dummy", "--estimator", "ridge", "--cv", "3", "--json").stdout)
    assert (result["n"], result["folds"]) == (1277, 3)
    assert result["estimators"][0]["metrics"]["r2"]["mean"] > result["estimators"][1]["metrics"]["r2"]["mean"]


def test_the_card_is_markdown_when_asked_for(two_features):
    shown = utils("info", "--model", two_features, "--markdown").stdout
    assert shown.startswith("# Height From Weight and Age of MLB Players\n")
    assert "| Weight | number | 145 to 300 pounds in training | 205 |" in shown


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--tsize", "0"], 2, "0<x<1"),
        (["--tsize", "1"], 2, "0<x<1"),
        (["--tsize", "nan"], 2, "test size is nan"),
        (["--tsize", "abc"], 2, "'abc' is not a valid float"),
        (["--estimator", "rigde"], 2, "no estimator 'rigde'. Did you mean ridge?"),
        (["--estimator", "logistic"], 2, "logistic is for classification"),
        (["--param", "alpha"], 2, "'alpha' is no NAME=VALUE, such as alpha=0.5."),
        (["--param", "alhpa=1"], 2, "Did you mean alpha?"),
        (["--param", "alpha=-1"], 2, "alpha"),
        (["--task", "clasification"], 2, "'clasification' is not one of"),
        (["--calibrate"], 2, "a regression has none"),
        (["--cv", "1"], 2, "1 is not in the range x>=2"),
        (["--search", "0"], 2, "0 is not in the range x>=1"),
        (["--search", "2", "--estimator", "linear"], 2, "no search space for linear"),
        (["--unit", "Height"], 2, "'Height' is no NAME=UNIT, such as Height=cm."),
        (["--unit", "=cm"], 2, "'=cm' is no NAME=UNIT"),
        (["--unit", "Hieght=cm"], 2, "Did you mean Height?"),
        (["--seed", "-1"], 2, "-1 is not in the range"),
        (["--target", "Weight", "--feature", "Weight"], 2, "both the target and a feature"),
        (["--drop", "Weight", "--feature", "Weight"], 2, "to be dropped, and to be used"),
        (["--drop", "Wieght"], 1, "no column 'Wieght'. Did you mean Weight?"),
        (["--category", "Height"], 2, "'Height' is the target"),
        (["--data", "none.csv"], 1, "Cannot read none.csv: No such file"),
        (["--feature", "Wieght"], 1, "no column 'Wieght'. Did you mean Weight?"),
        (["--target", "Name"], 1, "that is no set of classes"),
        (["--tsize", "0.0001"], 1, "holds out 1 of them"),
        (["--min-r2", "0.9"], 5, "below the 0.9 that was asked for. The model was not written."),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_leaves_the_old_model(tmp_path, options, code, said):
    path = tmp_path / "model.joblib"
    path.write_bytes(b"the old one")
    done = utils("retrain", "--model-name", path, *options)
    assert done.exit_code == code
    assert done.stdout == ""
    assert said in done.stderr
    assert sum(line.startswith("Error: ") for line in done.stderr.splitlines()) == 1
    assert path.read_bytes() == b"the old one"


def test_predict_asks_the_endpoint(server):
    done = run("./utilscli.py", "predict", "--weight", 400, "--host", f"{server}/predict")
    assert done.returncode == 0
    assert done.stderr == f"Querying host {server}/predict with weight: 400\n"
    assert done.stdout.startswith('result: {"prediction": {"height_inches": 8')
    done = utils("predict", "--weight", 180.5, "--host", f"{server}/predict", "--json")
    assert json.loads(done.stdout) == {"prediction": mlib.predict(180.5)}


def test_predict_exits_3_when_nothing_listens():
    done = utils("predict", "--host", REFUSED)
    assert (done.exit_code, done.stdout) == (3, "")
    assert f"Error: {REFUSED} cannot be reached: Connection refused." in done.stderr


def test_predict_exits_4_when_the_endpoint_refuses(server):
    done = utils("predict", "--weight", -5, "--host", f"{server}/predict")
    assert (done.exit_code, done.stdout) == (4, "")
    assert "answered 422: Weight: got -5, expected a number above 0" in done.stderr
    done = utils("predict", "--host", server)
    assert done.exit_code == 4
    assert "Does the URL end in /predict?" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weight", "nan"], "nan is no finite number"),
        (["--weight", "inf"], "inf is no finite number"),
        (["--weight", "abc"], "not a valid float"),
        (["--timeout", "0"], "0<x<=3600"),
        (["--timeout", "nan"], "nan is no finite number"),
        (["--timeout", "1e300"], "0<x<=3600"),
        (["--host", "localhost:8080"], "expected http://HOST:PORT/predict"),
        (["--host", ""], "expected http://HOST:PORT/predict"),
        (["--host", "ftp://localhost/predict"], "expected http://HOST:PORT/predict"),
        (["--host", "http://"], "expected http://HOST:PORT/predict"),
    ],
)
def test_predict_exits_2_for_an_option_that_cannot_be(options, said):
    done = utils("predict", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_predict_has_the_published_defaults():
    defaults = {option.name: option.default for option in cli.commands["predict"].params}
    assert (defaults["weight"], defaults["host"]) == (225, "http://localhost:8080/predict")
    assert defaults["timeout"] > 0


def test_info_prints_the_card(model):
    done = utils("info", "--model", model)
    assert "Height (66 to 83 inches in training)" in done.stdout
    assert "1,149 of 1,277 rows of htwtmlb.csv" in done.stdout
    assert "split conformal, 128 held-out rows" in done.stdout
    assert json.loads(utils("info", "--model", model, "--json").stdout) == mlib.Signature.read(model).card


def test_info_of_no_model_is_one_line(tmp_path):
    done = utils("info", "--model", tmp_path / "none")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: There is no model")
