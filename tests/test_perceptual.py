"""LPIPS: what the package is asked for, and what is said where something of it is missing.

The package stands in here as one with a random network: the real one needs a torchvision that fits torch and weights
that only a network gives.
"""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from lpips_stub import StandIn

from neufield.core.errors import BackendError
from neufield.metrics.perceptual import load_lpips


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    monkeypatch.setattr(StandIn, "made", [])
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=StandIn))
    return StandIn


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_the_network_sees_planes_from_minus_one_to_one(network: str, package: type[StandIn], generator) -> None:
    distance = load_lpips(network)
    (model,) = package.made
    assert model.net == network
    a, b = (torch.rand(9, 7, 3, generator=generator) * 1.2 for _ in range(2))
    found = distance(a, b)
    expected = [(picture.clamp(0, 1) * 2 - 1).permute(2, 0, 1)[None] for picture in (a, b)]
    assert all(torch.equal(seen, planes) for seen, planes in zip(model.seen, expected, strict=True))
    with torch.no_grad():
        assert found == float((model.layer(expected[0]) - model.layer(expected[1])).square().mean())  # no dropout
    assert distance(a, a) == 0


def sentence(error: pytest.ExceptionInfo[BackendError]) -> str:
    text = str(error.value)
    assert not re.search(r"\n|[.!?] [A-Z]", text), text
    assert ";" in text, "it must say what to do"
    return text


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(BackendError) as error:
        load_lpips("alex")
    assert 'pip install "neufield[metrics]"' in sentence(error)


def test_with_a_torchvision_for_another_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lpips.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match=r"nms does not exist\); install the torchvision that belongs to") as error:
        load_lpips("alex")
    assert torch.__version__ in sentence(error)


@pytest.mark.parametrize(
    "problem", [URLError("no route to host"), RuntimeError("invalid hash value\nand more"), EOFError()], ids=repr
)
def test_without_weights(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise problem

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=refuse))
    with pytest.raises(BackendError, match="no weights of vgg") as error:
        load_lpips("vgg")
    assert f"vgg16-397923af.pth into {torch.hub.get_dir()}/checkpoints" in sentence(error)
