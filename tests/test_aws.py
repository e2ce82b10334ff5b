"""Tests of toolkit/aws.py: what is on AWS is asked as AWS wants it.

Two stand in for it: moto's server, which checks signatures and policies of IAM, and a small one of `standins`, which
recomputes each signature with botocore and answers by `mlib.predict`, as Lambda and SageMaker publish their answers.
"""

import json
import sys
import types

import pytest
import requests
from conftest import ENVIRONMENT, run
from moto.server import ThreadedMotoServer
from standins import Aws, Utils, settings, standin

import mlib

SECRETS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}  # of AWS's own documentation
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVz+TOKEN=="
WHO = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRETS["AKIDEXAMPLE"]}
HERE = {**WHO, "AWS_DEFAULT_REGION": "eu-west-1"}
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:height"
LAMBDA, SAGEMAKER = "lambda:height", "sagemaker:height"
GATEWAY = "execute-api"
PATHS = [
    "/prod/predict",
    "/prod/heights%20of%2Fall/a+b:c~d/predict",
    "/prod/größen|x/predict",
    "/prod//a/../predict",
    "/prod/predict?stage=b%2Fc&a=1&empty=&b=x%20y",
    "/prod/predict?a=ö&a=%c3%b6",
]


@pytest.fixture(name="utils")
def _utils(tmp_path):
    return Utils(tmp_path)


@pytest.fixture(name="aws")
def _aws():
    """A running stand-in, its own `aws` and the variables with which it is asked."""
    answer = Aws(dict(SECRETS))
    with standin(answer) as server:
        yield types.SimpleNamespace(answer=answer, server=server, there={**HERE, "AWS_ENDPOINT_URL": server.origin})


def asked_both_ways(utils, *options, **variables):
    """Ask one row, by requests, and several in three requests, by aiohttp; both are answered as the model here does."""
    done = utils("predict", "--weight", 200, "--json", "--retries", 0, *options, **variables)
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1), done.output
    assert json.loads(done.stdout) == {"prediction": mlib.predict(200)}
    path, rows = utils.rows(5)
    done = utils("predict", "--from", path, "--chunk-rows", 2, "--json", "--retries", 0, *options, **variables)
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1), done.output
    assert json.loads(done.stdout) == {"predictions": mlib.predict(rows)}


@pytest.mark.parametrize(
    ("host", "path"),
    [
        (LAMBDA, "/2015-03-31/functions/height/invocations"),
        ("lambda:my_height-2", "/2015-03-31/functions/my_height-2/invocations"),
        ("lambda:height:prod", "/2015-03-31/functions/height/invocations?Qualifier=prod"),
        ("lambda:height:$LATEST", "/2015-03-31/functions/height/invocations?Qualifier=%24LATEST"),
        (f"lambda:{ARN}", f"/2015-03-31/functions/{ARN.replace(':', '%3A')}/invocations"),
        (f"lambda:{ARN}:prod", f"/2015-03-31/functions/{ARN.replace(':', '%3A')}%3Aprod/invocations"),
        ("lambda:123456789012:function:height", "/2015-03-31/functions/123456789012%3Afunction%3Aheight/invocations"),
        (SAGEMAKER, "/endpoints/height/invocations"),
        ("sagemaker:my_height-2", "/endpoints/my_height-2/invocations"),
    ],
)
def test_functions_and_endpoints_of_aws_are_asked_as_the_model_here(utils, aws, host, path):
    asked_both_ways(utils, "--host", host, **aws.there)
    assert [asked.path for asked in aws.server.asked] == [path] * 4


@pytest.mark.parametrize("path", PATHS)
def test_an_address_behind_iam_is_signed_to_the_letter(utils, aws, path):
    asked_both_ways(utils, "--host", aws.server.origin + path, "--aws-sigv4", GATEWAY, **HERE)
    assert len({asked.path for asked in aws.server.asked if asked.method == "POST"}) == 1


