"""A server that answers as a test tells it to, however badly."""

import contextlib
import json

from standins import standin

PREDICTION = {"height_inches": 73.2, "height_human_readable": "6 foot, 1 inches"}
ANSWER = json.dumps({"prediction": PREDICTION}).encode()


class Received:
    """What a server was sent, and where it is.

    Attributes
    ----------
    url : str
    """

    def __init__(self, server):
        self.url, self._server = server.url, server

    @property
    def requests(self):
        """Method, path, headers and body of each."""
        return [(asked.method, asked.path, dict(asked.headers), asked.body) for asked in self._server.asked]

    def rows(self, path="/predict"):
        """The JSON of each body that was posted there."""
        return [json.loads(body) for method, at, _, body in self.requests if (method, at) == ("POST", path)]


@contextlib.contextmanager
def answering(reply):
    """Run a server whose answers a function makes.

    Parameters
    ----------
    reply : function
        Of method, path, headers, body and the number of the request from 0, to what `standins.standin` takes.
    """

    def answer(asked):
        return reply(asked.method, asked.path, asked.headers, asked.body, asked.number)

    with standin(answer) as server:
        yield Received(server)


def posts(reply):
    """A reply to what is posted; GET finds nothing, as from the published service, which tells no signature."""

    def answer(method, _path, _headers, body, number):
        return reply(json.loads(body), number) if method == "POST" else (404, {}, b"")

    return answer


def as_rows(rows):
    """The answer of a model that says the row itself."""
    document = {"predictions": rows} if isinstance(rows, list) else {"prediction": rows}
    return 200, {}, json.dumps(document).encode()
