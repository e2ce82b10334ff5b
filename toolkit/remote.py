"""What does a deployed endpoint answer?

>>> predict("http://localhost:8080/predict", {"Weight": 200})  # doctest: +SKIP
{'height_inches': 73.23, 'height_human_readable': '6 foot, 1 inches'}
>>> endpoint = Endpoint("v2+https://models.example.com/v2/models/htwtmlb-height", Auth(key="s3cret"))
>>> endpoint.predict([{"Weight": 200}, {"Weight": 180}])  # doctest: +SKIP
[{'height_inches': 73.23, ...}, {'height_inches': 72.16, ...}]

One request is made by requests; more rows than one request takes go out side by side (`toolkit.chunks`), what belongs
to AWS is signed by botocore (`toolkit.aws`); neither is imported where it is not needed.
"""

import http
import http.cookiejar
import math
import os
import queue
import socket
import ssl
import threading
import time

import requests
import urllib3
from urllib3.util.retry import RequestHistory, Retry

import mlib
from toolkit import endpoints, hosts
from toolkit.auth import Auth
from toolkit.failures import PASSING, AnswerError, UnreachableError

TIMEOUT = 10.0  # seconds: a cold start of a serverless function takes a few
CONNECT_TIMEOUT = 5.0  # seconds
RETRIES = 3
LONGEST_PAUSE = 60  # seconds: who is asked to wait longer is told so, and comes back
GRACE = 0.2  # seconds in which what is too late may say so itself
LARGEST_ANSWER = 256 * 2**20  # bytes
CHUNK_ROWS = 10_000  # what this project's service takes in a request
CONCURRENCY = 4


class _Session(requests.Session):
    """Follows no redirects, and does not look at where they lead, which may be no address."""

    def get_redirect_target(self, resp):
        return None


def predict(host, rows, **options):
    """Ask an endpoint for predictions.

    Parameters
    ----------
    host : str
        An address, as `toolkit.hosts` lists them, or a name of `toolkit.endpoints`.
    rows : dict, or list of dict
        Such as ``{"Weight": 200}`` (pounds).
    **options
        As `Endpoint` takes them: ``auth``, ``timeout``, ``retries``.

    Returns
    -------
    dict, or list of dict
        As `mlib.predict` answers.

    Raises
    ------
    mlib.OptionError
        The host is none, or a value of a row is none that JSON has.
    toolkit.auth.AuthError
        Credentials or a region of AWS are missing.
    UnreachableError
        Nothing answers there, or not in time.
    AnswerError
        It answers with an error, or with what is no prediction.
    """
    return Endpoint(host, **options).predict(rows)


