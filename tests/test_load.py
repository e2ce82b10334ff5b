"""Tests of toolkit/load.py, load_plot.py and connections.py against real servers: good ones, slow ones, broken ones."""

import array
import contextlib
import http.server
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from xml.etree import ElementTree

import pytest
import trustme
from conftest import ENVIRONMENT, ROOT

import mlib
from toolkit import load, load_plot, remote
from toolkit.auth import Auth

ROW = {"Weight": 200}
ANSWER = b'{"prediction": {"height_inches": 73.2}}'
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """No proxy, no configuration of the person who runs the tests."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


class Server(http.server.ThreadingHTTPServer):
    """Answers each POST by a function of the handler and of how many came before; a connection is kept."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, respond):
        self.respond, self.count, self.lock, self.requests = respond, 0, threading.Lock(), []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/predict"

    def handle_error(self, request, client_address):
        """Be quiet about connections that the other side ended."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Hands each request to the server's function."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):  # pylint: disable=invalid-name  # http.server's name
        """Answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            count = self.server.count
            self.server.count += 1
            self.server.requests.append((self.path, dict(self.headers.items()), body))
        self.server.respond(self, count)

    def give(self, status=200, body=ANSWER, **headers):
        """Send an answer."""
        head = {"Content-Length": len(body), **headers}
        lines = [f"HTTP/1.1 {status} x", *(f"{name.replace('_', '-')}: {value}" for name, value in head.items())]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + body)

    def log_message(self, *_args):  # pylint: disable=arguments-differ  # it is not shown
        """Be quiet."""


@pytest.fixture(name="serve")
def _serve():
    """Start servers."""
    with contextlib.ExitStack() as stack:

        def start(respond=Handler.give, context=None):
            server = Server(respond if respond is not Handler.give else lambda handler, _: handler.give())
            if context:
                server.socket = context.wrap_socket(server.socket, server_side=True)
                server.url = server.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return server

        yield start


def after_the_first(respond):
    """Answer the first request, which asks whether there is an endpoint at all, and leave the others to a function."""
    return lambda handler, count: respond(handler, count) if count else handler.give()


def run(url, rate=40, duration=0.5, concurrency=10, rows=(ROW,), timeout=10, auth=None, watch=None):
    """Send a small load: two requests a connection, so none is left over where a busy machine stalls for 0.2 s."""
    return load.run(remote.Endpoint(url, auth, timeout), list(rows), rate, duration, concurrency, watch)


# --------------------------------------------------------------------------------------------------- what it sends


def test_every_request_that_was_due_is_sent_and_answered(server):
    report = run(server, rate=50, duration=1, concurrency=25)
    assert (report.planned, report.sent, report.answered, report.errors) == (50, 50, 50, {})
    assert report.throughput == pytest.approx(50, rel=0.5)
    assert not report.interrupted
    assert 0 < report.latency["p50"] <= report.latency["p90"] <= report.latency["p99.9"] <= report.latency["max"]
    assert len(report.due) == len(report.latencies) == 50
    assert sorted(report.due) == pytest.approx([k / 50 for k in range(50)])


def test_the_open_inference_protocol_bears_a_load_too(server):
    report = run(f"v2+{server}/v2/models/htwtmlb-height")
    assert (report.answered, report.errors) == (20, {})
    assert report.name.startswith("v2+http://127.0.0.1")


@pytest.mark.parametrize(
    ("rate", "duration", "planned"), [(100, 0.07, 7), (10, 0.3, 3), (3, 0.5, 2), (0.5, 0.1, 1), (30, 0.1, 3)]
)
def test_requests_are_due_from_the_start_and_before_the_end(serve, rate, duration, planned):
    report = run(serve().url, rate, duration)
    assert report.planned == planned == report.answered + report.errors.get("not sent", 0)


