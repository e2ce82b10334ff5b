"""Tests of what a person sees of a batch."""

import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT

from toolkit.batch import Progress
from toolkit.batch_view import line


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Progress(1000, 0, 0.0, 500.4, None), "1,000 rows, 500 a second"),
        (
            Progress(5_242_880, 3, 0.5, 1_200_000, 4.4),
            "[##########----------]  50%  5,242,880 rows, 3 rejects, 1,200,000 a second, 0:04 left",
        ),
        (Progress(10, 0, 0.999, 1, 59.6), "[###################-] 100%  10 rows, 1 a second, 1:00 left"),
        (Progress(10, 0, 1.0, 1, 0), "[####################] 100%  10 rows, 1 a second, 0:00 left"),
        (Progress(10, 0, 0.01, 1, 7384), "[--------------------]   1%  10 rows, 1 a second, 2:03:04 left"),
    ],
)
def test_a_line_says_how_far_it_is(progress, expected):
    assert line(progress) == expected


def test_a_terminal_shows_a_bar_that_goes_away(model, tmp_path):
    weights = np.random.default_rng(0).uniform(150, 250, 100_000).round(2)
    (tmp_path / "in.csv").write_text("Weight\n" + "\n".join(map(str, weights)) + "\n")
    ours, theirs = pty.openpty()
    command = [sys.executable, "utilscli.py", "batch", tmp_path / "in.csv", tmp_path / "out.csv", "--model", model]
    with subprocess.Popen(
        [*map(str, command), "--chunk-rows", "500"], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the terminal is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 0
    lines = shown.decode().split("\r\x1b[K")
    assert lines[0] == ""
    assert lines[1].startswith("[")
    assert "rows, " in lines[1]
    assert " left" in lines[1]
    assert lines[-1] == ""
