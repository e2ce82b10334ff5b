"""How do the clients of KServe and Triton ask? By the Open Inference Protocol (V2 over REST), JSON or binary.

    curl localhost:8080/v2/models/htwtmlb-height/infer \
      -d '{"inputs": [{"name": "Weight", "shape": [1], "datatype": "FP64", "data": [200]}]}'

A feature is a tensor of its name, of shape [rows] or [rows, 1]: numbers of any datatype, text and dates BYTES, true and
false BOOL. Where all features are numbers, one tensor of shape [rows, features] under any other name does too, as
MLServer has it. What is missing is null in JSON, and NaN or an empty text in binary data. The outputs are the keys of
the answer to /predict; the classes' names stand in the parameters of their ``probabilities``, and warnings in those of
the response.

Source
------
Open Inference Protocol, specification/protocol/inference_rest.md (github.com/kserve/open-inference-protocol), with the
parameters, tensor data and datatypes of KServe's docs/predict-api/v2/required_api.md, where these are defined.
Binary Tensor Data Extension, docs/protocol/extension_binary_data.md (github.com/triton-inference-server/server).
"""

import itertools
import json
import math
import struct

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import BadRequest, NotFound, RequestEntityTooLarge

import mlib
from toolkit import wire

HEAD_LENGTH = "Inference-Header-Content-Length"  # of the JSON that stands before the binary data
CODES = {  # struct's, for the datatypes of a fixed size
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
FLOATS = ("FP16", "FP32", "FP64")
WHOLE = {f"INT{bits}": range(-(2 ** (bits - 1)), 2 ** (bits - 1)) for bits in (8, 16, 32, 64)}
WHOLE |= {f"UINT{bits}": range(2**bits) for bits in (8, 16, 32, 64)}
IN_JSON = {str: ("BYTES",), bool: ("BOOL",), float: FLOATS, int: (*FLOATS, *WHOLE)}  # what may be declared as what
NOT_OFFERED = ("classification", "shared_memory_region")  # parameters of extensions that would change the answer
MOST_WARNINGS = 100  # are told of many


def routes(current, max_rows):
    """Make the protocol's routes.

    Parameters
    ----------
    current : function
        Of nothing, to the mlib.Model that answers this request.
    max_rows : int
        So many rows a request may have.

    Returns
    -------
    flask.Blueprint
        After a prediction ``flask.g.predicted`` is how many rows it had, and how many of them a warning.
    """
    blueprint = Blueprint("v2", __name__)

    def model_of(name, version):
        model = current()
        signature = model.signature
        if name != signature.name:
            raise NotFound(f"There is no model {_told(name)}; the one here is {signature.name}.")
        if version not in (None, signature.version):
            raise NotFound(f"{signature.name} has no version {_told(version)}; the one here is {signature.version}.")
        return model

    @blueprint.get("/v2", strict_slashes=False)
    def server():
        version = current().signature.version
        return {"name": "mlops-cookbook", "version": version, "extensions": ["binary_tensor_data"]}

    @blueprint.get("/v2/health/live")
    def is_live():
        return {"live": True}

    @blueprint.get("/v2/health/ready")
    def is_ready():
        return {"ready": True}

    @blueprint.get("/v2/models/<name>")
    @blueprint.get("/v2/models/<name>/versions/<version>")
    def metadata(name, version=None):
        model = model_of(name, version)
        inputs = [_tensor(column.name, datatype_of(column)) for column in model.signature.features]
        return {
            "name": name,
            "versions": [model.signature.version],
            "platform": "onnx_onnxv1" if model.form == "onnx" else "sklearn",
            "inputs": inputs,
            "outputs": outputs_of(model.signature),
        }

    @blueprint.get("/v2/models/<name>/ready")
    @blueprint.get("/v2/models/<name>/versions/<version>/ready")
    def is_model_ready(name, version=None):
        model_of(name, version)
        return {"name": name, "ready": True}

    @blueprint.post("/v2/models/<name>/infer")
    @blueprint.post("/v2/models/<name>/versions/<version>/infer")
    def infer(name, version=None):
        model = model_of(name, version)
        signature = model.signature
        asked, binary = _request()
        wanted = _wanted(asked, outputs_of(signature))
        answers = mlib.predict(_rows(asked, binary, signature, max_rows), model)
        warnings = [
            mlib.problem_text({"row": row, **warning} if len(answers) > 1 else warning)
            for row, answer in enumerate(answers, start=1)
            for warning in answer.get("warnings", ())
        ]
        told = {"model_name": name, "model_version": signature.version}
        if asked.get("id") is not None:
            told["id"] = asked["id"]
        if warnings:
            more = [f"and {len(warnings) - MOST_WARNINGS} more"] if len(warnings) > MOST_WARNINGS else []
            told["parameters"] = {"warnings": "; ".join(warnings[:MOST_WARNINGS] + more)}
        g.predicted = len(answers), sum("warnings" in answer for answer in answers)
        return _response(told, wanted, answers)

    return blueprint


# ----------------------------------------------------------------------------------------------- what is asked


def _request():
    """Take the body to pieces: the JSON object, and the binary data behind it."""
    body, length = request.get_data(), request.headers.get(HEAD_LENGTH)
    if request.max_content_length and len(body) >= request.max_content_length:
        raise RequestEntityTooLarge()  # one without a length, of which no more was read
    if length is None:
        length = str(len(body))
    if not (length.isascii() and length.isdigit() and len(length) < 20 and int(length) <= len(body)):
        raise BadRequest(f"{HEAD_LENGTH} is {_told(length)}; expected a number up to {len(body)}, the body's length.")
    asked = wire.loads(body[: int(length)])
    if not isinstance(asked, dict):
        raise BadRequest(f"The body is {_told(asked)}; expected an object with inputs.")
    if not isinstance(asked.get("id"), str | None):
        raise BadRequest(f"The id is {_told(asked['id'])}; expected a text.")
    return asked, memoryview(body)[int(length) :]


def _named(asked, key):
    """The request's inputs or outputs by their names."""
    named, tensors = {}, asked.get(key)
    if not isinstance(tensors, list | None):
        raise BadRequest(f"{key} is {_told(tensors)}; expected a list of objects, each with a name.")
    for tensor in tensors or ():
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str):
            raise BadRequest(
                f"One of the {key} is {_told(tensor)} with the name {_told(name)}; expected a text as name."
            )
        if name in named:
            raise BadRequest(f"Two of the {key} have the name {_told(name)}; expected each once.")
        named[name] = tensor
    return named


