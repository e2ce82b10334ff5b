"""Tests of what is told of requests: all of it, soon, and by nobody who is gone."""

import gc
import json
import threading
from datetime import UTC, datetime

from steady import wait_until

from service import journal as journal_module
from service.journal import Journal
from service.metrics import Metrics


def counted(metrics):
    """How many requests were counted."""
    return next(
        (
            float(line.rpartition(b" ")[2])
            for line in metrics.text().splitlines()
            if line.startswith(b'http_requests_total{method="GET",route="/a",status="200"}')
        ),
        0,
    )


def test_a_line_has_the_facts_of_a_request(capfd):
    journal = Journal(Metrics())
    journal.note("GET", '/a"b', 404, 0.0012346, "id-1")
    journal.tell()
    line = json.loads(capfd.readouterr().err)
    told = datetime.fromisoformat(line.pop("time"))
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60
    assert line == {"method": "GET", "route": '/a"b', "status": 404, "ms": 1.235, "request_id": "id-1"}


def test_what_was_noted_is_told_soon_without_being_asked(capfd):
    metrics = Metrics()
    journal = Journal(metrics)
    for _ in range(3):
        journal.note("GET", "/a", 200, 0.1, "x")
    wait_until(lambda: counted(metrics) == 3)
    journal.note("GET", "/a", 200, 0.1, "y")
    wait_until(lambda: counted(metrics) == 4)
    assert capfd.readouterr().err.count("\n") == 4


def test_many_are_told_at_once_and_none_is_lost_or_told_twice(monkeypatch, capfd):
    monkeypatch.setattr(journal_module, "PAUSE", 0.001)
    metrics = Metrics()
    journal = Journal(metrics)

    def note(prefix):
        for i in range(1000):
            journal.note("GET", "/a", 200, 0.1, f"{prefix}-{i}")

    threads = [threading.Thread(target=note, args=(prefix,)) for prefix in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.tell()
    assert counted(metrics) == 3000
    ids = [json.loads(line)["request_id"] for line in capfd.readouterr().err.splitlines()]
    assert sorted(ids) == sorted(f"{prefix}-{i}" for prefix in "abc" for i in range(1000))


def test_the_thread_of_a_journal_that_nobody_has_ends():
    before = set(threading.enumerate())
    journal = Journal(Metrics())
    (thread,) = set(threading.enumerate()) - before
    del journal
    gc.collect()
    wait_until(lambda: not thread.is_alive())
