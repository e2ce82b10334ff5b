"""Does the function answer on Lambda as everywhere?

It runs by Lambda's own runtime client, under Lambda's emulator, without a container.
"""

import base64
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import handler
import pytest
from click.testing import CliRunner
from conftest import ROOT
from contract import ANSWERS, BAD_ROWS, NO_JSON, NO_ROWS, Contract, is_problem
from emulator import CREDENTIALS, MARK, emulated
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mlib
import utilscli

HERE = Path(__file__).parent
HANDLER = "handler.lambda_handler"
REQUESTS = ["api-gateway-v1", "http-api-v2", "function-url", "alb", "alb-multi-value-headers"]


def event_of(name, **changes):
    """Give an event that is kept as a file, changed."""
    event = json.loads((HERE / "events" / f"{name}.json").read_text()) | changes
    if name == "alb-multi-value-headers" and "queryStringParameters" in changes:  # the query, too, comes as lists
        query = event.pop("queryStringParameters") or {}
        event["multiValueQueryStringParameters"] = {key: [value] for key, value in query.items()}
    return event


def opened(answer):
    """Read what the function answered to a request: status and document."""
    headers = answer["headers"]
    assert headers["X-Model-Version"] == mlib.load_model().signature.version
    assert headers["Content-Type"] == (
        "application/json" if answer["statusCode"] == 200 else "application/problem+json"
    )
    assert answer["isBase64Encoded"] is False
    return answer["statusCode"], json.loads(answer["body"])


def declared_as(kind, header):
    """Give an event with no other header than this one."""
    name, value = header
    has_lists = "multiValueHeaders" in event_of(kind)
    headers = {"headers": None, "multiValueHeaders": {name: [value]}} if has_lists else {"headers": {name: value}}
    return event_of(kind, body='{"Weight": 200}', queryStringParameters=None, **headers)


def ask_by(function, name):
    """Give the way to ask by a kind of request."""

    def ask(payload):
        event = event_of(name, body=json.dumps(payload), queryStringParameters=None)
        return opened(function.invoke(event))

    return ask


@pytest.fixture(name="function", scope="module")
def _function():
    if MARK.args[0]:
        pytest.skip(MARK.kwargs["reason"])
    with emulated(HANDLER, HERE, ROOT) as function:
        yield function


@pytest.mark.parametrize("kind", REQUESTS)
class TestRequests(Contract):
    """The contract, by every kind of request."""

    bad_row = 400

    @pytest.fixture(name="ask")
    def _ask(self, function, kind):
        return ask_by(function, kind)

    @pytest.mark.parametrize("body", [*NO_JSON, None])
    def test_what_is_no_json_is_refused(self, function, kind, body):
        event = event_of(kind, body=None if body is None else body.decode(), queryStringParameters=None)
        is_problem(*opened(function.invoke(event)), 400)

    def test_a_body_may_come_as_base64(self, function, kind):
        body = base64.b64encode(b'{"Weight": 200}').decode()
        event = event_of(kind, body=body, isBase64Encoded=True, queryStringParameters=None)
        assert opened(function.invoke(event)) == (200, {"prediction": ANSWERS[200]})
        document = is_problem(*opened(function.invoke(event | {"body": body[:-1]})), 400)
        assert "base64" in document["detail"]

    def test_the_interval_is_answered_when_it_is_asked_for(self, function, kind):
        body, asked = '{"Weight": 200}', {"interval": "true"}
        status, document = opened(function.invoke(event_of(kind, body=body, queryStringParameters=asked)))
        assert (status, document["prediction"]["interval"]["coverage"]) == (200, 0.9)
        asked = {"interval": "maybe"}
        document = is_problem(*opened(function.invoke(event_of(kind, body=body, queryStringParameters=asked))), 400)
        assert "'maybe'" in document["detail"]

    @pytest.mark.parametrize("declared", ["APPLICATION/JSON ; charset=UTF-8", 'application/json; charset="utf-8"', ""])
    def test_a_body_may_be_declared_in_other_words(self, function, kind, declared):
        answer = function.invoke(declared_as(kind, ("Content-Type", declared)))
        assert opened(answer) == (200, {"prediction": ANSWERS[200]})

    @pytest.mark.parametrize(
        "header",
        [
            ("Content-Type", "application/json; charset=iso-8859-1"),
            ("content-type", "application/vnd.api+json"),
            ("Content-Encoding", "gzip"),
        ],
    )
    def test_a_body_that_is_written_otherwise_is_refused(self, function, kind, header):
        answer = opened(function.invoke(declared_as(kind, header)))
        assert header[1] in is_problem(*answer, 415)["detail"]

    def test_another_kind_of_body_is_refused(self, function, kind):
        for headers in (
            {"headers": {"content-type": "text/csv"}},
            {"multiValueHeaders": {"Content-Type": ["text/csv"]}},
        ):
            event = event_of(
                kind, **{"headers": None, "queryStringParameters": None, "body": "Weight\n200\n"} | headers
            )
            assert "'text/csv'" in is_problem(*opened(function.invoke(event)), 415)["detail"]


