"""What does a deployed endpoint answer?

>>> ask("http://localhost:8080/predict", {"Weight": 200})
{'prediction': {'height_inches': 73.23, 'height_human_readable': '6 foot, 1 inches'}}
"""

import json

import requests

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
    try:
        response = requests.post(url, json=payload, timeout=timeout)
    except (
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidURL,
    ) as error:
        raise mlib.OptionError(f"{url!r} is no address of an endpoint; expected http://HOST:PORT/predict.") from error
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
        raise AnswerError(
            f"{url} answered, but with no prediction: {_short(response.text)}. Does the URL end in /predict?"
        )
    return document


def _json(response):
    try:
        return response.json()
    except ValueError:
        return None


def _detail(response, document):
    """An error's own words: of a problem document (RFC 9457), else the first of the body."""
    if response.status_code in (404, 405):
        return f"{response.reason}. Does the URL end in /predict?"
    if isinstance(document, dict) and isinstance(document.get("detail"), str):
        return document["detail"]
    return _short(response.text) if response.text else response.reason


def _short(text):
    """A foreign text as one short line that holds no control characters."""
    return json.dumps(text[:200])


def _reason(error):
    """The innermost reason of a connection that failed; requests wraps it several times."""
    while error.__context__ or error.__cause__:
        error = error.__cause__ or error.__context__
    return getattr(error, "strerror", None) or str(error)
