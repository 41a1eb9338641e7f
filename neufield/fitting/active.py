"""PVD-AL's three levels of active learning (arXiv 2304.04012): cameras, rays and points, each for itself."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from neufield.core.rays import RenderOutput
from neufield.core.records import Batch
from neufield.fitting.distill import Attention, Lesson
from neufield.renderers.poses import turned


class ActivePoses(Attention):
    """Looks again from poses whose views the student gets worst; ``choose`` is for a source of poses.

    Of every epoch from ``begin`` on, the worst ``share`` of the poses go into a pool. Once that has more than ``size``,
    as many of its poses, each turned a little, take the place of random ones of the next epoch, and the worst of the
    epoch before take theirs in the pool.

    Args:
        begin: the first epoch, counted from 0, whose poses are ranked.
        size: of the pool, about.
        share: of an epoch's poses.
        as_released: rank as the published code does, which pairs the scores, in the order in which poses were looked
            from, with the poses in the order in which they were drawn: what it takes for hard poses are random ones.
    """

    def __init__(self, begin: int = 4, size: int = 100, share: float = 0.1, as_released: bool = False) -> None:
        self.begin, self.size, self.share, self.as_released = begin, size, share, as_released
        self._pool = self._poses = torch.zeros(0, 4, 4, dtype=torch.float64)
        self._epoch, self._error = torch.tensor(-1), torch.zeros(0, dtype=torch.float64)

    def choose(self, epoch: int, poses: Tensor, generator: torch.Generator) -> Tensor:
        """The poses (n, 4, 4) of ``epoch``, some of them from the pool; the same when asked again."""
        if epoch == int(self._epoch):
            return self._poses
        made, n = poses.clone(), max(1, round(self.share * len(poses)))
        worst = self.worst(n) if int(self._epoch) >= self.begin else self._poses[:0]
        if len(self._pool) <= self.size:
            self._pool = torch.cat([self._pool, worst])
        elif len(worst):
            drawn = torch.randperm(len(self._pool), generator=generator)[: len(worst)]
            places = torch.randperm(len(poses), generator=generator)[: len(worst)]
            made[places] = turned(self._pool[drawn], generator)
            self._pool = self._pool.index_copy(0, drawn, worst)
        self._epoch, self._poses = torch.tensor(epoch), made
        self._error = torch.full((len(made),), math.nan, dtype=torch.float64)
        return made

    def worst(self, n: int) -> Tensor:
        """The ``n`` poses of this epoch with the largest errors, of those that were looked from."""
        known = self._error.nan_to_num(nan=-1.0)
        index = known.argsort(descending=True, stable=True)[: min(n, int((known >= 0).sum()))]
        return self._poses[index]

    def learn(self, lesson: Lesson, generator: torch.Generator) -> None:
        """Note how wrong the step's view was."""
        index = lesson.batch.needed("place" if self.as_released else "pose")
        if lesson.views is None or not len(self._error):
            return
        own = index >= 0  # not those that other parts put in
        error = _error(lesson.views)[own].mean()
        self._error[int(index[own][0])] = float(error)

    def state_dict(self) -> Mapping[str, Tensor]:
        """Pool, epoch, its poses and how wrong each was seen."""
        return {"pool": self._pool, "epoch": self._epoch, "poses": self._poses, "error": self._error}

    def load_state_dict(self, memory: Mapping[str, Tensor]) -> None:
        """See :class:`Attention`."""
        known = memory or ActivePoses().state_dict()
        self._pool, self._poses, self._epoch = known["pool"], known["poses"], known["epoch"]
        self._error = known["error"].clone()


