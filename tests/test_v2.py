"""Do the clients of KServe and Triton get predictions? Tests of the Open Inference Protocol.

Expected values are those of `mlib.predict`, of the protocol's own examples, or of bytes that are put together here.
"""

import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import serving
from flask import Flask, g
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException

import mlib
from service import v2
from toolkit import wire

HEAD = "Inference-Header-Content-Length"
MOST = 1000  # rows of a request, here
INFER = "/v2/models/htwtmlb-height/infer"
DATATYPES = {  # numpy's and the extension's sizes are told apart from the code under test
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def app_of(model, max_rows=MOST):
    """An application of these routes alone, whose problems are what the service makes of them."""
    app = Flask(__name__)
    live = SimpleNamespace(model=mlib.load_model(model))
    app.register_blueprint(v2.routes(lambda: live.model, max_rows))
    app.register_error_handler(mlib.InputError, lambda error: ({"detail": str(error), "errors": error.errors}, 422))
    app.register_error_handler(HTTPException, lambda error: ({"detail": error.description}, error.code))
    app.register_error_handler(wire.Refused, lambda error: ({"detail": str(error)}, error.status))

    @app.after_request
    def tell(response):
        response.headers["X-Predicted"] = json.dumps(g.get("predicted"))
        return response

    app.live = live
    return app


@pytest.fixture(name="client", scope="module")
def _client(model):
    return app_of(model).test_client()


@pytest.fixture(name="rent", scope="module")
def _rent(tmp_path_factory):
    """The path of a model with features of each kind: numbers and categories with gaps, codes, dates, yes or no."""
    folder = tmp_path_factory.mktemp("rent")
    lines = ["rooms,city,floor,since,balcony,rent"]
    for i in range(120):
        rooms, city = "" if i % 10 == 9 else i % 5 + 1, ["Lyon", "Zürich", ""][i % 3]
        lines.append(f"{rooms},{city},{[3, 20, 1067][i % 3]},2020-01-{i % 28 + 1:02},{['yes', 'no'][i % 2]},{300 + i}")
    (folder / "rent.csv").write_text("\n".join(lines), encoding="utf-8")
    mlib.retrain(data=folder / "rent.csv", target="rent", category=["floor"], model_name=folder / "rent.joblib")
    return folder / "rent.joblib"


ROW = {"rooms": 3.0, "city": "Zürich", "floor": 20, "since": "2020-01-20", "balcony": True}
TYPES = {"rooms": "FP64", "city": "BYTES", "floor": "INT64", "since": "BYTES", "balcony": "BOOL"}


@pytest.fixture(name="rents", scope="module")
def _rents(rent):
    return app_of(rent).test_client()


def tensor(name, data, datatype="FP64", shape=None, **members):
    """An input in JSON."""
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data, **members}


def weights(*data, **members):
    """A request with the weights of players."""
    return {"inputs": [tensor("Weight", list(data), **members)]}


def columns(*rows):
    """A request for rents in JSON, a tensor a feature."""
    return {"inputs": [tensor(name, [row[name] for row in rows], TYPES[name]) for name in rows[0]]}


def outputs(response):
    """The data of an answer in JSON, by the outputs' names."""
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    return {output["name"]: output["data"] for output in response.json["outputs"]}


def by_columns(rows):
    """What is expected of rows of answers: a list a key."""
    return {name: [row[name] for row in rows] for name in rows[0] if name != "warnings"}


