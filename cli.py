#!/usr/bin/env python
"""Predict here, on the command line: ``./cli.py --weight 180``.

The options are those of the model's features: its signature names them, with range and unit.
"""

import os
import sys

import click

import mlib
from toolkit import console
from toolkit.options import FeatureType, example, feature_options, make_rows

TALL = 72  # inches; above it the published command line is green


class PredictCommand(click.Command):
    """A command that has an option for each feature of the model that --model names."""

    def parse_args(self, ctx, args):
        with console.errors():
            try:
                ctx.obj = mlib.Signature.read(named_model(args))
            except mlib.ModelError as error:
                if "--help" not in args:
                    raise
                console.notice(f"Note: the options of the features are not shown. {error}")
        return super().parse_args(ctx, args)

    def format_help_text(self, ctx, formatter):
        if ctx.obj:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"Predict the {ctx.obj.title}.")
        super().format_help_text(ctx, formatter)

    def get_params(self, ctx):
        return [*(feature_options(ctx.obj) if ctx.obj else []), *super().get_params(ctx)]


def model_option(command):
    """Add --model, in the two places that read it: before the other options are known, and with them."""
    text = "The model's file. [default: MLOPS_MODEL, else model.joblib]"
    return click.option("--model", metavar="PATH", help=text)(command)


def named_model(args):
    """Find what --model names among arguments that are not known yet."""
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    finder = model_option(click.Command("finder", context_settings=settings, add_help_option=False))
    try:
        return finder.make_context("finder", list(args)).params["model"]
    except click.UsageError:
        return None  # --model without a path: the real parser says so


@click.command(cls=PredictCommand)
@model_option
@click.option("--sha256", metavar="HEX", help="Load this very file, and only if it has this digest.")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="Predict the rows of a file: CSV, JSON (lines), Parquet; - is the standard input. Other columns are ignored.",
)
@click.option("--interval", is_flag=True, help="Add the prediction interval.")
@console.json_option
@click.pass_context
def predictcli(ctx, model, sha256, source, interval, as_json, **given):
    """Give the features of the model that --model names. Without any it asks on a terminal."""
    columns = [given[f"feature_{i}"] for i in range(len(given))]
    if source is not None and any(columns):
        raise click.UsageError("Rows come from --from, or from the options of the features; give one of both.", ctx)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads for a row or two
    with console.errors():
        rows = read(ctx, source) if source is not None else make_rows(ctx.obj, columns if any(columns) else ask(ctx))
        loaded = mlib.load_model(model, sha256)
        try:
            is_one = len(rows) == 1 and source is None
            predictions = [mlib.predict(*rows, loaded, interval)] if is_one else mlib.predict(rows, loaded, interval)
        except mlib.InputError as error:
            raise click.UsageError(f"Invalid value: {error}", ctx) from error
    if as_json:
        console.answer_json({"prediction": predictions[0]} if is_one else {"predictions": predictions})
        return
    for prediction in predictions:
        print_prediction(prediction, loaded.signature)


def read(ctx, source):
    """Read rows from a file; say which of its columns are ignored."""
    rows, notices = mlib.read_rows(source, ctx.obj)
    for text in notices:
        console.notice(text, fg="yellow")
    return rows


def ask(ctx):
    """Ask for a value of each feature; where nobody can answer, say what is missing."""
    if not sys.stdin.isatty():
        missing = ", ".join(option.opts[0] for option in feature_options(ctx.obj))
        raise click.UsageError(f"Nothing to predict from. Give {missing}, such as {example(ctx.obj)}.", ctx)
    return [
        (
            click.prompt(
                f"{feature.name} ({feature.possible})",
                type=FeatureType(feature),
                default="" if feature.missing else None,
                show_default=False,
                err=True,
            ),
        )
        for feature in ctx.obj.features
    ]


def print_prediction(prediction, signature):
    """Print one answer for people; its warnings go to stderr."""
    text, style = signature.words(prediction), {}
    if signature.human:
        style = {"bg": "green" if prediction[signature.answer] > TALL else "red", "fg": "white"}
    if "interval" in prediction:
        interval = prediction["interval"]
        low, high = signature.words(interval["low"]), signature.words(interval["high"])
        text += f" ({interval['coverage']:.0%} interval: {low} to {high})"
    console.answer(text, **style)
    for warning in prediction.get("warnings", []):
        console.notice(f"Warning: {mlib.problem_text(warning)}; the answer is an extrapolation.", fg="yellow")


if __name__ == "__main__":
    predictcli.main()
