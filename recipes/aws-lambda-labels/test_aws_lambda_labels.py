"""Does every picture that is put into S3 get its labels, once it can?

moto's S3 tells moto's SQS, and what is received there goes to the function as Lambda's poller hands it over.
Rekognition is botocore's Stubber, which holds requests and answers against the service's model; or moto's, where the
function runs by Lambda's own runtime client, under Lambda's emulator.
"""

import contextlib
import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import boto3
import pytest
import requests
import yaml
from botocore.stub import Stubber
from conftest import ENVIRONMENT
from consoles import copied, untrue, with_venv
from emulator import MARK, emulated
from here import SETTINGS, Time, arranged, received
from moto.server import ThreadedMotoServer
from sam import sam
from standins import FREE, standin

HERE = Path(__file__).parent
NUMBERS = itertools.count()  # of buckets and queues, which moto keeps for all tests
EVENT = json.loads((HERE / "events/sqs.json").read_text())
CAT = [{"Name": "Cat", "Confidence": 98.5, "Instances": [], "Parents": [{"Name": "Animal"}]}]
ANSWER = {"Labels": CAT, "LabelModelVersion": "3.0"}
KEYS = [
    "cat.jpg",
    "two cats.jpg",
    "1+1.jpg",
    "a%2Bb.jpg",
    "100%.png",
    "Größe/Käthe.jpg",
    "山田/猫.png",
    "a//b/../c.jpg",
    'it\'s "quoted" & <marked>;?#=.jpg',
    " padded .jpg",
    "👩‍🚀.jpeg",
]
FUNCTION_ROLE = {"rekognition:DetectLabels", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"}


@pytest.fixture(name="moto", scope="module")
def _moto():
    """The address of moto's server, in the place of AWS for this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in FREE:
            patch.delenv(name, raising=False)
        for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield os.environ["AWS_ENDPOINT_URL"]
    server.stop()


@pytest.fixture(name="clients", scope="module")
def _clients(moto):
    """Those of S3 and SQS."""
    return [boto3.client(service, endpoint_url=moto) for service in ("s3", "sqs")]


@pytest.fixture(name="aws")
def _aws(clients, monkeypatch):
    """Buckets and a queue of a test's own; the queue has got its test event."""
    s3, sqs = clients
    name = f"test-{next(NUMBERS)}"
    monkeypatch.setenv("LABELS_BUCKET", f"{name}-labels")
    queue = arranged(s3, sqs, name)
    tested = received(sqs, queue)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=tested["Records"][0]["receiptHandle"])
    return types.SimpleNamespace(
        s3=s3, sqs=sqs, queue=queue, pictures=f"{name}-pictures", labels=f"{name}-labels", tested=tested
    )


@pytest.fixture(name="module", scope="module")
def _module(moto):
    """The function's module, as Lambda has started it."""
    assert moto
    sys.modules.pop("labels", None)
    return importlib.import_module("labels")


@pytest.fixture(name="function")
def _function(aws, module):
    """The function, whose Rekognition is stubbed."""
    assert aws
    with Stubber(module.rekognition) as stubber:
        yield types.SimpleNamespace(module=module, rekognition=stubber)
        stubber.assert_no_pending_responses()


def put(aws, *keys, body=b"a picture"):
    """Put a picture at each key; give the event that the function gets of them."""
    for key in keys:
        aws.s3.put_object(Bucket=aws.pictures, Key=key, Body=body)
    return received(aws.sqs, aws.queue)


def asked(bucket, key, **version):
    """Give what Rekognition has to be asked."""
    return {"Image": {"S3Object": {"Bucket": bucket, "Name": key, **version}}}


def kept(aws):
    """Read all files of labels, by name."""
    names = [found["Key"] for found in aws.s3.list_objects_v2(Bucket=aws.labels).get("Contents", [])]
    return {name: json.load(aws.s3.get_object(Bucket=aws.labels, Key=name)["Body"]) for name in names}


def messages(*bodies):
    """Give the event of messages; their ids are 0, 1, 2."""
    return {"Records": [{**EVENT["Records"][0], "messageId": str(at), "body": body} for at, body in enumerate(bodies)]}