def _parameters(owner, label):
    parameters = owner.get("parameters")
    if not isinstance(parameters, dict | None):
        raise BadRequest(f"{label} has the parameters {_told(parameters)}; expected an object.")
    for name in NOT_OFFERED:
        if name in (parameters or {}):
            raise BadRequest(f"{label} has the parameter {name}, of an extension that is not offered here.")
    return parameters or {}


def _flag(parameters, key, default):
    flag = parameters.get(key, default)
    if not isinstance(flag, bool):
        raise BadRequest(f"The parameter {key} is {_told(flag)}; expected true or false.")
    return flag


def _wanted(asked, outputs):
    """The outputs that are asked for, all of them unless told, each with whether it is to be binary."""
    all_binary = _flag(_parameters(asked, "The request"), "binary_data_output", False)
    offered = {output["name"]: output for output in outputs}
    named = _named(asked, "outputs") or {name: {} for name in offered}
    for name in named:
        if name not in offered:
            raise BadRequest(f"There is no output {_told(name)}; expected {' or '.join(offered)}.")
    return [
        (offered[name], _flag(_parameters(output, f"The output {name}"), "binary_data", all_binary))
        for name, output in named.items()
    ]


def _rows(asked, binary, signature, max_rows):
    """The rows that the inputs hold; whether these can be, the signature says."""
    names = [feature.name for feature in signature.features]
    are_numbers = all(feature.kind == "number" for feature in signature.features)
    inputs, columns, rows = _named(asked, "inputs"), {}, None
    if not inputs:
        raise BadRequest(f"There are no inputs; expected {', '.join(names)}.")
    for name, tensor in inputs.items():
        label, shape = f"The input {_told(name)}", tensor.get("shape")
        has_two = isinstance(shape, list) and len(shape) == 2
        held = names if has_two and are_numbers and len(inputs) == 1 and name not in names else [name]
        rows = _check_shape(shape, len(held), rows, max_rows, label)
        values, binary = _values(tensor, rows, len(held), binary, label)
        columns.update((column, values[place :: len(held)]) for place, column in enumerate(held))
    if binary:
        raise BadRequest(f"{len(binary)} bytes follow the data of the last input; expected none.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _check_shape(shape, width, rows, max_rows, label):
    """How many rows the shape has: as many as the inputs before it, where there are any."""
    is_list = isinstance(shape, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in shape)
    allowed = ([], [1]) if width == 1 else ([width],)
    if not is_list or not shape or shape[0] < 1 or shape[1:] not in allowed:
        expected = f"[rows, {width}]" if width > 1 else "[rows] or [rows, 1]"
        raise BadRequest(f"{label} has the shape {_told(shape)}; expected {expected}, with rows of 1 to {max_rows:,}.")
    if shape[0] > max_rows:
        raise RequestEntityTooLarge(f"{label} has {shape[0]:,} rows; expected at most {max_rows:,} in a request.")
    if shape[0] != (rows or shape[0]):
        raise BadRequest(f"{label} has {shape[0]} rows; expected {rows}, as the input before it.")
    return shape[0]


def _values(tensor, rows, width, binary, label):
    """A tensor's elements, row after row, None where one is missing; and the binary data that is left."""
    datatype, data, parameters = tensor.get("datatype"), tensor.get("data"), _parameters(tensor, label)
    if not isinstance(datatype, str) or datatype not in (*CODES, "BYTES"):
        raise BadRequest(f"{label} has the datatype {_told(datatype)}; expected one of {', '.join(CODES)}, BYTES.")
    if "binary_data_size" not in parameters:
        return _json_values(data, datatype, rows, width, label), binary
    size = parameters["binary_data_size"]
    if data is not None:
        raise BadRequest(f"{label} has data and the parameter binary_data_size; expected one of them.")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary):
        raise BadRequest(f"{label} has the binary_data_size {_told(size)}; {len(binary)} bytes follow ({HEAD_LENGTH}).")
    read = _texts if datatype == "BYTES" else _numbers
    return read(binary[:size], datatype, rows * width, label), binary[size:]


