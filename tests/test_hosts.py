"""Tests of toolkit/hosts.py: what each form of address is, what is sent to it, and what an answer means."""

import base64
import contextlib
import functools
import json
import math

import pytest
from conftest import serving
from hypothesis import given
from hypothesis import strategies as st
from standins import Utils
from tables import BY_NAME

import mlib
from toolkit import hosts, remote

ROW, ROWS = {"Weight": 200}, [{"Weight": 200}, {"Weight": 180}]
ONE, TWO = {"height_inches": 73.23}, {"height_inches": 72.16}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
KINDS = ["http://h/predict", "v2+http://h/v2/models/m", "lambda:height", "sagemaker:height"]


@pytest.mark.parametrize(
    ("host", "url", "name"),
    [
        ("http://localhost:8080", "http://localhost:8080/predict", "http://localhost:8080/predict"),
        ("http://localhost:8080/", "http://localhost:8080/predict", "http://localhost:8080/predict"),
        ("HTTPS://h.example", "https://h.example/predict", "https://h.example/predict"),
        ("https://h.example/prod/heights", "https://h.example/prod/heights", "https://h.example/prod/heights"),
        ("http://[::1]:8080", "http://[::1]:8080/predict", "http://[::1]:8080/predict"),
        ("http://ann:pass@h:81/x", "http://h:81/x", "http://h:81/x"),
        ("http://ann:p%40ss@[::1]/x", "http://[::1]/x", "http://[::1]/x"),
        ("https://h/api?code=k3y&a=b", "https://h/api?code=k3y&a=b", "https://h/api?..."),
        ("https://h?code=k3y", "https://h/predict?code=k3y", "https://h/predict?..."),
        ("https://h/api?to=http://other/", "https://h/api?to=http://other/", "https://h/api?..."),
        ("https://h/api#part", "https://h/api", "https://h/api"),
        ("v2+http://h/v2/models/m", "http://h/v2/models/m/infer", "v2+http://h/v2/models/m"),
        ("v2+http://h/v2/models/m/infer", "http://h/v2/models/m/infer", "v2+http://h/v2/models/m"),
        ("V2+HTTPS://h/v2/models/m/", "https://h/v2/models/m/infer", "v2+https://h/v2/models/m"),
        (
            "v2+https://h/a/b/v2/models/m/versions/7",
            "https://h/a/b/v2/models/m/versions/7/infer",
            "v2+https://h/a/b/v2/models/m/versions/7",
        ),
    ],
)
def test_an_address_is_what_is_posted_to_and_its_name_has_nothing_secret(host, url, name):
    found = hosts.find(host)
    assert (found.url, found.name) == (url, name)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("lambda:height", "/2015-03-31/functions/height/invocations"),
        ("lambda:my_height-2:prod", "/2015-03-31/functions/my_height-2/invocations?Qualifier=prod"),
        ("lambda:height:$LATEST", "/2015-03-31/functions/height/invocations?Qualifier=%24LATEST"),
        (
            "lambda:arn:aws:lambda:eu-west-1:123456789012:function:height:prod",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Aheight%3Aprod"
            "/invocations",
        ),
        (
            "lambda:123456789012:function:height",  # Lambda's partial ARN
            "/2015-03-31/functions/123456789012%3Afunction%3Aheight/invocations",
        ),
        ("sagemaker:height", "/endpoints/height/invocations"),
    ],
)
def test_what_is_on_aws_has_its_path_once_the_region_is_known(host, path):
    found = hosts.find(host)
    assert (found.name, found.url, found.card_url, found.health_urls) == (host, None, None, None)
    found.at("https://service.eu-west-1.amazonaws.com/")
    assert found.url == f"https://service.eu-west-1.amazonaws.com{path}"


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "localhost:8080", "//h/predict", "ftp://h/", "http://", "http:h", "http:///predict", "http://:80/"),
        *("http://[::1/", "http://h:b/", "http://h:0/", "http://h:99999/", "http://h/a b", "http://h/a\n", "https:"),
        *("lambda:", "lambda", "lambda: ", "lambda:a/b", "sagemaker:", "sagemaker:a b", "sagemaker:a\tb", "s3:bucket"),
        *("v2+ftp://h/v2/models/m", "v2+http:", "http+v2://h/v2/models/m", "\ud800", "http://h/\ud800"),
    ],
)
def test_what_is_no_address_is_refused_with_what_was_expected(host):
    with pytest.raises(mlib.OptionError, match="expected http://HOST:PORT/predict") as caught:
        hosts.find(host)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("path", ["", "/", "/predict", "/v2/models", "/v2/models/", "/v2/models/infer"])
