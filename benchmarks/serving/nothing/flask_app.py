"""The least that a Flask application can do, on the server that ours runs on: one route, always the same bytes."""

import sys
from types import SimpleNamespace

from flask import Flask, Response, request

from service import server

ANSWER = b'{"prediction":{"height_inches":73.23,"height_human_readable":"6 foot, 1 inches"}}\n'


class OnLoop:
    """A WSGI application that is called on the event loop, as the hot path of ours is."""

    def __init__(self, application):
        self.application = application

    def is_quick(self, _path, _size):
        """Answer on the event loop."""
        return True

    def refused(self, _environ, _status):
        """Name a request; none is refused here."""
        return ""

    def close(self):
        """Nothing is left to do."""

    def __call__(self, environ, start_response):
        return self.application(environ, start_response)


def make_app():
    """Make what `service.server.run` takes."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict():
        request.get_data()
        return Response(ANSWER, mimetype="application/json")

    return SimpleNamespace(wsgi_app=OnLoop(app))


if __name__ == "__main__":
    server.run("benchmarks.serving.nothing.flask_app:make_app", "127.0.0.1", int(sys.argv[1]), 1, 1_000_000)
