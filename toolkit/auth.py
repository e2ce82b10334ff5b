"""Who asks an endpoint? A bearer key, any header, or AWS credentials; none of them is ever shown.

>>> auth = Auth(key="s3cret")
>>> auth.headers("POST", "http://localhost:8080/predict", b"{}")
{'Authorization': 'Bearer s3cret'}
>>> auth.hide("no key s3cret")
'no key ***'
"""

import base64
import json
import os
import re
from urllib.parse import quote

import mlib

HIDDEN = "***"
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a header's (RFC 9110, token)
SIGNATURE = "(?<=Signature=)[0-9a-f]{64}"  # of AWS: it is good for a few minutes
SHORTEST_IN_ANSWERS = 12  # characters: a shorter one may be a word of the answer itself
SHORTEST_SECRET = 4  # characters of a header's value: `en` and `1` are no secrets, and are all over any text
COMMAND_TIMEOUT = 60  # seconds: a command may refresh its token over the network, or ask a person


class AuthError(mlib.Error):
    """A key, a token or credentials could not be had."""


class Auth:
    """What is sent so that an endpoint knows who asks.

    Parameters
    ----------
    key : str, optional
        Sent as ``Authorization: Bearer KEY``.
    headers : mapping of str to str, optional
        Sent as they are.
    signer : toolkit.aws.Signer, optional
        Signs each request for AWS.
    user : str, optional
        ``user:password``, sent as basic authentication where there is none of the others.

    Raises
    ------
    AuthError
        A key or a header cannot be sent.
    """

    def __init__(self, key=None, headers=None, signer=None, user=None):
        self._headers = dict({name.lower(): (name, value) for name, value in (headers or {}).items()}.values())
        self._signer, self._secrets, self._hidden = signer, set(), None
        secrets = list(self._headers.values())
        if self._has("authorization") and (signer or key is not None):
            raise AuthError("The header Authorization is given, and a key or a signature would be another; give one.")
        if key is not None:
            if not (key and key.isascii() and key.isprintable() and " " not in key):
                raise AuthError("The key is empty or has other than printable ASCII characters; expected it alone.")
            self._headers["Authorization"] = f"Bearer {key}"
        elif user is not None and not signer and not self._has("authorization"):
            basic = base64.b64encode(user.encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"
            secrets += [basic, user.partition(":")[2]]
        parts = [re.split(r'[\s;,="]+', text) for text in self._headers.values()]
        secrets += [word for words in parts for word in words[1:]]  # after Bearer, or a cookie's name
        self.keep_secret(secrets)
        self.keep_secret([key] if key else [], shortest=1)

    def keep_secret(self, texts, shortest=SHORTEST_SECRET):
        """Hide more texts from now on, as they are and as JSON, HTML and addresses write them.

        Parameters
        ----------
        texts : iterable of str
        shortest : int
            Shorter ones are no secrets.
        """
        before = len(self._secrets)
        self._secrets |= {text for text in texts if len(text) >= shortest}
        if self._hidden and len(self._secrets) == before:
            return
        known = sorted(self._secrets, key=len, reverse=True)
        self._hidden = _pattern(known)
        self._hidden_in_answers = _pattern([text for text in known if len(text) >= SHORTEST_IN_ANSWERS])

    def _has(self, name):
        return any(header.lower() == name for header in self._headers)

    @property
    def is_known(self):
        """Whether it says who asks: a refusal then needs no hint that a key is missing."""
        return bool(self._headers or self._signer)

    @property
    def is_signed(self):
        """Whether requests are signed with credentials of AWS."""
        return self._signer is not None

    @property
    def has_secrets(self):
        """Whether something is sent that a listener could use."""
        return bool(self._secrets)

    def headers(self, method, url, body):
        """Make the headers of a request.

        Parameters
        ----------
        method, url : str
            To the letter as they are sent: a signature covers them.
        body : bytes

        Returns
        -------
        dict of str to str
        """
        if not self._signer:
            return self._headers
        signed = self._signer.headers(method, url, body)
        self.keep_secret(value for name, value in signed.items() if name.lower() == "x-amz-security-token")
        return {**self._headers, **signed}

    def hide(self, text):
        """Take what is secret out of a text, such as an endpoint's that repeats what it was sent.

        Parameters
        ----------
        text : str

        Returns
        -------
        str
        """
        return self._hidden.sub(HIDDEN, text)

    def hide_in_answer(self, content):
        """Take what is secret out of an answer that is to be used; what is short stays, it may be a word of it.

        Parameters
        ----------
        content : bytes

        Returns
        -------
        bytes
        """
        if max(map(len, self._secrets), default=0) < SHORTEST_IN_ANSWERS:
            return content
        return self._hidden_in_answers.sub(HIDDEN, content.decode(errors="surrogateescape")).encode(
            errors="surrogateescape"
        )


def _pattern(secrets):
    return re.compile("|".join(["".join(map(_written, secret)) for secret in secrets] + [SIGNATURE]))


def _written(char):
    """A pattern of a character, as it is and as JSON, HTML and addresses write it."""
    if char.isascii() and char.isalnum():
        return char
    ways = {char, f"\\{char}", json.dumps(char)[1:-1], f"\\u{ord(char):04x}", quote(char, safe="")}
    entity = rf"&(?:#0*{ord(char)}|#[xX]0*{ord(char):x}|[a-zA-Z]+);"
    return f"(?i:{'|'.join(map(re.escape, sorted(ways, key=len, reverse=True)))}|{entity})"


def read_key(path):
    """Read a key from a file.

    Parameters
    ----------
    path : path
        ``-`` is the standard input.

    Returns
    -------
    str
        Its content, without the space around it.

    Raises
    ------
    AuthError
        It cannot be read, or holds other than one word.
    """
    import sys

    if path == "-" and sys.stdin is None:
        raise AuthError("The key cannot be read: the standard input is closed.")
    try:
        if path == "-":
            text = sys.stdin.read()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read(100_000)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise AuthError(f"Cannot read the key file {path}: {reason}.") from error
    if len(text.split()) != 1:
        raise AuthError(f"The key file {path} has {len(text.split())} words; expected the key alone.")
    return text.strip()


def parse_header(text):
    """Take a header to pieces.

    Parameters
    ----------
    text : str
        ``Name: value``.

    Returns
    -------
    name, value : str

    Raises
    ------
    mlib.OptionError
        It is none; the value is not told, it may be secret.
    """
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not NAME.fullmatch(name):
        raise mlib.OptionError("A header is no 'Name: value', such as 'X-Api-Key: KEY'.")
    if name.lower() in ("content-length", "content-type", "host", "transfer-encoding"):
        raise mlib.OptionError(f"The header {name} is set by the request itself.")
    if not (value.isascii() and value.isprintable()):
        raise mlib.OptionError(f"The value of the header {name} has other than printable ASCII characters.")
    return name, value


def run_command(command):
    """Run a command that prints a token, such as ``gcloud auth print-identity-token``.

    Parameters
    ----------
    command : str
        Split as a shell does, but run without one: no pipes, no variables.

    Returns
    -------
    str
        The token.

    Raises
    ------
    AuthError
        It cannot be run, fails, takes longer than a minute, or prints other than one word.
    """
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise AuthError(f"The bearer command cannot be read: {error}.") from error
    name = os.path.basename(words[0]) if words else ""
    try:
        done = subprocess.run(  # noqa: S603  # the user's own command, which is what the option is for
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except (OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "there is no command in it"
        raise AuthError(f"The bearer command {name!r} cannot be run: {reason}.") from error
    except subprocess.TimeoutExpired as error:
        raise AuthError(f"The bearer command {name!r} printed no token within {COMMAND_TIMEOUT} s.") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = mlib.printable(lines[-1][:200]) if lines else "it does not say why"
        raise AuthError(f"The bearer command {name!r} failed with {done.returncode}: {said.rstrip('.')}.")
    printed = done.stdout.decode(errors="replace").split()
    if len(printed) != 1:
        raise AuthError(f"The bearer command {name!r} printed {len(printed)} words; expected one, the token.")
    return printed[0]
