"""What does the model answer on AWS Lambda?

>>> lambda_handler({"Weight": 200}, None)["body"]
'{"prediction":{"height_inches":73.23,"height_human_readable":"6 foot, 1 inches"}}'

An event is a row, a list of rows, or a request as API Gateway (REST and HTTP APIs), function URLs and Application Load
Balancers hand it over. A request that is refused is answered by problem details, with 400 whatever was wrong in its
rows. Of any other event that is refused an error is raised, so that Lambda counts it. It tells the fields and what was
expected of them, and not what they held, as Lambda writes it into the log.

Source
------
docs.aws.amazon.com: "Set up Lambda proxy integrations in API Gateway", "Create AWS Lambda proxy integrations for HTTP
APIs", "Invoking Lambda function URLs", "Lambda functions as targets of Application Load Balancers".
"""

import base64
import json
import logging
import os
import time

import mlib
from toolkit import wire

log = logging.getLogger(__name__)
if not os.environ.get("AWS_LAMBDA_LOG_LEVEL"):  # ApplicationLogLevel, which Lambda's client has set
    log.setLevel(logging.INFO)

MODEL = mlib.load_model()  # once a process, while Lambda initialises it
ROUTES = {"/predict": "POST", "/health/live": "GET", "/health/ready": "GET", "/model": "GET"}
OTHER = "(other)"  # in the log: it might be anything
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PARTS = {"httpMethod": str, "path": str, "rawPath": str}  # of requests, where they have them
PARTS |= dict.fromkeys(["headers", "multiValueHeaders"], dict)
PARTS |= dict.fromkeys(["queryStringParameters", "multiValueQueryStringParameters"], dict)
SHOWN_PROBLEMS = 5
LARGEST_ANSWER = 6_000_000  # bytes: Lambda takes 6 MB, with what is around
LARGEST_BEHIND_ALB = 1_000_000  # bytes: a load balancer takes 1 MB


class RefusedError(Exception):
    """An event that is no request, no row of the model and no list of rows."""


