"""The HTTP service: ``python app.py``, then http://localhost:8080 in a browser, or ``./predict.sh``.

| route | answer |
| --- | --- |
| POST /predict | ``{"prediction": {...}}`` for a row, ``{"predictions": [...]}`` for a list of rows; JSON, or CSV |
| GET / | a page for people |
| GET /docs, /openapi.json | what can be asked, for people and for programs |
| GET /health/live, /health/ready | whether it runs, and whether its model answers |
| GET /model | the model's card |
| GET /metrics | counters, for Prometheus |
| GET /ping, POST /invocations | the same as SageMaker asks for it |
| /v2/... | the same as KServe and Triton ask for it |

Whatever is refused is answered with problem details (RFC 9457, application/problem+json).
"""

import os

import click
from flask import Flask, Response, g, request
from werkzeug.exceptions import (
    HTTPException,
    NotAcceptable,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

import mlib
from service import docs, front, openapi, page, v2
from service.journal import Journal
from service.live import Live
from service.metrics import CONTENT_TYPE, Metrics
from toolkit import console, wire

MAX_BODY = 1_000_000  # bytes: some 50,000 rows of one feature


def create_app(model_path=None, *, keys=(), max_body=MAX_BODY, max_rows=wire.MAX_ROWS):
    """Make the application, with its model loaded.

    Parameters
    ----------
    model_path : path, optional
        As for `mlib.load_model`.
    keys : sequence of str
        Bearer keys, one of which everything but health wants; none, and everybody is answered.
    max_body, max_rows : int
        Bytes and rows of a request that are taken at most.

    Returns
    -------
    flask.Flask

    Raises
    ------
    mlib.ModelError
        The model cannot be loaded.

    Examples
    --------
    >>> client = create_app().test_client()
    >>> client.post("/predict", json={"Weight": 200}).json
    {'prediction': {'height_inches': 73.23, 'height_human_readable': '6 foot, 1 inches'}}
    """
    metrics = Metrics()
    live = Live(model_path, metrics.show)
    journal = Journal(metrics)
    flask_app = Flask(__name__, template_folder="service/templates", static_folder="service/static")
    flask_app.config["MAX_CONTENT_LENGTH"] = max_body + 1  # of a body without a length it reads so much, and no more
    flask_app.json.sort_keys = False  # the published order
    flask_app.url_map.merge_slashes = False  # /health//live is not found, and no redirect
    flask_app.wsgi_app = front.Front(flask_app.wsgi_app, live, metrics, journal, keys, max_body, max_rows)

    @flask_app.route("/", methods=["GET", "POST"])  # a form of very many fields is sent as a body
    def home():
        html, status = page.render(current(), request.values, request.url_root, has_keys=bool(keys))
        return html, status, page.HEADERS

    @flask_app.post("/predict")
    def predict():
        return predicted(is_headless=False)

    @flask_app.post("/invocations")
    def invocations():
        return predicted(is_headless=True)

    def predicted(is_headless):
        wanted = _wanted()
        rows = _rows(max_body, is_headless)
        model = current()
        interval = wire.wants_interval(request.args.get("interval"), model.signature)
        document, answers = wire.answer(rows, model, max_rows, interval)
        g.predicted = len(answers), sum("warnings" in each for each in answers)
        if wanted == wire.CSV:
            return Response(wire.csv_answers(answers), content_type=wire.CSV + "; charset=utf-8")
        return Response(wire.dumps(document) + b"\n", content_type=wire.JSON)

    @flask_app.get("/health/live")
    def health_live():
        return {"status": "live"}

    @flask_app.get("/health/ready")
    @flask_app.get("/ping")
    def health_ready():
        """The model that is loaded has reproduced its golden rows, or it would not be."""
        signature = live.model.signature
        return {"status": "ready", "model": signature.name, "version": signature.version, "refused": live.refused}

    @flask_app.get("/model")
    def card():
        return Response(wire.dumps(current().signature.card) + b"\n", content_type=wire.JSON)

    def described():
        return openapi.document(current(), max_body=max_body, max_rows=max_rows, has_keys=bool(keys))

    @flask_app.get("/openapi.json")
    def openapi_document():
        return Response(wire.dumps(described()) + b"\n", content_type=wire.JSON)

    @flask_app.get("/docs")
    def docs_page():
        return docs.render(described(), request.url_root), page.HEADERS

    @flask_app.get("/metrics")
    def counters():
        journal.count()
        return Response(metrics.text(), content_type=CONTENT_TYPE)

    @flask_app.before_request
    def begin():
        request.environ[front.ROUTE] = request.url_rule.rule if request.url_rule else front.OTHER_ROUTE
        if request.headers.get("Content-Encoding", "identity") != "identity":
            encoding = request.headers["Content-Encoding"][:80]
            raise UnsupportedMediaType(f"The body is encoded as {encoding!r}; expected it as it is.")

    @flask_app.after_request
    def count(response):
        if "predicted" in g:
            metrics.predicted(*g.predicted)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response

    @flask_app.errorhandler(mlib.InputError)
    def refuse(error):
        return problem(422, "Unprocessable Content", str(error), error.errors)

    @flask_app.errorhandler(wire.Refused)
    def refuse_reading(error):
        return problem(error.status, wire.TITLES[error.status], str(error))

    @flask_app.errorhandler(HTTPException)
    def http_error(error):
        detail = error.description
        if detail == RequestEntityTooLarge.description:  # werkzeug's own, which does not know the limit
            detail = f"The body has more than {max_body:,} bytes, the most that are taken."
        if error.code == 405:
            allowed = ", ".join(sorted(error.valid_methods or ()))
            detail = f"{request.path[:80]} does not answer {request.method[:20]}; expected one of {allowed}."
        if detail == NotFound.description:
            detail = f"There is nothing at {request.path[:80]}; /docs lists what there is."
        response = problem(error.code, error.name, detail)
        response.headers.extend({k: v for k, v in error.get_headers() if k not in ("Content-Type", "Content-Length")})
        return response

    flask_app.register_blueprint(v2.routes(current, max_rows))
    return flask_app


def current():
    """Tell which model answers this request; another may take its place meanwhile.

    Returns
    -------
    mlib.Model
    """
    return request.environ[front.MODEL]


def problem(status, title, detail, errors=()):
    """Make a problem document of what happened.

    Parameters
    ----------
    status : int
    title, detail : str
        The status in words, and what was wrong this time.
    errors : sequence of dict
        As of `mlib.InputError`.

    Returns
    -------
    flask.Response
    """
    members = {"error": detail} if request.path.startswith("/v2") else {}  # where V2 clients look for it
    return Response(wire.problem(status, title, detail, errors, **members), status, content_type=wire.PROBLEM)


def _wanted():
    """Tell what the answer is to be written as; without a preference as the question."""
    asked = wire.CSV if request.mimetype == wire.CSV else wire.JSON
    other = wire.JSON if asked == wire.CSV else wire.CSV
    accepted = request.accept_mimetypes
    plain = type(accepted)((kind.partition(";")[0].strip(), quality) for kind, quality in accepted)  # no charset
    wanted = plain.best_match([asked, other]) if accepted else asked
    if wanted is None:
        accept = request.headers["Accept"][:80]
        raise NotAcceptable(f"Answers are {wire.JSON} or {wire.CSV}; the request accepts {accept!r}.")
    return wanted


def _rows(max_body, is_headless):
    """Decode the request's body."""
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype not in {*wire.READ_AS_JSON, wire.CSV} or charset not in ("utf-8", "utf8", "us-ascii"):
        declared = request.headers["Content-Type"][:80]
        raise UnsupportedMediaType(f"The body is declared as {declared!r}; expected {wire.JSON} or {wire.CSV}, UTF-8.")
    body = request.get_data()
    if len(body) > max_body:
        raise RequestEntityTooLarge()
    if request.mimetype == wire.CSV:
        return wire.csv_rows(body, current().signature, is_headless)
    return wire.loads(body)


def settings(environ):
    """Read what the environment says of the service.

    Parameters
    ----------
    environ : mapping of str to str
        ``MLOPS_API_KEYS``, keys with commas between; ``MLOPS_MAX_BODY``, bytes; ``MLOPS_MAX_ROWS``.

    Returns
    -------
    dict
        As `create_app` takes them.

    Raises
    ------
    mlib.OptionError
        A value cannot be.
    """
    given = environ.get("MLOPS_API_KEYS", "")
    keys = [key.strip() for key in given.split(",") if key.strip()]
    if given and not (keys and all(key.isascii() and key.isprintable() for key in keys)):
        raise mlib.OptionError(
            "MLOPS_API_KEYS has no usable key; expected keys of printable ASCII characters, with commas between."
        )
    limits = {"MLOPS_MAX_BODY": MAX_BODY, "MLOPS_MAX_ROWS": wire.MAX_ROWS}
    for name, usual in limits.items():
        text = environ.get(name) or str(usual)
        if not (text.isdecimal() and len(text) < 12 and int(text)):
            raise mlib.OptionError(f"{name} is {text[:80]!r}, expected a whole number above 0.")
        limits[name] = int(text)
    return {"keys": keys, "max_body": limits["MLOPS_MAX_BODY"], "max_rows": limits["MLOPS_MAX_ROWS"]}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--host", envvar="HOST", default="127.0.0.1", show_default=True, show_envvar=True, help="Address to listen at."
)
@click.option(
    "--port",
    envvar="PORT",
    default=8080,
    show_default=True,
    show_envvar=True,
    type=click.IntRange(0, 65535),
    help="0 takes a free one.",
)
@click.option(
    "--workers",
    envvar="WEB_CONCURRENCY",
    default=1,
    show_default=True,
    show_envvar=True,
    type=click.IntRange(1),
    help="Processes.",
)
def main(host, port, workers):
    """Serve the model over HTTP.

    In the environment, MLOPS_MODEL names the model, MLOPS_API_KEYS the bearer keys (commas between) that requests need,
    MLOPS_MAX_BODY and MLOPS_MAX_ROWS the most bytes and rows of a request. A model that is replaced on disk is taken up
    while it runs. SIGTERM ends it when what is under way is answered.
    """
    from service import server

    with console.errors():
        server.run("app:make_app", host, port, workers, settings(os.environ)["max_body"])


def make_app():
    """Make the application as the environment says.

    Returns
    -------
    flask.Flask

    Raises
    ------
    SystemExit
        It cannot be made; the reason is on stderr.
    """
    with console.errors():
        return create_app(**settings(os.environ))


def __getattr__(name):
    """Make `app` when a server first asks for it: who imports create_app may have no default model."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = make_app()
    return globals()["app"]


if __name__ == "__main__":
    main()  # pylint: disable=no-value-for-parameter  # click's to give
