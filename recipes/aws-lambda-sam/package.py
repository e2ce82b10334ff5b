#!/usr/bin/env python3
"""What belongs into the function's folder, in its image as in its zip file?

    ./package.py .aws-sam/zip --arch arm64 --python 3.13

Its packages by their digests, less what of them is never imported here (45 MB), the code that answers, the compiled
model; and byte code, as nothing can be written where the function runs, so that Python would compile all at each start.
In the end the function answers, if this machine is like the one that it is for.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = ["mlib.py", "core", "toolkit/__init__.py", "toolkit/wire.py", "model.onnx"]
UNUSED = [  # what ONNX Runtime has for C++ programs and for making models, NumPy's Fortran, tests, commands
    "bin",
    "numpy/f2py",
    "numpy/**/tests",
    "onnxruntime/capi/libonnxruntime.so.*",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
]
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # as Lambda names them, and as wheels do
HERE_IS = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}  # as systems name theirs
OURS = ("handler.py", "model.onnx", "onnxruntime")  # nothing else that somebody has on a disk has all of them
LIBC = ["manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014"]  # Amazon Linux 2023 has 2.34
CHECK = "import handler; print(handler.lambda_handler(handler.MODEL.signature.example(), None)['body'])"


def main():
    """Make the folder anew."""
    here = HERE_IS.get(platform.machine())
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser = argparse.ArgumentParser(description="Make the folder of the function.")
    parser.add_argument("folder", type=Path, help="made anew: new, empty, or made by this before")
    parser.add_argument(
        "--arch",
        choices=MACHINES,
        default=here,
        required=here is None,
        help="the function's architecture (that of here)",
    )
    parser.add_argument("--python", default=running, help="the function's Python (the one that runs this)")
    given = parser.parse_args()
    folder, is_alike = given.folder.resolve(), given.python == running
    if not (ROOT / "model.onnx").exists():
        sys.exit("There is no model.onnx, which the function answers from: train one by ./utilscli.py retrain.")

    is_taken = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if is_taken and not all((folder / name).exists() for name in OURS):
        sys.exit(f"{given.folder} is there, and was not made by this: name a new folder, or remove it yourself.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
        fill(Path(made) / "folder", given.arch, given.python, is_alike)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(Path(made) / "folder", folder)

    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(json.dumps({"folder": str(given.folder), "megabytes": round(size / 1e6, 1)}))
    if is_alike and (sys.platform, here) == ("linux", given.arch):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_", "PYTHON"))}
        # -S: without the packages of this Python, which Lambda's has not
        checking = [sys.executable, "-S", "-c", CHECK]
        sys.exit(subprocess.run(checking, cwd=folder, env=environment, check=False).returncode)
    print("It was not run: this machine is not like Lambda's.", file=sys.stderr)


def fill(folder, arch, python, is_alike):
    """Put into a new folder what the function is made of; ``is_alike`` says that this Python may compile for it."""
    wanted = ["--implementation", "cp", "--python-version", python]
    wanted += [word for libc in LIBC for word in ("--platform", f"{libc}_{MACHINES[arch]}")]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    pip += ["--target", folder, "--no-compile", "--only-binary", ":all:", "--require-hashes", *wanted]
    if subprocess.run([*pip, "-r", ROOT / "requirements/lambda.txt"], check=False).returncode:
        sys.exit(f"The packages for Python {python} on {arch} were not installed.")
    for pattern in UNUSED:
        for path in list(folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name in SOURCES:
        (folder / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():  # the byte code there is of whatever Python ran here
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    shutil.copy(HERE / "handler.py", folder)

    if is_alike:
        compiling = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "."]
        subprocess.run([sys.executable, *compiling], cwd=folder, check=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    else:
        print(f"Python {python} did not run this, so byte code is missing: starts take longer.", file=sys.stderr)


if __name__ == "__main__":
    main()
