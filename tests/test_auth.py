"""Tests of toolkit/auth.py: what is sent so that an endpoint knows who asks, and that none of it is ever shown."""

import base64
import json
import socketserver
import sys
import threading

import pytest
from conftest import serving
from hypothesis import given
from hypothesis import strategies as st
from standins import Utils, predicted, standin

import mlib
from toolkit import auth

KEY = "s3cret+K/ey=&<1>"  # no letter of it is the same in JSON, HTML and an address
ROWS = ["--chunk-rows", "2", "--retries", "0"]


@pytest.fixture(name="utils")
def _utils(tmp_path):
    return Utils(tmp_path)


@pytest.fixture(name="script")
def _script(tmp_path):
    """Write a program; return the command that runs it."""

    def write(text):
        path = tmp_path / "token.py"
        path.write_text(text, encoding="utf-8")
        return f"{sys.executable} {path}"

    return write


@pytest.fixture(name="server")
def _server():
    with standin(predicted) as server:
        yield server


# ----------------------------------------------------------------------------------------- keys and headers


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f"\n  {KEY} \r\n"])
def test_a_key_file_has_the_key_and_space_around_it(tmp_path, text):
    (tmp_path / "key").write_text(text, encoding="utf-8")
    assert auth.read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 words"),
        (b" \n", "has 0 words"),
        (b"two s3cret", "has 2 words"),
        (b"\xff\xfes3cret", "it is no text"),
    ],
)
def test_a_key_file_without_a_key_is_refused_and_not_shown(tmp_path, content, said):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(auth.AuthError, match=said) as caught:
        auth.read_key(tmp_path / "key")
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_key_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(auth.AuthError, match="missing: No such file or directory"):
        auth.read_key(tmp_path / "missing")
    with pytest.raises(auth.AuthError, match="Is a directory"):
        auth.read_key(tmp_path)


@pytest.mark.parametrize("key", ["", "two words", "a\nb", "a\tb", "schlüssel", "\x7f", "\ud800"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key):
    with pytest.raises(auth.AuthError, match="printable ASCII") as caught:
        auth.Auth(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("X-Api-Key: k", ("X-Api-Key", "k")),
        ("X-Api-Key:k:l ", ("X-Api-Key", "k:l")),
        ("X-Empty:", ("X-Empty", "")),
        ("Authorization: Token a b", ("Authorization", "Token a b")),
    ],
)
def test_a_header_is_a_name_and_a_value(text, header):
    assert auth.parse_header(text) == header


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3cret", "A header is no 'Name: value'"),
        (": s3cret", "A header is no 'Name: value'"),
        ("Two words: s3cret", "A header is no 'Name: value'"),
        ("X-Ä: s3cret", "A header is no 'Name: value'"),
        ("X(y): s3cret", "A header is no 'Name: value'"),
        ("X: s3cret\r\nHost: h", "The value of the header X has other than printable ASCII"),
        ("X: s3crét", "The value of the header X has other than printable ASCII"),
        ("Host: s3cret", "The header Host is set by the request itself"),
        ("content-length: s3cret", "The header content-length is set by the request itself"),
        ("Content-Type: s3cret", "The header Content-Type is set by the request itself"),
        ("Transfer-Encoding: s3cret", "The header Transfer-Encoding is set by the request itself"),
    ],
)
def test_what_is_no_header_is_refused_and_its_value_is_not_shown(text, said):
    with pytest.raises(mlib.OptionError, match=said) as caught:
        auth.parse_header(text)
    assert "s3cr" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_of_a_header_that_is_given_twice_the_last_one_is_sent():
    assert auth.Auth(headers={"X-Key": "a", "x-key": "b"}).headers("POST", "http://h", b"") == {"x-key": "b"}


def test_two_ways_to_authorize_exclude_each_other():
    with pytest.raises(auth.AuthError, match="The header Authorization is given"):
        auth.Auth("key", headers={"authorization": "Token t"})


# -------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("printed", [KEY, f"{KEY}\\n", f"  {KEY}\\r\\n"])
def test_a_command_prints_the_token(script, printed):
    assert auth.run_command(script(f"print('{printed}', end='')")) == KEY


