#!/usr/bin/env python
"""The utility belt: train a model, compare what could learn, ask a deployed one, read a model's card.

``./utilscli.py retrain --tsize 0.4``, ``./utilscli.py compare``, ``./utilscli.py predict --weight 400 --host URL``,
``./utilscli.py info``
"""

import ast
import contextlib
import json
import os
import sys

import click

import mlib
from toolkit import card, console, host_options
from toolkit.options import finite


@click.group()
@click.version_option(mlib.__version__)
def cli():
    """Machine Learning Utility Belt."""


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
            click.option(
                "--sample-rows",
                type=click.IntRange(1),
                metavar="N",
                help="Of a table larger than memory: use N rows, a uniform sample. [default: all rows]",
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
fits_option = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Let a Dask cluster try them, whose workers have scikit-learn; such as tcp://10.0.0.5:8786.",
)
NAMES = ", ".join(mlib.ESTIMATORS)
SHOWN_FAILURES = 20  # of the rows that an endpoint did not answer; --json has all


def progress(steps, total):
    """Show on stderr how far it is, on a terminal."""
    with click.progressbar(
        steps, length=total, label="Trying", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as steps_shown:
        yield from steps_shown


def tried_on(scheduler, work):
    """Let what is tried be tried on a cluster, where one is named."""
    if scheduler is None:
        return work()
    from toolkit import cluster

    return cluster.with_fits(scheduler, work, lambda text: console.notice(text, fg="yellow"))


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
@fits_option
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
def retrain(as_json, model_name, features, scheduler, **options):
    """Train a model and write it to a file.

    \b
    ./utilscli.py retrain --tsize 0.4
    ./utilscli.py retrain --data htwtmlb.csv --target Weight --model-name weight.joblib

    It is measured on held-out rows, beside always answering the mean or the commonest class.
    """
    if scheduler and not (options["search"] or options["cv"]):
        raise click.UsageError("--scheduler runs what --search or --cv try; give one of them, too.")
    console.notice("Retraining Model", bg="green", fg="white")
    # An estimator that is verbose prints; that is no answer.
    options |= {"features": features or None, "progress": progress}
    with console.errors(), contextlib.redirect_stdout(sys.stderr):
        score, _ = tried_on(scheduler, lambda: mlib.retrain(model_name=model_name, **options))
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
@fits_option
@seed_option
@console.json_option
def compare(as_json, names, features, scheduler, **options):
    """Compare estimators on the same folds of a table; no model is written.

    \b
    ./utilscli.py compare --estimator ridge --estimator random-forest

    The best comes first; the figures are mean ± standard deviation over the folds.
    """
    options |= {"features": features or None, "progress": progress}
    with console.errors():
        result = tried_on(scheduler, lambda: mlib.compare(names, **options))
    for text in result["notices"]:
        console.notice(text, fg="yellow")
    if as_json:
        console.answer_json(result)
        return
    for line in card.comparison(result):
        console.answer(line)


@cli.command("predict", cls=host_options.AskCommand)
@host_options.endpoint_options
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="Ask for the rows of a file: CSV, JSON (lines), Parquet; - is the standard input. Other columns are ignored.",
)
@click.option(
    "--chunk-rows",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Rows of a file in a request; fewer where the endpoint takes no more.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    metavar="N",
    help="Requests at a time.",
)
@console.json_option
@click.pass_obj
def predict(asked, endpoint, rows, source, chunk_rows, concurrency, as_json):
    """Ask a deployed endpoint for predictions.

    \b
    ./utilscli.py predict --weight 400 --host http://localhost:8080/predict
    ./utilscli.py predict --from htwtmlb.csv --host http://localhost:8080 > heights.jsonl

    Its options are what the endpoint says that it takes (GET /model beside it, remembered for an hour), or the features
    of the model here. The rows of a file are sent in chunks, and print a line of JSON each, null where there is none.

    Exits with 3 when it cannot be reached, with 4 when it answers with an error.
    """
    with console.errors():
        if source is not None:
            rows, notices = mlib.read_rows(source, asked.signature)
            for text in notices:
                console.notice(text, fg="yellow")
            console.notice(f"Querying host {endpoint.name} with {len(rows):,} rows", bg="green", fg="white")
            ask_many(endpoint, rows, chunk_rows, concurrency, as_json)
            return
        rows = [host_options.sendable(row) for row in rows or [host_options.published_row(asked.signature)]]
        told = ", ".join(f"{name.lower()}: {value}" for name, value in rows[0].items() if value is not None)
        more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        console.notice(f"Querying host {endpoint.name} with {told}{more}", bg="green", fg="white")
        answers = endpoint.ask(rows if len(rows) > 1 else rows[0])
    document = {"prediction": answers[0]} if len(rows) == 1 else {"predictions": answers}
    if as_json:
        console.answer_json(document)
    else:
        console.answer(f"result: {json.dumps(document)}", bg="red", fg="white")