def lambda_handler(event, context):  # pylint: disable=unused-argument  # Lambda gives it
    """Answer an event.

    Parameters
    ----------
    event : JSON value
        A row, such as ``{"Weight": 200}`` (pounds), a list of rows, or a request.
    context : object
        Lambda's, of this invocation.

    Returns
    -------
    dict
        ``statusCode``, ``headers``, ``body`` (JSON, as the web service answers) and ``isBase64Encoded``.

    Raises
    ------
    RefusedError
        The event is no request, and cannot be answered.
    """
    began = time.perf_counter()
    method, path = _asked(event)
    # A stage or a base path may stand before the route; it is the gateway's.
    route = next((route for route in ROUTES if path.endswith(route)), OTHER)
    status, headers, answers = 200, {"Content-Type": wire.JSON, "X-Model-Version": MODEL.signature.version}, []
    try:
        if method is None:
            document, answers = wire.answer(event, MODEL, wire.MAX_ROWS)
        else:
            document, answers = _respond(event, method, path, route)
        body = _written(document, answers, LARGEST_BEHIND_ALB if _is_behind_alb(event) else LARGEST_ANSWER)
    except (mlib.InputError, wire.Refused) as error:
        if method is None:
            raise RefusedError(_without_values(error)) from None
        status, headers["Content-Type"] = getattr(error, "status", 400), wire.PROBLEM
        if status == 405:
            headers["Allow"] = ROUTES[route]
        body = wire.problem(status, wire.TITLES[status], str(error), getattr(error, "errors", ()))
    told = {"method": "INVOKE" if method is None else method if method in METHODS else OTHER}
    told |= {"route": route, "status": status, "rows": len(answers)}
    told |= {"warned": sum("warnings" in answer for answer in answers), "model_version": MODEL.signature.version}
    told["ms"] = round((time.perf_counter() - began) * 1000, 3)
    log.info("%s %s %d", told["method"], route, status, extra=told)
    answer = {"statusCode": status, "headers": headers, "body": body.decode(), "isBase64Encoded": False}
    if isinstance(event, dict) and "multiValueHeaders" in event:  # then a load balancer reads no others
        answer["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    return answer


def _asked(event):
    """Tell by which method and for what it is asked; None is no request. A body alone is one, unless it is a column."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    has_body = isinstance(event, dict) and "body" in event and "body" not in _names()
    if not isinstance(context, dict):
        context = {}
        if not has_body:
            return None, "/predict"
    for name, kind in PARTS.items():
        if not isinstance(event.get(name), kind | None):
            expected = {str: "a text", dict: "an object"}[kind]
            raise RefusedError(f"The event is like a request, but for its {name}; expected {expected}.")
    asked = context.get("http") or {}  # of HTTP APIs and function URLs
    if not isinstance(asked, dict) or not isinstance(asked.get("method"), str | None):
        raise RefusedError("The event is like a request, but for its requestContext.http; expected an object.")
    method = asked.get("method") or event.get("httpMethod") or "POST"
    return method, event.get("rawPath") or event.get("path") or "/predict"


def _respond(event, method, path, route):
    """Make what a request is answered with, and the predictions in it."""
    if route == OTHER:
        raise wire.Refused(f"There is nothing at {path[:80]}; expected one of {', '.join(ROUTES)}.", 404)
    if method != ROUTES[route]:
        raise wire.Refused(f"{route} does not answer {method[:20]}; expected {ROUTES[route]}.", 405)
    if route != "/predict":
        return _told(route), []
    rows = wire.loads(_body(event))
    interval = _sent(event, "interval", "queryStringParameters", "multiValueQueryStringParameters")
    return wire.answer(rows, MODEL, wire.MAX_ROWS, wire.wants_interval(interval, MODEL.signature))


def _sent(event, name, *parts):
    """Find a header, or a parameter of the query; a load balancer that sends lists sends nothing else."""
    pairs = next((event[part] for part in parts if event.get(part)), {})
    value = next((value for key, value in pairs.items() if key.lower() == name), None)
    return value[-1] if isinstance(value, list) and value else value


def _is_behind_alb(event):
    return isinstance(event, dict) and "elb" in (event.get("requestContext") or {})


def _written(document, answers, most):
    body = wire.dumps(document)
    # In Lambda's JSON it is a text: a byte becomes six at most.
    if len(body) * 6 > most and len(json.dumps(body.decode())) > most:
        raise wire.Refused(f"The answer to {len(answers):,} rows has more than {most:,} bytes; ask for fewer.", 413)
    return body


def _body(event):
    """Find the bytes that were sent."""
    encoding, declared = (
        str(_sent(event, name, "headers", "multiValueHeaders") or "") for name in ("content-encoding", "content-type")
    )
    if encoding not in ("", "identity"):
        raise wire.Refused(f"The body is encoded as {encoding[:80]!r}; expected it as it is.", 415)
    kind, _, parameters = declared.lower().partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    if kind.strip() not in wire.READ_AS_JSON or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise wire.Refused(f"The body is declared as {declared[:80]!r}; expected {wire.JSON}, UTF-8.", 415)
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise wire.Refused("The body of the event is no text; expected JSON as a text.")
    if event.get("isBase64Encoded"):
        try:
            return base64.b64decode(body, validate=True)
        except ValueError as error:
            raise wire.Refused(f"The body is declared as base64, and is none: {error}.") from error
    return body.encode(errors="surrogatepass")  # half of a pair is no UTF-8, which is told as any other


def _told(route):
    """Tell of health, or the model's card. A model that is loaded has reproduced its golden rows."""
    signature = MODEL.signature
    return {
        "/health/live": {"status": "live"},
        "/health/ready": {"status": "ready", "model": signature.name, "version": signature.version, "refused": None},
        "/model": signature.card,
    }[route]


def _names():
    return {feature.name for feature in MODEL.signature.features}


def _without_values(error):
    """Say what was expected, and nothing of what the event held."""
    if isinstance(error, wire.Refused) and error.status == 413:
        return str(error)
    if isinstance(error, wire.Refused):
        example = wire.dumps(MODEL.signature.example()).decode()
        return f"The event is no row and no list of 1 to {wire.MAX_ROWS:,} rows; expected {example}."
    names, texts = _names(), []
    for problem in error.errors[:SHOWN_PROBLEMS]:
        row = f"row {problem['row']}, " if "row" in problem else ""
        field = problem["field"] if problem["field"] in names else "an unknown field"
        texts.append(f"{row}{field}: expected {problem['expected']}")
    return "; ".join(texts) + ("; and more" if len(error.errors) > len(texts) else "")