def binary(*tensors, **members):
    """Put a request with binary data together: (name, shape, datatype, bytes) of each."""
    told = [
        {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
        for name, shape, datatype, data in tensors
    ]
    head = json.dumps({"inputs": told, **members}).encode()
    return {"data": head + b"".join(part[3] for part in tensors), "headers": {HEAD: str(len(head))}}


def texts(*values):
    """BYTES as the extension has them."""
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


# ------------------------------------------------------------------------------------------ health and metadata


def test_the_server_tells_its_name_the_models_version_and_the_extension(client, model):
    version = mlib.load_model(model).signature.version
    expected = {"name": "mlops-cookbook", "version": version, "extensions": ["binary_tensor_data"]}
    assert client.get("/v2").json == expected
    assert client.get("/v2/").json == expected  # as the protocol's OpenAPI document has it


def test_it_is_live_and_ready(client, model):
    version = mlib.load_model(model).signature.version
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    ready = {"name": "htwtmlb-height", "ready": True}
    assert client.get("/v2/models/htwtmlb-height/ready").json == ready
    assert client.get(f"/v2/models/htwtmlb-height/versions/{version}/ready").json == ready


def test_the_metadata_tell_the_tensors(client, model):
    version = mlib.load_model(model).signature.version
    expected = {
        "name": "htwtmlb-height",
        "versions": [version],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "Weight", "datatype": "FP64", "shape": [-1]}],
        "outputs": [
            {"name": "height_inches", "datatype": "FP64", "shape": [-1]},
            {"name": "height_human_readable", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    assert client.get("/v2/models/htwtmlb-height").json == expected
    assert client.get(f"/v2/models/htwtmlb-height/versions/{version}").json == expected


def test_the_metadata_tell_each_kind_of_feature(rents):
    told = rents.get("/v2/models/rent-rent").json
    assert {each["name"]: each["datatype"] for each in told["inputs"]} == TYPES
    assert told["outputs"] == [{"name": "rent", "datatype": "FP64", "shape": [-1]}]


def test_a_model_without_compiled_form_is_of_scikit_learn(model, tmp_path):
    (tmp_path / "model.joblib").write_bytes(model.read_bytes())
    client = app_of(tmp_path / "model.joblib").test_client()
    assert client.get("/v2/models/htwtmlb-height").json["platform"] == "sklearn"


@pytest.mark.parametrize("rest", ["", "/ready", "/infer"])
def test_a_model_or_version_that_is_not_here_is_told_with_what_is(client, model, rest):
    ask = client.post if rest == "/infer" else client.get
    other = ask(f"/v2/models/other{rest}")
    assert (other.status_code, other.json["detail"]) == (
        404,
        'There is no model "other"; the one here is htwtmlb-height.',
    )
    version = mlib.load_model(model).signature.version
    other = ask(f"/v2/models/htwtmlb-height/versions/7{rest}")
    assert other.status_code == 404
    assert other.json["detail"] == f'htwtmlb-height has no version "7"; the one here is {version}.'


# --------------------------------------------------------------------------------------------- answers in JSON


def test_a_row_gets_the_published_answer(client, model):
    response = client.post(INFER, json={"id": "42", **weights(200)})
    assert response.json == {
        "model_name": "htwtmlb-height",
        "model_version": mlib.load_model(model).signature.version,
        "id": "42",
        "outputs": [
            {"name": "height_inches", "datatype": "FP64", "shape": [1], "data": [73.23]},
            {"name": "height_human_readable", "datatype": "BYTES", "shape": [1], "data": ["6 foot, 1 inches"]},
        ],
    }
    assert response.headers["X-Predicted"] == "[1, 0]"
    assert HEAD not in response.headers


@pytest.mark.parametrize(
    ("shape", "data"), [([3], [180, 200, 250]), ([3, 1], [180, 200, 250]), ([3, 1], [[180], [200], [250]])]
)
def test_rows_are_answered_in_their_order_flat_or_nested(client, model, shape, data):
    response = client.post(INFER, json=weights(*data, shape=shape))
    assert outputs(response) == by_columns(mlib.predict([180, 200, 250], model))
    assert response.json["outputs"][0]["shape"] == [3]


def test_a_version_may_be_named(client, model):
    version = mlib.load_model(model).signature.version
    response = client.post(f"/v2/models/htwtmlb-height/versions/{version}/infer", json=weights(200))
    assert outputs(response)["height_inches"] == [73.23]


@pytest.mark.parametrize("data", [[200, 25, 180, 30], [[200, 25], [180, 30]]])
def test_one_matrix_of_any_name_does_where_all_features_are_numbers(two_features, data):
    client = app_of(two_features).test_client()
    expected = by_columns(mlib.predict([{"Weight": 200, "Age": 25}, {"Weight": 180, "Age": 30}], two_features))
    response = client.post(INFER, json={"inputs": [tensor("input-0", data, shape=[2, 2])]})
    assert outputs(response) == expected


def test_each_kind_of_feature_is_taken(rents, rent):
    rows = [ROW, {**ROW, "rooms": 1.0, "city": "Lyon", "since": "2020-01-02", "balcony": False}]
    assert outputs(rents.post("/v2/models/rent-rent/infer", json=columns(*rows))) == by_columns(
        mlib.predict(rows, rent)
    )


def test_what_is_missing_is_null_or_left_out(rents, rent):
    expected = by_columns(mlib.predict([{**ROW, "rooms": None, "city": None}], rent))
    nulls = columns({**ROW, "rooms": None, "city": None})
    assert outputs(rents.post("/v2/models/rent-rent/infer", json=nulls)) == expected
    rest = columns({name: value for name, value in ROW.items() if name not in ("rooms", "city")})
    assert outputs(rents.post("/v2/models/rent-rent/infer", json=rest)) == expected


def test_outputs_are_selected_in_the_order_asked_for(client):
    asked = {**weights(200), "outputs": [{"name": "height_human_readable"}]}
    assert outputs(client.post(INFER, json=asked)) == {"height_human_readable": ["6 foot, 1 inches"]}
    both = [{"name": "height_human_readable"}, {"name": "height_inches"}]
    assert list(outputs(client.post(INFER, json={**weights(200), "outputs": both}))) == [
        "height_human_readable",
        "height_inches",
    ]


def test_null_stands_for_what_is_left_out(client):
    """As clients send it that write out each optional member."""
    asked = {"id": None, "parameters": None, "outputs": None, **weights(200, parameters=None)}
    response = client.post(INFER, json=asked)
    assert outputs(response)["height_inches"] == [73.23]
    assert "id" not in response.json


def test_warnings_stand_in_the_parameters(client):
    one = client.post(INFER, json=weights(400))
    assert one.json["parameters"] == {"warnings": "Weight: got 400, expected 145 to 300 pounds, as in training"}
    assert one.headers["X-Predicted"] == "[1, 1]"
    many = client.post(INFER, json=weights(200, 400))
    assert many.json["parameters"]["warnings"].startswith("row 2, Weight: got 400, ")
    assert many.headers["X-Predicted"] == "[2, 1]"


def test_of_many_warnings_a_hundred_are_told(client):
    response = client.post(INFER, json=weights(*[400] * 105))
    assert response.json["parameters"]["warnings"].endswith(
        "row 100, Weight: got 400, expected 145 to 300 pounds, as in training; and 5 more"
    )
    assert response.headers["X-Predicted"] == "[105, 105]"


def test_the_model_that_is_there_at_the_time_answers(model, two_features):
    app = app_of(model)
    client = app.test_client()
    assert client.post(INFER, json=weights(200)).status_code == 200
    app.live.model = mlib.load_model(two_features)
    assert client.get("/v2").json["version"] == app.live.model.signature.version
    response = client.post(INFER, json=weights(200))
    assert response.status_code == 422
    assert response.json["errors"][0]["field"] == "Age"


# --------------------------------------------------------------------------------------------------- of classes


@pytest.fixture(name="classes", scope="module")
def _classes(tmp_path_factory):
    """Train a classifier of three, or of two, classes; give its path."""

    def train(*levels):
        folder = tmp_path_factory.mktemp("classes")
        lines = ["x,y", *(f"{i},{levels[i * len(levels) // 90]}" for i in range(90))]
        (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
        path = folder / "table.joblib"
        mlib.retrain(data=folder / "table.csv", target="y", task="classification", model_name=path)
        return path

    return train


@pytest.mark.parametrize(
    ("levels", "datatype", "names"),
    [
        (("low", "mid", "högh"), "BYTES", ["högh", "low", "mid"]),
        ((7, 8, 9), "INT64", ["7", "8", "9"]),
        ((0.5, 1, 1.5), "FP64", ["0.5", "1", "1.5"]),
        ((10**30, 2, 3), "BYTES", None),
    ],
)
def test_classes_are_answered_with_their_probabilities(classes, levels, datatype, names):
    path = classes(*levels)
    client, rows = app_of(path).test_client(), mlib.predict([{"x": 5}, {"x": 80}], path)
    response = client.post("/v2/models/table-y/infer", json={"inputs": [tensor("x", [5, 80])]})
    found = outputs(response)
    assert found["y"] == [str(row["y"]) if datatype == "BYTES" else row["y"] for row in rows]
    assert found["probabilities"] == [share for row in rows for share in row["probabilities"].values()]
    answer, probabilities = response.json["outputs"]
    assert (answer["datatype"], answer["shape"]) == (datatype, [2])
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP64", [2, 3])
    told = json.loads(probabilities["parameters"]["classes"])
    assert told == list(rows[0]["probabilities"])
    assert names is None or told == names
    metadata = client.get("/v2/models/table-y").json["outputs"]
    assert [each["shape"] for each in metadata] == [[-1], [-1, 3]]
    assert metadata[1]["parameters"] == probabilities["parameters"]


def test_true_and_false_are_answered_as_bool(classes):
    path = classes("true", "false")
    data = {"inputs": [tensor("x", [5, 80])], "parameters": {"binary_data_output": True}}
    response = app_of(path).test_client().post("/v2/models/table-y/infer", json=data)
    head = int(response.headers[HEAD])
    described = json.loads(response.data[:head])["outputs"]
    assert [each["datatype"] for each in described] == ["BOOL", "FP64"]
    assert "classes" in described[1]["parameters"]
    rows = mlib.predict([{"x": 5}, {"x": 80}], path)
    shares = [share for row in rows for share in row["probabilities"].values()]
    assert response.data[head:] == b"\x01\x00" + np.array(shares, "<f8").tobytes()


# ------------------------------------------------------------------------------------------------------- binary


@pytest.mark.parametrize(("datatype", "code"), DATATYPES.items())
def test_numbers_of_each_datatype_are_taken_in_binary_and_in_json(client, model, datatype, code):
    expected = by_columns(mlib.predict([100, 127], model))
    data = np.array([100, 127], code).tobytes()
    assert outputs(client.post(INFER, **binary(("Weight", [2], datatype, data)))) == expected
    assert outputs(client.post(INFER, json=weights(100, 127, datatype=datatype))) == expected


def test_the_extensions_example_is_answered(two_features):
    """Its first input: UINT32 of shape [2, 2], 16 bytes; and an output that is wanted in binary."""
    data = struct.pack("<4I", 200, 25, 180, 30)
    wanted = [{"name": "height_inches", "parameters": {"binary_data": True}}]
    asked = binary(("input0", [2, 2], "UINT32", data), outputs=wanted)
    assert len(data) == 16
    response = app_of(two_features).test_client().post(INFER, **asked)
    assert response.content_type == "application/octet-stream"
    head = int(response.headers[HEAD])
    described = {"name": "height_inches", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}
    assert json.loads(response.data[:head])["outputs"] == [described]
    expected = mlib.predict([{"Weight": 200, "Age": 25}, {"Weight": 180, "Age": 30}], two_features)
    assert response.data[head:] == struct.pack("<2d", *(row["height_inches"] for row in expected))


def test_all_outputs_are_binary_but_those_that_are_not_to_be(client):
    asked = {**weights(200), "parameters": {"binary_data_output": True}}
    response = client.post(INFER, json=asked)
    data = struct.pack("<d", 73.23) + b"\x10\0\0\0" + b"6 foot, 1 inches"
    assert response.data[int(response.headers[HEAD]) :] == data
    asked["outputs"] = [{"name": "height_inches", "parameters": {"binary_data": False}}]
    assert outputs(client.post(INFER, json=asked)) == {"height_inches": [73.23]}
    asked["outputs"].append({"name": "height_human_readable"})
    response = client.post(INFER, json=asked)
    head = int(response.headers[HEAD])
    assert json.loads(response.data[:head])["outputs"][0]["data"] == [73.23]
    assert response.data[head:] == data[8:]


def test_text_bool_and_json_go_together_in_binary(rents, rent):
    rows = [ROW, {**ROW, "city": "Lyon", "balcony": False}]
    asked = binary(
        ("city", [2], "BYTES", texts("Zürich", "Lyon")),
        ("floor", [2, 1], "INT64", struct.pack("<2q", 20, 20)),
        ("balcony", [2], "BOOL", b"\x01\x00"),
        ("since", [2], "BYTES", texts("2020-01-20", "2020-01-20")),
        ("rooms", [2], "FP64", struct.pack("<2d", 3, 3)),
    )
    assert outputs(rents.post("/v2/models/rent-rent/infer", **asked)) == by_columns(mlib.predict(rows, rent))


def test_nan_and_an_empty_text_are_missing_in_binary(rents, rent):
    head = json.dumps(
        {
            "inputs": [
                *(each for each in columns(ROW)["inputs"] if each["name"] not in ("rooms", "city")),
                {"name": "rooms", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}},
                {"name": "city", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 4}},
            ]
        }
    ).encode()
    data = head + np.array([np.nan], "<f4").tobytes() + texts("")
    response = rents.post("/v2/models/rent-rent/infer", data=data, headers={HEAD: str(len(head))})
    assert outputs(response) == by_columns(mlib.predict([{**ROW, "rooms": None, "city": None}], rent))


def test_nan_is_refused_where_nothing_may_be_missing(client):
    response = client.post(INFER, **binary(("Weight", [1], "FP64", struct.pack("<d", float("nan")))))
    assert response.status_code == 422
    expected = "a number above 0 (145 to 300 pounds in training)"
    assert response.json["errors"] == [{"row": 1, "field": "Weight", "got": None, "expected": expected}]
    response = client.post(INFER, **binary(("Weight", [1], "FP64", struct.pack("<d", float("inf")))))
    assert response.json["errors"] == [{"row": 1, "field": "Weight", "got": "inf", "expected": expected}]


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (weights(200, -5), [("Weight", -5)]),
        (weights(None, 0), [("Weight", None), ("Weight", 0)]),
        (weights("200", datatype="BYTES"), [("Weight", "200")]),
        (weights(True, datatype="BOOL"), [("Weight", True)]),
        ({"inputs": [tensor("Wieght", [200])]}, [("Weight", None), ("Wieght", 200)]),
        ({"inputs": [tensor("Weight", [200]), tensor("Age", [20])]}, [("Age", 20)]),
        ({"inputs": [tensor("input-0", [-1], shape=[1, 1])]}, [("Weight", -1)]),
    ],
)
def test_values_that_cannot_be_are_refused_in_the_words_of_predict(client, model, asked, fields):
    response = client.post(INFER, json=asked)
    assert response.status_code == 422
    assert [(error["field"], error["got"]) for error in response.json["errors"]] == fields
    assert response.headers["X-Predicted"] == "null"
    with pytest.raises(mlib.InputError, match="expected a number above 0") as found:
        mlib.predict([{"Weight": -5}], model)
    if fields == [("Weight", -5)]:
        assert response.json["errors"] == [{**found.value.errors[0], "row": 2}]


