"""Tests of the library, in the order of the data's journey."""

import doctest
import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
from conftest import ENVIRONMENT, ROOT, run
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import core.signature
import mlib
from core import artifact, errors
from core.signature import Column


def trained(tmp_path, table, **options):
    """Train on a table and return the signature; of y from x unless told."""
    path = tmp_path / "model.joblib"
    mlib.retrain(**{"model_name": path, "data": table, "target": "y", "features": ("x",), **options})
    return mlib.Signature.read(path)


# ------------------------------------------------------------------------------------------------ read, check


def test_data_is_the_whole_table():
    assert mlib.data().shape == (1277, 7)


def test_data_reads_the_table_beside_mlib_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert list(mlib.data()["Name"][:1]) == ["Alberto_Callaspo"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"x,y\n", "has a header but no rows"),
        (b"x,y\n1,2\n3,4,5\n", "cannot be read as CSV: Expected 2 fields in line 3, saw 3"),
        (b"x,y\n1,3,1\n2,5,1\n", "has rows with more fields than its header"),
        (b"x,x,y\n1,3,1\n", "has 2 columns of the name 'x'"),
    ],
)
def test_a_table_that_cannot_be_read_is_said_in_one_line(tmp_path, content, said):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(mlib.DataError) as caught:
        mlib.data(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trailing_comma_in_each_row_is_no_field(write_table):
    table = mlib.data(write_table("x,y\n1,3,\n2,5,\n"))
    assert table.to_dict("list") == {"x": [1, 2], "y": [3, 5]}


def test_a_table_may_come_through_a_pipe(tmp_path, line_table):
    code = "import mlib; print(mlib.retrain(data='/dev/stdin', target='y', features='x', "
    code += f"model_name={str(tmp_path / 'model.joblib')!r}))"
    with open(line_table, "rb") as table:
        assert run(sys.executable, "-c", code, stdin=table).stdout.startswith("(0.99")


def test_an_error_is_one_line_whatever_the_column_is_called(tmp_path, write_table):
    table = write_table('x,"y\nz\x1b[31m"\n1,2\n')
    with pytest.raises(mlib.DataError) as caught:
        trained(tmp_path, table)
    assert str(caught.value).isprintable()


def test_a_mixed_column_that_is_not_used_is_no_matter(tmp_path):
    table = pd.DataFrame({"x": range(300_000), "y": range(300_000), "z": ["a"] * 150_000 + [1] * 150_000})
    table.to_csv(tmp_path / "mixed.csv", index=False)
    assert trained(tmp_path, tmp_path / "mixed.csv").data["rows"] == 300_000


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(mlib.DataError, match="Is a directory"):
        mlib.data(tmp_path)


ROWS = [f"{x},{x * x}" for x in range(1, 31)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*ROWS[:6], "abc,49", *ROWS[7:]], "column 'x', row 7 is 'abc', expected a number"),
        (
            [*ROWS[:6], "7,?", "8,?", *ROWS[8:]],
            "row 7 is '?', expected a number; column 'y', row 8 is '?', expected",
        ),
        ([*ROWS[:6], "1e307,49", *ROWS[7:]], "column 'x', row 7 is '1e+307', expected a number within ±1e+100"),
        ([*ROWS[:6], "7" * 200 + "a,49", *ROWS[7:]], "column 'x', row 7 is '" + "7" * 77 + "...', expected a number"),
        ([*ROWS[:6], "inf,49", *ROWS[7:]], "column 'x', row 7 is 'inf', expected a number"),
        ([f"5,{y}" for y in range(30)], "column 'x' is 5 in every row; nothing can be learnt"),
        ([f"{x},5" for x in range(30)], "column 'y' is 5 in every row; nothing to learn"),
        (
            ["a,1", *ROWS[1:9], "10,b", *ROWS[10:]],
            "column 'x', row 1 is 'a', expected a number; column 'y', row 10 is 'b'",
        ),
    ],
)
def test_a_column_that_cannot_be_trained_on_is_named_with_row_and_value(tmp_path, write_table, rows, said):
    table = write_table("x,y\n" + "\n".join(rows) + "\n")
    with pytest.raises(mlib.DataError) as caught:
        trained(tmp_path, table)
    assert said in str(caught.value)
    assert not (tmp_path / "model.joblib").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "Y"}, "no column 'Y'. Did you mean y? It has: x, y, same, word."),
        ({"features": ("wrod",)}, "no column 'wrod'. Did you mean word?"),
        ({"features": ("zzz",)}, "no column 'zzz'. It has: x, y, same, word."),
        ({"features": ("x", "same")}, "column 'same' is 7 in every row"),
        ({"features": None, "drop": ("x", "word")}, "to predict 'y' from: same is 7 in every row"),
    ],
)
def test_a_column_that_is_not_there_or_of_no_use_is_named(tmp_path, line_table, options, said):
    with pytest.raises(mlib.DataError) as caught:
        trained(tmp_path, line_table, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tsize": 0}, "test size is 0"),
        ({"tsize": 1}, "test size is 1"),
        ({"tsize": 1.5}, "test size is 1.5"),
        ({"tsize": -0.1}, "test size is -0.1"),
        ({"tsize": float("nan")}, "test size is nan"),
        ({"tsize": "0.1"}, "test size is '0.1'"),
        ({"estimator": "rigde"}, "no estimator 'rigde'. Did you mean ridge? The names for regression are: ridge,"),
        ({"estimator": "sklearn.linear_model.Rigde"}, "Did you mean Ridge?"),
        ({"estimator": "logistic"}, "logistic is for classification; for regression: ridge"),
        ({"task": "clasification"}, "no task 'clasification'"),
        ({"calibrate": True}, "a regression has none"),
        ({"cv": 1}, "folds are 1"),
        ({"search": 0}, "tries of the search are 0"),
        ({"parameters": {"alhpa": 1}}, "Did you mean alpha?"),
        ({"task": "classification", "min_r2": 0.5}, "classes have none"),
        ({"drop": ("x",), "features": ("x",)}, "'x' is to be dropped, and to be used"),
        ({"drop": ("y",)}, "'y' is the target"),
        ({"category": ("same",), "features": ("x",)}, "'same' is to be a category"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"sample": -1}, "sample is -1, expected a whole number of rows from 0"),
        ({"sample": 2.5}, "sample is 2.5"),
        ({"sample": True}, "sample is True"),
        ({"min_r2": float("nan")}, "least R² is nan"),
        ({"features": ()}, "at least one"),
        ({"features": ("x", "y")}, "'y' cannot be both"),
        ({"features": ("x", "x")}, "named twice"),
        ({"units": {"x": " "}}, "expected a word such as cm"),
        ({"units": {"x": "\x1b[31m"}}, "expected a word such as cm"),
        ({"units": {"X": "m"}}, "neither target nor feature. Did you mean x?"),
    ],
)
def test_an_option_that_cannot_be_is_refused(tmp_path, line_table, options, said):
    with pytest.raises(mlib.OptionError) as caught:
        trained(tmp_path, line_table, **options)
    assert said in str(caught.value)
    assert not (tmp_path / "model.joblib").exists()


@pytest.mark.parametrize(("rows", "tsize"), [(1, 0.1), (3, 0.1), (19, 0.05), (3, 0.9)])
def test_too_few_rows_to_split_are_refused(tmp_path, write_table, rows, tsize):
    table = write_table("x,y\n" + "".join(f"{x},{x * x}\n" for x in range(rows)))
    with pytest.raises(mlib.DataError):
        trained(tmp_path, table, tsize=tsize)


def test_training_rows_that_are_all_alike_are_refused(tmp_path, write_table):
    table = write_table("x,y\n" + "1,2\n" * 200 + "2,3\n")
    with pytest.raises(mlib.DataError, match="one value only in the 180 training rows"):
        trained(tmp_path, table, seed=next(seed for seed in range(99) if 200 in held_out_rows(201, 0.1, seed)))


def test_an_estimator_that_wants_more_rows_says_so(tmp_path, write_table):
    table = write_table("x,y\n" + "".join(f"{x},{x * x}\n" for x in range(5)))
    with pytest.raises(mlib.DataError, match="k-neighbors refuses these 3 training rows: Expected n_neighbors"):
        trained(tmp_path, table, tsize=0.4, estimator="k-neighbors")


