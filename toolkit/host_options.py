"""What do the commands that ask an endpoint have in common?  Where it is, who asks, how long it may take.

>>> @click.command()
... @endpoint_options
... def ask(endpoint):
...     print(endpoint.ask({"Weight": 200}))
"""

import functools
import math
import os

import click

import mlib
from toolkit import console
from toolkit.options import example, feature_options, finite, make_rows

HOST = "http://localhost:8080/predict"
HELP_TIMEOUT = 3  # seconds that --help waits for an endpoint
OPTIONS = [
    click.Option(
        ["--host"],
        default=HOST,
        show_default=True,
        metavar="HOST",
        help="The endpoint: http(s)://HOST/predict, v2+http(s)://HOST/v2/models/NAME, lambda:FUNCTION[:ALIAS], "
        "sagemaker:ENDPOINT, or a name of `endpoints`.",
    ),
    click.Option(
        ["--key-file"],
        metavar="FILE",
        help="A file with the bearer key; - is the standard input. [default: the key in MLOPS_API_KEY, if any]",
    ),
    click.Option(
        ["--bearer-command"],
        metavar="COMMAND",
        help='A command that prints the bearer token, such as "gcloud auth print-identity-token".',
    ),
    click.Option(
        ["--aws-sigv4"],
        metavar="SERVICE",
        help="Sign for an address behind AWS IAM, such as execute-api (API Gateway) or lambda (function URL).",
    ),
    click.Option(
        ["--header", "headers"],
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Another header to send; @FILE has one a line. May be repeated.",
    ),
    click.Option(
        ["--timeout"],
        type=click.FloatRange(0, 3600, min_open=True),
        default=10,
        show_default=True,
        callback=finite,
        metavar="SECONDS",
        help="For each try, to the end of its answer.",
    ),
    click.Option(
        ["--retries"],
        type=click.IntRange(0, 100),
        default=3,
        show_default=True,
        metavar="N",
        help="More tries after a failed connection or 429, 502, 503, 504, with longer and longer pauses.",
    ),
]


def endpoint_options(function):
    """Give a command the options of an endpoint, and its function the endpoint.

    Parameters
    ----------
    function : function
        Gets ``endpoint`` in place of them.

    Returns
    -------
    function
    """

    @functools.wraps(function)
    def connected(**given):
        found = click.get_current_context().obj
        _check_inputs(given)
        mine = {option.name: given.pop(option.name) for option in OPTIONS}
        with console.errors():
            endpoint = found.endpoint if found else make_endpoint(**mine)
        return function(endpoint=endpoint, **given)

    connected.__click_params__ = [*getattr(function, "__click_params__", []), *reversed(OPTIONS)]
    return connected


def _check_inputs(given):
    if given.get("source") == given["key_file"] == "-":
        raise click.UsageError("--from and --key-file cannot both read the standard input.")


def make_endpoint(host, key_file, bearer_command, aws_sigv4, headers, timeout, retries):
    """Make the endpoint that the options name.

    Parameters
    ----------
    host : str
    key_file, bearer_command, aws_sigv4 : str or None
    headers : sequence of str
    timeout : float
    retries : int
        As the options have them.

    Returns
    -------
    toolkit.remote.Endpoint

    Raises
    ------
    click.UsageError
        Options exclude each other.
    mlib.Error
        The host is none, or a key cannot be had.
    """
    from toolkit import auth, endpoints, hosts, remote

    address = endpoints.resolve(host)
    asked_for = {"--key-file": key_file, "--bearer-command": bearer_command, "--aws-sigv4": aws_sigv4}
    ways = [name for name, value in asked_for.items() if value is not None]
    if hosts.find(address).service and (ways or headers):
        raise click.UsageError(f"{host} is asked with the credentials of AWS; {[*ways, '--header'][0]} is not for it.")
    if len(ways) > 1:
        raise click.UsageError(f"{' and '.join(ways)} exclude each other; give one.")
    sent = dict(auth.parse_header(text) for header in headers for text in _lines(header))
    key, signer = None, None
    if key_file is not None:
        key = auth.read_key(key_file)
    elif bearer_command is not None:
        key = auth.run_command(bearer_command)
    elif aws_sigv4 is not None:
        from toolkit import aws

        signer = aws.Signer(aws_sigv4)
    elif "authorization" not in map(str.lower, sent):
        key = os.environ.get("MLOPS_API_KEY", "").strip() or None
    who = auth.Auth(key, sent, signer)
    endpoint = remote.Endpoint(address, who, timeout, retries, tell=lambda text: console.notice(text, fg="yellow"))
    if endpoint.auth.has_secrets and endpoint.host.url.startswith("http:") and not endpoint.host.is_local:
        console.notice(f"Warning: {endpoint.name} is asked without TLS; others can read the key.", fg="yellow")
    return endpoint


