"""The least that a WSGI application can do, on the server that ours runs on."""

import sys
from types import SimpleNamespace

from service import server

ANSWER = b'{"prediction":{"height_inches":73.23,"height_human_readable":"6 foot, 1 inches"}}\n'


class Nothing:
    """It reads the body, and answers the same bytes to everything."""

    def is_quick(self, _path, _size):
        """Answer on the event loop, as ours does."""
        return True

    def refused(self, _environ, _status):
        """Name a request; none is refused here."""
        return ""

    def close(self):
        """Nothing is left to do."""

    def __call__(self, environ, start_response):
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))])
        return [ANSWER]


def make_app():
    """Make what `service.server.run` takes."""
    return SimpleNamespace(wsgi_app=Nothing())


if __name__ == "__main__":
    server.run("benchmarks.serving.nothing.wsgi_app:make_app", "127.0.0.1", int(sys.argv[1]), 1, 1_000_000)
