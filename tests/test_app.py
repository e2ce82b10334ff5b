"""Tests of the service: through Flask's client, and once as a process."""

import csv
import io
import json
import shutil
import sys
from datetime import datetime

import pytest
import requests
from conftest import ENVIRONMENT, ROOT, run
from contract import HttpContract
from prometheus_client.parser import text_string_to_metric_families

import mlib
from app import create_app

EXPECTED = "a number above 0 (145 to 300 pounds in training)"


@pytest.fixture(name="client", scope="module")
def _client(model):
    return create_app(model).test_client()


def test_a_row_gets_the_published_answer(client, model):
    response = client.post("/predict", json={"Weight": 200})
    assert response.status_code == 200
    assert response.json == {"prediction": mlib.predict(200, model)}
    assert response.text.index("height_inches") < response.text.index("height_human_readable")


def test_many_rows_are_answered_in_their_order(client, model):
    response = client.post("/predict", json=[{"Weight": 250}, {"Weight": 180}])
    assert response.json == {"predictions": mlib.predict([250, 180], model)}


def test_a_weight_beyond_training_is_answered_with_a_warning(client):
    prediction = client.post("/predict", json={"Weight": 400}).json["prediction"]
    assert prediction["warnings"] == [{"field": "Weight", "got": 400, "expected": "145 to 300 pounds, as in training"}]


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ('{"Weight": -5}', -5),
        ('{"Weight": 0}', 0),
        ('{"Weight": 1e300}', 1e300),
        ('{"Weight": "abc"}', "abc"),
        ('{"Weight": "200"}', "200"),
        ('{"Weight": null}', None),
        ('{"Weight": true}', True),
        ('{"Weight": [200]}', "a list"),
        ('{"Weight": {}}', "an object"),
        ("{}", None),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_was_expected(client, body, got):
    response = client.post("/predict", data=body, content_type="application/json")
    (error,) = problem(response, 422)["errors"]
    assert (error["field"], error["got"]) == ("Weight", got)
    assert error["expected"].startswith(EXPECTED)


def test_an_unknown_field_is_refused_with_the_nearest(client):
    document = problem(client.post("/predict", json={"weight": 200}), 422)
    assert [error["field"] for error in document["errors"]] == ["Weight", "weight"]
    assert "Did you mean Weight?" in document["detail"]


def test_the_bad_one_of_many_rows_is_numbered(client):
    document = problem(client.post("/predict", json=[{"Weight": 200}, {"Weight": -1}]), 422)
    assert document["errors"] == [{"row": 2, "field": "Weight", "got": -1, "expected": EXPECTED}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The body is empty"),
        (b"Weight=200", "not JSON: unexpected character"),
        (b'{"Weight": NaN}', "not JSON: unexpected character, expected a JSON value: line 1 column 12"),
        (b'{"Weight": Infinity}', "not JSON"),
        (b'{"Weight": 1e999}', "not JSON: number is infinity"),
        (b'{"Weight": 200, "Weight": 200}', 'the key "Weight" twice'),
        (b'[{"Weight": 200}, {"Weight": 180, "\\u0057eight": 200}]', 'the key "Weight" twice'),
        (b'{"Weight": 200, "x": {"y": 1, "y": 2}}', 'the key "y" twice'),
        ('{"Weight": 200}'.encode("utf-16"), "not JSON"),
        (b'\xef\xbb\xbf{"Weight": 200}', "not JSON: UTF-8 byte order mark"),
        (b'{"x": "\\ud800"}', "not JSON"),
        (b'{"Weight": 200', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON: depth limit"),
        (b'{"Weight": ' + b"1" * 5000 + b"}", "not JSON: number is infinity"),
        (b"200", "The body is 200; expected {"),
        (b'"abc"', 'The body is "abc"; expected {"Weight": 205}.'),
        (b"null", "The body is null"),
        (b"[]", "The list is empty"),
        (b"[200]", 'Row 1 is 200; expected an object such as {"Weight": 205}.'),
        (b'[{"Weight": 200}, [200]]', "Row 2 is [200]"),
    ],
)
def test_a_body_that_is_no_row_is_refused_with_what_was_expected(client, body, said):
    assert said in problem(client.post("/predict", data=body), 400)["detail"]


