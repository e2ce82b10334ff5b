"""How is the application served?

By uvicorn, an asynchronous server: a slow or idle client costs it a socket and no thread. `Bridge` hands a request to
the WSGI application when all of it is there. `Protocol` adds what uvicorn leaves open: limits on a request's head, and
an end at which no client that is just asking loses its request.

Zero-downtime restarts want a listening socket that outlives the server: systemd's socket activation (LISTEN_FDS), or
whatever passes the socket as file descriptor 3 in the same way.
"""

import asyncio
import contextlib
import functools
import http
import io
import json
import logging
import os
import pathlib
import re
import resource
import signal
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from uvicorn.importer import import_from_string
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

import mlib
from toolkit import wire

log = logging.getLogger(__name__)

THREADS = 4  # for what is not answered at once: pages, many rows
MOST_WAITING = 256  # requests for these; one more is told to come again later
HEAD_SECONDS = 10.0  # for a request's head to come
BODY_SECONDS = 20.0  # and for its body
ANSWER_SECONDS = 30.0  # for an answer from a thread
HEAD_BYTES = 65_536  # of a request's head
LOOK_SECONDS = 5.0  # between two looks at what is waited for
KEEP_ALIVE = 75  # seconds that a connection may be idle: longer than what usual proxies keep theirs
LAME_SECONDS = 1.0  # that an idle connection is still listened to after SIGTERM
GRACE_SECONDS = 7  # for what is under way at SIGTERM; with what follows it ends before the 10 that `docker stop` waits
LINGER_BYTES, LINGER_SECONDS = 10_000_000, 2.0  # of a refused body that are still read, so that the refusal is, too
BACKLOG = 2048
UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)

ENVIRON = {  # of every request
    "SCRIPT_NAME": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


class Bridge:
    """Hand requests to a WSGI application: an ASGI application.

    Parameters
    ----------
    application : WSGI application
        With the methods ``is_quick(path, size)``, which tells what is answered at once, on the event loop;
        ``refused(environ, status)``, which is told of a request that never reaches it, and gives its id; ``close()``.
    max_body : int
        Bytes of a body that are read at most.
    """

    def __init__(self, application, max_body):
        self.application, self.max_body = application, max_body
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
        self.waiting = 0

    async def __call__(self, scope, receive, send):
        """Answer a request, as ASGI has it; at the server's end let the application close."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        environ = _environ(scope)
        is_whole, body = True, b""
        declared = environ.get("CONTENT_LENGTH", "")
        if declared.isdecimal() and int(declared) > self.max_body:
            is_whole = False
        else:
            message = await receive()  # mostly all of it is there; `Protocol` sees to those who send none
            if message["type"] == "http.disconnect":
                return
            body = message.get("body", b"")
            if message.get("more_body"):
                try:
                    async with asyncio.timeout(BODY_SECONDS):
                        body, is_whole = await self._rest(body, receive)
                except TimeoutError:
                    detail = f"The body did not come within {BODY_SECONDS:g} seconds."
                    await _send(send, *self._refusal(environ, 408, detail), is_last=True)
                    return
                if body is None:  # the client is gone
                    return
            environ["CONTENT_LENGTH"] = str(len(body)) if body or declared else ""
        environ["wsgi.input"] = io.BytesIO(body)

        if self.application.is_quick(scope["path"], len(body)):
            answer = _call(self.application, environ)
        elif self.waiting >= MOST_WAITING:
            answer = self._refusal(environ, 503, "Too many requests wait for an answer. Try again in a second.")
        else:
            answer = await self._in_thread(environ)
        await _send(send, *answer, is_last=is_whole)
        if not is_whole:
            await _linger(receive)
            await send({"type": "http.response.body"})

    async def _live(self, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.application.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _rest(self, first, receive):
        """Read a body to its end, or to one byte more than is taken."""
        parts, size = [first], len(first)
        while size <= self.max_body:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None, True
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body"):
                return b"".join(parts), True
        return b"".join(parts), False

    async def _in_thread(self, environ):
        self.waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self.pool, _call, self.application, environ)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), ANSWER_SECONDS)
        except TimeoutError:
            detail = f"The answer took more than {ANSWER_SECONDS:g} seconds. Ask with fewer rows."
            return self._refusal(environ, 503, detail)

    def _refusal(self, environ, status, detail):
        answer_status, headers, body = _problem(status, detail)
        request_id = self.application.refused(environ, status)
        return answer_status, [*headers, (b"x-request-id", request_id.encode())], body

    def _done(self, _):
        self.waiting -= 1


@functools.lru_cache(maxsize=512)
def _name(header):
    """A header's name in a WSGI environ."""
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def _environ(scope):
    path = scope["path"]
    environ = {
        **ENVIRON,
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": path if path.isascii() else path.encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": scope["server"][0] if scope["server"] else "localhost",
        "SERVER_PORT": str(scope["server"][1]) if scope["server"] else "80",
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.url_scheme": scope["scheme"],
    }
    for header, value in scope["headers"]:
        if b"_" in header:  # a_b and a-b would be one
            continue
        name, text = _name(header), value.decode("latin-1")
        environ[name] = f"{environ[name]},{text}" if name in environ else text
    return environ


def _call(application, environ):
    """Call a WSGI application; return status, headers and body."""
    status, headers = 500, []

    def start_response(line, told, _exc_info=None):
        nonlocal status, headers
        status, headers = int(line[:3]), told

    try:
        parts = application(environ, start_response)
        try:
            body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
    except Exception:  # pylint: disable=broad-exception-caught  # the log keeps the traceback
        log.exception("The request could not be answered.")
        return _problem(500, "The server met a bug. Its log has what happened.")
    return status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers], body


