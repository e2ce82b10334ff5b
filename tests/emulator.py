"""How do tests run a function as AWS Lambda does?

By Lambda's own runtime client, under its runtime interface emulator, which aws-sam-cli brings; without a container:

>>> with emulated("handler.lambda_handler", folder) as function:
...     function.invoke({"Weight": 200})["statusCode"]

The same of what runs in one, at its address: ``Function(container.url()).invoke({"Weight": 200})``.
"""

import contextlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import requests

ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "none")
RAPID = "lib/python*/site-packages/samcli/local/rapid"
EMULATORS = list(Path(f"{sys.prefix}-sam").glob(f"{RAPID}/aws-lambda-rie-{ARCH}"))
MISSING = None if EMULATORS and sys.platform == "linux" else "there is no emulator: make .venv-sam/installed (Linux)"
MARK = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
PATH = "/2015-03-31/functions/function/invocations"
UNSET = ("AWS_", "MLOPS_", "LAMBDA_")  # what this machine says of these is no function's
CREDENTIALS = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "of-tests", "AWS_SECRET_ACCESS_KEY": "of-tests"}


class Function:
    """A function under the emulator.

    Parameters
    ----------
    url : str
        The emulator's address.
    log : path, optional
        Where the emulator and the function write.
    """

    def __init__(self, url, log=None):
        self.url, self._log = url.rstrip("/") + PATH, log

    def invoke(self, event):
        """Give what the function answers, or its error: the emulator answers both alike."""
        response = requests.post(self.url, data=event if isinstance(event, bytes) else json.dumps(event), timeout=60)
        assert response.status_code in (200, 502), response.text  # 502: it was not initialised
        try:
            return response.json()
        except ValueError:  # its own words, such as of a timeout
            return response.text

    def log(self):
        """Give what was written so far."""
        return Path(self._log).read_text(encoding="utf-8")

    def lines(self):
        """Give the lines of JSON among it, which are the function's own."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def inits(self):
        """Count how often it was initialised."""
        return len(re.findall(r"INIT START\(", self.log()))


@contextlib.contextmanager
def emulated(handler, *folders, python=sys.executable, command=None, **environment):
    """Start a function; stop it in the end.

    Parameters
    ----------
    handler : str
        Module and function, such as ``handler.lambda_handler``.
    folders : path
        Where modules are looked for; in the first one it runs.
    python : path
        Which has awslambdaric.
    command : list of str, optional
        In the place of Python's start of awslambdaric.
    environment : str
        ``AWS_LAMBDA_FUNCTION_TIMEOUT``, seconds, and what else the function finds in its environment.

    Yields
    ------
    Function
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNSET)}
    known = {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "LAMBDA_TASK_ROOT": str(folders[0]),
        "_HANDLER": handler,
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
    }
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, api_port = (each.getsockname()[1] for each in (one, other))
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            [
                EMULATORS[0],
                f"--runtime-interface-emulator-address=127.0.0.1:{port}",
                f"--runtime-api-address=127.0.0.1:{api_port}",
                *(command or [python, "-m", "awslambdaric"]),
                handler,
            ],
            env=kept | CREDENTIALS | {"AWS_REGION": "eu-west-1"} | known | environment,
            cwd=folders[0],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(port, process, log.name)
            yield Function(f"http://127.0.0.1:{port}", log.name)
        finally:
            process.terminate()  # it ends what it started
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port, process, log):
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail(f"The emulator does not listen: {Path(log).read_text(encoding='utf-8')}")