def test_more_rows_than_are_taken_are_refused_with_the_limit(model):
    client = app_of(model, max_rows=3).test_client()
    assert client.post(INFER, json=weights(180, 190, 200)).status_code == 200
    response = client.post(INFER, json=weights(180, 190, 200, 210))
    assert response.status_code == 413
    assert response.json["detail"] == 'The input "Weight" has 4 rows; expected at most 3 in a request.'


def test_a_body_without_a_length_that_was_cut_is_refused(model):
    app = app_of(model)
    body = json.dumps(weights(200)).encode()
    for limit, status in ((len(body), 413), (len(body) + 1, 200)):
        app.config["MAX_CONTENT_LENGTH"] = limit
        response = app.test_client().post(INFER, data=body)
        assert response.status_code == status


SHAPES = "expected [rows] or [rows, 1], with rows of 1 to 1,000."


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "The body is []; expected an object with inputs."),
        (200, "The body is 200; expected an object"),
        (None, "The body is null; expected an object"),
        ({}, "There are no inputs; expected Weight."),
        ({"inputs": []}, "There are no inputs"),
        ({"inputs": {"Weight": 200}}, 'inputs is "an object"; expected a list of objects, each with a name.'),
        ({"inputs": [200]}, "One of the inputs is 200 with the name null; expected a text as name."),
        ({"inputs": [{"name": 7}]}, 'One of the inputs is "an object" with the name 7; expected a text'),
        ({"inputs": weights(200)["inputs"] * 2}, 'Two of the inputs have the name "Weight"; expected each once.'),
        ({**weights(200), "id": 42}, "The id is 42; expected a text."),
        ({**weights(200), "parameters": [1]}, "The request has the parameters [1]; expected an object."),
        ({**weights(200), "parameters": {"binary_data_output": 1}}, "binary_data_output is 1; expected true or false."),
        ({**weights(200), "outputs": "height_inches"}, 'outputs is "height_inches"; expected a list'),
        (
            {**weights(200), "outputs": [{"name": "heigth"}]},
            'no output "heigth"; expected height_inches or height_human',
        ),
        ({**weights(200), "outputs": [{"name": "height_inches"}] * 2}, "Two of the outputs have the name"),
        (
            {**weights(200), "outputs": [{"name": "height_inches", "parameters": {"classification": 2}}]},
            "The output height_inches has the parameter classification, of an extension that is not offered here.",
        ),
        (
            {
                "inputs": [
                    {"name": "Weight", "shape": [1], "datatype": "FP64", "parameters": {"shared_memory_region": "a"}}
                ]
            },
            "shared_memory_region, of an extension",
        ),
        ({"inputs": [{"name": "Weight", "datatype": "FP64", "data": [200]}]}, f"has the shape null; {SHAPES}"),
        (weights(200, shape=200), f"has the shape 200; {SHAPES}"),
        (weights(200, shape=[0]), f"has the shape [0]; {SHAPES}"),
        (weights(200, shape=[-1]), f"has the shape [-1]; {SHAPES}"),
        (weights(200, shape=[1.0]), "has the shape [1]; expected"),
        (weights(200, shape=[True]), f"has the shape [true]; {SHAPES}"),
        (weights(200, shape=["1"]), 'has the shape ["1"]; expected'),
        (weights(200, shape=[1, 1, 1]), "has the shape [1, 1, 1]; expected"),
        (weights(200, shape=[1, 2]), "has the shape [1, 2]; expected"),
        (weights(200, shape=[1] * 100), 'has the shape "a list"; expected'),
        (weights(200, shape=[2**63, 2**63]), "expected [rows] or [rows, 1]"),
        (weights(200, shape=[10**40]), "expected [rows] or [rows, 1]"),
        (weights(200, shape=[2]), "has as data 1 elements; expected 2 elements, as its shape says."),
        (weights(200, 180, shape=[1]), "has as data 2 elements; expected 1 elements"),
        (weights([200, 180], shape=[2]), "has as data 1 elements; expected 2 elements"),
        (weights([200], 180), "has [200] in its data; expected FP64"),
        (weights([[200]]), "has [200] in its data; expected FP64"),
        ({"inputs": [{"name": "Weight", "shape": [1], "datatype": "FP64"}]}, "has as data null; expected 1 elements"),
        ({"inputs": [{**tensor("Weight", [200]), "data": {}}]}, 'has as data "an object"; expected 1 elements'),
        (weights(200, datatype="FP63"), 'has the datatype "FP63"; expected one of BOOL, '),
        (weights(200, datatype="BF16"), 'has the datatype "BF16"; expected one of BOOL, '),
        (weights(200, datatype=None), "has the datatype null; expected one of"),
        (weights(200, datatype=["FP64"]), 'has the datatype ["FP64"]; expected one of'),
        (weights("200"), 'has "200" in its data; expected FP64, as its datatype says.'),
        (weights(True), "has true in its data; expected FP64"),
        (weights({}), 'has "an object" in its data; expected FP64'),
        (weights(200.5, datatype="INT64"), "has 200.5 in its data; expected INT64"),
        (weights(200, datatype="INT8"), "has 200 in its data; expected INT8"),
        (weights(-1, datatype="UINT8"), "has -1 in its data; expected UINT8"),
        (weights(2**64, datatype="UINT64"), "in its data; expected UINT64"),
        (weights(10**40, datatype="INT64"), "in its data; expected INT64"),
        (weights(200, datatype="BYTES"), "has 200 in its data; expected BYTES"),
        (weights(1, datatype="BOOL"), "has 1 in its data; expected BOOL"),
        (weights(200, parameters="x"), 'The input "Weight" has the parameters "x"; expected an object.'),
        ({"inputs": [tensor("Weight", [200, 180]), tensor("Age", [20])]}, 'The input "Age" has 1 rows; expected 2, as'),
        ({"inputs": [tensor("input-0", [1, 2], shape=[1, 2])]}, "has the shape [1, 2]; expected [rows] or [rows, 1]"),
    ],
)
def test_what_is_malformed_is_refused_with_what_was_expected(client, asked, said):
    response = client.post(INFER, data=json.dumps(asked))
    assert response.status_code == 400
    assert said in response.json["detail"]
    assert len(response.json["detail"]) < 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Weight=200",
        b'{"inputs": [{"name": "Weight", "shape": [1], "datatype": "FP64", "data": [NaN]}]}',
        b'{"inputs": [{"name": "Weight", "shape": [1], "datatype": "FP64", "data": [Infinity]}]}',
        b'{"inputs": [{"name": "Weight", "shape": [1], "datatype": "FP64", "data": [1e999]}]}',
        b'{"inputs": [{"name": "Weight", "shape": [1], "datatype": "FP64", "data": [' + b"1" * 5000 + b"]}]}",
        b'{"inputs": [{"name": "Weight", "shape": [1], "datatype": "FP64", "data": ' + b"[" * 900 + b"]" * 900 + b"}]}",
        b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"inputs": [{"name": "\xff"}]}',
    ],
)
def test_a_body_that_is_no_json_or_too_deep_is_refused(client, body):
    response = client.post(INFER, data=body)
    assert response.status_code == 400
    assert response.json["detail"]


