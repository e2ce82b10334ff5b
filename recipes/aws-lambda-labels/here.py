"""What does the function make of a picture, without AWS?  ``python here.py docs/page-light.png`` shows it.

moto stands in for AWS, on loopback: its S3 keeps the picture and tells its SQS, whose messages go to the function as
Lambda's poller hands them over. The function asks moto's Rekognition, which finds a mobile phone in whatever it is
shown.
"""

import json
import logging
import os
from pathlib import Path

import boto3
import click
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
# Taken for nobody's account, and for no other address.
SETTINGS = {"AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "here", "AWS_SECRET_ACCESS_KEY": "here"}


class Time:
    """What Lambda tells a function of its invocation: here, that there is time."""

    @staticmethod
    def get_remaining_time_in_millis():
        """Give the template's timeout."""
        return 120_000


def arranged(s3, sqs, name):
    """Make a bucket that tells a queue what is put into it, and one for labels; give the queue's address.

    Parameters
    ----------
    s3, sqs : boto3 clients
    name : str
        What the names begin with: ``NAME-pictures``, ``NAME-labels`` and the queue ``NAME``.
    """
    place = {"LocationConstraint": REGION}
    for bucket in (f"{name}-pictures", f"{name}-labels"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=f"{name}-pictures", NotificationConfiguration=told)
    return url


def received(sqs, url):
    """Receive up to ten messages of a queue; give them as Lambda hands them to a function."""
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": REGION,
            }
            for message in got.get("Messages", [])
        ]
    }


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def show(pictures):
    """Put PICTURES into a bucket here; show what the function writes of them."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or moto's server tells every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        os.environ.pop("AWS_PROFILE", None)
        os.environ.update(SETTINGS, AWS_ENDPOINT_URL=f"http://{host}:{port}", LABELS_BUCKET="here-labels")
        s3, sqs = boto3.client("s3"), boto3.client("sqs")
        queue = arranged(s3, sqs, "here")
        for picture in pictures:
            s3.put_object(Bucket="here-pictures", Key=picture.name, Body=picture.read_bytes())
        import labels  # it makes its clients now

        while (event := received(sqs, queue))["Records"]:  # ten at a time; S3's test event is one, too
            answer = labels.lambda_handler(event, Time())
            click.echo(f"moto stands in for AWS. The function answered {json.dumps(answer)}", err=True)
        for kept in s3.list_objects_v2(Bucket="here-labels").get("Contents", []):
            document = json.load(s3.get_object(Bucket="here-labels", Key=kept["Key"])["Body"])
            click.echo(f"{kept['Key']}: {json.dumps(document)}")
    finally:
        server.stop()


if __name__ == "__main__":
    show.main()
