"""The table's gradient by sorting, on CUDA: how the programs of :mod:`.sorted_programs` are launched.

Level by level, for the sake of memory: 2^dim contributions of a point take 20 + 4 F bytes each while they are sorted.
Nothing waits for the GPU, and how much there is to do does not depend on its numbers.
"""

import torch
from torch import Tensor

from neufield.kernels import gpu
from neufield.kernels.grid.launch_shapes import CONTRIBUTIONS, RUN, RUN_WARPS, constants, levels
from neufield.kernels.grid.spec import GridSpec


def scatter(x: Tensor, g: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """``neufield::grid_scatter``: the features' gradient ``g`` -> the table's, ``(n_entries, features)``, float32."""
    from neufield.kernels.grid import sorted_programs as programs

    x, g = x.contiguous(), g.contiguous()
    v = None if v is None else v.contiguous()
    bits = 0 if spec.interpolation == "nearest" else spec.dim
    n = len(x) << bits
    out = x.new_zeros(spec.n_entries, spec.n_features_per_level)
    if not n:
        return out
    records = levels(spec, x.device)
    known = constants(spec)
    rows = torch.empty(n, dtype=torch.int32, device=x.device)
    shares = x.new_empty(n, spec.n_features_per_level)
    blocks = (-(-n // CONTRIBUTIONS),)
    common = {"DIM": spec.dim, "BITS": bits, "BLOCK": CONTRIBUTIONS}
    own = {"F": spec.n_features_per_level, "INTERPOLATION": spec.interpolation, "ALONG": v is not None}
    along = x if v is None else v
    for level in range(spec.n_levels):
        gpu.launch(programs.find_rows, blocks, (x, records, rows, n, level), common | {"HASHED": known["HASHED"]})
        found, order = torch.sort(rows, stable=True)
        arguments = (x, g, along, records, order, shares, n, spec.n_levels, level)
        gpu.launch(programs.find_shares, blocks, arguments, common | own)
        add_up(out, found, shares, RUN)
    return out


def add_up(out: Tensor, rows: Tensor, shares: Tensor, run: int) -> None:
    """Write the sums of ``shares`` (n, F) with equal ``rows`` (n, int32, sorted, >= 0) to those rows of ``out``.

    A program adds up ``run`` of them.
    """
    from neufield.kernels.grid import sorted_programs as programs

    features = shares.shape[1]
    while True:
        n = len(rows)
        blocks = -(-n // run)
        edge_rows, edge_sums = rows.new_empty(2 * blocks), shares.new_empty(2 * blocks, features)
        known = {"F": features, "LAST": blocks == 1, "BLOCK": run}
        arguments = (rows, shares, out, edge_rows, edge_sums, n)
        gpu.launch(programs.add_up, (blocks,), arguments, known, RUN_WARPS)
        if blocks == 1:
            return
        rows, shares = edge_rows, edge_sums
