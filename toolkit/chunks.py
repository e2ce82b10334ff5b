"""How are many rows asked of an endpoint? In chunks, several at a time, by aiohttp; the answers come in order.

>>> ask(Endpoint("http://localhost:8080"), rows, take=print, chunk_rows=1000, concurrency=4)  # doctest: +SKIP
Result(first=0, answers=[{'height_inches': 73.23, ...}, ...], failed=[])

A row that the endpoint refuses by its number is left out, and the rest of its chunk asked again; a chunk with too many
rows is halved. What fails for good is told with its rows, and the rest goes on, unless nothing else is to be expected.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import copy
import dataclasses
import math

import mlib
from toolkit.failures import AnswerError, UnreachableError

NEEDED = "Many rows are asked with aiohttp: pip install -r requirements.txt"
HOPELESS = {401, 403, 404, 405}  # every other chunk would be answered the same
MOST_UNREACHABLE = 3  # so many chunks one after another, and the rest is not asked
MOST_ROUNDS = 100  # so often the rows that are left of a chunk are asked again; the service tells 100 problems a time


@dataclasses.dataclass
class Result:
    """What became of a chunk.

    Attributes
    ----------
    first : int
        The place of its first row, from 0.
    answers : list of dict or None
        A prediction a row, None where there is none.
    failed : list of Failed
        Why there is none.
    """

    first: int
    answers: list
    failed: list


def ask(endpoint, rows, take, chunk_rows, concurrency):
    """Ask many rows.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
    rows : list of dict
    take : function
        Called with the `Result` of each chunk, in order.
    chunk_rows : int
        So many rows in a request.
    concurrency : int
        So many requests at a time.

    Raises
    ------
    mlib.Error
        aiohttp is not installed.
    mlib.OptionError
        A value is none that JSON has.
    toolkit.auth.AuthError
        A request cannot be signed any more.
    """
    if len(rows) > chunk_rows:
        _run(_ask(endpoint, rows, take, chunk_rows, concurrency))
    elif rows:  # by requests, and without a loop, in which Ctrl-C would wait for the answer
        result = Result(0, [None] * len(rows), [])
        with contextlib.suppress(StopIteration):  # its end; it never waits
            _answer(Simple(endpoint), rows, list(range(len(rows))), result).send(None)
        take(result)


def _run(work):
    """Run it; where a loop runs already, as in a notebook, in a thread beside it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def _ask(endpoint, rows, take, chunk_rows, concurrency):
    waiting, state = collections.deque(), {"stopped": None, "unreachable": 0}
    async with Client(endpoint, concurrency) as client:
        places = asyncio.Semaphore(concurrency)

        async def answered(first):
            chunk = rows[first : first + chunk_rows]
            async with places:
                result = Result(first, [None] * len(chunk), [])
                if state["stopped"] is None:
                    await _answer(client, chunk, list(range(len(chunk))), result)
            _note(result, state)
            return result

        try:
            for first in range(0, len(rows), chunk_rows):
                waiting.append(asyncio.create_task(answered(first)))
                if len(waiting) >= 2 * concurrency:  # some are ahead, so that one slow chunk holds up no other
                    take(await waiting.popleft())
            while waiting:
                take(await waiting.popleft())
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


def _note(result, state):
    """Keep in mind whether there is hope for the rest; say of a chunk that was not asked why."""
    if state["stopped"] is not None and not result.failed and None in result.answers:
        numbers = range(result.first, result.first + len(result.answers))
        result.failed.append(_told(numbers, state["stopped"], "not asked after that: "))
        return
    failed = result.failed[-1].cause if result.failed else None
    state["unreachable"] = state["unreachable"] + 1 if isinstance(failed, UnreachableError) else 0
    if state["unreachable"] >= MOST_UNREACHABLE or getattr(failed, "status", None) in HOPELESS:
        state["stopped"] = failed


@dataclasses.dataclass
class Failed:
    """Rows that have no answer, and why.

    Attributes
    ----------
    rows : list of int
        Their numbers, from 1.
    text : str
        For people.
    cause : UnreachableError, AnswerError or mlib.OptionError
    """

    rows: list
    text: str
    cause: mlib.Error

    def __post_init__(self):
        self.text = str(mlib.Error(self.text))  # in one line, whatever the endpoint put into it

    def error(self):
        """Make an error of it.

        Returns
        -------
        UnreachableError, AnswerError or mlib.OptionError
            The cause, in words that say which rows.
        """
        error = copy.copy(self.cause)
        error.args = (self.text,)
        return error


def _told(places, cause, text=""):
    numbers = [place + 1 for place in places]
    which = f"row {numbers[0]:,}" if len(numbers) == 1 else f"rows {numbers[0]:,} to {numbers[-1]:,}"
    if len(numbers) - 1 != numbers[-1] - numbers[0]:
        which = f"{len(numbers):,} of the {which}"
    return Failed(numbers, f"{which}: {text}{cause}", cause)


