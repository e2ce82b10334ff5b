"""Tests of toolkit/endpoints.py: the names of endpoints, and what is remembered of them."""

import contextlib
import json
import re
import stat
import subprocess
import sys
import time

import pytest
from conftest import ENVIRONMENT, ROOT, running
from standins import Utils, predicted, settings, standin
from steady import put, wait_until

import mlib
from toolkit import endpoints

HOUR = 3600


@pytest.fixture(name="utils")
def _utils(tmp_path):
    return Utils(tmp_path)


@pytest.fixture(name="path")
def _path(tmp_path):
    """Where this user's names are kept."""
    return tmp_path / "config" / "mlops-cookbook" / "endpoints.json"


@pytest.fixture(name="known")
def _known(tmp_path):
    """Tell what is remembered of endpoints, and where."""

    def known():
        return sorted((tmp_path / "config" / "mlops-cookbook" / "known").glob("*"))

    return known


# ----------------------------------------------------------------------------------------------------- names


def test_names_are_added_listed_and_removed(utils, path):
    assert utils("endpoints", "path").stdout == f"{path}\n"
    listed = utils("endpoints", "list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "endpoints add NAME HOST" in listed.stderr
    assert json.loads(utils("endpoints", "list", "--json").stdout) == {}
    assert utils("endpoints", "add", "prod", "https://h.example/predict").exit_code == 0
    assert utils("endpoints", "add", "aws", "lambda:height:prod").exit_code == 0
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "prod": "https://h.example/predict",
        "aws": "lambda:height:prod",
    }
    assert list(json.loads(utils("endpoints", "list", "--json").stdout)) == ["aws", "prod"]
    assert re.fullmatch(
        r"aws +lambda:height:prod\nprod +https://h.example/predict\n", utils("endpoints", "list").stdout
    )
    again = utils("endpoints", "add", "prod", "v2+http://h.example/v2/models/m")
    assert "prod is v2+http://h.example/v2/models/m now, and was https://h.example/predict." in again.stderr
    assert utils("endpoints", "remove", "prod").exit_code == 0
    assert json.loads(utils("endpoints", "list", "--json").stdout) == {"aws": "lambda:height:prod"}


def test_a_name_is_asked_as_its_address(utils):
    with standin(predicted) as server:
        utils("endpoints", "add", "local", server.origin)
        done = utils.predict("local", "--weight", 200, "--json")
    assert json.loads(done.stdout) == {"prediction": mlib.predict(200)}
    assert f"Querying host {server.url} with weight: 200" in done.stderr


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a b", "a/b", "lambda:x", "ä", "x" * 65, "a\n"])
def test_what_is_no_name_is_refused(utils, path, name):
    done = utils("endpoints", "add", "--", name, "http://h/")
    assert done.exit_code == 2
    assert "is no name of an endpoint" in done.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    "address",
    [
        *("http://ann:s3cret@h/", "http://s3cret@h/", "https://h/api?code=s3cret", "https://h/#s3cret"),
        *("v2+http://u:s3cret@h/v2/models/m", "lambda:x?s3cret", "sagemaker:x#s3cret", "http://u:s3/s3cret@h:80/"),
        *("ftp://u:s3cret@h/", "h:80/?code=s3cret"),
    ],
)
def test_an_address_that_may_hold_a_key_is_refused_and_the_key_not_shown(utils, path, address):
    done = utils("endpoints", "add", "prod", address)
    assert done.exit_code == 2
    assert "s3cret" not in done.output
    assert not path.exists()


@pytest.mark.parametrize("address", ["", "h", "prod2", "h:80/predict", "lambda:"])
def test_what_is_no_address_gets_no_name(utils, path, address):
    done = utils("endpoints", "add", "prod", address)
    assert done.exit_code == 2
    assert "is no address of an endpoint; expected http://" in done.stderr
    assert not path.exists()


def test_a_name_that_was_not_added_is_told_with_the_nearest(utils):
    utils("endpoints", "add", "prod-eu", "http://h/")
    for command in (["predict", "--weight", 200, "--host", "prod_eu"], ["endpoints", "remove", "prod_eu"]):
        done = utils(*command)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "There is no endpoint 'prod_eu'. Did you mean prod-eu?" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Cannot read {}: "),
        (b"{", "Cannot read {}: "),
        (b"\xff\xfe", "Cannot read {}: "),
        (b"[" * 100_000, "Cannot read {}: "),
        (b"[]", "{} is no object of names and addresses. Mend it, or remove it."),
        (b'{"prod": 5}', "{} is no object of names and addresses. Mend it, or remove it."),
    ],
)
def test_a_damaged_file_is_told_and_left_as_it_is(utils, path, content, said):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    for command in (["list"], ["add", "prod", "http://h/"], ["remove", "prod"]):
        done = utils("endpoints", *command)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: {said.format(path)}")
        assert done.stderr.count("\n") == 1
    assert path.read_bytes() == content
    assert utils.predict("http://127.0.0.1:9", "--weight", 200, "--retries", 0).exit_code == 3  # it needs no names


