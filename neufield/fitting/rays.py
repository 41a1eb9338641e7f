"""Objectives of light fields: rays with colors that are known, the hardest of which are asked for again."""

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.interfaces import Objective
from neufield.core.records import Batch, Evaluation, StepContext
from neufield.core.shapes import check_batch, check_choice
from neufield.fields import LightField
from neufield.functional import LOSSES


class RayRegression(Objective[LightField]):
    """The mean ``loss`` between the colors of rays and what a light field shows along them, by jittered points."""

    def __init__(self, loss: str = "l2") -> None:
        check_choice("loss", loss, tuple(LOSSES))
        self.loss = loss

    def __call__(self, model: LightField, batch: Batch, step: StepContext) -> Evaluation:
        """Compare with the targets (N, C) of rays ``batch.x (N, 6)``."""
        check_batch(batch, model.out_dim)
        error = LOSSES[self.loss](model.jittered(batch.x, step.generator), batch.needed("target")).mean(-1)
        return Evaluation(error.mean(), batch.x, error.detach(), batch.weight)


class HardRays(Objective[LightField]):
    """Adds rays that were hard before to each batch of ``inner`` (R2L, arXiv 2203.17261, section 3.3).

    Of each batch of B fresh rays the int(``share`` B) with the largest error go into a pool, with their colors. Once it
    holds ``capacity`` times as many, so many are drawn from it at random and added to the batch, and the worst fresh
    ones take their places. The paper's numbers are .2 and 100 (its pool holds 20 batches).

    The log gets ``n_hard``, how many rays of the step came from the pool.
    """

    def __init__(self, inner: Objective[LightField], share: float = 0.2, capacity: int = 100) -> None:
        if not 0 < share <= 1 or capacity < 1:
            raise ValueError(f"share is {share} and capacity {capacity}, but share is in (0, 1] and capacity 1 or more")
        self.inner = inner
        self.share = share
        self.capacity = capacity
        self._pool: Batch | None = None

    def state_dict(self) -> Mapping[str, Tensor]:
        """The pool: rays ``x (P, 6)`` and their colors ``target (P, C)``."""
        return {} if self._pool is None else {"x": self._pool.x, "target": self._pool.needed("target")}

    def load_state_dict(self, memory: Mapping[str, Tensor]) -> None:
        """Go on with the pool that a run ended with."""
        self._pool = None
        if not memory:
            return
        x, target = memory.get("x"), memory.get("target")
        if x is None or target is None or x.ndim != 2 or target.ndim != 2 or len(x) != len(target) or x.shape[1] != 6:
            raise DataError("the pool of hard rays that the run remembers is damaged; begin anew with --overwrite")
        self._pool = Batch(x, target)

    def __call__(self, model: LightField, batch: Batch, step: StepContext) -> Evaluation:
        """Evaluate ``inner`` on the fresh rays and, once the pool is full, on some of its own."""
        fresh, pool = Batch(batch.x, batch.needed("target")), self._pool
        count = max(1, int(self.share * len(fresh)))
        places = None
        if pool is not None and len(pool) >= self.capacity * count:
            mixed = torch.randperm(len(pool), generator=step.generator, device=step.generator.device)
            places = mixed[:count].to(fresh.x.device)
        evaluation = self.inner(model, fresh if places is None or pool is None else _joined(fresh, pool[places]), step)
        worst = fresh[evaluation.error[: len(fresh)].topk(count).indices]
        if pool is None:
            self._pool = worst
        elif places is None:
            self._pool = _joined(pool, worst)
        else:
            pool.x[places], pool.needed("target")[places] = worst.x, worst.needed("target")
        return dataclasses.replace(evaluation, metrics={**evaluation.metrics, "n_hard": 0 if places is None else count})


def _joined(first: Batch, second: Batch) -> Batch:
    return Batch(torch.cat([first.x, second.x]), torch.cat([first.needed("target"), second.needed("target")]))
