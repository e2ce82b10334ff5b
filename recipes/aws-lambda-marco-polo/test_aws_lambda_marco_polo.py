"""Do the functions and their state machines do what they say?

moto interprets the machines; behind it the functions run by Lambda's own runtime client, under Lambda's emulator.
"""

import hashlib
import json
import re
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import boto3
import pipeline
import pytest
import yaml
from conftest import ENVIRONMENT, ROOT, run
from contract import ANSWERS
from emulator import MARK, emulated
from machines import started
from sam import sam

import mlib

HERE = Path(__file__).parent
STEPS = ["Retrain", "Gate", "Promote", "Notify"]
HEIGHT = {"key": "tables/htwtmlb.csv", "target": "Height"}
MORE = {"options": {"features": ["Weight", "Position"]}}  # with which the height is known better

pytestmark = MARK


@pytest.fixture(name="there", scope="module")
def _there():
    """A running moto, with an S3, a topic that a queue listens to, and all functions behind its state machines."""
    with pytest.MonkeyPatch.context() as monkeypatch, started(monkeypatch) as there, ExitStack() as stack:
        topic = there.client("sns").create_topic(Name="models")["TopicArn"]
        queue = there.client("sqs").create_queue(QueueName="mails")["QueueUrl"]
        arn = "arn:aws:sqs:eu-west-1:123456789012:mails"
        there.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        known = {"AWS_ENDPOINT_URL": there.origin, "TOPIC_ARN": topic, "PYTHONWARNINGS": "error"}
        for name in STEPS:
            function = emulated(f"pipeline.{name.lower()}", HERE, ROOT, **known)
            there.functions[name] = stack.enter_context(function)
        there.functions["MarcoPolo"] = stack.enter_context(emulated("marco_polo.lambda_handler", HERE))
        there.marco = there.machine(HERE / "marco_polo.asl.json", MarcoPolo="MarcoPolo")
        there.pipeline = there.machine(HERE / "pipeline.asl.json", **{name: name for name in STEPS})
        there.queue, there.known = queue, known
        yield there


