"""Another field as a signal: what is fitted to it learns what that says, anywhere."""

import torch

from neufield.core.interfaces import Field, Source
from neufield.core.records import Batch


class Teacher(Source):
    """Samples of a ``teacher`` at points drawn uniformly from the unit box; the teacher itself does not change.

    So any field becomes any other of the same dimension and channels: a picture's hash grid a SIREN.
    """

    def __init__(self, teacher: Field) -> None:
        self.teacher = teacher.requires_grad_(False)
        self.device = next(teacher.parameters()).device

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``x (n, d)`` and what the teacher gives there ``(n, C)``, beside the teacher."""
        del step
        x = torch.rand(n, self.teacher.in_dim, generator=generator, device=generator.device).to(self.device)
        return Batch(x, self.teacher(x).float())
