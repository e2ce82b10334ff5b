"""What does --host name, and in which words is it asked?

| host | what is asked |
| --- | --- |
| ``https://HOST/predict`` | JSON, as this project's service or the published one; an origin gets ``/predict`` |
| ``v2+https://HOST/v2/models/NAME`` | Open Inference Protocol: KServe, Triton, MLServer, and this project's service |
| ``lambda:FUNCTION[:ALIAS]`` | a function on AWS Lambda, by its name or ARN |
| ``sagemaker:ENDPOINT`` | an endpoint of Amazon SageMaker |

>>> find("http://localhost:8080").url
'http://localhost:8080/predict'

A kind of host knows words only: the body of a request, the meaning of an answer. `toolkit.remote` sends them.

Source
------
Lambda's Invoke (docs.aws.amazon.com/lambda/latest/api/API_Invoke.html), SageMaker's InvokeEndpoint
(docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html), Open Inference Protocol,
specification/protocol/inference_rest.md (github.com/kserve/open-inference-protocol).
"""

import base64
import ipaddress
import json
import re
from urllib.parse import quote, unquote, unquote_plus, urlsplit, urlunsplit

import orjson

import mlib

EXPECTED = (
    "expected http://HOST:PORT/predict, v2+http://HOST:PORT/v2/models/NAME, lambda:FUNCTION, sagemaker:ENDPOINT or a "
    "name of `utilscli.py endpoints list`"
)
FALSE, TRUE = ("false", "no", "0", "f", "n", "off"), ("true", "yes", "1", "t", "y", "on")


def find(host):
    """Tell what a host is.

    Parameters
    ----------
    host : str
        As the module's table has it.

    Returns
    -------
    Http, V2, Lambda or SageMaker

    Raises
    ------
    mlib.OptionError
        It is none of them.
    """
    kind, _, rest = host.partition(":")
    kind = kind.lower()
    kinds = {"http": Http, "https": Http, "v2+http": V2, "v2+https": V2}
    if kind in kinds:
        return kinds[kind](host)
    if kind in ("lambda", "sagemaker") and rest:
        return {"lambda": Lambda, "sagemaker": SageMaker}[kind](rest)
    raise _no_address(host)


def _no_address(text):
    """Where it is no address, nobody knows where a password in it ends: what stands before the last @ is not told."""
    rest = told(text.rpartition("@")[2])
    hint = f" Did you mean http://{rest}?" if re.fullmatch(r"[A-Za-z0-9.-]+:\d+(/\S*)?", rest) else ""
    return mlib.OptionError(f"{rest!r} is no address of an endpoint; {EXPECTED}.{hint}")


def told(url):
    """Write an address without what may be secret in it: user, password and query.

    Parameters
    ----------
    url : str

    Returns
    -------
    str
    """
    start = re.match("([A-Za-z0-9+.-]*:)?//|", url)[0]
    authority, slash, path = url[len(start) :].partition("/")
    address, mark, _ = (start + authority.rpartition("@")[2] + slash + path).partition("?")
    return address.partition("#")[0] + ("?..." if mark else "")


def has_name(address):
    """Tell whether an address, with or without ``http://``, names a host.

    Parameters
    ----------
    address : str

    Returns
    -------
    bool
    """
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def parse_json(content):
    """Parse JSON by the letter; what is not (NaN is not) is None.

    Parameters
    ----------
    content : bytes or str

    Returns
    -------
    JSON value
    """
    try:
        return orjson.loads(content)
    except ValueError:
        return None


