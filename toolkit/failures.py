"""How does asking an endpoint fail?

>>> raise UnreachableError("http://localhost:8080/predict cannot be reached: Connection refused.")
Traceback (most recent call last):
toolkit.failures.UnreachableError: http://localhost:8080/predict cannot be reached: Connection refused.
"""

import mlib

PASSING = {429, 502, 503, 504}  # what another try may well change


class UnreachableError(mlib.Error):
    """Nothing answers there, or not in time.

    Attributes
    ----------
    may_pass : bool
        Whether another try may well succeed.
    retry_after : float or None
        Seconds to wait before it, where the endpoint said so.
    """

    exit_code = 3
    retry_after = None

    def __init__(self, text, may_pass=False):
        super().__init__(text)
        self.may_pass = may_pass


class AnswerError(mlib.Error):
    """The endpoint answered with an error, or with what is no prediction.

    Attributes
    ----------
    status : int or None
        Of HTTP; None where it was a success, but no prediction.
    errors : list of dict
        What a problem document said of the rows: ``field``, ``got``, ``expected`` and, of many, ``row``.
    may_pass : bool
        Whether another try may well succeed.
    retry_after : float or None
        Seconds to wait before it, where the endpoint said so.
    """

    exit_code = 4

    def __init__(self, text, status=None, errors=(), retry_after=None):
        super().__init__(text)
        self.status, self.errors, self.retry_after = status, list(errors), retry_after
        self.may_pass = status in PASSING
