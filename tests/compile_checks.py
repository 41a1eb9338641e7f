"""Every preset and radiance preset compiled and exported.

``test_wrapper_contracts`` runs this file in a process without the type checks in signatures, which torch cannot trace.
"""

import pytest
import torch
from autograd_cases import MODELS, inputs
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings("default")  # torch's own warn of each other


def gradients(function: nn.Module, model: nn.Module, x: Tensor) -> list[Tensor]:
    y = function(x)
    return [y, *torch.autograd.grad(y.sum(), list(model.parameters()), materialize_grads=True)]


@pytest.mark.parametrize("name", MODELS)
def test_compiled(name: str) -> None:
    """Values and gradients are those of the model itself, by the same kernels and so to the bit of their sums."""
    model = MODELS[name]()
    x = inputs(model, 5)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    for found, expected in zip(gradients(compiled, model, x), gradients(model, model, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", MODELS)
def test_exported(name: str) -> None:
    """Into operations of torch's own, which others can read, and for any number of points."""
    model = MODELS[name]().eval()
    batch = ({0: torch.export.Dim("n")},)
    exported = torch.export.export(model, (inputs(model, 20),), dynamic_shapes=batch, strict=False)
    assert not [node.target for node in exported.graph.nodes if "neufield" in str(node.target)]
    x = inputs(model, 33)
    torch.testing.assert_close(exported.module()(x), model(x), rtol=1e-4, atol=1e-5)