def test_an_address_of_v2_names_a_model(path):
    with pytest.raises(mlib.OptionError, match="v2\\+http://HOST:PORT/v2/models/NAME"):
        hosts.find(f"v2+http://h{path}")


@pytest.mark.parametrize(
    "host",
    [
        "ann:s3cret@h:80/x",
        "//ann:s3cret@h/x",
        "ftp://ann:s3cret@h/x",
        "http://ann:s3/s3cret@h:80/x",  # a slash in a password has to be %2F: the port is no number
        "http://ann:s?s3cret@h/x",
        "http://ann:s#s3cret@h/x",
        "http://ann:s3cret@h:b/",
        "http://ann:s3cret@/",
        "http://h:b/?code=s3cret",
        "http://ann:s3cret@h:b/?to=http://h/",
        "http://h:b/?to=http://x/?code=s3cret",
        "http://h:b?code=s3cret",
        "ftp:?code=s3cret",
        "v2+http://ann:s3cret@h/",
        "v2+http://h/?code=s3cret",
        "sagemaker://ann:s3cret@h/",
        "lambda:a b?code=s3cret",
    ],
)
def test_no_refusal_tells_a_password_or_a_query(host):
    with pytest.raises(mlib.OptionError) as caught:
        hosts.find(host)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://u:p@h/x", "https://h/x"),
        ("https://h/@me", "https://h/@me"),
        ("//u:p@h/x?q", "//h/x?..."),
        ("https://u:p@h/?to=https://x", "https://h/?..."),
        ("/login#part", "/login"),
        ("", ""),
    ],
)
def test_an_address_is_told_without_user_password_and_query(url, told):
    assert hosts.told(url) == told


@pytest.mark.parametrize(
    ("host", "user"),
    [
        ("http://h/", None),
        ("http://@h/", None),
        ("http://ann@h/", "ann:"),
        ("http://ann:pass@h/", "ann:pass"),
        ("http://:pass@h/", ":pass"),
        ("http://a%40b:p%2Fq%3A@h/", "a@b:p/q:"),
    ],
)
def test_user_and_password_of_an_address_are_kept_apart(host, user):
    assert hosts.find(host).user == user


def test_what_stands_beside_an_endpoint_has_its_prefix_and_its_query():
    found = hosts.find("https://u:p@h:81/prod/predict?code=k3y")
    assert found.beside("model") == "https://h:81/prod/model?code=k3y"
    assert found.card_url == found.beside("model")
    assert found.health_urls == (
        "https://h:81/prod/health/live?code=k3y",
        "https://h:81/prod/health/ready?code=k3y",
    )
    assert hosts.find("http://h").card_url == "http://h/model"


def test_a_model_of_v2_tells_of_itself_at_the_protocols_addresses():
    found = hosts.find("v2+https://h/a/v2/models/m/versions/7/infer?code=k3y")
    assert found.url == "https://h/a/v2/models/m/versions/7/infer?code=k3y"
    assert found.card_url == "https://h/a/v2/models/m/versions/7?code=k3y"
    assert found.health_urls == (
        "https://h/a/v2/health/live?code=k3y",
        "https://h/a/v2/models/m/versions/7/ready?code=k3y",
    )


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        *(("http://localhost", True), ("http://LOCALHOST:80", True), ("http://a.localhost", True)),
        *(("http://127.0.0.1", True), ("http://127.9.9.9:80", True), ("http://[::1]:80", True)),
        *(("http://127.example.com", False), ("http://128.0.0.1", False), ("http://localhost.example.com", False)),
        *(("http://10.0.0.1", False), ("lambda:height", False)),
    ],
)
def test_only_this_machine_is_local(host, is_local):
    assert hosts.find(host).is_local is is_local