def test_rows_are_sent_in_turn(serve):
    server = serve()
    assert run(server.url, 5, 1, 1, rows=[{"Weight": 1}, {"Weight": 2}]).rows == 2
    assert [json.loads(body)["Weight"] for *_, body in server.requests] == [1, 1, 2, 1, 2, 1]


def test_the_key_is_sent(serve):
    server = serve()
    run(server.url, auth=Auth(key="s3cret", headers={"X-Tenant": "a"}))
    path, headers, _ = server.requests[-1]
    assert path == "/predict"
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["X-Tenant"] == "a"
    assert headers["Host"] == server.url.split("/")[2]
    assert headers["Content-Type"] == "application/json"


def test_a_path_is_sent_to_the_letter(serve):
    server = serve()
    assert not run(server.url + "/%7Ea%2Fé?b=1&c=%20").errors
    assert server.requests[-1][0] == "/predict/~a%2F%C3%A9?b=1&c=%20"


def test_connections_are_kept_and_no_more_than_were_asked_for(serve):
    ports = set()

    def respond(handler, _):
        ports.add(handler.client_address[1])
        handler.give()

    assert run(serve(after_the_first(respond)).url, 200, 0.5, 3).answered > 20
    assert 1 <= len(ports) <= 3


def test_no_more_requests_are_under_way_than_connections(serve):
    state, lock = {"now": 0, "most": 0}, threading.Lock()

    def respond(handler, _):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        time.sleep(0.02)
        with lock:
            state["now"] -= 1
        handler.give()

    run(serve(after_the_first(respond)).url, 1000, 0.3, 5)
    assert state["most"] == 5


@pytest.mark.parametrize("kind", ["chunked", "open-ended", "in pieces", "100 Continue", "Connection: close"])
def test_answers_are_read_however_they_are_framed(serve, kind):
    def respond(handler, _):
        if kind == "chunked":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            handler.wfile.write(b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, ANSWER[:5], len(ANSWER) - 5, ANSWER[5:]))
        elif kind == "open-ended":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER)
            handler.close_connection = True
        elif kind == "in pieces":
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER):
                handler.wfile.write(bytes([byte]))
        elif kind == "100 Continue":
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            handler.give()
        else:
            handler.give(Connection="close")
            handler.close_connection = True

    report = run(serve(after_the_first(respond)).url)
    assert (report.answered, report.errors) == (20, {})


