"""What is told of the requests that were answered?

Each is counted, and a line of JSON on stderr: method, route, status, milliseconds, id; nothing of what it held. That is
done for some at once, or a moment later by a thread: for each alone it costs a sixth of an answer. A reader of the log
that stalls holds up the thread, and nobody who asks.

>>> journal = Journal(Metrics())
>>> journal.note("POST", "/predict", 200, 0.0001, "a1")
>>> journal.close()
"""

import collections
import contextlib
import functools
import os
import select
import threading
import time
import weakref

import orjson

PAUSE = 0.05  # seconds that a line may wait
MANY = 32  # requests that are told without waiting
MOST = 100_000  # lines that wait for a reader that stalls; then the oldest are lost
PIECE = 4096  # bytes: a pipe that takes any takes so many at once
STDERR = 2


class Journal:
    """What is noted of requests, until it is counted and written.

    Parameters
    ----------
    metrics : Metrics
    """

    def __init__(self, metrics):
        self.metrics = metrics
        self._noted, self._lines = collections.deque(), collections.deque(maxlen=MOST)
        self._counting, self._writing, self._has_some = threading.Lock(), threading.Lock(), threading.Event()
        arguments = weakref.ref(self), self._has_some
        threading.Thread(target=_write, args=arguments, name="journal", daemon=True).start()
        weakref.finalize(self, self._has_some.set)

    def note(self, method, route, status, seconds, request_id):
        """Note a request that was answered.

        Parameters
        ----------
        method, route : str
        status : int
        seconds : float
            That it took.
        request_id : str
        """
        self._noted.append((time.time(), method, route, status, seconds, request_id))
        if len(self._noted) >= MANY:
            self.count()
            self._write(waits=False)
        if not self._has_some.is_set() and (self._noted or self._lines):
            self._has_some.set()

    def count(self):
        """Count what was noted."""
        with self._counting:
            while self._noted:
                at, method, route, status, seconds, request_id = self._noted.popleft()
                self.metrics.request(method, route, status, seconds)
                line = {
                    "time": f"{_clock(int(at))}.{int(at % 1 * 1000):03d}Z",
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1000, 3),
                    "request_id": request_id,
                }
                self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def tell(self):
        """Count and write what was noted, however long that takes."""
        self.count()
        self._write(waits=True)

    def close(self):
        """Count and write what was noted, as far as the log's reader takes it."""
        self.count()
        self._write(waits=False)

    def _write(self, waits):
        if self._writing.acquire(blocking=waits):  # pylint: disable=consider-using-with  # `with` always waits
            try:
                self._write_lines(waits)
            finally:
                self._writing.release()

    def _write_lines(self, waits):
        while self._lines and (waits or _is_taken()):
            piece = b""
            while self._lines and (not piece or len(piece) + len(self._lines[0]) <= PIECE):
                piece += self._lines.popleft()
            with contextlib.suppress(OSError):  # who read the log is gone; those who ask are answered all the same
                os.write(STDERR, piece)


@functools.lru_cache(maxsize=2)  # most requests are of the same second
def _clock(second):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _is_taken():
    """Tell whether what is written to stderr is taken at once."""
    poll = select.poll()
    poll.register(STDERR, select.POLLOUT)
    return bool(poll.poll(0))


def _write(reference, has_some):
    """Write again and again, as long as somebody has the journal."""
    while True:
        has_some.wait()
        time.sleep(PAUSE)
        has_some.clear()
        journal = reference()
        if journal is None:
            return
        journal.tell()
        del journal
