"""The native ops as torch sees them; most of it in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.native
def test_the_checks_of_native_torch_checks() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--override-ini=addopts=", "-p", "no:cacheprovider"]
    command += ["native_torch_checks.py"]
    ran = subprocess.run(command, cwd=FOLDER, env=os.environ, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


@pytest.mark.native
def test_a_backward_without_kept_features_is_an_error_or_right() -> None:
    """In a process of its own: reading features that were never kept would be the end of it."""
    code = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
import torch
from native_cases import field_gradients, field_inputs, field_spec
spec = field_spec("grid", "silu", True, 16, 1, 3)
inputs = field_inputs(spec, 70)
params = inputs["params"].clone().requires_grad_()
y, _ = torch.ops.neufield.field_forward(inputs["x"], inputs["table"], params, False, spec.text)
try:
    y.backward(inputs["mix"])
    # By the composition of the parts: the same function, other roundings (CpuField.tolerance of the largest).
    wanted = field_gradients(inputs, spec, torch.float32)["by params"]
    torch.testing.assert_close(params.grad, wanted, rtol=1e-5, atol=1e-5)
except RuntimeError as error:
    assert "keep" in str(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
