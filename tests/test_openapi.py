"""Is the service what its OpenAPI document says?

schemathesis asks the real server whatever the document allows, and much that it does not; hypothesis asks the
application anything at all. The schemas are compared with ones that are written here by hand.
"""

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from conftest import ENVIRONMENT, ROOT, run, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

import mlib
from app import create_app
from core.signature import WORDS
from service import schemas

MODELS = ["default", "two", "mixed", "classes", "odd"]
KEY = "correct-horse"
METHODS = {"GET", "POST"}
JSON_TEXT = {"application/json", "text/csv", "text/html", "text/plain"}

MIXED = ["size", "garden", "quality", "when", "floor", "grade"]
ODD = ["$ref", "a.b/c~d", 'Größe "m²"', "required", "<b>{x}</b>", "true"]


@pytest.fixture(name="paths", scope="module")
def _paths(tmp_path_factory, model, two_features):
    """The paths of five models: of numbers, of a table with every kind and gaps, of classes, of names that are odd."""
    folder = tmp_path_factory.mktemp("models")
    mixed = [
        [
            *(30 + i % 50, ["yes", "no"][i % 2], ["good", "bad & ugly", "1", ""][i % 4 if i % 3 else 0]),
            *(f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}T{i % 24:02}:00:00", ["", -1, 2.5, 4][i % 4], [3, 7, 11][i % 3]),
            3 * (30 + i % 50) + 20 * (i % 2) + i % 7,
        ]
        for i in range(300)
    ]
    odd = [
        [
            *(i % 9 - 4, i % 7 + 0.5, (i % 5 + 1) * 1e-7, ["on", "off"][i % 2], ["x", "é", "<i>"][i % 3]),
            *(["true", "1", "2.5", "z"][i % 4], ["A", "B"][i * i % 7 % 2]),
        ]
        for i in range(200)
    ]
    for name, header, rows in (("mixed", [*MIXED, "price"], mixed), ("odd", [*ODD, "class of it"], odd)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    mlib.retrain(data=folder / "mixed.csv", target="price", category=("grade",), model_name=folder / "mixed.joblib")
    mlib.retrain(data=folder / "mixed.csv", target="quality", model_name=folder / "classes.joblib")
    mlib.retrain(data=folder / "odd.csv", target="class of it", model_name=folder / "odd.joblib")
    own = {name: folder / f"{name}.joblib" for name in ("mixed", "classes", "odd")}
    return {"default": model, "two": two_features, **own}


@pytest.fixture(name="path", params=MODELS)
def _path(request, paths):
    return paths[request.param]


@pytest.fixture(name="clients", scope="module")
def _clients(paths):
    return {name: create_app(path, max_rows=20).test_client() for name, path in paths.items()}


@pytest.fixture(name="documents", scope="module")
def _documents(clients):
    return {name: client.get("/openapi.json").json for name, client in clients.items()}


@pytest.fixture(name="is_row", scope="module")
def _is_row(documents):
    judges = {name: judge_of(document, "Row") for name, document in documents.items()}

    def is_row(name, value):
        return judges[name].is_valid(value)

    return is_row


def judge_of(document, name):
    """Make jsonschema's judge of one of the document's schemas."""
    checker = Draft202012Validator.FORMAT_CHECKER
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", **document}, format_checker=checker)


# ------------------------------------------------------------------------------------------------ the document


def test_the_document_is_openapi(path):
    for keys in ((), (KEY,)):
        client = create_app(path, keys=keys).test_client()
        response = client.get("/openapi.json", headers={"Authorization": f"Bearer {KEY}"})
        assert response.content_type == "application/json"
        validate(response.json)


def test_what_is_served_is_what_is_documented(model):
    application = create_app(model)
    documented = {
        (path, method.upper())
        for path, item in application.test_client().get("/openapi.json").json["paths"].items()
        for method in item.keys() & {"get", "post", "put", "delete", "patch", "head", "options", "trace"}
    }
    served = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method)
        for rule in application.url_map.iter_rules()
        for method in rule.methods & METHODS
        if rule.endpoint != "static"
    }
    assert documented == served


