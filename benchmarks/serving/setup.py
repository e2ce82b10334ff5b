"""Set up what is compared: ``python -m benchmarks.serving.setup [name ...]`` makes an environment for each server.

The environments are in ``.venvs``. What cannot be installed is told, noted there, and told again in the results.
"""

import re
import shutil
import subprocess
import sys

from benchmarks.serving.servers import HERE, ROOT, SERVERS, VENVS, requirements_of

PINNED = ("scikit-learn", "onnxruntime")  # the model was written by this one and compiled for that one


def constraints():
    """Write the versions of what the model needs, as this project pins them; return the file."""
    pins = re.findall(rf"^(?:{'|'.join(PINNED)})==.*$", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    path = VENVS / "constraints.txt"
    path.write_text("\n".join(pins) + "\n", encoding="utf-8")
    return path


def install(env):
    """Make an environment, without pip in it, and install a server's requirements.

    Parameters
    ----------
    env : str
        A name of `Server.env`.

    Raises
    ------
    subprocess.CalledProcessError
        Something cannot be installed; its output says what.
    """
    folder = VENVS / env
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    files = [part for path in requirements_of(env) for part in ("-r", path)]
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", *files, "-c", constraints())
    prepare = HERE / "peers" / env / "prepare.py"
    if prepare.exists():
        run(python, prepare, folder / "model")


def run(*command):
    """Run a command, its output kept for what it says when it fails."""
    subprocess.run(list(map(str, command)), check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wanted_of(env):
    """Say what an environment is to hold, to see whether it does."""
    return "".join(path.read_text("utf-8") for path in requirements_of(env)) + constraints().read_text("utf-8")


def main():
    """Set up all environments, or those that are named, where they are not up to date."""
    VENVS.mkdir(exist_ok=True)
    for env in sys.argv[1:] or dict.fromkeys(server.env for server in SERVERS.values()):
        installed, failed = VENVS / env / "installed.txt", VENVS / f"{env}.failed.txt"
        if installed.exists() and installed.read_text("utf-8") == wanted_of(env):
            continue
        print(f"Installing {env}", flush=True)
        failed.unlink(missing_ok=True)
        try:
            install(env)
            installed.write_text(wanted_of(env), encoding="utf-8")
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stdout.splitlines() if line.strip()]
            failed.write_text((lines or [str(error)])[-1], encoding="utf-8")
            print(error.stdout, f"{env} could not be installed", sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