@given(st.text() | st.tuples(st.sampled_from(["http://", "v2+https://", "lambda:", "//u:p@"]), st.text()).map("".join))
def test_any_text_is_a_host_or_an_option_error(text):
    with contextlib.suppress(mlib.OptionError):
        assert isinstance(hosts.find(text), (hosts.Http, hosts.V2, hosts.Lambda, hosts.SageMaker))


@given(st.text(alphabet="abc/:?#@[]%.", max_size=12), st.text(alphabet="abc/:?#@[].%", max_size=12))
def test_no_refusal_tells_what_stands_before_the_last_at(before, after):
    said = ""
    try:
        hosts.find(f"http://u:S3CRET{before}@{after}")
    except mlib.OptionError as error:
        said = str(error)
    assert "S3CRET" not in said


# ------------------------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize(
    ("rows", "body"),
    [
        ({"Weight": 200}, {"Weight": 200}),
        ([{"Weight": 200.5}, {"Weight": None}], [{"Weight": 200.5}, {"Weight": None}]),
        ({"Weight": 2**70}, {"Weight": 2**70}),
        ({"Weight": -(2**63) - 1}, {"Weight": -(2**63) - 1}),
        ({"Name": "\ud800"}, {"Name": "\ud800"}),
        ({"Ä": "null", "b": None, "c": True}, {"Ä": "null", "b": None, "c": True}),
    ],
)
def test_rows_are_sent_as_json(rows, body):
    assert json.loads(hosts.find("http://h").body(rows)) == body
    assert json.loads(hosts.find("lambda:height").body(rows)) == body


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {1}, b"x", 1j])
@pytest.mark.parametrize("host", KINDS)
def test_what_json_has_not_is_refused_and_never_sent_as_null(host, value):
    with pytest.raises(mlib.OptionError, match="cannot be sent as JSON"):
        hosts.find(host).body([{"Weight": value, "Age": None}])


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_any_row_is_sent_to_the_letter_or_refused(row):
    try:
        body = hosts.find("http://h").body(row)
    except mlib.OptionError:
        return
    assert json.loads(body) == row