class Bucket:
    """A bucket of a test's own, with the table of the project in it."""

    def __init__(self, there, name):
        self.there, self.name, self.s3 = there, name, there.client("s3")
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        self.put("tables/htwtmlb.csv", (ROOT / "htwtmlb.csv").read_bytes())

    def put(self, key, content):
        """Write an object."""
        self.s3.put_object(Bucket=self.name, Key=key, Body=content)

    def read(self, key):
        """Read an object."""
        return self.s3.get_object(Bucket=self.name, Key=key)["Body"].read()

    def state(self):
        """Tell of all objects under models/ which version they have, as S3 counts: it changes with each writing."""
        found = self.s3.list_object_versions(Bucket=self.name, Prefix="models/").get("Versions", [])
        return {entry["Key"]: entry["VersionId"] for entry in found if entry["IsLatest"]}

    def current(self, name="htwtmlb-height"):
        """Read what is promoted; None where nothing is."""
        key = f"models/{name}/current.json"
        return json.loads(self.read(key)) if key in self.state() else None

    def execute(self, **event):
        """Execute the pipeline on a table of the bucket."""
        return self.there.execute(self.there.pipeline, {"bucket": self.name, **event})

    def promoted(self, **event):
        """Execute it, and be sure that the model is promoted; give its version."""
        done = self.execute(**event)
        assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "promoted"), done
        return done["output"]["candidate"]["version"]

    def mails(self):
        """Take what was told to people since the last time, as subject and text."""
        sqs, found = self.there.client("sqs"), []
        while True:
            received = sqs.receive_message(QueueUrl=self.there.queue, MaxNumberOfMessages=10).get("Messages", [])
            if not received:
                return found
            for message in received:
                body = json.loads(message["Body"])
                found.append((body["Subject"], body["Message"]))
                sqs.delete_message(QueueUrl=self.there.queue, ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture(name="bucket")
def _bucket(there, request):
    name = f"b-{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    bucket = Bucket(there, name)
    bucket.mails()
    there.called.clear()
    there.faults.clear()
    return bucket


def event_of(name, **changes):
    """Give an event that is kept as a file, changed."""
    return json.loads((HERE / "events" / f"{name}.json").read_text()) | changes


def template():
    """Read the resources of the template; of CloudFormation's functions only the arguments are left."""
    text = (HERE / "template.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"!\w+ ", "", text))["Resources"]


# ---------------------------------------------------------------------------------------------------- Marco, Polo


def test_marco_is_answered_by_polo(there):
    assert there.functions["MarcoPolo"].invoke(event_of("marco")) == "Polo"
    assert there.functions["MarcoPolo"].invoke({"name": "Marco", "year": 1271}) == "Polo"


@pytest.mark.parametrize(
    "event",
    [event_of("magellan"), event_of("nobody"), {"Name": "Marco"}, {"name": None}, ["Marco"], "Marco", 7, None, True],
    ids=json.dumps,
)
def test_whoever_is_not_marco_is_told_what_was_expected(there, event):
    said = f'No! Got {json.dumps(event)}, expected {{"name": "Marco"}}.'
    assert there.functions["MarcoPolo"].invoke(event) == said


def test_a_large_event_is_refused_in_few_words(there):
    said = there.functions["MarcoPolo"].invoke({"name": "x" * 1_000_000})
    assert said.startswith('No! Got {"name": "xxx')
    assert said.endswith('xxx..., expected {"name": "Marco"}.')
    assert len(said) < 300


def test_the_machine_calls_marco_hears_polo_and_finishes(there):
    done = there.execute(there.marco, event_of("marco"))
    assert (done["status"], done["output"]) == ("SUCCEEDED", {"answer": "Polo"})
    assert done["states"] == ["Marco", "Polo", "Finish"]


def test_the_machine_fails_by_the_words_of_the_refusal(there):
    done = there.execute(there.marco, event_of("nobody"))
    assert (done["status"], done["error"]) == ("FAILED", "NoPolo")
    assert done["cause"] == 'No! Got {}, expected {"name": "Marco"}.'
    assert done["states"] == ["Marco", "Polo", "NoPolo"]


def test_what_is_lambdas_own_fault_is_tried_again(there, bucket):
    del bucket
    there.faults["MarcoPolo"] = [(500, "ServiceException"), (429, "TooManyRequestsException")]
    done = there.execute(there.marco, event_of("marco"))
    assert (done["status"], done["output"]) == ("SUCCEEDED", {"answer": "Polo"})
    assert there.called == ["MarcoPolo"] * 3


def test_what_stays_lambdas_fault_is_given_up_after_four_more_times(there, bucket):
    del bucket
    there.faults["MarcoPolo"] = [(500, "ServiceException")] * 9
    done = there.execute(there.marco, event_of("marco"))
    assert (done["status"], done["error"]) == ("FAILED", "Lambda.ServiceException")
    assert there.called == ["MarcoPolo"] * 5


# ---------------------------------------------------------------------------------------- promoted, kept, failed


def test_the_first_model_is_promoted_and_announced(bucket, tmp_path):
    done = bucket.execute(**HEIGHT)
    assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "promoted")
    assert done["states"] == ["Retrain", "Gate", "GateHeld", "Promote", "Notify", "Done"]
    current = bucket.current()
    version = current["version"]
    folder = f"models/htwtmlb-height/{version}"
    assert set(bucket.state()) == {
        "models/htwtmlb-height/current.json",
        *(f"{folder}/{name}" for name in ("model.joblib", "model.json", "model.onnx")),
    }
    assert current["previous"] is None
    [(subject, text)] = bucket.mails()
    assert subject == "promoted: htwtmlb-height"
    assert text.startswith("htwtmlb-height: promoted. It is the first.\n")
    assert f"s3://{bucket.name}/{folder}/" in text
    for name, digest in current["files"].items():  # what the pointer names is there, whole, and answers
        (tmp_path / name).write_bytes(bucket.read(f"{folder}/{name}"))
        model = mlib.load_model(tmp_path / name, sha256=digest)
        assert model.signature.version == version
        assert mlib.predict(200, model) == ANSWERS[200]


def test_the_same_event_twice_changes_nothing(bucket):
    version = bucket.promoted(**HEIGHT)
    before = bucket.state()
    done = bucket.execute(**HEIGHT)
    assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "kept")
    assert done["output"]["candidate"]["version"] == version
    assert done["states"] == ["Retrain", "Gate", "GateHeld", "Notify", "Done"]
    assert bucket.state() == before
    assert "kept. It is the promoted one already." in bucket.mails()[1][1]