def test_a_whole_number_without_end_is_one_that_cannot_be(client):
    response = client.post(INFER, data=json.dumps(weights(10**40)))
    assert response.status_code == 422
    assert "within a billion standard deviations" in response.json["detail"]


EIGHT = struct.pack("<d", 200)


@pytest.mark.parametrize(
    ("told", "data", "said"),
    [
        ({"shape": [1], "size": 8}, EIGHT[:7], "has the binary_data_size 8; 7 bytes follow"),
        ({"shape": [1], "size": 8}, EIGHT + b"\0", "1 bytes follow the data of the last input; expected none."),
        ({"shape": [1], "size": 9}, EIGHT + b"\0", "has 9 bytes of binary data; expected 8, for 1 of FP64."),
        ({"shape": [2], "size": 8}, EIGHT, "has 8 bytes of binary data; expected 16, for 2 of FP64."),
        ({"shape": [1], "size": 8, "datatype": "FP32"}, EIGHT, "expected 4, for 1 of FP32."),
        ({"shape": [1], "size": 0}, b"", "has 0 bytes of binary data; expected 8"),
        ({"shape": [1], "size": -8}, EIGHT, "has the binary_data_size -8; 8 bytes follow"),
        ({"shape": [1], "size": 8.0}, EIGHT, "has the binary_data_size 8; 8 bytes follow"),
        ({"shape": [1], "size": True}, EIGHT, "has the binary_data_size true; 8 bytes follow"),
        ({"shape": [1], "size": "8"}, EIGHT, 'has the binary_data_size "8"; 8 bytes follow'),
        ({"shape": [1], "size": 2**62}, EIGHT, "8 bytes follow"),
        ({"shape": [1], "size": 8, "data": [200]}, EIGHT, "has data and the parameter binary_data_size"),
        ({"shape": [1], "size": 1, "datatype": "BOOL"}, b"\x02", "has the byte 2 in its binary data; expected 0 or 1."),
        ({"shape": [1], "size": 3, "datatype": "BYTES"}, b"\x01\0\0", "ends within an element; expected BYTES"),
        ({"shape": [1], "size": 5, "datatype": "BYTES"}, b"\x02\0\0\0a", "ends within an element"),
        ({"shape": [1], "size": 5, "datatype": "BYTES"}, b"\xff\xff\xff\xffa", "ends within an element"),
        ({"shape": [2], "size": 5, "datatype": "BYTES"}, texts("a"), "has 1 elements in its binary data; expected 2."),
        ({"shape": [1], "size": 10, "datatype": "BYTES"}, texts("a", "b"), "has 2 elements in its binary data"),
        ({"shape": [1], "size": 5, "datatype": "BYTES"}, b"\x01\0\0\0\xff", "has an element that is not UTF-8."),
        ({"shape": [1], "datatype": "FP64"}, EIGHT, "has as data null; expected 1 elements"),
    ],
)
def test_binary_data_that_do_not_fit_are_refused(client, told, data, said):
    parameters = {"binary_data_size": told.pop("size")} if "size" in told else {}
    head = json.dumps({"inputs": [{"name": "Weight", "datatype": "FP64", **told, "parameters": parameters}]}).encode()
    response = client.post(INFER, data=head + data, headers={HEAD: str(len(head))})
    assert response.status_code == 400
    assert said in response.json["detail"]