def _lines(header):
    """The headers of a file, or the one that is given."""
    if not header.startswith("@"):
        return [header]
    try:
        with open(header[1:], encoding="utf-8") as file:
            return [line for line in file.read().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise mlib.DataError(f"Cannot read the headers in {header[1:]}: {reason}.") from error


class Asked:
    """An endpoint, and what it takes.

    Attributes
    ----------
    endpoint : toolkit.remote.Endpoint
    signature : mlib.Signature or toolkit.hosts.Tensors
    is_told : bool
        By the endpoint itself, and not read from the model here.
    """

    def __init__(self, endpoint, signature):
        self.endpoint, self.is_told = endpoint, signature is not None
        self.signature = signature if self.is_told else mlib.Signature.read()


class AskCommand(click.Command):
    """A command that has an option for each feature of the endpoint that --host names."""

    def parse_args(self, ctx, args):
        with console.errors():
            if any(arg in ctx.help_option_names for arg in args):
                ctx.obj = self._for_help(ctx, args)
                return super().parse_args(ctx, list(args))
            found = self._given(ctx, args)
            with click.core.augment_usage_errors(ctx):
                _check_inputs(found)
                endpoint = make_endpoint(**{option.name: found[option.name] for option in OPTIONS})
            # Of a file columns are left out that are no features: not by what was remembered.
            ctx.obj = Asked(endpoint, endpoint.signature(is_fresh=bool(found.get("source"))))
            try:
                return self._parsed(ctx, args)
            except click.UsageError as error:
                # Another model may be there by now than the one that is remembered.
                fresh = endpoint.signature(is_fresh=True)
                if fresh and fresh.card != getattr(ctx.obj.signature, "card", None):
                    ctx.obj = Asked(endpoint, fresh)
                    ctx.params.clear()
                    return self._parsed(ctx, args)
                if not ctx.obj.is_told:
                    without = " without the right key" if endpoint.is_denied else ""
                    error.message += f" (The endpoint does not tell what it takes{without}; that is of the model here.)"
                raise

    def _parsed(self, ctx, args):
        rest = super().parse_args(ctx, list(args))
        columns = [ctx.params.pop(option.name) for option in feature_options(ctx.obj.signature)]
        ctx.params["rows"] = []
        if any(columns):
            if ctx.params.get("source") is not None:
                raise click.UsageError("Rows come from --from, or from the options of the features; give one.", ctx)
            with click.core.augment_usage_errors(ctx):
                ctx.params["rows"] = make_rows(ctx.obj.signature, columns)
        return rest

    def _given(self, ctx, args):
        """What the options that do not depend on the endpoint were given; they are checked first."""
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        finder = click.Command(self.name, params=self.params, context_settings=settings, add_help_option=False)
        return finder.make_context(ctx.info_name, list(args), parent=ctx.parent).params

    def _for_help(self, ctx, args):
        """What --help shows: the endpoint's options where --host is given, else those of the model here."""
        try:
            if any(arg.split("=")[0] == "--host" for arg in args):
                found = self._given(ctx, [arg for arg in args if arg != "--help"])
                given = {option.name: found[option.name] for option in OPTIONS}
                endpoint = make_endpoint(**{**given, "timeout": min(given["timeout"], HELP_TIMEOUT), "retries": 0})
                return Asked(endpoint, endpoint.signature(is_fresh=True))
            return Asked(None, None)
        except (mlib.Error, click.UsageError) as error:
            text = error.message if isinstance(error, click.UsageError) else str(error)
            console.notice(f"Note: the options of the features are not shown. {text}")
            return None

    def get_params(self, ctx):
        return [*(feature_options(ctx.obj.signature) if ctx.obj else []), *super().get_params(ctx)]


def published_row(signature):
    """Make the row that is asked where none is given: 225 pounds, as published.

    Parameters
    ----------
    signature : mlib.Signature or toolkit.hosts.Tensors

    Returns
    -------
    dict

    Raises
    ------
    click.UsageError
        It takes something else than a weight alone.
    """
    if [feature.name for feature in signature.features] == ["Weight"]:
        return {"Weight": 225}
    missing = ", ".join(option.opts[0] for option in feature_options(signature))
    raise click.UsageError(f"Nothing to predict from. Give {missing}, such as {example(signature)}; or --from FILE.")


def sendable(row):
    """Make of a row what JSON has; whole numbers without a point, as people write them.

    Parameters
    ----------
    row : dict of str to JSON value

    Returns
    -------
    dict

    Raises
    ------
    click.UsageError
        A number is none that JSON has.
    """
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise click.UsageError(f"{name}: {value} is no finite number.")
    is_whole = {name for name, value in row.items() if isinstance(value, float) and value.is_integer()}
    return {name: int(value) if name in is_whole else value for name, value in row.items()}


def load_rows(endpoint, source):
    """Make the rows of a load: those of a file, or the one of medians.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
    source : path or None

    Returns
    -------
    list of dict

    Raises
    ------
    mlib.Error
        The file cannot be read, or the endpoint does not tell what would be answered.
    """
    from toolkit.hosts import Tensors

    signature = endpoint.signature(is_fresh=True) or mlib.Signature.read()
    if source is None:
        here = mlib.Signature.read() if isinstance(signature, Tensors) else signature
        if here.example().keys() != signature.example().keys():
            raise mlib.OptionError(f"{endpoint.name} tells no values that it would answer. Give rows: --from FILE.")
        return [sendable(here.example())]
    rows, notices = mlib.read_rows(source, signature)
    for text in notices:
        console.notice(text, fg="yellow")
    return rows