def held_out_rows(n, tsize, seed):
    """The numbers of the rows that scikit-learn's split holds out."""
    return set(train_test_split(range(n), test_size=tsize, random_state=seed)[1])


# ------------------------------------------------------------------------------- split, scale, fit, evaluate


def test_retrain_returns_r2_and_the_name_it_was_given(tmp_path):
    path = str(tmp_path / "named.joblib")
    r2, model_name = mlib.retrain(tsize=0.4, model_name=path)
    assert model_name == path
    assert r2 == mlib.Signature.read(path).metrics["r2"]
    assert 0 < r2 < 1


def test_predictions_are_those_of_ridges_closed_form(model):
    """Ridge on standardised values: w = (X'X + I)^-1 X'y; the scalers see the training rows only."""
    table = pd.read_csv(ROOT / "htwtmlb.csv")
    x, y = train_test_split(table[["Weight", "Height"]].to_numpy(float), test_size=0.1, random_state=3)[0].T
    scaled_x, scaled_y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    slope = scaled_x @ scaled_y / (scaled_x @ scaled_x + 1)
    weights = np.array([150.0, 180.0, 225.0, 290.0])
    expected = slope * (weights - x.mean()) / x.std() * y.std() + y.mean()
    np.testing.assert_allclose(mlib.load_model(model).predict(weights.reshape(-1, 1)), expected, rtol=1e-12)


def test_two_features_are_those_of_ridges_closed_form(two_features):
    table = pd.read_csv(ROOT / "htwtmlb.csv")
    train = train_test_split(table[["Weight", "Age", "Height"]].to_numpy(float), test_size=0.1, random_state=3)[0]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scaled = (train - mean) / scale
    x, y = scaled[:, :2], scaled[:, 2]
    w = np.linalg.solve(x.T @ x + np.eye(2), x.T @ y)
    row = np.array([200.0, 30.0])
    expected = ((row - mean[:2]) / scale[:2]) @ w * scale[2] + mean[2]
    assert mlib.load_model(two_features).predict([row])[0] == pytest.approx(expected, rel=1e-12)


def test_metrics_are_those_of_the_held_out_rows_by_hand(model):
    table = pd.read_csv(ROOT / "htwtmlb.csv")
    train, test = train_test_split(table[["Weight", "Height"]].to_numpy(float), test_size=0.1, random_state=3)
    truth, answers = test[:, 1], mlib.predict(test[:, :1], model)
    signature = mlib.Signature.read(model)
    squares = ((truth - truth.mean()) ** 2).sum()
    assert signature.metrics == {
        "n": 128,
        "r2": pytest.approx(1 - ((truth - answers) ** 2).sum() / squares),
        "mae": pytest.approx(np.abs(truth - answers).mean()),
        "rmse": pytest.approx(np.sqrt(((truth - answers) ** 2).mean())),
    }
    mean = train[:, 1].mean()
    assert signature.baseline == {
        "n": 128,
        "r2": pytest.approx(1 - ((truth - mean) ** 2).sum() / squares),
        "mae": pytest.approx(np.abs(truth - mean).mean()),
        "rmse": pytest.approx(np.sqrt(((truth - mean) ** 2).mean())),
    }
    # 129 * 0.9 = 116.1, so the 117th smallest of 128 residuals
    assert signature.interval["half_width"] == pytest.approx(sorted(np.abs(truth - answers))[116])
    assert signature.training == {"n": 1149, "test_size": 0.1, "seed": 3, "notices": []}


def test_a_line_without_noise_is_learnt_exactly(tmp_path, line_table):
    signature = trained(tmp_path, line_table, estimator="linear", tsize=0.25)
    assert signature.metrics["r2"] == pytest.approx(1)
    assert mlib.predict(10.5, tmp_path / "model.joblib")["y"] == pytest.approx(22)  # 2 x + 1


def test_dummy_is_worth_what_the_baseline_is(tmp_path, line_table):
    signature = trained(tmp_path, line_table, estimator="dummy")
    assert signature.metrics == pytest.approx(signature.baseline)


@pytest.mark.parametrize("estimator", [name for name, paths in mlib.ESTIMATORS.items() if "regression" in paths])
def test_every_named_estimator_trains_and_answers(tmp_path, estimator):
    path = tmp_path / "model.joblib"
    mlib.retrain(model_name=path, estimator=estimator)
    assert 70 < mlib.predict(200, path)["height_inches"] < 77
    is_compiled = mlib.Signature.read(path).compiled["refused"] is None
    assert is_compiled == (estimator not in ("k-neighbors",))
    assert mlib.load_model(path).form == ("onnx" if is_compiled else "joblib")


@pytest.mark.parametrize(
    ("n", "coverage", "expected"),
    [
        (8, 0.9, None),  # ceil(9 * 0.9) = 9 > 8
        (9, 0.9, 9),  # ceil(10 * 0.9) = 9
        (10, 0.9, 10),  # ceil(9.9)
        (99, 0.9, 90),  # ceil(100 * 0.9)
        (100, 0.9, 91),  # ceil(90.9)
        (3, 0.5, 2),
        (0, 0.9, None),
    ],
)
def test_the_half_width_is_the_conformal_quantile(n, coverage, expected):
    residuals = random.Random(1).sample(range(1, n + 1), n)
    assert mlib.conformal_half_width(residuals, coverage) == expected


def test_the_interval_holds_nine_of_ten_new_rows(tmp_path):
    """Fresh rows from a law of our own: 500 calibrate, 20,000 are asked."""
    generator = np.random.default_rng(7)

    def rows(n):
        x = generator.uniform(1, 9, n)
        return pd.DataFrame({"x": x, "y": 3 * x + generator.standard_t(3, n)})

    rows(5000).to_csv(tmp_path / "table.csv", index=False)
    signature = trained(tmp_path, tmp_path / "table.csv")
    new = rows(20_000)
    residuals = np.abs(new["y"] - mlib.predict(new[["x"]].to_numpy(), tmp_path / "model.joblib"))
    assert (residuals <= signature.interval["half_width"]).mean() == pytest.approx(0.9, abs=0.04)


def test_a_model_of_few_rows_has_no_interval_and_says_so(tmp_path, line_table):
    trained(tmp_path, line_table)
    with pytest.raises(mlib.ModelError, match="4 held-out rows are too few for 90%"):
        mlib.predict(3, tmp_path / "model.joblib", interval=True)


def test_a_model_below_the_gate_is_not_written_and_the_old_one_stays(tmp_path, line_table):
    trained(tmp_path, line_table)
    old = (tmp_path / "model.joblib").read_bytes()
    with pytest.raises(mlib.GateError, match=r"below the 0\.5 that was asked for"):
        trained(tmp_path, line_table, estimator="dummy", min_r2=0.5)
    assert (tmp_path / "model.joblib").read_bytes() == old
    trained(tmp_path, line_table, min_r2=0.5)


# ------------------------------------------------------------------------------------- the signature, the file


def test_the_signature_says_what_the_model_was_made_from(model):
    card = mlib.Signature.read(model).card
    assert card["format"] == 1
    assert card["name"] == "htwtmlb-height"
    assert len(card["version"]) == 12
    assert card["task"] == "regression"
    assert (card["target"]["name"], card["target"]["unit"]) == ("Height", "inches")
    assert [feature["name"] for feature in card["features"]] == ["Weight"]
    assert card["estimator"]["class"] == "sklearn.linear_model.Ridge"
    assert card["estimator"]["parameters"]["alpha"] == 1.0
    digest = hashlib.sha256((ROOT / "htwtmlb.csv").read_bytes()).hexdigest()
    assert card["data"] == {"file": "htwtmlb.csv", "rows": 1277, "sha256": digest}
    assert set(card["packages"]) == set(mlib.PACKAGES)
    assert all(card["packages"].values())


