"""How is a model retrained, judged, taken into use and announced, each by a function on AWS Lambda?

A state machine, pipeline.asl.json, calls the functions one after the other. Each takes what the one before it answered
and adds what it found. Tables and models stay in S3, and only their names go along:

>>> event = {"bucket": "somebodys-models", "key": "tables/htwtmlb.csv", "target": "Height"}
>>> notify(promote(gate(retrain(event))))["outcome"]
'promoted'

In the bucket, a model's name being that of its table and target, and its version that of all it was made from:

    models/htwtmlb-height/3f0c.../model.joblib, model.onnx   the model, and its compiled form where it has one
    models/htwtmlb-height/3f0c.../model.json                 what is known of it; written last, so it is whole
    models/htwtmlb-height/current.json                       the promoted one's model.json, and its predecessor

The same event twice is the same version, so it changes nothing the second time.
"""

import hashlib
import inspect
import json
import numbers
import os
import sys
import tempfile

import boto3
from botocore.exceptions import ClientError, ParamValidationError

import mlib

TOO_MUCH = {"Sandbox.Timedout", "States.Timeout", "Runtime.ExitError", "Runtime.OutOfMemory"}  # so Lambda names it


class Overtaken(mlib.Error):
    """Another model was promoted since the gate looked. Look again."""


# ------------------------------------------------------------------------------------------------- the functions


def retrain(event, _context=None):
    """Train a model on a table in S3, and keep it there as a candidate.

    Parameters
    ----------
    event : dict
        ``bucket``, ``key`` and ``target``, texts; and if it is wanted ``options`` (of `mlib.retrain`), ``least`` and
        ``slack``, as `FIELDS` has them.

    Returns
    -------
    dict
        The event, and ``candidate``: ``name``, ``version``.

    Raises
    ------
    mlib.InputError
        The event lacks something, or has what is not known.
    mlib.DataError, mlib.OptionError, mlib.GateError
        There is no such table, or it cannot be trained on like this; or R² is below ``min_r2``, if that was an option.
    """
    _check(event)
    s3, bucket = boto3.client("s3"), event["bucket"]
    with tempfile.TemporaryDirectory() as tables, tempfile.TemporaryDirectory() as models:
        table, path = os.path.join(tables, os.path.basename(event["key"])), os.path.join(models, "model.joblib")
        _download(s3, bucket, event["key"], table)
        options = {name: value for name, value in (event.get("options") or {}).items() if value is not None}
        try:
            mlib.retrain(model_name=path, data=table, target=event["target"], **options)
        except mlib.Error as error:  # the caller knows the table by another name than that of a temporary file
            raise type(error)(str(error).replace(table, f"s3://{bucket}/{event['key']}")) from None
        signature = mlib.Signature.read(path)
        folder = f"models/{signature.name}/{signature.version}"
        if _read(s3, bucket, f"{folder}/model.json")[0] is None:
            _upload(s3, bucket, folder, signature, models)
    return event | {"candidate": {"name": signature.name, "version": signature.version}}


def gate(event, _context=None):
    """Tell whether the candidate is good enough to take the place of the promoted model.

    Parameters
    ----------
    event : dict
        As `retrain` answers it.

    Returns
    -------
    dict
        The event, and ``gate``: whether it ``held``, ``why`` not, and which pointer was ``seen`` (its ETag).
    """
    s3, bucket, name = boto3.client("s3"), event["bucket"], event["candidate"]["name"]
    candidate = _model(s3, bucket, event["candidate"])
    promoted, seen = _read(s3, bucket, _pointer(name))
    why = _objection(candidate, promoted, event.get("least"), event.get("slack") or 0)
    return event | {"gate": {"held": why is None, "why": why, "seen": seen}}


