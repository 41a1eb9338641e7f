"""The maths, stateless and in plain torch: what encodings, networks, fields and objectives are made of.

Whatever a kernel makes fast, its meaning stands here. What needs an op's spec (a march, a whole fused field) stands
beside its kernels, as ``reference.py``.
"""

from neufield.functional.activations import ACTIVATE, ACTIVATIONS
from neufield.functional.boxes import from_unit_box, to_unit_box
from neufield.functional.contraction import contract, uncontract
from neufield.functional.densities import DENSITIES, to_float32, trunc_exp
from neufield.functional.gather import gather
from neufield.functional.grid import grid_lookup
from neufield.functional.grid_levels import GridLevel, grid_levels
from neufield.functional.harmonics import harmonics
from neufield.functional.interpolation import interpolate, resample
from neufield.functional.losses import LOSSES
from neufield.functional.positional import octaves, positional_encoding
from neufield.functional.ray_losses import distortion, interlevel
from neufield.functional.render_weights import composite, optical_depth, render_weights, visibility_mask

__all__ = [
    "ACTIVATE",
    "ACTIVATIONS",
    "DENSITIES",
    "LOSSES",
    "GridLevel",
    "composite",
    "contract",
    "distortion",
    "from_unit_box",
    "gather",
    "grid_levels",
    "grid_lookup",
    "harmonics",
    "interlevel",
    "interpolate",
    "octaves",
    "optical_depth",
    "positional_encoding",
    "render_weights",
    "resample",
    "to_float32",
    "to_unit_box",
    "trunc_exp",
    "uncontract",
    "visibility_mask",
]