def test_the_row_of_one_number(documents):
    schema = documents["default"]["components"]["schemas"]["Row"]
    limit = schema["properties"]["Weight"]["exclusiveMaximum"]
    assert 2e10 < limit < 2.5e10  # a billion of training's standard deviation, 21 pounds
    assert schema == {
        "type": "object",
        "properties": {
            "Weight": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": limit,
                "description": "145 to 300 pounds in training.",
                "examples": [205],
            }
        },
        "required": ["Weight"],
        "additionalProperties": False,
        "examples": [{"Weight": 205}],
    }


def test_the_row_of_every_kind(documents):
    schema = documents["mixed"]["components"]["schemas"]["Row"]
    found = schema["properties"]
    assert list(found) == MIXED
    assert schema["required"] == ["size", "garden", "when", "grade"]
    assert found["floor"]["type"] == ["number", "null"]
    assert "exclusiveMinimum" in found["floor"]
    one_and_none, words = {"type": "integer", "enum": [0, 1]}, {"type": "string", "enum": schemas.WORDS}
    assert found["garden"]["anyOf"] == [{"type": "boolean"}, one_and_none, words]
    assert sorted(found["quality"]["enum"], key=repr) == ["1", "bad & ugly", "good", 1, None]
    assert sorted(found["grade"]["enum"]) == [3, 7, 11]
    assert [each.get("format") for each in found["when"]["anyOf"]] == ["date", "date-time"]
    assert found["when"]["examples"][0].endswith(":00:00Z")


def test_the_page_for_people_is_documented_where_it_refuses(clients, documents):
    response = clients["default"].get("/?Weight=-5")
    documented = documents["default"]["paths"]["/"]["get"]["responses"][str(response.status_code)]
    assert list(documented["content"]) == [response.mimetype] == ["text/html"]
    assert set(documented["headers"]) <= set(response.headers.keys())


def test_words_of_booleans_are_those_that_are_read():
    assert set(schemas.WORDS) == set(WORDS)


def test_the_answer_of_classes(documents):
    schema = documents["classes"]["components"]["schemas"]["Answer"]
    assert schema["required"] == ["quality", "probabilities"]
    assert sorted(schema["properties"]["quality"]["enum"]) == ["1", "bad & ugly", "good"]
    assert set(schema["properties"]["probabilities"]["required"]) == {"1", "bad & ugly", "good"}
    assert "interval" not in documents["classes"]["components"]["parameters"]


def test_keys_are_documented_where_they_are_asked_for(model):
    client = create_app(model, keys=[KEY]).test_client()
    assert client.get("/openapi.json").status_code == 401
    document = client.get("/openapi.json", headers={"Authorization": f"Bearer {KEY}"}).json
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post"}:
            is_open = "security" not in item[method]
            assert is_open == ("401" not in item[method]["responses"])
            if method == "get" and "{" not in path:
                assert (client.get(path).status_code == 200) == is_open, path


@pytest.mark.parametrize("name", MODELS)
def test_each_example_is_as_its_schema_says(documents, name):
    operation = documents[name]["paths"]["/predict"]["post"]
    asked, answered = operation["requestBody"]["content"], operation["responses"]["200"]["content"]
    for content, names in ((asked, ("Row", "Rows")), (answered, ("Prediction", "Predictions"))):
        for schema, example in zip(names, content["application/json"]["examples"].values(), strict=True):
            judge_of(documents[name], schema).validate(example["value"])