def moved(kind, method, path):
    """Give an event that asks for another path, by another method."""
    event = event_of(kind, path=path, httpMethod=method, rawPath=path)
    if "http" in event["requestContext"]:
        event["requestContext"]["http"] |= {"method": method, "path": path}
    return event


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("stage", ["", "/Prod"])  # HTTP APIs with a named stage, and base paths, stand before the route
class TestRoutes:
    """What else is asked over HTTP."""

    def test_health_is_told(self, function, kind, stage):
        assert opened(function.invoke(moved(kind, "GET", f"{stage}/health/live"))) == (200, {"status": "live"})
        status, document = opened(function.invoke(moved(kind, "GET", f"{stage}/health/ready")))
        assert (status, document["status"], document["model"]) == (200, "ready", "htwtmlb-height")

    def test_the_card_is_told(self, function, kind, stage):
        status, document = opened(function.invoke(moved(kind, "GET", f"{stage}/model")))
        assert (status, document) == (200, mlib.load_model().signature.card)

    def test_an_unknown_path_is_not_found(self, function, kind, stage):
        document = is_problem(*opened(function.invoke(moved(kind, "GET", f"{stage}/nope"))), 404)
        assert f"{stage}/nope" in document["detail"]

    def test_another_method_is_told_which_is_right(self, function, kind, stage):
        answer = function.invoke(moved(kind, "GET", f"{stage}/predict"))
        assert answer["headers"]["Allow"] == "POST"
        is_problem(*opened(answer), 405)


def test_a_path_of_nowhere_is_told_in_short(function):
    document = is_problem(*opened(function.invoke(moved("function-url", "GET", "/" + "x" * 5000))), 404)
    assert len(document["detail"]) < 200


@pytest.mark.parametrize("http", ["text", ["list"], {"method": ["POST"]}, {"method": 5}])
def test_an_event_that_is_hardly_a_request_is_an_error(function, http):
    answer = function.invoke({"requestContext": {"http": http}, "body": '{"Weight": 200}'})
    assert (answer["errorType"], "requestContext.http" in answer["errorMessage"]) == ("RefusedError", True)


def test_no_method_makes_an_error_of_a_request(function):
    is_problem(*opened(function.invoke(moved("alb", "INVOKE", "/predict"))), 405)


def test_a_load_balancer_gets_its_headers_as_it_sent_them(function):
    answer = function.invoke(event_of("alb-multi-value-headers"))
    assert answer["multiValueHeaders"]["Content-Type"] == ["application/json"]
    assert "multiValueHeaders" not in function.invoke(event_of("alb"))