def test_the_signature_describes_the_training_rows(tmp_path, line_table):
    feature = trained(tmp_path, line_table).features[0]
    kept = [x for x in range(1, 41) if x - 1 not in held_out_rows(40, 0.1, 3)]
    assert (feature.min, feature.max, feature.median) == (min(kept), max(kept), np.median(kept))
    assert feature.mean == pytest.approx(np.mean(kept))
    assert feature.scale == pytest.approx(np.std(kept))
    assert sum(feature.histogram["counts"]) == len(kept)
    assert len(feature.histogram["edges"]) == 11


def test_the_version_names_the_content(tmp_path, line_table, write_table):
    first = trained(tmp_path, line_table)
    assert trained(tmp_path, line_table).version == first.version
    assert trained(tmp_path, line_table, seed=4).version != first.version
    assert trained(tmp_path, line_table, sample=5).version != first.version
    assert trained(tmp_path, line_table, estimator="linear").version != first.version
    assert trained(tmp_path, line_table, units={"y": "m"}).version != first.version
    other = write_table(line_table.read_text().replace("40,81", "40,82"), "table2.csv")
    assert trained(tmp_path, other).version != first.version


def test_the_sample_is_of_training_rows_each_once(tmp_path, line_table):
    held_out = {x + 1 for x in held_out_rows(40, 0.1, 3)}
    sample = trained(tmp_path, line_table, sample=10).sample
    x = [row[0] for row in sample["rows"]]
    assert len(set(x)) == 10
    assert not held_out & set(x)
    assert sample["target"] == [2 * each + 1 for each in x]
    assert trained(tmp_path, line_table, sample=10).sample == sample
    everything = trained(tmp_path, line_table, sample=1000).sample
    assert {row[0] for row in everything["rows"]} == set(range(1, 41)) - held_out


def test_without_a_sample_no_row_of_the_table_is_in_the_signature(tmp_path, write_table):
    table = write_table("a,b,y\n" + "".join(f"{i},{i * 7 % 40},{i}.5\n" for i in range(40)))
    signature = trained(tmp_path, table, features=("a", "b"), sample=0)
    assert signature.sample == {"rows": [], "target": []}
    rows = {(float(i), float(i * 7 % 40)) for i in range(40)}
    assert not rows & {tuple(row) for row in signature.golden["rows"][1:]}  # the first is 0, 0, the least of each
    assert len(signature.golden["rows"]) == 3
    assert len(mlib.predict([{"a": 1, "b": 2}], tmp_path / "model.joblib")) == 1


def test_a_wide_table_has_a_small_sample_with_gaps_as_none(tmp_path, write_table):
    names = [f"c{i}" for i in range(500)]
    rows = "".join(",".join(str((i * 31 + j * 17) % 101) for j in range(499)) + f",,{i}\n" for i in range(60))
    rows += "".join(",".join(str((i * 31 + j * 17) % 101) for j in range(500)) + f",{i}\n" for i in range(60, 80))
    sample = trained(
        tmp_path, write_table(",".join([*names, "y"]) + "\n" + rows), features=tuple(names), estimator="dummy"
    ).sample
    assert len(sample["rows"]) == 39  # 20,000 // 501
    assert any(row[-1] is None for row in sample["rows"])
    assert json.loads(json.dumps(sample, allow_nan=False)) == sample


def test_a_model_that_was_trained_before_there_were_samples_has_none(model):
    card = dict(mlib.Signature.read(model).card)
    del card["sample"]
    assert mlib.Signature(card).sample == {"rows": [], "target": []}


def test_units_of_the_published_columns_are_known_and_others_are_asked_for(tmp_path, write_table):
    header = "Height,Weight\n"
    table = write_table(header + "".join(f"{170 + x},{60 + x % 7}\n" for x in range(30)), "people.csv")
    path = tmp_path / "people.joblib"
    mlib.retrain(data=table, model_name=path)
    assert list(mlib.predict(62, path)) == ["height"]
    mlib.retrain(data=table, model_name=path, units={"Height": "cm"})
    assert list(mlib.predict(62, path)) == ["height_cm"]
    mlib.retrain(data=table, model_name=path, units={"Height": " IN "})
    assert list(mlib.predict(62, path)) == ["height_inches", "height_human_readable"]


def test_same_inputs_give_the_same_bytes_in_another_process(model, tmp_path):
    path = tmp_path / "again.joblib"
    for hash_seed in "1", "2":
        run(
            sys.executable,
            "-c",
            f"import mlib; mlib.retrain(model_name={str(path)!r})",
            env={**ENVIRONMENT, "PYTHONHASHSEED": hash_seed},
        )
        assert path.read_bytes() == model.read_bytes()
        assert path.with_suffix(".onnx").read_bytes() == model.with_suffix(".onnx").read_bytes()


def test_the_committed_model_is_that_of_the_committed_data():
    """Bytes can differ between machines (their linear algebra does); what it was made from cannot."""
    signature = mlib.Signature.read(mlib.MODEL)
    assert signature.data["sha256"] == hashlib.sha256((ROOT / "htwtmlb.csv").read_bytes()).hexdigest()
    assert (signature.training["test_size"], signature.training["seed"]) == (0.1, 3)


def test_the_committed_model_answers_as_one_trained_here(model):
    weights = np.linspace(100, 400, 50)
    np.testing.assert_allclose(mlib.predict(weights, mlib.MODEL), mlib.predict(weights, model), rtol=1e-9)
    assert mlib.Signature.read(mlib.MODEL).version == mlib.Signature.read(model).version


def test_the_file_is_a_joblib_file_like_any_other(model):
    estimator = joblib.load(model)
    assert isinstance(estimator.regressor_[-1], Ridge)
    assert estimator.predict([[200.0]]) == mlib.load_model(model).predict([[200.0]])


def test_the_signature_is_read_without_running_the_pickle(tmp_path, model):
    """A pickle that would leave a trace is put in front of a signature, with a footer that is right."""
    content = model.read_bytes()
    trace = tmp_path / "trace"

    class Evil:
        """Makes a file when it is unpickled."""

        def __reduce__(self):
            return open, (str(trace), "w")

    signature = content[content.rindex(b'{"format"') : -64]
    body = pickle.dumps(Evil()) + signature
    path = tmp_path / "evil.joblib"
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    assert mlib.Signature.read(path).name == "htwtmlb-height"
    assert not trace.exists()


def test_a_model_that_is_not_there_is_said_with_the_way_to_make_one(tmp_path):
    with pytest.raises(mlib.ModelError, match=r"There is no model .*none\.joblib\. Train one: \./utilscli\.py retrain"):
        mlib.load_model(tmp_path / "none.joblib")


def test_a_folder_a_pipe_or_a_device_is_no_model(tmp_path, line_table):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(mlib.ModelError, match="it is a folder, a pipe or a device"):
            mlib.load_model(path)
    with pytest.raises(mlib.ModelError, match="it is there, and no regular file"):
        trained(tmp_path, line_table, model_name=tmp_path / "pipe")


def test_a_large_foreign_file_is_not_read_whole(tmp_path):
    """A hundred gigabytes of nothing, which take no room on the disk and would not fit into memory."""
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(100 * 2**30)
    with pytest.raises(mlib.ModelError, match="not a whole model"):
        mlib.load_model(tmp_path / "huge")


@pytest.mark.parametrize("length", [0, 1, 63, 64, 93, 94, 1000, -1, -64, -65, -200])
def test_a_truncated_model_is_refused(tmp_path, model, length):
    path = tmp_path / "cut.joblib"
    path.write_bytes(model.read_bytes()[:length])
    with pytest.raises(mlib.ModelError, match="not a whole model"):
        mlib.load_model(path)


def test_a_model_with_any_byte_changed_is_refused(tmp_path, model):
    content = model.read_bytes()
    path = tmp_path / "flipped.joblib"
    for position, byte in enumerate(content):
        path.write_bytes(content[:position] + bytes([byte ^ 1]) + content[position + 1 :])
        with pytest.raises(mlib.ModelError):
            mlib.load_model(path)


def test_a_file_of_another_program_is_refused_and_not_run(tmp_path):
    path = tmp_path / "foreign.joblib"
    joblib.dump(Ridge(), path)
    with pytest.raises(mlib.ModelError, match="made by another program"):
        mlib.load_model(path)


