"""Tests of ./utilscli.py: as a process where it matters, else through click's runner."""

import json
import signal
import subprocess
import sys
import threading

import click
import pytest
from click.testing import CliRunner
from conftest import ENVIRONMENT, ROOT, run, serving
from misbehaving import answering, as_rows, posts

import mlib
from cli import predictcli
from toolkit import remote
from toolkit.options import TAKEN
from utilscli import cli

REFUSED = "http://127.0.0.1:9/predict"  # the port of "discard", where nothing listens


def utils(*args):
    """Run in this process."""
    return CliRunner().invoke(cli, list(map(str, args)))


def test_version():
    assert utils("--version").stdout == f"cli, version {mlib.__version__}\n"
    assert run("./utilscli.py", "--version").stdout == f"utilscli.py, version {mlib.__version__}\n"


def test_every_command_and_option_has_a_help_text():
    for path, command in commands(cli):
        assert command.help
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, f"{path} {option.name}"


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


# ------------------------------------------------------------------------------------------------- ask endpoints


def test_predict_asks_the_endpoint(server):
    done = run("./utilscli.py", "predict", "--weight", 400, "--host", f"{server}/predict")
    assert done.returncode == 0
    assert done.stderr == f"Querying host {server}/predict with weight: 400\n"
    assert done.stdout.startswith('result: {"prediction": {"height_inches": 8')
    done = utils("predict", "--weight", 180.5, "--host", server, "--json")
    assert json.loads(done.stdout) == {"prediction": mlib.predict(180.5)}


def test_predict_has_the_published_defaults():
    with answering(posts(lambda row, _: as_rows(row))) as server:
        done = utils("predict", "--host", server.url)
    assert server.rows() == [{"Weight": 225}]
    assert b'{"Weight":225}' in server.requests[-1][3]  # as people write it, without a point
    assert done.stderr == f"Querying host {server.url} with weight: 225\n"
    assert "[default: http://localhost:8080/predict]" in " ".join(utils("predict", "--help").stdout.split())


def test_an_option_that_stands_twice_makes_two_rows(server):
    done = utils("predict", "--weight", 180, "--weight", 200, "--host", server)
    assert done.stdout == f"result: {json.dumps({'predictions': mlib.predict([180, 200])})}\n"
    assert done.stderr.endswith("with weight: 180 and 1 more\n")


def test_the_options_are_those_of_the_endpoints_model(two_features):
    with serving(MLOPS_MODEL=two_features) as url:
        for host in (url, f"v2+{url}/v2/models/htwtmlb-height"):
            done = utils("predict", "--age", 30, "--weight", 200, "--host", host, "--json")
            assert json.loads(done.stdout) == {"prediction": mlib.predict({"Weight": 200, "Age": 30}, two_features)}
        shown = utils("predict", "--host", url, "--help").stdout
        assert "--age FLOAT" in shown
        assert f"Age: {mlib.Signature.read(two_features).features[1].possible}." in " ".join(shown.split())
        done = utils("predict", "--weight", 200, "--host", url)
        assert done.exit_code == 2
        assert "A row needs each feature, and there is no --age." in done.stderr
        done = utils("predict", "--host", url)
        assert done.exit_code == 2
        assert "Nothing to predict from. Give --weight, --age, such as --weight 205 --age 2" in done.stderr


def test_what_it_takes_is_asked_once():
    with answering(lambda *_request: (200, {}, json.dumps(mlib.Signature.read().card).encode())) as other:
        for _ in range(3):
            utils("predict", "--weight", 200, "--host", other.url)
    assert [request[0] for request in other.requests] == ["GET", "POST", "POST", "POST"]


def test_another_model_at_the_same_address_is_asked_by_its_own_options(two_features):
    cards = [mlib.Signature.read().card, mlib.Signature.read(two_features).card]

    def reply(method, _path, _headers, body, _number):
        return (200, {}, json.dumps(cards[0]).encode()) if method == "GET" else as_rows(json.loads(body))

    with answering(reply) as server:
        utils("predict", "--weight", 200, "--host", server.url)
        del cards[0]
        done = utils("predict", "--weight", 200, "--age", 30, "--host", server.url, "--json")
    assert json.loads(done.stdout) == {"prediction": {"Weight": 200, "Age": 30}}


