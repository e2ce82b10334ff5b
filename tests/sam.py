"""How do tests run AWS's SAM CLI?

>>> sam("validate", cwd=folder)
'.../template.yaml is a valid SAM Template'
>>> translated(folder / "template.yaml", Access="AWS_IAM")["Resources"]["Api"]["Type"]
'AWS::ApiGateway::RestApi'
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

BIN = Path(f"{sys.prefix}-sam/bin")  # beside the environment of the tests, as make has it
MISSING = None if (BIN / "sam").exists() else "the SAM CLI is not installed: make .venv-sam/installed"
MARK = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
# What CloudFormation does with a template before all else, by AWS's own code. The managed policies' ARNs are AWS's.
TRANSLATE = """
import json, sys
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

class Policies:
    def load(self):
        return {}

template, parameters = yaml_parse(sys.stdin.read()), json.loads(sys.argv[1])
for resource in template["Resources"].values():  # where `sam deploy` puts what was pushed
    if resource["Type"] == "AWS::Serverless::Function":
        is_image = resource["Properties"].get("PackageType") == "Image"
        resource["Properties"] |= {"ImageUri": "an.image:1"} if is_image else {"CodeUri": "s3://a-bucket/a.zip"}
print(json.dumps(transform(template, parameters, Policies())))
"""


def environment(home):
    """Make the environment of a process that runs sam: no account, and nothing written at home.

    Parameters
    ----------
    home : path

    Returns
    -------
    dict of str to str
    """
    kept = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("AWS_", "SAM_"))}
    docker = os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))  # which names the engine, on some machines
    own = {"HOME": str(home), "DOCKER_CONFIG": docker, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "eu-west-1"}
    return kept | own | {"PYTHONWARNINGS": "default", "AWS_EC2_METADATA_DISABLED": "true"}


def sam(*command, cwd, returncode=0, stderr=subprocess.STDOUT):
    """Run a command of sam's to its end; give what it printed, stderr with it unless told otherwise."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [BIN / "sam", *map(str, command)],
            cwd=cwd,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == returncode, f"sam {' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@functools.cache  # it takes a second or two
def translated(template, **parameters):
    """Translate a template of SAM's to one of CloudFormation's, as AWS does.

    Parameters
    ----------
    template : pathlib.Path
    parameters : str

    Returns
    -------
    dict
    """
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [BIN / "python", "-c", TRANSLATE, json.dumps(parameters)],
            input=template.read_text(encoding="utf-8"),
            env=environment(home),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