def test_a_better_model_takes_the_place_and_its_predecessor_stays(bucket):
    first = bucket.promoted(**HEIGHT)
    old = bucket.state()
    second = bucket.promoted(**HEIGHT, **MORE)
    assert second != first
    assert (bucket.current()["version"], bucket.current()["previous"]) == (second, first)
    assert f"promoted. Before it: {first}." in bucket.mails()[1][1]
    assert {key for key, version in old.items() if bucket.state()[key] != version} == {
        "models/htwtmlb-height/current.json"
    }


def test_a_worse_model_is_kept_out_and_that_is_told(bucket):
    first = bucket.promoted(**HEIGHT, **MORE)
    score = bucket.current()["score"]
    done = bucket.execute(**HEIGHT)
    assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "kept")
    assert bucket.current()["version"] == first
    said = bucket.mails()[1]
    assert said[0] == "kept: htwtmlb-height"
    assert f"on 128 held-out rows, below the {score} of the promoted {first}." in said[1]
    second = bucket.promoted(**HEIGHT, slack=1)  # somebody wants the newer one, though it is a little worse
    assert (bucket.current()["version"], bucket.current()["previous"]) == (second, first)


def test_a_promoted_model_without_a_score_is_no_obstacle(there, bucket):
    """A person may promote what no score is known of; it says so, and the next model takes its place."""
    bucket.promoted(**HEIGHT)
    current = bucket.current()
    bucket.put("models/htwtmlb-height/current.json", json.dumps(current | {"version": "of-a-person", "score": None}))
    done = bucket.execute(**HEIGHT)
    assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "promoted"), done
    assert there.called[-2:] == ["Promote", "Notify"]


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ({"least": 0.9}, "below the 0.9 that was asked for."),
        ({"options": {"min_r2": 0.9}}, "below the 0.9 that was asked for. The model was not written."),
        ({"options": {"estimator": "dummy"}}, "no better than answering always the same"),
    ],
)
def test_what_is_not_good_enough_is_not_promoted_and_no_failure(bucket, gate, why):
    done = bucket.execute(**HEIGHT, **gate)
    assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "kept")
    assert done["states"][-2:] == ["Notify", "Done"]
    assert bucket.current() is None
    [(_, text)] = bucket.mails()
    assert "kept. R² is " in text
    assert why in text


def test_another_table_and_classes_go_the_same_way(bucket):
    rows = "".join(f"{size},{'large' if size > 30 else 'small'}\n" for size in range(60))
    bucket.put("a/b/Größen der Schuhe.csv", f"size,kind\n{rows}".encode())
    done = bucket.execute(key="a/b/Größen der Schuhe.csv", target="kind", least=0.5)
    assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "promoted"), done
    current = bucket.current("Größen der Schuhe-kind")
    assert current["metric"] == "accuracy"
    assert current["score"] > 0.8
    [(subject, text)] = bucket.mails()
    assert subject == "promoted: Gr??en der Schuhe-kind"  # SNS takes ASCII
    assert text.startswith("Größen der Schuhe-kind: promoted.")