def _problem(status, detail):
    content = wire.problem(status, http.HTTPStatus(status).phrase, detail)
    headers = [(b"content-type", wire.PROBLEM.encode()), (b"content-length", str(len(content)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    return status, headers + [(b"connection", b"close")] * (status == 408), content


async def _send(send, status, headers, body, is_last):
    if not is_last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})


async def _linger(receive):
    """Read on for a little while: a connection that is closed upon unread bytes is reset, and the answer lost."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while size < LINGER_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


class _Joined:
    """A transport that sends in one piece what is written at once: uvicorn writes an answer's head, then its body."""

    def __init__(self, transport, loop):
        self._transport, self._loop, self._parts = transport, loop, []
        self.is_closing = transport.is_closing

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def write(self, data):
        """Send data soon."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def close(self):
        """Send what is left, and close."""
        self.flush()
        self._transport.close()

    def flush(self):
        """Send what is left."""
        if self._parts and not self._transport.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with limits on the head of a request, and an end without lost requests."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._head, self._is_lame, self._watched, self._since = 0, False, None, 0.0

    def connection_made(self, transport):
        super().connection_made(_Joined(transport, self.loop))
        self.loop.call_later(LOOK_SECONDS, self._look)

    def data_received(self, data):
        is_head = self.cycle is None or self.cycle.response_complete
        if is_head and b"pgrade:" in data:  # none is offered, and for one the parser would drop the body
            head, end, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"\r\nX-Declined:", head) + end + rest
        self._head = self._head + len(data) if is_head else 0
        super().data_received(data)
        if self._head > HEAD_BYTES and self._is_in_head() and not self.transport.is_closing():
            self._refuse(431, f"The head of the request has more than {HEAD_BYTES:,} bytes.")

    def on_headers_complete(self):
        self._head = 0
        super().on_headers_complete()
        self.headers = []  # what comes now are trailers, and these are no headers
        if self._is_lame:
            self.cycle.keep_alive = False

    def eof_received(self):
        """Answer a client that has shut its half of the connection, when it has asked something."""
        self.transport.flush()
        if self._is_in_head() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def send_400_response(self, msg):
        if not self._is_in_head() and not self.cycle.more_body:  # what came before is answered first
            self.cycle.keep_alive = False
            return
        self._refuse(400, "This is not HTTP/1.1 that can be read.")

    def shutdown(self):
        """Answer what is under way, and what is just being sent; then close."""
        self._is_lame = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAME_SECONDS, self._close_idle)

    def _close_idle(self):
        if self._is_in_head() and not self.transport.is_closing():
            self.transport.close()

    def _is_in_head(self):
        """Whether no request is known of: none has begun, or its head is not whole."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self):
        """Close a connection whose request has not come for a while, though it has begun, or none ever has."""
        if self.transport.is_closing():
            return
        is_head, what, most = self._is_in_head(), "head", HEAD_SECONDS
        if not is_head and self.cycle.more_body:
            what, most = "body", BODY_SECONDS + LOOK_SECONDS  # `Bridge` comes first, where a part has come
        is_waiting = self.timeout_keep_alive_task is None if is_head else self.cycle.more_body
        if not is_waiting or self._watched != (self.cycle, is_head):
            self._watched, self._since = (self.cycle, is_head) if is_waiting else None, self.loop.time()
        elif self.loop.time() - self._since >= most:
            self._refuse(408, f"The request's {what} did not come within {most:g} seconds.")
            return
        self.loop.call_later(LOOK_SECONDS, self._look)

    def _refuse(self, status, detail):
        log.warning("A connection was refused with %d: %s", status, detail)
        status, headers, body = _problem(status, detail)
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode()]
        lines += [name + b": " + value for name, value in headers if name != b"connection"]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()