def notice(*keys, bucket="pictures", name="ObjectCreated:Put", **picture):
    """Give what S3 writes of pictures at some keys, which are encoded already."""
    records = [
        {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 9, **picture}}}
        for key in keys
    ]
    return json.dumps({"Records": records})


def failures(answer):
    """Give the messages that come again."""
    assert set(answer) == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def logged(caplog):
    """Give the function's own records of the log."""
    return [record for record in caplog.records if record.name == "labels"]


def told(caplog):
    """Give what the function logged, and of what keys."""
    return [(record.levelname, record.getMessage(), getattr(record, "key", None)) for record in logged(caplog)]


# --------------------------------------------------------------------------------------------------- what is labelled


@pytest.mark.parametrize("key", KEYS)
def test_a_picture_is_labelled_whatever_its_key(aws, function, key):
    function.rekognition.add_response("detect_labels", ANSWER, asked(aws.pictures, key))
    assert failures(function.module.lambda_handler(put(aws, key), Time())) == []
    document = {"bucket": aws.pictures, "key": key, "labels": CAT, "model": "3.0"}
    assert kept(aws) == {f"{key}.json": document}
    found = aws.s3.get_object(Bucket=aws.labels, Key=f"{key}.json")
    assert found["ContentType"] == "application/json"
    assert key.encode() in found["Body"].read().replace(b'\\"', b'"')  # people can read it


def test_all_pictures_of_a_batch_are_labelled(aws, function):
    event = put(aws, *(f"{number}.jpg" for number in range(10)))
    assert len(event["Records"]) == 10
    for record in event["Records"]:
        key = json.loads(record["body"])["Records"][0]["s3"]["object"]["key"]
        function.rekognition.add_response("detect_labels", ANSWER, asked(aws.pictures, key))
    assert failures(function.module.lambda_handler(event, Time())) == []
    assert sorted(kept(aws)) == [f"{number}.jpg.json" for number in range(10)]


def test_all_pictures_of_one_message_are_labelled(aws, function):
    for key in ("a b.jpg", "c.jpg"):
        function.rekognition.add_response("detect_labels", ANSWER, asked("pictures", key))
    assert failures(function.module.lambda_handler(messages(notice("a+b.jpg", "c.jpg")), Time())) == []
    assert list(kept(aws)) == ["a b.jpg.json", "c.jpg.json"]


def test_the_event_as_aws_sends_it_is_taken(aws, function):
    """A test event, a picture with a difficult key, and one of a version, beside a folder."""
    version = "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    function.rekognition.add_response("detect_labels", ANSWER, asked("example-pictures", "grüße/Tom & Jerry+1.jpg"))
    function.rekognition.add_response(
        "detect_labels", ANSWER, asked("example-pictures", "cats/tom.png", Version=version)
    )
    assert failures(function.module.lambda_handler(EVENT, Time())) == []
    documents = kept(aws)
    assert sorted(documents) == [f"cats/tom.png.{version}.json", "grüße/Tom & Jerry+1.jpg.json"]
    assert documents[f"cats/tom.png.{version}.json"]["version"] == version


def test_the_same_message_twice_leaves_the_same_file(aws, function):
    event = put(aws, "cat.jpg")
    files = []
    for _ in range(2):
        function.rekognition.add_response("detect_labels", ANSWER, asked(aws.pictures, "cat.jpg"))
        assert failures(function.module.lambda_handler(event, Time())) == []
        files.append(aws.s3.get_object(Bucket=aws.labels, Key="cat.jpg.json")["Body"].read())
    assert files[0] == files[1]
    assert len(kept(aws)) == 1


def test_a_picture_without_labels_has_an_empty_list(aws, function):
    function.rekognition.add_response("detect_labels", {**ANSWER, "Labels": []})
    assert failures(function.module.lambda_handler(put(aws, "fog.jpg"), Time())) == []
    assert kept(aws)["fog.jpg.json"]["labels"] == []


