"""The maths, stateless and in plain torch: what encodings, networks, fields and objectives are made of.

Whatever a kernel makes fast, its meaning stands here (grids, lattices and sums along rays still stand beside their
kernels, as ``reference.py``).
"""

from neufield.functional.activations import ACTIVATE, ACTIVATIONS
from neufield.functional.contraction import contract, uncontract
from neufield.functional.densities import DENSITIES, to_float32, trunc_exp
from neufield.functional.harmonics import harmonics
from neufield.functional.losses import LOSSES
from neufield.functional.positional import octaves, positional_encoding

__all__ = [
    "ACTIVATE",
    "ACTIVATIONS",
    "DENSITIES",
    "LOSSES",
    "contract",
    "harmonics",
    "octaves",
    "positional_encoding",
    "to_float32",
    "trunc_exp",
    "uncontract",
]