def rewritten(model, path, **changes):
    """Write the model again with another signature, its digest right."""
    content = model.read_bytes()
    card = {**mlib.Signature.read(model).card, **changes}
    text = json.dumps(card).encode()
    body = content[: content.rindex(b'{"format"')] + text + artifact.MAGIC + artifact.LENGTH % len(text)
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    return path


def test_a_model_of_another_scikit_learn_is_refused_with_both_versions(tmp_path, model):
    packages = {**mlib.Signature.read(model).packages, "scikit-learn": "0.24.2"}
    path = rewritten(model, tmp_path / "old.joblib", packages=packages)
    with pytest.raises(mlib.ModelError, match=r"written by scikit-learn 0\.24\.2, and \d+\.\d+.* is installed"):
        mlib.load_model(path)


def test_a_signature_of_another_format_is_refused(tmp_path, model):
    path = rewritten(model, tmp_path / "new.joblib", format=2)
    with pytest.raises(mlib.ModelError, match="has format 2"):
        mlib.Signature.read(path)


# ------------------------------------------------------------------------------------------- the compiled form


@pytest.fixture(name="pair")
def _pair(tmp_path, model):
    """A copy of the default model's two files; the path of the joblib file."""
    shutil.copy(model, tmp_path / "model.joblib")
    shutil.copy(model.with_suffix(".onnx"), tmp_path / "model.onnx")
    return tmp_path / "model.joblib"


def test_retrain_writes_a_compiled_form_that_is_preferred(pair):
    assert mlib.load_model(pair).form == "onnx"
    assert mlib.Signature.read(pair).compiled["refused"] is None
    assert mlib.Signature.read(pair).compiled["worst"] <= 1e-9


def test_the_compiled_form_is_an_onnx_model_with_the_signature_and_its_origin(pair):
    compiled = onnx.load(pair.with_suffix(".onnx"))
    onnx.checker.check_model(compiled, full_check=True)
    metadata = {entry.key: entry.value for entry in compiled.metadata_props}
    assert json.loads(metadata["signature"]) == mlib.Signature.read(pair).card
    assert metadata["compiled_from"] == hashlib.sha256(pair.read_bytes()).hexdigest()
    assert mlib.Signature.read(pair.with_suffix(".onnx")).card == mlib.Signature.read(pair).card


def test_both_forms_answer_alike(pair, model):
    compiled = mlib.load_model(pair)
    weights = np.linspace(1, 600, 1000).reshape(-1, 1)
    np.testing.assert_allclose(compiled.predict(weights), joblib.load(model).predict(weights), rtol=1e-12)


def test_without_a_compiled_form_joblib_answers(pair):
    expected = mlib.predict(180, pair)
    pair.with_suffix(".onnx").unlink()
    assert mlib.load_model(pair).form == "joblib"
    assert mlib.predict(180, pair) == expected


def test_a_compiled_form_of_another_model_is_not_used(pair, tmp_path):
    other = tmp_path / "other.joblib"
    mlib.retrain(model_name=other, seed=9)
    shutil.copy(other.with_suffix(".onnx"), pair.with_suffix(".onnx"))
    assert mlib.load_model(pair).form == "joblib"


def test_a_compiled_form_alone_answers(pair):
    expected = mlib.predict(180, pair)
    pair.unlink()
    assert mlib.load_model(pair).form == "onnx"
    assert mlib.predict(180, pair) == mlib.predict(180, pair.with_suffix(".onnx")) == expected
    assert mlib.Signature.read(pair).name == "htwtmlb-height"


@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize("length", [0, 1, 64, 100, 1000, -1, -64, -80])
def test_a_truncated_compiled_form_is_refused(pair, is_alone, length):
    """Also beside a sound joblib file: a damaged disk is to be known, not to be worked around."""
    compiled = pair.with_suffix(".onnx")
    compiled.write_bytes(compiled.read_bytes()[:length])
    if is_alone:
        pair.unlink()
    with pytest.raises(mlib.ModelError, match="not a whole model"):
        mlib.load_model(pair)


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_compiled_form_with_any_byte_changed_is_refused(pair, is_alone):
    compiled = pair.with_suffix(".onnx")
    content = compiled.read_bytes()
    if is_alone:
        pair.unlink()
    for position, byte in enumerate(content):
        compiled.write_bytes(content[:position] + bytes([byte ^ 1]) + content[position + 1 :])
        with pytest.raises(mlib.ModelError):
            mlib.load_model(pair)


def test_a_model_with_any_byte_changed_is_refused_beside_a_sound_compiled_form(pair):
    content = pair.read_bytes()
    for position in range(0, len(content), 7):
        pair.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(mlib.ModelError):
            mlib.load_model(pair)


def test_an_onnx_model_of_another_program_is_refused(tmp_path):
    """Also one that is sealed as ours are, but holds no signature; and one that holds no graph that runs."""
    graph = onnx.helper.make_graph([], "empty", [], [])
    bare = onnx.helper.make_model(graph).SerializeToString()
    path = tmp_path / "foreign.onnx"
    path.write_bytes(bare)
    with pytest.raises(mlib.ModelError, match="made by another program"):
        mlib.load_model(path)
    path.write_bytes(sealed(bare))
    with pytest.raises(mlib.ModelError, match="it has no signature"):
        mlib.load_model(path)


def sealed(content):
    """Bytes with the digest that a compiled form ends with."""
    return content + artifact.SEAL + hashlib.sha256(content + artifact.SEAL).hexdigest().encode()


def test_a_graph_that_does_not_run_here_is_said_in_one_line(pair):
    compiled = onnx.load(pair.with_suffix(".onnx"))
    del compiled.metadata_props[-1]  # the seal
    compiled.graph.node[0].op_type = "NoSuchOperator"
    pair.with_suffix(".onnx").write_bytes(sealed(compiled.SerializeToString()))
    with pytest.raises(mlib.ModelError, match=r"cannot be run by this ONNX Runtime: .*NoSuchOperator"):
        mlib.load_model(pair)


def test_a_model_that_does_not_answer_its_golden_rows_is_refused(pair):
    """As on a processor that computes otherwise: the graph's last constant, the target's mean, is moved a little."""
    compiled = onnx.load(pair.with_suffix(".onnx"))
    del compiled.metadata_props[-1]
    mean = next(c for c in compiled.graph.initializer if onnx.numpy_helper.to_array(c).tolist() == [73.64664926022628])
    mean.CopyFrom(onnx.numpy_helper.from_array(np.array([73.6466493]), mean.name))
    pair.with_suffix(".onnx").write_bytes(sealed(compiled.SerializeToString()))
    with pytest.raises(mlib.ModelError, match="to its golden row"):
        mlib.load_model(pair)


def test_golden_rows_are_those_of_the_original(model):
    golden = mlib.Signature.read(model).golden
    assert golden["answers"] == joblib.load(model).predict(golden["rows"]).tolist()
    assert [145.0] in golden["rows"]
    assert [300.0] in golden["rows"]


def test_golden_rows_are_proved_of_the_joblib_form_too(tmp_path, model):
    golden = mlib.Signature.read(model).golden
    path = rewritten(model, tmp_path / "other.joblib", golden={**golden, "answers": [70.0] * 5})
    with pytest.raises(mlib.ModelError, match="to its golden row"):
        mlib.load_model(path)


def test_a_digest_that_was_asked_for_is_held(pair):
    digest = hashlib.sha256(pair.read_bytes()).hexdigest()
    assert mlib.load_model(pair, sha256=digest.upper()).form == "joblib"  # the digest is that file's, not the other's
    with pytest.raises(mlib.ModelError, match=f"has the sha256 {digest}, and {'0' * 64} was asked for"):
        mlib.load_model(pair, sha256="0" * 64)
    compiled = pair.with_suffix(".onnx")
    assert mlib.load_model(compiled, sha256=hashlib.sha256(compiled.read_bytes()).hexdigest())
    with pytest.raises(mlib.ModelError, match="was asked for"):
        mlib.load_model(compiled, sha256=digest)