def _write_json(document):
    try:
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        if b"null" not in body:  # orjson writes what JSON cannot have, NaN and infinity, as null
            return body
    except TypeError:  # what it does not know: numbers beyond 64 bits, halves of characters
        pass
    try:
        return json.dumps(document, allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        raise mlib.OptionError(f"It cannot be sent as JSON, which has no such value: {error}.") from error


class Http:
    """The project's own service, and any that speaks like it.

    Parameters
    ----------
    url : str

    Attributes
    ----------
    url : str
        What is posted to, without user and password.
    name : str
        What it is called in messages: nothing secret is in it.
    hint : str
        What to look at where it is not found.
    user : str or None
        ``user:password`` that stood in the address.
    secrets : list of str
        Values of the query: keys of Azure and others stand there.
    service : str or None
        Of AWS, that it belongs to.
    """

    service = None
    hint = "Does the URL end in /predict?"

    def __init__(self, url):
        parts = _parts(url)
        self.user = None
        given = {pair.partition("=")[2] or pair for pair in parts.query.split("&")}
        self.secrets = [*given, *map(unquote, given), *map(unquote_plus, given)]
        if parts.username or parts.password:
            self.user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            self.secrets += self.user.split(":", 1)  # some keys stand in the user's place
        self.parts = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="", path=self.path(parts.path))
        self.url = urlunsplit(self.parts)
        self.name = told(self.url)

    def path(self, path):
        """Complete the path of an address.

        Parameters
        ----------
        path : str

        Returns
        -------
        str
        """
        return "/predict" if path in ("", "/") else path

    def beside(self, path):
        """Tell the address of what stands beside the endpoint.

        Parameters
        ----------
        path : str
            Such as ``model``.

        Returns
        -------
        str
        """
        folder = self.parts.path.rpartition("/")[0]
        return urlunsplit(self.parts._replace(path=f"{folder}/{path}"))

    @property
    def is_local(self):
        """Whether it is on this machine, by its name."""
        name = self.parts.hostname
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost" or name.endswith(".localhost")

    @property
    def card_url(self):
        """Where it tells what it takes."""
        return self.beside("model")

    @property
    def health_urls(self):
        """Where it tells that it runs, and that it is ready."""
        return self.beside("health/live"), self.beside("health/ready")

    def body(self, rows):
        """Write rows as they are sent.

        Parameters
        ----------
        rows : dict, or list of dict

        Returns
        -------
        bytes

        Raises
        ------
        mlib.OptionError
            A value is none that JSON has.
        """
        return _write_json(rows)

    def open(self, status, headers, document):  # pylint: disable=unused-argument  # some kinds look at the headers
        """Take off what is around an answer.

        Parameters
        ----------
        status : int
        headers : mapping of str to str
        document : JSON value

        Returns
        -------
        status : int
        document : JSON value
            Of the model itself.
        """
        return status, document

    def answers(self, document, rows):
        """Find the predictions in an answer.

        Parameters
        ----------
        document : JSON value
        rows : dict, or list of dict
            What was asked.

        Returns
        -------
        list of dict, or None
            None where it is no answer to these rows.
        """
        if not isinstance(document, dict):
            return None
        found = [document.get("prediction")] if isinstance(rows, dict) else document.get("predictions")
        if not isinstance(found, list) or set(map(type, found)) != {dict}:
            return None
        return found if len(found) == (1 if isinstance(rows, dict) else len(rows)) else None


def _parts(url):
    try:
        parts = urlsplit(url)
        is_address = bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:  # a bracket that is not closed, a port that is no number
        is_address = False
    if not is_address:
        raise _no_address(url)
    return parts


class _Aws(Http):
    """What is asked with the credentials of AWS; `at` says where, once its region is known."""

    card_url = None
    health_urls = None
    is_local = False
    user = None
    region = None
    secrets = ()
    hint = "Is its name right, and the region?"

    def __init__(self, name):  # pylint: disable=super-init-not-called  # it has no address yet
        if not name.strip() or not name.isprintable() or " " in name or "/" in name:
            raise mlib.OptionError(
                f"{told(name.rpartition('@')[2])!r} is no name of a function or an endpoint; {EXPECTED}."
            )
        self.name = f"{type(self).__name__.lower()}:{name}"
        self.target = name
        self.url = None
        if name.startswith("arn:") and name.count(":") >= 5:
            self.region = name.split(":")[3]

    def at(self, origin):
        """Tell where the service is.

        Parameters
        ----------
        origin : str
            Such as ``https://lambda.eu-west-1.amazonaws.com``.
        """
        self.url = origin.rstrip("/") + self.path("")


