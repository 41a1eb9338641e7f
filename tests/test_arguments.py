"""What operators refuse before a kernel sees a pointer; most of it in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.native
def test_the_checks_of_argument_checks() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--override-ini=addopts=", "-p", "no:cacheprovider"]
    command += ["--tb=short", "argument_checks.py"]
    ran = subprocess.run(command, cwd=FOLDER, env=os.environ, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-5000:]
    assert " passed" in ran.stdout
