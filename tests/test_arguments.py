"""What operators refuse before a kernel sees a pointer; most of it in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import seeded, without_type_checks
from torch import nn

from neufield.core.errors import ArgumentError
from neufield.core.records import Batch, StepContext
from neufield.encodings import Grid
from neufield.fields import NeuralField
from neufield.fitting import Regression
from neufield.networks import MLP

FOLDER = Path(__file__).parent


@pytest.mark.native
def test_the_checks_of_argument_checks() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--override-ini=addopts=", "-p", "no:cacheprovider"]
    command += ["--tb=short", "argument_checks.py"]
    ran = subprocess.run(command, cwd=FOLDER, env=os.environ, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-5000:]
    assert " passed" in ran.stdout


def small_field(backend: str = "auto") -> NeuralField:
    field = NeuralField(Grid(2, 4, 2, 8, generator=seeded()), MLP(8, 3, 16, 2, bias=True, generator=seeded(1)))
    field.backend = field.encoding.backend = backend
    return field


def replace(field: NeuralField, name: str, *shape: int) -> NeuralField:
    """As a user may put other numbers into a field that is there."""
    owner, _, last = name.rpartition(".")
    setattr(field.get_submodule(owner), last, nn.Parameter(torch.rand(*shape, generator=seeded())))
    return field


SLIPS = {
    "a table of another size": (("encoding.table", 10, 2), "table of shape (10, 2)"),
    "an empty table": (("encoding.table", 0, 2), "table of shape (0, 2)"),
    "a table of other features": (("encoding.table", 1024, 3), "table of shape (1024, 3)"),
    "a bias of another size": (("network.layers.0.bias", 3), "layer 0's bias has shape (3,)"),
    "an inner layer of another width": (("network.layers.1.weight", 16, 8), "layer 1's weight has shape (16, 8)"),
    "an inner layer of as many numbers": (("network.layers.1.weight", 32, 8), "layer 1's weight has shape (32, 8)"),
    "a first layer of more features": (("network.layers.0.weight", 16, 9), "gives 8 features, but the network takes 9"),
}


@pytest.mark.native
@pytest.mark.parametrize("slip", SLIPS)
def test_numbers_that_were_replaced_by_others_are_refused(slip: str) -> None:
    what, said = SLIPS[slip]
    for call in (lambda field: field(torch.rand(5, 2)), lambda field: field.fused_loss(batch(5), "l2")):
        with pytest.raises(ArgumentError, match=re.escape(said)):
            call(replace(small_field(), *what))


def batch(n: int, targets: int | None = None, channels: int = 3, weights: int | None = None) -> Batch:
    weight = None if weights is None else torch.ones(weights)
    return Batch(torch.rand(n, 2), torch.rand(n if targets is None else targets, channels), weight)


@pytest.mark.native
def test_a_short_target_of_the_fused_loss_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"target of shape \(1, 3\).* \(100000, 3\)"):
        small_field().fused_loss(batch(100_000, 1), "l2")


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (batch(50, 1), r"target of shape \(1, 3\)"),
        (batch(50, 49), r"target of shape \(49, 3\)"),
        (batch(50, channels=1), r"target of shape \(50, 1\)"),
        (batch(50, weights=1), r"weight of shape \(1,\)"),
        (batch(50, weights=49), r"weight of shape \(49,\)"),
    ],
)
def test_targets_and_weights_that_are_not_one_for_each_point_are_refused(backend: str, given: Batch, said: str) -> None:
    """PyTorch would repeat one for all points without a word."""
    with pytest.raises(ArgumentError, match=said):
        Regression("l2")(small_field(backend), given, StepContext(0, 0.0, seeded()))


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_points_of_another_dimension_or_without_a_point_are_refused(backend: str) -> None:
    field = small_field(backend)
    for call in (field, field.encoding):
        with pytest.raises(ValueError, match=r"x has shape \(4, 3\), but its last axis must be 2"):
            call(torch.rand(4, 3))
        with without_type_checks(), pytest.raises(TypeError, match=r"x is torch\.int8, but coordinates are floating"):
            call(torch.zeros(4, 2, dtype=torch.int8))
    half = torch.rand(4, 2, generator=seeded()).half()
    with pytest.raises(TypeError, match=r"x is torch\.float16, but this field computes in torch\.float32; call x\.to"):
        field(half)