class Lambda(_Aws):
    """A function on AWS Lambda: it gets a row, or a list of rows, as its event."""

    service = "lambda"

    def path(self, path):
        name, alias = self.target, ""
        if ":function:" not in name:  # which ARNs have, whole ones and those that begin with the account
            name, _, alias = name.partition(":")
        return f"/2015-03-31/functions/{quote(name, safe='')}/invocations" + (
            f"?Qualifier={quote(alias, safe='')}" if alias else ""
        )

    def open(self, status, headers, document):
        """The published answer has ``statusCode`` and ``body``; a function that failed says so in a header.

        `recipes/aws-lambda-sam/handler.py` raises RefusedError where it refuses rows.
        """
        if status == 200 and headers.get("X-Amz-Function-Error"):
            found = document if isinstance(document, dict) else {}
            kind, text = found.get("errorType", "the function failed"), found.get("errorMessage", "it does not say why")
            return 422 if kind == "RefusedError" else 500, {"detail": f"{kind}: {text}"}
        if status == 200 and isinstance(document, dict) and isinstance(document.get("statusCode"), int):
            body = document.get("body")
            if isinstance(body, str):
                try:
                    body = parse_json(base64.b64decode(body) if document.get("isBase64Encoded") else body)
                except ValueError:
                    body = None
            return document["statusCode"], body
        return status, document


class SageMaker(_Aws):
    """An endpoint of Amazon SageMaker, whose container has ``/invocations`` of this project's service."""

    service = "sagemaker-runtime"

    def path(self, path):
        return f"/endpoints/{quote(self.target, safe='')}/invocations"

    def open(self, status, headers, document):
        """An error of the container stands in one of SageMaker's."""
        if status == 424 and isinstance(document, dict) and isinstance(document.get("OriginalStatusCode"), int):
            text = str(document.get("OriginalMessage"))
            inner = parse_json(text)
            return document["OriginalStatusCode"], inner if isinstance(inner, dict) else {"detail": text}
        return status, document


class V2(Http):
    """A model that speaks the Open Inference Protocol; its metadata say which tensors it takes.

    Attributes
    ----------
    inputs : list of Tensor
        What it takes; empty until its metadata were read.
    """

    hint = "Is the model's name right?"

    def __init__(self, url):
        super().__init__(url[len("v2+") :])
        self.name = f"v2+{told(self.url.removesuffix('/infer'))}"
        self.inputs = []

    def path(self, path):
        path = path.rstrip("/").removesuffix("/infer")
        if "/v2/models/" not in path:
            raise mlib.OptionError(
                f"The path {path!r} is none of a model; expected v2+http://HOST:PORT/v2/models/NAME."
            )
        return f"{path}/infer"

    @property
    def card_url(self):
        return urlunsplit(self.parts._replace(path=self.parts.path.removesuffix("/infer")))

    @property
    def health_urls(self):
        root = self.parts.path.partition("/v2/models/")[0]
        return urlunsplit(self.parts._replace(path=f"{root}/v2/health/live")), self.beside("ready")

    def body(self, rows):
        rows = [rows] if isinstance(rows, dict) else rows
        datatypes = {tensor.name: tensor.datatype for tensor in self.inputs}
        names = list(dict.fromkeys(name for row in rows for name in row))
        for name in names:
            if datatypes and name not in datatypes:
                hint = mlib.did_you_mean(name, datatypes)
                raise mlib.OptionError(f"{self.name} takes no {name!r}; it takes {', '.join(datatypes)}.{hint}")
        columns = {name: [row.get(name) for row in rows] for name in names}
        return _write_json(
            {
                "inputs": [
                    {
                        "name": name,
                        "shape": [len(rows)],
                        "datatype": datatypes.get(name) or _datatype(values),
                        "data": values,
                    }
                    for name, values in columns.items()
                ]
            }
        )

    def answers(self, document, rows):
        count = 1 if isinstance(rows, dict) else len(rows)
        outputs = document.get("outputs") if isinstance(document, dict) else None
        if not isinstance(outputs, list) or not outputs:
            return None
        answers = [{} for _ in range(count)]
        for output in outputs:
            values = _values(output, count)
            if values is None:
                return None
            for answer, value in zip(answers, values, strict=True):
                answer[output["name"]] = value
        return answers