@pytest.mark.parametrize("path", sorted((HERE / "events").glob("*.json")), ids=lambda path: path.stem)
def test_every_event_that_is_kept_here_is_answered(function, path):
    answer = function.invoke(json.loads(path.read_text()))
    if path.stem == "wrong":
        assert answer["errorType"] == "RefusedError"
    else:
        assert answer["statusCode"] == 200


# ------------------------------------------------------------------------------------------------- direct events


def test_a_row_is_answered_as_published(function):
    answer = function.invoke(json.loads((HERE / "payload.json").read_text()))
    assert opened(answer) == (200, {"prediction": ANSWERS[200]})


def test_rows_are_answered_in_their_order(function):
    answer = function.invoke([{"Weight": weight} for weight in (300, 145)])
    assert opened(answer) == (200, {"predictions": [ANSWERS[300], ANSWERS[145]]})


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_is_an_error_that_lambda_counts(function, what):
    row, _ = BAD_ROWS[what]
    answer = function.invoke(row)
    assert answer["errorType"] == "RefusedError"
    assert "expected" in answer["errorMessage"]
    many = function.invoke([{"Weight": 200}, row])
    assert (many["errorType"], "row 2" in many["errorMessage"]) == ("RefusedError", True)


@pytest.mark.parametrize("what", NO_ROWS)
def test_an_event_that_is_no_row_is_an_error(function, what):
    answer = function.invoke(NO_ROWS[what])
    assert answer["errorType"] == "RefusedError"
    assert answer["errorMessage"].startswith("The event is no row and no list of 1 to 10,000 rows; expected {")


def test_of_many_errors_the_first_are_told(function):
    told = function.invoke([{"Weight": -1}] * 9)["errorMessage"]
    assert told.count("row ") == 5
    assert told.endswith("; and more")


def test_too_many_rows_are_told_apart(function):
    answer = function.invoke([{"Weight": 200}] * 10_001)
    assert "10,001 rows; at most 10,000" in answer["errorMessage"]
    assert len(json.loads(function.invoke([{"Weight": 200}] * 10_000)["body"])["predictions"]) == 10_000


def test_an_event_with_a_body_alone_is_a_request(function):
    """As the chapter's function took it."""
    assert opened(function.invoke({"body": '{"Weight": 200}'})) == (200, {"prediction": ANSWERS[200]})
    for body in ({"Weight": 200}, 5, ["Weight"]):
        assert "as a text" in is_problem(*opened(function.invoke({"body": body})), 400)["detail"]
    is_problem(*opened(function.invoke({"body": "\ud800"})), 400)


def test_what_is_no_json_does_not_reach_the_function(function):
    """Lambda refuses it, in front of the function; its runtime, under the emulator."""
    assert function.invoke(b'{"Weight": ')["errorType"] == "Runtime.UnmarshalError"


# ------------------------------------------------------------------------------------- what nobody would think of


