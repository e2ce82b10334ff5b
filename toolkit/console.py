"""How does a command line end, and what does it print where?

stdout carries the answer and nothing else; notices, warnings and errors go to stderr. A failure that was foreseen
(`mlib.Error`) is one line and its exit code; a bug keeps its traceback.

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | a failure that was foreseen: data, model, file |
| 2 | usage: a bad option value among them |
| 3 | the endpoint could not be reached, or timed out |
| 4 | the endpoint answered with an error, or with what is no prediction |
| 5 | a gate that the user asked for did not hold |
"""

import contextlib
import json
import os
import sys

import click

import mlib

# The option of every command that can answer for programs.
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@contextlib.contextmanager
def errors():
    """End the program with one line and the error's exit code where an `mlib.Error` is raised.

    Raises
    ------
    SystemExit
        With the error's exit code.

    Examples
    --------
    >>> with errors():
    ...     raise mlib.ModelError("There is no model.")
    Traceback (most recent call last):
    SystemExit: 1
    """
    try:
        yield
    except mlib.Error as error:
        notice(f"Error: {error}", fg="red")
        sys.exit(error.exit_code)


def notice(text, **style):
    """Tell the user something that is not the answer: on stderr.

    Parameters
    ----------
    text : str
    style : colours
        As click.style takes them.
    """
    _echo(text, style, err=True)


def answer(text, **style):
    """Print the answer: on stdout.

    Parameters
    ----------
    text : str
    style : colours
        As click.style takes them.
    """
    with _full():
        _echo(text, style, err=False)


def answer_json(document):
    """Print the answer as one JSON document.

    Parameters
    ----------
    document : JSON-able
    """
    with _full():
        click.echo(json.dumps(document, allow_nan=False))


@contextlib.contextmanager
def _full():
    """End the program where the answer cannot be written: no space left; of a pipe that was closed click takes care."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        notice(f"Error: The answer cannot be written: {error.strerror}.", fg="red")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would be written at the end
        sys.exit(1)


def _echo(text, style, err):
    """Colour decorates on a terminal only (click sees to that), and not where NO_COLOR is set: no-color.org."""
    text = "\n".join(map(mlib.printable, text.split("\n")))  # names of a foreign model may hold what moves the cursor
    click.echo(text if os.environ.get("NO_COLOR") else click.style(text, **style), err=err)