def test_a_command_is_split_as_a_shell_does_and_run_without_one(script):
    assert auth.run_command(script("import sys; print(sys.argv[2])") + ' 1 "$HOME;x"') == "$HOME;x"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("", "printed 0 words; expected one, the token."),
        ("print('two s3cret')", "printed 2 words; expected one, the token."),
        ("import sys; sys.exit(3)", "failed with 3: it does not say why."),
        ("import sys; sys.exit('first\\nlog in first\\n')", "failed with 1: log in first."),
        ("import sys; sys.exit('\\x1b[2Jred')", "failed with 1:  [2Jred."),
        ("print('s3cret'); raise SystemExit(2)", "failed with 2: it does not say why."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed with -9: it does not say why."),
    ],
)
def test_a_command_that_prints_no_token_is_told_by_its_name(script, program, said):
    with pytest.raises(auth.AuthError) as caught:
        auth.run_command(script(program))
    name = sys.executable.rpartition("/")[2]
    assert str(caught.value) == f"The bearer command '{name}' {said}"
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "no-such-command --x s3cret",
            "The bearer command 'no-such-command' cannot be run: No such file or directory.",
        ),
        ("/ s3cret", "cannot be run: Permission denied."),
        ("", "cannot be run: there is no command in it."),
        ("'s3cret", "The bearer command cannot be read: No closing quotation."),
    ],
)
def test_a_command_that_cannot_be_run_is_told_without_its_options(command, said):
    with pytest.raises(auth.AuthError) as caught:
        auth.run_command(command)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_command_that_prints_nothing_for_long_is_ended(script, monkeypatch):
    monkeypatch.setattr(auth, "COMMAND_TIMEOUT", 0.2)
    with pytest.raises(auth.AuthError, match=r"printed no token within 0\.2 s"):
        auth.run_command(script("import time; time.sleep(600)"))


# ---------------------------------------------------------------------------------------------------- hiding


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"Bearer {KEY}",
        json.dumps({"authorization": f"Bearer {KEY}"}),
        "s3cret+K/ey=&amp;&lt;1&gt;",  # as HTML writes it
        "s3cret%2BK%2Fey%3D%26%3C1%3E",  # as an address does
    ],
)
def test_a_key_is_hidden_however_it_is_written(text):
    for who in (
        auth.Auth(KEY),
        auth.Auth(headers={"X-Key": KEY}),
        auth.Auth(headers={"Authorization": f"Bearer {KEY}"}),
    ):
        hidden = who.hide(f"you sent {text}.")
        assert "s3cret" not in hidden
        assert hidden.startswith("you sent ")
        assert "***" in hidden


def test_a_key_with_a_quote_is_hidden_in_json_too():
    assert auth.Auth('a"b\\c').hide(json.dumps({"got": 'a"b\\c'})) == '{"got": "***"}'


def test_a_password_and_what_it_is_sent_as_are_hidden():
    who = auth.Auth(user="ann:s3cret")
    assert who.headers("POST", "http://h", b"") == {"Authorization": "Basic YW5uOnMzY3JldA=="}  # RFC 7617's way
    assert who.hide("ann:s3cret YW5uOnMzY3JldA==") == "ann:*** ***"


def test_a_short_value_of_a_header_is_no_secret():
    who = auth.Auth("k", {"Accept-Language": "en"})
    assert who.hide("the end of k") == "the end of ***"


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=1),
    *(st.text(), st.text()),
)
def test_no_key_is_left_in_any_text(key, before, after):
    assert key not in auth.Auth(key).hide(f"{before}{key}{after}")


# ------------------------------------------------------------------------------------------------ end to end


def sent(server):
    """What the server was sent of who asks: predictions only."""
    return [asked.headers.get_all("Authorization") for asked in server.asked if asked.method == "POST"]


def asked_both_ways(utils, host, *options, **variables):
    """Ask one row, by requests, and several, by aiohttp; return all that was printed."""
    path, rows = utils.rows(3)
    one = utils.predict(host, "--weight", "200", "--retries", "0", *options, **variables)
    many = utils.predict(host, "--from", path, *ROWS, *options, **variables)
    assert one.exit_code == many.exit_code
    if not one.exit_code:
        assert json.loads(one.stdout.removeprefix("result: ")) == {"prediction": mlib.predict(200)}
        assert [json.loads(line) for line in many.stdout.splitlines()] == mlib.predict(rows)
    return one.exit_code, one.output + many.output


def test_the_key_of_the_environment_is_sent(utils, server):
    code, printed = asked_both_ways(utils, server.url, MLOPS_API_KEY=KEY)
    assert (code, KEY in printed) == (0, False)
    assert sent(server) == [[f"Bearer {KEY}"]] * 3


def test_no_key_is_sent_where_none_is_given(utils, server):
    asked_both_ways(utils, server.url)
    assert sent(server) == [None] * 3


def test_the_key_of_a_file_or_of_a_command_goes_before_that_of_the_environment(utils, server, script, tmp_path):
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")
    asked_both_ways(utils, server.url, "--key-file", tmp_path / "key", MLOPS_API_KEY="other")
    asked_both_ways(utils, server.url, "--bearer-command", script(f"print({KEY!r})"), MLOPS_API_KEY="other")
    assert sent(server) == [[f"Bearer {KEY}"]] * 6


