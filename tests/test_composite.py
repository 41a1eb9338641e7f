"""Encodings side by side: who reads which coordinates, and how the parts are joined."""

import pytest
import torch
from cases import seeded

from neufield.encodings import Composite, Frequency, Identity, OneBlob


def test_composite_hands_each_part_its_slice() -> None:
    x = torch.rand(5, 4, generator=seeded())
    parts = [Frequency(1, 2), OneBlob(2, 4), Identity(1)]
    values = Composite(parts)(x)
    expected = torch.cat([parts[0](x[:, :1]), parts[1](x[:, 1:3]), parts[2](x[:, 3:])], dim=-1)
    assert torch.equal(values, expected)
    overlapping = Composite([Identity(2), Identity(2, 3.0)], starts=[0, 1])
    assert overlapping.in_dim == 3
    assert torch.equal(overlapping(x[:, :3]), torch.cat([x[:, :2], 3 * x[:, 1:3]], dim=-1))


@pytest.mark.parametrize(("reduction", "expected"), [("sum", [0.75, 2.25]), ("product", [0.125, 1.125])])
def test_composite_reduces(reduction: str, expected: list[float]) -> None:
    both = Composite([Identity(2), Identity(2, 2.0)], starts=[0, 0], reduction=reduction)
    assert both(torch.tensor([0.25, 0.75])).tolist() == expected
    assert both.out_dim == 2


def test_composite_frequencies_follow_the_reduction() -> None:
    parts = [Frequency(1, 2), OneBlob(1, 4)]
    assert Composite(parts).frequencies.tolist() == [0.5, 0.5, 1, 1, 2, 2, 2, 2]
    assert Composite(parts, [0, 0], "sum").frequencies.tolist() == [2, 2, 2, 2]


def test_composite_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="at least one encoding"):
        Composite([])
    with pytest.raises(ValueError, match="starts has 1 entries, but there are 2"):
        Composite([Identity(1), Identity(1)], starts=[0])
    with pytest.raises(ValueError, match=r"'sum' needs parts of one width, got \[1, 2\]; use 'concatenation'"):
        Composite([Identity(1), Identity(2)], reduction="sum")
    with pytest.raises(ValueError, match=r"'mean'.*'concatenation', 'sum', 'product'"):
        Composite([Identity(1)], reduction="mean")
