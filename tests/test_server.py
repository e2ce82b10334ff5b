"""Tests of the server itself: clients that are slow, rude or many, its end, its workers."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
import steady
from conftest import ENVIRONMENT, ROOT, run, running

import mlib
from service import server as server_module
from service.server import Bridge

REQUEST = b'POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"Weight": 200}'


@pytest.fixture(name="served", scope="module")
def _served():
    with running() as served:
        yield served


def connect(served):
    """Connect to what is running."""
    port = int(served.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def read(sock):
    """Read an answer: status, headers, body."""
    with contextlib.closing(http.client.HTTPResponse(sock)) as response:
        response.begin()
        return response.status, response.headers, response.read()


def is_refused(served):
    """Whether nobody listens any more."""
    try:
        connect(served).close()
    except ConnectionRefusedError:
        return True
    return False


def is_answered(served):
    """Hold that others are answered."""
    answered = requests.post(f"{served.url}/predict", json={"Weight": 200}, timeout=30)
    return answered.json() == {"prediction": mlib.predict(200)}


def memory(served):
    """The memory of a process, in bytes."""
    status = Path(f"/proc/{served.process.pid}/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def test_it_does_not_tell_what_it_is(served):
    for path in ("/predict", "/", "/nope", "/static/nope"):
        headers = requests.get(served.url + path, timeout=30).headers
        assert "Server" not in headers
        assert not any(word in str(headers).lower() for word in ("uvicorn", "werkzeug", "python", "flask"))


def test_a_connection_is_kept_and_requests_may_follow_at_once(served):
    with connect(served) as sock:
        sock.sendall(REQUEST * 3)
        got = b""
        while got.count(b"human_readable") < 3:
            got += sock.recv(65536)
        assert got.count(b"HTTP/1.1 200 OK") == 3


def test_hundreds_of_slow_senders_hold_up_nobody(served):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(served)) for _ in range(400)]
        for i, sock in enumerate(slow):
            sock.sendall(REQUEST[:20] if i % 2 else REQUEST[:-5])
        assert is_answered(served)
        slow[0].sendall(REQUEST[-5:])
        assert read(slow[0])[0] == 200


def test_thousands_of_idle_connections_hold_up_nobody(served):
    with contextlib.ExitStack() as stack:
        for _ in range(2000):
            stack.enter_context(connect(served))
        assert is_answered(served)


@pytest.mark.parametrize("request_", [REQUEST, b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_client_that_has_shut_its_half_is_answered(served, request_):
    with connect(served) as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        assert read(sock)[0] == 200
        assert sock.recv(1) == b""


def test_a_client_that_asked_nothing_and_shut_its_half_is_let_go(served):
    with connect(served) as sock:
        sock.sendall(REQUEST[:30])
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


def test_a_body_that_is_declared_too_large_is_refused_unread(served):
    with connect(served) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        status, headers, body = read(sock)
        assert status == 413
        assert headers["Connection"] == "close"
        assert "1,000,000 bytes" in json.loads(body)["detail"]


def send_gigabyte(sock, head, size=10**9):
    """Send a huge body, as far as it is taken."""
    part = b" " * 100_000
    sock.sendall(head)
    with contextlib.suppress(OSError):
        for _ in range(size // len(part)):
            sock.sendall(b"%x\r\n%b\r\n" % (len(part), part) if b"chunked" in head else part)


@pytest.mark.parametrize("kind", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
def test_a_gigabyte_is_refused_and_costs_no_memory(served, kind):
    before = memory(served)
    with connect(served) as sock:
        send_gigabyte(sock, b"POST /predict HTTP/1.1\r\nHost: x\r\n" + kind + b"\r\n\r\n")
        assert read(sock)[0] == 413
    assert is_answered(served)
    assert memory(served) < before + 30_000_000


def test_a_body_a_little_too_large_is_read_on_so_that_the_refusal_is_read(served):
    answered = requests.post(f"{served.url}/predict", data=b" " * 3_000_000, timeout=30)
    assert answered.status_code == 413


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 1_000_000, 431),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),  # TLS
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_with_a_problem(served, sent, status):
    with connect(served) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(sent)
        got, headers, body = read(sock)
    assert got == json.loads(body)["status"] == status
    assert headers["Content-Type"] == "application/problem+json"
    assert is_answered(served)


def test_trailers_are_no_headers():
    """Behind a proxy that strips or checks headers they would come unseen."""
    with running(MLOPS_API_KEYS="sesame") as served, connect(served) as sock:
        sock.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'f\r\n{"Weight": 200}\r\n0\r\nAuthorization: Bearer sesame\r\n\r\n'
        )
        assert read(sock)[0] == 401


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_an_upgrade_that_is_not_offered_is_passed_over(served, protocol):
    with connect(served) as sock:
        more = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol + b"\r\nContent-Length"
        sock.sendall(REQUEST.replace(b"Content-Length", more))
        assert read(sock)[0] == 200


def test_what_is_no_request_does_not_cost_the_one_before_its_answer():
    with running() as served:
        with connect(served) as sock:
            sock.sendall(REQUEST + b"BAD\0\r\n\r\n")
            assert read(sock)[0] == 200
        assert is_answered(served)
        assert not any("exception" in line for line in served.lines())


def test_a_half_body_of_a_client_that_has_shut_its_half_is_let_go(served):
    with connect(served) as sock:
        sock.sendall(REQUEST[:-5])
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


def test_a_log_whose_reader_stalls_holds_up_nobody(model):
    read_end, write_end = os.pipe()
    env = {**ENVIRONMENT, "PORT": "0", "MLOPS_MODEL": str(model)}
    with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stderr=write_end) as process:
        os.close(write_end)
        with open(read_end, encoding="utf-8", buffering=1) as log:
            url = f"http://127.0.0.1:{re.search(r':([0-9]+)', log.readline().partition('http:')[2])[1]}"
            with requests.Session() as session:
                for _ in range(1500):
                    assert session.post(f"{url}/predict", json={"Weight": 200}, timeout=30).status_code == 200
                assert session.get(f"{url}/health/live", timeout=30).status_code == 200
                assert 'status="200"} 1500.0' in session.get(f"{url}/metrics", timeout=30).text
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_a_dead_worker_does_not_end_the_others_while_a_bad_model_lies_on_disk(model, tmp_path):
    steady.put(model, tmp_path)
    with running(MLOPS_MODEL=tmp_path / "model.joblib", WEB_CONCURRENCY=2) as served:
        steady.wait_until(lambda: len(steady.workers_of(served.process.pid)) == 2)
        steady.wait_until(lambda: sum("startup complete" in line.get("message", "") for line in served.lines()) == 2)
        (tmp_path / "model.onnx").write_bytes(b"junk")
        steady.kill_whole(steady.workers_of(served.process.pid)[0])
        time.sleep(3)
        assert is_answered(served)
        steady.put(model, tmp_path)
        steady.wait_until(lambda: requests.get(f"{served.url}/ping", timeout=30).json()["refused"] is None)
        assert is_answered(served)


def test_names_with_underscores_are_no_headers(served):
    """A proxy that strips X-Request-ID would let X_Request_ID pass."""
    with connect(served) as sock:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nX_Request_ID: forged\r\n\r\n")
        assert read(sock)[1]["X-Request-ID"] != "forged"


def test_what_is_under_way_at_its_end_is_answered():
    with running() as served, connect(served) as sock, connect(served) as idle:
        sock.sendall(REQUEST[:-5])
        idle.sendall(REQUEST)
        read(idle)
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        steady.wait_until(lambda: is_refused(served))
        sock.sendall(REQUEST[-5:])
        status, headers, _ = read(sock)
        assert (status, headers["Connection"]) == (200, "close")
        idle.sendall(REQUEST)  # a connection that was kept is still listened to for a moment
        assert read(idle)[0] == 200
        assert idle.recv(1) == b""
        served.process.wait(timeout=20)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_log_is_complete_at_its_end(workers):
    with running(WEB_CONCURRENCY=workers) as served:
        for i in range(50):
            requests.get(f"{served.url}/ping", headers={"X-Request-ID": f"id-{i}"}, timeout=30)
        served.process.terminate()
        assert served.process.wait(timeout=60) == 0
        ids = [line["request_id"] for line in served.lines() if "request_id" in line]
    assert sorted(ids) == sorted(f"id-{i}" for i in range(50))


def test_a_model_that_is_replaced_is_taken_up(model, tmp_path):
    for file in (model, model.with_suffix(".onnx")):
        shutil.copy(file, tmp_path)
    path = tmp_path / "model.joblib"
    with running(MLOPS_MODEL=path) as served:
        before = requests.get(f"{served.url}/health/ready", timeout=30).json()
        path.with_suffix(".onnx").write_bytes(b"damaged")
        steady.wait_until(lambda: requests.get(f"{served.url}/health/ready", timeout=30).json()["refused"])
        assert "model_refused 1.0" in requests.get(f"{served.url}/metrics", timeout=30).text
        assert is_answered(served)
        path.with_suffix(".onnx").unlink()
        mlib.retrain(model_name=path, tsize=0.4)
        version = mlib.Signature.read(path).version
        steady.wait_until(lambda: requests.get(f"{served.url}/ping", timeout=30).json()["version"] == version)
        metrics = requests.get(f"{served.url}/metrics", timeout=30).text
        assert f'model_info{{name="htwtmlb-height",version="{version}"}} 1.0' in metrics
        assert f'model_info{{name="htwtmlb-height",version="{before["version"]}"}} 0.0' in metrics
        assert "model_refused 0.0" in metrics


def test_workers_count_together_and_a_dead_one_is_replaced():
    with running(WEB_CONCURRENCY=2) as served:
        for _ in range(40):
            assert is_answered(served)  # a connection of its own each
        told = 'http_requests_total{method="POST",route="/predict",status="200"} 40.0'
        # What a worker has to tell waits a moment in it.
        steady.wait_until(lambda: told in requests.get(f"{served.url}/metrics", timeout=30).text)
        victim = steady.workers_of(served.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        steady.wait_until(lambda: len(set(steady.workers_of(served.process.pid)) - {victim}) == 2)
        metrics = requests.get(f"{served.url}/metrics", timeout=30).text
        assert "prediction_rows_total 40.0" in metrics
        assert told in metrics


def test_workers_that_have_no_model_end_with_the_reason(tmp_path):
    env = {**ENVIRONMENT, "PORT": "0", "WEB_CONCURRENCY": "2", "MLOPS_MODEL": str(tmp_path / "none.joblib")}
    done = run(sys.executable, "app.py", env=env)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no model")
    damaged = tmp_path / "damaged.joblib"
    damaged.write_bytes(Path(mlib.MODEL).read_bytes())
    damaged.with_suffix(".onnx").write_bytes(b"damaged")
    done = run(sys.executable, "app.py", env={**env, "MLOPS_MODEL": str(damaged)})
    assert done.returncode == 1
    assert "is not a whole model" in done.stderr


def ask(bridge, count=1):
    """Ask a bridge, without a server; return the status and the body of each answer."""
    scope = {"type": "http", "path": "/", "method": "POST", "query_string": b"", "headers": [], "scheme": "http"}
    scope |= {"server": None, "client": None}

    async def one():
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        await bridge(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    async def several():
        return await asyncio.gather(*(one() for _ in range(count)))

    return asyncio.run(several())


class Slow:
    """A WSGI application that answers when it is told to, in a thread."""

    def __init__(self):
        self.told = threading.Event()

    def is_quick(self, _path, _size):
        """Nothing is."""
        return False

    def refused(self, _environ, _status):
        """Name the request."""
        return "id-1"

    def __call__(self, environ, start_response):
        self.told.wait(10)
        start_response("200 OK", [])
        return [b"at last"]


def test_a_bug_is_a_problem_and_its_traceback_is_in_the_log(caplog):
    """The bridge calls whatever WSGI application it is given."""

    class Broken(Slow):
        """Fails."""

        def __call__(self, environ, start_response):
            raise ZeroDivisionError("secret")

    ((status, body),) = ask(Bridge(Broken(), 100))
    assert status == json.loads(body)["status"] == 500
    assert b"secret" not in body
    assert "ZeroDivisionError: secret" in caplog.text


def test_who_waits_behind_too_many_others_is_told_to_come_again(monkeypatch):
    monkeypatch.setattr(server_module, "MOST_WAITING", 3)
    slow = Slow()
    threading.Timer(0.3, slow.told.set).start()
    assert sorted(status for status, _ in ask(Bridge(slow, 100), 5)) == [200, 200, 200, 503, 503]
    assert ask(Bridge(slow, 100)) == [(200, b"at last")]


def test_an_answer_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.05)
    slow = Slow()
    threading.Timer(1, slow.told.set).start()
    ((status, body),) = ask(Bridge(slow, 100))
    assert status == 503
    assert "more than 0.05 seconds" in json.loads(body)["detail"]


def test_a_log_that_nobody_reads_does_not_end_the_service(model):
    """As of `python app.py 2>&1 | head -1`."""
    read_end, write_end = os.pipe()
    env = {**ENVIRONMENT, "PORT": "0", "MLOPS_MODEL": str(model)}
    with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stderr=write_end) as process:
        os.close(write_end)
        with open(read_end, encoding="utf-8") as log:
            port = re.search(r":(\d+)\"", log.readline())[1]
        try:
            for _ in range(3):
                answered = requests.post(f"http://127.0.0.1:{port}/predict", json={"Weight": 200}, timeout=30)
                assert answered.status_code == 200
        finally:
            process.terminate()


def test_nothing_is_lost_while_the_model_changes():
    told = steady.swap(3)
    assert told["asked"] > 100
    assert not told["failed"]
    assert told["median"] < 2  # one of three may fall into a moment in which the machine is busy with something else


def test_only_what_a_dead_worker_had_under_way_is_lost():
    told = steady.kill(2)
    assert told["asked"] > 100
    assert not told["lost"]
    assert len(told["failed"]) <= 2 * steady.CLIENTS


def test_nothing_is_lost_when_the_server_is_ended_and_started():
    told = steady.restart(2)
    assert told["asked"] > 100
    assert not told["failed"]


@pytest.mark.long
def test_nothing_is_lost_in_fifty_changes_of_the_model():
    told = steady.swap(50)
    assert not told["failed"]
    assert told["slowest"] < 2


@pytest.mark.long
def test_only_what_twenty_dead_workers_had_under_way_is_lost():
    told = steady.kill(20)
    assert not told["lost"]
    assert len(told["failed"]) <= 20 * steady.CLIENTS


@pytest.mark.long
def test_nothing_is_lost_in_ten_restarts():
    assert not steady.restart(10)["failed"]


@pytest.mark.long
def test_who_never_ends_a_request_is_told_so_and_let_go(served):
    """Head and body have their time, and a connection on which nothing was ever asked."""
    with connect(served) as head, connect(served) as body, connect(served) as silent, connect(served) as bodiless:
        head.sendall(REQUEST[:20])
        body.sendall(REQUEST[:-5])
        bodiless.sendall(REQUEST[:-15])
        for sock in (head, body, silent, bodiless):
            status, headers, _ = read(sock)
            assert (status, headers["Connection"]) == (408, "close")
            assert sock.recv(1) == b""
        steady.wait_until(lambda: any(line.get("status") == 408 for line in served.lines()))
