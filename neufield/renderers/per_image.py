"""Differences between photographs of one scene: weather, light, exposure."""

import dataclasses

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neufield.core.param_groups import ParamGroup
from neufield.core.rays import RenderOutput
from neufield.core.shapes import check_positive


class AppearanceEmbedding(nn.Module):
    """A code for each of the first ``count`` cameras, learned with the field (NeRF-W, arXiv 2008.02268, section 4.1).

    Codes start at zero, where all photographs look alike; the paper's start at random. A camera beyond the first
    ``count`` is one that was not trained on: it gets the mean of the codes.

    Args:
        count: of photographs.
        dim: numbers in a code, the radiance field's ``code_dim``.
        lr: learning rate, that of nerfacto's embedding.
    """

    def __init__(self, count: int, dim: int, lr: float = 1e-2) -> None:
        super().__init__()
        check_positive(count=count, dim=dim, lr=lr)
        self.count = count
        self.dim = dim
        self.lr = lr
        self.codes = nn.Parameter(torch.zeros(count, dim))

    def forward(self, camera: Int[Tensor, " N"]) -> Float[Tensor, "N k"]:
        """Look up the codes of cameras."""
        return torch.cat([self.codes, self.codes.mean(0, keepdim=True)])[camera.clamp(max=self.count)]

    def param_groups(self) -> list[ParamGroup]:
        """The codes, at a rate of their own."""
        return [ParamGroup([self.codes], self.lr)]

    def unseen(self, n: int) -> Float[Tensor, "n k"]:
        """The mean code, ``n`` times."""
        return self.codes.mean(0).expand(n, -1)

    @torch.no_grad()
    def alone(self, like: int | None = None) -> "AppearanceEmbedding":
        """Make a copy with one code for every camera: the mean, or that of photograph ``like``. It learns no more."""
        if like is not None and not 0 <= like < self.count:
            raise ValueError(f"photograph {like} was asked for, but the photographs are 0 to {self.count - 1}")
        one = AppearanceEmbedding(1, self.dim, self.lr)
        one.codes = nn.Parameter((self.unseen(1) if like is None else self.codes[like : like + 1]).clone(), False)
        return one


class Exposure(nn.Module):
    """A gain and an offset per color channel for each of the first ``count`` cameras: c -> exp(g) c + o.

    Gains are those of instant-ngp (which divides the photograph by them), the offsets are ours. Only what differs
    between photographs is known, so the mean of all g, and of all o, is taken off: no common gain can go from the field
    into the exposures. A camera beyond the first ``count`` is one that was not trained on: it gets g = o = 0, the
    photographs' mean.

    Args:
        count: of photographs.
        lr: learning rate, that of instant-ngp's exposures.
    """

    def __init__(self, count: int, lr: float = 1e-3) -> None:
        super().__init__()
        check_positive(count=count, lr=lr)
        self.count = count
        self.lr = lr
        self.log_gain = nn.Parameter(torch.zeros(count, 3))
        self.offset = nn.Parameter(torch.zeros(count, 3))

    def forward(self, camera: Int[Tensor, " N"]) -> Float[Tensor, "N 2 3"]:
        """The logarithm of the gain, and the offset, of each color channel of cameras."""
        chosen = camera.clamp(max=self.count)
        return torch.stack([_differences(values)[chosen] for values in (self.log_gain, self.offset)], dim=1)

    def param_groups(self) -> list[ParamGroup]:
        """Gains and offsets, at a rate of their own."""
        return [ParamGroup([self.log_gain, self.offset], self.lr)]


def expose(view: RenderOutput, exposure: Float[Tensor, "N 2 3"]) -> RenderOutput:
    """``view``, which has no background yet, as its rays' ``exposure`` shows it: exp(g) C + o opacity."""
    log_gain, offset = exposure.unbind(1)
    return dataclasses.replace(view, rgb=view.rgb * log_gain.exp() + view.opacity[:, None] * offset)


def _differences(values: Tensor) -> Tensor:
    """Differences from the mean; a last row, of who is not among them, is zero."""
    return torch.cat([values - values.mean(0), torch.zeros_like(values[:1])])
