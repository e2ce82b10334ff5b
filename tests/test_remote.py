"""Tests of toolkit/remote.py against real servers that misbehave."""

import contextlib
import email.utils
import json
import socket
import threading
import time

import numpy as np
import pytest
from misbehaving import ANSWER, PREDICTION, answering, as_rows, posts

import mlib
from toolkit import endpoints, remote
from toolkit.auth import Auth

ROW = {"Weight": 200}
MANY = [{"Weight": weight} for weight in range(150, 160)]


@pytest.fixture(name="ask", params=["one row", "many rows"])
def _ask(request):
    """Ask by requests, or by aiohttp; give what came of it."""

    def ask(url, **options):
        options = {"retries": 0, **options}
        if request.param == "one row":
            return [remote.predict(url, ROW, **options)]
        results = []
        remote.Endpoint(url, **options).ask_many(MANY, results.append, chunk_rows=10)
        for result in results:
            for failed in result.failed:
                raise failed.cause
        return results[0].answers

    return ask


def always(status=200, body=b"", **headers):
    """The same reply to everything."""
    return lambda *_request: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def test_a_row_and_rows_are_sent_as_json_and_the_answers_returned():
    with answering(posts(lambda rows, _: as_rows(rows))) as server:
        assert remote.predict(server.url, ROW) == ROW
        assert remote.predict(server.url, MANY) == MANY
        assert remote.predict(server.url, []) == []
    assert server.rows() == [ROW, MANY]


def test_a_bare_origin_gets_the_published_path():
    with answering(posts(lambda rows, _: as_rows(rows))) as server:
        assert remote.predict(server.url.removesuffix("/predict"), ROW) == ROW
    assert server.requests[0][1] == "/predict"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (422, b'{"title": "Unprocessable Content", "detail": "Weight: got -5"}', "answered 422: Weight: got -5"),
        (500, b"<h1>oops</h1>", "answered 500: <h1>oops</h1>"),
        (500, b"", "answered 500: Internal Server Error"),
        (599, b"", "answered 599: no status of HTTP"),
        (404, b"nope", "answered 404: Not Found. Does the URL end in /predict?"),
        (401, b"", "answered 401: Unauthorized. It wants a key: give one by MLOPS_API_KEY, --key-file or --header."),
        (403, b'{"message": "Forbidden"}', "answered 403: Forbidden. It wants a key"),
        (204, b"", "answered 204"),
        (200, b"", "answered, but with no prediction: nothing."),
        (200, b"hello", "answered, but with no prediction: hello."),
        (200, b"<html><body>Welcome</body></html>", "no prediction: <html><body>Welcome</body></html>."),
        (200, b'{"prediction": {"height_inches": 7', 'no prediction: {"prediction": {"height_inches": 7.'),
        (200, b"{}", "answered, but with no prediction"),
        (200, b"[1]", "answered, but with no prediction"),
        (200, b'{"prediction": 73}', "answered, but with no prediction"),
        (200, b'{"predictions": [{}]}', "answered, but with no prediction"),
        (200, b"\x1b[31mred\nline", "no prediction:  [31mred line."),
        (422, b'{"detail": "a\\u001b[2J\\nb' + b"x" * 10_000 + b'"}', "answered 422: a [2J bxxx"),
        (200, b"[" * 100_000, "answered, but with no prediction"),
        (200, b'{"prediction": {"height_inches": NaN}}', "answered, but with no prediction"),
        (200, b"x" * 100_000, "x" * 200 + "."),
        (200, b"\xff\xfe\x00", "answered, but with no prediction"),
    ],
)
def test_an_answer_that_is_none_is_told(ask, status, body, said):
    with answering(always(status, body)) as server, pytest.raises(remote.AnswerError) as caught:
        ask(server.url)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert caught.value.exit_code == 4


def test_an_error_has_its_status_and_what_was_wrong_with_the_rows(server):
    with pytest.raises(remote.AnswerError) as caught:
        remote.predict(server, {"Weight": -5})
    assert caught.value.status == 422
    assert [(problem["field"], problem["got"]) for problem in caught.value.errors] == [("Weight", -5)]
    assert not caught.value.may_pass


def test_a_redirect_is_told_and_not_followed(ask):
    with (
        answering(posts(lambda rows, _: as_rows(rows))) as other,
        answering(always(307, Location=f"{other.url}?token=secret")) as server,
        pytest.raises(remote.AnswerError, match="it redirects to http://127") as caught,
    ):
        ask(server.url)
    assert "secret" not in str(caught.value)
    assert not other.requests


# ------------------------------------------------------------------------------------- what cannot be reached


def test_a_server_that_never_answers_is_unreachable_in_time(ask):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/predict"
        with pytest.raises(remote.UnreachableError, match=r"did not answer within 0\.2 s") as caught:
            ask(url, timeout=0.2, retries=5)
    assert not caught.value.may_pass  # five more tries would take six times as long