@pytest.mark.parametrize(
    ("event", "error", "said"),
    [
        ({**HEIGHT, "key": "tables/none.csv"}, "DataError", "There is no s3://BUCKET/tables/none.csv. Upload it: "),
        ({**HEIGHT, "bucket": "b-none"}, "DataError", "There is no s3://b-none/tables/htwtmlb.csv."),
        ({**HEIGHT, "bucket": "no bucket"}, "DataError", "s3://no bucket/tables/htwtmlb.csv cannot be: "),
        ({**HEIGHT, "target": "Hieght"}, "DataError", "s3://BUCKET/tables/htwtmlb.csv has no column 'Hieght'"),
        ({"key": "empty.csv", "target": "y"}, "DataError", "s3://BUCKET/empty.csv is empty."),
        ({"key": "two.csv", "target": "y"}, "DataError", "2 rows of s3://BUCKET/two.csv are used"),
        ({"key": "tables/htwtmlb.csv"}, "InputError", "target: got nothing, expected the column to predict"),
        ({**HEIGHT, "options": {"sede": 1}}, "InputError", "Did you mean seed?"),
        ({**HEIGHT, "options": {"estimator": "rigde"}}, "OptionError", "ridge"),
    ],
)
def test_a_bad_table_or_event_is_told_plainly_and_fails_the_execution(bucket, event, error, said):
    bucket.put("empty.csv", b"")
    bucket.put("two.csv", b"x,y\n1,2\n2,3\n")
    done = bucket.execute(**event)
    assert (done["status"], done["error"]) == ("FAILED", error), done
    assert done["states"] == ["Retrain", "NotifyFailure", "Failed"]
    [(subject, text)] = bucket.mails()
    assert subject.startswith("failed: ")
    assert said.replace("BUCKET", bucket.name) in text
    assert not [word for word in ("Traceback", "/tmp", ".py", "errorMessage") if word in text]
    assert not bucket.state()


# --------------------------------------------------------------------------------------------- what goes wrong else


def test_a_step_that_lambda_refuses_twice_is_done_in_the_end(there, bucket):
    there.faults["Promote"] = [(429, "TooManyRequestsException"), (500, "ServiceException")]
    version = bucket.promoted(**HEIGHT)
    assert there.called == ["Retrain", "Gate", "Promote", "Promote", "Promote", "Notify"]
    assert bucket.current()["version"] == version


def test_an_image_that_lambda_put_aside_is_waited_for(there, bucket):
    """After weeks without a call Lambda refuses the first, and takes up to two minutes to have the image again."""
    states = json.loads((HERE / "pipeline.asl.json").read_text())["States"]
    for state in (state for state in states.values() if state["Type"] == "Task"):
        [retry] = [each for each in state["Retry"] if "Lambda.CodeArtifactUserPendingException" in each["ErrorEquals"]]
        waits = [retry["IntervalSeconds"] * retry["BackoffRate"] ** i for i in range(retry["MaxAttempts"])]
        assert sum(waits) >= 120
        assert "JitterStrategy" not in retry  # it would shorten them
    there.faults["Gate"] = [(409, "CodeArtifactUserPendingException")]
    bucket.promoted(**HEIGHT)
    assert there.called == ["Retrain", "Gate", "Gate", "Promote", "Notify"]


@pytest.mark.parametrize("step", STEPS[:3])
def test_a_step_that_cannot_be_done_is_announced_and_nothing_is_promoted(there, bucket, step):
    there.faults[step] = [(403, "AccessDeniedException")]
    done = bucket.execute(**HEIGHT)
    assert (done["status"], done["error"]) == ("FAILED", "Lambda.AccessDeniedException")
    assert done["states"][-3:] == [step, "NotifyFailure", "Failed"]
    assert bucket.current() is None
    [(subject, text)] = bucket.mails()
    assert subject.startswith("failed: ")
    assert "AccessDeniedException" in text


