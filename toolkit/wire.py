"""How is a body read, and an answer written?

>>> loads(b'{"Weight": 200}')
{'Weight': 200}
>>> dumps({"prediction": {"price": 3.5}})
b'{"prediction":{"price":3.5}}'
"""

import collections
import csv
import io
import json

import orjson

import mlib

JSON, CSV = "application/json", "text/csv"
PROBLEM = "application/problem+json"
READ_AS_JSON = {"", JSON, "application/x-www-form-urlencoded"}  # curl -d declares a form
MAX_ROWS = 10_000  # of one request: parsed, answered and written in well under a second


TITLES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
}


class Refused(mlib.Error):
    """What was asked cannot be read, or is too much.

    Attributes
    ----------
    status : int
        Of HTTP, one of `TITLES`.
    """

    def __init__(self, detail, status=400):
        super().__init__(detail)
        self.status = status


def loads(body):
    """Decode JSON by the letter: UTF-8, no NaN, no key twice in an object.

    Parameters
    ----------
    body : bytes

    Returns
    -------
    JSON value

    Raises
    ------
    Refused
        It is no such JSON, and why.
    """
    if not body:
        raise Refused("The body is empty; expected JSON.")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(f"The body is not JSON: {error}.") from error
    if body.count(b":") != _keys(value):  # as many colons as keys: no key was there twice
        _refuse_twins(body)
    return value


def _keys(value):
    """Count the keys of a row, or of a list of rows."""
    if isinstance(value, dict):
        return len(value)
    is_rows = isinstance(value, list) and set(map(type, value)) == {dict}
    return sum(map(len, value)) if is_rows else 0


def _refuse_twins(body):
    def refuse(pairs):
        made = dict(pairs)
        if len(made) < len(pairs):
            twice = collections.Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise Refused(f"The body has the key {json.dumps(twice)[:80]} twice in one object; expected it once.")
        return made

    try:
        json.loads(body, object_pairs_hook=refuse)
    except (ValueError, RecursionError) as error:  # what orjson reads and Python does not: thousands of digits
        raise Refused("The body is not JSON that can be read: a number or its depth is beyond limits.") from error


def dumps(document):
    """Encode as JSON.

    Parameters
    ----------
    document : JSON-able

    Returns
    -------
    bytes
    """
    try:
        return orjson.dumps(document)
    except TypeError:  # a whole number of more than 64 bits, as a category may be
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def answer(rows, model, max_rows, interval=False):
    """Answer a decoded body: the published contract.

    Parameters
    ----------
    rows : JSON value
        A row, such as ``{"Weight": 200}``, or a list of rows.
    model : mlib.Model
    max_rows : int
        How many are answered at most.
    interval : bool
        Add the prediction interval.

    Returns
    -------
    document : dict
        ``{"prediction": {...}}`` of a row, ``{"predictions": [...]}`` of a list.
    answers : list of dict
        What stands in it.

    Raises
    ------
    Refused
        It is neither a row nor a list of rows, or there are too many rows.
    mlib.InputError
        A row cannot be answered.
    """
    if isinstance(rows, dict):
        prediction = mlib.predict(rows, model, interval)
        return {"prediction": prediction}, [prediction]
    example = json.dumps(model.signature.example())
    if not isinstance(rows, list):
        raise Refused(f"The body is {_begins(rows)}; expected {example}.")
    if not rows:
        raise Refused(f"The list is empty; expected objects such as {example}.")
    if len(rows) > max_rows:
        raise Refused(f"The body has {len(rows):,} rows; at most {max_rows:,} are answered at once.", 413)
    if set(map(type, rows)) != {dict}:
        number, row = next((i, row) for i, row in enumerate(rows, start=1) if not isinstance(row, dict))
        raise Refused(f"Row {number} is {_begins(row)}; expected an object such as {example}.")
    predictions = mlib.predict(rows, model, interval)
    return {"predictions": predictions}, predictions


def _begins(value):
    try:
        return json.dumps(value)[:80]
    except RecursionError:  # orjson reads deeper than Python 3.11 writes
        return mlib.shown(value)


def wants_interval(asked, signature):
    """Tell whether the prediction interval is asked for.

    Parameters
    ----------
    asked : str or None
        ``interval`` of the address: ``true`` or ``false``.
    signature : mlib.Signature

    Returns
    -------
    bool

    Raises
    ------
    Refused
        It is another word, or the model has no interval.
    """
    if asked not in ("true", "false", None):
        raise Refused(f"interval is {str(asked)[:80]!r}, expected true or false.")
    if asked == "true" and not (signature.interval and signature.interval["half_width"] is not None):
        raise Refused("This model has no prediction interval: it answers classes, or too few rows were held out.")
    return asked == "true"


def csv_rows(body, signature, is_headless=False):
    """Decode rows of CSV.

    Parameters
    ----------
    body : bytes
        UTF-8, with a header line that names the features.
    signature : mlib.Signature
    is_headless : bool
        Whether the header may be absent; the fields are then the features, in their order.

    Returns
    -------
    list of dict
        As `mlib.predict` takes them.

    Raises
    ------
    Refused
        It is no CSV, or has no row.
    mlib.InputError
        The header names what is no feature, or lacks one.
    """
    try:
        return mlib.parse_csv(body, signature, "The body", is_headless)
    except mlib.DataError as error:
        raise Refused(str(error)) from error


def csv_answers(answers):
    """Write answers as CSV with a header: a column a key, and a column a class's probability.

    Parameters
    ----------
    answers : list of dict
        As `mlib.predict` gives them.

    Returns
    -------
    bytes
        The last column has the warnings, in words.
    """
    lines = []
    for each in answers:
        line = {}
        for key, value in each.items():
            if key in ("interval", "probabilities"):
                line |= {f"{key}_{name}": number for name, number in value.items()}
            elif key != "warnings":
                line[key] = value
        line["warnings"] = "; ".join(map(mlib.problem_text, each.get("warnings", [])))
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def problem(status, title, detail, errors=(), **members):
    """Make a problem document.

    Parameters
    ----------
    status : int
    title, detail : str
        The status in words, and what was wrong this time.
    errors : sequence of dict
        ``field``, ``got``, ``expected`` of each, and ``row`` where there were several.
    members : JSON values
        What else belongs in it.

    Returns
    -------
    bytes

    Source
    ------
    RFC 9457, Problem Details for HTTP APIs.
    """
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "errors": list(errors)}
    return dumps(document | members) + b"\n"