def promote(event, _context=None):
    """Make a model the current one, by writing one object; its predecessor's version is kept in it.

    Parameters
    ----------
    event : dict
        ``bucket``, ``candidate``; and ``gate`` as `gate` answers it: the pointer has to be as that saw it. Without
        ``gate`` it is done whatever is promoted, for a person who rolls back.

    Returns
    -------
    dict
        The event, and ``promoted``: ``version`` and ``previous``.

    Raises
    ------
    Overtaken
        Another one was promoted in the meantime.
    mlib.ModelError
        There is no such model.
    ClientError
        S3 refuses for another reason.
    """
    s3, bucket, name = boto3.client("s3"), event["bucket"], event["candidate"]["name"]
    chosen = _model(s3, bucket, event["candidate"])
    current, etag = _read(s3, bucket, _pointer(name))
    if not current or current["version"] != chosen["version"]:  # it is, when this is tried again after it was done
        if event.get("gate", {"seen": etag})["seen"] != etag:
            raise Overtaken(f"{name}: {current['version'] if current else 'nothing'} is promoted now.")
        current = chosen | {"previous": current and current["version"]}
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        try:
            s3.put_object(Bucket=bucket, Key=_pointer(name), Body=_bytes(current), **condition)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 409, 412):  # gone, at once, changed
                raise
            if _read(s3, bucket, _pointer(name))[0] != current:  # else it was this one, asked twice by boto3 itself
                raise Overtaken(f"{name}: another model was promoted at the same moment.") from error
    return event | {"promoted": {"version": current["version"], "previous": current["previous"]}}


def notify(event, _context=None):
    """Tell people, by the topic TOPIC_ARN on SNS, what became of it.

    Parameters
    ----------
    event : dict
        As `promote` or `gate` answered it; or with ``error`` (``Error``, ``Cause``), as Step Functions caught it.

    Returns
    -------
    dict
        The event, ``outcome`` ("promoted", "kept" or "failed"), and the text that was ``said``.
    """
    outcome, reason = _outcome(event)
    model = event.get("candidate", {})
    name = model.get("name") or f"{event.get('key', 'no table')}, {event.get('target', 'no target')}"
    lines = [f"{name}: {outcome}. {reason}"]
    if model:
        lines.append(f"Candidate: s3://{event['bucket']}/models/{model['name']}/{model['version']}/")
    lines.append(f"Table: s3://{event.get('bucket')}/{event.get('key')}, target {event.get('target')}")
    subject = mlib.printable(f"{outcome}: {name}").encode("ascii", "replace").decode()[:99]  # SNS allows less than 100
    said = "\n".join(lines)
    boto3.client("sns").publish(TopicArn=os.environ["TOPIC_ARN"], Subject=subject, Message=said)
    return event | {"outcome": outcome, "said": said}


# ---------------------------------------------------------------------------------------------------- the event


def _is_text(value):
    return isinstance(value, str) and bool(value.strip())


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _are_texts(value):
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _has_texts(value):
    return isinstance(value, dict) and all(map(_is_text, value.values()))


FIELDS = {  # of an event: whether a value fits, and what is expected
    "bucket": (_is_text, "the name of a bucket on S3"),
    "key": (
        lambda value: _is_text(value) and os.path.basename(value) not in ("", ".", ".."),
        "the key of a table in the bucket, such as tables/htwtmlb.csv",
    ),
    "target": (_is_text, "the column to predict, such as Height"),
    "options": (lambda value: isinstance(value, dict), 'an object of options of retrain, such as {"seed": 3}'),
    "least": (_is_number, "a number: the least held-out R², or accuracy of classes, of a model that is promoted"),
    "slack": (
        lambda value: _is_number(value) and value >= 0,
        "a number from 0: by how much R², or accuracy, may be below that of the promoted model",
    ),
}
REQUIRED = {"bucket", "key", "target"}
_COLUMNS, _TEXT = (_are_texts, "a list of columns"), (_is_text, "a text")
OPTIONS = {  # of retrain, but those that are the event's; what it tells itself of a value is not told here
    **dict.fromkeys(inspect.signature(mlib.retrain).parameters, (lambda value: True, "")),
    **dict.fromkeys(("features", "drop", "category"), _COLUMNS),
    **dict.fromkeys(("encoding", "estimator"), _TEXT),
    "units": (_has_texts, 'an object of columns and their units, such as {"Height": "cm"}'),
    "parameters": (lambda value: isinstance(value, dict), "an object of the estimator's parameters"),
    "calibrate": (lambda value: isinstance(value, bool), "true or false"),
    "min_r2": (_is_number, "a number of at most 1"),
}
for _name in ("data", "model_name", "target", "progress"):
    del OPTIONS[_name]


def _check(event):
    """Raise for all that can be told of an event before anything is fetched."""
    if not isinstance(event, dict):
        expected = f"an object with {', '.join(sorted(REQUIRED))}"
        raise mlib.InputError([{"field": "(event)", "got": mlib.shown(event), "expected": expected}])
    problems = _problems(event, FIELDS, REQUIRED)
    if isinstance(event.get("options"), dict):
        problems += _problems(event["options"], OPTIONS)
    if problems:
        raise mlib.InputError(problems)


