"""Tests of toolkit/chunks.py: many rows, in order, and what becomes of those that fail."""

import collections
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import ENVIRONMENT, ROOT, run, serving
from misbehaving import answering, as_rows, posts

import mlib
from toolkit import remote

ROWS = [{"Weight": 150 + number % 100} for number in range(1000)]


def asked(url, rows=ROWS, chunk_rows=100, concurrency=4, **options):
    """Ask; give the answers of all rows, the errors, and where the chunks began."""
    results = []
    remote.Endpoint(url, **{"retries": 0, **options}).ask_many(rows, results.append, chunk_rows, concurrency)
    answers = [answer for result in results for answer in result.answers]
    return answers, [failed for result in results for failed in result.failed], [result.first for result in results]


def test_answers_are_those_of_the_model_in_the_order_of_the_rows(server):
    answers, errors, firsts = asked(server)
    assert answers == mlib.predict(ROWS)
    assert not errors
    assert firsts == list(range(0, 1000, 100))


def test_many_rows_are_predicted_in_chunks_by_the_simple_call_too(server):
    rows = [{"Weight": 150 + number % 100} for number in range(2 * remote.CHUNK_ROWS + 1)]
    assert remote.predict(server, rows) == mlib.predict(rows)


def test_one_chunk_needs_no_aiohttp(server):
    program = (
        "import sys; sys.modules['aiohttp'] = None; from toolkit import remote\n"
        "remote.Endpoint(sys.argv[1]).ask_many([{'Weight': 200}, {'Weight': -1}], print)\n"
        "remote.Endpoint(sys.argv[1]).ask_many([{'Weight': 200}] * 2, print, chunk_rows=1)"
    )
    done = run(sys.executable, "-c", program, server)
    assert done.stdout.startswith("Result(first=0, answers=[{'height_inches': 73.23, ")
    assert "Many rows are asked with aiohttp: pip install -r requirements.txt" in done.stderr


def test_the_order_holds_where_later_chunks_are_answered_first():
    arrived = threading.Event()

    def reply(rows, _number):
        if rows[0]["n"] == 0:
            arrived.wait(20)  # until the third chunk was answered
        if rows[0]["n"] == 20:
            arrived.set()
        return as_rows(rows)

    rows = [{"n": number} for number in range(50)]
    with answering(posts(reply)) as server:
        answers, errors, firsts = asked(server.url, rows, 10, 4)
    assert answers == rows
    assert not errors
    assert firsts == [0, 10, 20, 30, 40]


def test_no_more_requests_are_under_way_than_asked_for():
    lock, under_way, most = threading.Lock(), collections.Counter(), []

    def reply(rows, _number):
        with lock:
            under_way["now"] += 1
            most.append(under_way["now"])
        time.sleep(0.02)
        with lock:
            under_way["now"] -= 1
        return as_rows(rows)

    with answering(posts(reply)) as server:
        asked(server.url, ROWS, 20, 3)
    assert max(most) == 3


def test_bad_rows_are_told_by_number_and_the_others_answered(server):
    rows = [dict(row) for row in ROWS]
    rows[17], rows[999], rows[500] = {"Weight": -3}, {"Weight": "heavy"}, {"Wieght": 3}
    answers, errors, _ = asked(server, rows)
    assert [error.text.partition(":")[0] for error in errors] == ["row 18", "row 501", "row 1,000"]
    assert [error.rows for error in errors] == [[18], [501], [1000]]
    assert errors[0].text == "row 18: Weight: got -3, expected a number above 0 (145 to 300 pounds in training)"
    assert errors[1].text.count("; ") == 1  # no Weight, and a Wieght
    assert {error.cause.exit_code for error in errors} == {4}
    expected = mlib.predict(ROWS)
    assert [place for place in range(1000) if answers[place] is None] == [17, 500, 999]
    assert all(answer in (None, right) for answer, right in zip(answers, expected, strict=True))


def test_of_thousands_of_bad_rows_the_good_ones_between_are_answered(server):
    rows = [{"Weight": 200 if number % 2 else -1} for number in range(5000)]
    answers, errors, _ = asked(server, rows, chunk_rows=5000)
    assert answers == [mlib.predict(200) if number % 2 else None for number in range(5000)]
    assert [error.rows for error in errors] == [[number] for number in range(1, 5000, 2)]


def test_a_chunk_of_bad_rows_alone_is_told_row_by_row(server):
    answers, errors, _ = asked(server, [{"Weight": -1}] * 250, chunk_rows=250)
    assert answers == [None] * 250
    assert [error.rows for error in errors] == [[number] for number in range(1, 251)]


