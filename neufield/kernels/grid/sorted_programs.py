"""The table's gradient with the same bits every run, in Triton: every row's shares, sorted, are added in one order.

A level has n * 2^dim contributions, a row and F numbers each, numbered point * 2^dim + corner. ``find_rows`` writes
their rows; sorted by them (stably, so that a row's stay in order) ``find_shares`` writes the numbers; ``add_up`` sums
runs of equal rows. A run that lies within a block is done; of the two at its edges a block hands on the sums, a list
2 / BLOCK as long and as sorted, for ``add_up`` again.
"""

from typing import Any, no_type_check

import triton
import triton.language as tl

from neufield.kernels.gpu import Variant
from neufield.kernels.grid.cell_programs import corner_row, locate, read_level, read_points, weight_of
from neufield.kernels.grid.launch_shapes import CONTRIBUTIONS, RUN, RUN_WARPS, hashed
from neufield.kernels.grid.spec import GridSpec


@triton.jit(do_not_specialize=["total", "level"])
@no_type_check
def find_rows(
    x, levels, rows, total, level, DIM: tl.constexpr, BITS: tl.constexpr, HASHED: tl.constexpr, BLOCK: tl.constexpr
):
    """``rows`` (total,): the table row of each contribution to one level."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    index = tl.arange(0, BLOCK)
    live = index < total - start
    record = read_level(levels, level)
    at = read_points(x + (start >> BITS) * DIM, index >> BITS, live, DIM)
    cells, _ = locate(at, record, DIM)
    corner = (index & ((1 << BITS) - 1)).to(tl.uint32)
    tl.store(rows + start + index, corner_row(cells, record, corner, DIM, HASHED), mask=live)


@triton.jit(do_not_specialize=["total", "level"])
@no_type_check
def find_shares(
    x,
    g,
    v,
    levels,
    order,
    shares,
    total,
    n_levels,
    level,
    DIM: tl.constexpr,
    BITS: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    ALONG: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """``shares`` (total, F): the numbers of the contributions that ``order`` (int64) lists."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    index = tl.arange(0, BLOCK)
    live = index < total - start
    number = tl.load(order + start + index, mask=live, other=0)
    point = number >> BITS
    corner = (number & ((1 << BITS) - 1)).to(tl.uint32)
    record = read_level(levels, level)
    along = ()
    if ALONG:
        along = read_points(v, point, live, DIM)
    _, places = locate(read_points(x, point, live, DIM), record, DIM)
    weight = weight_of(places, record, along, corner, DIM, INTERPOLATION, ALONG)
    feature = tl.arange(0, F)[None, :]
    slope = tl.load(g + ((point * n_levels + level) * F)[:, None] + feature, mask=live[:, None], other=0.0)
    tl.store(shares + start * F + index[:, None] * F + feature, weight[:, None] * slope, mask=live[:, None])


@triton.jit
@no_type_check
def _within_runs(sum_a, starts_a, sum_b, starts_b):
    """Sums of neighbors, begun anew where a run starts."""
    return tl.where(starts_b != 0, sum_b, sum_a + sum_b), starts_a | starts_b


@triton.jit(do_not_specialize=["n"])
@no_type_check
def add_up(
    rows,
    shares,
    out,
    edge_rows,
    edge_sums,
    n,
    F: tl.constexpr,
    LAST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sums of the runs of equal ``rows`` (n, sorted): to their row of ``out``, or to the edges, 2 for each block.

    LAST: one program does all that is left, and hands nothing on.
    """
    start = tl.program_id(0).to(tl.int64) * BLOCK
    index = tl.arange(0, BLOCK)
    left = tl.minimum(n - start, BLOCK)
    row = tl.load(rows + start + index, mask=index < left, other=-1)
    before = tl.load(rows + start + index - 1, mask=(index > 0) & (index < left), other=-1)
    after = tl.load(rows + start + index + 1, mask=index + 1 < left, other=-1)
    feature = tl.arange(0, F)[None, :]
    share = tl.load(shares + (start + index)[:, None] * F + feature, mask=(index < left)[:, None], other=0.0)
    starts = tl.broadcast_to((row != before).to(tl.int32)[:, None], share.shape)
    total, _ = tl.associative_scan((share, starts), 0, _within_runs)
    ends = (index < left) & (row != after)
    if not LAST:
        first = tl.load(rows + start)
        last = tl.load(rows + start + left - 1)
        edge = ends & ((row == first) | (row == last))
        ends = ends & (row != first) & (row != last)
        edges = edge_sums + 2 * tl.program_id(0).to(tl.int64) * F
        tl.store(edges + tl.where(row == first, 0, F)[:, None] + feature, total, mask=edge[:, None])
        # Where all of a block is one run, the second edge is the first's row too, and has nothing to add.
        tl.store(edges + F + feature, tl.zeros([1, F], tl.float32), mask=feature < tl.where(first == last, F, 0))
        tl.store(edge_rows + 2 * tl.program_id(0), first)
        tl.store(edge_rows + 2 * tl.program_id(0) + 1, last)
    tl.store(out + row[:, None] * F + feature, total, mask=ends[:, None])


def variants(spec: GridSpec) -> list[Variant]:
    """What sorting the gradient of one grid launches."""
    known = {"DIM": spec.dim, "BITS": spec.dim, "BLOCK": CONTRIBUTIONS}
    features = {"F": spec.n_features_per_level}
    kinds = {"INTERPOLATION": spec.interpolation, "ALONG": False}
    return [
        _variant(find_rows, known | {"HASHED": hashed(spec)}),
        _variant(find_shares, known | features | kinds),
        _variant(add_up, features | {"LAST": False, "BLOCK": RUN}, RUN_WARPS),
    ]


def _variant(program: Any, known: dict[str, Any], warps: int = 4) -> Variant:
    types = {"n": "i32", "total": "i32", "n_levels": "i32", "level": "i32", "order": "*i64"}
    types |= dict.fromkeys(("levels", "rows", "edge_rows"), "*i32")
    signature = {name: types.get(name, "*fp32") for name in program.arg_names if name not in known}
    return Variant(f"grid {program.__name__}", program, signature, known, warps)
