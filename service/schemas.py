"""What can a row be, and an answer? As JSON Schema, from the model's signature.

A row that is valid by its schema is answered, any other is refused. Of tensors the schema has the plainest form, and a
description the others; so too what JSON Schema cannot say (that a tensor's shape tells how many its data are).

>>> row(mlib.Signature.read())["required"]
['Weight']

Source
------
JSON Schema 2020-12; RFC 9457, Problem Details for HTTP APIs; Open Inference Protocol, specification/protocol/
inference_rest.md (github.com/kserve/open-inference-protocol).
"""

import json
import math

import mlib
from service import v2

WORDS = ["true", "false", "yes", "no", "y", "n", "t", "f", "on", "off"]  # as tables write true and false
FLOATS = ["FP64", "FP32", "FP16"]
NEVER = {"not": {}}  # what `false` says, too, which many generators of clients cannot read
NOT_OFFERED = dict.fromkeys(v2.NOT_OFFERED, NEVER)


def components(signature, max_rows):
    """Make the schemas that the OpenAPI document names.

    Parameters
    ----------
    signature : mlib.Signature
    max_rows : int
        Rows of a request that are taken at most.

    Returns
    -------
    dict of str to dict
    """
    return {
        "Row": row(signature),
        "Rows": {"type": "array", "items": ref("Row"), "minItems": 1, "maxItems": max_rows},
        "Answer": answer(signature),
        "Prediction": _object({"prediction": ref("Answer")}),
        "Predictions": _object({"predictions": {"type": "array", "items": ref("Answer"), "minItems": 1}}),
        "Complaint": complaint(),
        "Problem": problem(),
        **tensors(signature, max_rows),
    }


def ref(name):
    """Refer to a schema of `components`.

    Parameters
    ----------
    name : str

    Returns
    -------
    dict
    """
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties, optional=(), **more):
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def _array(items, **more):
    return {"type": "array", "items": items, **more}


# ---------------------------------------------------------------------------------------------------- the rows


def row(signature):
    """Describe a row: a property a feature, and no other.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    dict
    """
    properties = {feature.name: _described(feature) for feature in signature.features}
    optional = {feature.name for feature in signature.features if feature.missing}
    return _object(properties, optional, additionalProperties=False, examples=[example(signature)])


def example(signature):
    """Make a row that is answered.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    dict of str to JSON value
        The signature's example, its times as the schema has them.
    """
    return {feature.name: json_value(feature, feature.example) for feature in signature.features}


def json_value(feature, value):
    """Write a value as the schema has it.

    Parameters
    ----------
    feature : mlib.Signature's Column
    value : JSON value
        As the feature says it.

    Returns
    -------
    JSON value
        The same, but times with seconds and a zone, as RFC 3339 wants them; the signature has UTC.
    """
    if feature.kind == "date" and "T" in value:
        return f"{value}{':00' if value.count(':') == 1 else ''}Z"
    return value


def _described(feature):
    texts = {
        "number": f"{feature.possible}.",
        "boolean": "Words may have capitals.",
        "category": "",  # the values say it
        "date": f"{feature.possible}. A time without a zone is UTC.",
    }
    told = {"description": texts[feature.kind]} if texts[feature.kind] else {}
    return {**_values(feature), **told, "examples": [json_value(feature, feature.example)]}


def _values(feature, is_tensor=False):
    """Say what a feature's values can be."""
    make = {"number": _numbers, "boolean": _booleans, "category": _categories, "date": _dates}[feature.kind]
    schema = make(feature, is_tensor)
    if not feature.missing:
        return schema
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    if "anyOf" in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def _numbers(feature, _):
    low, high = feature.bounds
    limits = {"exclusiveMinimum": low, "exclusiveMaximum": high}
    return {"type": "number"} | {name: limit for name, limit in limits.items() if math.isfinite(limit)}


def _booleans(_, is_tensor):
    if is_tensor:
        return {"type": "boolean"}
    words = {"type": "string", "enum": WORDS}  # generators of clients want an enum of one type
    return {"anyOf": [{"type": "boolean"}, {"type": "integer", "enum": [0, 1]}, words]}


def _categories(feature, is_tensor):
    """Say which categories there are; where the table has a number as text, as in 1 and none, the number does too."""
    categories = feature.categories
    if is_tensor and v2.datatype_of(feature) == "BYTES":
        return {"enum": feature.texts}
    also = [] if is_tensor else [_of_text(value) for value in categories if isinstance(value, str)]
    return {"enum": [*categories, *(value for value in also if value is not None)]}


def _of_text(text):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_other = isinstance(value, (bool, int, float)) and math.isfinite(value) and mlib.category_text(value) == text
    return value if is_other else None


def _dates(*_):
    return {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}


# ------------------------------------------------------------------------------------------------- the answers