def test_a_key_comes_from_the_standard_input(utils, server):
    done = utils.predict(server.url, "--weight", 200, "--key-file", "-", stdin=f"{KEY}\n")
    assert done.exit_code == 0
    assert sent(server) == [[f"Bearer {KEY}"]]


def test_the_standard_input_cannot_be_both_the_key_and_the_rows(utils, server):
    done = utils.predict(server.url, "--from", "-", "--key-file", "-", stdin=KEY)
    assert done.exit_code == 2
    assert "--from and --key-file cannot both read the standard input." in done.stderr
    assert not server.asked


def test_headers_are_sent_as_they_are_given_one_each(utils, server, tmp_path):
    (tmp_path / "headers").write_text(f"X-Second: two words\n\naccept: text/x-{KEY}\n", encoding="utf-8")
    options = ["--header", f"authorization: Token {KEY}", "--header", f"@{tmp_path / 'headers'}"]
    code, printed = asked_both_ways(utils, server.url, *options, MLOPS_API_KEY="other")
    assert (code, KEY in printed) == (0, False)
    for asked in server.asked:
        assert asked.headers.get_all("Authorization") == [f"Token {KEY}"]
        assert asked.headers.get_all("X-Second") == ["two words"]
        assert asked.headers.get_all("Accept") == [f"text/x-{KEY}"]
    assert {asked.headers.get_content_type() for asked in server.asked if asked.body} == {"application/json"}


def test_user_and_password_of_the_address_are_sent_where_there_is_no_key(utils, server):
    url = server.url.replace("http://", "http://ann:s3cr%40t@")
    code, printed = asked_both_ways(utils, url)
    basic = base64.b64encode(b"ann:s3cr@t").decode()
    assert sent(server) == [[f"Basic {basic}"]] * 3
    asked_both_ways(utils, url, MLOPS_API_KEY=KEY)
    assert sent(server)[3:] == [[f"Bearer {KEY}"]] * 3
    assert code == 0
    assert not any(secret in printed for secret in ("ann", "s3cr", basic))