def test_a_failure_that_cannot_be_announced_is_still_the_one_that_is_shown(there, bucket):
    there.faults["Notify"] = [(403, "AccessDeniedException")]
    done = bucket.execute(**{**HEIGHT, "target": "Hieght"})
    assert (done["status"], done["error"]) == ("FAILED", "DataError")
    assert "has no column 'Hieght'" in json.loads(done["cause"])["errorMessage"]
    assert done["states"] == ["Retrain", "NotifyFailure", "Failed"]
    assert not bucket.mails()


def test_a_promotion_that_cannot_be_announced_fails_and_may_be_repeated(there, bucket):
    there.faults["Notify"] = [(403, "AccessDeniedException")]
    done = bucket.execute(**HEIGHT)
    assert (done["status"], done["error"]) == ("FAILED", "Lambda.AccessDeniedException")
    assert bucket.current() is not None
    assert bucket.execute(**HEIGHT)["output"]["outcome"] == "kept"


@pytest.mark.parametrize(
    ("error", "outcome", "said"),
    [
        (
            {"Error": "Sandbox.Timedout", "Cause": '{"errorMessage": "Task timed out"}'},
            "failed",
            "Task timed out (Give the",
        ),
        ({"Error": "States.Timeout"}, "failed", "States.Timeout (Give the function more time or memory"),
        ({"Error": "Lambda.Unknown", "Cause": "no JSON"}, "failed", "no JSON\n"),
        ({"Error": "GateError", "Cause": '{"errorMessage": "R² is low."}'}, "kept", "R² is low.\n"),
    ],
)
def test_an_error_is_told_in_its_own_words(there, bucket, error, outcome, said):
    """As Step Functions hands them over, of which moto knows not all."""
    told = there.functions["Notify"].invoke({"bucket": bucket.name, **HEIGHT, "error": error})
    assert told["outcome"] == outcome
    [(subject, text)] = bucket.mails()
    assert subject == f"{outcome}: tables/htwtmlb.csv, Height"
    assert text.startswith(f"tables/htwtmlb.csv, Height: {outcome}. {said}")
    assert text == told["said"]


def test_where_another_execution_was_quicker_the_gate_looks_again(there, bucket, monkeypatch):
    better = bucket.execute(**HEIGHT, **MORE, least=0.99)["output"]["candidate"]  # trained, and not promoted
    promote = there.functions["Promote"]

    def overtaken(body):
        monkeypatch.undo()
        assert promote.invoke({"bucket": bucket.name, "candidate": better})["promoted"]["previous"] is None
        return promote.invoke(body)

    monkeypatch.setitem(there.functions, "Promote", SimpleNamespace(invoke=overtaken))
    done = bucket.execute(**HEIGHT)
    assert (done["status"], done["output"]["outcome"]) == ("SUCCEEDED", "kept")
    assert done["states"] == ["Retrain", "Gate", "GateHeld", "Promote", "Gate", "GateHeld", "Notify", "Done"]
    assert bucket.current()["version"] == better["version"]


@pytest.fixture(name="quicker")
def _quicker(there, monkeypatch):
    """Let a promotion be done by the function, after the one of this process has read and before it writes."""

    def arrange(event):
        session = boto3.Session(region_name="eu-west-1", aws_access_key_id="of-tests", aws_secret_access_key="of-tests")

        def before(**_):
            session.events.unregister("before-call.s3.PutObject", unique_id="quicker")
            there.functions["Promote"].invoke(event)

        session.events.register("before-call.s3.PutObject", before, unique_id="quicker")
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        monkeypatch.setenv("AWS_ENDPOINT_URL", there.origin)

    return arrange


def test_of_two_promotions_at_the_same_moment_one_wins(bucket, quicker):
    first = bucket.execute(**HEIGHT, least=0.99)["output"]["candidate"]
    second = bucket.execute(**HEIGHT, **MORE, least=0.99)["output"]["candidate"]
    quicker({"bucket": bucket.name, "candidate": first})
    with pytest.raises(pipeline.Overtaken, match="at the same moment"):
        pipeline.promote({"bucket": bucket.name, "candidate": second})
    assert bucket.current()["version"] == first["version"]