@pytest.mark.parametrize("name", MODELS)
def test_the_tensors_are_as_their_schemas_say(clients, documents, name):
    path = "/v2/models/{name}/infer"
    asked = documents[name]["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    judge_of(documents[name], "InferenceRequest").validate(asked)
    model_name = documents[name]["components"]["parameters"]["name"]["schema"]["enum"][0]
    answer = clients[name].post(path.format(name=quote(model_name)), json=asked).json
    judge_of(documents[name], "InferenceResponse").validate(answer)
    predicted = clients[name].post("/predict", json=schemas_row(documents[name])).json["prediction"]
    assert answer["outputs"][0]["data"] == [next(iter(predicted.values()))]


def schemas_row(document):
    """The example of a row."""
    return document["components"]["schemas"]["Row"]["examples"][0]


@pytest.mark.parametrize("name", MODELS)
def test_each_example_gets_the_answer_beside_it(clients, documents, name):
    for path in ("/predict", "/invocations"):
        operation = documents[name]["paths"][path]["post"]
        asked, answered = operation["requestBody"]["content"], operation["responses"]["200"]["content"]
        for example in ("one", "many"):
            got = clients[name].post(path, json=asked["application/json"]["examples"][example]["value"])
            assert got.json == answered["application/json"]["examples"][example]["value"]
        table = asked["text/csv"]["example"]
        got = clients[name].post(path, data=table.encode(), content_type="text/csv")
        assert got.text == answered["text/csv"]["example"]


# ---------------------------------------------------------------------------------------------------- the page


class Page(HTMLParser):
    """What a page has: its tags, its ids, where its links lead, its preformatted texts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.texts = set(), [], [], []
        self._is_pre = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        attributes = dict(attrs)
        assert not {name for name in attributes if name.startswith("on") or name == "style"}
        self.tags.add(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        self._is_pre = self._is_pre or tag == "pre"
        if tag == "pre":
            self.texts.append("")

    def handle_endtag(self, tag):
        """Note the end of a text."""
        self._is_pre = self._is_pre and tag != "pre"

    def handle_data(self, data):
        """Keep a text."""
        if self._is_pre:
            self.texts[-1] += data


@pytest.mark.parametrize("name", MODELS)
def test_the_page_shows_every_route_and_loads_nothing_from_elsewhere(clients, documents, name):
    response = clients[name].get("/docs")
    assert response.content_type == "text/html; charset=utf-8"
    page = Page(response.text)
    assert not page.tags & {"script", "style", "iframe", "img"}
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not [link for link in page.links if "//" in link]
    for path, item in documents[name]["paths"].items():
        assert f"<code>{path}</code>" in response.text
        assert {operation["operationId"] for method, operation in item.items() if method != "parameters"} <= set(
            page.ids
        )


def test_the_page_escapes_names(clients):
    assert "<b>" not in clients["odd"].get("/docs").text
    assert "&lt;b&gt;{x}&lt;/b&gt;" in clients["odd"].get("/docs").text


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_command_of_the_page_gets_the_answer_below_it(paths):
    with serving(MLOPS_MODEL=paths["mixed"], MLOPS_API_KEYS=KEY) as url:
        env = {**ENVIRONMENT, "MLOPS_API_KEY": KEY}
        ask = ["curl", "-s", "-H", f"Authorization: Bearer {KEY}", f"{url}/docs"]
        texts = Page(subprocess.run(ask, capture_output=True, text=True, check=True).stdout).texts
        commands = [(place, text) for place, text in enumerate(texts) if text.startswith("curl ")]
        assert len(commands) > 20
        shown = 0
        for place, command in commands:
            script = command.replace("curl -s", "curl -sf", 1)
            got = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True).stdout
            answer = texts[place + 1] if place + 1 < len(texts) else "curl"
            if not answer.startswith("curl"):
                shown += 1
                assert got == answer if answer.startswith("price") else json.loads(got) == json.loads(answer)
        assert shown >= 8


# ----------------------------------------------------------------------------------------------- schemathesis


def ask_everything(url, folder, most, *options):
    """Let schemathesis ask a server, with all of its checks; return how many requests it made up and sent."""
    config = ROOT / "tests" / "schemathesis.toml"
    done = run(
        *("schemathesis", "--config-file", config, "run", f"{url}/openapi.json", "--generation-deterministic"),
        *("--max-examples", most, *options),
        env={**ENVIRONMENT, "PYTHONWARNINGS": "default", "PYTHONPATH": str(ROOT / "tests")},
        cwd=folder,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return int(re.search(r"(\d+) generated", done.stdout)[1])


def test_the_server_keeps_the_document(paths, tmp_path):
    with serving(MLOPS_MODEL=paths["mixed"], MLOPS_MAX_ROWS=20, MLOPS_API_KEYS=KEY) as url:
        header = ("--header", f"Authorization: Bearer {KEY}", "--phases", "examples,coverage,fuzzing")
        assert ask_everything(url, tmp_path, 4, *header) > 500


@pytest.mark.long
def test_the_server_keeps_the_document_for_a_thousand_requests(path, tmp_path):
    with serving(MLOPS_MODEL=path, MLOPS_MAX_ROWS=20) as url:
        assert ask_everything(url, tmp_path, 40) > 1000


# ---------------------------------------------------------------------------------------------------- anything

ANYTHING = settings(derandomize=True, max_examples=300)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
NAMES = st.sampled_from([*MIXED, *ODD, "Weight", "Age"]) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=7), max_leaves=25
)
GOOD = st.fixed_dictionaries(
    {
        "size": st.floats(min_value=1e-9, max_value=1e9) | st.integers(1, 10**9),
        "garden": st.sampled_from([True, False, 0, 1, 1.0, "yes", "off"]),
        "when": st.dates().map(str) | st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        "grade": st.sampled_from([3, 7, 11.0]),
    },
    optional={
        "quality": st.sampled_from(["good", "1", 1, None]),
        "floor": st.none() | st.floats(-1e6, 1e6),
    },
)
ROWS = {
    "default": st.fixed_dictionaries({"Weight": SCALARS}),
    "mixed": st.builds(lambda row, other: row | other, GOOD, st.dictionaries(NAMES, SCALARS, max_size=1)),
}
HEADER_TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
MEDIA = st.sampled_from(["application/json", "text/csv", "text/csv; charset=latin-1", "*/*;q=0", "*/*", ",", ""])


def judge(response):
    """Hold that a response is an answer, or a problem document that tells nothing of the inside."""
    assert response.headers["X-Model-Version"]
    assert re.fullmatch(r"[A-Za-z0-9._:/+=@-]{1,128}", response.headers["X-Request-ID"])
    if response.status_code == 200:
        assert response.mimetype in JSON_TEXT
        if response.mimetype == "application/json":
            assert json.loads(response.data, parse_constant=pytest.fail)
        return
    assert 400 <= response.status_code < 500
    assert response.content_type == "application/problem+json"
    document = json.loads(response.data, parse_constant=pytest.fail)
    assert set(document) - {"error"} == {"type", "title", "status", "detail", "errors"}
    assert document["status"] == response.status_code
    assert document["detail"]
    assert str(ROOT) not in response.text
    assert "Traceback" not in response.text
    assert len(response.data) < 100_000


@ANYTHING
@given(value=JSON | st.lists(ROWS["default"] | ROWS["mixed"], max_size=3) | ROWS["mixed"] | ROWS["default"])
def test_any_json_is_answered_or_refused(clients, value):
    body = json.dumps(value).encode()
    for client in (clients["default"], clients["mixed"], clients["odd"]):
        for path in ("/predict", "/invocations"):
            judge(client.post(path, data=body, content_type="application/json"))


@ANYTHING
@given(row=ROWS["default"])
def test_a_number_is_answered_just_if_the_schema_has_it(clients, is_row, row):
    ask_row(clients["default"], row, is_row("default", row))


@ANYTHING
@given(row=ROWS["mixed"])
def test_a_row_is_answered_just_if_the_schema_has_it(clients, is_row, row):
    ask_row(clients["mixed"], row, is_row("mixed", row))


def ask_row(client, row, is_valid):
    """Hold that a row is answered just if it is valid."""
    try:
        body = json.dumps(row, allow_nan=False)
    except ValueError:  # NaN or infinite, which are no JSON
        return
    response = client.post("/predict", data=body, content_type="application/json")
    expected = 200 if is_valid else 422
    assert response.status_code == expected, response.text


@ANYTHING
@given(body=st.binary(max_size=2000) | st.text(max_size=1000).map(str.encode), media=MEDIA)
def test_any_bytes_are_answered_or_refused(clients, body, media):
    for path in ("/predict", "/invocations", "/v2/models/mixed-price/infer"):
        judge(clients["mixed"].post(path, data=body, content_type=media))


@ANYTHING
@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            "Content-Type": MEDIA | HEADER_TEXT,
            "Accept": MEDIA | HEADER_TEXT,
            "X-Request-ID": HEADER_TEXT,
            "Authorization": HEADER_TEXT,
            "Content-Encoding": HEADER_TEXT,
            "Host": HEADER_TEXT,
            "Inference-Header-Content-Length": HEADER_TEXT,
        },
    ),
    interval=st.sampled_from(["true", "false"]) | st.text(max_size=20),
)
def test_any_header_is_answered_or_refused(clients, headers, interval):
    for body in ('{"Weight": 200}', "Weight\n200\n"):
        judge(clients["default"].post("/predict", data=body, headers=headers, query_string={"interval": interval}))
    for path in ("/", "/docs", "/openapi.json", "/health/ready", "/v2/models/htwtmlb-height"):
        judge(clients["default"].get(path, headers=headers))


@ANYTHING
@given(
    path=st.binary(max_size=40) | st.text(max_size=40).map(str.encode),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY", "MÉTHOD"]),
)
def test_any_path_and_method_is_answered_or_refused(clients, path, method):
    for start in ("/", "/predict/", "/v2/models/", "/static/", "/v2/models/htwtmlb-height/versions/"):
        environ = {"PATH_INFO": start + path.decode("latin-1")}  # as WSGI has it
        response = clients["default"].open("/", method=method, environ_overrides=environ)
        if method not in ("HEAD", "OPTIONS"):
            judge(response)


@pytest.mark.parametrize("path", ["/v2//health/live", "/health//live", "//example.com/%2e%2e", "/docs/", "/predict/"])
def test_a_path_that_is_nearly_right_is_not_found_and_leads_nowhere(clients, path):
    response = clients["default"].get("/", environ_overrides={"PATH_INFO": path})
    judge(response)
    assert response.status_code == 404
    assert "Location" not in response.headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_another_method_is_refused_with_those_that_there_are(clients, documents, method):
    for path, item in documents["default"]["paths"].items():
        path = path.format(name="htwtmlb-height", version="0")
        response = clients["default"].open(path, method=method)
        judge(response)
        assert response.status_code == 405
        allowed = set(response.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"}
        assert allowed == {each.upper() for each in item if each != "parameters"}


def test_head_answers_as_get_without_a_body(clients, documents):
    for path, item in documents["default"]["paths"].items():
        if "get" in item and "{" not in path:
            head = clients["default"].head(path)
            assert (head.status_code, head.data) == (200, b"")


def test_csv_can_be_answered_as_json_and_json_as_csv(clients):
    client = clients["default"]
    as_json = client.post(
        "/predict", data=b"Weight\n200\n", content_type="text/csv", headers={"Accept": "application/json"}
    )
    assert as_json.json == {"predictions": [client.post("/predict", json={"Weight": 200}).json["prediction"]]}
    as_csv = client.post("/predict", json={"Weight": 200}, headers={"Accept": "text/csv"})
    (row,) = csv.DictReader(io.StringIO(as_csv.text))
    assert row["height_human_readable"] == "6 foot, 1 inches"
    assert client.post("/predict", json={"Weight": 200}, headers={"Accept": "image/png"}).status_code == 406
