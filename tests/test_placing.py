"""Which devices neufield computes on."""

import pytest
import torch
from cases import seeded

import neufield as nf
from neufield.core.errors import BackendError
from neufield.core.on_device import usable_device
from neufield.encodings import Frequency
from neufield.fields import NeuralField
from neufield.fitting import start
from neufield.networks import MLP
from neufield.signals import Array

ABSENT = ["mps", "xla", "meta", "privateuseone", "nonsense", "", "cpu:3", "cuda:99"]
ABSENT += ["cuda"] * (not torch.cuda.is_available())


@pytest.mark.parametrize("name", ABSENT)
def test_any_other_is_one_sentence_that_names_those_that_there_are(name: str) -> None:
    with pytest.raises(BackendError) as error:
        usable_device(name)
    said = str(error.value)
    assert said.startswith(f"device '{name}' cannot be used here")
    assert "has cpu" in said
    assert "\n" not in said


def test_those_that_there_are() -> None:
    assert usable_device("cpu") == torch.device("cpu")
    if torch.cuda.is_available():
        assert usable_device("cuda:0") == torch.device("cuda:0")


def test_fit_says_it_too() -> None:
    field = NeuralField(Frequency(2, 2), MLP(8, 3, 8, 1, generator=seeded())).to("meta")
    with pytest.raises(BackendError, match="device 'meta' cannot be used here"):
        nf.fit(field, Array(torch.rand(4, 4, 3)))
    with pytest.raises(BackendError, match="device 'mps' cannot be used here"):
        start(field, field.recipe, device="mps")