def test_tensors_are_made_of_columns_with_the_datatypes_of_the_metadata():
    found = hosts.find("v2+http://h/v2/models/m")
    found.inputs = hosts.Tensors(
        {
            "name": "m",
            "versions": ["7"],
            "inputs": [
                {"name": "rooms", "datatype": "INT64", "shape": [-1]},
                {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
            ],
        }
    ).features
    assert json.loads(found.body([{"rooms": 3, "city": "Lyon"}, {"rooms": None, "city": "Bern"}])) == {
        "inputs": [
            {"name": "rooms", "shape": [2], "datatype": "INT64", "data": [3, None]},
            {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["Lyon", "Bern"]},
        ]
    }
    with pytest.raises(mlib.OptionError, match=r"takes no 'romos'; it takes rooms, city\. Did you mean rooms\?"):
        found.body({"romos": 3})


def test_tensors_without_metadata_have_the_datatypes_of_their_values():
    body = json.loads(hosts.find("v2+http://h/v2/models/m").body({"a": 1, "b": 1.5, "c": "x", "d": True, "e": None}))
    assert [(each["name"], each["datatype"], each["data"]) for each in body["inputs"]] == [
        ("a", "FP64", [1]),
        ("b", "FP64", [1.5]),
        ("c", "BYTES", ["x"]),
        ("d", "BOOL", [True]),
        ("e", "FP64", [None]),
    ]


@pytest.mark.parametrize(
    "card",
    [
        *({}, {"name": "m"}, {"name": "m", "inputs": []}, {"name": "m", "inputs": 5}, {"name": "m", "inputs": [5]}),
        {"name": "m", "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 224, 224]}]},
        {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": 5}]},
        {"name": "m", "versions": {"a": 1}, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]},
    ],
)
def test_metadata_of_other_than_one_value_a_row_are_refused(card):
    with pytest.raises(mlib.ModelError, match="metadata tell no inputs"):
        hosts.Tensors(card)


@given(st.dictionaries(st.sampled_from(["name", "versions", "inputs"]), JSON | st.lists(JSON)))
def test_any_metadata_are_read_or_refused(card):
    with contextlib.suppress(mlib.ModelError):
        hosts.Tensors(card)


@pytest.mark.parametrize(
    ("datatype", "text", "value"),
    [
        *(("FP64", "1.5", 1.5), ("FP64", " 2 ", 2.0), ("INT64", "3", 3), ("INT64", "3.5", "3.5"), ("INT64", "3.0", 3)),
        *(("BOOL", "yes", True), ("BOOL", "False", False), ("BOOL", "0", False), ("BOOL", "maybe", "maybe")),
        *(("BYTES", " a ", " a "), ("BYTES", "3", "3"), ("BYTES", "NA", "NA"), ("FP32", "x", "x")),
        *(("BYTES", " ", None), ("FP64", "", None), ("INT8", "NaN", None), ("BOOL", "NA", None), ("BOOL", "y", True)),
        ("INT64", "9007199254740993", 9007199254740993),  # 2**53 + 1, which no float is
    ],
)
def test_a_text_is_what_the_tensors_datatype_makes_of_it(datatype, text, value):
    parsed = hosts.Tensor({"name": "x", "datatype": datatype, "shape": [-1, 1]}).parse(text)
    assert (parsed, type(parsed)) == (value, type(value))


# ------------------------------------------------------------------------------------------- what is answered


@pytest.mark.parametrize(
    ("document", "rows", "answers"),
    [
        ({"prediction": ONE, "more": 1}, ROW, [ONE]),
        ({"predictions": [ONE, TWO]}, ROWS, [ONE, TWO]),
        ({"predictions": [ONE]}, [ROW], [ONE]),
        ({"predictions": [ONE]}, ROWS, None),
        ({"predictions": [ONE, TWO, TWO]}, ROWS, None),
        ({"predictions": [ONE]}, ROW, None),
        ({"prediction": ONE}, ROWS, None),
        ({"prediction": [ONE]}, ROW, None),
        ({"prediction": 73.2}, ROW, None),
        ({"predictions": [73.2, 72.1]}, ROWS, None),
        ({"predictions": [ONE, None]}, ROWS, None),
        ({"predictions": {"0": ONE, "1": TWO}}, ROWS, None),
        *((document, ROW, None) for document in ({}, [], [ONE], "x", 5, True, None)),
    ],
)
def test_an_answer_is_a_prediction_for_each_row_or_none(document, rows, answers):
    for host in ("http://h", "lambda:height", "sagemaker:height"):
        assert hosts.find(host).answers(document, rows) == answers


def tensors(*data, classes=None):
    """An answer of V2: outputs a, b, ... with some data."""
    outputs = [{"name": name, "datatype": "FP64", "data": each} for name, each in zip("abcd", data, strict=False)]
    if classes is not None:
        outputs[0]["parameters"] = {"classes": classes}
    return {"outputs": outputs}


@pytest.mark.parametrize(
    ("document", "rows", "answers"),
    [
        (tensors([1.5], ["x"]), ROW, [{"a": 1.5, "b": "x"}]),
        (tensors([1, 2], ["x", "y"]), ROWS, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (tensors([[1], [2]]), ROWS, [{"a": 1}, {"a": 2}]),
        (tensors([[[1]], [[2]]]), ROWS, [{"a": 1}, {"a": 2}]),
        (tensors([1, 2, 3, 4]), ROWS, [{"a": [1, 2]}, {"a": [3, 4]}]),
        (tensors([[1, 2], [3, 4]]), ROWS, [{"a": [1, 2]}, {"a": [3, 4]}]),
        (
            tensors([0.9, 0.1, 0.2, 0.8], classes='["no", "yes"]'),
            ROWS,
            [{"a": {"no": 0.9, "yes": 0.1}}, {"a": {"no": 0.2, "yes": 0.8}}],
        ),
        (tensors([0.9, 0.1], classes="[1, 2]"), ROW, [{"a": {"1": 0.9, "2": 0.1}}]),
        (tensors([0.9, 0.1], classes='["one"]'), ROW, [{"a": [0.9, 0.1]}]),
        (tensors([0.9, 0.1], classes="no JSON"), ROW, [{"a": [0.9, 0.1]}]),
        (tensors([0.9, 0.1], classes=["no", "yes"]), ROW, [{"a": [0.9, 0.1]}]),
        (tensors([1, 2, 3]), ROWS, None),
        (tensors([1]), ROWS, None),
        (tensors([]), ROWS, None),
        (tensors([[], []]), ROWS, None),
        (tensors([[1, 2], [3]]), ROWS, None),
        (tensors([[1, 2, 3], [4]]), ROWS, None),
        (tensors([[1], 2]), ROWS, None),
        (tensors([1, 2]), [], None),
        (tensors("xy"), ROWS, None),
        ({"outputs": []}, ROW, None),
        ({"outputs": [{"data": [1]}]}, ROW, None),
        ({"outputs": [5]}, ROW, None),
        ({"outputs": {}}, ROW, None),
        *((document, ROW, None) for document in ({}, [], "x", 5, None, {"prediction": ONE})),
    ],
)
def test_an_answer_of_v2_has_a_value_a_row_in_each_output_or_is_none(document, rows, answers):
    assert hosts.find("v2+http://h/v2/models/m").answers(document, rows) == answers


@pytest.mark.parametrize(
    ("document", "opened"),
    [
        ({"statusCode": 200, "body": json.dumps({"prediction": ONE})}, (200, {"prediction": ONE})),
        ({"statusCode": 200, "body": {"prediction": ONE}}, (200, {"prediction": ONE})),
        (
            {
                "statusCode": 200,
                "isBase64Encoded": True,
                "body": base64.b64encode(b'{"prediction": {"height_inches": 73.23}}').decode(),
            },
            (200, {"prediction": ONE}),
        ),
        ({"statusCode": 200, "isBase64Encoded": True, "body": "ä"}, (200, None)),
        ({"statusCode": 200, "isBase64Encoded": True, "body": "abc"}, (200, None)),
        ({"statusCode": 200, "body": "no JSON"}, (200, None)),
        ({"statusCode": 200}, (200, None)),
        ({"statusCode": 422, "body": '{"detail": "Weight"}'}, (422, {"detail": "Weight"})),
        ({"statusCode": "200", "body": "{}"}, (200, {"statusCode": "200", "body": "{}"})),
        ({"prediction": ONE}, (200, {"prediction": ONE})),
        ([1], (200, [1])),
        (None, (200, None)),
    ],
)
def test_the_published_answer_of_lambda_is_opened(document, opened):
    assert hosts.find("lambda:height").open(200, {}, document) == opened


def test_a_function_that_failed_says_why():
    found, headers = hosts.find("lambda:height"), {"X-Amz-Function-Error": "Unhandled"}
    failed = {"errorType": "KeyError", "errorMessage": "'Weight'", "statusCode": 200, "body": '{"prediction": {}}'}
    assert found.open(200, headers, failed) == (500, {"detail": "KeyError: 'Weight'"})
    assert found.open(200, headers, None) == (500, {"detail": "the function failed: it does not say why"})
    assert found.open(429, {}, {"Message": "slowly"}) == (429, {"Message": "slowly"})


@pytest.mark.parametrize(
    ("status", "document", "opened"),
    [
        (200, {"prediction": ONE}, (200, {"prediction": ONE})),
        (
            424,
            {"OriginalStatusCode": 422, "OriginalMessage": '{"detail": "Weight: got -5"}', "Message": "Received"},
            (422, {"detail": "Weight: got -5"}),
        ),
        (424, {"OriginalStatusCode": 500, "OriginalMessage": "oops"}, (500, {"detail": "oops"})),
        (424, {"OriginalStatusCode": 500, "OriginalMessage": "[1]"}, (500, {"detail": "[1]"})),
        (424, {"Message": "no more"}, (424, {"Message": "no more"})),
        (424, None, (424, None)),
    ],
)
def test_an_error_of_sagemakers_container_is_opened(status, document, opened):
    assert hosts.find("sagemaker:height").open(status, {}, document) == opened


@given(
    st.sampled_from(KINDS),
    JSON | st.dictionaries(st.sampled_from(["prediction", "predictions", "outputs", "statusCode", "body"]), JSON),
    st.sampled_from([ROW, ROWS, [ROW], []]),
    st.sampled_from([200, 424, 500]),
)
def test_no_answer_of_any_kind_raises(host, document, rows, status):
    found = hosts.find(host)
    for headers in ({}, {"X-Amz-Function-Error": "Unhandled"}):
        opened, inner = found.open(status, headers, document)
        assert isinstance(opened, int)
        answers = found.answers(inner, rows)
        assert answers is None or len(answers) == (1 if isinstance(rows, dict) else len(rows))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": JSON | st.text(), "data": JSON | st.lists(JSON)},
            optional={"parameters": JSON | st.fixed_dictionaries({"classes": JSON | JSON.map(repr)})},
        )
    ),
    st.sampled_from([ROW, ROWS, []]),
)
def test_no_outputs_of_v2_raise(outputs, rows):
    answers = hosts.find("v2+http://h/v2/models/m").answers({"outputs": outputs}, rows)
    assert answers is None or len(answers) == (1 if isinstance(rows, dict) else len(rows))


