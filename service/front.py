"""What happens around every request, and what makes the commonest one quick?

A WSGI middleware in front of Flask's routing (``app.wsgi_app = Front(app.wsgi_app, ...)``, Flask's own pattern). It
gives the request its id, asks for a key where one is needed, and notes it in the journal. A plain ``POST /predict`` it
answers itself; whatever is not plain, refusals too, it hands on to Flask, whose view calls the same functions.
"""

import hmac
import io
import itertools
import os
import re
import time

import mlib
from toolkit import wire

MODEL, ROUTE, REQUEST_ID = "mlops.model", "mlops.route", "mlops.request_id"  # what the environ gets, beside WSGI's

PREDICT = {"/predict", "/invocations"}
PLAIN_TYPES = {*wire.READ_AS_JSON, None, "application/json; charset=utf-8", "application/json;charset=UTF-8"}
PLAIN_ACCEPT = {None, "*/*", wire.JSON, "application/json, */*"}
OPEN = {"/health/live", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready"}  # asked without a key
OTHER_ROUTE = "(other)"
QUICK_BYTES = 4096  # a row, or a few dozen: a slow model needs some milliseconds for these

REQUEST_IDS = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
JSON_HEADER = ("Content-Type", wire.JSON)


class Front:
    """The middleware.

    Parameters
    ----------
    flask : WSGI application
    live : Live
        Has the model that answers.
    metrics : Metrics
    journal : Journal
    keys : sequence of str
        Bearer keys; none, and everybody is answered.
    max_body, max_rows : int
        Bytes and rows of a request that are taken at most.
    """

    def __init__(self, flask, live, metrics, journal, keys, max_body, max_rows):
        self.flask, self.live, self.metrics, self.journal = flask, live, metrics, journal
        self.keys = [key.encode() for key in keys]
        self.max_body, self.max_rows = max_body, max_rows
        self._prefix, self._count = os.urandom(6).hex(), itertools.count()

    def __call__(self, environ, start_response):
        """Answer a request, as WSGI has it."""
        began = time.perf_counter()
        request_id = self._request_id(environ)
        model = self.live.model
        path = environ.get("PATH_INFO", "")
        headers = [("X-Request-ID", request_id), ("X-Model-Version", model.signature.version)]
        content, status = None, 200

        if self.keys and path not in OPEN and not self._has_key(environ):
            content, status = _no_key(headers), 401
            environ[ROUTE] = OTHER_ROUTE
            start_response("401 UNAUTHORIZED", headers)
        elif path in PREDICT and self._is_plain(environ):
            content = self._predict(environ, model, headers)
            if content is not None:
                environ[ROUTE] = path
                start_response("200 OK", headers)
        if content is not None:
            content = [content]
        else:
            environ[MODEL], environ[REQUEST_ID] = model, request_id

            def start(line, more, exc_info=None):
                nonlocal status
                status = int(line[:3])
                return start_response(line, more + headers, *([exc_info] if exc_info else []))

            content = self.flask(environ, start)
        route = environ.get(ROUTE, OTHER_ROUTE)
        self.journal.note(environ["REQUEST_METHOD"], route, status, time.perf_counter() - began, request_id)
        return content

    def is_quick(self, path, size):
        """Tell whether a request is answered so quickly that it need not wait for a thread.

        Parameters
        ----------
        path : str
        size : int
            Of the body, in bytes.

        Returns
        -------
        bool
        """
        is_small = size <= QUICK_BYTES and self.live.model.form == "onnx"
        return (path in PREDICT and is_small) or path in OPEN

    def refused(self, environ, status):
        """Note a request that was refused before it came here.

        Parameters
        ----------
        environ : dict
            WSGI's.
        status : int

        Returns
        -------
        str
            The request's id.
        """
        request_id = self._request_id(environ)
        self.journal.note(environ["REQUEST_METHOD"], OTHER_ROUTE, status, 0.0, request_id)
        return request_id

    def close(self):
        """Write what is still to be told."""
        self.journal.close()

    def _request_id(self, environ):
        given = environ.get("HTTP_X_REQUEST_ID")
        return given if given and REQUEST_IDS.fullmatch(given) else f"{self._prefix}{next(self._count):08x}"

    def _has_key(self, environ):
        scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        given = key.strip().encode("latin-1")
        found = [hmac.compare_digest(given, known) for known in self.keys]  # all of them, whichever it is
        return scheme.lower() == "bearer" and any(found)

    def _is_plain(self, environ):
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") in PLAIN_TYPES
            and environ.get("HTTP_ACCEPT") in PLAIN_ACCEPT
            and not environ.get("QUERY_STRING")
            and "HTTP_CONTENT_ENCODING" not in environ
            and environ.get("CONTENT_LENGTH", "").isdecimal()
            and int(environ["CONTENT_LENGTH"]) <= self.max_body
        )

    def _predict(self, environ, model, headers):
        """Answer rows that can be answered; None where Flask has to say why they cannot."""
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        try:
            document, answers = wire.answer(wire.loads(body), model, self.max_rows)
        except (wire.Refused, mlib.InputError):
            environ["wsgi.input"] = io.BytesIO(body)
            return None
        self.metrics.predicted(len(answers), sum("warnings" in each for each in answers))
        content = wire.dumps(document) + b"\n"
        headers += (JSON_HEADER, ("Content-Length", str(len(content))))
        return content


def _no_key(headers):
    detail = "The request has no key that is known here; expected the header Authorization: Bearer KEY."
    content = wire.problem(401, "Unauthorized", detail)
    headers += (
        ("Content-Type", wire.PROBLEM),
        ("Content-Length", str(len(content))),
        ("WWW-Authenticate", "Bearer"),
    )
    return content