@pytest.mark.parametrize("sha256", ["", "zz", "0" * 63])
def test_what_is_no_digest_is_refused(pair, sha256):
    with pytest.raises(mlib.OptionError, match="expected 64 hex digits"):
        mlib.load_model(pair, sha256=sha256)


def test_a_forged_compiled_form_does_not_answer_for_a_file_with_a_known_digest(pair, tmp_path):
    """It states the origin of another model, and is that model's neighbour."""
    digest = hashlib.sha256(pair.read_bytes()).hexdigest()
    mlib.retrain(model_name=tmp_path / "other.joblib", seed=9)
    forged = onnx.load(tmp_path / "other.onnx")
    del forged.metadata_props[-2:]
    forged.metadata_props.add(key="compiled_from", value=digest)
    pair.with_suffix(".onnx").write_bytes(sealed(forged.SerializeToString()))
    answer = joblib.load(pair).predict([[200.0]])[0]
    assert mlib.load_model(pair, sha256=digest).predict([[200.0]])[0] == answer


@pytest.mark.parametrize(
    "metadata",
    [
        b"\x72\x00",
        b"\x72\x01\xff",
        b"\x70\x05",
        b"\x72\x05\x0a\x01\xff\x12\x00",
        b"\x79",
        b"\x72\x7f",
        b"\x72\x0d\x0a\x09signature\x12\x00" * 2,
        b"\x72\x0e\x0a\x09signature\x12\x01{\x72\x11\x0a\x0dcompiled_from\x12\x00",
        b"\x72\x0f\x0a\x09signature\x12\x02[]\x72\x11\x0a\x0dcompiled_from\x12\x00",
        b'\x72\x1a\x0a\x09signature\x12\x0d{"format": 1}\x72\x11\x0a\x0dcompiled_from\x12\x00',
    ],
)
def test_a_sealed_file_with_nonsense_in_it_is_one_line(tmp_path, metadata):
    path = tmp_path / "nonsense.onnx"
    path.write_bytes(sealed(metadata))
    with pytest.raises(mlib.ModelError, match=r"has no signature|a signature that cannot be read"):
        mlib.load_model(path)


def test_each_model_has_a_compiled_form_of_its_own(tmp_path):
    for name, compiled in [("m.joblib", "m.onnx"), ("m.v1", "m.v1.onnx"), ("m.v2", "m.v2.onnx"), ("m", "m.onnx")]:
        assert mlib.compiled_path(name) == compiled
    mlib.retrain(model_name=tmp_path / "model.v1")
    mlib.retrain(model_name=tmp_path / "model.v2", estimator="svm")
    assert mlib.load_model(tmp_path / "model.v1").form == mlib.load_model(tmp_path / "model.v2").form == "onnx"
    assert mlib.predict(290, tmp_path / "model.v1") != mlib.predict(290, tmp_path / "model.v2")


def test_a_misspelt_model_is_not_answered_by_another(pair):
    for name in ("model.jobilb", "model", "mode.joblib"):
        with pytest.raises(mlib.ModelError, match="There is no model"):
            mlib.load_model(pair.with_name(name).with_name(name + "x"))
    with pytest.raises(mlib.ModelError, match="There is no model"):
        mlib.load_model(pair.with_name("model.jobilb"))


def test_a_missing_compiled_form_is_not_advised_to_be_trained(tmp_path):
    with pytest.raises(mlib.ModelError, match=r"retrain --model-name \S*none\.joblib$"):
        mlib.load_model(tmp_path / "none.onnx")


@pytest.mark.parametrize("estimator", ["ridge", "k-neighbors"])
@pytest.mark.parametrize("kind", ["text", "folder"])
def test_what_is_no_compiled_form_of_ours_is_not_overwritten_or_removed(pair, estimator, kind):
    compiled, old = pair.with_suffix(".onnx"), pair.read_bytes()
    compiled.unlink()
    if kind == "text":
        compiled.write_text("precious")
    else:
        compiled.mkdir()
    with pytest.raises(mlib.ModelError, match="is in the way"):
        mlib.retrain(model_name=pair, estimator=estimator)
    assert pair.read_bytes() == old
    assert compiled.is_dir() or compiled.read_text() == "precious"


def test_a_link_is_followed_to_both_files(pair):
    link = pair.with_name("current.joblib")
    link.symlink_to(pair)
    assert mlib.load_model(link).form == "onnx"
    mlib.retrain(model_name=link, seed=8)
    assert link.is_symlink()
    assert not link.with_suffix(".onnx").exists()
    assert mlib.load_model(pair).form == "onnx"
    assert mlib.Signature.read(pair).training["seed"] == 8


def test_rows_to_compare_on_reach_the_edges_beyond_and_in_between():
    columns = [number("a", 1, 2, 4), number("b", 10, 20, 50), category("c", "pqr")]
    # pylint: disable-next=protected-access  # how far the comparison reaches cannot be seen from outside
    rows = mlib._parity_rows(columns)
    numbers = [row[:2] for row in rows.tolist()]
    for row in ([1, 10], [4, 50], [1, 20], [2, 10], [4, 20], [2, 50], [-2, -30], [7, 90]):
        assert row in numbers
    between = [row for row in numbers if 1 < row[0] < 4 and 10 < row[1] < 50 and row != [2, 20]]
    assert len({tuple(row) for row in between}) >= 1000
    assert {str(place) for place in rows[:, 2]} == {"0.0", "1.0", "2.0", "nan"}


def number(name, low, middle, high):
    """A column of numbers, as training describes it."""
    card = {"name": name, "kind": "number", "unit": None, "missing": False, "histogram": {}}
    figures = {"min": low, "median": middle, "max": high, "mean": middle, "scale": 1.0, "positive": False}
    return Column.of({**card, **figures})


def category(name, values):
    """A column of categories with gaps, as training describes it."""
    histogram = {"counts": [1] * len(values), "missing": 1}
    card = {"name": name, "kind": "category", "unit": None, "missing": True, "histogram": histogram}
    return Column.of({**card, "categories": list(values)})


def test_neighbours_are_never_compiled_since_ties_cannot_be_ruled_out(tmp_path):
    """On these rows, none of them a tie, both agree."""
    generator = np.random.default_rng(3)
    pd.DataFrame({"x": generator.normal(size=300), "y": generator.normal(size=300)}).to_csv(tmp_path / "c.csv")
    signature = trained(tmp_path, tmp_path / "c.csv", estimator="k-neighbors")
    assert signature.compiled["worst"] < 1e-6
    assert "equally near neighbours" in signature.compiled["refused"]
    assert not (tmp_path / "model.onnx").exists()


def test_a_model_that_cannot_be_compiled_faithfully_has_no_compiled_form(pair):
    """Many players have one weight, and which of them are the nearest five is an accident of scikit-learn's search."""
    mlib.retrain(model_name=pair, estimator="k-neighbors")
    assert not pair.with_suffix(".onnx").exists()
    compiled = mlib.Signature.read(pair).compiled
    assert compiled["worst"] > 1e-6
    assert "and scikit-learn" in compiled["refused"]
    assert mlib.load_model(pair).form == "joblib"
    assert mlib.predict(200, pair)["height_inches"] > 70


def test_a_compiled_form_that_answers_no_number_is_refused():
    """A fitted ridge is given a slope that is none; what is written of it still has to be JSON."""
    x = np.arange(20.0).reshape(-1, 1)
    model = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()), transformer=StandardScaler())
    model.fit(x, x[:, 0])
    model.regressor_[-1].coef_[:] = np.inf
    others = np.array([[0.5], [model.regressor_[0].mean_[0]]])  # at the mean it is inf times 0
    model.predict = lambda rows: rows[:, 0]  # the original answers numbers
    # pylint: disable-next=protected-access  # no table brings an estimator to this
    graph, compiled = mlib._compile(model, "regression", x, x[:, 0], 1e-9, others)
    assert graph is None
    assert compiled["worst"] is None
    assert "it answers nan" in compiled["refused"]
    json.dumps(compiled, allow_nan=False)