def dribble(listener, stop, begun):
    """Accept a connection, and answer it a byte at a time."""
    connection, _ = listener.accept()
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(begun)
        while not stop.wait(0.05):
            connection.sendall(b" ")


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"]
)
def test_the_timeout_is_for_the_whole_answer(ask, begun):
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as slow:
        thread = threading.Thread(target=dribble, args=(slow, stop, begun), daemon=True)
        thread.start()
        with pytest.raises(remote.UnreachableError, match=r"did not answer within 0\.5 s"):
            ask(f"http://127.0.0.1:{slow.getsockname()[1]}/predict", timeout=0.5)
        stop.set()
        thread.join()


def test_an_answer_without_end_is_cut_off(ask, monkeypatch):
    monkeypatch.setattr(remote, "LARGEST_ANSWER", 2**20)
    with (
        answering(always(200, b" " * (3 * 2**20))) as server,
        pytest.raises(remote.AnswerError, match="answered with more than 1 MB"),
    ):
        ask(server.url)


@pytest.mark.parametrize("reply", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", b"SSH-2.0-OpenSSH_9.9\r\n"])
def test_a_server_that_hangs_up_is_unreachable(ask, reply):
    with (
        answering(lambda *_request: reply) as server,
        pytest.raises(remote.UnreachableError, match="cannot be reached") as caught,
    ):
        ask(server.url)
    assert caught.value.exit_code == 3
    assert caught.value.may_pass
    assert "\n" not in str(caught.value)


def test_nothing_listening_is_unreachable(ask):
    with pytest.raises(remote.UnreachableError, match="Connection refused") as caught:
        ask("http://127.0.0.1:9/predict")
    assert caught.value.may_pass


def test_a_name_that_nobody_knows_is_unreachable(ask):
    with pytest.raises(remote.UnreachableError, match=r"cannot be reached: .*ame.*Is the name right"):
        ask("http://no-such-host.invalid/predict")


@pytest.mark.parametrize(
    "url",
    ["localhost:8080", "", "http://", "ftp://localhost/", "http://[::1/", "http://a:b/", f"http://{'a' * 300}.com/"],
)
def test_what_is_no_url_is_an_option_error(url):
    with pytest.raises(mlib.OptionError, match="is no address of an endpoint"):
        remote.predict(url, ROW)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": None}, {"timeout": float("inf")}, {"retries": -1}])
def test_options_that_cannot_be_are_option_errors(options):
    with pytest.raises(mlib.OptionError, match="expected seconds above 0, and a number of 0 or more"):
        remote.predict("http://127.0.0.1:9", ROW, **options)


def test_numbers_of_numpy_are_numbers(server):
    rows = [{"Weight": np.int64(200)}, {"Weight": np.float64(180)}]
    assert remote.predict(server, rows) == mlib.predict([200, 180])


def test_what_json_does_not_have_is_an_option_error():
    with pytest.raises(mlib.OptionError, match="cannot be sent as JSON"):
        remote.predict("http://127.0.0.1:9/predict", {"Weight": float("inf")})


# ------------------------------------------------------------------------------------------------ another try


def failing(times, reply):
    """Fail so often, then answer."""
    return posts(lambda rows, number: reply if number < times else as_rows(rows))


@pytest.mark.parametrize(
    "reply",
    [
        (503, {}, b""),
        (502, {}, b""),
        (504, {}, b""),
        (429, {}, b""),
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
    ],
)
def test_what_may_pass_is_tried_again(ask, reply):
    told = []
    with answering(failing(2, reply)) as server:
        assert ask(server.url, retries=2, tell=told.append) in ([ROW], MANY)
    assert len(server.requests) == 3
    assert len(told) == 2
    assert all(text.startswith("Trying again in ") for text in told)


def test_with_no_retries_left_the_last_failure_is_told(ask):
    with (
        answering(always(503, b'{"detail": "busy"}')) as server,
        pytest.raises(remote.AnswerError, match="answered 503: busy"),
    ):
        ask(server.url, retries=1)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 501])
def test_what_another_try_would_not_change_is_not_tried_again(ask, status):
    with answering(always(status)) as server, pytest.raises(remote.AnswerError):
        ask(server.url, retries=5)
    assert len(server.requests) == 1


def test_the_pauses_grow_and_are_not_all_the_same():
    endpoint, error = remote.Endpoint("http://127.0.0.1:9"), remote.UnreachableError("", may_pass=True)
    pauses = []
    for _ in range(20):
        patience, first = endpoint.after(error, endpoint.patience)
        patience, second = endpoint.after(error, patience)
        _, third = endpoint.after(error, patience)
        pauses.append((first, second, third))
    for low, drawn in zip((0.2, 0.4, 0.8), zip(*pauses, strict=True), strict=True):  # 0.1 * 2 ** n, and up to 0.2
        assert low <= min(drawn) < max(drawn) <= low + 0.2


def test_the_endpoint_says_when_to_come_back():
    endpoint = remote.Endpoint("http://127.0.0.1:9")
    soon = endpoint.refusal(429, {"Retry-After": "7"}, b"")
    assert endpoint.after(soon, endpoint.patience)[1] == 7
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 20 < endpoint.after(endpoint.refusal(503, {"Retry-After": date}, b""), endpoint.patience)[1] <= 30
    nonsense = endpoint.refusal(503, {"Retry-After": "soon"}, b"")
    assert endpoint.after(nonsense, endpoint.patience)[1] < 1
    late = endpoint.refusal(429, {"Retry-After": "3600"}, b"")
    with pytest.raises(remote.AnswerError, match=r"\(to be asked again after 3600 s\)"):
        endpoint.after(late, endpoint.patience)


