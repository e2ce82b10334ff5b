"""Which function is small enough to be read in one breath?  Called Marco, it answers Polo.

>>> lambda_handler({"name": "Marco"})
'Polo'
>>> lambda_handler({"name": "Magellan"})
'No! Got {"name": "Magellan"}, expected {"name": "Marco"}.'
"""

import json

MOST_SHOWN = 200  # characters of an event that is refused: it may be 6 MB


def lambda_handler(event, _context=None):
    """Answer an event.

    Parameters
    ----------
    event : object
        What the caller sent, any JSON: ``{"name": "Marco"}``.

    Returns
    -------
    str
        "Polo", or a refusal that says what was expected.
    """
    if isinstance(event, dict) and event.get("name") == "Marco":
        return "Polo"
    got = json.dumps(event)
    got = got if len(got) <= MOST_SHOWN else got[: MOST_SHOWN - 3] + "..."
    return f'No! Got {got}, expected {{"name": "Marco"}}.'
