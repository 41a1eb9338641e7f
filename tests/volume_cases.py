"""Rays and samples along them, for tests of marches and sums."""

import torch

from neufield.core.rays import Intervals, Rays


def ragged(generator: torch.Generator, dtype: torch.dtype = torch.float64) -> dict:
    """Seven rays; the first, one in the middle and the last have no samples."""
    counts = torch.tensor([0, 3, 1, 0, 40, 2, 0])
    ray_ids = torch.repeat_interleave(torch.arange(7), counts)
    lengths = torch.rand(len(ray_ids), generator=generator, dtype=dtype) * 0.2
    starts = torch.cat([torch.cumsum(part, 0) - part + 2 for part in lengths.split(counts.tolist())])
    return {
        "sigma": torch.rand(len(ray_ids), generator=generator, dtype=dtype) * 10,
        "rgb": torch.rand(len(ray_ids), 3, generator=generator, dtype=dtype),
        "intervals": Intervals(ray_ids, 7, starts, starts + lengths),
    }


def rays_and_starts(found: Intervals) -> tuple[torch.Tensor, torch.Tensor]:
    """What decides an interval: its ray, and where it starts."""
    return found.ray_ids, found.starts


def rays_through(n: int, generator: torch.Generator) -> tuple[Rays, torch.Tensor]:
    """Origins around the box, inside it too, and random directions, an axis among them."""
    origins = torch.randn(n, 3, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=1)
    directions[:3] = torch.eye(3)
    near = torch.rand(n, generator=generator)
    far = near + torch.rand(n, generator=generator) * 3 - 0.5
    return Rays(origins, directions, near, far), torch.rand(n, generator=generator) - 1