def test_it_is_asked_again_only_then(ask):
    with answering(failing(1, (429, {"Retry-After": "1"}, b""))) as server:
        start = time.monotonic()
        ask(server.url, retries=1)
        assert time.monotonic() - start >= 1
    assert len(server.requests) == 2


# --------------------------------------------------------------------------------------------- what it takes


def test_the_service_tells_what_it_takes(server):
    found = remote.Endpoint(server).signature()
    assert found.version == mlib.Signature.read().version
    assert [feature.name for feature in found.features] == ["Weight"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"format": 1}', b'{"format": 2}', b'{"format": 1, "features": [{}]}']
)
def test_what_is_no_signature_is_none(body):
    with answering(always(200, body)) as server:
        assert remote.Endpoint(server.url).signature() is None
        assert remote.Endpoint(server.url).signature() is None  # remembered: it tells none
    assert len(server.requests) == 1


@pytest.mark.parametrize("names", [[1, 2], [None, "b"], [True, "b"], [["a"], "b"], ["a", "a"], []], ids=str)
def test_a_signature_whose_names_cannot_be_is_none(names, two_features):
    card = mlib.Signature.read(two_features).card
    card["features"] = [{**feature, "name": name} for feature, name in zip(card["features"], names, strict=False)]
    with answering(always(200, json.dumps(card).encode())) as server:
        assert remote.Endpoint(server.url).signature() is None


def test_a_refusal_forgets_what_it_took(server):
    endpoint = remote.Endpoint(server)
    assert endpoint.signature()
    assert endpoints.recall(endpoint.host.card_url)
    with pytest.raises(remote.AnswerError):
        endpoint.predict({"Wieght": 3})
    assert endpoints.recall(endpoint.host.card_url) is None


def test_a_key_that_an_endpoint_repeats_is_in_no_answer_and_not_remembered():
    card = {**mlib.Signature.read().card, "title": 's3cr"t/key+-of-many'}
    told = {"height_inches": 73.2, "by": 'Bearer s3cr"t/key+-of-many'}

    def reply(method, _path, _headers, _body, _number):
        return 200, {}, json.dumps(card if method == "GET" else {"prediction": told}).encode()

    with answering(reply) as server:
        endpoint = remote.Endpoint(server.url, Auth(key='s3cr"t/key+-of-many'))
        assert endpoint.signature().title == "***"
        assert endpoint.predict(ROW) == {"height_inches": 73.2, "by": "Bearer ***"}
        for word in ("7", "height"):  # they stand in the answer itself
            assert remote.Endpoint(server.url, Auth(key=word)).predict(ROW) == told
    assert "s3cr" not in json.dumps(endpoints.recall(endpoint.host.card_url))


def test_a_server_that_has_too_much_to_do_is_asked_again_what_it_takes():
    card = json.dumps(mlib.Signature.read().card).encode()
    with answering(lambda *request: (503, {}, b"") if request[-1] == 0 else (200, {}, card)) as server:
        assert remote.Endpoint(server.url).signature().name == "htwtmlb-height"
    with answering(always(503)) as server, pytest.raises(remote.AnswerError, match="answered 503"):
        remote.Endpoint(server.url, retries=1).signature()


# ------------------------------------------------------------------------------------- what requests would do


def test_proxies_of_the_environment_are_used(ask, monkeypatch):
    with answering(posts(lambda rows, _: as_rows(rows))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/predict"))
        assert ask("http://models.invalid/predict") in ([ROW], MANY)
    assert proxy.requests[0][1] == "http://models.invalid/predict"


def test_a_proxy_that_is_not_there_is_blamed_and_not_the_endpoint(ask, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(remote.UnreachableError, match=r"the proxy that the environment names is not \(Connection ref"):
        ask("http://models.invalid/predict")


@pytest.mark.parametrize("proxy", ["http://a:s3cret@", "http://[", "http://h:x"])
def test_a_proxy_that_cannot_be_is_told(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(
        mlib.DataError, match=r"The proxy of the environment is .*; expected http://HOST:PORT"
    ) as caught:
        remote.Endpoint("http://models.invalid/predict")
    assert "s3cret" not in str(caught.value)


def test_tls_where_there_is_none_is_not_tried_again(ask):
    told = []
    with answering(always(200, ANSWER)) as server, pytest.raises(remote.UnreachableError) as caught:
        ask(server.url.replace("http:", "https:"), retries=5, tell=told.append)
    assert not caught.value.may_pass
    assert not told


def test_no_cookie_is_kept():
    with answering(always(200, ANSWER, Set_Cookie="session=1")) as server:
        endpoint = remote.Endpoint(server.url, Auth(key="k"))
        assert [endpoint.predict(ROW), endpoint.predict(ROW)] == [PREDICTION, PREDICTION]
    assert "Cookie" not in server.requests[1][2]
