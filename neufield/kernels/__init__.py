"""The same maths made fast: a folder per op, with its spec, its reference, and the faster kernels beside it."""
