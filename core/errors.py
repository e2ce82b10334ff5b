"""How is a failure that was foreseen said?

>>> raise DataError("houses.csv is empty. It needs a header line and rows.")
Traceback (most recent call last):
core.errors.DataError: houses.csv is empty. It needs a header line and rows.
"""

import json
import math
import numbers

SHOWN_PROBLEMS = 5  # of many problems, so many are told in one line
MOST_PROBLEMS = 100  # and so many are collected: a million bad rows need no million complaints


class Error(Exception):
    """A failure that was foreseen. Its text is one line for people: what happened, and what to do next."""

    exit_code = 1  # what a command line that meets it ends with

    def __init__(self, text):
        """Keep the text to one line, whatever names and values from elsewhere stand in it."""
        super().__init__(printable(text))


class DataError(Error):
    """A table that cannot be read or trained on."""


class ModelError(Error):
    """A model file that is missing, damaged, foreign or from other package versions; or cannot be written."""


class OptionError(Error, ValueError):
    """An argument of `retrain` that cannot be."""

    exit_code = 2


class GateError(Error):
    """A condition that the caller asked for did not hold."""

    exit_code = 5


class InputError(Error, ValueError):
    """Rows that cannot be predicted.

    Attributes
    ----------
    errors : list of dict
        A dict a problem: ``field``, ``got``, ``expected``, and ``row`` (from 1) when there were several rows;
        the first 100 of them.
    """

    def __init__(self, errors):
        self.errors = errors[:MOST_PROBLEMS]
        text = "; ".join(map(problem_text, errors[:SHOWN_PROBLEMS]))
        super().__init__(text + ("; and more" if len(errors) > SHOWN_PROBLEMS else ""))


def printable(text):
    """Put a foreign text into one line, in which nothing moves the cursor.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def problem_text(problem):
    """Say one problem or warning in words.

    Parameters
    ----------
    problem : dict
        ``field``, ``got``, ``expected`` and, of several rows, ``row``.

    Returns
    -------
    str
        Such as ``"Weight: got -5, expected a number above 0"``.
    """
    row = f"row {problem['row']}, " if "row" in problem else ""
    got = "nothing" if problem["got"] is None else json.dumps(problem["got"], ensure_ascii=False)
    return f"{row}{problem['field']}: got {got}, expected {problem['expected']}"


def did_you_mean(name, names):
    """Make a hint of the nearest of the names that exist, upper and lower case being equal.

    Parameters
    ----------
    name : str
    names : iterable of str

    Returns
    -------
    str
        Such as ``" Did you mean Weight?"``; "" where none is near.
    """
    import difflib

    folded = {str(known).casefold(): known for known in names}
    found = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    return f" Did you mean {folded[found[0]]}?" if found else ""


def plain(value):
    """Write a number without needless digits.

    Parameters
    ----------
    value : float

    Returns
    -------
    str
        180.0 is ``180``.
    """
    return f"{value:.10g}"


def shown(value):
    """Make of a refused value what an error shows: short, and always JSON.

    Parameters
    ----------
    value : object

    Returns
    -------
    None, bool, int, float or str
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= 80 else value[:77] + "..."
    if isinstance(value, numbers.Real):
        try:
            value = float(value)
        except OverflowError:
            return "a number too large"
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    kinds = {dict: "an object", list: "a list"}
    return kinds.get(type(value), f"a {type(value).__name__}")