def test_a_body_over_the_limit_is_refused_with_the_limit(client):
    document = problem(client.post("/predict", data=b" " * 1_000_001), 413)
    assert "1,000,000 bytes" in document["detail"]


def test_rows_over_the_limit_are_refused_with_the_limit(model):
    client = create_app(model, max_rows=3).test_client()
    assert client.post("/predict", json=[{"Weight": 200}] * 3).status_code == 200
    document = problem(client.post("/predict", json=[{"Weight": 200}] * 4), 413)
    assert document["detail"] == "The body has 4 rows; at most 3 are answered at once."
    problem(client.post("/predict", data="Weight\n" + "200\n" * 4, content_type="text/csv"), 413)


@pytest.mark.parametrize(("blanks", "status"), [(0, 200), (999_985, 200), (999_986, 413), (5_000_000, 413)])
def test_a_body_without_a_length_has_the_same_limit(client, blanks, status):
    """As servers hand on a chunked body: a stream that ends, and no Content-Length."""
    stream = io.BytesIO(b'{"Weight": 200}' + b" " * blanks)
    response = client.post("/predict", input_stream=stream, environ_overrides={"wsgi.input_terminated": True})
    assert response.status_code == status


def test_a_chunked_body_is_answered_by_the_real_server(server):
    answered = requests.post(f"{server}/predict", data=iter([b'{"Weight": 200', b"}"]), timeout=10)
    assert answered.json() == {"prediction": mlib.predict(200)}


def test_unknown_paths_and_methods_are_problems_too(client):
    problem(client.get("/nope"), 404)
    assert "/nope" in problem(client.get("/nope"), 404)["detail"]
    response = client.get("/predict")
    assert problem(response, 405)["detail"] == "/predict does not answer GET; expected one of OPTIONS, POST."
    assert "POST" in response.headers["Allow"]


def test_a_bug_is_a_problem_that_tells_nothing_of_the_inside(model):
    flask_app = create_app(model)
    flask_app.add_url_rule("/bug", view_func=lambda: 1 / 0)
    response = flask_app.test_client().get("/bug")
    problem(response, 500)
    assert "ZeroDivisionError" not in response.text


@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_csv_is_answered_with_csv(client, path):
    response = client.post(path, data="Weight\n200\n400\n", content_type="text/csv")
    assert response.status_code == 200
    assert response.mimetype == "text/csv"
    assert list(csv.DictReader(response.text.splitlines())) == [
        {"height_inches": "73.23", "height_human_readable": "6 foot, 1 inches", "warnings": ""},
        {
            "height_inches": "83.91",
            "height_human_readable": "7 foot, 0 inches",
            "warnings": "Weight: got 400, expected 145 to 300 pounds, as in training",
        },
    ]


def test_accept_tells_what_the_answer_is_written_as(client, model):
    as_json = client.post(
        "/predict", data="Weight\n200\n", content_type="text/csv", headers={"Accept": "application/json"}
    )
    assert as_json.json == {"predictions": mlib.predict([200], model)}
    as_csv = client.post("/predict", json={"Weight": 200}, headers={"Accept": "text/csv"})
    assert as_csv.text.splitlines()[1] == '73.23,"6 foot, 1 inches",'
    for accepted in ("application/json;charset=utf-8", "application/json; charset=UTF-8, text/plain"):
        response = client.post("/predict", json={"Weight": 200}, headers={"Accept": accepted})
        assert (response.status_code, response.mimetype) == (200, "application/json")
    either = client.post("/predict", json={"Weight": 200}, headers={"Accept": "text/csv;q=0.5, application/*"})
    assert either.mimetype == "application/json"


def test_an_answer_that_nobody_wants_is_refused(client):
    document = problem(client.post("/predict", json={"Weight": 200}, headers={"Accept": "image/png"}), 406)
    assert "image/png" in document["detail"]


