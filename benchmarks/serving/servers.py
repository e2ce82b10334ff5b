"""What is compared, and how is each started?  They all answer the height of a player of 200 pounds."""

from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENVS = HERE / ".venvs"

ROW = {"Weight": 200}
ANSWER = 73.227  # inches, of model.joblib; an answer may round it to two decimals

NOTHING = "python -m benchmarks.serving.nothing.{} {{port}}"
UVICORN = "uvicorn --host 127.0.0.1 --port {port} --no-access-log --loop uvloop --http httptools server:app"

# Servers that ours might have run on, each with one process.
HOSTS = {
    "granian": (
        "granian",
        "granian --interface wsgi --workers 1 --no-ws --host 127.0.0.1 --port {port} plain:app",
    ),
    "gunicorn": ("gunicorn, 8 threads", "gunicorn --threads 8 --bind 127.0.0.1:{port} plain:app"),
    "waitress": ("waitress", "waitress-serve --threads 8 --listen 127.0.0.1:{port} plain:app"),
    "a2wsgi": ("uvicorn with a2wsgi", "uvicorn --host 127.0.0.1 --port {port} --no-access-log adapted:asgi"),
}


@dataclass(frozen=True)
class Server:
    """A server that is measured.

    Parameters
    ----------
    what : str
        Its name in the table.
    env : str
        Its environment: a folder in ``.venvs``, made by ``setup.py``.
    command : str
        The program, in the environment's bin, and its arguments; ``{port}`` and ``{spare}`` stand for free ports.
    folder : path
        Where it is started.
    environment : dict of str to str
        Variables; the values as in the command.
    path : str
        Where it answers.
    body : object
        One row, as it wants it; JSON.
    peer : bool
        Whether it is another project's server, and not a plain program.
    """

    what: str
    env: str
    command: str
    folder: Path
    environment: dict = field(default_factory=dict)
    path: str = "/predict"
    body: object = field(default_factory=lambda: ROW)
    peer: bool = False

    @property
    def package(self):
        """The package that is measured: the first of its requirements; of ours, and of the hosts, the server's."""
        if self.env in ("ours", "hosts"):
            program = self.command.split()[0].removesuffix("-serve")
            return "uvicorn" if program == "python" else program
        return requirements_of(self.env)[0].read_text("utf-8").split("==")[0]


SERVERS = {
    "ours": Server("ours", "ours", "python app.py", ROOT, {"HOST": "127.0.0.1", "PORT": "{port}"}),
    "nothing_wsgi": Server("do-nothing WSGI on the same server", "ours", NOTHING.format("wsgi_app"), ROOT),
    "nothing_flask": Server("do-nothing Flask on the same server", "ours", NOTHING.format("flask_app"), ROOT),
    **{
        f"nothing_{name}": Server(f"do-nothing WSGI on {what}", "hosts", command, HERE / "hosts")
        for name, (what, command) in HOSTS.items()
    },
    "fastapi_onnx": Server("FastAPI with ONNX Runtime", "fastapi_onnx", UVICORN, HERE / "peers" / "fastapi_onnx"),
    "fastapi_sklearn": Server(
        "FastAPI with scikit-learn", "fastapi_sklearn", UVICORN, HERE / "peers" / "fastapi_sklearn"
    ),
    "mlflow": Server(
        "MLflow",
        "mlflow",
        "mlflow models serve --env-manager local --host 127.0.0.1 --port {port} --model-uri "
        + str(VENVS / "mlflow/model"),
        HERE / "peers" / "mlflow",
        environment={"UVICORN_ACCESS_LOG": "false"},
        path="/invocations",
        body={"inputs": [[200.0]]},
        peer=True,
    ),
    "bentoml": Server(
        "BentoML",
        "bentoml",
        "bentoml serve server:Heights --host 127.0.0.1 --port {port}",
        HERE / "peers" / "bentoml",
        environment={"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(VENVS / "bentoml/home")},
        peer=True,
    ),
    "litserve": Server(
        "LitServe",
        "litserve",
        "python server.py",
        HERE / "peers" / "litserve",
        environment={"PORT": "{port}"},
        peer=True,
    ),
    "vetiver": Server("vetiver", "vetiver", UVICORN, HERE / "peers" / "vetiver", body=[ROW], peer=True),
    "mlserver": Server(
        "MLServer",
        "mlserver",
        "mlserver start .",
        HERE / "peers" / "mlserver",
        environment={"MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "{spare}"},
        path="/v2/models/heights/infer",
        body={"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [200.0]}]},
        peer=True,
    ),
}


def requirements_of(env):
    """List the files of requirements of an environment.

    Parameters
    ----------
    env : str
        Such as ``"mlflow"``.

    Returns
    -------
    list of path
    """
    if env == "ours":
        return [ROOT / "requirements" / "serve.txt"]
    if env == "hosts":
        return [HERE / "hosts" / "requirements.txt"]
    return [HERE / "peers" / env / "requirements.txt"]
