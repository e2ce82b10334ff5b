"""How much does an endpoint bear?

>>> from toolkit.remote import Endpoint
>>> endpoint = Endpoint("http://localhost:8080")
>>> report = run(endpoint, [{"Weight": 200}], rate=500, duration=5, concurrency=8)  # doctest: +SKIP
>>> table(report)  # doctest: +SKIP
{'Endpoint': 'http://localhost:8080/predict', ..., 'p50': '0.61 ms', ..., 'Errors': 'none'}

The load is an open loop: request k is due at k / rate, whether those before it were answered or not, and its latency
counts from when it was due. A server that stalls makes all wait that were due meanwhile, as users would; a loop that
asks only after each answer would have sent none of them, and shown one slow answer.

Requests are sent by `toolkit.connections`, on uvloop where that is installed: with a general client this process would
be the limit before the endpoint. Through a proxy they are sent by `toolkit.chunks.Client`.

Source
------
Gil Tene, How NOT to Measure Latency, and wrk2 (github.com/giltene/wrk2), on coordinated omission.
"""

import array
import asyncio
import collections
import contextlib
import dataclasses
import http
import ipaddress
import math
import os
import socket
import ssl
import time
from urllib.parse import urlsplit

import mlib
from toolkit import chunks, connections
from toolkit.auth import AuthError
from toolkit.failures import AnswerError, UnreachableError

MOST_SECONDS, MOST_RATE = 60, 1000  # what is sent to other machines without being confirmed
MOST_REQUESTS = 100_000_000  # two floats each are kept: 1.6 GB
TICK = 0.0005  # seconds: event loops do not wait for less
BUSY = 0.9  # of the time; an event loop that has so little left answers late
SHARES = {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999}  # thousandths
NOT_SENT, CUT_OFF = "not sent", "cut off"


@dataclasses.dataclass
class Report:
    """What came of a load.

    Attributes
    ----------
    name : str
        Of the endpoint.
    rate, duration : float
        Requests a second, seconds: as they were asked for.
    concurrency : int
        Connections.
    rows : int
        So many different rows were sent, in turn.
    interrupted : bool
        Whether it was ended before its time.
    planned : int
        Requests that were due.
    sent : int
        Of these; the others were not, because no connection was free.
    answered : int
        With a prediction.
    seconds : float
        The duration, or longer: until the last prediction.
    throughput : float
        Predictions a second.
    latency : dict of str to float or None
        Seconds from when a request was due to its prediction: ``p50``, ``p90``, ``p99``, ``p99.9``, ``max``.
    refused : int
        Answered with an error, or with what is no prediction.
    errors : dict of str to int
        How many of which kind, the commonest first; these, those that reached nobody, and those that were not sent.
    client_cpu : float
        The share of the time in which this process was busy, or (Linux tells) waited for a core.
    client_is_limit : bool
        Whether requests were not sent because this process was busy all the time.
    due, latencies : array of float
        Of each prediction, as they came: seconds from the start to when it was due, and from then on.
    failed : array of float
        When each request that failed was due, of those that were sent.
    """

    name: str
    rate: float
    duration: float
    concurrency: int
    rows: int
    interrupted: bool
    planned: int
    sent: int
    answered: int
    seconds: float
    throughput: float
    latency: dict
    refused: int
    errors: dict
    client_cpu: float
    client_is_limit: bool
    due: array.array = dataclasses.field(repr=False)
    latencies: array.array = dataclasses.field(repr=False)
    failed: array.array = dataclasses.field(repr=False)

    @property
    def card(self):
        """What JSON can tell of it, a dict."""
        fields = (field.name for field in dataclasses.fields(self) if field.type is not array.array)
        return {("latency_seconds" if name == "latency" else name): _rounded(getattr(self, name)) for name in fields}


