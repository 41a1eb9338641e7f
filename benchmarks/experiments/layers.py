"""Spline, rational and periodic layers against a ReLU network of as many numbers, on functions of one variable."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from benchmarks.experiments.experiment import Check, Experiment, Rows, at_most
from neufield.core.interfaces import Network
from neufield.networks import FAN, GRKAN, KAN, MLP


def edges(seed: int) -> Rows:
    """Of sin(8 pi x) + |x| on [-1, 1]: mean squared error after 1000 full-batch steps of Adam."""
    x = torch.linspace(-1, 1, 1000).unsqueeze(-1)
    y = torch.sin(8 * math.pi * x) + x.abs()
    rows = {}
    for name, make in _equals().items():
        network = make(torch.Generator().manual_seed(seed))
        rows[f"{name}: numbers"] = sum(p.numel() for p in network.parameters())
        rows[f"{name}: MSE"] = _trained(network, x, y, 1000, 1e-2)
    return rows


def check_edges(rows: Rows) -> Sequence[Check]:
    return [at_most("KAN, MSE", rows["KAN: MSE"], rows["ReLU: MSE"])]


def beyond(seed: int) -> Rows:
    """Of sin(x): trained on [-6 pi, 6 pi], error on what lies between there and 12 pi."""
    x = torch.linspace(-6 * math.pi, 6 * math.pi, 600).unsqueeze(-1)
    outside = torch.linspace(6 * math.pi, 12 * math.pi, 400).unsqueeze(-1)
    outside = torch.cat([-outside, outside])
    rows = {}
    for name, make in _periodic().items():
        network = make(torch.Generator().manual_seed(seed))
        rows[f"{name}: MSE inside"] = _trained(network, x, torch.sin(x), 2000, 1e-3, 1.0, annealed=False)
        with torch.no_grad():
            rows[f"{name}: MSE outside"] = float((network(outside, outside) - torch.sin(outside)).square().mean())
    return rows


def check_beyond(rows: Rows) -> Sequence[Check]:
    return [at_most("FAN, MSE outside", rows["FAN: MSE outside"], 0.1 * rows["ReLU: MSE outside"])]


def _equals() -> Mapping[str, Callable[[torch.Generator], Network]]:
    """About 450 numbers each."""
    return {
        "KAN": lambda g: KAN(1, 1, 7, 1, 30, generator=g),
        "GR-KAN": lambda g: GRKAN(1, 1, 16, 2, generator=g),
        "FAN": lambda g: FAN(1, 1, 18, 2, generator=g),
        "ReLU": lambda g: MLP(1, 1, 19, 2, generator=g),
    }


def _periodic() -> Mapping[str, Callable[[torch.Generator], Network]]:
    return {
        "FAN": lambda g: FAN(1, 1, 64, 2, p_ratio=0.45, generator=g),
        "ReLU": lambda g: MLP(1, 1, 64, 3, generator=g),
    }


def _trained(
    network: Network, x: Tensor, y: Tensor, steps: int, rate: float, decay: float = 0.0, annealed: bool = True
) -> float:
    """The last loss. ``decay`` is of the weights: without, what a FAN's GELUs add inside they keep adding outside."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0.0 if annealed else rate)
    for _ in range(steps):
        loss = (network(x, x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float((network(x, x) - y).square().mean())


EXPERIMENTS: Sequence[Experiment] = (
    Experiment(
        "layers_1d",
        "Layers on sin(8 pi x) + |x|",
        "1000 points of [-1, 1], about equally many numbers, Adam 1e-2 with a cosine, 1000 full batches",
        "mean squared error",
        edges,
        check_edges,
        source="our own; the papers' comparisons are of other functions",
        seeds=(0,),
        seconds=100,
    ),
    Experiment(
        "fan_extrapolation",
        "Periodicity beyond the data",
        "sin(x) at 600 points of [-6 pi, 6 pi], judged to 12 pi; two FAN layers of 64, 90 % periodic, or three ReLU; "
        "AdamW at 1e-3, decay 1, 2000 steps",
        "mean squared error",
        beyond,
        check_beyond,
        source="arXiv 2410.02675, section 4.1, at a small size",
        seeds=(0, 1, 2),
        seconds=100,
    ),
)