def test_a_promotion_that_arrives_twice_is_one(bucket, quicker):
    """As when S3's answer is lost, and boto3 asks again."""
    event = {"bucket": bucket.name, "candidate": bucket.execute(**HEIGHT, least=0.99)["output"]["candidate"]}
    quicker(event)
    promoted = pipeline.promote(event)["promoted"]
    assert promoted == {"version": event["candidate"]["version"], "previous": None}
    assert bucket.current()["version"] == promoted["version"]


def test_a_promotion_whose_answer_was_lost_may_be_tried_again(there, bucket):
    first = bucket.promoted(**HEIGHT)
    done = bucket.execute(**HEIGHT, **MORE)["output"]
    before = bucket.state()
    again = there.functions["Promote"].invoke(done)
    assert again["promoted"] == {"version": done["candidate"]["version"], "previous": first}
    assert bucket.state() == before


def test_a_person_rolls_back_by_naming_the_version(there, bucket):
    first = bucket.promoted(**HEIGHT)
    second = bucket.promoted(**HEIGHT, **MORE)
    event = event_of("promote", bucket=bucket.name, candidate={"name": "htwtmlb-height", "version": first})
    there.functions["Promote"].invoke(event)
    assert (bucket.current()["version"], bucket.current()["previous"]) == (first, second)


def test_what_was_never_trained_is_not_promoted(there, bucket):
    event = event_of("promote", bucket=bucket.name)
    found = there.functions["Promote"].invoke(event)
    assert found["errorType"] == "ModelError"
    assert "There is no s3://" in found["errorMessage"]
    assert bucket.current() is None


# ------------------------------------------------------------------------------------------------------ the event


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bucket": None}, "bucket: got nothing, expected the name of a bucket on S3"),
        ({"bucket": 7}, "bucket: got 7"),
        ({"key": "tables/"}, 'key: got "tables/", expected the key of a table'),
        ({"key": ".."}, 'key: got ".."'),
        ({"target": " "}, 'target: got " ", expected the column to predict'),
        ({"least": "high"}, 'least: got "high", expected a number'),
        ({"slack": -1}, "slack: got -1, expected a number from 0"),
        ({"slack": True}, "slack: got true"),
        ({"slack": 10**400}, 'slack: got "a number too large"'),
        ({"least": 10**400}, 'least: got "a number too large"'),
        ({"least": float("nan")}, "least: got "),
        ({"options": ["seed"]}, 'options: got "a list", expected an object of options'),
        ({"options": {"features": 5}}, "features: got 5, expected a list of columns"),
        ({"options": {"units": {"Height": 5}}}, 'units: got "an object", expected an object of columns'),
        ({"options": {"parameters": []}}, "parameters: got"),
        ({"options": {"calibrate": "yes"}}, 'calibrate: got "yes", expected true or false'),
        ({"options": {"min_r2": "0.1"}}, 'min_r2: got "0.1", expected a number'),
        ({"options": {"model_name": "/tmp/x"}}, 'model_name: got "/tmp/x", expected one of tsize, '),
        ({"traget": "Height"}, "Did you mean target?"),
    ],
    ids=str,
)
def test_an_event_that_cannot_be_is_refused_before_anything_is_fetched(wrong, said):
    with pytest.raises(mlib.InputError) as refused:
        pipeline.retrain({"bucket": "b", **HEIGHT, **wrong})
    assert said in str(refused.value)


@pytest.mark.parametrize("event", [None, [], "Height", 7])
def test_what_is_no_event_is_refused(event):
    with pytest.raises(mlib.InputError, match="expected an object with bucket, key, target"):
        pipeline.retrain(event)