class _JsonFormatter(logging.Formatter):
    """A line of JSON a record."""

    def format(self, record):
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging():
    """Log to stderr, a line of JSON a record."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def bridge(factory, max_body):
    """Make the ASGI application of a worker.

    Parameters
    ----------
    factory : str
        Where the function is that makes the Flask application: ``module:name``.
    max_body : int
        Bytes of a body that are read at most.

    Returns
    -------
    Bridge

    Raises
    ------
    SystemExit
        The application cannot be made. Where no worker ever could, with the code that tells the supervisor to give up.
    """
    configure_logging()
    has_served = os.path.join(os.environ["PROMETHEUS_MULTIPROC_DIR"], "has-served")
    try:
        made = Bridge(import_from_string(factory)().wsgi_app, max_body)
    except SystemExit as error:
        if os.path.exists(has_served):  # the others go on with the model they have; this one is tried again
            time.sleep(1)
            raise
        raise SystemExit(uvicorn.config.STARTUP_FAILURE) from error
    pathlib.Path(has_served).touch()
    return made


def run(factory, host, port, workers, max_body):
    """Serve until SIGTERM or SIGINT, and then finish what is under way.

    Parameters
    ----------
    factory : str
        Where the function is that makes the Flask application: ``module:name``.
    host : str
    port : int
    workers : int
        Processes. One that dies is replaced.
    max_body : int
        Bytes of a body that are read at most.

    Raises
    ------
    mlib.Error
        The address cannot be listened at.
    SystemExit
        The application cannot be made.
    """
    configure_logging()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file: 1,024 are soon gone
    with contextlib.ExitStack() as stack:
        stack.callback(_end_log)
        if workers > 1:
            mlib.Signature.read()  # a model that is not there is told now, and once
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(_temporary_folder())
            application = functools.partial(bridge, factory, max_body)
        else:
            application = Bridge(import_from_string(factory)().wsgi_app, max_body)
        listener = stack.enter_context(_listener(host, port))
        config = uvicorn.Config(
            application,
            factory=workers > 1,
            workers=workers,
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,  # a proxy is believed where it is named, and costs then
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=BACKLOG,
        )
        address, number = listener.getsockname()[:2]
        log.info("Running on http://%s:%d", f"[{address}]" if ":" in address else address, number)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when all is answered
        if workers == 1:
            uvicorn.Server(config).run([listener])
            return
        supervisor = Multiprocess(config, [listener])
        supervisor.run()
        if any(process.exitcode == uvicorn.config.STARTUP_FAILURE for process in supervisor.processes):
            sys.exit(1)


def _temporary_folder():
    """Make the folder in which workers count together."""
    try:
        return tempfile.TemporaryDirectory()
    except OSError as error:
        raise mlib.Error(
            f"Several workers count in a temporary folder, and none can be made: {error.strerror or error}. "
            "Name a place that can be written to by TMPDIR, or start one worker."
        ) from error


def _end_log():
    """Where nobody reads the log any more, let Python's last flush of it succeed: else it ends with 120, a failure."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _listener(host, port):
    """Listen; at a socket that was passed on, if there is one."""
    is_passed_on = os.environ.get("LISTEN_FDS") == "1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if is_passed_on and os.environ.get("LISTEN_PID", str(os.getpid())) == str(os.getpid()):
            return socket.socket(fileno=3)
        is_dual = host == "::" and socket.has_dualstack_ipv6()  # all addresses, those of IPv4 among them
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
    except OSError as error:
        reason = error.strerror or str(error)
        raise mlib.Error(f"Cannot listen at {host}, port {port}: {reason}. Another --port or --host may do.") from error