async def _answer(client, chunk, places, result, rounds=MOST_ROUNDS):
    """Ask the rows at some places of a chunk, and put what became of them into its result."""
    count = len(places)
    try:
        if count > client.most_rows:
            raise AnswerError("More rows than it takes in a request.", status=413)
        answers = await client.answers(chunk if count == len(chunk) else [chunk[place] for place in places])
    except mlib.OptionError as error:  # a value is none that JSON has
        bad = {place for place in places if not _can_be_sent(client.endpoint.host, chunk[place])}
        if not bad:
            raise
        result.failed += [_told([result.first + place], error) for place in sorted(bad)]
        left = [place for place in places if place not in bad]
        if left:
            await _answer(client, chunk, left, result, rounds)
        return
    except (UnreachableError, AnswerError) as error:
        if getattr(error, "status", None) == 413 and count > 1:
            client.most_rows = min(client.most_rows, (count + 1) // 2)
            await _answer(client, chunk, places[: count // 2], result, rounds)
            await _answer(client, chunk, places[count // 2 :], result, rounds)
            return
        refused = _refused(error, count) if rounds else {}
        for row, problems in sorted(refused.items()):
            text = "; ".join(mlib.problem_text(problem) for problem in problems)
            place = result.first + places[row]
            result.failed.append(Failed([place + 1], client.endpoint.auth.hide(f"row {place + 1:,}: {text}"), error))
        left = [place for row, place in enumerate(places) if row not in refused]
        if refused and left:
            await _answer(client, chunk, left, result, rounds - 1)
        elif not refused:
            result.failed.append(_told([result.first + place for place in places], error))
        return
    if count == len(chunk):
        result.answers = answers
        return
    for place, answer in zip(places, answers, strict=True):
        result.answers[place] = answer


def _can_be_sent(host, row):
    try:
        host.body(row)
    except mlib.OptionError:
        return False
    return True


def _refused(error, count):
    """What a problem document says of single rows: their problems by their places in the request."""
    refused = {}
    for problem in getattr(error, "errors", ()):
        row = problem.get("row", 1 if count == 1 else None)
        if not isinstance(row, int) or isinstance(row, bool) or not 1 <= row <= count:
            return {}
        told = {key: str(problem.get(key))[:200] for key in ("field", "expected")}
        refused.setdefault(row - 1, []).append({**told, "got": mlib.shown(problem.get("got"))})
    return refused


class Simple:
    """An endpoint asked by requests, for what is one chunk; aiohttp need not be there.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint

    Attributes
    ----------
    most_rows : float
        So many rows a request may have, as far as is known.
    """

    def __init__(self, endpoint):
        self.endpoint, self.most_rows = endpoint, math.inf

    async def answers(self, rows):
        """Ask in one request, and again where that may help; as of `Client`, but it never waits in a loop.

        Parameters
        ----------
        rows : list of dict

        Returns
        -------
        list of dict
        """
        return self.endpoint.ask(rows)


class Client:
    """An endpoint asked by aiohttp, several requests at a time.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
    concurrency : int
        So many connections.

    Attributes
    ----------
    most_rows : float
        So many rows a request may have, as far as is known.

    Raises
    ------
    mlib.Error
        aiohttp is not installed.
    """

    def __init__(self, endpoint, concurrency):
        try:
            import aiohttp
            import yarl
        except ImportError as error:
            raise mlib.Error(NEEDED) from error
        self.endpoint = endpoint
        self._address = endpoint.address()  # to the letter: a signature covers it
        self._url = yarl.URL(self._address, encoded=True)
        self._failures = (aiohttp.ClientError, OSError, TimeoutError)
        self._proxy = endpoint.proxy
        self._make = lambda: aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=concurrency, ssl=endpoint.context() or True),
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout, sock_connect=endpoint.connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=2**22,  # an answer to thousands of rows is read without pauses
            max_field_size=2**16,  # as long as requests takes them
            max_line_size=2**16,
            headers={"Accept": "application/json", "Content-Type": "application/json"},
        )
        self.most_rows = math.inf  # until it refuses a request for having more
        self._session = None

    async def __aenter__(self):
        self._session = self._make()  # it needs the loop that runs now
        return self

    async def __aexit__(self, *_error):
        await self._session.close()

    async def answers(self, rows):
        """Ask in one request, and again where that may help.

        Parameters
        ----------
        rows : list of dict

        Returns
        -------
        list of dict

        Raises
        ------
        mlib.OptionError, UnreachableError, AnswerError
            As of `toolkit.remote.predict`.
        """
        body, patience = self.endpoint.host.body(rows), self.endpoint.patience
        while True:
            try:
                return self.endpoint.read(*await self.send(body), rows)
            except (UnreachableError, AnswerError) as error:
                patience, pause = self.endpoint.after(error, patience)
            await asyncio.sleep(pause)

    async def send(self, body):
        """Make one request.

        Parameters
        ----------
        body : bytes

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
        endpoint = self.endpoint
        headers = endpoint.auth.headers("POST", self._address, body)
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                parts, length = [], 0
                async for part in response.content.iter_any():
                    parts.append(part)
                    length += len(part)
                    endpoint.check(length)
                return response.status, response.headers, b"".join(parts)
        except UnicodeError as error:  # a name that no system can look up
            raise endpoint.impossible(error) from error
        except self._failures as error:
            raise endpoint.unreachable(error) from error