@pytest.mark.parametrize("length", ["-1", "+8", "1e3", "abc", "", "99999", "9" * 5000, "٣", "8.0", "0x10", " "])
def test_a_header_length_that_cannot_be_is_refused(client, length):
    body = json.dumps(weights(200)).encode()
    response = client.post(INFER, data=body, headers={HEAD: length.encode().decode("latin-1")})
    assert response.status_code == 400
    assert response.json["detail"].startswith(HEAD)
    assert f"expected a number up to {len(body)}" in response.json["detail"]


def test_a_header_length_that_cuts_the_json_is_refused(client):
    body = json.dumps(weights(200)).encode()
    for length in range(len(body)):
        assert client.post(INFER, data=body, headers={HEAD: str(length)}).status_code == 400
    assert client.post(INFER, data=body, headers={HEAD: str(len(body))}).status_code == 200


def test_many_inputs_and_deep_data_take_no_time(client):
    """A body of about a megabyte; what grows with its square would take minutes."""
    inputs = [tensor(f"{i}", [1]) for i in range(15_000)]
    assert client.post(INFER, data=json.dumps({"inputs": inputs})).status_code == 422
    assert client.post(INFER, data=json.dumps(weights(*[[1]] * 200_000, shape=[1000]))).status_code == 400


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)
NUMBER = st.sampled_from([200, 1, 2, 8, 16, 0, -1, 150.5, 2**31, 10**40])


