"""What can be asked of the service, for programs? The OpenAPI document, made from the model.

>>> document(mlib.load_model(), max_body=1_000_000, max_rows=10_000, has_keys=False)["info"]["title"]
'Predict the Height From Weight of MLB Players'

Source
------
OpenAPI Specification 3.1.1 (spec.openapis.org/oas/v3.1.1).
"""

import csv
import io

import mlib
from service import front, schemas, v2
from service.metrics import CONTENT_TYPE
from toolkit import wire

HTML, BINARY, FORM = "text/html", "application/octet-stream", "application/x-www-form-urlencoded"
PAGE = {HTML: {"schema": {"type": "string"}}}
PREDICTION, MODEL, HEALTH, SAGEMAKER, V2 = "Prediction", "Model", "Health", "SageMaker", "Open Inference Protocol"
TAGS = {
    PREDICTION: "Rows in, answers out.",
    MODEL: "What the model is, and what can be asked.",
    HEALTH: "For what runs the service.",
    SAGEMAKER: "The same, as a SageMaker container has it.",
    V2: "The same, as the clients of KServe and Triton ask for it.",
}

REFUSALS = {
    400: "What was sent cannot be read: it is no HTTP, no JSON, no row, or a parameter is wrong.",
    401: "There is no key, or none that is known here.",
    404: "There is no model of that name and version.",
    406: f"The header Accept takes neither {wire.JSON} nor {wire.CSV}.",
    408: "The request did not come to its end in time.",
    413: "There are too many bytes, or too many rows.",
    415: f"The body is declared as neither {wire.JSON} nor {wire.CSV} in UTF-8, or as compressed.",
    422: "A row cannot be predicted; the errors tell the fields.",
    431: "The head of the request is too long.",
    500: "The server met a bug.",
    503: "The server is busy.",
}
BEFORE_ROUTES = (400, 408, 431, 500, 503)  # may be answered before a request has an id and a model
ALWAYS = (*BEFORE_ROUTES, 415)  # may be answered whatever is asked
OF_ROUTES = ("X-Request-ID", "X-Model-Version")  # headers of the others
HEADERS = {
    "X-Request-ID": "That of the request, or a new one.",
    "X-Model-Version": "Of the model that answered.",
    "WWW-Authenticate": "Bearer",
    "Retry-After": "Seconds.",
}


def document(model, *, max_body, max_rows, has_keys):
    """Make the document.

    Parameters
    ----------
    model : mlib.Model
    max_body, max_rows : int
        Bytes and rows of a request that are taken at most.
    has_keys : bool
        Whether a bearer key is asked for.

    Returns
    -------
    dict
        JSON-able.
    """
    signature = model.signature
    paths = {
        "/predict": {"post": _predict(model, "predict", PREDICTION)},
        "/": {"get": _home("home", "the query"), "post": _home("homePosted", "the body") | _form()},
        "/docs": {"get": _operation("docs", MODEL, "These routes, for people", PAGE)},
        "/openapi.json": {"get": _get("openapi", MODEL, "These routes, for programs", {"type": "object"})},
        "/model": {"get": _get("model", MODEL, "The model's card", {"type": "object"})},
        "/health/live": {"get": _get("live", HEALTH, "Whether the service runs", _always(status="live"))},
        "/health/ready": {"get": _ready("ready", HEALTH, signature)},
        "/metrics": {"get": _metrics()},
        "/ping": {"get": _ready("ping", SAGEMAKER, signature)},
        "/invocations": {"post": _predict(model, "invocations", SAGEMAKER)},
        **_v2_paths(signature),
    }
    for path, item in paths.items():
        _finish(item, wants_key=has_keys and path not in front.OPEN)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": f"Predict the {signature.title}",
            "version": signature.version,
            "description": _description(signature, max_body, max_rows, has_keys),
        },
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components(signature, max_rows),
            "responses": {str(status): _refusal(status) for status in REFUSALS},
            "headers": {name: _header(name) for name in HEADERS},
            "parameters": _parameters(signature),
            **({"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if has_keys else {}),
        },
    }


