"""Are tests of containers skipped aloud where there is no Docker engine?"""

import sys

import pytest
from conftest import ENVIRONMENT, run


@pytest.mark.parametrize(
    ("docker", "reason"),
    [
        (None, "docker is not installed"),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "no Docker engine answers: Cannot connect"),
    ],
)
def test_without_an_engine_the_summary_says_what_was_skipped(tmp_path, docker, reason):
    if docker:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n", encoding="utf-8")
        (tmp_path / "docker").chmod(0o755)
    env = {**ENVIRONMENT, "PATH": str(tmp_path)}
    done = run(sys.executable, "-m", "pytest", "tests/test_containers.py", "-p", "no:cacheprovider", env=env)
    assert done.returncode == 0, done.stdout
    assert reason in done.stdout
    assert " passed" not in done.stdout
