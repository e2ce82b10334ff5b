"""How is a request sent, and its answer read, in a few microseconds?

By plain connections, each with one request under way, and httptools, which parses the answers in C. What is written
does not change from one request to the next, so it is made once. That takes some 30 µs a request where a general client
takes 90 µs, so that what sends a load does not get in the way of what it measures.

>>> wire = Wire(endpoint, [b'{"Weight": 200}'])  # doctest: +SKIP
>>> status, headers, content = await Sender(wire).send(0)  # doctest: +SKIP
"""

import asyncio
import math
import socket
import time
from urllib.parse import urlsplit

import mlib
from toolkit.failures import AnswerError

NEEDED = "A load is sent with httptools and aiohttp: pip install -r requirements.txt"
SIGNED_SECONDS = 60  # a signature is taken for minutes, making one costs a fifth of a millisecond


class NoHttpError(ConnectionError):
    """What came is no answer of HTTP."""


class Wire:
    """Where requests go, and what is written there.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
        Without a proxy.
    bodies : list of bytes
        Of the requests.

    Raises
    ------
    mlib.Error
        httptools or aiohttp are not installed.
    """

    def __init__(self, endpoint, bodies):
        try:
            import httptools  # noqa: F401  # pylint: disable=unused-import  # of Connection
            from multidict import CIMultiDict
        except ImportError as error:
            raise mlib.Error(NEEDED) from error
        self.endpoint, self.bodies, self.headers = endpoint, bodies, CIMultiDict
        self._address = endpoint.address()  # to the letter: a signature covers it
        parts = urlsplit(self._address)
        is_tls = parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port or (443 if is_tls else 80)
        self.context = endpoint.context()
        self.target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        name = self.host
        name = f"[{name}]" if ":" in name else name
        self.authority = name if self.port == (443 if is_tls else 80) else f"{name}:{self.port}"
        self._messages = [(b"", -math.inf)] * len(bodies)

    def message(self, number):
        """Write a request; anew once a minute, because of signatures.

        Parameters
        ----------
        number : int
            The place of its body, from 0.

        Returns
        -------
        bytes
        """
        message, until = self._messages[number]
        if time.monotonic() > until:
            body = self.bodies[number]
            headers = self.headers(
                {
                    "Host": self.authority,
                    "User-Agent": f"mlops-cookbook/{mlib.__version__}",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "Content-Type": "application/json",
                    "Content-Length": str(len(body)),
                }
            )
            headers.update(self.endpoint.auth.headers("POST", self._address, body))
            lines = [f"POST {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
            message = "\r\n".join([*lines, "", ""]).encode() + body
            self._messages[number] = message, time.monotonic() + SIGNED_SECONDS
        return message

    async def connect(self):
        """Make a connection, to the first of the host's addresses that takes it.

        Returns
        -------
        Connection

        Raises
        ------
        OSError
            The last one's.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self.endpoint.connect_timeout):
            failed = None
            for *_, address in await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
                try:
                    _, connection = await loop.create_connection(
                        lambda: Connection(self),
                        *address[:2],
                        ssl=self.context,
                        server_hostname=self.host if self.context else None,
                    )
                    return connection
                except OSError as error:
                    failed = error
            raise failed or ConnectionResetError()


class Sender:
    """Sends one request after another, over a connection that is kept while it lasts.

    Parameters
    ----------
    wire : Wire
    """

    def __init__(self, wire):
        self._wire, self._connection = wire, None

    async def send(self, number):
        """Send a request.

        Parameters
        ----------
        number : int
            The place of its body, from 0.

        Returns
        -------
        status : int
        headers : mapping of str to str
        content : bytes

        Raises
        ------
        OSError
            There is no connection, it is lost, not trusted or too slow, or what comes is no HTTP (`NoHttpError`).
        toolkit.failures.AnswerError
            The answer is too long.
        toolkit.auth.AuthError
            It cannot be signed.
        """
        try:
            async with asyncio.timeout(self._wire.endpoint.timeout):
                message = self._wire.message(number)
                if self._connection is None or self._connection.is_closed:
                    self._connection = await self._wire.connect()
                return await self._connection.ask(message)
        except:  # what is still to come would answer another request
            self.close()
            raise

    def close(self):
        """End the connection; another request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Connection(asyncio.Protocol):
    """A connection on which one request at a time is answered.

    Parameters
    ----------
    wire : Wire
    """

    def __init__(self, wire):
        import httptools

        self._check, self._make_headers = wire.endpoint.check, wire.headers
        self._parser = httptools.HttpResponseParser(self)
        self._transport = self._waiter = None
        self._headers, self._parts, self._length, self._is_begun = [], [], 0, False
        self._no_http = (httptools.HttpParserError, httptools.HttpParserUpgrade)

    @property
    def is_closed(self):
        """Whether it takes no other request."""
        return self._transport is None or self._transport.is_closing()

    def close(self):
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def ask(self, message):
        """Send a request.

        Parameters
        ----------
        message : bytes

        Returns
        -------
        asyncio.Future of tuple
            Status, headers and content.
        """
        self._waiter = asyncio.get_running_loop().create_future()
        self._length, self._is_begun = 0, False
        self._transport.write(message)
        return self._waiter

    def _fail(self, error):
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.close()

    # asyncio and httptools call these. pylint: disable=missing-function-docstring

    def connection_made(self, transport):
        self._transport = transport

    def connection_lost(self, exc):
        self._transport = None
        names = {name.lower() for name, _ in self._headers}
        if exc is None and self._is_begun and not names & {"content-length", "transfer-encoding"}:
            self.on_message_complete()  # an answer that does not tell its length ends with the connection
        self._fail(exc or ConnectionResetError())

    def data_received(self, data):
        self._length += len(data)
        try:
            self._check(self._length)
            self._parser.feed_data(data)
        except AnswerError as error:  # it is too long
            self._fail(error)
        except self._no_http:
            self._fail(NoHttpError())

    def on_message_begin(self):
        self._headers, self._parts, self._is_begun = [], [], False

    def on_header(self, name, value):
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self):
        self._is_begun = True

    def on_body(self, body):
        self._parts.append(body)

    def on_message_complete(self):
        status = self._parser.get_status_code()
        if status < 200:  # the answer is still to come
            return
        if self._waiter is None or self._waiter.done():  # nobody asked
            self.close()
            return
        self._waiter.set_result((status, self._make_headers(self._headers), b"".join(self._parts)))
        if not self._parser.should_keep_alive():
            self.close()