def _description(signature, max_body, max_rows, has_keys):
    names = [column.name + (f" ({column.unit})" if column.unit else "") for column in signature.features[:20]]
    more = " and more" if signature.features[20:] else ""
    return (
        f"The model {signature.name} predicts {signature.target.name} from {', '.join(names)}{more}. "
        f"A request has at most {max_body:,} bytes and {max_rows:,} rows. "
        + ("It needs the header Authorization: Bearer KEY, unless it asks for health. " if has_keys else "")
        + "Whatever is refused is answered with problem details (RFC 9457); a path that is not here with 404, another "
        "method with 405 and the header Allow. HEAD is answered wherever GET is."
    )


def _finish(item, wants_key):
    """Add to the operations of a path what all have."""
    item["parameters"] = [*item.get("parameters", ()), {"$ref": "#/components/parameters/X-Request-ID"}]
    for method in item.keys() & {"get", "post"}:
        operation = item[method]
        refusals = [*ALWAYS, *operation.pop("refusals", ()), *([401] if wants_key else [])]
        more = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(refusals)}
        operation["responses"] = {**more, **operation["responses"]}
        operation["responses"] = dict(sorted(operation["responses"].items()))
        if wants_key:
            operation["security"] = [{"key": []}]


# -------------------------------------------------------------------------------------------------- components


def _refusal(status):
    names = () if status in BEFORE_ROUTES else OF_ROUTES
    names += {401: ("WWW-Authenticate",), 503: ("Retry-After",)}.get(status, ())
    schema = schemas.ref("Problem") | {"properties": {"status": {"const": status}}}
    return {"description": REFUSALS[status], **_headers(*names), "content": {wire.PROBLEM: {"schema": schema}}}