@given(st.sampled_from(["OriginalStatusCode", "errorType"]), JSON, JSON)
def test_no_error_of_aws_raises(key, code, text):
    document = {key: code, "OriginalMessage": text, "errorMessage": text, "statusCode": code, "isBase64Encoded": text}
    hosts.find("sagemaker:height").open(424, {}, document)
    hosts.find("lambda:height").open(200, {}, document | {"body": text})
    hosts.find("lambda:height").open(200, {"X-Amz-Function-Error": "x"}, document)


# ------------------------------------------------------------------- the project's own service, asked by V2


@pytest.fixture(name="flats", scope="module")
def _flats(tmp_path_factory):
    """The path of a model with features of each kind: numbers and categories with gaps, codes, dates, yes or no."""
    folder = tmp_path_factory.mktemp("flats")
    lines = ["rooms,city,floor,since,balcony,rent"]
    for i in range(120):
        rooms, city = "" if i % 10 == 9 else i % 5 + 1, ["Lyon", "Zürich", ""][i % 3]
        lines.append(f"{rooms},{city},{[3, 20, 1067][i % 3]},2020-01-{i % 28 + 1:02},{['yes', 'no'][i % 2]},{300 + i}")
    (folder / "flats.csv").write_text("\n".join(lines), encoding="utf-8")
    mlib.retrain(data=folder / "flats.csv", target="rent", category=["floor"], model_name=folder / "flats.joblib")
    return folder / "flats.joblib"