@st.composite
def requests(draw):
    """A request such as is answered, in which a member or two are anything."""
    rows = draw(st.integers(1, 2))
    whole = {
        "name": draw(st.sampled_from(["Weight", "Weight", "input-0"])),
        "shape": draw(st.sampled_from([[rows], [rows, 1]])),
        "datatype": draw(st.sampled_from([*DATATYPES, "FP64", "BOOL", "BYTES"])),
        "data": [200] * rows,
        "parameters": {},
    }
    asked = {"id": "7", "inputs": [whole], "outputs": [{"name": "height_inches", "parameters": {}}], "parameters": {}}
    if draw(st.booleans()):
        whole["parameters"]["binary_data_size"] = draw(st.sampled_from([8, 16]) | NUMBER)
        del whole["data"]
    places = [(asked, key) for key in asked] + [(whole, key) for key in whole] + [(whole.get("data", [0]), 0)]
    places += [(asked["outputs"][0], "parameters"), (asked["parameters"], "binary_data_output"), (whole["shape"], 0)]
    for owner, key in draw(st.lists(st.sampled_from(places), max_size=2)):
        owner[key] = draw(ANY | NUMBER | st.booleans())
    return asked


@settings(max_examples=400, database=None)
@given(asked=requests() | ANY, data=st.binary(max_size=20) | st.just(struct.pack("<d", 200)), length=ANY)
def test_whatever_is_asked_is_answered_or_refused(client, asked, data, length):
    head = json.dumps(asked).encode()
    anything = "".join(char for char in str(length) if char.isprintable() and ord(char) < 256)
    for body, told in ((head, None), (head + data, len(head)), (head + data, anything)):
        response = client.post(INFER, data=body, headers={} if told is None else {HEAD: str(told)})
        assert response.status_code in (200, 400, 413, 422), response.text


