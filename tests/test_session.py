"""What does running a model leave behind?"""

import os
import sys

from conftest import ROOT, run


def test_onnx_runtime_keeps_no_identifier_and_reports_to_nobody(model, tmp_path):
    """It would write both under the home folder; in an environment that tells of CI or tests it does not by itself."""
    env = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "MLOPS_MODEL": str(model)}
    (tmp_path / "home").mkdir()
    result = run(sys.executable, ROOT / "cli.py", "--weight", 180, env=env)
    assert (result.returncode, result.stdout) == (0, "6 foot, 0 inches\n")
    assert not list((tmp_path / "home").iterdir())
