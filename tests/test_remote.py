"""Tests of toolkit/remote.py against real servers that misbehave."""

import http.server
import json
import socket
import threading

import pytest

import mlib
from toolkit import remote

ANSWER = {"prediction": {"height_inches": 73.2, "height_human_readable": "6 foot, 1 inches"}}


@pytest.fixture(name="serve")
def _serve():
    """Start a server that gives one answer to every POST; return its URL and what it was sent."""
    servers = []

    def start(status=200, body=b"", headers=None):
        received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            """Reads the request, gives the answer."""

            def do_POST(self):  # pylint: disable=invalid-name  # http.server's name
                """Answer."""
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args):  # pylint: disable=arguments-differ  # it is not shown
                """Be quiet."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/predict", received

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_row_is_sent_as_json_and_the_answer_returned(serve):
    url, received = serve(body=json.dumps(ANSWER).encode())
    assert remote.ask(url, {"Weight": 200}) == ANSWER
    assert received == [{"Weight": 200}]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (422, b'{"title": "Unprocessable Content", "detail": "Weight: got -5"}', "answered 422: Weight: got -5"),
        (500, b"<h1>oops</h1>", "answered 500: <h1>oops</h1>"),
        (500, b"", "answered 500: Internal Server Error"),
        (404, b"nope", "answered 404: Not Found. Does the URL end in /predict?"),
        (204, b"", "answered 204"),
        (200, b"", "answered, but with no prediction: nothing."),
        (200, b"hello", "answered, but with no prediction: hello."),
        (200, b"{}", "answered, but with no prediction"),
        (200, b"[1]", "answered, but with no prediction"),
        (200, b'{"prediction": 73}', "answered, but with no prediction"),
        (200, b"\x1b[31mred\nline", "no prediction:  [31mred line."),
        (422, b'{"detail": "a\\u001b[2J\\nb' + b"x" * 10_000 + b'"}', "answered 422: a [2J bxxx"),
        (200, b"[" * 100_000, "answered, but with no prediction"),
        (200, b'{"prediction": {"height_inches": NaN}}', "answered, but with no prediction"),
        (200, b"x" * 100_000, "x" * 100),
    ],
)
def test_an_answer_that_is_none_is_told(serve, status, body, said):
    url, _ = serve(status, body)
    with pytest.raises(remote.AnswerError) as caught:
        remote.ask(url, {"Weight": 200})
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert caught.value.exit_code == 4


def test_a_redirect_to_what_is_no_endpoint_is_the_servers_fault(serve):
    url, _ = serve(302, headers={"Location": "ftp://127.0.0.1/"})
    with pytest.raises(remote.AnswerError, match="leads on to what is no endpoint"):
        remote.ask(url, {"Weight": 200})


def test_a_server_that_never_answers_is_unreachable_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/predict"
        with pytest.raises(remote.UnreachableError, match=r"did not answer within 0\.2 s"):
            remote.ask(url, {"Weight": 200}, timeout=0.2)


def hang_up(listener):
    """Accept one connection and close it."""
    listener.accept()[0].close()


def test_a_server_that_hangs_up_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as rude:
        threading.Thread(target=hang_up, args=(rude,), daemon=True).start()
        with pytest.raises(remote.UnreachableError, match="cannot be reached") as caught:
            remote.ask(f"http://127.0.0.1:{rude.getsockname()[1]}/predict", {"Weight": 200})
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_nothing_listening_is_unreachable():
    with pytest.raises(remote.UnreachableError, match="Connection refused"):
        remote.ask("http://127.0.0.1:9/predict", {"Weight": 200})


def test_a_name_that_nobody_knows_is_unreachable():
    with pytest.raises(remote.UnreachableError, match="cannot be reached"):
        remote.ask("http://no-such-host.invalid/predict", {"Weight": 200})


@pytest.mark.parametrize(
    "url",
    ["localhost:8080", "", "http://", "ftp://localhost/", "http://[::1/", "http://a:b/", f"http://{'a' * 300}.com/"],
)
def test_what_is_no_url_is_an_option_error(url):
    with pytest.raises(mlib.OptionError, match="is no address of an endpoint"):
        remote.ask(url, {"Weight": 200})