# ------------------------------------------------------------------------------------------------- a real client


@pytest.fixture(name="triton", scope="module")
def _triton():
    """Triton's own client of the real server."""
    http = pytest.importorskip("tritonclient.http")

    def connect(url):
        return http, http.InferenceServerClient(url.removeprefix("http://"))

    return connect


def test_tritons_client_finds_the_server_ready_and_its_metadata(triton, server):
    _, client = triton(server)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("htwtmlb-height")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("htwtmlb-height")
    assert metadata["inputs"] == [{"name": "Weight", "datatype": "FP64", "shape": [-1]}]
    assert client.is_model_ready("htwtmlb-height", metadata["versions"][0])
    client.close()


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_tritons_client_gets_a_prediction(triton, server, is_binary, shape):
    http, client = triton(server)
    weight = http.InferInput("Weight", shape, "FP64")
    weight.set_data_from_numpy(np.array([200.0, 400.0]).reshape(shape), binary_data=is_binary)
    names = ("height_inches", "height_human_readable")
    wanted = [http.InferRequestedOutput(name, binary_data=is_binary) for name in names]
    expected = mlib.predict([200, 400])
    for outputs_asked in (wanted, None):
        result = client.infer("htwtmlb-height", [weight], outputs=outputs_asked, request_id="7")
        assert result.as_numpy("height_inches").tolist() == [row["height_inches"] for row in expected]
        assert result.as_numpy("height_inches").dtype == np.float64
        human = [text if isinstance(text, str) else text.decode() for text in result.as_numpy(names[1])]
        assert human == [row["height_human_readable"] for row in expected]
        assert result.get_response()["id"] == "7"
        assert "row 2, Weight: got 400" in result.get_response()["parameters"]["warnings"]
    client.close()


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritons_client_sends_text_and_truth(triton, rent, is_binary):
    rows = [ROW, {**ROW, "city": "Lyon", "balcony": False}]
    arrays = {
        "rooms": np.array([3.0, 3.0]),
        "city": np.array(["Zürich", "Lyon"], object),
        "floor": np.array([20, 20]),
        "since": np.array(["2020-01-20"] * 2, object),
        "balcony": np.array([True, False]),
    }
    with serving(MLOPS_MODEL=rent) as url:
        http, client = triton(url)
        inputs = []
        for name, array in arrays.items():
            inputs.append(http.InferInput(name, array.shape, TYPES[name]))
            inputs[-1].set_data_from_numpy(array, binary_data=is_binary)
        result = client.infer("rent-rent", inputs)
        assert result.as_numpy("rent").tolist() == [row["rent"] for row in mlib.predict(rows, rent)]
        client.close()


def test_tritons_client_is_told_what_was_wrong(triton, server):
    http, client = triton(server)
    weight = http.InferInput("Weight", [1], "FP64")
    weight.set_data_from_numpy(np.array([-5.0]))
    with pytest.raises(http.InferenceServerException, match="Weight: got -5, expected a number above 0"):
        client.infer("htwtmlb-height", [weight])
    client.close()