def test_of_one_chunk_too_bad_rows_are_told_and_the_others_answered(server):
    answers, errors, _ = asked(server, [{"Weight": 200}, {"Weight": -1}, {"Weight": 180}])
    assert answers == [mlib.predict(200), None, mlib.predict(180)]
    assert [error.rows for error in errors] == [[2]]


def test_a_chunk_that_fails_is_retried():
    failed = set()

    def reply(rows, _number):
        if rows[0]["n"] in (20, 40) and rows[0]["n"] not in failed:
            failed.add(rows[0]["n"])
            return 503, {}, b""
        return as_rows(rows)

    rows = [{"n": number} for number in range(60)]
    with answering(posts(reply)) as server:
        assert asked(server.url, rows, 10, 2, retries=1)[:2] == (rows, [])
    assert len(server.requests) == 8


def test_a_chunk_that_fails_for_good_is_told_by_its_rows_and_the_rest_goes_on():
    rows = [{"n": number} for number in range(60)]
    fails = posts(lambda rows, _: (500, {}, b"broken") if rows[0]["n"] == 20 else as_rows(rows))
    with answering(fails) as server:
        answers, errors, _ = asked(server.url, rows, 10, 2)
    assert answers == rows[:20] + [None] * 10 + rows[30:]
    assert [error.text for error in errors] == [f"rows 21 to 30: {server.url} answered 500: broken"]
    assert (errors[0].rows, errors[0].cause.exit_code) == (list(range(21, 31)), 4)


def test_the_last_chunk_of_one_row_is_named_as_one():
    fails = posts(lambda rows, _: (500, {}, b"broken") if len(rows) == 1 else as_rows(rows))
    with answering(fails) as server:
        _, errors, _ = asked(server.url, [{"n": 1}] * 11, 10)
    assert errors[0].text.startswith("row 11: ")


def test_fewer_rows_are_sent_where_an_endpoint_takes_no_more():
    with serving(MLOPS_MAX_ROWS=30) as url:
        assert asked(url)[:2] == (mlib.predict(ROWS), [])
    sizes = []

    def reply(rows, _number):
        sizes.append(len(rows))
        return (413, {}, b"") if len(rows) > 30 else as_rows(rows)

    with answering(posts(reply)) as server:
        assert asked(server.url, ROWS[:400], concurrency=1)[:2] == (ROWS[:400], [])
    assert [size for size in sizes if size > 30] == [100, 50]  # it is learnt once


def test_one_row_that_is_too_large_is_told():
    with answering(posts(lambda rows, _: (413, {}, b"too large"))) as server:
        answers, errors, _ = asked(server.url, ROWS[:3])
    assert answers == [None] * 3
    assert [error.text.split(":")[0] for error in errors] == ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_what_every_chunk_would_be_answered_is_not_asked_for_every_chunk(status):
    with answering(posts(lambda rows, _: (status, {}, b""))) as server:
        answers, errors, _ = asked(server.url, concurrency=2)
    assert len(server.requests) <= 3
    assert answers == [None] * 1000
    assert sum(len(error.rows) for error in errors) == 1000
    assert f"answered {status}" in errors[0].text
    assert "rows 901 to 1,000: not asked after that: " in errors[-1].text


def test_after_three_chunks_that_reached_nobody_the_rest_is_not_asked():
    answers, errors, _ = asked("http://127.0.0.1:9/predict", concurrency=1)
    assert answers == [None] * 1000
    assert ["not asked" in error.text for error in errors] == [False] * 3 + [True] * 7
    assert {error.cause.exit_code for error in errors} == {3}


def test_a_chunk_that_reached_nobody_is_no_reason_to_stop():
    rows = [{"n": number} for number in range(80)]
    drops = posts(lambda rows, _: None if rows[0]["n"] % 20 else as_rows(rows))
    with answering(drops) as server:
        answers, errors, _ = asked(server.url, rows, 10, 1)
    assert len(errors) == 4
    assert not any("not asked" in error.text for error in errors)
    assert answers.count(None) == 40


@pytest.mark.parametrize(
    "errors",
    [
        [{"row": 0}],
        [{"row": 101}],
        [{"row": "1"}],
        [{"row": True}],
        [{"field": "Weight"}],
        [{"row": 1}, {}],
    ],
)
def test_row_numbers_that_cannot_be_blame_no_row(errors):
    body = json.dumps({"detail": "bad", "errors": errors}).encode()
    with answering(posts(lambda rows, _: (422, {}, body))) as server:
        _, found, _ = asked(server.url, ROWS[:100])
    assert [error.text for error in found] == [f"rows 1 to 100: {server.url} answered 422: bad"]


