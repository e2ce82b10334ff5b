"""What does a deployed endpoint answer?

>>> ask("http://localhost:8080/predict", {"Weight": 200})
{'prediction': {'height_inches': 73.23, 'height_human_readable': '6 foot, 1 inches'}}
"""

import json
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import LocationParseError

import mlib

TIMEOUT = 10.0  # seconds: a cold start of a serverless function takes a few


class UnreachableError(mlib.Error):
    """Nothing answers there, or not in time."""

    exit_code = 3


class AnswerError(mlib.Error):
    """The endpoint answered with an error, or with what is no prediction."""

    exit_code = 4


def ask(url, payload, timeout=TIMEOUT):
    """Send a row to an endpoint.

    Parameters
    ----------
    url : str
        Of the endpoint itself, with its path: ``http://localhost:8080/predict``.
    payload : dict
        A row, such as ``{"Weight": 200}`` (pounds).
    timeout : float
        Seconds to wait for the connection, and for each part of the answer.

    Returns
    -------
    dict
        The endpoint's answer, with ``prediction``.

    Raises
    ------
    mlib.OptionError
        The URL is none of http or https.
    UnreachableError
        Nothing listens there, the name is not known, or no answer came in time.
    AnswerError
        The status is not 200, or the answer is no prediction.
    """
    if not _is_address(url):
        raise mlib.OptionError(f"{url!r} is no address of an endpoint; expected http://HOST:PORT/predict.")
    try:
        response = requests.post(url, json=payload, timeout=timeout)
    except (requests.exceptions.InvalidURL, LocationParseError) as error:
        raise mlib.OptionError(f"{url!r} is no address of an endpoint: {_printable(str(error))}.") from error
    except requests.exceptions.InvalidSchema as error:
        raise AnswerError(f"{url} leads on to what is no endpoint: {_printable(str(error))}.") from error
    except requests.exceptions.Timeout as error:
        raise UnreachableError(
            f"{url} did not answer within {timeout:g} s. Is it up? A longer --timeout waits."
        ) from error
    except requests.exceptions.RequestException as error:
        raise UnreachableError(
            f"{url} cannot be reached: {_reason(error)}. Is the server up, and the URL right?"
        ) from error

    document = _json(response)
    if response.status_code != 200:
        raise AnswerError(f"{url} answered {response.status_code}: {_detail(response, document)}")
    if not isinstance(document, dict) or not isinstance(document.get("prediction"), dict):
        got = _printable(response.text) or "nothing"
        raise AnswerError(f"{url} answered, but with no prediction: {got}. Does the URL end in /predict?")
    return document


def _is_address(url):
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is no number
        return False


def _json(response):
    """Parse an answer; what is not JSON by the letter (NaN is not) is None."""
    try:
        return json.loads(response.content, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def _no_number(name):
    raise ValueError(f"{name} is no JSON")


def _detail(response, document):
    """An error's own words: of a problem document (RFC 9457), else the first of the body."""
    if response.status_code in (404, 405):
        return f"{response.reason}. Does the URL end in /predict?"
    if isinstance(document, dict) and isinstance(document.get("detail"), str):
        return _printable(document["detail"])
    return _printable(response.text) or response.reason


def _printable(text):
    """A foreign text as one line of at most 500 characters, none of which moves the cursor."""
    return "".join(char if char.isprintable() else " " for char in text[:500])


def _reason(error):
    """The innermost reason of a connection that failed; requests wraps it several times."""
    while error.__context__ or error.__cause__:
        error = error.__cause__ or error.__context__
    return getattr(error, "strerror", None) or str(error)
