"""How are a model's features given on a command line?

>>> names(mlib.Signature.read())
['weight']
>>> example(mlib.Signature.read())
'--weight 205'
"""

import math
import shlex

import click

import mlib

# What the commands that take features have for themselves; one list, so that a feature has one name in all of them.
TAKEN = {
    "aws-sigv4",
    "bearer-command",
    "chunk-rows",
    "concurrency",
    "from",
    "header",
    "help",
    "host",
    "interval",
    "json",
    "key-file",
    "model",
    "retries",
    "sha256",
    "timeout",
}


def names(signature):
    """Name the option of each feature.

    Parameters
    ----------
    signature : mlib.Signature or toolkit.hosts.Tensors

    Returns
    -------
    list of str
        In the features' order: ``weight`` for Weight; a name that is taken gets a number, ``model-2``.
    """
    options, taken = [], set(TAKEN)
    for feature in signature.features:
        name = base = mlib.key(feature.name).replace("_", "-")
        number = 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        options.append(name)
    return options


def finite(_ctx, param, value):
    """Refuse nan and inf, which click takes for numbers.

    Parameters
    ----------
    param : click.Parameter
    value : float or None
        As click calls it back.

    Returns
    -------
    float or None

    Raises
    ------
    click.BadParameter
        It is none.
    """
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number.", param=param)
    return value


class FeatureType(click.ParamType):
    """What an option of a feature takes; what it refuses, the signature has refused."""

    def __init__(self, feature):
        self.feature = feature
        self.name = {"number": "float", "category": "text"}.get(feature.kind, feature.kind)

    def convert(self, value, param, ctx):
        parsed = self.feature.parse(value)
        if self.feature.kind != "number" or (parsed is None and self.feature.missing):
            return parsed
        if isinstance(parsed, (int, float)):
            return parsed
        if parsed is None and value.strip():  # nan and its kin: nothing in a table, and no value of what has to be
            return math.nan
        return self.fail(f"{value!r} is not a valid float.", param, ctx)


def feature_options(signature):
    """Make a click option for each feature, in their order.

    Parameters
    ----------
    signature : mlib.Signature or toolkit.hosts.Tensors

    Returns
    -------
    list of click.Option
        ``--weight`` for Weight; a name that another option has gets a number: ``--model-2``.
    """
    options = []
    for i, (feature, name) in enumerate(zip(signature.features, names(signature), strict=True)):
        text = f"{mlib.printable(feature.name[:80])}: {mlib.printable(feature.possible[:400])}."
        text += " May be left out, or repeated." if feature.missing else " May be repeated."
        options.append(click.Option([f"--{name}", f"feature_{i}"], type=FeatureType(feature), multiple=True, help=text))
    return options


def make_rows(signature, columns):
    """Make rows of what the options were given.

    Parameters
    ----------
    signature : mlib.Signature or toolkit.hosts.Tensors
    columns : list of tuple
        The values of each feature's option; each has to stand as often as the others, or not at all where it may be
        missing.

    Returns
    -------
    list of dict

    Raises
    ------
    click.UsageError
        An option is missing, or stands less often than another.
    """
    options, features = feature_options(signature), signature.features
    length = max(map(len, columns))
    columns = [
        column or (None,) * length if feature.missing else column
        for feature, column in zip(features, columns, strict=True)
    ]
    absent = [option.opts[0] for option, column in zip(options, columns, strict=True) if not column]
    if absent:
        raise click.UsageError(f"A row needs each feature, and there is no {', no '.join(absent)}.")
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(
            f"{option.opts[0]} {len(column)} times" for option, column in zip(options, columns, strict=True)
        )
        raise click.UsageError(f"A row needs each feature once, and there are {counts}. Give each as often.")
    fields = [feature.name for feature in features]
    return [dict(zip(fields, row, strict=True)) for row in zip(*columns, strict=True)]


def example(signature):
    """Write options that work.

    Parameters
    ----------
    signature : mlib.Signature or toolkit.hosts.Tensors

    Returns
    -------
    str
        The options with the medians of training, and the commonest categories.
    """
    options = zip(feature_options(signature), signature.example().values(), strict=True)
    return " ".join(f"{option.opts[0]} {shlex.quote(mlib.printable(str(value)))}" for option, value in options)
