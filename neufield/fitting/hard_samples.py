"""Learning from some of a batch's samples at a time."""

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.interfaces import Field, Objective
from neufield.core.records import Batch, Evaluation, StepContext
from neufield.core.sample_selection import SampleSelection


class HardSampleObjective(Objective[Field]):
    """Asks ``inner`` for the loss on the samples where the model is most wrong (INT, arXiv 2405.10531, algorithm 1).

    When ``sample_selection`` says so, the model is evaluated on the whole batch without a gradient, and the int(share
    N) samples with the largest L1 error over the channels are chosen (one at least); until the next time, the same
    ones are learned from, without weights for their being chosen. A share of 1 chooses all, without looking at errors.

    What was chosen holds for the points that it was chosen from. In a batch that has others in those places, as random
    batches do, it means nothing, and a new choice is made at every step, whatever the intervals say: the paper's form
    for mini-batches with an interval of 1. (Its code goes on with the samples of the old batch there, and never looks
    at the new one.)

    Parts that adapt hear only of the chosen samples, so that the errors they are told of are larger than the field's.
    Scores are not touched: ``fit`` measures the field itself. (The code of the paper scores the predictions of the last
    selection, and the best of all steps.)

    The log gets ``n_selected``, how many samples the step learned from, and ``selected``, 1 if it evaluated them all.
    """

    def __init__(self, inner: Objective, sample_selection: SampleSelection) -> None:
        self.inner = inner
        self.sample_selection = sample_selection
        self._memory: Mapping[str, Tensor] = {}

    def state_dict(self) -> Mapping[str, Tensor]:
        """Remembered: ``step`` () of them, ``chosen (k,)`` places in a batch of ``size`` (), ``x (k, d)`` points."""
        return self._memory

    def load_state_dict(self, memory: Mapping[str, Tensor]) -> None:
        """Go on where another one was, in the same bits; begin anew with none."""
        self._memory = memory and _checked(memory)

    def __call__(self, model: Field, batch: Batch, step: StepContext) -> Evaluation:
        """Choose, if it is time to, and evaluate ``inner`` on what is chosen."""
        taught = int(self._memory["step"]) if self._memory else 0
        size, progress = len(batch), step.progress
        chosen = None if self.sample_selection.selects(taught, progress) else self._chosen_before(batch)
        looked = False
        if chosen is None:
            count = max(1, int(round(self.sample_selection.share(progress) * size, 6)))
            looked = count < size
            chosen = _most_wrong(model, batch, count) if looked else torch.arange(size, device=batch.x.device)
        part = batch if len(chosen) == size else batch[chosen]
        self._memory = {"step": torch.tensor(taught + 1), "size": torch.tensor(size), "chosen": chosen, "x": part.x}
        evaluation = self.inner(model, part, step)
        metrics = {**evaluation.metrics, "n_selected": len(chosen), "selected": int(looked)}
        return dataclasses.replace(evaluation, metrics=metrics)

    def _chosen_before(self, batch: Batch) -> Tensor | None:
        """The last choice, where it means the same points in this batch."""
        if not self._memory or int(self._memory["size"]) != len(batch):
            return None
        chosen = self._memory["chosen"].to(batch.x.device)
        return chosen if torch.equal(batch.x[chosen], self._memory["x"].to(batch.x)) else None


def _checked(memory: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """``memory`` as :meth:`HardSampleObjective.state_dict` gives it, or a DataError (of a damaged file)."""
    whole = all(memory[key].dtype == torch.int64 and memory[key].ndim == 0 for key in ("step", "size") if key in memory)
    if not whole or memory.keys() != {"step", "size", "chosen", "x"}:
        raise DataError("what the run remembers of its teaching is damaged; begin anew with --overwrite")
    chosen, x, size = memory["chosen"], memory["x"], int(memory["size"])
    fits = chosen.dtype == torch.int64 and chosen.ndim == 1 and x.ndim == 2 and len(x) == len(chosen)
    if not fits or (len(chosen) and not (int(chosen.min()) >= 0 and int(chosen.max()) < size)):
        raise DataError("the samples that the run learns from are not of its batches; begin anew with --overwrite")
    return memory


@torch.no_grad()
def _most_wrong(model: Field, batch: Batch, count: int) -> Tensor:
    """Places (count,), rising, of the largest errors."""
    error = (model(batch.x).float() - batch.needed("target")).abs().sum(-1)
    return error.topk(count, sorted=False).indices.sort().values
