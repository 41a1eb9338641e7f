"""The training loop, its state, and the objectives that it minimizes."""

from neufield.fitting.fit import PRECISIONS, count_parameters, evaluate, fit, start
from neufield.fitting.fresh import FreSh, Selection
from neufield.fitting.hard_samples import HardSampleObjective
from neufield.fitting.objectives import Regression, objective_of
from neufield.fitting.optim import EMA, adam
from neufield.fitting.photometric import Backdrop, Penalty, Photometric
from neufield.fitting.rays import HardRays, RayRegression
from neufield.fitting.spectrum import SPECTRA, diagonal_spectrum, isotropic_spectrum, wasserstein
from neufield.fitting.stages import Regularized, grown
from neufield.fitting.state import FitState, check_finite
from neufield.functional import LOSSES

__all__ = [
    "EMA",
    "LOSSES",
    "PRECISIONS",
    "SPECTRA",
    "Backdrop",
    "FitState",
    "FreSh",
    "HardRays",
    "HardSampleObjective",
    "Penalty",
    "Photometric",
    "RayRegression",
    "Regression",
    "Regularized",
    "Selection",
    "adam",
    "check_finite",
    "count_parameters",
    "diagonal_spectrum",
    "evaluate",
    "fit",
    "grown",
    "isotropic_spectrum",
    "objective_of",
    "start",
    "wasserstein",
]
