"""Tests of ./predict.sh, against a running service."""

import json
import shutil
from urllib.parse import urlsplit

import pytest
from conftest import ENVIRONMENT, run
from standins import standin

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


def predict(*args, **given):
    """Run it; keywords are environment variables."""
    return run("./predict.sh", *args, env={**ENVIRONMENT, **given})


def test_it_asks_for_200_pounds_on_the_port_that_is_set(server):
    port = str(urlsplit(server).port)
    done = predict(PORT=port)
    assert (done.returncode, done.stderr) == (0, f"Port: {port}\n")
    assert json.loads(done.stdout) == {
        "prediction": {"height_inches": 73.23, "height_human_readable": "6 foot, 1 inches"}
    }


def test_its_options_overrule(server):
    port = str(urlsplit(server).port)
    done = predict("--weight", "180.0", "--host", "127.0.0.1", "--port", port, PORT="1")
    assert (done.returncode, done.stderr) == (0, f"Port: {port}\n")
    assert json.loads(done.stdout)["prediction"]["height_human_readable"] == "6 foot, 0 inches"


def test_it_sends_what_the_published_one_sent():
    with standin(lambda asked: (200, {}, b"{}")) as other:
        assert predict(PORT=str(other.port)).returncode == 0
    (asked,) = other.asked
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", "/predict", {"Weight": 200})
    assert asked.headers["Content-Type"] == "application/json"


def test_a_refusal_is_shown_and_fails(server):
    done = predict("--weight", "-5", "--port", str(urlsplit(server).port))
    assert done.returncode == 22  # curl's, for an answer of 400 and above
    assert json.loads(done.stdout)["detail"].startswith("Weight: got -5, expected a number above 0")
    assert done.stderr.endswith("\nError: the service answered with status 422\n")


@pytest.mark.parametrize(("status", "code"), [(200, 0), (399, 0), (400, 22), (503, 22)])
def test_each_answer_is_shown_as_it_came_and_its_status_decides(status, code):
    with standin(lambda asked: (status, {}, b"busy\n200\n\n")) as other:
        done = predict(PORT=str(other.port))
    assert (done.returncode, done.stdout) == (code, "busy\n200\n\n")


@pytest.mark.parametrize("weight", ["0", "-0.5", "180.50", "1e2", "12E+1", "1.5e-3"])
def test_a_weight_is_what_json_has_as_a_number(weight):
    with standin(lambda asked: (200, {}, b"{}")) as other:
        assert predict("--weight", weight, PORT=str(other.port)).returncode == 0
    assert json.loads(other.asked[0].body) == {"Weight": float(weight)}


def test_nobody_there_fails():
    with standin(lambda asked: None) as gone:
        pass
    done = predict(PORT=str(gone.port))
    assert (done.returncode, done.stdout) == (7, "")
    assert "Failed to connect" in done.stderr


def test_the_help_names_each_option():
    done = predict("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--weight", "--host", "--port", "--help"):
        assert f"\n  {option} " in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--weight", "heavy"], "--weight: got heavy, expected a number"),
        (["--weight", '1, "Age": 2'], '--weight: got 1, "Age": 2, expected a number'),
        (["--weight", ""], "--weight: got , expected a number"),
        (["--weight", "NaN"], "--weight: got NaN, expected a number"),
        (["--weight", "007"], "--weight: got 007, expected a number as JSON has it"),
        (["--weight", ".5"], "--weight: got .5, expected a number as JSON has it"),
        (["--weight", "5."], "--weight: got 5., expected a number as JSON has it"),
        (["--weight", "+5"], "--weight: got +5, expected a number as JSON has it"),
        (["--weight", "1e"], "--weight: got 1e, expected a number as JSON has it"),
        (["--weight"], "--weight: got nothing"),
        (["--port", "0"], "--port (or PORT): got 0, expected a number from 1 to 65535"),
        (["--port", "080"], "--port (or PORT): got 080, expected a number"),
        (["--port", "65536"], "--port (or PORT): got 65536, expected a number"),
        (["--port", "1/x"], "--port (or PORT): got 1/x, expected a number"),
        (["200"], "got 200, expected --weight, --host or --port"),
    ],
)
def test_what_is_no_weight_or_port_is_refused_before_anybody_is_asked(args, said):
    done = predict(*args, PORT="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