def test_s3_may_call_the_function_itself(aws, function):
    event = json.loads(notice("a+b.jpg", "c.jpg"))
    for _ in range(2):
        function.rekognition.add_response("detect_labels", ANSWER)
    assert function.module.lambda_handler(event, Time()) is None
    assert list(kept(aws)) == ["a b.jpg.json", "c.jpg.json"]
    function.rekognition.add_client_error("detect_labels", "ThrottlingException")
    function.rekognition.add_response("detect_labels", ANSWER)
    with pytest.raises(RuntimeError, match="Not every picture"):
        function.module.lambda_handler(event, Time())


# ------------------------------------------------------------------------------------------------ what is no picture


def test_the_test_event_of_s3_is_accepted(aws, function, caplog):
    assert [json.loads(record["body"])["Event"] for record in aws.tested["Records"]] == ["s3:TestEvent"]
    assert failures(function.module.lambda_handler(aws.tested, Time())) == []
    assert (kept(aws), told(caplog)) == ({}, [])


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "ObjectTagging:Put", "ObjectRestore:Completed"])
def test_other_events_and_folders_are_passed_over(aws, function, caplog, name):
    caplog.set_level("INFO", "labels")
    event = messages(notice("cat.jpg", name=name), notice("cats/", size=0))
    assert failures(function.module.lambda_handler(event, Time())) == []
    assert kept(aws) == {}
    assert told(caplog) == [("INFO", "no picture was put", "cat.jpg"), ("INFO", "no picture was put", "cats/")]


@pytest.mark.parametrize("code", ["InvalidImageFormatException", "ImageTooLargeException", "InvalidParameterException"])
def test_what_rekognition_refuses_is_answered_with_the_reason_and_does_not_come_again(aws, function, caplog, code):
    function.rekognition.add_client_error("detect_labels", code, "Request has such a picture")
    assert failures(function.module.lambda_handler(put(aws, "words.txt"), Time())) == []
    document = kept(aws)["words.txt.json"]
    assert set(document) == {"bucket", "key", "refused"}
    assert f"({code})" in document["refused"]
    assert "Request has such a picture" in document["refused"]
    assert told(caplog) == [("WARNING", "refused", "words.txt")]


def test_of_sizes_that_cannot_be_rekognition_is_not_asked(aws, function):
    event = messages(notice("none.jpg", size=0), notice("large.jpg", size=15_728_641))
    assert failures(function.module.lambda_handler(event, Time())) == []
    assert {name: document["refused"] for name, document in kept(aws).items()} == {
        "none.jpg.json": "got an empty file, expected a picture",
        "large.jpg.json": "got 15,728,641 bytes, expected 15,728,640 at most",
    }


def test_the_largest_picture_is_asked_for(aws, function):
    function.rekognition.add_response("detect_labels", ANSWER)
    assert failures(function.module.lambda_handler(messages(notice("a.jpg", size=15_728_640)), Time())) == []
    assert "labels" in kept(aws)["a.jpg.json"]


# --------------------------------------------------------------------------------------------------- what comes again


@pytest.mark.parametrize(
    "code",
    [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "InternalServerError",
        "AccessDeniedException",
        "InvalidS3ObjectException",
        "SomethingNew",
    ],
)
def test_what_fails_comes_again_and_nothing_else_does(aws, function, caplog, code):
    event = messages(notice("a.jpg"), notice("b.jpg"), notice("c.jpg"))
    function.rekognition.add_response("detect_labels", ANSWER, asked("pictures", "a.jpg"))
    function.rekognition.add_client_error("detect_labels", code)
    function.rekognition.add_response("detect_labels", ANSWER, asked("pictures", "c.jpg"))
    assert failures(function.module.lambda_handler(event, Time())) == ["1"]
    assert list(kept(aws)) == ["a.jpg.json", "c.jpg.json"]
    assert told(caplog) == [("ERROR", "comes again", "b.jpg")]
    assert code in logged(caplog)[0].error