def _rounded(value):
    """To microseconds, which is as good as it gets."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return round(value, 6) if isinstance(value, float) else value


@dataclasses.dataclass
class Snapshot:
    """How it goes, once a second.

    Attributes
    ----------
    seconds : float
        Since the start.
    throughput : float
        Predictions a second, since the last snapshot.
    latency : dict of str to float or None
        Of these predictions, as in `Report`.
    errors : int
        Since the start.
    """

    seconds: float
    throughput: float
    latency: dict
    errors: int


# ---------------------------------------------------------------------------------------------------- before it


def check_size(endpoint, rate, duration, is_confirmed=False):
    """Refuse a load that nobody would send by intention, or to somebody else's machine.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
    rate : float
        Requests a second.
    duration : float
        Seconds.
    is_confirmed : bool
        Whether the user says that another machine is meant.

    Raises
    ------
    mlib.OptionError
        It is more than 60 s or 1,000 requests a second for another machine, and not confirmed; it is more than can be
        kept; or rate or duration are no positive numbers.
    """
    for name, value in {"rate": rate, "duration": duration}.items():
        if not 0 < value < math.inf:
            raise mlib.OptionError(f"The {name} is {value:g}; expected a number above 0.")
    if rate * duration > MOST_REQUESTS:
        raise mlib.OptionError(
            f"{rate:,.10g} requests a second for {duration:,.10g} s are {rate * duration:,.0f}; expected at most "
            f"{MOST_REQUESTS:,}."
        )
    is_large = rate > MOST_RATE or duration > MOST_SECONDS
    if is_large and not is_confirmed and not _is_here(endpoint):
        raise mlib.OptionError(
            f"{rate:,.10g} requests a second for {duration:,.10g} s go to another machine, {endpoint.name}. More than "
            f"{MOST_RATE:,} a second, or {MOST_SECONDS} s, may cost money and get in the way of others; if that is "
            "meant: --yes"
        )


def _is_here(endpoint):
    """Whether requests stay on this machine: no proxy, and all addresses are loopback."""
    if endpoint.proxy:
        return False
    try:
        found = socket.getaddrinfo(urlsplit(endpoint.host.url).hostname, None)
        return all(ipaddress.ip_address(address[0].partition("%")[0]).is_loopback for *_, address in found)
    except (OSError, ValueError):  # UnicodeError, of a name that cannot be one, is a ValueError
        return False


# -------------------------------------------------------------------------------------------------------- the load


def run(endpoint, rows, rate, duration, concurrency, watch=None):
    """Send requests of one row each at a steady rate, and measure.

    One row is asked beforehand, so that an endpoint that cannot be asked says so itself. A request leaves within a
    millisecond of when it is due (event loops wait no finer), and its latency then counts from when it left. Where all
    connections were waiting for answers it leaves as soon as one is free, and its latency counts from when it was due
    (or later by what this process itself was late before). None is sent twice.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
    rows : list of dict
        Sent in turn.
    rate : float
        Requests a second.
    duration : float
        Seconds. What was sent by then is waited for, ``endpoint.timeout`` at the longest.
    concurrency : int
        Connections, which is as many requests as are under way at a time.
    watch : function, optional
        Called with a `Snapshot` once a second.

    Returns
    -------
    Report
        Of what was measured until SIGINT, where that ended it.

    Raises
    ------
    mlib.OptionError
        There are no rows, or a value is none that JSON has; as of `check_size`.
    mlib.Error
        httptools or aiohttp are not installed.
    toolkit.failures.UnreachableError, toolkit.failures.AnswerError
        As of `toolkit.remote.Endpoint.ask`, of the first row.
    """
    check_size(endpoint, rate, duration, is_confirmed=True)
    if not rows or concurrency < 1:
        raise mlib.OptionError(f"There are {len(rows)} rows and {concurrency} connections; expected 1 or more of each.")
    endpoint.ask(rows[0])
    import numpy  # noqa: F401  # pylint: disable=unused-import  # not in the middle of the load

    load = _Load(endpoint, rows, rate, duration, concurrency)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(load.run(watch))
    return load.report()


def _loop_factory():
    try:
        import uvloop
    except ImportError:  # on Windows
        return None
    return uvloop.new_event_loop


def _cpu():
    """Seconds that this thread has run or, where the system tells, waited for a core to run on."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            running, waiting = file.read().split()[:2]
        return (int(running) + int(waiting)) / 1e9
    except (OSError, ValueError):
        return time.thread_time()


