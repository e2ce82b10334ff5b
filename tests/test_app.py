"""Tests of the service: through Flask's client, and once as a process."""

import io
import json
import shutil
import sys
from html.parser import HTMLParser

import pytest
import requests
from conftest import ENVIRONMENT, ROOT, run

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
        ('{"Weight": NaN}', "nan"),
        ('{"Weight": Infinity}', "inf"),
        ('{"Weight": 1e999}', "inf"),
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
    document = problem(response, 422)
    assert document["errors"] == [{"field": "Weight", "got": got, "expected": EXPECTED}]


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
        (b"Weight=200", "not JSON: Expecting value: line 1 column 1"),
        (b'{"Weight": 200', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b'{"Weight": ' + b"1" * 5000 + b"}", "not JSON that can be read"),
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


def test_a_body_over_the_limit_is_refused(client):
    problem(client.post("/predict", data=b" " * 1_000_001), 413)


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
    response = client.get("/predict")
    problem(response, 405)
    assert "POST" in response.headers["Allow"]


def test_a_bug_is_a_problem_that_tells_nothing_of_the_inside(model):
    flask_app = create_app(model)
    flask_app.add_url_rule("/bug", view_func=lambda: 1 / 0)
    response = flask_app.test_client().get("/bug")
    problem(response, 500)
    assert "ZeroDivisionError" not in response.text


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


def test_the_page_says_what_it_is_and_has_a_labelled_field_a_feature(client, two_features):
    page = client.get("/")
    assert page.status_code == 200
    assert "Predict the Height From Weight of MLB Players" in page.text
    assert "<script" not in page.text
    assert form(page) == ({"f1": "Weight"}, {"f1"})
    assert form(create_app(two_features).test_client().get("/")) == ({"f1": "Weight", "f2": "Age"}, {"f1", "f2"})


def form(page):
    """The form's fields (id to name), and the ids that labels are for."""
    fields, labels = {}, set()

    class Parser(HTMLParser):
        """Collects."""

        def handle_starttag(self, tag, attrs):
            """Note inputs and labels."""
            attributes = dict(attrs)
            if tag == "input":
                fields[attributes["id"]] = attributes["name"]
            elif tag == "label":
                labels.add(attributes["for"])

    Parser().feed(page.text)
    return fields, labels


def test_the_page_answers_without_javascript(client):
    page = client.get("/?Weight=200")
    assert "<output>6 foot, 1 inches</output>90% interval: 5 foot, 10 inches to 6 foot, 4 inches" in page.text
    assert 'value="200"' in page.text
    assert "extrapolation" in client.get("/?Weight=400").text


@pytest.mark.parametrize("value", ["-5", "0", "nan", "abc", "", "1e999"])
def test_the_page_refuses_what_cannot_be(client, value):
    page = client.get("/", query_string={"Weight": value})
    assert page.status_code == 422
    assert f"expected {EXPECTED}" in page.text
    assert "<output>" not in page.text


def test_the_page_escapes_what_was_typed(client):
    page = client.get("/", query_string={"Weight": '"><script>alert(1)</script>'})
    assert "<script" not in page.text


def test_a_missing_part_of_a_row_is_asked_for_on_the_page(two_features):
    page = create_app(two_features).test_client().get("/?Weight=200")
    assert page.status_code == 422
    assert "Age: got nothing" in page.text


def test_a_model_without_interval_is_served_too(tmp_path, line_table):
    path = tmp_path / "line.joblib"
    mlib.retrain(data=line_table, target="y", features=("x",), estimator="linear", model_name=path)
    page = create_app(path).test_client().get("/?x=10.5")
    assert "Predict the y from x" in page.text
    assert "<output>22</output></p>" in page.text


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
    assert done.stderr == f"Error: PORT is {port!r}, expected a number from 0 to 65535.\n"


def test_a_port_that_is_taken_is_said(server):
    port = server.rpartition(":")[2]
    done = run(sys.executable, "app.py", env={**ENVIRONMENT, "PORT": port})
    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stderr
    assert "Traceback" not in done.stderr


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


def test_a_choice_is_sent_as_it_is_however_many_blanks_it_has(tmp_path, write_table):
    """A browser sends an option without a value with its blanks squeezed."""
    levels = ["A", "A ", " x  y"]
    rows = "".join(f'"{levels[i % 3]}",{i % 3 + i / 1000}\n' for i in range(90))
    path = tmp_path / "blanks.joblib"
    mlib.retrain(data=write_table("g,y\n" + rows), target="y", model_name=path)
    page = create_app(path).test_client().get("/").get_data(as_text=True)
    for level in levels:
        assert f'<option value="{level}"' in page
