"""How is what a model computed told?

>>> tell_one(Signature.read(), 72.158, [180.0])
{'height_inches': 72.16, 'height_human_readable': '6 foot, 0 inches'}
"""

import math

from core.errors import InputError
from core.signature import height_human

NO_NUMBER = {
    "field": "(row)",
    "got": "values for which the model's answer is no finite number",
    "expected": "values nearer to those of training",
}


def tell_one(signature, value, row, interval=False):
    """Tell the answer to one row.

    Parameters
    ----------
    signature : Signature
    value : float, or list of float
        What the model computed: the target, or the probability of each class.
    row : list of float, shape (features,)
        The checked row.
    interval : bool
        Add the prediction interval.

    Returns
    -------
    dict
        As `mlib.predict` tells it.

    Raises
    ------
    InputError
        The value is infinite or NaN.
    """
    if not math.isfinite(value if signature.task == "regression" else sum(value)):
        raise InputError([NO_NUMBER])
    answer = _answer(signature, value, interval)
    warned = signature.warnings(row)
    if warned:
        answer["warnings"] = warned
    return answer


def tell_many(signature, values, array, interval=False):
    """Tell the answers to many rows.

    Parameters
    ----------
    signature : Signature
    values : numpy.ndarray of float64, shape (rows,) or (rows, classes)
        What the model computed.
    array : numpy.ndarray of float64, shape (rows, features)
        The checked rows.
    interval : bool
        Add the prediction interval.

    Returns
    -------
    list of dict

    Raises
    ------
    InputError
        A value is infinite or NaN.
    """
    import numpy as np

    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1)).tolist()
    if bad:
        raise InputError([{"row": row + 1, **NO_NUMBER} for row in bad])
    if signature.task == "classification" or interval:
        answers = [_answer(signature, value, interval) for value in values.tolist()]
    elif signature.human:
        number, words = signature.answer, signature.human
        answers = [{number: inches, words: height_human(inches)} for inches in hundredths(values).tolist()]
    else:
        answers = [{signature.answer: value} for value in values.tolist()]
    for row in np.flatnonzero(signature.is_outside(array)).tolist():
        answers[row]["warnings"] = signature.warnings(array[row].tolist())
    return answers


def hundredths(values):
    """Round many numbers as ``round(value, 2)`` does one.

    Parameters
    ----------
    values : numpy.ndarray of float64, shape (n,)

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
    """
    import numpy as np

    scaled = values * 100
    whole = np.rint(scaled)
    rounded = whole / 100
    # Where the product's own rounding may have crossed a half, `round` has the word.
    doubtful = (abs(abs(scaled - whole) - 0.5) < 1e-6) | (abs(values) > 1e6)
    rounded[doubtful] = [round(value, 2) for value in values[doubtful].tolist()]
    return rounded


def _answer(signature, value, interval):
    if signature.task == "classification":
        return signature.classes(value)
    if signature.human:
        inches = round(value, 2)
        answer = {signature.answer: inches, signature.human: height_human(inches)}
    else:
        answer = {signature.answer: value}
    if interval:
        low, high = value - signature.interval["half_width"], value + signature.interval["half_width"]
        if signature.human:
            low, high = round(low, 2), round(high, 2)
        answer["interval"] = {"low": low, "high": high, "coverage": signature.interval["coverage"]}
    return answer