class _Load:
    """A load under way."""

    def __init__(self, endpoint, rows, rate, duration, concurrency):
        self.endpoint, self.rows, self.rate, self.duration = endpoint, rows, rate, duration
        self.concurrency, self.interrupted = concurrency, False
        self.planned = max(1, math.ceil(round(rate * duration, 6)))
        self.bodies = [endpoint.host.body(row) for row in rows]
        self.taken = self.sent = self.refused = 0
        self.due, self.latencies, self.failed = (array.array("d") for _ in range(3))
        self.errors = collections.Counter()
        self.start = self.last = self.cpu = 0.0
        self.watched = 0.0  # seconds that `watch` took of this thread

    async def run(self, watch):
        """Send it all, or until SIGINT."""
        async with contextlib.AsyncExitStack() as stack:
            senders = await self._senders(stack)
            self.start, cpu = time.perf_counter(), _cpu()
            tasks = {asyncio.gather(*map(self._work, senders))}
            if watch:
                tasks.add(asyncio.create_task(self._tell(watch)))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises what is no failure of a request
            except asyncio.CancelledError:  # SIGINT
                self._interrupt()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.cpu = (_cpu() - cpu) / (time.perf_counter() - self.start)

    async def _senders(self, stack):
        """For each connection a function that sends the row of a number."""
        if not self.endpoint.proxy:
            wire = connections.Wire(self.endpoint, self.bodies)
            senders = [connections.Sender(wire) for _ in range(min(self.concurrency, self.planned))]
            for sender in senders:
                stack.callback(sender.close)
            return [sender.send for sender in senders]
        client = await stack.enter_async_context(chunks.Client(self.endpoint, self.concurrency))
        return [lambda number: client.send(self.bodies[number])] * self.concurrency

    def _interrupt(self):
        """Leave it at what was due by now."""
        seconds = time.perf_counter() - self.start
        if seconds < self.duration:
            self.planned = min(self.planned, max(self.sent, math.ceil(seconds * self.rate)))
            self.duration = seconds
        self.interrupted = True

    async def _work(self, send):
        """Send what is due next, until nothing is."""
        clock, end, read = time.perf_counter, self.start + self.duration, self.endpoint.read
        late = 0.0  # so much later than it was due did this process wake up
        while self.taken < self.planned and clock() < end + late:
            due = self.start + self.taken / self.rate
            number = self.taken % len(self.rows)
            self.taken += 1
            now = clock()
            if now < due:
                if due - now > TICK:
                    await asyncio.sleep(due - now)
                since = clock()
                late = max(0.0, since - due)
            else:  # all connections were waiting for answers
                since = min(now, due + late)
            self.sent += 1
            watched = self.watched
            try:
                answer = await send(number)
                now = clock()
                late = max(late, self.watched - watched)
                read(*answer, self.rows[number])
            except asyncio.CancelledError:
                self.errors[CUT_OFF] += 1
                raise
            except FAILURES as error:
                self.errors[_kind(error)] += 1
                self.refused += isinstance(error, AnswerError)
                self.failed.append(due - self.start)
            else:
                self.due.append(due - self.start)
                self.latencies.append(now - since)
                self.last = now

    async def _tell(self, watch):
        told, count = self.start, 0
        while True:
            await asyncio.sleep(told + 1 - time.perf_counter())
            now, latencies = time.perf_counter(), self.latencies[count:]
            throughput = len(latencies) / (now - told)
            watch(Snapshot(now - self.start, throughput, percentiles(latencies), sum(self.errors.values())))
            self.watched += time.perf_counter() - now
            told, count = now, count + len(latencies)

    def report(self):
        """What came of it."""
        errors = collections.Counter(self.errors)
        if self.planned > self.sent:
            errors[NOT_SENT] = self.planned - self.sent
        answered, seconds = len(self.latencies), max(self.duration, self.last - self.start)
        return Report(
            name=self.endpoint.name,
            rate=self.rate,
            duration=self.duration,
            concurrency=self.concurrency,
            rows=len(self.rows),
            interrupted=self.interrupted,
            planned=self.planned,
            sent=self.sent,
            answered=answered,
            seconds=seconds,
            throughput=answered / seconds,
            latency=percentiles(self.latencies),
            refused=self.refused,
            errors=dict(errors.most_common()),
            client_cpu=min(self.cpu, 1.0),
            client_is_limit=self.sent < self.planned and self.cpu > BUSY,
            due=self.due,
            latencies=self.latencies,
            failed=self.failed,
        )