def test_null_is_as_if_it_were_not_said(bucket):
    nothing = {"least": None, "slack": None, "options": {"seed": None, "features": None}}
    assert bucket.promoted(**HEIGHT, **nothing) == mlib.Signature.read(ROOT / "model.joblib").version


# ------------------------------------------------------------------------------ the page, the template, the Makefile


def test_the_code_that_the_readme_shows_is_that_of_the_function():
    [shown] = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    code = (HERE / "marco_polo.py").read_text(encoding="utf-8").splitlines()
    assert [line for line in code if line in shown.splitlines()] == shown.splitlines()


@pytest.mark.parametrize("machine", ["MarcoPoloMachine", "PipelineMachine"])
def test_the_template_gives_a_machine_the_functions_that_it_calls_and_may_call(machine):
    properties = template()[machine]["Properties"]
    definition = (HERE / properties["DefinitionUri"]).read_text(encoding="utf-8")
    called = set(re.findall(r"\$\{(\w+)\}", definition))
    assert properties["DefinitionSubstitutions"] == {name: f"{name}.Arn" for name in called}
    allowed = {
        policy["LambdaInvokePolicy"]["FunctionName"]
        for policy in properties["Policies"]
        if len(policy) == 1 and "LambdaInvokePolicy" in policy
    }
    assert allowed == called


@pytest.mark.parametrize("machine", ["MarcoPoloMachine", "PipelineMachine"])
def test_a_state_waits_longer_than_its_function_may_take(machine):
    resources = template()
    states = json.loads((HERE / resources[machine]["Properties"]["DefinitionUri"]).read_text())["States"]
    tasks = [state for state in states.values() if state["Type"] == "Task"]
    assert tasks
    for task in tasks:
        function = task["Parameters"]["FunctionName"].strip("${}")
        assert task["TimeoutSeconds"] > resources[function]["Properties"]["Timeout"]


def test_the_template_names_handlers_that_are_there():
    resources = template()
    for name in STEPS:
        [command] = resources[name]["Properties"]["ImageConfig"]["Command"]
        assert command == f"pipeline.{name.lower()}"
        assert callable(getattr(pipeline, name.lower()))
    assert resources["MarcoPolo"]["Properties"]["Handler"] == "marco_polo.lambda_handler"
    assert (HERE / resources["MarcoPolo"]["Properties"]["CodeUri"]).is_file()


def test_sam_takes_the_template():
    assert "is a valid SAM Template" in sam("validate", "--lint", cwd=HERE)


def make(*command):
    """Run make in the recipe."""
    return run("make", "--no-print-directory", *command, cwd=HERE, env=ENVIRONMENT)


def test_make_lists_the_six_targets_of_every_recipe():
    targets = [line.split()[0] for line in make().stdout.splitlines()]
    assert targets == ["help", "build", "run", "test", "deploy", "clean"]


@pytest.mark.parametrize("confirm", [[], ["CONFIRM=no"], ["CONFIRM=YES"]])
def test_deploy_without_confirm_shows_its_plan_and_does_nothing(confirm):
    built = HERE / ".aws-sam/build/template.yaml"  # is there where somebody built
    before = built.stat().st_mtime_ns if built.exists() else None
    done = make("deploy", "STACK=mine", "EMAIL=somebody@example.com", *confirm)
    assert done.returncode == 2
    assert done.stdout.startswith("Deploy the stack mine to ")
    shown = re.findall(r"^  (\w+), AWS::", done.stdout, re.MULTILINE)
    assert shown == list(template())
    assert "Told of models: somebody@example.com" in done.stdout
    assert "Nothing was deployed. To do it, add CONFIRM=yes" in done.stderr
    assert (built.stat().st_mtime_ns if built.exists() else None) == before


def test_deploy_is_part_of_no_other_target():
    for target in ("help", "build", "run", "test", "clean"):
        assert "sam deploy" not in make("--dry-run", target, "CONFIRM=yes").stdout