def test_an_endpoint_that_does_not_tell_is_asked_by_the_model_here(two_features, monkeypatch):
    with answering(posts(lambda row, _: as_rows(row))) as server:
        done = utils("predict", "--age", 30, "--host", server.url)
        assert done.exit_code == 2
        assert "(The endpoint does not tell what it takes; that is of the model here.)" in done.stderr
        monkeypatch.setenv("MLOPS_MODEL", str(two_features))
        done = utils("predict", "--age", 30, "--weight", 200, "--host", server.url, "--json")
    assert json.loads(done.stdout) == {"prediction": {"Weight": 200, "Age": 30}}


def test_what_it_takes_may_need_the_right_key(two_features, monkeypatch):
    with serving(MLOPS_MODEL=two_features, MLOPS_API_KEYS="k") as url:
        done = utils("predict", "--age", 30, "--weight", 200, "--host", url)
        assert done.exit_code == 2
        assert "(The endpoint does not tell what it takes without the right key; " in done.stderr
        monkeypatch.setenv("MLOPS_API_KEY", "k")  # which stands in the signature's own words, kind and packages
        done = utils("predict", "--age", 30, "--weight", 200, "--host", url, "--json")
    assert json.loads(done.stdout) == {"prediction": mlib.predict({"Weight": 200, "Age": 30}, two_features)}


def test_a_file_is_asked_row_by_row_in_order(server, write_table):
    weights = [150 + number % 150 for number in range(2500)]
    table = write_table("Name,Weight\n" + "".join(f"a,{weight}\n" for weight in weights))
    options = ("--from", table, "--host", server, "--chunk-rows", 400, "--concurrency", 3)
    done = run("./utilscli.py", "predict", *options)
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == mlib.predict(weights)
    assert done.stderr == (
        "Ignored, no features of the model: Name.\n" + f"Querying host {server}/predict with 2,500 rows\n"
    )
    done = utils("predict", *options, "--json")
    assert json.loads(done.stdout) == {"predictions": mlib.predict(weights)}
    v2 = f"v2+{server}/v2/models/htwtmlb-height"
    done = utils("predict", "--from", table, "--host", v2, "--json")
    assert json.loads(done.stdout)["predictions"] == mlib.predict(weights)


def test_rows_from_the_standard_input_that_are_bad_are_null_and_told(server):
    done = run(
        *("./utilscli.py", "predict", "--from", "-", "--host", server),
        **{"input": "Weight\n150\n-3\n170\n", "stdin": None},
    )
    assert done.returncode == 4
    assert [json.loads(line) for line in done.stdout.splitlines()] == [mlib.predict(150), None, mlib.predict(170)]
    assert "Error: row 2: Weight: got -3, expected a number above 0" in done.stderr
    assert done.stderr.endswith("1 of 3 rows have no answer.\n")


def test_of_many_failures_some_are_shown_and_json_has_all(server, write_table):
    table = write_table("Weight\n" + "-1\n" * 30 + "200\n")
    done = utils("predict", "--from", table, "--host", server)
    assert done.stderr.count("Error: row") == 20
    assert done.stderr.endswith("30 of 31 rows have no answer (10 more errors).\n")
    found = json.loads(utils("predict", "--from", table, "--host", server, "--json").stdout)
    assert found["predictions"] == [None] * 30 + [mlib.predict(200)]
    assert [error["rows"] for error in found["errors"]] == [[row] for row in range(1, 31)]
    assert found["errors"][0]["error"].startswith("row 1: Weight: got -1")


def test_a_file_of_an_endpoint_that_is_not_there_exits_3(write_table):
    done = utils("predict", "--from", write_table("Weight\n200\n"), "--host", REFUSED, "--retries", 0)
    assert (done.exit_code, done.stdout) == (3, "")