@pytest.fixture(name="served", scope="module")
def _served(flats):
    with serving(MLOPS_MODEL=flats) as url:
        yield f"v2+{url}/v2/models/{mlib.Signature.read(flats).name}"


def agree(answers, expected):
    """Whether answers by V2 are those of the model here; warnings stand elsewhere in V2."""
    return answers == [{key: value for key, value in each.items() if key != "warnings"} for each in expected]


FLATS = """rooms,city,floor,since,balcony
3,Lyon,20,2020-01-20,yes
,Zürich,3,2020-01-02,no
2,,1067,2020-01-28,TRUE
4.0,Lyon,20.0,2020-01-01,False
"""


@pytest.mark.parametrize("separator", [",", ";"])
def test_rows_of_a_file_are_asked_by_v2_as_by_the_model_here(served, flats, tmp_path, separator):
    path = tmp_path / "flats.csv"
    path.write_text(
        FLATS.replace(",", separator).replace("4.0", "4,0" if separator == ";" else "4.0"), encoding="utf-8"
    )
    model = mlib.load_model(flats)
    rows, _ = mlib.read_rows(path, model.signature)
    for chunk_rows in (1, 3, 5000):
        done = Utils(tmp_path).predict(served, "--from", path, "--chunk-rows", chunk_rows, "--json")
        assert done.exit_code == 0, done.stderr
        assert agree(json.loads(done.stdout)["predictions"], mlib.predict(rows, model))


