"""A mesh with colors and normals, in a box far from the origin."""

import torch
from torch import Tensor

from neufield.renderers.surface import isosurface, vertex_normals

CENTER = torch.tensor([10.0, -3.0, 4.0])
LOWER, UPPER = (7.0, -7.0, 1.0), (13.0, 1.0, 7.0)  # 6 x 8 x 6 world units around CENTER


def ball(x: Tensor) -> Tensor:
    """Above 1 within two world units of CENTER."""
    return 3 - (x - CENTER).norm(dim=1)


def colored_mesh() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    vertices, faces = isosurface(ball, LOWER, UPPER, 9, 1.0)
    vertices = vertices * torch.tensor([1e-7, 1.0, 1e6])  # digits that a short text would lose
    generator = torch.Generator().manual_seed(0)
    return vertices, faces, torch.rand(vertices.shape, generator=generator), vertex_normals(vertices, faces)
