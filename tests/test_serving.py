"""Does the environment that only serves predict, without scikit-learn, pandas or SciPy installed?

`make test` makes it beside the other, from requirements/serve.txt alone.
"""

import json
import re
import shutil
import subprocess

import pytest
from conftest import ENVIRONMENT, ROOT, run

PYTHON = ROOT / ".venv-serve" / "bin" / "python"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="there is no .venv-serve: make test makes it")


@pytest.fixture(name="served")
def _served(tmp_path):
    """What a container holds: the code, and of the model only its compiled form."""
    for name in ("mlib.py", "cli.py", "utilscli.py", "app.py", "predict.sh", "model.onnx"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("core", "toolkit", "service"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_what_trains_is_really_not_installed():
    for package in ("sklearn", "scipy", "pandas", "joblib", "onnx", "skl2onnx"):
        assert run(PYTHON, "-c", f"import {package}").returncode == 1


def test_cli_predicts(served):
    done = run(PYTHON, "cli.py", "--weight", 180, cwd=served)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6 foot, 0 inches\n", "")


def test_help_and_card_are_there(served):
    assert "--weight FLOAT" in run(PYTHON, "cli.py", "--help", cwd=served).stdout
    assert "htwtmlb-height" in run(PYTHON, "utilscli.py", "info", cwd=served).stdout


def test_both_files_of_the_checkout_are_used_too():
    assert run(PYTHON, "cli.py", "--weight", 180).stdout == "6 foot, 0 inches\n"


def test_what_scoring_files_needs_beside_is_told(served):
    for options in ([], ["--max-rejects", "1"]):
        done = run(PYTHON, "utilscli.py", "batch", "rows.csv", "out.csv", *options, cwd=served)
        assert (done.returncode, done.stdout) == (1, "")
        told = "Error: batch needs pyarrow, not installed here. Try: pip install -r requirements.txt\n"
        assert done.stderr == told
    assert "--max-rejects" in run(PYTHON, "utilscli.py", "batch", "--help", cwd=served).stdout


def test_endpoints_are_asked(served, server):
    asked = (PYTHON, "utilscli.py", "predict", "--host", server)
    done = run(*asked, "--weight", 200, "--json", cwd=served)
    assert json.loads(done.stdout)["prediction"]["height_human_readable"] == "6 foot, 1 inches"
    (served / "rows.csv").write_text("Weight\n200\n-1\n", encoding="utf-8")
    done = run(*asked, "--from", "rows.csv", cwd=served)
    assert (done.returncode, done.stdout.splitlines()[1]) == (4, "null")
    assert run(PYTHON, "utilscli.py", "health", "--host", server, "--compare-local", cwd=served).returncode == 0


def test_what_asking_needs_beside_is_told(served, server):
    (served / "rows.csv").write_text("Weight\n200\n180\n", encoding="utf-8")
    for options, needed in {
        ("predict", "--from", "rows.csv", "--chunk-rows", "1", "--host", server): "requirements.txt",
        ("load", "--host", server): "requirements.txt",
        ("load", "--host", server, "--plot", "a.svg"): "requirements/plot.txt",
        ("predict", "--weight", "200", "--host", "lambda:height"): "requirements/aws.txt",
    }.items():
        done = run(PYTHON, "utilscli.py", *options, cwd=served)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith(f": pip install -r {needed}")


def test_training_says_what_is_missing(served):
    done = run(PYTHON, "utilscli.py", "retrain", cwd=served)
    assert done.returncode == 1
    assert "Error: Training needs pandas, pandera, sklearn, joblib, skl2onnx, not installed here." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_without_compiled_form_says_what_is_missing(served):
    shutil.copy(ROOT / "model.joblib", served)
    (served / "model.onnx").unlink()
    done = run(PYTHON, "cli.py", "--weight", 180, cwd=served)
    assert done.returncode == 1
    assert "so it needs scikit-learn, which is not installed" in done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_app_serves_and_predict_sh_asks(served):
    env = {**ENVIRONMENT, "PORT": "0"}
    with subprocess.Popen([PYTHON, "app.py"], cwd=served, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            port = next(found[1] for line in process.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))
            done = run("./predict.sh", cwd=served, env={**ENVIRONMENT, "PORT": port})
            page = run("curl", "-s", f"http://127.0.0.1:{port}/")
        finally:
            process.terminate()
    assert json.loads(done.stdout)["prediction"]["height_human_readable"] == "6 foot, 1 inches"
    assert "6 foot, 1 inches</strong>" in page.stdout