class ActiveRays(Attention):
    """Looks again along rays whose colors were worst: the worst ``share`` of each step's go into a pool.

    Once that holds ``size`` times the first step's rays, ``share`` of its rays, drawn at random, join each step, and
    the step's worst, be they old or new, take their places. Rays carry no colors: the teacher is asked again.
    """

    def __init__(self, size: int = 150, share: float = 0.1) -> None:
        self.size, self.share = size, share
        self._pool, self._filled = torch.zeros(0, 6), torch.tensor(0)
        self._drawn: Tensor | None = None

    def rays(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch, and behind it rays of the pool when it is full."""
        if not len(self._pool):
            self._pool = torch.zeros(self.size * len(batch), 6, device=batch.x.device)
        if int(self._filled) < len(self._pool):
            self._drawn = None
            return batch
        n = min(max(1, round(self.share * len(batch))), len(self._pool))
        drawn = torch.randperm(len(self._pool), generator=generator, device=generator.device)[:n]
        self._drawn = drawn.to(batch.x.device)
        origins, directions = self._pool[self._drawn].split(3, dim=1)
        outside = {name: torch.full((n,), -1, device=batch.x.device) for name in ("pose", "place")}
        more = {"directions": directions, **outside}
        extras = {name: torch.cat([rows, more[name].to(rows)]) for name, rows in batch.extras.items()}
        return Batch(torch.cat([batch.x, origins.to(batch.x)]), extras=extras)

    def learn(self, lesson: Lesson, generator: torch.Generator) -> None:
        """Take the worst rays of the step into the pool."""
        del generator
        assert lesson.views is not None
        rays = torch.cat([lesson.batch.x, lesson.batch.needed("directions")], dim=1)
        ranked = rays[_error(lesson.views).argsort(descending=True, stable=True)].float()
        if self._drawn is not None:
            self._pool[self._drawn] = ranked[: len(self._drawn)]
            return
        begin = int(self._filled)
        taken = ranked[: max(1, round(self.share * len(rays)))][: len(self._pool) - begin]
        self._pool[begin : begin + len(taken)] = taken
        self._filled = torch.tensor(begin + len(taken))

    def __len__(self) -> int:
        """How many rays the pool holds."""
        return int(self._filled)

    def state_dict(self) -> Mapping[str, Tensor]:
        """The pool, and how much of it is filled."""
        return {"pool": self._pool, "filled": self._filled}

    def load_state_dict(self, memory: Mapping[str, Tensor]) -> None:
        """See :class:`Attention`."""
        known = memory or ActiveRays().state_dict()
        self._pool, self._filled = known["pool"].clone(), known["filled"]


class ActivePoints(Attention):
    """Compares points only where light is: of each ray that is at least half opaque the heaviest ``share``, and one.

    Heavy is what either sees as heavy: the teacher's points and the student's are united.
    """

    def __init__(self, share: float = 0.3, opaque: float = 0.5) -> None:
        self.share, self.opaque = share, opaque

    def points(self, lesson: Lesson) -> Tensor | None:
        """See :class:`Attention`."""
        if lesson.views is None:
            return None
        own, taught = (self._heavy(view) for view in lesson.views)
        return (own | taught).nonzero()[:, 0]

    @torch.no_grad()
    def _heavy(self, view: RenderOutput) -> Tensor:
        """A mask (S,) of the samples that are heavy in one of the two."""
        found = view.interval_weights
        ids, weights = found.intervals.ray_ids, found.weights
        count = torch.bincount(ids, minlength=found.intervals.n_rays)
        by_weight = weights.argsort(descending=True, stable=True)
        order = by_weight[ids[by_weight].argsort(stable=True)]  # ray by ray, and there from heavy to light
        rank = torch.arange(len(ids), device=ids.device) - (count.cumsum(0) - count)[ids]
        kept = (rank < (self.share * count).floor()[ids] + 1) & (view.opacity[ids] >= self.opaque)
        return torch.zeros_like(kept).index_copy(0, order, kept)


def _error(views: tuple[RenderOutput, RenderOutput]) -> Tensor:
    """The error of each ray (N,): the mean absolute difference of the channels."""
    return (views[0].rgb - views[1].rgb).detach().abs().mean(dim=1)