def ask_many(endpoint, rows, chunk_rows, concurrency, as_json):
    """Ask for many rows; print the answers as they come, in order, and what failed by its rows."""
    answers, failed = [], []
    is_seen = sys.stderr.isatty() and not sys.stdout.isatty()  # where the answers do not stand in between
    shown = click.progressbar(length=len(rows), label="Asking", file=sys.stderr, hidden=not is_seen)

    def take(result):
        if as_json:
            answers.extend(result.answers)
        else:
            console.answer("\n".join(map(json.dumps, result.answers)))
        failed.extend(result.failed)
        shown.update(len(result.answers))

    try:
        with shown:
            endpoint.ask_many(rows, take, chunk_rows, concurrency)
    except KeyboardInterrupt:
        console.notice(f"Interrupted: {shown.pos:,} of {len(rows):,} rows were asked.", fg="red")
        raise
    if as_json:
        errors = [{"rows": each.rows, "error": each.text} for each in failed]
        console.answer_json({"predictions": answers} | ({"errors": errors} if errors else {}))
    for each in failed[:SHOWN_FAILURES]:
        console.notice(f"Error: {each.text}", fg="red")
    if failed:
        more = f" ({len(failed) - SHOWN_FAILURES:,} more errors)" if len(failed) > SHOWN_FAILURES else ""
        lost = sum(len(each.rows) for each in failed)
        console.notice(f"{lost:,} of {len(rows):,} rows have no answer{more}.", fg="red")
        sys.exit(max(each.cause.exit_code for each in failed))


def import_batch():
    """Import what scores files; end with one line where Arrow, which only that needs, is not installed."""
    with console.errors():
        try:
            from toolkit import batch as scoring
        except ModuleNotFoundError as error:
            if error.name != "pyarrow":
                raise
            raise mlib.Error("batch needs pyarrow, not installed here. Try: pip install -r requirements.txt") from error
    return scoring


def parse_limit(_ctx, _param, text):
    """Make ``10`` or ``0.5%`` a limit of rejects."""
    if text is None:
        return None
    try:
        return import_batch().Limit.parse(text)
    except mlib.OptionError as error:
        raise click.BadParameter(str(error)) from error