FAILURES = (UnreachableError, AnswerError, AuthError, OSError)
KINDS = {  # the first that fits
    ssl.SSLCertVerificationError: "certificate",
    ssl.SSLError: "TLS failed",
    TimeoutError: "timed out",
    socket.gaierror: "name not known",
    ConnectionRefusedError: "connection refused",
    connections.NoHttpError: "no HTTP",
    ConnectionError: "connection lost",
    AuthError: "credentials",
}


def _kind(error):
    """A failure in a few words, none of them the endpoint's: these may repeat what is secret."""
    if isinstance(error, AnswerError):
        return "no prediction" if error.status is None else _status(error.status)
    if isinstance(error, UnreachableError):
        error = error.__cause__  # aiohttp's
        if getattr(error, "status", None):
            return f"proxy: {_status(error.status)}"
        error = getattr(error, "os_error", error)
    for kind, text in KINDS.items():
        if isinstance(error, kind):
            return text
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "connection lost"


def _status(status):
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def percentiles(values):
    """Tell below which value how many lie, by nearest rank: each is one of the values.

    Parameters
    ----------
    values : array of float

    Returns
    -------
    dict of str to float or None
        ``p50``, ``p90``, ``p99``, ``p99.9``, ``max``; None of no values.
    """
    import numpy as np

    count = len(values)
    if not count:
        return dict.fromkeys([*SHARES, "max"])
    places = [-(-share * count // 1000) - 1 for share in SHARES.values()] + [count - 1]
    found = np.partition(np.asarray(values), sorted(set(places)))[places]
    return dict(zip([*SHARES, "max"], found.tolist(), strict=True))


# ------------------------------------------------------------------------------------------------- for people


def line(snapshot):
    """Tell how it goes.

    Parameters
    ----------
    snapshot : Snapshot

    Returns
    -------
    str
        In one line, of which a following one is about as long.
    """
    latency = "  ".join(f"{name} {time_text(snapshot.latency[name]):>7}" for name in ("p50", "p99"))
    return f"{snapshot.seconds:3.0f} s  {snapshot.throughput:8,.1f} a second  {latency}  {snapshot.errors:,} errors"


def table(report):
    """Tell what came of it.

    Parameters
    ----------
    report : Report

    Returns
    -------
    dict of str to str
        A label and a text a fact, as `toolkit.card.print_facts` prints them.
    """
    ended = " (interrupted)" if report.interrupted else ""
    facts = {
        "Endpoint": report.name,
        "Load": f"{load_text(report)}{ended}",
        "Sent": f"{report.sent:,} of {report.planned:,} requests that were due",
        "Answered": f"{report.answered:,}, {report.throughput:,.1f} a second",
        **{name: time_text(seconds) for name, seconds in report.latency.items()},
        "Errors": ", ".join(f"{kind}: {count:,}" for kind, count in report.errors.items()) or "none",
        "This client": f"{min(report.client_cpu, 1):.0%} of a core",
    }
    if report.client_is_limit:
        facts["Limit"] = "this client, which was busy all the time; the endpoint may bear more"
    elif NOT_SENT in report.errors:
        facts["Limit"] = "the endpoint, or too few connections: all of them were waiting for answers"
    return facts


def load_text(report):
    """Tell what was asked for.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
    """
    requests = "request" if report.rate == 1 else "requests"
    ways = "connection" if report.concurrency == 1 else "connections"
    return f"{report.rate:,.10g} {requests} a second for {report.duration:,.4g} s, {report.concurrency:,} {ways}"


def time_text(seconds):
    """Write a latency.

    Parameters
    ----------
    seconds : float or None

    Returns
    -------
    str
        In three digits: ``0.52 ms``, ``1.2 s``; ``-`` of none.
    """
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{mlib.rounded(seconds * 1000, 3 if seconds >= 0.001 else 2)} ms"
    return f"{mlib.rounded(seconds, 3)} s"
