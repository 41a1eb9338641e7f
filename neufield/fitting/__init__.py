"""The training loop, its state, and the objectives that it minimizes."""

from neufield.fitting.active import ActivePoints, ActivePoses, ActiveRays
from neufield.fitting.distill import Attention, Distill, Lesson, Terms, common_logit
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
    "ActivePoints",
    "ActivePoses",
    "ActiveRays",
    "Attention",
    "Backdrop",
    "Distill",
    "FitState",
    "FreSh",
    "HardRays",
    "HardSampleObjective",
    "Lesson",
    "Penalty",
    "Photometric",
    "RayRegression",
    "Regression",
    "Regularized",
    "Selection",
    "Terms",
    "adam",
    "check_finite",
    "common_logit",
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
