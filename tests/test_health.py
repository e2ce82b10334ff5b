"""Tests of toolkit/health.py."""

import json

import pytest
from conftest import serving
from misbehaving import answering, posts

import mlib
from toolkit import health, remote


@pytest.fixture(name="trained", scope="module")
def _trained(tmp_path_factory):
    """Models that differ: of all data by another estimator, of a number without inches, of classes."""
    folder = tmp_path_factory.mktemp("trained")
    options = {
        "forest": {"estimator": "random-forest"},
        "weight": {"target": "Weight", "features": ("Height",)},
        "classes": {"target": "Position", "features": ("Height", "Weight", "Team")},
        "others": {"target": "Position", "features": ("Height", "Weight", "Team"), "seed": 7},
    }
    for name, chosen in options.items():
        mlib.retrain(model_name=folder / f"{name}.joblib", **chosen)
    return {name: folder / f"{name}.joblib" for name in options}


def published(body, **extra):
    """A service that only has /predict."""
    return posts(lambda rows, _: (200, extra, json.dumps(body(rows)).encode()))


def test_the_service_is_well(server):
    signature = mlib.Signature.read()
    state = {"live": True, "ready": True, "model": signature.name, "version": signature.version, "reason": None}
    assert health.check(remote.Endpoint(server)) == state
    assert health.check(remote.Endpoint(f"v2+{server}/v2/models/htwtmlb-height")) == state


def test_a_service_that_tells_nothing_is_asked_a_row():
    with answering(published(lambda row: {"prediction": {"height_inches": 1}})) as server:
        state = health.check(remote.Endpoint(server.url))
    assert state == {"live": None, "ready": True, "model": None, "version": None, "reason": None}
    assert server.rows() == [mlib.Signature.read().example()]


def test_one_that_does_not_answer_a_row_either_is_not_well():
    with answering(lambda *_request: (404, {}, b"")) as server, pytest.raises(remote.AnswerError, match="404"):
        health.check(remote.Endpoint(server.url))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [((503, {}, b'{"detail": "loading"}'), "503: loading"), ((500, {}, b""), "500: Internal Server Error")],
)
def test_one_that_is_not_ready_says_why(reply, reason):
    with answering(lambda _method, path, *_rest: reply if path.endswith("ready") else (200, {}, b"{}")) as server:
        state = health.check(remote.Endpoint(server.url))
    assert (state["live"], state["ready"]) == (True, False)
    assert state["reason"].endswith(f"answered {reason}")


def test_a_v2_server_may_say_no_with_a_success():
    answers = {"/v2/health/live": b'{"live": true}', "/v2/models/m/ready": b'{"name": "m", "ready": false}'}
    with answering(lambda _method, path, *_rest: (200, {}, answers.get(path, b""))) as server:
        url = server.url.removesuffix("/predict")
        state = health.check(remote.Endpoint(f"v2+{url}/v2/models/m"))
    assert (state["live"], state["ready"]) == (True, False)


def test_nothing_there_is_unreachable():
    with pytest.raises(remote.UnreachableError):
        health.check(remote.Endpoint("http://127.0.0.1:9"))


def test_the_golden_rows_are_rows_that_the_model_takes(trained):
    for path in trained.values():
        model = mlib.load_model(path)
        rows = health.golden_rows(model.signature)
        assert len(rows) >= 3
        answers = mlib.predict(rows, model)
        if model.signature.task == "regression":
            got = [answer[model.signature.answer] for answer in answers]
            assert got == pytest.approx(model.signature.golden["answers"], abs=0.005)


def test_the_same_model_agrees(server, trained):
    same = {"rows": 5, "difference": 0.0, "tolerance": 0.01, "refused": None}
    assert health.compare(remote.Endpoint(server), mlib.load_model()) == same
    assert health.compare(remote.Endpoint(f"v2+{server}/v2/models/htwtmlb-height"), mlib.load_model()) == same
    with serving(MLOPS_MODEL=trained["classes"]) as url:
        for host in (url, f"v2+{url}/v2/models/htwtmlb-position"):
            found = health.compare(remote.Endpoint(host), mlib.load_model(trained["classes"]))
            assert found == {"rows": 5, "difference": 0.0, "tolerance": 1e-6, "refused": None}


def test_another_model_of_the_same_does_not_agree_and_by_how_much_is_told(server, trained):
    forest = mlib.load_model(trained["forest"])
    rows = health.golden_rows(forest.signature)
    pairs = zip(mlib.predict(rows, forest), mlib.predict(rows), strict=True)
    worst = max(abs(a["height_inches"] - b["height_inches"]) for a, b in pairs)
    found = health.compare(remote.Endpoint(server), forest)
    assert found["difference"] == worst > 0.1
    assert f"differ by {worst:.6g} on the 5 golden rows; expected 0.01 at most." in found["refused"]
    assert health.compare(remote.Endpoint(server), forest, tolerance=worst)["refused"] is None


def test_probabilities_are_compared(trained):
    with serving(MLOPS_MODEL=trained["others"]) as url:
        found = health.compare(remote.Endpoint(url), mlib.load_model(trained["classes"]))
    assert 1e-6 < found["difference"] < 1
    assert "differ by" in found["refused"]


def test_a_model_of_something_else_does_not_agree(server, trained):
    found = health.compare(remote.Endpoint(server), mlib.load_model(trained["weight"]))
    assert (found["difference"], found["tolerance"]) == (None, pytest.approx(1e-6 * (300 - 145)))
    assert "does not take the rows of " in found["refused"]
    assert "Height" in found["refused"]


@pytest.mark.parametrize("answer", [{}, {"height_cm": 3}, {"height_inches": None}, {"height_inches": "tall"}])
def test_answers_that_are_not_comparable_do_not_agree(answer):
    with answering(published(lambda rows: {"predictions": [answer] * len(rows)})) as server:
        found = health.compare(remote.Endpoint(server.url), mlib.load_model())
    assert found["difference"] is None
    assert "the model here {'height_inches': " in found["refused"]


def test_classes_without_probabilities_are_compared_by_themselves(trained):
    model = mlib.load_model(trained["classes"])
    right = [answer["position"] for answer in mlib.predict(health.golden_rows(model.signature), model)]
    for wrong, difference in ((0, 0.0), (1, 1.0)):
        told = [{"position": position} for position in right[: len(right) - wrong] + ["Coach"] * wrong]
        with answering(published(lambda rows, told=told: {"predictions": told})) as server:
            assert health.compare(remote.Endpoint(server.url), model)["difference"] == difference


def test_a_failure_that_says_nothing_of_the_rows_is_no_disagreement():
    with answering(posts(lambda rows, _: (500, {}, b""))) as server, pytest.raises(remote.AnswerError):
        health.compare(remote.Endpoint(server.url), mlib.load_model())
