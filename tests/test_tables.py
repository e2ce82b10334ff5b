"""Tests of any table, from its file to every interface: real ones of tests/tables.py, nasty ones, every estimator.

What is expected is worked out here, with plain pandas and scikit-learn, from the table's file.
"""

import contextlib
import functools
import gzip
import hashlib
import html.parser
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import tables
from click.testing import CliRunner
from conftest import ENVIRONMENT, ROOT, run
from sklearn import metrics
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

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


@dataclass
class Trained:
    """A table, its file, the model that `retrain` made of it, and the table's rows as a client would send them."""

    table: tables.Table
    path: Path
    model: Path
    ended: object
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


@contextlib.contextmanager
def serving(model):
    """Run `python app.py` with a model, on a port that the system chose; give its URL."""
    env = {**ENVIRONMENT, "PORT": "0", "MLOPS_MODEL": str(model)}
    with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            log = []
            for line in process.stderr:
                log.append(line)
                found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", line)
                if found:
                    break
            else:
                pytest.fail(f"app.py did not start: {''.join(log)}")
            yield found[1]
        finally:
            process.terminate()


class Form(html.parser.HTMLParser):
    """What a browser finds in a page: the names of a form's fields, the choices of each, the words."""

    def __init__(self, page):
        super().__init__()
        self.names, self.options, self.words, self._select = [], {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Note a field."""
        found = dict(attrs)
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
        ]
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
    assert real.signature.metrics == {"n": len(held_out), **{k: pytest.approx(v, rel=1e-4) for k, v in expected.items()}}


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
    assert done.stdout.startswith(f"{value:.4g}" if isinstance(value, float) else f"{value} (probability ")


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
    said = f"{value:.4g}" if isinstance(value, float) else f"{value} (probability "
    assert any(words.startswith(said) for words in Form(page.text).words)


def test_the_page_refuses_a_bad_row_with_the_field(real):
    for name, kind in real.table.features.items():
        page = real.client.get("/", query_string={**real.good, name: "wrong"})
        assert page.status_code == 422, (name, kind)
        assert any(words.startswith(f"{name}: got") for words in Form(page.text).words)


# --------------------------------------------------------------------------------------------------- bad rows

NAN, INFINITE = float("nan"), float("inf")
# Of each kind what cannot be, as JSON has it.
BAD = {
    "number": ["abc", "12", "", True, NAN, INFINITE, -INFINITE, 1e300, [1], {"a": 1}],
    "category": ["no such level", "", 5, 1.5, True, NAN, ["x"], {"x": 1}],
    "boolean": ["perhaps", "", 2, -1, 0.5, NAN, [True], {}],
    "date": ["soon", "2020-13-01", "1990-02-30", "", 5, 19900101, True, NAN, ["1990-01-01"], {}],
}


def refusal(client, body):
    """Post a body, NaN as Python writes it; return the errors of the problem that it is answered with."""
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


# Of each kind what cannot be, as a command line has it.
BAD_TEXTS = {
    "number": ["abc", "inf", "1e999", "1,5", "0x10", "true"],
    "category": ["no such level", "2.5"],
    "boolean": ["perhaps", "2", "0.5"],
    "date": ["soon", "2020-13-01", "12"],
}


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
    with serving(model) as url:
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