def _headers(*names):
    return {"headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names}} if names else {}


def _header(name):
    schema = {"type": "integer"} if name == "Retry-After" else {"type": "string"}
    return {"description": HEADERS[name], "required": True, "schema": schema}


def _parameters(signature):
    version = {"enum": [signature.version], "type": "string"}
    parameters = {
        "X-Request-ID": {
            "in": "header",
            "description": "An id that the answer and the log are to have: up to 128 letters, digits and ._:/+=@-. "
            "Any other is replaced by a new one.",
            "schema": {"type": "string"},
        },
        "name": {"in": "path", "required": True, "schema": {"enum": [signature.name], "type": "string"}},
        "version": {"in": "path", "required": True, "schema": version},
    }
    if schemas.has_interval(signature):
        text = f"Add the interval that holds the true value in about {signature.interval['coverage']:.0%} of cases."
        parameters["interval"] = {"in": "query", "description": text, "schema": {"type": "boolean", "default": False}}
    return {name: {"name": name, **parameter} for name, parameter in parameters.items()}


# ------------------------------------------------------------------------------------------------- the routes


def _operation(name, tag, summary, content, **more):
    answer = {"description": "The answer.", **_headers(*OF_ROUTES), "content": content}
    return {"operationId": name, "tags": [tag], "summary": summary, "responses": {"200": answer}, **more}


def _get(name, tag, summary, schema, example=None, **more):
    media = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return _operation(name, tag, summary, {wire.JSON: media}, **more)


def _always(**answer):
    properties = {key: {"const": value} for key, value in answer.items()}
    return {"type": "object", "properties": properties, "required": list(answer)}


def _home(name, place):
    text = f"The fields of its form are {place}; without any, it shows the example."
    operation = _operation(name, MODEL, "The page for people", PAGE, description=text)
    wrong = {"description": "The page, with what is wrong.", **_headers(*OF_ROUTES), "content": PAGE}
    operation["responses"]["422"] = wrong
    return operation


def _form():
    return {"requestBody": {"content": {FORM: {"schema": {}}}}, "refusals": [413]}


def _metrics():
    media_type = CONTENT_TYPE.partition(";")[0]
    return _operation("metrics", HEALTH, "Counters, for Prometheus", {media_type: {"schema": {"type": "string"}}})


def _ready(name, tag, signature):
    text = {"type": "string"}
    refused = {"type": ["string", "null"], "description": "Why the model that now lies on disk was not taken up."}
    properties = {"status": {"const": "ready"}, "model": text, "version": text, "refused": refused}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    answer = {"status": "ready", "model": signature.name, "version": signature.version, "refused": None}
    return _get(name, tag, "Whether the model answers", schema, answer)


def _predict(model, name, tag):
    rows = examples(model.signature)
    answers = mlib.predict(rows, model)
    text = (
        "The answer has the format of the request, unless the header Accept asks for the other. JSON is also read "
        "where it is declared as a form, which is curl's default, or not declared at all."
    )
    if name == "invocations":
        text += " CSV may have no header line: its fields are then in the features' order."
    asked = {
        wire.JSON: _one_or_many("Row", "Rows", rows[0], rows),
        wire.CSV: {"schema": {"type": "string"}, "example": _csv(rows)},
    }
    answered = {
        wire.JSON: _one_or_many("Prediction", "Predictions", {"prediction": answers[0]}, {"predictions": answers}),
        wire.CSV: {"schema": {"type": "string"}, "example": wire.csv_answers(answers).decode()},
    }
    operation = _operation(name, tag, "Predict a row, or many", answered, description=text, refusals=[406, 413, 422])
    operation["requestBody"] = {"required": True, "content": asked}
    if schemas.has_interval(model.signature):
        operation["parameters"] = [{"$ref": "#/components/parameters/interval"}]
    return operation


def _one_or_many(one, many, example_of_one, example_of_many):
    return {
        "schema": {"anyOf": [schemas.ref(one), schemas.ref(many)]},
        "examples": {"one": {"value": example_of_one}, "many": {"value": example_of_many}},
    }


def examples(signature):
    """Make two rows that are answered.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    list of dict
        The signature's example, and one with the other end of training's range for the first feature.
    """
    row = schemas.example(signature)
    first = signature.features[0]
    return [row, {**row, first.name: schemas.json_value(first, first.say(first.last))}]


def _csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


# -------------------------------------------------------------------------------------- Open Inference Protocol


def _v2_paths(signature):
    name, version = ({"$ref": f"#/components/parameters/{name}"} for name in ("name", "version"))
    paths = {
        "/v2": {"get": _get("v2", V2, "The server", schemas.ref("ServerMetadata"))},
        "/v2/health/live": {"get": _get("v2Live", V2, "Whether the service runs", _always(live=True))},
        "/v2/health/ready": {"get": _get("v2Ready", V2, "Whether the model answers", _always(ready=True))},
    }
    for path, parameters, suffix in (
        ("/v2/models/{name}", [name], ""),
        ("/v2/models/{name}/versions/{version}", [name, version], "OfVersion"),
    ):
        about = _get(f"v2Model{suffix}", V2, "The model's tensors", schemas.ref("ModelMetadata"), refusals=[404])
        is_ready = _always(name=signature.name, ready=True)
        ready = _get(f"v2ModelReady{suffix}", V2, "Whether the model answers", is_ready, refusals=[404])
        paths[path] = {"get": about, "parameters": parameters}
        paths[f"{path}/ready"] = {"get": ready, "parameters": parameters}
        paths[f"{path}/infer"] = {"post": _infer(signature, f"v2Infer{suffix}"), "parameters": parameters}
    return paths


def _infer(signature, name):
    text = (
        "A tensor a feature, in any order; all have the same number of rows, and as many data as their shape tells. "
        "Numbers may have any datatype of numbers that holds them. Where all features are numbers, one tensor of shape "
        f"[rows, {len(signature.features)}], under any other name, does too. Data and outputs may be binary: they then "
        f"follow the JSON, whose length the header {v2.HEAD_LENGTH} tells. The schema has the plainest of these forms; "
        "the others are taken as well."
    )
    answered = {wire.JSON: {"schema": schemas.ref("InferenceResponse")}, BINARY: {}}
    operation = _operation(name, V2, "Predict a row, or many", answered, description=text, refusals=[404, 413, 422])
    example = {"inputs": [_tensor(feature) for feature in signature.features]}
    asked = {wire.JSON: {"schema": schemas.ref("InferenceRequest"), "example": example}}
    operation["requestBody"] = {"required": True, "content": asked}
    return operation


def _tensor(feature):
    value, datatype = schemas.json_value(feature, feature.example), v2.datatype_of(feature)
    data = [str(value) if datatype == "BYTES" else value]
    return {"name": feature.name, "shape": [1], "datatype": datatype, "data": data}
