"""Tests of toolkit/card.py."""

import mlib
from toolkit import card


def test_a_card_is_made_of_the_signature(tmp_path, line_table):
    """Of 40 rows 10 are held out; 2 x + 1 is learnt exactly, and the mean of y is 40 off at its worst."""
    path = tmp_path / "line.joblib"
    options = {"target": "y", "features": ("x",), "units": {"y": "km"}, "estimator": "linear"}
    mlib.retrain(0.25, path, line_table, **options)
    signature = mlib.Signature.read(path)
    facts = card.facts(signature)
    assert facts["Model"] == f"table-y, version {signature.version}"
    assert facts["Estimator"] == "linear (sklearn.linear_model.LinearRegression)"
    assert facts["Trained on"] == "30 of 40 rows of table.csv (seed 3)"
    assert facts["R²"].startswith("1.000 on 10 held-out rows; always answering the mean: -")
    assert facts["MAE"].endswith(" km")
    assert facts["Compiled"].startswith("within 1e-09 of the target's range of scikit-learn on 1,0")
    assert facts["90% interval"].endswith(" km (split conformal, 10 held-out rows)")


def test_a_model_without_interval_says_why(tmp_path, line_table):
    path = tmp_path / "line.joblib"
    mlib.retrain(0.1, path, line_table, target="y", features=("x",))
    assert card.worth(mlib.Signature.read(path))["90% interval"] == "none: too few held-out rows"


def test_a_model_without_compiled_form_says_why(tmp_path, line_table):
    path = tmp_path / "line.joblib"
    mlib.retrain(0.1, path, line_table, target="y", features=("x",), estimator="sklearn.kernel_ridge.KernelRidge")
    assert card.facts(mlib.Signature.read(path))["Compiled"].startswith("no: it cannot be compiled")


def test_facts_are_printed_as_two_columns(capsys):
    card.print_facts({"R²": "0.5", "RMSE": "2 km"})
    assert capsys.readouterr().out == "R²    0.5\nRMSE  2 km\n"