def test_an_empty_name_of_a_file_is_no_file(server):
    done = utils("predict", "--from", "", "--host", server)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Cannot read" in done.stderr


def test_a_closed_standard_input_is_told(server):
    for command in ("--from -", "--key-file - --weight 200"):
        done = run("bash", "-c", f"./utilscli.py predict {command} --host {server} <&-")
        assert done.returncode == 1
        assert "the standard input is closed" in done.stderr
        assert "Traceback" not in done.stderr


def test_names_of_a_foreign_model_do_not_move_the_cursor():
    card = mlib.Signature.read().card
    nasty = "We\x1b[31;1might\x07\n\u202e"
    card = {**card, "name": nasty, "version": nasty, "features": [{**card["features"][0], "name": nasty}]}

    def reply(method, path, _headers, body, _number):
        if path.startswith("/health"):
            return 200, {}, b"{}"
        return (200, {}, json.dumps(card).encode()) if method == "GET" else as_rows(json.loads(body))

    with answering(reply) as server:
        for command in (["predict", "--help"], ["health"], ["predict", "--we-31-1might", 200], ["predict"]):
            done = CliRunner().invoke(cli, [*map(str, command), "--host", server.url], color=True)
            assert not any(raw in done.output for raw in ("\x1b[31;", "\x07", "\u202e")), command


def test_no_rows_have_no_answers(server, write_table):
    table = write_table("Weight\n")
    done = utils("predict", "--from", table, "--host", server, "--json")
    assert done.exit_code == 1
    assert "has a header but no rows" in done.stderr


def test_ctrl_c_leaves_what_was_answered(write_table):
    hold = threading.Event()

    def reply(rows, _number):
        if rows[0]["Weight"] > 250:
            hold.wait(60)
        return as_rows(rows)

    table = write_table("Weight\n" + "".join(f"{weight}\n" for weight in range(201, 300)))
    with answering(posts(reply)) as server:
        command = ["./utilscli.py", "predict", "--from", table, "--host", server.url, "--chunk-rows", "10"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT, text=True
        ) as process:
            given = [process.stdout.readline() for _ in range(50)]
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=30)
        hold.set()
    assert [json.loads(line)["Weight"] for line in given] == list(range(201, 251))
    assert rest == ""
    assert "Interrupted: 50 of 99 rows were asked." in errors
    assert errors.endswith("Aborted!\n")
    assert process.returncode == 1


def test_predict_exits_3_when_nothing_listens():
    done = utils("predict", "--host", REFUSED, "--retries", 1)
    assert (done.exit_code, done.stdout) == (3, "")
    lines = done.stderr.splitlines()
    assert lines[-1] == f"Error: {REFUSED} cannot be reached: Connection refused. Is the server up, and the URL right?"
    assert lines[0].startswith("Trying again in 0.")
    assert len(lines) == 2


