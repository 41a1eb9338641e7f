"""The loop and what belongs to it."""

from neufield.fitting.fit import PRECISIONS, count_parameters, evaluate, fit, start
from neufield.fitting.objectives import Regression, objective_of
from neufield.fitting.optim import Average, adam
from neufield.fitting.photometric import Penalty, Photometric
from neufield.fitting.state import FitState, check_finite
from neufield.fitting.teaching import Taught
from neufield.kernels.field import LOSSES

__all__ = [
    "LOSSES",
    "PRECISIONS",
    "Average",
    "FitState",
    "Penalty",
    "Photometric",
    "Regression",
    "Taught",
    "adam",
    "check_finite",
    "count_parameters",
    "evaluate",
    "fit",
    "objective_of",
    "start",
]
