"""Are the templates what AWS takes, and do they say what the README says of them?

SAM's linter reads them, its translator makes of them what CloudFormation gets, and no account is asked.
"""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from conftest import ENVIRONMENT, ROOT
from jsonschema import Draft4Validator, FormatChecker
from openapi_spec_validator import OpenAPIV30SpecValidator
from sam import BIN, MARK, sam, translated

import mlib
from toolkit import wire

HERE = ROOT / "recipes/aws-lambda-sam"
TEMPLATES = ["template.yaml", "template-zip.yaml"]
NEW_VERSION = {"FunctionName", "Resource", "ExecutedVersion"}


def module(name):
    """Import a module of the recipe, whose folder is no package."""
    spec = importlib.util.spec_from_file_location(f"lambda_sam_{name}", HERE / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


request_model = module("request_model")


@pytest.fixture(name="stack", scope="module")
def _stack():
    """What CloudFormation gets, without parameters."""
    return translated(HERE / "template.yaml")


def of_type(stack, kind):
    """Give the resources of a kind: their names and properties."""
    found = {name: resource for name, resource in stack["Resources"].items() if resource["Type"] == f"AWS::{kind}"}
    return {name: resource["Properties"] for name, resource in found.items()}


def body_of(stack):
    """Give the API's OpenAPI document, as it is when it was filled in."""
    (api,) = of_type(stack, "ApiGateway::RestApi").values()
    return api["Body"] | {"info": {"title": "a-stack", "version": "1"}}


# ---------------------------------------------------------------------------------------------------- the templates


@MARK
@pytest.mark.parametrize("name", TEMPLATES)
def test_sam_and_its_linter_take_the_template(name):
    assert "is a valid SAM Template" in sam("validate", "--template", HERE / name, cwd=HERE)  # samconfig.toml: and lint


@MARK
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_linter_takes_what_sam_makes_of_the_template(name, tmp_path):
    (tmp_path / "stack.json").write_text(json.dumps(translated(HERE / name)))
    # W2001: SAM has put the values of parameters where they were named.
    command = [BIN / "cfn-lint", "--ignore-checks", "W2001", "--", tmp_path / "stack.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")


@MARK
def test_the_linter_would_tell(tmp_path):
    shutil.copy(HERE / "samconfig.toml", tmp_path)
    text = (HERE / "template.yaml").read_text()
    (tmp_path / "template.yaml").write_text(text.replace("RetentionInDays: 30", "RetentionInDays: 31"))
    assert "31 is not one of" in sam("validate", cwd=tmp_path, returncode=1)


@MARK
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_function_may_write_its_own_log_and_nothing_else(name):
    stack = translated(HERE / name)
    (function,) = of_type(stack, "Lambda::Function").values()
    assert function["Role"] == {"Fn::GetAtt": ["Role", "Arn"]}
    role = of_type(stack, "IAM::Role")["Role"]
    assert "ManagedPolicyArns" not in role
    ((statement,),) = [policy["PolicyDocument"]["Statement"] for policy in role["Policies"]]
    assert statement == {
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": {"Fn::GetAtt": ["Log", "Arn"]},
    }
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": "Log"}}
    assert of_type(stack, "Logs::LogGroup")["Log"]["RetentionInDays"] == 30


@MARK
def test_the_zip_file_answers_nobody_who_does_not_sign():
    stack = translated(HERE / "template-zip.yaml")
    assert [url["AuthType"] for url in of_type(stack, "Lambda::Url").values()] == ["AWS_IAM"]
    assert not of_type(stack, "Lambda::Permission")  # one would let others in


@MARK
def test_a_new_version_takes_over_by_and_by_and_is_rolled_back_on_alarms(stack):
    (alias,) = [each for each in stack["Resources"].values() if each["Type"] == "AWS::Lambda::Alias"]
    assert alias["Properties"]["Name"] == "live"
    assert "CodeDeployLambdaAliasUpdate" in alias["UpdatePolicy"]
    (group,) = of_type(stack, "CodeDeploy::DeploymentGroup").values()
    assert "Canary10Percent5Minutes" in json.dumps(group["DeploymentConfigName"])
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    watched = [alarm["Name"]["Ref"] for alarm in group["AlarmConfiguration"]["Alarms"]]
    alarms = of_type(stack, "CloudWatch::Alarm")
    for name in watched:  # they look at the new version alone
        metrics = [
            metric["MetricStat"]["Metric"] for metric in alarms[name].get("Metrics", []) if "MetricStat" in metric
        ]
        for metric in metrics or [alarms[name]]:
            assert {dimension["Name"] for dimension in metric["Dimensions"]} == NEW_VERSION
    told = {json.dumps(alarm["AlarmActions"]) for alarm in alarms.values()}
    assert told == {json.dumps([{"Fn::If": ["TellsSomebody", {"Ref": "AlarmTopic"}, {"Ref": "AWS::NoValue"}]}])}
    assert {alarm["TreatMissingData"] for alarm in alarms.values()} == {"notBreaching"}  # nobody asks at night


@MARK
def test_more_memory_is_a_new_version(stack, tmp_path):
    """A new version by its name, which SAM makes of what it hashes; a parameter's value would not be in it."""
    text = (HERE / "template.yaml").read_text(encoding="utf-8")
    (tmp_path / "template.yaml").write_text(text.replace("MemorySize: 512", "MemorySize: 1024"), encoding="utf-8")
    more = translated(tmp_path / "template.yaml")
    assert of_type(more, "Lambda::Function")["Predict"]["MemorySize"] == 1024
    assert len(of_type(more, "Lambda::Version") | of_type(stack, "Lambda::Version")) == 2


def test_no_account_and_no_region_are_named():
    for name in (*TEMPLATES, "samconfig.toml", "Makefile"):
        text = (HERE / name).read_text(encoding="utf-8")
        assert not re.findall(r"\b\d{12}\b|\b(?:us|eu|ap|sa|ca|me|af|il)-[a-z]+-\d", text), name


def test_sam_is_told_to_stay_on_loopback_and_to_ask_before_it_changes_anything():
    told = tomllib.loads((HERE / "samconfig.toml").read_text())["default"]
    assert told["local_start_api"]["parameters"]["host"] == "127.0.0.1"
    assert told["deploy"]["parameters"]["confirm_changeset"] is True
    assert told["deploy"]["parameters"]["capabilities"] == "CAPABILITY_IAM"


# ---------------------------------------------------------------------------------------------------------- the API


@MARK
def test_the_api_has_the_routes_of_the_function_and_one_stage(stack):
    routes = {(path, method.upper()) for path, item in body_of(stack)["paths"].items() for method in item}
    assert routes == set(module("handler").ROUTES.items())
    assert [stage["StageName"] for stage in of_type(stack, "ApiGateway::Stage").values()] == ["Prod"]
    assert len(of_type(stack, "Lambda::Permission")) == len(routes)
    for permission in of_type(stack, "Lambda::Permission").values():
        assert permission["FunctionName"] == {"Ref": "PredictAliaslive"}  # that of what it is routed to
    targets = {json.dumps(spec["x-amazon-apigateway-integration"]["uri"]) for spec in operations(stack)}
    assert len(targets) == 1
    assert "${Predict.Arn}:live/" in targets.pop()


def operations(stack):
    """Give the operations of the API."""
    return [operation for item in body_of(stack)["paths"].values() for operation in item.values()]


@MARK
def test_the_api_is_open_unless_it_is_told_otherwise(stack):
    assert not any("security" in operation for operation in operations(stack))
    closed = translated(HERE / "template.yaml", Access="AWS_IAM")
    assert [operation["security"] for operation in operations(closed)] == [[{"AWS_IAM": []}]] * 4
    assert body_of(closed)["components"]["securitySchemes"]["AWS_IAM"]["x-amazon-apigateway-authtype"] == "awsSigv4"
    (stage,) = of_type(stack, "ApiGateway::Stage").values()
    (limits,) = stage["MethodSettings"]
    assert (limits["ResourcePath"], limits["HttpMethod"], limits["ThrottlingBurstLimit"]) == ("/*", "*", 20)
    assert stack["Parameters"]["RateLimit"]["Default"] == 10


@MARK
def test_the_api_checks_bodies_only_if_it_is_told_to(stack):
    body = body_of(stack)
    assert body["paths"]["/predict"]["post"]["x-amazon-apigateway-request-validator"] == {"Ref": "ValidateBody"}
    validators = body["x-amazon-apigateway-request-validators"]
    assert {name: each["validateRequestBody"] for name, each in validators.items()} == {"no": False, "yes": True}
    told = stack["Parameters"]["ValidateBody"]
    assert (told["Default"], set(told["AllowedValues"])) == ("no", set(validators))


@MARK
def test_a_changed_parameter_reaches_the_stage(stack):
    """SAM names each deployment of the API by what it hashes, where the value of this parameter is not."""
    strict = translated(HERE / "template.yaml", ValidateBody="yes")
    assert len(of_type(stack, "ApiGateway::Deployment") | of_type(strict, "ApiGateway::Deployment")) == 2


@MARK
def test_the_api_is_described_by_openapi(stack):
    OpenAPIV30SpecValidator(body_of(stack)).validate()


@MARK
def test_what_the_gateway_refuses_itself_is_a_problem_document(stack):
    answers = body_of(stack)["x-amazon-apigateway-gateway-responses"]
    assert {"THROTTLED", "MISSING_AUTHENTICATION_TOKEN", "DEFAULT_4XX", "DEFAULT_5XX"} <= set(answers)
    for answer in answers.values():
        assert answer["responseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        (text,) = answer["responseTemplates"].values()
        document = json.loads(text.replace("$context.error.messageString", '"its words"'))
        assert {"type", "title", "detail"} <= set(document)
        assert document.get("status") == (int(answer["statusCode"]) if "statusCode" in answer else None)
    assert answers["THROTTLED"]["responseParameters"]["gatewayresponse.header.Retry-After"] == "'1'"


@MARK
def test_the_access_log_is_json_without_bodies(stack):
    (stage,) = of_type(stack, "ApiGateway::Stage").values()
    condition, on, off = stage["AccessLogSetting"]["Fn::If"]
    assert (condition, off) == ("LogsAccess", {"Ref": "AWS::NoValue"})
    line = json.loads(on["Format"])
    assert not [name for name in line.values() if "body" in name.lower()]
    assert stage["MethodSettings"][0]["DataTraceEnabled"] is False
    # Without its account's role the stage would be refused; by this it waits for it.
    assert stage["Variables"]["Fn::If"][:2] == ["SetsLogRole", {"account": {"Ref": "ApiAccount"}}]


# ------------------------------------------------------------------------------------------------ the request model


def test_the_template_has_the_request_of_the_model_that_comes_with_it():
    found = request_model.models(mlib.Signature.read(ROOT / "model.onnx"), wire.MAX_ROWS)
    text = (HERE / "template.yaml").read_text(encoding="utf-8")
    assert request_model.written(text, found) == text


@pytest.fixture(name="every_kind", scope="module")
def _every_kind(tmp_path_factory):
    """The path of a model of numbers, categories, true and false, and dates, with gaps; one name and limit are odd."""
    folder = tmp_path_factory.mktemp("every")
    rows = [
        [
            *(
                30 + i % 50,
                (i % 5 + 1) * 1e-7,
                ["yes", "no"][i % 2],
                ["good", "bad & ugly", "1", ""][i % 4 if i % 3 else 0],
            ),
            *(f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}", ["", -1, 2.5, 4][i % 4], [3, 7, 11][i % 3]),
            3 * (30 + i % 50) + 20 * (i % 2) + i % 7,
        ]
        for i in range(300)
    ]
    header = ["size", 'Größe "m²": 1e-07', "garden", "quality", "when", "floor", "grade", "price"]
    with (folder / "houses.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    mlib.retrain(data=folder / "houses.csv", target="price", category=("grade",), model_name=folder / "houses.joblib")
    return folder / "houses.joblib"


VALUES = {
    "size": [30, 0.5, 10**6, 0, -1, 1e300, "30", "", None, True, [30], {}],
    'Größe "m²": 1e-07': [3e-7, 1, 1e-9, 0, -1e-7, 1e300, "3e-7", None],
    "garden": [True, False, 0, 1, "yes", "no", "on", 2, 0.5, "perhaps", "", None, []],
    "quality": ["good", "bad & ugly", "1", 1, None, "fine", 2, True, ""],
    "when": ["2024-03-31", "2024-03-31T10:00:00Z", "2024-02-30", "soon", "", 20240331, None, ["2024-03-31"]],
    "floor": [-1, 0, 2.5, None, 1e300, "2", "", True, []],
    "grade": [3, 7, 11, 4, "x", None, True, []],
}


def test_a_row_fits_the_request_model_when_the_model_answers_it(every_kind):
    loaded = mlib.load_model(every_kind)
    found = request_model.models(loaded.signature, wire.MAX_ROWS)
    text = request_model.written((HERE / "template.yaml").read_text(encoding="utf-8"), found)
    block = text.partition(request_model.BEGIN)[2].partition(request_model.END)[0]
    document = yaml.safe_load(block)  # what is read back is what was written, 1e-07 and all
    assert document == {"components": {"schemas": found}}
    for schema in found.values():
        Draft4Validator.check_schema(schema)
    # A format is a hint in draft 4. Who checks it (jsonschema, here) refuses what is no date; API Gateway may not.
    judge = Draft4Validator({"$ref": "#/components/schemas/Request", **document}, format_checker=FormatChecker())
    row = loaded.signature.example()
    asked = [row, [row], [row, row], [], [200], 200, None, "abc", {}, row | {"shoes": 44}, [row, {}]]
    asked += [{name: value for name, value in row.items() if name != left_out} for left_out in row]
    asked += [row | {name: value} for name, values in VALUES.items() for value in values]
    differ = [payload for payload in asked if judge.is_valid(payload) != is_answered(payload, loaded)]
    assert not differ
    assert len([payload for payload in asked if judge.is_valid(payload)]) > 20


def is_answered(payload, model):
    """Whether the model answers a request."""
    try:
        wire.answer(payload, model, wire.MAX_ROWS)
    except (mlib.InputError, wire.Refused):
        return False
    return True


@MARK
def test_the_request_of_another_table_is_written_and_is_openapi_too(every_kind, tmp_path):
    found = request_model.models(mlib.Signature.read(every_kind), wire.MAX_ROWS)
    text = request_model.written((HERE / "template.yaml").read_text(encoding="utf-8"), found)
    (tmp_path / "template.yaml").write_text(text, encoding="utf-8")
    stack = translated(tmp_path / "template.yaml")
    assert body_of(stack)["components"]["schemas"] == found
    OpenAPIV30SpecValidator(body_of(stack)).validate()


# --------------------------------------------------------------------------------------------------------- the make


def make(*command, returncode=0, cwd=HERE, **settings):
    """Run make in the recipe; give what it printed."""
    env = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("AWS_")} | settings
    done = subprocess.run(
        ["make", "--silent", *command], cwd=cwd, env=env, text=True, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_make_lists_its_targets():
    targets = [line.split()[0] for line in make().splitlines()]
    assert targets == ["help", "build", "zip", "run", "test", "deploy", "clean"]


@pytest.fixture(name="built")
def _built(tmp_path):
    """A folder in which something was built; what deploys it tells what it was called with."""
    shutil.copy(HERE / "Makefile", tmp_path)
    (tmp_path / ".aws-sam/build").mkdir(parents=True)
    (tmp_path / ".aws-sam/build/template.yaml").write_text("Resources: {}\n")
    return tmp_path


def test_deploy_wants_a_build_first(built):
    shutil.rmtree(built / ".aws-sam")
    assert "There is nothing to deploy yet: make build" in make("deploy", "SAM=echo", cwd=built, returncode=2)


@pytest.mark.parametrize("confirm", [[], ["CONFIRM=no"], ["CONFIRM=YES"]])
def test_deploy_without_confirm_shows_its_plan_and_does_nothing(built, confirm):
    given = ["SAM=echo", "ARCHITECTURE=arm64", "PARAMETERS=RateLimit=50", "STACK=heights", *confirm]
    said = make("deploy", *given, cwd=built, returncode=2, AWS_PROFILE="somebody", AWS_DEFAULT_REGION="eu-west-1")
    told = ["Stack       heights", "Account     of the profile somebody", "Region      eu-west-1"]
    assert said.splitlines()[:4] == [*told, "Parameters  Architecture=arm64 RateLimit=50"]
    assert "Nothing was deployed. To do it, add CONFIRM=yes" in said
    assert "deploy --stack-name" not in said


def test_deploy_with_confirm_hands_the_plan_to_sam(built):
    said = make("deploy", "SAM=echo", "ARCHITECTURE=arm64", "PARAMETERS=RateLimit=50", "CONFIRM=yes", cwd=built)
    told = "--stack-name mlops-cookbook --no-confirm-changeset --parameter-overrides Architecture=arm64 RateLimit=50"
    assert said.splitlines()[-1] == f"deploy {told}"


def test_deploy_is_part_of_no_other_target():
    for target in ("help", "build", "zip", "run", "test", "clean"):
        assert "sam deploy" not in make("--dry-run", target, "CONFIRM=yes", "SAM=sam")
