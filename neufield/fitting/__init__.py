"""The loop and what belongs to it."""

from neufield.fitting.fit import PRECISIONS, count_parameters, evaluate, fit, start
from neufield.fitting.objectives import Regression
from neufield.fitting.optim import Average, adam
from neufield.fitting.photometric import Penalty, Photometric
from neufield.fitting.state import FitState, check_finite
from neufield.kernels.field import LOSSES

__all__ = [
    "LOSSES",
    "PRECISIONS",
    "Average",
    "FitState",
    "Penalty",
    "Photometric",
    "Regression",
    "adam",
    "check_finite",
    "count_parameters",
    "evaluate",
    "fit",
    "start",
]
