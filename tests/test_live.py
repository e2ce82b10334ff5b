"""Tests of the model that answers: taken up when it is replaced, refused when it is bad."""

import gc
import threading

import pytest
from steady import put, wait_until

import mlib
from service import live as live_module
from service.live import Live


@pytest.fixture(name="other", scope="module")
def _other(tmp_path_factory):
    """Another model of the same table."""
    path = tmp_path_factory.mktemp("other") / "model.joblib"
    mlib.retrain(model_name=path, tsize=0.4)
    return path


@pytest.fixture(name="path")
def _path(model, tmp_path):
    """A copy of the default model, to be replaced."""
    put(model, tmp_path)
    return tmp_path / "model.joblib"


def version(model):
    """The version of a model's file."""
    return mlib.Signature.read(model).version


def test_a_model_that_is_replaced_is_taken_up(path, model, other):
    live = Live(path)
    before = live.model
    assert before.signature.version == version(model)
    put(other, path.parent)
    wait_until(lambda: live.model.signature.version == version(other))
    assert live.refused is None
    assert before.signature.version == version(model)  # who has the old one keeps it


def test_a_bad_model_is_refused_and_the_old_one_goes_on(path, model, other):
    live = Live(path)
    path.with_name("model.onnx").write_bytes(b"no model")
    wait_until(lambda: live.refused)
    assert "model.onnx is not a whole model" in live.refused
    assert str(path.parent) not in live.refused
    assert live.model.signature.version == version(model)
    put(other, path.parent)
    wait_until(lambda: live.refused is None)
    assert live.model.signature.version == version(other)


def test_a_model_that_is_removed_is_refused_and_the_old_one_goes_on(path, model):
    live = Live(path)
    path.unlink()
    path.with_name("model.onnx").unlink()
    wait_until(lambda: live.refused)
    assert live.refused.startswith("There is no model model.joblib.")
    assert live.model.signature.version == version(model)
    put(model, path.parent)
    wait_until(lambda: live.refused is None)


def test_a_compiled_form_that_comes_late_is_taken_up_through_a_link(path):
    path.with_name("model.onnx").rename(path.with_name("later"))
    link = path.with_name("current.joblib")
    link.symlink_to(path)
    live = Live(link)
    assert live.model.form == "joblib"
    path.with_name("later").rename(path.with_name("model.onnx"))
    wait_until(lambda: live.model.form == "onnx")


def test_whatever_changes_is_told(path, other):
    told = []
    live = Live(path, lambda live: told.append((live.model.signature.version, live.refused)))
    path.with_name("model.onnx").write_bytes(b"no model")
    wait_until(lambda: live.refused)
    put(other, path.parent)
    wait_until(lambda: len(told) == 3)
    assert [bool(refused) for _, refused in told] == [False, True, False]
    assert told[2][0] == version(other)


def test_files_that_still_change_are_not_read(path, monkeypatch, other):
    monkeypatch.setattr(live_module, "INTERVAL", 3600)
    live = Live(path)
    put(other, path.parent)
    live.look()
    assert live.model.signature.version != version(other)
    path.touch()
    live.look()
    assert live.model.signature.version != version(other)
    live.look()
    assert live.model.signature.version == version(other)


def test_a_model_that_nobody_has_is_not_watched(path, monkeypatch):
    monkeypatch.setattr(live_module, "INTERVAL", 0.01)
    before = set(threading.enumerate())
    live = Live(path)
    (thread,) = set(threading.enumerate()) - before
    del live
    gc.collect()
    wait_until(lambda: not thread.is_alive())
