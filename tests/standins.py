"""Which servers stand in for endpoints?  Real ones, on a port that the system chose, that keep what they were asked.

>>> with standin(lambda asked: (200, {}, b'{"prediction": {}}')) as server:
...     remote.predict(server.url, {"Weight": 200})
{}
>>> server.asked[0].body
b'{"Weight": 200}'
"""

import contextlib
import hmac
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from click.testing import CliRunner

import mlib
from utilscli import cli

FREE = {  # what a person who runs the tests may have set
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "MLOPS_API_KEY",
    "MLOPS_MODEL",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
}
SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


def settings(folder, **given):
    """The environment of a command that meets no setting of the person who runs the tests, and writes in a folder."""
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "AWS_EC2_METADATA_DISABLED": "true"}
    return {**dict.fromkeys(FREE), **home, **{k: v and str(v) for k, v in given.items()}}


class Utils:
    """./utilscli.py in this process, with an environment."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *args, stdin=None, **given):
        """Run it with some options; keywords are environment variables."""
        runner = CliRunner(env=settings(self.folder, **given))
        done = runner.invoke(cli, list(map(str, args)), input=stdin)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception  # a bug
        return done

    def predict(self, host, *args, **given):
        """Ask a host."""
        return self("predict", "--host", host, *args, **given)

    def rows(self, count):
        """Write a file of so many rows; return its path, and them."""
        rows = [{"Weight": 150 + number} for number in range(count)]
        path = self.folder / "rows.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        return path, rows


@dataclass
class Asked:
    """A request, as it came in."""

    method: str
    path: str
    headers: object
    body: bytes
    number: int = 0


@dataclass
class Standin:
    """A running server, and what it was asked."""

    origin: str
    asked: list = field(default_factory=list)

    @property
    def url(self):
        """Of its predictions."""
        return f"{self.origin}/predict"

    @property
    def port(self):
        """Where it listens."""
        return int(self.origin.rpartition(":")[2])


@contextlib.contextmanager
def standin(answer, context=None):
    """Run a server that answers by a function of what it is asked, over TLS if there is a context; give a Standin.

    The function gives status, headers and body; or None, and the connection is closed; or bytes, which are sent as they
    are before it is closed.
    """
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        """Reads the request, gives the answer."""

        protocol_version = "HTTP/1.1"

        def do_POST(self):  # pylint: disable=invalid-name  # http.server's name
            """Answer."""
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(self.command, self.path, self.headers, self.rfile.read(length))
            with lock:
                asked.number = len(running.asked)
                running.asked.append(asked)
            found = answer(asked)
            if not isinstance(found, tuple):
                self.close_connection = True
                self.wfile.write(found or b"")
                return
            status, headers, content = found
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST  # noqa: N815

        def log_message(self, *_args):  # pylint: disable=arguments-differ  # it is not shown
            """Be quiet."""

    class Server(http.server.ThreadingHTTPServer):
        """Quiet about clients that hang up, which is what some tests are about."""

        def handle_error(self, request, client_address):
            """Be quiet."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        running = Standin(f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield running
        finally:
            server.shutdown()


def predicted(asked):
    """What this project's service answers; it has no other routes."""
    if asked.method != "POST":
        return 404, {"Content-Type": "application/json"}, b"{}"
    rows = json.loads(asked.body)
    key, answer = ("predictions" if isinstance(rows, list) else "prediction"), mlib.predict(rows)
    return 200, {"Content-Type": "application/json"}, json.dumps({key: answer}).encode()


def is_signed(asked, service, region, secrets, token=None):
    """Whether a request was signed by one who knows a secret: botocore signs what came in, and finds the same."""
    found = SIGNED.fullmatch(asked.headers.get("Authorization", ""))
    if not found or (found[3], found[4]) != (region, service) or found[1] not in secrets:
        return False
    names = found[5].split(";")
    if not {"host", "x-amz-date"} <= set(names) or asked.headers.get("X-Amz-Security-Token") != token:
        return False
    if token and "x-amz-security-token" not in names:
        return False
    headers = {name: asked.headers[name] for name in names}
    request = AWSRequest(asked.method, f"http://{asked.headers['Host']}{asked.path}", headers, asked.body)
    request.context["timestamp"] = asked.headers["X-Amz-Date"]
    auth = SigV4Auth(Credentials(found[1], secrets[found[1]], token), service, region)
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return hmac.compare_digest(expected, found[6])


class Aws:
    """Lambda's Invoke, SageMaker's InvokeEndpoint and a route of API Gateway: signed, else 403.

    Parameters
    ----------
    secrets : dict of str to str
        Access keys and their secrets.
    token : str, optional
        Of the session.
    region : str
    """

    def __init__(self, secrets, token=None, region="eu-west-1"):
        self.secrets, self.token, self.region = secrets, token, region
        self.first = []  # answers that come before the others

    def __call__(self, asked):
        path, _, query = asked.path.partition("?")
        service = {"2015-03-31": "lambda", "endpoints": "sagemaker"}.get(path.split("/")[1], "execute-api")
        if not is_signed(asked, service, self.region, self.secrets, self.token):
            said = "The request signature we calculated does not match the signature you provided. "
            seen = asked.headers.get("X-Amz-Security-Token"), asked.headers.get("Authorization", "")[-74:]
            return _error(403, f"{said}It was of {seen}", "InvalidSignatureException")
        if self.first or service == "execute-api":
            return self.first.pop(0) if self.first else predicted(asked)
        name = unquote(path.split("/")[-2])
        if name.split(":")[-1] not in ("height", "my_height-2", "prod"):
            return _error(404, f"Function not found: {name}", "ResourceNotFoundException")
        if query not in ("", "Qualifier=prod", "Qualifier=%24LATEST"):
            return _error(404, f"Alias not found: {query}", "ResourceNotFoundException")
        status, headers, content = predicted(asked)
        if service == "lambda":
            content = json.dumps({"statusCode": status, "body": content.decode()}).encode()
        return status, headers, content


def _error(status, text, kind):
    content = json.dumps({"Type": "User", "Message": text}).encode()
    return status, {"Content-Type": "application/json", "X-Amzn-ErrorType": kind}, content