@cli.command("batch")
@click.argument("source", metavar="IN")
@click.argument("to", metavar="OUT")
@click.option(
    "--model",
    metavar="PATH",
    help="The model's file, or the address of a compiled one. [default: MLOPS_MODEL, else model.joblib]",
)
@click.option("--sha256", metavar="HEX", help="Load this very file, and only if it has this digest.")
@click.option(
    "--format",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Of what does not say it by its name. [default: csv for -]",
)
@click.option("--encoding", metavar="NAME", help="Of the input's text. [default: UTF-8, or the likeliest]")
@click.option(
    "--keep",
    multiple=True,
    metavar="COLUMN",
    help="A column of the input to write. May be repeated; '' is none. [default: all]",
)
@click.option(
    "--only", multiple=True, metavar="KEY", help="A key of the answer to write. May be repeated. [default: all]"
)
@click.option("--interval", is_flag=True, help="Add the prediction interval.")
@click.option("--warnings", is_flag=True, help="Add a column that tells which values lie outside of what training saw.")
@click.option(
    "--chunk-rows",
    type=click.IntRange(1, 10_000_000),
    metavar="N",
    help="Rows at a time, and in a row group of Parquet. [default: 131072; fewer where there are over four columns]",
)
@click.option(
    "--max-rejects",
    callback=parse_limit,
    metavar="N|P%",
    help="With more rejects, write nothing but them; exit with 5.",
)
@click.option("--resume", is_flag=True, help="Go on where an earlier run was ended.")
@click.option(
    "--engine",
    "kind",
    type=click.Choice(["cores", "dask"]),
    help="Score on all cores here, or by a Dask cluster that is started here. [default: cores]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Score on a running Dask cluster, such as tcp://10.0.0.5:8786; the bytes are the same.",
)
@click.option("--quiet", is_flag=True, help="Say nothing while it runs.")
@console.json_option
def batch(source, to, model, sha256, keep, kind, scheduler, quiet, as_json, **options):
    """Score a file of any size.

    \b
    ./utilscli.py batch htwtmlb.csv heights.parquet
    ./utilscli.py batch htwtmlb.csv heights.csv.gz --keep Name --only height_inches --max-rejects 1%
    ./utilscli.py batch - - --quiet < htwtmlb.csv > heights.csv
    ./utilscli.py batch htwtmlb.csv heights.parquet --engine dask

    IN is CSV, JSON lines (.gz too) or Parquet, a folder of such files, or - ; both may be addresses such as
    s3://bucket/players.parquet. The rows keep their order and columns, and get those of the answer. A row that cannot
    be scored has no answer, and a line in OUT.rejects.jsonl that tells why. OUT takes its name when it is whole; after
    Ctrl-C, a crash or a full disk --resume goes on. Where OUT ends in / it is a new folder of Parquet files.
    """
    from toolkit import batch_view, models

    scoring = import_batch()
    if as_json and to == "-":
        raise click.UsageError("--json and - both want the standard output; give one of them.")
    if kind == "cores" and scheduler:
        raise click.UsageError("--scheduler is of a Dask cluster, and --engine cores uses none; give one of them.")
    shown = batch_view.Shown(quiet)
    tell = (lambda text: None) if quiet else (lambda text: console.notice(text, fg="yellow"))
    keep = [name for name in keep if name] if keep else None
    try:
        with console.errors(), models.local(model, sha256) as path:
            loaded = mlib.load_model(path, sha256)
            try:
                with engine_of(kind, scheduler) as engine:
                    options["engine"] = engine
                    summary = scoring.score_file(source, to, loaded, keep=keep, notice=tell, progress=shown, **options)
            except mlib.Error as error:
                shown.clear()
                raise type(error)(f"{error}{kept(shown.rows, to, error)}") from error
    except KeyboardInterrupt:
        shown.clear()
        console.notice(f"Interrupted.{kept(shown.rows, to)}", fg="red")
        raise
    shown.clear()
    if as_json:
        console.answer_json(summary.card)
    elif to != "-":
        card.print_facts(batch_view.facts(summary, loaded.signature))
    elif not quiet:
        for name, text in batch_view.facts(summary, loaded.signature).items():
            console.notice(f"{name:<12} {text}")


def engine_of(kind, scheduler):
    """Where chunks are scored; None is here."""
    if kind != "dask" and scheduler is None:
        return contextlib.nullcontext()
    from toolkit import cluster

    return cluster.engine(scheduler)


def kept(rows, to, error=None):
    """Say what an ended batch leaves behind."""
    is_kept = rows and to != "-" and "://" not in to and not isinstance(error, mlib.GateError)
    if not is_kept:
        return ""
    where = ", if the input is the same again" if isinstance(error, mlib.DataError) else ""
    return f" {rows:,} rows are done and kept; --resume goes on behind them{where}."


@cli.command("health")
@host_options.endpoint_options
@click.option(
    "--compare-local", is_flag=True, help="Ask it the golden rows of the model here, and compare the answers."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    callback=finite,
    metavar="DIFFERENCE",
    help="The largest that is allowed, in the target's unit or of probabilities; exits with 5 beyond it. "
    "[default: 0.01 of what is rounded to it, else a millionth of the target's range, or of probabilities]",
)
@console.json_option
def health(endpoint, compare_local, tolerance, as_json):
    """Tell whether an endpoint is well.

    \b
    ./utilscli.py health --host http://localhost:8080
    ./utilscli.py health --host http://localhost:8080 --compare-local --tolerance 0.01

    Where it has no route that tells, a row is asked. Exits with 3 when it cannot be reached, with 4 when it is not
    ready, with 5 when it does not answer as the model here.
    """
    from toolkit import health as wellness
    from toolkit import remote

    with console.errors():
        state, compared = wellness.check(endpoint), None
        if compare_local and not state["reason"]:
            compared = wellness.compare(endpoint, mlib.load_model(), tolerance)
        if as_json:
            console.answer_json({"endpoint": endpoint.name, **state} | ({"compared": compared} if compared else {}))
        else:
            card.print_facts(wellness.facts(endpoint, state, compared))
        if state["reason"]:
            raise remote.AnswerError(state["reason"])
        if compared and compared["refused"]:
            raise mlib.GateError(compared["refused"])


