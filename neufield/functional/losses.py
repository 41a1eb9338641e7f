"""Losses per value, before any mean: prediction and target (N, C) -> (N, C).

The relative losses are tiny-cuda-nn's: divided by the *prediction* (or target) plus 0.01, and that divisor is held
constant in the gradient.
"""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

_EPSILON = 0.01


def l2(prediction: Tensor, target: Tensor) -> Tensor:
    """(p - t)^2."""
    return (prediction - target).square()


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """|p - t|."""
    return (prediction - target).abs()


def huber(prediction: Tensor, target: Tensor) -> Tensor:
    """(p - t)^2 / 2 up to |p - t| = 0.1, a straight line of the same slope beyond (instant-ngp's delta), over 0.1."""
    return F.huber_loss(prediction, target, reduction="none", delta=0.1) / 0.1


def relative_l2(prediction: Tensor, target: Tensor) -> Tensor:
    """(p - t)^2 / (p^2 + 0.01) (arXiv 1803.04189, as tiny-cuda-nn has it)."""
    return l2(prediction, target) / (prediction.detach().square() + _EPSILON)


def relative_l2_luminance(prediction: Tensor, target: Tensor) -> Tensor:
    """(p - t)^2 / (Y^2 + 0.01), with Y the luminance of the prediction p; three channels."""
    luminance = prediction.detach() @ prediction.new_tensor([0.299, 0.587, 0.114])
    return l2(prediction, target) / (luminance.square() + _EPSILON).unsqueeze(-1)


def relative_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """|p - t| / (|p| + 0.01)."""
    return l1(prediction, target) / (prediction.detach().abs() + _EPSILON)


def mape(prediction: Tensor, target: Tensor) -> Tensor:
    """|p - t| / (|t| + 0.01)."""
    return l1(prediction, target) / (target.abs() + _EPSILON)


def smape(prediction: Tensor, target: Tensor) -> Tensor:
    """|p - t| / ((|p| + |t|) / 2 + 0.01)."""
    return l1(prediction, target) / (0.5 * (prediction.detach().abs() + target.abs()) + _EPSILON)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": l2,
    "l1": l1,
    "huber": huber,
    "relative_l2": relative_l2,
    "relative_l2_luminance": relative_l2_luminance,
    "relative_l1": relative_l1,
    "mape": mape,
    "smape": smape,
}