def test_a_folder_that_cannot_be_is_told_and_asking_goes_on_without_it(utils, tmp_path):
    (tmp_path / "config").write_text("a file, where the folder should be", encoding="utf-8")
    done = utils("endpoints", "add", "prod", "http://h/")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Cannot read " + str(tmp_path)) or "Cannot make the folder" in done.stderr
    with standin(predicted) as server:
        assert utils.predict(server.url, "--weight", 200).exit_code == 0


def test_the_folder_is_the_users_alone(utils, path):
    utils("endpoints", "add", "prod", "http://h/")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_file_is_whole_whoever_writes_it_at_the_same_time(utils, path, tmp_path):
    utils("endpoints", "add", "first", "http://h/")
    program = (
        "import sys; from toolkit import endpoints\n"
        "for i in range(20): endpoints.add(f'{sys.argv[1]}-{i}', 'http://h/' + 'x' * 500)"
    )
    variables = {name: value for name, value in settings(tmp_path).items() if value is not None}
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", program, name], cwd=ROOT, env={**ENVIRONMENT, **variables})
            )
            for name in ("a", "b", "c")
        ]
        while any(process.poll() is None for process in processes):
            assert "first" in json.loads(path.read_text(encoding="utf-8"))
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(each.name for each in path.parent.iterdir()) == ["endpoints.json", "endpoints.json.lock"]


# ------------------------------------------------------------------------------- what is remembered


@pytest.fixture(name="told")
def _told(two_features):
    """Run an endpoint that tells what it takes: Weight and Age; give it, and a count of the questions what."""
    card, model = mlib.Signature.read(two_features).card, mlib.load_model(two_features)
    state = {"version": card["version"]}

    def answer(asked):
        if asked.method == "GET":
            return (200, {}, json.dumps(card).encode()) if asked.path == "/model" else (404, {}, b"{}")
        rows = json.loads(asked.body)
        content = {"prediction" if isinstance(rows, dict) else "predictions": mlib.predict(rows, model)}
        return 200, {"X-Model-Version": state["version"]}, json.dumps(content).encode()

    with standin(answer) as server:
        server.state = state
        server.questions = lambda: [asked.path for asked in server.asked if asked.method == "GET"]
        yield server


ROW = ("--weight", 200, "--age", 30)


def test_what_an_endpoint_takes_is_remembered_for_an_hour(utils, told, known):
    for _ in range(2):
        assert utils.predict(told.url, *ROW).exit_code == 0
        assert told.questions() == ["/model"]
    (file,) = known()
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert abs(kept["time"] - time.time()) < HOUR / 2
    file.write_text(json.dumps(kept | {"time": kept["time"] - HOUR + 60}), encoding="utf-8")
    utils.predict(told.url, *ROW)
    assert told.questions() == ["/model"]
    for wrong in (kept["time"] - HOUR, kept["time"] + HOUR, "yesterday", None):
        told.asked.clear()
        file.write_text(json.dumps(kept | {"time": wrong}), encoding="utf-8")
        assert utils.predict(told.url, *ROW).exit_code == 0
        assert told.questions() == ["/model"]


def test_no_row_of_the_training_data_is_remembered(utils, told, known, two_features):
    assert mlib.Signature.read(two_features).card["sample"]
    utils.predict(told.url, *ROW)
    (file,) = known()
    assert "sample" not in json.loads(file.read_text(encoding="utf-8"))["card"]
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"time": 5}', b'{"time": NOW}', b'{"time": NOW, "card": 5}']
)
def test_a_damaged_memory_is_none(utils, told, known, content):
    utils.predict(told.url, *ROW)
    (file,) = known()
    file.write_bytes(content.replace(b"NOW", str(time.time()).encode()))
    told.asked.clear()
    assert utils.predict(told.url, *ROW).exit_code == 0
    assert told.questions() == ["/model"]


def test_what_was_remembered_is_forgotten_when_another_version_answers(utils, told, known):
    utils.predict(told.url, *ROW)
    assert known()
    told.state["version"] = "another"
    assert utils.predict(told.url, *ROW).exit_code == 0
    assert not known()