@pytest.mark.parametrize("options", [["--host", LAMBDA], ["--host", SAGEMAKER], ["--aws-sigv4", GATEWAY, "--host"]])
def test_a_session_token_is_sent_and_signed(utils, aws, options):
    aws.answer.token = TOKEN
    options = [*options, aws.server.origin] if options[-1] == "--host" else options
    asked_both_ways(utils, *options, **aws.there, AWS_SESSION_TOKEN=TOKEN)


def test_a_function_is_asked_in_the_region_of_its_arn(utils, aws):
    done = utils.predict(f"lambda:{ARN}", "--weight", 200, **{**aws.there, "AWS_DEFAULT_REGION": "us-east-1"})
    assert done.exit_code == 0, done.stderr  # the stand-in takes signatures for eu-west-1 alone


def test_region_credentials_and_address_of_a_profile_are_taken(utils, aws, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        f"[profile heights]\nregion = eu-west-1\nendpoint_url = {aws.server.origin}\n", encoding="utf-8"
    )
    (tmp_path / ".aws" / "credentials").write_text(
        f"[heights]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {SECRETS['AKIDEXAMPLE']}\n",
        encoding="utf-8",
    )
    asked_both_ways(utils, "--host", LAMBDA, AWS_PROFILE="heights")


@pytest.mark.parametrize("host", [LAMBDA, SAGEMAKER, GATEWAY])
def test_what_is_signed_with_another_secret_is_refused_and_nothing_secret_shown(utils, aws, host):
    there = {**aws.there, "AWS_SECRET_ACCESS_KEY": "wr0ngsecret", "AWS_SESSION_TOKEN": TOKEN}
    options = ["--host", host] if host != GATEWAY else ["--host", aws.server.url, "--aws-sigv4", GATEWAY]
    path, _ = utils.rows(3)
    for rows in (["--weight", 200], ["--from", path, "--chunk-rows", 2]):
        done = utils("predict", *rows, *options, **there)
        assert done.exit_code == 4
        assert (
            "answered 403: The request signature we calculated does not match the signature you provided."
            in done.stderr
        )
        for secret in ("wr0ngsecret", TOKEN[:20], *SECRETS.values()):
            assert secret not in done.output
        for asked in aws.server.asked:
            assert asked.headers["Authorization"].rpartition("Signature=")[2] not in done.output


def slow_down(count):
    """Lambda's answer to too many requests, so many times."""
    content = json.dumps({"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."})
    return [(429, {"X-Amzn-ErrorType": "TooManyRequestsException"}, content.encode())] * count


def test_a_function_with_too_much_to_do_is_asked_again(utils, aws):
    aws.answer.first = slow_down(1)
    done = utils.predict(LAMBDA, "--weight", 200, "--json", **aws.there)
    assert json.loads(done.stdout) == {"prediction": mlib.predict(200)}
    assert "Trying again in " in done.stderr
    assert "lambda:height answered 429: Rate Exceeded." in done.stderr
    path, rows = utils.rows(4)
    aws.answer.first = slow_down(2)
    done = utils.predict(LAMBDA, "--from", path, "--chunk-rows", 2, "--json", **aws.there)
    assert json.loads(done.stdout) == {"predictions": mlib.predict(rows)}


FAILED = {"X-Amz-Function-Error": "Unhandled"}