def test_a_picture_that_fails_does_not_hold_up_the_next_of_its_message(aws, function):
    event = messages(notice("a.jpg", "b.jpg"))
    function.rekognition.add_client_error("detect_labels", "ThrottlingException")
    function.rekognition.add_response("detect_labels", ANSWER, asked("pictures", "b.jpg"))
    assert failures(function.module.lambda_handler(event, Time())) == ["0"]
    assert list(kept(aws)) == ["b.jpg.json"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "null",
        "[]",
        "{}",
        '{"Records": [{}]}',
        '{"Records": null}',
        notice("%FF.jpg"),
        notice("cat.jpg", bucket="LABELS"),
    ],
)
def test_a_message_that_is_not_s3s_comes_again_until_a_person_sees_it(aws, function, caplog, body):
    event = messages(body.replace("LABELS", aws.labels), notice("a.jpg"))
    function.rekognition.add_response("detect_labels", ANSWER, asked("pictures", "a.jpg"))
    assert failures(function.module.lambda_handler(event, Time())) == ["0"]
    assert list(kept(aws)) == ["a.jpg.json"]
    assert told(caplog) == [("ERROR", "not understood, comes again", None)]
    assert logged(caplog)[0].exc_info  # what was wrong, and where
    assert logged(caplog)[0].message_id == "0"


def test_a_record_that_is_none_does_not_keep_the_next_ones_of_its_message_back(aws, function):
    event = messages(notice("%FF.jpg"))
    notices = [json.loads(notice(key))["Records"][0] for key in ("%FF.jpg", "b.jpg")]
    event["Records"][0]["body"] = json.dumps({"Records": notices})
    function.rekognition.add_response("detect_labels", ANSWER, asked("pictures", "b.jpg"))
    assert failures(function.module.lambda_handler(event, Time())) == ["0"]
    assert list(kept(aws)) == ["b.jpg.json"]


def test_a_key_that_leaves_no_room_for_the_labels_is_told_before_anybody_is_asked(aws, function, caplog):
    event = messages(notice("ä" * 510 + ".jpg"))
    assert failures(function.module.lambda_handler(event, Time())) == ["0"]
    assert not list(kept(aws))
    assert "1,024 bytes" in str(logged(caplog)[0].exc_info[1])


def test_the_test_event_of_s3_may_come_to_the_function_itself(function):
    assert function.module.lambda_handler({"Service": "Amazon S3", "Event": "s3:TestEvent"}, Time()) is None


def test_labels_that_cannot_be_kept_come_again(aws, function, caplog, monkeypatch):
    monkeypatch.setenv("LABELS_BUCKET", "no-such-bucket")
    function.rekognition.add_response("detect_labels", ANSWER)
    event = put(aws, "cat.jpg")
    assert failures(function.module.lambda_handler(event, Time())) == [event["Records"][0]["messageId"]]
    assert "NoSuchBucket" in logged(caplog)[0].error


def test_what_there_is_no_time_for_is_given_back_unasked(aws, function, caplog):
    """The first picture takes its time; Lambda would end the second in its middle, and the first would come again."""
    left = iter([50_000, 49_999])
    ending = types.SimpleNamespace(get_remaining_time_in_millis=lambda: next(left))
    function.rekognition.add_response("detect_labels", ANSWER, asked("pictures", "a.jpg"))
    answer = function.module.lambda_handler(messages(notice("a.jpg"), notice("b.jpg")), ending)
    assert failures(answer) == ["1"]
    assert list(kept(aws)) == ["a.jpg.json"]
    assert told(caplog) == [("WARNING", "no time left, comes again", "b.jpg")]


@pytest.mark.parametrize(("refusals", "again"), [(1, []), (2, ["0"])])
def test_a_throttled_call_is_repeated_once_before_the_message_comes_again(aws, monkeypatch, refusals, again):
    def answer(request):
        kind = {"Content-Type": "application/x-amz-json-1.1"}
        if request.number < refusals:
            return 400, kind, b'{"__type": "ThrottlingException", "message": "Slow down"}'
        return 200, kind, json.dumps(ANSWER).encode()

    with standin(answer) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", server.origin)
        monkeypatch.delitem(sys.modules, "labels", raising=False)
        handler = importlib.import_module("labels").lambda_handler
        assert failures(handler(messages(notice("cat.jpg")), Time())) == again
        assert len(server.asked) == 2
    assert list(kept(aws)) == ([] if again else ["cat.jpg.json"])