def test_a_load_goes_through_a_proxy(serve, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/predict"))
    report = run("http://model.invalid/predict")
    assert (report.answered, report.errors) == (20, {})
    assert proxy.requests[-1][0] == "http://model.invalid/predict"


def test_failures_behind_a_proxy_are_told(serve, monkeypatch):
    def respond(handler, count):
        if count % 2:
            handler.give(502, b"")
        else:
            handler.close_connection = True

    monkeypatch.setenv("http_proxy", serve(after_the_first(respond)).url.removesuffix("/predict"))
    assert run("http://model.invalid/predict").errors == {"502 Bad Gateway": 10, "connection lost": 10}


@pytest.fixture(name="authority", scope="session")
def _authority():
    return trustme.CA()


def tls(authority, name):
    """A server's side of TLS, with a certificate of a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_load_goes_over_tls(serve, monkeypatch, tmp_path, authority):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    report = run(serve(context=tls(authority, "localhost")).url)
    assert (report.answered, report.errors) == (20, {})


def test_a_certificate_that_is_not_trusted_is_an_error(serve, monkeypatch, tmp_path, authority):
    """The first connection gets one of an authority that is known, those of the load one of another."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    context = tls(authority, "localhost")

    def respond(handler, _):
        trustme.CA().issue_cert("localhost").configure_cert(context)
        handler.give()

    assert run(serve(respond, context).url, 10, 0.5).errors == {"certificate": 5}


# ------------------------------------------------------------------------------------------------------- open loop


def test_a_stall_shows_in_all_requests_that_were_due_meanwhile(serve):
    """At 20 a second over one connection, a stall of a second delays 20: by 1 s, 0.95 s, ... 0.05 s."""

    def respond(handler, count):
        if count == 11:  # after the one that is asked before: the one of the load that is due at 0.5 s
            time.sleep(1)
        handler.give()

    report = run(serve(respond).url, 20, 3, 1)
    assert report.answered > 30
    latencies = [latency for _, latency in sorted(zip(report.due, report.latencies, strict=True))]
    for k in range(10, 30):  # each is due 50 ms later, and none is answered before the stall ends
        assert latencies[k] >= 1 - 0.05 * (k - 10) - 0.005
    assert report.latency["p50"] < report.latency["p90"]
    assert report.latency["p90"] > 0.5  # 10 of 60 wait longer than 0.5 s; a closed loop shows one


def test_what_an_overloaded_server_kept_from_being_sent_is_an_error(serve):
    """Two connections, 50 ms each, 0.5 s: at most some 20 of 500 can be sent."""

    def respond(handler, _):
        time.sleep(0.05)
        handler.give()

    report = run(serve(after_the_first(respond)).url, 1000, 0.5, 2)
    assert report.planned == 500
    assert 2 <= report.sent <= 2 * report.seconds / 0.05  # which is 0.5 s, or as long as it took
    assert report.answered == report.sent
    assert report.errors == {"not sent": 500 - report.sent}
    assert report.throughput == pytest.approx(report.answered / report.seconds)
    assert not report.client_is_limit
    assert load.table(report)["Limit"] == "the endpoint, or too few connections: all of them were waiting for answers"
    assert load.table(report)["Errors"] == f"not sent: {500 - report.sent}"


def test_an_answer_after_the_end_is_awaited_and_lengthens_the_time(serve):
    def respond(handler, _):
        time.sleep(0.4)
        handler.give()

    report = run(serve(after_the_first(respond)).url, 10, 0.1, 1)
    assert (report.answered, report.errors) == (1, {})
    assert report.seconds >= 0.4
    assert report.throughput <= 1 / 0.4


# ---------------------------------------------------------------------------------------------------------- errors


def drop(handler, _):
    """Hang up."""
    handler.close_connection = True


@pytest.mark.parametrize(
    ("respond", "kind"),
    [
        (lambda handler, _: handler.give(500, b"<h1>s3cret</h1>"), "500 Internal Server Error"),
        (lambda handler, _: handler.give(503, b"", Retry_After=1), "503 Service Unavailable"),
        (lambda handler, _: handler.give(302, b"", Location="/"), "302 Found"),
        (lambda handler, _: handler.give(799, b""), "799"),
        (lambda handler, _: handler.give(200, b"<html>s3cret</html>"), "no prediction"),
        (lambda handler, _: handler.give(200, b"{}"), "no prediction"),
        (lambda handler, _: handler.give(200, b""), "no prediction"),
        (lambda handler, _: handler.wfile.write(b"s3cret\r\n\r\n"), "no HTTP"),
        (
            lambda handler, _: handler.wfile.write(b"HTTP/1.1 101 x\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n"),
            "no HTTP",
        ),
        (drop, "connection lost"),
        (lambda handler, _: drop(handler, handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-")), "connection lost"),
        (
            lambda handler, _: drop(handler, handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")),
            "connection lost",
        ),
        (lambda handler, _: time.sleep(5), "timed out"),
    ],
)
def test_errors_are_told_by_kind_and_never_what_was_sent(serve, respond, kind):
    server = serve(after_the_first(respond))
    report = run(server.url, timeout=1 if kind == "timed out" else 10, auth=Auth(key="s3cret"))
    assert (report.answered, report.throughput) == (0, 0)
    assert set(report.errors) <= {kind, "not sent"}
    assert report.errors[kind] == len(report.failed) == report.sent > 0
    assert report.latency == {"p50": None, "p90": None, "p99": None, "p99.9": None, "max": None}
    assert "s3cret" not in json.dumps(report.card) + str(load.table(report))


def test_errors_and_answers_are_told_side_by_side(serve):
    respond = after_the_first(lambda handler, count: handler.give() if count % 4 else handler.give(503, b""))
    report = run(serve(respond).url, 40, 1, 20)
    assert (report.answered, report.errors) == (30, {"503 Service Unavailable": 10})
    assert (len(report.latencies), len(report.failed)) == (30, 10)


def test_a_lost_connection_is_made_again(serve):
    respond = after_the_first(lambda handler, count: drop(handler, count) if count == 3 else handler.give())
    report = run(serve(respond).url, 10, 1, 5)  # each connection sends two
    assert (report.answered, report.errors) == (9, {"connection lost": 1})


def test_a_late_answer_is_not_taken_for_the_next_ones(serve):
    """The second request is answered after its time is up, with another prediction than all the others."""

    def respond(handler, count):
        if count == 2:
            time.sleep(1.5)
            handler.give(500, b"")
        else:
            handler.give()

    report = run(serve(respond).url, 20, 2, 1, timeout=1)
    assert report.errors["timed out"] == 1
    assert set(report.errors) <= {"timed out", "not sent"}  # and never the 500 that came too late
    assert report.sent - 1 == report.answered > 0


def test_a_server_that_ends_refuses_the_rest():
    """It answers one request; then nothing listens there any more."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_once():
        connection, _ = listener.accept()
        listener.close()
        connection.recv(2**16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
        connection.close()

    thread = threading.Thread(target=answer_once)
    thread.start()
    assert run(f"http://127.0.0.1:{listener.getsockname()[1]}/predict").errors == {"connection refused": 20}
    thread.join()


def test_an_endpoint_that_is_none_fails_at_once(serve):
    with pytest.raises(remote.AnswerError, match="answered 500"):
        run(serve(lambda handler, _: handler.give(500, b"")).url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(remote.UnreachableError, match=r"did not answer within 0\.2 s"):
            run(url, timeout=0.2)


@pytest.mark.parametrize("wrong", [{"rows": []}, {"concurrency": 0}, {"rate": 0}, {"duration": -1}])
def test_a_load_of_nothing_is_refused(wrong):
    with pytest.raises(mlib.OptionError, match="expected"):
        run("http://127.0.0.1:9", **wrong)


# -------------------------------------------------------------------------------------------------- while it goes


def test_what_this_process_itself_is_late_is_not_the_endpoints(serve):
    """Of a hundred requests a second some fifty are due while this process does something else."""
    report = run(serve().url, 100, 1.9, 1, watch=lambda _snapshot: time.sleep(0.5))
    assert report.answered > 100
    assert sum(latency > 0.25 for latency in report.latencies) < 10  # and not some twenty-five


def test_a_snapshot_is_told_once_a_second(serve):
    snapshots = []
    report = run(serve().url, 40, 2.5, watch=snapshots.append)
    assert 1 <= len(snapshots) <= 3
    assert snapshots[0].seconds == pytest.approx(1, abs=0.5)
    assert snapshots[0].throughput == pytest.approx(40, rel=0.5)
    assert snapshots[0].latency["p50"] <= snapshots[0].latency["p99"] <= report.latency["max"]
    assert snapshots[0].errors == 0


def test_a_watcher_that_fails_ends_the_load(serve):
    def watch(_snapshot):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(serve().url, 10, 30, watch=watch)


def test_a_line_tells_how_it_goes():
    latency = {"p50": 0.00052, "p90": 0.001, "p99": 0.0123, "p99.9": 1.0, "max": 2.0}
    assert load.line(load.Snapshot(3.02, 9812.31, latency, 1234)) == (
        "  3 s   9,812.3 a second  p50 0.52 ms  p99 12.3 ms  1,234 errors"
    )
    nothing = dict.fromkeys(latency)
    assert load.line(load.Snapshot(1.0, 0.0, nothing, 5)) == (
        "  1 s       0.0 a second  p50       -  p99       -  5 errors"
    )


INTERRUPTED = """
import json, sys
from toolkit import load, remote
report = load.run(remote.Endpoint(sys.argv[1]), [{"Weight": 200}], 50, 60, 4, lambda snapshot: print("x", flush=True))
print(json.dumps(report.card))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process can be sent SIGINT alone")
@pytest.mark.parametrize("is_stuck", [False, True])
def test_sigint_ends_the_load_and_keeps_what_was_measured(serve, is_stuck):
    def respond(handler, count):
        if is_stuck and count > 10:
            time.sleep(60)
        handler.give()

    command = [sys.executable, "-c", INTERRUPTED, serve(respond).url]
    with subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "x\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    card = json.loads(out.splitlines()[-1])
    assert card["interrupted"]
    assert card["duration"] < 30
    assert card["planned"] <= 50 * card["duration"] + 5
    assert card["sent"] == card["answered"] + card["errors"].get("cut off", 0)
    assert card["planned"] == card["sent"] + card["errors"].get("not sent", 0)
    assert (card["answered"] >= 10) if not is_stuck else (card["answered"] == 10 and card["errors"]["cut off"] == 4)


# ------------------------------------------------------------------------------------------------------ the report


def test_percentiles_are_of_the_nearest_rank():
    """Of 1 to 1000 a thousandth is one; of five numbers the median is the third, 90 % need all five."""
    thousand = array.array("d", [float((k * 7) % 1000 + 1) for k in range(1000)])  # 7 and 1000 share no factor
    assert load.percentiles(thousand) == {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999, "max": 1000}
    five = array.array("d", [5.0, 1.0, 3.0, 2.0, 4.0])
    assert load.percentiles(five) == {"p50": 3, "p90": 5, "p99": 5, "p99.9": 5, "max": 5}
    assert load.percentiles(array.array("d", [2.0, 1.0])) == {"p50": 1, "p90": 2, "p99": 2, "p99.9": 2, "max": 2}
    assert set(load.percentiles(array.array("d", [7.0])).values()) == {7}
    assert set(load.percentiles(array.array("d")).values()) == {None}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.000_012_3, "0.012 ms"),
        (0.000_52, "0.52 ms"),
        (0.001_234, "1.23 ms"),
        (0.45678, "457 ms"),
        (0.999_4, "999 ms"),
        (0.999_6, "1 s"),
        (1.234, "1.23 s"),
        (123.4, "123 s"),
    ],
)
def test_a_latency_is_told_in_three_digits(seconds, text):
    assert load.time_text(seconds) == text


def report_of(due=(), latencies=(), failed=(), **changes):
    """A report by hand: 10 a second for 3 s."""
    values = {
        "name": "http://127.0.0.1:8080/$x_1$",
        "rate": 10.0,
        "duration": 3.0,
        "concurrency": 8,
        "rows": 1,
        "interrupted": False,
        "planned": 30,
        "sent": len(due) + len(failed),
        "answered": len(due),
        "seconds": 3.0,
        "throughput": len(due) / 3,
        "latency": load.percentiles(array.array("d", latencies)),
        "refused": 0,
        "errors": {},
        "client_cpu": 0.1234567,
        "client_is_limit": False,
        "due": array.array("d", due),
        "latencies": array.array("d", latencies),
        "failed": array.array("d", failed),
    }
    return load.Report(**{**values, **changes})


def test_the_card_is_what_json_can_have():
    card = report_of([0.0], [0.012345678], [0.5], errors={"timed out": 1}).card
    assert json.loads(json.dumps(card, allow_nan=False)) == {
        "name": "http://127.0.0.1:8080/$x_1$",
        "rate": 10.0,
        "duration": 3.0,
        "concurrency": 8,
        "rows": 1,
        "interrupted": False,
        "planned": 30,
        "sent": 2,
        "answered": 1,
        "seconds": 3.0,
        "throughput": 0.333333,
        "latency_seconds": dict.fromkeys(["p50", "p90", "p99", "p99.9", "max"], 0.012346),
        "refused": 0,
        "errors": {"timed out": 1},
        "client_cpu": 0.123457,
        "client_is_limit": False,
    }


def test_the_table_is_for_people():
    errors = {"timed out": 1200, "500 Internal Server Error": 2}
    report = report_of([0.0, 0.1], [0.001, 0.002], errors=errors, interrupted=True, concurrency=1, rate=1.0)
    assert load.table(report) == {
        "Endpoint": "http://127.0.0.1:8080/$x_1$",
        "Load": "1 request a second for 3 s, 1 connection (interrupted)",
        "Sent": "2 of 30 requests that were due",
        "Answered": "2, 0.7 a second",
        "p50": "1 ms",
        "p90": "2 ms",
        "p99": "2 ms",
        "p99.9": "2 ms",
        "max": "2 ms",
        "Errors": "timed out: 1,200, 500 Internal Server Error: 2",
        "This client": "12% of a core",
    }
    assert load.table(report_of())["Errors"] == "none"
    assert load.table(report_of(client_is_limit=True))["Limit"].startswith("this client")


class SlowSigner:
    """Works 10 ms for each signature."""

    def headers(self, _method, _url, _body):
        """Sign."""
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return {"X-Signed": "yes"}


def test_a_client_that_is_the_limit_says_so(server):
    """It has to sign 1,000 requests a second, and can sign 100; the server is another process, or would hold it up."""
    rows = [{"Weight": 100 + k} for k in range(500)]
    report = run(server, 1000, 0.5, 4, rows, auth=Auth(signer=SlowSigner()))
    assert report.errors["not sent"] >= 440
    assert report.client_cpu > 0.9
    assert report.client_is_limit
    assert load.table(report)["Limit"].startswith("this client")


def test_a_request_that_is_sent_again_is_not_signed_again(serve, monkeypatch):
    pytest.importorskip("botocore", reason="pip install -r requirements/aws.txt")
    from toolkit import aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    server = serve()
    assert not run(server.url, auth=Auth(signer=aws.Signer("lambda"))).errors
    signed = [headers["Authorization"] for _, headers, _ in server.requests[1:]]
    assert len(signed) == 20
    assert len(set(signed)) == 1
    assert re.match(r"AWS4-HMAC-SHA256 Credential=eu-west-1/\d+/eu-west-1/lambda/aws4_request", signed[0])


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("host", ["http://127.0.0.1", "http://localhost:1", "http://[::1]:8080", "http://127.8.9.1"])
def test_this_machine_may_be_sent_any_load(host):
    load.check_size(remote.Endpoint(host), 5000, 1000)


@pytest.mark.parametrize("host", ["http://192.0.2.1", "http://no-such-host.invalid", "http://[2001:db8::1]"])
@pytest.mark.parametrize(("rate", "duration"), [(1001, 1), (1, 60.5)])
def test_a_large_load_on_another_machine_wants_to_be_confirmed(host, rate, duration):
    endpoint = remote.Endpoint(host)
    with pytest.raises(mlib.OptionError, match=rf"{host[7:12]}.*--yes".replace("[", r"\[")):
        load.check_size(endpoint, rate, duration)
    load.check_size(endpoint, rate, duration, is_confirmed=True)


def test_a_small_load_on_another_machine_wants_no_confirmation():
    load.check_size(remote.Endpoint("http://192.0.2.1"), 1000, 60)


def test_what_goes_through_a_proxy_does_not_stay_here(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    with pytest.raises(mlib.OptionError, match="another machine"):
        load.check_size(remote.Endpoint("http://127.0.0.1"), 2000, 1)


@pytest.mark.parametrize(
    ("rate", "duration", "said"),
    [
        (100_000, 1001, "are 100,100,000; expected at most 100,000,000"),
        (0, 1, "The rate is 0; expected"),
        (1, -1, "The duration is -1; expected"),
        (float("nan"), 1, "The rate is nan; expected"),
        (1, float("inf"), "The duration is inf; expected"),
    ],
)
def test_a_load_that_cannot_be_is_refused(rate, duration, said):
    with pytest.raises(mlib.OptionError, match=said):
        load.check_size(remote.Endpoint("http://127.0.0.1"), rate, duration, is_confirmed=True)


def test_a_plot_that_could_not_be_written_is_refused_beforehand(tmp_path):
    for path in (tmp_path / "a.svg", tmp_path / "a.PNG"):
        load_plot.check_plot(path)
    (tmp_path / "folder.png").mkdir()
    for path, said in {
        "a.pdf": "ends in .svg or .png",
        "svg": "ends in .svg or .png",
        "none/a.svg": "there is no folder",
        "folder.png": "it is a folder",
    }.items():
        with pytest.raises(mlib.OptionError, match=said):
            load_plot.check_plot(tmp_path / path)


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path):
    program = (
        "import sys; sys.modules['matplotlib'] = None\nfrom toolkit import load_plot\nload_plot.check_plot('a.svg')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Error: A plot is drawn with matplotlib: pip install -r requirements/plot.txt" in done.stderr


# -------------------------------------------------------------------------------------------------------- pictures


def many():
    """100,000 in 3 s, of which some fail and the last are not sent."""
    due = [k * 2.5 / 100_000 for k in range(100_000)]
    latencies = [0.001 * (1 + k % 100) for k in range(100_000)]
    return report_of(
        due, latencies, [0.1, 2.0], rate=40_000.0, sent=100_002, errors={"not sent": 19_998, "timed out": 2}
    )


REPORTS = {
    "nothing": report_of,
    "failures": lambda: report_of([], [], [k / 10 for k in range(30)], errors={"timed out": 30}),
    "one": lambda: report_of([0.0], [0.0123], planned=1, duration=0.1),
    "no time": lambda: report_of([0.0, 0.1], [0.0, 0.0]),
    "few": lambda: report_of([0.0, 0.1, 2.9], [0.01, 0.5, 20.0], [1.5], errors={"timed out": 1}),
    "many": many,
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_plot_is_drawn_of_whatever_came(tmp_path, name):
    report = REPORTS[name]()
    folder = tmp_path / "drawn"  # matplotlib keeps its settings beside it
    folder.mkdir()
    load_plot.plot(report, folder / "a.png")
    content = (folder / "a.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20]) >= 1000  # pixels, in the header
    load_plot.plot(report, folder / "a.svg")
    texts = " ".join(ElementTree.parse(folder / "a.svg").getroot().itertext())
    assert report.name in texts
    assert "requests a second for" in texts
    assert "latency (logarithmic)" in texts
    assert ("Nothing was answered." in texts) == (not report.answered)
    assert bool(re.search(r"p99\.9 [0-9.]+ m?s", texts)) == bool(report.answered)
    assert ("failed" in texts) == bool(report.failed)
    assert ("not sent" in texts) == ("not sent" in report.errors)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a.svg"]


def test_a_plot_of_many_requests_is_a_small_file(tmp_path):
    load_plot.plot(many(), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size < 1_000_000


def test_the_same_report_gives_the_same_svg(tmp_path):
    for name in ("a.svg", "b.svg"):
        load_plot.plot(REPORTS["few"](), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_plot_that_cannot_be_written_is_a_failure(tmp_path):
    with pytest.raises(mlib.Error, match="Cannot write"):
        load_plot.plot(REPORTS["one"](), tmp_path / "none" / "a.svg")