@pytest.mark.parametrize(
    ("host", "answer", "said"),
    [
        (
            LAMBDA,
            (200, FAILED, b'{"errorType": "KeyError", "errorMessage": "\'Weight\'", "stackTrace": ["a", "b"]}'),
            "lambda:height answered 500: KeyError: 'Weight'",
        ),
        (
            LAMBDA,
            (200, FAILED, b'{"errorType": "RefusedError", "errorMessage": "Weight: expected a number above 0"}'),
            "lambda:height answered 422: RefusedError: Weight: expected a number above 0",
        ),
        (
            LAMBDA,
            (200, {}, b'{"statusCode": 422, "body": "{\\"detail\\": \\"Weight: got -5\\"}"}'),
            "lambda:height answered 422: Weight: got -5",
        ),
        (LAMBDA, (200, {}, b'"hello"'), 'lambda:height answered, but with no prediction: "hello".'),
        (LAMBDA, (200, {}, b"null"), "lambda:height answered, but with no prediction: null."),
        (
            "lambda:weight",
            None,
            "lambda:weight answered 404: Function not found: weight. Is its name right, and the region?",
        ),
        (
            "lambda:height:dev",
            None,
            "lambda:height:dev answered 404: Alias not found: Qualifier=dev. Is its name right",
        ),
        ("sagemaker:weight", None, "sagemaker:weight answered 404: Function not found: weight. Is its name right"),
        (
            SAGEMAKER,
            (424, {}, b'{"OriginalStatusCode": 500, "OriginalMessage": "oops", "Message": "Received server error"}'),
            "sagemaker:height answered 500: oops",
        ),
        (
            SAGEMAKER,
            (424, {}, b'{"OriginalStatusCode": 422, "OriginalMessage": "{\\"detail\\": \\"Weight: got -5\\"}"}'),
            "sagemaker:height answered 422: Weight: got -5",
        ),
        (SAGEMAKER, (400, {}, b'{"Message": "Could not find variant"}'), "answered 400: Could not find variant"),
    ],
)
def test_an_error_of_aws_or_of_what_runs_there_is_told(utils, aws, host, answer, said):
    aws.answer.first = [answer] * 3 if answer else []
    done = utils.predict(host, "--weight", 200, **aws.there)
    assert (done.exit_code, done.stdout) == (4, "")
    assert said in done.stderr
    assert "/predict" not in done.stderr
    path, _ = utils.rows(2)
    done = utils.predict(host, "--from", path, **aws.there)
    assert (done.exit_code, done.stdout) == (4, "null\nnull\n")
    assert said in done.stderr


LACKING = [
    ({**WHO}, "AWS needs a region. Set AWS_DEFAULT_REGION, or AWS_PROFILE to a profile that has one."),
    ({"AWS_DEFAULT_REGION": "eu-west-1"}, "AWS needs credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ({**HERE, "AWS_PROFILE": "nobody"}, "AWS cannot be asked: The config profile (nobody) could not be found."),
    (
        {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"},
        "AWS cannot be asked: Partial credentials",
    ),
    ({**HERE, "AWS_CONFIG_FILE": "{folder}/damaged"}, "AWS cannot be asked: Unable to parse config file"),
    ({"AWS_PROFILE": "failing", "AWS_CONFIG_FILE": "{folder}/failing"}, "AWS cannot be asked: Error when retrieving"),
]


@pytest.mark.parametrize("host", [LAMBDA, SAGEMAKER, GATEWAY])
@pytest.mark.parametrize(("given", "said"), LACKING)
def test_what_aws_lacks_is_told_in_one_line(utils, tmp_path, given, said, host):
    (tmp_path / "damaged").write_text("[profile\nno config", encoding="utf-8")
    (tmp_path / "failing").write_text(
        f"[profile failing]\nregion = eu-west-1\ncredential_process = {sys.executable} -c 'raise SystemExit(1)'\n",
        encoding="utf-8",
    )
    given = {name: value.replace("{folder}", str(tmp_path)) for name, value in given.items()}
    options = ["--host", host] if host != GATEWAY else ["--host", "https://api.invalid/x", "--aws-sigv4", GATEWAY]
    done = utils("predict", "--weight", 200, *options, **given)
    assert (done.exit_code, done.stdout) == (1, "")
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"Error: {said}")
    assert not any(secret in done.stderr for secret in SECRETS.values())


def test_a_region_that_is_none_is_told(utils):
    done = utils.predict(LAMBDA, "--weight", 200, **WHO, AWS_DEFAULT_REGION="no region")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Error: AWS cannot be asked: Provided region_name 'no region' doesn't match" in done.stderr


def test_an_address_of_aws_that_is_none_is_told(utils):
    done = utils.predict(LAMBDA, "--weight", 200, **HERE, AWS_ENDPOINT_URL="no address")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "Error: AWS cannot be asked: Invalid endpoint: no address."


def test_aws_that_cannot_be_reached_is_told(utils):
    done = utils.predict(LAMBDA, "--weight", 200, "--retries", 0, **HERE, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "Error: lambda:height cannot be reached: Connection refused." in done.stderr


@pytest.mark.parametrize("options", [["--host", LAMBDA], ["--host", "http://127.0.0.1:9", "--aws-sigv4", GATEWAY]])
def test_without_botocore_it_is_told_what_to_install(tmp_path, options):
    program = (
        "import sys, utilscli\n"
        "sys.modules['botocore'] = None\n"
        f"utilscli.cli({['predict', *options]}, prog_name='utilscli.py')"
    )
    variables = {name: value for name, value in settings(tmp_path, **HERE).items() if value is not None}
    done = run(sys.executable, "-c", program, env={**ENVIRONMENT, **variables})
    assert (done.returncode, done.stdout) == (1, "")
    needed = "Error: What is on AWS is asked with botocore: pip install -r requirements/aws.txt\n"
    assert done.stderr == needed


# ------------------------------------------------------------------------------------------------------ moto

ALLOWED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["lambda:Invoke*", "sagemaker:InvokeEndpoint"], "Resource": "*"}],
}