def test_lambda_s_longest_wait_is_what_the_clients_wait(function):
    """Two calls, each tried twice, by their timeouts; before the second try botocore pauses for a second at most."""
    config = function.module.rekognition.meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    call = 2 * (config.connect_timeout + config.read_timeout) + 1
    assert 2 * call * 1000 == function.module.LONGEST


# ------------------------------------------------------------------------------------------------------ the template


class Template(yaml.SafeLoader):  # pylint: disable=too-many-ancestors
    """Reads CloudFormation's short forms: ``!GetAtt Queue.Arn`` is {"GetAtt": "Queue.Arn"}."""


def _short(loader, name, node):
    kind = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}[type(node)]
    return {name: kind(node, deep=True) if kind == loader.construct_sequence else kind(node)}


Template.add_multi_constructor("!", _short)


@pytest.fixture(name="template", scope="module")
def _template():
    return yaml.load((HERE / "template.yaml").read_text(), Template)


def properties(template, name):
    """Give a resource's."""
    return template["Resources"][name]["Properties"]


def allowed(template, policy):
    """Give what the role allows by one of its policies: the resources of each action."""
    found = {}
    for given in properties(template, "Role")["Policies"]:
        if given["PolicyName"] == policy:
            for statement in given["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                for action in [actions] if isinstance(actions, str) else actions:
                    found[action] = statement["Resource"]
    return found


def test_the_role_allows_what_the_function_calls_and_nothing_else(aws, function, template):
    called = set()

    def note(model, params, **_):
        called.add(f"{model.service_model.service_name}:{model.name}")
        if model.name == "DetectLabels":  # Rekognition reads the picture as the one who asks
            version = "Version" in params["Image"]["S3Object"]
            called.add("s3:GetObjectVersion" if version else "s3:GetObject")

    clients = [function.module.rekognition, function.module.s3]
    for client in clients:
        client.meta.events.register("before-parameter-build", note)
    for _ in range(2):
        function.rekognition.add_response("detect_labels", ANSWER)
    function.module.lambda_handler(EVENT, Time())
    for client in clients:
        client.meta.events.unregister("before-parameter-build", note)
    granted = allowed(template, "function")
    assert called == set(granted) == FUNCTION_ROLE
    assert granted["s3:GetObject"] == granted["s3:GetObjectVersion"] == {"Sub": "${Pictures.Arn}/*"}
    assert granted["s3:PutObject"] == {"Sub": "${Labels.Arn}/*"}
    assert granted["rekognition:DetectLabels"] == "*"
    assert aws


def test_the_role_allows_lambda_its_own_queue_and_log(template):
    granted = allowed(template, "lambda")
    queue, log = {"GetAtt": "Queue.Arn"}, {"GetAtt": "Log.Arn"}
    assert granted == {
        "sqs:ReceiveMessage": queue,
        "sqs:DeleteMessage": queue,
        "sqs:GetQueueAttributes": queue,
        "logs:CreateLogStream": log,
        "logs:PutLogEvents": log,
    }


def test_the_numbers_of_the_template_fit_each_other_and_the_function(template, function):
    timeout = properties(template, "Function")["Timeout"]
    assert properties(template, "Queue")["VisibilityTimeout"] == 6 * timeout
    assert timeout * 1000 == Time.get_remaining_time_in_millis()
    assert timeout * 1000 > function.module.LONGEST  # or nothing would ever be begun
    put_event = properties(template, "Function")["Events"]["Put"]["Properties"]
    assert put_event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    dead_letters = properties(template, "DeadLetters")["MessageRetentionPeriod"]
    assert properties(template, "Log")["RetentionInDays"] * 86_400 > dead_letters


def test_labels_go_to_a_bucket_that_tells_nobody(template):
    assert properties(template, "Function")["Environment"]["Variables"] == {"LABELS_BUCKET": {"Ref": "Labels"}}
    assert "Properties" not in template["Resources"]["Labels"]
    queues = properties(template, "Pictures")["NotificationConfiguration"]["QueueConfigurations"]
    assert queues == [{"Event": "s3:ObjectCreated:*", "Queue": {"GetAtt": "Queue.Arn"}}]


@MARK
def test_sam_takes_the_template_and_builds_the_function_alone(tmp_path):
    folder = tmp_path / "recipe"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", ".aws-sam"))
    assert "is a valid SAM Template" in sam("validate", "--lint", cwd=folder)
    sam("build", cwd=folder)
    built = folder / ".aws-sam/build/Function"
    assert [path.name for path in built.iterdir()] == ["labels.py"]
    assert (built / "labels.py").read_bytes() == (HERE / "labels.py").read_bytes()


# --------------------------------------------------------------------------------------------- under Lambda's runtime


@contextlib.contextmanager
def on_lambda(moto, aws, folder, **environment):
    """Run the function by Lambda's runtime client under the emulator, with moto in the place of AWS."""
    shutil.copy(HERE / "labels.py", folder)
    settings = {"AWS_ENDPOINT_URL_S3": moto, "AWS_ENDPOINT_URL_REKOGNITION": moto, "LABELS_BUCKET": aws.labels}
    with emulated("labels.lambda_handler", folder, **settings, **environment) as function:
        yield function


@MARK
def test_on_lambda_the_pictures_are_labelled_and_the_log_tells_of_each(moto, aws, tmp_path):
    """Rekognition is moto's, which answers every picture with a mobile phone."""
    event = put(aws, "two cats.jpg", "Größe.jpg", "folder/")
    event["Records"] += messages("no JSON")["Records"]
    with on_lambda(moto, aws, tmp_path) as function:
        assert failures(function.invoke(event)) == ["0"]
        lines = {line.get("key", line["message"]): line for line in function.lines() if line.get("logger") == "labels"}
    documents = kept(aws)
    assert sorted(documents) == ["Größe.jpg.json", "two cats.jpg.json"]
    assert documents["two cats.jpg.json"]["labels"][0]["Name"] == "Mobile Phone"
    known = {"timestamp", "level", "message", "logger", "requestId"}
    ours = {"message": "labelled", "level": "INFO", "bucket": aws.pictures, "key": "Größe.jpg", "labels": 1}
    assert {name: value for name, value in lines["Größe.jpg"].items() if name in ours} == ours
    assert set(lines["Größe.jpg"]) == known | set(ours)
    assert lines["folder/"]["message"] == "no picture was put"
    assert lines["not understood, comes again"]["errorType"] == "JSONDecodeError"


@MARK
def test_on_lambda_what_there_is_no_time_for_comes_again(moto, aws, tmp_path):
    event = put(aws, "cat.jpg")
    with on_lambda(moto, aws, tmp_path, AWS_LAMBDA_FUNCTION_TIMEOUT="49") as function:
        assert failures(function.invoke(event)) == [event["Records"][0]["messageId"]]
    assert kept(aws) == {}


@MARK
def test_on_lambda_an_address_that_does_not_answer_is_a_failure_by_record(aws, tmp_path):
    event = messages(notice("a.jpg", "b.jpg"), notice("c.jpg"))
    with on_lambda("http://127.0.0.1:1", aws, tmp_path) as function:
        assert failures(function.invoke(event)) == ["0", "1"]
        lines = [line for line in function.lines() if line.get("logger") == "labels"]
    assert [(line["message"], line["key"]) for line in lines] == [("comes again", f"{name}.jpg") for name in "abc"]


def credentials(moto, aws, statements):
    """Make a user of moto's IAM who may do that; give its keys as variables."""
    arns = {"Pictures.Arn": f"arn:aws:s3:::{aws.pictures}", "Labels.Arn": f"arn:aws:s3:::{aws.labels}"}
    filled = json.dumps(statements)
    for name, arn in arns.items():
        filled = filled.replace(f'{{"Sub": "${{{name}}}/*"}}', f'"{arn}/*"')
    iam = boto3.client("iam", endpoint_url=moto)
    iam.create_user(UserName=aws.labels)
    document = f'{{"Version": "2012-10-17", "Statement": {filled}}}'
    iam.put_user_policy(UserName=aws.labels, PolicyName="function", PolicyDocument=document)
    key = iam.create_access_key(UserName=aws.labels)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@contextlib.contextmanager
def guarded(moto):
    """Let moto check who may do what."""
    assert requests.post(f"{moto}/moto-api/reset-auth", data="0", timeout=10).ok
    try:
        yield
    finally:
        assert requests.post(f"{moto}/moto-api/reset-auth", data="inf", timeout=10).ok


@MARK
@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (None, '"message": "labelled"'),
        ("rekognition:DetectLabels", "not authorized to perform: rekognition:DetectLabels"),
        ("s3:PutObject", "(AccessDenied) when calling the PutObject operation"),
    ],
)
def test_on_lambda_what_the_role_allows_is_enough_and_needed(moto, aws, template, tmp_path, taken, said):
    """By moto's IAM; its Rekognition reads no picture, so of s3:GetObject that tells nothing."""
    policy = properties(template, "Role")["Policies"][0]["PolicyDocument"]["Statement"]
    may = credentials(moto, aws, [statement for statement in policy if statement["Action"] != taken])
    event = put(aws, "cat.jpg")
    with on_lambda(moto, aws, tmp_path, **may) as function, guarded(moto):
        again = failures(function.invoke(event))
        log = function.log()
    assert len(again) == (0 if taken is None else 1)
    assert list(kept(aws)) == (["cat.jpg.json"] if taken is None else [])
    assert said in log