def answer(signature):
    """Describe the answer to a row.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    dict
    """
    target = signature.target
    if signature.task == "classification":
        probability = {"type": "number", "minimum": 0, "maximum": 1}
        properties = {
            signature.answer: {"enum": target.categories, "description": "The most probable class."},
            "probabilities": _object(dict.fromkeys(target.texts, probability), description="Of each class, in all 1."),
        }
    else:
        unit = f", {target.unit}" if target.unit else ""
        properties = {
            signature.answer: {"type": "number", "description": f"{target.name}{unit}; {target.range} in training."}
        }
    if signature.human:
        properties[signature.human] = {"type": "string", "description": "The same in words."}
    if has_interval(signature):
        number = {"type": "number"}
        interval = _object({"low": number, "high": number, "coverage": number})
        properties["interval"] = {**interval, "description": "The prediction interval, where it was asked for."}
    warnings = {**_array(ref("Complaint")), "description": "Values that lie outside what training saw."}
    return _object({**properties, "warnings": warnings}, optional=("interval", "warnings"))


def has_interval(signature):
    """Tell whether a model has a prediction interval.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    bool
    """
    return bool(signature.interval) and signature.interval["half_width"] is not None


def complaint():
    """Describe what is said of one value, in errors and in warnings.

    Returns
    -------
    dict
    """
    row_number = {"type": "integer", "minimum": 1, "description": "Which row, of several."}
    got = {"type": ["null", "boolean", "number", "string"], "description": "What it was; long ones are cut."}
    text = {"type": "string"}
    return _object({"row": row_number, "field": text, "got": got, "expected": text}, optional=("row",))


def problem():
    """Describe a problem document.

    Returns
    -------
    dict
    """
    properties = {
        "type": {"const": "about:blank"},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What was wrong this time."},
        "errors": _array(ref("Complaint"), description="A value each, where values were wrong."),
        "error": {"type": "string", "description": "The detail again, where clients of /v2 look for it."},
    }
    return _object(properties, optional=("error",))


# -------------------------------------------------------------------------------------- Open Inference Protocol


def tensors(signature, max_rows):
    """Describe what the Open Inference Protocol sends to and fro.

    Parameters
    ----------
    signature : mlib.Signature
    max_rows : int
        Rows of a request that are taken at most.

    Returns
    -------
    dict of str to dict
    """
    text, texts = {"type": "string"}, _array({"type": "string"})
    inputs = [_input(feature, max_rows) for feature in signature.features]
    asked = _object(
        {
            "inputs": {"type": "array", "prefixItems": inputs, "minItems": len(inputs), "maxItems": len(inputs)},
            "outputs": _array(_wanted(signature), type=["array", "null"], description="All, unless told."),
            "id": {"type": ["string", "null"]},
            "parameters": _parameters({"binary_data_output": {"type": "boolean"}}),
        },
        optional=("outputs", "id", "parameters"),
    )
    told = _object(
        {
            "model_name": text,
            "model_version": text,
            "id": {**text, "description": "That of the request."},
            "parameters": _object({"warnings": text}),
            "outputs": _array({"anyOf": [_output(output) for output in v2.outputs_of(signature)]}),
        },
        optional=("id", "parameters"),
    )
    tensor = _object({"name": text, "datatype": text, "shape": _array({"type": "integer"})})
    metadata = {"name": text, "versions": texts, "platform": text, "inputs": _array(tensor), "outputs": _array(tensor)}
    return {
        "InferenceRequest": asked,
        "InferenceResponse": told,
        "ModelMetadata": _object(metadata),
        "ServerMetadata": _object({"name": text, "version": text, "extensions": texts}),
    }


def _input(feature, max_rows):
    """Describe the tensor of a feature."""
    datatype = v2.datatype_of(feature)
    rows = {"type": "integer", "minimum": 1, "maximum": max_rows}
    return _object(
        {
            "name": {"const": feature.name},
            "shape": {"type": "array", "prefixItems": [rows, {"const": 1}], "minItems": 1, "maxItems": 2},
            "datatype": {"enum": FLOATS} if datatype == "FP64" else {"const": datatype},
            "data": _array(_values(feature, is_tensor=True), minItems=1, maxItems=max_rows),
            "parameters": _parameters({"binary_data_size": NEVER}),
        },
        optional=("parameters",),
    )


def _wanted(signature):
    names = {"enum": [output["name"] for output in v2.outputs_of(signature)]}
    parameters = _parameters({"binary_data": {"type": "boolean"}})
    return _object({"name": names, "parameters": parameters}, optional=("parameters",))


def _parameters(properties):
    return {"type": ["object", "null"], "properties": {**properties, **NOT_OFFERED}}


def _output(output):
    kind = {"FP64": {"type": "number"}, "INT64": {"type": "integer"}, "BOOL": {"type": "boolean"}}
    return _object(
        {
            "name": {"const": output["name"]},
            "datatype": {"const": output["datatype"]},
            "shape": _array({"type": "integer"}),
            "data": _array(kind.get(output["datatype"], {"type": "string"})),
            "parameters": {"type": "object"},
        },
        optional=("data", "parameters"),
    )