def _problems(given, fields, required=()):
    found = [
        {"field": name, "got": mlib.shown(given.get(name)), "expected": expected}
        for name, (fits, expected) in fields.items()
        if (name in required if given.get(name) is None else not fits(given[name]))
    ]
    for name in sorted(given.keys() - fields):
        expected = f"one of {', '.join(fields)}.{mlib.did_you_mean(name, fields)}"
        found.append({"field": name, "got": mlib.shown(given[name]), "expected": expected})
    return found


# -------------------------------------------------------------------------------------------- judging and telling


def _objection(candidate, promoted, least, slack):
    """Tell why a candidate is not to be promoted; None where it is."""
    metric, score, always = (candidate[key] for key in ("metric", "score", "always"))
    held = f"{metric} is {score} on {candidate['n']} held-out rows"
    why = None
    if promoted and promoted["version"] == candidate["version"]:
        why = "It is the promoted one already."
    elif score is None:
        why = f"{metric} is undefined on {candidate['n']} held-out rows."
    elif not score > always:
        why = f"{held}, no better than answering always the same ({always})."
    elif least is not None and not score >= least:
        why = f"{held}, below the {least:g} that was asked for."
    elif promoted and promoted["metric"] != metric:
        why = f"It is judged by {metric}, the promoted one by {promoted['metric']}: they cannot be compared."
    elif promoted and promoted["score"] is not None and not score >= promoted["score"] - slack:
        less = f" less {slack:g}" if slack else ""
        why = f"{held}, below the {promoted['score']}{less} of the promoted {promoted['version']}."
    return why


def _outcome(event):
    """Tell what became of a model, and why, in words for people."""
    error = event.get("error")
    if error:
        try:
            why = json.loads(error["Cause"])["errorMessage"]  # of a function's error Lambda tells more, as JSON
        except (KeyError, TypeError, ValueError):
            why = error.get("Cause") or error["Error"]
        if error["Error"] == "GateError":  # a gate of the options, such as min_r2
            return "kept", why
        hint = " (Give the function more time or memory, or train elsewhere.)" if error["Error"] in TOO_MUCH else ""
        return "failed", f"{why}{hint}"
    if not event["gate"]["held"]:
        return "kept", event["gate"]["why"]
    previous = event["promoted"]["previous"]
    return "promoted", f"Before it: {previous}." if previous else "It is the first."


# ------------------------------------------------------------------------------------------------------------- S3


def _pointer(name):
    return f"models/{name}/current.json"


def _rounded(score):
    return score if score is None else round(score, 4)  # as people read it, so that what is said is what was compared


def _bytes(document):
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1).encode()


def _read(s3, bucket, key):
    """Read a document and its ETag; two None where it is not there."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return None, None
    return json.load(answer["Body"]), answer["ETag"]


def _model(s3, bucket, model):
    """Read what is known of a model."""
    key = f"models/{model['name']}/{model['version']}/model.json"
    found, _ = _read(s3, bucket, key)
    if found is None:
        raise mlib.ModelError(f"There is no s3://{bucket}/{key}: no such model was trained, or not to the end.")
    return found


def _download(s3, bucket, key, path):
    """Fetch a table; say plainly where there is none."""
    where = f"s3://{bucket}/{key}"
    try:
        s3.download_file(bucket, key, path)
    except ParamValidationError as error:
        raise mlib.DataError(f"{where} cannot be: {error}") from error
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            raise mlib.DataError(f"There is no {where}. Upload it: aws s3 cp TABLE {where}") from error
        if status == 403:
            raise mlib.DataError(f"{where} may not be read by this function. Name its own bucket.") from error
        raise


def _upload(s3, bucket, folder, signature, models):
    """Keep a model, and last what is known of it: where that is, all is."""
    files = {}
    for name in sorted(os.listdir(models)):  # model.joblib, and model.onnx where it could be compiled
        with open(os.path.join(models, name), "rb") as file:
            content = file.read()
        s3.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=content)
        files[name] = hashlib.sha256(content).hexdigest()
    key, (metric, _) = next(iter(mlib.METRICS[signature.task].items()))  # the first is the one that retrain returns
    known = {
        "name": signature.name,
        "version": signature.version,
        "metric": metric,
        "score": _rounded(signature.metrics[key]),
        "always": _rounded(signature.baseline[key]),
        "n": signature.metrics["n"],
        "files": files,
        "data": signature.data,
    }
    s3.put_object(Bucket=bucket, Key=f"{folder}/model.json", Body=_bytes(known))