def test_an_endpoint_that_finds_ever_new_bad_rows_is_not_asked_for_ever():
    body = json.dumps({"detail": "bad", "errors": [{"row": 1, "field": "x", "got": 1, "expected": "2"}]}).encode()
    with answering(posts(lambda rows, _: (422, {}, body))) as server:
        _, errors, _ = asked(server.url, ROWS, chunk_rows=1000)
    assert len(server.requests) == 101
    assert [len(error.rows) for error in errors] == [1] * 100 + [900]
    assert errors[-1].text.startswith("rows 101 to 1,000: ")


def test_rows_that_are_not_next_to_each_other_are_counted():
    def reply(rows, _number):
        if {"n": 4} in rows:
            bad = {"row": rows.index({"n": 4}) + 1, "field": "n", "got": 4, "expected": "another"}
            return 422, {}, json.dumps({"errors": [bad]}).encode()
        return 500, {}, b"broken"

    with answering(posts(reply)) as server:
        _, errors, _ = asked(server.url, [{"n": number} for number in range(10)], 10)
    assert [error.text.split(":")[0] for error in errors] == ["row 5", "9 of the rows 1 to 10"]


def test_a_value_that_json_does_not_have_is_told_by_its_row(server):
    rows = [dict(row) for row in ROWS]
    rows[150], rows[999] = {"Weight": float("inf")}, {"Weight": float("nan")}
    answers, errors, _ = asked(server, rows)
    assert [place for place in range(1000) if answers[place] is None] == [150, 999]
    assert [error.rows for error in errors] == [[151], [1000]]
    assert errors[0].text.startswith("row 151: It cannot be sent as JSON, which has no such value: ")
    with pytest.raises(mlib.OptionError, match="row 151: "):
        remote.predict(server, rows * 11)


def test_a_notebook_can_ask_for_many_rows(server):
    program = (
        "import asyncio, sys; from toolkit import remote\n"
        "async def cell(): return remote.predict(sys.argv[1], [{'Weight': 200}] * 10_001)\n"
        "print(len(asyncio.run(cell())))"
    )
    done = run(sys.executable, "-c", program, server)
    assert (done.stdout, done.stderr) == ("10001\n", "")


def test_the_library_raises_the_first_error(server):
    rows = [{"Weight": 200}] * remote.CHUNK_ROWS + [{"Weight": -1}]
    with pytest.raises(remote.AnswerError, match="row 10,001: Weight: got -1") as caught:
        remote.predict(server, rows)
    assert caught.value.status == 422
    with pytest.raises(remote.UnreachableError, match=r"rows 1 to 10,000: .*Connection refused"):
        remote.predict("http://127.0.0.1:9", rows, retries=0)


INTERRUPTED = """
import sys
from toolkit import remote
rows = [{"n": number} for number in range(1000)]
def take(result):
    print(result.first, flush=True)
remote.Endpoint(sys.argv[1], timeout=60).ask_many(rows, take, int(sys.argv[2]), 2)
"""


def test_ctrl_c_ends_one_chunk_at_once_too():
    arrived, hold = threading.Event(), threading.Event()

    def reply(rows, _number):
        arrived.set()
        hold.wait(60)
        return as_rows(rows)

    with answering(posts(reply)) as server:
        command = [sys.executable, "-c", INTERRUPTED, server.url, "1000"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT, text=True) as process:
            assert arrived.wait(60)
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=30)  # long before the 60 s in which the answer may come
        hold.set()
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_ends_it_at_once_and_what_was_answered_was_given():
    hold = threading.Event()

    def reply(rows, _number):
        if rows[0]["n"] >= 50:
            hold.wait(60)
        return as_rows(rows)

    with answering(posts(reply)) as server:
        command = [sys.executable, "-c", INTERRUPTED, server.url, "10"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT, text=True
        ) as process:
            given = [process.stdout.readline() for _ in range(5)]
            os.kill(process.pid, signal.SIGINT)
            rest, errors = process.communicate(timeout=30)
        hold.set()
    assert [int(line) for line in given] == [0, 10, 20, 30, 40]
    assert rest == ""
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "never retrieved" not in errors
    assert "Unclosed" not in errors