@cli.command("load")
@host_options.endpoint_options
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=100,
    show_default=True,
    callback=finite,
    metavar="R",
    help="Requests a second.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    default=10,
    show_default=True,
    callback=finite,
    metavar="SECONDS",
    help="How long.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    metavar="N",
    help="Connections: so many requests are under way at a time.",
)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="The rows to send, one a request, in turn. [default: the medians of training]",
)
@click.option("--plot", metavar="FILE", help="Draw the latencies, over time and how they spread: .svg or .png.")
@click.option("--yes", is_flag=True, help="Allow more than 60 s, or 1,000 requests a second, to another machine.")
@console.json_option
def load(endpoint, rate, duration, concurrency, source, plot, yes, as_json):
    """Measure how much load an endpoint bears.

    \b
    ./utilscli.py load --host http://localhost:8080 --rate 200 --duration 5
    ./utilscli.py load --host http://localhost:8080 --duration 2 --json

    Requests are due at a steady rate, whether the endpoint keeps up or not (an open loop), and a latency counts from
    when its request was due. One row is asked before, with --retries; of the load nothing is tried again. Exits with 3
    or 4 when not one was answered.
    """
    from toolkit import load as loading
    from toolkit import load_plot, remote

    with console.errors():
        loading.check_size(endpoint, rate, duration, yes)
        if plot:
            load_plot.check_plot(plot)
        rows = host_options.load_rows(endpoint, source)
        report = loading.run(endpoint, rows, rate, duration, concurrency, watch=live if sys.stderr.isatty() else None)
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)
        if plot:
            load_plot.plot(report, plot)
    if as_json:
        console.answer_json(report.card)
    else:
        card.print_facts(loading.table(report))
    if not report.answered:
        sys.exit(remote.AnswerError.exit_code if report.refused else remote.UnreachableError.exit_code)


def live(snapshot):
    """Tell on a terminal how it goes, in one line that is written again and again."""
    from toolkit import load as loading

    click.echo(f"\r\x1b[K{loading.line(snapshot)}", nl=False, err=True)


@cli.group("endpoints")
def endpoints_group():
    """Give endpoints names, for --host; they are kept in a file, without any key.

    \b
    ./utilscli.py endpoints add local http://localhost:8080/predict
    ./utilscli.py predict --weight 400 --host local
    """


@endpoints_group.command("add")
@click.argument("name")
@click.argument("address", metavar="HOST")
def add_name(name, address):
    """Name an endpoint.

    \b
    ./utilscli.py endpoints add local http://localhost:8080/predict

    HOST is an address as --host of predict takes it. A name that is there already gets the new address.
    """
    from toolkit import endpoints

    with console.errors():
        before = endpoints.names().get(name)
        endpoints.add(name, address)
    console.notice(f"{name} is {address} now" + (f", and was {before}." if before not in (None, address) else "."))


@endpoints_group.command("list")
@console.json_option
def list_names(as_json):
    """List the names and their endpoints.

    \b
    ./utilscli.py endpoints list
    """
    from toolkit import endpoints

    with console.errors():
        found = endpoints.names()
    if as_json:
        console.answer_json(found)
    elif found:
        card.print_facts(found)
    else:
        console.notice("There are none. ./utilscli.py endpoints add NAME HOST adds one.")


@endpoints_group.command("remove")
@click.argument("name")
def remove_name(name):
    """Remove a name.

    \b
    ./utilscli.py endpoints remove local
    """
    from toolkit import endpoints

    with console.errors():
        endpoints.remove(name)


@endpoints_group.command("path")
def names_path():
    """Print where the names are kept.

    \b
    ./utilscli.py endpoints path
    """
    from toolkit import endpoints

    console.answer(endpoints.path())


@cli.command("info")
@click.option("--model", metavar="PATH", help="The model's file. [default: MLOPS_MODEL, else model.joblib]")
@click.option("--markdown", is_flag=True, help="Print it as Markdown.")
@console.json_option
def info(model, markdown, as_json):
    """Print a model's card: what it predicts, from what, and what it is worth.

    \b
    ./utilscli.py info --markdown

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
