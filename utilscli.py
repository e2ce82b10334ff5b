#!/usr/bin/env python
"""The utility belt: train a model, ask a deployed one, read a model's card.

``./utilscli.py retrain --tsize 0.4``, ``./utilscli.py predict --weight 400 --host URL``, ``./utilscli.py info``
"""

import json
import math
import os

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


@cli.command("retrain")
@click.option(
    "--tsize",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Test size: the share of the rows that is held out to measure the model.",
)
@click.option("--data", default=mlib.DATA, metavar="PATH", help="The table: CSV with a header. [default: htwtmlb.csv]")
@click.option("--target", default="Height", show_default=True, metavar="NAME", help="The column to predict.")
@click.option(
    "--feature",
    "features",
    multiple=True,
    default=("Weight",),
    metavar="NAME",
    help="A column to predict from, numbers. May be repeated. [default: Weight]",
)
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
    type=click.Choice(list(mlib.ESTIMATORS)),
    default="ridge",
    show_default=True,
    metavar="NAME",
    help=f"What learns: {', '.join(mlib.ESTIMATORS)}.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=3, show_default=True, help="Of the split and the estimator."
)
@click.option(
    "--model-name", default=mlib.MODEL, metavar="PATH", help="Where to write the model. [default: model.joblib]"
)
@click.option("--min-r2", type=float, metavar="R2", help="Write no model whose R² is below; exit with 5.")
@console.json_option
def retrain(tsize, data, target, features, units, estimator, seed, model_name, min_r2, as_json):
    """Train a model and write it to a file.

    It is measured on held-out rows, beside always answering the mean.
    """
    console.notice("Retraining Model", bg="green", fg="white")
    with console.errors():
        r2, _ = mlib.retrain(
            tsize, model_name, data, target, features, units=units, estimator=estimator, seed=seed, min_r2=min_r2
        )
        signature = mlib.Signature.read(model_name)
    if signature.compiled["refused"]:
        notice = f"Not compiled, {signature.compiled['refused']}. The model works, from its joblib file."
        console.notice(notice, fg="yellow")
    if as_json:
        console.answer_json({"r2": r2, "model_name": model_name, "card": signature.card})
        return
    console.answer(f"Retrained Model Accuracy: {r2:.4f} (R²)", bg="blue", fg="white")
    console.answer(f"Retrained Model Name: {short_path(model_name)}", bg="red", fg="white")
    card.print_facts(card.worth(signature))


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
@console.json_option
def info(model, as_json):
    """Print a model's card: what it predicts, from what, and what it is worth.

    The card is read, the model is not run.
    """
    with console.errors():
        signature = mlib.Signature.read(model)
    if as_json:
        console.answer_json(signature.card)
        return
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