def test_options_are_asked_by_v2_as_by_the_model_here(served, flats, tmp_path):
    utils, model = Utils(tmp_path), mlib.load_model(flats)
    options = ["--rooms", "3", "--city", "Zürich", "--floor", "20", "--since", "2020-01-20", "--balcony", "yes"]
    row = {"rooms": 3, "city": "Zürich", "floor": 20, "since": "2020-01-20", "balcony": True}
    done = utils.predict(served, *options, "--json")
    assert done.exit_code == 0, done.stderr
    assert agree([json.loads(done.stdout)["prediction"]], mlib.predict([row], model))
    done = utils.predict(served, *options[2:], "--json")  # rooms may be missing
    assert done.exit_code == 0, done.stderr
    assert agree([json.loads(done.stdout)["prediction"]], mlib.predict([row | {"rooms": None}], model))
    done = utils.predict(served, *options, *options, "--json")
    assert agree(json.loads(done.stdout)["predictions"], mlib.predict([row, row], model))
    assert "--balcony" in utils.predict(served, "--help").stdout


def test_what_the_model_refuses_is_told_by_v2(served, tmp_path):
    utils = Utils(tmp_path)
    done = utils.predict(served, "--rooms", "3", "--city", "Bern", "--floor", "20", "--since", "2020-01-20")
    assert (done.exit_code, done.stdout) == (4, "")
    assert "answered 422: " in done.stderr
    done = utils.predict(served, "--rooms", "three")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "'three' is not a valid float" in done.stderr


def test_a_model_of_v2_that_is_not_there_is_told(served, tmp_path):
    utils = Utils(tmp_path)
    path, _ = utils.rows(2)
    for host in (f"{served}x", f"{served}/versions/no-such"):
        for rows in (["--weight", 200], ["--from", path]):
            done = utils.predict(host, *rows)
            assert done.exit_code == 4
            assert " answered 404: " in done.stderr
            assert "the one here is " in done.stderr
            assert "Is the model's name right?" in done.stderr


def test_a_version_of_v2_is_asked_where_it_is_there(model, tmp_path):
    signature = mlib.Signature.read(model)
    with serving(MLOPS_MODEL=model, MLOPS_API_KEYS="s3cret") as url:
        host = f"v2+{url}/v2/models/{signature.name}/versions/{signature.version}/infer"
        done = Utils(tmp_path).predict(host, "--weight", "200", "--json", MLOPS_API_KEY="s3cret")
        assert json.loads(done.stdout) == {"prediction": mlib.predict(200, mlib.load_model(model))}
        path, rows = Utils(tmp_path).rows(5)
        done = Utils(tmp_path).predict(host, "--from", path, "--chunk-rows", 2, "--json", MLOPS_API_KEY="s3cret")
        assert json.loads(done.stdout) == {"predictions": mlib.predict(rows, mlib.load_model(model))}


@pytest.mark.parametrize("name", ["penguins", "titanic", "iris"])
def test_classes_are_asked_by_v2_as_by_the_model_here(name, tmp_path):
    table = BY_NAME[name]
    path = table.write(tmp_path)
    mlib.retrain(data=path, target=table.target, model_name=tmp_path / "model.joblib")
    model = mlib.load_model(tmp_path / "model.joblib")
    rows, _ = mlib.read_rows(path, model.signature)
    with serving(MLOPS_MODEL=tmp_path / "model.joblib") as url:
        done = Utils(tmp_path).predict(f"v2+{url}/v2/models/{model.signature.name}", "--from", path, "--json")
    assert done.exit_code == 0, done.stderr
    assert agree(json.loads(done.stdout)["predictions"], mlib.predict(rows, model))


@pytest.mark.parametrize("count", [1, 3])
def test_an_address_whose_name_cannot_be_looked_up_is_no_address(count, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    endpoint, taken = remote.Endpoint(f"http://{'a' * 300}.example/predict", retries=0), []
    with pytest.raises(mlib.OptionError, match="is no address of an endpoint: "):
        (endpoint.ask if count == 1 else functools.partial(endpoint.ask_many, take=taken.append))([ROW] * count)
    assert not taken