def test_an_endpoint_that_does_not_tell_is_not_asked_each_time(utils, known):
    with standin(predicted) as server:
        for _ in range(2):
            assert utils.predict(server.url, "--weight", 200).exit_code == 0
        assert [asked.method for asked in server.asked] == ["GET", "POST", "POST"]
    assert len(known()) == 1


@pytest.mark.parametrize("status", [301, 401, 403, 500])
def test_what_may_be_told_next_time_is_asked_next_time(utils, known, status):
    with standin(lambda asked: (status, {}, b"{}") if asked.method == "GET" else predicted(asked)) as server:
        assert utils.predict(server.url, "--weight", 200).exit_code == 0
    assert not known()


def test_what_an_endpoint_tells_that_is_no_card_is_not_believed(utils):
    for content in (b"[]", b"5", b"{}", b'{"format": 1}', b'{"features": [5]}', b"<html>", b"[" * 100_000):
        with standin(
            lambda asked, said=content: (200, {}, said) if asked.method == "GET" else predicted(asked)
        ) as server:
            done = utils.predict(server.url, "--weight", 200, "--json")
            assert json.loads(done.stdout) == {"prediction": mlib.predict(200)}


def test_what_cannot_be_written_is_not_remembered_and_asked_again(tmp_path, monkeypatch):
    (tmp_path / "config").write_text("a file, where the folder should be", encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    endpoints.keep("http://h/model", {"name": "m"})
    assert endpoints.recall("http://h/model") is None
    endpoints.forget("http://h/model")


def test_another_model_behind_the_same_address_is_asked_by_its_own_names(utils, model, two_features, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    put(model, folder)
    with running(MLOPS_MODEL=folder / "model.joblib") as served:
        done = utils.predict(served.url, "--weight", 200, "--json")
        assert json.loads(done.stdout) == {"prediction": mlib.predict(200, mlib.load_model(model))}
        assert utils.predict(served.url, *ROW).exit_code == 2
        put(two_features, folder)
        other = mlib.load_model(two_features)
        wait_until(lambda: _version(served.url) == other.signature.version)
        expected = mlib.predict({"Weight": 200, "Age": 30}, other)
        done = utils.predict(served.url, *ROW, "--json")
        assert json.loads(done.stdout) == {"prediction": expected}
        put(model, folder)
        wait_until(lambda: _version(served.url) != other.signature.version)
        done = utils.predict(served.url, "--weight", 200, "--json")
        assert json.loads(done.stdout) == {"prediction": mlib.predict(200, mlib.load_model(model))}


def _version(url):
    import requests

    return requests.get(f"{url}/health/ready", timeout=10).headers["X-Model-Version"]


def test_rows_of_a_file_are_those_of_the_model_that_is_there_now(utils, model, two_features, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    put(model, folder)
    rows = [{"Weight": 200, "Age": 30}, {"Weight": 180, "Age": 25}]
    (tmp_path / "both.json").write_text(json.dumps(rows), encoding="utf-8")
    with running(MLOPS_MODEL=folder / "model.joblib") as served:
        assert utils.predict(served.url, "--from", tmp_path / "both.json").exit_code == 0
        put(two_features, folder)
        other = mlib.load_model(two_features)
        wait_until(lambda: _version(served.url) == other.signature.version)
        done = utils.predict(served.url, "--from", tmp_path / "both.json", "--json")
        assert json.loads(done.stdout) == {"predictions": mlib.predict(rows, other)}
        put(model, folder)
        wait_until(lambda: _version(served.url) != other.signature.version)
        (tmp_path / "one.json").write_text('[{"Weight": 200}]', encoding="utf-8")
        done = utils.predict(served.url, "--from", tmp_path / "one.json", "--json")
        assert json.loads(done.stdout) == {"predictions": mlib.predict([{"Weight": 200}], mlib.load_model(model))}


ADDING = """
import sys, time
from toolkit import endpoints
time.sleep(max(0, float(sys.argv[2]) - time.time()))
endpoints.add(sys.argv[1], "http://localhost/" + sys.argv[1])
"""


def test_no_name_is_lost_where_several_are_added_at_the_same_time(tmp_path):
    start, env = str(time.time() + 1), {**ENVIRONMENT, "XDG_CONFIG_HOME": str(tmp_path)}
    with contextlib.ExitStack() as stack:
        commands = [[sys.executable, "-c", ADDING, f"n{number}", start] for number in range(6)]
        adding = [stack.enter_context(subprocess.Popen(command, cwd=ROOT, env=env)) for command in commands]
        assert [process.wait(60) for process in adding] == [0] * 6
    kept = json.loads((tmp_path / "mlops-cookbook" / "endpoints.json").read_text(encoding="utf-8"))
    assert sorted(kept) == [f"n{number}" for number in range(6)]