KEYS = ["Weight", "weight", "body", "isBase64Encoded", "Content-Type", "requestContext", "http", "method"]
KEYS += handler.PARTS
ANYTHING = settings(deadline=None, derandomize=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("Weight"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
    max_leaves=8,
)


@ANYTHING
@given(JSON)
@example({"requestContext": "text", "body": '{"Weight": 200}'})
def test_any_event_is_answered_or_refused(event):
    with contextlib.suppress(handler.RefusedError):
        assert handler.lambda_handler(event, None)["statusCode"] in (200, 400, 404, 405, 415)


@ANYTHING
@given(
    st.sampled_from(REQUESTS),
    st.text() | st.sampled_from([*handler.ROUTES]),
    st.text() | st.sampled_from(["GET", "POST"]),
    st.none() | st.text() | JSON.map(json.dumps),
    st.none() | st.dictionaries(st.sampled_from(["Content-Type", "content-type", "Accept"]), st.text()),
    st.none() | st.dictionaries(st.sampled_from(["interval", "other"]), st.text()),
    st.booleans(),
)
def test_any_request_is_answered(kind, path, method, body, headers, query, is_base64):
    event = moved(kind, method, path)
    event |= {"body": body, "headers": headers, "queryStringParameters": query, "isBase64Encoded": is_base64}
    answer = handler.lambda_handler(event, None)
    assert answer["statusCode"] in (200, 400, 404, 405, 413, 415)
    document = json.loads(answer["body"])
    if answer["statusCode"] != 200:
        is_problem(answer["statusCode"], document, answer["statusCode"])


# --------------------------------------------------------------------------------------------------- of its life


@MARK
def test_the_model_is_loaded_once():
    with emulated(HANDLER, HERE, ROOT) as function:
        first, second = (opened(function.invoke({"Weight": 200})) for _ in range(2))
        assert first == second == (200, {"prediction": ANSWERS[200]})
        function.invoke({"Weight": "heavy"})
        function.invoke({"Weight": 200})
        assert function.inits() == 1


@MARK
def test_environments_answer_side_by_side():
    """An environment gets one event after the other; more at once get environments of their own."""
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        functions = [stack.enter_context(emulated(HANDLER, HERE, ROOT)) for _ in range(3)]
        weights = [145, 200, 300]

        def ask(function):
            return [opened(function.invoke({"Weight": weight})) for weight in weights * 10]

        expected = [(200, {"prediction": ANSWERS[weight]}) for weight in weights * 10]
        assert list(pool.map(ask, functions)) == [expected] * 3


@MARK
def test_after_a_timeout_the_next_event_gets_a_new_environment(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nimport handler\n\ndef slow(event, context):\n    time.sleep(event.pop('seconds', 0))\n"
        "    return handler.lambda_handler(event, context)\n"
    )
    with emulated("slow.slow", tmp_path, HERE, ROOT, AWS_LAMBDA_FUNCTION_TIMEOUT="5") as function:
        function.invoke({"Weight": 200})
        assert "Task timed out after 5.00 seconds" in function.invoke({"Weight": 200, "seconds": 30})
        assert opened(function.invoke({"Weight": 200})) == (200, {"prediction": ANSWERS[200]})
        assert function.inits() == 2


@MARK
def test_without_a_model_initialisation_fails_and_says_why(tmp_path):
    with emulated(HANDLER, HERE, ROOT, MLOPS_MODEL=str(tmp_path / "none.joblib")) as function:
        answer = function.invoke({"Weight": 200})
        assert (answer["errorType"], "none.joblib" in answer["errorMessage"]) == ("ModelError", True)


@MARK
def test_what_was_asked_is_not_in_the_log():
    with emulated(HANDLER, HERE, ROOT) as function:
        for row in ({"Weight": 187.625}, {"Weight": "lorem ipsum"}, {"Weight": 187.625, "dolor": 1}):
            function.invoke(row)
            function.invoke([row])
            for kind in REQUESTS:
                function.invoke(event_of(kind, body=json.dumps(row)))
        function.invoke("lorem ipsum")
        function.invoke(moved("function-url", "GET", "/dolor"))
        function.invoke(moved("alb", "dolor", "/predict"))
        log, lines = function.log(), function.lines()
    assert not [word for word in ("187.6", "lorem", "dolor") if word in log]
    told = [line for line in lines if line["level"] == "INFO"]
    first = {
        "message": "INVOKE /predict 200",
        "method": "INVOKE",
        "route": "/predict",
        "status": 200,
        "rows": 1,
        "warned": 0,
    }
    assert told[0].items() >= first.items()
    assert told[0]["model_version"] == mlib.load_model().signature.version
    assert told[0]["ms"] > 0
    assert [(line["method"], line["route"], line["status"]) for line in told[-2:]] == [
        ("GET", "(other)", 404),
        ("(other)", "/predict", 405),
    ]
    assert len(told) == 2 + 3 * len(REQUESTS) + 2  # two direct ones were answered
    assert len([line for line in lines if line["level"] == "ERROR"]) == 5


@MARK
@pytest.mark.parametrize(("level", "told"), [("WARN", ["ERROR"]), ("", ["INFO", "ERROR"])])
def test_the_log_may_be_told_to_be_quiet(level, told):
    with emulated(HANDLER, HERE, ROOT, AWS_LAMBDA_LOG_LEVEL=level) as function:
        function.invoke({"Weight": 200})
        function.invoke({"Weight": -5})
        assert [line["level"] for line in function.lines()] == told


# ------------------------------------------------------------------------------------------------- other models


@pytest.fixture(name="other", scope="module")
def _other(tmp_path_factory):
    """The path of a model whose columns are named like parts of requests; one is a category."""
    folder = tmp_path_factory.mktemp("other")
    rows = "".join(f"{i},{'ab'[i % 2]},{i % 7 + 1},{2 * i + i % 2}\n" for i in range(1, 61))
    (folder / "table.csv").write_text("body,path,httpMethod,target\n" + rows)
    mlib.retrain(data=folder / "table.csv", target="target", model_name=folder / "m.joblib", features=("body", "path"))
    return folder / "m.joblib"


@MARK
def test_columns_may_be_named_as_parts_of_requests(other):
    row = {"body": 20, "path": "b"}
    expected = {"prediction": mlib.predict(row, other)}
    with emulated(HANDLER, HERE, ROOT, MLOPS_MODEL=str(other)) as function:
        assert json.loads(function.invoke(row)["body"]) == expected
        assert json.loads(function.invoke([row])["body"]) == {"predictions": [expected["prediction"]]}
        for kind in REQUESTS:
            answer = function.invoke(event_of(kind, body=json.dumps(row), queryStringParameters=None))
            assert json.loads(answer["body"]) == expected
        refused = function.invoke({"body": 20, "path": "c"})["errorMessage"]
        assert refused == "path: expected one of a, b"


@MARK
def test_an_answer_that_lambda_would_not_take_is_refused(tmp_path):
    """A row's answer here tells twenty classes of long names; ten thousand of them are more than 6 MB."""
    rows = "".join(f"{i},class number {i % 20:040d}\n" for i in range(600))
    (tmp_path / "table.csv").write_text("x,target\n" + rows)
    mlib.retrain(data=tmp_path / "table.csv", target="target", model_name=tmp_path / "m.joblib")
    with emulated(HANDLER, HERE, ROOT, MLOPS_MODEL=str(tmp_path / "m.joblib")) as function:
        assert "ask for fewer" in function.invoke([{"x": 5}] * 10_000)["errorMessage"]
        event = event_of("alb", body=json.dumps([{"x": 5}] * 10_000))
        assert function.invoke(event)["statusCode"] == 413
        event = event_of("alb", body=json.dumps([{"x": 5}] * 1_500))  # a load balancer takes less, an API as much
        answer = function.invoke(event)
        assert "1,000,000 bytes" in is_problem(answer["statusCode"], json.loads(answer["body"]), 413)["detail"]
        event = event_of("function-url", body=json.dumps([{"x": 5}] * 1_500))
        assert function.invoke(event)["statusCode"] == 200
        answer = function.invoke([{"x": 5}] * 10)
        assert answer["statusCode"] == 200
        # Of so many rows the body alone would be less; not with a \\ before each " of it.
        rows = 5_990_000 * 10 // len(answer["body"])
        assert "ask for fewer" in function.invoke([{"x": 5}] * rows)["errorMessage"]


# ---------------------------------------------------------------------------------------------------- the client


def test_the_client_asks_it(function):
    env = CREDENTIALS | {"AWS_ENDPOINT_URL_LAMBDA": function.url.partition("/2015")[0]}
    arguments = ["predict", "--weight", "200", "--host", "lambda:function"]
    done = CliRunner().invoke(utilscli.cli, arguments, env=env)
    assert done.exit_code == 0, done.output
    assert json.dumps({"prediction": ANSWERS[200]}) in done.stdout