def _datatype(values):
    """The datatype of a column of JSON values."""
    kinds = {type(value) for value in values if value is not None}
    return {frozenset([bool]): "BOOL", frozenset([str]): "BYTES"}.get(frozenset(kinds), "FP64")


def _values(output, count):
    """A value a row: of one element itself, of the elements of named classes a dict, of others a list."""
    data = output.get("data") if isinstance(output, dict) else None
    if not isinstance(data, list) or not isinstance(output.get("name"), str):
        return None
    while data and all(isinstance(row, list) for row in data):
        if len(set(map(len, data))) > 1:  # rows of different lengths
            return None
        data = [value for row in data for value in row]
    if not data or not count or len(data) % count or any(isinstance(value, list) for value in data):
        return None
    width = len(data) // count
    if width == 1:
        return data
    rows = [data[at : at + width] for at in range(0, len(data), width)]
    parameters = output.get("parameters")
    classes = parse_json(parameters.get("classes") or "") if isinstance(parameters, dict) else None
    if isinstance(classes, list) and len(classes) == width:
        return [dict(zip(map(str, classes), row, strict=True)) for row in rows]
    return rows


class Tensor:
    """An input of a model that speaks the Open Inference Protocol, as an option of a command line has it.

    Parameters
    ----------
    card : dict
        ``name``, ``datatype`` and ``shape``, as metadata have them.

    Raises
    ------
    ValueError
        It is no such thing, or has more than one element a row.
    """

    missing = True  # metadata do not tell; the endpoint says what it lacks

    def __init__(self, card):
        self.name, self.datatype = str(card["name"]), str(card["datatype"])
        if any(size != 1 for size in card["shape"][1:]):
            raise ValueError(f"{self.name} has the shape {card['shape']}")
        self.kind = {"BYTES": "category", "BOOL": "boolean"}.get(self.datatype, "number")
        self.possible = self.range = self.datatype

    def parse(self, text, has_commas=False):
        """Make of a text what JSON has.

        Parameters
        ----------
        text : str
        has_commas : bool
            Whether a number may have a decimal comma.

        Returns
        -------
        JSON value
            None where a table has it for nothing; the text itself where it is no such value.
        """
        word = text.strip()
        if self.kind == "category":
            return text if word else None
        if word in mlib.MISSING:
            return None
        if self.kind == "boolean":
            return True if word.lower() in TRUE else False if word.lower() in FALSE else text
        try:
            number = float(word.replace(",", ".") if has_commas else word)
            if "INT" not in self.datatype:
                return number
            return int(number) if number.is_integer() and abs(number) < 2**53 else int(word)
        except ValueError:
            return text


class Tensors:
    """What such a model takes: read from its metadata, used as an `mlib.Signature` is.

    Parameters
    ----------
    card : dict
        The metadata.

    Raises
    ------
    mlib.ModelError
        They name no inputs of one value a row.
    """

    def __init__(self, card):
        try:
            self.name, self.version = str(card["name"]), str((card.get("versions") or [""])[-1])
            self.features = [Tensor(tensor) for tensor in card["inputs"]]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise mlib.ModelError(f"The model's metadata tell no inputs of one value a row ({error}).") from error
        if not self.features:
            raise mlib.ModelError("The model's metadata tell no inputs.")
        self.card = card

    def example(self):
        """Show what the values are; metadata tell none that would be answered.

        Returns
        -------
        dict of str to str
            Such as ``{"Weight": "FP64"}``.
        """
        return {tensor.name: tensor.datatype for tensor in self.features}

    def parse_row(self, row, has_commas=False):
        """Make of a row of text what JSON would have; as of `mlib.Signature`.

        Parameters
        ----------
        row : mapping of str to str or None
        has_commas : bool

        Returns
        -------
        dict of str to JSON value
        """
        tensors = {tensor.name: tensor for tensor in self.features}
        return {
            name: tensors[name].parse(text, has_commas) if name in tensors and isinstance(text, str) else text
            for name, text in row.items()
        }