def test_predict_exits_4_when_the_endpoint_refuses(server):
    done = utils("predict", "--weight", -5, "--host", f"{server}/predict")
    assert (done.exit_code, done.stdout) == (4, "")
    assert "answered 422: Weight: got -5, expected a number above 0" in done.stderr
    done = utils("predict", "--host", f"{server}/nothing")
    assert done.exit_code == 4
    assert "Does the URL end in /predict?" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weight", "nan"], "nan is no finite number"),
        (["--weight", "inf"], "inf is no finite number"),
        (["--weight", "abc"], "not a valid float"),
        (["--wieght", "200"], "Did you mean '--weight'?"),
        (["--weight", "200", "more"], "unexpected extra argument"),
        (["--weight", "200", "--from", "x.csv"], "Rows come from --from, or from the options of the features"),
    ],
)
def test_predict_exits_2_for_a_row_that_cannot_be(server, options, said):
    done = utils("predict", "--host", server, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("Usage: cli predict [OPTIONS]")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--timeout", "0"], "0<x<=3600"),
        (["--timeout", "nan"], "nan"),
        (["--timeout", "1e300"], "0<x<=3600"),
        (["--retries", "-1"], "0<=x<=100"),
        (["--chunk-rows", "0"], "x>=1"),
        (["--concurrency", "0"], "1<=x<=1000"),
        (["--host", "localhost:8080"], "expected http://HOST:PORT/predict"),
        (["--host", ""], "expected http://HOST:PORT/predict"),
        (["--host", "ftp://localhost/predict"], "expected http://HOST:PORT/predict"),
        (["--host", "http://"], "expected http://HOST:PORT/predict"),
        (["--host", "v2+http://localhost/predict"], "expected v2+http://HOST:PORT/v2/models/NAME"),
        (["--host", "lambda:"], "expected http://HOST:PORT/predict"),
        (["--host", "prod"], "There is no endpoint 'prod'."),
        (["--header", "X"], "A header is no 'Name: value'"),
        (["--key-file", "a", "--bearer-command", "b"], "exclude each other"),
        (["--host", "lambda:x", "--key-file", "a"], "is asked with the credentials of AWS"),
    ],
)
def test_predict_exits_2_for_an_option_that_cannot_be(options, said):
    done = utils("predict", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_what_asking_has_for_itself_is_no_name_of_a_feature():
    shared = {
        option for command in (predictcli, cli.commands["predict"]) for each in command.params for option in each.opts
    }
    assert {option.removeprefix("--") for option in shared} <= TAKEN


def test_the_command_and_the_library_have_the_same_defaults():
    defaults = {option.name: option.default for option in cli.commands["predict"].params}
    assert defaults["timeout"] == remote.TIMEOUT
    assert defaults["retries"] == remote.RETRIES
    assert defaults["chunk_rows"] == remote.CHUNK_ROWS
    assert defaults["concurrency"] == remote.CONCURRENCY


def test_one_row_is_asked_without_what_is_heavy(server):
    code = "import atexit, runpy, sys\n"
    code += "heavy = {'aiohttp', 'asyncio', 'botocore', 'matplotlib', 'numpy', 'onnxruntime', 'pandas', 'sklearn'}\n"
    code += "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\n"
    code += "runpy.run_path('utilscli.py', run_name='__main__')\n"
    done = run(sys.executable, "-c", code, "predict", "--weight", "200", "--host", server)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_needs_no_endpoint():
    shown = utils("predict", "--help").stdout
    assert "--weight FLOAT" in shown
    done = utils("predict", "--host", REFUSED, "--help")
    assert done.exit_code == 0
    assert "Note: the options of the features are not shown." in done.stderr
    assert "--weight FLOAT" not in done.stdout


def commands(group, *path):
    """All commands below a group, with the words that call them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield [*path, name], command


@pytest.mark.parametrize("path", [path for path, _ in commands(cli)], ids=" ".join)
def test_help_shows_a_command_that_can_be_run(path):
    shown = utils(*path, "--help").stdout
    examples = [line for line in shown.splitlines() if "./utilscli.py " in line]
    assert any(f"./utilscli.py {' '.join(path)}" in line for line in examples), shown


# ----------------------------------------------------------------------------------------------------- health


def test_health_tells_how_an_endpoint_is(server):
    version = mlib.Signature.read().version
    done = utils("health", "--host", server)
    assert done.stdout.splitlines() == [
        f"Endpoint  {server}/predict",
        "Live      yes",
        "Ready     yes",
        f"Model     htwtmlb-height, version {version}",
    ]
    done = utils("health", "--host", server, "--compare-local", "--json")
    assert json.loads(done.stdout)["compared"] == {"rows": 5, "difference": 0.0, "tolerance": 0.01, "refused": None}


def test_health_exits_3_4_and_5(server, tmp_path, monkeypatch):
    assert utils("health", "--host", REFUSED).exit_code == 3
    with answering(lambda *_request: (503, {}, b'{"detail": "loading"}')) as busy:
        done = utils("health", "--host", busy.url)
    assert done.exit_code == 4
    assert "Ready     no\n" in done.stdout
    assert "answered 503: loading" in done.stderr
    mlib.retrain(model_name=tmp_path / "other.joblib", estimator="random-forest")
    monkeypatch.setenv("MLOPS_MODEL", str(tmp_path / "other.joblib"))
    done = utils("health", "--host", server, "--compare-local")
    assert done.exit_code == 5
    assert "on 5 golden rows of the model here (tolerance 0.01)" in done.stdout
    assert "Error: " in done.stderr
    done = utils("health", "--host", server, "--compare-local", "--tolerance", 100, "--json")
    assert done.exit_code == 0
    assert 0.01 < json.loads(done.stdout)["compared"]["difference"] < 100


@pytest.mark.parametrize(("value", "said"), [("-1", "x>=0"), ("nan", "nan"), ("x", "not a valid float")])
def test_a_tolerance_that_cannot_be_is_refused(value, said):
    done = utils("health", "--compare-local", "--tolerance", value)
    assert done.exit_code == 2
    assert said in done.stderr


# ------------------------------------------------------------------------------------------------------- load


def test_load_measures_an_endpoint(server, tmp_path):
    done = run(
        *("./utilscli.py", "load", "--host", server, "--rate", 20, "--duration", 1, "--plot", tmp_path / "p.svg")
    )
    assert done.returncode == 0
    assert done.stderr == ""
    facts = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert facts["Sent"].strip() == "20 of 20 requests that were due"
    assert facts["Errors"].strip() == "none"
    assert list(facts)[4:9] == ["p50", "p90", "p99", "p99.9", "max"]
    assert "<svg" in (tmp_path / "p.svg").read_text(encoding="utf-8")
    host = f"v2+{server}/v2/models/htwtmlb-height"
    report = json.loads(utils("load", "--host", host, "--rate", 20, "--duration", 0.5, "--json").stdout)
    assert (report["planned"], report["answered"], report["errors"]) == (10, 10, {})
    assert list(report["latency_seconds"]) == ["p50", "p90", "p99", "p99.9", "max"]


def test_load_sends_the_rows_of_a_file_in_turn(write_table):
    table = write_table("Weight\n150\n160\n")
    with answering(posts(lambda row, _: as_rows(row))) as server:
        options = ("--host", server.url, "--from", table, "--rate", 20, "--duration", 0.5)
        assert utils("load", *options).exit_code == 0
    weights = [row["Weight"] for row in server.rows()]
    assert weights[0] == 150  # beforehand
    assert 0 <= weights[1:].count(150) - weights[1:].count(160) <= 1
    assert len(weights) > 2


def test_load_exits_3_where_the_endpoint_is_gone_after_the_first_row():
    with answering(posts(lambda row, number: None if number > 1 else as_rows(row))) as server:
        done = utils("load", "--host", server.url, "--rate", 20, "--duration", 0.2)
    assert done.exit_code == 3
    assert "connection lost: 4" in done.stdout


def test_load_exits_3_or_4_where_nothing_is_answered():
    assert utils("load", "--host", REFUSED, "--retries", 0).exit_code == 3
    with answering(posts(lambda row, _: (500, {}, b""))) as server:
        assert utils("load", "--host", server.url).exit_code == 4
    with answering(posts(lambda row, number: (500, {}, b"") if number > 1 else as_rows(row))) as server:
        done = utils("load", "--host", server.url, "--rate", 20, "--duration", 0.2)
    assert done.exit_code == 4
    assert "500 Internal Server Error: 4" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "0"], "x>0"),
        (["--rate", "nan"], "nan is no finite number"),
        (["--duration", "-1"], "x>0"),
        (["--concurrency", "0"], "1<=x<=10000"),
        (["--plot", "p.pdf"], ".svg"),
        (["--host", "http://192.0.2.1", "--rate", "2000"], "--yes"),
        (["--host", "http://192.0.2.1", "--duration", "61"], "--yes"),
        (["--host", "http://127.0.0.1:9", "--rate", "1e6", "--duration", "1e6"], "expected at most 100,000,000"),
    ],
)
def test_load_exits_2_for_what_is_not_to_be_sent(options, said):
    done = utils("load", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


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
