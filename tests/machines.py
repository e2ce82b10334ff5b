"""How do tests execute a state machine, with functions that really run behind it?

moto interprets the machine, and is S3, SNS and SQS. What asks Lambda is answered by functions under Lambda's emulator:

>>> with started(monkeypatch) as there, emulated("polo.lambda_handler", folder) as function:
...     there.functions["Polo"] = function
...     machine = there.machine(Path("polo.asl.json"), Function="Polo")
...     there.execute(machine, {"name": "Marco"})["status"]
'SUCCEEDED'
"""

import contextlib
import json
import re
import time
import uuid
from urllib.parse import unquote

import boto3
import requests
from emulator import CREDENTIALS
from moto.server import ThreadedMotoServer
from standins import standin

ROLE = "arn:aws:iam::123456789012:role/machines"


class There:
    """A running moto, and functions behind its state machines.

    Parameters
    ----------
    origin : str
        The address of moto.
    functions : dict of str to emulator.Function
        By the name that a state machine calls them.
    """

    def __init__(self, origin, functions):
        self.origin, self.functions = origin, functions
        self.called = []  # the name of each function that was asked for, in their order
        self.faults = {}  # name -> errors of Lambda itself that come before the function is asked: (status, code)

    def client(self, service):
        """Give a client of a service of moto's."""
        return boto3.client(
            service,
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
            endpoint_url=self.origin,
            aws_access_key_id="of-tests",
            aws_secret_access_key="of-tests",
        )

    def invoke(self, asked):
        """Answer as Lambda's Invoke does."""
        name = unquote(asked.path.split("/")[3])  # /2015-03-31/functions/NAME/invocations
        self.called.append(name)
        if self.faults.get(name):
            status, code = self.faults[name].pop(0)
            headers = {"X-Amzn-ErrorType": code, "X-Amzn-RequestId": str(uuid.uuid4())}
            return status, headers, json.dumps({"Type": "Service", "Message": code}).encode()
        answer = self.functions[name].invoke(asked.body)
        # Lambda tells by a header what failed, the emulator does not.
        is_error = isinstance(answer, dict) and {"errorMessage", "errorType"} <= answer.keys()
        return 200, {"X-Amz-Function-Error": "Unhandled"} if is_error else {}, json.dumps(answer).encode()

    def machine(self, path, **substitutions):
        """Create a state machine of a file; give its ARN. What stands in it as ${NAME} is given by name."""
        definition = re.sub(r"\$\{(\w+)\}", lambda found: substitutions[found[1]], path.read_text(encoding="utf-8"))
        created = self.client("stepfunctions").create_state_machine(
            name=f"m-{uuid.uuid4()}", definition=definition, roleArn=ROLE
        )
        return created["stateMachineArn"]

    def execute(self, machine, event):
        """Execute a state machine to its end; give what Step Functions tells of it, the output parsed."""
        steps = self.client("stepfunctions")
        started_one = steps.start_execution(stateMachineArn=machine, name=f"e-{uuid.uuid4()}", input=json.dumps(event))
        for _ in range(1200):
            found = steps.describe_execution(executionArn=started_one["executionArn"])
            if found["status"] != "RUNNING":
                break
            time.sleep(0.05)
        events = steps.get_execution_history(executionArn=started_one["executionArn"], maxResults=1000)["events"]
        entered = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
        return found | {"output": json.loads(found.get("output") or "null"), "states": entered}


@contextlib.contextmanager
def started(monkeypatch):
    """Start moto, and what answers for Lambda; give a There whose functions are to be filled in."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    there = There(f"http://127.0.0.1:{server.get_host_and_port()[1]}", {})
    try:
        with standin(there.invoke) as front:
            monkeypatch.setenv("MOTO_PORT", str(front.port))  # where moto's interpreter asks Lambda
            _configure(there, True)
            yield there
    finally:
        _configure(there, False)
        server.stop()


def _configure(there, is_executing):
    config = {"stepfunctions": {"execute_state_machine": is_executing}}
    requests.post(f"{there.origin}/moto-api/config", data=json.dumps(config), timeout=10).raise_for_status()
