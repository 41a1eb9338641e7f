"""Views of a field from drawn poses as a source of rays, and a field's own renderings as what another is judged by."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from neufield.core.interfaces import Evaluator, Source
from neufield.core.metrics import Metrics
from neufield.core.on_device import device_uniform
from neufield.core.records import Batch, Counts
from neufield.metrics import PSNR, psnr
from neufield.renderers import Cameras, RadianceScene
from neufield.renderers.poses import PoseSampler
from neufield.signals.posed_images import rays_for

_JUDGED = 4096  # pixels
_AT_ONCE = 2048  # of them
_EPOCHS = 2**20  # the seeds of two runs lie so far apart, that none meets those of the other's epochs

Choose = Callable[[int, Tensor, torch.Generator], Tensor]


def all_new(epoch: int, poses: Tensor, generator: torch.Generator) -> Tensor:
    """The ``poses`` of an ``epoch`` as they were drawn."""
    del epoch, generator
    return poses


class SampledViews(Source):
    """Rays of poses that nobody photographed: each step one pose, and random pixels of it (PVD's code).

    An epoch is one fresh set of ``poses``, looked from in a random order; it depends on ``seed`` and its number alone,
    so that a run that goes on looks from where it would have. A batch's ``x`` are the rays' origins; its extras are
    "directions", in "pose" which of the epoch's poses each ray is of, as they were drawn, and in "place" which it is of
    those that are looked from.

    Args:
        poses: draws them, on the CPU.
        cameras: each pose sees with the lens and size of one of these.
        seed: decides all poses.
        device: where rays are made.
        choose: what may put other poses in place of an epoch's: epoch, poses (count, 4, 4), generator -> poses.
    """

    def __init__(
        self, poses: PoseSampler, cameras: Cameras, seed: int = 0, device: torch.device | str = "cpu",
        choose: Choose = all_new,
    ) -> None:  # fmt: skip
        self.poses = poses
        self.cameras = cameras
        self.seed = seed
        self.device = torch.device(device)
        self.choose = choose
        self._number = -1
        self._order = torch.zeros(0, dtype=torch.long)
        self._views = cameras

    def batch_size(self, budget: int, last: Counts | None) -> int:
        """Give as many rays as march about ``budget`` intervals."""
        return rays_for(budget, last)

    def epoch(self, number: int) -> Cameras:
        """The cameras of an epoch, in the order in which they are looked from."""
        if number != self._number:
            generator = torch.Generator().manual_seed(self.seed * _EPOCHS + number)
            poses = self.poses.draw(generator)
            self._order = torch.randperm(len(poses), generator=generator)
            lenses = torch.randint(self.cameras.count, (len(poses),), generator=generator).tolist()
            poses = self.choose(number, poses, generator)
            own = {index: self.cameras.camera(index) for index in set(lenses)}
            placed = zip(lenses, poses[self._order], strict=True)
            made = [dataclasses.replace(own[lens], to_world=pose) for lens, pose in placed]
            self._views, self._number = Cameras.of(made).to(self.device), number
        return self._views

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``n`` rays through random pixels of the step's pose, with repetition."""
        number, place = divmod(step, self.poses.count)
        views = self.epoch(number)
        size = views.size[place]
        pixels = (device_uniform((n, 2), generator, size) * size).floor() + 0.5
        index = torch.full((n,), place, device=self.device)
        origins, directions = views.rays(index, pixels)
        pose = torch.full_like(index, int(self._order[place]))
        return Batch(origins, extras={"directions": directions, "pose": pose, "place": index})


class Renderings(Evaluator):
    """Judges by how near a model of the ``teacher``'s cameras comes to what the teacher itself shows, in dB."""

    headline = PSNR

    def __init__(self, teacher: RadianceScene) -> None:
        self.teacher = teacher
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def evaluate(self, predict: Callable[[Tensor], Tensor], limit: int | None = None) -> Metrics:
        """PSNR of ``predict`` on a fixed choice of pixels, evenly from all cameras' views."""
        n = min(limit or _JUDGED, _JUDGED)
        if n not in self._seen:
            x = self._pixels(n)
            self._seen[n] = x, torch.cat([self.teacher(piece) for piece in x.split(_AT_ONCE)]).cpu()
        x, shown = self._seen[n]
        found = torch.cat([predict(piece) for piece in x.split(_AT_ONCE)]).cpu()
        return Metrics({PSNR.name: psnr((found.clamp(0, 1) - shown.clamp(0, 1)).square().mean())}, PSNR)

    def _pixels(self, n: int) -> Tensor:
        """Camera by camera in turn, at places that fill each view evenly (Roberts' R2 sequence)."""
        size = self.teacher.cameras.size
        number = torch.arange(n, device=size.device)
        index = number % len(size)
        even = torch.stack([number * 0.7548776662466927, number * 0.5698402909980532], dim=1) % 1.0
        return torch.cat([index[:, None].float(), (even.to(size) * size[index]).floor() + 0.5], dim=1)
