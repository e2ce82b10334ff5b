"""Which endpoints does this user know? Their names, and what they told of themselves.

Both lie in the user's configuration folder: ``endpoints.json`` has names and addresses, never a key; ``known/`` has
what endpoints answered to ``GET /model``, for an hour.

>>> add("prod", "https://heights.example.com/predict")  # doctest: +SKIP
>>> names()  # doctest: +SKIP
{'prod': 'https://heights.example.com/predict'}
"""

import contextlib
import hashlib
import json
import os
import re
import time
from urllib.parse import urlsplit

import click

import mlib
from toolkit import hosts

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
KNOWN_SECONDS = 3600


def folder():
    """Tell where it lies: ``~/.config/mlops-cookbook`` on Linux.

    Returns
    -------
    str
    """
    found = click.get_app_dir("mlops-cookbook")
    return found if os.path.isabs(found) else os.path.expanduser("~/.config/mlops-cookbook")  # XDG_CONFIG_HOME is empty


def path():
    """Tell the file of the names.

    Returns
    -------
    str
    """
    return os.path.join(folder(), "endpoints.json")


def names():
    """Read the names.

    Returns
    -------
    dict of str to str
        Addresses by their names, in alphabetical order.

    Raises
    ------
    mlib.DataError
        The file cannot be read.
    """
    try:
        with open(path(), encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise mlib.DataError(f"Cannot read {path()}: {getattr(error, 'strerror', None) or error}.") from error
    if not isinstance(found, dict) or not all(isinstance(address, str) for address in found.values()):
        raise mlib.DataError(f"{path()} is no object of names and addresses. Mend it, or remove it.")
    return dict(sorted(found.items()))


def resolve(host):
    """Find the address that a host stands for.

    Parameters
    ----------
    host : str
        A name, or an address.

    Returns
    -------
    str
        The address of a name; what is none as it is.

    Raises
    ------
    mlib.OptionError
        It looks like a name, and is none that was added.
    """
    if not NAME.fullmatch(host):
        return host
    known = names()
    if host not in known:
        hint = mlib.did_you_mean(host, known)
        raise mlib.OptionError(f"There is no endpoint {host!r}.{hint} --host: {hosts.EXPECTED}.")
    return known[host]


def add(name, address):
    """Give an address a name; one that has it already loses it.

    Parameters
    ----------
    name : str
        Letters, digits, dots, dashes and underscores.
    address : str

    Raises
    ------
    mlib.OptionError
        The name or the address cannot be, or there may be a key in the address.
    mlib.DataError, mlib.ModelError
        The file cannot be read or written.
    """
    if not NAME.fullmatch(name):
        raise mlib.OptionError(
            f"{name!r} is no name of an endpoint; expected up to 64 letters, digits, dots, dashes and underscores."
        )
    hosts.find(address)
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise mlib.OptionError(
            f"{hosts.told(address)!r} may have a key in it, in a user, a password or a query, and keys are not kept. "
            "Expected the address alone; --key-file or --header gives the key when it is asked."
        )
    with _locked():
        _write(path(), {**names(), name: address})


def remove(name):
    """Take a name back.

    Parameters
    ----------
    name : str

    Raises
    ------
    mlib.OptionError
        It is none that was added.
    """
    with _locked():
        known = names()
        if name not in known:
            raise mlib.OptionError(f"There is no endpoint {name!r}.{mlib.did_you_mean(name, known)}")
        del known[name]
        _write(path(), known)


def recall(url):
    """Tell what an endpoint told of itself, not long ago.

    Parameters
    ----------
    url : str

    Returns
    -------
    dict or None
        Its card, empty where it told none; None where that is not known, or not any more.
    """
    try:
        with open(_known(url), encoding="utf-8") as file:
            kept = json.load(file)
        card, is_fresh = kept["card"], 0 <= time.time() - kept["time"] < KNOWN_SECONDS
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return card if is_fresh and isinstance(card, dict) else None


def keep(url, card):
    """Remember what an endpoint told of itself; where the folder cannot be written, it is asked again next time.

    Parameters
    ----------
    url : str
    card : dict
        Without the sample of training rows, which need not lie about.
    """
    kept = {"time": time.time(), "card": {key: value for key, value in card.items() if key != "sample"}}
    with contextlib.suppress(mlib.Error):
        _write(_known(url), kept)


def forget(url):
    """Forget what an endpoint told of itself.

    Parameters
    ----------
    url : str
    """
    with contextlib.suppress(OSError):
        os.unlink(_known(url))


def _known(url):
    return os.path.join(folder(), "known", hashlib.sha256(url.encode()).hexdigest()[:32] + ".json")


@contextlib.contextmanager
def _locked():
    """Hold off others that change the names, where the system can."""
    _make_folders(path())
    try:
        import fcntl
    except ImportError:  # on Windows
        yield
        return
    with open(f"{path()}.lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_folders(name):
    try:
        for each in (folder(), os.path.dirname(name)):
            os.makedirs(each, mode=0o700, exist_ok=True)
    except OSError as error:
        raise mlib.DataError(f"Cannot make the folder {os.path.dirname(name)}: {error.strerror}.") from error


def _write(name, document):
    _make_folders(name)
    mlib.write_file(name, json.dumps(document, indent=1).encode() + b"\n")