@pytest.fixture(name="moto", scope="module")
def _moto():
    """Moto's server: who may invoke, who may not, and a way to say what is answered; it checks each signature."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    origin = f"http://127.0.0.1:{server.get_host_and_port()[1]}"

    def post(path, document):
        data = document if isinstance(document, str) else json.dumps(document)
        assert requests.post(f"{origin}/moto-api/{path}", data=data, timeout=10).ok

    def user(name, policy=None):
        import boto3

        iam = boto3.client("iam", "us-east-1", endpoint_url=origin, aws_access_key_id="a", aws_secret_access_key="b")
        iam.create_user(UserName=name)
        if policy:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": origin,
        }

    post("config", {"lambda": {"use_docker": False}})
    allowed, denied = user("allowed", ALLOWED), user("denied")
    post("reset-auth", "0")  # from now on it checks
    try:
        yield types.SimpleNamespace(allowed=allowed, denied=denied, post=post)
    finally:
        post("reset-auth", "inf")
        post("config", {"lambda": {"use_docker": True}})
        server.stop()


def queue(moto, answer):
    """Say what moto's Lambda and its SageMaker answer next."""
    published = json.dumps({"statusCode": 200, "body": json.dumps(answer)})
    moto.post("static/lambda-simple/response", {"results": [published]})
    body = {"Body": json.dumps(answer), "ContentType": "application/json"}
    moto.post("static/sagemaker/endpoint-results", {"results": [body]})


@pytest.mark.parametrize(
    "host", [LAMBDA, "lambda:height:prod", f"lambda:{ARN.replace('eu-west', 'us-east')}", SAGEMAKER]
)
def test_moto_takes_the_signature_of_who_may_invoke(utils, moto, host):
    moto.post("reset-auth", "0")
    queue(moto, {"prediction": mlib.predict(200)})
    done = utils.predict(host, "--weight", 200, "--json", "--retries", 0, **moto.allowed)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"prediction": mlib.predict(200)}
    path, rows = utils.rows(3)
    queue(moto, {"predictions": mlib.predict(rows)})
    done = utils.predict(host, "--from", path, "--json", "--retries", 0, **moto.allowed)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("host", [LAMBDA, SAGEMAKER])
def test_moto_refuses_who_may_not_invoke_and_who_signs_wrong(utils, moto, host):
    done = utils.predict(host, "--weight", 200, **moto.denied)
    assert done.exit_code == 4
    assert "answered 403: " in done.stderr  # moto says why in XML, where AWS has JSON
    assert "User: arn:aws:iam::123456789012:user/denied is not authorized to perform" in done.stderr
    done = utils.predict(host, "--weight", 200, **{**moto.allowed, "AWS_SECRET_ACCESS_KEY": "wr0ngsecret"})
    assert done.exit_code == 4
    assert "The request signature we calculated does not match" in done.stderr
    assert "wr0ngsecret" not in done.stderr