def test_csv_of_classes_has_a_column_a_probability(tmp_path, write_table):
    path = tmp_path / "classes.joblib"
    mlib.retrain(data=write_table("x,kind\n" + "1,a\n2,b\n" * 30), target="kind", model_name=path)
    response = create_app(path).test_client().post("/predict", data="x\n1\n", content_type="text/csv")
    assert response.text.splitlines()[0] == "kind,probabilities_a,probabilities_b,warnings"
    assert response.text.splitlines()[1].startswith("a,0.9")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("", 400, "The body is empty"),
        ("Weight\n", 400, "a header but no rows"),
        ("Height\n200\n", 422, "Weight: got nothing, expected a column of that name"),
        ("Weight,Wieght\n200,1\n", 422, "Did you mean Weight?"),
        ("Weight\n200\nabc\n", 422, 'row 2, Weight: got "abc"'),
        ("Weight\n200\n1,2\n", 400, "row 2 has 2 fields"),
        (b"Weight\n\xff\n", 400, "The body is no utf-8"),
        (b"\x1f\x8b\x08\x00", 400, "The body is no utf-8"),
    ],
)
def test_csv_that_cannot_be_is_refused_with_what_was_wrong(client, body, status, said):
    assert said in problem(client.post("/predict", data=body, content_type="text/csv"), status)["detail"]


def test_sagemaker_sends_csv_without_a_header(client, two_features):
    assert client.post("/invocations", data="200\n", content_type="text/csv").text.splitlines()[1].startswith("73.23,")
    two = create_app(two_features).test_client()
    expected = mlib.predict([{"Weight": 200, "Age": 30}], two_features)
    headers = {"Accept": "application/json"}
    for body in ("200,30\n", "Weight,Age\n200,30\n", "Age,Weight\n30,200\n"):
        response = two.post("/invocations", data=body, content_type="text/csv", headers=headers)
        assert response.json == {"predictions": expected}
    problem(two.post("/invocations", data="200\n", content_type="text/csv"), 422)
    assert (
        "a header but no rows" in problem(client.post("/predict", data="200\n", content_type="text/csv"), 400)["detail"]
    )


def test_sagemaker_asks_as_others_do(client, model):
    assert client.post("/invocations", json={"Weight": 200}).json == {"prediction": mlib.predict(200, model)}
    assert client.get("/ping").status_code == 200


@pytest.mark.parametrize("declared", ["text/xml", "image/png", "application/json; charset=utf-16", "nonsense"])
def test_a_body_of_another_type_is_refused(client, declared):
    document = problem(client.post("/predict", data=b'{"Weight": 200}', content_type=declared), 415)
    assert declared in document["detail"]


def test_a_body_that_is_packed_is_refused(client):
    response = client.post("/predict", data=b'{"Weight": 200}', headers={"Content-Encoding": "gzip"})
    assert "'gzip'" in problem(response, 415)["detail"]


@pytest.mark.parametrize("declared", ["application/json", "application/x-www-form-urlencoded", None])
def test_what_curl_declares_unasked_is_read_as_json(client, declared):
    assert client.post("/predict", data=b'{"Weight": 200}', content_type=declared).status_code == 200


def test_the_interval_comes_where_it_is_asked_for(client, model, line_table, tmp_path):
    response = client.post("/predict?interval=true", json={"Weight": 200})
    assert response.json == {"prediction": mlib.predict(200, model, interval=True)}
    assert "interval" not in client.post("/predict?interval=false", json={"Weight": 200}).json["prediction"]
    assert "'yes'" in problem(client.post("/predict?interval=yes", json={"Weight": 200}), 400)["detail"]
    path = tmp_path / "line.joblib"
    mlib.retrain(data=line_table, target="y", features=("x",), estimator="linear", model_name=path)
    few = create_app(path).test_client().post("/predict?interval=true", json={"x": 3})
    assert "no prediction interval" in problem(few, 400)["detail"]


def test_an_answer_beyond_all_numbers_is_refused(tmp_path, write_table):
    """The mean of a Poisson regression is an exponential: far from training it overflows."""
    path = tmp_path / "counts.joblib"
    table = write_table("x,n\n" + "".join(f"{i},{2**i}\n" for i in range(12)) * 3)
    mlib.retrain(data=table, target="n", model_name=path, estimator="sklearn.linear_model.PoissonRegressor")
    client = create_app(path).test_client()
    assert client.post("/predict", json={"x": 3}).status_code == 200
    assert "finite" in problem(client.post("/predict", json={"x": 1e8}), 422)["detail"]
    document = problem(client.post("/predict", json=[{"x": 3}, {"x": 1e8}]), 422)
    assert document["errors"][0]["row"] == 2


