"""Op ``lattice``: reading between the numbers of a dense cell-centred lattice of any shape."""

from neufield.kernels.lattice.reference import Corners, corners, lookup, read, resample

__all__ = ["Corners", "corners", "lookup", "read", "resample"]