# --------------------------------------------------------------------------------------------------------- the recipe


def make(*command, folder=HERE, env=ENVIRONMENT):
    """Run a target; give its exit code and what it printed."""
    done = subprocess.run(
        ["make", "--silent", *command], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_make_lists_the_six_targets_of_every_recipe():
    listed = make()[1].splitlines()
    assert [line.split()[0] for line in listed] == ["help", "build", "run", "test", "deploy", "clean"]


@pytest.mark.parametrize("confirm", ["", "no", "YES"])
def test_deploy_without_confirm_shows_its_plan_and_does_nothing(template, confirm):
    nobody = ["SAM=false", f"CONFIRM={confirm}"]
    code, out, err = make("deploy", "STACK=of-tests", "EMAIL=you@example.com", *nobody)
    assert (code, err.splitlines()[0]) == (2, "Nothing was deployed. To do it, add CONFIRM=yes")
    title, *lines = out.splitlines()
    assert "of-tests" in title
    assert "you@example.com" in title
    planned = [tuple(line.split(": ")) for line in lines]
    assert [(name.strip(), kind) for name, kind in planned] == [
        (name, resource["Type"]) for name, resource in template["Resources"].items()
    ]


def test_deploy_is_part_of_no_other_target():
    for target in ("help", "build", "run", "test", "clean"):
        assert "sam deploy" not in make("--dry-run", target, "CONFIRM=yes")[1]


def test_a_dry_run_deploys_nothing():
    """Of make, which runs a line with $(MAKE) in it even then."""
    code, out, _ = make("--dry-run", "deploy", "CONFIRM=yes", "SAM=false")
    assert (code, "false deploy --stack-name" in out) == (0, True)


def test_every_command_prints_what_the_readme_shows(tmp_path):
    copy = with_venv(copied(tmp_path / "clone"))
    env = {name: value for name, value in ENVIRONMENT.items() if name not in FREE}
    wrong = untrue((HERE / "README.md").read_text(), copy, {**env, "PYTHONWARNINGS": ""})
    assert not wrong, "\n".join(wrong)


def test_a_picture_that_is_not_there_is_told_in_words():
    env = {name: value for name, value in ENVIRONMENT.items() if name not in FREE}
    done = subprocess.run(
        [sys.executable, HERE / "here.py", "no.jpg"], env=env, capture_output=True, text=True, check=False, cwd=os.sep
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "File 'no.jpg' does not exist" in done.stderr


def test_more_pictures_than_a_call_takes_are_all_labelled(tmp_path):
    names = [f"{number}.png" for number in range(12)]
    for name in names:
        (tmp_path / name).write_bytes(b"a picture")
    env = {name: value for name, value in ENVIRONMENT.items() if name not in FREE}
    command = [sys.executable, HERE / "here.py", *names]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(line.partition(".json: ")[0] for line in done.stdout.splitlines()) == sorted(names)