def test_health_and_card(client, model):
    assert client.get("/health/live").json == {"status": "live"}
    signature = mlib.Signature.read(model)
    ready = {"status": "ready", "model": signature.name, "version": signature.version, "refused": None}
    assert client.get("/health/ready").json == client.get("/ping").json == ready
    assert client.get("/model").json == signature.card


def test_an_id_is_taken_and_returned(client):
    assert client.get("/ping", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    for bad in ("", "a b", "é", "x" * 129, 'a"b'):
        answered = client.get("/ping", headers={"X-Request-ID": bad}).headers["X-Request-ID"]
        assert len(answered) == 20
    ids = {client.post("/predict", json={"Weight": 200}).headers["X-Request-ID"] for _ in range(9)}
    assert len(ids) == 9


def test_every_answer_names_the_model(client, model):
    version = mlib.Signature.read(model).version
    for response in (
        client.post("/predict", json={"Weight": 200}),
        client.post("/predict", data="?"),
        client.get("/no"),
    ):
        assert response.headers["X-Model-Version"] == version


def test_a_request_is_a_line_of_the_log_without_what_it_held(client, capfd):
    client.application.wsgi_app.close()
    capfd.readouterr()
    client.post("/predict", json={"Weight": 199.125}, headers={"X-Request-ID": "first"})
    client.post("/predict?Weight=199.125", json={"Weight": -199.125}, headers={"X-Request-ID": "second"})
    client.get("/secret/199.125", headers={"X-Request-ID": "third"})
    client.application.wsgi_app.close()
    out, err = capfd.readouterr()
    assert out == ""
    assert "199.125" not in err
    lines = [json.loads(line) for line in err.splitlines()]
    told = [(line["method"], line["route"], line["status"], line["request_id"]) for line in lines]
    assert told == [
        ("POST", "/predict", 200, "first"),
        ("POST", "/predict", 422, "second"),
        ("GET", "(other)", 404, "third"),
    ]
    for line in lines:
        assert 0 < line["ms"] < 60_000
        assert datetime.fromisoformat(line["time"]).tzinfo


def test_requests_rows_and_warnings_are_counted(model):
    client = create_app(model).test_client()
    client.post("/predict", json={"Weight": 200})
    client.post("/predict", json=[{"Weight": 200}, {"Weight": 400}])
    client.post("/predict", data="Weight\n200\n400\n", content_type="text/csv")
    client.post("/predict", json={"Weight": 0})
    client.get("/predict")
    client.get("/a/path/of/a/stranger")
    client.open("/predict", method="BREW")
    version = mlib.Signature.read(model).version
    response = client.get("/metrics")
    assert response.mimetype == "text/plain"
    assert "stranger" not in response.text
    assert "BREW" not in response.text
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples["http_requests_total", "/predict", "200", "POST"] == 3
    assert samples["http_requests_total", "/predict", "422", "POST"] == 1
    assert samples["http_requests_total", "(other)", "405", "GET"] == 1
    assert samples["http_requests_total", "(other)", "404", "GET"] == 1
    assert samples["http_requests_total", "(other)", "405", "OTHER"] == 1
    assert samples["http_request_duration_seconds_count", "/predict"] == 4
    assert samples["http_request_duration_seconds_bucket", "+Inf", "/predict"] == 4
    assert samples["prediction_rows_total",] == 5
    assert samples["prediction_warnings_total",] == 2
    assert samples["model_info", *sorted(["htwtmlb-height", version])] == 1
    assert samples["model_refused",] == 0


@pytest.fixture(name="locked", scope="module")
def _locked(model):
    return create_app(model, keys=["first key", "second"]).test_client()


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer third", "Basic second", "second", "Bearer second x", "Bearer é"]
)
@pytest.mark.parametrize("path", ["/", "/predict", "/metrics", "/model", "/nope", "/static/x", "/v2", "/invocations"])
def test_without_a_known_key_nothing_but_health_is_told(locked, path, header):
    headers = {} if header is None else {"Authorization": header}
    for response in (locked.get(path, headers=headers), locked.post(path, json={"Weight": 200}, headers=headers)):
        assert "Bearer KEY" in problem(response, 401)["detail"]
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_with_a_key_all_is_answered(locked):
    for key in ("first key", "second"):
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {key}"}
            assert locked.post("/predict", json={"Weight": 200}, headers=headers).status_code == 200
            assert locked.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/ping"])