def test_an_estimator_without_a_converter_has_no_compiled_form(tmp_path, line_table):
    signature = trained(tmp_path, line_table, features=("x",), estimator="sklearn.kernel_ridge.KernelRidge")
    assert "it cannot be compiled (" in signature.compiled["refused"]
    assert mlib.predict(3, tmp_path / "model.joblib")["y"] > 0


def test_a_model_is_not_given_the_name_of_a_compiled_form(tmp_path, line_table):
    with pytest.raises(mlib.OptionError, match="the name of a compiled form"):
        trained(tmp_path, line_table, model_name=tmp_path / "model.onnx")


def test_a_file_that_is_no_model_is_not_replaced(tmp_path, line_table):
    with pytest.raises(mlib.ModelError, match="is there, and no model"):
        mlib.retrain(data=line_table, target="y", features=("x",), model_name=line_table)
    for _ in range(2):  # of any name, a model is
        mlib.retrain(data=line_table, target="y", features=("x",), model_name=tmp_path / "model.v2")


def test_many_rows_are_predicted_in_chunks(model):
    loaded = mlib.load_model(model)
    shapes = []

    def noted(x):
        shapes.append(x.shape)
        return loaded.run(x)

    weights = np.linspace(145, 300, 300_000)
    answers = mlib.predict(weights, mlib.Model(loaded.signature, noted, "onnx"))
    assert shapes == [(131_072, 1), (131_072, 1), (37_856, 1)]
    np.testing.assert_allclose(answers, joblib.load(model).predict(weights.reshape(-1, 1)), rtol=1e-12)


def test_a_file_that_did_not_change_is_loaded_once_and_one_that_did_is_loaded_again(tmp_path, model, two_features):
    path = tmp_path / "model.joblib"
    shutil.copy(model, path)
    first = mlib.load_model(path)
    assert mlib.load_model(path) is first
    artifact.write_file(path, two_features.read_bytes())
    assert [feature.name for feature in mlib.load_model(path).signature.features] == ["Weight", "Age"]


def test_mlops_model_names_the_model_that_is_not_named(monkeypatch, two_features):
    monkeypatch.setenv("MLOPS_MODEL", str(two_features))
    assert len(mlib.load_model().signature.features) == 2
    assert len(mlib.load_model(mlib.MODEL).signature.features) == 1


def test_a_model_cannot_be_written_where_there_is_no_folder(tmp_path, line_table):
    with pytest.raises(mlib.ModelError, match="a folder that does not exist"):
        trained(tmp_path, line_table, model_name=tmp_path / "no" / "model.joblib")
    with pytest.raises(mlib.ModelError, match="is a folder"):
        trained(tmp_path, line_table, model_name=tmp_path)


def test_a_disk_without_room_leaves_the_old_model_and_no_litter(tmp_path, model):
    """The system refuses files of over 1,000 bytes."""
    path = tmp_path / "model.joblib"
    shutil.copy(model, path)
    code = f"""
import resource, signal, mlib
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    mlib.retrain(model_name={str(path)!r}, seed=5)
except mlib.ModelError as error:
    print(error)
"""
    assert run(sys.executable, "-c", code).stdout == f"Cannot write {path}: File too large.\n"
    assert path.read_bytes() == model.read_bytes()
    assert os.listdir(tmp_path) == ["model.joblib"]