class Endpoint:
    """A deployed model, asked again and again.

    Parameters
    ----------
    host : str
        An address, as `toolkit.hosts` lists them, or a name of `toolkit.endpoints`.
    auth : Auth, optional
        Who asks.
    timeout : float
        Seconds for each try, to the end of the answer.
    retries : int
        How many more tries, where another may well succeed: 429, 502, 503, 504 and connections that fail. They wait
        longer and longer, by chance a little more, or as long as Retry-After says.
    tell : function, optional
        Of a text for people: what is tried again, and when.

    Attributes
    ----------
    name : str
        What it is called in messages, without anything secret.
    timeout, connect_timeout : float
        Seconds for each try, and for its connection.
    proxy : str or None
        That of the environment.
    is_denied : bool
        Whether it did not tell what it takes because of who asked.

    Raises
    ------
    mlib.OptionError
        The host is none.
    toolkit.auth.AuthError
        Credentials or a region of AWS are missing.
    mlib.DataError
        The certificates that the environment names cannot be read.
    """

    def __init__(self, host, auth=None, timeout=TIMEOUT, retries=RETRIES, tell=None):
        if not (isinstance(timeout, (int, float)) and 0 < timeout < math.inf and retries >= 0):
            given = f"The timeout is {timeout!r}, the retries are {retries!r}"
            raise mlib.OptionError(f"{given}; expected seconds above 0, and a number of 0 or more.")
        self.host = hosts.find(endpoints.resolve(host))
        if self.host.service:
            from toolkit import aws

            origin, signer = aws.service(self.host.service, self.host.region)
            self.host.at(origin)
            auth = Auth(signer=signer)
        elif auth is None or not auth.is_known:
            auth = Auth(user=self.host.user)
        auth.keep_secret(self.host.secrets)
        self.auth, self.name = auth, self.host.name
        self.timeout, self.connect_timeout = timeout, min(CONNECT_TIMEOUT, timeout)
        self._tell = tell or (lambda text: None)
        # The first pause is no zero: it counts from a failure that there was not.
        self.patience = Retry(
            total=retries,
            backoff_factor=0.1,
            backoff_jitter=0.2,
            backoff_max=10,
            history=(RequestHistory("POST", None, None, None, None),),
        )
        self._session = _Session()
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._version, self.is_denied = None, False
        found = self._session.merge_environment_settings(self.host.url, {}, None, None, None)
        self.proxy = requests.utils.select_proxy(self.host.url, found["proxies"])
        if self.proxy and not hosts.has_name(self.proxy):
            raise mlib.DataError(
                f"The proxy of the environment is {hosts.told(self.proxy)!r}; expected http://HOST:PORT."
            )
        self._authorities = found["verify"] if isinstance(found["verify"], str) else requests.certs.where()
        if self._authorities != requests.certs.where():
            self.context()  # what cannot be read would be told as the endpoint's fault

    # ------------------------------------------------------------------------------------------- predictions

    def predict(self, rows):
        """Ask for predictions.

        Parameters
        ----------
        rows : dict, or list of dict

        Returns
        -------
        dict, or list of dict
            As many as rows, in their order.

        Raises
        ------
        mlib.OptionError, UnreachableError, AnswerError
            As of `predict`; of many rows the first failure.
        """
        if isinstance(rows, dict):
            return self.ask(rows)[0]
        if len(rows) <= CHUNK_ROWS:
            return self.ask(rows) if rows else []
        answers = []

        def take(result):
            for failed in result.failed:
                raise failed.error()
            answers.extend(result.answers)

        self.ask_many(rows, take)
        return answers

    def ask(self, rows):
        """Ask in one request.

        Parameters
        ----------
        rows : dict, or list of dict

        Returns
        -------
        list of dict

        Raises
        ------
        mlib.OptionError, UnreachableError, AnswerError
            As of `predict`.
        """
        self.learn()
        body = self.host.body(rows)
        return self.repeated(lambda: self.read(*self.send("POST", self.host.url, body), rows))

    def ask_many(self, rows, take, chunk_rows=CHUNK_ROWS, concurrency=CONCURRENCY):
        """Ask in many requests, some of them at the same time.

        Parameters
        ----------
        rows : list of dict
        take : function
            Called with a `toolkit.chunks.Result` for each chunk, in the rows' order.
        chunk_rows : int
            So many rows in a request.
        concurrency : int
            So many requests at a time.

        Raises
        ------
        mlib.Error
            aiohttp is not installed.
        """
        from toolkit import chunks  # it is needed where many rows are asked

        self.learn()
        chunks.ask(self, rows, take, chunk_rows, concurrency)

    # ------------------------------------------------------------------------------------------ what it takes

    def signature(self, is_fresh=False):
        """Tell what the endpoint takes.

        Parameters
        ----------
        is_fresh : bool
            Ask even if it is known from less than an hour ago.

        Returns
        -------
        mlib.Signature, toolkit.hosts.Tensors, or None
            None where it does not tell.

        Raises
        ------
        UnreachableError, AnswerError
            Nothing answers there; or it has too much to do.
        """
        url = self.host.card_url
        if url is None:
            return None
        card = None if is_fresh else endpoints.recall(url)
        if card is None:
            status, _, content = self.repeated(lambda: self._passed(*self.send("GET", url)))
            self.is_denied = status in (401, 403)
            card = self._document(content) if status == 200 else None
            card = card if isinstance(card, dict) else {}
            if status in (200, 404, 405):  # not what a request with another key would change
                endpoints.keep(url, card)
        try:
            found = hosts.Tensors(card) if isinstance(self.host, hosts.V2) else mlib.Signature.parse(self.name, card)
        except mlib.ModelError:  # it is none: there is something else at that address, or nothing
            return None
        self._version = found.version
        return found

    def learn(self):
        """Learn the datatypes that a V2 endpoint wants; others want none."""
        if isinstance(self.host, hosts.V2) and not self.host.inputs:
            found = self.signature()
            self.host.inputs = found.features if found else []

    # --------------------------------------------------------------------------------------- one request's way

    def repeated(self, attempt):
        """Try until it succeeds, or another try would not change it.

        Parameters
        ----------
        attempt : function
            Of nothing.

        Returns
        -------
        object
            What the attempt returned.

        Raises
        ------
        UnreachableError, AnswerError
            The last try's.
        """
        patience = self.patience
        while True:
            try:
                return attempt()
            except (UnreachableError, AnswerError) as error:
                patience, pause = self.after(error, patience)
            time.sleep(pause)

    def get(self, url):
        """Get what stands beside the endpoint, whatever it answers; only connections are tried again.

        Parameters
        ----------
        url : str

        Returns
        -------
        status : int
        headers : mapping of str to str
        content : bytes

        Raises
        ------
        UnreachableError, AnswerError
            As of `send`.
        """
        return self.repeated(lambda: self.send("GET", url))

    def after(self, error, patience):
        """Tell how to go on after a failed try.

        Parameters
        ----------
        error : UnreachableError or AnswerError
        patience : urllib3.util.retry.Retry
            What is left of it.

        Returns
        -------
        patience : urllib3.util.retry.Retry
        pause : float
            Seconds before the next try.

        Raises
        ------
        UnreachableError, AnswerError
            The error itself, where there is to be no other try.
        """
        if not error.may_pass or not patience.total or (error.retry_after or 0) > LONGEST_PAUSE:
            raise error
        patience = patience.increment("POST")
        pause = patience.get_backoff_time() if error.retry_after is None else error.retry_after
        self._tell(f"Trying again in {pause:.1f} s: {error}")
        return patience, pause

    def send(self, method, url, body=None):
        """Make one request.

        Parameters
        ----------
        method, url : str
        body : bytes, optional
            JSON.

        Returns
        -------
        status : int
        headers : mapping of str to str
        content : bytes

        Raises
        ------
        mlib.OptionError, UnreachableError, AnswerError
            The address cannot be; nothing answers there in time; it answers without end.
        """
        return _in_time(lambda: self._send(method, url, body), self.timeout + GRACE, self.unreachable)

    def _send(self, method, url, body):
        def sign(prepared):  # where requests would look into ~/.netrc
            prepared.headers.update(self.auth.headers(method, prepared.url, body or b""))
            return prepared

        deadline = time.monotonic() + self.timeout
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            with self._session.request(
                method,
                url,
                data=body,
                headers={"Accept": "application/json", **headers},
                auth=sign,
                timeout=(self.connect_timeout, self.timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                parts, length = [], 0
                while part := response.raw.read1(2**20, decode_content=True):
                    parts.append(part)
                    length += len(part)
                    self.check(length, deadline)
                return response.status_code, response.headers, b"".join(parts)
        except (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError) as error:
            raise self.impossible(error) from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self.unreachable(error) from error

    def address(self):
        """Tell what is posted to, to the letter as requests sends it.

        Returns
        -------
        str

        Raises
        ------
        mlib.OptionError
            The address cannot be.
        """
        try:
            return requests.Request("POST", self.host.url).prepare().url
        except requests.exceptions.InvalidURL as error:
            raise self.impossible(error) from error

    def impossible(self, error):
        """Say why an address cannot be.

        Parameters
        ----------
        error : Exception
            Of requests or urllib3.

        Returns
        -------
        mlib.OptionError
        """
        text = _printable(self.auth.hide(str(error)))
        return mlib.OptionError(f"{self.name!r} is no address of an endpoint: {text.rstrip('.')}.")

    def check(self, length, deadline=math.inf):
        """Check that an answer comes to an end.

        Parameters
        ----------
        length : int
            Bytes so far.
        deadline : float
            Of time.monotonic.

        Raises
        ------
        UnreachableError, AnswerError
            It is too late, or too long.
        """
        if time.monotonic() > deadline:
            raise self.unreachable(TimeoutError())
        if length > LARGEST_ANSWER:
            raise AnswerError(
                f"{self.name} answered with more than {LARGEST_ANSWER // 2**20} MB; that is no prediction."
            )

    def context(self):
        """Make what certificates are checked with.

        Returns
        -------
        ssl.SSLContext or None
            None where the address has no TLS.

        Raises
        ------
        mlib.DataError
            The file or folder of authorities that the environment names cannot be read, or holds none.
        """
        if not self.host.url.startswith("https:"):
            return None
        try:
            kind = "capath" if os.path.isdir(self._authorities) else "cafile"
            return ssl.create_default_context(**{kind: self._authorities})
        except OSError as error:
            reason = error.strerror or str(error)
            raise mlib.DataError(
                f"Cannot read the certificates of authorities in {self._authorities}: {reason}. "
                "Is REQUESTS_CA_BUNDLE right?"
            ) from error

    def unreachable(self, error):
        """Say why a request came to nothing.

        Parameters
        ----------
        error : Exception
            Of requests, urllib3, aiohttp or the system.

        Returns
        -------
        UnreachableError
        """
        causes = _causes(error)
        if refused := _first(causes, ssl.SSLCertVerificationError):
            return UnreachableError(
                f"{self.name} cannot be trusted: its certificate is refused, {_printable(refused.verify_message)}. "
                "Is the name right? REQUESTS_CA_BUNDLE names a file with an authority of your own."
            )
        unknown = _first(causes, socket.gaierror)
        if unknown:
            return UnreachableError(
                f"{self.name} cannot be reached: {unknown.strerror or 'its name is not known'}. Is the name right?",
                may_pass=unknown.errno == socket.EAI_AGAIN,
            )
        late = {type(cause).__name__ for cause in causes} & (WAITING | CONNECTING)
        if late:
            return UnreachableError(
                f"{self.name} did not answer within {self.timeout:g} s. Is it up? A longer --timeout waits.",
                may_pass=bool(late & CONNECTING),
            )
        text = self._shown(_reason(causes))
        if any(type(cause).__name__ in PROXIES for cause in causes):
            return UnreachableError(
                f"{self.name} cannot be reached: the proxy that the environment names is not ({text}). Are HTTP_PROXY, "
                "HTTPS_PROXY and NO_PROXY right?",
                may_pass=True,
            )
        is_tls = _first(causes, ssl.SSLError) and not _first(causes, ssl.SSLEOFError)
        return UnreachableError(
            f"{self.name} cannot be reached: {text}. Is the server up, and the URL right?", may_pass=not is_tls
        )

    def _passed(self, status, headers, content):
        """Raise what may pass."""
        if status in PASSING:
            raise self.refusal(status, headers, content)
        return status, headers, content

    def read(self, status, headers, content, rows):
        """Find the predictions in an answer.

        Parameters
        ----------
        status : int
        headers : mapping of str to str
        content : bytes
        rows : dict, or list of dict
            What was asked.

        Returns
        -------
        list of dict

        Raises
        ------
        AnswerError
            It is an error, or no prediction.
        """
        opened, document = self.host.open(status, headers, self._document(content))
        if opened != 200:
            raise self.refusal(opened, headers, content, document)
        answers = self.host.answers(document, rows)
        if answers is None:
            got = self._shown(_text(content)) or "nothing"
            raise AnswerError(f"{self.name} answered, but with no prediction: {got}. {self.host.hint}")
        version = headers.get("X-Model-Version")
        if self._version and version and version != self._version:
            endpoints.forget(self.host.card_url)  # another model answers by now
            self._version = None
        return answers

    def _document(self, content):
        """Parse an answer, without what is secret, should it repeat that."""
        return hosts.parse_json(self.auth.hide_in_answer(content))

    def refusal(self, status, headers, content, document=None):
        """Say what an endpoint answered instead of a prediction.

        Parameters
        ----------
        status : int
        headers : mapping of str to str
        content : bytes
        document : JSON value, optional
            What the content is, where that is known.

        Returns
        -------
        AnswerError
        """
        document = hosts.parse_json(content) if document is None else document
        document = document if isinstance(document, dict) else {}
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:
            phrase = "no status of HTTP"
        said = next((self._shown(document[key]) for key in SAYING if isinstance(document.get(key), str)), "")
        detail = said or self._shown(_text(content)) or phrase
        after = _seconds(headers.get("Retry-After"))
        if status in (404, 405):
            detail = f"{(said or phrase).rstrip('.')}. {self.host.hint}"
        elif 300 <= status < 400:
            to = self._shown(hosts.told(headers.get("Location") or "nowhere"))
            detail = f"it redirects to {to}. Give that address, if it is the endpoint's."
        elif status in (401, 403):
            hint = (
                "Is the key right?"
                if self.auth.is_known
                else "It wants a key: give one by MLOPS_API_KEY, --key-file or --header."
            )
            hint = "Are these the right credentials of AWS, and may they ask it?" if self.auth.is_signed else hint
            detail = f"{detail.rstrip('.')}. {hint}"
        elif after is not None and status in PASSING:
            detail += f" (to be asked again after {after:g} s)"
        if status in (400, 422) and self._version:
            endpoints.forget(self.host.card_url)  # another model may answer by now, which takes other rows
            self._version = None
        errors = document.get("errors")
        errors = errors if isinstance(errors, list) and all(isinstance(each, dict) for each in errors) else []
        hide = self.auth.hide
        errors = [{key: hide(text) if isinstance(text, str) else text for key, text in each.items()} for each in errors]
        return AnswerError(f"{self.name} answered {status}: {detail}", status, errors, after)

    def _shown(self, text):
        """The first 200 characters of what an endpoint sent, in one line, without what is secret."""
        return _printable(self.auth.hide(text))


# What requests, urllib3, aiohttp and Python call a connection that is not made in time, and an answer that is not.
CONNECTING = {"ConnectTimeout", "ConnectTimeoutError", "ConnectionTimeoutError"}
WAITING = {"ReadTimeout", "ReadTimeoutError", "SocketTimeoutError", "TimeoutError"}
PROXIES = {"ProxyError", "ClientProxyConnectionError", "ClientHttpProxyError"}
SAYING = ("detail", "message", "Message", "error", "title")  # where errors say why: RFC 9457, AWS, V2


def _in_time(work, seconds, late):
    """Do something in a thread, and give up waiting for it: a connection's own timeout begins anew with each byte."""
    came = queue.SimpleQueue()

    def run():
        try:
            came.put((work(), None))
        except BaseException as error:  # pylint: disable=broad-exception-caught  # it is raised where it is waited for
            came.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = came.get(timeout=seconds)
    except queue.Empty:
        raise late(TimeoutError()) from None
    if error is not None:
        raise error
    return result


def _text(content):
    """The beginning of a body, whatever it is."""
    return content[: 2**20].decode(errors="replace")


def _printable(text):
    """A foreign text as one line of at most 200 characters, none of which moves the cursor."""
    return mlib.printable(text[:200])


def _seconds(text):
    """Read a Retry-After: seconds, or a date; None where it is neither."""
    try:
        return Retry().parse_retry_after(text[:40]) if text else None
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None


def _causes(error):
    """An exception and those that it came from; the libraries wrap what the system said several times."""
    causes, waiting = [], [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and cause not in causes:
            causes.append(cause)
            known = (getattr(cause, name, None) for name in ("reason", "os_error", "certificate_error"))
            waiting += [cause.__cause__, cause.__context__, *known, *cause.args]
    return causes


def _first(causes, kind):
    return next((cause for cause in causes if isinstance(cause, kind)), None)


def _reason(causes):
    """The system's own words, else those of the innermost exception."""
    known = [cause for cause in causes if getattr(cause, "strerror", None)]
    plain = next((cause for cause in reversed(known) if cause.errno and not isinstance(cause, ssl.SSLError)), None)
    if plain:
        return os.strerror(plain.errno)  # asyncio has put words of its own in its place
    return str((known[-1].strerror if known else causes[-1]) or type(causes[-1]).__name__)