def test_health_is_told_without_a_key(locked, path):
    assert locked.get(path).status_code == 200


def problem(response, status):
    """Hold that a response is a problem document of that status; return it."""
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    document = json.loads(response.data)
    assert set(document) == {"type", "title", "status", "detail", "errors"}
    assert document["status"] == status
    assert str(ROOT) not in response.text
    assert "Traceback" not in response.text
    return document


def test_the_real_server_answers(server):
    assert requests.post(f"{server}/predict", json={"Weight": 200}, timeout=10).json() == {
        "prediction": mlib.predict(200)
    }
    assert requests.get(server, timeout=10).status_code == 200


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_predict_sh_asks_the_real_server(server):
    done = run("./predict.sh", env={**ENVIRONMENT, "PORT": server.rpartition(":")[2]})
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"prediction": mlib.predict(200)}
    assert run("./predict.sh", env={**ENVIRONMENT, "PORT": "9"}).returncode != 0


def test_no_debugger_whatever_the_environment_says(server):
    """The fixture's server was started with FLASK_DEBUG=1; werkzeug's debugger would answer at these."""
    assert requests.get(f"{server}/console", timeout=10).status_code == 404
    resource = requests.get(f"{server}/?__debugger__=yes&cmd=resource&f=debugger.js", timeout=10)
    assert resource.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "80.0", "9" * 5000])
def test_a_port_that_is_none_is_a_usage_error(port):
    done = run(sys.executable, "app.py", env={**ENVIRONMENT, "PORT": port})
    assert done.returncode == 2
    assert "Invalid value for '--port' (env var: 'PORT'): " in done.stderr
    assert port[:20] in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MLOPS_MAX_ROWS", "0", "MLOPS_MAX_ROWS is '0', expected a whole number above 0."),
        ("MLOPS_MAX_BODY", "1e6", "MLOPS_MAX_BODY is '1e6'"),
        ("MLOPS_API_KEYS", " , ", "MLOPS_API_KEYS has no usable key"),
        ("MLOPS_API_KEYS", "schlüssel", "MLOPS_API_KEYS has no usable key"),
    ],
)
def test_a_setting_that_cannot_be_is_a_usage_error(name, value, said):
    done = run(sys.executable, "app.py", env={**ENVIRONMENT, "PORT": "0", name: value})
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Running" not in done.stderr


def test_a_port_that_is_taken_is_said(server):
    port = server.rpartition(":")[2]
    done = run(sys.executable, "app.py", env={**ENVIRONMENT, "PORT": port})
    assert done.returncode == 1
    assert f"Cannot listen at 127.0.0.1, port {port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_tells_the_settings_and_serves_nothing():
    done = run(sys.executable, "app.py", "--help")
    assert done.returncode == 0
    for name in (
        "HOST",
        "PORT",
        "WEB_CONCURRENCY",
        "MLOPS_MODEL",
        "MLOPS_API_KEYS",
        "MLOPS_MAX_BODY",
        "MLOPS_MAX_ROWS",
    ):
        assert name in done.stdout


def test_create_app_needs_no_default_model(tmp_path, model):
    env = {**ENVIRONMENT, "MLOPS_MODEL": str(tmp_path / "none.joblib")}
    code = f"from app import create_app; print(create_app({str(model)!r}).name)"
    assert run(sys.executable, "-c", code, env=env).stdout == "app\n"


def test_app_is_what_a_server_is_told_to_import(model):
    env = {**ENVIRONMENT, "MLOPS_MODEL": str(model)}
    done = run(sys.executable, "-m", "flask", "--app", "app", "routes", env=env)
    assert "/predict" in done.stdout
    code = "import app; assert app.app is app.app; print(app.app.name)"
    assert run(sys.executable, "-c", code, env=env).stdout == "app\n"


def test_without_a_model_it_says_so_and_does_not_start(tmp_path):
    done = run(sys.executable, "app.py", env={**ENVIRONMENT, "MLOPS_MODEL": str(tmp_path / "none.joblib")})
    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no model")
    assert done.stderr.count("\n") == 1


class TestContract(HttpContract):
    """What every deployed target is asked, the service here is asked first."""

    @pytest.fixture(name="url")
    def _url(self, server):
        return server
