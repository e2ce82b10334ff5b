"""What is a feature called on a command line?

>>> names(mlib.Signature.read())
['weight']
"""

import mlib

# What the commands that take features have for themselves; one list, so that a feature has one name in all of them.
TAKEN = {"from", "help", "host", "interval", "json", "model", "sha256", "timeout"}


def names(signature):
    """Name the option of each feature.

    Parameters
    ----------
    signature : mlib.Signature

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
