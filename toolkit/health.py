"""Is an endpoint well, and does it answer as the model here?

>>> from toolkit.remote import Endpoint
>>> check(Endpoint("http://localhost:8080"))["ready"]  # doctest: +SKIP
True
>>> compare(Endpoint("http://localhost:8080"), mlib.load_model())  # doctest: +SKIP
{'rows': 5, 'difference': 0.0, 'tolerance': 0.01, 'refused': None}
"""

import math

import mlib
from toolkit import hosts
from toolkit.failures import AnswerError

HUNDREDTH = 0.01  # answers in inches are rounded to it: a last bit may turn one
ROUNDING = 1e-9  # of the difference itself
MILLIONTH = 1e-6


def check(endpoint):
    """Tell how an endpoint is.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint

    Returns
    -------
    dict
        ``live``, ``ready``: bool, or None where it has no route that tells (ready is then whether it answers a row);
        ``model``, ``version``: str, or None where it does not tell; ``reason``: str, what it answered where it is not
        well, else None.

    Raises
    ------
    toolkit.failures.UnreachableError
        Nothing answers there.
    toolkit.failures.AnswerError
        It has no route that tells, and did not answer a row either.
    """
    state = {"live": None, "ready": None, "model": None, "version": None, "reason": None}
    for key, url in zip(("live", "ready"), endpoint.host.health_urls or (), strict=False):
        status, headers, content = endpoint.get(url)
        if 400 <= status < 500 and status != 429:  # gateways say 403 of what they do not have
            continue
        document = hosts.parse_json(content)
        state[key] = status == 200 and not (isinstance(document, dict) and document.get(key) is False)
        if not state[key]:
            state["reason"] = str(endpoint.refusal(status, headers, content))
    if state["reason"] is None:
        found = endpoint.signature(is_fresh=True)
        if found:
            state["model"], state["version"] = found.name, found.version
        if state["ready"] is None:
            endpoint.ask((found if isinstance(found, mlib.Signature) else mlib.Signature.read()).example())
            state["ready"] = True
    return state


def golden_rows(signature):
    """Make rows of those that a model proves itself by when it is loaded.

    Parameters
    ----------
    signature : mlib.Signature

    Returns
    -------
    list of dict
        A few rows, as JSON has them.
    """
    features = signature.features
    return [
        {
            feature.name: None if value is None or math.isnan(value) else feature.say(value)
            for feature, value in zip(features, row, strict=True)
        }
        for row in signature.golden["rows"]
    ]


def compare(endpoint, model, tolerance=None):
    """Ask an endpoint what the model here answers too.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
    model : mlib.Model
    tolerance : float, optional
        The largest difference that will do: in the target's unit, or of probabilities. By default a hundredth where
        answers are rounded to it, else a millionth of the target's range, or of probabilities.

    Returns
    -------
    dict
        ``rows``: how many; ``difference``: the largest, None where the answers are not comparable; ``tolerance``;
        ``refused``: str, why they do not agree, None where they do.

    Raises
    ------
    toolkit.failures.UnreachableError, toolkit.failures.AnswerError
        It cannot be reached, or does not answer at all.
    """
    signature, rows = model.signature, golden_rows(model.signature)
    if tolerance is None:
        span = signature.target.max - signature.target.min if signature.task == "regression" else 1.0
        tolerance = HUNDREDTH if signature.human else MILLIONTH * (span or 1.0)
    result = {"rows": len(rows), "difference": None, "tolerance": tolerance, "refused": None}
    try:
        answers = endpoint.predict(rows)
    except AnswerError as error:
        if error.status not in (400, 422):
            raise
        return result | {"refused": f"It does not take the rows of {signature.name} here: {error}"}
    differences = []
    for answer, expected in zip(answers, mlib.predict(rows, model), strict=True):
        pairs = _pairs(signature, answer, expected)
        if not all(isinstance(got, (int, float)) and math.isfinite(got) for got, _ in pairs):
            text = endpoint.auth.hide(str(answer))[:200]
            return result | {"refused": f"{endpoint.name} answers {text}; the model here {expected}."}
        differences += [abs(got - wanted) for got, wanted in pairs]
    result["difference"] = max(differences)
    if not result["difference"] <= tolerance + ROUNDING:
        result["refused"] = (
            f"{endpoint.name} and {signature.name}, version {signature.version}, here differ by "
            f"{result['difference']:.6g} on the {len(rows)} golden rows; expected {tolerance:.6g} at most."
        )
    return result


def _pairs(signature, answer, expected):
    """Numbers to be compared: of classes the probabilities, else whether they are the same."""
    key = signature.answer
    if signature.task == "regression":
        return [(answer.get(key), expected[key])]
    got = answer.get("probabilities")
    if isinstance(got, dict):
        return [(got.get(text), probability) for text, probability in expected["probabilities"].items()]
    return [(float(answer[key] == expected[key]) if key in answer else None, 1.0)]


def facts(endpoint, state, compared=None):
    """Tell it to people.

    Parameters
    ----------
    endpoint : toolkit.remote.Endpoint
    state : dict
        As of `check`.
    compared : dict, optional
        As of `compare`.

    Returns
    -------
    dict of str to str
    """
    words = {True: "yes", False: "no", None: "it does not tell"}
    model = f"{state['model']}, version {state['version']}" if state["model"] else words[None]
    told = {"Endpoint": endpoint.name, "Live": words[state["live"]], "Ready": words[state["ready"]], "Model": model}
    if compared and compared["difference"] is not None:
        told["Difference"] = (
            f"{compared['difference']:.6g} at most on {compared['rows']} golden rows of the model here "
            f"(tolerance {compared['tolerance']:.6g})"
        )
    return told
