"""The objectives that a recipe can name."""

import functools
import operator

from neufield.core.interfaces import Field, Objective
from neufield.core.recipe import Recipe
from neufield.core.records import Batch, Evaluation, StepContext
from neufield.core.shapes import check_batch, check_choice
from neufield.fitting.hard_samples import HardSampleObjective
from neufield.functional import LOSSES


def objective_of(recipe: Recipe) -> Objective:
    """Make the objective that ``recipe`` describes, to be minimized against a signal's samples."""
    regression = Regression(recipe.loss)
    return regression if recipe.sample_selection is None else HardSampleObjective(regression, recipe.sample_selection)


class Regression(Objective[Field]):
    """The mean of a per-value ``loss`` over points and channels, summed over all outputs that the model has."""

    graph_safe = True

    def __init__(self, loss: str = "l2") -> None:
        check_choice("loss", loss, tuple(LOSSES))
        self.loss = loss

    def __call__(self, model: Field, batch: Batch, step: StepContext) -> Evaluation:
        """Compare ``model(batch.x)`` with the targets."""
        del step
        check_batch(batch, model.out_dim)
        fused = model.fused_loss(batch, self.loss)
        if fused is not None:
            total, error = fused
            return Evaluation(total, batch.x, error, batch.weight)
        # Under autocast the model answers in bfloat16; the loss is in the targets' type.
        target = batch.needed("target")
        outputs = [output.to(target.dtype) for output in model.outputs(batch.x)]
        losses = [LOSSES[self.loss](output, target) for output in outputs]
        per_value = functools.reduce(operator.add, losses)
        error = per_value.mean(-1)
        weighted = error if batch.weight is None else error * batch.weight
        return Evaluation(weighted.mean(), batch.x, error.detach(), batch.weight)
