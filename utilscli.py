#!/usr/bin/env python
"""The utility belt: train a model, compare what could learn, ask a deployed one, read a model's card.

``./utilscli.py retrain --tsize 0.4``, ``./utilscli.py compare``, ``./utilscli.py predict --weight 400 --host URL``,
``./utilscli.py info``
"""

import ast
import contextlib
import json
import math
import os
import sys

import click

import mlib
from toolkit import card, console


@click.group()
@click.version_option(mlib.__version__)
def cli():
    """Machine Learning Utility Belt."""


def finite(_ctx, param, value):
    """Refuse nan and inf, which click takes for numbers."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number.", param=param)
    return value


def parse_units(_ctx, _param, values):
    """Make ``("Height=cm",)`` a dict."""
    pairs = [value.partition("=") for value in values]
    for value, (name, _, unit) in zip(values, pairs, strict=True):
        if not name or not unit:
            raise click.BadParameter(f"{value!r} is no NAME=UNIT, such as Height=cm.")
    return {name: unit for name, _, unit in pairs}


def parse_parameters(_ctx, _param, values):
    """Make ``("alpha=0.5", "solver=svd")`` a dict; what is no Python literal is text."""
    parameters = {}
    for value in values:
        name, _, text = value.partition("=")
        if not name or not text:
            raise click.BadParameter(f"{value!r} is no NAME=VALUE, such as alpha=0.5.")
        try:
            parameters[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            parameters[name] = text
    return parameters


def table_options(command):
    """Add the options that say what is learnt from which table."""
    for option in reversed(
        [
            click.option(
                "--data",
                default=mlib.DATA,
                metavar="PATH",
                help="A table: CSV with a header, any separator, JSON (lines), Parquet. [default: htwtmlb.csv]",
            ),
            click.option("--encoding", metavar="NAME", help="Of the table's text. [default: UTF-8, or the likeliest]"),
            click.option(
                "--target", default="Height", show_default=True, metavar="NAME", help="The column to predict."
            ),
            click.option(
                "--task",
                type=click.Choice(["regression", "classification"]),
                help="Predict a number, or a class. [default: told from the target]",
            ),
            click.option(
                "--feature",
                "features",
                multiple=True,
                metavar="NAME",
                help="A column to predict from. May be repeated. "
                "[default: Weight; of another table all columns that something can be learnt from]",
            ),
            click.option("--drop", multiple=True, metavar="NAME", help="A column to leave out. May be repeated."),
            click.option(
                "--category",
                multiple=True,
                metavar="NAME",
                help="A column of categories, though it looks like numbers or names. May be repeated.",
            ),
        ]
    ):
        command = option(command)
    return command


seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=3,
    show_default=True,
    help="Of the split, the folds, the sample and the estimator.",
)
NAMES = ", ".join(mlib.ESTIMATORS)


def progress(steps, total):
    """Show on stderr how far it is, on a terminal."""
    with click.progressbar(
        steps, length=total, label="Trying", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as steps_shown:
        yield from steps_shown


@cli.command("retrain")
@click.option(
    "--tsize",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Test size: the share of the rows that is held out to measure the model.",
)
@table_options
@click.option(
    "--unit",
    "units",
    multiple=True,
    callback=parse_units,
    metavar="NAME=UNIT",
    help="The unit of a column. May be repeated. [default: inches, pounds and years for the published columns]",
)
@click.option(
    "--estimator",
    metavar="NAME",
    help=f"What learns: {NAMES}; or the dotted path of a scikit-learn-compatible class. "
    "[default: ridge; for classes logistic]",
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    callback=parse_parameters,
    metavar="NAME=VALUE",
    help="A parameter of the estimator, such as alpha=0.5. May be repeated.",
)
@click.option("--calibrate", is_flag=True, help="Calibrate the probabilities of classes, by cross-validation.")
@click.option("--cv", type=click.IntRange(2), metavar="K", help="Cross-validate too, on K folds of the training rows.")
@click.option(
    "--search",
    type=click.IntRange(1),
    metavar="N",
    help="Try N parameters of the estimator at random, on all cores, and take the best.",
)
@seed_option
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    metavar="N",
    help="Put N of the training rows into the signature, for plots; with 0 no row of the table is in it.",
)
@click.option(
    "--model-name", default=mlib.MODEL, metavar="PATH", help="Where to write the model. [default: model.joblib]"
)
@click.option("--min-r2", type=float, metavar="R2", help="Write no model whose R² is below; exit with 5.")
@console.json_option
def retrain(as_json, model_name, features, **options):
    """Train a model and write it to a file.

    It is measured on held-out rows, beside always answering the mean or the commonest class.
    """
    console.notice("Retraining Model", bg="green", fg="white")
    with console.errors(), contextlib.redirect_stdout(sys.stderr):  # where an estimator that is verbose prints
        score, _ = mlib.retrain(model_name=model_name, features=features or None, progress=progress, **options)
        signature = mlib.Signature.read(model_name)
    for text in signature.training["notices"]:
        console.notice(text, fg="yellow")
    if signature.compiled["refused"]:
        notice = f"Not compiled, {signature.compiled['refused']}. The model works, from its joblib file."
        console.notice(notice, fg="yellow")
    name = "r2" if signature.task == "regression" else "accuracy"
    if as_json:
        console.answer_json({name: score, "model_name": model_name, "card": signature.card})
        return
    console.answer(f"Retrained Model Accuracy: {score:.4f}{' (R²)' * (name == 'r2')}", bg="blue", fg="white")
    console.answer(f"Retrained Model Name: {short_path(model_name)}", bg="red", fg="white")
    card.print_facts(card.worth(signature))


@cli.command("compare")
@click.option(
    "--estimator",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"To be repeated: {NAMES}; or dotted paths. [default: all that have a name]",
)
@table_options
@click.option("--cv", type=click.IntRange(2), default=5, show_default=True, metavar="K", help="How many folds.")
@seed_option
@console.json_option
def compare(as_json, names, features, **options):
    """Compare estimators on the same folds of a table; no model is written.

    The best comes first; the figures are mean ± standard deviation over the folds.
    """
    with console.errors():
        result = mlib.compare(names, features=features or None, progress=progress, **options)
    for text in result["notices"]:
        console.notice(text, fg="yellow")
    if as_json:
        console.answer_json(result)
        return
    for line in card.comparison(result):
        console.answer(line)


@cli.command("predict")
@click.option(
    "--weight", type=float, default=225, show_default=True, callback=finite, help="The weight to send, in pounds."
)
@click.option("--host", default="http://localhost:8080/predict", show_default=True, metavar="URL", help="The endpoint.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=10,
    show_default=True,
    callback=finite,
    help="Seconds to wait for it.",
)
@console.json_option
def predict(weight, host, timeout, as_json):
    """Ask a deployed endpoint for a prediction.

    Exits with 3 when it cannot be reached, with 4 when it answers with an error.
    """
    from toolkit import remote

    weight = int(weight) if weight.is_integer() else weight
    console.notice(f"Querying host {host} with weight: {weight}", bg="green", fg="white")
    with console.errors():
        answer = remote.ask(host, {"Weight": weight}, timeout)
    if as_json:
        console.answer_json(answer)
    else:
        console.answer(f"result: {json.dumps(answer)}", bg="red", fg="white")


@cli.command("info")
@click.option("--model", metavar="PATH", help="The model's file. [default: MLOPS_MODEL, else model.joblib]")
@click.option("--markdown", is_flag=True, help="Print it as Markdown.")
@console.json_option
def info(model, markdown, as_json):
    """Print a model's card: what it predicts, from what, and what it is worth.

    The card is read, the model is not run.
    """
    with console.errors():
        signature = mlib.Signature.read(model)
    if as_json:
        console.answer_json(signature.card)
    elif markdown:
        console.answer(card.markdown(signature))
    else:
        card.print_facts(card.facts(signature))


def short_path(path):
    """A path as a person in this folder would write it."""
    try:
        relative = os.path.relpath(path)
    except OSError:  # the folder that we are in was removed
        return path
    return path if relative.startswith(os.pardir) else relative


if __name__ == "__main__":
    cli()