def _json_values(data, datatype, rows, width, label):
    if isinstance(data, list) and all(isinstance(row, list) and len(row) == width for row in data):
        data = list(itertools.chain.from_iterable(data))
    if not isinstance(data, list) or len(data) != rows * width:
        got = f"{len(data)} elements" if isinstance(data, list) else _told(data)
        raise BadRequest(f"{label} has as data {got}; expected {rows * width} elements, as its shape says.")
    for value in data:
        if value is not None and not _fits(value, datatype):
            raise BadRequest(f"{label} has {_told(value)} in its data; expected {datatype}, as its datatype says.")
    return data


def _fits(value, datatype):
    return datatype in IN_JSON.get(type(value), ()) and value in WHOLE.get(datatype, (value,))


def _numbers(blob, datatype, count, label):
    code = f"<{count}{CODES[datatype]}"
    if len(blob) != struct.calcsize(code):
        expected = f"{struct.calcsize(code)}, for {count} of {datatype}"
        raise BadRequest(f"{label} has {len(blob)} bytes of binary data; expected {expected}.")
    if datatype == "BOOL" and max(blob) > 1:
        raise BadRequest(f"{label} has the byte {max(blob)} in its binary data; expected 0 or 1.")
    values = struct.unpack(code, blob)
    return [None if math.isnan(value) else value for value in values] if datatype in FLOATS else values


def _texts(blob, datatype, count, label):
    values, at = [], 0
    try:
        while at < len(blob):
            (length,) = struct.unpack_from("<I", blob, at)
            (text,) = struct.unpack_from(f"<{length}s", blob, at + 4)
            values.append(text.decode() or None)
            at += 4 + length
    except struct.error as error:
        raise BadRequest(f"{label} ends within an element; expected {datatype}, each after its length.") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{label} has an element that is not UTF-8.") from error
    if len(values) != count:
        raise BadRequest(f"{label} has {len(values)} elements in its binary data; expected {count}.")
    return values


# -------------------------------------------------------------------------------------------- what is answered


def _tensor(name, datatype, *width):
    return {"name": name, "datatype": datatype, "shape": [-1, *width]}


def datatype_of(column):
    """Tell the datatype of a column's values.

    Parameters
    ----------
    column : mlib.Signature's Column

    Returns
    -------
    str
    """
    if column.kind != "category":
        return {"number": "FP64", "boolean": "BOOL"}.get(column.kind, "BYTES")
    values = column.categories
    if all(isinstance(value, bool) for value in values):
        return "BOOL"
    if any(isinstance(value, (bool, str)) or abs(value) >= 2**63 for value in values):
        return "BYTES"
    return "INT64" if all(isinstance(value, int) for value in values) else "FP64"


def outputs_of(signature):
    """Tell what a model answers, as the metadata have it.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    list of dict
    """
    answer = _tensor(signature.answer, datatype_of(signature.target))
    if signature.task == "classification":
        names = signature.target.texts
        classes = {"classes": json.dumps(names, ensure_ascii=False)}  # a parameter is one text or number
        return [answer, {**_tensor("probabilities", "FP64", len(names)), "parameters": classes}]
    return [answer, _tensor(signature.human, "BYTES")] if signature.human else [answer]


def _response(told, wanted, answers):
    """Answer the outputs that are wanted, in JSON or behind it."""
    told["outputs"], blobs = [], []
    for output, is_binary in wanted:
        values = [answer[output["name"]] for answer in answers]
        if output["name"] == "probabilities":
            values = [probability for row in values for probability in row.values()]
        convert = {"BYTES": str, "FP64": float}.get(output["datatype"], lambda value: value)
        values = [convert(value) for value in values]
        tensor = {**output, "shape": [len(answers), *output["shape"][1:]]}
        if is_binary:
            blobs.append(_packed(values, output["datatype"]))
            tensor["parameters"] = {**output.get("parameters", {}), "binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = values
        told["outputs"].append(tensor)
    head = wire.dumps(told)
    if not blobs:
        return Response(head, mimetype="application/json")
    return Response(b"".join([head, *blobs]), mimetype="application/octet-stream", headers={HEAD_LENGTH: len(head)})


def _packed(values, datatype):
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(values)}{CODES[datatype]}", *values)


def _told(value):
    """A value as an error has it: short, and in one line."""
    is_short = isinstance(value, list) and len(value) <= 8
    return json.dumps([mlib.shown(part) for part in value] if is_short else mlib.shown(value), ensure_ascii=False)