def test_writing_follows_a_link_and_keeps_to_the_umask(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = os.umask(0o027)
    try:
        artifact.write_file(tmp_path / "link", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


TRAINER = """
import os, sys, timeit
import mlib

path = sys.argv[1]
mlib.retrain(model_name=path)
print(timeit.timeit(lambda: mlib.retrain(model_name=path), number=1), flush=True)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        seed = os.getpid()
        while True:
            seed += 1
            mlib.retrain(model_name=path, seed=seed)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def test_training_killed_at_any_moment_leaves_a_model_that_loads(tmp_path):
    """A process trains over and over, with another seed each time, and is killed 60 times wherever it is."""
    path = tmp_path / "model.joblib"
    moments = random.Random(3)
    versions = set()
    environment = {**ENVIRONMENT, "PYTHONWARNINGS": "default"}  # Python 3.12 warns of a fork beside BLAS's threads
    with subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(path)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as trainer:
        longest = max(0.12, 3 * float(trainer.stdout.readline()))  # enough for a model or two, on a busy machine too
        for _ in range(60):
            trainer.stdin.write("train\n")
            trainer.stdin.flush()
            child = int(trainer.stdout.readline())
            time.sleep(moments.uniform(0.01, longest))
            os.kill(child, signal.SIGKILL)
            assert trainer.stdout.readline() == "ended\n"
            versions.add(mlib.load_model(path).signature.version)
            assert 60 < mlib.predict(200, path)["height_inches"] < 85
        trainer.stdin.close()
    assert len(versions) > 10  # it did train


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_training_killed_within_the_writing_leaves_the_old_model(tmp_path, model, moment):
    path = tmp_path / "model.joblib"
    shutil.copy(model, path)
    code = f"""
import os, mlib
os.{moment} = lambda *_: os.kill(os.getpid(), 9)
mlib.retrain(model_name={str(path)!r}, seed=5)
"""
    assert run(sys.executable, "-c", code).returncode == -signal.SIGKILL
    assert path.read_bytes() == model.read_bytes()
    assert mlib.predict(200, path) == mlib.predict(200, model)


def test_training_killed_between_its_two_files_leaves_a_model_that_answers(pair):
    """The new model.joblib beside the old compiled form, which is not of it, and so is not used."""
    code = f"""
import os, mlib
replace, done = os.replace, []
def once(*paths):
    if done:
        os.kill(os.getpid(), 9)
    done.append(replace(*paths))
os.replace = once
mlib.retrain(model_name={str(pair)!r}, seed=5)
"""
    assert run(sys.executable, "-c", code).returncode == -signal.SIGKILL
    assert mlib.Signature.read(pair).training["seed"] == 5
    assert mlib.load_model(pair).form == "joblib"
    assert mlib.Signature.read(pair.with_suffix(".onnx")).training["seed"] == 3


# ------------------------------------------------------------------------------------------- check, predict


def test_a_number_answers_the_published_dict(model):
    answer = mlib.predict(200, model)
    assert list(answer) == ["height_inches", "height_human_readable"]
    assert answer["height_inches"] == round(mlib.load_model(model).predict([[200.0]])[0], 2)
    assert answer["height_human_readable"] == "6 foot, 1 inches"


def test_all_forms_of_a_row_answer_alike(model):
    one = mlib.predict(200, model)
    for same in (200.0, np.float64(200), np.int64(200), np.array(200), {"Weight": 200}):
        assert mlib.predict(same, model) == one
    for same in ([200], (200,), [{"Weight": 200}], pd.DataFrame({"Weight": [200]})):
        assert mlib.predict(same, model) == [one]
    for same in (np.array([200]), np.array([[200.0]])):
        assert mlib.predict(same, model).round(2).tolist() == [one["height_inches"]]


def test_many_rows_are_answered_in_their_order(model, two_features):
    weights = [180, 250, 150, 200]
    assert mlib.predict(weights, model) == [mlib.predict(weight, model) for weight in weights]
    frame = pd.DataFrame({"Age": [20.5, 30.0], "Weight": [180, 250]})  # columns in another order
    nullable = frame.astype({"Age": "Float64", "Weight": "Int64"})
    assert mlib.predict(nullable, two_features) == mlib.predict(frame, two_features)
    assert mlib.predict(frame, two_features) == mlib.predict(frame.to_dict("records"), two_features)


def test_no_rows_are_no_answers(model):
    assert mlib.predict([], model) == []
    assert mlib.predict(pd.DataFrame({"Weight": []}), model) == []
    assert mlib.predict(np.empty((0, 1)), model).shape == (0,)


def test_the_estimator_is_called_once_for_many_rows(model):
    loaded = mlib.load_model(model)
    calls = []

    class Counted(mlib.Model):
        """A model that notes the shape of each call."""

        def predict(self, x):
            calls.append(x.shape)
            return super().predict(x)

    counted = Counted(loaded.signature, loaded.run, loaded.form)
    mlib.predict([{"Weight": weight} for weight in range(150, 250)], counted)
    assert calls == [(100, 1)]


def test_an_interval_is_given_when_it_is_asked_for(model):
    answer = mlib.predict(200, model, interval=True)
    half_width = mlib.Signature.read(model).interval["half_width"]
    assert answer["interval"]["coverage"] == 0.9
    assert answer["interval"]["high"] - answer["interval"]["low"] == pytest.approx(2 * half_width, abs=0.011)
    assert answer["interval"]["low"] < answer["height_inches"] < answer["interval"]["high"]
    assert all(round(end, 2) == end for end in answer["interval"].values())
    with pytest.raises(mlib.OptionError, match="For intervals give rows"):
        mlib.predict(np.array([200]), model, interval=True)


@pytest.mark.parametrize("target", ["interval", "warnings"])
def test_a_target_with_the_name_of_a_key_gets_another(tmp_path, write_table, target):
    table = write_table(f"x,{target}\n" + "".join(f"{x},{2 * x + 1}\n" for x in range(1, 201)))
    trained(tmp_path, table, target=target, estimator="linear")
    answer = mlib.predict(500, tmp_path / "model.joblib", interval=True)
    assert answer[f"{target}_value"] == pytest.approx(1001)
    assert answer["interval"]["low"] == pytest.approx(1001)
    assert answer["warnings"][0]["got"] == 500


def test_a_value_beyond_training_is_answered_with_a_warning(model):
    answer = mlib.predict([145, 300, 144.5, 400], model)
    assert "warnings" not in answer[0]
    assert "warnings" not in answer[1]
    assert answer[2]["warnings"] == [
        {"field": "Weight", "got": 144.5, "expected": "145 to 300 pounds, as in training"},
    ]
    assert answer[3]["warnings"][0]["got"] == 400
    assert answer[3]["height_inches"] > 80


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (-5, -5),
        (0, 0),
        (-0.0, 0),
        (float("nan"), "nan"),
        (np.float32("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (10**400, "a number too large"),
        ("abc", "abc"),
        ("180", "180"),
        ("x" * 1000, "x" * 77 + "..."),
        (None, None),
        (True, True),
        ([180], "a list"),
        ({"a": 1}, "an object"),
        (1j, "a complex"),
        (b"180", "a bytes"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_was_expected(model, value, got):
    with pytest.raises(mlib.InputError) as caught:
        mlib.predict({"Weight": value}, model)
    expected = "a number above 0 (145 to 300 pounds in training)"
    assert caught.value.errors == [{"field": "Weight", "got": got, "expected": expected}]
    json.dumps(caught.value.errors, allow_nan=False)


def test_a_misspelt_field_is_refused_with_the_nearest(model):
    with pytest.raises(mlib.InputError) as caught:
        mlib.predict({"Wieght": 180}, model)
    missing, unknown = caught.value.errors
    assert (missing["field"], missing["got"]) == ("Weight", None)
    assert unknown == {"field": "Wieght", "got": 180, "expected": "one of the fields: Weight. Did you mean Weight?"}


def test_a_field_too_many_is_refused(model):
    with pytest.raises(mlib.InputError, match=r"Xyz: got 1, expected one of the fields: Weight\.$"):
        mlib.predict({"Weight": 180, "Xyz": 1}, model)


@pytest.mark.parametrize("estimator", ["ridge", "random-forest", "k-neighbors"])
def test_a_value_beyond_all_computing_is_refused_and_one_far_away_is_answered(tmp_path, write_table, estimator):
    table = write_table("x,y\n" + "".join(f"{x / 1000},{x * x}\n" for x in range(1, 41)))
    trained(tmp_path, table, estimator=estimator)
    path = tmp_path / "model.joblib"
    assert np.isfinite(mlib.predict(1e5, path)["y"])
    for x in (1e308, {"x": 1e308}, np.array([[1e308]]), pd.DataFrame({"x": [1e308]})):
        with pytest.raises(mlib.InputError, match="within a billion standard deviations"):
            mlib.predict(x, path)


def test_many_unknown_fields_and_long_names_are_told_in_short(model):
    with pytest.raises(mlib.InputError) as caught:
        mlib.predict({"Weight": 200, "W" * 1_000_000: 1, **{f"f{i}": i for i in range(100_000)}}, model)
    assert len(caught.value.errors) == 100
    assert len(json.dumps(caught.value.errors)) < 20_000


def test_all_problems_of_all_rows_are_told_with_their_row(two_features):
    with pytest.raises(mlib.InputError) as caught:
        mlib.predict([{"Weight": 180, "Age": 30}, {"Weight": -1, "Age": "old"}, 7], two_features)
    assert [(error["row"], error["field"]) for error in caught.value.errors] == [
        (2, "Weight"),
        (2, "Age"),
        (3, "(row)"),
    ]


def test_a_million_bad_rows_are_told_in_short(model):
    for rows in (np.full((1_000_000, 1), -1.0), [-1.0] * 100_000, pd.DataFrame({"Weight": [-1.0] * 100_000})):
        with pytest.raises(mlib.InputError) as caught:
            mlib.predict(rows, model)
        assert len(caught.value.errors) == 100
        assert str(caught.value).endswith("; and more")
        assert len(str(caught.value)) < 1000


def test_a_number_is_no_row_of_two_features(two_features):
    with pytest.raises(mlib.InputError, match="expected a mapping with Weight, Age"):
        mlib.predict(180, two_features)


@pytest.mark.parametrize("x", [np.ones((3, 2)), np.ones((2, 1, 1)), np.array([["a"]]), np.array([[True]])])
def test_an_array_of_another_shape_or_kind_is_refused(model, x):
    with pytest.raises(mlib.InputError, match=r"expected numbers of shape \(rows, 1\)"):
        mlib.predict(x, model)


def test_a_frame_with_other_columns_is_refused_once_not_a_row(model):
    frame = pd.DataFrame({"weight": range(1000), "Name": "x"})
    with pytest.raises(mlib.InputError) as caught:
        mlib.predict(frame, model)
    assert [error["field"] for error in caught.value.errors] == ["Weight", "weight", "Name"]


def test_a_frame_with_a_column_twice_is_refused(model):
    with pytest.raises(mlib.InputError, match='Weight: got "several columns"'):
        mlib.predict(pd.DataFrame([[180, 200]], columns=["Weight", "Weight"]), model)


def test_a_frame_with_text_or_gaps_is_refused_with_the_row(model):
    with pytest.raises(mlib.InputError, match='row 2, Weight: got "heavy"'):
        mlib.predict(pd.DataFrame({"Weight": [180, "heavy"]}), model)
    with pytest.raises(mlib.InputError, match="row 2, Weight: got nothing"):
        mlib.predict(pd.DataFrame({"Weight": [180, None]}), model)
    with pytest.raises(mlib.InputError, match="row 2, Weight: got nothing"):
        mlib.predict(pd.DataFrame({"Weight": pd.array([180, None], dtype="Int64")}), model)
    with pytest.raises(mlib.InputError, match='row 2, Weight: got "nan"'):
        mlib.predict(np.ma.array([180, 200], mask=[0, 1]), model)


def test_negative_values_are_fine_where_training_saw_them(tmp_path, write_table):
    table = write_table("x,y\n" + "".join(f"{x},{2 * x + 1}\n" for x in range(-20, 21)))
    trained(tmp_path, table, estimator="linear")
    assert mlib.predict(-5, tmp_path / "model.joblib")["y"] == pytest.approx(-9)
    assert mlib.predict(0, tmp_path / "model.joblib")["y"] == pytest.approx(1)


# ---------------------------------------------------------------------------------- the published steps, words


def test_the_published_steps_chained_give_the_prediction(model):
    scaled = mlib.scale_input(mlib.format_input(180), model)
    answer = joblib.load(model).regressor_[-1].predict(scaled).reshape(-1, 1)
    height = mlib.scale_target(answer, model)
    assert height.shape == (1, 1)
    assert mlib.human_readable_payload(height) == mlib.predict(180, model)


def test_scaling_refuses_another_number_of_features(two_features):
    with pytest.raises(mlib.InputError, match=r"numbers of shape \(rows, 2\)"):
        mlib.scale_input(mlib.format_input(180), two_features)


@pytest.mark.parametrize(("x", "shape"), [(2, (1, 1)), (2.5, (1, 1)), ([1, 2, 3], (3, 1)), (np.ones(4), (4, 1))])
def test_format_input_makes_a_column(x, shape):
    assert mlib.format_input(x).shape == shape


@pytest.mark.parametrize(
    ("inches", "words"),
    [
        (73.4, "6 foot, 1 inches"),  # the published ones
        (71.1, "5 foot, 11 inches"),
        (71.6, "6 foot, 0 inches"),  # the published code says "5 foot, 12 inches"
        (59.5, "5 foot, 0 inches"),
        (71.49, "5 foot, 11 inches"),
        (72, "6 foot, 0 inches"),
        (11.4, "0 foot, 11 inches"),
        (0, "0 foot, 0 inches"),
        (-13, "-1 foot, 1 inches"),
        (np.float64(73.4), "6 foot, 1 inches"),
    ],
)
def test_a_height_is_said_in_feet_and_inches(inches, words):
    assert mlib.height_human(inches) == words


def test_no_height_ever_has_twelve_inches():
    assert not [x for x in range(12_000) if "12 inches" in mlib.height_human(x / 100)]


@pytest.mark.parametrize("inches", [float("nan"), float("inf")])
def test_what_is_no_height_has_no_words(inches):
    with pytest.raises(ValueError, match="expected a finite number"):
        mlib.height_human(inches)


@pytest.mark.parametrize("value", [73.4, np.float64(73.4), np.array(73.4), np.array([73.4]), np.array([[73.4]])])
def test_the_payload_takes_a_number_in_any_wrapping(value):
    assert mlib.human_readable_payload(value) == {
        "height_inches": 73.4,
        "height_human_readable": "6 foot, 1 inches",
    }


# ------------------------------------------------------------------------------------- estimators and their options


@pytest.fixture(name="classes")
def _classes(write_table):
    """A table of 60 rows: three classes that x tells, the last one rare."""
    rows = [f"{i / 10},{'rare' if i > 56 else 'low' if i < 30 else 'high, or so'}" for i in range(60)]
    return write_table("x,y\n" + "".join(f'{row.split(",", 1)[0]},"{row.split(",", 1)[1]}"\n' for row in rows))


@pytest.mark.parametrize("estimator", ["hist-gradient-boosting", "sklearn.linear_model.PoissonRegressor"])
def test_an_estimator_of_positive_targets_gets_them_positive(tmp_path, write_table, estimator):
    """The target is scaled, and not centred; the answers are as positive as it is."""
    table = write_table("x,y\n" + "".join(f"{x / 50},{np.exp(x / 50)}\n" for x in range(200)))
    parameters = {"loss": "poisson"} if "hist" in estimator else {"alpha": 0}
    signature = trained(tmp_path, table, estimator=estimator, parameters=parameters, task="regression")
    assert signature.metrics["r2"] > 0.9
    assert signature.compiled["refused"] is None
    assert min(each["y"] for each in mlib.predict([0.0, 1.0, 3.9], tmp_path / "model.joblib")) > 0


def test_weights_of_classes_are_given_by_their_names(tmp_path, classes):
    weights = {"low": 1, "high, or so": 1, "rare": 50}
    trained(tmp_path, classes)
    plain = mlib.predict(5.2, tmp_path / "model.joblib")["probabilities"]["rare"]
    trained(tmp_path, classes, parameters={"class_weight": weights})
    assert mlib.predict(5.2, tmp_path / "model.joblib")["probabilities"]["rare"] > 2 * plain
    with pytest.raises(mlib.OptionError, match=r"'rar', which is no class of 'y'\. Did you mean rare"):
        trained(tmp_path, classes, parameters={"class_weight": {"rar": 1}})


def test_a_class_of_few_rows_is_calibrated_on_fewer_folds(tmp_path, classes):
    signature = trained(tmp_path, classes, estimator="svm")
    assert signature.estimator["calibrated"]
    assert signature.compiled["refused"] is None


@pytest.mark.parametrize(("levels", "name"), [(50, "category"), (51, "category_of_many")])
def test_a_column_of_more_than_fifty_categories_is_target_encoded(tmp_path, write_table, levels, name):
    rows = (f"c{i % levels},{i % levels + i / 1000}\n" for i in range(levels * 20))
    trained(tmp_path, write_table("x,y\n" + "".join(rows)))
    prepare = joblib.load(tmp_path / "model.joblib").regressor_[0]
    assert [group[0] for group in prepare.transformers_] == [name]


def test_classes_have_no_interval_and_no_unit(tmp_path, classes):
    trained(tmp_path, classes)
    with pytest.raises(mlib.OptionError, match="no interval"):
        mlib.predict(1, tmp_path / "model.joblib", interval=True)
    with pytest.raises(mlib.OptionError, match="'y', which is no number: it is a category"):
        trained(tmp_path, classes, units={"y": "kg"})


def test_a_name_with_a_comma_is_quoted_in_a_list(tmp_path, classes):
    assert trained(tmp_path, classes).target.range == '"high, or so", low, rare'


def test_equal_probabilities_are_answered_by_the_first_class(tmp_path, classes):
    """But for the last bits, of which a processor's sums are made."""
    signature = trained(tmp_path, classes)
    assert signature.classes([0.3, 0.35, 0.35 + 1e-12])["y"] == "low"
    assert signature.classes([0.3, 0.35, 0.35 + 1e-6])["y"] == "rare"


def test_an_array_of_a_classifier_is_answered_by_probabilities(tmp_path, classes):
    trained(tmp_path, classes)
    answers = mlib.predict(np.array([0.1, 5.9]), tmp_path / "model.joblib")
    assert answers.shape == (2, 3)
    np.testing.assert_allclose(answers.sum(axis=1), 1)


def test_the_encoding_that_is_named_is_taken(tmp_path):
    path = tmp_path / "table.csv"
    text = "x,stadt\n" + "".join(f"{x},{'Łódź' if x % 3 else 'Kraków'}\n" for x in range(30))
    path.write_bytes(text.encode("cp1250"))
    assert trained(tmp_path, path, target="stadt", encoding="cp1250").target.categories == ["Kraków", "Łódź"]
    assert str(tmp_path) not in json.dumps(trained(tmp_path, path, target="stadt").training["notices"])
    with pytest.raises(mlib.OptionError, match="There is no encoding 'cp12500'"):
        trained(tmp_path, path, target="stadt", encoding="cp12500")


# --------------------------------------------------------------------------------------------------- the whole


def test_the_examples_in_the_docstrings_are_true(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    results = [
        doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        for module in (mlib, errors, core.signature)
    ]
    assert sum(result.attempted for result in results) >= 20
    assert not any(result.failed for result in results)


TRAINERS = {"pandas", "sklearn", "scipy", "joblib", "onnx", "skl2onnx"}


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("-c 'import mlib'", {"numpy", "onnxruntime", *TRAINERS}),
        ("cli.py --help", {"numpy", "onnxruntime", *TRAINERS}),
        ("utilscli.py --help", {"numpy", "onnxruntime", *TRAINERS}),
        ("utilscli.py info", {"numpy", "onnxruntime", *TRAINERS}),
        ("utilscli.py info --model model.onnx", {"numpy", "onnxruntime", *TRAINERS}),
        ("cli.py --weight 180", TRAINERS),
        ("-c 'import app; assert app.app.test_client().post(PATH, json=ROW).status_code == 200'", TRAINERS),
    ],
)
def test_help_cards_and_predictions_do_without_heavy_packages(command, absent):
    code = "import runpy, shlex, sys; args = shlex.split(sys.argv[1])\n"
    code += f"def ended():\n    print(sorted({absent!r} & set(sys.modules)))\n"
    code += "import atexit; atexit.register(ended)\n"
    code += "if args[0] == '-c': exec(args[1], {'PATH': '/predict', 'ROW': {'Weight': 180}})\n"
    code += "else: sys.argv = args; runpy.run_path(args[0], run_name='__main__')\n"
    done = run(sys.executable, "-c", code, command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