def test_netrc_is_not_asked_for_a_key(utils, server, tmp_path):
    netrc = f"machine 127.0.0.1 login ann password s3cret\nmachine 127.0.0.1:{server.port} login ann password s3cret\n"
    (tmp_path / ".netrc").write_text(netrc, encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    asked_both_ways(utils, server.url, MLOPS_API_KEY=KEY, NETRC=tmp_path / ".netrc")
    assert sent(server) == [[f"Bearer {KEY}"]] * 3
    asked_both_ways(utils, server.url, NETRC=tmp_path / ".netrc")
    assert sent(server)[3:] == [None] * 3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--key-file", "a", "--bearer-command", "b"], 2, "--key-file and --bearer-command exclude each other"),
        (["--key-file", "a", "--aws-sigv4", "b"], 2, "--key-file and --aws-sigv4 exclude each other"),
        (["--key-file", "no-such-file"], 1, "Cannot read the key file no-such-file: No such file or directory."),
        (["--header", "@no-such-file"], 1, "Cannot read the headers in no-such-file: No such file or directory."),
        (["--header", "s3cret"], 2, "A header is no 'Name: value'"),
        (
            ["--header", "Authorization: s3cret", "--bearer-command", "echo s3cret"],
            1,
            "The header Authorization is given",
        ),
        (["--bearer-command", "echo a s3cret"], 1, "The bearer command 'echo' printed 2 words"),
        (["--host", "sagemaker:height", "--key-file", "a"], 2, "--key-file is not for it"),
        (["--host", "lambda:height", "--header", "X: s3cret"], 2, "--header is not for it"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anybody_is_asked(utils, server, options, code, said):
    done = utils("predict", "--weight", 200, "--host", server.url, *options)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "s3cret" not in done.stderr
    assert not server.asked


def test_the_service_answers_the_right_key_and_refuses_others(utils):
    with serving(MLOPS_API_KEYS=f"other,{KEY}") as url:
        assert asked_both_ways(utils, url, MLOPS_API_KEY=KEY)[0] == 0
        code, printed = asked_both_ways(utils, url, MLOPS_API_KEY="wr0ngkey")
        assert code == 4
        assert "answered 401: " in printed
        assert "Is the key right?" in printed
        assert "wr0ngkey" not in printed
        code, printed = asked_both_ways(utils, url)
        assert code == 4
        assert "It wants a key: give one by MLOPS_API_KEY, --key-file or --header." in printed


def test_what_an_endpoint_takes_is_learnt_once_the_key_is_right(two_features, utils):
    with serving(MLOPS_API_KEYS=KEY, MLOPS_MODEL=two_features) as url:
        assert utils.predict(url, "--weight", 200, MLOPS_API_KEY="wr0ngkey").exit_code == 4
        shown = utils.predict(url, "--help", MLOPS_API_KEY=KEY).stdout
        assert "--age" in shown


ECHOES = {
    "a problem": lambda text: (500, {}, json.dumps({"detail": f"you sent {text}"}).encode()),
    "json": lambda text: (500, {}, json.dumps({"headers": {"authorization": text}}).encode()),
    "html": lambda text: (500, {}, f"<pre>{text.replace('&', '&amp;').replace('<', '&lt;')}</pre>".encode()),
    "much": lambda text: (500, {}, (text * 1000).encode()),
    "a redirect": lambda text: (302, {"Location": f"http://u:{text.split()[-1]}@h/{text.split()[-1]}?k=1"}, b""),
    "a redirect to no address": lambda text: (302, {"Location": f"http://[{text}"}, b""),
    "a redirect without a host": lambda text: (307, {"Location": f"http:///{text}"}, b""),
    "a retry": lambda text: (503, {"Retry-After": "0"}, json.dumps({"detail": text}).encode()),
    "a refusal": lambda text: (403, {}, json.dumps({"message": f"no {text}"}).encode()),
    "rows": lambda text: (422, {}, json.dumps({"errors": [{"row": 1, "field": text, "got": text * 9}]}).encode()),
    "no prediction": lambda text: (200, {}, f"hello {text}".encode()),
}


@pytest.mark.parametrize("echo", ECHOES)
def test_what_an_endpoint_repeats_of_the_key_is_shown_nowhere(utils, echo):
    long = KEY + "x" * 300
    with standin(lambda asked: ECHOES[echo](asked.headers["Authorization"])) as server:
        for key in (KEY, long):
            code, printed = asked_both_ways(utils, server.url, "--retries", 1, MLOPS_API_KEY=key)
            assert code == 4
            assert "s3cret" not in printed
            assert "xxx" not in printed
        code, printed = asked_both_ways(utils, server.url.replace("http://", "http://ann:s3cret@"))
        assert code == 4
        assert not any(secret in printed for secret in ("s3cret", "YW5uOnMzY3JldA"))


NO_HTTP = {
    "no status line": b"%s\r\n\r\n",
    "no status": b"HTTP/1.1 x%s\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
    "no header": b"HTTP/1.1 200 OK\r\n%s\r\n\r\n",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
}


class Rude(socketserver.StreamRequestHandler):
    """Says that it tells nothing of itself, and answers predictions by what was sent of who asks, out of place."""

    def handle(self):
        """Answer one request."""
        lines = iter(self.rfile.readline, b"\r\n")
        is_get, headers = next(lines).startswith(b"GET"), dict(line.strip().lower().split(b": ", 1) for line in lines)
        self.rfile.read(int(headers.get(b"content-length", 0)))
        who = KEY.encode() if headers[b"authorization"] == f"bearer {KEY}".lower().encode() else b""
        reply = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" if is_get else self.server.reply % who
        self.wfile.write(reply)


@pytest.mark.parametrize("reply", NO_HTTP.values(), ids=NO_HTTP)
def test_the_key_is_not_shown_where_the_answer_is_no_http(utils, reply):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Rude) as server:
        server.reply = reply
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        path, _ = utils.rows(3)
        for rows in (["--weight", 200], ["--from", path]):
            url = f"http://127.0.0.1:{server.server_address[1]}"
            done = utils.predict(url, *rows, "--retries", 1, MLOPS_API_KEY=KEY)
            assert done.exit_code in (3, 4)
            assert "Error: " in done.stderr
            assert "s3cret" not in done.output
        server.shutdown()


def test_a_key_in_the_query_is_sent_and_shown_nowhere(utils):
    with standin(lambda asked: (500, {}, f"Cannot POST {asked.path}".encode())) as server:
        code, printed = asked_both_ways(utils, f"{server.url}?code={'s3cret'}%2B")
        assert code == 4
        assert {asked.path for asked in server.asked if asked.method == "POST"} == {"/predict?code=s3cret%2B"}
        assert "s3cret" not in printed


@pytest.mark.parametrize("options", [{"MLOPS_API_KEY": KEY}, {}])
def test_who_sends_a_key_over_plain_http_to_another_machine_is_warned(utils, options):
    done = utils.predict("http://endpoint.invalid/predict", "--weight", 200, **options)
    warning = "Warning: http://endpoint.invalid/predict is asked without TLS; others can read the key."
    assert (warning in done.stderr) is bool(options)
    assert done.exit_code == 3
    assert KEY not in done.stderr


def test_who_sends_a_key_to_this_machine_is_not_warned(utils, server):
    assert "without TLS" not in asked_both_ways(utils, server.url, MLOPS_API_KEY=KEY)[1]
    url = server.url.replace("127.0.0.1", "localhost")
    assert "without TLS" not in asked_both_ways(utils, url, MLOPS_API_KEY=KEY)[1]
