"""Which labels does a picture get that is put into S3?

S3 tells a queue of it, the queue calls ``labels.lambda_handler``, Rekognition finds the labels, and the bucket that
``LABELS_BUCKET`` names gets them: those of ``cats/tom.jpg`` as ``cats/tom.jpg.json``. Of a picture that Rekognition
does not take, that file says why. What may succeed later is answered as a failure of its message alone, which comes
again; what still fails then is left in the dead-letter queue. Messages may come twice, and in any order: the file is
then written again, from what lies in S3 at that time.
"""

import json
import logging
import os
from urllib.parse import unquote_plus

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

LARGEST = 15 * 1024**2  # bytes; of a larger picture in S3 Rekognition's answer is known
# What is wrong with the picture, and will be the next time. All else may be over then, or mended by somebody.
REFUSALS = {"InvalidImageFormatException", "ImageTooLargeException", "InvalidParameterException"}
# Twice at most here (a moment later is enough where calls are throttled), then the queue waits for longer.
PATIENCE = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
LONGEST_KEY = 1024  # bytes, S3's limit
LONGEST = 50_000  # milliseconds for one picture: two calls, both tried twice, of 12 seconds, and a pause of one between

log = logging.getLogger(__name__)
# Once for all invocations: making it takes longer than asking.
rekognition = boto3.client("rekognition", config=PATIENCE)
s3 = boto3.client("s3", config=PATIENCE)


def lambda_handler(event, context):
    """Label all pictures that the messages of a queue tell of.

    Parameters
    ----------
    event : dict
        Of SQS, such as ``events/sqs.json``; or of S3, where a bucket calls the function itself.
    context : object
        Of Lambda's; it knows how much time is left.

    Returns
    -------
    dict
        Which messages come again, as Lambda wants it told: ``{"batchItemFailures": [{"itemIdentifier": "59da..."}]}``.
        None for an event of S3.

    Raises
    ------
    RuntimeError
        If an event of S3 was not done with; Lambda repeats such an event as a whole.
    """
    records = event.get("Records", [])  # S3's test event has none
    if not records or "s3" in records[0]:
        done = [_is_done(record, context) for record in records]
        if not all(done):
            raise RuntimeError("Not every picture of the event was done with; the log says which")
        return None
    failed = [message["messageId"] for message in records if not _handled(message, context)]
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}


def _handled(message, context):
    """Handle a message of the queue; tell whether it is done with."""
    try:
        notice = json.loads(message["body"])
        # S3 writes that once to a queue that it is told to use.
        records = [] if notice.get("Event") == "s3:TestEvent" else notice["Records"]
        done = [_is_done(record, context, message["messageId"]) for record in records]
    except Exception:  # pylint: disable=broad-exception-caught  # whatever is wrong with one, the others are labelled
        log.exception("not understood, comes again", extra={"message_id": message["messageId"]})
        return False
    return all(done)


def _is_done(record, context, message_id=None):
    """Label the picture that a record tells of; tell whether it is done with, whatever is wrong with the record."""
    try:
        return _labelled(record, context)
    except Exception:  # pylint: disable=broad-exception-caught  # as above
        log.exception("not understood, comes again", extra={"message_id": message_id})
        return False


def _labelled(record, context):
    """Label the picture that a record tells of; tell whether it is done with."""
    picture = record["s3"]["object"]
    # In notices, keys are written as in a form: a space as +, and whatever else is special by its UTF-8 bytes.
    key = unquote_plus(picture["key"], errors="strict")
    where = {"bucket": record["s3"]["bucket"]["name"], "key": key}
    if picture.get("versionId"):  # the bucket keeps versions
        where["version"] = picture["versionId"]
    if where["bucket"] == os.environ["LABELS_BUCKET"]:
        raise ValueError(f"LABELS_BUCKET: got {where['bucket']}, where pictures come from, expected another bucket")
    if not record["eventName"].startswith("ObjectCreated:") or key.endswith("/"):  # such is a folder in S3's console
        log.info("no picture was put", extra={**where, "event": record["eventName"]})
        return True
    if context.get_remaining_time_in_millis() < LONGEST:
        log.warning("no time left, comes again", extra=where)
        return False
    name = _name(where)
    try:
        found = _refused(picture["size"]) or _detected(where)
        _keep(name, {**where, **found})
    except (ClientError, BotoCoreError) as error:
        log.error("comes again", extra={**where, "error": str(error)})  # a traceback would say no more
        return False
    if "refused" in found:
        log.warning("refused", extra={**where, **found})
    else:
        log.info("labelled", extra={**where, "labels": len(found["labels"])})
    return True


def _refused(size):
    """Say why a picture of so many bytes has no labels, if its size alone tells; nobody is asked, or paid, for that."""
    if size == 0:
        return {"refused": "got an empty file, expected a picture"}
    if size > LARGEST:
        return {"refused": f"got {size:,} bytes, expected {LARGEST:,} at most"}
    return None


def _detected(where):
    """Ask Rekognition for labels; give them as they are, or why there are none."""
    place = {"Bucket": where["bucket"], "Name": where["key"]}
    if "version" in where:
        place["Version"] = where["version"]
    try:
        answer = rekognition.detect_labels(Image={"S3Object": place})
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSALS:
            raise
        return {"refused": str(error)}
    return {"labels": answer["Labels"], "model": answer["LabelModelVersion"]}


def _name(where):
    """Name the file of what is found; each version has its own, as nobody knows which of them is labelled last."""
    name = ".".join([where["key"], *([where["version"]] if "version" in where else []), "json"])
    if len(name.encode()) > LONGEST_KEY:
        raise ValueError(f"The key of the labels, {name}, has over {LONGEST_KEY:,} bytes; name the picture shorter")
    return name


def _keep(name, document):
    """Write what was found."""
    s3.put_object(
        Bucket=os.environ["LABELS_BUCKET"],
        Key=name,
        Body=json.dumps(document, ensure_ascii=False, indent=1).encode(),
        ContentType="application/json",
    )
